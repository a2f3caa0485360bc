//! The store: a journal is the truth, an index is its projection.
//!
//! Enter through [`Store`]: a dozen verbs, each one atomic commit, each repeatable. **`Ok` means
//! that it survives a power cut.** Nothing outside `sled/` may name the crate of that name.
//! README.md has a row per stored object.

pub mod blobs;
pub mod engine;
pub mod event;
pub mod files;
mod hashes;
pub mod index;
pub mod journal;
mod open;
mod project;
mod proven;
mod queue;
mod recent;
pub mod records;
pub mod repair;
pub mod scrub;
mod scrubber;
pub mod sled;
mod snapshot;
pub mod space;
mod txn;
mod verbs;
mod view;
mod wake;
mod writer;

#[cfg(test)]
mod suite;

use std::{collections::BTreeSet, io, path::Path, sync::Arc};

use relay_proto::{
    envelope::Priority,
    ids::{Digest, LogOrigin, UnitId},
    reason::Reason,
};
use tokio::sync::{oneshot, watch};

pub use self::sled::is_opening as is_index_opening;
pub use blobs::{Begun, BlobError, Blobs, Owner, Part};
pub use engine::LogHead;
pub use hashes::Hashes;
pub use open::{Backend, OpenStore, create};
pub use scrubber::{REPAIR, ScrubSettings, ScrubStatus};
pub use txn::{MovedOwed, NewLeaf, Txn};
pub use verbs::*;
pub use view::View;
pub use wake::Bells;

use crate::store::{
    engine::Shared,
    files::{DiskUse, FilesError},
    index::IndexError,
    journal::JournalError,
    queue::Queue,
};

/// A handle on the open store. Clones share it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    unit: UnitId,
    origin: LogOrigin,
    /// The round of the scrub that is under way; the scrub's thread writes it.
    scrubbing: Arc<scrubber::Scrubbing>,
    /// The attachments.
    files: Arc<blobs::Files>,
    /// Where its files are; none in a simulation.
    dir: Option<Arc<Path>>,
    /// Becomes `Some` when the store stopped, with the reason.
    ended: watch::Receiver<Option<Ended>>,
}

/// How a store ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Everything is on disk and marked so.
    Clean,
    /// A write or sync failed: the process must end, with the status that keeps it from being
    /// restarted blindly.
    Failed(String),
    /// The index failed. The journal is sound: a restart replays what the index lost.
    IndexFailed(String),
}

