//! A hacked peer that proves what is not so: receipts for other messages, proofs that lead nowhere,
//! events that are not its to state, and a log with two histories.

use bytes::Bytes;
use relay_proto::{
    ids::MessageId,
    reason::Reason,
    receipt::Event,
    v1::{self, frame::Kind},
};
use tokio::time::{Duration, Instant};

use super::{
    honest::{draft, now},
    peer::Session,
    report::Outcome,
    stage::{Hacked, Stage},
};
use crate::{
    hostile::{Claim, HostileLog},
    process::request_id,
};

/// Each kind of false receipt, then a flood of them: each is an alarm by its label and settles
/// nothing; the good receipt does.
pub async fn false_receipts(stage: &Stage, until: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    if let Err(fault) = lies(stage, until, &mut outcome).await {
        outcome.demand(false, fault);
    }
    outcome
}

async fn lies(stage: &Stage, until: Instant, outcome: &mut Outcome) -> Result<(), String> {
    let (mut session, header, id) = sent_to(stage, &stage.hacked).await?;
    let mut held = stage.hacked.log.lock().await;
    let (log, number) = &mut *held;
    let keys = &stage.hacked.keys;
    let claim = |event| Claim { event, reason: None, actor: None, at: now() };
    let good = log.statement(&header, claim(Event::ContentConsignment));
    let failure = Claim { reason: Some(Reason::Expired), ..claim(Event::RelayFailure) };
    let wrong_role = log.statement(&header, failure);
    let unknown = log.statement(&of_another(&header), claim(Event::ContentConsignment));
    let mut next = || {
        *number += 1;
        *number
    };
    let mut groups = Vec::new();
    let mut other_leaf = log.group(keys, next(), &flip(good.bytes()), "").await;
    first(&mut other_leaf).statement = good.bytes().clone();
    groups.push((Reason::BadInclusion, other_leaf));
    groups.push((Reason::UnknownMessage, log.group(keys, next(), unknown.bytes(), "").await));
    groups.push((Reason::WrongIssuer, log.group(keys, next(), wrong_role.bytes(), "").await));
    let mut malformed = log.group(keys, next(), &Bytes::from_static(&[8, 1, 8, 1]), "").await;
    malformed.receipts.truncate(1);
    groups.push((Reason::Malformed, malformed));
    for (reason, group) in &groups {
        outcome.sent.add(format!("receipt that is {reason}"));
        session.send(0, Kind::Receipts(group.clone())).await?;
        outcome.demand(alarmed(stage, *reason).await, format!("no alarm {reason}"));
        outcome.answered.add(format!("alarm {reason}"));
    }
    let state = delivery(stage, &id).await;
    outcome.demand(state != v1::DeliveryState::Delivered, "a false receipt settled the message");
    while Instant::now() < until {
        for (_, group) in &groups {
            outcome.sent.add("false receipt again");
            session.send(0, Kind::Receipts(group.clone())).await?;
        }
        tokio::time::sleep(PAUSE).await;
    }
    let state = delivery(stage, &id).await;
    outcome.demand(state != v1::DeliveryState::Delivered, "a false receipt settled the message");
    let group = log.group(keys, next(), good.bytes(), "").await;
    session.send(0, Kind::Receipts(group)).await?;
    let settled = until_delivered(stage, &id).await;
    outcome.demand(settled, "the good receipt did not settle the message");
    Ok(())
}

/// Two signed checkpoints of one size with different roots, and two statements that cannot both be
/// true: proof of both is kept, alarmed, and the first stands.
pub async fn equivocation(stage: &Stage, until: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    if let Err(fault) = two_histories(stage, until, &mut outcome).await {
        outcome.demand(false, fault);
    }
    outcome
}

