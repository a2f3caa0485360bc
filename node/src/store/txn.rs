//! One group of commits while it is being decided: what is durable plus what this batch has
//! appended so far.
//!
//! Verbs run here, one after the other, on the single writer; so a check and the insert that
//! follows it cannot be separated, and two requests with one id cannot both be the first.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use prost::Message;
use relay_proto::{
    audit::hash as audit_hash,
    envelope::Priority,
    ids::{Digest, LogOrigin},
    receipt,
    timestamp::Timestamp,
    tlog::Frontier,
    v1::AuditRecord,
};

use crate::store::{
    StoreError,
    event::{Anchor, Event, Fact, Leaf, LeafMoved},
    index::{self, Index},
    journal::{
        BATCH_BYTES_MAX, BATCH_EVENTS_MAX, BODY_BYTES_MAX, EventFrame, META_BYTES_MAX, Position,
    },
    project::project,
    records::{ReceiptRecord, priority_number},
    space::Room,
    verbs::audit,
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
    first_seq: u64,
    open: &'a Mutex<BTreeMap<(String, Priority), Open>>,
    events: Vec<(Event, EventFrame)>,
    /// The first event that would leave a record which the index cannot keep.
    unfit: Option<usize>,
    bytes: usize,
    woken: BTreeSet<String>,
    rewound: BTreeSet<String>,
    room: Room,
    signed: Option<(u64, Digest)>,
    /// Number and hash of the last entry of the audit log, once it was looked up.
    audited: Option<(u64, Digest)>,
}

/// Entries of one lane that wait for a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Open {
    /// How many.
    pub messages: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
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
    pub priority: Priority,
    /// The name that the statement commits to.
    pub actor: String,
}

/// Who is owed a receipt that moves to another log.
#[derive(Debug, Clone)]
pub struct MovedOwed {
    /// The unit.
    pub peer: String,
    /// The number under which it waits; 0: it does not.
    pub before: u64,
    /// Lane of the message.
    pub priority: u32,
}

/// A finished batch.
pub struct Batch {
    /// What goes to the journal.
    pub frames: Vec<EventFrame>,
    /// The same as events.
    pub events: Vec<Event>,
    /// What the index becomes by them, save where they lie in the journal.
    pub changes: Overlay,
    /// The log after it.
    pub origin: LogOrigin,
    /// Its right edge.
    pub frontier: Frontier,
    /// Peers for whom there is something new.
    pub woken: BTreeSet<String>,
    /// Peers to whom unconfirmed receipts go once more.
    pub rewound: BTreeSet<String>,
    /// The checkpoint that it notes.
    pub signed: Option<(u64, Digest)>,
}

impl<'a> Txn<'a> {
    /// Begins a batch whose first event gets `first_seq`.
    pub fn new(
        front: &'a Overlay,
        applying: Option<&'a Overlay>,
        index: &'a Index,
        frontier: Frontier,
        origin: LogOrigin,
        first_seq: u64,
        open: &'a Mutex<BTreeMap<(String, Priority), Open>>,
    ) -> Self {
        Self {
            pending: Overlay::default(),
            front,
            applying,
            index,
            frontier,
            origin,
            first_seq,
            open,
            events: Vec::new(),
            unfit: None,
            bytes: 0,
            woken: BTreeSet::new(),
            rewound: BTreeSet::new(),
            room: Room::Ample,
            signed: None,
            audited: None,
        }
    }

    /// The same on a disk with so much room.
    pub fn with_room(mut self, room: Room) -> Self {
        self.room = room;
        self
    }

    /// How much room the disk has: who may add a message.
    pub fn room(&self) -> Room {
        self.room
    }

