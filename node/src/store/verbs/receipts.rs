//! Receipts: recording those of a peer, and handing out those that a peer is owed.

use std::{
    collections::BTreeSet,
    ops::Bound::{Excluded, Included, Unbounded},
};

use bytes::Bytes;
use relay_proto::{
    envelope::{Header, Priority},
    ids::{Digest, LogOrigin, UnitId},
    reason::Reason,
    receipt::{Event, Statement},
    timestamp::Timestamp,
};

use super::arrival::alarm;
use crate::store::{
    Store, StoreError,
    event::{EntryChanged, Fact, HaveRecorded, OwedAgain, ReceiptsRecorded, RecordedReceipt},
    index::Tree,
    project::HAVE_MAX,
    records::{
        CheckpointRecord, EntryRecord, EntryState, LostLeaves, OwedRecord, ReceiptRecord,
        digest_of, key, priority_number,
    },
    txn::{MovedOwed, Txn},
    view::{View, decode},
};

/// One receipt that passed the checks, or failed one and is kept as evidence.
#[derive(Debug, Clone)]
pub struct NewReceipt {
    /// Header digest of the message.
    pub digest: Digest,
    /// The unit whose outbox entry it is about.
    pub recipient: Option<UnitId>,
    /// What it states.
    pub event: Event,
    /// Its reason, when it is negative.
    pub reason: String,
    /// The exact statement bytes.
    pub statement: Bytes,
    /// Leaf index.
    pub index: u64,
    /// Inclusion path.
    pub path: Vec<Bytes>,
    /// The name that it commits to.
    pub actor: String,
    /// Labels: why it settles nothing.
    pub flags: Vec<Reason>,
}

/// Receipts of one group under one checkpoint.
#[derive(Debug, Clone)]
pub struct ReceiptsToRecord {
    /// Whose session brought them.
    pub peer: UnitId,
    /// The log.
    pub origin: LogOrigin,
    /// The checkpoint's signed note.
    pub note: String,
    /// Its size.
    pub size: u64,
    /// Its root.
    pub root: Digest,
    /// The receipts.
    pub receipts: Vec<NewReceipt>,
    /// All numbers up to this one are dealt with, bad receipts included.
    pub have: u64,
    /// Now.
    pub now: Timestamp,
}

impl Store {
    /// Keeps receipts, their checkpoint and what they settle, as one event. Returns the numbers of
    /// the transfers that are settled.
    pub async fn record_receipts(&self, new: ReceiptsToRecord) -> Result<Vec<u64>, StoreError> {
        self.commit(Priority::Urgent, move |txn| record(txn, new)).await
    }

    /// A peer has our receipts up to this number, durably.
    pub async fn record_have(
        &self,
        peer: UnitId,
        up_to: u64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.commit(Priority::Routine, move |txn| {
            let peer = peer.as_str();
            let made = txn.view().counter("receipts-made", peer)?;
            let confirmed = txn.view().counter("receipts-confirmed", peer)?;
            let up_to = up_to.min(made).min(confirmed.saturating_add(HAVE_MAX));
            if up_to > confirmed {
                let fact = HaveRecorded { peer: peer.to_owned(), from: confirmed + 1, up_to };
                txn.push(now, Fact::HaveRecorded(fact), Bytes::new());
            }
            Ok(())
        })
        .await
    }

    /// Queues again, flagged as recovered, what was delivered to a peer by receipts that its log
    /// lost. Repeatable.
    pub async fn send_again(
        &self,
        peer: &UnitId,
        lost: &LostLeaves,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut after = Some(Vec::new());
        while let Some(key) = after {
            let (peer, lost) = (peer.clone(), lost.clone());
            let page = move |txn: &mut Txn<'_>| reopen(txn, &peer, &lost, &key, now);
            after = self.commit(Priority::Routine, page).await?;
        }
        Ok(())
    }

    /// Receipts owed to a peer with numbers above `after`, with their numbers.
    pub fn owed_receipts(
        &self,
        peer: &UnitId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, ReceiptRecord)>, StoreError> {
        self.read(|view| owed(&view, peer, after, limit))
    }

