//! What goes into and comes out of a peer's queue.

use std::time::Duration;

use relay_proto::{envelope::Priority, ids::Digest, reason::Reason, timestamp::Timestamp};

use crate::retry::Schedule;

/// Entries of a lane without receipt, unless the operator says otherwise: as many as one commit of
/// the peer takes comfortably while the next are on their way.
pub const WINDOW_MESSAGES: u32 = 256;

/// Their bytes: the credit of a lane's stream.
pub const WINDOW_BYTES: u32 = 1 << 20;

/// Bounds of one peer's queue.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Entries without receipt per lane.
    pub window_messages: usize,
    /// Their bytes per lane.
    pub window_bytes: usize,
    /// Send again what got no receipt on a live session for so long: a copy may have been dropped.
    pub resend_after: Duration,
    /// Copies of one entry that the peer called faulty before an alarm is raised.
    pub faults_alarm: u32,
    /// The back-off.
    pub schedule: Schedule,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window_messages: WINDOW_MESSAGES as usize,
            window_bytes: WINDOW_BYTES as usize,
            resend_after: Duration::from_secs(30),
            faults_alarm: 3,
            schedule: Schedule::default(),
        }
    }
}

/// An open entry of the store, as much of it as a decision needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The number of the transfer, per peer.
    pub number: u64,
    /// Which message.
    pub digest: Digest,
    /// Size of the envelope on the wire.
    pub bytes: usize,
    /// Not to be sent before: the peer asked to wait.
    pub not_before: Timestamp,
    /// Copies sent so far.
    pub attempts: u32,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The node started; what the store kept of the back-off.
    Started {
        /// Failures so far.
        attempts: u32,
        /// The next try.
        next_try: Option<Timestamp>,
    },
    /// There may be new entries in the store.
    Woken,
    /// A session is up.
    SessionUp,
    /// It is gone.
    SessionDown,
    /// Dialling failed.
    DialFailed(Reason),
    /// The answer to [`Action::Claim`]: entries in ascending number; fewer than asked for means no
    /// more now.
    Claimed {
        /// Which lane.
        lane: Priority,
        /// What is open.
        entries: Vec<Entry>,
        /// How many were asked for.
        asked: usize,
    },
    /// Receipts settled these entries, or they expired.
    Settled(Vec<u64>),
    /// The peer dropped this copy.
    Fault {
        /// Which transfer.
        number: u64,
        /// What was wrong with it.
        reason: Reason,
    },
    /// The peer asks to come back later: with one entry, or with all.
    Deferred {
        /// Which transfer; nothing: all.
        number: Option<u64>,
        /// Why.
        reason: Reason,
        /// For how long. An instant would be another by the time it is read, if the clock is put
        /// right meanwhile.
        wait: Duration,
    },
    /// The instant of [`Action::Wake`] came.
    Timer,
    /// The operator wants a try now.
    RetryNow,
    /// The node stops: what is in flight may finish, nothing new is begun.
    Drain,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask the store for open entries of a lane with numbers above `after`.
    Claim {
        /// Which lane.
        lane: Priority,
        /// Above which number.
        after: u64,
        /// At most how many.
        max: usize,
    },
    /// Send this entry on its lane.
    Send {
        /// Which lane.
        lane: Priority,
        /// Which transfer.
        number: u64,
        /// Which message.
        digest: Digest,
    },
    /// Dial the peer.
    Dial,
    /// Keep the back-off: the operator sees the reason and the next try.
    SaveBackoff {
        /// Failures so far; 0 clears it.
        attempts: u32,
        /// The next try.
        next_try: Option<Timestamp>,
        /// Why the last one failed.
        reason: Option<Reason>,
    },
    /// Keep that an entry waits, and why.
    SaveDeferral {
        /// Which lane.
        lane: Priority,
        /// Which transfer.
        number: u64,
        /// Which message.
        digest: Digest,
        /// Why.
        reason: Reason,
        /// Until when.
        not_before: Timestamp,
        /// Copies sent so far.
        attempts: u32,
    },
    /// Call again with [`Input::Timer`] at this instant.
    Wake(Timestamp),
    /// The peer calls copy after copy faulty: an operator must look.
    AlarmFaults {
        /// Which message.
        digest: Digest,
        /// What is wrong with the copies.
        reason: Reason,
    },
}
