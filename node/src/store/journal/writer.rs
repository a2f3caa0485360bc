//! The one writer of a journal. Enter through `Journal::append`. It runs no thread: group commit
//! and the moment of a mark are the caller's. Invariant: batch N+1 is never begun before the sync
//! of N returned; after a failed write or sync nothing is done any more.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::codec::Chain;
use super::error::at_place;
use super::frame::{
    EVENT_HEADER_BYTES, EventHeader, Footer, align, batch_bytes, check_limits, encode_batch,
    encode_table, event_offsets, table_bytes, table_offset,
};
use super::io::{IoFile, is_full};
use super::mark::MarkFile;
use super::reader::{JournalReader, Shared};
use super::segment::{Preparation, Prepared, Segment, Stock, activate, length_for, zero};
use super::{EventFrame, JournalError, JournalSettings, Position};
use crate::faults::{self, Point};

/// An open journal.
pub struct Journal {
    settings: JournalSettings,
    reader: JournalReader,
    active: Arc<Segment>,
    file: Arc<dyn IoFile>,
    /// Where the chain of durable batches ends.
    chain: Chain,
    /// Where each event of the active segment begins.
    offsets: Vec<u32>,
    /// First sequence of the newest batch.
    newest_first_seq: u64,
    /// The active segment has its footer; the next batch goes to the next one.
    sealed: bool,
    mark: MarkFile,
    stock: Stock,
    /// One batch, kept for its capacity.
    buffer: Vec<u8>,
    failure: Option<Failure>,
}

/// The answer to `append` and `plan`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    pub first_seq: u64,
    pub positions: Vec<Position>,
    pub batch_hash: [u8; 32],
}

/// Where a batch will stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub first_seq: u64,
    pub positions: Vec<Position>,
}

/// What `create` and `open` have found or made.
pub(super) struct Parts {
    pub shared: Arc<Shared>,
    pub file: Arc<dyn IoFile>,
    pub mark: MarkFile,
    pub stock: Stock,
    pub sealed: bool,
}

impl Journal {
    pub(super) fn assemble(
        settings: JournalSettings,
        parts: Parts,
        chain: Chain,
        offsets: Vec<u32>,
        newest_first_seq: u64,
    ) -> Result<Self, JournalError> {
        let reader = JournalReader::new(parts.shared);
        let number = reader.last_segment();
        let active = reader.shared().segment(number).ok_or(JournalError::Missing)?;
        Ok(Self {
            settings,
            reader,
            active,
            file: parts.file,
            chain,
            offsets,
            newest_first_seq,
            sealed: parts.sealed,
            mark: parts.mark,
            stock: parts.stock,
            buffer: Vec::new(),
            failure: None,
        })
    }

    /// A handle for reading, for any thread.
    pub fn reader(&self) -> JournalReader {
        self.reader.clone()
    }

    /// Everything up to here survives a power cut; 0 before the first event.
    pub fn durable_seq(&self) -> u64 {
        self.chain.seq
    }

    /// Hash of the batch that ends with the durable sequence.
    pub fn last_hash(&self) -> [u8; 32] {
        self.chain.hash
    }

    /// The sequence numbers and positions that `append` will give to exactly these frames if it
    /// is the next call that changes the journal.
    pub fn plan(&self, frames: &[EventFrame]) -> Result<Plan, JournalError> {
        self.check_alive()?;
        check_limits(frames)?;
        let (segment, offset) = self.place(batch_bytes(frames), frames.len() as u64);
        let offsets = event_offsets(offset, frames);
        Ok(Plan { first_seq: self.chain.seq + 1, positions: positions(segment, &offsets) })
    }

