//! Who is told that there is something new: workers of a peer by name, watchers by the durable
//! sequence.
//!
//! A wake is remembered until it is taken, so it cannot be lost between a look and a wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
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
    /// Receipts that were sent and not confirmed are to be sent again.
    rewind: AtomicBool,
}

impl Bells {
    /// Whether receipts are to be sent again; asked once.
    pub fn take_rewind(&self) -> bool {
        self.rewind.swap(false, Ordering::AcqRel)
    }
}

impl Wakes {
    /// The bells of a peer.
    pub fn bells(&self, peer: &str) -> Arc<Bells> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.entry(peer.to_owned()).or_default().clone()
    }

    /// Makes receipts go out again that were sent to these peers and not confirmed.
    pub fn rewind(&self, peers: &BTreeSet<String>) {
        for peer in peers {
            let bells = self.bells(peer);
            bells.rewind.store(true, Ordering::Release);
            bells.receipts.notify_one();
        }
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
