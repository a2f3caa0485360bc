//! Beginning and opening a journal. Enter through `Journal::create` and `Journal::open`.
//! Invariant: all decisions are made before the first byte is changed, and before `open` returns
//! all that it recovered is synced, so what was only in the page cache of a killed process is
//! durable before anything is answered from it.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};

use super::codec::Chain;
use super::error::{at, at_place};
use super::frame::{
    BATCH_ALIGN, FOOTER_BYTES, FORMAT_VERSION, Footer, SEGMENT_HEADER_BYTES, SegmentHeader,
    encode_table, table_bytes, table_offset,
};
use super::io::{Io, IoFile};
use super::mark::{MARK_NAME, Mark, MarkFile};
use super::reader::{JournalReader, Shared, damaged, footer_offset};
use super::recover::{End, Tail, Walk, judge};
use super::segment::{
    SEGMENT_BYTES_MAX, Segment, Stock, activate, is_prepared, length_for, segment_name,
    segment_number, zero,
};
use super::writer::Parts;
use super::{Damage, DurableMark, Journal, JournalError, JournalSettings, Position};

/// What `open` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Events can be read and replayed from here; the journal keeps all of them.
    pub first_seq: u64,
    /// 0 if there is no event yet.
    pub last_seq: u64,
    /// Hash of the batch that ends with `last_seq`.
    pub last_hash: [u8; 32],
    /// What a write that never became durable had left, and is zeros now. The caller records it
    /// as the first event of its next batch.
    pub tail_cut: Option<TailCut>,
    /// The process before stopped in order.
    pub clean: bool,
    /// The mark file could not be read and was written anew; worth a look at the disk.
    pub mark_rebuilt: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TailCut {
    pub segment: u64,
    pub offset: u64,
    pub bytes: u64,
    /// SHA-256 of the bytes that were cut.
    pub hash: [u8; 32],
}

impl Journal {
    /// Begins a journal in a directory that holds none.
    pub fn create(settings: JournalSettings, io: Arc<dyn Io>) -> Result<Journal, JournalError> {
        let dir = settings.dir.as_path();
        io.create_dir(dir).map_err(at("create directory"))?;
        let names = io.list(dir).map_err(at("list directory"))?;
        if names.iter().any(|name| segment_number(name).is_some()) {
            return Err(JournalError::Exists);
        }
        // What a `create` that did not finish has left.
        remove_prepared(&*io, dir, &names)?;
        if names.iter().any(|name| name == MARK_NAME) {
            io.remove(&dir.join(MARK_NAME)).map_err(at("remove mark"))?;
        }
        let mark = MarkFile::create(&*io, dir).map_err(at("create mark"))?;
        io.sync_dir(dir).map_err(at("sync directory"))?;
        let mut stock = Stock::new();
        let length = length_for(settings.segment_bytes, 0, 0);
        let prepared = stock.obtain(&io, dir, length).map_err(at("prepare segment"))?;
        let (segment, file) =
            activate(&*io, dir, prepared, 1, Chain::default()).map_err(at("begin segment"))?;
        let shared = share(&settings, &io, vec![Arc::new(segment)], 0);
        let parts = Parts { shared, file, mark, stock, sealed: false };
        Journal::assemble(settings, parts, Chain::default(), Vec::new(), 1)
    }

    /// Opens, judges the end, cuts a tail or refuses damage, and makes durable what it keeps.
    /// `marks` is everything beside the mark file that proves how far the journal once was.
    pub fn open(
        settings: JournalSettings,
        io: Arc<dyn Io>,
        marks: &[DurableMark],
    ) -> Result<(Journal, Recovered), JournalError> {
        let dir = settings.dir.as_path();
        let names = io.list(dir).map_err(at("list directory"))?;
        let last = count_segments(&names)?;
        let mut segments = Vec::new();
        let mut chain = Chain::default();
        for number in 1..last {
            let segment = load_sealed(&*io, dir, number, &mut chain)?;
            segments.push(Arc::new(segment));
        }
        let (mark, read) = open_mark(&*io, dir)?;
        let mut marks = marks.to_vec();
        if let Some(read) = read {
            marks.push(DurableMark { seq: read.chain.seq, batch_hash: Some(read.chain.hash) });
        }
        let floor = marks.iter().map(|mark| mark.seq).max().unwrap_or(0);
        let (file, bytes, header) = load_last(&*io, dir, last, &chain)?;
        let (walk, end) = judge(&bytes, &header, floor, read.is_some())?;
        let segment = Segment::new(header, walk.data_end, walk.samples.clone());
        segments.push(Arc::new(segment));
        let shared = share(&settings, &io, segments, walk.chain.seq);
        check_marks(&shared, &marks, &walk)?;

        // Decided; from here on bytes are changed.
        let stopped = |source| JournalError::Poisoned { step: "recovery", source };
        let mut mark = match mark {
            Some(mark) => mark,
            None => MarkFile::create(&*io, dir).map_err(stopped)?,
        };
        settle(&*io, dir, &*file, &bytes, &walk, &end).map_err(stopped)?;
        remove_prepared(&*io, dir, &names)?;
        mark.write(walk.chain, false).map_err(stopped)?;
        if read.is_none() {
            // Both slots, so that the next torn write finds a readable one.
            mark.write(walk.chain, false).map_err(stopped)?;
        }
        let recovered = report(last, &walk, &end, read);
        let sealed = matches!(end, End::Sealed);
        let newest = walk.last.as_ref().map_or(walk.chain.seq + 1, |last| last.header.first_seq);
        let parts = Parts { shared, file, mark, stock: Stock::new(), sealed };
        let journal = Journal::assemble(settings, parts, walk.chain, walk.offsets, newest)?;
        Ok((journal, recovered))
    }
}