    /// All receipts of a message, in the order in which they were stored.
    pub fn receipts(&self, digest: &Digest) -> Result<Vec<ReceiptRecord>, StoreError> {
        self.read(|view| {
            let pairs = view.about(Tree::Receipts, digest.as_bytes(), RECEIPTS_OF_MESSAGE_MAX)?;
            pairs.iter().map(|(_, value)| decode(Tree::Receipts, value)).collect()
        })
    }

    /// The newest checkpoint held of a log.
    pub fn held_checkpoint(
        &self,
        origin: &LogOrigin,
    ) -> Result<Option<CheckpointRecord>, StoreError> {
        self.read(|view| {
            let origin = origin.to_string();
            let lower = key::checkpoint(&origin, 0);
            let upper = key::after_prefix(&[origin.as_bytes(), b"\0"].concat()).unwrap_or_default();
            let (lower, upper) = (Included(lower.as_slice()), Excluded(upper.as_slice()));
            let pairs = view.range(Tree::Checkpoints, lower, upper, 1, true)?;
            pairs.first().map(|(_, value)| decode(Tree::Checkpoints, value)).transpose()
        })
    }

    /// A checkpoint of a log by its size.
    pub fn checkpoint(
        &self,
        origin: &str,
        size: u64,
    ) -> Result<Option<CheckpointRecord>, StoreError> {
        self.read(|view| view.record(Tree::Checkpoints, &key::checkpoint(origin, size)))
    }
}

fn record(txn: &mut Txn<'_>, new: ReceiptsToRecord) -> Result<Vec<u64>, StoreError> {
    let mut settled = Vec::new();
    let mut recorded: Vec<RecordedReceipt> = Vec::with_capacity(new.receipts.len());
    let mut seen = BTreeSet::new();
    for mut receipt in new.receipts {
        let again = is_held(&txn.view(), &receipt)? || !seen.insert(receipt.statement.clone());
        if again {
            // The same leaf in a later log of the peer's: what was sent again is there.
            if let Some(entry) = settle(txn, &receipt, new.now)?.filter(|entry| entry.recovered) {
                settled.push(entry.number);
                let digest = Bytes::copy_from_slice(receipt.digest.as_bytes());
                recorded.push(RecordedReceipt { digest, entry: Some(entry), ..Default::default() });
            }
            continue;
        }
        if receipt.flags.is_empty() && has_failed(txn, &receipt)? {
            // The failure was stated between the checks and this commit.
            receipt.flags.push(Reason::LateAfterFailure);
        }
        for flag in &receipt.flags {
            let detail = format!("{} about {}", receipt.event.name(), receipt.digest);
            alarm(txn, *flag, new.peer.as_str(), detail, new.now);
        }
        // An earlier receipt of this group may have ended the entry: it ends once.
        let ended = recorded.iter().filter_map(|earlier| earlier.entry.as_ref()).any(|entry| {
            entry.digest == receipt.digest.as_bytes().as_slice()
                && receipt.recipient.as_ref().is_some_and(|to| entry.recipient == to.as_str())
        });
        let entry = if ended { None } else { settle(txn, &receipt, new.now)? };
        settled.extend(entry.as_ref().map(|entry| entry.number));
        recorded.push(RecordedReceipt {
            digest: Bytes::copy_from_slice(receipt.digest.as_bytes()),
            event: i32::from(receipt.event.to_wire()).unsigned_abs(),
            receipt: Some(ReceiptRecord {
                statement: receipt.statement,
                index: receipt.index,
                path: receipt.path,
                checkpoint_size: new.size,
                origin: new.origin.to_string(),
                actor: receipt.actor,
                flags: receipt.flags.iter().map(|flag| flag.label().to_owned()).collect(),
                stored_at_ms: new.now.as_millis(),
            }),
            entry,
        });
    }
    let had = txn.view().counter("receipts-have", new.peer.as_str())?;
    let have = new.have.max(had);
    let held =
        txn.view().get(Tree::Checkpoints, &key::checkpoint(&new.origin.to_string(), new.size))?;
    if recorded.is_empty() && have == had && held.is_some() {
        // All of it is here already: a peer that repeats itself must not make the journal grow.
        return Ok(settled);
    }
    let fact = Fact::ReceiptsRecorded(ReceiptsRecorded {
        peer: new.peer.to_string(),
        origin: new.origin.to_string(),
        checkpoint: Some(CheckpointRecord {
            note: new.note,
            root: Bytes::copy_from_slice(new.root.as_bytes()),
            size: new.size,
        }),
        receipts: recorded,
        have,
    });
    txn.push(new.now, fact, Bytes::new());
    Ok(settled)
}

