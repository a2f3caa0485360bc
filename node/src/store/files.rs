//! The store's own small files: whose store it is, the lock, the marks of index and restore.
//!
//! Made by `relay-node init` alone, so that a wrong path cannot start an empty node. Invariant: one
//! process at a time holds the lock, and nothing else is read before it is held.

mod lock;

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::sys::statvfs::statvfs;
use relay_proto::ids::UnitId;

pub use lock::Lock;

use crate::store::journal::{is_full, is_short};

/// Whose store a directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreId {
    /// The unit.
    pub unit: UnitId,
    /// Random, made by init.
    pub instance: [u8; 16],
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
                // It is no text.
                io::ErrorKind::InvalidData => FilesError::NotAStore(path),
                _ => FilesError::Io { path, source },
            });
        }
        let mut lines = text.lines();
        let format = lines.next().unwrap_or_default();
        if format != FORMAT {
            return Err(match format.strip_prefix(FORMAT_NAME).map(str::trim) {
                Some(version) => FilesError::NewerFormat {
                    dir: dir.to_owned(),
                    version: version.chars().take(8).collect(),
                },
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
            let (dir, expected) = (dir.to_owned(), unit.clone());
            return Err(FilesError::OtherUnit { dir, found, expected });
        }
        Ok(Self { unit: found, instance })
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
    let path = dir.join(MARK_FILE);
    replace(&path, &bytes, 0o600).map_err(|source| FilesError::Io { path, source })
}

/// Says, durably, that the index has to be made anew at the next start, and why.
pub fn note_unsound(dir: &Path, why: &str) -> Result<(), FilesError> {
    let path = dir.join(UNSOUND_FILE);
    replace(&path, why.as_bytes(), 0o600).map_err(|source| FilesError::Io { path, source })
}

/// Why it has to be, if it has.
pub fn unsound(dir: &Path) -> Option<String> {
    let why = std::fs::read(dir.join(UNSOUND_FILE)).ok()?;
    Some(String::from_utf8_lossy(&why).into_owned())
}

/// It was.
pub fn clear_unsound(dir: &Path) -> Result<(), FilesError> {
    let path = dir.join(UNSOUND_FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|source| FilesError::Io { path, source }),
    }
}

/// Replaces a small file, durably: the old one or the new one is there, whole, whatever happens.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new)?;
    file.write_all(bytes)?;
    put_in_place(&file, &new, path)
}

/// Makes a directory for its owner alone, durably.
pub(super) fn create_private_dir(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Gives a file that is written its name, durably.
pub(super) fn put_in_place(file: &File, unfinished: &Path, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    std::fs::rename(unfinished, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

/// Whether the store came out of a backup, or out of a standby that was promoted, and was not
/// heard about since. The file is written by whoever restores, before the store is opened.
pub(super) fn is_restored(dir: &Path) -> bool {
    // In doubt it was: a file that cannot be looked at is there.
    !matches!(std::fs::symlink_metadata(dir.join(RESTORED_FILE)),
        Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// The units that a restored store waits for; nothing when it was not restored. The first start
/// writes `known` into the mark, and that is it: who is removed later stays in it.
pub fn restored(
    dir: &Path,
    known: BTreeSet<String>,
) -> Result<Option<BTreeSet<String>>, FilesError> {
    if !is_restored(dir) {
        return Ok(None);
    }
    let path = dir.join(RESTORED_FILE);
    let io_error = |source| FilesError::Io { path: path.clone(), source };
    let mut text = String::new();
    match File::open(&path).and_then(|f| f.take(RESTORED_BYTES_MAX).read_to_string(&mut text)) {
        // A link to nothing is a mark, too.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(error)),
        _ => {}
    }
    if let Some(units) = text.strip_prefix(RESTORED_HEAD) {
        return Ok(Some(units.lines().map(str::to_owned).collect()));
    }
    let lines = known.iter().map(|unit| format!("{unit}\n"));
    let text = lines.fold(RESTORED_HEAD.to_owned(), |text, line| text + &line);
    replace(&path, text.as_bytes(), 0o600).map_err(io_error)?;
    Ok(Some(known))
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

/// What a store takes of its file system, and what that has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskUse {
    /// Bytes that the store's files take there.
    pub used: u64,
    /// Bytes that this user may still fill.
    pub free: u64,
}

impl DiskUse {
    /// Asks the file system. Files that go while it is looked are not counted.
    pub fn of(dir: &Path) -> Result<Self, FilesError> {
        let found = statvfs(dir)
            .map_err(|error| FilesError::Io { path: dir.to_owned(), source: error.into() })?;
        let free = found.blocks_available().saturating_mul(found.fragment_size());
        let mut used: u64 = 0;
        // The store's directory, its journal's and its index's; the index keeps its blobs one
        // deeper.
        let mut level = vec![dir.to_owned()];
        for _ in 0..DEPTH_MAX {
            let entries = level.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten();
            let mut below = Vec::new();
            for entry in entries.flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                // What is prepared and not written yet takes no room.
                used = used.saturating_add(metadata.blocks().saturating_mul(BLOCK_BYTES));
                if metadata.is_dir() {
                    below.push(entry.path());
                }
            }
            level = below;
        }
        Ok(Self { used, free })
    }
}

/// Makes entries of a directory durable.
fn sync_dir(dir: &Path) -> Result<(), FilesError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| FilesError::Io { path: dir.to_owned(), source })
}

/// What is wrong with the store's files: `what is wrong: what helps`.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// No store there.
    #[error(
        "`{}` holds no store: correct `node.dir`; only `relay-node init` makes a store",
        .0.display()
    )]
    NotThere(PathBuf),
    /// There is one already.
    #[error("`{}` holds a store already: choose another directory", .0.display())]
    Exists(PathBuf),
    /// The file is not ours.
    #[error(
        "`{}` is not the file of a relay store: correct `node.dir`, or put the file back from a \
         backup", .0.display()
    )]
    NotAStore(PathBuf),
    /// Another unit's.
    #[error(
        "the store in `{}` is of unit {found}, the configuration says {expected}: correct \
         `node.dir` or `node.unit`", .dir.display()
    )]
    OtherUnit {
        /// Where.
        dir: PathBuf,
        /// Whose it is.
        found: UnitId,
        /// Who was expected.
        expected: UnitId,
    },
    /// Written by a newer version.
    #[error(
        "the store in `{}` has format {version}, newer than this program: run the newer version",
        .dir.display()
    )]
    NewerFormat {
        /// Where.
        dir: PathBuf,
        /// Its format.
        version: String,
    },
    /// Another process has it open.
    #[error(
        "the store in `{}` is open in {}, probably this node runs already: stop it first \
         (`systemctl status relay-node`)", .dir.display(),
        .holder.map_or("another process".to_owned(), |process| format!("process {process}"))
    )]
    InUse {
        /// Where.
        dir: PathBuf,
        /// Whom its lock names, if it names anybody.
        holder: Option<u32>,
    },
    /// Other machines may have the same files open.
    #[error(
        "`{}` is on a network file system ({kind}): put `node.dir` on a disk of this machine",
        .dir.display()
    )]
    Network {
        /// Where.
        dir: PathBuf,
        /// Which.
        kind: &'static str,
    },
    /// The disk.
    #[error("`{}` cannot be used", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FilesError {
    /// Whether there was no room for it, or no descriptor.
    pub(super) fn passes(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_full(source) || is_short(source))
    }

    /// The kind of fault, for programs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotThere(_) => "STORE_MISSING",
            Self::Exists(_) => "STORE_EXISTS",
            Self::NotAStore(_) => "NOT_A_STORE",
            Self::OtherUnit { .. } => "STORE_OF_ANOTHER",
            Self::NewerFormat { .. } => "STORE_NEWER",
            Self::InUse { .. } => "STORE_IN_USE",
            Self::Network { .. } => "STORE_ON_NETWORK",
            Self::Io { .. } => "STORE_UNREADABLE",
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

