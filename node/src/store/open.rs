//! Making and opening a store: lock, journal, index, replay.
//!
//! The journal is opened first and decides; the index is believed only up to the mark that was
//! proven durable, and set aside when it is damaged or ahead of the journal. Invariant: an index is
//! moved or removed only once the journal was read and gives it anew.

mod findings;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use relay_proto::{
    ids::{LogOrigin, UnitId},
    timestamp::Timestamp,
    tlog::Frontier,
};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    config::Settings,
    store::{
        Store, StoreError, blobs,
        engine::{Engine, Shared},
        event::{Created, Event, Fact},
        files::{self, Lock, StoreId},
        hashes::Hashes,
        index::{Index, IndexError, MemoryIndex},
        journal::{
            Damage, DurableMark, Io, Journal, JournalError, JournalSettings, RealIo, Recovered,
            SimDisk,
        },
        proven::{self, Useless, replay},
        queue::Queue,
        scrub,
        sled::{SledIndex, set_aside},
        snapshot,
        space::{RESERVE_NAME, ReserveSettings, Space},
        view::View,
        writer,
    },
};

use findings::{Doubt, record_findings};

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
        /// What is kept for a full disk.
        reserve: ReserveSettings,
    },
    /// The same journal on a simulated disk, the index in memory, all on the caller's runtime and
    /// virtual time.
    Memory {
        /// The disk; keep a clone to cut its power.
        disk: SimDisk,
        /// How long a write and sync take.
        sync_time: Duration,
        /// What is kept for a full disk.
        reserve: ReserveSettings,
    },
}

impl Backend {
    /// Where the store of these settings lies.
    pub fn of(settings: &Settings) -> Self {
        Self::Embedded {
            dir: settings.node.dir.clone(),
            segment_bytes: settings.store.segment_bytes,
            cache_bytes: settings.store.index_cache_bytes,
            reserve: ReserveSettings {
                percent: settings.store.reserve_percent,
                bytes_min: settings.store.reserve_bytes_min,
            },
        }
    }
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
    let id = StoreId { unit: unit.clone(), instance };
    if let Backend::Embedded { dir, .. } = backend {
        id.create(dir)?;
    }
    begin(backend, &id, at)
}

/// Begins the journal of a store.
fn begin(backend: &Backend, id: &StoreId, at: Timestamp) -> Result<(), StoreError> {
    let instance = Bytes::copy_from_slice(&id.instance);
    let created = Created { unit: id.unit.to_string(), instance };
    let event = Event { at_ms: at.as_millis(), fact: Some(Fact::Created(created)) };
    let frame = crate::store::journal::EventFrame {
        meta: event.encode_to_vec().into(),
        body: Bytes::new(),
    };
    let (settings, io) = journal_of(backend);
    let mut journal = Journal::create(settings, io)?;
    journal.append(&[frame])?;
    journal.close()?;
    Ok(())
}

impl OpenStore {
    /// Opens the store and starts its writer. Call within a runtime.
    pub fn open(self) -> Result<Store, StoreError> {
        self.open_under(None)
    }

    /// The same under a lock of its directory that is held already.
    pub fn open_under(self, lock: Option<Lock>) -> Result<Store, StoreError> {
        let queue = Arc::new(Queue::new());
        let (end, ended) = watch::channel(None);
        let shared = match &self.backend {
            Backend::Embedded { dir, cache_bytes, .. } => {
                let lock = lock.map_or_else(|| Lock::take(dir), Ok)?;
                let id = StoreId::open(dir, &self.unit)?;
                let mark = files::read_index_mark(dir);
                let space = self.space()?;
                let stored = match files::unsound(dir) {
                    Some(detail) => Err(IndexError::Damaged { detail }),
                    None => space
                        .open_index(|| SledIndex::open(&dir.join("index"), *cache_bytes))?
                        .map(Index::Sled),
                };
                let fresh = |keep| aside(dir, *cache_bytes, keep);
                let same_boot = lock.is_same_boot();
                let engine = match self.start(stored, mark, same_boot, space, fresh) {
                    // It opened, and what a start reads of it is damaged.
                    Err(error) if error.is_index_damage() => {
                        let detail = error.to_string();
                        files::note_unsound(dir, &detail)?;
                        let stored = Err(IndexError::Damaged { detail });
                        self.start(stored, mark, same_boot, self.space()?, fresh)?
                    }
                    started => started?,
                };
                files::clear_unsound(dir)?;
                // Not before: what this run of the machine wrote is all that is believed.
                lock.name(&id)?;
                let shared = Arc::clone(engine.shared());
                let (queue, dir) = (Arc::clone(&queue), dir.clone());
                thread::Builder::new()
                    .name("store-writer".to_owned())
                    .spawn(move || writer::run(engine, &queue, dir, lock, end))
                    .map_err(StoreError::Thread)?;
                shared
            }
            Backend::Memory { sync_time, .. } => {
                let fresh = || Index::Memory(MemoryIndex::new());
                let engine = self.start(Ok(fresh()), 0, true, self.space()?, |_| Ok(fresh()))?;
                let shared = Arc::clone(engine.shared());
                let run = writer::run_simulated(engine, Arc::clone(&queue), *sync_time, end);
                crate::tasks::spawn_simulated(run);
                shared
            }
        };
        let files = Arc::new(files_of(&self.backend));
        let dir = match self.backend {
            Backend::Embedded { dir, .. } => Some(dir.into()),
            Backend::Memory { .. } => None,
        };
        let (unit, origin, scrubbing) = (self.unit, self.origin, Arc::default());
        Ok(Store { shared, queue, unit, origin, scrubbing, files, dir, ended })
    }

