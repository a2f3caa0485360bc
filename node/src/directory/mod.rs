//! The local directory: the cards that the operator added, and whom he trusts.
//!
//! Enter through [`Directory`]. It may use the store and nothing above it. Invariants: nothing is
//! exchanged with a unit whose card was not compared by telephone; a newer card counts only under
//! the identity key that was compared; a card that was counted on is kept, for what was stated
//! under it outlives it; a snapshot is swapped whole, so every decision rests on one state.

mod rollback;
mod snapshot;

use std::{collections::BTreeSet, sync::Arc};

use arc_swap::ArcSwap;
use bytes::Bytes;
use prost::Message;
use relay_core::quota::Meter;
use relay_proto::{
    card::{Card, CardError},
    ids::UnitId,
    keys::fingerprint,
    reason::Reason,
    timestamp::Timestamp,
    v1,
};

pub use snapshot::{Peer, Snapshot, Suspension, Trust};

use self::snapshot::card_in;
use crate::store::{NewAlarm, Store, StoreError, records::PeerRecord};

/// The local directory. Clones share it.
#[derive(Clone)]
pub struct Directory {
    store: Store,
    own: Arc<Card>,
    snapshot: Arc<ArcSwap<Snapshot>>,
}

impl Directory {
    /// Loads what the operator added. `own` is this unit's card.
    pub fn load(store: Store, own: Card) -> Result<Self, DirectoryError> {
        let snapshot = Snapshot::build(&own, &store.peers()?, |unit| store.cards(unit))?;
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
        Ok(Self { store, own: Arc::new(own), snapshot })
    }

    /// This unit's card.
    pub fn own(&self) -> &Card {
        &self.own
    }

    /// Keeps this unit's card: what is stated under it outlives it.
    pub async fn keep_own(&self, now: Timestamp) -> Result<(), StoreError> {
        let card = Bytes::from(self.own.signed().encode_to_vec());
        self.store.keep_card(self.own.unit().clone(), card, now).await
    }

    /// Every card of a unit that is here: the present one, then all that were ever counted on, the
    /// newest first, also of a unit that was removed. They may be under several identity keys. A
    /// present one that nobody compared stands last.
    pub fn cards(&self, unit: &UnitId) -> Result<Vec<Card>, StoreError> {
        let (snapshot, is_own) = (self.snapshot(), unit == self.own.unit());
        let mut cards: Vec<Card> = self.store.cards(unit)?.iter().filter_map(card_in).collect();
        cards.sort_by_key(|card| std::cmp::Reverse(card.number()));
        let peer = snapshot.peer(unit);
        let present = if is_own { Some(self.own()) } else { peer.map(|peer| &*peer.card) };
        let Some(present) = present else { return Ok(cards) };
        cards.retain(|card| card.signed() != present.signed());
        let counts = is_own || peer.is_some_and(|peer| peer.trust != Trust::Unverified);
        cards.insert(if counts { 0 } else { cards.len() }, present.clone());
        Ok(cards)
    }

    /// The present state.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Imports a card, UNVERIFIED. A newer card under an identity key that is known keeps its
    /// trust; another identity key has to be removed first and compared again.
    pub async fn add(&self, file: &[u8], now: Timestamp) -> Result<Peer, DirectoryError> {
        let card = Card::from_file(file)?;
        let unit = card.unit().clone();
        if unit == *self.own.unit() {
            return Err(DirectoryError::OwnCard);
        }
        self.check_claims(&card)?;
        let bytes = Bytes::from(card.signed().encode_to_vec());
        let new = card.clone();
        let change = move |before: Option<PeerRecord>| replace(before, &new, bytes);
        self.store.change_peer(unit.clone(), now, change).await.map_err(DirectoryError::from)?;
        self.reload()?;
        let peer = self.snapshot().peer(&unit).cloned().ok_or(DirectoryError::NotFound)?;
        if peer.next_card.is_some() {
            let detail = rollback::told(&card);
            let (reason, peer) = (Reason::PeerRolledBack, unit.to_string());
            let new = NewAlarm { reason, peer, detail, evidence: Bytes::new(), now };
            // An operator brought the card: this is in nobody's hand but his.
            self.store.alarm(new, Meter::unlimited()).await?;
        }
        Ok(peer)
    }

    /// Compares digits that were read over the telephone, and trusts the unit when all match.
    pub async fn verify(
        &self,
        unit: &UnitId,
        heard: &Heard,
        by: &str,
        now: Timestamp,
    ) -> Result<Peer, DirectoryError> {
        let peer = self.snapshot().peer(unit).cloned().ok_or(DirectoryError::NotFound)?;
        if peer.trust == Trust::Suspended && heard.is_empty() {
            return Err(DirectoryError::FingerprintMismatch);
        }
        if !heard.matches(&self.fingerprint(&peer)) {
            return Err(DirectoryError::FingerprintMismatch);
        }
        self.check_claims(&peer.card)?;
        let (by, identity) = (by.to_owned(), *peer.card.identity());
        let change = move |before: Option<PeerRecord>| {
            let mut record = before.ok_or(Reason::NotFound)?;
            // The card that was compared must be the one that is stored now.
            let stored = snapshot::card_of(&record).ok_or(Reason::BadCard)?;
            if *stored.identity() != identity {
                return Err(Reason::BadCard);
            }
            record.trust = Trust::Verified.number();
            record.verified_by = by;
            record.verified_at_ms = now.as_millis();
            lift_suspension(&mut record);
            Ok(record)
        };
        self.change(unit, now, change).await
    }

