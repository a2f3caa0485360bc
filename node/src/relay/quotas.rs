//! What each peer used of its quotas since this node started.
//!
//! Enter through [`Quotas::meter`]. Bounded by the units of the directory; time is the monotonic
//! clock's.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use relay_core::quota::{Budgets, Meter, Settings};
use relay_proto::ids::UnitId;
use tokio::time::Instant;

/// The budgets of all peers.
#[derive(Debug)]
pub(crate) struct Quotas {
    settings: Settings,
    start: Instant,
    peers: Mutex<BTreeMap<UnitId, Budgets>>,
}

impl Quotas {
    /// All unused.
    pub fn new(settings: Settings) -> Self {
        Self { settings, start: Instant::now(), peers: Mutex::default() }
    }

    /// What counts for this peer now.
    pub fn meter(&self, unit: &UnitId) -> Meter {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let budgets = peers.entry(unit.clone()).or_insert_with(|| Budgets::new(&self.settings));
        budgets.at(self.start.elapsed())
    }
}