impl Store {
    /// Runs one commit on the writer and returns its answer once it is durable.
    pub async fn commit<R: Send + 'static>(
        &self,
        priority: Priority,
        work: impl FnOnce(&mut Txn<'_>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: queue::Job = Box::new(move |txn| {
            let result = txn.attempt(work);
            Box::new(move |kept| {
                let result = match kept {
                    queue::Kept::Durable => result,
                    queue::Kept::NoRoom => Err(StoreError::Full),
                };
                // Nobody waits any more: the commit stands all the same.
                let _ = answer.send(result);
            })
        });
        self.queue.push(priority, job).await.map_err(|_| StoreError::Stopped)?;
        answered.await.map_err(|_| StoreError::Stopped)?
    }

    /// Reads the durable state.
    pub fn read<R>(&self, read: impl FnOnce(View<'_>) -> R) -> R {
        self.shared.read(read)
    }

    /// The unit whose store this is.
    pub fn unit(&self) -> &UnitId {
        &self.unit
    }

    /// The origin of the unit's log.
    pub fn origin(&self) -> &LogOrigin {
        &self.origin
    }

    /// Size and root of the log: no leaf that was read before lies beyond it.
    pub fn log_head(&self) -> LogHead {
        self.shared.log_head()
    }

    /// The durable sequence, for those who wait for a change; it may be a moment behind what can be
    /// read.
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.shared.durable.subscribe()
    }

    /// What wakes the workers of a peer.
    pub fn bells(&self, peer: &UnitId) -> Arc<Bells> {
        self.shared.wakes.bells(peer.as_str())
    }

    /// Median and 99th percentile of write and sync, in microseconds.
    pub fn sync_percentiles(&self) -> (u32, u32) {
        self.shared.syncs.percentiles()
    }

    /// What the store takes of its disk; nothing in a simulation.
    pub fn disk_use(&self) -> Result<Option<DiskUse>, StoreError> {
        Ok(self.dir.as_deref().map(DiskUse::of).transpose()?)
    }

    /// The last sequence that the index holds.
    pub fn indexed_seq(&self) -> u64 {
        self.shared.indexed_seq.load(std::sync::atomic::Ordering::Acquire)
    }

    /// The last checkpoint of the open log that is known to have been signed: its size and root.
    pub fn anchor(&self) -> Result<Option<(u64, Digest)>, StoreError> {
        let key = records::key::anchor(&self.origin.to_string());
        let anchor: Option<event::Anchor> =
            self.read(|view| view.record(index::Tree::Meta, &key))?;
        Ok(anchor.map(|anchor| (anchor.size, records::digest_of(&anchor.root))))
    }

    /// How much room the disk has, as of the last commit.
    pub fn room(&self) -> space::Room {
        self.shared.space.room()
    }

    /// A checkpoint was signed; the next batch says so.
    pub fn note_signed(&self, size: u64, root: Digest) {
        self.shared.note_signed(size, root);
    }

    /// Whom a store that came out of a backup and signed nothing since waits for: all units that
    /// were compared once when it was first opened. Nothing: it is no such store.
    pub fn restored(&self) -> Result<Option<BTreeSet<String>>, StoreError> {
        let Some(dir) = self.dir.as_deref() else { return Ok(None) };
        let peers = self.peers()?.into_iter();
        let known = peers.filter(records::PeerRecord::was_compared).map(|peer| peer.unit);
        Ok(files::restored(dir, known.collect())?)
    }

    /// It is known by now what the restored store lacks.
    pub fn clear_restored(&self) -> Result<(), StoreError> {
        Ok(self.dir.as_deref().map_or(Ok(()), files::clear_restored)?)
    }

    /// Takes no more commits, writes what is queued, marks the end. Returns how it ended.
    pub async fn close(&self) -> Ended {
        self.queue.close();
        self.ended().await
    }

    /// Waits until the store ended, for whatever reason.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(Ended::Clean),
            Err(_) => Ended::Failed("the store's writer is gone".to_owned()),
        }
    }
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It stopped; nothing is accepted any more.
    #[error("the store stopped")]
    Stopped,
    /// The journal failed or is damaged.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A value of the index cannot be read.
    #[error("index damaged: a value in tree {0} cannot be read")]
    IndexDamaged(&'static str),
    /// The store's own files: absent, of another unit, in use.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A thread could not be started.
    #[error("cannot start the store's writer")]
    Thread(#[source] io::Error),
    /// The disk is full; nothing of the commit was kept, and the store goes on.
    #[error("the disk is full: make room on the file system of node.dir")]
    Full,
    /// The log holds as many leaves as a log can.
    #[error("the receipt log is full")]
    LogFull,
    /// The commit holds more than the store can keep; nothing of it was kept.
    #[error("{0} is too large for the store")]
    TooLarge(&'static str),
    /// A body was asked for that was erased.
    #[error("the content was erased")]
    Erased,
    /// A record of the journal cannot be read.
    #[error("record {seq} of the journal is damaged")]
    Damaged {
        /// Its sequence.
        seq: u64,
    },
    /// An event that cannot be read is needed to make the index anew.
    #[error(
        "event {seq} of the journal (segment {segment}) cannot be read, and the index {index}: put \
         that segment back from a backup; nothing was removed"
    )]
    Forgotten {
        /// Its sequence.
        seq: u64,
        /// Where it is.
        segment: u64,
        /// Why that does not help.
        index: &'static str,
    },
    /// The verb found that it may not do this.
    #[error("{0}")]
    Refused(Reason),
}

impl StoreError {
    /// Whether the index has to be made anew.
    fn is_index_damage(&self) -> bool {
        match self {
            Self::Index(error) => error.is_damage(),
            Self::IndexDamaged(_) => true,
            _ => false,
        }
    }

    /// The label that leaves the machine.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Refused(reason) => *reason,
            Self::Full | Self::Journal(JournalError::Full(_)) => Reason::StorageFull,
            Self::Index(IndexError::Io { source, .. }) if journal::is_full(source) => {
                Reason::StorageFull
            }
            Self::Damaged { .. }
            | Self::Forgotten { .. }
            | Self::IndexDamaged(_)
            | Self::Journal(JournalError::Damage { .. } | JournalError::NoEvent { .. }) => {
                Reason::StoreDamaged
            }
            Self::Index(error) if error.is_damage() => Reason::StoreDamaged,
            Self::Journal(error) if error.is_unread() => Reason::StoreDamaged,
            Self::Stopped | Self::Journal(_) => Reason::StoreStopped,
            Self::Erased => Reason::NotFound,
            Self::TooLarge(_) => Reason::TooLarge,
            _ => Reason::Internal,
        }
    }
}
