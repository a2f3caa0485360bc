//! What the node tells about itself: logs and counters.
//!
//! Enter through [`start_logs`] once per process and [`Counters`] once per node. May use config's
//! settings only. Invariants: one event is one line, whatever a peer put into it; logs hold ids and
//! sizes, never payloads, names of persons or keys; they go to stderr, so that results on stdout
//! stay clean.

mod counters;
mod logs;

pub use self::{
    counters::{Counter, Counters},
    logs::{LogError, start_logs},
};
