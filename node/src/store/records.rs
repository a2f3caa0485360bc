//! What the index holds, one type a tree, and how keys are made.
//!
//! Values are protobuf because they must survive upgrades; they are our own and never leave the
//! node. Invariant: every value follows from one journal event alone, so replaying an event twice
//! changes nothing.

mod alarms;
mod approval;
pub mod case;
pub mod key;
mod said;
mod term;
mod units;

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use relay_proto::{
    attachment::Item,
    envelope::Priority,
    ids::{Digest, MessageId},
    reason::Reason,
};

pub use alarms::{AlarmRecord, DamageRecord, ScrubRecord};
pub use approval::ApprovalRecord;
pub use case::{CaseRow, MoveRecord};
pub use said::SaidRecord;
pub use term::TermRecord;
pub use units::{
    BackoffRecord, CheckpointRecord, LostLeaves, NumbersRecord, PeerRecord, RefusedRecord,
};

/// A message of the outbox or the inbox, without content. Key: header digest.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct MessageRecord {
    /// 1 out, 2 in.
    #[prost(uint32, tag = "1")]
    pub direction: u32,
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub message_id: Bytes,
    /// The sending unit.
    #[prost(string, tag = "3")]
    pub from: String,
    /// The receiving units.
    #[prost(string, repeated, tag = "4")]
    pub to: Vec<String>,
    /// The network.
    #[prost(string, tag = "5")]
    pub profile: String,
    /// As on the wire.
    #[prost(uint32, tag = "6")]
    pub priority: u32,
    /// As on the wire.
    #[prost(uint32, tag = "7")]
    pub kind: u32,
    /// Milliseconds since the epoch.
    #[prost(uint64, tag = "8")]
    pub created_at_ms: u64,
    /// Milliseconds since the epoch.
    #[prost(uint64, tag = "9")]
    pub expires_at_ms: u64,
    /// When it was stored here.
    #[prost(uint64, tag = "10")]
    pub stored_at_ms: u64,
    /// Sequence of the event that stored it.
    #[prost(uint64, tag = "11")]
    pub seq: u64,
    /// Where that event lies in the journal.
    #[prost(bytes = "bytes", tag = "12")]
    pub position: Bytes,
    /// Size of header and payload.
    #[prost(uint32, tag = "13")]
    pub wire_bytes: u32,
    /// SHA-256 of the header bytes.
    #[prost(bytes = "bytes", tag = "14")]
    pub digest: Bytes,
    /// Which of the sender's keys signed.
    #[prost(bytes = "bytes", tag = "15")]
    pub key_id: Bytes,
    /// Reserved: the content key under the local storage key.
    #[prost(bytes = "bytes", tag = "16")]
    pub storage_wrap: Bytes,
    /// The case that the message belongs to.
    #[prost(bytes = "bytes", tag = "17")]
    pub case_id: Bytes,
    /// The arrival could not be judged by time: the clock was not trusted.
    #[prost(bool, tag = "18")]
    pub clock_unverified: bool,
    /// The lane in which it is carried here when its sender is over a quota; 0: its priority's.
    #[prost(uint32, tag = "19")]
    pub carried: u32,
    /// A drill.
    #[prost(bool, tag = "20")]
    pub exercise: bool,
    /// The account that sent it; empty: it came from another unit.
    #[prost(string, tag = "21")]
    pub account: String,
    /// Taken again after our log lost its receipt: it may have been acted on before.
    #[prost(bool, tag = "30")]
    pub recovered: bool,
    /// The attachments that it lists.
    #[prost(message, repeated, tag = "31")]
    pub attachments: Vec<ListedRecord>,
    /// What others are judged by.
    #[prost(message, optional, tag = "40")]
    pub said: Option<SaidRecord>,
}

impl MessageRecord {
    /// Sent by our unit.
    pub const OUT: u32 = 1;
    /// Received by our unit.
    pub const IN: u32 = 2;

    /// The header digest.
    pub fn digest(&self) -> Digest {
        digest_of(&self.digest)
    }

