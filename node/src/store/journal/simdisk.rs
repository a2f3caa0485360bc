//! A disk in memory that forgets as a real one does: un-synced sectors, creations and renames may
//! or may not survive a power cut, any operation can be made to fail. Enter through
//! `SimDisk::new`. No clock, no randomness but the seed: the same calls give the same disk.
//! Invariant: what a successful sync covered survives every `power_cut`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::io::{DiskSpace, Io, IoFile};
use super::siminode::{Fate, Inode, Random};

/// A handle on one simulated disk; clones share it.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

/// The kinds of operations, to count them and to make them fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpKind {
    Create,
    Open,
    List,
    Read,
    Write,
    Sync,
    Rename,
    Remove,
    SyncDir,
}

/// What was asked of the disk so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    pub operations: BTreeMap<OpKind, u64>,
    pub bytes_read: u64,
    pub bytes_written: u64,
}

impl Counters {
    pub fn total(&self) -> u64 {
        self.operations.values().sum()
    }
}

impl SimDisk {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State { random: Random(seed), ..State::default() })))
    }

    /// The `n`th operation of this kind from now (1 is the next) fails with this error number.
    /// A failed write has written its first half. A failed sync has, as on Linux, marked what
    /// was to be synced as clean: a later sync does not bring it to the disk, a rewrite does.
    pub fn fail_nth(&self, kind: OpKind, n: u64, errno: i32) {
        self.state().faults.push(Fault { kind: Some(kind), left: n, errno });
    }

    /// The `n`th operation of any kind from now fails with this error number.
    pub fn fail_nth_op(&self, n: u64, errno: i32) {
        self.state().faults.push(Fault { kind: None, left: n, errno });
    }

    /// At the `n`th operation from now (1 is the next) the machine stops: it and all later ones
    /// fail, until `power_cut` or `kill`. A write that is hit has written its first half.
    pub fn crash_at_nth_op(&self, n: u64) {
        self.state().crash_in = Some(n);
    }

    /// Whether a planned crash has happened.
    pub fn crashed(&self) -> bool {
        self.state().crashed
    }

    /// From now on the disk holds so many bytes; what is beyond stays.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = Some(bytes);
    }

    /// From now on so many bytes more fit, or as many as one likes.
    pub fn set_room(&self, bytes: Option<u64>) {
        let mut state = self.state();
        let used = state.used();
        state.capacity = bytes.map(|bytes| used.saturating_add(bytes));
    }

    /// From now on a sync answers `Ok` and does nothing, as if nobody had asked for it.
    pub fn ignore_syncs(&self) {
        self.state().syncs_ignored = true;
    }

    /// The process dies, the machine does not: everything written stays, un-synced as it is.
    /// Open handles become useless, planned faults are forgotten.
    pub fn kill(&self) {
        self.state().restart();
    }

    /// The power goes and comes back: of what was not synced, a subset chosen by the seed stays.
    pub fn power_cut(&self, seed: u64) {
        self.power_cut_garbling(seed, 0);
    }

    /// The same, and in so many of a hundred cases what was being written is garbage in part.
    pub fn power_cut_garbling(&self, seed: u64, percent: u64) {
        let mut state = self.state();
        state.cut(&mut Random(seed), percent);
        state.restart();
    }

    /// A copy that shares nothing with this disk.
    pub fn fork(&self) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(self.state().clone())))
    }

    pub fn counters(&self) -> Counters {
        self.state().counters.clone()
    }

    /// Bit rot: flips bits of one stored byte, past all caches. False if there is no such byte.
    pub fn rot(&self, path: &Path, offset: u64, flip: u8) -> bool {
        let mut state = self.state();
        let Some(file) = state.names.get(path).copied().and_then(|id| state.files.get_mut(&id))
        else {
            return false;
        };
        let Some(byte) = file.data.get_mut(offset as usize) else {
            return false;
        };
        *byte ^= flip;
        true
    }

    /// Some of a file's bytes cannot be read any more (EIO), until they are written over.
    pub fn lose(&self, path: &Path, bytes: Range<usize>) {
        let mut state = self.state();
        let id = state.names.get(path).copied();
        if let Some(file) = id.and_then(|id| state.files.get_mut(&id)) {
            file.lose(bytes);
        }
    }

    /// The content of a file as a process sees it.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        Some(state.files.get(state.names.get(path)?)?.data.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code path panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, state: &State, inode: u64) -> Arc<dyn IoFile> {
        Arc::new(SimFile { disk: self.clone(), inode, generation: state.generation })
    }
}

