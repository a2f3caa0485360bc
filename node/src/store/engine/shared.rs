//! What readers and the writer share: the index, what is durable and not in it yet, who waits.
//!
//! Invariant: our log's head and the leaves that can be read change under one lock.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use relay_proto::{envelope::Priority, ids::Digest, tlog::Frontier};
use tokio::sync::watch;

use crate::store::{
    StoreError,
    index::Index,
    journal::JournalReader,
    recent::Recent,
    space::Space,
    txn::Open,
    view::{Overlay, View},
    wake::Wakes,
};

/// What readers and the writer share.
pub struct Shared {
    pub(super) overlays: RwLock<Overlays>,
    /// The projection.
    pub index: Index,
    /// The journal, for reading.
    pub reader: JournalReader,
    /// The durable sequence, for those who wait for a change. It follows what can be read, and may
    /// be a moment behind it.
    pub durable: watch::Sender<u64>,
    /// The newest events.
    pub recent: RwLock<Recent>,
    /// Who waits for what.
    pub wakes: Wakes,
    /// Durations of syncs.
    pub syncs: SyncTimes,
    /// Room on the disk.
    pub space: Space,
    /// The last sequence that the index holds.
    pub indexed_seq: AtomicU64,
    /// The last checkpoint that was signed and is not noted yet.
    pub(super) signed: Mutex<Option<(u64, Digest)>>,
    /// What is open towards a peer, by lane, where it was counted.
    pub(super) open: Mutex<BTreeMap<(String, Priority), Open>>,
    /// Up to where the index was last proven durable.
    proven: AtomicU64,
    /// The index's mark stays at or below this, so that an erasure under way is found again after a
    /// crash.
    pub(super) mark_bound: AtomicU64,
}

pub(super) struct Overlays {
    /// Durable, not yet on its way into the index.
    pub(super) front: Overlay,
    /// On its way into the index.
    pub(super) applying: Option<Arc<Overlay>>,
    /// Our log with all leaves that can be read, and no others: changed under the same lock.
    pub(super) head: LogHead,
}

/// Our log as of the durable sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHead {
    /// Leaves.
    pub size: u64,
    /// RFC 6962 root.
    pub root: Digest,
    /// The durable sequence.
    pub seq: u64,
}

impl Shared {
    /// What readers and the writer of a store share.
    pub fn new(index: Index, reader: JournalReader, frontier: &Frontier, space: Space) -> Self {
        let seq = reader.durable_seq();
        let head = LogHead { size: frontier.size(), root: frontier.root(), seq };
        let indexed_seq = AtomicU64::new(index.applied());
        Self {
            overlays: RwLock::new(Overlays { front: Overlay::default(), applying: None, head }),
            index,
            reader,
            durable: watch::Sender::new(seq),
            recent: RwLock::default(),
            wakes: Wakes::default(),
            syncs: SyncTimes::default(),
            space,
            indexed_seq,
            signed: Mutex::default(),
            open: Mutex::default(),
            proven: AtomicU64::new(0),
            mark_bound: AtomicU64::new(u64::MAX),
        }
    }

    /// A checkpoint was signed: the next batch notes it as the anchor of the log.
    pub fn note_signed(&self, size: u64, root: Digest) {
        *self.signed.lock().unwrap_or_else(PoisonError::into_inner) = Some((size, root));
    }

    /// Reads the durable state.
    pub fn read<R>(&self, read: impl FnOnce(View<'_>) -> R) -> R {
        let overlays = self.overlays();
        read(View::new([Some(&overlays.front), overlays.applying.as_deref(), None], &self.index))
    }

    /// Our log with every leaf that a read before this one has shown.
    pub fn log_head(&self) -> LogHead {
        self.overlays().head
    }

    /// Whether the index is so far behind that the writer has to wait for it.
    pub fn is_behind(&self) -> bool {
        let overlays = self.overlays();
        overlays.front.len() > OVERLAY_CHANGES_MAX || overlays.front.bytes() > OVERLAY_BYTES_MAX
    }

    /// Whether the disk has room for all that waits for the index.
    pub fn may_index(&self) -> bool {
        let bytes = {
            let overlays = self.overlays();
            let applying = overlays.applying.as_ref().map_or(0, |applying| applying.bytes());
            overlays.front.bytes() + applying
        };
        self.space.may_index(bytes)
    }

    /// Whether so much waits for the index that it should not wait longer.
    pub fn is_worth_applying(&self) -> bool {
        self.overlays().front.bytes() > OVERLAY_BYTES_USUAL
    }

    /// Brings what waits into the index. Returns whether there was anything.
    pub fn apply(&self) -> Result<bool, StoreError> {
        let overlay = {
            let mut overlays = self.overlays.write().unwrap_or_else(PoisonError::into_inner);
            if overlays.front.is_empty() && overlays.applying.is_none() {
                return Ok(false);
            }
            if overlays.applying.is_none() {
                overlays.applying = Some(Arc::new(std::mem::take(&mut overlays.front)));
            }
            overlays.applying.clone().unwrap_or_default()
        };
        self.index.apply(overlay.changes(), overlay.through_seq())?;
        self.indexed_seq.store(overlay.through_seq(), Ordering::Release);
        let mut overlays = self.overlays.write().unwrap_or_else(PoisonError::into_inner);
        overlays.applying = None;
        Ok(true)
    }

    /// Proves the index durable; returns what its mark may then say.
    pub fn prove(&self) -> Result<u64, StoreError> {
        let proven = self.index.make_durable()?;
        // Read afterwards: a batch that is not indexed yet is beyond what was proven anyway.
        let proven = proven.min(self.mark_bound.load(Ordering::Acquire));
        self.proven.store(proven, Ordering::Release);
        Ok(proven)
    }

    /// Up to where the index was proven durable since the store was opened; 0: not yet.
    pub fn proven(&self) -> u64 {
        self.proven.load(Ordering::Acquire)
    }

    /// Everything up to here is in the index, and no erasure before it is under way.
    pub fn proven_bound(&self) -> u64 {
        let indexed = self.indexed_seq.load(Ordering::Acquire);
        indexed.min(self.mark_bound.load(Ordering::Acquire))
    }

    pub(super) fn overlays(&self) -> RwLockReadGuard<'_, Overlays> {
        self.overlays.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last durations of write and sync, for `status`.
#[derive(Debug, Default)]
pub struct SyncTimes {
    ring: Mutex<Vec<u32>>,
    next: AtomicU64,
}

impl SyncTimes {
    pub(super) fn record(&self, took: Duration) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() < SYNCS_KEPT {
            ring.push(micros);
            return;
        }
        let next = self.next.fetch_add(1, Ordering::Relaxed) % SYNCS_KEPT as u64;
        let place = usize::try_from(next).ok().and_then(|next| ring.get_mut(next));
        if let Some(place) = place {
            *place = micros;
        }
    }

    /// Median and 99th percentile in microseconds; zeros before the first sync.
    pub fn percentiles(&self) -> (u32, u32) {
        let mut times = self.ring.lock().unwrap_or_else(PoisonError::into_inner).clone();
        times.sort_unstable();
        let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or(0);
        (at(50), at(99))
    }
}

/// The overlay is bounded: beyond this the writer waits for the index.
const OVERLAY_CHANGES_MAX: usize = 100_000;
const OVERLAY_BYTES_MAX: usize = 24 << 20;
/// Beyond this it is brought into the index without waiting for more.
const OVERLAY_BYTES_USUAL: usize = 6 << 20;
const SYNCS_KEPT: usize = 1024;
