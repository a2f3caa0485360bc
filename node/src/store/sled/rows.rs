//! Pairs that are written together share a row: what sled does costs by the key, not by the byte.
//!
//! All that is kept about one message is one row, and so are the pairs of 32 neighbouring numbers.
//! A row is bounded: what does not fit, and every key that is not of the expected form, stands
//! alone in its tree. Invariants: where a pair may stand follows from its key, a pair in a row
//! hides one that stands alone, a delete finds both; so replaying changes from any earlier mark
//! ends in the same pairs.

use std::ops::Bound;

use bytes::Bytes;
use prost::Message;

use crate::store::index::{IndexError, Tree};

/// Trees whose pairs share rows, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shared {
    /// By the start of the header digest that the keys begin with, with pairs of the other such
    /// trees.
    Message { member: u8 },
    /// By a number at the end of keys of this length.
    Run { length: usize },
    /// By a number of eight bytes after a name and a zero.
    NamedRun,
}

/// How the pairs of a tree share rows; nothing: each stands alone.
pub(super) fn shared(tree: Tree) -> Option<Shared> {
    match tree {
        Tree::Messages => Some(Shared::Message { member: 1 }),
        Tree::Outbox => Some(Shared::Message { member: 2 }),
        Tree::Receipts => Some(Shared::Message { member: 3 }),
        Tree::Statements => Some(Shared::Message { member: 4 }),
        Tree::Timeline => Some(Shared::Run { length: 8 }),
        Tree::TreeHashes => Some(Shared::Run { length: 12 }),
        Tree::Transfers | Tree::Owed => Some(Shared::NamedRun),
        _ => None,
    }
}

impl Shared {
    /// The name of sled's tree of rows; never changes its meaning.
    pub(super) fn rows_of(self, tree: Tree) -> &'static str {
        match (self, tree) {
            (Self::Message { .. }, _) => "rows-of-messages",
            (_, Tree::Timeline) => "rows-of-timeline",
            (_, Tree::TreeHashes) => "rows-of-tree-hashes",
            (_, Tree::Owed) => "rows-of-owed",
            _ => "rows-of-transfers",
        }
    }

    /// The name of sled's tree that tells where a group's row is; nothing: under the group's name.
    pub(super) fn places(self) -> Option<&'static str> {
        matches!(self, Self::Message { .. }).then_some("places-of-messages")
    }

    /// The group of a pair and its name there; nothing: it stands alone.
    pub(super) fn place(self, key: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        if let Self::Message { member } = self {
            let (group, rest) = key.split_at_checked(GROUP_BYTES)?;
            let is_about = key.len() >= DIGEST_BYTES;
            return is_about.then(|| (group.to_vec(), [&[member], rest].concat()));
        }
        let numbered = match self {
            Self::Run { length } => key.len() == length,
            _ => name_end(key).is_some_and(|end| key.len() == end + NUMBER_BYTES),
        };
        let (last, start) = key.split_last().filter(|_| numbered)?;
        Some(([start, &[last / RUN_LENGTH]].concat(), vec![*last]))
    }

    /// The key of a pair by its group and its name there; nothing: it is another tree's.
    fn key(self, group: &[u8], slot: &[u8]) -> Option<Vec<u8>> {
        let (first, rest) = slot.split_first()?;
        match self {
            Self::Message { member } => (*first == member).then(|| [group, rest].concat()),
            _ => Some([group.split_last()?.1, slot].concat()),
        }
    }

    /// Between which groups the pairs between two keys are. They may be more than needed.
    pub(super) fn rows(
        self,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
    ) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let lower = match lower {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(key) | Bound::Excluded(key) => Bound::Included(match self {
                Self::Message { .. } => key.get(..GROUP_BYTES).unwrap_or(key).to_vec(),
                Self::Run { length } => key.get(..length - 1).unwrap_or(key).to_vec(),
                // Names may be long: what is wanted begins in the row of the first number.
                Self::NamedRun => match self.place(key) {
                    Some((group, _)) => group,
                    None => key.get(..name_end(key).unwrap_or(0)).unwrap_or(key).to_vec(),
                },
            }),
        };
        // A group's name is never above the keys of its pairs.
        let upper = match upper {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(key) | Bound::Excluded(key) => Bound::Included(key.to_vec()),
        };
        (lower, upper)
    }

    /// The pairs of this tree in a group's row, in the order of their keys.
    pub(super) fn pairs(self, group: &[u8], row: Row) -> Vec<(Vec<u8>, Vec<u8>)> {
        let pairs = row.slots.into_iter();
        pairs.filter_map(|slot| Some((self.key(group, &slot.name)?, slot.value.to_vec()))).collect()
    }
}

/// Where the name at the start of a key ends, its zero included.
fn name_end(key: &[u8]) -> Option<usize> {
    key.iter().position(|byte| *byte == 0).map(|at| at + 1)
}

/// Pairs that are stored as one value, ordered by their names.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Row {
    #[prost(message, repeated, tag = "1")]
    slots: Vec<Slot>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Slot {
    #[prost(bytes = "bytes", tag = "1")]
    name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

impl Row {
    pub(super) fn read(stored: &[u8]) -> Result<Self, IndexError> {
        let row = Self::decode(Bytes::copy_from_slice(stored));
        row.map_err(|_| IndexError::Damaged { detail: "a row cannot be read".to_owned() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.find(name).is_ok()
    }

    /// The value by that name.
    pub(super) fn take(self, name: &[u8]) -> Option<Vec<u8>> {
        let at = self.find(name).ok()?;
        self.slots.get(at).map(|slot| slot.value.to_vec())
    }

    /// Puts a pair here, in the place of an older one. `false`: there is no room, and none is here
    /// by that name any more.
    pub(super) fn put(&mut self, name: &[u8], value: &[u8]) -> bool {
        let found = self.find(name);
        if let Ok(at) = found {
            self.slots.remove(at);
        }
        let fits = self.encoded_len() + name.len() + value.len() + SLOT_BYTES <= ROW_BYTES_MAX;
        if fits {
            let (name, value) = (Bytes::copy_from_slice(name), Bytes::copy_from_slice(value));
            self.slots.insert(found.unwrap_or_else(|at| at), Slot { name, value });
        }
        fits
    }

    /// Whether it was here.
    pub(super) fn remove(&mut self, name: &[u8]) -> bool {
        self.find(name).map(|at| self.slots.remove(at)).is_ok()
    }

    fn find(&self, name: &[u8]) -> Result<usize, usize> {
        self.slots.binary_search_by(|slot| slot.name[..].cmp(name))
    }
}

/// sled holds up to 16 values in a page; far larger pages would become files of their own.
const ROW_BYTES_MAX: usize = 4096;
/// What a pair takes besides its name and value, at most.
const SLOT_BYTES: usize = 12;
const RUN_LENGTH: u8 = 32;
const DIGEST_BYTES: usize = 32;
/// With the eight bytes of a sequence before it, this is as long as a key may be that sled keeps in
/// its node. Digests that begin alike share a row.
const GROUP_BYTES: usize = 14;
const NUMBER_BYTES: usize = 8;
