//! Receipts of peers: recorded with what they settle.

use std::{
    collections::BTreeSet,
    ops::Bound::{Excluded, Included, Unbounded},
};

use bytes::Bytes;
use relay_core::quota::Meter;
use relay_proto::{
    envelope::Priority,
    ids::{Digest, LogOrigin, UnitId},
    reason::Reason,
    receipt::{Event, Statement},
    timestamp::Timestamp,
};

use super::{
    alarm::{NewAlarm, raise},
    exchange,
};
use crate::store::{
    Store, StoreError,
    event::{EntryChanged, Fact, HaveRecorded, ReceiptsRecorded, RecordedReceipt},
    index::Tree,
    records::{
        CheckpointRecord, EntryRecord, EntryState, LostLeaves, ReceiptRecord, digest_of, key, voids,
    },
    txn::Txn,
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
    /// Why it settles nothing, or what it does not prove.
    pub flags: Vec<Reason>,
}

impl NewReceipt {
    fn counts(&self) -> bool {
        !self.flags.iter().copied().any(voids)
    }
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
    /// Counts what its peer causes.
    pub meter: Meter,
    /// Now.
    pub now: Timestamp,
}

impl Store {
    /// Keeps receipts, their checkpoint and what they settle, as one event. Returns the numbers of
    /// the transfers that are settled.
    ///
    /// Refused with PEER_ROLLED_BACK when another root is held at this size: of two that come at
    /// once one wins, the other is the proof of a fork. Refused with QUOTA when nothing of it is
    /// new and its peer caused too much of that; then its numbers are not had either.
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
            let confirmed = txn.view().confirmed(peer)?;
            let up_to = up_to.min(made);
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
    let held = key::checkpoint(&new.origin.to_string(), new.size);
    let held: Option<CheckpointRecord> = txn.view().record(Tree::Checkpoints, &held)?;
    if held.as_ref().is_some_and(|held| held.root != new.root.as_bytes().as_slice()) {
        return Err(StoreError::Refused(Reason::PeerRolledBack));
    }
    let mut settled = Vec::new();
    let mut recorded = Vec::with_capacity(new.receipts.len());
    let mut seen = BTreeSet::new();
    for mut receipt in new.receipts {
        let again = is_held(&txn.view(), &receipt)? || !seen.insert(receipt.statement.clone());
        if again {
            // The same leaf in a later log of the peer's: what was sent again is there.
            let entry = settle(txn, &recorded, &receipt, new.now)?;
            if let Some(entry) = entry.filter(|entry| entry.recovered) {
                settled.push(entry.number);
                txn.note_ended(&entry.next_hop, entry.lane(), entry.wire_bytes);
                let digest = Bytes::copy_from_slice(receipt.digest.as_bytes());
                recorded.push(RecordedReceipt { digest, entry: Some(entry), ..Default::default() });
            }
            continue;
        }
        if !is_kept(txn, &receipt, &recorded, (&new.peer, &new.meter, new.now))? {
            continue;
        }
        if receipt.counts() && has_failed(txn, &receipt)? {
            // The failure was stated between the checks and this commit.
            receipt.flags.push(Reason::LateAfterFailure);
        }
        for flag in receipt.flags.iter().filter(|flag| voids(**flag)) {
            raise(txn, &new.meter, about(*flag, &receipt, &new.peer, new.now));
        }
        let entry = settle(txn, &recorded, &receipt, new.now)?;
        if let Some(entry) = &entry {
            settled.push(entry.number);
            txn.note_ended(&entry.next_hop, entry.lane(), entry.wire_bytes);
        }
        recorded.push(RecordedReceipt {
            closes: closes(txn, &receipt, entry.as_ref())?,
            digest: Bytes::copy_from_slice(receipt.digest.as_bytes()),
            event: i32::from(receipt.event.to_wire()).unsigned_abs(),
            receipt: Some(received(receipt, &new.origin, new.size, new.now)),
            entry,
        });
    }
    let had = txn.view().counter("receipts-have", new.peer.as_str())?;
    let have = new.have.max(had);
    if recorded.is_empty() {
        if have == had && held.is_some() {
            // All of it is here already: a peer that repeats itself must not make the journal grow.
            return Ok(settled);
        }
        if !new.meter.note() {
            return Err(StoreError::Refused(Reason::Quota));
        }
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

/// As it is stored, under a checkpoint of this size.
fn received(receipt: NewReceipt, log: &LogOrigin, size: u64, now: Timestamp) -> ReceiptRecord {
    ReceiptRecord {
        statement: receipt.statement,
        index: receipt.index,
        path: receipt.path,
        checkpoint_size: size,
        origin: log.to_string(),
        actor: receipt.actor,
        flags: receipt.flags.iter().map(|flag| flag.label().to_owned()).collect(),
        stored_at_ms: now.as_millis(),
        owed_number: 0,
    }
}

/// What is not owed any more, now that a message is delivered.
fn closes(
    txn: &Txn<'_>,
    receipt: &NewReceipt,
    entry: Option<&EntryRecord>,
) -> Result<Vec<Bytes>, StoreError> {
    match entry.filter(|entry| entry.state() == EntryState::Delivered) {
        Some(entry) => exchange::closed(&txn.view(), &receipt.digest, &entry.recipient),
        None => Ok(Vec::new()),
    }
}

/// Whether an earlier receipt of this group ended the entry: it ends once.
fn has_ended(recorded: &[RecordedReceipt], receipt: &NewReceipt) -> bool {
    recorded.iter().filter_map(|earlier| earlier.entry.as_ref()).any(|entry| {
        entry.digest == receipt.digest.as_bytes().as_slice()
            && receipt.recipient.as_ref().is_some_and(|to| entry.recipient == to.as_str())
    })
}

/// The outbox entry as the receipt leaves it, when it ends one that is open.
fn settle(
    txn: &Txn<'_>,
    recorded: &[RecordedReceipt],
    receipt: &NewReceipt,
    now: Timestamp,
) -> Result<Option<EntryRecord>, StoreError> {
    let Some(recipient) = &receipt.recipient else { return Ok(None) };
    if !receipt.counts() || has_ended(recorded, receipt) {
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
        if txn.view().get(Tree::Erased, digest.as_bytes())?.is_some() {
            // There is nothing left to send.
            continue;
        }
        let entry = txn.view().entry(&digest, peer.as_str())?;
        let Some(mut entry) = entry.filter(|entry| entry.state() == EntryState::Delivered) else {
            continue;
        };
        txn.note_open(peer.as_str(), entry.lane(), None);
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

/// One look-up, however many receipts its issuer makes about the message.
fn is_held(view: &View<'_>, receipt: &NewReceipt) -> Result<bool, StoreError> {
    let statement = key::statement(&receipt.digest, &receipt.statement);
    Ok(view.get(Tree::Statements, &statement)?.is_some())
}

/// Contradictions are kept as proof, as many as prove anything: an issuer can make them without
/// end, and what others say about the message must not be lost among them.
fn is_kept(
    txn: &mut Txn<'_>,
    receipt: &NewReceipt,
    recorded: &[RecordedReceipt],
    new: (&UnitId, &Meter, Timestamp),
) -> Result<bool, StoreError> {
    if !receipt.flags.contains(&Reason::Contradiction) {
        return Ok(true);
    }
    let (peer, meter, now) = new;
    // The quota first: past it nothing is read, so that the writer does no work without end.
    if meter.contradiction() {
        let digest = receipt.digest.as_bytes();
        let held = txn.view().about(Tree::Receipts, digest, RECEIPTS_OF_MESSAGE_MAX)?;
        let held: Result<Vec<ReceiptRecord>, _> =
            held.iter().map(|(_, value)| decode(Tree::Receipts, value)).collect();
        let same = recorded.iter().filter(|one| one.digest == digest.as_slice());
        let earlier = same.filter_map(|one| one.receipt.as_ref());
        let by_peer = |one: &&ReceiptRecord| {
            let log = one.origin.parse::<LogOrigin>();
            log.is_ok_and(|log| log.unit == *peer)
                && one.flags.iter().any(|flag| flag == Reason::Contradiction.label())
        };
        let kept = held?.iter().chain(earlier).filter(by_peer).count();
        if kept < CONTRADICTIONS_OF_MESSAGE_MAX {
            return Ok(true);
        }
    }
    raise(txn, meter, about(Reason::Contradiction, receipt, peer, now));
    Ok(false)
}

fn about(reason: Reason, receipt: &NewReceipt, peer: &UnitId, now: Timestamp) -> NewAlarm {
    let detail = format!("{} about {}", receipt.event.name(), receipt.digest);
    NewAlarm { reason, peer: peer.to_string(), detail, evidence: Bytes::new(), now }
}

/// Receipts that are looked at in one commit.
const REOPEN_PAGE: usize = 1024;
/// 256 recipients, each with its events once a log and the contradictions that are kept.
const RECEIPTS_OF_MESSAGE_MAX: usize = 8192;

/// Contradictory receipts of one unit about one message.
const CONTRADICTIONS_OF_MESSAGE_MAX: usize = 8;
