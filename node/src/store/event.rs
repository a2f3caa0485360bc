//! The facts of the journal: one event is one thing that happened here and will not be undone.
//!
//! An event carries all that its projection needs, so that the index can be rebuilt from events
//! alone. The body of an event (the payload of a message) is kept beside it and can be erased in
//! place.

use bytes::Bytes;
use prost::{Message, Oneof};
use relay_proto::v1::AuditRecord;

use crate::store::records::{
    AckRecord, AlarmRecord, ApprovalRecord, BackoffRecord, CaseRow, CheckpointRecord, EntryRecord,
    MessageRecord, NumbersRecord, PeerRecord, ReceiptRecord, RefusedRecord, RequestRecord,
    ScrubRecord, TermRecord,
};

/// One event's meta part.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// When it was decided, by this node's clock.
    #[prost(uint64, tag = "1")]
    pub at_ms: u64,
    /// What happened.
    #[prost(
        oneof = "Fact",
        tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, \
                30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 47, 48"
    )]
    pub fact: Option<Fact>,
}

impl Event {
    /// The sequence of the event whose body this one orders to be erased.
    pub fn erases(&self) -> Option<u64> {
        match &self.fact {
            Some(Fact::Erased(erased)) => Some(erased.seq),
            _ => None,
        }
    }
}

/// What happened.
#[derive(Clone, PartialEq, Oneof)]
pub enum Fact {
    /// A case system's message was taken. Body: the payload.
    #[prost(message, tag = "2")]
    Submitted(Submitted),
    /// A peer's message was taken. Body: the payload.
    #[prost(message, tag = "3")]
    Arrived(Arrived),
    /// A verified header was refused.
    #[prost(message, tag = "4")]
    Refused(Refused),
    /// Receipts of a peer, and the checkpoint that covers them.
    #[prost(message, tag = "5")]
    ReceiptsRecorded(ReceiptsRecorded),
    /// A peer has receipts durably.
    #[prost(message, tag = "6")]
    HaveRecorded(HaveRecorded),
    /// A message was taken by a case system or a named officer.
    #[prost(message, tag = "7")]
    Acknowledged(Acknowledged),
    /// An entry waits, and why.
    #[prost(message, tag = "8")]
    EntryDeferred(EntryChanged),
    /// An entry's time passed; with the failure's receipt.
    #[prost(message, tag = "9")]
    EntryExpired(EntryChanged),
    /// A peer's back-off.
    #[prost(message, tag = "10")]
    BackoffSaved(BackoffSaved),
    /// A peer was added, verified, suspended or got a newer card.
    #[prost(message, tag = "11")]
    PeerChanged(PeerRecord),
    /// A peer was removed.
    #[prost(message, tag = "12")]
    PeerRemoved(PeerRemoved),
    /// Something that an operator must look at.
    #[prost(message, tag = "13")]
    Alarmed(AlarmRecord),
    /// The index was proven durable up to this sequence.
    #[prost(message, tag = "14")]
    IndexMark(IndexMark),
    /// The last checkpoint that was signed.
    #[prost(message, tag = "15")]
    Anchor(Anchor),
    /// The tail of an interrupted write was cut off.
    #[prost(message, tag = "16")]
    TailCut(TailCut),
    /// A body is to be erased; written before the first byte goes.
    #[prost(message, tag = "17")]
    Erased(Erased),
    /// The store was made.
    #[prost(message, tag = "18")]
    Created(Created),
    /// A duplicate arrived: its receipts are owed once more.
    #[prost(message, tag = "19")]
    OwedAgain(OwedAgain),
    /// A snapshot of the index is on disk.
    #[prost(message, tag = "30")]
    Snapshotted(Snapshotted),
    /// A peer holds a checkpoint of ours that this store does not bear out.
    #[prost(message, tag = "34")]
    LogClaimed(LogClaimed),
    /// A log that lost leaves ended, another one begins.
    #[prost(message, tag = "31")]
    LogSucceeded(LogSucceeded),
    /// A receipt of an ended log became a leaf of the open one.
    #[prost(message, tag = "32")]
    LeafMoved(LeafMoved),
    /// A message that is here came again, because our log lost a receipt about it.
    #[prost(message, tag = "33")]
    MessageRecovered(MessageRecord),
    /// An operator took the card with a peer's next log.
    #[prost(message, tag = "35")]
    RollbackAccepted(RollbackAccepted),
    /// An alarm ended: an operator's word, or what it asked for was done.
    #[prost(message, tag = "36")]
    AlarmCleared(AlarmCleared),
    /// The scrub ended a round, or a stop cut it off.
    #[prost(message, tag = "37")]
    Scrubbed(ScrubRecord),
    /// This unit has a card that it did not have before.
    #[prost(message, tag = "38")]
    CardKept(CardKept),
    /// Of a case: how far the time of something due has run.
    #[prost(message, tag = "39")]
    TermTold(TermRecord),
    /// The command was run for what was told of a term.
    #[prost(message, tag = "40")]
    TermNotified(TermRecord),
    /// A caller read or changed something, or was refused it.
    #[prost(message, tag = "41")]
    Audited(AuditRecord),
    /// A message waits for a second officer. Body: the draft.
    #[prost(message, tag = "47")]
    ApprovalAsked(ApprovalChanged),
    /// It will never be sent.
    #[prost(message, tag = "48")]
    ApprovalDropped(ApprovalChanged),
}

