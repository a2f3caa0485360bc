//! What can go wrong with the journal: one variant per decision of a caller. Enter through
//! `JournalError`. Invariant: damage always says where (segment, offset, sequence).

use std::fmt;
use std::io;

use super::io::is_short;

/// Refusals and failures of the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// `open` found no segment; only `create` begins a journal.
    #[error("no journal in this directory")]
    Missing,
    /// `create` found a segment; a journal is never begun twice.
    #[error("this directory already holds a journal")]
    Exists,
    /// Stored bytes are not what was made durable: stop, and let the operator look.
    #[error("journal damaged: {what} (segment {segment}, offset {offset}, sequence {seq})")]
    Damage { what: Damage, segment: u64, offset: u64, seq: u64 },
    /// The journal was written by a newer program.
    #[error("segment {segment} has format {found}, this program reads up to {supported}")]
    NewerFormat { segment: u64, found: u32, supported: u32 },
    /// The caller's batch breaks a limit; nothing was written.
    #[error("{what} is {found}, at most {max} fits")]
    TooLarge { what: &'static str, found: u64, max: u64 },
    /// The caller's batch has no event; nothing was written.
    #[error("a batch needs at least one event")]
    EmptyBatch,
    /// No event begins at this position.
    #[error("no event at segment {segment}, offset {offset}")]
    NoEvent { segment: u64, offset: u64 },
    /// The event exists, but is not durable yet.
    #[error("sequence {seq} is not durable yet")]
    NotDurable { seq: u64 },
    /// A body of the newest batch: the event that orders its erasure cannot be durable yet.
    #[error("sequence {seq} is in the newest batch, its erasure must be recorded first")]
    EraseTooEarly { seq: u64 },
    /// No room to prepare the next segment; nothing was written, the journal goes on.
    #[error("no space for the next segment")]
    Full(#[source] io::Error),
    /// Reading or opening failed; nothing was changed.
    #[error("journal i/o failed: {step}")]
    Io { step: &'static str, source: io::Error },
    /// A segment cannot be opened or read there; nothing was changed.
    #[error("journal i/o failed: {step} (segment {segment}, offset {offset})")]
    Read { step: &'static str, segment: u64, offset: u64, source: io::Error },
    /// A write or sync failed, now or earlier: the process must end, without an answer.
    #[error("journal stopped, a write or sync failed: {step}")]
    Poisoned { step: &'static str, source: io::Error },
}

impl JournalError {
    /// Whether the disk does not give a segment, or a part of it.
    pub fn is_unread(&self) -> bool {
        matches!(self, Self::Read { source, .. } if !is_short(source))
    }
}

/// What was found to be damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    SegmentMissing,
    SegmentHeader,
    SegmentLength,
    Footer,
    /// Segments or batches do not continue each other.
    Chain,
    /// A bad batch, and proof that it or a later one was durable.
    Batch,
    /// A durable mark lies beyond the end of the journal.
    EndBeforeMark,
    /// A durable mark names another batch hash than the journal has.
    MarkDiffers,
    /// A bad end, and no readable mark file to decide whether it may be cut.
    EndWithoutMark,
    Event,
    Padding,
    /// The disk gives no bytes there.
    Unread,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Damage::SegmentMissing => "segment missing",
            Damage::SegmentHeader => "segment header unreadable",
            Damage::SegmentLength => "segment has another length than its header says",
            Damage::Footer => "segment footer unreadable",
            Damage::Chain => "chain of batches broken",
            Damage::Batch => "batch unreadable that was durable",
            Damage::EndBeforeMark => "journal ends before a durable mark",
            Damage::MarkDiffers => "durable mark names another batch hash",
            Damage::EndWithoutMark => "end unreadable and no mark file to judge it by",
            Damage::Event => "event unreadable",
            Damage::Padding => "free bytes are not zero",
            Damage::Unread => "cannot be read from the disk",
        })
    }
}

/// Names the step that failed, for errors that change nothing.
pub(super) fn at(step: &'static str) -> impl FnOnce(io::Error) -> JournalError {
    move |source| JournalError::Io { step, source }
}

/// The same with its place in a segment.
pub(super) fn at_place(
    step: &'static str,
    segment: u64,
    offset: u64,
) -> impl FnOnce(io::Error) -> JournalError {
    move |source| JournalError::Read { step, segment, offset, source }
}
