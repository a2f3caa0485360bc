//! The index on disk. Enter through `SledIndex::open`, use it through `Index`. The only place
//! that names the crate `sled`. Invariant: nothing here is trusted after an unclean stop; the
//! journal is replayed from the last mark that `make_durable` proved.
//!
//! sled panics in threads of its own after an I/O error. Such a panic cannot be caught here: the
//! daemon's process-wide panic hook must end the process, which then starts again and rebuilds.
//! Panics of `open` itself (it panics on some damaged files) are caught and told as `Damaged`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ::sled::{Batch, Config, Db, Mode};

use crate::store::index::{APPLIED_KEY, Change, IndexError, Pair, Tree};

/// A sled database with one tree per `Tree`.
#[derive(Debug)]
pub struct SledIndex {
    dir: PathBuf,
    db: Db,
    trees: BTreeMap<Tree, ::sled::Tree>,
    /// Everything up to here is in memory or on disk; moved by `apply` after all its batches.
    applied: AtomicU64,
}

impl SledIndex {
    /// Opens or creates. `Damaged` means: set it aside, open a new one, replay the journal.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, IndexError> {
        let opened = catch_unwind(AssertUnwindSafe(|| open_trees(dir, cache_bytes)));
        let (db, trees) = opened
            .map_err(|_panic| IndexError::Damaged { detail: "panic while opening".to_owned() })??;
        let index = Self { dir: dir.to_owned(), db, trees, applied: AtomicU64::new(0) };
        let mut least = u64::MAX;
        for tree in Tree::all() {
            least = least.min(index.applied_of(*tree)?);
        }
        index.applied.store(least, Ordering::Release);
        Ok(index)
    }

    pub(in crate::store) fn get(
        &self,
        tree: Tree,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, IndexError> {
        if key == APPLIED_KEY {
            return Ok(None);
        }
        let value = self.tree(tree)?.get(key).map_err(failed("get"))?;
        Ok(value.map(|bytes| bytes.to_vec()))
    }

    pub(in crate::store) fn range(
        &self,
        tree: Tree,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Pair>, IndexError> {
        let found = self.tree(tree)?.range::<&[u8], _>((lower, upper));
        let found = found.filter(|pair| !matches!(pair, Ok((key, _)) if key == APPLIED_KEY));
        let owned = |pair: ::sled::Result<(::sled::IVec, ::sled::IVec)>| {
            pair.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(failed("range"))
        };
        match reverse {
            false => found.take(limit).map(owned).collect(),
            true => found.rev().take(limit).map(owned).collect(),
        }
    }

    pub(in crate::store) fn apply<'a>(
        &self,
        changes: impl Iterator<Item = Change<'a>>,
        through_seq: u64,
    ) -> Result<(), IndexError> {
        let mut batches: BTreeMap<Tree, (Batch, usize)> = BTreeMap::new();
        for Change { tree, key, value } in changes {
            let (batch, count) = batches.entry(tree).or_default();
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
            *count += 1;
            // In pieces: what is applied is held twice until it is.
            if *count >= BATCH_MAX {
                *count = 0;
                self.tree(tree)?.apply_batch(std::mem::take(batch)).map_err(failed("apply"))?;
            }
        }
        // Last: no tree claims more than it holds.
        for (tree, (mut batch, _)) in batches {
            batch.insert(APPLIED_KEY, &through_seq.to_be_bytes());
            self.tree(tree)?.apply_batch(batch).map_err(failed("apply"))?;
        }
        self.applied.store(through_seq, Ordering::Release);
        Ok(())
    }

    pub(in crate::store) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    pub(in crate::store) fn reach(&self) -> Result<u64, IndexError> {
        Tree::all().iter().try_fold(0, |most, tree| Ok(self.applied_of(*tree)?.max(most)))
    }

    /// Trees that had nothing to do lag behind in what they claim; they are brought up here, so
    /// that the least over all trees is what the mark says.
    pub(in crate::store) fn make_durable(&self) -> Result<u64, IndexError> {
        let through = self.applied();
        for tree in Tree::all() {
            if self.applied_of(*tree)? < through {
                let value = through.to_be_bytes();
                self.tree(*tree)?.insert(APPLIED_KEY, &value).map_err(failed("mark"))?;
            }
        }
        self.db.flush().map_err(failed("flush"))?;
        // sled's flush is sync_file_range: neither file length nor disk cache. What it wrote is
        // durable only after a real fsync of every file and directory.
        sync_tree(&self.dir, 0).map_err(|source| IndexError::Io { step: "sync", source })?;
        Ok(through)
    }

    pub(in crate::store) fn len(&self, tree: Tree) -> Result<usize, IndexError> {
        let tree = self.tree(tree)?;
        let reserved = tree.contains_key(APPLIED_KEY).map_err(failed("len"))?;
        Ok(tree.len() - usize::from(reserved))
    }

    /// What one tree claims to hold.
    pub fn applied_of(&self, tree: Tree) -> Result<u64, IndexError> {
        let Some(value) = self.tree(tree)?.get(APPLIED_KEY).map_err(failed("applied"))? else {
            return Ok(0);
        };
        let bytes = <[u8; 8]>::try_from(value.as_ref()).map_err(|_| IndexError::Damaged {
            detail: format!("applied sequence of tree {} is not a number", tree.name()),
        })?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn tree(&self, tree: Tree) -> Result<&::sled::Tree, IndexError> {
        // `open` fills the map from the same closed list.
        self.trees.get(&tree).ok_or_else(|| IndexError::Damaged {
            detail: format!("tree {} was not opened", tree.name()),
        })
    }
}

/// Moves a damaged index out of the way, beside itself, and returns where it went. The caller
/// has dropped every handle.
pub fn set_aside(dir: &Path) -> io::Result<PathBuf> {
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or("index");
    let parent = dir.parent().unwrap_or(Path::new("."));
    for n in 1..=SET_ASIDE_MAX {
        let target = parent.join(format!("{name}.damaged-{n}"));
        if fs::symlink_metadata(&target).is_ok() {
            continue;
        }
        fs::rename(dir, &target)?;
        File::open(parent)?.sync_all()?;
        return Ok(target);
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        format!("{SET_ASIDE_MAX} damaged indexes are kept already"),
    ))
}