    /// Whether our unit sent it.
    pub fn is_out(&self) -> bool {
        self.direction == Self::OUT
    }

    /// The message id, when the record is sound.
    pub fn message_id(&self) -> Option<MessageId> {
        MessageId::from_bytes(&self.message_id).ok()
    }

    /// How urgent its sender calls it.
    pub fn priority(&self) -> Priority {
        priority_of(self.priority)
    }

    /// The lane in which it is carried here.
    pub fn lane(&self) -> Priority {
        priority_of(if self.carried == 0 { self.priority } else { self.carried })
    }
}

/// An attachment that a message lists.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ListedRecord {
    /// Of its bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub sha256: Bytes,
    /// How many they are.
    #[prost(uint64, tag = "2")]
    pub size: u64,
}

impl ListedRecord {
    /// Of a list.
    pub fn of(item: &Item) -> Self {
        Self { sha256: Bytes::copy_from_slice(item.sha256.as_bytes()), size: item.size }
    }

    /// As the list has it.
    pub fn item(&self) -> Item {
        Item { sha256: digest_of(&self.sha256), size: self.size }
    }
}

/// The states of an outbox entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum EntryState {
    /// Waits for its turn.
    Queued = 0,
    /// Waits for an instant: the reason says why.
    Deferred = 1,
    /// Waits for the operator: the peer is suspended.
    Held = 2,
    /// ContentConsignment is here.
    Delivered = 3,
    /// RelayRejection is here.
    Refused = 4,
    /// RelayFailure was issued.
    Expired = 5,
}

/// A message owed to one recipient. Key: header digest || recipient.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct EntryRecord {
    /// Header digest.
    #[prost(bytes = "bytes", tag = "1")]
    pub digest: Bytes,
    /// The recipient.
    #[prost(string, tag = "2")]
    pub recipient: String,
    /// The unit that it is queued for.
    #[prost(string, tag = "3")]
    pub next_hop: String,
    /// Lane, as the priority on the wire.
    #[prost(uint32, tag = "4")]
    pub priority: u32,
    /// The number of the transfer: per next hop, without gaps, never reused.
    #[prost(uint64, tag = "5")]
    pub number: u64,
    /// Where it stands.
    #[prost(enumeration = "EntryState", tag = "6")]
    pub state: i32,
    /// When it was made.
    #[prost(uint64, tag = "7")]
    pub queued_at_ms: u64,
    /// When delivery is given up.
    #[prost(uint64, tag = "8")]
    pub expires_at_ms: u64,
    /// Size on the wire.
    #[prost(uint32, tag = "9")]
    pub wire_bytes: u32,
    /// Copies sent before the last deferral.
    #[prost(uint32, tag = "10")]
    pub attempts: u32,
    /// Not to be sent before.
    #[prost(uint64, tag = "11")]
    pub not_before_ms: u64,
    /// Label of the reason of the last deferral or of the end.
    #[prost(string, tag = "12")]
    pub reason: String,
    /// When it ended.
    #[prost(uint64, tag = "13")]
    pub settled_at_ms: u64,
    /// When it was last deferred, by the clock of that time.
    #[prost(uint64, tag = "14")]
    pub deferred_at_ms: u64,
    /// It had its receipt, which the recipient's log lost: it is sent again, and never expires.
    #[prost(bool, tag = "30")]
    pub recovered: bool,
}

impl EntryRecord {
    /// Whether it still waits for a receipt.
    pub fn is_open(&self) -> bool {
        matches!(self.state(), EntryState::Queued | EntryState::Deferred | EntryState::Held)
    }

    /// The header digest.
    pub fn digest(&self) -> Digest {
        digest_of(&self.digest)
    }

    /// The lane.
    pub fn lane(&self) -> Priority {
        priority_of(self.priority)
    }

    /// How long its last deferral is. A clock that was stepped since makes no longer wait of it.
    pub fn wait(&self) -> Duration {
        Duration::from_millis(self.not_before_ms.saturating_sub(self.deferred_at_ms))
    }
}

