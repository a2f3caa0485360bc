//! The index on disk. Enter through `SledIndex::open`, use it through `Index`. The only place
//! that names the crate `sled`. Invariant: nothing here is trusted after an unclean stop; the
//! journal is replayed from the last mark that `make_durable` proved.
//!
//! sled panics in threads of its own after an I/O error. Such a panic cannot be caught here: the
//! daemon's process-wide panic hook must end the process, which then starts again and rebuilds.
//! Panics of `open` itself (it panics on some damaged files) are caught and told as `Damaged`.

mod about;
mod row;
mod runs;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::cmp::Ordering as CmpOrdering;
use std::collections::{BTreeMap, btree_map::Entry};
use std::fs::{self, File};
use std::io;
use std::ops::{Bound, RangeBounds};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ::sled::{Config, Db, Mode};

use self::about::{AboutMessages, Group, Opened, member, place};
use self::runs::{Changes, Runs};
use crate::store::index::{APPLIED_KEY, Change, IndexError, OPEN_TO_SYNC, Pair, Tree};

/// Where the pairs of one `Tree` are.
#[derive(Debug)]
struct Handle {
    /// All of them, or those of messages that stand in no row of their message, and what the tree
    /// claims to hold.
    own: Runs,
    /// Its number in rows of messages.
    member: Option<u8>,
    /// Whether any pair is in `own`.
    has_own: AtomicBool,
}

thread_local! {
    static OPENING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread opens an index: a panic of sled is then caught and told as `Damaged`.
pub fn is_opening() -> bool {
    OPENING.get()
}

/// A sled database.
#[derive(Debug)]
pub struct SledIndex {
    dir: PathBuf,
    db: Db,
    trees: BTreeMap<Tree, Handle>,
    about: AboutMessages,
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
            sync_tree(dir, 0)?;
        }
        Ok(index)
    }

    fn open_all(dir: &Path, cache_bytes: u64) -> Result<Self, IndexError> {
        let db = open_db(dir, cache_bytes)?;
        let mut trees = BTreeMap::new();
        for tree in Tree::all() {
            trees.insert(*tree, Handle::open(&db, *tree)?);
        }
        let index = Self {
            dir: dir.to_owned(),
            about: AboutMessages::open(&db)?,
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
        if let Some((group, name)) = handle.member.and_then(|member| place(member, key))
            && let Some(value) = self.about.get(&group, &name)?
        {
            return Ok(Some(value));
        }
        handle.get_own(key)
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
        let own = handle.own.range(lower, upper, reverse)?;
        let Some(member) = handle.member else { return own.take(limit).collect() };
        let rows = self.about.range(member, lower, upper, reverse)?;
        let within = |pair: &Result<Pair, IndexError>| match pair {
            Ok((key, _)) => RangeBounds::<[u8]>::contains(&(lower, upper), key.as_slice()),
            Err(_) => true,
        };
        merge(own, rows.filter(within), limit, reverse)
    }

    pub(in crate::store) fn apply<'a>(
        &self,
        changes: impl Iterator<Item = Change<'a>>,
        through_seq: u64,
    ) -> Result<(), IndexError> {
        let mut own: BTreeMap<Tree, Changes<'_>> = BTreeMap::new();
        let mut rows: BTreeMap<Group, Opened> = BTreeMap::new();
        for change in changes {
            let handle = self.handle(change.tree)?;
            let own = own.entry(change.tree).or_default();
            let Some((group, name)) = handle.member.and_then(|member| place(member, change.key))
            else {
                own.insert(change.key, change.value);
                continue;
            };
            let row = match rows.entry(group) {
                Entry::Occupied(opened) => &mut opened.into_mut().row,
                Entry::Vacant(free) => &mut free.insert(self.about.row(&group)?).row,
            };
            let Some(value) = change.value else {
                row.remove(&name);
                own.insert(change.key, None);
                continue;
            };
            let is_own = match own.get(change.key) {
                Some(value) => value.is_some(),
                None => !row.has(&name) && handle.get_own(change.key)?.is_some(),
            };
            row.remove(&name);
            match !is_own && row.has_room(&name, value) {
                true => row.put(&name, value),
                false => drop(own.insert(change.key, Some(value))),
            }
        }
        self.about.write(rows, through_seq)?;
        for (tree, changes) in own {
            let handle = self.handle(tree)?;
            handle.change_own(&changes)?;
            // Last: no tree claims more than it holds.
            handle.own.set_applied(through_seq)?;
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
                self.handle(*tree)?.own.set_applied(through)?;
            }
        }
        self.db.flush().map_err(failed("flush"))?;
        // sled's flush is sync_file_range: neither file length nor disk cache. What it wrote is
        // durable only after a real fsync of every file and directory.
        sync_tree(&self.dir, 0)?;
        Ok(through)
    }

    pub(in crate::store) fn len(&self, tree: Tree) -> Result<usize, IndexError> {
        Ok(self.range(tree, Bound::Unbounded, Bound::Unbounded, usize::MAX, false)?.len())
    }

    /// What one tree claims to hold.
    pub fn applied_of(&self, tree: Tree) -> Result<u64, IndexError> {
        self.handle(tree)?.own.applied()
    }

    fn handle(&self, tree: Tree) -> Result<&Handle, IndexError> {
        // `open` fills the map from the same closed list.
        self.trees.get(&tree).ok_or_else(|| IndexError::Damaged {
            detail: format!("tree {} was not opened", tree.name()),
        })
    }
}

