//! Terms: what was told of what is due.

use bytes::Bytes;
use relay_proto::{envelope::Priority, timestamp::Timestamp};

use crate::store::{
    Store, StoreError,
    event::Fact,
    index::Tree,
    records::{TermRecord, key},
};

impl Store {
    /// A term as it was last told; the same without anything told where it never was.
    pub fn term(&self, fresh: TermRecord) -> Result<TermRecord, StoreError> {
        let known = self.read(|view| view.record(Tree::Terms, &key::term(&fresh)))?;
        Ok(known.unwrap_or(fresh))
    }

    /// Notes what is told of terms now; of what was told already nothing. Whoever watches sees it.
    pub async fn tell_terms(
        &self,
        terms: Vec<TermRecord>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.commit(Priority::Urgent, move |txn| {
            for term in terms {
                let known: Option<TermRecord> =
                    txn.view().record(Tree::Terms, &key::term(&term))?;
                let notified_ms = known.as_ref().map_or(0, |known| known.notified_ms);
                if known.is_none_or(|known| known.told_ms < term.told_ms) {
                    let term = TermRecord { notified_ms, ..term };
                    txn.push(now, Fact::TermTold(term), Bytes::new());
                }
            }
            Ok(())
        })
        .await
    }

    /// Notes that the command was run for what was told so far.
    pub async fn term_notified(&self, term: TermRecord, now: Timestamp) -> Result<(), StoreError> {
        self.commit(Priority::Urgent, move |txn| {
            let known: Option<TermRecord> = txn.view().record(Tree::Terms, &key::term(&term))?;
            if let Some(known) = known.filter(|known| known.notified_ms < term.told_ms) {
                let known = TermRecord { notified_ms: term.told_ms, ..known };
                txn.push(now, Fact::TermNotified(known), Bytes::new());
            }
            Ok(())
        })
        .await
    }
}
