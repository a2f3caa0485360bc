//! The interior hashes of our logs' trees, out of the index. Enter through [`Hashes::of`].

use relay_proto::{
    ids::{Digest, LogOrigin},
    tlog::{HashReader, Position as TreePosition},
};

use crate::store::{StoreError, index::Tree, records::key, view::View};

/// Reads interior hashes of one of our logs.
pub struct Hashes<'a> {
    view: View<'a>,
    generation: u32,
}

impl<'a> Hashes<'a> {
    /// Of this log.
    pub fn of(view: View<'a>, origin: &LogOrigin) -> Self {
        Self { view, generation: origin.generation }
    }
}

impl HashReader for Hashes<'_> {
    type Error = StoreError;

    fn read(&self, positions: &[TreePosition]) -> Result<Vec<Digest>, StoreError> {
        let damaged = || StoreError::IndexDamaged("tree-hashes");
        let one = |position: &TreePosition| {
            // The leaf that completes a subtree is its last one.
            let end = (position.index + 1).checked_shl(u32::from(position.level));
            let leaf = end.and_then(|end| end.checked_sub(1)).ok_or_else(damaged)?;
            let key = key::leaf_hashes(self.generation, leaf);
            let hashes = self.view.get(Tree::TreeHashes, &key)?.ok_or_else(damaged)?;
            let hash = hashes.chunks_exact(HASH_BYTES).nth(usize::from(position.level));
            Digest::from_bytes(hash.ok_or_else(damaged)?).map_err(|_| damaged())
        };
        positions.iter().map(one).collect()
    }
}

/// A SHA-256 hash.
const HASH_BYTES: usize = 32;
