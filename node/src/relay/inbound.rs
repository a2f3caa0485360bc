//! Messages that come in: verified before they are read, decided, stored with their receipts, many
//! in one commit.
//!
//! A fault of a copy is answered with a `TransferFault`: not signed, no verdict. A verdict is given
//! only about a header whose signature verified and which came over its sender's own session.

use std::sync::Arc;

use bytes::Bytes;
use relay_core::{
    case::Rules,
    exchange,
    policy::{self, Arrival, Judgement},
    quota::Meter,
};
use relay_proto::{
    envelope::{Header, Priority, clear_payload},
    ids::{Digest, UnitId},
    payload::Payload,
    reason::Reason,
    receipt::Event,
    signed::Unsigned,
    v1,
};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

mod reading;

use self::reading::{content, fault, opened};
use super::{Context, alarms::alarm, attachments::are_here, own};
use crate::{
    keys::KeyUse,
    link::{Incoming, Lane, SessionSender},
    store::{About, ArrivalAnswer, NewArrival, NewRefusal, StoreError, Verdict, wire_bytes},
    telemetry::Counter,
};

/// One lane of a session.
pub(super) struct Reader {
    pub ctx: Arc<Context>,
    pub unit: UnitId,
    pub sender: SessionSender,
    pub priority: Priority,
}

/// Reads one lane of a session until it ends.
pub(super) async fn run(reader: Reader, mut lane: mpsc::Receiver<Incoming>) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let count = lane.recv_many(&mut batch, BATCH).await;
        if count == 0 {
            return;
        }
        let now = reader.ctx.now();
        reader.ctx.peers.update(&reader.unit, |status| status.last_contact = Some(now));
        let arrivals: Vec<Incoming> = std::mem::take(&mut batch);
        if let Err(error) = reader.take(arrivals).await {
            // Nothing was answered: the sender keeps its copies.
            warn!(%error, "arrivals not taken");
            return;
        }
    }
}

/// What was decided of a batch, in its order.
#[derive(Default)]
struct Decided {
    verdicts: Vec<Verdict>,
    /// What each verdict is about.
    heads: Vec<Head>,
    deferred: Vec<(Digest, Reason)>,
}

struct Head {
    digest: Digest,
    /// What it states.
    priority: Priority,
    /// The lane in which it counts and its size, if it is taken.
    taken: Option<(Priority, u64)>,
}

impl Reader {
    async fn take(&self, arrivals: Vec<Incoming>) -> Result<(), StoreError> {
        let meter = self.ctx.quotas.meter(&self.unit);
        let lane = lane_of(&arrivals);
        let decided = {
            let _pass = self.ctx.gate.enter(&self.unit, self.priority).await;
            self.decide_all(arrivals, &meter)
        };
        for (digest, reason) in decided.deferred {
            self.defer(lane, digest, reason, &meter).await;
        }
        if decided.verdicts.is_empty() {
            return Ok(());
        }
        let lanes = decided.heads.iter().filter_map(|head| head.taken.map(|(lane, _)| lane));
        let most_urgent = lanes.max().unwrap_or(Priority::Routine);
        let store = &self.ctx.parts.store;
        let answers = match store.accept_arrivals(most_urgent, decided.verdicts).await {
            Err(StoreError::Full) => {
                vec![ArrivalAnswer::Deferred(Reason::StorageFull); decided.heads.len()]
            }
            answers => answers?,
        };
        for (answer, head) in answers.into_iter().zip(decided.heads) {
            self.answered(answer, lane, &head, &meter).await;
        }
        Ok(())
    }

