//! What is kept of other units: cards and trust, back-off, checkpoints, refusals, numbers.

use bytes::Bytes;
use prost::Message;

/// A peer of the local directory. Key: unit.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct PeerRecord {
    /// The signed card, encoded.
    #[prost(bytes = "bytes", tag = "1")]
    pub card: Bytes,
    /// As in the API: 1 unverified, 2 verified, 3 suspended.
    #[prost(uint32, tag = "2")]
    pub trust: u32,
    /// Who compared the number.
    #[prost(string, tag = "3")]
    pub verified_by: String,
    /// When.
    #[prost(uint64, tag = "4")]
    pub verified_at_ms: u64,
    /// Why it was suspended.
    #[prost(string, tag = "5")]
    pub suspended_why: String,
    /// The unit.
    #[prost(string, tag = "6")]
    pub unit: String,
    /// Who suspended it.
    #[prost(string, tag = "7")]
    pub suspended_by: String,
    /// When.
    #[prost(uint64, tag = "8")]
    pub suspended_at_ms: u64,
    /// A newer card that says that the unit's log lost leaves; it waits for an operator's word.
    #[prost(bytes = "bytes", tag = "30")]
    pub next_card: Bytes,
    /// Whose receipts are void from where on, as long as their messages were not sent again.
    #[prost(message, repeated, tag = "31")]
    pub lost: Vec<LostLeaves>,
    /// Who accepted the last rollback.
    #[prost(string, tag = "32")]
    pub rollback_by: String,
}

impl PeerRecord {
    /// Whether its card was compared, whatever became of it since.
    pub fn was_compared(&self) -> bool {
        matches!(self.trust, 2 | 3)
    }
}

/// What a peer's log lost. See [`PeerRecord::lost`].
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct LostLeaves {
    /// The log that ended.
    #[prost(string, tag = "1")]
    pub old_origin: String,
    /// Leaves from this one on are lost, or stand in the next log.
    #[prost(uint64, tag = "2")]
    pub from: u64,
    /// The log that goes on.
    #[prost(string, tag = "3")]
    pub new_origin: String,
    /// The hash of its first leaf, the succession: its root at size 1.
    #[prost(bytes = "bytes", tag = "4")]
    pub first_root: Bytes,
}

/// The back-off of a peer. Key: unit.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct BackoffRecord {
    /// Failures so far.
    #[prost(uint32, tag = "1")]
    pub attempts: u32,
    /// The next try.
    #[prost(uint64, tag = "2")]
    pub next_try_ms: u64,
    /// Label of the last reason.
    #[prost(string, tag = "3")]
    pub reason: String,
    /// When it was saved.
    #[prost(uint64, tag = "4")]
    pub at_ms: u64,
}

/// A checkpoint of a peer's log. Key: origin || size; the newest is the one that is held.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct CheckpointRecord {
    /// The signed note.
    #[prost(string, tag = "1")]
    pub note: String,
    /// Its root.
    #[prost(bytes = "bytes", tag = "2")]
    pub root: Bytes,
    /// Its size.
    #[prost(uint64, tag = "3")]
    pub size: u64,
}

/// A header that was refused, kept as evidence. Key: its digest.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct RefusedRecord {
    /// The signed header, encoded.
    #[prost(bytes = "bytes", tag = "1")]
    pub header: Bytes,
    /// Label of the reason.
    #[prost(string, tag = "2")]
    pub reason: String,
    /// When.
    #[prost(uint64, tag = "3")]
    pub at_ms: u64,
    /// The sender.
    #[prost(string, tag = "4")]
    pub from: String,
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "5")]
    pub message_id: Bytes,
}

/// Numbers of a peer's transfers that arrived: all up to `contiguous`, and some ranges above.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct NumbersRecord {
    /// Everything up to here.
    #[prost(uint64, tag = "1")]
    pub contiguous: u64,
    /// Pairs of first and last.
    #[prost(uint64, repeated, tag = "2")]
    pub ranges: Vec<u64>,
}

impl NumbersRecord {
    /// With one more number. Ranges are bounded; beyond the bound the oldest gap is closed, which
    /// only hides a gap from reconciliation and never stops a delivery.
    pub fn with(&self, number: u64) -> Self {
        let mut spans: Vec<(u64, u64)> = Vec::with_capacity(self.ranges.len() / 2 + 1);
        for pair in self.ranges.chunks_exact(2) {
            if let [first, last] = pair {
                spans.push((*first, *last));
            }
        }
        spans.push((number, number));
        spans.sort_unstable();
        let mut contiguous = self.contiguous;
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(spans.len());
        for (first, last) in spans {
            if first <= contiguous.saturating_add(1) {
                contiguous = contiguous.max(last);
                continue;
            }
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last)
                }
                _ => merged.push((first, last)),
            }
        }
        if merged.len() > GAPS_MAX {
            contiguous = merged.first().map_or(contiguous, |span| span.1);
            merged.remove(0);
        }
        let ranges = merged.into_iter().flat_map(|(first, last)| [first, last]).collect();
        Self { contiguous, ranges }
    }
}

/// Most gaps of a peer's numbers that are remembered.
const GAPS_MAX: usize = 1_000;
