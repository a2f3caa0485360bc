//! The projection's key-value substrate: closed set of trees, batches that carry the journal
//! sequence they came from. Enter through `Index`. It knows nothing of what the keys mean.
//! Invariant: a tree's applied sequence is written in the same batch as its content, so after a
//! crash a tree never claims more than it holds, save what the disk itself lost; therefore only
//! `make_durable` followed by a mark in the journal proves anything after an unclean stop.

mod memory;

use std::io;
use std::ops::Bound;

pub use memory::MemoryIndex;

use crate::store::sled::SledIndex;

/// The projection, in one of its variants.
#[derive(Debug)]
pub enum Index {
    Memory(MemoryIndex),
    Sled(SledIndex),
}

/// A pair as it is read.
pub type Pair = (Vec<u8>, Vec<u8>);

impl Index {
    pub fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        match self {
            Index::Memory(index) => Ok(index.get(tree, key)),
            Index::Sled(index) => index.get(tree, key),
        }
    }

    /// At most `limit` pairs between the bounds, in key order, or from the top with `reverse`.
    pub fn range(
        &self,
        tree: Tree,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Pair>, IndexError> {
        if is_empty(lower, upper) {
            return Ok(Vec::new());
        }
        match self {
            Index::Memory(index) => Ok(index.range(tree, lower, upper, limit, reverse)),
            Index::Sled(index) => index.range(tree, lower, upper, limit, reverse),
        }
    }

    /// Puts and deletes, one atomic batch per tree, each carrying `through_seq`, the last journal
    /// sequence that these operations come from. Calls come in journal order. Nothing is applied
    /// if any operation breaks a limit. After any other error the content is unknown: replay.
    pub fn apply(&self, ops: &[Op], through_seq: u64) -> Result<(), IndexError> {
        for op in ops {
            check(op)?;
        }
        match self {
            Index::Memory(index) => {
                index.apply(ops, through_seq);
                Ok(())
            }
            Index::Sled(index) => index.apply(ops, through_seq),
        }
    }

    /// Everything up to here is applied: the last `through_seq`, and after opening the least
    /// over all trees.
    pub fn applied(&self) -> u64 {
        match self {
            Index::Memory(index) => index.applied(),
            Index::Sled(index) => index.applied(),
        }
    }

    /// Returns once all that was applied before the call survives a power cut, with the sequence
    /// that it reaches: what the journal's index mark may then say.
    pub fn make_durable(&self) -> Result<u64, IndexError> {
        match self {
            Index::Memory(index) => Ok(index.applied()),
            Index::Sled(index) => index.make_durable(),
        }
    }

    /// Number of pairs; walks the whole tree, so for checks only.
    pub fn len(&self, tree: Tree) -> Result<usize, IndexError> {
        match self {
            Index::Memory(index) => Ok(index.len(tree)),
            Index::Sled(index) => index.len(tree),
        }
    }
}

/// One put (`Some`) or delete (`None`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    pub tree: Tree,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// Why the index refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The caller's fault; nothing was applied.
    #[error("value of {found} bytes in tree {tree}, at most {VALUE_BYTES_MAX} fit")]
    ValueTooLarge { tree: &'static str, found: usize },
    /// The caller's fault; nothing was applied.
    #[error("key of {found} bytes in tree {tree}, at most {KEY_BYTES_MAX} fit")]
    KeyTooLarge { tree: &'static str, found: usize },
    /// The caller's fault; nothing was applied.
    #[error("key in tree {tree} is reserved for the applied sequence")]
    ReservedKey { tree: &'static str },
    /// Does not open, or reads wrongly: set it aside and rebuild it from the journal.
    #[error("index damaged: {detail}")]
    Damaged { detail: String },
    /// The disk failed or is full; the index itself may be sound.
    #[error("index i/o failed: {step}")]
    Io {
        step: &'static str,
        source: io::Error,
    },
}

macro_rules! trees {
    ($($tree:ident => $name:literal),* $(,)?) => {
        /// The closed set of trees.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Tree { $($tree),* }

        impl Tree {
            /// The name on disk; never changes its meaning.
            pub fn name(self) -> &'static str {
                match self { $(Tree::$tree => $name),* }
            }

            pub fn all() -> &'static [Tree] {
                &[$(Tree::$tree),*]
            }
        }
    };
}

trees! {
    Messages => "messages",
    ById => "by-id",
    Timeline => "timeline",
    Requests => "requests",
    Outbox => "outbox",
    Due => "due",
    Expiry => "expiry",
    Receipts => "receipts",
    Owed => "owed",
    TreeHashes => "tree-hashes",
    Peers => "peers",
    Checkpoints => "checkpoints",
    Counters => "counters",
    Acks => "acks",
    Refused => "refused",
    Unacknowledged => "unacknowledged",
    Transfers => "transfers",
    Alarms => "alarms",
    Erased => "erased",
    Backoff => "backoff",
    Meta => "meta",
}

/// Larger values leave sled's pages for files of their own, whose directory entry it never
/// makes durable; content lives in the journal, the index holds positions.
pub const VALUE_BYTES_MAX: usize = 64 << 10;
/// Ids, times and numbers; more is a mistake.
pub const KEY_BYTES_MAX: usize = 1024;
/// Holds the applied sequence of each tree; never shown.
pub(in crate::store) const APPLIED_KEY: &[u8] = b"\0applied-sequence";

fn check(op: &Op) -> Result<(), IndexError> {
    let tree = op.tree.name();
    if op.key == APPLIED_KEY {
        return Err(IndexError::ReservedKey { tree });
    }
    if op.key.len() > KEY_BYTES_MAX {
        return Err(IndexError::KeyTooLarge {
            tree,
            found: op.key.len(),
        });
    }
    match &op.value {
        Some(value) if value.len() > VALUE_BYTES_MAX => Err(IndexError::ValueTooLarge {
            tree,
            found: value.len(),
        }),
        _ => Ok(()),
    }
}

/// Bounds that hold nothing; ordered maps panic on some of them.
fn is_empty(lower: Bound<&[u8]>, upper: Bound<&[u8]>) -> bool {
    match (lower, upper) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (
            Bound::Included(low) | Bound::Excluded(low),
            Bound::Included(high) | Bound::Excluded(high),
        ) => low >= high,
    }
}
