//! The projection's key-value substrate: closed set of trees, batches that carry the journal
//! sequence they came from. Enter through `Index`. It knows nothing of what the keys mean.
//! Invariant: a tree's applied sequence is written with or after its content, so after a
//! crash a tree never claims more than it holds, save what the disk itself lost; therefore only
//! `make_durable` followed by a mark in the journal proves anything after an unclean stop.

mod memory;

use std::io;
use std::ops::Bound;

pub use memory::MemoryIndex;
use relay_proto::limits::CARD_BYTES_MAX;

use crate::store::{journal::is_short, sled::SledIndex};

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
            Index::Sled(index) => index.noting(index.get(tree, key)),
        }
    }

    /// What a read of it found that means that it has to be made anew.
    pub fn unsound(&self) -> Option<&str> {
        match self {
            Index::Memory(_) => None,
            Index::Sled(index) => index.unsound(),
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
            Index::Sled(index) => index.noting(index.range(tree, lower, upper, limit, reverse)),
        }
    }

    /// Puts and deletes, tree by tree, the last piece of each carrying `through_seq`, the last
    /// journal sequence that these operations come from. Calls come in journal order. Nothing is
    /// applied if any operation breaks a limit. After any other error the content is unknown:
    /// replay.
    pub fn apply<'a, C>(&self, changes: C, through_seq: u64) -> Result<(), IndexError>
    where
        C: Iterator<Item = Change<'a>> + Clone,
    {
        for change in changes.clone() {
            check(&change)?;
        }
        match self {
            Index::Memory(index) => {
                index.apply(changes, through_seq);
                Ok(())
            }
            Index::Sled(index) => index.apply(changes, through_seq),
        }
    }

    /// The same for changes that are held one by one.
    pub fn apply_ops(&self, ops: &[Op], through_seq: u64) -> Result<(), IndexError> {
        self.apply(ops.iter().map(Op::change), through_seq)
    }

    /// Everything up to here is applied: the last `through_seq`, and after opening the least
    /// over all trees.
    pub fn applied(&self) -> u64 {
        match self {
            Index::Memory(index) => index.applied(),
            Index::Sled(index) => index.applied(),
        }
    }

    /// The highest sequence that any tree claims to hold: beyond the journal's end, if the journal
    /// was set back.
    pub fn reach(&self) -> Result<u64, IndexError> {
        match self {
            Index::Memory(index) => Ok(index.applied()),
            Index::Sled(index) => index.reach(),
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
    /// Nothing ever had this key before: a put that is deleted again before it reached the index
    /// need not reach it at all.
    pub fresh: bool,
}

impl Op {
    /// The same, borrowed.
    pub fn change(&self) -> Change<'_> {
        Change { tree: self.tree, key: &self.key, value: self.value.as_deref() }
    }
}

/// An [`Op`] that somebody else holds.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    pub tree: Tree,
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
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
    Io { step: &'static str, source: io::Error },
}

impl IndexError {
    /// Whether nothing was synced because no file could be opened for it: that passes. Never of a
    /// sync itself: after a failed one nothing is tried again.
    pub fn lacks_descriptors(&self) -> bool {
        matches!(self, Self::Io { step: OPEN_TO_SYNC, source } if is_short(source))
    }

    /// Whether it can only be made anew. No room and too few descriptors pass.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Io { source, .. } => {
                let kind = source.kind();
                matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
                    || source.raw_os_error() == Some(nix::libc::EIO)
            }
            Self::ValueTooLarge { .. } | Self::KeyTooLarge { .. } | Self::ReservedKey { .. } => {
                false
            }
        }
    }
}

/// The step before a sync.
pub(in crate::store) const OPEN_TO_SYNC: &str = "open to sync";

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
    OwedAgain => "owed-again",
    Statements => "statements",
    Cases => "cases",
    Terms => "terms",
    Attachments => "attachments",
    Exchanges => "exchanges",
    TreeHashes => "tree-hashes",
    Peers => "peers",
    Cards => "cards",
    Checkpoints => "checkpoints",
    Counters => "counters",
    Acks => "acks",
    Refused => "refused",
    Unacknowledged => "unacknowledged",
    Transfers => "transfers",
    Alarms => "alarms",
    Standing => "standing-alarms",
    Erased => "erased",
    Backoff => "backoff",
    Audit => "audit",
    Approvals => "approvals",
    Meta => "meta",
}

/// A card, the largest that is kept here, with what is kept of its unit. Content lives in the
/// journal, the index holds positions.
pub const VALUE_BYTES_MAX: usize = CARD_BYTES_MAX + (16 << 10);
/// Ids, times and numbers; more is a mistake.
pub const KEY_BYTES_MAX: usize = 1024;
/// Holds the applied sequence of each tree; never shown.
pub(in crate::store) const APPLIED_KEY: &[u8] = b"\0applied-sequence";