/// A leaf of our own log: a receipt that this node issued.
#[derive(Clone, PartialEq, Message)]
pub struct Leaf {
    /// Position in the log.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// The exact statement bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub statement: Bytes,
    /// Hashes of the subtrees that this leaf completes, itself first.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub hashes: Vec<Bytes>,
    /// The unit that must have it; empty: nobody but our own case system.
    #[prost(string, tag = "4")]
    pub owed_to: String,
    /// Number among the receipts owed to that unit.
    #[prost(uint64, tag = "5")]
    pub owed_number: u64,
    /// Lane of the message.
    #[prost(uint32, tag = "6")]
    pub priority: u32,
    /// The name that the statement commits to.
    #[prost(string, tag = "7")]
    pub actor: String,
    /// The log.
    #[prost(string, tag = "8")]
    pub origin: String,
    /// Header digest of the message.
    #[prost(bytes = "bytes", tag = "9")]
    pub digest: Bytes,
}

/// See [`Fact::Submitted`].
#[derive(Clone, PartialEq, Message)]
pub struct Submitted {
    /// The signed header, encoded.
    #[prost(bytes = "bytes", tag = "1")]
    pub header: Bytes,
    /// Its record; sequence and position are filled in by the projection.
    #[prost(message, optional, tag = "2")]
    pub record: Option<MessageRecord>,
    /// One per recipient.
    #[prost(message, repeated, tag = "3")]
    pub entries: Vec<EntryRecord>,
    /// Key of the caller's request.
    #[prost(bytes = "bytes", tag = "4")]
    pub request_key: Bytes,
    /// Its content.
    #[prost(message, optional, tag = "5")]
    pub request: Option<RequestRecord>,
    /// SubmissionAcceptance.
    #[prost(message, optional, tag = "6")]
    pub leaf: Option<Leaf>,
    /// What it says in its case, if its kind makes one go on.
    #[prost(message, optional, tag = "7")]
    pub case: Option<CaseRow>,
    /// Who sent it.
    #[prost(message, optional, boxed, tag = "8")]
    pub audit: Option<Box<AuditRecord>>,
    /// The second officer's word, where it waited for one.
    #[prost(message, optional, boxed, tag = "9")]
    pub approval: Option<Box<ApprovalRecord>>,
}

/// See [`Fact::ApprovalAsked`].
#[derive(Clone, PartialEq, Message)]
pub struct ApprovalChanged {
    /// As it is afterwards; its place in the journal is filled in by the projection.
    #[prost(message, optional, tag = "1")]
    pub approval: Option<ApprovalRecord>,
    /// Who did it.
    #[prost(message, optional, tag = "2")]
    pub audit: Option<AuditRecord>,
}