async fn two_histories(stage: &Stage, until: Instant, outcome: &mut Outcome) -> Result<(), String> {
    let (mut session, header, id) = sent_to(stage, &stage.liar).await?;
    let mut held = stage.liar.log.lock().await;
    let (log, number) = &mut *held;
    let keys = &stage.liar.keys;
    let claim = |event| Claim { event, reason: None, actor: None, at: now() };
    let consigned = log.statement(&header, claim(Event::ContentConsignment));
    *number += 1;
    let group = log.group(keys, *number, consigned.bytes(), "").await;
    let size = group.receipts.first().map_or(0, |receipt| receipt.index + 1);
    outcome.sent.add("receipt under a checkpoint");
    session.send(0, Kind::Receipts(group.clone())).await?;
    outcome.demand(until_delivered(stage, &id).await, "the good receipt did not settle");
    outcome.answered.add("settled");

    let refused = Claim { reason: Some(Reason::Busy), ..claim(Event::RelayRejection) };
    let refused = log.statement(&header, refused);
    *number += 1;
    let contradiction = log.group(keys, *number, refused.bytes(), "").await;
    outcome.sent.add("receipt that contradicts the first");
    session.send(0, Kind::Receipts(contradiction)).await?;
    outcome.demand(alarmed(stage, Reason::Contradiction).await, "no alarm CONTRADICTION");
    outcome.answered.add("alarm CONTRADICTION");

    let mut fork = HostileLog::new(&stage.liar.unit);
    for leaf in 0..size {
        fork.group(keys, leaf, &Bytes::copy_from_slice(&leaf.to_be_bytes()), "").await;
    }
    let mut forked = fork.group(keys, *number, refused.bytes(), "").await;
    (forked.consistency_from, forked.consistency) = (0, Vec::new());
    while Instant::now() < until {
        outcome.sent.add("another root of the same size");
        session.send(0, Kind::Receipts(forked.clone())).await?;
        tokio::time::sleep(PAUSE).await;
    }
    outcome.demand(alarmed(stage, Reason::PeerRolledBack).await, "no alarm PEER_ROLLED_BACK");
    outcome.answered.add("alarm PEER_ROLLED_BACK");
    let state = delivery(stage, &id).await;
    outcome.demand(state == v1::DeliveryState::Delivered, "the first receipt does not stand");
    Ok(())
}

/// The attacked node sends one of our peers a message: the session, its header and its id.
async fn sent_to(stage: &Stage, peer: &Hacked) -> Result<(Session, v1::Signed, String), String> {
    let mut session = stage.session_of(peer).await?;
    let request = v1::SendMessageRequest {
        request_id: request_id(),
        draft: Some(draft(peer.unit.as_str())),
        validate_only: false,
        etag: String::new(),
    };
    let sent = stage.attacked.client().messages.send_message(request).await;
    let message = sent.map_err(|status| status.to_string())?.into_inner().message;
    let message = message.unwrap_or_default();
    let header = session
        .next(|kind| {
            let Kind::Transfer(transfer) = kind else { return None };
            let header = transfer.envelope?.header?;
            let digest = relay_proto::ids::Digest::of(&header.bytes);
            (message.header_digest == digest.as_bytes().as_slice()).then_some(header)
        })
        .await?;
    Ok((session, header, message.name))
}

async fn delivery(stage: &Stage, name: &str) -> v1::DeliveryState {
    let request = v1::GetMessageRequest { name: name.to_owned(), view: 0, ..Default::default() };
    let message = stage.attacked.client().messages.get_message(request).await;
    let deliveries = message.expect("a message").into_inner().deliveries;
    deliveries.first().map_or(v1::DeliveryState::Unspecified, v1::Delivery::state)
}

async fn until_delivered(stage: &Stage, name: &str) -> bool {
    holds(async || delivery(stage, name).await == v1::DeliveryState::Delivered).await
}

async fn alarmed(stage: &Stage, reason: Reason) -> bool {
    holds(async || stage.alarms().await.iter().any(|alarm| alarm.contains(reason.label()))).await
}

/// Whether a condition comes true in time.
async fn holds(condition: impl AsyncFn() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if condition().await {
            return true;
        }
        tokio::time::sleep(PAUSE).await;
    }
    false
}

/// A header that nobody sent.
fn of_another(header: &v1::Signed) -> v1::Signed {
    let mut value: v1::Header = prost::Message::decode(header.bytes.clone()).expect("a header");
    let id = MessageId::new(now(), [7; 10]);
    value.message_id = Bytes::copy_from_slice(id.as_bytes());
    v1::Signed { bytes: prost::Message::encode_to_vec(&value).into(), ..header.clone() }
}

fn first(group: &mut v1::ReceiptGroup) -> &mut v1::NumberedReceipt {
    group.receipts.first_mut().expect("a group of one")
}

fn flip(bytes: &Bytes) -> Bytes {
    let mut changed = bytes.to_vec();
    changed.last_mut().into_iter().for_each(|byte| *byte ^= 1);
    changed.into()
}

const PAUSE: Duration = Duration::from_millis(20);
