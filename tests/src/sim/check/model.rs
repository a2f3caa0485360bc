//! One node's durable history as the checker reads it, and the rules that each new event must keep.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hasher},
};

use bytes::Bytes;
use prost::Message;
use relay_node::{
    daemon::Node,
    store::{
        event::{Acknowledged, Arrived, Event, Fact, Leaf, ReceiptsRecorded, Submitted},
        records::{EntryRecord, EntryState, digest_of},
    },
};
use relay_proto::{ids::Digest, reason::Reason, receipt::Statement};

use super::{Violation, broken};

/// The history of one node.
#[derive(Default)]
pub(super) struct Model {
    hashes: Vec<u64>,
    /// Messages sent: their entries by recipient.
    pub sent: BTreeMap<Digest, BTreeMap<String, EntryRecord>>,
    arrived: BTreeMap<(String, Bytes), Digest>,
    /// Messages that arrived, in their order.
    pub arrived_order: Vec<Digest>,
    refused: BTreeSet<Digest>,
    /// Statements received from others.
    pub held: BTreeSet<Bytes>,
    /// What receipts without flags said of a message and recipient.
    ends: BTreeMap<(Digest, String), EntryState>,
    /// Own receipts that others must get: unit, statement, what it is.
    pub owed: Vec<(String, Bytes, String)>,
    /// Consignments that were read and not yet looked for at the recipient.
    pub claims: Vec<(Digest, String)>,
    acks: BTreeSet<(Digest, u32)>,
}

impl Model {
    /// Reads what became durable since the last look.
    pub fn read_on(
        &mut self,
        place: usize,
        node: &Node,
        now_ms: u64,
        double: bool,
    ) -> Result<(), Violation> {
        let seen = self.hashes.len() as u64;
        if node.store().log_head().seq <= seen {
            return Ok(());
        }
        let events = node.store().events_after(seen, EVENTS_MAX);
        for (seq, event) in events.map_err(|error| broken("I1", place, &error))? {
            if seq != self.hashes.len() as u64 + 1 {
                let text = format!("sequence {seq} after {}", self.hashes.len());
                return Err(Violation::new("I1", place, text));
            }
            self.hashes.push(hash_of(&event));
            let Some(fact) = event.fact.clone() else { continue };
            let doubled = double && matches!(fact, Fact::Arrived(_));
            let fail = |(invariant, text)| Violation::new(invariant, place, text);
            if doubled {
                self.take(fact.clone(), now_ms).map_err(fail)?;
            }
            self.take(fact, now_ms).map_err(fail)?;
        }
        Ok(())
    }

    /// After a start: all that was seen is still there, as it was.
    pub fn compare_prefix(&self, place: usize, node: &Node) -> Result<(), Violation> {
        let mut seen = 0;
        while seen < self.hashes.len() {
            let events = node.store().events_after(seen as u64, EVENTS_MAX);
            let events = events.map_err(|error| broken("I1", place, &error))?;
            let lost = || {
                let text = format!("{} durable events, other ones now", self.hashes.len());
                Violation::new("I1", place, text)
            };
            if events.is_empty() {
                return Err(lost());
            }
            for (seq, event) in events {
                let Some(known) = self.hashes.get(seen) else { return Ok(()) };
                if seq != seen as u64 + 1 || *known != hash_of(&event) {
                    return Err(lost());
                }
                seen += 1;
            }
        }
        Ok(())
    }

    /// Whether a desk took a message.
    pub fn is_taken(&self, digest: &Digest) -> bool {
        self.acks.contains(&(*digest, 2))
    }

    /// The first entry that has no end.
    pub fn first_open(&self) -> Option<String> {
        let mut entries = self.sent.values().flat_map(BTreeMap::values);
        let open = entries.find(|entry| entry.is_open())?;
        let (digest, to) = (open.digest(), &open.recipient);
        let (state, reason) = (open.state(), &open.reason);
        Some(format!("{digest} to {to} is {state:?}, transfer {} {reason}", open.number))
    }

    fn take(&mut self, fact: Fact, now_ms: u64) -> Result<(), Broken> {
        match fact {
            Fact::Submitted(fact) => self.submitted(fact),
            Fact::Arrived(fact) => self.arrived(fact),
            Fact::Refused(fact) => {
                let digest = digest_of(&fact.digest);
                if self.arrived_order.contains(&digest) || !self.refused.insert(digest) {
                    return Err(("I3", format!("{digest} refused after a verdict")));
                }
                self.leaf(fact.leaf);
                Ok(())
            }
            Fact::ReceiptsRecorded(fact) => self.receipts(fact),
            Fact::Acknowledged(fact) => self.acknowledged(fact),
            Fact::EntryDeferred(fact) => fact.entry.map_or(Ok(()), |entry| self.entry(entry)),
            Fact::EntryExpired(fact) => {
                let Some(entry) = fact.entry else { return Ok(()) };
                if entry.expires_at_ms > now_ms {
                    let early = entry.expires_at_ms - now_ms;
                    return Err(("I9", format!("{} expired {early} ms early", entry.digest())));
                }
                self.end(entry.digest(), &entry.recipient, EntryState::Expired)?;
                self.entry(entry)
            }
            Fact::Alarmed(alarm) if alarm.reason != Reason::LateAfterFailure.label() => {
                // Nobody here lies or was set back: every such alarm is a false one.
                Err((
                    "I3",
                    format!("alarm {} about {}: {}", alarm.reason, alarm.peer, alarm.detail),
                ))
            }
            _ => Ok(()),
        }
    }

