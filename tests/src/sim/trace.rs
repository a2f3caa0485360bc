//! What happened in a run: a hash over everything, and the last lines for a person.

use std::{
    collections::VecDeque,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::Instant;

/// The trace of one run. Clones share it.
#[derive(Debug, Clone)]
pub struct Trace(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    // Its keys are fixed: the same lines give the same hash in every process.
    hasher: DefaultHasher,
    count: u64,
    last: VecDeque<(u128, Line)>,
}

/// One line.
#[derive(Debug, Clone, Hash)]
pub enum Line {
    /// A datagram, by the places of its ends.
    Packet {
        /// Sender.
        from: usize,
        /// Receiver.
        to: usize,
        /// Length.
        len: usize,
        /// What the net did with it.
        fate: Fate,
    },
    /// Anything else.
    Text(String),
}

/// What becomes of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Arrives after so many milliseconds.
    Delivered(u64),
    /// Arrives twice.
    Doubled(u64, u64),
    /// Lost by chance.
    Lost,
    /// Lost in a partition.
    Cut,
    /// Nobody is there.
    Nobody,
}

impl Trace {
    /// An empty trace that begins now.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Inner {
            start: Instant::now(),
            hasher: DefaultHasher::new(),
            count: 0,
            last: VecDeque::with_capacity(KEPT),
        })))
    }

    /// Adds a line.
    pub fn line(&self, line: Line) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = inner.start.elapsed().as_millis();
        (at, &line).hash(&mut inner.hasher);
        inner.count += 1;
        if inner.last.len() >= KEPT {
            inner.last.pop_front();
        }
        inner.last.push_back((at, line));
    }

    /// Adds a line of text.
    pub fn text(&self, text: impl Into<String>) {
        self.line(Line::Text(text.into()));
    }

    /// Hash over all lines and their virtual times.
    pub fn hash(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).hasher.finish()
    }

    /// How many lines there are.
    pub fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// Virtual milliseconds since the start.
    pub fn elapsed_ms(&self) -> u64 {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        u64::try_from(inner.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The last lines.
    pub fn last(&self, lines: usize) -> Vec<String> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let skip = inner.last.len().saturating_sub(lines);
        inner.last.iter().skip(skip).map(|(at, line)| format!("{at:>8} ms  {line}")).collect()
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet { from, to, len, fate } => write!(f, "{from}->{to} {len} {fate:?}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Lines that are kept for a failure's report.
const KEPT: usize = 4_000;
