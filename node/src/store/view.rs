//! Reading the index as of the durable sequence: an overlay of events that are not applied yet,
//! then the index.
//!
//! The writer reads through a [`View`] that also sees its unfinished batch; everybody else sees
//! only what is durable, so nothing is shown that a power cut could take back.

use std::{collections::BTreeMap, ops::Bound};

use prost::Message;
use relay_proto::ids::Digest;
use smallvec::SmallVec;

use crate::store::{
    StoreError,
    index::{Change, Index, Op, Tree},
    records::{EntryRecord, MessageRecord, key},
};

/// Pairs in key order.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Changes that are not in the index yet: put (`Some`) or deleted (`None`).
#[derive(Debug)]
pub struct Overlay {
    /// One map a tree, in the order of `Tree::all`.
    trees: Vec<Changes>,
    len: usize,
    bytes: usize,
    through_seq: u64,
}

type Changes = BTreeMap<Key, Held>;

/// A key within its map's node: nearly every look at a map is at keys alone.
type Key = SmallVec<[u8; KEY_BYTES]>;

/// What a key became.
#[derive(Debug)]
struct Held {
    value: Option<Vec<u8>>,
    /// As in [`Op`]: neither the index nor an older overlay knows the key.
    fresh: bool,
}

impl Default for Overlay {
    fn default() -> Self {
        let trees = Tree::all().iter().map(|_| Changes::new()).collect();
        Self { trees, len: 0, bytes: 0, through_seq: 0 }
    }
}

impl Overlay {
    /// Takes in one change of the event with this sequence; later ones replace earlier ones.
    pub fn insert(&mut self, op: Op, seq: u64) {
        self.through_seq = self.through_seq.max(seq);
        self.put(
            op.tree as usize,
            Key::from_slice(&op.key),
            Held { value: op.value, fresh: op.fresh },
        );
    }

    /// Takes in all of a later one.
    pub fn absorb(&mut self, later: Self) {
        self.through_seq = self.through_seq.max(later.through_seq);
        if self.is_empty() {
            (self.trees, self.len, self.bytes) = (later.trees, later.len, later.bytes);
            return;
        }
        for (place, changes) in later.trees.into_iter().enumerate() {
            for (key, held) in changes {
                self.put(place, key, held);
            }
        }
    }

    /// All changes, for the index.
    pub fn changes(&self) -> impl Iterator<Item = Change<'_>> + Clone {
        Tree::all().iter().zip(&self.trees).flat_map(|(tree, changes)| {
            let tree = *tree;
            changes.iter().map(move |(key, held)| Change {
                tree,
                key,
                value: held.value.as_deref(),
            })
        })
    }

    /// The last sequence whose changes are in here.
    pub fn through_seq(&self) -> u64 {
        self.through_seq
    }

    /// Memory held, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Changes held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn put(&mut self, place: usize, key: Key, mut held: Held) {
        let Some(changes) = self.trees.get_mut(place) else { return };
        let key_len = key.len();
        let cost = |held: &Held| key_len + held.value.as_ref().map_or(0, Vec::len) + ENTRY_COST;
        if let Some(old) = changes.get_mut(&key) {
            self.bytes -= cost(old);
            held.fresh = old.fresh;
            if held.fresh && held.value.is_none() {
                // Came and went within this overlay.
                self.len -= 1;
                changes.remove(&key);
                return;
            }
            self.bytes += cost(&held);
            *old = held;
            return;
        }
        self.len += 1;
        self.bytes += cost(&held);
        changes.insert(key, held);
    }

    fn get(&self, tree: Tree, key: &[u8]) -> Option<&Option<Vec<u8>>> {
        self.trees.get(tree as usize)?.get(key).map(|held| &held.value)
    }

    fn is_fresh(&self, tree: Tree, key: &[u8]) -> bool {
        self.trees.get(tree as usize).and_then(|tree| tree.get(key)).is_some_and(|held| held.fresh)
    }

    fn range(
        &self,
        tree: Tree,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = Changed<'_>> {
        let changes = self.trees.get(tree as usize);
        let changes = changes.map(|changes| changes.range::<[u8], _>((lower, upper)));
        changes.into_iter().flatten().map(|(key, held)| (key.as_slice(), held.value.as_deref()))
    }
}

