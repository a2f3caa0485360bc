//! What messages, receipts and outbox entries leave in the journal.

use bytes::Bytes;
use prost::Message;
use relay_proto::v1::AuditRecord;

use super::Leaf;
use crate::store::records::{
    AckRecord, ApprovalRecord, CaseRow, CheckpointRecord, EntryRecord, MessageRecord,
    NumbersRecord, ReceiptRecord, RefusedRecord, RequestRecord,
};

/// See [`super::Fact::Submitted`].
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

/// See [`super::Fact::ApprovalAsked`].
#[derive(Clone, PartialEq, Message)]
pub struct ApprovalChanged {
    /// As it is afterwards; its place in the journal is filled in by the projection.
    #[prost(message, optional, tag = "1")]
    pub approval: Option<ApprovalRecord>,
    /// Who did it.
    #[prost(message, optional, tag = "2")]
    pub audit: Option<AuditRecord>,
}

/// See [`super::Fact::Arrived`].
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

/// See [`super::Fact::Refused`].
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

/// See [`super::Fact::ReceiptsRecorded`].
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

/// See [`super::Fact::HaveRecorded`].
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

/// See [`super::Fact::Acknowledged`].
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

/// See [`super::Fact::OwedAgain`].
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
