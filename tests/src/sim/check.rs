//! The invariants, on a second reading of each node's journal: what is durable is read event by
//! event and kept in a model of its own, which has to agree with what was promised, with the node's
//! index and with the other nodes.
//!
//! Looked at after every step of the schedule, each virtual second, at every start of a node, and
//! in full at the end.

mod model;
mod whole;

use std::{collections::BTreeSet, fmt};

use relay_node::{daemon::Node, store::Hashes};
use relay_proto::{ids::Digest, tlog::root_at};

use self::model::Model;
use super::{
    fixture::{Fixture, START},
    trace::Trace,
    world::Sabotage,
};

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which: `I1` …
    pub invariant: &'static str,
    /// At which node.
    pub node: usize,
    /// What was seen.
    pub text: String,
    /// Nothing was seen: the node's disk could not be read.
    pub unread: bool,
}

impl Violation {
    /// A violation.
    pub fn new(invariant: &'static str, node: usize, text: impl Into<String>) -> Self {
        Self { invariant, node, text: text.into(), unread: false }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} broken at node {}: {}", self.invariant, self.node, self.text)
    }
}

/// What was promised and what was seen.
pub struct Checker {
    units: Vec<String>,
    models: Vec<Model>,
    /// Acknowledged submissions: node, digest, recipients.
    promised: Vec<(usize, Digest, Vec<String>)>,
    acks: BTreeSet<(usize, Digest, bool)>,
    trust: whole::Trust,
    sabotage: Sabotage,
}

impl Checker {
    /// For this many nodes of the fixture.
    pub fn new(fixture: &Fixture, nodes: usize, sabotage: Sabotage) -> Self {
        let units = fixture.units.iter().take(nodes);
        Self {
            units: units.clone().map(|unit| unit.id.to_string()).collect(),
            models: units.map(|_| Model::default()).collect(),
            promised: Vec::new(),
            acks: BTreeSet::new(),
            trust: whole::Trust::of(fixture),
            sabotage,
        }
    }

    /// A client was told that its message is kept.
    pub fn promised(&mut self, node: usize, digest: Digest, to: Vec<String>) {
        if !self.promised.iter().any(|(_, known, _)| *known == digest) {
            self.promised.push((node, digest, to));
        }
    }

    /// Somebody was told that his acknowledgement was the first.
    pub fn promised_ack(
        &mut self,
        node: usize,
        digest: Digest,
        desk: bool,
    ) -> Result<(), Violation> {
        match self.acks.insert((node, digest, desk)) {
            true => Ok(()),
            false => Err(Violation::new("I2", node, format!("{digest} acknowledged first twice"))),
        }
    }

    /// One of the messages that arrived at a node.
    pub fn arrived(&self, node: usize, pick: u64) -> Option<Digest> {
        let arrived = &self.models.get(node)?.arrived_order;
        let length = u64::try_from(arrived.len()).ok().filter(|length| *length > 0)?;
        arrived.get(usize::try_from(pick % length).ok()?).copied()
    }

    /// Messages that arrived and that no desk took.
    pub fn untaken(&self, node: usize) -> Vec<Digest> {
        let Some(model) = self.models.get(node) else { return Vec::new() };
        let untaken = model.arrived_order.iter().filter(|digest| !model.is_taken(digest));
        untaken.copied().collect()
    }

    /// A node started on what its disk kept: nothing that was durable may be gone or changed.
    pub fn started(&mut self, place: usize, node: &Node) -> Result<(), Violation> {
        let Some(model) = self.models.get_mut(place) else { return Ok(()) };
        model.compare_prefix(place, node)?;
        for (_, digest, _) in self.promised.iter().filter(|(at, _, _)| *at == place) {
            self.trust.stored(place, node, digest)?;
        }
        Ok(())
    }

