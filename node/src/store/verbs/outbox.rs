//! The outbox: what is due for a peer, what waits and why, what expired.

use std::ops::Bound::{Excluded, Included, Unbounded};

use bytes::Bytes;
use relay_core::outbox::Entry;
use relay_proto::{
    envelope::Priority,
    ids::{Digest, UnitId},
    reason::Reason,
    timestamp::Timestamp,
};

use crate::store::{
    NewLeaf, Store, StoreError,
    event::{BackoffSaved, EntryChanged, Fact},
    index::Tree,
    records::{BackoffRecord, EntryRecord, EntryState, key, priority_number},
    txn::{Open, Txn},
};

/// An open entry with its record.
pub type Claimed = (Entry, EntryRecord);

/// What waits for one peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerQueue {
    /// Open entries, counted up to a bound.
    pub open: u64,
    /// There are more than were counted.
    pub more: bool,
    /// When the oldest was queued.
    pub oldest: Option<Timestamp>,
    /// The most urgent priority that waits.
    pub most_urgent: Option<Priority>,
}

/// How much of one lane may wait for one peer.
#[derive(Debug, Clone, Copy)]
pub struct QueueMax {
    /// Messages.
    pub messages: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
}

/// An entry whose time passed.
#[derive(Debug, Clone)]
pub struct NewExpiry {
    /// The entry.
    pub digest: Digest,
    /// The recipient.
    pub recipient: UnitId,
    /// RelayFailure, as statement bytes.
    pub failure: Bytes,
    /// Now.
    pub now: Timestamp,
}

impl Store {
    /// Open entries of a peer's lane with numbers above `after`. The lease is the session: a single
    /// node owns its store, and what is in flight is due again when the session ends.
    pub fn claim_due(
        &self,
        peer: &UnitId,
        lane: Priority,
        after: u64,
        max: usize,
    ) -> Result<Vec<Claimed>, StoreError> {
        self.read(|view| {
            let lower = key::due(peer.as_str(), lane, after.saturating_add(1));
            let upper = lane_end(peer.as_str(), lane);
            let pairs = view.range(Tree::Due, Included(&lower), Excluded(&upper), max, false)?;
            let mut claimed = Vec::with_capacity(pairs.len());
            for (_, due) in &pairs {
                let record: Option<EntryRecord> = view.record(Tree::Outbox, due_of(due)?.1)?;
                let record = record.ok_or(StoreError::IndexDamaged("due"))?;
                claimed.push((entry_of(&record), record));
            }
            Ok(claimed)
        })
    }

    /// What waits for a peer; `count_max` bounds the work.
    pub fn peer_queue(&self, peer: &UnitId, count_max: usize) -> Result<PeerQueue, StoreError> {
        self.read(|view| {
            let mut queue = PeerQueue::default();
            for lane in Priority::ALL {
                let lower = key::due(peer.as_str(), lane, 0);
                let upper = lane_end(peer.as_str(), lane);
                let (lower, upper) = (Included(lower.as_slice()), Excluded(upper.as_slice()));
                let pairs = view.range(Tree::Due, lower, upper, count_max, false)?;
                let Some((_, first)) = pairs.first() else { continue };
                queue.open += pairs.len() as u64;
                queue.more |= pairs.len() == count_max;
                queue.most_urgent = queue.most_urgent.max(Some(lane));
                let first: Option<EntryRecord> = view.record(Tree::Outbox, due_of(first)?.1)?;
                let at = first.map(|entry| Timestamp::from_millis(entry.queued_at_ms));
                queue.oldest = match (queue.oldest, at) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
            }
            Ok(queue)
        })
    }

    /// The units for which something waits, whether they are peers or not.
    pub fn waiting_units(&self, max: usize) -> Result<Vec<UnitId>, StoreError> {
        self.read(|view| {
            let (mut units, mut from) = (Vec::new(), Vec::new());
            while units.len() < max {
                let pairs = view.range(Tree::Due, Included(&from), Unbounded, 1, false)?;
                let Some((key, _)) = pairs.first() else { break };
                let name = key.split(|byte| *byte == 0).next().unwrap_or_default();
                let unit = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
                units.push(unit.ok_or(StoreError::IndexDamaged("due"))?);
                // Behind all keys of this unit.
                from = [name, b"\x01"].concat();
            }
            Ok(units)
        })
    }

    /// The most urgent priority that waits for a peer.
    pub fn most_urgent(&self, peer: &UnitId) -> Result<Option<Priority>, StoreError> {
        Ok(self.peer_queue(peer, 1)?.most_urgent)
    }

    /// Keeps why an entry waits, and until when.
    pub async fn defer(
        &self,
        digest: Digest,
        recipient: String,
        reason: Reason,
        not_before: Timestamp,
        attempts: u32,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.commit(Priority::Routine, move |txn| {
            let Some(mut entry) = txn.view().entry(&digest, &recipient)? else { return Ok(()) };
            if !entry.is_open() {
                return Ok(());
            }
            let before = entry.clone();
            entry.state = EntryState::Deferred.into();
            entry.reason = reason.label().to_owned();
            entry.not_before_ms = not_before.as_millis();
            entry.attempts = attempts;
            if before == entry {
                return Ok(());
            }
            entry.deferred_at_ms = now.as_millis();
            let fact = EntryChanged { entry: Some(entry), leaf: None };
            txn.push(now, Fact::EntryDeferred(fact), Bytes::new());
            Ok(())
        })
        .await
    }

