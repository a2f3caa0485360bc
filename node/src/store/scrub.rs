//! The scrub: whether the journal is what was written, and the index what the journal says.
//!
//! Enter through `Store::scrub`, or through [`compare`] after a rebuild. Goes from the newest
//! segment to the oldest, so that the first event about a key is the one that counts. Invariant: it
//! reads only, and its memory is bounded.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::{Bound, RangeInclusive},
};

use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::store::{
    Store, StoreError,
    event::Event,
    index::{Op, Tree},
    journal::{JournalReader, Position, Seen},
    project::project,
};

/// What a scrub found.
#[derive(Debug, Default)]
pub struct ScrubReport {
    /// Each segment, the newest first.
    pub segments: Vec<SegmentScrub>,
    /// Keys that the index has otherwise than the journal says, up to a bound.
    pub differences: Vec<Difference>,
    /// Events whose body is gone without an order, or is not what was written.
    pub damaged: Vec<u64>,
    /// Trees that hold another number of pairs than the journal says; known only when all of the
    /// journal was compared.
    pub counts: Vec<CountDiffers>,
    /// Every key of every event was compared. Otherwise keys that change are compared in the newest
    /// segments only.
    pub complete: bool,
}

/// One segment: what its events say, and what the index has of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentScrub {
    /// Its number.
    pub segment: u64,
    /// Its events.
    pub events: u64,
    /// Pairs that these events put and no later one changed, as the journal says and as the index
    /// has them.
    pub pairs: (u64, u64),
    /// Rolling hash over keys and values, of both.
    pub hashes: ([u8; 32], [u8; 32]),
}

/// A key that is not as the journal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The event.
    pub seq: u64,
    /// The tree.
    pub tree: &'static str,
    /// The key.
    pub key: Vec<u8>,
}

/// A tree that holds too much or too little.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountDiffers {
    /// The tree.
    pub tree: &'static str,
    /// Pairs that the journal says.
    pub journal: u64,
    /// Pairs that are there.
    pub index: u64,
}

impl ScrubReport {
    /// The index is what the journal says, whatever became of bodies.
    pub fn index_is_sound(&self) -> bool {
        self.differences.is_empty() && self.counts.is_empty()
    }

    /// Nothing was found.
    pub fn is_sound(&self) -> bool {
        self.index_is_sound() && self.damaged.is_empty()
    }
}

impl Store {
    /// Reads all of the journal and compares the index with it. Blocks for long: for a thread of
    /// its own. Damage of the journal itself is an error that says where.
    pub fn scrub(&self) -> Result<ScrubReport, StoreError> {
        let reader = &self.shared.reader;
        let source = Source {
            get: &|tree, key| self.read(|view| view.get(tree, key)),
            len: &|tree| self.count(tree),
        };
        let mut report = compare(reader, &source, u64::MAX, None)?;
        for number in 1..=reader.last_segment() {
            let verified = reader.verify_segment(number)?;
            for seq in verified.erased.into_iter().chain(verified.damaged) {
                if !self.is_ordered_gone(seq)? {
                    report.damaged.push(seq);
                }
            }
        }
        Ok(report)
    }

    /// Pairs of a tree, a page at a time.
    fn count(&self, tree: Tree) -> Result<u64, StoreError> {
        let (mut count, mut last) = (0, None::<Vec<u8>>);
        loop {
            let lower = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let page =
                self.read(|view| view.range(tree, lower, Bound::Unbounded, COUNT_PAGE, false))?;
            count += page.len() as u64;
            match page.into_iter().next_back() {
                Some((key, _)) => last = Some(key),
                None => return Ok(count),
            }
        }
    }

