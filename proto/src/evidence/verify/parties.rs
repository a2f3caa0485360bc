//! The units of a bundle: their cards, and whether the verifier knows them.
//!
//! Cards come from the bundle and from the anchors. A key that only an older card names is still
//! the unit's key for its window: rotation drops keys from cards, and evidence outlives them. The
//! same holds for a node that was renamed and for a window that was narrowed: what the identity key
//! signed stays what the unit said then, or a unit could take its receipts back with a new card.
//! What takes a key away is its revocation, which counts from any card. Invariant: all cards kept
//! for one unit are under one identity key, the anchored one where there is one.

use std::collections::BTreeMap;

use crate::{
    card::{Card, CardLog, WorkingKey},
    evidence::{
        anchors::TrustAnchors,
        verdict::{Effect, Verdict},
    },
    ids::{LogOrigin, NodeId, UnitId},
    keys::KeyId,
    reason::Reason,
    succession::Succession,
    v1,
};

/// All units with a card.
pub(super) struct Parties<'a> {
    trust: &'a TrustAnchors,
    cards: BTreeMap<UnitId, Vec<Card>>,
}

impl<'a> Parties<'a> {
    /// Opens the cards of a bundle; one under a wrong identity key is a problem and is not used.
    pub(super) fn read(
        cards: &[v1::Signed],
        trust: &'a TrustAnchors,
        verdict: &mut Verdict,
    ) -> Self {
        let mut all: BTreeMap<UnitId, Vec<Card>> = BTreeMap::new();
        for card in trust.cards() {
            all.entry(card.unit().clone()).or_default().push(card.clone());
        }
        for (position, signed) in cards.iter().enumerate() {
            let place = format!("card {}", position + 1);
            let card = match Card::open(signed) {
                Ok(card) => card,
                Err(error) => {
                    verdict.invalid(&place, Reason::BadCard, &error.to_string());
                    continue;
                }
            };
            let unit = card.unit().clone();
            let known = all.entry(unit.clone()).or_default();
            let identity = card.identity().id();
            let mut bad = |text| {
                verdict.problem(Effect::Invalid, &place, Some(&unit), Reason::BadCard, text);
            };
            if trust.identity(&unit).is_some_and(|anchor| anchor != identity) {
                bad("the card is under another identity key than the trusted one");
            } else if known.first().is_some_and(|first| first.identity() != card.identity()) {
                bad("two cards of one unit are under different identity keys");
            } else {
                known.push(card);
            }
        }
        // The newest word first; of equal numbers the verifier's own card, which came first.
        for cards in all.values_mut() {
            cards.sort_by_key(|card| std::cmp::Reverse(card.number()));
        }
        all.retain(|_, cards| !cards.is_empty());
        Self { trust, cards: all }
    }

    /// Whether a card of the unit is at hand.
    pub(super) fn knows(&self, unit: &UnitId) -> bool {
        self.cards.contains_key(unit)
    }

    /// Notes what carries the unit's keys: an anchor, or nothing but the bundle.
    pub(super) fn anchor(&self, unit: &UnitId, verdict: &mut Verdict) {
        let identity = self.of(unit).next().map(|card: &Card| card.identity().id());
        match (identity, self.trust.identity(unit)) {
            (Some(identity), Some(anchor)) if identity == anchor => {
                verdict.anchored_by.insert(format!("identity key {identity} of {unit}"));
            }
            _ => {
                verdict.unanchored.insert(unit.clone(), identity);
            }
        }
    }

    /// What the unit's cards say of its signing key of this id, the newest word first.
    pub(super) fn signing_keys(&self, unit: &UnitId, id: KeyId) -> Vec<WorkingKey> {
        self.of(unit).filter_map(|card| card.key(v1::KeyKind::Signing, id)).copied().collect()
    }

    /// What the unit's cards say of one of its logs, the newest word first.
    pub(super) fn logs(&self, unit: &UnitId, origin: &LogOrigin) -> Vec<&CardLog> {
        self.of(unit).filter_map(|card| card.log(origin)).collect()
    }

    /// Where a closed log ends.
    pub(super) fn closed_size(&self, unit: &UnitId, origin: &LogOrigin) -> Option<u64> {
        let name = origin.to_string();
        let logs = self.of(unit).flat_map(|card| &card.value().logs);
        let closed = logs.filter(|log| log.origin == name && log.state() == v1::LogState::Closed);
        closed.map(|log| log.closed_size).min()
    }

    /// What the unit said when this log was succeeded.
    pub(super) fn succession(&self, unit: &UnitId, origin: &LogOrigin) -> Option<&Succession> {
        let logs = self.of(unit).flat_map(Card::logs);
        logs.filter_map(|log| log.succession.as_ref()).find(|one| one.old.origin == *origin)
    }

    /// Whether any card names the node; without any card there is nothing to hold it against.
    pub(super) fn has_node(&self, unit: &UnitId, node: &NodeId) -> bool {
        !self.knows(unit) || self.of(unit).any(|card| card.has_node(node))
    }

    fn of(&self, unit: &UnitId) -> impl Iterator<Item = &Card> {
        self.cards.get(unit).into_iter().flatten()
    }
}
