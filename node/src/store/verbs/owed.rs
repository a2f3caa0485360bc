//! Receipts that a peer is owed: read in order, and owed once more. They stay when it confirmed
//! them: a peer whose store is set back wants them again.

use std::ops::Bound::{Excluded, Included};

use bytes::Bytes;
use relay_core::quota::Meter;
use relay_proto::{
    envelope::{Header, Priority},
    ids::UnitId,
    timestamp::Timestamp,
};

use crate::store::{
    MovedOwed, Store, StoreError, Txn, View,
    event::{Fact, OwedAgain},
    index::Tree,
    records::{OwedRecord, ReceiptRecord, key, priority_number, priority_of},
    view::decode,
};

impl Store {
    /// Receipts made for a peer with numbers above `after`, confirmed or not, with their numbers.
    pub fn owed_receipts(
        &self,
        peer: &UnitId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, ReceiptRecord)>, StoreError> {
        self.read(|view| owed(&view, peer, after, limit))
    }

    /// Receipts that wait for a peer's `Have`, with their numbers.
    pub fn waiting_receipts(
        &self,
        peer: &UnitId,
        limit: usize,
    ) -> Result<Vec<(u64, ReceiptRecord)>, StoreError> {
        self.read(|view| owed(&view, peer, view.confirmed(peer.as_str())?, limit))
    }

    /// Receipts up to this number are confirmed by a peer, or are of a log that ended.
    pub fn receipts_confirmed(&self, peer: &UnitId) -> Result<u64, StoreError> {
        self.read(|view| view.confirmed(peer.as_str()))
    }

    /// Receipts about messages of one lane among those owed above `after`, and up to which number
    /// was looked: a backlog is looked through once, a bounded piece at a time.
    pub fn owed_ahead(
        &self,
        peer: &UnitId,
        after: u64,
        lane: Priority,
        limit: usize,
    ) -> Result<(Vec<(u64, ReceiptRecord)>, u64), StoreError> {
        self.read(|view| {
            let mut list = Vec::new();
            let mut looked = after;
            for (number, owed) in owed_numbers(&view, peer.as_str(), after, OWED_LOOK_MAX)? {
                if list.len() >= limit {
                    break;
                }
                looked = number;
                if priority_of(owed.priority) == lane {
                    list.push((number, owed_receipt(&view, &owed)?));
                }
            }
            Ok((list, looked))
        })
    }
}

fn owed(
    view: &View<'_>,
    peer: &UnitId,
    after: u64,
    limit: usize,
) -> Result<Vec<(u64, ReceiptRecord)>, StoreError> {
    let numbers = owed_numbers(view, peer.as_str(), after, limit)?;
    numbers.iter().map(|(number, owed)| Ok((*number, owed_receipt(view, owed)?))).collect()
}

/// The numbers above `after` and what stands under them.
pub(super) fn owed_numbers(
    view: &View<'_>,
    peer: &str,
    after: u64,
    limit: usize,
) -> Result<Vec<(u64, OwedRecord)>, StoreError> {
    let lower = key::numbered(peer, after.saturating_add(1));
    let upper = key::after_prefix(&[peer.as_bytes(), b"\0"].concat()).unwrap_or_default();
    let pairs = view.range(Tree::Owed, Included(&lower), Excluded(&upper), limit, false)?;
    let number = |key: &[u8]| key.last_chunk::<8>().map_or(0, |n| u64::from_be_bytes(*n));
    pairs.iter().map(|(key, value)| Ok((number(key), decode(Tree::Owed, value)?))).collect()
}

fn owed_receipt(view: &View<'_>, owed: &OwedRecord) -> Result<ReceiptRecord, StoreError> {
    let receipt = view.record(Tree::Receipts, &owed.receipt_key)?;
    receipt.ok_or(StoreError::IndexDamaged("owed"))
}

/// Owes the sender all receipts so far once more: the same leaves, under new numbers. What still
/// waits is not doubled. Not done when its sender had that done too often.
pub(super) fn owe_again(
    txn: &mut Txn<'_>,
    header: &Header,
    meter: &Meter,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let to = header.from.to_string();
    txn.wake(&to);
    let view = txn.view();
    let confirmed = view.confirmed(&to)?;
    // About another's message there are none but our own here: one for each event at most.
    let pairs = view.prefix(Tree::Receipts, header.digest.as_bytes(), ISSUED_OF_MESSAGE_MAX)?;
    let mut missing = Vec::new();
    let mut ended = Vec::new();
    let open = txn.origin().to_string();
    let mut any_waits = false;
    for (key, value) in pairs {
        let receipt: ReceiptRecord = decode(Tree::Receipts, &value)?;
        if receipt.owed_number == 0 {
            continue;
        }
        let again = view.get(Tree::OwedAgain, &key)?.and_then(|number| number.try_into().ok());
        let newest = again.map_or(receipt.owed_number, u64::from_be_bytes);
        if newest > confirmed {
            any_waits = true;
            continue;
        }
        match receipt.origin == open {
            true => missing.push(Bytes::from(key)),
            false => ended.push((Bytes::from(key), receipt)),
        }
    }
    let priority = priority_number(header.priority);
    let any_ended = !ended.is_empty();
    if !missing.is_empty() && !meter.note() {
        return Ok(false);
    }
    for (key, receipt) in ended {
        let owed = MovedOwed { peer: to.clone(), before: 0, priority };
        let moved = txn.move_leaf(key, receipt, Some(owed))?;
        txn.push(now, Fact::LeafMoved(moved), Bytes::new());
    }
    if missing.is_empty() && (any_waits || any_ended) {
        // All of them wait for the peer's word already: they may have been sent, so they go out
        // again.
        txn.rewind(&to);
    } else if !missing.is_empty() {
        let fact = OwedAgain {
            first_number: txn.view().counter("receipts-made", &to)? + 1,
            peer: to,
            receipt_keys: missing,
            priority,
        };
        txn.push(now, Fact::OwedAgain(fact), Bytes::new());
    }
    Ok(true)
}

/// Waiting receipts that are looked through at once.
const OWED_LOOK_MAX: usize = 1024;

/// Receipts that this unit can issue about one message of another.
const ISSUED_OF_MESSAGE_MAX: usize = 64;