    fn start(
        &self,
        stored: Result<Index, IndexError>,
        mark: u64,
        same_boot: bool,
        space: Space,
        fresh: impl Fn(bool) -> Result<Index, StoreError>,
    ) -> Result<Engine, StoreError> {
        let (journal, recovered, beyond_end) = self.open_journal(mark)?;
        let doubt = match &stored {
            Err(error) => Some(Doubt::Damaged(error.to_string())),
            Ok(index) if beyond_end || index.reach()? > recovered.last_seq => {
                Some(Doubt::Ahead { reach: index.reach()?.max(mark) })
            }
            Ok(index) if index.applied() < mark => Some(Doubt::LostPages),
            Ok(_) if !same_boot && !recovered.clean => Some(Doubt::MachineStopped),
            Ok(_) => None,
        };
        let reader = journal.reader();
        let (index, erased) = match (stored, &doubt) {
            (Ok(index), None) => {
                let erased = replay(&reader, &index, mark, recovered.last_seq)?;
                (index, erased)
            }
            (stored, Some(doubt)) => {
                warn!(%doubt, mark, journal = recovered.last_seq, "index not believed");
                match proven::can_rebuild(self.dir(), &reader) {
                    Ok(()) => {
                        drop(stored);
                        let keep = !matches!(doubt, Doubt::MachineStopped);
                        self.rebuild(&journal, recovered.last_seq, keep, fresh)?
                    }
                    Err(error) if proven::is_damage(&error) => {
                        let stored = stored.ok().filter(|_| matches!(doubt, Doubt::MachineStopped));
                        self.remembered(&journal, stored, mark, recovered.last_seq)?
                    }
                    Err(error) => return Err(error),
                }
            }
            (Err(error), None) => return Err(error.into()),
        };
        let frontier = frontier(&index, &self.origin)?;
        let shared = Arc::new(Shared::new(index, journal.reader(), &frontier, space));
        let mut engine = Engine::new(journal, shared, frontier, self.origin.clone());
        record_findings(&mut engine, &recovered, doubt.as_ref(), &self.unit)?;
        // What was ordered and perhaps not finished; the orders are durable.
        engine.erase(erased)?;
        info!(seq = recovered.last_seq, clean = recovered.clean, "store opened");
        Ok(engine)
    }

    /// The index that remembers events which cannot be read, if it may be believed. Returns whose
    /// bodies are to be erased as well.
    fn remembered(
        &self,
        journal: &Journal,
        stored: Option<Index>,
        mark: u64,
        last: u64,
    ) -> Result<(Index, Vec<u64>), StoreError> {
        let reader = journal.reader();
        let refused = |why| Err(proven::forgotten(&reader, why).unwrap_or_else(|error| error));
        let Some(index) = stored else { return refused(Useless::Unsound) };
        let erased = match replay(&reader, &index, mark, last) {
            Err(error) if proven::is_damage(&error) => return refused(Useless::Unproven),
            replayed => replayed?,
        };
        match proven::believe(&index, &reader, mark, (&self.unit, &self.origin))? {
            Ok(()) => Ok((index, erased)),
            Err(why) => refused(why),
        }
    }

    fn dir(&self) -> Option<&Path> {
        match &self.backend {
            Backend::Embedded { dir, .. } => Some(dir),
            Backend::Memory { .. } => None,
        }
    }

