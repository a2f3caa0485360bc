//! RFC 6962 trees: hashes, the right edge that an append needs, and the making of proofs.
//!
//! Hashes of complete subtrees are stored once and never change; a [`Position`] names one and gives
//! its place in an append-only file (the layout of golang.org/x/mod/sumdb/tlog). Invariant: what
//! [`Frontier::append`] returns, written in order, is that file.

use std::convert::Infallible;

use crate::ids::Digest;

/// A complete subtree: the leaves `index << level` up to `(index + 1) << level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// 0 for a leaf.
    pub level: u8,
    /// Counted from the left within the level.
    pub index: u64,
}

impl Position {
    /// How many hashes stand before this one in the file of all stored hashes.
    pub fn stored_index(self) -> u64 {
        // The subtree is complete with its last leaf, and stands `level` hashes after that leaf.
        let last_leaf = (self.index << self.level) | ((1 << self.level) - 1);
        let mut before = u64::from(self.level);
        let mut rest = last_leaf;
        while rest > 0 {
            before += rest;
            rest >>= 1;
        }
        before
    }

    /// How many hashes the file holds for a tree of `size` leaves.
    pub fn stored_count(size: u64) -> u64 {
        // One for each leaf and one for each complete pair of subtrees: 2n - (number of ones of n).
        size.saturating_mul(2) - u64::from(size.count_ones())
    }
}

/// Where stored hashes are read from. One call asks for all hashes of one proof.
pub trait HashReader {
    /// Why a read failed.
    type Error;

    /// The hashes at these positions, in the order asked.
    fn read(&self, positions: &[Position]) -> Result<Vec<Digest>, Self::Error>;
}

/// Why a root or proof could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError<E> {
    /// Index outside the tree, shrinking sizes, or more leaves than a log may have.
    #[error("index or size is out of range")]
    Range,
    /// The reader gave fewer hashes than it was asked for.
    #[error("stored hashes are missing")]
    Missing,
    /// The reader failed.
    #[error("stored hashes cannot be read")]
    Read(#[source] E),
}

/// The roots of the complete subtrees that a tree consists of, largest first: all that an append
/// needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    hashes: Vec<Digest>,
}

impl Frontier {
    /// Of an empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of a tree of `size` leaves whose stored hashes are at hand.
    pub fn load<R: HashReader>(size: u64, reader: &R) -> Result<Self, TreeError<R::Error>> {
        let range = Range::whole(size).ok_or(TreeError::Range)?;
        Ok(Self { size, hashes: read(reader, &range.positions())? })
    }

    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree so far.
    pub fn root(&self) -> Digest {
        fold(&self.hashes)
    }

    /// Adds a leaf by its hash; returns the subtrees that became complete, the leaf first.
    ///
    /// Appended to a file in this order they stand at their [`Position::stored_index`]. `None` when
    /// the log has as many leaves as a log may have.
    pub fn append(&mut self, leaf_hash: Digest) -> Option<Vec<(Position, Digest)>> {
        if self.size >= TREE_SIZE_MAX {
            return None;
        }
        let mut position = Position { level: 0, index: self.size };
        let mut hash = leaf_hash;
        let mut complete = vec![(position, hash)];
        while position.index & 1 == 1 {
            let left = self.hashes.pop().expect("an odd node has a left sibling in the frontier");
            hash = node_hash(&left, &hash);
            position = Position { level: position.level + 1, index: position.index >> 1 };
            complete.push((position, hash));
        }
        self.hashes.push(hash);
        self.size += 1;
        Some(complete)
    }
}

/// All hashes in memory, for tests and the simulator.
#[derive(Debug, Clone, Default)]
pub struct MemoryTree {
    frontier: Frontier,
    hashes: Vec<Digest>,
}

impl MemoryTree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a leaf; returns its index.
    pub fn append(&mut self, leaf_hash: Digest) -> u64 {
        let index = self.frontier.size();
        let complete = self.frontier.append(leaf_hash).expect("memory ends long before 2^62");
        self.hashes.extend(complete.into_iter().map(|(_, hash)| hash));
        index
    }

    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root of the tree so far.
    pub fn root(&self) -> Digest {
        self.frontier.root()
    }
}

impl HashReader for MemoryTree {
    type Error = Infallible;

    fn read(&self, positions: &[Position]) -> Result<Vec<Digest>, Infallible> {
        let at = |p: &Position| usize::try_from(p.stored_index()).ok();
        let hash = |p| at(p).and_then(|i| self.hashes.get(i)).copied();
        Ok(positions.iter().map_while(hash).collect())
    }
}

/// SHA-256(0x00 || leaf), RFC 6962 section 2.1.
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    Digest::of_parts(&[&[0], leaf])
}

/// SHA-256(0x01 || left || right), RFC 6962 section 2.1.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::of_parts(&[&[1], left.as_bytes(), right.as_bytes()])
}

/// The root of a tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Digest {
    Digest::of(b"")
}

/// The root that the tree had at `size` leaves.
pub fn root_at<R: HashReader>(size: u64, reader: &R) -> Result<Digest, TreeError<R::Error>> {
    Frontier::load(size, reader).map(|frontier| frontier.root())
}