    /// Appends one batch with one write and one sync. `Ok` means that it survives a power cut.
    /// `Full`, `TooLarge` and `EmptyBatch` change nothing; after `Poisoned` the batch may or may
    /// not be there when the journal is opened again, and the process must end.
    pub fn append(&mut self, frames: &[EventFrame]) -> Result<Appended, JournalError> {
        self.check_alive()?;
        check_limits(frames)?;
        let bytes = batch_bytes(frames);
        let count = frames.len() as u64;
        let (segment, offset) = self.place(bytes, count);
        if segment != self.active.header.number {
            self.roll(bytes, count)?;
        }
        self.buffer.clear();
        let id = self.active.header.id;
        let encoded = encode_batch(&mut self.buffer, &id, offset, &self.chain, frames);
        let written = self.write_batch(offset);
        self.survive("write batch", written)?;
        faults::at(Point::Written);
        let synced = self.sync_batch();
        self.survive("sync batch", synced)?;
        faults::at(Point::Synced);

        let first_seq = self.chain.seq + 1;
        self.chain = encoded.after;
        self.newest_first_seq = first_seq;
        // Segments are shorter than 4 GiB.
        self.offsets.extend(encoded.offsets.iter().map(|offset| *offset as u32));
        self.active.extend(first_seq, offset, bytes);
        // Last: readers take the durable sequence first, then look for what it promises.
        self.reader.shared().durable.store(self.chain.seq, Ordering::Release);
        self.buffer.shrink_to(BUFFER_KEPT_BYTES);
        let positions = positions(segment, &encoded.offsets);
        Ok(Appended { first_seq, positions, batch_hash: self.chain.hash })
    }

    fn write_batch(&self, offset: u64) -> io::Result<()> {
        if faults::skips(Point::Wait) {
            let (file, bytes) = (Arc::clone(&self.file), self.buffer.clone());
            faults::later(move || file.write_at(offset, &bytes));
            return Ok(());
        }
        let part = faults::part(Point::Write, &self.buffer)?;
        let written = self.file.write_at(offset, part);
        faults::torn(part, &self.buffer);
        written
    }

    fn sync_batch(&self) -> io::Result<()> {
        if faults::io(Point::Sync)? { self.file.sync_data() } else { Ok(()) }
    }

    /// Records in the mark file how far the journal is durable. About once a second is enough;
    /// the less often, the more of the end cannot be told from a torn write if it rots.
    pub fn mark(&mut self) -> Result<(), JournalError> {
        self.check_alive()?;
        if self.mark.current().chain == self.chain && !self.mark.current().clean {
            return Ok(());
        }
        self.write_mark(false)
    }

    /// Overwrites an event's body with zeros, durably. Repeatable, also after a crash half way.
    /// The event that orders it must be durable, hence the newest batch is refused.
    pub fn erase_body(&mut self, position: Position) -> Result<(), JournalError> {
        self.check_alive()?;
        let Position { segment: number, offset } = position;
        let missing = JournalError::NoEvent { segment: number, offset };
        let shared = Arc::clone(self.reader.shared());
        let Some(segment) = shared.segment(number) else {
            return Err(missing);
        };
        let Some(body_end_max) = segment.data_end().checked_sub(offset) else {
            return Err(missing);
        };
        if body_end_max < EVENT_HEADER_BYTES as u64 {
            return Err(missing);
        }
        let file = shared.file(number)?;
        let mut bytes = [0; EVENT_HEADER_BYTES];
        file.read_at(offset, &mut bytes).map_err(at_place("read event", number, offset))?;
        let header = EventHeader::decode(&bytes, &segment.header.id)
            .filter(|header| header.frame_bytes() <= body_end_max)
            .ok_or(missing)?;
        if header.seq >= self.newest_first_seq {
            return Err(JournalError::EraseTooEarly { seq: header.seq });
        }
        // If the newest batch rots now, the one before it must not be taken for a torn tail just
        // because a body in it is gone; a mark makes it damage instead.
        self.mark()?;
        let body = offset + EVENT_HEADER_BYTES as u64 + u64::from(header.meta_bytes);
        let end = body + u64::from(header.body_bytes);
        // Always written, also over zeros: they may be in the page cache only.
        let erased = zero(&*file, body, end).and_then(|()| file.sync_data());
        self.survive("erase body", erased)
    }

    /// The work of preparing a segment ahead, for another thread; `None` while two are ready or
    /// under way. What `append` needs and does not find, it prepares itself.
    pub fn take_preparation(&self) -> Option<Preparation> {
        let shared = self.reader.shared();
        let bytes = length_for(self.settings.segment_bytes, 0, 0);
        self.stock.take_preparation(&shared.io, &shared.dir, bytes)
    }