    /// Whether an order of erasure names this event. Orders come later than what they erase.
    fn is_ordered_gone(&self, seq: u64) -> Result<bool, StoreError> {
        let mut next = seq + 1;
        while next <= self.shared.reader.durable_seq() {
            let events = self.shared.reader.scan(next, SCAN_EVENTS, SCAN_BYTES)?;
            let Some((last, _, _)) = events.last() else { break };
            next = last + 1;
            for (at, _, stored) in &events {
                if decode(*at, &stored.meta)?.erases() == Some(seq) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

type Get<'a> = dyn Fn(Tree, &[u8]) -> Result<Option<Vec<u8>>, StoreError> + 'a;

/// What is compared with the journal.
pub struct Source<'a> {
    /// The value of a key, as everybody reads it.
    pub get: &'a Get<'a>,
    /// Pairs of a tree.
    pub len: &'a dyn Fn(Tree) -> Result<u64, StoreError>,
}

/// Whether a key may be as it is by an event that cannot be read.
pub type MayBe<'a> = dyn Fn(&Op, Option<&[u8]>) -> Result<bool, StoreError> + 'a;

/// Events that cannot be read and are passed over.
pub struct Unread<'a> {
    /// The last of them.
    pub last: u64,
    /// Asked about each key that differs and that such an event may have changed last.
    pub may_be: &'a MayBe<'a>,
}

/// Compares the newest segments, at most so many, with an index that holds all that is durable.
/// Events that cannot be read are an error, unless `unread` says what may follow from them.
pub fn compare(
    reader: &JournalReader,
    source: &Source<'_>,
    segments_max: u64,
    unread: Option<&Unread<'_>>,
) -> Result<ScrubReport, StoreError> {
    let (through, last) = (reader.durable_seq(), reader.last_segment());
    let mut pass = Pass {
        reader,
        source,
        unread,
        through,
        seen: HashSet::new(),
        expected: BTreeMap::new(),
        report: ScrubReport { complete: true, ..ScrubReport::default() },
    };
    let mut end = through;
    for number in (1..=last).rev().take(usize::try_from(segments_max).unwrap_or(usize::MAX)) {
        let before = reader.seq_before(number);
        if before < end {
            pass.segment(number, before + 1, end)?;
            end = before;
        }
    }
    pass.report.complete &= end == 0;
    // A commit meanwhile changes the counts; what it put is not damage.
    if pass.report.complete && unread.is_none() && reader.durable_seq() == through {
        for tree in Tree::all() {
            let (journal, index) =
                (pass.expected.get(tree).copied().unwrap_or(0), (source.len)(*tree)?);
            if journal != index && reader.durable_seq() == through {
                pass.report.counts.push(CountDiffers { tree: tree.name(), journal, index });
            }
        }
    }
    Ok(pass.report)
}

/// What is done with a change: its event, and its place within that.
type Visit<'a, P> = dyn FnMut(&mut P, u64, usize, &Op) -> Result<(), StoreError> + 'a;

struct Pass<'a> {
    reader: &'a JournalReader,
    source: &'a Source<'a>,
    unread: Option<&'a Unread<'a>>,
    through: u64,
    /// Keys that a later segment has the last word on.
    seen: HashSet<u128>,
    expected: BTreeMap<Tree, u64>,
    report: ScrubReport,
}

impl Pass<'_> {
    fn segment(&mut self, number: u64, first: u64, last: u64) -> Result<(), StoreError> {
        // Which event of this segment has the last word on a key.
        let mut final_at: HashMap<u128, (u64, usize)> = HashMap::new();
        self.each(number, (first, last), &mut |_, seq, nth, op| {
            final_at.insert(digest(op.tree, &op.key), (seq, nth));
            Ok(())
        })?;
        let bounded = self.seen.len() + final_at.len() <= SEEN_MAX;
        self.report.complete &= bounded;
        let (mut journal, mut index) = (Sha256::new(), Sha256::new());
        let (mut pairs, mut events) = ((0, 0), 0);
        let mut counted = 0;
        self.each(number, (first, last), &mut |pass, seq, nth, op| {
            if counted != seq {
                (counted, events) = (seq, events + 1);
            }
            let key = digest(op.tree, &op.key);
            if final_at.get(&key) != Some(&(seq, nth)) || pass.seen.contains(&key) {
                return Ok(());
            }
            if !pass.report.complete && !is_written_once(op.tree) {
                return Ok(());
            }
            let mut found = (pass.source.get)(op.tree, &op.key)?;
            if found != op.value {
                let rewritten = !pass.report.complete && may_be_rewritten(op.tree);
                if (rewritten && found.is_some())
                    || pass.may_be_unread(seq, op, found.as_deref())?
                    || pass.is_touched_since(op.tree, &op.key)?
                {
                    found.clone_from(&op.value);
                } else if pass.report.differences.len() < DIFFERENCES_MAX {
                    let (tree, key) = (op.tree.name(), op.key.clone());
                    pass.report.differences.push(Difference { seq, tree, key });
                }
            }
            roll(&mut journal, op.tree, &op.key, op.value.as_deref());
            roll(&mut index, op.tree, &op.key, found.as_deref());
            pairs.0 += u64::from(op.value.is_some());
            pairs.1 += u64::from(found.is_some());
            if op.value.is_some() {
                *pass.expected.entry(op.tree).or_default() += 1;
            }
            Ok(())
        })?;
        if bounded {
            self.seen.extend(final_at.into_keys());
        }
        let hashes = (journal.finalize().into(), index.finalize().into());
        self.report.segments.push(SegmentScrub { segment: number, events, pairs, hashes });
        Ok(())
    }