    /// Stops all exchange with a unit; its queue stays.
    pub async fn suspend(
        &self,
        unit: &UnitId,
        by: &str,
        why: &str,
        now: Timestamp,
    ) -> Result<Peer, DirectoryError> {
        let (by, why) = (by.to_owned(), why.to_owned());
        let change = move |before: Option<PeerRecord>| {
            let mut record = before.ok_or(Reason::NotFound)?;
            record.trust = Trust::Suspended.number();
            record.suspended_why = why;
            record.suspended_by = by;
            record.suspended_at_ms = now.as_millis();
            Ok(record)
        };
        self.change(unit, now, change).await
    }

    /// Forgets a unit. Its messages and receipts stay, and the cards for their evidence.
    pub async fn remove(&self, unit: &UnitId, now: Timestamp) -> Result<(), DirectoryError> {
        self.store.remove_peer(unit.clone(), now).await?;
        self.reload()
    }

    /// The twelve groups that both desks read.
    pub fn fingerprint(&self, peer: &Peer) -> [String; 12] {
        fingerprint(self.own.identity(), peer.card.identity())
    }

    /// A card shows no possession of the keys on it: one that names a key of another unit would
    /// cut that unit off.
    fn check_claims(&self, card: &Card) -> Result<(), DirectoryError> {
        let snapshot = self.snapshot();
        // A card that waits for a word claims its keys as well.
        let cards = snapshot.peers().flat_map(|peer| [Some(&peer.card), peer.next_card.as_ref()]);
        let others = cards.flatten().map(|c| &**c).filter(|other| other.unit() != card.unit());
        for other in others.chain([self.own()]) {
            let theirs: BTreeSet<[u8; 32]> = keys_of(other).collect();
            if keys_of(card).any(|key| theirs.contains(&key)) {
                return Err(DirectoryError::ForeignKey(other.unit().to_string()));
            }
        }
        Ok(())
    }

    async fn change(
        &self,
        unit: &UnitId,
        now: Timestamp,
        change: impl FnOnce(Option<PeerRecord>) -> Result<PeerRecord, Reason> + Send + 'static,
    ) -> Result<Peer, DirectoryError> {
        self.store.change_peer(unit.clone(), now, change).await?;
        self.reload()?;
        self.snapshot().peer(unit).cloned().ok_or(DirectoryError::NotFound)
    }

    fn reload(&self) -> Result<(), DirectoryError> {
        let held = |unit: &UnitId| self.store.cards(unit);
        let snapshot = Snapshot::build(&self.own, &self.store.peers()?, held)?;
        self.snapshot.store(Arc::new(snapshot));
        Ok(())
    }
}

/// What somebody heard over the telephone: all sixty digits, or some of the twelve groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// All of them.
    All(String),
    /// Group numbers (1 to 12) and their digits; at least six, which both sides choose apart.
    Groups(Vec<(u32, String)>),
}

impl Heard {
    fn is_empty(&self) -> bool {
        match self {
            Self::All(digits) => digits.is_empty(),
            Self::Groups(groups) => groups.is_empty(),
        }
    }

    /// Whether everything that was heard is right, and enough was.
    pub fn matches(&self, groups: &[String; 12]) -> bool {
        match self {
            Self::All(digits) => {
                let digits: String = digits.chars().filter(|c| !c.is_whitespace()).collect();
                digits == groups.concat()
            }
            Self::Groups(heard) => {
                let numbers: BTreeSet<u32> = heard.iter().map(|h| h.0).collect();
                let right = |(number, digits): &(u32, String)| {
                    let place = number.checked_sub(1).and_then(|n| usize::try_from(n).ok());
                    place.and_then(|n| groups.get(n)).is_some_and(|group| group == digits.trim())
                };
                numbers.len() >= GROUPS_MIN && heard.iter().all(right)
            }
        }
    }
}

/// Why the directory did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The card is not valid.
    #[error(transparent)]
    Card(#[from] CardError),
    /// It is this unit's own.
    #[error("this is our own card: import the one that the other unit sent")]
    OwnCard,
    /// A key that stands on another unit's card.
    #[error("the card names a key of {0}: do not trust it, and tell both units")]
    ForeignKey(String),
    /// No such peer.
    #[error("no such peer")]
    NotFound,
    /// Another identity key than the one that is known.
    #[error("the identity key is not the known one: remove the peer, then add and compare anew")]
    IdentityChanged,
    /// Other logs, and not a word about how the known one ended.
    #[error(
        "the card's logs do not follow from the known ones: each new one must say which open log \
         it succeeds and how that ended, and nothing else about them may change: ask the unit"
    )]
    NoSuccession,
    /// Nothing waits to be accepted.
    #[error("no card waits that says that this unit's log lost leaves: import its new card first")]
    NoRollback,
    /// An older card than the one that is known.
    #[error("a card with the same or a higher number is known")]
    OlderCard,
    /// The digits do not match.
    #[error("the digits do not match: do not trust this card; call a number that you had before")]
    FingerprintMismatch,
    /// The store.
    #[error(transparent)]
    Store(StoreError),
}

