//! A peer whose log lost leaves: its newer card waits until an operator accepts it.
//!
//! Invariant: a log of a verified peer is followed by another one only by an operator's word, and
//! only with the peer's signed account of how the old one ended.

use bytes::Bytes;
use relay_proto::{
    card::{Card, CardLog},
    ids::UnitId,
    reason::Reason,
    timestamp::Timestamp,
    v1,
};

use super::{Directory, DirectoryError, Peer, snapshot::card_in, snapshot::card_of};
use crate::store::records::{LostLeaves, PeerRecord};

impl Directory {
    /// Takes the card that waits, with its next log.
    pub async fn accept_rollback(
        &self,
        unit: &UnitId,
        by: &str,
        now: Timestamp,
    ) -> Result<Peer, DirectoryError> {
        let by = by.to_owned();
        let change = move |before: Option<PeerRecord>| {
            let mut record = before.ok_or(Reason::NotFound)?;
            let next = card_in(&record.next_card).ok_or(Reason::FailedPrecondition)?;
            let known = card_of(&record).ok_or(Reason::BadCard)?;
            record.lost.extend(lost(&known, &next));
            record.card = std::mem::take(&mut record.next_card);
            record.rollback_by = by;
            Ok(record)
        };
        self.change(unit, now, change).await
    }

    /// What of a peer's receipts is lost, while the messages were not all queued again.
    pub fn lost(&self, unit: &UnitId) -> Result<Vec<LostLeaves>, DirectoryError> {
        let records = self.store.peers()?;
        let record = records.into_iter().find(|record| record.unit == unit.as_str());
        Ok(record.map(|record| record.lost).unwrap_or_default())
    }

    /// They were.
    pub async fn lost_is_done(&self, unit: &UnitId, now: Timestamp) -> Result<(), DirectoryError> {
        let change = |before: Option<PeerRecord>| {
            let mut record = before.ok_or(Reason::NotFound)?;
            record.lost.clear();
            Ok(record)
        };
        self.change(unit, now, change).await.map(drop)
    }
}

/// Whether a newer card names another open log than the known one, and says how that ended.
pub(super) fn is_succession(known: &Card, card: &Card) -> Result<bool, Reason> {
    let (Some(old), Some(new)) = (open(known), open(card)) else { return Ok(false) };
    if old.origin == new.origin {
        return Ok(false);
    }
    if lost(known, card).is_empty() { Err(Reason::UnknownLog) } else { Ok(true) }
}

/// What an operator is told.
pub(super) fn told(card: &Card) -> String {
    let log = open(card).map(|log| log.origin.to_string()).unwrap_or_default();
    let unit = card.unit();
    format!(
        "its log lost receipts and goes on as {log}: call it, then relay-cli peer rollback-accept \
         {unit} --by NAME"
    )
}

/// The successions that a newer card adds.
fn lost(known: &Card, card: &Card) -> Vec<LostLeaves> {
    let new = card.logs().iter().filter(|log| known.log(&log.origin).is_none());
    let successions = new.filter_map(|log| log.succession.as_ref());
    let each = successions.map(|succession| LostLeaves {
        old_origin: succession.old.origin.to_string(),
        from: succession.old.size,
        new_origin: succession.new.to_string(),
        first_root: Bytes::copy_from_slice(succession.leaf_hash().as_bytes()),
    });
    each.collect()
}

fn open(card: &Card) -> Option<&CardLog> {
    card.logs().iter().find(|log| log.state == v1::LogState::Open)
}
