//! Counters of what happened since the start, for `status`.
//!
//! Enter through [`Counters::add`]. Names are those of the metrics, `relay_<room>_<noun>_<unit>`,
//! from a closed set: no peer can make another one. Invariant: a counter never goes back.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The counters of one node; clones count together.
#[derive(Debug, Clone)]
pub struct Counters(Arc<[AtomicU64; Counter::ALL.len()]>);

impl Counters {
    /// All at zero.
    pub fn new() -> Self {
        Self(Arc::new(std::array::from_fn(|_| AtomicU64::new(0))))
    }

    /// One more.
    pub fn add(&self, counter: Counter) {
        self.add_many(counter, 1);
    }

    /// So many more.
    pub fn add_many(&self, counter: Counter, by: u64) {
        if let Some(cell) = self.0.get(counter as usize) {
            // No other memory hangs on it: a reader wants the number, sooner or later.
            cell.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// How many so far.
    pub fn read(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    /// All of them by name.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Counter::ALL.iter().map(|counter| (counter.name(), self.read(*counter)))
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Counter {
            $($(#[$doc])* $variant,)*
        }

        impl Counter {
            /// All, in the order of their cells.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The metric's name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

counters! {
    /// Messages that our case systems gave us, once durable.
    Submitted = "relay_messages_submitted_total",
    /// Messages that peers gave us, once durable.
    Arrived = "relay_messages_arrived_total",
    /// Messages of ours that a peer's receipt settled.
    Delivered = "relay_messages_delivered_total",
    /// Messages of ours that a peer's receipt refused.
    Refused = "relay_messages_refused_total",
    /// Messages of ours whose time ended before a receipt came.
    Expired = "relay_messages_expired_total",
    /// Attempts that were put off.
    Deferred = "relay_messages_deferred_total",
    /// Arrivals that were there already; answered with their receipts again.
    Duplicate = "relay_messages_duplicate_total",
    /// Signatures, proofs or certificates that did not verify.
    VerifyFailure = "relay_verify_failures_total",
    /// Known message ids with other content: refused.
    Replay = "relay_replays_refused_total",
    /// Two statements of a peer that cannot both be true: kept as proof.
    Equivocation = "relay_equivocations_total",
    /// Receipts that our log issued.
    ReceiptIssued = "relay_receipts_issued_total",
    /// Receipts of peers that passed all checks.
    ReceiptAccepted = "relay_receipts_accepted_total",
    /// Sessions with peers that got as far as Hello.
    Session = "relay_link_sessions_total",
    /// Dials and handshakes that failed.
    SessionFailure = "relay_link_failures_total",
    /// Frames that were truncated, oversized or not understood.
    BadFrame = "relay_link_bad_frames_total",
    /// Tasks that panicked and took only their session with them.
    Panic = "relay_tasks_panics_total",
    /// Terms of cases that ran out.
    TermOverdue = "relay_terms_overdue_total",
    /// Attachments that peers brought, once durable.
    AttachmentTaken = "relay_attachments_taken_total",
    /// Bytes of them that were here when their transfer went on: not sent again.
    AttachmentResumed = "relay_attachments_resumed_bytes_total",
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each counter has a cell and a name of its own; clones share the cells.
    #[test]
    fn counters_are_apart() {
        let counters = Counters::new();
        let other = counters.clone();
        for (counter, by) in Counter::ALL.iter().zip(1..) {
            other.add_many(*counter, by);
        }
        for ((name, value), by) in counters.all().zip(1..) {
            assert_eq!(value, by, "{name}");
            let same = Counter::ALL.iter().filter(|counter| counter.name() == name);
            assert_eq!(same.count(), 1, "{name}");
        }
        counters.add(Counter::Replay);
        assert_eq!(other.read(Counter::Replay), 10);
    }
}
