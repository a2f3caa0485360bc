//! The verbs of the store: each one atomic commit, each repeatable.
//!
//! A verb's decision runs on the writer, so what it checks cannot change before its events are
//! appended.

mod acknowledge;
mod alarm;
mod approval;
mod arrival;
pub(super) mod audit;
mod case;
mod erase;
mod exchange;
mod list;
mod log;
mod outbox;
mod owed;
mod peers;
mod read;
mod receipts;
mod submission;
mod term;

pub use acknowledge::{AckAnswer, NewAck};
pub use alarm::{ClearAlarm, Gone, NewAlarm};
pub use approval::{Held, NewHeld};
pub use arrival::{ArrivalAnswer, NewArrival, NewRefusal, Verdict};
pub use case::InCase;
pub use exchange::{Among, Between};
pub use list::{Filter, Listed};
pub use log::{LaterLog, NewClaim, NewSuccession};
pub use outbox::{Claimed, NewExpiry, PeerQueue, QueueMax};
pub use peers::PeerRequest;
pub use read::Content;
pub use receipts::{NewReceipt, ReceiptsToRecord};
pub use submission::{About, NewSubmission, SubmissionAnswer, wire_bytes};
