//! Reading the journal while it is written. Enter through `Journal::reader`. Uses no lock that
//! the writer holds during I/O. Invariant: nothing beyond the durable sequence is shown, and
//! nothing whose checksums do not hold.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;

use super::check::{BodyState, Checked, Seen, Source, check_segment};
use super::codec::{Chain, is_zero};
use super::error::at_place;
use super::frame::{
    BATCH_HEADER_BYTES, BatchHeader, EVENT_HEADER_BYTES, EventHeader, FOOTER_BYTES,
    TABLE_ENTRY_BYTES, TRAILER_BYTES, align, decode_trailer, table_bytes, table_offset,
};
use super::io::{Io, IoFile};
use super::segment::{Segment, segment_name};
use super::window::Window;
use super::{Body, Damage, JournalError, Position, StoredEvent};

/// A handle for reading; clones share it.
#[derive(Clone)]
pub struct JournalReader {
    shared: Arc<Shared>,
}

/// What `verify_segment` found in a segment whose chain holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentReport {
    pub segment: u64,
    /// Equal to `last_seq + 1` if there is no event.
    pub first_seq: u64,
    pub last_seq: u64,
    pub events: u64,
    /// Hash of the last batch: the root over all before it.
    pub root: [u8; 32],
    /// Events whose body is only zeros; each needs an event that orders its erasure.
    pub erased: Vec<u64>,
    /// Events whose body is neither what was written nor zeros.
    pub damaged: Vec<u64>,
}

