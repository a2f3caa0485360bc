//! The index in memory, for simulations and for stores that live no longer than a test. Enter
//! through `Index`. Uses no disk. Invariant: readers see whole batches only.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::{Change, Pair, Tree};

#[derive(Debug, Default)]
pub struct MemoryIndex {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    trees: BTreeMap<Tree, BTreeMap<Vec<u8>, Vec<u8>>>,
    applied: u64,
}

impl MemoryIndex {
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn get(&self, tree: Tree, key: &[u8]) -> Option<Vec<u8>> {
        self.read().trees.get(&tree)?.get(key).cloned()
    }

    pub(super) fn range(
        &self,
        tree: Tree,
        lower: Bound<&[u8]>,
        upper: Bound<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Vec<Pair> {
        let state = self.read();
        let Some(pairs) = state.trees.get(&tree) else {
            return Vec::new();
        };
        let found = pairs.range::<[u8], _>((lower, upper));
        let owned = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        match reverse {
            false => found.take(limit).map(owned).collect(),
            true => found.rev().take(limit).map(owned).collect(),
        }
    }

    pub(super) fn apply<'a>(&self, changes: impl Iterator<Item = Change<'a>>, through_seq: u64) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for Change { tree, key, value } in changes {
            let pairs = state.trees.entry(tree).or_default();
            match value {
                Some(value) => pairs.insert(key.to_vec(), value.to_vec()),
                None => pairs.remove(key),
            };
        }
        state.applied = through_seq;
    }

    pub(super) fn applied(&self) -> u64 {
        self.read().applied
    }

    pub(super) fn len(&self, tree: Tree) -> usize {
        self.read().trees.get(&tree).map_or(0, BTreeMap::len)
    }

    // No code path panics while it holds the lock, so a poisoned one still guards whole batches.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}
