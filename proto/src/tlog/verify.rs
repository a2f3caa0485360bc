//! Checking Merkle proofs: RFC 9162 sections 2.1.3.2 and 2.1.4.2 (the trees are those of RFC 6962).
//!
//! Pure arithmetic over digests. Invariant: a proof that is shorter or longer than the one legal
//! length is refused, so no two different proofs of one fact verify.

use bytes::Bytes;

use crate::{
    ids::Digest,
    reason::Reason,
    tlog::tree::{TREE_SIZE_MAX, node_hash},
};

/// Why a proof was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index lies outside the tree, the sizes shrink, or a size is out of range.
    #[error("index or size is out of range")]
    Range,
    /// Too short or too long for this index and size.
    #[error("the proof has the wrong number of hashes")]
    Length,
    /// A hash is not 32 bytes.
    #[error("a hash of the proof is not 32 bytes")]
    Hash,
    /// The hashes do not lead to the root.
    #[error("the proof leads to another root")]
    Root,
}

impl ProofError {
    /// The label of a refused inclusion proof; consistency has a label of its own.
    pub fn reason(self) -> Reason {
        match self {
            Self::Hash => Reason::Malformed,
            Self::Range | Self::Length | Self::Root => Reason::BadInclusion,
        }
    }
}

/// Checks that the leaf with this hash is number `index` of the tree of `size` leaves and this
/// root.
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf_hash: &Digest,
    path: &[Digest],
    root: &Digest,
) -> Result<(), ProofError> {
    if index >= size || size > TREE_SIZE_MAX {
        return Err(ProofError::Range);
    }
    let mut walk = Walk { node: index, last: size - 1 };
    let mut hash = *leaf_hash;
    for sibling in path {
        hash = match walk.step()? {
            Side::Left => node_hash(sibling, &hash),
            Side::Right => node_hash(&hash, sibling),
        };
    }
    walk.end()?;
    if hash == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the tree of `size2` begins with the tree of `size1`.
///
/// From an empty tree nothing can be proven, so `size1` of 0 is refused; equal sizes have equal
/// roots and an empty proof.
pub fn verify_consistency(
    size1: u64,
    size2: u64,
    path: &[Digest],
    root1: &Digest,
    root2: &Digest,
) -> Result<(), ProofError> {
    if size1 == 0 || size1 > size2 || size2 > TREE_SIZE_MAX {
        return Err(ProofError::Range);
    }
    if size1 == size2 {
        return match (path.is_empty(), root1 == root2) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    // A complete older tree is a node of the newer one, and not repeated in the proof.
    let (start, rest) = if size1.is_power_of_two() {
        (root1, path)
    } else {
        path.split_first().ok_or(ProofError::Length)?
    };
    let shift = (size1 - 1).trailing_ones();
    let mut walk = Walk { node: (size1 - 1) >> shift, last: (size2 - 1) >> shift };
    let (mut older, mut newer) = (*start, *start);
    for sibling in rest {
        match walk.step()? {
            Side::Left => {
                older = node_hash(sibling, &older);
                newer = node_hash(sibling, &newer);
            }
            Side::Right => newer = node_hash(&newer, sibling),
        }
    }
    walk.end()?;
    if older == *root1 && newer == *root2 { Ok(()) } else { Err(ProofError::Root) }
}

/// The hashes of a path or proof as they travel; more than `max` of them are refused.
pub fn path_from_wire(path: &[Bytes], max: usize) -> Result<Vec<Digest>, ProofError> {
    if path.len() > max {
        return Err(ProofError::Length);
    }
    path.iter().map(|hash| Digest::from_bytes(hash).map_err(|_| ProofError::Hash)).collect()
}

/// The hashes of a path or proof as they travel.
pub fn path_to_wire(path: &[Digest]) -> Vec<Bytes> {
    path.iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect()
}

/// Climbs from a node to the root; `last` is the last node of the same level.
struct Walk {
    node: u64,
    last: u64,
}

/// On which side the next sibling stands.
enum Side {
    Left,
    Right,
}

impl Walk {
    fn step(&mut self) -> Result<Side, ProofError> {
        if self.last == 0 {
            return Err(ProofError::Length);
        }
        let side = if self.node & 1 == 1 || self.node == self.last {
            // The last node of an odd level has no sibling there: climb to the level where it has
            // one.
            if self.node != 0 {
                self.climb(self.node.trailing_zeros());
            }
            Side::Left
        } else {
            Side::Right
        };
        self.climb(1);
        Ok(side)
    }

    fn climb(&mut self, levels: u32) {
        self.node >>= levels;
        self.last >>= levels;
    }

    fn end(&self) -> Result<(), ProofError> {
        if self.last == 0 { Ok(()) } else { Err(ProofError::Length) }
    }
}