/// A receipt, issued or received. Key: header digest || sequence || number within the event.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ReceiptRecord {
    /// The exact statement bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub statement: Bytes,
    /// Leaf index in the issuer's log.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// Received ones: the inclusion path under the checkpoint below.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub path: Vec<Bytes>,
    /// Received ones: size of that checkpoint.
    #[prost(uint64, tag = "4")]
    pub checkpoint_size: u64,
    /// The log's origin.
    #[prost(string, tag = "5")]
    pub origin: String,
    /// The name that the statement commits to.
    #[prost(string, tag = "6")]
    pub actor: String,
    /// Labels: why it settled nothing, or what it does not prove.
    #[prost(string, repeated, tag = "7")]
    pub flags: Vec<String>,
    /// When it was stored here.
    #[prost(uint64, tag = "8")]
    pub stored_at_ms: u64,
    /// Issued ones: the first number under which it was owed to the message's sender.
    #[prost(uint64, tag = "9")]
    pub owed_number: u64,
}

impl ReceiptRecord {
    /// Whether it passed every check, so that it settles what it is about.
    pub fn counts(&self) -> bool {
        self.flags.iter().all(|flag| flag == Reason::ClockUntrusted.label())
    }
}

/// Whether a receipt that is flagged with this settles nothing. One that an untrusted clock dated
/// outside the window of its log's key says what it says, at a time that nobody proves.
pub fn voids(flag: Reason) -> bool {
    flag != Reason::ClockUntrusted
}

/// A receipt that a peer is owed; above what it confirmed, it waits. Key: peer || number.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct OwedRecord {
    /// Where the receipt lies in the receipts' tree.
    #[prost(bytes = "bytes", tag = "1")]
    pub receipt_key: Bytes,
    /// Lane of the message that it is about.
    #[prost(uint32, tag = "2")]
    pub priority: u32,
}

/// What a caller's request id stands for. Key: digest of caller, verb and id.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct RequestRecord {
    /// SHA-256 of the checked content.
    #[prost(bytes = "bytes", tag = "1")]
    pub content: Bytes,
    /// The message that answered it.
    #[prost(bytes = "bytes", tag = "2")]
    pub digest: Bytes,
    /// When.
    #[prost(uint64, tag = "3")]
    pub at_ms: u64,
}

/// That a message was taken. Key: header digest || capacity.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct AckRecord {
    /// As in the API: 1 handover, 2 desk.
    #[prost(uint32, tag = "1")]
    pub capacity: u32,
    /// The officer or desk.
    #[prost(string, tag = "2")]
    pub by: String,
    /// When.
    #[prost(uint64, tag = "3")]
    pub at_ms: u64,
    /// The caller.
    #[prost(string, tag = "4")]
    pub principal: String,
}

/// A digest out of a record; a record of another length is damage and matches nothing.
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_bytes(bytes).unwrap_or(Digest::from_array([0; 32]))
}

/// A priority out of a record.
pub fn priority_of(number: u32) -> Priority {
    match number {
        3 => Priority::Emergency,
        2 => Priority::Urgent,
        _ => Priority::Routine,
    }
}

/// A priority into a record.
pub fn priority_number(priority: Priority) -> u32 {
    match priority {
        Priority::Routine => 1,
        Priority::Urgent => 2,
        Priority::Emergency => 3,
    }
}

/// Transfers of a peer whose digests are kept, to notice one number used twice.
pub const TRANSFERS_KEPT: u64 = 10_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// In whatever order numbers arrive, doubled or not, the record tells which are missing.
        #[test]
        fn gaps_are_remembered(numbers in proptest::collection::vec(1u64..60, 0..120)) {
            let mut record = NumbersRecord::default();
            for number in &numbers {
                record = record.with(*number);
            }
            let has = |n: u64| {
                n <= record.contiguous
                    || record.ranges.chunks_exact(2).any(|pair| {
                        pair.first() <= Some(&n) && Some(&n) <= pair.last()
                    })
            };
            for n in 1..60 {
                prop_assert_eq!(has(n), numbers.contains(&n), "{}", n);
            }
        }
    }
}
