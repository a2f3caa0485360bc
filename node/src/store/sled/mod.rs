//! The index on disk. Enter through `SledIndex::open`, use it through `Index`. The only place
//! that names the crate `sled`. Invariant: nothing here is trusted after an unclean stop; the
//! journal is replayed from the last mark that `make_durable` proved.
//!
//! sled panics in threads of its own after an I/O error. Such a panic cannot be caught here: the
//! daemon's process-wide panic hook must end the process, which then starts again and rebuilds.
//! Panics of `open` itself (it panics on some damaged files) are caught and told as `Damaged`.

mod rows;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::cmp::Ordering as CmpOrdering;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::ops::{Bound, RangeBounds};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ::sled::{Config, Db, Mode};
use prost::Message as _;

use self::rows::{Row, Shared, shared};
use crate::store::index::{APPLIED_KEY, Change, IndexError, Pair, Tree};

/// Where the pairs of one `Tree` are.
#[derive(Debug)]
struct Handle {
    /// Those that stand alone, and what the tree claims to hold.
    alone: ::sled::Tree,
    /// Those that share rows.
    rows: Option<Rows>,
    /// Whether any pair stands alone.
    has_alone: AtomicBool,
}

/// Rows of pairs.
#[derive(Debug)]
struct Rows {
    shared: Shared,
    rows: ::sled::Tree,
    /// Where a row is by its group's name, if its key is not that name alone: rows of messages are
    /// in the order in which they were made. Their digests have no order, and what comes next
    /// would be written all over what has long left the cache.
    places: Option<::sled::Tree>,
}

/// A change with the name of its pair in its row.
type InRow<'a> = (Vec<u8>, Change<'a>);