    fn decide_all(&self, arrivals: Vec<Incoming>, meter: &Meter) -> Decided {
        let (ctx, unit) = (&*self.ctx, &self.unit);
        let limits = &ctx.parts.limits;
        let full = ctx.inbox.is_full(unit, limits.inbox_messages_max, limits.inbox_bytes_max);
        let mut decided = Decided::default();
        for incoming in arrivals {
            let v1::frame::Kind::Transfer(transfer) = incoming.kind else { continue };
            match decide(ctx, unit, &transfer, full, meter) {
                Decision::Verdict(verdict) => {
                    decided.heads.push(Head::of(&verdict));
                    decided.verdicts.push(verdict);
                }
                Decision::Fault(reason, detail) => {
                    ctx.parts.counters.add(Counter::VerifyFailure);
                    let (number, label) = (transfer.number, reason.label());
                    if let Some(left_out) = meter.line() {
                        info!(peer = %unit, number, reason = label, left_out, "copy dropped");
                    }
                    let fault = fault(&transfer, reason, detail);
                    // The peer sends again what it hears nothing of.
                    let _ = self.sender.try_reply(incoming.lane, v1::frame::Kind::Fault(fault));
                }
                Decision::Defer(digest, reason) => decided.deferred.push((digest, reason)),
            }
        }
        decided
    }

    async fn answered(&self, answer: ArrivalAnswer, lane: Lane, head: &Head, meter: &Meter) {
        let counters = &self.ctx.parts.counters;
        match answer {
            ArrivalAnswer::Stored => {
                counters.add(Counter::Arrived);
                self.stored(head, meter).await;
                return;
            }
            ArrivalAnswer::Duplicate => counters.add(Counter::Duplicate),
            ArrivalAnswer::Refused(Reason::Conflict) => counters.add(Counter::Replay),
            ArrivalAnswer::Refused(reason) => {
                if let Some(left_out) = meter.line() {
                    let reason = reason.label();
                    info!(peer = %self.unit, reason, left_out, "message refused");
                }
            }
            ArrivalAnswer::Deferred(reason) => self.defer(lane, head.digest, reason, meter).await,
        }
        if let Some((carried, _)) = head.taken {
            // Not stored, so it used nothing of its sender's quota.
            meter.not_carried(carried);
        }
    }

    /// Counts it; that messages go to a lower lane is told once an hour.
    async fn stored(&self, head: &Head, meter: &Meter) {
        let Some((carried, wire_bytes)) = head.taken else { return };
        self.ctx.inbox.added(&self.unit, wire_bytes);
        let stated = head.priority;
        if stated != carried && meter.tells_lowered(stated) {
            let stated = format!("{stated:?}").to_uppercase();
            let detail =
                format!("over its quota of {stated}: more of this hour go to a lower lane");
            alarm(&self.ctx, Reason::Quota, &self.unit, detail).await;
        }
    }
}

impl Head {
    fn of(verdict: &Verdict) -> Self {
        let (header, taken) = match verdict {
            Verdict::Accept(new) => {
                let wire_bytes = u64::from(wire_bytes(&new.header, &new.payload));
                (&new.header, Some((new.carried, wire_bytes)))
            }
            Verdict::Refuse(new) => (&new.header, None),
        };
        Self { digest: header.digest, priority: header.priority, taken }
    }
}

/// All of a batch came on one lane.
fn lane_of(arrivals: &[Incoming]) -> Lane {
    arrivals.first().map_or(Lane::Routine, |incoming| incoming.lane)
}

enum Decision {
    Verdict(Verdict),
    Fault(Reason, String),
    Defer(Digest, Reason),
}

