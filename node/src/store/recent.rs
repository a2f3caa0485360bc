//! The newest durable events, in memory: what watchers, senders and settlers ask for next is nearly
//! always what was written just now, and must not be read back from disk and checked again.
//!
//! Invariant: holds durable events only, consecutive, up to the durable sequence; what is not here
//! is in the journal. A body whose erasure was ordered leaves at once.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use crate::store::event::Event;

/// A window over the end of the journal.
#[derive(Debug, Default)]
pub struct Recent {
    entries: VecDeque<Entry>,
    /// Sequence of the oldest entry.
    first_seq: u64,
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Entry {
    event: Arc<Event>,
    /// `None` once it was erased.
    body: Option<Bytes>,
    bytes: usize,
}

impl Recent {
    /// Takes in the next event; `size` is what it holds in memory, roughly.
    pub fn push(&mut self, seq: u64, event: Arc<Event>, body: Bytes, size: usize) {
        if self.first_seq + self.entries.len() as u64 != seq {
            self.entries.clear();
            self.bytes = 0;
        }
        if self.entries.is_empty() {
            self.first_seq = seq;
        }
        self.bytes += size;
        self.entries.push_back(Entry { event, body: Some(body), bytes: size });
        while self.entries.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.bytes;
            self.first_seq += 1;
        }
    }

    /// Events from a sequence on, at most `max`; `None` when the journal has to be asked.
    pub fn from(&self, seq: u64, max: usize) -> Option<Vec<(u64, Arc<Event>)>> {
        let place = self.place(seq)?;
        let found = self.entries.iter().skip(place).take(max);
        Some((seq..).zip(found.map(|entry| Arc::clone(&entry.event))).collect())
    }

    /// An event.
    pub fn event(&self, seq: u64) -> Option<Arc<Event>> {
        Some(Arc::clone(&self.entries.get(self.place(seq)?)?.event))
    }

    /// An event and its body, when both are here.
    pub fn get(&self, seq: u64) -> Option<(Arc<Event>, Bytes)> {
        let entry = self.entries.get(self.place(seq)?)?;
        Some((Arc::clone(&entry.event), entry.body.clone()?))
    }

    /// Lets go of a body.
    pub fn erase(&mut self, seq: u64) {
        if let Some(entry) = self.place(seq).and_then(|place| self.entries.get_mut(place)) {
            entry.body = None;
        }
    }

    /// Where a sequence stands, also the one that comes next.
    fn place(&self, seq: u64) -> Option<usize> {
        let place = usize::try_from(seq.checked_sub(self.first_seq)?).ok()?;
        (!self.entries.is_empty() && place <= self.entries.len()).then_some(place)
    }
}

/// Some seconds of a busy node.
const EVENTS_MAX: usize = 8192;
const BYTES_MAX: usize = 6 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn recent(seqs: std::ops::Range<u64>, size: usize) -> Recent {
        let mut recent = Recent::default();
        for seq in seqs {
            let event = Arc::new(Event { at_ms: seq, fact: None });
            recent.push(seq, event, Bytes::from(seq.to_string()), size);
        }
        recent
    }

    /// What is inside the window is found by sequence; what lies before it is not claimed; what
    /// comes next is an empty answer, not a reason to read the journal.
    #[test]
    fn finds_by_sequence() {
        let recent = recent(5..9, 1);
        let seqs = |from, max| -> Option<Vec<u64>> {
            Some(
                recent
                    .from(from, max)?
                    .iter()
                    .map(|(seq, event)| {
                        assert_eq!(*seq, event.at_ms);
                        *seq
                    })
                    .collect(),
            )
        };
        assert_eq!(seqs(4, 9), None);
        assert_eq!(seqs(5, 9), Some(vec![5, 6, 7, 8]));
        assert_eq!(seqs(6, 2), Some(vec![6, 7]));
        assert_eq!(seqs(9, 9), Some(vec![]));
        assert_eq!(seqs(10, 9), None);
        assert_eq!(recent.get(7).unwrap().1, "7");
        assert!(recent.get(9).is_none());
        assert!(Recent::default().from(0, 1).is_none());
    }

    /// Bounded in number and in bytes, the oldest goes first.
    #[test]
    fn is_bounded() {
        let many = recent(1..20_000, 1);
        assert_eq!(many.from(20_000, 1), Some(vec![]));
        assert!(many.get(20_000 - EVENTS_MAX as u64).is_some());
        assert!(many.get(20_000 - EVENTS_MAX as u64 - 1).is_none());
        let large = recent(1..100, 1 << 20);
        assert_eq!(large.entries.len(), 6);
        assert!(large.bytes <= BYTES_MAX);
    }

    /// After an order to erase, the body is not served from memory; after a gap nothing old is.
    #[test]
    fn erased_bodies_and_gaps() {
        let mut recent = recent(1..4, 1);
        recent.erase(2);
        assert!(recent.get(2).is_none());
        assert!(recent.get(3).is_some());
        recent.push(7, Arc::default(), Bytes::new(), 1);
        assert!(recent.get(3).is_none());
        assert!(recent.get(7).is_some());
    }
}
