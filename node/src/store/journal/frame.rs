//! The bytes of headers, frames, trailers and footers. Enter through the `encode`/`decode` pairs
//! and `encode_batch`. Pure: no disk, no clock. Layout in FORMAT.md.
//! Invariant: no length is believed before the checksum over it held and it fits what is there.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::codec::{Block, Chain, Fields, NUMBER_MAX, SegmentId, checked, digest, is_zero};
use super::{Body, EventFrame, JournalError};

/// First block of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    pub version: u32,
    pub id: SegmentId,
    pub number: u64,
    pub file_bytes: u64,
    /// Where the chain stood before this segment.
    pub before: Chain,
}

/// Last block of a segment file, written when it is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    pub number: u64,
    pub first_seq: u64,
    /// Where the chain stood after this segment; its hash is the root over all before it.
    pub after: Chain,
    pub events: u64,
    pub data_end: u64,
    /// Checksum of the table of events.
    pub events_crc: u32,
    pub samples: Vec<Sample>,
}

/// A batch's place, to seek by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    pub first_seq: u64,
    pub offset: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub number: u64,
    pub first_seq: u64,
    pub count: u32,
    /// From the header's first to the trailer's last byte, without padding.
    pub bytes: u64,
    /// Its own offset, so that a misplaced write is not read as this batch.
    pub offset: u64,
    pub previous: [u8; 32],
    pub last_durable: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventHeader {
    pub seq: u64,
    pub meta_bytes: u32,
    pub body_bytes: u32,
    pub meta_crc: u32,
    pub body_crc: u32,
    pub body_digest: [u8; 32],
}

/// A batch written into a buffer.
#[derive(Debug)]
pub struct Encoded {
    pub after: Chain,
    pub offsets: Vec<u64>,
}

impl SegmentHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Block::new(SEGMENT_MAGIC);
        out.u32(self.version).array(&self.id.0).u64(self.number).u64(self.file_bytes);
        out.chain(&self.before);
        out.finish(SEGMENT_HEADER_BYTES, &self.id)
    }

    /// `None` when it is not a header. The version is for the caller to judge: the places of id,
    /// version and checksum are the same in every format to come.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes.get(..SEGMENT_HEADER_BYTES)?);
        fields.magic(SEGMENT_MAGIC)?;
        let version = fields.u32()?;
        let id = SegmentId(fields.array()?);
        checked(bytes, SEGMENT_HEADER_BYTES, &id)?;
        let (number, file_bytes) = (fields.u64()?, fields.u64()?);
        let before = fields.chain()?;
        Some(Self { version, id, number, file_bytes, before })
    }
}

impl Footer {
    pub fn encode(&self, id: &SegmentId) -> Vec<u8> {
        let mut out = Block::new(FOOTER_MAGIC);
        out.u64(self.number).u64(self.first_seq).chain(&self.after);
        out.u64(self.events).u64(self.data_end).u32(self.events_crc);
        let samples = self.samples.iter().take(SAMPLES_MAX);
        out.u32(samples.len() as u32);
        for sample in samples {
            out.u64(sample.first_seq).u64(sample.offset);
        }
        out.finish(FOOTER_BYTES, id)
    }

    pub fn decode(bytes: &[u8], id: &SegmentId) -> Option<Self> {
        let mut fields = Fields(checked(bytes, FOOTER_BYTES, id)?);
        fields.magic(FOOTER_MAGIC)?;
        let (number, first_seq) = (fields.u64()?, fields.u64()?);
        let after = fields.chain()?;
        let (events, data_end) = (fields.u64()?, fields.u64()?);
        let events_crc = fields.u32()?;
        let count = fields.u32()? as usize;
        if count > SAMPLES_MAX || first_seq > NUMBER_MAX || events > NUMBER_MAX {
            return None;
        }
        let mut samples = Vec::with_capacity(count);
        for _ in 0..count {
            samples.push(Sample { first_seq: fields.u64()?, offset: fields.u64()? });
        }
        Some(Self { number, first_seq, after, events, data_end, events_crc, samples })
    }
}

