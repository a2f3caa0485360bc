//! Taking messages from a peer: envelope and ContentConsignment as one event, many in one commit.

use bytes::Bytes;
use prost::Message;
use relay_core::{
    exchange::Objection,
    inbox::{self, Arrival, Known},
    quota::Meter,
};
use relay_proto::{
    envelope::{Header, Priority},
    ids::{Digest, UnitId},
    reason::Reason,
    timestamp::Timestamp,
};

use super::{
    alarm::{NewAlarm, raise},
    case, exchange,
    owed::owe_again,
    submission::{About, known, record},
};
use crate::faults::{self, Point};
use crate::store::{
    NewLeaf, Store, StoreError,
    event::{Arrived, Fact, Refused},
    index::Tree,
    records::{MessageRecord, NumbersRecord, RefusedRecord, digest_of, key, priority_number},
    txn::Txn,
};

/// A message whose header verified, whose payload is the right one and whom policy lets in.
#[derive(Debug, Clone)]
pub struct NewArrival {
    /// The header.
    pub header: Header,
    /// The payload as it travelled.
    pub payload: Bytes,
    /// What the payload says.
    pub about: About,
    /// Our unit.
    pub own: UnitId,
    /// The unit whose session brought it.
    pub peer: UnitId,
    /// The number of its transfer.
    pub number: u64,
    /// ContentConsignment, as statement bytes.
    pub consignment: Bytes,
    /// RelayRejections, as statement bytes, for what only the store can tell: that the id is taken
    /// by another header (CONFLICT), that the message may not join its case, or not say this about
    /// another one.
    pub rejections: Vec<(Reason, Bytes)>,
    /// The clock was not trusted.
    pub clock_unverified: bool,
    /// The lane in which it is carried: its priority's, or a lower one over its sender's quota.
    pub carried: Priority,
    /// Counts what its peer causes.
    pub meter: Meter,
    /// It is sent again because our log lost its receipt.
    pub recovered: bool,
    /// Now.
    pub now: Timestamp,
}