    /// The checks of every step.
    pub fn step(&mut self, nodes: &[Option<&Node>], trace: &Trace) -> Result<(), Violation> {
        let now_ms = START.as_millis() + trace.elapsed_ms();
        for (place, node) in nodes.iter().enumerate() {
            let (Some(node), Some(model)) = (node, self.models.get_mut(place)) else { continue };
            let double = self.sabotage == Sabotage::DoubledArrival;
            model.read_on(place, node, now_ms, double)?;
            for (at, digest, _) in &self.promised {
                if *at == place && !model.sent.contains_key(digest) {
                    let text = format!("{digest} was acknowledged and is not in the journal");
                    return Err(Violation::new("I1", place, text));
                }
            }
            bounds(place, node, nodes.len(), &self.units)?;
        }
        self.consigned(nodes)
    }

    /// A consignment that the sender holds is durable at the recipient; whoever is down is asked
    /// once he is up.
    fn consigned(&mut self, nodes: &[Option<&Node>]) -> Result<(), Violation> {
        let mut claims = Vec::new();
        for (place, model) in self.models.iter_mut().enumerate() {
            claims.extend(model.claims.drain(..).map(|claim| (place, claim)));
        }
        for (place, (digest, unit)) in claims {
            let Some(at) = self.units.iter().position(|known| *known == unit) else { continue };
            let Some(there) = self.models.get(at) else { continue };
            if there.arrived_order.contains(&digest) {
                continue;
            }
            if nodes.get(at).is_some_and(Option::is_some) {
                let text = format!("{digest} is consigned at {unit}, which does not have it");
                return Err(Violation::new("I1", at, text));
            }
            if let Some(model) = self.models.get_mut(place) {
                model.claims.push((digest, unit));
            }
        }
        Ok(())
    }

    /// What is not settled yet, if anything is.
    pub fn open(&self, nodes: &[Option<&Node>]) -> Option<String> {
        for (place, model) in self.models.iter().enumerate() {
            if nodes.get(place).is_none_or(Option::is_none) {
                return Some(format!("node {place} is down"));
            }
            if let Some(open) = model.first_open() {
                return Some(format!("node {place}: {open}"));
            }
            for (unit, statement, what) in &model.owed {
                let to = self.units.iter().position(|known| known == unit);
                let held = to.and_then(|to| self.models.get(to));
                if held.is_none_or(|held| !held.held.contains(statement)) {
                    return Some(format!("node {place}: {unit} lacks the receipt of {what}"));
                }
            }
        }
        None
    }

    /// The log that each side holds of the other is a prefix of the other's log.
    pub fn prefixes(&self, nodes: &[Option<&Node>]) -> Result<(), Violation> {
        for (place, node) in nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            for (at, other) in nodes.iter().enumerate().filter(|(at, _)| *at != place) {
                let Some(other) = other else { continue };
                let held = node.store().held_checkpoint(other.store().origin());
                let held = held.map_err(|error| broken("I11", place, &error))?;
                let Some(held) = held else { continue };
                let root = other
                    .store()
                    .read(|view| root_at(held.size, &Hashes::of(view, other.store().origin())));
                let same = root.is_ok_and(|root| root.as_bytes().as_slice() == held.root.as_ref());
                if !same || held.size > other.store().log_head().size {
                    let text = format!("its log is no continuation of size {} held", held.size);
                    return Err(Violation::new("I11", at, text));
                }
            }
        }
        Ok(())
    }
}

fn bounds(place: usize, node: &Node, nodes: usize, units: &[String]) -> Result<(), Violation> {
    let up = node.link().map(|link| link.peers_up()).unwrap_or_default();
    let unique: BTreeSet<String> = up.iter().map(|peer| peer.unit().to_string()).collect();
    if unique.len() != up.len() || up.len() >= nodes {
        return Err(Violation::new("I7", place, format!("sessions with {up:?}")));
    }
    for unit in units {
        let Ok(unit) = unit.parse() else { continue };
        let in_flight = node.relay().peer_status(&unit).in_flight;
        if in_flight > 3 * WINDOW_MAX {
            return Err(Violation::new("I7", place, format!("{in_flight} in flight to {unit}")));
        }
    }
    Ok(())
}

fn broken(invariant: &'static str, node: usize, error: &dyn std::error::Error) -> Violation {
    let violation = Violation::new(invariant, node, format!("cannot be read: {error}"));
    Violation { unread: true, ..violation }
}

/// The window of a lane, as the nodes are configured.
const WINDOW_MAX: u64 = 256;
