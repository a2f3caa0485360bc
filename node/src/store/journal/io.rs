//! What the journal needs of a disk, as two small traits, and the real one. Enter through `Io`.
//! Nothing else of the journal may touch the file system, so that every fault can be simulated.
//! Invariant: `Ok` of a sync means that the operating system reported the bytes as stored.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The directory side of a disk.
pub trait Io: Send + Sync {
    /// Creates a directory with its parents, durably in its parent; an existing one is fine.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// The names of all entries of a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Creates a new file; an existing one is an error.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn IoFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn IoFile>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in this directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Room of the file system that holds a directory.
    fn space(&self, dir: &Path) -> io::Result<DiskSpace>;
    /// A fresh random id; here, because a simulated disk must give the same ones for a seed.
    fn fresh_id(&self) -> [u8; 16];
}

/// How much room a file system has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Bytes that this process may still write.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
    /// Files that may still be made; very many where the file system does not count them.
    pub files_free: u64,
}

/// One open file.
pub trait IoFile: Send + Sync {
    /// Fills the buffer or fails.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Writes all bytes or fails; a failed write may have written any part of them.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Content, and as much metadata as reading it back needs (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Content and all metadata (fsync).
    fn sync_all(&self) -> io::Result<()>;
    fn size(&self) -> io::Result<u64>;
    /// Asks for the next read to come from the disk, not from memory; bytes that are not written
    /// yet stay.
    fn forget_cached(&self) -> io::Result<()>;
}

/// The disk of this machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealIo;

impl Io for RealIo {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        // The journal's directory is for its owner alone, and must itself survive a power cut.
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        match dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => self.sync_dir(parent),
            None => Ok(()),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            // A name that is not text is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn IoFile>> {
        let mut options = OpenOptions::new();
        // Journals hold other people's case data: never readable by group or others.
        options.read(true).write(true).create_new(true).mode(0o600);
        Ok(Arc::new(patiently(|| options.open(path))?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn IoFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        patiently(|| File::open(dir))?.sync_all()
    }

    fn space(&self, dir: &Path) -> io::Result<DiskSpace> {
        let stat = nix::sys::statvfs::statvfs(dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
        Ok(DiskSpace {
            free: bytes(stat.blocks_available()),
            total: bytes(stat.blocks()),
            files_free: if stat.files() == 0 { u64::MAX } else { stat.files_available() },
        })
    }

    fn fresh_id(&self) -> [u8; 16] {
        rand::random()
    }
}

/// Whether an error says that there is no room, by bytes, files or quota.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether the process or the machine lacks something just now: that says nothing about the disk.
pub fn is_short(error: &io::Error) -> bool {
    use nix::libc::{EINTR, EMFILE, ENFILE, ENOMEM};
    error.kind() == io::ErrorKind::OutOfMemory
        || matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOMEM | EINTR))
}

/// Opens once there are descriptors: for the writer alone. Its segments, and the directory that is
/// to be synced after one of them was put in its place, wait here: giving up would end the store
/// because somebody holds connections open. Who reads is told at once.
fn patiently(open: impl Fn() -> io::Result<File>) -> io::Result<File> {
    let give_up = Instant::now() + SHORT_MAX;
    loop {
        match open() {
            Err(error) if is_short(&error) && Instant::now() < give_up => {
                thread::sleep(SHORT_PAUSE);
            }
            opened => return opened,
        }
    }
}

/// How long a lack of descriptors may last.
const SHORT_MAX: Duration = Duration::from_secs(60);
const SHORT_PAUSE: Duration = Duration::from_millis(10);

impl IoFile for File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        File::sync_all(self)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn forget_cached(&self) -> io::Result<()> {
        use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
        Ok(posix_fadvise(self, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
    }
}