thread_local! {
    static OPENING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread opens an index: a panic of sled is then caught and told as `Damaged`.
pub fn is_opening() -> bool {
    OPENING.get()
}

/// A sled database with one or two trees per `Tree`.
#[derive(Debug)]
pub struct SledIndex {
    dir: PathBuf,
    db: Db,
    trees: BTreeMap<Tree, Handle>,
    /// Everything up to here is in memory or on disk; moved by `apply` after all its batches.
    applied: AtomicU64,
    /// The first damage that a read found.
    unsound: OnceLock<String>,
}

impl SledIndex {
    /// Opens or creates. `Damaged` means: set it aside, open a new one, replay the journal.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, IndexError> {
        let is_new = fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
        if !is_new && !has_settings(dir) {
            return Err(IndexError::Damaged { detail: "its settings are not there".to_owned() });
        }
        OPENING.set(true);
        let opened = catch_unwind(AssertUnwindSafe(|| Self::open_all(dir, cache_bytes)));
        OPENING.set(false);
        let index = opened
            .map_err(|_panic| IndexError::Damaged { detail: "panic while opening".to_owned() })??;
        if is_new {
            // sled itself does not: a power cut soon after would leave its settings empty.
            sync_tree(dir, 0).map_err(|source| IndexError::Io { step: "sync", source })?;
        }
        Ok(index)
    }

    fn open_all(dir: &Path, cache_bytes: u64) -> Result<Self, IndexError> {
        let (db, trees) = open_trees(dir, cache_bytes)?;
        let index = Self {
            dir: dir.to_owned(),
            db,
            trees,
            applied: AtomicU64::new(0),
            unsound: OnceLock::new(),
        };
        let mut least = u64::MAX;
        for tree in Tree::all() {
            least = least.min(index.applied_of(*tree)?);
        }
        index.applied.store(least, Ordering::Release);
        Ok(index)
    }

    /// Notes the first damage.
    pub(in crate::store) fn noting<T>(&self, read: Result<T, IndexError>) -> Result<T, IndexError> {
        if let Err(error) = &read
            && error.is_damage()
        {
            self.unsound.get_or_init(|| error.to_string());
        }
        read
    }

    pub(in crate::store) fn unsound(&self) -> Option<&str> {
        self.unsound.get().map(String::as_str)
    }

    pub(in crate::store) fn get(
        &self,
        tree: Tree,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, IndexError> {
        if key == APPLIED_KEY {
            return Ok(None);
        }
        let handle = self.handle(tree)?;
        if let Some(rows) = &handle.rows
            && let Some((group, name)) = rows.shared.place(key)
            && let Some(value) = rows.get(&group)?.and_then(|(_, row)| row.take(&name))
        {
            return Ok(Some(value));
        }
        handle.get_alone(key)
    }

    pub(in crate::store) fn range(
        &self,
        tree: Tree,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Pair>, IndexError> {
        let handle = self.handle(tree)?;
        let alone = handle.alone.range::<&[u8], _>((lower, upper)).filter_map(|pair| match pair {
            Ok((key, _)) if key == APPLIED_KEY => None,
            pair => Some(pair.map(|(key, value)| (key.to_vec(), value.to_vec()))),
        });
        let alone = directed(alone, reverse).map(|pair| pair.map_err(failed("range")));
        let Some(rows) = &handle.rows else { return alone.take(limit).collect() };
        let rows = rows.order().range(rows.shared.rows(lower, upper)).flat_map(|entry| {
            let read = entry.map_err(failed("range")).and_then(|entry| rows.pairs(&entry));
            let (pairs, error) = match read {
                Ok(pairs) => (pairs, None),
                Err(error) => (Vec::new(), Some(Err(error))),
            };
            pairs.into_iter().map(Ok).chain(error)
        });
        let within = |pair: &Result<Pair, IndexError>| match pair {
            Ok((key, _)) => RangeBounds::<[u8]>::contains(&(lower, upper), key.as_slice()),
            Err(_) => true,
        };
        merge(alone, directed(rows, reverse).filter(within), limit, reverse)
    }

    pub(in crate::store) fn apply<'a>(
        &self,
        changes: impl Iterator<Item = Change<'a>>,
        through_seq: u64,
    ) -> Result<(), IndexError> {
        let mut rows: BTreeMap<(&str, Vec<u8>), Vec<InRow<'a>>> = BTreeMap::new();
        let mut changed = BTreeSet::new();
        for change in changes {
            changed.insert(change.tree);
            let handle = self.handle(change.tree)?;
            let place = handle.rows.as_ref().and_then(|rows| {
                let (group, name) = rows.shared.place(change.key)?;
                Some(((rows.shared.rows_of(change.tree), group), name))
            });
            match place {
                Some((group, name)) => rows.entry(group).or_default().push((name, change)),
                None => handle.change_alone(&change)?,
            }
        }
        for ((_, group), changes) in rows {
            self.change_row(&group, &changes, through_seq)?;
        }
        // Last: no tree claims more than it holds.
        for tree in changed {
            let value = through_seq.to_be_bytes();
            let alone = &self.handle(tree)?.alone;
            alone.insert(APPLIED_KEY, &value).map_err(failed("apply"))?;
        }
        self.applied.store(through_seq, Ordering::Release);
        Ok(())
    }

    /// Changes pairs of one row, in order.
    fn change_row(
        &self,
        group: &[u8],
        changes: &[InRow<'_>],
        through_seq: u64,
    ) -> Result<(), IndexError> {
        let Some((_, first)) = changes.first() else { return Ok(()) };
        let Some(rows) = &self.handle(first.tree)?.rows else { return Ok(()) };
        let (key, row) = rows.get(group)?.unzip();
        let mut row = row.unwrap_or_default();
        for (name, change) in changes {
            let handle = self.handle(change.tree)?;
            let Some(value) = change.value else {
                row.remove(name);
                handle.change_alone(change)?;
                continue;
            };
            let alone = !row.has(name) && handle.get_alone(change.key)?.is_some();
            if alone || !row.put(name, value) {
                handle.change_alone(change)?;
            }
        }
        match key {
            Some(key) if row.is_empty() => rows.remove(group, &key),
            None if row.is_empty() => Ok(()),
            Some(key) => rows.write(&key, &row),
            None => rows.write(&rows.begin(group, through_seq)?, &row),
        }
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
                let alone = &self.handle(*tree)?.alone;
                alone.insert(APPLIED_KEY, &value).map_err(failed("mark"))?;
            }
        }
        self.db.flush().map_err(failed("flush"))?;
        // sled's flush is sync_file_range: neither file length nor disk cache. What it wrote is
        // durable only after a real fsync of every file and directory.
        sync_tree(&self.dir, 0).map_err(|source| IndexError::Io { step: "sync", source })?;
        Ok(through)
    }

    pub(in crate::store) fn len(&self, tree: Tree) -> Result<usize, IndexError> {
        Ok(self.range(tree, Bound::Unbounded, Bound::Unbounded, usize::MAX, false)?.len())
    }

    /// What one tree claims to hold.
    pub fn applied_of(&self, tree: Tree) -> Result<u64, IndexError> {
        let value = self.handle(tree)?.alone.get(APPLIED_KEY).map_err(failed("applied"))?;
        let Some(value) = value else { return Ok(0) };
        let bytes = <[u8; 8]>::try_from(value.as_ref()).map_err(|_| IndexError::Damaged {
            detail: format!("applied sequence of tree {} is not a number", tree.name()),
        })?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn handle(&self, tree: Tree) -> Result<&Handle, IndexError> {
        // `open` fills the map from the same closed list.
        self.trees.get(&tree).ok_or_else(|| IndexError::Damaged {
            detail: format!("tree {} was not opened", tree.name()),
        })
    }
}

impl Rows {
    /// The row of a group of pairs, with its key.
    fn get(&self, group: &[u8]) -> Result<Option<(Vec<u8>, Row)>, IndexError> {
        let key = match &self.places {
            None => group.to_vec(),
            Some(places) => match places.get(group).map_err(failed("get"))? {
                None => return Ok(None),
                Some(seq) => [&seq[..], group].concat(),
            },
        };
        let stored = self.rows.get(&key).map_err(failed("get"))?;
        let row = stored.map(|stored| Row::read(&stored)).transpose()?;
        // A place may be all that a crash left: the row is written under that key.
        Ok(Some((key, row.unwrap_or_default())))
    }

    /// The key of a new row. Its place comes first, so that no row is without one.
    fn begin(&self, group: &[u8], through_seq: u64) -> Result<Vec<u8>, IndexError> {
        let Some(places) = &self.places else { return Ok(group.to_vec()) };
        let seq = through_seq.to_be_bytes();
        places.insert(group, &seq).map_err(failed("apply"))?;
        Ok([&seq, group].concat())
    }

    fn write(&self, key: &[u8], row: &Row) -> Result<(), IndexError> {
        self.rows.insert(key, row.encode_to_vec()).map(drop).map_err(failed("apply"))
    }

    fn remove(&self, group: &[u8], key: &[u8]) -> Result<(), IndexError> {
        self.rows.remove(key).map_err(failed("apply"))?;
        let place = self.places.as_ref().map(|places| places.remove(group));
        place.transpose().map(drop).map_err(failed("apply"))
    }

    /// What is in the order of the groups: the places, or the rows themselves.
    fn order(&self) -> &::sled::Tree {
        self.places.as_ref().unwrap_or(&self.rows)
    }

    /// The pairs of one entry of that.
    fn pairs(&self, entry: &(::sled::IVec, ::sled::IVec)) -> Result<Vec<Pair>, IndexError> {
        let (group, stored) = entry;
        let row = match &self.places {
            None => Row::read(stored)?,
            Some(_) => self.get(group)?.map(|(_, row)| row).unwrap_or_default(),
        };
        Ok(self.shared.pairs(group, row))
    }
}

impl Handle {
    fn open(db: &Db, tree: Tree) -> Result<Self, IndexError> {
        let open = |name: &str| db.open_tree(name).map_err(failed("open tree"));
        let alone = open(tree.name())?;
        let rows = match shared(tree) {
            Some(shared) => {
                let places = shared.places().map(open).transpose()?;
                Some(Rows { shared, rows: open(shared.rows_of(tree))?, places })
            }
            None => None,
        };
        let has_alone =
            alone.iter().keys().take(2).any(|key| key.map_or(true, |k| k != APPLIED_KEY));
        Ok(Self { alone, rows, has_alone: AtomicBool::new(has_alone) })
    }

    fn get_alone(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        if !self.has_alone.load(Ordering::Acquire) {
            return Ok(None);
        }
        let value = self.alone.get(key).map_err(failed("get"))?;
        Ok(value.map(|bytes| bytes.to_vec()))
    }

    fn change_alone(&self, change: &Change<'_>) -> Result<(), IndexError> {
        let changed = match change.value {
            Some(value) => {
                self.has_alone.store(true, Ordering::Release);
                self.alone.insert(change.key, value)
            }
            None if !self.has_alone.load(Ordering::Acquire) => return Ok(()),
            None => self.alone.remove(change.key),
        };
        changed.map(drop).map_err(failed("apply"))
    }
}

/// An iterator in one direction or the other.
fn directed<'a, T>(
    items: impl DoubleEndedIterator<Item = T> + 'a,
    reverse: bool,
) -> Box<dyn Iterator<Item = T> + 'a> {
    match reverse {
        false => Box::new(items),
        true => Box::new(items.rev()),
    }
}

