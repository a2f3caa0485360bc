//! What our log, and the journal itself, leave in the journal.

use bytes::Bytes;
use prost::Message;

use crate::store::records::{CheckpointRecord, ReceiptRecord};

/// See [`super::Fact::IndexMark`].
#[derive(Clone, PartialEq, Message)]
pub struct IndexMark {
    /// Up to where.
    #[prost(uint64, tag = "1")]
    pub seq: u64,
}

/// See [`super::Fact::Anchor`].
#[derive(Clone, PartialEq, Message)]
pub struct Anchor {
    /// The log.
    #[prost(string, tag = "1")]
    pub origin: String,
    /// Its size.
    #[prost(uint64, tag = "2")]
    pub size: u64,
    /// Its root.
    #[prost(bytes = "bytes", tag = "3")]
    pub root: Bytes,
}

/// See [`super::Fact::LogClaimed`].
#[derive(Clone, PartialEq, Message)]
pub struct LogClaimed {
    /// The log.
    #[prost(string, tag = "1")]
    pub origin: String,
    /// Who holds the checkpoint.
    #[prost(string, tag = "2")]
    pub peer: String,
    /// Its size.
    #[prost(uint64, tag = "3")]
    pub size: u64,
    /// Its root.
    #[prost(bytes = "bytes", tag = "4")]
    pub root: Bytes,
    /// The signed note.
    #[prost(string, tag = "5")]
    pub note: String,
}

/// See [`super::Fact::LogSucceeded`].
#[derive(Clone, PartialEq, Message)]
pub struct LogSucceeded {
    /// The log that ended.
    #[prost(string, tag = "1")]
    pub old_origin: String,
    /// Its last checkpoint: what is proven of it from now on is proven under this one.
    #[prost(message, optional, tag = "2")]
    pub closing: Option<CheckpointRecord>,
    /// The log that begins.
    #[prost(string, tag = "3")]
    pub new_origin: String,
    /// The signed succession, encoded: the first leaf of the new log.
    #[prost(bytes = "bytes", tag = "4")]
    pub succession: Bytes,
    /// The leaf's hash.
    #[prost(bytes = "bytes", tag = "5")]
    pub leaf_hash: Bytes,
    /// The officers who ordered it.
    #[prost(string, repeated, tag = "6")]
    pub by: Vec<String>,
    /// Units whose numbers go on from the next field: what was numbered and lost is not known.
    #[prost(string, repeated, tag = "7")]
    pub peers: Vec<String>,
    /// No number up to this one is given again.
    #[prost(uint64, tag = "8")]
    pub numbers_from: u64,
}

/// See [`super::Fact::LeafMoved`].
#[derive(Clone, PartialEq, Message)]
pub struct LeafMoved {
    /// Where the receipt lies.
    #[prost(bytes = "bytes", tag = "1")]
    pub receipt_key: Bytes,
    /// The receipt as it is afterwards.
    #[prost(message, optional, tag = "2")]
    pub receipt: Option<ReceiptRecord>,
    /// Hashes of the subtrees that the leaf completes, itself first.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub hashes: Vec<Bytes>,
    /// The unit that must have it; empty: nobody, or it has it.
    #[prost(string, tag = "4")]
    pub owed_to: String,
    /// Number among the receipts owed to that unit.
    #[prost(uint64, tag = "5")]
    pub owed_number: u64,
    /// The number under which it waited before; 0: it did not.
    #[prost(uint64, tag = "6")]
    pub owed_before: u64,
    /// Lane of the message.
    #[prost(uint32, tag = "7")]
    pub priority: u32,
}

/// See [`super::Fact::TailCut`].
#[derive(Clone, PartialEq, Message)]
pub struct TailCut {
    /// Segment number.
    #[prost(uint64, tag = "1")]
    pub segment: u64,
    /// Where the cut begins.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    /// How many bytes held something.
    #[prost(uint64, tag = "3")]
    pub bytes: u64,
    /// SHA-256 of them.
    #[prost(bytes = "bytes", tag = "4")]
    pub hash: Bytes,
}

/// See [`super::Fact::Erased`].
#[derive(Clone, PartialEq, Message)]
pub struct Erased {
    /// Sequence of the event whose body goes.
    #[prost(uint64, tag = "1")]
    pub seq: u64,
    /// Header digest of the message.
    #[prost(bytes = "bytes", tag = "2")]
    pub digest: Bytes,
    /// Rule or order.
    #[prost(string, tag = "3")]
    pub rule: String,
    /// Who.
    #[prost(string, tag = "4")]
    pub by: String,
    /// Where the event lies.
    #[prost(bytes = "bytes", tag = "5")]
    pub position: Bytes,
    /// SHA-256 of each attachment that it listed.
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub attachments: Vec<Bytes>,
}

/// See [`super::Fact::Created`].
#[derive(Clone, PartialEq, Message)]
pub struct Created {
    /// The unit.
    #[prost(string, tag = "1")]
    pub unit: String,
    /// The instance that init made.
    #[prost(bytes = "bytes", tag = "2")]
    pub instance: Bytes,
}

/// See [`super::Fact::Snapshotted`].
#[derive(Clone, PartialEq, Message)]
pub struct Snapshotted {
    /// It holds the effects of all events up to this one, and of some later ones.
    #[prost(uint64, tag = "1")]
    pub seq: u64,
    /// SHA-256 of the file without its last 32 bytes, which are this hash.
    #[prost(bytes = "bytes", tag = "2")]
    pub hash: Bytes,
    /// Length of the file.
    #[prost(uint64, tag = "3")]
    pub bytes: u64,
    /// Pairs in it.
    #[prost(uint64, tag = "4")]
    pub pairs: u64,
}
