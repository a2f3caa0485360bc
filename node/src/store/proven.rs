//! What a stored index is worth when its machine stopped and the journal alone does not give it
//! anew.
//!
//! Enter through [`can_rebuild`], then [`believe`]. After a power cut the disk may have lost any
//! page of an index that was moved since its mark was written, so it is made anew as a rule. An
//! event that cannot be read and that no snapshot covers takes that way: then the index is all that
//! remembers it. It is believed if its mark covers every such event, and if it agrees with all
//! events that can be read, key by key, save where such an event may have had the last word.
//! Invariant: nothing is removed here.

use std::{
    ops::{Bound, RangeInclusive},
    path::Path,
};

use prost::Message as _;
use relay_proto::ids::{LogOrigin, UnitId};
use tracing::warn;

use crate::store::{
    StoreError,
    event::Event,
    index::{Index, Op, Tree},
    journal::{JournalError, JournalReader, Seen},
    project::project,
    records::{AlarmRecord, EntryRecord, NumbersRecord, OwedRecord, key},
    scrub::{self, Unread},
    snapshot,
    view::View,
};

/// Reads all that a rebuild needs: what follows the newest good snapshot of `dir`, or everything.
/// An error that [`is_damage`]: the journal does not give the index anew.
pub fn can_rebuild(dir: Option<&Path>, reader: &JournalReader) -> Result<(), StoreError> {
    let newest = dir.map(|dir| snapshot::newest(dir, reader)).transpose()?.flatten();
    let (mut next, last) = (newest.map_or(0, |(seq, _)| seq) + 1, reader.durable_seq());
    while next <= last {
        let events = reader.scan(next, SCAN_EVENTS, SCAN_BYTES)?;
        for (seq, _, stored) in &events {
            Event::decode(stored.meta.clone()).map_err(|_| StoreError::Damaged { seq: *seq })?;
            next = seq + 1;
        }
        if events.is_empty() {
            return Err(StoreError::Damaged { seq: next });
        }
    }
    Ok(())
}

/// Brings events into an index that does not hold them yet. Returns whose bodies are to be erased.
pub fn replay(
    reader: &JournalReader,
    index: &Index,
    from: u64,
    last: u64,
) -> Result<Vec<u64>, StoreError> {
    let mut erased = Vec::new();
    let mut next = from + 1;
    while next <= last {
        let events = reader.scan(next, SCAN_EVENTS, SCAN_BYTES)?;
        let Some((through, _, _)) = events.last() else {
            return Err(StoreError::Damaged { seq: next });
        };
        let through = *through;
        let mut ops = Vec::new();
        for (seq, position, stored) in &events {
            let event = Event::decode(stored.meta.clone())
                .map_err(|_| StoreError::Damaged { seq: *seq })?;
            ops.extend(project(&event, *seq, *position));
            erased.extend(event.erases());
        }
        index.apply_ops(&ops, through)?;
        next = through + 1;
    }
    Ok(erased)
}

/// Whether the journal is not what was written.
pub fn is_damage(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Damaged { .. }
            | StoreError::Journal(JournalError::Damage { .. } | JournalError::NoEvent { .. })
    ) || matches!(error, StoreError::Journal(error) if error.is_unread())
}

/// Why an index does not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Useless {
    /// It was not there, or holds less or more than it should.
    Unsound,
    /// It was not proven durable that far.
    Unproven,
    /// The events say otherwise.
    Differs,
}

impl Useless {
    fn text(self) -> &'static str {
        match self {
            Self::Unsound => "is damaged",
            Self::Unproven => "was not proven durable so far when the machine stopped",
            Self::Differs => "lost pages when the machine stopped",
        }
    }
}

/// The refusal: which event is missed, and why the index does not help.
pub fn forgotten(reader: &JournalReader, why: Useless) -> Result<StoreError, StoreError> {
    let seq = unread(reader)?.first().map_or(0, |span| *span.start());
    Ok(StoreError::Forgotten { seq, segment: reader.segment_of(seq), index: why.text() })
}

/// Whether an index, in which what follows its mark was replayed, is what the journal says, as far
/// as the journal can be read.
pub fn believe(
    index: &Index,
    reader: &JournalReader,
    mark: u64,
    (unit, origin): (&UnitId, &LogOrigin),
) -> Result<Result<(), Useless>, StoreError> {
    let unread = unread(reader)?;
    let last = unread.last().map_or(0, |span| *span.end());
    if last > mark {
        return Ok(Err(Useless::Unproven));
    }
    let view = View::new([None, None, None], index);
    let source = scrub::Source {
        get: &|tree, key| view.get(tree, key),
        len: &|tree| Ok(index.len(tree)? as u64),
    };
    let may_be = |op: &Op, found: Option<&[u8]>| may_be_later(&view, op, found);
    let may_be = Unread { last, may_be: &may_be };
    let report = scrub::compare(reader, &source, u64::MAX, Some(&may_be))?;
    if !report.index_is_sound() || !has_all_leaves(&view, unit, origin)? {
        warn!(?unread, ?report, "index differs from the events that can be read");
        return Ok(Err(Useless::Differs));
    }
    warn!(?unread, mark, "events that cannot be read: the index that remembers them is believed");
    Ok(Ok(()))
}

