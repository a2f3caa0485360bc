//! What is checked once a run is over: everything stored, against its signatures and against the
//! other nodes.

use relay_node::{
    daemon::Node,
    store::{Content, records::EntryState},
};
use relay_proto::{
    card::Card,
    envelope::{Header, Priority},
    evidence::{self, Outcome, TrustAnchors},
    ids::{Digest, UnitId},
    keys::{KeyId, PublicKey},
    v1,
};

use super::{Checker, Violation, broken};
use crate::sim::{fixture::Fixture, trace::Trace};

/// The cards that everything has to verify under.
pub(super) struct Trust {
    cards: Vec<Card>,
    anchors: TrustAnchors,
}

impl Trust {
    pub fn of(fixture: &Fixture) -> Self {
        let cards: Vec<Card> = fixture.units.iter().map(|unit| unit.card.clone()).collect();
        let mut anchors = TrustAnchors::default();
        for card in &cards {
            anchors.add_card(card.clone()).expect("units with keys of their own");
        }
        Self { cards, anchors }
    }

    fn find(&self, id: KeyId) -> Option<(UnitId, PublicKey)> {
        let signing = v1::KeyKind::Signing;
        self.cards
            .iter()
            .find_map(|card| card.key(signing, id).map(|key| (card.unit().clone(), key.key)))
    }

    /// A message that is stored whole and verifies.
    pub fn stored(&self, place: usize, node: &Node, digest: &Digest) -> Result<Content, Violation> {
        let store = node.store();
        let record = store.message(digest).map_err(|error| broken("I1", place, &error))?;
        let lost = || Violation::new("I1", place, format!("{digest} is not in the store"));
        let content = store.content(&record.ok_or_else(lost)?);
        let content = content.map_err(|error| broken("I1", place, &error))?;
        let header = Header::open(&content.header, |id| self.find(id));
        let header = header.map_err(|error| broken("I6", place, &error))?;
        let payload = content.payload.as_ref().ok_or_else(lost)?;
        if header.digest != *digest || Digest::of(payload) != header.payload_digest {
            return Err(Violation::new("I6", place, format!("{digest} has other bytes")));
        }
        Ok(content)
    }
}

impl Checker {
    /// All that has to hold at the end.
    pub async fn finish(
        &self,
        nodes: &[Option<&Node>],
        trace: &Trace,
        clock_faults: bool,
    ) -> Result<(), Violation> {
        self.prefixes(nodes)?;
        for (place, node) in nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            self.entries(place, node)?;
            self.messages(place, nodes)?;
            self.numbers(place, nodes)?;
        }
        for (place, digest, to) in self.promised.iter().take(EVIDENCE_MAX) {
            let Some(node) = nodes.get(*place).copied().flatten() else { continue };
            let bundle = node.relay().evidence(digest, true).await;
            let bundle = bundle.map_err(|error| broken("I11", *place, &error))?;
            let verdict = evidence::verify(&bundle, &self.trust.anchors);
            let text = format!("evidence of {digest} to {to:?} is {}", verdict.outcome);
            trace.text(text.clone());
            let timely = clock_faults && verdict.outcome == Outcome::UnprovenTime;
            if verdict.outcome != Outcome::Valid && !timely {
                let text = format!("{text}: {:?}", verdict.problems);
                return Err(Violation::new("I11", *place, text));
            }
        }
        Ok(())
    }

    /// The node's index says what its journal says.
    fn entries(&self, place: usize, node: &Node) -> Result<(), Violation> {
        let Some(model) = self.models.get(place) else { return Ok(()) };
        for (digest, wanted) in &model.sent {
            let entries = node.store().entries(digest);
            let entries = entries.map_err(|error| broken("I4", place, &error))?;
            let same = entries.len() == wanted.len()
                && entries.iter().all(|entry| wanted.get(&entry.recipient) == Some(entry));
            if !same {
                let text = format!("entries of {digest}: {entries:?}, journal: {wanted:?}");
                return Err(Violation::new("I4", place, text));
            }
        }
        for unit in self.units.iter().filter_map(|unit| unit.parse::<UnitId>().ok()) {
            for lane in Priority::ALL {
                let due = node.store().claim_due(&unit, lane, 0, 8);
                let due = due.map_err(|error| broken("I4", place, &error))?;
                if !due.is_empty() {
                    return Err(Violation::new("I4", place, format!("still due to {unit}")));
                }
            }
        }
        Ok(())
    }

    /// What arrived is byte for byte what was sent.
    fn messages(&self, place: usize, nodes: &[Option<&Node>]) -> Result<(), Violation> {
        let (Some(model), Some(Some(node))) = (self.models.get(place), nodes.get(place)) else {
            return Ok(());
        };
        for (digest, entries) in &model.sent {
            let sent = self.trust.stored(place, node, digest)?;
            for entry in entries.values().filter(|e| e.state() == EntryState::Delivered) {
                let at = self.units.iter().position(|unit| *unit == entry.recipient);
                let Some((at, Some(there))) = at.and_then(|at| Some((at, *nodes.get(at)?))) else {
                    continue;
                };
                let got = self.trust.stored(at, there, digest)?;
                if got.header != sent.header || got.payload != sent.payload {
                    return Err(Violation::new("I1", at, format!("{digest} has other bytes")));
                }
            }
        }
        Ok(())
    }

    /// Every transfer that was answered is in the recipient's numbers: gaps are what expired
    /// unsent.
    fn numbers(&self, place: usize, nodes: &[Option<&Node>]) -> Result<(), Violation> {
        let (Some(model), Some(unit)) = (self.models.get(place), self.units.get(place)) else {
            return Ok(());
        };
        let Ok(unit) = unit.parse::<UnitId>() else { return Ok(()) };
        for entry in model.sent.values().flat_map(|entries| entries.values()) {
            let at = self.units.iter().position(|unit| *unit == entry.recipient);
            let Some((at, Some(there))) = at.and_then(|at| Some((at, *nodes.get(at)?))) else {
                continue;
            };
            let numbers = there.store().transfers_in(&unit);
            let numbers = numbers.map_err(|error| broken("I5", at, &error))?;
            let mut ranges = numbers.ranges.chunks_exact(2);
            let inside = entry.number <= numbers.contiguous
                || ranges.any(|pair| {
                    pair.first() <= Some(&entry.number) && Some(&entry.number) <= pair.last()
                });
            if !inside && entry.state() != EntryState::Expired {
                let text = format!("transfer {} of {unit} is a gap", entry.number);
                return Err(Violation::new("I5", at, text));
            }
        }
        Ok(())
    }
}

/// Bundles that are verified in one run.
const EVIDENCE_MAX: usize = 2;
