//! The node's answers as they are shown and exported: plain fields that serialise, one reading of
//! each enum.
//!
//! Enter through [`MessageView`], [`CaseView`], [`ReceiptView`], [`PeerView`], [`EventView`],
//! [`ScrubView`]. Values are kept as they came; they are made harmless where they are printed. Enum
//! values of a newer node are shown as numbers.

mod case;
mod event;
mod law;
mod message;
mod peer;
mod receipt;
mod scrub;
mod verbs;
pub mod words;

use relay_proto::timestamp::Timestamp;

pub use self::{
    case::{CaseView, ObligationView},
    event::EventView,
    law::LawView,
    message::{AckView, DeliveryView, MessageView, UsesView},
    peer::PeerView,
    receipt::ReceiptView,
    scrub::ScrubView,
};

/// An instant of the API; absent when it is not set or lies before 1970.
pub fn instant(at: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    let at = at?;
    let seconds = u64::try_from(at.seconds).ok()?;
    let millis = u64::try_from(at.nanos).ok()? / 1_000_000;
    Timestamp::from_wire(seconds.saturating_mul(1000).saturating_add(millis))
}

/// A text that is absent when it is empty.
pub fn stated(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