/// The audit path of leaf `index` in the tree of `size` leaves, RFC 6962 section 2.1.1.
pub fn inclusion_proof<R: HashReader>(
    index: u64,
    size: u64,
    reader: &R,
) -> Result<Vec<Digest>, TreeError<R::Error>> {
    let mut range = Range::whole(size).filter(|_| index < size).ok_or(TreeError::Range)?;
    let mut siblings = Vec::new();
    while range.len() > 1 {
        let (left, right) = range.split();
        let (inside, sibling) = if index < right.from { (left, right) } else { (right, left) };
        siblings.push(sibling);
        range = inside;
    }
    siblings.reverse();
    hashes_of(&siblings, reader)
}

/// The proof that the tree of `size2` begins with the tree of `size1`, RFC 6962 section 2.1.2.
///
/// `size1` is at least 1: from an empty tree nothing is proven.
pub fn consistency_proof<R: HashReader>(
    size1: u64,
    size2: u64,
    reader: &R,
) -> Result<Vec<Digest>, TreeError<R::Error>> {
    let valid = size1 > 0 && size1 <= size2;
    let mut range = Range::whole(size2).filter(|_| valid).ok_or(TreeError::Range)?;
    let mut ranges = Vec::new();
    while range.to != size1 {
        let (left, right) = range.split();
        let (inside, sibling) = if size1 <= right.from { (left, right) } else { (right, left) };
        ranges.push(sibling);
        range = inside;
    }
    // The older root itself is not repeated: whoever checks has it.
    if range.from > 0 {
        ranges.push(range);
    }
    ranges.reverse();
    hashes_of(&ranges, reader)
}

/// Leaves `from` up to `to` that are a subtree, complete or at the right edge.
#[derive(Clone, Copy)]
struct Range {
    from: u64,
    to: u64,
}

impl Range {
    fn whole(size: u64) -> Option<Self> {
        (size <= TREE_SIZE_MAX).then_some(Self { from: 0, to: size })
    }

    fn len(self) -> u64 {
        self.to - self.from
    }

    /// At the largest power of two below the length; there are at least two leaves.
    fn split(self) -> (Self, Self) {
        let middle = self.from + (1 << (self.len() - 1).ilog2());
        (Self { to: middle, ..self }, Self { from: middle, ..self })
    }

    /// The complete subtrees that it consists of, largest first.
    fn positions(self) -> Vec<Position> {
        let mut from = self.from;
        let mut positions = Vec::new();
        while from < self.to {
            let level = (self.to - from).ilog2();
            let level_small = u8::try_from(level).expect("a u64 has 64 bits");
            positions.push(Position { level: level_small, index: from >> level });
            from += 1 << level;
        }
        positions
    }
}

fn hashes_of<R: HashReader>(
    ranges: &[Range],
    reader: &R,
) -> Result<Vec<Digest>, TreeError<R::Error>> {
    let counts: Vec<usize> = ranges.iter().map(|range| range.positions().len()).collect();
    let positions: Vec<Position> = ranges.iter().flat_map(|range| range.positions()).collect();
    let stored = read(reader, &positions)?;
    let mut rest = stored.as_slice();
    let mut hashes = Vec::with_capacity(ranges.len());
    for count in counts {
        let (these, after) = rest.split_at_checked(count).ok_or(TreeError::Missing)?;
        hashes.push(fold(these));
        rest = after;
    }
    Ok(hashes)
}

fn read<R: HashReader>(
    reader: &R,
    positions: &[Position],
) -> Result<Vec<Digest>, TreeError<R::Error>> {
    if positions.is_empty() {
        return Ok(Vec::new());
    }
    let hashes = reader.read(positions).map_err(TreeError::Read)?;
    if hashes.len() == positions.len() { Ok(hashes) } else { Err(TreeError::Missing) }
}

/// The root over complete subtrees, largest first.
fn fold(hashes: &[Digest]) -> Digest {
    let mut from_right = hashes.iter().rev();
    let Some(last) = from_right.next() else { return empty_root() };
    from_right.fold(*last, |right, left| node_hash(left, &right))
}