impl Handle {
    fn open(db: &Db, tree: Tree) -> Result<Self, IndexError> {
        let own = Runs::open(db, tree.name(), pairs_in_a_row(tree))?;
        let has_own = AtomicBool::new(!own.is_empty());
        Ok(Self { own, member: member(tree), has_own })
    }

    fn get_own(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        match self.has_own.load(Ordering::Acquire) {
            true => self.own.get(key),
            false => Ok(None),
        }
    }

    fn change_own(&self, changes: &Changes<'_>) -> Result<(), IndexError> {
        if changes.values().any(Option::is_some) {
            self.has_own.store(true, Ordering::Release);
        }
        match self.has_own.load(Ordering::Acquire) {
            true => self.own.apply(changes),
            false => Ok(()),
        }
    }
}

/// How many neighbours share a row. Where keys have no order, each new one is written with all
/// others of its row.
fn pairs_in_a_row(tree: Tree) -> usize {
    match tree {
        Tree::ById | Tree::Requests | Tree::Acks | Tree::Refused | Tree::Erased => 8,
        _ => 32,
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
    own: impl Iterator<Item = Result<Pair, IndexError>>,
    rows: impl Iterator<Item = Result<Pair, IndexError>>,
    limit: usize,
    reverse: bool,
) -> Result<Vec<Pair>, IndexError> {
    let (mut own, mut rows) = (own.peekable(), rows.peekable());
    let mut pairs = Vec::new();
    while pairs.len() < limit {
        let order = match (own.peek(), rows.peek()) {
            (None, None) => break,
            (Some(Ok((own, _))), Some(Ok((row, _)))) => match reverse {
                false => own.cmp(row),
                true => row.cmp(own),
            },
            (Some(_), None) | (Some(Err(_)), _) => CmpOrdering::Less,
            (_, Some(_)) => CmpOrdering::Greater,
        };
        if order == CmpOrdering::Equal {
            own.next();
        }
        let next = if order == CmpOrdering::Less { own.next() } else { rows.next() };
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

fn open_db(dir: &Path, cache_bytes: u64) -> Result<Db, IndexError> {
    Config::new()
        .path(dir)
        .cache_capacity(cache_bytes)
        .mode(Mode::HighThroughput)
        // Durability comes from `make_durable` alone, so nothing may hang on a background thread.
        .flush_every_ms(None)
        .open()
        .map_err(failed("open"))
}

/// What sled takes for empty settings.
const SETTINGS_BYTES_MIN: u64 = 8;

/// Syncs every file below a directory, then the directory itself.
fn sync_tree(dir: &Path, depth: usize) -> Result<(), IndexError> {
    let unopened = |source| IndexError::Io { step: OPEN_TO_SYNC, source };
    let sync =
        |file: File| file.sync_all().map_err(|source| IndexError::Io { step: "sync", source });
    for entry in fs::read_dir(dir).map_err(unopened)? {
        let entry = entry.map_err(unopened)?;
        let kind = entry.file_type().map_err(unopened)?;
        if kind.is_dir() && depth < SYNC_DEPTH_MAX {
            sync_tree(&entry.path(), depth + 1)?;
        } else if kind.is_file() {
            match File::open(entry.path()) {
                Ok(file) => sync(file)?,
                // sled replaces its snapshot files from a thread of its own.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unopened(error)),
            }
        }
    }
    sync(File::open(dir).map_err(unopened)?)
}

/// The pairs of a row that was read, or the one error.
fn each(read: Result<Vec<Pair>, IndexError>) -> impl Iterator<Item = Result<Pair, IndexError>> {
    let (pairs, error) = match read {
        Ok(pairs) => (pairs, None),
        Err(error) => (Vec::new(), Some(Err(error))),
    };
    pairs.into_iter().map(Ok).chain(error)
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