/// Whether an operation keeps within the limits.
pub(in crate::store) fn check(change: &Change<'_>) -> Result<(), IndexError> {
    let Change { key, value, .. } = *change;
    let tree = change.tree.name();
    if key == APPLIED_KEY {
        return Err(IndexError::ReservedKey { tree });
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(IndexError::KeyTooLarge { tree, found: key.len() });
    }
    match value {
        Some(value) if value.len() > VALUE_BYTES_MAX => {
            Err(IndexError::ValueTooLarge { tree, found: value.len() })
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use std::collections::BTreeSet;

    use super::*;

    /// Runs on both variants: one suite, so that neither promises more than the other.
    fn with_each(run: impl Fn(&Index)) {
        run(&Index::Memory(MemoryIndex::new()));
        let dir = tempfile::tempdir().unwrap();
        run(&Index::Sled(SledIndex::open(&dir.path().join("index"), 1 << 20).unwrap()));
    }

    fn put(tree: Tree, key: &[u8], value: &[u8]) -> Op {
        Op { tree, key: key.to_vec(), value: Some(value.to_vec()), fresh: false }
    }

    /// Puts and deletes apply in order, trees are apart, the applied sequence moves.
    #[test]
    fn puts_and_deletes() {
        with_each(|index| {
            assert_eq!(index.applied(), 0);
            let delete = Op { value: None, ..put(Tree::Due, b"a", b"") };
            let ops = [
                put(Tree::Due, b"a", b"1"),
                put(Tree::Due, b"b", b"2"),
                delete.clone(),
                put(Tree::Meta, b"a", b"3"),
                put(Tree::Due, b"b", b"4"),
            ];
            index.apply_ops(&ops, 7).unwrap();
            assert_eq!(index.get(Tree::Due, b"a").unwrap(), None);
            assert_eq!(index.get(Tree::Due, b"b").unwrap(), Some(b"4".to_vec()));
            assert_eq!(index.get(Tree::Meta, b"a").unwrap(), Some(b"3".to_vec()));
            assert_eq!((index.len(Tree::Due).unwrap(), index.len(Tree::Acks).unwrap()), (1, 0));
            assert_eq!(index.applied(), 7);
            // Replay of the same events changes nothing.
            index.apply_ops(&ops, 7).unwrap();
            assert_eq!(index.get(Tree::Due, b"b").unwrap(), Some(b"4".to_vec()));
            index.apply_ops(&[], 9).unwrap();
            assert_eq!((index.applied(), index.make_durable().unwrap()), (9, 9));
        });
    }

    /// Every kind of bound, both directions, limits, and the reserved key never among the pairs,
    /// though it sorts between keys in use.
    #[test]
    fn ranges() {
        use Bound::{Excluded, Included, Unbounded};
        with_each(|index| {
            let keys: [&[u8]; 5] = [b"\0", b"\0b", b"a", b"ab", b"b"];
            let ops: Vec<Op> = keys.iter().map(|key| put(Tree::Outbox, key, key)).collect();
            index.apply_ops(&ops, 1).unwrap();
            let find = |lower, upper, limit, reverse| -> Vec<Vec<u8>> {
                let found = index.range(Tree::Outbox, lower, upper, limit, reverse).unwrap();
                found.into_iter().map(|pair| pair.0).collect()
            };
            assert_eq!(find(Unbounded, Unbounded, 9, false), keys);
            assert_eq!(find(Unbounded, Unbounded, 2, true), [b"b".to_vec(), b"ab".to_vec()]);
            assert_eq!(find(Excluded(b"\0"), Unbounded, 1, false), [b"\0b".to_vec()]);
            assert_eq!(find(Included(b"a"), Excluded(b"b"), 9, false), keys[2..4]);
            assert_eq!(
                find(Excluded(b"a"), Included(b"b"), 9, true),
                [b"b".to_vec(), b"ab".to_vec()]
            );
            assert!(find(Unbounded, Unbounded, 0, false).is_empty());
            // Bounds that hold nothing, and that an ordered map would panic on.
            assert!(find(Included(b"b"), Included(b"a"), 9, false).is_empty());
            assert!(find(Excluded(b"a"), Excluded(b"a"), 9, false).is_empty());
            assert_eq!(find(Included(b"a"), Included(b"a"), 9, false), [b"a".to_vec()]);
        });
    }

    /// A batch with one operation over a limit leaves nothing behind.
    #[test]
    fn limits_refuse_the_whole_batch() {
        with_each(|index| {
            let good = put(Tree::Peers, b"a", &[1; VALUE_BYTES_MAX]);
            let refuse = |bad| index.apply_ops(&[good.clone(), bad], 5).unwrap_err();
            let large = refuse(put(Tree::Peers, b"b", &[1; VALUE_BYTES_MAX + 1]));
            assert!(matches!(large, IndexError::ValueTooLarge { tree: "peers", .. }));
            let long = refuse(put(Tree::Peers, &[1; KEY_BYTES_MAX + 1], b""));
            assert!(matches!(long, IndexError::KeyTooLarge { .. }));
            let reserved = refuse(put(Tree::Peers, APPLIED_KEY, b""));
            assert!(matches!(reserved, IndexError::ReservedKey { .. }));
            assert_eq!((index.applied(), index.len(Tree::Peers).unwrap()), (0, 0));
            assert_eq!(index.get(Tree::Peers, APPLIED_KEY).unwrap(), None);
            index
                .apply_ops(&[good.clone(), put(Tree::Peers, &[1; KEY_BYTES_MAX], b"")], 5)
                .unwrap();
            assert_eq!(index.len(Tree::Peers).unwrap(), 2);
        });
    }

    #[test]
    fn tree_names_are_unique() {
        let names: BTreeSet<&str> = Tree::all().iter().map(|tree| tree.name()).collect();
        assert_eq!(names.len(), Tree::all().len());
    }
}