    fn submitted(&mut self, fact: Submitted) -> Result<(), Broken> {
        let digest = digest_of(&fact.record.unwrap_or_default().digest);
        let entries = fact.entries.into_iter().map(|entry| (entry.recipient.clone(), entry));
        if self.sent.insert(digest, entries.collect()).is_some() {
            return Err(("I2", format!("{digest} submitted twice")));
        }
        Ok(())
    }

    fn arrived(&mut self, fact: Arrived) -> Result<(), Broken> {
        let record = fact.record.unwrap_or_default();
        let digest = digest_of(&record.digest);
        if self.arrived.insert((record.from.clone(), record.message_id), digest).is_some() {
            return Err(("I2", format!("{digest} of {} took effect twice", record.from)));
        }
        if self.refused.contains(&digest) {
            return Err(("I3", format!("{digest} taken after it was refused")));
        }
        self.arrived_order.push(digest);
        self.leaf(fact.leaf);
        Ok(())
    }

    fn receipts(&mut self, fact: ReceiptsRecorded) -> Result<(), Broken> {
        for recorded in fact.receipts {
            let digest = digest_of(&recorded.digest);
            let Some(receipt) = recorded.receipt else { continue };
            if !self.held.insert(receipt.statement.clone()) {
                return Err(("I3", format!("a receipt of {digest} was kept twice")));
            }
            let statement = Statement::from_bytes(&receipt.statement)
                .map_err(|error| ("I6", format!("statement about {digest}: {error}")))?;
            let recipient = statement.recipient.as_ref().map(ToString::to_string);
            let recipient = recipient.unwrap_or_default();
            let undated = Reason::ClockUntrusted.label();
            let late = [Reason::LateAfterFailure.label()];
            let failed = self.ends.get(&(digest, recipient.clone())) == Some(&EntryState::Expired);
            let consigned = statement.event.implies_consignment();
            if consigned {
                self.claims.push((digest, statement.issuer.to_string()));
            }
            if receipt.counts() {
                let end = if consigned { EntryState::Delivered } else { EntryState::Refused };
                self.end(digest, &recipient, end)?;
            } else if !receipt.flags.iter().filter(|flag| *flag != undated).eq(&late) || !failed {
                return Err(("I3", format!("{digest} flagged {:?}", receipt.flags)));
            }
            if let Some(entry) = recorded.entry {
                self.entry(entry)?;
            }
        }
        Ok(())
    }

    fn acknowledged(&mut self, fact: Acknowledged) -> Result<(), Broken> {
        let digest = digest_of(&fact.digest);
        if let Some(ack) = fact.ack
            && !self.acks.insert((digest, ack.capacity))
        {
            return Err(("I2", format!("{digest} acknowledged twice in one capacity")));
        }
        self.leaf(fact.leaf);
        Ok(())
    }

    /// One end of a message at a recipient; another one contradicts it.
    fn end(&mut self, digest: Digest, recipient: &str, end: EntryState) -> Result<(), Broken> {
        let before = *self.ends.entry((digest, recipient.to_owned())).or_insert(end);
        if before == end {
            return Ok(());
        }
        Err(("I3", format!("{digest} to {recipient} is {before:?} and {end:?}")))
    }

    /// An entry as it is now: what had its end keeps it.
    fn entry(&mut self, entry: EntryRecord) -> Result<(), Broken> {
        let digest = entry.digest();
        let entries = self.sent.get_mut(&digest);
        let known = entries.and_then(|entries| entries.get_mut(&entry.recipient));
        let Some(known) = known else {
            return Err(("I4", format!("an entry of {digest} that was never made")));
        };
        if !known.is_open() {
            let (before, after) = (known.state(), entry.state());
            return Err(("I4", format!("{digest} went from {before:?} to {after:?}")));
        }
        *known = entry;
        Ok(())
    }

    fn leaf(&mut self, leaf: Option<Leaf>) {
        let Some(leaf) = leaf.filter(|leaf| !leaf.owed_to.is_empty()) else { return };
        let what = digest_of(&leaf.digest).to_string();
        self.owed.push((leaf.owed_to, leaf.statement, what));
    }
}

fn hash_of(event: &Event) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(&event.encode_to_vec());
    hasher.finish()
}

type Broken = (&'static str, String);

const EVENTS_MAX: usize = 4_096;
