//! Preparing, naming and activating segment files. Enter through `Preparation` and `activate`.
//! Invariant: a segment has its name only once it is written to full length, has its header, and
//! both are synced; a segment file is never used twice.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::codec::{Chain, SegmentId};
use super::frame::{
    BATCH_ALIGN, FOOTER_BYTES, FORMAT_VERSION, SEGMENT_HEADER_BYTES, Sample, SegmentHeader, align,
    table_bytes,
};
use super::io::{Io, IoFile};
use super::recover::note_sample;

/// The work of preparing one segment; may run on any thread.
pub struct Preparation {
    io: Arc<dyn Io>,
    dir: PathBuf,
    bytes: u64,
    ticket: Arc<()>,
}

/// A file of zeros at full length, synced, still under a name of its own.
pub struct Prepared {
    path: PathBuf,
    file: Arc<dyn IoFile>,
    pub(super) bytes: u64,
    id: [u8; 16],
    _ticket: Arc<()>,
}

impl Preparation {
    /// Length of the segment.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Zeros are written, not allocated: a full disk shows here and never in a commit, and the
    /// file's blocks need no metadata when they are written again.
    pub fn run(self) -> io::Result<Prepared> {
        let id = self.io.fresh_id();
        let path = self.dir.join(format!("{PREPARED_PREFIX}{:032x}", u128::from_be_bytes(id)));
        let file = self.io.create(&path)?;
        let filled = fill(&*file, self.bytes).and_then(|()| file.sync_all());
        if let Err(error) = filled {
            // Best effort: on a full disk the half of a segment helps nobody.
            let _ = self.io.remove(&path);
            return Err(error);
        }
        Ok(Prepared { path, file, bytes: self.bytes, id, _ticket: self.ticket })
    }
}

/// The prepared segments of one journal, those under way counted.
pub struct Stock {
    ready: VecDeque<Prepared>,
    ticket: Arc<()>,
}

impl Stock {
    pub fn new() -> Self {
        Self { ready: VecDeque::new(), ticket: Arc::new(()) }
    }

    /// Work to do, unless enough is ready or under way. Dropped work counts no longer.
    pub fn take_preparation(
        &self,
        io: &Arc<dyn Io>,
        dir: &Path,
        bytes: u64,
    ) -> Option<Preparation> {
        let out = Arc::strong_count(&self.ticket) - 1;
        (out < PREPARED_MAX).then(|| self.preparation(io, dir, bytes))
    }

    pub fn add(&mut self, prepared: Prepared) {
        self.ready.push_back(prepared);
    }

    /// One of at least this length, made here and now if none is ready.
    pub fn obtain(&mut self, io: &Arc<dyn Io>, dir: &Path, bytes: u64) -> io::Result<Prepared> {
        match self.ready.pop_front_if(|prepared| prepared.bytes >= bytes) {
            Some(prepared) => Ok(prepared),
            None => self.preparation(io, dir, bytes).run(),
        }
    }

    fn preparation(&self, io: &Arc<dyn Io>, dir: &Path, bytes: u64) -> Preparation {
        let ticket = Arc::clone(&self.ticket);
        Preparation { io: Arc::clone(io), dir: dir.to_owned(), bytes, ticket }
    }
}

/// A segment as readers see it.
pub struct Segment {
    pub header: SegmentHeader,
    /// Where durable data ends; moved by the writer after each sync.
    data_end: AtomicU64,
    samples: RwLock<Vec<Sample>>,
}

impl Segment {
    pub fn new(header: SegmentHeader, data_end: u64, samples: Vec<Sample>) -> Self {
        Self { header, data_end: AtomicU64::new(data_end), samples: RwLock::new(samples) }
    }

    pub fn data_end(&self) -> u64 {
        self.data_end.load(Ordering::Acquire)
    }

    /// A batch became durable.
    pub fn extend(&self, first_seq: u64, offset: u64, bytes: u64) {
        let mut samples = self.samples.write().unwrap_or_else(PoisonError::into_inner);
        note_sample(&mut samples, first_seq, offset, self.header.file_bytes);
        self.data_end.store(offset + bytes, Ordering::Release);
    }

    /// The nearest known batch that begins at or before this sequence.
    pub fn sample_before(&self, seq: u64) -> Option<Sample> {
        let samples = self.samples.read().unwrap_or_else(PoisonError::into_inner);
        let after = samples.partition_point(|sample| sample.first_seq <= seq);
        samples.get(after.checked_sub(1)?).copied()
    }

    pub fn samples(&self) -> Vec<Sample> {
        self.samples.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where its footer stands and batches end at the latest.
    pub fn limit(&self) -> u64 {
        self.header.file_bytes - FOOTER_BYTES as u64
    }
}

/// Gives a prepared file its header and its name, both durable on return.
pub fn activate(
    io: &dyn Io,
    dir: &Path,
    prepared: Prepared,
    number: u64,
    before: Chain,
) -> io::Result<(Segment, Arc<dyn IoFile>)> {
    let header = SegmentHeader {
        version: FORMAT_VERSION,
        id: SegmentId(prepared.id),
        number,
        file_bytes: prepared.bytes,
        before,
    };
    prepared.file.write_at(0, &header.encode())?;
    prepared.file.sync_data()?;
    io.rename(&prepared.path, &dir.join(segment_name(number)))?;
    io.sync_dir(dir)?;
    Ok((Segment::new(header, SEGMENT_HEADER_BYTES as u64, Vec::new()), prepared.file))
}

pub fn segment_name(number: u64) -> String {
    format!("{SEGMENT_PREFIX}{number:010}")
}

/// The number in a name that `segment_name` made.
pub fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix(SEGMENT_PREFIX)?.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}

pub fn is_prepared(name: &str) -> bool {
    name.starts_with(PREPARED_PREFIX)
}

/// The length of a segment that holds a batch of this length, and at least the usual one.
pub fn length_for(usual: u64, batch_bytes: u64, events: u64) -> u64 {
    let data = align(SEGMENT_HEADER_BYTES as u64 + batch_bytes) + table_bytes(events);
    let least = align(data) + FOOTER_BYTES as u64;
    usual.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX).next_multiple_of(BATCH_ALIGN).max(least)
}

/// Zeros from `offset` to `end`, in pieces.
pub fn zero(file: &dyn IoFile, offset: u64, end: u64) -> io::Result<()> {
    let zeros = vec![0; (end.saturating_sub(offset)).min(FILL_BYTES) as usize];
    let mut next = offset;
    while next < end {
        let piece = (end - next).min(FILL_BYTES);
        file.write_at(next, zeros.get(..piece as usize).unwrap_or_default())?;
        next += piece;
    }
    Ok(())
}

fn fill(file: &dyn IoFile, bytes: u64) -> io::Result<()> {
    zero(file, 0, bytes)
}

/// Two: one is used up while the other is being written, also when the disk is slow.
pub const PREPARED_MAX: usize = 2;
/// Segments are read whole on opening.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// A header, a footer, and room for some batches between.
const SEGMENT_BYTES_MIN: u64 = 8 << 10;
/// Small, because the kernel caches a file in pieces as large as it was written in, and every later
/// sync of one batch would write such a piece whole.
const FILL_BYTES: u64 = 8 << 10;
const SEGMENT_PREFIX: &str = "segment-";
const PREPARED_PREFIX: &str = "prepared-";