fn decide(
    ctx: &Context,
    unit: &UnitId,
    transfer: &v1::Transfer,
    full: bool,
    meter: &Meter,
) -> Decision {
    let malformed = |what: &str| Decision::Fault(Reason::Malformed, what.to_owned());
    let Some(envelope) = &transfer.envelope else { return malformed("no envelope") };
    let Some(signed) = &envelope.header else { return malformed("no header") };
    if !transfer.passed.is_empty() {
        return Decision::Fault(Reason::SenderMismatch, "carried by others".to_owned());
    }
    let (header, key) = match opened(ctx, signed) {
        Ok(opened) => opened,
        Err((reason, text)) => return Decision::Fault(reason, text),
    };
    let profile = ctx.profile(&header.profile).map(Arc::as_ref);
    let clock = ctx.time().view();
    let own = ctx.unit();
    let arrival = Arrival { header: &header, session: unit, own, profile, key, clock };
    let recovered = is_recovered(ctx, transfer, &header);
    let clock_unverified = match policy::judge(&arrival) {
        Judgement::Accept { clock_unverified } => clock_unverified,
        // It was here in time, before our log lost the receipt that said so.
        Judgement::Refuse(Reason::Expired) if recovered => false,
        Judgement::Refuse(reason) => return refusal(ctx, meter, transfer, header, reason),
        Judgement::Fault(reason) => return Decision::Fault(reason, reason.to_string()),
        Judgement::Defer(reason) => return Decision::Defer(header.digest, reason),
    };
    let clear = match clear_payload(envelope, &header) {
        Ok(payload) => payload.clone(),
        Err(reason) => return Decision::Fault(reason, reason.to_string()),
    };
    // EMERGENCY is never kept out by a full inbox; what is EMERGENCY beyond the quota may be.
    let carried = meter.carry(header.priority);
    if full && carried != Priority::Emergency {
        meter.not_carried(carried);
        return Decision::Defer(header.digest, Reason::QueueFull);
    }
    let decision = match content(ctx, &header, &clear) {
        Ok(content) if !are_here(ctx, &header, &content) => {
            let what = "bring what it lists, then send it again";
            Decision::Fault(Reason::AttachmentMissing, what.to_owned())
        }
        Ok(content) => {
            let taken = (content, clear, carried);
            let seen = Seen { clock_unverified, recovered };
            match accept(ctx, (unit, meter), transfer, header, taken, seen) {
                Ok(new) => return Decision::Verdict(Verdict::Accept(new)),
                Err(digest) => Decision::Defer(digest, Reason::Internal),
            }
        }
        Err(Reason::Internal) => Decision::Defer(header.digest, Reason::Internal),
        Err(reason) => refusal(ctx, meter, transfer, header, reason),
    };
    // Not taken, so it used nothing of its sender's quota.
    meter.not_carried(carried);
    decision
}

/// How an arrival is marked.
struct Seen {
    clock_unverified: bool,
    recovered: bool,
}

/// Whether a message is sent again because our log lost its receipt. The sender's word counts only
/// for what is older than the succession of our log.
fn is_recovered(ctx: &Context, transfer: &v1::Transfer, header: &Header) -> bool {
    transfer.recovered && ctx.log_began().is_some_and(|at| header.created_at <= at)
}

/// The message with its receipt, or the digest of what cannot be answered now.
fn accept(
    ctx: &Context,
    (unit, meter): (&UnitId, &Meter),
    transfer: &v1::Transfer,
    header: Header,
    (content, clear, carried): (Payload, Bytes, Priority),
    Seen { clock_unverified, recovered }: Seen,
) -> Result<Box<NewArrival>, Digest> {
    if clock_unverified {
        ctx.witnesses.ask();
    }
    let now = ctx.now();
    let flags = [
        (clock_unverified, v1::StatementFlag::ClockUnverified),
        (carried != header.priority, v1::StatementFlag::LaneLowered),
        (recovered, v1::StatementFlag::Recovered),
    ];
    let flags: Vec<_> = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag).collect();
    let mut consignment = ctx.statement(&header, Event::ContentConsignment, now);
    consignment.recipient = Some(ctx.unit());
    consignment.flags = &flags;
    let rules = rules_of(ctx, &header);
    let about = About::of(&content, header.priority, rules);
    let case_reasons = match about.case {
        Some(_) => &CASE_REASONS[..],
        None => &CASE_REASONS[..1],
    };
    let more = about.said.as_ref().map(exchange::refusals).unwrap_or_default();
    let reasons = case_reasons.iter().chain(more);
    let rejections: Option<Vec<_>> =
        reasons.map(|reason| Some((*reason, rejection(ctx, &header, *reason)?))).collect();
    let (Ok(consignment), Some(rejections)) = (own(&consignment), rejections) else {
        return Err(header.digest);
    };
    let consignment = consignment.bytes().clone();
    debug!(peer = %unit, number = transfer.number, message = %header.digest, "message taken");
    Ok(Box::new(NewArrival {
        payload: clear,
        about,
        own: ctx.unit().clone(),
        peer: unit.clone(),
        number: transfer.number,
        consignment,
        rejections,
        clock_unverified,
        carried,
        meter: meter.clone(),
        recovered,
        now,
        header,
    }))
}

