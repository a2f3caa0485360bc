//! Messages that come in: verified before they are read, decided, stored with their receipts, many
//! in one commit.
//!
//! A fault of a copy is answered with a `TransferFault`: not signed, no verdict. A verdict is given
//! only about a header whose signature verified and which came over its sender's own session.

use std::sync::Arc;

use bytes::Bytes;
use relay_core::policy::{self, Arrival, Judgement, kind_allowed};
use relay_proto::{
    envelope::{Header, HeaderError, clear_payload},
    ids::{Digest, UnitId},
    payload::{self, Payload},
    reason::Reason,
    receipt::Event,
    signed::{Signable, Unsigned},
    v1,
};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::{Context, own};
use crate::{
    keys::KeyUse,
    link::{Incoming, Lane, SessionSender},
    store::{ArrivalAnswer, NewArrival, NewRefusal, Verdict},
    telemetry::Counter,
};

/// Reads one lane of a session until it ends.
pub(super) async fn run(
    ctx: Arc<Context>,
    unit: UnitId,
    sender: SessionSender,
    mut lane: mpsc::Receiver<Incoming>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let count = lane.recv_many(&mut batch, BATCH).await;
        if count == 0 {
            return;
        }
        let now = ctx.now();
        ctx.peers.update(&unit, |status| status.last_contact = Some(now));
        let arrivals: Vec<Incoming> = std::mem::take(&mut batch);
        if let Err(error) = take(&ctx, &unit, &sender, arrivals).await {
            // Nothing was answered: the sender keeps its copies.
            warn!(%error, "arrivals not taken");
            return;
        }
    }
}

async fn take(
    ctx: &Context,
    unit: &UnitId,
    sender: &SessionSender,
    arrivals: Vec<Incoming>,
) -> Result<(), crate::store::StoreError> {
    let mut verdicts = Vec::with_capacity(arrivals.len());
    let mut most_urgent = relay_proto::envelope::Priority::Routine;
    let full = ctx.inbox.is_full(unit, ctx.parts.limits.inbox_messages_max);
    for incoming in arrivals {
        let v1::frame::Kind::Transfer(transfer) = incoming.kind else { continue };
        let lane = incoming.lane;
        match decide(ctx, unit, &transfer, full) {
            Decision::Verdict(verdict) => {
                let header = match &verdict {
                    Verdict::Accept(new) => &new.header,
                    Verdict::Refuse(new) => &new.header,
                };
                most_urgent = most_urgent.max(header.priority);
                verdicts.push(verdict);
            }
            Decision::Fault(reason, detail) => {
                ctx.parts.counters.add(Counter::VerifyFailure);
                let (number, label) = (transfer.number, reason.label());
                info!(peer = %unit, number, reason = label, "copy dropped");
                let fault = fault(&transfer, reason, detail);
                // The peer sends again what it hears nothing of.
                let _ = sender.try_reply(lane, v1::frame::Kind::Fault(fault));
            }
            Decision::Defer(digest, reason) => defer(ctx, unit, sender, lane, digest, reason).await,
        }
    }
    if verdicts.is_empty() {
        return Ok(());
    }
    let answers = ctx.parts.store.accept_arrivals(most_urgent, verdicts).await?;
    for answer in answers {
        match answer {
            ArrivalAnswer::Stored => {
                ctx.inbox.added(unit);
                ctx.parts.counters.add(Counter::Arrived);
            }
            ArrivalAnswer::Duplicate => ctx.parts.counters.add(Counter::Duplicate),
            ArrivalAnswer::Refused(Reason::Conflict) => ctx.parts.counters.add(Counter::Replay),
            ArrivalAnswer::Refused(reason) => {
                info!(peer = %unit, reason = reason.label(), "message refused");
            }
        }
    }
    Ok(())
}

enum Decision {
    Verdict(Verdict),
    Fault(Reason, String),
    Defer(Digest, Reason),
}

