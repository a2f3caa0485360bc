//! Taking messages from a peer: envelope and ContentConsignment as one event, many in one commit.

use bytes::Bytes;
use prost::Message;
use relay_core::inbox::{self, Arrival, Known};
use relay_proto::{
    envelope::{Header, Priority},
    ids::{Digest, UnitId},
    reason::Reason,
    timestamp::Timestamp,
};

use super::{
    receipts::owe_again,
    submission::{known, record},
};
use crate::store::{
    NewLeaf, Store, StoreError,
    event::{Arrived, Fact, Refused},
    index::Tree,
    records::{AlarmRecord, MessageRecord, NumbersRecord, RefusedRecord, digest_of, key},
    txn::Txn,
};

/// A message whose header verified, whose payload is the right one and whom policy lets in.
#[derive(Debug, Clone)]
pub struct NewArrival {
    /// The header.
    pub header: Header,
    /// The payload as it travelled.
    pub payload: Bytes,
    /// Message kind, as on the wire.
    pub kind: u32,
    /// The case.
    pub case_id: Bytes,
    /// The unit whose session brought it.
    pub peer: UnitId,
    /// The number of its transfer.
    pub number: u64,
    /// ContentConsignment, as statement bytes.
    pub consignment: Bytes,
    /// RelayRejection with CONFLICT, in case the id is taken by another header.
    pub conflict: Bytes,
    /// The clock was not trusted.
    pub clock_unverified: bool,
    /// It is sent again because our log lost its receipt.
    pub recovered: bool,
    /// Now.
    pub now: Timestamp,
}

/// A message whose header verified and which is refused for good.
#[derive(Debug, Clone)]
pub struct NewRefusal {
    /// The header.
    pub header: Header,
    /// Why.
    pub reason: Reason,
    /// The unit whose session brought it.
    pub peer: UnitId,
    /// The number of its transfer.
    pub number: u64,
    /// RelayRejection, as statement bytes.
    pub rejection: Bytes,
    /// Now.
    pub now: Timestamp,
}

/// What is to become of an arrival, unless its sender and id are known already.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// Take it.
    Accept(Box<NewArrival>),
    /// Refuse it.
    Refuse(Box<NewRefusal>),
}

/// What became of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrivalAnswer {
    /// Stored, with its receipt.
    Stored,
    /// It has its verdict already; its receipts are owed again.
    Duplicate,
    /// Refused, for this reason.
    Refused(Reason),
}

impl Store {
    /// Stores and refuses arrivals, all in one commit; each has its own answer.
    pub async fn accept_arrivals(
        &self,
        priority: Priority,
        arrivals: Vec<Verdict>,
    ) -> Result<Vec<ArrivalAnswer>, StoreError> {
        self.commit(priority, move |txn| {
            let each = arrivals.into_iter().map(|arrival| match arrival {
                Verdict::Accept(new) => accept(txn, *new),
                Verdict::Refuse(new) => refuse(txn, *new),
            });
            each.collect()
        })
        .await
    }
}

fn accept(txn: &mut Txn<'_>, new: NewArrival) -> Result<ArrivalAnswer, StoreError> {
    // A verdict that was given stands, also when policy has changed since.
    if is_refused(txn, &new.header.digest)? {
        return again(txn, &new.header, new.now);
    }
    let held = known(txn, &new.header)?.map_or(Known::Nothing, Known::Header);
    match inbox::classify(held, new.header.digest) {
        Arrival::Duplicate => {
            if new.recovered {
                mark_recovered(txn, &new.header.digest, new.now)?;
            }
            return again(txn, &new.header, new.now);
        }
        Arrival::Conflict => {
            let (reason, rejection) = (Reason::Conflict, new.conflict);
            let NewArrival { header, peer, number, now, .. } = new;
            return refuse(txn, NewRefusal { header, reason, peer, number, rejection, now });
        }
        Arrival::Accept => {}
    }
    let numbers = numbers(txn, &new.peer, new.number, &new.header.digest, new.now)?;
    let leaf = txn.leaf(leaf(&new.header, new.consignment))?;
    let mut record = record(&new.header, &new.payload, new.kind, &new.case_id, new.now);
    record.direction = MessageRecord::IN;
    record.clock_unverified = new.clock_unverified;
    record.recovered = new.recovered;
    let fact = Fact::Arrived(Arrived {
        header: new.header.signed.encode_to_vec().into(),
        record: Some(record),
        leaf: Some(leaf),
        peer: new.peer.to_string(),
        number: new.number,
        numbers: Some(numbers),
    });
    txn.push(new.now, fact, new.payload);
    Ok(ArrivalAnswer::Stored)
}

