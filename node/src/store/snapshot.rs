//! Snapshots of the index: a rebuild begins at the newest good one instead of at the first event.
//!
//! Enter through [`Keeper`] (making them, behind the writer) and [`restore`]. A snapshot is read
//! from the index while it changes: every key is as it was at `seq` or later, and replaying what
//! follows `seq` gives the same index, because events put and delete and never add up. Invariant:
//! only a snapshot whose hash an event of the journal names is believed.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write},
    ops::Bound,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tracing::{info, warn};

use crate::store::{
    StoreError,
    engine::Shared,
    event::{Event, Fact, Snapshotted},
    files::{FilesError, put_in_place},
    index::{Index, KEY_BYTES_MAX, Op, Tree, VALUE_BYTES_MAX},
    journal::JournalReader,
    space::Room,
};

/// Makes snapshots now and then and keeps the newest two.
pub struct Keeper {
    dir: PathBuf,
    /// What the newest one reaches; 0: there is none.
    newest: u64,
    running: Option<JoinHandle<Option<Snapshotted>>>,
    /// The newest segment when the last one was begun.
    tried: u64,
    stop: Arc<AtomicBool>,
}

/// The work of making one; runs on a thread of its own.
pub struct SnapshotWork {
    dir: PathBuf,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
}

impl Keeper {
    /// Finds what is there; what was not finished goes.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let dir = dir.join(DIR);
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(FilesError::Io { path: dir, source: error }.into());
            }
            _ => {}
        }
        let failed = |source| FilesError::Io { path: dir.clone(), source };
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_str().is_some_and(|name| name.ends_with(UNFINISHED)) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        let newest = list(&dir).first().map_or(0, |(seq, _)| *seq);
        Ok(Self { dir, newest, running: None, tried: 0, stop: Arc::default() })
    }

    /// Work to do, once so many segments follow the newest snapshot and the disk has room.
    pub fn due(&mut self, shared: &Arc<Shared>) -> Option<SnapshotWork> {
        let reader = &shared.reader;
        let last = reader.last_segment();
        let segments = last.saturating_sub(reader.segment_of(self.newest + 1));
        let idle = self.running.is_none() && last > self.tried;
        if !idle || segments < SEGMENTS || shared.space.room() != Room::Ample {
            return None;
        }
        self.tried = last;
        let (dir, stop) = (self.dir.clone(), Arc::clone(&self.stop));
        Some(SnapshotWork { dir, shared: Arc::clone(shared), stop })
    }

    /// The work was given to a thread.
    pub fn started(&mut self, thread: JoinHandle<Option<Snapshotted>>) {
        self.running = Some(thread);
    }

    /// A snapshot that is on disk and wants to be named in the journal.
    pub fn finished(&mut self) -> Option<Snapshotted> {
        if !self.running.as_ref()?.is_finished() {
            return None;
        }
        self.running.take()?.join().ok().flatten()
    }

    /// The journal names it, durably: all but the newest two go.
    pub fn named(&mut self, seq: u64) {
        self.newest = self.newest.max(seq);
        for (_, path) in list(&self.dir).iter().skip(KEPT) {
            if let Err(error) = fs::remove_file(path) {
                warn!(%error, path = %path.display(), "old snapshot stays");
            }
        }
    }
}

impl Drop for Keeper {
    /// Waits: the thread holds the index open.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(running) = self.running.take() {
            let _ = running.join();
        }
    }
}

impl SnapshotWork {
    /// Writes it. `None` when it was stopped or failed: the next one serves.
    pub fn run(self) -> Option<Snapshotted> {
        // Read first: all that is applied by now is in what is read from now on.
        let seq = self.shared.proven_bound();
        // Others come first.
        let mut between = || thread::park_timeout(PAUSE);
        match write(&self.dir, &self.shared.index, seq, &self.stop, &mut between) {
            Ok(taken) => taken,
            Err(error) => {
                warn!(%error, seq, "snapshot of the index not made");
                None
            }
        }
    }
}

/// Fills an empty index from the newest good snapshot. Returns up to which sequence it then
/// reaches: what follows is to be replayed.
pub fn restore(dir: &Path, reader: &JournalReader, index: &Index) -> Result<u64, StoreError> {
    let Some((seq, path)) = newest(dir, reader)? else { return Ok(0) };
    load(&path, seq, index)?;
    info!(seq, "index begun from a snapshot");
    Ok(seq)
}

