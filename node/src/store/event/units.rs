//! What peers, cards and alarms leave in the journal.

use bytes::Bytes;
use prost::Message;

use crate::store::records::{AlarmRecord, BackoffRecord, PeerRecord, RequestRecord};

/// See [`super::Fact::BackoffSaved`].
#[derive(Clone, PartialEq, Message)]
pub struct BackoffSaved {
    /// The peer.
    #[prost(string, tag = "1")]
    pub peer: String,
    /// Its back-off; absent: cleared.
    #[prost(message, optional, tag = "2")]
    pub backoff: Option<BackoffRecord>,
}

/// See [`super::Fact::RollbackAccepted`].
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

/// See [`super::Fact::AlarmCleared`].
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

/// See [`super::Fact::CardKept`].
#[derive(Clone, PartialEq, Message)]
pub struct CardKept {
    /// The unit.
    #[prost(string, tag = "1")]
    pub unit: String,
    /// The signed card, encoded.
    #[prost(bytes = "bytes", tag = "2")]
    pub card: Bytes,
}

/// See [`super::Fact::PeerRemoved`].
#[derive(Clone, PartialEq, Message)]
pub struct PeerRemoved {
    /// The unit.
    #[prost(string, tag = "1")]
    pub unit: String,
}