/// The events that cannot be read, in order.
fn unread(reader: &JournalReader) -> Result<Vec<RangeInclusive<u64>>, StoreError> {
    let (mut spans, mut next) = (Vec::new(), 1);
    for number in 1..=reader.last_segment() {
        reader.check_segment(number, &mut |_| true, &mut |seen| {
            if let Seen::Event { seq, meta, .. } = seen
                && Event::decode(meta).is_ok()
            {
                if seq > next {
                    spans.push(next..=seq - 1);
                }
                next = next.max(seq + 1);
            }
        })?;
    }
    if next <= reader.durable_seq() {
        spans.push(next..=reader.durable_seq());
    }
    Ok(spans)
}

/// Whether a later event than the one that `op` is of may have left the key so: what is kept about
/// one thing in several places must agree with itself, what only grows must not have shrunk, what
/// is never taken out must be there.
fn may_be_later(view: &View<'_>, op: &Op, found: Option<&[u8]>) -> Result<bool, StoreError> {
    let Some(found) = found else { return may_be_gone(view, op) };
    let Some(before) = op.value.as_deref() else {
        // Only these come again under the same key.
        return match op.tree {
            Tree::Due => is_open(view, found.get(WIRE_BYTES..).unwrap_or_default()),
            Tree::Expiry => is_open(view, found),
            tree => Ok(matches!(tree, Tree::Backoff | Tree::Peers)),
        };
    };
    Ok(match op.tree {
        Tree::ById
        | Tree::Timeline
        | Tree::TreeHashes
        | Tree::Statements
        | Tree::Owed
        | Tree::Cases => false,
        Tree::Outbox => {
            let entry = EntryRecord::decode(found);
            let entry = entry.map_err(|_| StoreError::IndexDamaged("outbox"))?;
            let due = key::due(&entry.next_hop, entry.lane(), entry.number);
            view.get(Tree::Due, &due)?.is_some() == entry.is_open()
        }
        Tree::Counters if found.len() == before.len() && before.len() == NUMBER_BYTES => {
            found >= before
        }
        Tree::Counters => match (NumbersRecord::decode(before), NumbersRecord::decode(found)) {
            (Ok(before), Ok(found)) => found.contiguous >= before.contiguous,
            _ => false,
        },
        _ => true,
    })
}

/// Whether a later event may have taken the key out.
fn may_be_gone(view: &View<'_>, op: &Op) -> Result<bool, StoreError> {
    let Some(value) = op.value.as_deref() else { return Ok(true) };
    match op.tree {
        Tree::Due => Ok(!is_open(view, value.get(WIRE_BYTES..).unwrap_or_default())?),
        Tree::Expiry => Ok(!is_open(view, value)?),
        Tree::Owed => {
            // Its receipt moved to a later log, under a later number.
            let owed = OwedRecord::decode(value).map_err(|_| StoreError::IndexDamaged("owed"))?;
            let newest = view.get(Tree::OwedAgain, &owed.receipt_key)?;
            let before = op.key.last_chunk::<NUMBER_BYTES>();
            Ok(newest.is_some_and(|newest| before.is_some_and(|before| newest > before.to_vec())))
        }
        Tree::Unacknowledged => {
            let digest = value.get(..DIGEST_BYTES).unwrap_or_default();
            let end = key::after_prefix(digest);
            let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            Ok(!view.range(Tree::Acks, Bound::Included(digest), end, 1, false)?.is_empty())
        }
        Tree::Standing => {
            // It ends with its number.
            let seq = op.key.last_chunk::<NUMBER_BYTES>().copied().unwrap_or_default();
            let alarm: Option<AlarmRecord> = view.record(Tree::Alarms, &seq)?;
            Ok(alarm.is_some_and(|alarm| !alarm.stands()))
        }
        Tree::Backoff => Ok(true),
        Tree::Meta => Ok(op.key == key::SCRUB_PART),
        _ => Ok(false),
    }
}

fn is_open(view: &View<'_>, entry: &[u8]) -> Result<bool, StoreError> {
    let entry: Option<EntryRecord> = view.record(Tree::Outbox, entry)?;
    // Without it nobody knows.
    Ok(entry.is_none_or(|entry| entry.is_open()))
}

/// Whether every leaf of our logs is there, also those of events that cannot be read.
fn has_all_leaves(view: &View<'_>, unit: &UnitId, origin: &LogOrigin) -> Result<bool, StoreError> {
    for generation in 1..=origin.generation {
        let size = view.counter("log-size", &unit.log_origin(generation).to_string())?;
        let (mut count, mut lower) = (0, Bound::Included(key::leaf_hashes(generation, 0)));
        let end = key::leaf_hashes(generation, u64::MAX);
        loop {
            let from = lower.as_ref().map(Vec::as_slice);
            let end = Bound::Included(end.as_slice());
            let page = view.range(Tree::TreeHashes, from, end, SCAN_EVENTS, false)?;
            count += page.len() as u64;
            let Some((last, _)) = page.into_iter().next_back() else { break };
            lower = Bound::Excluded(last);
        }
        if count != size {
            return Ok(false);
        }
    }
    Ok(true)
}

const SCAN_EVENTS: usize = 4096;
const SCAN_BYTES: usize = 8 << 20;
/// A size stands before the entry's key.
const WIRE_BYTES: usize = 4;
const NUMBER_BYTES: usize = 8;
const DIGEST_BYTES: usize = 32;
