//! Messages that wait for a second officer: kept until one agrees, then sent in the same commit
//! that says so.

use std::ops::Bound::{Excluded, Unbounded};

use bytes::Bytes;
use prost::Message as _;
use relay_proto::{
    envelope::Priority,
    ids::Digest,
    reason::Reason,
    timestamp::Timestamp,
    v1::{self, AuditRecord},
};

use crate::store::{
    Store, StoreError,
    event::{ApprovalChanged, Fact},
    index::Tree,
    journal::{Body, Position},
    records::{ApprovalRecord, key},
    txn::Txn,
    view::View,
};

/// A message that is to wait.
#[derive(Debug, Clone)]
pub struct NewHeld {
    /// What is kept of it; it waits.
    pub approval: ApprovalRecord,
    /// The draft, encoded.
    pub draft: Bytes,
    /// Who asked, for the audit log.
    pub audit: AuditRecord,
    /// How urgent it is.
    pub priority: Priority,
    /// Now.
    pub now: Timestamp,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It waits.
    Stored,
    /// The same request was stored before.
    Repeated,
    /// The request id stands for other content.
    Conflict,
    /// The disk has no room for it.
    StorageFull,
}

impl Store {
    /// Keeps a message that a second officer has to agree to.
    pub async fn hold(&self, new: NewHeld) -> Result<Held, StoreError> {
        self.commit(new.priority, move |txn| hold(txn, new)).await
    }

    /// What is kept of one.
    pub fn approval(&self, id: &[u8]) -> Result<Option<ApprovalRecord>, StoreError> {
        self.read(|view| find(&view, id))
    }

    /// Those after an id, in the order of their ids.
    pub fn approvals(&self, after: &[u8], max: usize) -> Result<Vec<ApprovalRecord>, StoreError> {
        self.read(|view| {
            let decided = key::decided(after);
            let lower = if after.is_empty() { Unbounded } else { Excluded(decided.as_slice()) };
            // Each has a second row once it is decided.
            let rows = max.saturating_mul(2);
            let pairs = view.range(Tree::Approvals, lower, Unbounded, rows, false)?;
            let ids = pairs.iter().filter(|(key, _)| key.len() == ID_BYTES).take(max);
            ids.filter_map(|(id, _)| find(&view, id).transpose()).collect()
        })
    }

    /// The draft of one that waits.
    pub fn held_draft(&self, record: &ApprovalRecord) -> Result<v1::Draft, StoreError> {
        let damaged = || StoreError::Damaged { seq: record.seq };
        let position = <[u8; 16]>::try_from(record.position.as_ref())
            .map_err(|_| StoreError::IndexDamaged("approvals"))?;
        let stored = self.shared.reader.read(Position::from_bytes(position))?;
        let Body::Present(body) = stored.body else { return Err(damaged()) };
        if Digest::of(&body).as_bytes() != record.content.as_ref() {
            return Err(damaged());
        }
        v1::Draft::decode(body).map_err(|_| damaged())
    }

    /// Ends one: it is never sent. One that was decided already stays as it is.
    pub async fn drop_approval(
        &self,
        id: Bytes,
        reason: String,
        audit: AuditRecord,
        now: Timestamp,
    ) -> Result<ApprovalRecord, StoreError> {
        self.commit(Priority::Urgent, move |txn| {
            let mut record =
                find(&txn.view(), &id)?.ok_or(StoreError::Refused(Reason::NotFound))?;
            if !record.waits() {
                return Ok(record);
            }
            record.state = ApprovalRecord::DROPPED;
            record.decided_by.clone_from(&audit.account);
            (record.decided_at_ms, record.reason) = (now.as_millis(), reason);
            let audit = Some(txn.audit(audit)?);
            let fact = ApprovalChanged { approval: Some(record.clone()), audit };
            txn.push(now, Fact::ApprovalDropped(fact), Bytes::new());
            Ok(record)
        })
        .await
    }
}

fn hold(txn: &mut Txn<'_>, new: NewHeld) -> Result<Held, StoreError> {
    if let Some(known) = find(&txn.view(), &new.approval.id)? {
        return Ok(match known.content == new.approval.content {
            true => Held::Repeated,
            false => Held::Conflict,
        });
    }
    if !txn.room().takes_submission(new.priority) {
        return Ok(Held::StorageFull);
    }
    let audit = Some(txn.audit(new.audit)?);
    let fact = ApprovalChanged { approval: Some(new.approval), audit };
    txn.push(new.now, Fact::ApprovalAsked(fact), new.draft);
    Ok(Held::Stored)
}

/// Whether one still waits.
pub(super) fn waits(txn: &Txn<'_>, id: &[u8]) -> Result<bool, StoreError> {
    Ok(find(&txn.view(), id)?.is_some_and(|known| known.waits()))
}

/// As it was decided, or as it was asked.
fn find(view: &View<'_>, id: &[u8]) -> Result<Option<ApprovalRecord>, StoreError> {
    match view.record(Tree::Approvals, &key::decided(id))? {
        Some(decided) => Ok(Some(decided)),
        None => view.record(Tree::Approvals, id),
    }
}

/// A UUID's.
const ID_BYTES: usize = 16;
