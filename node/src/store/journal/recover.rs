//! What the end of the journal means: a tail to cut, or damage. Enter through `judge`; `walk`
//! serves the scrub as well. Pure functions over the bytes of one segment.
//! Invariant: nothing that a durable mark, a later header or a footer proves is ever cut.

use super::codec::{Chain, SegmentId, digest, is_zero};
use super::frame::{
    BATCH_ALIGN, BATCH_HEADER_BYTES, BatchHash, BatchHeader, EVENT_HEADER_BYTES, EventHeader,
    FOOTER_BYTES, Footer, SAMPLES_MAX, SEGMENT_HEADER_BYTES, Sample, SegmentHeader, TRAILER_BYTES,
    align, decode_trailer, encode_table, table_offset,
};
use super::{Damage, JournalError};

/// The good batches of a segment, from its beginning.
#[derive(Debug, Clone)]
pub struct Walk {
    pub chain: Chain,
    /// Where the last good batch ends, padding excluded.
    pub data_end: u64,
    pub events: u64,
    /// Where each event begins; segments are shorter than 4 GiB.
    pub offsets: Vec<u32>,
    pub samples: Vec<Sample>,
    /// The last good batch.
    pub last: Option<Placed>,
}

/// A batch that was found good.
#[derive(Debug, Clone)]
pub struct Placed {
    pub header: BatchHeader,
    /// Events whose body is neither empty nor what was written: seq, offset, only zeros left.
    pub broken: Vec<BrokenBody>,
    offsets: Vec<u32>,
    /// The walk before this batch, to step back to.
    before: (Chain, u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenBody {
    pub seq: u64,
    pub offset: u64,
    pub zeros: bool,
}

/// The verdict on the end of the last segment.
#[derive(Debug, Clone)]
pub enum End {
    /// Only free bytes follow.
    Clean,
    /// Sealed: a good footer says the same as the batches.
    Sealed,
    /// Bytes of a batch that was never durable follow; they go.
    Cut(Tail),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    pub offset: u64,
    /// Up to the last byte that is not zero.
    pub bytes: u64,
    pub hash: [u8; 32],
}

/// Reads batches from the start of a segment until one is bad or the space is free. `visit` sees
/// every good batch.
pub fn walk(bytes: &[u8], header: &SegmentHeader, mut visit: impl FnMut(&Placed)) -> Walk {
    let mut walk = Walk {
        chain: header.before,
        data_end: SEGMENT_HEADER_BYTES as u64,
        events: 0,
        offsets: Vec::new(),
        samples: Vec::new(),
        last: None,
    };
    let data = data_of(bytes);
    // Each round moves on by at least one batch header, so the segment's length bounds it.
    while let Some((mut placed, after)) = parse_batch(data, &header.id, &walk) {
        let offset = placed.header.offset;
        note_sample(&mut walk.samples, placed.header.first_seq, offset, header.file_bytes);
        walk.chain = after;
        walk.data_end = offset + placed.header.bytes;
        walk.events += u64::from(placed.header.count);
        walk.offsets.append(&mut placed.offsets);
        visit(&placed);
        walk.last = Some(placed);
    }
    walk
}

/// Decides over the last segment. `floor` is the highest sequence that any durable mark reaches;
/// `marked` is false if the mark file could not be read.
pub fn judge(
    bytes: &[u8],
    header: &SegmentHeader,
    floor: u64,
    marked: bool,
) -> Result<(Walk, End), JournalError> {
    let mut walk = walk(bytes, header, |_| {});
    let limit = data_of(bytes).len() as u64;
    let footer_bytes = bytes.get(limit as usize..).unwrap_or_default();
    let footer = Footer::decode(footer_bytes, &header.id);
    let proven_header = proven_by_headers(data_of(bytes), &header.id, align(walk.data_end));
    let damage =
        |what, offset, seq| Err(JournalError::Damage { what, segment: header.number, offset, seq });

    step_back(&mut walk, bytes, header, proven_header);
    let next_seq = walk.chain.seq + 1;
    let next_offset = align(walk.data_end);
    let free = match footer {
        Some(_) => table_of(bytes, &walk) == Table::Whole,
        None => is_zero(bytes.get(walk.data_end as usize..limit as usize).unwrap_or_default()),
    };
    if proven_header > walk.chain.batch {
        return damage(Damage::Batch, next_offset, next_seq);
    }
    if floor > walk.chain.seq {
        let what = if free { Damage::EndBeforeMark } else { Damage::Batch };
        return damage(what, next_offset, next_seq);
    }
    if let Some(footer) = footer {
        let agrees = footer.after == walk.chain
            && footer.data_end == walk.data_end
            && footer.number == header.number;
        return match (agrees, table_of(bytes, &walk)) {
            (false, _) => damage(Damage::Batch, next_offset, next_seq),
            (true, Table::Whole) => Ok((walk, End::Sealed)),
            (true, Table::Padding) => damage(Damage::Padding, walk.data_end, next_seq),
            // The sealing was torn: nothing rests on it, since no batch came after it.
            (true, Table::Torn) => {
                let rest = bytes.get(walk.data_end as usize..).unwrap_or_default();
                let tail = tail_at(walk.data_end, rest);
                Ok((walk, End::Cut(tail)))
            }
        };
    }
    let rest = bytes.get(walk.data_end as usize..).unwrap_or_default();
    if is_zero(rest) {
        return Ok((walk, End::Clean));
    }
    if !marked {
        return damage(Damage::EndWithoutMark, next_offset, next_seq);
    }
    let tail = tail_at(walk.data_end, rest);
    Ok((walk, End::Cut(tail)))
}

/// Takes back a last batch whose frames hold but a body does not: torn, rotted, or erased.
/// Erasures are made only once a later batch is durable, so without one it is the bad one; a mark
/// or footer that covers it then no longer agrees, and makes it damage.
fn step_back(walk: &mut Walk, bytes: &[u8], header: &SegmentHeader, proven_header: u64) {
    let last =
        walk.last.take_if(|last| !last.broken.is_empty() && proven_header < last.header.number);
    if let Some(bad) = last {
        (walk.chain, walk.data_end) = bad.before;
        walk.events -= u64::from(bad.header.count);
        walk.offsets.truncate(walk.events as usize);
        walk.samples.retain(|sample| sample.offset < bad.header.offset);
        walk.last = previous_batch(bytes, header, bad.header.number);
    }
}

/// What stands between the last batch and the footer of a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// The table of its events, and zeros.
    Whole,
    /// The table is not that of its events.
    Torn,
    /// Beside the table something is not zero.
    Padding,
}

/// Compares the table with the events that were read.
pub fn table_of(bytes: &[u8], walk: &Walk) -> Table {
    let start = table_offset(walk.data_end) as usize;
    let expected = encode_table(&walk.offsets);
    let data = data_of(bytes);
    let before = data.get(walk.data_end as usize..start).unwrap_or_default();
    let after = data.get(start + expected.len()..).unwrap_or_default();
    if !is_zero(before) || !is_zero(after) {
        return Table::Padding;
    }
    match data.get(start..start + expected.len()) == Some(expected.as_slice()) {
        true => Table::Whole,
        false => Table::Torn,
    }
}

fn tail_at(offset: u64, rest: &[u8]) -> Tail {
    let used = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let hash = digest(rest.get(..used).unwrap_or_default());
    Tail { offset, bytes: used as u64, hash }
}

/// Adds a place to seek by, if it is far enough from the last one that they fit a footer.
pub fn note_sample(samples: &mut Vec<Sample>, first_seq: u64, offset: u64, file_bytes: u64) {
    let apart = file_bytes / (SAMPLES_MAX as u64 - 20);
    let far = samples.last().is_none_or(|last| offset >= last.offset + apart);
    if far && samples.len() < SAMPLES_MAX {
        samples.push(Sample { first_seq, offset });
    }
}

/// Where batches may stand: everything before the footer's place.
fn data_of(bytes: &[u8]) -> &[u8] {
    bytes.get(..bytes.len().saturating_sub(FOOTER_BYTES)).unwrap_or_default()
}

/// The next batch after `walk`, if it is one: checksums, lengths, chain and hash all hold.
fn parse_batch(data: &[u8], id: &SegmentId, walk: &Walk) -> Option<(Placed, Chain)> {
    let offset = align(walk.data_end);
    let before = walk.chain;
    let rest = data.get(offset as usize..)?;
    let header = BatchHeader::decode(rest, id, offset)?;
    let follows = header.number == before.batch + 1
        && header.first_seq == before.seq + 1
        && header.previous == before.hash;
    let batch = rest.get(..header.bytes as usize)?;
    if !follows {
        return None;
    }
    let (inner, trailer) = batch.split_at_checked(batch.len().checked_sub(TRAILER_BYTES)?)?;
    let (header_bytes, mut events) = inner.split_at_checked(BATCH_HEADER_BYTES)?;
    let mut hash = BatchHash::new();
    hash.update(header_bytes);
    let (mut broken, mut offsets) = (Vec::new(), Vec::new());
    for seq in header.first_seq..=header.last_seq() {
        let event_offset = offset + (inner.len() - events.len()) as u64;
        let event = EventHeader::decode(events, id).filter(|event| event.seq == seq)?;
        offsets.push(u32::try_from(event_offset).ok()?);
        let (frame_header, rest) = events.split_at_checked(EVENT_HEADER_BYTES)?;
        let (meta, rest) = rest.split_at_checked(event.meta_bytes as usize)?;
        let (body, rest) = rest.split_at_checked(event.body_bytes as usize)?;
        if id.crc(meta) != event.meta_crc {
            return None;
        }
        if id.crc(body) != event.body_crc {
            broken.push(BrokenBody { seq, offset: event_offset, zeros: is_zero(body) });
        }
        hash.update(frame_header);
        hash.update(meta);
        events = rest;
    }
    let hash = hash.finish();
    if !events.is_empty() || decode_trailer(trailer, id)? != (header.number, hash) {
        return None;
    }
    let after = Chain { batch: header.number, seq: header.last_seq(), hash };
    Some((Placed { header, broken, offsets, before: (before, walk.data_end) }, after))
}

/// The highest batch number that headers from `from` on prove durable: a batch is begun only
/// after the one before it was synced. All places to the end are looked at, because the pages of
/// a torn write, and rot, leave anything between.
fn proven_by_headers(data: &[u8], id: &SegmentId, from: u64) -> u64 {
    let mut proven = 0;
    for offset in (from..data.len() as u64).step_by(BATCH_ALIGN as usize) {
        let header =
            data.get(offset as usize..).and_then(|rest| BatchHeader::decode(rest, id, offset));
        proven = proven.max(header.map_or(0, |header| header.last_durable));
    }
    proven
}

/// The batch before number `number`, found by walking again: only a torn end needs it.
fn previous_batch(bytes: &[u8], header: &SegmentHeader, number: u64) -> Option<Placed> {
    let mut previous = None;
    walk(bytes, header, |placed| {
        if placed.header.number + 1 == number {
            previous = Some(placed.clone());
        }
    });
    previous
}
