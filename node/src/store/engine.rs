//! The writer: decides a group of commits, writes it once, syncs once, then lets everybody know.
//!
//! `Engine::commit` is synchronous and is driven by a thread (embedded) or by a task (simulation).
//! Invariant: no answer, wake or index write happens before the journal's `append` returned; a
//! failed append ends the store.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use relay_proto::{
    envelope::Priority,
    ids::{Digest, LogOrigin},
    timestamp::Timestamp,
    tlog::Frontier,
};
use tokio::sync::watch;

use crate::store::{
    StoreError,
    event::{Event, Fact, IndexMark},
    index::Index,
    journal::{Appended, EventFrame, Journal, JournalError, JournalReader},
    project,
    queue::{Done, Job, Kept},
    recent::Recent,
    space::{Room, Space},
    txn::{Batch, Open, Txn},
    view::{Overlay, View},
    wake::Wakes,
};

/// What readers and the writer share.
pub struct Shared {
    overlays: RwLock<Overlays>,
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
    signed: Mutex<Option<(u64, Digest)>>,
    /// What is open towards a peer, by lane, where it was counted.
    open: Mutex<BTreeMap<(String, Priority), Open>>,
    /// Up to where the index was last proven durable.
    proven: AtomicU64,
    /// The index's mark stays at or below this, so that an erasure under way is found again after a
    /// crash.
    mark_bound: AtomicU64,
}

struct Overlays {
    /// Durable, not yet on its way into the index.
    front: Overlay,
    /// On its way into the index.
    applying: Option<Arc<Overlay>>,
    /// Our log with all leaves that can be read, and no others: changed under the same lock.
    head: LogHead,
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

    fn overlays(&self) -> RwLockReadGuard<'_, Overlays> {
        self.overlays.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The single writer.
pub struct Engine {
    journal: Journal,
    shared: Arc<Shared>,
    frontier: Frontier,
    origin: LogOrigin,
    /// Bodies whose erasure is ordered and not finished.
    erasing: Vec<u64>,
}

impl Engine {
    /// A writer that goes on where the journal ends.
    pub fn new(
        journal: Journal,
        shared: Arc<Shared>,
        frontier: Frontier,
        origin: LogOrigin,
    ) -> Self {
        Self { journal, shared, frontier, origin, erasing: Vec::new() }
    }

    /// What the writer shares with readers.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Decides and writes one group of commits, in one batch or, when they are large, in several.
    /// An error is final: nothing may be answered any more.
    pub fn commit(&mut self, jobs: Vec<Job>) -> Result<(), StoreError> {
        let mut jobs = VecDeque::from(jobs);
        // Each round takes at least one job.
        while !jobs.is_empty() {
            let room = self.shared.space.look();
            let (dones, batch) = self.decide(&mut jobs, room);
            let rewound = batch.rewound.clone();
            let kept = match batch.frames.is_empty() {
                true => Kept::Durable,
                false => self.write(batch)?,
            };
            if kept == Kept::Durable {
                self.shared.wakes.rewind(&rewound);
            }
            for done in dones {
                done(kept);
            }
        }
        Ok(())
    }

    /// Erases bodies, durably. The events that order it are durable already. Repeatable.
    pub fn erase(&mut self, seqs: Vec<u64>) -> Result<(), StoreError> {
        self.erasing.extend(seqs);
        while let Some(seq) = self.erasing.first().copied() {
            match self.erase_one(seq) {
                // It needs one more batch, and there is no room for it: the next one serves.
                Err(StoreError::Journal(JournalError::EraseTooEarly { .. })) => return Ok(()),
                done => done?,
            }
            self.erasing.retain(|other| *other != seq);
        }
        self.shared.mark_bound.store(u64::MAX, Ordering::Release);
        Ok(())
    }

    fn erase_one(&mut self, seq: u64) -> Result<(), StoreError> {
        self.shared.recent.write().unwrap_or_else(PoisonError::into_inner).erase(seq);
        let position = self.shared.reader.position_of(seq)?;
        match self.journal.erase_body(position) {
            Err(JournalError::EraseTooEarly { .. }) => {}
            done => return Ok(done?),
        }
        // The order stands in the same batch as the body: only a later batch proves this one
        // durable.
        let seq = self.shared.indexed_seq.load(Ordering::Acquire);
        self.commit(vec![Box::new(move |txn| {
            txn.push(Timestamp::default(), Fact::IndexMark(IndexMark { seq }), Bytes::new());
            Box::new(|_| {})
        })])?;
        Ok(self.journal.erase_body(position)?)
    }

    /// The last sequence that is durable.
    pub fn durable_seq(&self) -> u64 {
        self.journal.durable_seq()
    }

    /// Writes the lazy mark; called now and then, and on stop.
    pub fn mark(&mut self) -> Result<(), StoreError> {
        Ok(self.journal.mark()?)
    }

