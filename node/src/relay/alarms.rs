//! Alarms of the relay: kept as far as the quota of whoever causes them goes.

use std::sync::Arc;

use bytes::Bytes;
use relay_proto::{ids::UnitId, reason::Reason};
use tracing::warn;

use super::Context;
use crate::{
    store::{Gone, NewAlarm, REPAIR, StoreError, records::MessageRecord},
    tasks::TaskKind,
};

/// Keeps an alarm, as far as its peer's quota goes; a store that stopped has its own way to say
/// so.
pub(super) async fn alarm(ctx: &Context, reason: Reason, peer: &UnitId, detail: String) {
    proof(ctx, reason, peer, detail, Bytes::new()).await;
}

/// As [`alarm`], with bytes that the peer signed and that prove it.
pub(super) async fn proof(
    ctx: &Context,
    reason: Reason,
    peer: &UnitId,
    detail: String,
    evidence: Bytes,
) {
    let new = NewAlarm { reason, peer: peer.to_string(), detail, evidence, now: ctx.now() };
    let kept = ctx.parts.store.alarm(new, ctx.quotas.meter(peer)).await;
    if let Err(error) = kept {
        warn!(%error, reason = reason.label(), "alarm could not be kept");
    }
}

/// Keeps an alarm, unless the same one stands: what comes again with every session is told once.
pub(super) async fn alarm_once(
    ctx: &Context,
    reason: Reason,
    peer: &UnitId,
    detail: String,
) -> Result<(), StoreError> {
    let (peer_name, evidence, now) = (peer.to_string(), Bytes::new(), ctx.now());
    let new = NewAlarm { reason, peer: peer_name, detail, evidence, now };
    if let Err(error) = ctx.parts.store.alarm_once(new, ctx.quotas.meter(peer)).await {
        warn!(%error, reason = reason.label(), "alarm could not be kept");
    }
    Ok(())
}

/// Tells, once, that a message cannot be read. It stays where it is, and others go on.
pub(super) async fn unreadable(
    ctx: &Context,
    record: &MessageRecord,
    error: &StoreError,
) -> Result<(), StoreError> {
    let id = record.message_id().map(|id| id.to_string()).unwrap_or_default();
    let detail = format!("message {id} cannot be read ({error}): {REPAIR}");
    alarm_once(ctx, error.reason(), ctx.unit(), detail).await
}

/// The restored log signs again: nobody has to do anything about it any more.
pub(super) fn end_held(ctx: &Arc<Context>) {
    let again = Arc::clone(ctx);
    let gone = Gone {
        reason: Reason::LogHeld,
        why: "every peer was heard, the log signs again",
        through: ctx.parts.store.log_head().seq,
        cause: ctx.parts.tlog.held(),
    };
    ctx.parts.tasks.spawn("log-released", TaskKind::Session, async move {
        let (store, unit) = (&again.parts.store, again.unit());
        if let Err(error) = store.end_alarms(unit, gone, again.now()).await {
            warn!(%error, "alarms of the restored log stay");
        }
    });
}