const ID_FILE: &str = "store.id";
/// There while the index has to be made anew.
const UNSOUND_FILE: &str = "index.unsound";
/// The index's mark.
pub const MARK_FILE: &str = "index.mark";
const RESTORED_FILE: &str = "restored";
const RESTORED_HEAD: &str = "relay-restored/v1\n";
const FORMAT_NAME: &str = "relay-store";
const FORMAT: &str = "relay-store 1";
const ID_BYTES_MAX: u64 = 4096;

/// A line of a thousand units each.
const RESTORED_BYTES_MAX: u64 = 256 << 10;

/// The unit in which a file system tells what a file takes (`st_blocks`).
const BLOCK_BYTES: u64 = 512;

/// Levels of directories below a store, and one to spare.
const DEPTH_MAX: usize = 4;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
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
        assert!(matches!(StoreId::open(dir.path(), &unit),
                Err(FilesError::NewerFormat { version, .. }) if version == "2"));
        std::fs::write(dir.path().join(ID_FILE), "something else").unwrap();
        assert!(matches!(StoreId::open(dir.path(), &unit), Err(FilesError::NotAStore(_))));
    }

    /// What files take is counted, also in directories below; what is free is the file system's.
    #[test]
    fn room_is_measured() {
        let dir = tempfile::tempdir().unwrap();
        let before = DiskUse::of(dir.path()).unwrap();
        std::fs::create_dir_all(dir.path().join("journal/deeper")).unwrap();
        for file in ["journal/1.seg", "journal/deeper/2.seg"] {
            std::fs::write(dir.path().join(file), vec![7; 100_000]).unwrap();
        }
        let after = DiskUse::of(dir.path()).unwrap();
        assert!(after.used >= before.used + 200_000, "{before:?} {after:?}");
        assert!(after.used < before.used + 400_000 && after.free > 0, "{before:?} {after:?}");
        assert!(DiskUse::of(&dir.path().join("nowhere")).is_err());
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

    /// Whom a restored store waits for is what the first start knew, whatever whoever made the mark
    /// wrote into it, and whoever is known later.
    #[test]
    fn whom_a_restored_store_waits_for_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join(RESTORED_FILE);
        let units = |names: &[&str]| -> BTreeSet<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        assert_eq!(restored(dir.path(), units(&["xb.ncu"])).unwrap(), None);
        assert!(!mark.exists());
        for first in [units(&["xb.ncu", "xc.ncu"]), units(&[])] {
            std::fs::write(&mark, "from the backup of the night\n").unwrap();
            assert_eq!(restored(dir.path(), first.clone()).unwrap(), Some(first.clone()));
            for later in [units(&[]), units(&["xb.ncu"]), units(&["xd.ncu"])] {
                assert_eq!(restored(dir.path(), later).unwrap(), Some(first.clone()));
            }
            clear_restored(dir.path()).unwrap();
        }
        // What cannot be read is no mark that may be written over.
        std::fs::create_dir(&mark).unwrap();
        assert!(restored(dir.path(), units(&["xb.ncu"])).is_err());
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
