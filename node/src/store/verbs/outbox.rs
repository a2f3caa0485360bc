//! The outbox: what is due for a peer, what waits and why, what expired.

use std::ops::Bound::{Excluded, Included};

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
    txn::Txn,
    view::View,
};

/// An open entry with its record.
pub type Claimed = (Entry, EntryRecord);

/// What waits for one peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerQueue {
    /// Open entries, counted up to a bound.
    pub open: u64,
    /// When the oldest was queued.
    pub oldest: Option<Timestamp>,
    /// The most urgent priority that waits.
    pub most_urgent: Option<Priority>,
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
            for (_, entry_key) in &pairs {
                let record: Option<EntryRecord> = view.record(Tree::Outbox, entry_key)?;
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
                queue.most_urgent = queue.most_urgent.max(Some(lane));
                let first: Option<EntryRecord> = view.record(Tree::Outbox, first)?;
                let at = first.map(|entry| Timestamp::from_millis(entry.queued_at_ms));
                queue.oldest = match (queue.oldest, at) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
            }
            Ok(queue)
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

    /// The open entry that expires next.
    pub fn next_expiry(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.expiring(1)?.first().map(|entry| Timestamp::from_millis(entry.expires_at_ms)))
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
    /// meanwhile keeps its end. Returns how many expired.
    pub async fn expire(&self, expired: Vec<NewExpiry>) -> Result<usize, StoreError> {
        self.commit(Priority::Urgent, move |txn| {
            let mut count = 0;
            for new in expired {
                count += usize::from(expire(txn, new)?);
            }
            Ok(count)
        })
        .await
    }
}

/// Whether as many entries of this lane are open towards a peer as may be, before the one with this
/// number. Each lane counts for itself: nothing fills the queue of EMERGENCY but EMERGENCY.
pub(super) fn is_queue_full(
    txn: &Txn<'_>,
    (peer, lane): (&str, Priority),
    number: u64,
    max: u64,
) -> Result<bool, StoreError> {
    // Numbers of open entries lie between the lowest open one and the newest: an upper bound
    // without counting, and mostly without looking.
    let seen = txn.lowest_open(peer, lane);
    if seen > 0 && number.saturating_sub(seen) < max {
        return Ok(false);
    }
    let view = txn.view();
    let lowest = view.lowest_open(peer, lane)?.unwrap_or(number);
    txn.saw_lowest_open(peer, lane, lowest);
    if number.saturating_sub(lowest) < max {
        return Ok(false);
    }
    // One old entry that waits must not make the queue of a peer full that takes all others: count.
    let most = usize::try_from(max).unwrap_or(usize::MAX);
    let (lower, upper) = lane_bounds(peer, lane);
    let open = view.range(Tree::Due, Included(&lower), Excluded(&upper), most, false)?;
    Ok(open.len() >= most)
}

fn lane_bounds(peer: &str, lane: Priority) -> (Vec<u8>, Vec<u8>) {
    (key::due(peer, lane, 0), lane_end(peer, lane))
}

impl View<'_> {
    /// The lowest number of an open entry of a lane.
    fn lowest_open(&self, peer: &str, lane: Priority) -> Result<Option<u64>, StoreError> {
        let (lower, upper) = lane_bounds(peer, lane);
        let first = self.range(Tree::Due, Included(&lower), Excluded(&upper), 1, false)?;
        let number = first.first().and_then(|(key, _)| key.last_chunk::<8>().copied());
        Ok(number.map(u64::from_be_bytes))
    }
}

fn expire(txn: &mut Txn<'_>, new: NewExpiry) -> Result<bool, StoreError> {
    let Some(mut entry) = txn.view().entry(&new.digest, new.recipient.as_str())? else {
        return Ok(false);
    };
    if !entry.is_open() {
        return Ok(false);
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
    let fact = EntryChanged { entry: Some(entry), leaf: Some(leaf) };
    txn.push(new.now, Fact::EntryExpired(fact), Bytes::new());
    Ok(true)
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