fn refuse(txn: &mut Txn<'_>, new: NewRefusal) -> Result<ArrivalAnswer, StoreError> {
    let header = &new.header;
    let stored: Option<MessageRecord> = txn.view().message(&header.digest)?;
    if stored.is_some() || is_refused(txn, &header.digest)? {
        // It has its verdict: a refusal now would contradict it, another one says nothing new.
        return again(txn, header, new.now);
    }
    let numbers = numbers(txn, &new.peer, new.number, &header.digest, new.now)?;
    let leaf = txn.leaf(leaf(header, new.rejection))?;
    let record = RefusedRecord {
        header: header.signed.encode_to_vec().into(),
        reason: new.reason.label().to_owned(),
        at_ms: new.now.as_millis(),
        from: header.from.to_string(),
        message_id: Bytes::copy_from_slice(header.message_id.as_bytes()),
    };
    let fact = Fact::Refused(Refused {
        record: Some(record),
        leaf: Some(leaf),
        peer: new.peer.to_string(),
        number: new.number,
        numbers: Some(numbers),
        digest: Bytes::copy_from_slice(header.digest.as_bytes()),
    });
    txn.push(new.now, fact, Bytes::new());
    if new.reason == Reason::Conflict {
        let detail = format!("header {}", header.digest);
        alarm(txn, Reason::Conflict, header.from.as_str(), detail, new.now);
    }
    Ok(ArrivalAnswer::Refused(new.reason))
}

fn leaf(header: &Header, statement: Bytes) -> NewLeaf {
    NewLeaf {
        statement,
        digest: header.digest,
        owed_to: Some(header.from.to_string()),
        priority: header.priority,
        actor: String::new(),
    }
}

fn again(txn: &mut Txn<'_>, header: &Header, now: Timestamp) -> Result<ArrivalAnswer, StoreError> {
    owe_again(txn, header, now)?;
    Ok(ArrivalAnswer::Duplicate)
}

/// What is stated about the message from now on may have been stated in the log that was lost.
fn mark_recovered(txn: &mut Txn<'_>, digest: &Digest, now: Timestamp) -> Result<(), StoreError> {
    // One without a place in the journal came in this very batch: the mark waits for the next copy.
    let wanted =
        |record: &MessageRecord| !record.recovered && record.position.iter().any(|byte| *byte != 0);
    if let Some(mut record) = txn.view().message(digest)?.filter(wanted) {
        record.recovered = true;
        txn.push(now, Fact::MessageRecovered(record), Bytes::new());
    }
    Ok(())
}

fn is_refused(txn: &Txn<'_>, digest: &Digest) -> Result<bool, StoreError> {
    Ok(txn.view().get(Tree::Refused, digest.as_bytes())?.is_some())
}

/// Notes a transfer's number; one number with two messages is a peer that was set back.
fn numbers(
    txn: &mut Txn<'_>,
    peer: &UnitId,
    number: u64,
    digest: &Digest,
    now: Timestamp,
) -> Result<NumbersRecord, StoreError> {
    let counter = key::counter("transfers-in", peer.as_str());
    let known: NumbersRecord = txn.view().record(Tree::Counters, &counter)?.unwrap_or_default();
    if number == 0 {
        return Ok(known);
    }
    let before = txn.view().get(Tree::Transfers, &key::transfer(peer.as_str(), number))?;
    let used = before.as_deref().and_then(|before| before.split_first_chunk::<8>());
    if used.is_some_and(|(n, of)| u64::from_be_bytes(*n) == number && digest_of(of) != *digest) {
        let detail = format!("transfer {number} came with another message before: {digest}");
        alarm(txn, Reason::PeerRolledBack, peer.as_str(), detail, now);
    }
    Ok(known.with(number))
}

/// Keeps something that an operator must look at.
pub(super) fn alarm(txn: &mut Txn<'_>, reason: Reason, peer: &str, detail: String, now: Timestamp) {
    let alarm = AlarmRecord {
        reason: reason.label().to_owned(),
        peer: peer.to_owned(),
        detail,
        at_ms: now.as_millis(),
        evidence: Bytes::new(),
    };
    txn.push(now, Fact::Alarmed(alarm), Bytes::new());
}