/// The mark file and its mark, as far as they are there; a missing file is made only once the end
/// of the journal was judged without it.
fn open_mark(io: &dyn Io, dir: &Path) -> Result<(Option<MarkFile>, Option<Mark>), JournalError> {
    match MarkFile::open(io, dir) {
        Ok((file, read)) => Ok((Some(file), read)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((None, None)),
        Err(source) => Err(JournalError::Io { step: "open mark", source }),
    }
}

fn report(segment: u64, walk: &Walk, end: &End, read: Option<Mark>) -> Recovered {
    let tail_cut = match end {
        End::Cut(Tail { offset, bytes, hash }) => {
            Some(TailCut { segment, offset: *offset, bytes: *bytes, hash: *hash })
        }
        End::Clean | End::Sealed => None,
    };
    Recovered {
        first_seq: 1,
        last_seq: walk.chain.seq,
        last_hash: walk.chain.hash,
        tail_cut,
        clean: read.is_some_and(|read| read.clean) && tail_cut.is_none(),
        mark_rebuilt: read.is_none(),
    }
}

/// Cuts the tail, writes the last batch (and a footer) again in place, and syncs file and
/// directory. Without the rewrite a sync would not bring back pages that an earlier failed sync
/// has marked clean.
fn settle(
    io: &dyn Io,
    dir: &Path,
    file: &dyn IoFile,
    bytes: &[u8],
    walk: &Walk,
    end: &End,
) -> io::Result<()> {
    let length = bytes.len() as u64;
    if let End::Cut(tail) = end {
        // To the very end: frames left behind the cut would come back to life after a second
        // crash, once new batches have filled the gap before them.
        zero(file, tail.offset, length)?;
    }
    if let Some(last) = &walk.last {
        let start = last.header.offset;
        let batch = bytes.get(start as usize..walk.data_end as usize).unwrap_or_default();
        file.write_at(start, batch)?;
    }
    if let (End::Sealed, Some(start)) = (end, footer_offset(length)) {
        let table = table_offset(walk.data_end);
        file.write_at(table, &encode_table(&walk.offsets))?;
        file.write_at(start, bytes.get(start as usize..).unwrap_or_default())?;
    }
    file.sync_data()?;
    io.sync_dir(dir)
}

fn check_marks(
    shared: &Arc<Shared>,
    marks: &[DurableMark],
    walk: &Walk,
) -> Result<(), JournalError> {
    let reader = JournalReader::new(Arc::clone(shared));
    for mark in marks {
        let Some(expected) = mark.batch_hash else {
            continue;
        };
        let found = match mark.seq == walk.chain.seq {
            true => Some(walk.chain),
            false => reader.chain_at(mark.seq)?,
        };
        if found.is_none_or(|chain| chain.hash != expected) {
            let Position { segment, offset } = place_of(shared, mark.seq);
            return Err(damaged(Damage::MarkDiffers, segment, offset, mark.seq));
        }
    }
    Ok(())
}

/// The nearest known place of a sequence, for a message.
fn place_of(shared: &Shared, seq: u64) -> Position {
    let mut number = 1;
    let mut offset = 0;
    while let Some(segment) = shared.segment(number + 1) {
        if segment.header.before.seq >= seq {
            break;
        }
        number += 1;
    }
    if let Some(sample) = shared.segment(number).and_then(|found| found.sample_before(seq)) {
        offset = sample.offset;
    }
    Position { segment: number, offset }
}

/// Checks that segments are numbered 1, 2, 3 … and returns the last number.
fn count_segments(names: &[String]) -> Result<u64, JournalError> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    if numbers.is_empty() {
        return Err(JournalError::Missing);
    }
    for (expected, number) in (1..).zip(&numbers) {
        if expected != *number {
            return Err(damaged(Damage::SegmentMissing, expected, 0, 0));
        }
    }
    Ok(numbers.len() as u64)
}

