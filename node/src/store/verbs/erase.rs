//! Erasing content: the order first, durably, then the bytes. Header, receipts and log stay as
//! evidence.

use bytes::Bytes;
use relay_proto::{envelope::Priority, ids::Digest, reason::Reason, timestamp::Timestamp};
use tracing::warn;

use crate::store::{
    Store, StoreError,
    event::{Erased, Fact},
    index::Tree,
    txn::Txn,
};

impl Store {
    /// Erases the content of a message by a rule or an order. `Ok` means that the bytes are
    /// overwritten, and attachments that no other message lists are gone; a crash in between is
    /// made good at the next opening. A message that still waits to be sent is refused. Returns
    /// whether this was the first order.
    pub async fn erase(
        &self,
        digest: Digest,
        rule: String,
        by: String,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (first, attachments) =
            self.commit(Priority::Routine, move |txn| erase(txn, digest, rule, by, now)).await?;
        if let Err(error) = self.blobs().erase(attachments).await {
            // The order stands: the next start does it.
            warn!(%error, "attachments not erased yet");
        }
        Ok(first)
    }

    /// The order by which a message's content was erased.
    pub fn erased(&self, digest: &Digest) -> Result<Option<Erased>, StoreError> {
        self.read(|view| view.record(Tree::Erased, digest.as_bytes()))
    }
}

fn erase(
    txn: &mut Txn<'_>,
    digest: Digest,
    rule: String,
    by: String,
    now: Timestamp,
) -> Result<(bool, Vec<Digest>), StoreError> {
    let record = txn.view().message(&digest)?.ok_or(StoreError::Refused(Reason::NotFound))?;
    if txn.view().get(Tree::Erased, digest.as_bytes())?.is_some() {
        return Ok((false, Vec::new()));
    }
    for recipient in &record.to {
        if txn.view().entry(&digest, recipient)?.is_some_and(|entry| entry.is_open()) {
            return Err(StoreError::Refused(Reason::FailedPrecondition));
        }
    }
    // The position is for people who read the journal; the writer finds the body by its sequence.
    let fact = Erased {
        seq: record.seq,
        digest: Bytes::copy_from_slice(digest.as_bytes()),
        rule,
        by,
        position: record.position,
        attachments: record.attachments.iter().map(|one| one.sha256.clone()).collect(),
    };
    txn.push(now, Fact::Erased(fact), Bytes::new());
    Ok((true, record.attachments.iter().map(|one| one.item().sha256).collect()))
}