fn decide(ctx: &Context, unit: &UnitId, transfer: &v1::Transfer, full: bool) -> Decision {
    let malformed = |what: &str| Decision::Fault(Reason::Malformed, what.to_owned());
    let Some(envelope) = &transfer.envelope else { return malformed("no envelope") };
    let Some(signed) = &envelope.header else { return malformed("no header") };
    if !transfer.passed.is_empty() {
        return Decision::Fault(Reason::SenderMismatch, "carried by others".to_owned());
    }
    let snapshot = ctx.parts.directory.snapshot();
    let find = |id| snapshot.signing_key(id).map(|(unit, key)| (unit.clone(), key.key));
    let header = match Header::open(signed, find) {
        Ok(header) => header,
        Err(HeaderError::Signed(error)) => {
            return Decision::Fault(error.reason(), error.to_string());
        }
        // Its sender did sign it, but without a checked header there is nothing to put on a
        // receipt.
        Err(HeaderError::Rule(reason)) => return Decision::Fault(reason, reason.to_string()),
    };
    let key = match snapshot.signing_key(header.key_id) {
        Some((_, key)) => key.check_at(header.created_at),
        None => Err(Reason::UnknownKey),
    };
    let profile = ctx.profile(&header.profile).map(Arc::as_ref);
    let clock = ctx.clock_view();
    let own = ctx.unit();
    let arrival = Arrival { header: &header, session: unit, own, profile, key, clock };
    let recovered = is_recovered(ctx, transfer, &header);
    let clock_unverified = match policy::judge(&arrival) {
        Judgement::Accept { clock_unverified } => clock_unverified,
        // It was here in time, before our log lost the receipt that said so.
        Judgement::Refuse(Reason::Expired) if recovered => false,
        Judgement::Refuse(reason) => return refusal(ctx, unit, transfer, header, reason),
        Judgement::Fault(reason) => return Decision::Fault(reason, reason.to_string()),
        Judgement::Defer(reason) => return Decision::Defer(header.digest, reason),
    };
    let clear = match clear_payload(envelope, &header) {
        Ok(payload) => payload.clone(),
        Err(reason) => return Decision::Fault(reason, reason.to_string()),
    };
    // EMERGENCY is never kept out by a full inbox.
    if full && header.priority != relay_proto::envelope::Priority::Emergency {
        return Decision::Defer(header.digest, Reason::QueueFull);
    }
    match content(ctx, &header, &clear) {
        Ok(content) => {
            let seen = Seen { clock_unverified, recovered };
            accept(ctx, unit, transfer, header, clear, &content, seen)
        }
        Err(Content::Fault(reason)) => Decision::Fault(reason, reason.to_string()),
        Err(Content::Refuse(reason)) => refusal(ctx, unit, transfer, header, reason),
    }
}

/// How an arrival is marked.
struct Seen {
    clock_unverified: bool,
    recovered: bool,
}

/// Whether a message is sent again because our log lost its receipt. The sender's word counts only
/// for what is older than the succession of our log.
fn is_recovered(ctx: &Context, transfer: &v1::Transfer, header: &Header) -> bool {
    let own = ctx.parts.directory.own();
    let log = own.log(ctx.parts.tlog.origin());
    let succession = log.and_then(|log| log.succession.as_ref());
    transfer.recovered && succession.is_some_and(|one| header.created_at <= one.at)
}

enum Content {
    Fault(Reason),
    Refuse(Reason),
}

/// Reads the payload. Its digest is the header's, so what is wrong with it is its sender's doing.
fn content(ctx: &Context, header: &Header, clear: &Bytes) -> Result<Payload, Content> {
    let raw = payload::open_clear(clear).map_err(|error| Content::Refuse(error.reason()))?;
    let value: v1::Header = relay_proto::scan::decode(
        &header.signed.bytes,
        v1::Header::schema(),
        v1::Header::BYTES_MAX,
    )
    .map_err(|error| Content::Fault(error.reason()))?;
    payload::check_inner(&raw, &value).map_err(Content::Refuse)?;
    let Some(profile) = ctx.profile(&header.profile) else {
        return Err(Content::Refuse(Reason::UnknownProfile));
    };
    if raw.kind() == v1::Kind::Unspecified {
        return Err(Content::Refuse(Reason::UnsupportedKind));
    }
    kind_allowed(profile, raw.kind()).map_err(Content::Refuse)?;
    let kinds = super::submit::kinds(profile);
    let context = super::submit::payload_context(profile, header.priority, &kinds);
    Payload::parse(&raw, &context).map_err(|faults| Content::Refuse(faults.reason()))
}