/// A key and what became of it.
type Changed<'a> = (&'a [u8], Option<&'a [u8]>);

/// The index seen through overlays, the newest first.
#[derive(Clone, Copy)]
pub struct View<'a> {
    layers: [Option<&'a Overlay>; 3],
    index: &'a Index,
}

impl<'a> View<'a> {
    /// What is durable: changes that wait for the index, those that are being applied, the index.
    pub fn new(layers: [Option<&'a Overlay>; 3], index: &'a Index) -> Self {
        Self { layers, index }
    }

    /// One value.
    pub fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        for layer in self.layers.iter().flatten() {
            if let Some(value) = layer.get(tree, key) {
                return Ok(value.clone());
            }
        }
        Ok(self.index.get(tree, key)?)
    }

    /// At most `limit` pairs between the bounds, ascending, or descending with `reverse`.
    pub fn range(
        &self,
        tree: Tree,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Pairs, StoreError> {
        if let (
            Bound::Included(low) | Bound::Excluded(low),
            Bound::Included(high) | Bound::Excluded(high),
        ) = (lower, upper)
            && low >= high
        {
            // Ordered maps panic on bounds in reverse.
            return Ok(Pairs::new());
        }
        let layers = self.layers.iter().flatten();
        let mut layers: Vec<_> = layers
            .map(|layer| direction(layer.range(tree, lower, upper), reverse).peekable())
            .collect();
        let mut stored = Stored::new(self.index, tree, lower, upper, limit, reverse);
        let first = |one: &[u8], other: &[u8]| if reverse { one > other } else { one < other };
        let mut pairs = Pairs::new();
        while pairs.len() < limit {
            let mut next: Option<Vec<u8>> = stored.peek()?.map(<[u8]>::to_vec);
            for layer in &mut layers {
                if let Some((key, _)) = layer.peek()
                    && next.as_deref().is_none_or(|next| first(key, next))
                {
                    next = Some(key.to_vec());
                }
            }
            let Some(key) = next else { break };
            // The newest layer that knows the key decides; all that hold it go on.
            let mut value = stored.take(&key);
            for layer in layers.iter_mut().rev() {
                if let Some((_, changed)) = layer.next_if(|(of, _)| *of == key) {
                    value = changed.map(<[u8]>::to_vec);
                }
            }
            pairs.extend(value.map(|value| (key, value)));
        }
        Ok(pairs)
    }

    /// All pairs whose key begins with `prefix`, at most `limit`.
    pub fn prefix(&self, tree: Tree, prefix: &[u8], limit: usize) -> Result<Pairs, StoreError> {
        let end = key::after_prefix(prefix);
        let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.range(tree, Bound::Included(prefix), upper, limit, false)
    }

    /// What is kept about one message in a tree whose keys begin with header digests, at most
    /// `limit`. The index is not asked about a message that came after all that it holds: what is
    /// about it came later still. A record that is only changed here says nothing of that.
    pub fn about(&self, tree: Tree, digest: &[u8], limit: usize) -> Result<Pairs, StoreError> {
        let layers = self.layers.iter().flatten();
        let is_new = layers.clone().any(|layer| layer.is_fresh(Tree::Messages, digest));
        if !is_new {
            return self.prefix(tree, digest, limit);
        }
        let end = key::after_prefix(digest);
        let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = BTreeMap::new();
        for layer in layers.rev() {
            for (key, value) in layer.range(tree, Bound::Included(digest), upper) {
                match value {
                    Some(value) => found.insert(key.to_vec(), value.to_vec()),
                    None => found.remove(key),
                };
            }
        }
        Ok(found.into_iter().take(limit).collect())
    }

    /// One record.
    pub fn record<T: Message + Default>(
        &self,
        tree: Tree,
        key: &[u8],
    ) -> Result<Option<T>, StoreError> {
        for layer in self.layers.iter().flatten() {
            if let Some(value) = layer.get(tree, key) {
                return value.as_deref().map(|value| decode(tree, value)).transpose();
            }
        }
        self.index.get(tree, key)?.map(|value| decode(tree, &value)).transpose()
    }

    /// A number of [`Tree::Counters`]; 0 when there is none.
    pub fn counter(&self, name: &str, peer: &str) -> Result<u64, StoreError> {
        let value = self.get(Tree::Counters, &key::counter(name, peer))?;
        Ok(value.and_then(|value| value.try_into().ok()).map_or(0, u64::from_be_bytes))
    }

    /// Receipts up to this number are confirmed by a peer, or are of a log that ended.
    pub fn confirmed(&self, peer: &str) -> Result<u64, StoreError> {
        let confirmed = self.counter("receipts-confirmed", peer)?;
        Ok(confirmed.max(self.counter("receipts-from", peer)?))
    }

    /// The record of a message.
    pub fn message(&self, digest: &Digest) -> Result<Option<MessageRecord>, StoreError> {
        self.record(Tree::Messages, digest.as_bytes())
    }

    /// The outbox entry of a message towards one recipient.
    pub fn entry(&self, digest: &Digest, to: &str) -> Result<Option<EntryRecord>, StoreError> {
        self.record(Tree::Outbox, &key::entry(digest, to))
    }
}

/// Pairs of the index, read a page at a time.
struct Stored<'a> {
    index: &'a Index,
    tree: Tree,
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    reverse: bool,
    page: std::vec::IntoIter<(Vec<u8>, Vec<u8>)>,
    page_max: usize,
    ended: bool,
    head: Option<(Vec<u8>, Vec<u8>)>,
}

