//! Checks one segment to its end, piece by piece: every checksum, hash, link, free byte and the
//! footer. Enter through [`check_segment`]; the scrub, `verify_segment` and the repair all do.
//! It goes on behind what is damaged, so that each record is named that is, and no other.
//! What the disk does not give counts as zeros and is told.
//! Invariant: it reads only, holds one batch at a time, and asks `pace` before each piece.

use std::sync::Arc;

use super::codec::{Chain, is_zero};
use super::error::at_place;
use super::frame::{
    BATCH_ALIGN, BATCH_BYTES_MAX, BATCH_HEADER_BYTES, BatchHash, BatchHeader, EVENT_HEADER_BYTES,
    EventHeader, FOOTER_BYTES, Footer, SEGMENT_HEADER_BYTES, Sample, SegmentHeader, TRAILER_BYTES,
    align, decode_trailer, encode_table, table_bytes, table_offset,
};
use super::io::IoFile;
use super::recover::note_sample;
use super::sectors::Sectors;
use super::{Damage, JournalError};

/// A segment to check.
pub struct Source {
    pub file: Arc<dyn IoFile>,
    pub header: SegmentHeader,
    /// Where its batches end, as far as that is known.
    pub end: Option<u64>,
    /// What the next segment begins with; nothing for the newest one, which is written to.
    pub next: Option<Chain>,
}

/// What the check comes upon, in the order of the file.
pub enum Seen<'a> {
    /// An event whose header and meta hold.
    Event {
        segment: u64,
        seq: u64,
        offset: u64,
        meta: &'a [u8],
        body: BodyState,
    },
    Damage(Found),
}

/// What stands where an event's body was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyState {
    /// What was written, or nothing where nothing was.
    Sound,
    /// Only zeros: an erasure, if an event orders it.
    Zeros,
    Damaged,
}

/// A damage and the sequences that it touches; none of them if `last_seq` is below `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub what: Damage,
    pub segment: u64,
    pub offset: u64,
    pub seq: u64,
    pub last_seq: u64,
}

/// A segment that was read to its end.
#[derive(Debug, Clone)]
pub struct Checked {
    pub events: u64,
    pub data_end: u64,
    /// The end of the chain, when its last batch holds.
    pub chain: Option<Chain>,
    /// Where each event begins, when all were found.
    pub offsets: Option<Vec<u32>>,
    pub samples: Vec<Sample>,
}

/// Reads a segment. `pace` is asked before each piece, with its length; `false` ends the check,
/// which then answers `None`.
pub fn check_segment(
    source: &Source,
    pace: &mut dyn FnMut(u64) -> bool,
    see: &mut dyn FnMut(Seen<'_>),
) -> Result<Option<Checked>, JournalError> {
    let header = &source.header;
    let mut check = Check {
        source,
        pace,
        see,
        limit: header.file_bytes.saturating_sub(FOOTER_BYTES as u64),
        chain: header.before,
        linked: true,
        events: 0,
        data_end: SEGMENT_HEADER_BYTES as u64,
        offsets: Some(Vec::new()),
        samples: Vec::new(),
        sectors: Sectors::default(),
    };
    match check.run() {
        Ok(()) => {}
        Err(Halt::Stopped) => return Ok(None),
        Err(Halt::Failed(error)) => return Err(error),
    }
    let Check { chain, linked, events, data_end, offsets, samples, .. } = check;
    let chain = linked.then_some(chain);
    Ok(Some(Checked { events, data_end, chain, offsets, samples }))
}

enum Halt {
    Stopped,
    Failed(JournalError),
}

struct Check<'a> {
    source: &'a Source,
    pace: &'a mut dyn FnMut(u64) -> bool,
    see: &'a mut dyn FnMut(Seen<'_>),
    /// Where the footer stands.
    limit: u64,
    /// The end of the chain so far; its hash is known only while `linked`.
    chain: Chain,
    linked: bool,
    events: u64,
    data_end: u64,
    offsets: Option<Vec<u32>>,
    samples: Vec<Sample>,
    sectors: Sectors,
}

