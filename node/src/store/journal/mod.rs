//! The journal: append-only segment files, the node's truth. Enter through `Journal::create` or
//! `Journal::open`; read through `Journal::reader`. It uses a disk only through `Io`, runs no
//! thread and knows no clock. Byte layout: FORMAT.md beside this file.
//! Invariant: `append` answers `Ok` only for what survives a power cut, and nothing is read,
//! answered or overwritten beyond the durable sequence.

mod check;
mod codec;
mod error;
mod frame;
mod io;
mod mark;
mod open;
mod reader;
mod recover;
mod sectors;
mod segment;
mod simdisk;
mod siminode;
mod survey;
mod window;
mod writer;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use bytes::Bytes;

pub use check::{BodyState, Found, Seen};
pub use error::{Damage, JournalError};
pub use frame::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, BODY_BYTES_MAX, META_BYTES_MAX};
pub use io::{DiskSpace, Io, IoFile, RealIo, is_full, is_short};
pub use mark::MARK_NAME;
pub use open::{Recovered, TailCut};
pub use reader::{JournalReader, SegmentReport};
pub use sectors::Sectors;
pub use segment::{PREPARED_MAX, Preparation, Prepared, segment_name};
pub use simdisk::{Counters, OpKind, SimDisk};
pub use survey::{Survey, survey};
pub use writer::{Appended, Journal, Plan};

/// Where the journal lives and how large its files are.
#[derive(Debug, Clone)]
pub struct JournalSettings {
    pub dir: PathBuf,
    /// Length of a segment file; a batch that needs more gets a segment of its own length.
    pub segment_bytes: u64,
}

/// One event to append. The chain of hashes covers `meta` itself, but `body` only by its digest,
/// so that a body can be erased in place and the chain still verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFrame {
    pub meta: Bytes,
    pub body: Bytes,
}

/// Where an event's frame begins. Ordered as the events are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub segment: u64,
    pub offset: u64,
}

impl Position {
    /// Sixteen bytes that sort as the positions do.
    pub fn to_bytes(self) -> [u8; 16] {
        ((u128::from(self.segment) << 64) | u128::from(self.offset)).to_be_bytes()
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let [s0, s1, s2, s3, s4, s5, s6, s7, o0, o1, o2, o3, o4, o5, o6, o7] = bytes;
        Self {
            segment: u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            offset: u64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]),
        }
    }
}

/// One event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    pub seq: u64,
    pub meta: Bytes,
    pub body: Body,
}

/// What is left of an event's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The event never had one.
    Empty,
    /// Checksum and digest are right.
    Present(Bytes),
    /// Only zeros are left. Whether that is an erasure or rot, only an event that orders the
    /// erasure can say, and the journal does not read events: the caller decides.
    Erased,
    /// Neither the content nor zeros: an erasure that was cut short if an event orders it, and
    /// damage of this one record otherwise. Again the caller decides.
    Damaged,
}

/// Something outside the segments that proves how far the journal was once durable: the index's
/// synced mark, the anchor, a peer's claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurableMark {
    pub seq: u64,
    /// Hash of the batch that ends with `seq`, where it is known.
    pub batch_hash: Option<[u8; 32]>,
}