    pub fn add_prepared(&mut self, prepared: Prepared) {
        self.stock.add(prepared);
    }

    /// Stops in order: the next `open` answers `clean`.
    pub fn close(mut self) -> Result<(), JournalError> {
        self.check_alive()?;
        self.write_mark(true)
    }

    fn write_mark(&mut self, clean: bool) -> Result<(), JournalError> {
        let written = self.mark.write(self.chain, clean);
        self.survive("write mark", written)
    }

    /// Segment and offset of the next batch.
    fn place(&self, bytes: u64, events: u64) -> (u64, u64) {
        let offset = align(self.active.data_end());
        // Beside the batch its segment's table must still fit.
        let table = table_bytes(self.offsets.len() as u64 + events);
        if !self.sealed && table_offset(offset + bytes) + table <= self.active.limit() {
            return (self.active.header.number, offset);
        }
        (self.active.header.number + 1, super::frame::SEGMENT_HEADER_BYTES as u64)
    }

    /// Seals the active segment and begins the next one.
    fn roll(&mut self, batch_bytes: u64, events: u64) -> Result<(), JournalError> {
        let shared = Arc::clone(self.reader.shared());
        let length = length_for(self.settings.segment_bytes, batch_bytes, events);
        // First, because only this may find the disk full, and nothing is changed yet.
        let prepared = match self.stock.obtain(&shared.io, &shared.dir, length) {
            Ok(prepared) => prepared,
            Err(error) if is_full(&error) => return Err(JournalError::Full(error)),
            Err(error) => return self.survive("prepare segment", Err(error)),
        };
        if !self.sealed {
            let (table, id) = (encode_table(&self.offsets), self.active.header.id);
            let footer = self.footer(id.crc(&table));
            let sealed = self
                .file
                .write_at(table_offset(self.active.data_end()), &table)
                .and_then(|()| self.file.write_at(self.active.limit(), &footer.encode(&id)))
                .and_then(|()| self.file.sync_data());
            self.survive("seal segment", sealed)?;
            self.sealed = true;
        }
        let number = self.active.header.number + 1;
        let begun = activate(&*shared.io, &shared.dir, prepared, number, self.chain);
        let (segment, file) = self.survive("begin segment", begun)?;
        self.active = Arc::new(segment);
        self.file = file;
        self.offsets.clear();
        self.sealed = false;
        let mut segments = shared.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.push(Arc::clone(&self.active));
        Ok(())
    }

    fn footer(&self, events_crc: u32) -> Footer {
        Footer {
            number: self.active.header.number,
            first_seq: self.active.header.before.seq + 1,
            after: self.chain,
            events: self.offsets.len() as u64,
            data_end: self.active.data_end(),
            events_crc,
            samples: self.active.samples(),
        }
    }

    fn check_alive(&self) -> Result<(), JournalError> {
        self.failure.as_ref().map_or(Ok(()), |failure| Err(failure.error()))
    }

    /// Remembers a failure for ever: after a failed sync the kernel may have dropped the pages,
    /// so neither a retry nor anything read back would tell the truth.
    fn survive<T>(&mut self, step: &'static str, result: io::Result<T>) -> Result<T, JournalError> {
        result.map_err(|error| {
            self.failure.get_or_insert(Failure::new(step, &error));
            JournalError::Poisoned { step, source: error }
        })
    }
}

/// An I/O error kept to be told again.
struct Failure {
    step: &'static str,
    kind: io::ErrorKind,
    errno: Option<i32>,
}

impl Failure {
    fn new(step: &'static str, error: &io::Error) -> Self {
        Self { step, kind: error.kind(), errno: error.raw_os_error() }
    }

    fn error(&self) -> JournalError {
        let source = self.errno.map_or_else(|| self.kind.into(), io::Error::from_raw_os_error);
        JournalError::Poisoned { step: self.step, source }
    }
}

fn positions(segment: u64, offsets: &[u64]) -> Vec<Position> {
    offsets.iter().map(|offset| Position { segment, offset: *offset }).collect()
}

/// A usual batch; a huge one gives its memory back.
const BUFFER_KEPT_BYTES: usize = 4 << 20;