impl DirectoryError {
    /// The label that leaves the machine.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Card(_)
            | Self::ForeignKey(_)
            | Self::IdentityChanged
            | Self::NoSuccession
            | Self::OlderCard => Reason::BadCard,
            Self::NoRollback => Reason::FailedPrecondition,
            Self::OwnCard => Reason::InvalidContent,
            Self::NotFound => Reason::NotFound,
            Self::FingerprintMismatch => Reason::FingerprintMismatch,
            Self::Store(error) => error.reason(),
        }
    }
}

impl From<StoreError> for DirectoryError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(Reason::NotFound) => Self::NotFound,
            StoreError::Refused(Reason::KeyNotPinned) => Self::IdentityChanged,
            StoreError::Refused(Reason::Conflict) => Self::OlderCard,
            StoreError::Refused(Reason::UnknownLog) => Self::NoSuccession,
            StoreError::Refused(Reason::FailedPrecondition) => Self::NoRollback,
            error => Self::Store(error),
        }
    }
}

/// All keys that a card names.
fn keys_of(card: &Card) -> impl Iterator<Item = [u8; 32]> {
    let working = card.keys().iter().chain(card.logs().iter().map(|log| &log.key));
    let working = working.chain(card.nodes().iter().flat_map(|node| &node.transport_keys));
    working.map(|key| *key.key.as_bytes()).chain([*card.identity().as_bytes()])
}

/// It is trusted again: the journal keeps who had suspended it, the record no longer does.
fn lift_suspension(record: &mut PeerRecord) {
    record.suspended_why.clear();
    record.suspended_by.clear();
    record.suspended_at_ms = 0;
}

/// The record with a new card.
fn replace(before: Option<PeerRecord>, card: &Card, bytes: Bytes) -> Result<PeerRecord, Reason> {
    let Some(mut record) = before else {
        let unit = card.unit().to_string();
        let trust = Trust::Unverified.number();
        return Ok(PeerRecord { card: bytes, trust, unit, ..Default::default() });
    };
    let known = snapshot::card_of(&record).ok_or(Reason::BadCard)?;
    if known.identity() != card.identity() {
        return Err(Reason::KeyNotPinned);
    }
    if known.signed() != card.signed() && card.number() <= known.number() {
        return Err(Reason::Conflict);
    }
    let waiting = card_in(&record.next_card);
    if waiting.is_some_and(|w| w.signed() != card.signed() && card.number() <= w.number()) {
        return Err(Reason::Conflict);
    }
    if record.trust != Trust::Unverified.number() && rollback::is_succession(&known, card)? {
        // Receipts of the log that goes on count when an operator has accepted that the other one
        // lost some.
        record.next_card = bytes;
        return Ok(record);
    }
    record.card = bytes;
    record.next_card = Bytes::new();
    Ok(record)
}

/// Each side types six groups that the other reads; together they cover all twelve.
const GROUPS_MIN: usize = 6;

/// What a peer's trust is on the API.
impl From<Trust> for v1::PeerTrust {
    fn from(trust: Trust) -> Self {
        match trust {
            Trust::Unverified => Self::Unverified,
            Trust::Verified => Self::Verified,
            Trust::Suspended => Self::Suspended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five right groups are too few, one wrong digit is too many, and a group twice counts once.
    #[test]
    fn heard_groups_must_be_enough_and_right() {
        let groups: [String; 12] = std::array::from_fn(|n| format!("{:05}", n * 7));
        let heard = |numbers: &[usize]| {
            let list = numbers.iter().map(|n| (*n as u32, format!("{:05}", (n - 1) * 7)));
            Heard::Groups(list.collect())
        };
        assert!(heard(&[1, 2, 5, 8, 11, 12]).matches(&groups));
        assert!(!heard(&[1, 2, 5, 8, 11]).matches(&groups));
        assert!(!heard(&[1, 1, 1, 1, 1, 1]).matches(&groups));
        assert!(!heard(&[]).matches(&groups));
        let mut wrong = vec![(1, "00000".to_owned()); 5];
        wrong.push((2, "99999".to_owned()));
        assert!(!Heard::Groups(wrong).matches(&groups));
        assert!(!Heard::Groups(vec![(0, "00000".to_owned()); 6]).matches(&groups));
        assert!(Heard::All(groups.join(" ")).matches(&groups));
        assert!(!Heard::All(String::new()).matches(&groups));
    }
}