impl NewArrival {
    /// The same, refused for one of the reasons that only the store can tell.
    fn refused(self, reason: Reason) -> Result<NewRefusal, StoreError> {
        let mut rejections = self.rejections.into_iter();
        let rejection = rejections.find_map(|(of, bytes)| (of == reason).then_some(bytes));
        let rejection = rejection.ok_or(StoreError::Refused(Reason::Internal))?;
        let Self { header, peer, number, meter, now, .. } = self;
        Ok(NewRefusal { header, reason, peer, number, rejection, meter, now })
    }
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
    /// Counts what its peer causes.
    pub meter: Meter,
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
    /// Not taken now, for this reason; nothing was written.
    Deferred(Reason),
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

fn accept(txn: &mut Txn<'_>, mut new: NewArrival) -> Result<ArrivalAnswer, StoreError> {
    // A verdict that was given stands, also when policy has changed since.
    if is_refused(txn, &new.header.digest)? {
        return again(txn, &new.header, &new.meter, new.now);
    }
    let held = match faults::skips(Point::Duplicate) {
        true => Known::Nothing,
        false => known(txn, &new.header)?.map_or(Known::Nothing, Known::Header),
    };
    match inbox::classify(held, new.header.digest) {
        Arrival::Duplicate => {
            if new.recovered {
                mark_recovered(txn, &new.header.digest, new.now)?;
            }
            return again(txn, &new.header, &new.meter, new.now);
        }
        Arrival::Conflict => return refuse(txn, new.refused(Reason::Conflict)?),
        Arrival::Accept => {}
    }
    if let Some(case) = &new.about.case
        && let Some(reason) = case::refusal(&txn.view(), &new.header, &new.about.case_id, case)?
    {
        return refuse(txn, new.refused(reason)?);
    }
    // What was taken before our log lost its receipt has its verdict.
    if let Some(said) = new.about.said.as_ref().filter(|_| !new.recovered) {
        match exchange::arrived(&txn.view(), &new.header, &new.own, said)? {
            Ok(among) => new.about.among = among,
            Err(Objection::Awaited) => {
                return Ok(ArrivalAnswer::Deferred(Reason::ReferenceAwaited));
            }
            Err(Objection::Refused { reason, .. }) => return refuse(txn, new.refused(reason)?),
        }
    }
    if !txn.room().takes_arrival(new.carried) {
        return Ok(ArrivalAnswer::Deferred(Reason::StorageFull));
    }
    let transfer = (new.number, &new.header.digest);
    let numbers = numbers(txn, &new.peer, transfer, &new.meter, new.now)?;
    let leaf = txn.leaf(leaf(&new.header, new.carried, new.consignment))?;
    let mut record = record(&new.header, &new.payload, &new.about, new.now);
    record.direction = MessageRecord::IN;
    record.clock_unverified = new.clock_unverified;
    if new.carried != new.header.priority {
        record.carried = priority_number(new.carried);
    }
    record.recovered = new.recovered;
    let case = new.about.case.as_ref().map(|case| case::row(&new.header, case, false));
    let fact = Fact::Arrived(Arrived {
        header: new.header.signed.encode_to_vec().into(),
        record: Some(record),
        leaf: Some(leaf),
        peer: new.peer.to_string(),
        number: new.number,
        numbers: Some(numbers),
        case,
    });
    txn.push(new.now, fact, new.payload);
    Ok(ArrivalAnswer::Stored)
}

fn refuse(txn: &mut Txn<'_>, new: NewRefusal) -> Result<ArrivalAnswer, StoreError> {
    let header = &new.header;
    let stored: Option<MessageRecord> = txn.view().message(&header.digest)?;
    if stored.is_some() || is_refused(txn, &header.digest)? {
        // It has its verdict: a refusal now would contradict it, another one says nothing new.
        return again(txn, header, &new.meter, new.now);
    }
    if !txn.room().takes_arrival(header.priority) {
        return Ok(ArrivalAnswer::Deferred(Reason::StorageFull));
    }
    if !new.meter.refusal() {
        // The log is for ever: what a peer gets refused beyond its quota leaves no leaf in it.
        return Ok(ArrivalAnswer::Deferred(Reason::Quota));
    }
    let numbers = numbers(txn, &new.peer, (new.number, &header.digest), &new.meter, new.now)?;
    let leaf = txn.leaf(leaf(header, header.priority, new.rejection))?;
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
        let alarm = NewAlarm {
            reason: Reason::Conflict,
            peer: header.from.to_string(),
            detail: format!("header {}", header.digest),
            evidence: Bytes::new(),
            now: new.now,
        };
        raise(txn, &new.meter, alarm);
    }
    Ok(ArrivalAnswer::Refused(new.reason))
}

fn leaf(header: &Header, priority: Priority, statement: Bytes) -> NewLeaf {
    NewLeaf {
        statement,
        digest: header.digest,
        owed_to: Some(header.from.to_string()),
        priority,
        actor: String::new(),
    }
}

fn again(
    txn: &mut Txn<'_>,
    header: &Header,
    meter: &Meter,
    now: Timestamp,
) -> Result<ArrivalAnswer, StoreError> {
    let owed = owe_again(txn, header, meter, now)?;
    Ok(if owed { ArrivalAnswer::Duplicate } else { ArrivalAnswer::Deferred(Reason::Quota) })
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
    (number, digest): (u64, &Digest),
    meter: &Meter,
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
        let alarm = NewAlarm {
            reason: Reason::PeerRolledBack,
            peer: peer.to_string(),
            detail: format!(
                "transfer {number} came with another message before: {digest}. {peer} was set \
                 back, or two processes speak as it: ask its operator"
            ),
            evidence: Bytes::new(),
            now,
        };
        raise(txn, meter, alarm);
    }
    Ok(known.with(number))
}
