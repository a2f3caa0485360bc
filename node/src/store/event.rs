//! The facts of the journal: one event is one thing that happened here and will not be undone.
//!
//! An event carries all that its projection needs, so that the index can be rebuilt from events
//! alone. The body of an event (the payload of a message) is kept beside it and can be erased in
//! place.

mod log;
mod messages;
mod units;

use bytes::Bytes;
use prost::{Message, Oneof};
use relay_proto::v1::AuditRecord;

pub use self::{
    log::{
        Anchor, Created, Erased, IndexMark, LeafMoved, LogClaimed, LogSucceeded, Snapshotted,
        TailCut,
    },
    messages::{
        Acknowledged, ApprovalChanged, Arrived, EntryChanged, HaveRecorded, OwedAgain,
        ReceiptsRecorded, RecordedReceipt, Refused, Submitted,
    },
    units::{AlarmCleared, BackoffSaved, CardKept, PeerRemoved, RollbackAccepted},
};
use crate::store::records::{AlarmRecord, MessageRecord, PeerRecord, ScrubRecord, TermRecord};

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