/// The table of a sealed segment: where each of its events begins, in their order.
pub fn encode_table(offsets: &[u32]) -> Vec<u8> {
    offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect()
}

/// Where the table stands, between the last batch and the footer.
pub fn table_offset(data_end: u64) -> u64 {
    align(data_end)
}

/// Length of a table.
pub fn table_bytes(events: u64) -> u64 {
    events * TABLE_ENTRY_BYTES
}

impl BatchHeader {
    pub fn encode(&self, id: &SegmentId) -> Vec<u8> {
        let mut out = Block::new(BATCH_MAGIC);
        out.array(&id.0).u64(self.number).u64(self.first_seq).u32(self.count);
        out.u64(self.bytes).u64(self.offset).array(&self.previous).u64(self.last_durable);
        out.finish(BATCH_HEADER_BYTES, id)
    }

    /// `None` unless a header of this segment for exactly this offset stands here, and its
    /// length is one that a writer of ours could have written.
    pub fn decode(bytes: &[u8], id: &SegmentId, offset: u64) -> Option<Self> {
        let mut fields = Fields(checked(bytes, BATCH_HEADER_BYTES, id)?);
        fields.magic(BATCH_MAGIC)?;
        if fields.array()? != id.0 {
            return None;
        }
        let header = Self {
            number: fields.u64()?,
            first_seq: fields.u64()?,
            count: fields.u32()?,
            bytes: fields.u64()?,
            offset: fields.u64()?,
            previous: fields.array()?,
            last_durable: fields.u64()?,
        };
        let sane = header.offset == offset
            && header.first_seq <= NUMBER_MAX
            && header.number <= NUMBER_MAX
            && header.bytes >= (BATCH_HEADER_BYTES + TRAILER_BYTES) as u64
            && header.bytes <= BATCH_BYTES_MAX
            && header.count > 0
            && header.count <= BATCH_EVENTS_MAX
            && header.last_durable.checked_add(1) == Some(header.number);
        sane.then_some(header)
    }

    /// Last sequence number of the batch.
    pub fn last_seq(&self) -> u64 {
        self.first_seq + u64::from(self.count) - 1
    }
}

impl EventHeader {
    pub fn encode(&self, id: &SegmentId) -> Vec<u8> {
        let mut out = Block::bare();
        out.u64(self.seq).u32(self.meta_bytes).u32(self.body_bytes);
        out.u32(self.meta_crc).u32(self.body_crc).array(&self.body_digest);
        out.finish(EVENT_HEADER_BYTES, id)
    }

    pub fn decode(bytes: &[u8], id: &SegmentId) -> Option<Self> {
        let mut fields = Fields(checked(bytes, EVENT_HEADER_BYTES, id)?);
        let header = Self {
            seq: fields.u64()?,
            meta_bytes: fields.u32()?,
            body_bytes: fields.u32()?,
            meta_crc: fields.u32()?,
            body_crc: fields.u32()?,
            body_digest: fields.array()?,
        };
        let sane = header.meta_bytes <= META_BYTES_MAX as u32
            && header.body_bytes <= BODY_BYTES_MAX as u32;
        sane.then_some(header)
    }

    /// Header, meta and body together.
    pub fn frame_bytes(&self) -> u64 {
        EVENT_HEADER_BYTES as u64 + u64::from(self.meta_bytes) + u64::from(self.body_bytes)
    }

    /// Whether this is the body that was written.
    pub fn holds(&self, id: &SegmentId, body: &[u8]) -> bool {
        id.crc(body) == self.body_crc && digest(body) == self.body_digest
    }

