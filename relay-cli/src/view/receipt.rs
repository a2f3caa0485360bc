//! A receipt: what a unit stated in its log.

use relay_proto::{timestamp::Timestamp, v1};
use serde::Serialize;

use super::{hex, instant, stated, words};

/// One receipt, with whether this node's checks passed.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiptView {
    pub event: String,
    pub issuer_unit: String,
    pub issuer_node: String,
    pub recipient: String,
    pub time: Option<Timestamp>,
    pub clock: String,
    pub reason: Option<String>,
    pub actor: Option<String>,
    pub log: String,
    pub index: u64,
    pub leaf_hash: String,
    pub verified: bool,
    pub flags: Vec<String>,
    #[serde(skip)]
    wire: i32,
}

impl ReceiptView {
    /// Which event.
    pub fn event(&self) -> v1::Event {
        v1::Event::try_from(self.wire).unwrap_or(v1::Event::Unspecified)
    }

    /// It is one of ours, and our log signs nothing for now: noted, but nothing that others can
    /// check.
    pub fn is_held(&self) -> bool {
        matches!(self.flags.as_slice(), [flag] if flag == words::LOG_HELD)
    }

    /// It counts, but its issuer's clock is not trusted and dates it outside the window of its
    /// log's key.
    pub fn is_undated(&self) -> bool {
        self.flags.iter().any(|flag| flag == words::CLOCK_UNTRUSTED)
    }

    /// What it states, in a few words.
    pub fn meaning(&self) -> &'static str {
        words::event_meaning(self.wire)
    }
}

impl From<&v1::ReceiptView> for ReceiptView {
    fn from(receipt: &v1::ReceiptView) -> Self {
        Self {
            event: words::event(receipt.event),
            issuer_unit: receipt.issuer_unit.clone(),
            issuer_node: receipt.issuer_node.clone(),
            recipient: receipt.recipient.clone(),
            time: instant(receipt.event_time.as_ref()),
            clock: words::clock(receipt.clock.as_ref()),
            reason: stated(&receipt.reason),
            actor: stated(&receipt.actor),
            log: receipt.log_origin.clone(),
            index: receipt.log_index,
            leaf_hash: hex(&receipt.leaf_hash),
            verified: receipt.verified,
            flags: receipt.flags.clone(),
            wire: receipt.event,
        }
    }
}
