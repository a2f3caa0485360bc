//! The unit's log as an object of the store: what peers claim of it, how it ends and goes on.
//!
//! A succession is two steps, both repeatable: [`Store::succeed_log`] begins the new log, then
//! [`Store::move_leaves`] makes leaves of it of all receipts that the old one cannot prove.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
};

use bytes::Bytes;
use relay_proto::{
    envelope::Priority,
    ids::{Digest, LogOrigin, UnitId},
    reason::Reason,
    timestamp::Timestamp,
};

use super::{
    alarm::{Ending, Raised},
    owed::owed_numbers,
};
use crate::store::{
    MovedOwed, Store, StoreError,
    event::{Fact, LogClaimed, LogSucceeded},
    index::Tree,
    records::{CheckpointRecord, OwedRecord, ReceiptRecord, digest_of, key},
    txn::Txn,
    view::{View, decode},
};

/// A checkpoint of ours that a peer holds and this store does not bear out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewClaim {
    /// Who holds it.
    pub peer: String,
    /// Its size.
    pub size: u64,
    /// Its root.
    pub root: Digest,
    /// The note, with our own signature.
    pub note: String,
}

impl Store {
    /// Keeps a claim, so that no later start signs before the log was succeeded.
    pub async fn keep_claim(&self, claim: NewClaim, now: Timestamp) -> Result<(), StoreError> {
        let origin = self.origin().to_string();
        self.commit(Priority::Urgent, move |txn| {
            let fact = LogClaimed {
                origin,
                peer: claim.peer,
                size: claim.size,
                root: Bytes::copy_from_slice(claim.root.as_bytes()),
                note: claim.note,
            };
            let known = key::claim(&fact.origin, &fact.peer);
            let known: Option<LogClaimed> = txn.view().record(Tree::Meta, &known)?;
            if known.is_none_or(|known| known.size < fact.size) {
                txn.push(now, Fact::LogClaimed(fact), Bytes::new());
            }
            Ok(())
        })
        .await
    }

    /// What peers claim of the open log and this store does not bear out.
    pub fn claims(&self) -> Result<Vec<NewClaim>, StoreError> {
        let prefix = key::claim(&self.origin().to_string(), "");
        let pairs = self.read(|view| view.prefix(Tree::Meta, &prefix, CLAIMS_MAX))?;
        let each = pairs.iter().map(|(_, value)| {
            let claim: LogClaimed = decode(Tree::Meta, value)?;
            let LogClaimed { peer, size, root, note, .. } = claim;
            Ok(NewClaim { peer, size, root: digest_of(&root), note })
        });
        each.collect()
    }
}

/// How a log ends.
#[derive(Debug, Clone)]
pub struct NewSuccession {
    /// Its last checkpoint: the largest that this store knows to have signed.
    pub closing: CheckpointRecord,
    /// The log that begins.
    pub origin: LogOrigin,
    /// The signed succession, encoded.
    pub succession: Bytes,
    /// The hash of the leaf that it is.
    pub leaf_hash: Digest,
    /// The officers who ordered it.
    pub by: Vec<String>,
}

impl Store {
    /// How a log of ours ended, if it did.
    pub fn succession(&self, old: &LogOrigin) -> Result<Option<LogSucceeded>, StoreError> {
        self.read(|view| view.record(Tree::Meta, &key::succession(&old.to_string())))
    }

    /// Ends the log that this store was opened with and begins another.
    pub async fn succeed_log(&self, new: NewSuccession, now: Timestamp) -> Result<(), StoreError> {
        self.commit(Priority::Emergency, move |txn| {
            let old_origin = txn.origin().to_string();
            let (unit, by) = (txn.origin().unit.to_string(), new.by.join(", "));
            let peers = numbered_peers(&txn.view())?;
            let numbers_from = u64::from(new.origin.generation - 1) << NUMBERS_BITS;
            txn.begin_log(new.origin.clone(), new.leaf_hash)?;
            let fact = LogSucceeded {
                old_origin,
                closing: Some(new.closing),
                new_origin: new.origin.to_string(),
                succession: new.succession,
                leaf_hash: Bytes::copy_from_slice(new.leaf_hash.as_bytes()),
                by: new.by,
                peers: peers.into_iter().collect(),
                numbers_from,
            };
            txn.push(now, Fact::LogSucceeded(fact), Bytes::new());
            let ending = Ending {
                peer: unit,
                reasons: SET_BACK.to_vec(),
                raised: Raised::Through(u64::MAX),
                by,
                why: "the log was succeeded".to_owned(),
            };
            // About this unit: a few words of each peer at most, and no evidence.
            ending.run(txn, now, usize::MAX).map(drop)
        })
        .await
    }

    /// Makes leaves of the new log of all receipts of the ended one that lie beyond what is left of
    /// it, or that a peer still waits for: a peer may hold more of the ended log than can be proven
    /// from here. Returns how many moved.
    pub async fn move_leaves(
        &self,
        old: &LogOrigin,
        left: u64,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let origin = old.to_string();
        let open = self.origin().to_string();
        let leaves = self.read(|view| to_move(&view, &origin, &open, left))?;
        let count = leaves.len();
        for chunk in leaves.chunks(MOVED_TOGETHER) {
            let chunk = chunk.to_vec();
            self.commit(Priority::Emergency, move |txn| move_all(txn, chunk, now)).await?;
        }
        Ok(count)
    }
}