fn refusal(
    ctx: &Context,
    meter: &Meter,
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
    let Some(rejection) = rejection(ctx, &header, reason) else {
        return Decision::Defer(header.digest, Reason::Internal);
    };
    // Whoever is refused is the session's peer: another sender is a fault of the copy.
    let (peer, number, meter) = (header.from.clone(), transfer.number, meter.clone());
    let now = ctx.now();
    let new = NewRefusal { header, reason, peer, number, rejection, meter, now };
    Decision::Verdict(Verdict::Refuse(Box::new(new)))
}

/// RelayRejection, as statement bytes.
fn rejection(ctx: &Context, header: &Header, reason: Reason) -> Option<Bytes> {
    let mut statement = ctx.statement(header, Event::RelayRejection, ctx.now());
    statement.recipient = Some(ctx.unit());
    statement.reason = Some(reason);
    own(&statement).ok().map(|statement| statement.bytes().clone())
}

/// By which rules a message is judged in its case: those of its profile.
fn rules_of(ctx: &Context, header: &Header) -> Rules {
    ctx.profile(&header.profile).map_or(Rules::TREATY, |profile| super::cases::rules(profile))
}

impl Reader {
    /// Asks the peer to come back later, signed, never a leaf.
    async fn defer(&self, lane: Lane, digest: Digest, reason: Reason, meter: &Meter) {
        if !meter.deferral() {
            return;
        }
        let (ctx, unit) = (&self.ctx, &self.unit);
        let now = ctx.now();
        // What it is about is on its way: it may be here at once.
        let wait = if reason == Reason::ReferenceAwaited { DEFER_SHORT } else { DEFER_FOR };
        let signer = &ctx.parts.signer;
        let key_id = signer.key_id(KeyUse::Deferral);
        let deferral = v1::Deferral {
            unit: ctx.unit().to_string(),
            peer: unit.to_string(),
            header_digest: Bytes::copy_from_slice(digest.as_bytes()),
            reason: reason.label().to_owned(),
            issued_at_ms: now.as_millis(),
            not_before_ms: now.after(wait).as_millis(),
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
                if let Some(left_out) = meter.line() {
                    info!(peer = %unit, reason = reason.label(), left_out, "message deferred");
                }
                let signed = unsigned.signed(signature);
                let _ = self.sender.try_reply(lane, v1::frame::Kind::Deferral(signed));
            }
            Err(error) => {
                if let Some(left_out) = meter.line() {
                    warn!(%error, left_out, "deferral not signed");
                }
            }
        }
    }
}

/// What only the store can tell of an arrival; the first of any, the others of one of a case.
const CASE_REASONS: [Reason; 5] = [
    Reason::Conflict,
    Reason::IllegalTransition,
    Reason::UnfoundedRefusal,
    Reason::UnknownCase,
    Reason::CaseFull,
];

/// Transfers that are decided and stored together.
const BATCH: usize = 128;

/// When a peer may come back with what is about a message of its own that is not here yet.
const DEFER_SHORT: std::time::Duration = std::time::Duration::from_secs(2);

/// When a peer may come back to a full inbox.
const DEFER_FOR: std::time::Duration = std::time::Duration::from_secs(30);