    /// Judges what stands where the body was.
    pub fn judge(&self, id: &SegmentId, body: Bytes) -> Body {
        if body.is_empty() {
            return Body::Empty;
        }
        if self.holds(id, &body) {
            return Body::Present(body);
        }
        if is_zero(&body) { Body::Erased } else { Body::Damaged }
    }
}

/// Appends a whole batch, padding excluded, to `out`. The caller has checked the limits.
pub fn encode_batch(
    out: &mut Vec<u8>,
    id: &SegmentId,
    offset: u64,
    before: &Chain,
    frames: &[EventFrame],
) -> Encoded {
    let count = frames.len() as u32;
    let header = BatchHeader {
        number: before.batch + 1,
        first_seq: before.seq + 1,
        count,
        bytes: batch_bytes(frames),
        offset,
        previous: before.hash,
        last_durable: before.batch,
    };
    let mut chain = BatchHash::new();
    let header_bytes = header.encode(id);
    chain.update(&header_bytes);
    out.extend_from_slice(&header_bytes);
    let offsets = event_offsets(offset, frames);
    for (seq, frame) in (header.first_seq..).zip(frames) {
        let event = EventHeader {
            seq,
            meta_bytes: frame.meta.len() as u32,
            body_bytes: frame.body.len() as u32,
            meta_crc: id.crc(&frame.meta),
            body_crc: id.crc(&frame.body),
            body_digest: digest(&frame.body),
        };
        let event_bytes = event.encode(id);
        chain.update(&event_bytes);
        chain.update(&frame.meta);
        out.extend_from_slice(&event_bytes);
        out.extend_from_slice(&frame.meta);
        out.extend_from_slice(&frame.body);
    }
    let hash = chain.finish();
    out.extend_from_slice(&encode_trailer(header.number, &hash, id));
    Encoded { after: Chain { batch: header.number, seq: header.last_seq(), hash }, offsets }
}

/// Where each event of a batch at `offset` begins.
pub fn event_offsets(offset: u64, frames: &[EventFrame]) -> Vec<u64> {
    let mut next = offset + BATCH_HEADER_BYTES as u64;
    let mut offsets = Vec::with_capacity(frames.len());
    for frame in frames {
        offsets.push(next);
        next += frame_bytes(frame);
    }
    offsets
}

/// Length of a batch without padding.
pub fn batch_bytes(frames: &[EventFrame]) -> u64 {
    let events: u64 = frames.iter().map(frame_bytes).sum();
    (BATCH_HEADER_BYTES + TRAILER_BYTES) as u64 + events
}

/// Refuses a batch that a reader of ours would not believe.
pub fn check_limits(frames: &[EventFrame]) -> Result<(), JournalError> {
    let refuse = |what, found: usize, max: u64| {
        Err(JournalError::TooLarge { what, found: found as u64, max })
    };
    if frames.is_empty() {
        return Err(JournalError::EmptyBatch);
    }
    if frames.len() as u64 > u64::from(BATCH_EVENTS_MAX) {
        return refuse("event count of a batch", frames.len(), u64::from(BATCH_EVENTS_MAX));
    }
    for frame in frames {
        if frame.meta.len() > META_BYTES_MAX {
            return refuse("meta of an event", frame.meta.len(), META_BYTES_MAX as u64);
        }
        if frame.body.len() > BODY_BYTES_MAX {
            return refuse("body of an event", frame.body.len(), BODY_BYTES_MAX as u64);
        }
    }
    let bytes = batch_bytes(frames);
    if bytes > BATCH_BYTES_MAX {
        return refuse("length of a batch", bytes as usize, BATCH_BYTES_MAX);
    }
    Ok(())
}

pub fn encode_trailer(number: u64, hash: &[u8; 32], id: &SegmentId) -> Vec<u8> {
    let mut out = Block::bare();
    out.u64(number).array(hash);
    out.finish(TRAILER_BYTES, id)
}