impl Check<'_> {
    fn run(&mut self) -> Result<(), Halt> {
        let head = self.read(0, SEGMENT_HEADER_BYTES as u64)?;
        if SegmentHeader::decode(&head) != Some(self.source.header) {
            self.damage(Damage::SegmentHeader, 0, self.source.header.before.seq + 1, 0);
        }
        // Each round moves on by a batch header at least, so the segment's length bounds it.
        while self.batch()? {}
        match self.source.next {
            Some(next) => self.sealed(&next),
            None => Ok(()),
        }
    }

    /// The next batch, or what stands in its place; `false` at the end.
    fn batch(&mut self) -> Result<bool, Halt> {
        let offset = align(self.data_end);
        let end = self.source.end.unwrap_or(self.limit);
        let at_next = self.source.end.is_none() && self.source.next == self.linked_chain();
        if offset.saturating_add(BATCH_HEADER_BYTES as u64) > end || at_next {
            if let Some(end) = self.source.end.filter(|end| *end != self.data_end) {
                self.damage(Damage::Batch, self.data_end, self.chain.seq + 1, 0);
                (self.data_end, self.linked) = (end, false);
            }
            return Ok(false);
        }
        let gap = self.read(self.data_end, offset - self.data_end)?;
        if !is_zero(&gap) {
            self.damage(Damage::Padding, self.data_end, self.chain.seq + 1, 0);
        }
        let head = self.read(offset, BATCH_HEADER_BYTES as u64)?;
        let header = BatchHeader::decode(&head, &self.source.header.id, offset);
        match header.filter(|header| offset + header.bytes <= end) {
            Some(header) => self.whole(&header)?,
            None => return self.unreadable(offset, end),
        }
        Ok(true)
    }

    /// A batch whose header holds.
    fn whole(&mut self, header: &BatchHeader) -> Result<(), Halt> {
        let (offset, last) = (header.offset, header.last_seq());
        let follows = header.first_seq == self.chain.seq + 1
            && (!self.linked
                || (header.number == self.chain.batch + 1 && header.previous == self.chain.hash));
        if !follows {
            self.damage(Damage::Chain, offset, header.first_seq, last);
        }
        let bytes = self.read(offset, header.bytes)?;
        let body_end = bytes.len() - TRAILER_BYTES;
        let (inner, trailer) = bytes.split_at_checked(body_end).unwrap_or_default();
        note_sample(&mut self.samples, header.first_seq, offset, self.source.header.file_bytes);
        let mut hash = BatchHash::new();
        hash.update(inner.get(..BATCH_HEADER_BYTES).unwrap_or_default());
        let span = Span { bytes: inner, offset, first: header.first_seq, last, told: true };
        let sound = self.each_event(&span, &mut hash);
        let (hash, stored) = (hash.finish(), decode_trailer(trailer, &self.source.header.id));
        if sound && stored != Some((header.number, hash)) {
            self.damage(Damage::Batch, offset, header.first_seq, last);
        }
        let known = stored.filter(|(number, _)| *number == header.number).map(|(_, hash)| hash);
        self.linked = known.is_some();
        let hash = known.unwrap_or_default();
        self.chain = Chain { batch: header.number, seq: last, hash };
        self.data_end = offset + header.bytes;
        Ok(())
    }

    /// A batch whose header does not hold: what can be read of it is shown all the same.
    fn unreadable(&mut self, offset: u64, end: u64) -> Result<bool, Halt> {
        let next = self.next_header(offset + BATCH_ALIGN, end)?;
        let Some(next) = next else {
            if self.source.end.is_none() && self.is_free(offset, end)? {
                return Ok(false);
            }
            let last = self.source.next.map_or(self.chain.seq + 1, |next| next.seq);
            self.lost(offset, end, last)?;
            self.data_end = end;
            return Ok(false);
        };
        self.lost(offset, next.offset, next.first_seq.saturating_sub(1))?;
        self.chain = Chain { batch: next.number - 1, seq: next.first_seq - 1, hash: next.previous };
        // So the next batch is not told as well.
        self.linked = true;
        self.data_end = next.offset;
        Ok(true)
    }

    /// Tells what lies between as damaged and shows the events in it that can be read.
    fn lost(&mut self, offset: u64, end: u64, last: u64) -> Result<(), Halt> {
        let first = self.chain.seq + 1;
        self.damage(Damage::Batch, offset, first, last);
        (self.offsets, self.linked) = (None, false);
        let bytes = self.read(offset, (end - offset).min(BATCH_BYTES_MAX))?;
        let span = Span { bytes: &bytes, offset, first, last, told: false };
        self.each_event(&span, &mut BatchHash::new());
        Ok(())
    }

    /// Shows every event of a span. Whether all of them hold; those that do not are told when the
    /// span says so.
    fn each_event(&mut self, span: &Span<'_>, hash: &mut BatchHash) -> bool {
        let id = self.source.header.id;
        let (mut place, mut seq, mut sound) = (BATCH_HEADER_BYTES, span.first, true);
        while seq <= span.last {
            let Some((header, frame)) = span.event(place, &id, seq..=seq) else {
                sound = false;
                let next = span.resume(place + 1, &id, seq + 1);
                let (next_place, next_seq) = next.unwrap_or((span.bytes.len(), span.last + 1));
                self.unfit(span, place, (seq, next_seq - 1));
                self.offsets = None;
                (place, seq) = (next_place, next_seq);
                continue;
            };
            let offset = span.offset + place as u64;
            let (head, rest) = frame.split_at_checked(EVENT_HEADER_BYTES).unwrap_or_default();
            let meta_bytes = header.meta_bytes as usize;
            let (meta, body) = rest.split_at_checked(meta_bytes).unwrap_or_default();
            hash.update(head);
            hash.update(meta);
            if id.crc(meta) == header.meta_crc {
                let body = match (header.holds(&id, body), is_zero(body)) {
                    (true, _) => BodyState::Sound,
                    (false, true) => BodyState::Zeros,
                    (false, false) => BodyState::Damaged,
                };
                let segment = self.source.header.number;
                (self.see)(Seen::Event { segment, seq, offset, meta, body });
            } else {
                sound = false;
                self.unfit(span, place, (seq, seq));
            }
            if let (Some(offsets), Ok(offset)) = (&mut self.offsets, u32::try_from(offset)) {
                offsets.push(offset);
            }
            self.events += 1;
            (place, seq) = (place + frame.len(), seq + 1);
        }
        if sound && span.told && place != span.bytes.len() {
            self.unfit(span, place, (span.last, span.last));
            return false;
        }
        sound
    }

    fn unfit(&mut self, span: &Span<'_>, place: usize, (seq, last): (u64, u64)) {
        if span.told {
            self.damage(Damage::Event, span.offset + place as u64, seq, last);
        }
    }

    /// Table, free bytes and footer of a segment that is written no more.
    fn sealed(&mut self, next: &Chain) -> Result<(), Halt> {
        let header = &self.source.header;
        let (id, number, first_seq) = (header.id, header.number, header.before.seq + 1);
        if self.linked && self.chain != *next {
            // An older copy, or another history: its own frame has nothing to say.
            self.damage(Damage::Chain, self.data_end, self.chain.seq + 1, next.seq);
            return Ok(());
        }
        let footer = self.read(self.limit, FOOTER_BYTES as u64)?;
        let footer = Footer::decode(&footer, &id);
        let agrees = |footer: &Footer| {
            footer.after == *next
                && (footer.number, footer.first_seq) == (number, first_seq)
                && (footer.data_end == self.data_end || !self.linked)
        };
        if !footer.as_ref().is_some_and(agrees) {
            self.damage(Damage::Footer, self.limit, next.seq, 0);
        }
        let events = next.seq + 1 - first_seq.min(next.seq + 1);
        let (start, bytes) = (table_offset(self.data_end), table_bytes(events));
        if start + bytes > self.limit {
            return Ok(());
        }
        let table = self.read(start, bytes)?;
        let expected = self.offsets.as_ref().map(|offsets| encode_table(offsets));
        let is_it = match (&expected, &footer) {
            (Some(expected), _) => *expected == table,
            (None, Some(footer)) => id.crc(&table) == footer.events_crc,
            (None, None) => true,
        };
        if !is_it {
            self.damage(Damage::Footer, start, next.seq, 0);
        }
        for (from, to) in [(self.data_end, start), (start + bytes, self.limit)] {
            if !self.is_free(from, to)? {
                self.damage(Damage::Padding, from, next.seq + 1, 0);
            }
        }
        Ok(())
    }

    fn linked_chain(&self) -> Option<Chain> {
        self.linked.then_some(self.chain)
    }

    /// The next place from here on where a batch begins.
    fn next_header(&mut self, from: u64, end: u64) -> Result<Option<BatchHeader>, Halt> {
        let mut offset = from;
        while offset.saturating_add(BATCH_HEADER_BYTES as u64) <= end {
            let piece = self.read(offset, (end - offset).min(PIECE_BYTES))?;
            let places = (0..piece.len()).step_by(BATCH_ALIGN as usize);
            let found = places.into_iter().find_map(|place| {
                let bytes = piece.get(place..)?;
                BatchHeader::decode(bytes, &self.source.header.id, offset + place as u64)
            });
            if let Some(found) = found.filter(|found| found.first_seq > self.chain.seq) {
                return Ok(Some(found));
            }
            offset += PIECE_BYTES;
        }
        Ok(None)
    }

    fn is_free(&mut self, from: u64, to: u64) -> Result<bool, Halt> {
        let mut offset = from;
        while offset < to {
            let piece = (to - offset).min(PIECE_BYTES);
            if !is_zero(&self.read(offset, piece)?) {
                return Ok(false);
            }
            offset += piece;
        }
        Ok(true)
    }

    fn read(&mut self, offset: u64, bytes: u64) -> Result<Vec<u8>, Halt> {
        let mut buffer = vec![0; bytes as usize];
        let pieces = buffer.chunks_mut(PIECE_BYTES as usize);
        for (place, piece) in (offset..).step_by(PIECE_BYTES as usize).zip(pieces) {
            if !(self.pace)(piece.len() as u64) {
                return Err(Halt::Stopped);
            }
            let number = self.source.header.number;
            let failed = |error| Halt::Failed(at_place("read segment", number, place)(error));
            let lost = self.sectors.read(&*self.source.file, place, piece).map_err(failed)?;
            for offset in lost {
                // Which records it touches shows by what then does not hold.
                self.damage(Damage::Unread, offset, self.chain.seq + 1, 0);
            }
        }
        Ok(buffer)
    }

    fn damage(&mut self, what: Damage, offset: u64, seq: u64, last_seq: u64) {
        let segment = self.source.header.number;
        (self.see)(Seen::Damage(Found { what, segment, offset, seq, last_seq }));
    }
}