/// See [`Fact::Arrived`].
#[derive(Clone, PartialEq, Message)]
pub struct Arrived {
    /// The signed header, encoded.
    #[prost(bytes = "bytes", tag = "1")]
    pub header: Bytes,
    /// Its record.
    #[prost(message, optional, tag = "2")]
    pub record: Option<MessageRecord>,
    /// ContentConsignment.
    #[prost(message, optional, tag = "3")]
    pub leaf: Option<Leaf>,
    /// Which unit's session brought it.
    #[prost(string, tag = "4")]
    pub peer: String,
    /// The number of its transfer.
    #[prost(uint64, tag = "5")]
    pub number: u64,
    /// The numbers that arrived, this one included.
    #[prost(message, optional, tag = "6")]
    pub numbers: Option<NumbersRecord>,
    /// What it says in its case, if its kind makes one go on.
    #[prost(message, optional, tag = "7")]
    pub case: Option<CaseRow>,
}

/// See [`Fact::Refused`].
#[derive(Clone, PartialEq, Message)]
pub struct Refused {
    /// The header and why.
    #[prost(message, optional, tag = "1")]
    pub record: Option<RefusedRecord>,
    /// RelayRejection.
    #[prost(message, optional, tag = "2")]
    pub leaf: Option<Leaf>,
    /// Which unit's session brought it.
    #[prost(string, tag = "3")]
    pub peer: String,
    /// The number of its transfer.
    #[prost(uint64, tag = "4")]
    pub number: u64,
    /// The numbers that arrived.
    #[prost(message, optional, tag = "5")]
    pub numbers: Option<NumbersRecord>,
    /// Header digest.
    #[prost(bytes = "bytes", tag = "6")]
    pub digest: Bytes,
}

/// See [`Fact::ReceiptsRecorded`].
#[derive(Clone, PartialEq, Message)]
pub struct ReceiptsRecorded {
    /// Who sent them.
    #[prost(string, tag = "1")]
    pub peer: String,
    /// The log.
    #[prost(string, tag = "2")]
    pub origin: String,
    /// The checkpoint that covers them.
    #[prost(message, optional, tag = "3")]
    pub checkpoint: Option<CheckpointRecord>,
    /// The receipts.
    #[prost(message, repeated, tag = "4")]
    pub receipts: Vec<RecordedReceipt>,
    /// All of the peer's receipts up to this number are here.
    #[prost(uint64, tag = "5")]
    pub have: u64,
}

/// One received receipt and what it changes.
#[derive(Clone, PartialEq, Message)]
pub struct RecordedReceipt {
    /// Header digest of the message.
    #[prost(bytes = "bytes", tag = "1")]
    pub digest: Bytes,
    /// The receipt.
    #[prost(message, optional, tag = "2")]
    pub receipt: Option<ReceiptRecord>,
    /// The outbox entry as it is afterwards, when the receipt settles one.
    #[prost(message, optional, tag = "3")]
    pub entry: Option<EntryRecord>,
    /// As on the wire.
    #[prost(uint32, tag = "4")]
    pub event: u32,
    /// Keys of what is not owed any more: the message that answers it is delivered.
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub closes: Vec<Bytes>,
}

/// See [`Fact::HaveRecorded`].
#[derive(Clone, PartialEq, Message)]
pub struct HaveRecorded {
    /// Who has them.
    #[prost(string, tag = "1")]
    pub peer: String,
    /// First number that was not confirmed before.
    #[prost(uint64, tag = "2")]
    pub from: u64,
    /// Last number that is confirmed.
    #[prost(uint64, tag = "3")]
    pub up_to: u64,
}

/// See [`Fact::Acknowledged`].
#[derive(Clone, PartialEq, Message)]
pub struct Acknowledged {
    /// Header digest.
    #[prost(bytes = "bytes", tag = "1")]
    pub digest: Bytes,
    /// Who took it, when.
    #[prost(message, optional, tag = "2")]
    pub ack: Option<AckRecord>,
    /// The receipt.
    #[prost(message, optional, tag = "3")]
    pub leaf: Option<Leaf>,
    /// Key of the caller's request.
    #[prost(bytes = "bytes", tag = "4")]
    pub request_key: Bytes,
    /// Its content.
    #[prost(message, optional, tag = "5")]
    pub request: Option<RequestRecord>,
    /// The key under which the message waited for somebody to take it; empty when it does not any
    /// more.
    #[prost(bytes = "bytes", tag = "6")]
    pub unacknowledged_key: Bytes,
    /// Who took it.
    #[prost(message, optional, tag = "7")]
    pub audit: Option<AuditRecord>,
}