/// Batch number and hash.
pub fn decode_trailer(bytes: &[u8], id: &SegmentId) -> Option<(u64, [u8; 32])> {
    let mut fields = Fields(checked(bytes, TRAILER_BYTES, id)?);
    Some((fields.u64()?, fields.array()?))
}

/// The hash that links batches: header, event headers and metas; bodies through their digests.
pub struct BatchHash(Sha256);

impl BatchHash {
    pub fn new() -> Self {
        Self(Sha256::new_with_prefix(HASH_DOMAIN))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// The next offset at which a batch may begin.
pub fn align(offset: u64) -> u64 {
    offset.next_multiple_of(BATCH_ALIGN)
}

fn frame_bytes(frame: &EventFrame) -> u64 {
    (EVENT_HEADER_BYTES + frame.meta.len() + frame.body.len()) as u64
}

pub const FORMAT_VERSION: u32 = 1;
pub const SEGMENT_HEADER_BYTES: usize = 512;
pub const FOOTER_BYTES: usize = 2048;
pub const BATCH_HEADER_BYTES: usize = 128;
pub const EVENT_HEADER_BYTES: usize = 64;
pub const TRAILER_BYTES: usize = 44;
pub const TABLE_ENTRY_BYTES: u64 = 4;
/// Batches begin at sectors: a torn write never touches the sector of the batch before, and the
/// search for a later header has few places to look at.
pub const BATCH_ALIGN: u64 = 512;
/// Samples that fit a footer beside its fields.
pub const SAMPLES_MAX: usize = 120;

/// A meta holds headers and statements, not content.
pub const META_BYTES_MAX: usize = 4 << 20;
/// Above the largest payload on the wire, with room for what the store wraps around it.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// More would hold up every caller of the group commit for too long.
pub const BATCH_BYTES_MAX: u64 = 64 << 20;
pub const BATCH_EVENTS_MAX: u32 = 65_536;

const SEGMENT_MAGIC: &[u8; 8] = b"rlysegmt";
const FOOTER_MAGIC: &[u8; 8] = b"rlyfootr";
const BATCH_MAGIC: &[u8; 8] = b"rlybatch";
const HASH_DOMAIN: &[u8] = b"relay journal batch v1\n";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn chains() -> impl Strategy<Value = Chain> {
        (0..=NUMBER_MAX, 0..=NUMBER_MAX, any::<[u8; 32]>()).prop_map(|(batch, seq, hash)| Chain {
            batch,
            seq,
            hash,
        })
    }

    proptest! {
        /// Every pair gives back what was put in, and no single flipped bit is believed.
        #[test]
        fn segment_header_round_trip(
            id: [u8; 16], number: u64, file_bytes: u64, before in chains(), bit in 0usize..4096,
        ) {
            let id = SegmentId(id);
            let header = SegmentHeader { version: 1, id, number, file_bytes, before };
            let mut bytes = header.encode();
            prop_assert_eq!(SegmentHeader::decode(&bytes), Some(header));
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(SegmentHeader::decode(&bytes), None);
        }

        #[test]
        fn footer_round_trip(
            id: [u8; 16], first_seq in 0..=NUMBER_MAX, after in chains(),
            places in prop::collection::vec((any::<u64>(), any::<u64>()), 0..SAMPLES_MAX),
            events_crc: u32,
            bit in 0usize..FOOTER_BYTES * 8,
        ) {
            let id = SegmentId(id);
            let samples = places.into_iter()
                .map(|(first_seq, offset)| Sample { first_seq, offset }).collect();
            let (events, data_end) = (9, 1024);
            let footer =
                Footer { number: 7, first_seq, after, events, data_end, events_crc, samples };
            let mut bytes = footer.encode(&id);
            prop_assert_eq!(bytes.len(), FOOTER_BYTES);
            prop_assert_eq!(Footer::decode(&bytes, &id), Some(footer));
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Footer::decode(&bytes, &id), None);
        }

        #[test]
        fn batch_header_round_trip(
            id: [u8; 16], other: [u8; 16], number in 1..=NUMBER_MAX, first_seq in 0..=NUMBER_MAX,
            count in 1u32..BATCH_EVENTS_MAX, bytes in 172..BATCH_BYTES_MAX, offset: u64,
            previous: [u8; 32], bit in 0usize..BATCH_HEADER_BYTES * 8,
        ) {
            let (id, other) = (SegmentId(id), SegmentId(other));
            let last_durable = number - 1;
            let header =
                BatchHeader { number, first_seq, count, bytes, offset, previous, last_durable };
            let mut bytes = header.encode(&id);
            prop_assert_eq!(BatchHeader::decode(&bytes, &id, offset), Some(header));
            // Another place or another segment's checksum seed: not this batch.
            prop_assert_eq!(BatchHeader::decode(&bytes, &id, offset ^ 512), None);
            prop_assume!(other != id);
            prop_assert_eq!(BatchHeader::decode(&bytes, &other, offset), None);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(BatchHeader::decode(&bytes, &id, offset), None);
        }

        #[test]
        fn event_round_trip(
            id: [u8; 16], seq: u64, meta: Vec<u8>, body: Vec<u8>,
            bit in 0usize..EVENT_HEADER_BYTES * 8,
        ) {
            let id = SegmentId(id);
            let header = EventHeader {
                seq,
                meta_bytes: meta.len() as u32,
                body_bytes: body.len() as u32,
                meta_crc: id.crc(&meta),
                body_crc: id.crc(&body),
                body_digest: digest(&body),
            };
            let mut bytes = header.encode(&id);
            prop_assert_eq!(EventHeader::decode(&bytes, &id), Some(header));
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(EventHeader::decode(&bytes, &id), None);
        }

        /// Outside bytes never panic, whatever they are.
        #[test]
        fn arbitrary_bytes_are_refused(bytes: Vec<u8>, id: [u8; 16]) {
            let id = SegmentId(id);
            prop_assert_eq!(SegmentHeader::decode(&bytes), None);
            prop_assert_eq!(Footer::decode(&bytes, &id), None);
            prop_assert_eq!(BatchHeader::decode(&bytes, &id, 512), None);
            prop_assert_eq!(EventHeader::decode(&bytes, &id), None);
            prop_assert_eq!(decode_trailer(&bytes, &id), None);
        }
    }