    /// Every change of the events of a segment that stand between two sequences.
    fn each(
        &mut self,
        number: u64,
        (first, last): (u64, u64),
        visit: &mut Visit<'_, Self>,
    ) -> Result<(), StoreError> {
        if self.unread.is_some() {
            return self.each_readable(number, first..=last, visit);
        }
        let mut next = first;
        while next <= last {
            let events = self.reader.scan(next, SCAN_EVENTS, SCAN_BYTES)?;
            if events.is_empty() {
                return Err(StoreError::Damaged { seq: next });
            }
            for (seq, position, stored) in &events {
                if *seq > last {
                    return Ok(());
                }
                let event = decode(*seq, &stored.meta)?;
                for (nth, op) in project(&event, *seq, *position).iter().enumerate() {
                    visit(self, *seq, nth, op)?;
                }
                next = seq + 1;
            }
        }
        Ok(())
    }

    /// The same without the events that cannot be read.
    fn each_readable(
        &mut self,
        number: u64,
        within: RangeInclusive<u64>,
        visit: &mut Visit<'_, Self>,
    ) -> Result<(), StoreError> {
        let (reader, mut done) = (self.reader, Ok(()));
        let mut see = |seen: Seen<'_>| {
            if let Seen::Event { segment, seq, offset, meta, .. } = seen
                && within.contains(&seq)
                && let Ok(event) = Event::decode(meta)
            {
                for (nth, op) in
                    project(&event, seq, Position { segment, offset }).iter().enumerate()
                {
                    if done.is_ok() {
                        done = visit(self, seq, nth, op);
                    }
                }
            }
        };
        reader.check_segment(number, &mut |_| true, &mut see)?;
        done
    }

    fn may_be_unread(&self, seq: u64, op: &Op, found: Option<&[u8]>) -> Result<bool, StoreError> {
        let Some(unread) = self.unread.filter(|unread| seq < unread.last) else { return Ok(false) };
        (unread.may_be)(op, found)
    }

    /// Whether an event that came after the scrub began changed the key.
    fn is_touched_since(&self, tree: Tree, key: &[u8]) -> Result<bool, StoreError> {
        let mut next = self.through + 1;
        while next <= self.reader.durable_seq() {
            let events = self.reader.scan(next, SCAN_EVENTS, SCAN_BYTES)?;
            let Some((last, _, _)) = events.last() else { break };
            next = last + 1;
            for (seq, position, stored) in &events {
                let ops = project(&decode(*seq, &stored.meta)?, *seq, *position);
                if ops.iter().any(|op| op.tree == tree && op.key == key) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

fn decode(seq: u64, meta: &bytes::Bytes) -> Result<Event, StoreError> {
    Event::decode(meta.clone()).map_err(|_| StoreError::Damaged { seq })
}

fn roll(hasher: &mut Sha256, tree: Tree, key: &[u8], value: Option<&[u8]>) {
    let length = |bytes: &[u8]| (bytes.len() as u64).to_le_bytes();
    hasher.update(tree.name());
    hasher.update(length(key));
    hasher.update(key);
    match value {
        Some(value) => {
            hasher.update(length(value));
            hasher.update(value);
        }
        None => hasher.update([0xff; 8]),
    }
}

fn digest(tree: Tree, key: &[u8]) -> u128 {
    let hash = Sha256::new().chain_update(tree.name()).chain_update([0]).chain_update(key);
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk::<16>().map_or(0, |first| u128::from_le_bytes(*first))
}

/// Trees whose values a later log may change: a message came again, a receipt moved.
fn may_be_rewritten(tree: Tree) -> bool {
    matches!(tree, Tree::Messages | Tree::Receipts)
}

/// Trees whose keys are put once and stay.
fn is_written_once(tree: Tree) -> bool {
    matches!(tree, Tree::Messages | Tree::ById | Tree::Timeline | Tree::Receipts | Tree::TreeHashes)
}

/// Segments that are compared after a rebuild: a look, not a wait.
pub const REBUILD_SEGMENTS: u64 = 2;
const COUNT_PAGE: usize = 4096;
const SCAN_EVENTS: usize = 4096;
const SCAN_BYTES: usize = 8 << 20;
/// Keys that are remembered, some 60 MB.
const SEEN_MAX: usize = 2_000_000;
const DIFFERENCES_MAX: usize = 100;