impl<'a> Stored<'a> {
    fn new(
        index: &'a Index,
        tree: Tree,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Self {
        Self {
            index,
            tree,
            lower: lower.map(<[u8]>::to_vec),
            upper: upper.map(<[u8]>::to_vec),
            reverse,
            page: Vec::new().into_iter(),
            page_max: limit.clamp(1, PAGE_MAX),
            ended: false,
            head: None,
        }
    }

    /// The next key.
    fn peek(&mut self) -> Result<Option<&[u8]>, StoreError> {
        if self.head.is_none() {
            if self.page.len() == 0 && !self.ended {
                self.read()?;
            }
            self.head = self.page.next();
        }
        Ok(self.head.as_ref().map(|(key, _)| key.as_slice()))
    }

    /// The value of the next key, if that is this one.
    fn take(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.head.take_if(|(head, _)| head == key).map(|(_, value)| value)
    }

    fn read(&mut self) -> Result<(), StoreError> {
        let (lower, upper) = (as_slices(&self.lower), as_slices(&self.upper));
        let page = self.index.range(self.tree, lower, upper, self.page_max, self.reverse)?;
        self.ended = page.len() < self.page_max;
        if let Some((last, _)) = page.last() {
            let rest = Bound::Excluded(last.clone());
            if self.reverse { self.upper = rest } else { self.lower = rest }
        }
        self.page = page.into_iter();
        Ok(())
    }
}

fn as_slices(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

/// An iterator from either end.
fn direction<'a, T>(
    iterator: impl DoubleEndedIterator<Item = T> + 'a,
    reverse: bool,
) -> Box<dyn Iterator<Item = T> + 'a> {
    if reverse { Box::new(iterator.rev()) } else { Box::new(iterator) }
}

/// A record out of its bytes; anything else in the index is damage.
pub fn decode<T: Message + Default>(tree: Tree, value: &[u8]) -> Result<T, StoreError> {
    T::decode(value).map_err(|_| StoreError::IndexDamaged(tree.name()))
}

/// Pairs that are read of the index at once.
const PAGE_MAX: usize = 1024;

/// Keys up to here are kept within a map: those that begin with a digest and end with a number or
/// a unit's name.
const KEY_BYTES: usize = 56;

