//! One group of commits while it is being decided: what is durable plus what this batch has appended so far.
//!
//! Verbs run here, one after the other, on the single writer; so a check and the insert that follows it cannot be
//! separated, and two requests with one id cannot both be the first.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;
use relay_proto::{
    ids::{Digest, LogOrigin},
    receipt,
    timestamp::Timestamp,
    tlog::Frontier,
};

use crate::store::{
    StoreError,
    event::{Anchor, Event, Fact, Leaf},
    index::Index,
    journal::{EventFrame, Position},
    project::project,
    records::priority_number,
    view::{Overlay, View},
};

/// The batch that is being made.
pub struct Txn<'a> {
    pending: Overlay,
    front: &'a Overlay,
    applying: Option<&'a Overlay>,
    index: &'a Index,
    frontier: Frontier,
    origin: LogOrigin,
    next_seq: u64,
    events: Vec<(Event, Bytes)>,
    woken: BTreeSet<String>,
    rewound: BTreeSet<String>,
}

/// A receipt that is about to become a leaf.
#[derive(Debug, Clone)]
pub struct NewLeaf {
    /// The exact statement bytes.
    pub statement: Bytes,
    /// Header digest of the message.
    pub digest: Digest,
    /// The unit that must have it; nothing: only our own case system.
    pub owed_to: Option<String>,
    /// Lane of the message.
    pub priority: relay_proto::envelope::Priority,
    /// The name that the statement commits to.
    pub actor: String,
}

/// A finished batch.
pub struct Batch {
    /// What goes to the journal.
    pub frames: Vec<EventFrame>,
    /// The same as events.
    pub events: Vec<Event>,
    /// The log after it.
    pub frontier: Frontier,
    /// Peers for whom there is something new.
    pub woken: BTreeSet<String>,
    /// Peers to whom unconfirmed receipts go once more.
    pub rewound: BTreeSet<String>,
}

impl<'a> Txn<'a> {
    /// Begins a batch whose first event gets `next_seq`.
    pub fn new(
        front: &'a Overlay,
        applying: Option<&'a Overlay>,
        index: &'a Index,
        frontier: Frontier,
        origin: LogOrigin,
        next_seq: u64,
    ) -> Self {
        Self {
            pending: Overlay::default(),
            front,
            applying,
            index,
            frontier,
            origin,
            next_seq,
            events: Vec::new(),
            woken: BTreeSet::new(),
            rewound: BTreeSet::new(),
        }
    }

    /// What is durable plus this batch.
    pub fn view(&self) -> View<'_> {
        View::new([Some(&self.pending), Some(self.front), self.applying], self.index)
    }

    /// Appends an event. Its effects are seen by the next verb of the batch.
    pub fn push(&mut self, at: Timestamp, fact: Fact, body: Bytes) -> u64 {
        let event = Event { at_ms: at.as_millis(), fact: Some(fact) };
        let seq = self.next_seq;
        self.next_seq += 1;
        // The position is not known yet and no verb reads it.
        for op in project(&event, seq, Position { segment: 0, offset: 0 }) {
            self.pending.insert(op, seq);
        }
        self.events.push((event, body));
        seq
    }

    /// Gives a receipt its place in the log.
    pub fn leaf(&mut self, new: NewLeaf) -> Result<Leaf, StoreError> {
        let index = self.frontier.size();
        let hash = receipt::leaf_hash(&new.statement);
        let hashes = self.frontier.append(hash).ok_or(StoreError::LogFull)?;
        let owed_to = new.owed_to.unwrap_or_default();
        let owed_number = match owed_to.is_empty() {
            true => 0,
            false => self.view().counter("receipts-made", &owed_to)? + 1,
        };
        self.wake(&owed_to);
        Ok(Leaf {
            index,
            statement: new.statement,
            hashes: hashes.iter().map(|(_, h)| Bytes::copy_from_slice(h.as_bytes())).collect(),
            owed_to,
            owed_number,
            priority: priority_number(new.priority),
            actor: new.actor,
            origin: self.origin.to_string(),
            digest: Bytes::copy_from_slice(new.digest.as_bytes()),
        })
    }

    /// Wakes the workers of this peer once the batch is durable.
    pub fn wake(&mut self, peer: &str) {
        if !peer.is_empty() {
            self.woken.insert(peer.to_owned());
        }
    }

    /// Makes receipts that a peer was sent and did not confirm go out once more.
    pub fn rewind(&mut self, peer: &str) {
        self.rewound.insert(peer.to_owned());
    }

    /// Whether nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Notes the last checkpoint that was signed, as the anchor of the log.
    pub fn anchor(&mut self, signed: Option<(u64, Digest)>) {
        if let Some((size, root)) = signed {
            let root = Bytes::copy_from_slice(root.as_bytes());
            let fact = Fact::Anchor(Anchor { origin: self.origin.to_string(), size, root });
            self.push(Timestamp::default(), fact, Bytes::new());
        }
    }

    /// Ends the batch.
    pub fn finish(self) -> Batch {
        let frames = self.events.iter().map(|(event, body)| EventFrame {
            meta: event.encode_to_vec().into(),
            body: body.clone(),
        });
        Batch {
            frames: frames.collect(),
            frontier: self.frontier,
            woken: self.woken,
            rewound: self.rewound,
            events: self.events.into_iter().map(|(event, _)| event).collect(),
        }
    }
}