/// The newest good snapshot, and which sequence it reaches.
pub fn newest(dir: &Path, reader: &JournalReader) -> Result<Option<(u64, PathBuf)>, StoreError> {
    for (seq, path) in list(&dir.join(DIR)) {
        let good = match verify(&path, seq) {
            Ok(hash) if is_named(reader, seq, &hash)? => true,
            Ok(_) => {
                warn!(seq, "snapshot passed over: the journal does not name it");
                false
            }
            Err(error) => {
                warn!(%error, seq, "snapshot passed over: damaged");
                false
            }
        };
        if good {
            return Ok(Some((seq, path)));
        }
    }
    Ok(None)
}

/// Those that are not what was written.
pub fn unsound(dir: &Path) -> Vec<PathBuf> {
    let found = list(dir).into_iter().filter(|(seq, path)| verify(path, *seq).is_err());
    found.map(|(_, path)| path).collect()
}

/// Whether an event after `seq` names a snapshot of this hash.
fn is_named(reader: &JournalReader, seq: u64, hash: &[u8; 32]) -> Result<bool, StoreError> {
    let mut next = seq + 1;
    while next <= reader.durable_seq() {
        let events = reader.scan(next, SCAN_EVENTS, SCAN_BYTES)?;
        for (at, _, stored) in &events {
            let event =
                Event::decode(stored.meta.clone()).map_err(|_| StoreError::Damaged { seq: *at })?;
            if let Some(Fact::Snapshotted(named)) = &event.fact
                && named.seq == seq
                && named.hash == hash.as_slice()
            {
                return Ok(true);
            }
            next = at + 1;
        }
        if events.is_empty() {
            break;
        }
    }
    Ok(false)
}

/// The snapshots of a directory, the newest first.
fn list(dir: &Path) -> Vec<(u64, PathBuf)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let seq = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
        found.extend(seq.map(|seq| (seq, entry.path())));
    }
    found.sort_unstable_by(|one, other| other.cmp(one));
    found
}

pub(super) fn write(
    dir: &Path,
    index: &Index,
    seq: u64,
    stop: &AtomicBool,
    between: &mut dyn FnMut(),
) -> Result<Option<Snapshotted>, StoreError> {
    let path = dir.join(format!("{PREFIX}{seq:020}"));
    let unfinished = path.with_extension("new");
    let failed = |source| FilesError::Io { path: unfinished.clone(), source };
    let _ = fs::remove_file(&unfinished);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished);
    let mut out = Hashed::new(BufWriter::with_capacity(BUFFER, file.map_err(failed)?));
    let done = write_pairs(&mut out, index, seq, stop, between);
    let Ok(Some(count)) = done else {
        let _ = fs::remove_file(&unfinished);
        return done.map(|_| None);
    };
    let hash = out.end().map_err(failed)?;
    let bytes = out.bytes;
    let file = out.inner.into_inner().map_err(|error| failed(error.into_error()))?;
    put_in_place(&file, &unfinished, &path).map_err(failed)?;
    info!(seq, bytes, pairs = count, "snapshot of the index made");
    let hash = Bytes::copy_from_slice(&hash);
    Ok(Some(Snapshotted { seq, hash, bytes, pairs: count }))
}

/// Head and all pairs, page by page. Returns how many; `None` when it was stopped.
fn write_pairs(
    out: &mut Hashed<BufWriter<File>>,
    index: &Index,
    seq: u64,
    stop: &AtomicBool,
    between: &mut dyn FnMut(),
) -> Result<Option<u64>, StoreError> {
    let mut count = 0u64;
    let failed = |source| FilesError::Io { path: DIR.into(), source };
    out.put(MAGIC).and_then(|()| out.put(&seq.to_le_bytes())).map_err(failed)?;
    for tree in Tree::all() {
        let mut lower: Bound<Vec<u8>> = Bound::Unbounded;
        loop {
            let from = lower.as_ref().map(Vec::as_slice);
            let page = index.range(*tree, from, Bound::Unbounded, PAGE, false)?;
            let Some((last, _)) = page.last() else { break };
            lower = Bound::Excluded(last.clone());
            for (key, value) in &page {
                out.pair(*tree, key, value).map_err(failed)?;
                count += 1;
            }
            if stop.load(Ordering::Acquire) {
                return Ok(None);
            }
            between();
        }
    }
    out.put(&[0]).and_then(|()| out.put(&count.to_le_bytes())).map_err(failed)?;
    Ok(Some(count))
}