/// What a change costs besides its bytes.
const ENTRY_COST: usize = 96;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::store::index::MemoryIndex;

    fn layer() -> impl Strategy<Value = BTreeMap<u8, Option<u8>>> {
        proptest::collection::btree_map(0u8..24, proptest::option::of(any::<u8>()), 0..16)
    }

    /// A key that comes and goes before the index saw it never reaches the index, also when it goes
    /// in a later batch; one that may be in the index is deleted there.
    #[test]
    fn fresh_keys_that_go_leave_nothing() {
        let op = |key: u8, value: Option<u8>, fresh| Op {
            tree: Tree::Due,
            key: vec![key],
            value: value.map(|v| vec![v]),
            fresh,
        };
        let mut front = Overlay::default();
        front.insert(op(1, Some(1), true), 1);
        front.insert(op(2, Some(1), true), 1);
        front.insert(op(3, Some(1), false), 1);
        let mut batch = Overlay::default();
        batch.insert(op(1, Some(2), false), 2);
        batch.insert(op(2, None, false), 2);
        batch.insert(op(3, None, false), 2);
        batch.insert(op(4, None, false), 2);
        front.absorb(batch);
        front.insert(op(1, None, false), 3);
        let left: Vec<_> =
            front.changes().map(|change| (change.key.to_vec(), change.value)).collect();
        assert_eq!(left, [(vec![3], None), (vec![4], None)]);
        assert_eq!((front.len(), front.through_seq()), (2, 3));
        assert_eq!(front.bytes(), 2 * (1 + ENTRY_COST));
    }

    /// What is about a message is found in overlays and index alike, also when the record of an old
    /// message is changed; of one that came just now the overlays have all.
    #[test]
    fn all_about_a_message_is_found() {
        let op =
            |tree, key: &[u8], fresh| Op { tree, key: key.to_vec(), value: Some(vec![1]), fresh };
        let index = Index::Memory(MemoryIndex::default());
        let old = [op(Tree::Messages, b"old", true), op(Tree::Receipts, b"old-1", false)];
        index.apply_ops(&old, 1).unwrap();
        let (mut applying, mut front) = (Overlay::default(), Overlay::default());
        applying.insert(op(Tree::Messages, b"new", true), 2);
        applying.insert(op(Tree::Receipts, b"new-1", false), 2);
        front.insert(op(Tree::Messages, b"old", false), 3);
        for key in [b"old-2", b"new-2"] {
            front.insert(op(Tree::Receipts, key, false), 3);
        }
        front.insert(Op { value: None, ..op(Tree::Receipts, b"new-1", false) }, 3);
        let view = View::new([Some(&front), Some(&applying), None], &index);
        let about = |digest: &[u8]| -> Vec<Vec<u8>> {
            let pairs = view.about(Tree::Receipts, digest, 9).unwrap();
            pairs.into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(about(b"old"), [b"old-1".to_vec(), b"old-2".to_vec()]);
        assert_eq!(about(b"new"), [b"new-2".to_vec()]);
        assert!(about(b"none").is_empty());
    }

    proptest! {
        /// Whatever is split over index and overlays, a range reads like one map.
        #[test]
        fn layers_read_like_one_map(
            layers in proptest::collection::vec(layer(), 4),
            low in 0u8..24, high in 0u8..26, limit in 1usize..9, reverse in any::<bool>(),
        ) {
            let index = Index::Memory(MemoryIndex::default());
            let mut overlays = [Overlay::default(), Overlay::default(), Overlay::default()];
            let mut model = BTreeMap::new();
            for (depth, layer) in layers.iter().enumerate() {
                let ops = layer.iter().map(|(key, value)| {
                    let value = value.map(|v| vec![v]);
                    Op { tree: Tree::Due, key: vec![*key], value, fresh: false }
                });
                match depth.checked_sub(1) {
                    None => index.apply_ops(&ops.collect::<Vec<_>>(), 1).unwrap(),
                    Some(nth) => ops.for_each(|op| overlays.get_mut(nth).unwrap().insert(op, 1)),
                }
                for (key, value) in layer {
                    match value { Some(v) => model.insert(*key, *v), None => model.remove(key) };
                }
            }
            let [oldest, middle, newest] = &overlays;
            let view = View::new([Some(newest), Some(middle), Some(oldest)], &index);
            let got = view
                .range(Tree::Due, Bound::Included(&[low]), Bound::Excluded(&[high]), limit, reverse)
                .unwrap();
            let inside = model.iter().filter(|(k, _)| **k >= low && **k < high);
            let mut want: Vec<_> = inside.map(|(k, v)| (vec![*k], vec![*v])).collect();
            if reverse {
                want.reverse();
            }
            want.truncate(limit);
            prop_assert_eq!(got, want);
            for key in 0..24 {
                let want = model.get(&key).map(|v| vec![*v]);
                prop_assert_eq!(view.get(Tree::Due, &[key]).unwrap(), want);
            }
            prop_assert_eq!(view.get(Tree::Outbox, &[1]).unwrap(), None);
        }
    }
}