/// Header and footer of a sealed segment; `chain` moves over it. Its batches are checked when
/// they are read, and by the scrub.
fn load_sealed(
    io: &dyn Io,
    dir: &Path,
    number: u64,
    chain: &mut Chain,
) -> Result<Segment, JournalError> {
    let (file, header) = load_header(io, dir, number, chain)?;
    let seq = chain.seq + 1;
    let offset = footer_offset(header.file_bytes).unwrap_or(0);
    let mut bytes = vec![0; FOOTER_BYTES];
    file.read_at(offset, &mut bytes).map_err(at_place("read footer", number, offset))?;
    let footer = Footer::decode(&bytes, &header.id)
        .filter(|footer| {
            let table = table_bytes(footer.events);
            footer.number == number && table_offset(footer.data_end) + table <= offset
        })
        .ok_or_else(|| damaged(Damage::Footer, number, offset, seq))?;
    if footer.first_seq != seq || footer.after.seq + 1 != seq + footer.events {
        return Err(damaged(Damage::Chain, number, offset, seq));
    }
    *chain = footer.after;
    Ok(Segment::new(header, footer.data_end, footer.samples))
}

type Loaded = (Arc<dyn IoFile>, Vec<u8>, SegmentHeader);

fn load_last(io: &dyn Io, dir: &Path, number: u64, chain: &Chain) -> Result<Loaded, JournalError> {
    let (file, header) = load_header(io, dir, number, chain)?;
    let mut bytes = vec![0; header.file_bytes as usize];
    for (offset, piece) in (0..).step_by(PIECE_BYTES).zip(bytes.chunks_mut(PIECE_BYTES)) {
        file.read_at(offset, piece).map_err(at_place("read segment", number, offset))?;
    }
    Ok((file, bytes, header))
}

fn load_header(
    io: &dyn Io,
    dir: &Path,
    number: u64,
    chain: &Chain,
) -> Result<(Arc<dyn IoFile>, SegmentHeader), JournalError> {
    let bad = |what| damaged(what, number, 0, chain.seq + 1);
    let file =
        io.open(&dir.join(segment_name(number))).map_err(at_place("open segment", number, 0))?;
    let size = file.size().map_err(at_place("size of segment", number, 0))?;
    let least = (SEGMENT_HEADER_BYTES + FOOTER_BYTES) as u64;
    if size < least || size > SEGMENT_BYTES_MAX || !size.is_multiple_of(BATCH_ALIGN) {
        return Err(bad(Damage::SegmentLength));
    }
    let mut bytes = vec![0; SEGMENT_HEADER_BYTES];
    file.read_at(0, &mut bytes).map_err(at_place("read segment header", number, 0))?;
    let header = SegmentHeader::decode(&bytes).ok_or_else(|| bad(Damage::SegmentHeader))?;
    if header.version != FORMAT_VERSION {
        let (found, supported) = (header.version, FORMAT_VERSION);
        return Err(JournalError::NewerFormat { segment: number, found, supported });
    }
    if header.file_bytes != size {
        return Err(bad(Damage::SegmentLength));
    }
    if header.number != number || header.before != *chain {
        return Err(bad(Damage::Chain));
    }
    Ok((file, header))
}

/// Prepared files of an earlier process: whether they were synced to the end is not known.
fn remove_prepared(io: &dyn Io, dir: &Path, names: &[String]) -> Result<(), JournalError> {
    for name in names.iter().filter(|name| is_prepared(name)) {
        io.remove(&dir.join(name)).map_err(at("remove prepared segment"))?;
    }
    Ok(())
}

fn share(
    settings: &JournalSettings,
    io: &Arc<dyn Io>,
    segments: Vec<Arc<Segment>>,
    durable: u64,
) -> Arc<Shared> {
    Arc::new(Shared {
        io: Arc::clone(io),
        dir: settings.dir.clone(),
        durable: AtomicU64::new(durable),
        segments: RwLock::new(segments),
        files: Mutex::new(VecDeque::new()),
    })
}

/// What is read at once, so that an error names its place.
const PIECE_BYTES: usize = 64 << 10;