impl Io for SimDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        // Directories are implied by the paths of files.
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.step(OpKind::List)?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn IoFile>> {
        let mut state = self.state();
        state.step(OpKind::Create)?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.next_inode += 1;
        let inode = state.next_inode;
        state.files.insert(inode, Inode::default());
        state.rename_later(NameOp::Create(path.to_owned(), inode));
        Ok(self.handle(&state, inode))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn IoFile>> {
        let mut state = self.state();
        state.step(OpKind::Open)?;
        let inode = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(&state, inode))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step(OpKind::Rename)?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.rename_later(NameOp::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step(OpKind::Remove)?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.rename_later(NameOp::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step(OpKind::SyncDir)?;
        let pending = std::mem::take(&mut state.pending);
        let (done, later) = pending.into_iter().partition(|op| op.dir() == Some(dir));
        state.pending = later;
        let done: Vec<NameOp> = done;
        for op in &done {
            op.apply(&mut state.durable_names);
        }
        state.forget_unnamed();
        Ok(())
    }

    fn space(&self, _dir: &Path) -> io::Result<DiskSpace> {
        let state = self.state();
        let total = state.capacity.unwrap_or(CAPACITY_USUAL);
        let free = total.saturating_sub(state.used());
        Ok(DiskSpace { free, total, files_free: u64::MAX })
    }

    fn fresh_id(&self) -> [u8; 16] {
        let random = &mut self.state().random;
        let id = (u128::from(random.next()) << 64) | u128::from(random.next());
        id.to_le_bytes()
    }
}

struct SimFile {
    disk: SimDisk,
    inode: u64,
    generation: u64,
}

impl SimFile {
    /// Runs on the inode, unless the machine was restarted since this handle was opened.
    fn with<T>(
        &self,
        kind: OpKind,
        run: impl FnOnce(&mut Inode, io::Result<()>, &mut Counters) -> io::Result<T>,
    ) -> io::Result<T> {
        let state = &mut *self.disk.state();
        if state.generation != self.generation || state.crashed {
            return Err(power_off());
        }
        let admitted = state.step(kind);
        let file = state.files.get_mut(&self.inode).ok_or(io::ErrorKind::NotFound)?;
        run(file, admitted, &mut state.counters)
    }

    fn sync(&self) -> io::Result<()> {
        let ignored = self.disk.state().syncs_ignored;
        self.with(OpKind::Sync, |file, admitted, _| {
            match admitted {
                Ok(()) if ignored => {}
                Ok(()) => file.sync(),
                // A planned fault; a crash leaves open what reached the medium.
                Err(ref error) if error.raw_os_error().is_some() => file.fail_sync(),
                Err(_) => {}
            }
            admitted
        })
    }
}

impl IoFile for SimFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.with(OpKind::Read, |file, admitted, counters| {
            admitted?;
            let start = offset as usize;
            if file.is_lost(&(start..start + buffer.len())) {
                return Err(io::Error::from_raw_os_error(nix::libc::EIO));
            }
            let stored = file.data.get(start..start.saturating_add(buffer.len()));
            buffer.copy_from_slice(stored.ok_or(io::ErrorKind::UnexpectedEof)?);
            counters.bytes_read += buffer.len() as u64;
            Ok(())
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let room = self.disk.state().room();
        self.with(OpKind::Write, |file, admitted, counters| {
            let grows = (offset as usize + bytes.len()).saturating_sub(file.data.len()) as u64;
            let admitted = match grows > room {
                true => admitted.and(Err(io::ErrorKind::StorageFull.into())),
                false => admitted,
            };
            let written = match (&admitted, grows > room) {
                (Ok(()), _) => bytes.len(),
                (_, false) => bytes.len() / 2,
                // What fits is written, as a file system does it.
                (_, true) => bytes.len().saturating_sub((grows - room) as usize) / 2,
            };
            file.write(offset as usize, bytes.get(..written).unwrap_or_default());
            counters.bytes_written += written as u64;
            admitted
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn forget_cached(&self) -> io::Result<()> {
        // What is read of a simulated disk is what it would give.
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.with(OpKind::Read, |file, admitted, _| {
            admitted?;
            Ok(file.data.len() as u64)
        })
    }
}

#[derive(Clone, Default)]
struct State {
    random: Random,
    /// Handles of an earlier life of the machine are dead.
    generation: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// Changes of names since their directory was synced, in order.
    pending: Vec<NameOp>,
    files: BTreeMap<u64, Inode>,
    next_inode: u64,
    counters: Counters,
    faults: Vec<Fault>,
    crash_in: Option<u64>,
    crashed: bool,
    capacity: Option<u64>,
    syncs_ignored: bool,
}

impl State {
    /// Bytes of all files; one whose removal is not durable yet still counts.
    fn used(&self) -> u64 {
        self.files.values().map(|file| file.data.len() as u64).sum()
    }

    fn room(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()))
    }

    /// Counts an operation and says whether it may happen.
    fn step(&mut self, kind: OpKind) -> io::Result<()> {
        if self.crashed {
            return Err(power_off());
        }
        *self.counters.operations.entry(kind).or_default() += 1;
        if let Some(left) = &mut self.crash_in {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.crashed = true;
                return Err(power_off());
            }
        }
        let mut failure = None;
        self.faults.retain_mut(|fault| {
            if fault.kind.is_some_and(|wanted| wanted != kind) {
                return true;
            }
            fault.left = fault.left.saturating_sub(1);
            if fault.left == 0 {
                failure = Some(fault.errno);
            }
            fault.left > 0
        });
        failure.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    fn rename_later(&mut self, op: NameOp) {
        op.apply(&mut self.names);
        self.pending.push(op);
    }

    fn cut(&mut self, random: &mut Random, garbling: u64) {
        // File systems journal their metadata in order: a prefix of the changes survives.
        let kept = random.below(self.pending.len() as u64 + 1) as usize;
        for op in self.pending.drain(..).take(kept) {
            op.apply(&mut self.durable_names);
        }
        self.names = self.durable_names.clone();
        let fate = match random.below(4) {
            _ if garbling > 0 && random.below(100) < garbling => Fate::Garbled,
            0 => Fate::NothingKept,
            1 => Fate::AllKept,
            _ => Fate::Mixed,
        };
        for file in self.files.values_mut() {
            file.cut(fate, random);
        }
        self.forget_unnamed();
    }

    fn restart(&mut self) {
        self.generation += 1;
        self.faults.clear();
        self.crash_in = None;
        self.crashed = false;
    }

    fn forget_unnamed(&mut self) {
        let named: BTreeSet<u64> =
            self.names.values().chain(self.durable_names.values()).copied().collect();
        self.files.retain(|inode, _| named.contains(inode));
    }
}

#[derive(Clone)]
enum NameOp {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl NameOp {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            NameOp::Create(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            NameOp::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            NameOp::Remove(path) => {
                names.remove(path);
            }
        }
    }

    fn dir(&self) -> Option<&Path> {
        match self {
            NameOp::Create(path, _) | NameOp::Rename(_, path) | NameOp::Remove(path) => {
                path.parent()
            }
        }
    }
}

#[derive(Clone)]
struct Fault {
    kind: Option<OpKind>,
    left: u64,
    errno: i32,
}

/// What a disk without a set capacity says of itself.
const CAPACITY_USUAL: u64 = 1 << 40;

fn power_off() -> io::Error {
    io::Error::other("simulated machine is off")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    fn read(file: &dyn IoFile, bytes: usize) -> Vec<u8> {
        let mut buffer = vec![0; bytes];
        file.read_at(0, &mut buffer).unwrap();
        buffer
    }

    /// Synced bytes under a synced name survive every cut; un-synced ones come back whole sector
    /// by whole sector, and over the seeds both fates are seen.
    #[test]
    fn power_cut_keeps_synced_and_mixes_the_rest() {
        let path = Path::new("d/f");
        let disk = SimDisk::new(1);
        let file = disk.create(path).unwrap();
        file.write_at(0, &[1; 2048]).unwrap();
        file.sync_all().unwrap();
        disk.sync_dir(Path::new("d")).unwrap();
        file.write_at(0, &[2; 2048]).unwrap();
        let mut torn = 0;
        for seed in 0..50 {
            let disk = disk.fork();
            disk.power_cut(seed);
            let content = read(&*disk.open(path).unwrap(), 2048);
            for sector in content.chunks(512) {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "sector torn within");
            }
            torn += usize::from(content.contains(&1) && content.contains(&2));
        }
        assert!(torn > 5);
        file.sync_data().unwrap();
        disk.power_cut(7);
        assert_eq!(read(&*disk.open(path).unwrap(), 2048), [2; 2048]);
        assert!(file.sync_data().is_err(), "a handle from before the cut is dead");
    }

    /// A garbling cut leaves garbage in what was being written, and never in what was synced; an
    /// ignored sync keeps nothing.
    #[test]
    fn garbling_cut_spares_what_was_synced() {
        let path = Path::new("d/f");
        let disk = SimDisk::new(1);
        let file = disk.create(path).unwrap();
        file.write_at(0, &[1; 1024]).unwrap();
        file.sync_all().unwrap();
        disk.sync_dir(Path::new("d")).unwrap();
        // The first half of the second sector is written as it was.
        file.write_at(512, &[[1; 256], [2; 256]].concat()).unwrap();
        let mut garbled = 0;
        for seed in 0..50 {
            let disk = disk.fork();
            disk.power_cut_garbling(seed, 100);
            let content = read(&*disk.open(path).unwrap(), 1024);
            assert_eq!(content[..768], [1; 768]);
            garbled += usize::from(content[768..].iter().any(|byte| !(1..=2).contains(byte)));
        }
        assert!(garbled > 10, "{garbled}");
        disk.ignore_syncs();
        file.sync_data().unwrap();
        assert!((0..20).any(|seed| {
            let disk = disk.fork();
            disk.power_cut(seed);
            read(&*disk.open(path).unwrap(), 1024)[768..] != [2; 256]
        }));
    }

    /// A creation without a directory sync is lost for some seed, and never after one.
    #[test]
    fn names_need_a_directory_sync() {
        let disk = SimDisk::new(1);
        disk.create(Path::new("d/f")).unwrap().sync_all().unwrap();
        let survived = |disk: &SimDisk, seed| {
            let disk = disk.fork();
            disk.power_cut(seed);
            disk.open(Path::new("d/f")).is_ok()
        };
        assert!((0..20).any(|seed| !survived(&disk, seed)));
        disk.sync_dir(Path::new("d")).unwrap();
        assert!((0..20).all(|seed| survived(&disk, seed)));
    }

    /// After a failed sync a second one answers `Ok` and the bytes are still gone after a cut,
    /// as Linux does it; written again they stay.
    #[test]
    fn failed_sync_drops_what_it_should_have_synced() {
        let path = Path::new("d/f");
        let disk = SimDisk::new(1);
        let file = disk.create(path).unwrap();
        file.write_at(0, &[1; 512]).unwrap();
        file.sync_all().unwrap();
        disk.sync_dir(Path::new("d")).unwrap();
        file.write_at(0, &[2; 512]).unwrap();
        disk.fail_nth(OpKind::Sync, 1, 5);
        assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
        file.sync_data().unwrap();
        let lost = disk.fork();
        lost.power_cut(1);
        assert_eq!(read(&*lost.open(path).unwrap(), 512), [1; 512]);
        file.write_at(0, &[2; 512]).unwrap();
        file.sync_data().unwrap();
        disk.power_cut(1);
        assert_eq!(read(&*disk.open(path).unwrap(), 512), [2; 512]);
    }

    /// The planned operation fails and no other one does.
    #[test]
    fn planned_faults_hit_once() {
        let disk = SimDisk::new(1);
        let file = disk.create(Path::new("d/f")).unwrap();
        disk.fail_nth(OpKind::Write, 2, 28);
        file.write_at(0, &[1; 4]).unwrap();
        assert_eq!(file.write_at(0, &[2; 4]).unwrap_err().raw_os_error(), Some(28));
        file.write_at(0, &[3; 4]).unwrap();
        disk.crash_at_nth_op(1);
        assert!(file.sync_data().is_err());
        assert!(disk.crashed() && disk.list(Path::new("d")).is_err());
        disk.kill();
        assert_eq!(read(&*disk.open(Path::new("d/f")).unwrap(), 4), [3; 4]);
    }
}