/// Reads all of a file and compares it with the hash at its end.
pub(super) fn verify(path: &Path, seq: u64) -> io::Result<[u8; 32]> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut input = BufReader::with_capacity(BUFFER, file);
    let head = (MAGIC.len() + 8) as u64;
    let body = bytes.checked_sub(HASH_BYTES).filter(|body| *body > head).ok_or_else(damaged)?;
    let mut hasher = Sha256::new();
    let mut begin = vec![0; MAGIC.len() + 8];
    input.read_exact(&mut begin)?;
    if begin != [MAGIC, &seq.to_le_bytes()].concat() {
        return Err(damaged());
    }
    hasher.update(&begin);
    let mut left = body - head;
    let mut piece = vec![0; BUFFER];
    while left > 0 {
        let bytes = left.min(BUFFER as u64) as usize;
        let piece = piece.get_mut(..bytes).unwrap_or_default();
        input.read_exact(piece)?;
        hasher.update(&*piece);
        left -= bytes as u64;
    }
    let mut stored = [0; 32];
    input.read_exact(&mut stored)?;
    let hash: [u8; 32] = hasher.finalize().into();
    if hash == stored { Ok(hash) } else { Err(damaged()) }
}

/// Puts the pairs of a verified file into an index.
pub(super) fn load(path: &Path, seq: u64, index: &Index) -> Result<(), StoreError> {
    let failed = |source| FilesError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut input = BufReader::with_capacity(BUFFER, file);
    let mut head = vec![0; MAGIC.len() + 8];
    input.read_exact(&mut head).map_err(failed)?;
    let mut ops = Vec::new();
    let mut bytes = 0;
    while let Some(op) = read_pair(&mut input).map_err(failed)? {
        bytes += op.key.len() + op.value.as_ref().map_or(0, Vec::len);
        ops.push(op);
        if bytes > SCAN_BYTES {
            index.apply_ops(&ops, seq)?;
            ops.clear();
            bytes = 0;
        }
    }
    Ok(index.apply_ops(&ops, seq)?)
}

fn read_pair(input: &mut impl Read) -> io::Result<Option<Op>> {
    let name = usize::from(number(input).map(|[length]| length)?);
    if name == 0 {
        return Ok(None);
    }
    let name = read(input, name)?;
    let tree = Tree::all().iter().find(|tree| tree.name().as_bytes() == name);
    let tree = *tree.ok_or_else(damaged)?;
    let key = number(input).map(u32::from_le_bytes)? as usize;
    let value = number(input).map(u32::from_le_bytes)? as usize;
    if key > KEY_BYTES_MAX || value > VALUE_BYTES_MAX {
        return Err(damaged());
    }
    let (key, value) = (read(input, key)?, read(input, value)?);
    Ok(Some(Op { tree, key, value: Some(value), fresh: false }))
}

fn number<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read(input: &mut impl Read, bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; bytes];
    input.read_exact(&mut buffer)?;
    Ok(buffer)
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not what was written")
}

/// Writes and hashes.
struct Hashed<W> {
    inner: W,
    hasher: Sha256,
    bytes: u64,
}

impl<W: Write> Hashed<W> {
    fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), bytes: 0 }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.inner.write_all(bytes)
    }

    fn pair(&mut self, tree: Tree, key: &[u8], value: &[u8]) -> io::Result<()> {
        let name = tree.name().as_bytes();
        // Names and limits are ours: none is longer than its field.
        self.put(&[name.len() as u8])?;
        self.put(name)?;
        self.put(&(key.len() as u32).to_le_bytes())?;
        self.put(&(value.len() as u32).to_le_bytes())?;
        self.put(key)?;
        self.put(value)
    }

    fn end(&mut self) -> io::Result<[u8; 32]> {
        let hash: [u8; 32] = self.hasher.clone().finalize().into();
        self.put(&hash)?;
        self.inner.flush()?;
        Ok(hash)
    }
}

/// Segments that follow a snapshot before the next is made: bounds what a rebuild replays.
pub const SEGMENTS: u64 = 8;
/// The newest, and the one before in case it is damaged.
const KEPT: usize = 2;
/// Pairs that are read at once, and the pause after them.
const PAGE: usize = 512;
const PAUSE: Duration = Duration::from_millis(1);
const BUFFER: usize = 256 << 10;
const SCAN_EVENTS: usize = 4096;
const SCAN_BYTES: usize = 8 << 20;
const HASH_BYTES: u64 = 32;
const MAGIC: &[u8] = b"rlysnap1";
pub const DIR: &str = "snapshots";
const PREFIX: &str = "index-";
const UNFINISHED: &str = ".new";
