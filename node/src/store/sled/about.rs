//! All that is kept about one message is one row: what sled does costs by the key, not by the byte.
//!
//! A row is bounded: what does not fit, and every key that is not of the expected form, stands in
//! its own tree. Invariants: where a pair may stand follows from its key, a pair in a row hides one
//! in its tree, a delete finds both; so replaying changes from any earlier mark ends in the same
//! pairs.

use std::collections::BTreeMap;
use std::ops::Bound;

use ::sled::{Db, IVec};
use prost::Message as _;

use super::row::Row;
use super::runs::{Changes, Runs};
use super::{each, failed};
use crate::store::index::{IndexError, Pair, Tree};

/// Rows of messages, in the order in which they were made. Their digests have no order, and what
/// comes next would be written all over what has long left the cache.
#[derive(Debug)]
pub(super) struct AboutMessages {
    rows: ::sled::Tree,
    /// Where a row is, by the start of its message's digest.
    places: Runs,
}

/// What a row has in common with its message's digest.
pub(super) type Group = [u8; GROUP_BYTES];

/// The number of a tree in rows of messages, if its pairs stand there; never changes its meaning.
pub(super) fn member(tree: Tree) -> Option<u8> {
    match tree {
        Tree::Messages => Some(1),
        Tree::Outbox => Some(2),
        Tree::Receipts => Some(3),
        Tree::Statements => Some(4),
        _ => None,
    }
}

/// The row of a pair and its name there; nothing: it stands in its tree.
pub(super) fn place(member: u8, key: &[u8]) -> Option<(Group, Vec<u8>)> {
    let (group, rest) = key.split_first_chunk()?;
    (key.len() >= DIGEST_BYTES).then(|| (*group, [&[member], rest].concat()))
}

/// A row that is to be changed.
#[derive(Debug)]
pub(super) struct Opened {
    pub row: Row,
    /// Nothing: it is to be made.
    key: Option<Vec<u8>>,
}

impl AboutMessages {
    pub(super) fn open(db: &Db) -> Result<Self, IndexError> {
        let rows = db.open_tree("rows-of-messages").map_err(failed("open tree"))?;
        Ok(Self { rows, places: Runs::open(db, "places-of-messages", PLACES_IN_A_ROW)? })
    }

    pub(super) fn get(&self, group: &Group, name: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.row(group)?.row.take(name))
    }

    /// The row of a message.
    pub(super) fn row(&self, group: &Group) -> Result<Opened, IndexError> {
        match self.places.get(group)? {
            Some(seq) => self.row_at(group, &seq),
            None => Ok(Opened { row: Row::default(), key: None }),
        }
    }

    fn row_at(&self, group: &[u8], seq: &[u8]) -> Result<Opened, IndexError> {
        let key = [seq, group].concat();
        let stored = self.rows.get(&key).map_err(failed("get"))?;
        let row = stored.map(|stored| Row::read(&stored)).transpose()?;
        // A place may be all that a crash left: the row is written under that key.
        Ok(Opened { row: row.unwrap_or_default(), key: Some(key) })
    }

    /// The pairs of one tree between two keys, and some more that are not between them.
    pub(super) fn range<'a>(
        &'a self,
        member: u8,
        lower: Bound<&'a [u8]>,
        upper: Bound<&'a [u8]>,
        reverse: bool,
    ) -> Result<impl Iterator<Item = Result<Pair, IndexError>> + 'a, IndexError> {
        let lower = match lower {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(key) | Bound::Excluded(key) => {
                Bound::Included(key.get(..GROUP_BYTES).unwrap_or(key))
            }
        };
        // A group is never above the keys of its pairs.
        let upper = match upper {
            Bound::Excluded(key) => Bound::Included(key),
            upper => upper,
        };
        let places = self.places.range(lower, upper, reverse)?;
        Ok(places.flat_map(move |place| {
            each(place.and_then(|(group, seq)| {
                let slots = self.row_at(&group, &seq)?.row.slots.into_iter();
                let mut pairs: Vec<Pair> = slots
                    .filter_map(|slot| {
                        let (first, rest) = slot.name.split_first()?;
                        let key = (*first == member).then(|| [&group, rest].concat())?;
                        Some((key, slot.value.to_vec()))
                    })
                    .collect();
                if reverse {
                    pairs.reverse();
                }
                Ok(pairs)
            }))
        }))
    }

    /// Writes rows as they were changed. Places of new ones come first, so that no row is without
    /// one.
    pub(super) fn write(
        &self,
        changed: BTreeMap<Group, Opened>,
        through_seq: u64,
    ) -> Result<(), IndexError> {
        let seq = through_seq.to_be_bytes();
        let mut places = Changes::new();
        for (group, opened) in &changed {
            if opened.key.is_none() && !opened.row.is_empty() {
                places.insert(group, Some(&seq));
            }
        }
        self.places.apply(&places)?;
        let mut gone = Changes::new();
        for (group, Opened { row, key }) in &changed {
            match key {
                Some(key) if row.is_empty() => {
                    self.rows.remove(key).map_err(failed("apply"))?;
                    gone.insert(group, None);
                }
                None if row.is_empty() => {}
                key => {
                    let begun = || [&seq[..], group].concat();
                    let key = IVec::from(key.clone().unwrap_or_else(begun));
                    self.rows.insert(key, row.encode_to_vec()).map_err(failed("apply"))?;
                }
            }
        }
        self.places.apply(&gone)
    }
}

const DIGEST_BYTES: usize = 32;
/// With the eight bytes of a sequence before it, this is as long as a key may be that sled keeps in
/// its node. Digests that begin alike share a row.
const GROUP_BYTES: usize = 14;
/// Digests have no order: each new one is written with all others of its row.
const PLACES_IN_A_ROW: usize = 8;
