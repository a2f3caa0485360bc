//! What the verifier trusts before it opens a bundle.
//!
//! An anchor binds a name to a key: a unit to its identity key, or a log to its key. Invariant: one
//! name has one key; a second one is refused, not preferred.

use std::collections::BTreeMap;

use crate::{
    card::Card,
    ids::{LogOrigin, UnitId},
    keys::{KeyId, PublicKey},
    tlog::VerifierKey,
};

/// Identity keys of units and keys of logs that the verifier knows to be the right ones.
#[derive(Debug, Clone, Default)]
pub struct TrustAnchors {
    identities: BTreeMap<UnitId, KeyId>,
    cards: Vec<Card>,
    logs: BTreeMap<LogOrigin, PublicKey>,
    hubs: Vec<UnitId>,
}

/// Two anchors contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("two different keys are trusted for {0}")]
pub struct AnchorConflict(
    /// The unit or log.
    pub String,
);

impl TrustAnchors {
    /// Trusts a unit's identity key by its id: what a person compared.
    pub fn add_identity(&mut self, unit: UnitId, identity: KeyId) -> Result<(), AnchorConflict> {
        let known = self.identities.entry(unit.clone()).or_insert(identity);
        if *known == identity { Ok(()) } else { Err(AnchorConflict(unit.to_string())) }
    }

    /// Trusts a card: its identity key, and the keys that it names.
    pub fn add_card(&mut self, card: Card) -> Result<(), AnchorConflict> {
        self.add_identity(card.unit().clone(), card.identity().id())?;
        self.cards.push(card);
        Ok(())
    }

    /// Trusts the key of a log, as a `.vkey` file gives it; its name is the log's origin.
    pub fn add_log(&mut self, key: &VerifierKey) -> Result<(), AnchorConflict> {
        let conflict = || AnchorConflict(key.name().to_owned());
        let origin: LogOrigin = key.name().parse().map_err(|_| conflict())?;
        let known = self.logs.entry(origin).or_insert(*key.key());
        if known == key.key() { Ok(()) } else { Err(conflict()) }
    }

    /// Knows that this unit carries messages for others and may issue a carrier's receipts.
    pub fn add_hub(&mut self, unit: UnitId) {
        self.hubs.push(unit);
    }

    /// Whether nothing is trusted: no bundle can be VALID.
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty() && self.logs.is_empty()
    }

    pub(super) fn identity(&self, unit: &UnitId) -> Option<KeyId> {
        self.identities.get(unit).copied()
    }

    pub(super) fn cards(&self) -> &[Card] {
        &self.cards
    }

    pub(super) fn log(&self, origin: &LogOrigin) -> Option<PublicKey> {
        self.logs.get(origin).copied()
    }

    pub(super) fn hubs(&self) -> &[UnitId] {
        &self.hubs
    }
}
