//! Messages that a second officer has to agree to: kept as they were asked for, checked then and
//! once more when they are sent.

use bytes::Bytes;
use prost::Message as _;
use relay_proto::{
    ids::{Digest, MessageId, RequestId, Uuid},
    reason::Reason,
    timestamp::Timestamp,
    v1,
};

use super::{Context, Granted, Principal, Ready, Submission, SubmitError, Submitted};
use crate::{
    relay::Relay,
    store::{Held, NewHeld, StoreError, records::ApprovalRecord},
};

/// What is kept of a message that waits.
pub(super) fn held(
    submission: &Submission,
    ready: &Ready,
    request_key: [u8; 32],
    content: Digest,
    now: Timestamp,
) -> NewHeld {
    let Submission { principal, request_id, draft, etag, .. } = submission;
    let id = id_of(&request_key);
    let approval = ApprovalRecord {
        id: Bytes::copy_from_slice(id.as_bytes()),
        account: principal.account.clone(),
        caller: principal.caller.clone(),
        request_id: Bytes::copy_from_slice(request_id.as_bytes()),
        content: Bytes::copy_from_slice(content.as_bytes()),
        etag: etag.clone(),
        kind: i32::from(ready.payload.kind()).unsigned_abs(),
        profile: draft.profile.clone(),
        to: draft.to.clone(),
        priority: i32::from(ready.priority.to_wire()).unsigned_abs(),
        asked_at_ms: now.as_millis(),
        state: ApprovalRecord::WAITING,
        ..ApprovalRecord::default()
    };
    let mut audit = principal.audit("SendMessage", now);
    (audit.object, audit.units) = (approval_name(&id), draft.to.clone());
    let priority = ready.priority;
    NewHeld { approval, draft: draft.encode_to_vec().into(), audit, priority, now }
}

/// The id of what a request asks for.
fn id_of(request_key: &[u8; 32]) -> Uuid {
    let mut id = [0; 16];
    id.iter_mut().zip(request_key).for_each(|(to, from)| *to = *from);
    Uuid::random(id)
}

/// What one is called.
pub fn approval_name(id: &Uuid) -> String {
    format!("approvals/{id}")
}

impl Granted {
    /// The record as it is once the message is stored.
    pub(super) fn decided(&self, digest: Digest, now: Timestamp) -> ApprovalRecord {
        ApprovalRecord {
            state: ApprovalRecord::GRANTED,
            decided_by: self.by.account.clone(),
            decided_at_ms: now.as_millis(),
            digest: Bytes::copy_from_slice(digest.as_bytes()),
            ..self.approval.clone()
        }
    }
}

impl Context {
    /// The answer to a request that waits, or that was dropped.
    pub(super) fn waiting(
        &self,
        submission: &Submission,
        request_key: &[u8; 32],
        content: &Digest,
    ) -> Result<Option<Submitted>, SubmitError> {
        if submission.granted.is_some() || submission.validate_only {
            return Ok(None);
        }
        let id = id_of(request_key);
        let Some(known) = self.parts.store.approval(id.as_bytes())? else { return Ok(None) };
        if known.content != content.as_bytes().as_slice() {
            return Err(SubmitError::RequestConflict);
        }
        match known.waits() {
            true => Ok(Some(waits(id, true))),
            false => Err(SubmitError::Dropped { by: known.decided_by, reason: known.reason }),
        }
    }

    /// Keeps a message until a second officer agrees.
    pub(super) async fn hold(&self, new: NewHeld) -> Result<Submitted, SubmitError> {
        let id = Uuid::from_bytes(&new.approval.id);
        let id = id.map_err(|_| SubmitError::Refused(Reason::Internal))?;
        match self.parts.store.hold(new).await? {
            Held::Stored => Ok(waits(id, false)),
            Held::Repeated => Ok(waits(id, true)),
            Held::Conflict => Err(SubmitError::RequestConflict),
            Held::StorageFull => Err(SubmitError::Refused(Reason::StorageFull)),
        }
    }
}

fn waits(id: Uuid, repeated: bool) -> Submitted {
    let (digest, message_id) =
        (Digest::from_array([0; 32]), MessageId::new(Timestamp::default(), [0; 10]));
    Submitted { digest, message_id, repeated, waits: Some(id) }
}

impl Relay {
    /// Sends what waited, by the word of a second officer: of another account than the one that
    /// asked. Granted before, the stored answer.
    pub async fn grant(
        &self,
        approval: ApprovalRecord,
        by: Principal,
    ) -> Result<Submitted, SubmitError> {
        let store = &self.ctx.parts.store;
        if approval.state == ApprovalRecord::GRANTED {
            return match approval.decided_by == by.account {
                true => self.ctx.stored_answer(&approval.digest),
                false => Err(SubmitError::Granted { by: approval.decided_by }),
            };
        }
        if !approval.waits() {
            let (by, reason) = (approval.decided_by, approval.reason);
            return Err(SubmitError::Dropped { by, reason });
        }
        // Also of an account that has another name since.
        if approval.account == by.account || approval.caller == by.caller {
            return Err(SubmitError::SameOfficer);
        }
        let draft = store.held_draft(&approval)?;
        let request_id = RequestId::from_bytes(&approval.request_id)
            .map_err(|_| SubmitError::Store(StoreError::IndexDamaged("approvals")))?;
        let submission = Submission {
            principal: Principal::new(&approval.account, &approval.caller),
            request_id,
            draft,
            validate_only: false,
            etag: approval.etag.clone(),
            granted: Some(Granted { approval, by }),
        };
        let answer = self.submit(vec![submission]).await.pop();
        answer.unwrap_or(Err(SubmitError::Store(StoreError::Stopped)))
    }

    /// The draft of what waits.
    pub fn held_draft(&self, approval: &ApprovalRecord) -> Result<v1::Draft, StoreError> {
        self.ctx.parts.store.held_draft(approval)
    }
}
