//! Messages that wait for a second officer.

use bytes::Bytes;
use prost::Message;

/// What somebody wants sent and a second officer has to agree to. Key: id. The draft is the body of
/// the event that stored it.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct ApprovalRecord {
    /// The first 16 bytes of the key of the request that asked: the same again is the same.
    #[prost(bytes = "bytes", tag = "1")]
    pub id: Bytes,
    /// Who asked.
    #[prost(string, tag = "2")]
    pub account: String,
    /// The same as the system tells it.
    #[prost(string, tag = "3")]
    pub caller: String,
    /// The request's id: granted, it is answered as if it had been sent at once.
    #[prost(bytes = "bytes", tag = "4")]
    pub request_id: Bytes,
    /// Digest of the draft.
    #[prost(bytes = "bytes", tag = "5")]
    pub content: Bytes,
    /// The case as whoever asked saw it.
    #[prost(string, tag = "6")]
    pub etag: String,
    /// As on the wire.
    #[prost(uint32, tag = "7")]
    pub kind: u32,
    /// The network.
    #[prost(string, tag = "8")]
    pub profile: String,
    /// The receiving units.
    #[prost(string, repeated, tag = "9")]
    pub to: Vec<String>,
    /// As on the wire.
    #[prost(uint32, tag = "10")]
    pub priority: u32,
    /// When it was asked for.
    #[prost(uint64, tag = "11")]
    pub asked_at_ms: u64,
    /// Sequence of the event that stored it.
    #[prost(uint64, tag = "12")]
    pub seq: u64,
    /// Where that event lies in the journal.
    #[prost(bytes = "bytes", tag = "13")]
    pub position: Bytes,
    /// One of [`Self::WAITING`], [`Self::GRANTED`], [`Self::DROPPED`].
    #[prost(uint32, tag = "14")]
    pub state: u32,
    /// Who decided.
    #[prost(string, tag = "15")]
    pub decided_by: String,
    /// When.
    #[prost(uint64, tag = "16")]
    pub decided_at_ms: u64,
    /// Why it was dropped.
    #[prost(string, tag = "17")]
    pub reason: String,
    /// Header digest of what was sent.
    #[prost(bytes = "bytes", tag = "18")]
    pub digest: Bytes,
}

impl ApprovalRecord {
    /// Nobody decided yet.
    pub const WAITING: u32 = 1;
    /// A second officer agreed, and it was sent.
    pub const GRANTED: u32 = 2;
    /// It is never sent.
    pub const DROPPED: u32 = 3;

    /// Whether nobody decided yet.
    pub fn waits(&self) -> bool {
        self.state == Self::WAITING
    }
}