fn accept(
    ctx: &Context,
    unit: &UnitId,
    transfer: &v1::Transfer,
    header: Header,
    clear: Bytes,
    content: &Payload,
    seen: Seen,
) -> Decision {
    let now = ctx.now();
    let Seen { clock_unverified, recovered } = seen;
    let flags = [
        (clock_unverified, v1::StatementFlag::ClockUnverified),
        (recovered, v1::StatementFlag::Recovered),
    ];
    let flags: Vec<_> = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag).collect();
    let mut consignment = ctx.statement(&header, Event::ContentConsignment, now);
    consignment.recipient = Some(ctx.unit());
    consignment.flags = &flags;
    let mut conflict = ctx.statement(&header, Event::RelayRejection, now);
    conflict.recipient = Some(ctx.unit());
    conflict.reason = Some(Reason::Conflict);
    let (Ok(consignment), Ok(conflict)) = (own(&consignment), own(&conflict)) else {
        return Decision::Defer(header.digest, Reason::Internal);
    };
    let (consignment, conflict) = (consignment.bytes().clone(), conflict.bytes().clone());
    debug!(peer = %unit, number = transfer.number, message = %header.digest, "message taken");
    Decision::Verdict(Verdict::Accept(Box::new(NewArrival {
        payload: clear,
        kind: i32::from(content.kind()).unsigned_abs(),
        case_id: Bytes::copy_from_slice(content.case_id.as_bytes()),
        peer: unit.clone(),
        number: transfer.number,
        consignment,
        conflict,
        clock_unverified,
        recovered,
        now,
        header,
    })))
}

fn refusal(
    ctx: &Context,
    unit: &UnitId,
    transfer: &v1::Transfer,
    header: Header,
    reason: Reason,
) -> Decision {
    // A copy whose payload is not the header's proves nothing about the message.
    if let Some(envelope) = &transfer.envelope
        && let Err(reason) = clear_payload(envelope, &header)
    {
        return Decision::Fault(reason, reason.to_string());
    }
    let now = ctx.now();
    let mut statement = ctx.statement(&header, Event::RelayRejection, now);
    statement.recipient = Some(ctx.unit());
    statement.reason = Some(reason);
    let Ok(statement) = own(&statement) else {
        return Decision::Defer(header.digest, Reason::Internal);
    };
    let rejection = statement.bytes().clone();
    let (peer, number) = (unit.clone(), transfer.number);
    let new = NewRefusal { header, reason, peer, number, rejection, now };
    Decision::Verdict(Verdict::Refuse(Box::new(new)))
}

fn fault(transfer: &v1::Transfer, reason: Reason, detail: String) -> v1::TransferFault {
    let envelope = transfer.envelope.as_ref();
    let header = envelope.and_then(|envelope| envelope.header.as_ref());
    let header = header.map(|header| Digest::of(&header.bytes));
    let payload = envelope.and_then(|envelope| match &envelope.payload {
        Some(v1::envelope::Payload::Clear(bytes) | v1::envelope::Payload::Sealed(bytes)) => {
            Some(Digest::of(bytes))
        }
        None => None,
    });
    let bytes = |digest: Option<Digest>| {
        digest.map(|digest| Bytes::copy_from_slice(digest.as_bytes())).unwrap_or_default()
    };
    v1::TransferFault {
        number: transfer.number,
        header_digest: bytes(header),
        payload_digest: bytes(payload),
        reason: reason.label().to_owned(),
        detail,
    }
}

/// Asks the peer to come back later, signed, never a leaf.
async fn defer(
    ctx: &Context,
    unit: &UnitId,
    sender: &SessionSender,
    lane: Lane,
    digest: Digest,
    reason: Reason,
) {
    let now = ctx.now();
    let signer = &ctx.parts.signer;
    let key_id = signer.key_id(KeyUse::Deferral);
    let deferral = v1::Deferral {
        unit: ctx.unit().to_string(),
        peer: unit.to_string(),
        header_digest: Bytes::copy_from_slice(digest.as_bytes()),
        reason: reason.label().to_owned(),
        issued_at_ms: now.as_millis(),
        not_before_ms: now.after(DEFER_FOR).as_millis(),
        signer: Some(v1::Signer {
            unit: ctx.unit().to_string(),
            key_id: Bytes::copy_from_slice(key_id.as_bytes()),
            algorithm: v1::Algorithm::Ed25519.into(),
            epoch: signer.epoch(KeyUse::Deferral),
        }),
    };
    let unsigned = Unsigned::new(&deferral, key_id);
    match signer.sign(KeyUse::Deferral, unsigned.input()).await {
        Ok(signature) => {
            let signed = unsigned.signed(signature);
            let _ = sender.try_reply(lane, v1::frame::Kind::Deferral(signed));
        }
        Err(error) => warn!(%error, "deferral not signed"),
    }
}

/// Transfers that are decided and stored together.
const BATCH: usize = 128;

/// When a peer may come back to a full inbox.
const DEFER_FOR: std::time::Duration = std::time::Duration::from_secs(30);