impl JournalReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Everything up to here survives a power cut; 0 before the first event.
    pub fn durable_seq(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
    }

    /// The number of the newest segment; they are numbered from 1 without gap.
    pub fn last_segment(&self) -> u64 {
        self.shared.segments.read().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    /// Where a durable event begins: out of the table of its segment when that is sealed, otherwise
    /// by going through its batches.
    pub fn position_of(&self, seq: u64) -> Result<Position, JournalError> {
        let number = self.segment_of(seq);
        let sealed = self.shared.segment(number + 1);
        let (Some(segment), true) = (self.shared.segment(number), seq <= self.durable_seq()) else {
            return Err(JournalError::NotDurable { seq });
        };
        if sealed.is_none() {
            let found = self.scan(seq, 1, 0)?;
            let found = found.first().map(|(_, position, _)| *position);
            return found.ok_or(JournalError::NotDurable { seq });
        }
        let nth = seq - segment.header.before.seq - 1;
        let place = table_offset(segment.data_end()) + table_bytes(nth);
        let mut bytes = [0; TABLE_ENTRY_BYTES as usize];
        let file = self.shared.file(number)?;
        file.read_at(place, &mut bytes).map_err(at_place("read table", number, place))?;
        let position = Position { segment: number, offset: u64::from(u32::from_le_bytes(bytes)) };
        // The table says where to look, the event says which it is.
        match self.read(position) {
            Ok(event) if event.seq == seq => Ok(position),
            _ => Err(damaged(Damage::Footer, number, place, seq)),
        }
    }

    /// The segment that holds a sequence, or will hold it.
    pub fn segment_of(&self, seq: u64) -> u64 {
        let segments = self.shared.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.partition_point(|segment| segment.header.before.seq < seq) as u64
    }

    /// The last sequence before a segment.
    pub fn seq_before(&self, number: u64) -> u64 {
        self.shared.segment(number).map_or(0, |segment| segment.header.before.seq)
    }

    /// The event that begins at a position.
    pub fn read(&self, position: Position) -> Result<StoredEvent, JournalError> {
        let Position { segment: number, offset } = position;
        let missing = JournalError::NoEvent { segment: number, offset };
        let Some(segment) = self.shared.segment(number) else {
            return Err(missing);
        };
        let end = segment.data_end();
        let mut window = Window::new(self.shared.file(number)?, end);
        let failed = at_place("read event", number, offset);
        let Some(bytes) = window.bytes(offset, EVENT_HEADER_BYTES).map_err(failed)? else {
            return Err(missing);
        };
        let damage = |seq| damaged(Damage::Event, number, offset, seq);
        let Some(header) = EventHeader::decode(bytes, &segment.header.id) else {
            return Err(if is_zero(bytes) { missing } else { damage(0) });
        };
        if header.seq > self.durable_seq() {
            return Err(JournalError::NotDurable { seq: header.seq });
        }
        let event = read_event(&mut window, offset, &header, &segment)?;
        event.ok_or_else(|| damage(header.seq))
    }

    /// Events from `from_seq` on, in order, at most `max_events` and about `max_bytes` of meta
    /// and body; at least one if there is one and `max_events` is not 0.
    pub fn scan(
        &self,
        from_seq: u64,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u64, Position, StoredEvent)>, JournalError> {
        self.scan_past(from_seq, max_events, max_bytes, &mut Err)
    }

    /// The same, but damaged events are given to `damage`, which may have them left out.
    pub fn scan_past(
        &self,
        from_seq: u64,
        max_events: usize,
        max_bytes: usize,
        damage: &mut dyn FnMut(JournalError) -> Result<(), JournalError>,
    ) -> Result<Vec<(u64, Position, StoredEvent)>, JournalError> {
        let durable = self.durable_seq();
        let mut found = Vec::new();
        let (mut next, mut bytes) = (from_seq.max(1), 0usize);
        while next <= durable && found.len() < max_events {
            let mut batch = self.shared.batch_of(next)?;
            let begun = next;
            while let Some((offset, header)) = batch.next_event()? {
                if header.seq < next {
                    continue;
                }
                let size = header.frame_bytes() as usize;
                if found.len() >= max_events || (!found.is_empty() && bytes + size > max_bytes) {
                    return Ok(found);
                }
                let number = batch.segment.header.number;
                next = header.seq + 1;
                match read_event(&mut batch.window, offset, &header, &batch.segment) {
                    Ok(Some(event)) => {
                        let position = Position { segment: number, offset };
                        found.push((header.seq, position, event));
                        bytes += size;
                    }
                    Ok(None) => damage(damaged(Damage::Event, number, offset, header.seq))?,
                    Err(error) if error.is_unread() => damage(error)?,
                    Err(error) => return Err(error),
                }
            }
            if next == begun {
                return Err(batch.damage(Damage::Chain));
            }
        }
        Ok(found)
    }

    /// Reads a whole segment up to its durable end and checks everything: checksums, hashes,
    /// the chain to its neighbours, free bytes, footer. The first damage is an error.
    pub fn verify_segment(&self, number: u64) -> Result<SegmentReport, JournalError> {
        let (mut erased, mut broken, mut first) = (Vec::new(), Vec::new(), None);
        let checked = self.check_segment(number, &mut |_| true, &mut |seen| match seen {
            Seen::Event { seq, body: BodyState::Zeros, .. } => erased.push(seq),
            Seen::Event { seq, body: BodyState::Damaged, .. } => broken.push(seq),
            Seen::Event { .. } => {}
            Seen::Damage(found) => first = first.or(Some(found)),
        })?;
        if let Some(found) = first {
            return Err(damaged(found.what, number, found.offset, found.seq));
        }
        let chain = checked.as_ref().and_then(|checked| checked.chain).unwrap_or_default();
        Ok(SegmentReport {
            segment: number,
            first_seq: self.seq_before(number) + 1,
            last_seq: chain.seq,
            events: checked.map_or(0, |checked| checked.events),
            root: chain.hash,
            erased,
            damaged: broken,
        })
    }

    /// Goes through a segment up to its durable end and shows what is there; `None` when `pace`,
    /// asked before each piece of so many bytes, ended it.
    pub fn check_segment(
        &self,
        number: u64,
        pace: &mut dyn FnMut(u64) -> bool,
        see: &mut dyn FnMut(Seen<'_>),
    ) -> Result<Option<Checked>, JournalError> {
        let Some(segment) = self.shared.segment(number) else {
            return Err(JournalError::NoEvent { segment: number, offset: 0 });
        };
        // In this order: what is durable when the next segment is there does not grow any more.
        let next = self.shared.segment(number + 1).map(|next| next.header.before);
        let (header, end) = (segment.header, Some(segment.data_end()));
        let source = Source { file: self.shared.file(number)?, header, end, next };
        check_segment(&source, pace, see)
    }

    /// The next read of a segment comes from the file that has its name, and from the disk if it
    /// is written no more.
    pub fn forget_cached(&self, number: u64) -> Result<(), JournalError> {
        self.shared.files().retain(|(known, _)| *known != number);
        if number >= self.last_segment() {
            return Ok(());
        }
        self.shared.file(number)?.forget_cached().map_err(at_place("read from the disk", number, 0))
    }

    /// Bytes that are durable in a segment.
    pub fn segment_bytes(&self, number: u64) -> u64 {
        self.shared.segment(number).map_or(0, |segment| segment.data_end())
    }

    /// The end of the chain at the batch that ends with this sequence; `None` if none does.
    pub(super) fn chain_at(&self, seq: u64) -> Result<Option<Chain>, JournalError> {
        if seq == 0 {
            return Ok(Some(Chain::default()));
        }
        let mut batch = self.shared.batch_of(seq)?;
        if batch.header.last_seq() != seq {
            return Ok(None);
        }
        let offset = batch.header.offset + batch.header.bytes - TRAILER_BYTES as u64;
        let id = batch.segment.header.id;
        let failed = at_place("read trailer", batch.segment.header.number, offset);
        let bytes = batch.window.bytes(offset, TRAILER_BYTES).map_err(failed)?;
        match bytes.and_then(|bytes| decode_trailer(bytes, &id)) {
            Some((number, hash)) => Ok(Some(Chain { batch: number, seq, hash })),
            None => Err(batch.damage(Damage::Batch)),
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

/// What the writer and all readers share.
pub struct Shared {
    pub io: Arc<dyn Io>,
    pub dir: PathBuf,
    /// Moved by the writer only, after a sync returned.
    pub durable: AtomicU64,
    /// Segment n at place n - 1; the writer appends to it.
    pub segments: RwLock<Vec<Arc<Segment>>>,
    /// Most recently used last.
    pub files: Mutex<VecDeque<(u64, Arc<dyn IoFile>)>>,
}

impl Shared {
    pub fn segment(&self, number: u64) -> Option<Arc<Segment>> {
        let place = usize::try_from(number.checked_sub(1)?).ok()?;
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.get(place).cloned()
    }

    /// An open handle; the least recently used one goes when there are too many.
    pub fn file(&self, number: u64) -> Result<Arc<dyn IoFile>, JournalError> {
        let mut files = self.files();
        if let Some(place) = files.iter().position(|(known, _)| *known == number)
            && let Some(entry) = files.remove(place)
        {
            let file = Arc::clone(&entry.1);
            files.push_back(entry);
            return Ok(file);
        }
        let path = self.dir.join(segment_name(number));
        let file = self.io.open(&path).map_err(at_place("open segment", number, 0))?;
        if files.len() >= OPEN_FILES_MAX {
            files.pop_front();
        }
        files.push_back((number, Arc::clone(&file)));
        Ok(file)
    }

    fn files(&self) -> MutexGuard<'_, VecDeque<(u64, Arc<dyn IoFile>)>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The batch that holds a durable sequence, found from the nearest sample.
    fn batch_of(&self, seq: u64) -> Result<BatchCursor, JournalError> {
        let segment = {
            let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
            let after = segments.partition_point(|segment| segment.header.before.seq < seq);
            after.checked_sub(1).and_then(|place| segments.get(place)).cloned()
        };
        let segment = segment.ok_or(JournalError::NotDurable { seq })?;
        let number = segment.header.number;
        let sample = segment.sample_before(seq).ok_or(JournalError::NotDurable { seq })?;
        let mut window = Window::new(self.file(number)?, segment.data_end());
        let (mut offset, mut expected) = (sample.offset, sample.first_seq);
        // Moves on by a batch a round, within one segment.
        loop {
            let failed = at_place("read batch", number, offset);
            let bytes = window.bytes(offset, BATCH_HEADER_BYTES).map_err(failed)?;
            let header =
                bytes.and_then(|bytes| BatchHeader::decode(bytes, &segment.header.id, offset));
            let Some(header) = header.filter(|header| header.first_seq == expected) else {
                return Err(damaged(Damage::Batch, number, offset, expected));
            };
            if header.last_seq() >= seq {
                return Ok(BatchCursor::new(segment, header, window));
            }
            offset = align(offset + header.bytes);
            expected = header.last_seq() + 1;
        }
    }
}

/// Walks the events of one batch.
struct BatchCursor {
    segment: Arc<Segment>,
    header: BatchHeader,
    window: Window,
    offset: u64,
    seq: u64,
}

impl BatchCursor {
    fn new(segment: Arc<Segment>, header: BatchHeader, window: Window) -> Self {
        let offset = header.offset + BATCH_HEADER_BYTES as u64;
        Self { segment, header, window, offset, seq: header.first_seq }
    }

    fn next_event(&mut self) -> Result<Option<(u64, EventHeader)>, JournalError> {
        if self.seq > self.header.last_seq() {
            return Ok(None);
        }
        let (offset, seq) = (self.offset, self.seq);
        let end = self.header.offset + self.header.bytes - TRAILER_BYTES as u64;
        let failed = at_place("read event", self.segment.header.number, offset);
        let bytes = self.window.bytes(offset, EVENT_HEADER_BYTES).map_err(failed)?;
        let event = bytes
            .and_then(|bytes| EventHeader::decode(bytes, &self.segment.header.id))
            .filter(|event| event.seq == seq && offset + event.frame_bytes() <= end);
        let Some(event) = event else {
            return Err(self.damage(Damage::Event));
        };
        self.offset += event.frame_bytes();
        self.seq += 1;
        Ok(Some((offset, event)))
    }

    fn damage(&self, what: Damage) -> JournalError {
        damaged(what, self.segment.header.number, self.offset, self.seq)
    }
}

/// Meta and body of the event at `offset`; `None` if the meta does not hold.
fn read_event(
    window: &mut Window,
    offset: u64,
    header: &EventHeader,
    segment: &Segment,
) -> Result<Option<StoredEvent>, JournalError> {
    let id = &segment.header.id;
    let failed = at_place("read event", segment.header.number, offset);
    let frame = window.bytes(offset, header.frame_bytes() as usize).map_err(failed)?;
    let parts = frame
        .and_then(|frame| frame.get(EVENT_HEADER_BYTES..))
        .and_then(|rest| rest.split_at_checked(header.meta_bytes as usize));
    let Some((meta, body)) = parts.filter(|(meta, _)| id.crc(meta) == header.meta_crc) else {
        return Ok(None);
    };
    // Copied: a small event kept by a watcher must not keep the whole window alive.
    let meta = Bytes::copy_from_slice(meta);
    let body: Body = header.judge(id, Bytes::copy_from_slice(body));
    Ok(Some(StoredEvent { seq: header.seq, meta, body }))
}

pub fn damaged(what: Damage, segment: u64, offset: u64, seq: u64) -> JournalError {
    JournalError::Damage { what, segment, offset, seq }
}

/// The footer's place in a file of this length.
pub fn footer_offset(file_bytes: u64) -> Option<u64> {
    file_bytes.checked_sub(FOOTER_BYTES as u64)
}

/// Far below the usual limit of 1024 files a process.
const OPEN_FILES_MAX: usize = 64;