    /// Fills a new index from the newest good snapshot and what follows it, or from all events, and
    /// compares the newest part with the journal. Returns whose bodies are to be erased as well.
    fn rebuild(
        &self,
        journal: &Journal,
        last: u64,
        mut keep: bool,
        fresh: impl Fn(bool) -> Result<Index, StoreError>,
    ) -> Result<(Index, Vec<u64>), StoreError> {
        let reader = journal.reader();
        let mut from_snapshot = true;
        loop {
            let index = fresh(keep)?;
            let from = match self.dir().filter(|_| from_snapshot) {
                Some(dir) => snapshot::restore(dir, &reader, &index)?,
                None => 0,
            };
            let erased = replay(&reader, &index, from, last)?;
            let view = View::new([None, None, None], &index);
            let source = scrub::Source {
                get: &|tree, key| view.get(tree, key),
                len: &|tree| Ok(index.len(tree)? as u64),
            };
            let report = scrub::compare(&reader, &source, scrub::REBUILD_SEGMENTS, None)?;
            if report.is_sound() {
                return Ok((index, erased));
            }
            warn!(from, ?report, "rebuilt index is not what the journal says");
            if from == 0 {
                return Err(StoreError::IndexDamaged("rebuilt"));
            }
            proven::can_rebuild(None, &reader)?;
            (from_snapshot, keep) = (false, true);
        }
    }

    /// Looks at once: what opens needs room.
    fn space(&self) -> Result<Space, StoreError> {
        let (settings, io) = journal_of(&self.backend);
        let (Backend::Embedded { reserve, .. } | Backend::Memory { reserve, .. }) = &self.backend;
        let dir = settings.dir.parent().unwrap_or(Path::new("/"));
        let space = Space::open(io, dir, *reserve, settings.segment_bytes);
        let path = dir.join(RESERVE_NAME);
        let space = space.map_err(|source| files::FilesError::Io { path, source })?;
        space.look();
        Ok(space)
    }

    /// Opens the journal, and says whether it ends before the index's mark. A mark that reaches
    /// into bytes of a bad batch proves damage. One beyond a sound end means that the journal was
    /// set back, and the index with its mark is what does not belong to it. Where nothing is left
    /// and the store was put in place all the same, the journal begins again: its log signs nothing
    /// before it was succeeded.
    fn open_journal(&self, mark: u64) -> Result<(Journal, Recovered, bool), StoreError> {
        let open = |marks: &[DurableMark]| {
            let (settings, io) = journal_of(&self.backend);
            Journal::open(settings, io, marks)
        };
        let marked = [DurableMark { seq: mark, batch_hash: None }];
        let opened = match mark {
            0 => open(&[]),
            _ => open(&marked),
        };
        match opened {
            Err(JournalError::Damage { what: Damage::EndBeforeMark, .. }) if mark > 0 => {
                let (journal, recovered) = open(&[])?;
                Ok((journal, recovered, true))
            }
            Err(JournalError::Missing) if self.dir().is_some_and(files::is_restored) => {
                let id = self.dir().map(|dir| StoreId::open(dir, &self.unit)).transpose()?;
                // No clock is known here.
                id.map_or(Ok(()), |id| begin(&self.backend, &id, Timestamp::from_millis(0)))?;
                let (journal, recovered) = open(&[])?;
                Ok((journal, recovered, mark > 0))
            }
            opened => {
                opened.map(|(journal, recovered)| (journal, recovered, false)).map_err(Into::into)
            }
        }
    }
}

fn frontier(index: &Index, origin: &LogOrigin) -> Result<Frontier, StoreError> {
    let view = View::new([None, None, None], index);
    let size = view.counter("log-size", &origin.to_string())?;
    Frontier::load(size, &Hashes::of(view, origin))
        .map_err(|_| StoreError::IndexDamaged("tree-hashes"))
}

/// Keeps the index beside itself, or removes it when nothing can be learnt from it, and begins an
/// empty one. The mark spoke of the old one, and the new one would be believed by it before it was
/// proven: so it is set to nothing first.
fn aside(dir: &Path, cache_bytes: u64, keep: bool) -> Result<Index, StoreError> {
    files::write_index_mark(dir, 0)?;
    let index = dir.join("index");
    let failed = |source| files::FilesError::Io { path: index.clone(), source };
    if keep {
        let moved = set_aside(&index).map_err(failed)?;
        warn!(kept = %moved.display(), "index kept aside, rebuilding from the journal");
    } else {
        std::fs::remove_dir_all(&index).map_err(failed)?;
        warn!("index removed, rebuilding from the journal");
    }
    Ok(Index::Sled(SledIndex::open(&index, cache_bytes)?))
}

/// The attachments, beside the journal.
fn files_of(backend: &Backend) -> blobs::Files {
    let (settings, io) = journal_of(backend);
    blobs::Files::new(io, settings.dir.parent().unwrap_or(Path::new("/")))
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

const SIM_SEGMENT_BYTES: u64 = 64 << 10;