/// The outbox entry as the receipt leaves it, when it ends one that is open.
fn settle(
    txn: &Txn<'_>,
    receipt: &NewReceipt,
    now: Timestamp,
) -> Result<Option<EntryRecord>, StoreError> {
    let Some(recipient) = &receipt.recipient else { return Ok(None) };
    if !receipt.flags.is_empty() {
        return Ok(None);
    }
    let state = match receipt.event {
        event if event.implies_consignment() => EntryState::Delivered,
        Event::RelayRejection => EntryState::Refused,
        _ => return Ok(None),
    };
    let entry = txn.view().entry(&receipt.digest, recipient.as_str())?;
    Ok(entry.filter(EntryRecord::is_open).map(|mut entry| {
        entry.state = state.into();
        entry.settled_at_ms = now.as_millis();
        entry.reason.clone_from(&receipt.reason);
        entry
    }))
}

/// Opens outbox entries again whose receipts lie in what the peer's log lost, a page at a time.
/// Returns after which key to go on. Refusals stand: they have no effect that could be lost.
fn reopen(
    txn: &mut Txn<'_>,
    peer: &UnitId,
    lost: &LostLeaves,
    after: &[u8],
    now: Timestamp,
) -> Result<Option<Vec<u8>>, StoreError> {
    let (lower, tree) = (Excluded(after), Tree::Receipts);
    let page = txn.view().range(tree, lower, Unbounded, REOPEN_PAGE, false)?;
    for (key, value) in &page {
        let receipt: ReceiptRecord = decode(Tree::Receipts, value)?;
        let is_lost = receipt.checkpoint_size > 0
            && receipt.origin == lost.old_origin
            && receipt.index >= lost.from;
        let statement = is_lost.then(|| Statement::from_bytes(&receipt.statement).ok()).flatten();
        if !statement.is_some_and(|statement| statement.event.implies_consignment()) {
            continue;
        }
        let digest = digest_of(key.get(..32).unwrap_or_default());
        let entry = txn.view().entry(&digest, peer.as_str())?;
        let Some(mut entry) = entry.filter(|entry| entry.state() == EntryState::Delivered) else {
            continue;
        };
        if entry.number < txn.lowest_open(peer.as_str()) {
            txn.saw_lowest_open(peer.as_str(), entry.number);
        }
        entry.state = EntryState::Queued.into();
        entry.recovered = true;
        entry.reason = Reason::PeerRolledBack.label().to_owned();
        (entry.attempts, entry.not_before_ms, entry.settled_at_ms) = (0, 0, 0);
        let fact = EntryChanged { entry: Some(entry), leaf: None };
        txn.push(now, Fact::EntryDeferred(fact), Bytes::new());
    }
    txn.wake(peer.as_str());
    Ok(page.into_iter().next_back().map(|(key, _)| key))
}

fn has_failed(txn: &Txn<'_>, receipt: &NewReceipt) -> Result<bool, StoreError> {
    let Some(recipient) = &receipt.recipient else { return Ok(false) };
    let entry = txn.view().entry(&receipt.digest, recipient.as_str())?;
    Ok(entry.is_some_and(|entry| entry.state() == EntryState::Expired))
}

