//! How many messages of each peer wait here for somebody to take them: the quota of the inbox.
//!
//! Kept in memory, counted anew at every start. It only ever defers; being off by a few does no
//! harm.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use relay_proto::ids::UnitId;

use crate::store::{Store, StoreError};

/// Counts by unit.
#[derive(Debug, Default)]
pub(crate) struct Inbox(Mutex<BTreeMap<String, u64>>);

impl Inbox {
    /// Counts what waits in the store.
    pub fn load(store: &Store) -> Result<Self, StoreError> {
        Ok(Self(Mutex::new(store.unacknowledged_counts()?)))
    }

    /// Whether a unit may bring nothing more before something is taken.
    pub fn is_full(&self, unit: &UnitId, max: u64) -> bool {
        self.lock().get(unit.as_str()).is_some_and(|count| *count >= max)
    }

    /// One more waits.
    pub fn added(&self, unit: &UnitId) {
        *self.lock().entry(unit.to_string()).or_default() += 1;
    }

    /// One was taken.
    pub fn taken(&self, unit: &str) {
        if let Some(count) = self.lock().get_mut(unit) {
            *count = count.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
