//! Scenarios of the whole journal on a simulated disk. Enter through the modules below; here are
//! the tools they share. Invariant: every scenario judges by what `append` answered, never by
//! what the journal thinks of itself.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod check;
mod faults;
mod plain;
mod power;
mod rot;
mod unread;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::*;

fn settings() -> JournalSettings {
    JournalSettings { dir: PathBuf::from("j"), segment_bytes: 8 << 10 }
}

fn create(disk: &SimDisk) -> Journal {
    Journal::create(settings(), Arc::new(disk.clone())).unwrap()
}

fn open(disk: &SimDisk) -> Result<(Journal, Recovered), JournalError> {
    Journal::open(settings(), Arc::new(disk.clone()), &[])
}

/// An event whose content follows from its number; bodies of several sectors, and some empty.
fn event(n: u64) -> EventFrame {
    let body = match n % 4 {
        0 => Vec::new(),
        k => vec![n as u8 | 1; 300 * k as usize + n as usize],
    };
    EventFrame { meta: Bytes::from(format!("meta of event {n}")), body: Bytes::from(body) }
}

fn events(range: std::ops::RangeInclusive<u64>) -> Vec<EventFrame> {
    range.map(event).collect()
}

/// Everything there is, one event after the other.
fn read_all(journal: &Journal) -> Vec<(u64, Position, StoredEvent)> {
    journal.reader().scan(1, usize::MAX, usize::MAX).unwrap()
}

fn present(frame: &EventFrame) -> Body {
    match frame.body.is_empty() {
        true => Body::Empty,
        false => Body::Present(frame.body.clone()),
    }
}

/// All events are there, byte for byte, by scan and by position.
fn assert_content(journal: &Journal, expected: &[EventFrame]) {
    let stored = read_all(journal);
    assert_eq!(stored.len(), expected.len());
    for ((seq, frame), (found_seq, position, found)) in (1..).zip(expected).zip(&stored) {
        assert_eq!((*found_seq, found.seq), (seq, seq));
        assert_eq!(found.meta, frame.meta);
        assert_eq!(found.body, present(frame));
        assert_eq!(&journal.reader().read(*position).unwrap(), found);
    }
}

fn segment_path(number: u64) -> PathBuf {
    Path::new("j").join(super::segment::segment_name(number))
}