fn is_held(view: &View<'_>, receipt: &NewReceipt) -> Result<bool, StoreError> {
    let prefix = receipt.digest.as_bytes();
    for (_, value) in &view.prefix(Tree::Receipts, prefix, RECEIPTS_OF_MESSAGE_MAX)? {
        let held: ReceiptRecord = decode(Tree::Receipts, value)?;
        if held.statement == receipt.statement {
            return Ok(true);
        }
    }
    Ok(false)
}

fn owed(
    view: &View<'_>,
    peer: &UnitId,
    after: u64,
    limit: usize,
) -> Result<Vec<(u64, ReceiptRecord)>, StoreError> {
    let lower = key::numbered(peer.as_str(), after.saturating_add(1));
    let upper = key::after_prefix(&[peer.as_str().as_bytes(), b"\0"].concat()).unwrap_or_default();
    let pairs = view.range(Tree::Owed, Included(&lower), Excluded(&upper), limit, false)?;
    let mut list = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let owed: OwedRecord = decode(Tree::Owed, value)?;
        let number = key.last_chunk::<8>().map_or(0, |n| u64::from_be_bytes(*n));
        let receipt = view.record(Tree::Receipts, &owed.receipt_key)?;
        list.push((number, receipt.ok_or(StoreError::IndexDamaged("owed"))?));
    }
    Ok(list)
}

/// Owes the sender all receipts so far once more: the same leaves, under new numbers. What still
/// waits is not doubled.
pub(super) fn owe_again(
    txn: &mut Txn<'_>,
    header: &Header,
    now: Timestamp,
) -> Result<(), StoreError> {
    let to = header.from.to_string();
    txn.wake(&to);
    let view = txn.view();
    let pairs = view.prefix(Tree::Receipts, header.digest.as_bytes(), RECEIPTS_OF_MESSAGE_MAX)?;
    let waiting = view.prefix(Tree::Owed, &[to.as_bytes(), b"\0"].concat(), OWED_LOOK_MAX)?;
    if waiting.len() >= OWED_LOOK_MAX {
        // So much waits that this may be among it: owing it again could double it, each time
        // without end.
        return Ok(());
    }
    let mut waits = BTreeSet::new();
    for (_, value) in &waiting {
        let owed: OwedRecord = decode(Tree::Owed, value)?;
        waits.insert(owed.receipt_key);
    }
    let mut missing = Vec::new();
    let mut ended = Vec::new();
    let open = txn.origin().to_string();
    for (key, value) in pairs {
        let receipt: ReceiptRecord = decode(Tree::Receipts, &value)?;
        // Received receipts carry a checkpoint's size, issued ones do not.
        if receipt.checkpoint_size > 0 || waits.contains(key.as_slice()) {
            continue;
        }
        match receipt.origin == open {
            true => missing.push(Bytes::from(key)),
            false => ended.push((Bytes::from(key), receipt)),
        }
    }
    let priority = priority_number(header.priority);
    let any_ended = !ended.is_empty();
    for (key, receipt) in ended {
        let owed = MovedOwed { peer: to.clone(), before: 0, priority };
        let moved = txn.move_leaf(key, receipt, Some(owed))?;
        txn.push(now, Fact::LeafMoved(moved), Bytes::new());
    }
    let any_waits = !waits.is_empty();
    if missing.is_empty() && (any_waits || any_ended) {
        // All of them wait for the peer's word already: they may have been sent, so they go out
        // again.
        txn.rewind(&to);
    } else if !missing.is_empty() {
        let fact = Fact::OwedAgain(OwedAgain {
            first_number: txn.view().counter("receipts-made", &to)? + 1,
            peer: to,
            receipt_keys: missing,
            priority,
        });
        txn.push(now, fact, Bytes::new());
    }
    Ok(())
}

/// Receipts that are looked at in one commit.
const REOPEN_PAGE: usize = 1024;
/// 256 recipients with some receipts each.
const RECEIPTS_OF_MESSAGE_MAX: usize = 2048;
/// How many waiting receipts are looked through. Beyond it none is owed again until the peer has
/// taken some.
const OWED_LOOK_MAX: usize = 1024;