/// Bytes in which events stand one after the other.
struct Span<'a> {
    bytes: &'a [u8],
    /// Where the bytes begin in the file.
    offset: u64,
    first: u64,
    last: u64,
    /// Whether damage within is told by event.
    told: bool,
}

impl<'a> Span<'a> {
    /// The event at a place, if it is one of these and ends within.
    fn event(
        &self,
        place: usize,
        id: &super::codec::SegmentId,
        seqs: std::ops::RangeInclusive<u64>,
    ) -> Option<(EventHeader, &'a [u8])> {
        let rest = self.bytes.get(place..)?;
        let header = EventHeader::decode(rest, id).filter(|header| seqs.contains(&header.seq))?;
        let frame = rest.get(..usize::try_from(header.frame_bytes()).ok()?)?;
        Some((header, frame))
    }

    /// The next place where one of the later events begins, wherever it is.
    fn resume(&self, from: usize, id: &super::codec::SegmentId, seq: u64) -> Option<(usize, u64)> {
        let mut places = from..self.bytes.len().saturating_sub(EVENT_HEADER_BYTES) + 1;
        places.find_map(|place| {
            self.event(place, id, seq..=self.last).map(|(header, _)| (place, header.seq))
        })
    }
}

/// What is read at once.
const PIECE_BYTES: u64 = 64 << 10;
