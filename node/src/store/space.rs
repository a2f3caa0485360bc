//! Room on the disk: a reserve made by writing, and who is refused as room runs out.
//!
//! Enter through [`Space`]; the writer looks before each group of commits. Uses the disk through
//! the journal's `Io`. Invariant: refusal is in one order (ROUTINE submissions, ROUTINE arrivals,
//! URGENT, EMERGENCY), and what is left after it is kept for receipts, erasures and cut tails.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use relay_proto::envelope::Priority;
use tracing::{info, warn};

use crate::store::{
    StoreError,
    index::IndexError,
    journal::{DiskSpace, Io, is_full},
};

/// How much room is left, and so who is still served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Everybody.
    Ample,
    /// ROUTINE messages of our own case systems are refused.
    NoRoutineSubmissions,
    /// ROUTINE messages of peers are deferred as well.
    NoRoutine,
    /// Only EMERGENCY messages; the reserve was given up for them.
    EmergencyOnly,
    /// No message at all: only what is owed for those that were taken.
    ReceiptsOnly,
}

impl Room {
    /// Whether a case system's new message is taken.
    pub fn takes_submission(self, priority: Priority) -> bool {
        match priority {
            Priority::Routine => self < Self::NoRoutineSubmissions,
            other => self.takes_arrival(other),
        }
    }

    /// Whether a peer's new message is taken.
    pub fn takes_arrival(self, priority: Priority) -> bool {
        match priority {
            Priority::Routine => self < Self::NoRoutine,
            Priority::Urgent => self < Self::EmergencyOnly,
            Priority::Emergency => self < Self::ReceiptsOnly,
        }
    }

    /// As operators see it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ample => "AMPLE",
            Self::NoRoutineSubmissions => "NO_ROUTINE_SUBMISSIONS",
            Self::NoRoutine => "NO_ROUTINE",
            Self::EmergencyOnly => "EMERGENCY_ONLY",
            Self::ReceiptsOnly => "RECEIPTS_ONLY",
        }
    }

    const ALL: [Self; 5] = [
        Self::Ample,
        Self::NoRoutineSubmissions,
        Self::NoRoutine,
        Self::EmergencyOnly,
        Self::ReceiptsOnly,
    ];
}

/// How large the reserve is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReserveSettings {
    /// Part of the file system.
    pub percent: u32,
    /// At least so much; at least four journal segments.
    pub bytes_min: u64,
}

impl ReserveSettings {
    /// No reserve and no refusal before the disk is full: for stores that live no longer than a
    /// test.
    pub const NONE: Self = Self { percent: 0, bytes_min: 0 };
}

/// The room of one store.
pub struct Space {
    io: Arc<dyn Io>,
    dir: PathBuf,
    /// Size of the whole reserve; 0: none is kept.
    target: u64,
    /// What lies between one refusal and the next; at least one segment, so that a segment that is
    /// prepared never goes past two of them.
    step: u64,
    /// Bytes of the reserve that are there; shared with whoever makes it.
    held: Arc<AtomicU64>,
    /// Whoever makes it stops.
    stop: Arc<AtomicBool>,
    /// Held while a piece is written, and while the reserve is removed.
    file: Arc<Mutex<()>>,
    room: AtomicU8,
    /// A segment could not be prepared, whatever the free bytes say (quota, inodes).
    blocked: AtomicBool,
}