/// Most leaves of a log; every index into the stored hashes then fits 64 bits.
pub const TREE_SIZE_MAX: u64 = 1 << 62;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;
    use crate::tlog::verify::{ProofError, verify_consistency, verify_inclusion};

    fn leaves(count: u64) -> Vec<Digest> {
        (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    fn tree(leaves: &[Digest]) -> MemoryTree {
        let mut tree = MemoryTree::new();
        for leaf in leaves {
            tree.append(*leaf);
        }
        tree
    }

    fn split(length: usize) -> usize {
        length.next_power_of_two() / 2
    }

    /// MTH of RFC 6962 section 2.1, word for word.
    fn naive_root(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest::of(b""),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len()));
                node_hash(&naive_root(left), &naive_root(right))
            }
        }
    }

    /// PATH of section 2.1.1, word for word.
    fn naive_path(index: usize, leaves: &[Digest]) -> Vec<Digest> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let (left, right) = leaves.split_at(split(leaves.len()));
        let (mut path, sibling) = if index < left.len() {
            (naive_path(index, left), right)
        } else {
            (naive_path(index - left.len(), right), left)
        };
        path.push(naive_root(sibling));
        path
    }

    /// SUBPROOF of section 2.1.2, word for word.
    fn naive_subproof(size: usize, leaves: &[Digest], whole: bool) -> Vec<Digest> {
        if size == leaves.len() {
            return if whole { Vec::new() } else { vec![naive_root(leaves)] };
        }
        let (left, right) = leaves.split_at(split(leaves.len()));
        let (mut proof, sibling) = if size <= left.len() {
            (naive_subproof(size, left, whole), right)
        } else {
            (naive_subproof(size - left.len(), right, false), left)
        };
        proof.push(naive_root(sibling));
        proof
    }

    /// All sizes up to 70: roots, proofs and what verification takes agree with the text of the
    /// RFC.
    #[test]
    fn agrees_with_the_recursive_definition() {
        let leaves = leaves(70);
        let whole = tree(&leaves);
        for size in 0..=leaves.len() {
            let (part, n) = (&leaves[..size], size as u64);
            let root = naive_root(part);
            assert_eq!(tree(part).root(), root);
            assert_eq!(root_at(n, &whole), Ok(root));
            for (index, leaf) in part.iter().enumerate() {
                let i = index as u64;
                let path = inclusion_proof(i, n, &whole).unwrap();
                assert_eq!(path, naive_path(index, part));
                assert_eq!(verify_inclusion(i, n, leaf, &path, &root), Ok(()));
            }
            for older in 1..=size {
                let m = older as u64;
                let path = consistency_proof(m, n, &whole).unwrap();
                assert_eq!(path, naive_subproof(older, part, true));
                let root1 = naive_root(&leaves[..older]);
                assert_eq!(verify_consistency(m, n, &path, &root1, &root), Ok(()));
            }
        }
    }

    /// A proof does not carry over to another index, size or root, and has one length only.
    #[test]
    fn proofs_fit_one_place() {
        let leaves = leaves(33);
        let tree = tree(&leaves);
        let root = tree.root();
        for index in 0..33u64 {
            let leaf = leaves[index as usize];
            let path = inclusion_proof(index, 33, &tree).unwrap();
            for other in (0..40).filter(|other| *other != index) {
                assert!(verify_inclusion(other, 33, &leaf, &path, &root).is_err());
            }
            for size in (0..70).filter(|size| *size != 33) {
                // A larger tree may have the same path up to its length; its root is another.
                let known = root_at(size, &tree).unwrap_or(Digest::of(b"unknown"));
                assert!(verify_inclusion(index, size, &leaf, &path, &known).is_err());
            }
            let longer = [&path[..], &[leaf]].concat();
            let refused = verify_inclusion(index, 33, &leaf, &longer, &root);
            assert_eq!(refused, Err(ProofError::Length));
            let shorter = &path[..path.len() - 1];
            let refused = verify_inclusion(index, 33, &leaf, shorter, &root);
            assert_eq!(refused, Err(ProofError::Length));
        }
        assert_eq!(inclusion_proof(33, 33, &tree), Err(TreeError::Range));
        assert_eq!(consistency_proof(0, 33, &tree), Err(TreeError::Range));
        assert_eq!(consistency_proof(34, 33, &tree), Err(TreeError::Range));
        assert_eq!(inclusion_proof(0, 64, &tree), Err(TreeError::Missing));
        assert_eq!(root_at(u64::MAX, &tree), Err(TreeError::Range));
    }

    /// What an append gives, written one after the other, stands where a position says; no hash is
    /// missing.
    #[test]
    fn appended_hashes_stand_at_their_place() {
        let mut frontier = Frontier::new();
        let mut count = 0;
        let memory = tree(&leaves(70));
        for leaf in leaves(70) {
            assert_eq!(Frontier::load(frontier.size(), &memory).as_ref(), Ok(&frontier));
            for (position, hash) in frontier.append(leaf).unwrap() {
                assert_eq!(position.stored_index(), count);
                assert_eq!(memory.read(&[position]).unwrap(), [hash]);
                count += 1;
            }
            assert_eq!(Position::stored_count(frontier.size()), count);
        }
        let last = Position { level: 0, index: TREE_SIZE_MAX - 1 };
        assert_eq!(last.stored_index() + 1 + 62, Position::stored_count(TREE_SIZE_MAX));
    }

    proptest! {
        /// Any bytes as a proof: an answer, never a panic, and never a yes for a wrong root.
        #[test]
        fn any_proof(
            index in any::<u64>(), size in any::<u64>(),
            path in proptest::collection::vec(any::<[u8; 32]>(), 0..70),
        ) {
            let path: Vec<Digest> = path.into_iter().map(Digest::from_array).collect();
            let (leaf, root) = (leaf_hash(b"leaf"), Digest::of(b"root"));
            prop_assert!(verify_inclusion(index, size, &leaf, &path, &root).is_err());
            prop_assert!(verify_consistency(index, size, &path, &leaf, &root).is_err());
        }
    }
}
