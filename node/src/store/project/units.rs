//! What peers, their cards and the logs of units become in the index.

use bytes::Bytes;
use relay_proto::ids::LogOrigin;

use super::Ops;
use crate::store::{
    event::{LeafMoved, LogSucceeded},
    index::Tree,
    records::{CheckpointRecord, OwedRecord, PeerRecord, key},
};

impl Ops {
    pub(super) fn peer(&mut self, peer: &PeerRecord) {
        for lost in &peer.lost {
            // What the peer's new log shows must go on from its first leaf, the succession.
            let root = lost.first_root.clone();
            let first = CheckpointRecord { note: String::new(), root, size: 1 };
            self.put(Tree::Checkpoints, key::checkpoint(&lost.new_origin, 1), &first);
        }
        if peer.was_compared() {
            // Evidence outlives newer cards, and the peer's removal.
            self.card(&peer.unit, &peer.card);
        }
        self.put(Tree::Peers, peer.unit.clone().into_bytes(), peer);
    }

    pub(super) fn card(&mut self, unit: &str, card: &Bytes) {
        self.put_bytes(Tree::Cards, key::card(unit, card), card.to_vec());
    }

    /// A log has one more leaf.
    pub(super) fn grown(&mut self, origin: &str, index: u64, hashes: &[Bytes]) {
        let generation = origin.parse::<LogOrigin>().map_or(0, |origin| origin.generation);
        self.put_bytes(Tree::TreeHashes, key::leaf_hashes(generation, index), hashes.concat());
        self.number("log-size", origin, index + 1);
    }

    pub(super) fn succeeded(&mut self, fact: &LogSucceeded) {
        self.put(Tree::Meta, key::succession(&fact.old_origin), fact);
        if let Some(closing) = &fact.closing {
            let key = key::checkpoint(&fact.old_origin, closing.size);
            self.put(Tree::Checkpoints, key, closing);
        }
        self.grown(&fact.new_origin, 0, std::slice::from_ref(&fact.leaf_hash));
        for peer in &fact.peers {
            // What was confirmed stays: what lies above it waits, and moves to the new log.
            for name in ["receipts-made", "receipts-from", "transfers-made"] {
                self.number(name, peer, fact.numbers_from);
            }
        }
    }

    pub(super) fn moved(&mut self, fact: &LeafMoved) {
        let Some(receipt) = &fact.receipt else { return };
        self.put(Tree::Receipts, fact.receipt_key.to_vec(), receipt);
        self.grown(&receipt.origin, receipt.index, &fact.hashes);
        if fact.owed_to.is_empty() {
            return;
        }
        if fact.owed_before > 0 {
            self.delete(Tree::Owed, key::numbered(&fact.owed_to, fact.owed_before));
        }
        let (receipt_key, priority) = (fact.receipt_key.clone(), fact.priority);
        let owed = OwedRecord { receipt_key, priority };
        self.put(Tree::Owed, key::numbered(&fact.owed_to, fact.owed_number), &owed);
        let again = fact.receipt_key.to_vec();
        self.put_bytes(Tree::OwedAgain, again, fact.owed_number.to_be_bytes().to_vec());
        self.number("receipts-made", &fact.owed_to, fact.owed_number);
    }
}
