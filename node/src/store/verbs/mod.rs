//! The verbs of the store: each one atomic commit, each repeatable.
//!
//! A verb's decision runs on the writer, so what it checks cannot change before its events are
//! appended.

mod acknowledge;
mod alarm;
mod arrival;
mod erase;
mod log;
mod outbox;
mod peers;
mod read;
mod receipts;
mod submission;

pub use acknowledge::{AckAnswer, NewAck};
pub use alarm::NewAlarm;
pub use arrival::{ArrivalAnswer, NewArrival, NewRefusal, Verdict};
pub use log::{NewClaim, NewSuccession};
pub use outbox::{Claimed, NewExpiry, PeerQueue, QueueMax};
pub use peers::PeerRequest;
pub use read::{Content, Filter, Listed};
pub use receipts::{NewReceipt, ReceiptsToRecord};
pub use submission::{NewSubmission, SubmissionAnswer, wire_bytes};
