//! The store's own small files: whose store it is, the lock, the index's mark.
//!
//! Made by `relay-node init` alone, so that a wrong path cannot start an empty node. Invariant: one
//! process at a time holds the lock, and nothing else is read before it is held.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nix::fcntl::{FcntlArg, fcntl};
use relay_proto::ids::UnitId;

/// Whose store a directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreId {
    /// The unit.
    pub unit: UnitId,
    /// Random, made by init.
    pub instance: [u8; 16],
}

/// A held lock; let go with the value.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl StoreId {
    /// Writes the file of a new store, durably. An existing one is refused.
    pub fn create(&self, dir: &Path) -> Result<(), FilesError> {
        let path = dir.join(ID_FILE);
        let text = format!("{FORMAT}\nunit {}\ninstance {}\n", self.unit, hex(&self.instance));
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(
                |error| match error.kind() {
                    io::ErrorKind::AlreadyExists => FilesError::Exists(dir.to_owned()),
                    _ => FilesError::Io { path: path.clone(), source: error },
                },
            )?;
        let io_error = |source| FilesError::Io { path: path.clone(), source };
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io_error)?;
        sync_dir(dir)
    }

    /// Reads it, and refuses the store of another unit or of a newer format.
    pub fn open(dir: &Path, unit: &UnitId) -> Result<Self, FilesError> {
        let path = dir.join(ID_FILE);
        let mut text = String::new();
        let opened = File::open(&path).and_then(|f| f.take(ID_BYTES_MAX).read_to_string(&mut text));
        if let Err(source) = opened {
            return Err(match source.kind() {
                io::ErrorKind::NotFound => FilesError::NotThere(dir.to_owned()),
                _ => FilesError::Io { path, source },
            });
        }
        let mut lines = text.lines();
        let format = lines.next().unwrap_or_default();
        if format != FORMAT {
            return Err(match format.strip_prefix(FORMAT_NAME).map(str::trim) {
                Some(version) => FilesError::NewerFormat(version.chars().take(8).collect()),
                None => FilesError::NotAStore(path),
            });
        }
        let field = |line: Option<&str>, name: &str| -> Option<String> {
            line?.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned)
        };
        let found = field(lines.next(), "unit").and_then(|unit| unit.parse::<UnitId>().ok());
        let instance = field(lines.next(), "instance")
            .and_then(|hex| data_encoding::HEXLOWER.decode(hex.as_bytes()).ok())
            .and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        let (Some(found), Some(instance)) = (found, instance) else {
            return Err(FilesError::NotAStore(path));
        };
        if found != *unit {
            return Err(FilesError::OtherUnit { found, expected: unit.clone() });
        }
        Ok(Self { unit: found, instance })
    }
}

impl Lock {
    /// Takes the lock of a store, or says that another process has it.
    pub fn take(dir: &Path) -> Result<Self, FilesError> {
        let path = dir.join("lock");
        let io_error = |source| FilesError::Io { path: path.clone(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => FilesError::NotThere(dir.to_owned()),
                _ => io_error(error),
            })?;
        // An open-file-description lock: it ends with this process, and closing another handle does
        // not end it.
        let whole = nix::libc::flock {
            l_type: nix::libc::F_WRLCK as i16,
            l_whence: nix::libc::SEEK_SET as i16,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole)) {
            Ok(_) => Ok(Self { _file: file }),
            Err(nix::Error::EAGAIN | nix::Error::EACCES) => Err(FilesError::InUse(dir.to_owned())),
            Err(error) => Err(io_error(error.into())),
        }
    }
}

/// Reads up to where the index was proven durable; anything unreadable counts as nothing.
pub fn read_index_mark(dir: &Path) -> u64 {
    let Ok(bytes) = std::fs::read(dir.join(MARK_FILE)) else { return 0 };
    let Some((seq, crc)) = bytes.split_first_chunk::<8>() else { return 0 };
    if crc == crc32fast::hash(seq).to_be_bytes() { u64::from_be_bytes(*seq) } else { 0 }
}

/// Says, durably, up to where the index is durable. Written after the index's own sync returned.
pub fn write_index_mark(dir: &Path, seq: u64) -> Result<(), FilesError> {
    let bytes =
        [&seq.to_be_bytes()[..], &crc32fast::hash(&seq.to_be_bytes()).to_be_bytes()].concat();
    let (path, new) = (dir.join(MARK_FILE), dir.join("index.mark.new"));
    let io_error = |source| FilesError::Io { path: path.clone(), source };
    let mut file = File::create(&new).map_err(io_error)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(io_error)?;
    std::fs::rename(&new, &path).map_err(io_error)?;
    sync_dir(dir)
}