    /// A length above the limit is refused though its checksum holds, before anything is sized
    /// by it.
    #[test]
    fn lengths_above_the_limit_are_not_believed() {
        let id = SegmentId([7; 16]);
        let header = BatchHeader {
            number: 1,
            first_seq: 1,
            count: 1,
            bytes: BATCH_BYTES_MAX + 1,
            offset: 512,
            previous: [0; 32],
            last_durable: 0,
        };
        assert_eq!(BatchHeader::decode(&header.encode(&id), &id, 512), None);
        let event = EventHeader {
            seq: 1,
            meta_bytes: 1,
            body_bytes: BODY_BYTES_MAX as u32 + 1,
            meta_crc: 0,
            body_crc: 0,
            body_digest: [0; 32],
        };
        assert_eq!(EventHeader::decode(&event.encode(&id), &id), None);
    }

    /// Zeros mean free: no zeroed block is ever a valid one.
    #[test]
    fn zeros_are_never_a_frame() {
        let zeros = [0u8; FOOTER_BYTES];
        let id = SegmentId([0; 16]);
        assert_eq!(SegmentHeader::decode(&zeros), None);
        assert_eq!(Footer::decode(&zeros, &id), None);
        assert_eq!(BatchHeader::decode(&zeros, &id, 0), None);
        let id = SegmentId([1; 16]);
        assert_eq!(EventHeader::decode(&zeros, &id), None);
        assert_eq!(decode_trailer(&zeros, &id), None);
    }
}