/// A later log of ours, by a peer's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaterLog {
    /// Who says so.
    pub peer: String,
    /// The log.
    pub origin: String,
}

impl Store {
    /// Keeps that a peer names a later log of ours: the card, and perhaps the store, are old. One
    /// log a peer: nothing proves its word, and it may name as many as it likes.
    pub async fn keep_later(
        &self,
        peer: &UnitId,
        later: &LogOrigin,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (peer, origin) = (peer.to_string(), later.to_string());
        if self.later_logs()?.iter().any(|known| known.peer == peer) {
            return Ok(());
        }
        self.commit(Priority::Urgent, move |txn| {
            let fact = LogClaimed { origin, peer, ..LogClaimed::default() };
            txn.push(now, Fact::LogClaimed(fact), Bytes::new());
            Ok(())
        })
        .await
    }

    /// The later logs of ours that peers name. Their word only.
    pub fn later_logs(&self) -> Result<Vec<LaterLog>, StoreError> {
        let pairs = self.read(|view| view.prefix(Tree::Meta, key::LATER, CLAIMS_MAX))?;
        let mut later = Vec::new();
        for (_, value) in &pairs {
            let LogClaimed { peer, origin, .. } = decode(Tree::Meta, value)?;
            let named = origin.parse::<LogOrigin>();
            if named.is_ok_and(|named| named.generation > self.origin().generation) {
                later.push(LaterLog { peer, origin });
            }
        }
        Ok(later)
    }
}

/// What says that the store or the log was set back.
const SET_BACK: &[Reason] = &[Reason::LogHeld, Reason::JournalBehind, Reason::AnchorMissing];

fn move_all(
    txn: &mut Txn<'_>,
    leaves: Vec<(Bytes, Option<MovedOwed>)>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let open = txn.origin().to_string();
    for (key, owed) in leaves {
        let receipt: Option<ReceiptRecord> = txn.view().record(Tree::Receipts, &key)?;
        // An earlier run that was cut off may have moved it.
        let Some(receipt) = receipt.filter(|receipt| receipt.origin != open) else { continue };
        let moved = txn.move_leaf(key, receipt, owed)?;
        txn.push(now, Fact::LeafMoved(moved), Bytes::new());
    }
    Ok(())
}

/// In the order of the ended log.
fn to_move(
    view: &View<'_>,
    origin: &str,
    open: &str,
    left: u64,
) -> Result<Vec<(Bytes, Option<MovedOwed>)>, StoreError> {
    let mut owed = waiting(view)?;
    let mut found = Vec::new();
    each(view, Tree::Receipts, |key, value| {
        let receipt: ReceiptRecord = decode(Tree::Receipts, value)?;
        let waits = owed.remove(key);
        let is_ours = receipt.checkpoint_size == 0 && receipt.origin != open;
        // Of an earlier log it is proven under that one's end, when that is known here.
        let proven = match receipt.origin == origin {
            true => receipt.index < left,
            false => view.get(Tree::Meta, &key::succession(&receipt.origin))?.is_some(),
        };
        if is_ours && (!proven || waits.is_some()) {
            found.push((receipt.index, Bytes::copy_from_slice(key), waits));
        }
        Ok(())
    })?;
    found.sort_by_key(|(index, ..)| *index);
    Ok(found.into_iter().map(|(_, key, waits)| (key, waits)).collect())
}

/// What a peer has not confirmed. By its own word alone: where numbers went on from elsewhere,
/// what waited below did not move yet.
fn waiting(view: &View<'_>) -> Result<BTreeMap<Bytes, MovedOwed>, StoreError> {
    let mut waiting = BTreeMap::new();
    for peer in numbered_peers(view)? {
        let mut after = view.counter("receipts-confirmed", &peer)?;
        loop {
            let page = owed_numbers(view, &peer, after, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            for (before, OwedRecord { receipt_key, priority }) in page {
                let waits = MovedOwed { peer: peer.clone(), before, priority };
                waiting.insert(receipt_key, waits);
            }
        }
    }
    Ok(waiting)
}

/// All units to whom anything was numbered.
fn numbered_peers(view: &View<'_>) -> Result<BTreeSet<String>, StoreError> {
    let mut peers = BTreeSet::new();
    each(view, Tree::Counters, |key, _| {
        for name in [&b"receipts-made\0"[..], b"transfers-made\0"] {
            let peer = key.strip_prefix(name).map(String::from_utf8_lossy);
            peers.extend(peer.map(|peer| peer.into_owned()));
        }
        Ok(())
    })?;
    Ok(peers)
}

/// Every pair of a tree, a page at a time.
fn each(
    view: &View<'_>,
    tree: Tree,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut after: Vec<u8> = Vec::new();
    loop {
        let page = view.range(tree, Excluded(&after), Unbounded, PAGE, false)?;
        for (key, value) in &page {
            take(key, value)?;
        }
        match page.into_iter().next_back() {
            Some((last, _)) => after = last,
            None => return Ok(()),
        }
    }
}

/// Numbers of each generation begin beyond all that any store of an earlier one can have given: a
/// peer would take a number that was given before for one that it has.
const NUMBERS_BITS: u32 = 40;

/// Leaves that move in one commit.
const MOVED_TOGETHER: usize = 1000;

/// Pairs that are read at once.
const PAGE: usize = 4096;

/// More peers than any network has.
const CLAIMS_MAX: usize = 1024;
