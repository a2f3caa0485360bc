//! That a message was taken: by a case system, or by a named officer. The first of each makes the
//! receipt.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use bytes::Bytes;
use relay_proto::{
    envelope::Priority, ids::Digest, reason::Reason, timestamp::Timestamp, v1::AuditRecord,
};

use crate::store::{
    NewLeaf, Store, StoreError,
    event::{Acknowledged, Fact},
    index::Tree,
    project::unacknowledged_key,
    records::{AckRecord, MessageRecord, RequestRecord, digest_of, key},
    txn::Txn,
};

/// An acknowledgement that is to be recorded.
#[derive(Debug, Clone)]
pub struct NewAck {
    /// Which message.
    pub digest: Digest,
    /// Who, in which capacity, when.
    pub ack: AckRecord,
    /// ContentHandover or ConsignmentAcceptance, as statement bytes.
    pub statement: Bytes,
    /// Key of caller, verb and request id.
    pub request_key: [u8; 32],
    /// Digest of the request's content.
    pub content: Digest,
    /// Who takes it, for the audit log.
    pub audit: AuditRecord,
    /// Now.
    pub now: Timestamp,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckAnswer {
    /// Recorded, with its receipt.
    First,
    /// Somebody took it before in this capacity: recorded here only.
    Later,
    /// The same request was recorded before.
    Repeated,
    /// The request id stands for other content.
    Conflict,
}

impl Store {
    /// Records an acknowledgement; the first in a capacity makes the one receipt.
    pub async fn acknowledge(&self, new: NewAck) -> Result<AckAnswer, StoreError> {
        self.commit(Priority::Urgent, move |txn| acknowledge(txn, new)).await
    }

    /// The acknowledgements of a message that made a receipt.
    pub fn acknowledgements(&self, digest: &Digest) -> Result<Vec<AckRecord>, StoreError> {
        self.read(|view| {
            let pairs = view.prefix(Tree::Acks, digest.as_bytes(), CAPACITIES)?;
            pairs.iter().map(|(_, v)| crate::store::view::decode(Tree::Acks, v)).collect()
        })
    }

    /// Received messages that nobody took, the most urgent and oldest first.
    pub fn unacknowledged(&self, max: usize) -> Result<Vec<Digest>, StoreError> {
        self.read(|view| {
            let pairs = view.prefix(Tree::Unacknowledged, &[], max)?;
            let digest = |value: &[u8]| digest_of(value.get(..32).unwrap_or_default());
            Ok(pairs.iter().map(|(_, value)| digest(value)).collect())
        })
    }

    /// How many messages of each unit nobody took, and their bytes.
    pub fn unacknowledged_counts(&self) -> Result<BTreeMap<String, (u64, u64)>, StoreError> {
        self.read(|view| {
            let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
            let mut after = Vec::new();
            loop {
                let lower = Excluded(after.as_slice());
                let page = view.range(Tree::Unacknowledged, lower, Unbounded, PAGE, false)?;
                let Some((last, _)) = page.last() else { return Ok(counts) };
                after.clone_from(last);
                for (_, value) in &page {
                    let (head, from) = value.split_at_checked(36).unwrap_or_default();
                    let bytes = head.last_chunk::<4>().map_or(0, |b| u32::from_be_bytes(*b));
                    let unit = String::from_utf8_lossy(from).into_owned();
                    let count = counts.entry(unit).or_default();
                    *count = (count.0 + 1, count.1 + u64::from(bytes));
                }
            }
        })
    }
}

fn acknowledge(txn: &mut Txn<'_>, new: NewAck) -> Result<AckAnswer, StoreError> {
    let known: Option<RequestRecord> = txn.view().record(Tree::Requests, &new.request_key)?;
    if let Some(known) = known {
        return Ok(match known.content == new.content.as_bytes().as_slice() {
            true => AckAnswer::Repeated,
            false => AckAnswer::Conflict,
        });
    }
    let message: Option<MessageRecord> = txn.view().message(&new.digest)?;
    let message = message.ok_or(StoreError::Refused(Reason::NotFound))?;
    if message.is_out() {
        return Err(StoreError::Refused(Reason::FailedPrecondition));
    }
    let before = txn.view().get(Tree::Acks, &key::ack(&new.digest, new.ack.capacity))?;
    let first = before.is_none();
    let leaf = match first {
        true => Some(txn.leaf(NewLeaf {
            statement: new.statement,
            digest: new.digest,
            owed_to: Some(message.from.clone()),
            priority: message.lane(),
            actor: new.ack.by.clone(),
        })?),
        false => None,
    };
    let audit = txn.audit(new.audit)?;
    let fact = Fact::Acknowledged(Acknowledged {
        digest: Bytes::copy_from_slice(new.digest.as_bytes()),
        ack: first.then_some(new.ack),
        leaf,
        request_key: Bytes::copy_from_slice(&new.request_key),
        request: Some(RequestRecord {
            content: Bytes::copy_from_slice(new.content.as_bytes()),
            digest: Bytes::copy_from_slice(new.digest.as_bytes()),
            at_ms: new.now.as_millis(),
        }),
        unacknowledged_key: unacknowledged_key(&message).into(),
        audit: Some(audit),
    });
    txn.push(new.now, fact, Bytes::new());
    Ok(if first { AckAnswer::First } else { AckAnswer::Later })
}

/// Pairs that are read at once.
const PAGE: usize = 4096;

/// Handover and desk; room for more.
const CAPACITIES: usize = 8;
