//! Who is told that there is something new: workers of a peer by name, watchers by the durable sequence.
//!
//! A wake is remembered until it is taken, so it cannot be lost between a look and a wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

/// One bell per peer and purpose.
#[derive(Debug, Default)]
pub struct Wakes {
    peers: Mutex<BTreeMap<String, Arc<Bells>>>,
}

/// The bells of one peer.
#[derive(Debug, Default)]
pub struct Bells {
    /// There may be something to send: entries.
    pub outbox: Notify,
    /// There may be something to send: receipts.
    pub receipts: Notify,
}

impl Wakes {
    /// The bells of a peer.
    pub fn bells(&self, peer: &str) -> Arc<Bells> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.entry(peer.to_owned()).or_default().clone()
    }

    /// Rings for these peers.
    pub fn wake(&self, peers: &BTreeSet<String>) {
        for peer in peers {
            let bells = self.bells(peer);
            bells.outbox.notify_one();
            bells.receipts.notify_one();
        }
    }
}