/// Whether the store came out of a backup, or out of a standby that was promoted, and was not
/// heard about since. The file is written by whoever restores, before the store is opened.
pub fn is_restored(dir: &Path) -> bool {
    // In doubt it was: a file that cannot be looked at is there.
    !matches!(std::fs::symlink_metadata(dir.join(RESTORED_FILE)),
        Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// The store is known to lack nothing, or its log was succeeded.
pub fn clear_restored(dir: &Path) -> Result<(), FilesError> {
    let path = dir.join(RESTORED_FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FilesError::Io { path, source: error })
        }
        _ => sync_dir(dir),
    }
}

/// Makes entries of a directory durable.
pub fn sync_dir(dir: &Path) -> Result<(), FilesError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| FilesError::Io { path: dir.to_owned(), source })
}

/// What is wrong with the store's files, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// No store there.
    #[error("no store in {0}: `relay-node init` makes one; check node.dir for a wrong path")]
    NotThere(PathBuf),
    /// There is one already.
    #[error("{0} holds a store already")]
    Exists(PathBuf),
    /// The file is not ours.
    #[error("{0} is not the file of a relay store")]
    NotAStore(PathBuf),
    /// Another unit's.
    #[error("the store is of unit {found}, the configuration says {expected}")]
    OtherUnit {
        /// Whose it is.
        found: UnitId,
        /// Who was expected.
        expected: UnitId,
    },
    /// Written by a newer version.
    #[error("the store has format {0}, newer than this program: run the newer version")]
    NewerFormat(String),
    /// Another process has it open.
    #[error("the store in {0} is in use by another process")]
    InUse(PathBuf),
    /// The disk.
    #[error("{path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

const ID_FILE: &str = "store.id";
const MARK_FILE: &str = "index.mark";
const RESTORED_FILE: &str = "restored";
const FORMAT_NAME: &str = "relay-store";
const FORMAT: &str = "relay-store 1";
const ID_BYTES_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn id(unit: &str) -> StoreId {
        StoreId { unit: unit.parse().unwrap(), instance: [7; 16] }
    }

    /// Absent, foreign, newer and doubled stores each have their own error.
    #[test]
    fn a_store_is_opened_only_by_its_unit() {
        let dir = tempfile::tempdir().unwrap();
        let unit = "xa.ncu".parse().unwrap();
        assert!(matches!(StoreId::open(dir.path(), &unit), Err(FilesError::NotThere(_))));
        id("xa.ncu").create(dir.path()).unwrap();
        assert_eq!(StoreId::open(dir.path(), &unit).unwrap(), id("xa.ncu"));
        assert!(matches!(id("xa.ncu").create(dir.path()), Err(FilesError::Exists(_))));
        let other = StoreId::open(dir.path(), &"xb.ncu".parse().unwrap());
        assert!(matches!(other, Err(FilesError::OtherUnit { .. })));
        std::fs::write(dir.path().join(ID_FILE), "relay-store 2\nunit xa.ncu\n").unwrap();
        assert!(
            matches!(StoreId::open(dir.path(), &unit), Err(FilesError::NewerFormat(v)) if v == "2")
        );
        std::fs::write(dir.path().join(ID_FILE), "something else").unwrap();
        assert!(matches!(StoreId::open(dir.path(), &unit), Err(FilesError::NotAStore(_))));
    }

    #[test]
    fn the_lock_is_exclusive() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lock::take(dir.path()).unwrap();
        assert!(matches!(Lock::take(dir.path()), Err(FilesError::InUse(_))));
        drop(held);
        Lock::take(dir.path()).unwrap();
    }

    /// The mark is seen, also when it is no plain file, and can be taken away twice.
    #[test]
    fn a_restored_store_is_known() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_restored(dir.path()));
        std::os::unix::fs::symlink("nowhere", dir.path().join(RESTORED_FILE)).unwrap();
        assert!(is_restored(dir.path()));
        clear_restored(dir.path()).unwrap();
        clear_restored(dir.path()).unwrap();
        assert!(!is_restored(dir.path()));
    }

    /// A mark that was not written whole counts as none: the index is replayed from further back.
    #[test]
    fn a_damaged_mark_is_no_mark() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_index_mark(dir.path()), 0);
        write_index_mark(dir.path(), 77).unwrap();
        assert_eq!(read_index_mark(dir.path()), 77);
        std::fs::write(dir.path().join(MARK_FILE), [0, 0, 0, 0, 0, 0, 0, 99, 1, 2, 3, 4]).unwrap();
        assert_eq!(read_index_mark(dir.path()), 0);
    }
}
