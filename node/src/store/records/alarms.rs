//! What is wrong, or was: alarms, rounds of the scrub, and damage that they found.

use std::fmt;

use bytes::Bytes;
use prost::Message;
use relay_proto::ids::MessageId;

use super::MessageRecord;
use crate::store::journal::Found;

/// Something that an operator must look at. Key: sequence.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct AlarmRecord {
    /// Label.
    #[prost(string, tag = "1")]
    pub reason: String,
    /// The unit concerned.
    #[prost(string, tag = "2")]
    pub peer: String,
    /// What happened; digests and numbers only.
    #[prost(string, tag = "3")]
    pub detail: String,
    /// When.
    #[prost(uint64, tag = "4")]
    pub at_ms: u64,
    /// Evidence: bytes that the peer signed.
    #[prost(bytes = "bytes", tag = "5")]
    pub evidence: Bytes,
    /// Who ended it; empty: it stands.
    #[prost(string, tag = "6")]
    pub cleared_by: String,
    /// Why.
    #[prost(string, tag = "7")]
    pub cleared_why: String,
    /// When.
    #[prost(uint64, tag = "8")]
    pub cleared_at_ms: u64,
}

impl AlarmRecord {
    /// Whether nobody ended it yet.
    pub fn stands(&self) -> bool {
        self.cleared_by.is_empty()
    }
}

/// A round of the scrub. Key: whether it was read to its end.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ScrubRecord {
    /// When it began.
    #[prost(uint64, tag = "1")]
    pub started_at_ms: u64,
    /// When it ended.
    #[prost(uint64, tag = "2")]
    pub ended_at_ms: u64,
    /// Every segment up to this one was read.
    #[prost(uint64, tag = "3")]
    pub segments: u64,
    /// Durable bytes in them.
    #[prost(uint64, tag = "4")]
    pub bytes: u64,
    /// Events that were read.
    #[prost(uint64, tag = "5")]
    pub records: u64,
    /// What was found, up to a bound.
    #[prost(message, repeated, tag = "6")]
    pub damages: Vec<DamageRecord>,
    /// What was found beyond that.
    #[prost(uint64, tag = "7")]
    pub left_out: u64,
    /// It was read to its end.
    #[prost(bool, tag = "8")]
    pub complete: bool,
}

/// Something in the journal that is not what was written.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct DamageRecord {
    /// What, in words.
    #[prost(string, tag = "1")]
    pub what: String,
    /// Where.
    #[prost(uint64, tag = "2")]
    pub segment: u64,
    /// Where in it.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    /// The first event that it touches.
    #[prost(uint64, tag = "4")]
    pub seq: u64,
    /// The last one; below the first when it touches none.
    #[prost(uint64, tag = "5")]
    pub last_seq: u64,
    /// The message of that event, when it is known.
    #[prost(string, tag = "6")]
    pub message: String,
    /// Its sender.
    #[prost(string, tag = "7")]
    pub from: String,
    /// Its recipients.
    #[prost(string, repeated, tag = "8")]
    pub to: Vec<String>,
}

impl DamageRecord {
    /// What a check of the journal came upon.
    pub fn of(found: &Found) -> Self {
        let Found { what, segment, offset, seq, last_seq } = *found;
        Self { what: what.to_string(), segment, offset, seq, last_seq, ..Self::default() }
    }

    /// The message that it is about.
    pub fn name(&mut self, message: &MessageRecord) {
        self.message = message.message_id().map(|id| id.to_string()).unwrap_or_default();
        self.from.clone_from(&message.from);
        self.to.clone_from(&message.to);
    }
}

impl fmt::Display for DamageRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, segment, offset, seq, last_seq, .. } = self;
        write!(f, "{what} (segment {segment}, offset {offset}, sequence {seq}")?;
        if last_seq > seq {
            write!(f, " to {last_seq}")?;
        }
        f.write_str(")")?;
        if self.message.is_empty() {
            return Ok(());
        }
        let id = self.message.parse::<MessageId>().map(|id| id.short().to_string());
        let id = id.unwrap_or_else(|_| self.message.clone());
        write!(f, ", message {id} from {} to {}", self.from, self.to.join(", "))
    }
}
