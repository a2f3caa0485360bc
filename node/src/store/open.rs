//! Making and opening a store: lock, journal, index, replay.
//!
//! The journal is opened first and decides; the index is believed only up to the mark that was proven durable,
//! and set aside when it is damaged or ahead of the journal.

use std::{path::PathBuf, sync::Arc, thread, time::Duration};

use bytes::Bytes;
use prost::Message;
use relay_proto::{
    ids::{LogOrigin, UnitId},
    timestamp::Timestamp,
    tlog::{Frontier, HashReader, Position as TreePosition},
};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::store::{
    Store, StoreError,
    engine::{Engine, Shared},
    event::{Created, Event, Fact, TailCut},
    files::{self, Lock, StoreId},
    index::{Index, MemoryIndex, Tree},
    journal::{DurableMark, Io, Journal, JournalSettings, RealIo, Recovered, SimDisk},
    project::project,
    queue::{Job, Queue},
    records::key,
    sled::{SledIndex, set_aside},
    view::View,
    writer,
};

/// Where a store lives.
#[derive(Clone)]
pub enum Backend {
    /// Files of a directory: journal and sled index. What a node runs.
    Embedded {
        /// The directory; made by [`create`].
        dir: PathBuf,
        /// Length of a journal segment.
        segment_bytes: u64,
        /// Bound of the index's cache.
        cache_bytes: u64,
    },
    /// The same journal on a simulated disk, the index in memory, all on the caller's runtime and virtual time.
    Memory {
        /// The disk; keep a clone to cut its power.
        disk: SimDisk,
        /// How long a write and sync take.
        sync_time: Duration,
    },
}

/// What is needed to open a store.
#[derive(Clone)]
pub struct OpenStore {
    /// Where.
    pub backend: Backend,
    /// Whose it must be.
    pub unit: UnitId,
    /// The unit's open log.
    pub origin: LogOrigin,
}

/// Makes an empty store, durably. Only `relay-node init` calls this.
pub fn create(
    backend: &Backend,
    unit: &UnitId,
    instance: [u8; 16],
    at: Timestamp,
) -> Result<(), StoreError> {
    let created = Created { unit: unit.to_string(), instance: Bytes::copy_from_slice(&instance) };
    let event = Event { at_ms: at.as_millis(), fact: Some(Fact::Created(created)) };
    let frame = crate::store::journal::EventFrame {
        meta: event.encode_to_vec().into(),
        body: Bytes::new(),
    };
    let (settings, io) = journal_of(backend);
    if let Backend::Embedded { dir, .. } = backend {
        StoreId { unit: unit.clone(), instance }.create(dir)?;
    }
    let mut journal = Journal::create(settings, io)?;
    journal.append(&[frame])?;
    journal.close()?;
    Ok(())
}

impl OpenStore {
    /// Opens the store and starts its writer. Call within a runtime.
    pub fn open(self) -> Result<Store, StoreError> {
        let queue = Arc::new(Queue::new());
        let (end, ended) = watch::channel(None);
        let shared = match &self.backend {
            Backend::Embedded { dir, cache_bytes, .. } => {
                let lock = Lock::take(dir)?;
                StoreId::open(dir, &self.unit)?;
                let mark = files::read_index_mark(dir);
                let index_dir = dir.join("index");
                let opened = SledIndex::open(&index_dir, *cache_bytes);
                let opened = opened.map(Index::Sled).or_else(|error| {
                    warn!(%error, "index set aside, will be rebuilt from the journal");
                    aside(&index_dir, *cache_bytes)
                })?;
                let rebuild = || aside(&index_dir, *cache_bytes);
                let engine = self.start(opened, mark, rebuild)?;
                let shared = Arc::clone(engine.shared());
                let (queue, dir) = (Arc::clone(&queue), dir.clone());
                thread::Builder::new()
                    .name("store-writer".to_owned())
                    .spawn(move || writer::run(engine, &queue, dir, lock, end))
                    .map_err(StoreError::Thread)?;
                shared
            }
            Backend::Memory { sync_time, .. } => {
                let fresh = || Ok(Index::Memory(MemoryIndex::new()));
                let engine = self.start(fresh()?, 0, fresh)?;
                let shared = Arc::clone(engine.shared());
                let run = writer::run_simulated(engine, Arc::clone(&queue), *sync_time, end);
                crate::tasks::spawn_simulated(run);
                shared
            }
        };
        Ok(Store { shared, queue, unit: self.unit, origin: self.origin, ended })
    }