    /// What is durable plus this batch.
    pub fn view(&self) -> View<'_> {
        View::new([Some(&self.pending), Some(self.front), self.applying], self.index)
    }

    /// Appends an event. Its effects are seen by the next verb of the batch.
    pub fn push(&mut self, at: Timestamp, fact: Fact, body: Bytes) -> u64 {
        let event = Event { at_ms: at.as_millis(), fact: Some(fact) };
        let seq = self.first_seq + self.events.len() as u64;
        self.show(&event, seq);
        let frame = EventFrame { meta: event.encode_to_vec().into(), body };
        self.bytes += frame_bytes(&frame);
        self.events.push((event, frame));
        seq
    }

    /// Runs one commit of the batch: all of its events, or none of them when it fails or when what
    /// it appended can be stored nowhere. Without this a failed commit would leave half of itself,
    /// or a hole in the log.
    pub fn attempt<R>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let (kept, log) = (self.events.len(), (self.origin.clone(), self.frontier.clone()));
        let result = work(self).and_then(|answer| self.check_since(kept).map(|()| answer));
        if let Err(error) = &result {
            if !matches!(error, StoreError::Refused(_)) || self.events.len() > kept {
                // What this commit opened or ended was noted already.
                self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
            self.take_back(kept, log);
        }
        result
    }

    /// Whether the next commit should wait for the next batch.
    pub fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES_USUAL || self.events.len() >= BATCH_EVENTS_USUAL
    }

    fn show(&mut self, event: &Event, seq: u64) {
        // The position is not known yet and no verb reads it.
        for op in project(event, seq, Position { segment: 0, offset: 0 }) {
            if index::check(&op.change()).is_err() {
                let place = usize::try_from(seq - self.first_seq).unwrap_or(usize::MAX);
                self.unfit = self.unfit.or(Some(place));
            }
            self.pending.insert(op, seq);
        }
    }

    /// What journal and index would refuse is refused here, where it fails one commit and not the
    /// store.
    fn check_since(&self, kept: usize) -> Result<(), StoreError> {
        let too_large = |what| Err(StoreError::TooLarge(what));
        for (_, frame) in self.events.iter().skip(kept) {
            if frame.meta.len() > META_BYTES_MAX || frame.body.len() > BODY_BYTES_MAX {
                return too_large("an event");
            }
        }
        if self.unfit.is_some() {
            return too_large("a record");
        }
        let frames = self.bytes as u64 + BATCH_FRAME;
        if frames > BATCH_BYTES_MAX || self.events.len() as u64 > u64::from(BATCH_EVENTS_MAX) {
            return too_large("a commit");
        }
        Ok(())
    }

    fn take_back(&mut self, kept: usize, log: (LogOrigin, Frontier)) {
        (self.origin, self.frontier) = log;
        self.audited = None;
        if self.events.len() == kept {
            // A refusal before anything was appended, the usual case, costs the batch nothing.
            return;
        }
        self.events.truncate(kept);
        self.unfit = None;
        self.pending = Overlay::default();
        let events = std::mem::take(&mut self.events);
        self.bytes = events.iter().map(|(_, frame)| frame_bytes(frame)).sum();
        for (seq, (event, _)) in (self.first_seq..).zip(&events) {
            self.show(event, seq);
        }
        self.events = events;
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

    /// Gives an entry of the audit log its place there. Whoever asks for it appends it.
    pub fn audit(&mut self, mut record: AuditRecord) -> Result<AuditRecord, StoreError> {
        let last = match self.audited {
            Some(last) => Some(last),
            None => audit::last(&self.view())?.map(|last| mark(&last)),
        };
        if let Some((number, hash)) = last {
            record.previous = Bytes::copy_from_slice(hash.as_bytes());
            record.number = number + 1;
        } else {
            (record.previous, record.number) = (Bytes::new(), 1);
        }
        self.audited = Some(mark(&record));
        Ok(record)
    }

    /// The open log.
    pub fn origin(&self) -> &LogOrigin {
        &self.origin
    }

    /// Begins another log with this first leaf.
    pub fn begin_log(&mut self, origin: LogOrigin, leaf_hash: Digest) -> Result<(), StoreError> {
        (self.origin, self.frontier) = (origin, Frontier::new());
        self.frontier.append(leaf_hash).map(drop).ok_or(StoreError::LogFull)
    }

    /// Makes a receipt of an ended log a leaf of the open one, the same bytes, so that it can be
    /// proven to whoever holds more of the ended log than is left of it here.
    pub fn move_leaf(
        &mut self,
        receipt_key: Bytes,
        mut receipt: ReceiptRecord,
        owed: Option<MovedOwed>,
    ) -> Result<LeafMoved, StoreError> {
        receipt.index = self.frontier.size();
        receipt.origin = self.origin.to_string();
        let hash = receipt::leaf_hash(&receipt.statement);
        let hashes = self.frontier.append(hash).ok_or(StoreError::LogFull)?;
        let hashes = hashes.iter().map(|(_, h)| Bytes::copy_from_slice(h.as_bytes())).collect();
        let mut moved =
            LeafMoved { receipt_key, receipt: Some(receipt), hashes, ..Default::default() };
        if let Some(owed) = owed {
            moved.owed_number = self.view().counter("receipts-made", &owed.peer)? + 1;
            moved.owed_before = owed.before;
            moved.priority = owed.priority;
            self.wake(&owed.peer);
            moved.owed_to = owed.peer;
        }
        Ok(moved)
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

    /// So much of this lane is open towards this peer, if that is known: whoever opens an entry
    /// adds to it, whoever ends one takes it off, and a commit that fails forgets it.
    pub fn open(&self, peer: &str, lane: Priority) -> Option<Open> {
        let bounds = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        bounds.get(&(peer.to_owned(), lane)).copied()
    }

    /// Keeps how much is open at most; nothing: it has to be counted.
    pub fn note_open(&self, peer: &str, lane: Priority, open: Option<Open>) {
        let mut bounds = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open {
            Some(open) => bounds.insert((peer.to_owned(), lane), open),
            None => bounds.remove(&(peer.to_owned(), lane)),
        };
    }

    /// An entry of this lane ended, or was not opened after all.
    pub fn note_ended(&self, peer: &str, lane: Priority, wire_bytes: u32) {
        if let Some(open) = self.open(peer, lane) {
            let messages = open.messages.saturating_sub(1);
            let bytes = open.bytes.saturating_sub(wire_bytes.into());
            self.note_open(peer, lane, Some(Open { messages, bytes }));
        }
    }

    /// Whether nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Notes the last checkpoint that was signed, as the anchor of the log.
    pub fn anchor(&mut self, signed: Option<(u64, Digest)>) {
        self.signed = signed;
        if let Some((size, root)) = signed {
            let root = Bytes::copy_from_slice(root.as_bytes());
            let fact = Fact::Anchor(Anchor { origin: self.origin.to_string(), size, root });
            self.push(Timestamp::default(), fact, Bytes::new());
        }
    }

    /// Ends the batch.
    pub fn finish(self) -> Batch {
        let (events, frames) = self.events.into_iter().unzip();
        let Self { origin, frontier, woken, rewound, signed, pending: changes, .. } = self;
        Batch { frames, origin, frontier, woken, rewound, signed, events, changes }
    }
}

fn mark(record: &AuditRecord) -> (u64, Digest) {
    (record.number, audit_hash(record))
}

fn frame_bytes(frame: &EventFrame) -> usize {
    frame.meta.len() + frame.body.len() + EVENT_FRAME
}

/// What stands around meta and body of an event, and around the events of a batch; at least.
const EVENT_FRAME: usize = 64;
const BATCH_FRAME: u64 = 1024;

/// A batch that has this much takes no further commit, so that a usual commit never finds it too
/// full.
const BATCH_BYTES_USUAL: usize = 16 << 20;
const BATCH_EVENTS_USUAL: usize = 16_384;
