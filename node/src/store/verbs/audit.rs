//! The audit log: who read, sent or changed what here. Its entries come with the event that they
//! are about, or, where nothing else is stored, alone before what they tell is done.

use std::ops::Bound::{Excluded, Included, Unbounded};

use bytes::Bytes;
use relay_proto::{envelope::Priority, reason::Reason, timestamp::Timestamp, v1::AuditRecord};

use crate::store::{
    Store, StoreError,
    event::Fact,
    index::Tree,
    view::{View, decode},
};

impl Store {
    /// Keeps an entry; durable when it returns. Number and hash of the one before are filled in.
    pub async fn audit(&self, record: AuditRecord, now: Timestamp) -> Result<(), StoreError> {
        self.commit(Priority::Urgent, move |txn| {
            let record = txn.audit(record)?;
            txn.push(now, Fact::Audited(record), Bytes::new());
            Ok(())
        })
        .await
    }

    /// The same before something is only read: not on a disk that has room for receipts alone.
    pub async fn audit_reading(
        &self,
        record: AuditRecord,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.commit(Priority::Routine, move |txn| {
            if !txn.room().takes_submission(Priority::Emergency) {
                return Err(StoreError::Refused(Reason::StorageFull));
            }
            let record = txn.audit(record)?;
            txn.push(now, Fact::Audited(record), Bytes::new());
            Ok(())
        })
        .await
    }

    /// Entries after this number, in their order; with `reverse` those before it, the last first.
    pub fn audited(
        &self,
        place: u64,
        max: usize,
        reverse: bool,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        self.read(|view| page(&view, place, max, reverse))
    }
}

/// The last entry.
pub fn last(view: &View<'_>) -> Result<Option<AuditRecord>, StoreError> {
    Ok(page(view, u64::MAX, 1, true)?.pop())
}

fn page(
    view: &View<'_>,
    place: u64,
    max: usize,
    reverse: bool,
) -> Result<Vec<AuditRecord>, StoreError> {
    let place = place.to_be_bytes();
    let pairs = match reverse {
        true => view.range(Tree::Audit, Unbounded, Excluded(&place), max, true)?,
        false => view.range(Tree::Audit, Excluded(&place), Included(&LAST), max, false)?,
    };
    pairs.iter().map(|(_, value)| decode(Tree::Audit, value)).collect()
}

const LAST: [u8; 8] = [u8::MAX; 8];
