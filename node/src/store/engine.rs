//! The writer: decides a group of commits, writes it once, syncs once, then lets everybody know.
//!
//! `Engine::commit` is synchronous and is driven by a thread (embedded) or by a task (simulation).
//! Invariant: no answer, wake or index write happens before the journal's `append` returned; a
//! failed append ends the store.

mod shared;

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

pub use shared::{LogHead, Shared};

use bytes::Bytes;
use relay_proto::{ids::LogOrigin, timestamp::Timestamp, tlog::Frontier};

use crate::store::{
    StoreError,
    event::{Event, Fact, IndexMark},
    journal::{Appended, EventFrame, Journal, JournalError},
    project,
    queue::{Done, Job, Kept},
    space::Room,
    txn::{Batch, Txn},
    view::Overlay,
};

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

/// What a decoded event holds in memory besides its bytes.
const EVENT_COST: usize = 512;
