//! What callers ask to have sent, who they are, and what they are answered.

use relay_proto::{
    envelope::Priority,
    ids::{Digest, MessageId, RequestId, Uuid},
    timestamp::Timestamp,
    v1,
};

use crate::{config::ACCOUNT_OF_NODE, store::records::ApprovalRecord};

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The name of its account, to which request ids belong.
    pub account: String,
    /// As the system tells it: `uid:1000`, or `cert:` and a client certificate's fingerprint.
    pub caller: String,
}

impl Principal {
    /// A caller of this account.
    pub fn new(account: &str, caller: &str) -> Self {
        Self { account: account.to_owned(), caller: caller.to_owned() }
    }

    /// The node itself: what it sends without being asked. No account has this name.
    pub fn node() -> Self {
        Self::new(ACCOUNT_OF_NODE, ACCOUNT_OF_NODE)
    }

    pub(super) fn is_node(&self) -> bool {
        self.account == ACCOUNT_OF_NODE
    }

    /// An entry of the audit log about what this caller does.
    pub fn audit(&self, call: &str, now: Timestamp) -> v1::AuditRecord {
        v1::AuditRecord {
            at_ms: now.as_millis(),
            account: self.account.clone(),
            caller: self.caller.clone(),
            call: call.to_owned(),
            ..v1::AuditRecord::default()
        }
    }
}

/// A message that a caller wants sent.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The caller.
    pub principal: Principal,
    /// His key for safe repetition.
    pub request_id: RequestId,
    /// What he states.
    pub draft: v1::Draft,
    /// Check everything, store nothing.
    pub validate_only: bool,
    /// The case as he saw it ([`crate::store::records::case::etag`]); empty: whatever it is by now.
    pub etag: String,
    /// A second officer agreed.
    pub granted: Option<Granted>,
}

/// The second officer's word about a message that waited for it.
#[derive(Debug, Clone)]
pub struct Granted {
    /// What waited.
    pub approval: ApprovalRecord,
    /// Who agreed.
    pub by: Principal,
}

/// A message that is stored.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// Header digest.
    pub digest: Digest,
    /// The message's id.
    pub message_id: MessageId,
    /// It was stored by an earlier call with this request id.
    pub repeated: bool,
    /// It waits for a second officer: nothing was sent, there is no digest and no id.
    pub waits: Option<Uuid>,
}

/// What a message is called.
pub fn message_name(id: MessageId) -> String {
    format!("messages/{id}")
}

/// The key of a request: scoped to the caller's account and the verb, so that two callers never
/// meet.
pub fn request_key(account: &str, verb: &str, request_id: &RequestId) -> [u8; 32] {
    let parts: [&[u8]; 5] =
        [account.as_bytes(), b"\0", verb.as_bytes(), b"\0", request_id.as_bytes()];
    *Digest::of_parts(&parts).as_bytes()
}

/// The priority of a draft: ROUTINE unless it says more.
pub fn priority_of(draft: &v1::Draft) -> Priority {
    Priority::from_wire(draft.priority()).unwrap_or(Priority::Routine)
}

/// An instant of the API.
pub fn timestamp(time: &prost_types::Timestamp) -> Option<Timestamp> {
    let seconds = u64::try_from(time.seconds).ok()?;
    let millis = u64::try_from(time.nanos).ok()? / 1_000_000;
    Timestamp::from_wire(seconds.checked_mul(1000)?.checked_add(millis)?)
}