fn open_trees(
    dir: &Path,
    cache_bytes: u64,
) -> Result<(Db, BTreeMap<Tree, ::sled::Tree>), IndexError> {
    let db = Config::new()
        .path(dir)
        .cache_capacity(cache_bytes)
        .mode(Mode::HighThroughput)
        // Durability comes from `make_durable` alone, so nothing may hang on a background thread.
        .flush_every_ms(None)
        .open()
        .map_err(failed("open"))?;
    let mut trees = BTreeMap::new();
    for tree in Tree::all() {
        trees.insert(*tree, db.open_tree(tree.name()).map_err(failed("open tree"))?);
    }
    Ok((db, trees))
}

/// Syncs every file below a directory, then the directory itself.
fn sync_tree(dir: &Path, depth: usize) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && depth < SYNC_DEPTH_MAX {
            sync_tree(&entry.path(), depth + 1)?;
        } else if kind.is_file() {
            match File::open(entry.path()) {
                Ok(file) => file.sync_all()?,
                // sled replaces its snapshot files from a thread of its own.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    File::open(dir)?.sync_all()
}

/// An I/O error may be the disk's; everything else sled reports is its own state gone wrong.
fn failed(step: &'static str) -> impl Fn(::sled::Error) -> IndexError {
    move |error| match error {
        ::sled::Error::Io(source) => IndexError::Io { step, source },
        other => IndexError::Damaged { detail: format!("{step}: {other}") },
    }
}

/// Changes of one tree that are applied at once.
const BATCH_MAX: usize = 512;
/// An operator should look long before that many.
const SET_ASIDE_MAX: u32 = 1000;
/// sled has one level below its directory.
const SYNC_DEPTH_MAX: usize = 4;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;
    use crate::store::index::{Index, Op};

    fn put(tree: Tree, key: &[u8]) -> Op {
        Op { tree, key: key.to_vec(), value: Some(key.to_vec()), fresh: false }
    }

    fn open(dir: &Path) -> Result<SledIndex, IndexError> {
        SledIndex::open(dir, 1 << 20)
    }

    /// Dropped without `make_durable`, opened again: content is there (the process ended, the
    /// machine did not), but trees that were idle claim nothing, so replay starts at their least.
    /// After `make_durable` every tree claims what the mark says.
    #[test]
    fn applied_sequence_per_tree_survives_reopening() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("index");
        let index = open(&dir).unwrap();
        index
            .apply([put(Tree::Due, b"a"), put(Tree::Acks, b"b")].iter().map(Op::change), 4)
            .unwrap();
        index.apply([put(Tree::Due, b"c")].iter().map(Op::change), 6).unwrap();
        assert_eq!(index.applied(), 6);
        drop(index);

        let index = open(&dir).unwrap();
        assert_eq!(index.applied(), 0);
        assert_eq!(index.applied_of(Tree::Due).unwrap(), 6);
        assert_eq!(index.applied_of(Tree::Acks).unwrap(), 4);
        assert_eq!(index.get(Tree::Due, b"c").unwrap(), Some(b"c".to_vec()));
        index.apply([put(Tree::Due, b"d")].iter().map(Op::change), 9).unwrap();
        assert_eq!(index.make_durable().unwrap(), 9);
        index.apply([put(Tree::Due, b"e")].iter().map(Op::change), 11).unwrap();
        drop(index);

        let index = open(&dir).unwrap();
        assert_eq!(index.applied(), 9, "the least over all trees");
        assert_eq!(index.applied_of(Tree::Due).unwrap(), 11);
        for tree in Tree::all() {
            let expected = match tree {
                Tree::Due => 4,
                Tree::Acks => 1,
                _ => 0,
            };
            let index = &index;
            assert_eq!(index.len(*tree).unwrap(), expected, "{}", tree.name());
        }
    }

    /// A damaged database answers a typed error, is set aside under the first free name, and a
    /// new one opens in its place; what was set aside is kept as it was.
    #[test]
    fn damaged_is_set_aside() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("index");
        for n in 1..=3 {
            let index = open(&dir).unwrap();
            index.apply([put(Tree::Due, b"a")].iter().map(Op::change), n).unwrap();
            index.make_durable().unwrap();
            drop(index);
            fs::write(dir.join("conf"), b"not a configuration").unwrap();
            assert!(matches!(open(&dir), Err(IndexError::Damaged { .. } | IndexError::Io { .. })));
            let kept = set_aside(&dir).unwrap();
            assert_eq!(kept, parent.path().join(format!("index.damaged-{n}")));
            assert!(kept.join("db").exists() && !dir.exists());
            let index = open(&dir).unwrap();
            assert_eq!((index.applied(), index.len(Tree::Due).unwrap()), (0, 0));
        }
    }

    /// Garbage in place of the data file ends in an error or in an index that admits to have
    /// lost everything, never in a panic of the caller.
    #[test]
    fn overwritten_data_does_not_panic_the_caller() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("index");
        let index = open(&dir).unwrap();
        for n in 1..=200u64 {
            index.apply([put(Tree::Timeline, &n.to_be_bytes())].iter().map(Op::change), n).unwrap();
        }
        index.make_durable().unwrap();
        drop(index);
        let length = fs::metadata(dir.join("db")).unwrap().len();
        fs::write(dir.join("db"), vec![0xa5; length as usize]).unwrap();
        match open(&dir) {
            Err(IndexError::Damaged { .. } | IndexError::Io { .. }) => {}
            Err(other) => panic!("{other}"),
            Ok(index) => assert_eq!(index.applied(), 0),
        }
    }

    /// The enum reaches this variant.
    #[test]
    fn works_through_the_enum() {
        let parent = tempfile::tempdir().unwrap();
        let index = Index::Sled(open(&parent.path().join("index")).unwrap());
        index.apply_ops(&[put(Tree::Meta, b"k")], 1).unwrap();
        assert_eq!(index.get(Tree::Meta, b"k").unwrap(), Some(b"k".to_vec()));
    }
}
