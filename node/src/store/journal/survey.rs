//! Looks at a whole journal that nobody has open: what is damaged, what can be written back, what
//! the next opening would refuse. Enter through [`survey`], then [`Mend::write`].
//! Invariants: a survey changes nothing; a mend writes bytes that the chain proves to be those that
//! stood there, and no batch is ever touched.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::{Checked, Seen, Source, check_segment};
use super::codec::{Chain, Fields, SegmentId};
use super::error::{at, at_place};
use super::frame::{
    BATCH_HEADER_BYTES, BatchHeader, FOOTER_BYTES, FORMAT_VERSION, Footer, SEGMENT_HEADER_BYTES,
    SegmentHeader, encode_table, table_offset,
};
use super::io::{Io, IoFile};
use super::mark::MarkFile;
use super::recover::{End, judge};
use super::sectors::Sectors;
use super::segment::{SEGMENT_BYTES_MAX, is_prepared, segment_name, segment_number};
use super::{Damage, Found, JournalError, TailCut};

/// What a journal is like.
#[derive(Default)]
pub struct Survey {
    pub segments: u64,
    pub bytes: u64,
    /// The last sequence that can be followed.
    pub last_seq: u64,
    /// What is damaged and cannot be written back.
    pub found: Vec<Found>,
    /// Whether an opening refuses it, once the mends are written.
    pub refused: bool,
    pub mends: Vec<Mend>,
    /// What the next opening cuts off: a write that was never answered.
    pub tail: Option<TailCut>,
    /// The mark file can be read.
    pub marked: bool,
    /// Files that the next opening removes.
    pub prepared: usize,
}

/// Bytes that are known to have stood at a place.
pub struct Mend {
    pub what: Damage,
    pub segment: u64,
    pub path: PathBuf,
    writes: Vec<(u64, Vec<u8>)>,
}

impl Mend {
    /// Writes them, durably.
    pub fn write(&self, io: &dyn Io) -> io::Result<()> {
        let file = io.open(&self.path)?;
        for (offset, bytes) in &self.writes {
            file.write_at(*offset, bytes)?;
        }
        file.sync_data()
    }
}

/// Reads all of a journal. `floor` is how far something outside of it proves that it was durable;
/// `see` is shown every event that can be read.
pub fn survey(
    io: &dyn Io,
    dir: &Path,
    floor: u64,
    see: &mut dyn FnMut(Seen<'_>),
) -> Result<Survey, JournalError> {
    let names = io.list(dir).map_err(at("list directory"))?;
    let last = names.iter().filter_map(|name| segment_number(name)).max().unwrap_or(0);
    let mark = match MarkFile::open(io, dir) {
        Ok((_, mark)) => mark,
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(JournalError::Io { step: "open mark", source }),
    };
    let floor = floor.max(mark.map_or(0, |mark| mark.chain.seq));
    let prepared = names.iter().filter(|name| is_prepared(name)).count();
    let survey = Survey { segments: last, marked: mark.is_some(), prepared, ..Survey::default() };
    let mut work = Work { io, dir, floor, see, chain: Some(Chain::default()), survey };
    for number in 1..=last {
        work.segment(number)?;
    }
    work.survey.last_seq = work.chain.map_or(work.survey.last_seq, |chain| chain.seq);
    Ok(work.survey)
}

struct Work<'a> {
    io: &'a dyn Io,
    dir: &'a Path,
    floor: u64,
    see: &'a mut dyn FnMut(Seen<'_>),
    /// The end of the chain before the next segment, while it is known.
    chain: Option<Chain>,
    survey: Survey,
}

/// A segment's file and what is known of it.
struct Opened {
    file: Arc<dyn IoFile>,
    size: u64,
    header: Option<SegmentHeader>,
    /// The disk does not give its header.
    is_unread: bool,
}

