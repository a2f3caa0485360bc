//! A peer whose log lost leaves: its newer card waits until an operator accepts it.
//!
//! Invariant: a log of a peer that was compared once is followed by another one only by an
//! operator's word, and only with the peer's signed account of how the old one ended; no further
//! log comes beside it.

use std::collections::BTreeSet;

use bytes::Bytes;
use relay_proto::{
    card::{Card, CardLog},
    ids::UnitId,
    reason::Reason,
    timestamp::Timestamp,
    v1,
};

use super::{Directory, DirectoryError, Peer, snapshot::card_in, snapshot::card_of};
use crate::store::{
    PeerRequest,
    records::{LostLeaves, PeerRecord},
};

impl Directory {
    /// Takes the card that waits, with its next log; the same request again changes nothing.
    pub async fn accept_rollback(
        &self,
        unit: &UnitId,
        by: &str,
        request: PeerRequest,
        now: Timestamp,
    ) -> Result<Peer, DirectoryError> {
        // What was known when the card came to wait is not all that is known now.
        let peer = self.snapshot().peer(unit).cloned().ok_or(DirectoryError::NotFound)?;
        if let Some(next) = &peer.next_card {
            self.check_claims(next)?;
        }
        let by = by.to_owned();
        let change = move |before: Option<PeerRecord>| {
            let mut record = before.ok_or(Reason::NotFound)?;
            let next = card_in(&record.next_card).ok_or(Reason::FailedPrecondition)?;
            if peer.next_card.is_none_or(|looked_at| looked_at.signed() != next.signed()) {
                // Another one came meanwhile.
                return Err(Reason::FailedPrecondition);
            }
            let known = card_of(&record).ok_or(Reason::BadCard)?;
            record.lost.extend(lost(&known, &next));
            record.card = std::mem::take(&mut record.next_card);
            record.rollback_by = by;
            Ok(record)
        };
        self.store.accept_rollback(unit.clone(), request, now, change).await?;
        self.reload()?;
        self.snapshot().peer(unit).cloned().ok_or(DirectoryError::NotFound)
    }

    /// What of a peer's receipts is lost, while the messages were not all queued again.
    pub fn lost(&self, unit: &UnitId) -> Result<Vec<LostLeaves>, DirectoryError> {
        let records = self.store.peers()?;
        let record = records.into_iter().find(|record| record.unit == unit.as_str());
        Ok(record.map(|record| record.lost).unwrap_or_default())
    }

    /// These were; what was accepted meanwhile stays to be done.
    pub async fn lost_is_done(
        &self,
        unit: &UnitId,
        done: Vec<LostLeaves>,
        now: Timestamp,
    ) -> Result<(), DirectoryError> {
        let change = move |before: Option<PeerRecord>| {
            let mut record = before.ok_or(Reason::NotFound)?;
            record.lost.retain(|lost| !done.contains(lost));
            Ok(record)
        };
        self.change(unit, now, change).await.map(drop)
    }
}

/// Whether a newer card names logs that the known one does not. Refused when anything but the
/// unit's signed account leads to them: each succeeds a log that is open on the known card, or
/// another of them; an open log ends by a succession only; one that ended stays as it is.
pub(super) fn is_succession(known: &Card, card: &Card) -> Result<bool, Reason> {
    let open = |log: &CardLog| log.state == v1::LogState::Open;
    let mut ended = BTreeSet::new();
    for log in added(known, card) {
        let old = &log.succession.as_ref().ok_or(Reason::UnknownLog)?.old.origin;
        let goes_on = known.log(old).map_or_else(|| card.log(old).is_some(), open);
        // Two successors of one log would be two accounts of its end.
        if !goes_on || !ended.insert(old.to_string()) {
            return Err(Reason::UnknownLog);
        }
    }
    // Receipts are verified by the newest card: what it says of a log must bear out earlier ones.
    let is_sound = |log: &CardLog| match card.log(&log.origin) {
        Some(now) if now.key.key != log.key.key => false,
        Some(now) if now.succession.is_some() && now.succession != log.succession => false,
        Some(now) if open(log) && open(now) => true,
        Some(now) if !open(log) => !open(now) && now.closed_size == log.closed_size,
        _ => ended.contains(&log.origin.to_string()),
    };
    if !known.logs().iter().all(is_sound) {
        return Err(Reason::UnknownLog);
    }
    Ok(added(known, card).next().is_some())
}

/// What an operator is told.
pub(super) fn told(card: &Card) -> String {
    let log = card.logs().iter().find(|log| log.state == v1::LogState::Open);
    let log = log.map(|log| log.origin.to_string()).unwrap_or_default();
    let unit = card.unit();
    format!(
        "its log lost receipts and goes on as {log}: call it, then relay-cli peer rollback-accept \
         {unit} --by NAME"
    )
}

/// The successions that a newer card adds.
fn lost(known: &Card, card: &Card) -> Vec<LostLeaves> {
    let successions = added(known, card).filter_map(|log| log.succession.as_ref());
    let each = successions.map(|succession| LostLeaves {
        old_origin: succession.old.origin.to_string(),
        from: succession.old.size,
        new_origin: succession.new.to_string(),
        first_root: Bytes::copy_from_slice(succession.leaf_hash().as_bytes()),
    });
    each.collect()
}

/// The logs that a newer card adds.
fn added<'a>(known: &'a Card, card: &'a Card) -> impl Iterator<Item = &'a CardLog> {
    card.logs().iter().filter(|log| known.log(&log.origin).is_none())
}

#[cfg(test)]
mod tests;