    fn start(
        &self,
        index: Index,
        mark: u64,
        fresh: impl FnOnce() -> Result<Index, StoreError>,
    ) -> Result<Engine, StoreError> {
        let (settings, io) = journal_of(&self.backend);
        let marks = [DurableMark { seq: mark, batch_hash: None }];
        let (journal, recovered) =
            Journal::open(settings, io, if mark > 0 { &marks } else { &[] })?;
        let ahead = index.applied() > recovered.last_seq;
        let behind = index.applied() < mark;
        let (index, from) = match ahead || behind {
            // An index ahead means that the journal was restored; one behind its mark lost pages.
            true => {
                warn!(
                    applied = index.applied(),
                    mark,
                    journal = recovered.last_seq,
                    "index set aside"
                );
                drop(index);
                (fresh()?, 0)
            }
            false => (index, mark),
        };
        replay(&journal, &index, from, recovered.last_seq)?;
        let frontier = frontier(&index, &self.origin)?;
        let shared = Arc::new(Shared::new(index, journal.reader(), &frontier));
        let mut engine = Engine::new(journal, shared, frontier, self.origin.clone());
        record_cut(&mut engine, &recovered)?;
        info!(seq = recovered.last_seq, clean = recovered.clean, "store opened");
        Ok(engine)
    }
}

/// Brings events into an index that does not hold them yet.
fn replay(journal: &Journal, index: &Index, from: u64, last: u64) -> Result<(), StoreError> {
    let reader = journal.reader();
    let mut next = from + 1;
    while next <= last {
        let events = reader.scan(next, REPLAY_EVENTS, REPLAY_BYTES)?;
        let Some((through, _, _)) = events.last() else {
            return Err(StoreError::Damaged { seq: next });
        };
        let through = *through;
        let mut ops = Vec::new();
        for (seq, position, stored) in &events {
            let event = Event::decode(stored.meta.clone())
                .map_err(|_| StoreError::Damaged { seq: *seq })?;
            ops.extend(project(&event, *seq, *position));
        }
        index.apply(&ops, through)?;
        next = through + 1;
    }
    Ok(())
}

fn frontier(index: &Index, origin: &LogOrigin) -> Result<Frontier, StoreError> {
    let view = View::new([None, None, None], index);
    let size = view.counter("log-size", &origin.to_string())?;
    Frontier::load(size, &Hashes(view)).map_err(|_| StoreError::IndexDamaged("tree-hashes"))
}

/// Reads interior hashes of our log.
pub struct Hashes<'a>(pub View<'a>);

impl HashReader for Hashes<'_> {
    type Error = StoreError;

    fn read(
        &self,
        positions: &[TreePosition],
    ) -> Result<Vec<relay_proto::ids::Digest>, StoreError> {
        let damaged = || StoreError::IndexDamaged("tree-hashes");
        let one = |position: &TreePosition| {
            let key = key::tree_hash(u32::from(position.level), position.index);
            let bytes = self.0.get(Tree::TreeHashes, &key)?.ok_or_else(damaged)?;
            relay_proto::ids::Digest::from_bytes(&bytes).map_err(|_| damaged())
        };
        positions.iter().map(one).collect()
    }
}

/// The cut-off tail of an interrupted write is a fact of its own, first in the next batch.
fn record_cut(engine: &mut Engine, recovered: &Recovered) -> Result<(), StoreError> {
    let Some(cut) = recovered.tail_cut else { return Ok(()) };
    warn!(
        segment = cut.segment,
        offset = cut.offset,
        bytes = cut.bytes,
        "tail of an unfinished write cut off"
    );
    let fact = Fact::TailCut(TailCut {
        segment: cut.segment,
        offset: cut.offset,
        bytes: cut.bytes,
        hash: Bytes::copy_from_slice(&cut.hash),
    });
    let job: Job = Box::new(move |txn| {
        txn.push(Timestamp::default(), fact, Bytes::new());
        Box::new(|| {})
    });
    engine.commit(vec![job])
}

fn aside(dir: &std::path::Path, cache_bytes: u64) -> Result<Index, StoreError> {
    let moved =
        set_aside(dir).map_err(|source| files::FilesError::Io { path: dir.to_owned(), source })?;
    warn!(kept = %moved.display(), "damaged index kept aside");
    Ok(Index::Sled(SledIndex::open(dir, cache_bytes)?))
}

fn journal_of(backend: &Backend) -> (JournalSettings, Arc<dyn Io>) {
    match backend {
        Backend::Embedded { dir, segment_bytes, .. } => {
            let settings =
                JournalSettings { dir: dir.join("journal"), segment_bytes: *segment_bytes };
            (settings, Arc::new(RealIo))
        }
        Backend::Memory { disk, .. } => {
            let settings =
                JournalSettings { dir: "/journal".into(), segment_bytes: SIM_SEGMENT_BYTES };
            (settings, Arc::new(disk.clone()))
        }
    }
}

const REPLAY_EVENTS: usize = 4096;
const REPLAY_BYTES: usize = 8 << 20;
const SIM_SEGMENT_BYTES: u64 = 64 << 10;