    /// Keeps a peer's back-off; `None` clears it.
    pub async fn save_backoff(
        &self,
        peer: UnitId,
        backoff: Option<BackoffRecord>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.commit(Priority::Routine, move |txn| {
            if txn.view().record(Tree::Backoff, peer.as_str().as_bytes())? == backoff {
                return Ok(());
            }
            let fact = BackoffSaved { peer: peer.to_string(), backoff };
            txn.push(now, Fact::BackoffSaved(fact), Bytes::new());
            Ok(())
        })
        .await
    }

    /// A peer's back-off.
    pub fn backoff(&self, peer: &UnitId) -> Result<Option<BackoffRecord>, StoreError> {
        self.read(|view| view.record(Tree::Backoff, peer.as_str().as_bytes()))
    }

    /// Open entries in the order of their expiry.
    pub fn expiring(&self, max: usize) -> Result<Vec<EntryRecord>, StoreError> {
        self.read(|view| {
            let pairs = view.prefix(Tree::Expiry, &[], max)?;
            let mut entries = Vec::with_capacity(pairs.len());
            for (_, entry_key) in &pairs {
                let entry: Option<EntryRecord> = view.record(Tree::Outbox, entry_key)?;
                entries.push(entry.ok_or(StoreError::IndexDamaged("expiry"))?);
            }
            Ok(entries)
        })
    }

    /// Ends entries whose time passed, each with its RelayFailure. An entry that was settled
    /// meanwhile keeps its end. Returns those that expired.
    pub async fn expire(&self, expired: Vec<NewExpiry>) -> Result<Vec<EntryRecord>, StoreError> {
        self.commit(Priority::Urgent, move |txn| {
            let ended = expired.into_iter().filter_map(|new| expire(txn, new).transpose());
            ended.collect()
        })
        .await
    }
}

/// Whether one more entry of this size is too much for a lane towards a peer; if it is not, it is
/// counted as open. Each lane counts for itself: only EMERGENCY fills EMERGENCY's queue.
pub(super) fn is_queue_full(
    txn: &Txn<'_>,
    (peer, lane): (&str, Priority),
    wire_bytes: u32,
    max: &QueueMax,
) -> Result<bool, StoreError> {
    let with_it = |open: Open| Open {
        messages: open.messages.saturating_add(1),
        bytes: open.bytes.saturating_add(wire_bytes.into()),
    };
    let fits = |open: &Open| open.messages <= max.messages && open.bytes <= max.bytes;
    if let Some(open) = txn.open(peer, lane) {
        let fits = fits(&with_it(open));
        if fits {
            txn.note_open(peer, lane, Some(with_it(open)));
        }
        return Ok(!fits);
    }
    // Counted once after a start, or after a commit that failed.
    let (lower, upper) = (key::due(peer, lane, 0), lane_end(peer, lane));
    let most = usize::try_from(max.messages).unwrap_or(usize::MAX);
    let due = txn.view().range(Tree::Due, Included(&lower), Excluded(&upper), most, false)?;
    let bytes = due.iter().try_fold(0u64, |sum, (_, value)| {
        let (bytes, _) = due_of(value)?;
        Ok::<_, StoreError>(sum.saturating_add(bytes.into()))
    })?;
    let open = Open { messages: due.len() as u64, bytes };
    let fits = fits(&with_it(open));
    txn.note_open(peer, lane, Some(if fits { with_it(open) } else { open }));
    Ok(!fits)
}

/// Size on the wire and key of an open entry, out of a value of [`Tree::Due`].
pub(super) fn due_of(value: &[u8]) -> Result<(u32, &[u8]), StoreError> {
    let split = value.split_first_chunk::<4>().ok_or(StoreError::IndexDamaged("due"))?;
    Ok((u32::from_be_bytes(*split.0), split.1))
}

fn expire(txn: &mut Txn<'_>, new: NewExpiry) -> Result<Option<EntryRecord>, StoreError> {
    let Some(mut entry) = txn.view().entry(&new.digest, new.recipient.as_str())? else {
        return Ok(None);
    };
    if !entry.is_open() {
        return Ok(None);
    }
    entry.state = EntryState::Expired.into();
    entry.reason = Reason::Expired.label().to_owned();
    entry.settled_at_ms = new.now.as_millis();
    let leaf = txn.leaf(NewLeaf {
        statement: new.failure,
        digest: new.digest,
        owed_to: None,
        priority: entry.lane(),
        actor: String::new(),
    })?;
    txn.wake(&entry.next_hop);
    txn.note_ended(&entry.next_hop, entry.lane(), entry.wire_bytes);
    let fact = EntryChanged { entry: Some(entry.clone()), leaf: Some(leaf) };
    txn.push(new.now, Fact::EntryExpired(fact), Bytes::new());
    Ok(Some(entry))
}

fn entry_of(record: &EntryRecord) -> Entry {
    Entry {
        number: record.number,
        digest: record.digest(),
        bytes: usize::try_from(record.wire_bytes).unwrap_or(usize::MAX),
        not_before: Timestamp::from_millis(record.not_before_ms),
        attempts: record.attempts,
    }
}

/// The end of a lane's keys; a peer's name never holds the byte that separates it.
fn lane_end(peer: &str, lane: Priority) -> Vec<u8> {
    let next = u8::try_from(priority_number(lane)).unwrap_or(0) + 1;
    [peer.as_bytes(), b"\0", &[next]].concat()
}