impl Space {
    /// Finds the reserve of a store; it is made later, by [`Self::take_work`].
    pub fn open(
        io: Arc<dyn Io>,
        dir: &Path,
        settings: ReserveSettings,
        segment_bytes: u64,
    ) -> io::Result<Self> {
        let share = match settings.percent {
            0 => 0,
            percent => io.space(dir)?.total / 100 * u64::from(percent),
        };
        let target = share.max(settings.bytes_min);
        let path = dir.join(RESERVE_NAME);
        let mut held = match io.open(&path) {
            Ok(file) => file.size()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        if held > target {
            io.remove(&path)?;
            io.sync_dir(dir)?;
            held = 0;
        }
        Ok(Self {
            io,
            dir: dir.to_owned(),
            target,
            step: (target / STEPS).max(segment_bytes),
            held: Arc::new(AtomicU64::new(held)),
            stop: Arc::default(),
            file: Arc::default(),
            room: AtomicU8::new(0),
            blocked: AtomicBool::new(false),
        })
    }

    /// The room as it was at the last look.
    pub fn room(&self) -> Room {
        let at = usize::from(self.room.load(Ordering::Acquire));
        Room::ALL.get(at).copied().unwrap_or(Room::ReceiptsOnly)
    }

    /// The file system and the reserve, for people.
    pub fn disk(&self) -> Option<DiskSpace> {
        self.io.space(&self.dir).ok()
    }

    /// Bytes of the reserve that are there.
    pub fn reserve(&self) -> u64 {
        self.held.load(Ordering::Acquire)
    }

    /// Looks at the disk. Entering EMERGENCY-only gives the reserve up.
    pub fn look(&self) -> Room {
        let before = self.room();
        let Some(disk) = (self.target > 0).then(|| self.disk()).flatten() else { return before };
        let left = disk.free.saturating_add(self.reserve());
        let mut now = self.judge(left, disk.files_free);
        if now < before {
            // Not at once: room that comes and goes would have callers come and go with it.
            now = self.judge(left.saturating_sub(self.step / 2), disk.files_free).min(before);
        }
        if self.blocked.load(Ordering::Acquire) {
            now = Room::ReceiptsOnly;
        }
        if now != before {
            self.room.store(now as u8, Ordering::Release);
            let (free, reserve) = (disk.free, self.reserve());
            match now > before {
                true => warn!(room = now.label(), free, reserve, "disk fills up"),
                false => info!(room = now.label(), free, reserve, "disk has room again"),
            }
        }
        if now >= Room::EmergencyOnly {
            self.give_up();
        }
        now
    }

    /// The order of refusal. Counted with the reserve, whether it is there or not, so that giving
    /// it up does not look like new room.
    fn judge(&self, left: u64, files_free: u64) -> Room {
        let above = |steps: u64| left >= self.target.saturating_add(self.step * steps);
        match () {
            () if left < self.step * 3 => Room::ReceiptsOnly,
            () if !above(2) || files_free < FILES_MIN => Room::EmergencyOnly,
            () if !above(3) => Room::NoRoutine,
            () if !above(4) => Room::NoRoutineSubmissions,
            () => Room::Ample,
        }
    }

    /// Whether so many bytes more leave room for messages of this priority.
    pub fn has_room_for(&self, bytes: u64, priority: Priority) -> bool {
        let Some(disk) = self.disk() else { return true };
        if self.target == 0 {
            return disk.free >= bytes;
        }
        let left = disk.free.saturating_add(self.reserve()).saturating_sub(bytes);
        !self.is_blocked() && self.judge(left, disk.files_free).takes_arrival(priority)
    }

    /// Removes the reserve. Whether that made room.
    pub fn give_up(&self) -> bool {
        self.stop.store(true, Ordering::Release);
        let _alone = lock(&self.file);
        if self.reserve() == 0 {
            return false;
        }
        let gone = match self.io.remove(&self.dir.join(RESERVE_NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            gone => gone,
        };
        match gone.and_then(|()| self.io.sync_dir(&self.dir)) {
            Ok(()) => {
                let bytes = self.held.swap(0, Ordering::AcqRel);
                warn!(bytes, "reserve given up, the disk is nearly full");
                true
            }
            Err(error) => {
                warn!(%error, "reserve could not be given up");
                false
            }
        }
    }

    /// A segment could not be prepared. Whether a second try may do better.
    pub fn note_full(&self) -> bool {
        self.blocked.store(true, Ordering::Release);
        let gave = self.give_up();
        self.look();
        gave
    }

    /// A segment was prepared.
    pub fn note_prepared(&self) {
        self.blocked.store(false, Ordering::Release);
    }

    /// Whether no segment could be prepared since one was.
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Acquire)
    }

    /// Whether a segment of this length may be prepared ahead.
    pub fn may_prepare(&self, bytes: u64) -> bool {
        self.target == 0 || self.disk().is_none_or(|disk| disk.free >= bytes + self.step / 4)
    }

    /// Whether the index may write. When its disk fails it cannot go on, while the journal can; so
    /// it waits before that, its changes in memory: so many bytes, of which it writes more.
    pub fn may_index(&self, bytes: usize) -> bool {
        // Without a reserve nothing is refused before the disk is full, but the index waits.
        let step = if self.target == 0 { 0 } else { self.step };
        let least = step.max(INDEX_BYTES_MIN).max(bytes as u64 * INDEX_WRITES);
        let has_room = |disk: DiskSpace| disk.free >= least && disk.files_free >= INDEX_FILES;
        self.disk().is_none_or(has_room)
    }