/// At most `limit` pairs of both, each in its order; of one key that of the row.
fn merge(
    alone: impl Iterator<Item = Result<Pair, IndexError>>,
    rows: impl Iterator<Item = Result<Pair, IndexError>>,
    limit: usize,
    reverse: bool,
) -> Result<Vec<Pair>, IndexError> {
    let (mut alone, mut rows) = (alone.peekable(), rows.peekable());
    let mut pairs = Vec::new();
    while pairs.len() < limit {
        let order = match (alone.peek(), rows.peek()) {
            (None, None) => break,
            (Some(Ok((alone, _))), Some(Ok((row, _)))) => match reverse {
                false => alone.cmp(row),
                true => row.cmp(alone),
            },
            (Some(_), None) | (Some(Err(_)), _) => CmpOrdering::Less,
            (_, Some(_)) => CmpOrdering::Greater,
        };
        if order == CmpOrdering::Equal {
            alone.next();
        }
        let next = if order == CmpOrdering::Less { alone.next() } else { rows.next() };
        pairs.extend(next.transpose()?);
    }
    Ok(pairs)
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

/// Without its settings sled takes what it finds for something else, and panics over it.
fn has_settings(dir: &Path) -> bool {
    fs::metadata(dir.join("conf")).is_ok_and(|settings| settings.len() > SETTINGS_BYTES_MIN)
}

fn open_trees(dir: &Path, cache_bytes: u64) -> Result<(Db, BTreeMap<Tree, Handle>), IndexError> {
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
        trees.insert(*tree, Handle::open(&db, *tree)?);
    }
    Ok((db, trees))
}

/// What sled takes for empty settings.
const SETTINGS_BYTES_MIN: u64 = 8;

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

/// An operator should look long before that many.
const SET_ASIDE_MAX: u32 = 1000;
/// sled has one level below its directory.
const SYNC_DEPTH_MAX: usize = 4;