/// An outbox entry as it is afterwards.
#[derive(Clone, PartialEq, Message)]
pub struct EntryChanged {
    /// The entry.
    #[prost(message, optional, tag = "1")]
    pub entry: Option<EntryRecord>,
    /// RelayFailure, when it expired.
    #[prost(message, optional, tag = "2")]
    pub leaf: Option<Leaf>,
}

/// See [`Fact::BackoffSaved`].
#[derive(Clone, PartialEq, Message)]
pub struct BackoffSaved {
    /// The peer.
    #[prost(string, tag = "1")]
    pub peer: String,
    /// Its back-off; absent: cleared.
    #[prost(message, optional, tag = "2")]
    pub backoff: Option<BackoffRecord>,
}

/// See [`Fact::RollbackAccepted`].
#[derive(Clone, PartialEq, Message)]
pub struct RollbackAccepted {
    /// The peer.
    #[prost(message, optional, tag = "1")]
    pub peer: Option<PeerRecord>,
    /// Key of caller, verb and request id.
    #[prost(bytes = "bytes", tag = "2")]
    pub request_key: Bytes,
    /// What it stands for.
    #[prost(message, optional, tag = "3")]
    pub request: Option<RequestRecord>,
}

/// See [`Fact::AlarmCleared`].
#[derive(Clone, PartialEq, Message)]
pub struct AlarmCleared {
    /// Sequence of the event that raised it.
    #[prost(uint64, tag = "1")]
    pub seq: u64,
    /// The alarm as it is afterwards.
    #[prost(message, optional, tag = "2")]
    pub alarm: Option<AlarmRecord>,
    /// Key of caller, verb and request id; empty when the node did it.
    #[prost(bytes = "bytes", tag = "3")]
    pub request_key: Bytes,
    /// What it stands for.
    #[prost(message, optional, tag = "4")]
    pub request: Option<RequestRecord>,
}

/// See [`Fact::CardKept`].
#[derive(Clone, PartialEq, Message)]
pub struct CardKept {
    /// The unit.
    #[prost(string, tag = "1")]
    pub unit: String,
    /// The signed card, encoded.
    #[prost(bytes = "bytes", tag = "2")]
    pub card: Bytes,
}

/// See [`Fact::PeerRemoved`].
#[derive(Clone, PartialEq, Message)]
pub struct PeerRemoved {
    /// The unit.
    #[prost(string, tag = "1")]
    pub unit: String,
}

/// See [`Fact::IndexMark`].
#[derive(Clone, PartialEq, Message)]
pub struct IndexMark {
    /// Up to where.
    #[prost(uint64, tag = "1")]
    pub seq: u64,
}

/// See [`Fact::Anchor`].
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

/// See [`Fact::LogClaimed`].
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

/// See [`Fact::LogSucceeded`].
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

/// See [`Fact::LeafMoved`].
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

/// See [`Fact::TailCut`].
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

/// See [`Fact::Erased`].
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

/// See [`Fact::Created`].
#[derive(Clone, PartialEq, Message)]
pub struct Created {
    /// The unit.
    #[prost(string, tag = "1")]
    pub unit: String,
    /// The instance that init made.
    #[prost(bytes = "bytes", tag = "2")]
    pub instance: Bytes,
}

/// See [`Fact::Snapshotted`].
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

/// See [`Fact::OwedAgain`].
#[derive(Clone, PartialEq, Message)]
pub struct OwedAgain {
    /// Who gets them.
    #[prost(string, tag = "1")]
    pub peer: String,
    /// Number of the first; the others follow.
    #[prost(uint64, tag = "2")]
    pub first_number: u64,
    /// Where the receipts lie.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub receipt_keys: Vec<Bytes>,
    /// Lane of the message.
    #[prost(uint32, tag = "4")]
    pub priority: u32,
}
