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

/// Messages and bytes by unit.
#[derive(Debug, Default)]
pub(crate) struct Inbox(Mutex<BTreeMap<String, (u64, u64)>>);

impl Inbox {
    /// Counts what waits in the store.
    pub fn load(store: &Store) -> Result<Self, StoreError> {
        Ok(Self(Mutex::new(store.unacknowledged_counts()?)))
    }

    /// Whether a unit may bring nothing more before something is taken.
    pub fn is_full(&self, unit: &UnitId, messages_max: u64, bytes_max: u64) -> bool {
        let full =
            |(messages, bytes): &(u64, u64)| *messages >= messages_max || *bytes >= bytes_max;
        self.lock().get(unit.as_str()).is_some_and(full)
    }

    /// The units that may bring nothing more.
    pub fn full(&self, messages_max: u64, bytes_max: u64) -> Vec<String> {
        let counts = self.lock();
        let full = counts
            .iter()
            .filter(|(_, (messages, bytes))| *messages >= messages_max || *bytes >= bytes_max);
        full.map(|(unit, _)| unit.clone()).collect()
    }

    /// One more waits.
    pub fn added(&self, unit: &UnitId, wire_bytes: u64) {
        let mut counts = self.lock();
        let count = counts.entry(unit.to_string()).or_default();
        *count = (count.0 + 1, count.1 + wire_bytes);
    }

    /// One was taken.
    pub fn taken(&self, unit: &str, wire_bytes: u64) {
        if let Some(count) = self.lock().get_mut(unit) {
            *count = (count.0.saturating_sub(1), count.1.saturating_sub(wire_bytes));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (u64, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Messages or bytes: whichever is reached first fills the inbox of that unit, and of no other;
    /// what is taken makes room.
    #[test]
    fn messages_and_bytes_fill_it() {
        let inbox = Inbox::default();
        let (one, other): (UnitId, UnitId) = ("xa.ncu".parse().unwrap(), "xb.ncu".parse().unwrap());
        inbox.added(&one, 300);
        assert!(!inbox.is_full(&one, 2, 301) && inbox.is_full(&one, 2, 300));
        assert_eq!(inbox.full(2, 300), [one.to_string()]);
        inbox.added(&one, 1);
        assert!(inbox.is_full(&one, 2, 1000) && !inbox.is_full(&other, 2, 300));
        inbox.taken(one.as_str(), 300);
        assert!(!inbox.is_full(&one, 2, 300));
    }
}