impl Work<'_> {
    fn segment(&mut self, number: u64) -> Result<(), JournalError> {
        let next = self.open(number + 1)?.and_then(|next| next.header).map(|next| next.before);
        let Some(opened) = self.open(number)? else {
            return self.lost(Damage::SegmentMissing, number, next);
        };
        self.survey.bytes += opened.size;
        if opened.size < LEAST_BYTES || opened.size > SEGMENT_BYTES_MAX {
            return self.lost(Damage::SegmentLength, number, next);
        }
        let header = match opened.header {
            Some(header) => header,
            None if opened.is_unread => return self.lost(Damage::Unread, number, next),
            None => match self.rebuilt(number, &opened)? {
                Some(header) => header,
                None => return self.lost(Damage::SegmentHeader, number, next),
            },
        };
        if header.number != number || self.chain.is_some_and(|chain| chain != header.before) {
            self.lost(Damage::Chain, number, next)?;
            if header.number != number {
                return Ok(());
            }
        } else if header.file_bytes != opened.size {
            return self.lost(Damage::SegmentLength, number, next);
        }
        match number < self.survey.segments {
            true => self.sealed(number, opened.file, header, next),
            false => self.newest(opened.file, header),
        }
    }

    /// A segment of which nothing can be read, or that belongs elsewhere.
    fn lost(&mut self, what: Damage, number: u64, next: Option<Chain>) -> Result<(), JournalError> {
        let seq = self.chain.map_or(0, |chain| chain.seq + 1);
        let last_seq = next.map_or(seq, |next| next.seq);
        self.survey.found.push(Found { what, segment: number, offset: 0, seq, last_seq });
        self.survey.refused = true;
        self.chain = next;
        Ok(())
    }

    fn sealed(
        &mut self,
        number: u64,
        file: Arc<dyn IoFile>,
        header: SegmentHeader,
        next: Option<Chain>,
    ) -> Result<(), JournalError> {
        let limit = header.file_bytes - FOOTER_BYTES as u64;
        let mut bytes = vec![0; FOOTER_BYTES];
        read_over(&*file, (number, limit), &mut bytes)?;
        let footer = Footer::decode(&bytes, &header.id).filter(|footer| footer.number == number);
        let after = next.or(footer.as_ref().map(|footer| footer.after));
        // A footer that does not agree with the next segment says nothing.
        let end = footer.filter(|footer| Some(footer.after) == after).map(|footer| footer.data_end);
        let source = Source { file, header, end, next: after };
        let (checked, found) = self.check(&source)?;
        self.chain = after.or(checked.as_ref().and_then(|checked| checked.chain));
        self.judge(&source, checked.as_ref(), found);
        Ok(())
    }

    /// What of the damage to a sealed segment can be written back.
    fn judge(&mut self, source: &Source, checked: Option<&Checked>, found: Vec<Found>) {
        let whole = checked.and_then(|checked| {
            let offsets = checked.offsets.as_ref()?;
            (checked.chain.is_some() && checked.chain == source.next).then_some((checked, offsets))
        });
        let in_frame = |found: &Found| match found.what {
            Damage::Footer | Damage::Padding => true,
            // Behind the batches: writing gives the disk's place bytes again.
            Damage::Unread => whole.is_some_and(|(checked, _)| found.offset >= checked.data_end),
            _ => false,
        };
        let header_is_mended =
            self.survey.mends.iter().any(|mend| mend.segment == source.header.number);
        for found in found {
            match (&whole, found.what) {
                (Some(whole), _) if in_frame(&found) => self.frame(source, whole, found.what),
                (_, Damage::SegmentHeader) if header_is_mended => {}
                _ => {
                    self.survey.refused |= matches!(found.what, Damage::Footer | Damage::Chain);
                    self.survey.found.push(found);
                }
            }
        }
    }

    /// Free bytes, table and footer follow from the batches, which hold to the next segment's
    /// link.
    fn frame(&mut self, source: &Source, whole: &(&Checked, &Vec<u32>), what: Damage) {
        let (header, (checked, offsets)) = (&source.header, whole);
        if self.survey.mends.iter().any(|mend| {
            mend.segment == header.number && !matches!(mend.what, Damage::SegmentHeader)
        }) {
            return;
        }
        let (table, start) = (encode_table(offsets), table_offset(checked.data_end));
        let limit = header.file_bytes - FOOTER_BYTES as u64;
        let footer = Footer {
            number: header.number,
            first_seq: header.before.seq + 1,
            after: source.next.unwrap_or_default(),
            events: checked.events,
            data_end: checked.data_end,
            events_crc: header.id.crc(&table),
            samples: checked.samples.clone(),
        };
        let zeros = |from: u64, to: u64| (from, vec![0; to.saturating_sub(from) as usize]);
        let behind = start + table.len() as u64;
        let writes = vec![
            zeros(checked.data_end, start),
            (start, table),
            zeros(behind, limit),
            (limit, footer.encode(&header.id)),
        ];
        let (segment, path) = (header.number, self.path(header.number));
        self.survey.mends.push(Mend { what, segment, path, writes });
    }

    /// The segment that was written to last: its end decides.
    fn newest(&mut self, file: Arc<dyn IoFile>, header: SegmentHeader) -> Result<(), JournalError> {
        let mut bytes = vec![0; header.file_bytes as usize];
        let lost = read_over(&*file, (header.number, 0), &mut bytes)?;
        if !lost.is_empty() {
            // What is a tail cannot be told, and an opening reads it all.
            let source = Source { file, header, end: None, next: None };
            let (_, found) = self.check(&source)?;
            self.survey.refused = true;
            self.survey.found.extend(found);
            return Ok(());
        }
        let verdict = judge(&bytes, &header, self.floor, self.survey.marked);
        drop(bytes);
        let (end, refusal) = match verdict {
            Ok((walk, end)) => {
                if let End::Cut(tail) = end {
                    let (segment, offset, bytes) = (header.number, tail.offset, tail.bytes);
                    self.survey.tail = Some(TailCut { segment, offset, bytes, hash: tail.hash });
                }
                (Some(walk.data_end), None)
            }
            Err(JournalError::Damage { what, segment, offset, seq }) => {
                let last_seq = self.floor.max(seq);
                (None, Some(Found { what, segment, offset, seq, last_seq }))
            }
            Err(error) => return Err(error),
        };
        let source = Source { file, header, end, next: None };
        let (checked, found) = self.check(&source)?;
        self.survey.refused |= refusal.is_some();
        // Which event in the batch it is, the check says.
        let refusal = refusal.filter(|refusal| {
            let within = |one: &Found| {
                one.offset > refusal.offset && (one.seq..=one.last_seq).contains(&refusal.seq)
            };
            refusal.what != Damage::Batch || !found.iter().any(within)
        });
        let known = |one: &Found| refusal.is_some_and(|refusal| refusal.offset == one.offset);
        self.survey.found.extend(found.iter().filter(|one| !known(one)));
        // The check says which events it touches, the verdict why it is no tail.
        let span = found.iter().find(|one| known(one));
        self.survey.found.extend(refusal.map(|refusal| Found {
            seq: span.map_or(refusal.seq, |span| span.seq),
            last_seq: span.map_or(refusal.last_seq, |span| span.last_seq),
            ..refusal
        }));
        if let Some(chain) = checked.and_then(|checked| checked.chain) {
            self.chain = Some(chain);
        }
        Ok(())
    }

    fn check(&mut self, source: &Source) -> Result<(Option<Checked>, Vec<Found>), JournalError> {
        let mut found = Vec::new();
        let see = &mut self.see;
        let checked = check_segment(source, &mut |_| true, &mut |seen| match seen {
            Seen::Damage(one) => {
                found.push(one);
                see(seen);
            }
            seen => see(seen),
        })?;
        Ok((checked, found))
    }

    /// The header of a segment as it must have been. Its id stands in every batch header too, and
    /// a first batch that follows the chain under this id proves it; all else follows from
    /// elsewhere.
    fn rebuilt(
        &mut self,
        number: u64,
        opened: &Opened,
    ) -> Result<Option<SegmentHeader>, JournalError> {
        let Some(before) = self.chain else { return Ok(None) };
        let mut bytes = vec![0; SEGMENT_HEADER_BYTES + BATCH_HEADER_BYTES];
        read_over(&*opened.file, (number, 0), &mut bytes)?;
        let (head, first) = bytes.split_at_checked(SEGMENT_HEADER_BYTES).unwrap_or_default();
        let follows = |id: &SegmentId| {
            BatchHeader::decode(first, id, SEGMENT_HEADER_BYTES as u64).is_some_and(|first| {
                first.number == before.batch + 1 && first.previous == before.hash
            })
        };
        let stated = [(head, ID_OFFSET), (first, BATCH_ID_OFFSET)];
        let mut ids = stated.into_iter().filter_map(|(block, offset)| {
            Fields(block.get(offset..).unwrap_or_default()).array().map(SegmentId)
        });
        let Some(id) = ids.find(follows) else { return Ok(None) };
        let (version, file_bytes) = (FORMAT_VERSION, opened.size);
        let header = SegmentHeader { version, id, number, file_bytes, before };
        let (path, writes) = (self.path(number), vec![(0, header.encode())]);
        let what = Damage::SegmentHeader;
        self.survey.mends.push(Mend { what, segment: number, path, writes });
        Ok(Some(header))
    }

    fn open(&self, number: u64) -> Result<Option<Opened>, JournalError> {
        let file = match self.io.open(&self.path(number)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at_place("open segment", number, 0)(error)),
        };
        let size = file.size().map_err(at_place("size of segment", number, 0))?;
        let mut bytes = vec![0; SEGMENT_HEADER_BYTES.min(size as usize)];
        let is_unread = !read_over(&*file, (number, 0), &mut bytes)?.is_empty();
        let header = SegmentHeader::decode(&bytes);
        if let Some(SegmentHeader { version: found, number: segment, .. }) = header
            && found != FORMAT_VERSION
        {
            let supported = FORMAT_VERSION;
            return Err(JournalError::NewerFormat { segment, found, supported });
        }
        Ok(Some(Opened { file, size, header, is_unread }))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(segment_name(number))
    }
}

/// Reads at a place of a segment what the disk gives; the rest is zeros. Returns where that begins.
fn read_over(
    file: &dyn IoFile,
    (segment, offset): (u64, u64),
    buffer: &mut [u8],
) -> Result<Vec<u64>, JournalError> {
    let read = Sectors::default().read(file, offset, buffer);
    read.map_err(at_place("read segment", segment, offset))
}

/// Where the id stands in a segment's header, behind magic and version.
const ID_OFFSET: usize = 12;
/// And in a batch's, behind its magic.
const BATCH_ID_OFFSET: usize = 8;

/// A header and a footer.
const LEAST_BYTES: u64 = (SEGMENT_HEADER_BYTES + FOOTER_BYTES) as u64;