    /// The work of making the reserve, for another thread; `None` when it is there, is being made,
    /// or has no room.
    pub fn take_work(&self) -> Option<ReserveWork> {
        let missing = self.target.saturating_sub(self.reserve());
        let idle = Arc::strong_count(&self.held) == 1;
        if missing == 0 || !idle || self.room() > Room::NoRoutineSubmissions {
            return None;
        }
        let enough = missing.saturating_add(self.step * 3);
        self.disk().filter(|disk| disk.free >= enough)?;
        self.stop.store(false, Ordering::Release);
        Some(ReserveWork {
            io: Arc::clone(&self.io),
            dir: self.dir.clone(),
            target: self.target,
            held: Arc::clone(&self.held),
            stop: Arc::clone(&self.stop),
            file: Arc::clone(&self.file),
        })
    }

    /// Opens the index. When it does not open for want of space, the reserve is given up for it.
    pub fn open_index<T>(
        &self,
        open: impl Fn() -> Result<T, IndexError>,
    ) -> Result<Result<T, IndexError>, StoreError> {
        let first = open();
        if first.is_ok() || !self.is_cause(&first) {
            return Ok(first);
        }
        self.give_up();
        let second = open();
        // Nothing is known of the index: it must not be set aside for a disk that is full.
        if self.is_cause(&second) { Err(StoreError::Full) } else { Ok(second) }
    }

    /// Whether a full disk is why the index failed; it panics as well as it answers.
    fn is_cause<T>(&self, opened: &Result<T, IndexError>) -> bool {
        match opened {
            Ok(_) => false,
            Err(IndexError::Io { source, .. }) if is_full(source) => true,
            Err(_) => self.disk().is_some_and(|disk| disk.free < INDEX_OPEN_BYTES),
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Makes the reserve, or what is missing of it. Written, not allocated, and of bytes that no file
/// system compresses away: only so the room is there when it is given up.
pub struct ReserveWork {
    io: Arc<dyn Io>,
    dir: PathBuf,
    target: u64,
    held: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    file: Arc<Mutex<()>>,
}

impl ReserveWork {
    /// Does it; `pause` after each piece keeps the disk free for others.
    pub fn run(self, pause: Duration) -> io::Result<()> {
        let path = self.dir.join(RESERVE_NAME);
        let file = match self.io.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = self.io.create(&path)?;
                self.io.sync_dir(&self.dir)?;
                file
            }
            opened => opened?,
        };
        let piece = self.piece();
        let mut next = file.size()?;
        while next < self.target {
            let bytes = (self.target - next).min(piece.len() as u64);
            {
                let _alone = lock(&self.file);
                // Given up meanwhile: what is written now would count and not be there.
                if self.stop.load(Ordering::Acquire) {
                    return Ok(());
                }
                file.write_at(next, piece.get(..bytes as usize).unwrap_or_default())?;
                file.sync_all()?;
                next += bytes;
                self.held.store(next, Ordering::Release);
            }
            if !pause.is_zero() {
                thread::park_timeout(pause);
            }
        }
        info!(bytes = next, "reserve made");
        Ok(())
    }

    fn piece(&self) -> Vec<u8> {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        while piece.len() < PIECE_BYTES.min(usize::try_from(self.target).unwrap_or(PIECE_BYTES)) {
            piece.extend_from_slice(&self.io.fresh_id());
        }
        piece
    }
}

fn lock(file: &Mutex<()>) -> MutexGuard<'_, ()> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Beside the journal's directory.
pub const RESERVE_NAME: &str = "reserve.bin";
/// The reserve is so many steps of refusal, or fewer when a segment is longer than one.
const STEPS: u64 = 8;
/// Written and synced at once.
const PIECE_BYTES: usize = 1 << 20;
/// Files that are still to be made when there is hardly any room: segments, marks, the index's own.
const FILES_MIN: u64 = 16;
/// What the index may write at once.
const INDEX_BYTES_MIN: u64 = 2 << 20;
/// Bytes that it writes for one that changes: to its log, and when its pages are written anew.
const INDEX_WRITES: u64 = 2;
/// Files that it may make at once, its mark among them.
const INDEX_FILES: u64 = 4;
/// An index needs a few segments of its own to open.
const INDEX_OPEN_BYTES: u64 = 4 << 20;