    /// The journal, for preparing segments.
    pub fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// What the embedded store leaves to other threads: a segment after a full disk, the reserve.
    pub fn tend(&mut self) {
        let space = &self.shared.space;
        if space.is_blocked()
            && let Some(preparation) = self.journal.take_preparation()
            && space.may_prepare(preparation.bytes())
            && let Ok(prepared) = preparation.run()
        {
            self.journal.add_prepared(prepared);
            space.note_prepared();
        }
        if let Some(work) = space.take_work()
            && let Err(error) = work.run(Duration::ZERO)
        {
            tracing::warn!(%error, "reserve not made");
        }
    }

    /// Writes the clean mark and lets go of the journal.
    pub fn close(self) -> Result<(), JournalError> {
        self.journal.close()
    }

    fn decide(&self, jobs: &mut VecDeque<Job>, room: Room) -> (Vec<Done>, Batch) {
        let overlays = self.shared.overlays();
        let mut txn = Txn::new(
            &overlays.front,
            overlays.applying.as_deref(),
            &self.shared.index,
            self.frontier.clone(),
            self.origin.clone(),
            self.journal.durable_seq() + 1,
            &self.shared.open,
        )
        .with_room(room);
        let mut dones = Vec::with_capacity(jobs.len());
        while !txn.is_full()
            && let Some(job) = jobs.pop_front()
        {
            dones.push(job(&mut txn));
        }
        if !txn.is_empty() {
            let signed = self.shared.signed.lock().unwrap_or_else(PoisonError::into_inner).take();
            txn.anchor(signed);
        }
        (dones, txn.finish())
    }

    fn write(&mut self, batch: Batch) -> Result<Kept, StoreError> {
        let started = Instant::now();
        let Some(appended) = self.append(&batch)? else { return Ok(Kept::NoRoom) };
        self.shared.syncs.record(started.elapsed());
        // From here on the batch is durable.
        let erased: Vec<u64> = batch.events.iter().filter_map(Event::erases).collect();
        if !erased.is_empty() {
            self.shared.mark_bound.fetch_min(appended.first_seq - 1, Ordering::AcqRel);
        }
        (self.origin, self.frontier) = (batch.origin, batch.frontier);
        let head = LogHead {
            size: self.frontier.size(),
            root: self.frontier.root(),
            seq: self.journal.durable_seq(),
        };
        self.show(batch.changes, batch.events, batch.frames, &appended, head);
        self.shared.durable.send_replace(head.seq);
        self.shared.wakes.wake(&batch.woken);
        if !erased.is_empty() || !self.erasing.is_empty() {
            self.erase(erased)?;
        }
        Ok(Kept::Durable)
    }

    /// Appends a batch; `None` when there is no room for it, also after the reserve was given up.
    fn append(&mut self, batch: &Batch) -> Result<Option<Appended>, StoreError> {
        let space = &self.shared.space;
        // The index waits for room and holds as much in memory as it may.
        let stuck = self.shared.is_behind() && !self.shared.may_index();
        let last = self.shared.reader.last_segment();
        let mut appended = match stuck {
            true => Err(JournalError::Full(std::io::ErrorKind::StorageFull.into())),
            false => self.journal.append(&batch.frames),
        };
        if matches!(appended, Err(JournalError::Full(_))) && space.note_full() && !stuck {
            appended = self.journal.append(&batch.frames);
        }
        if matches!(appended, Err(JournalError::Full(_))) {
            // The anchor of the log stays to be noted.
            let mut signed = self.shared.signed.lock().unwrap_or_else(PoisonError::into_inner);
            *signed = signed.or(batch.signed);
            // Entries that this batch ended are open.
            self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
            return Ok(None);
        }
        if self.shared.reader.last_segment() > last {
            space.note_prepared();
        }
        Ok(Some(appended?))
    }

    /// Makes a durable batch seen by readers.
    fn show(
        &self,
        mut changes: Overlay,
        events: Vec<Event>,
        frames: Vec<EventFrame>,
        appended: &Appended,
        head: LogHead,
    ) {
        for (seq, (event, position)) in
            (appended.first_seq..).zip(events.iter().zip(&appended.positions))
        {
            if let Some(op) = project::placed(event, seq, *position) {
                changes.insert(op, seq);
            }
        }
        let mut recent = self.shared.recent.write().unwrap_or_else(PoisonError::into_inner);
        for (seq, (event, frame)) in (appended.first_seq..).zip(events.into_iter().zip(frames)) {
            let size = frame.meta.len() + frame.body.len() + EVENT_COST;
            recent.push(seq, Arc::new(event), frame.body, size);
        }
        drop(recent);
        let mut overlays = self.shared.overlays.write().unwrap_or_else(PoisonError::into_inner);
        overlays.front.absorb(changes);
        overlays.head = head;
    }
}

/// The last durations of write and sync, for `status`.
#[derive(Debug, Default)]
pub struct SyncTimes {
    ring: std::sync::Mutex<Vec<u32>>,
    next: AtomicU64,
}

impl SyncTimes {
    fn record(&self, took: Duration) {
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
/// What a decoded event holds in memory besides its bytes.
const EVENT_COST: usize = 512;
