//! Two processes that speak as one node: a copy of a node's keys, or of all that it has, runs
//! beside it.
//!
//! Whoever meets both tells its operator, and tells each of the two, by closing its session with
//! `CloseCode::DuplicateIdentity`. Invariant: a peer's word alone raises an alarm here and stops
//! nothing; only a checkpoint under our own signature holds the log.

use std::net::SocketAddr;

use relay_proto::{ids::NodeId, reason::Reason};
use tracing::warn;

use super::{Context, alarms::alarm_once, if_room};
use crate::store::StoreError;

/// A peer's node is there twice. By its address, not its port: what comes again is told once.
pub(super) async fn theirs(ctx: &Context, peer: &NodeId, refused: SocketAddr) {
    let detail = format!(
        "two processes speak as {peer}; the one at {} is refused: ask {} to stop one of them and \
         start the other again, and to end its log if it is held then (relay-node log succeed)",
        refused.ip(),
        peer.unit()
    );
    told(alarm_once(ctx, Reason::DuplicateIdentity, peer.unit(), detail).await);
}

/// This node is there twice, by a peer's word; `held` is the checkpoint of our log that it showed.
pub(super) async fn ours(ctx: &Context, peer: &NodeId, held: &str) {
    let own = &ctx.parts.node;
    if let Some(left_out) = ctx.quotas.meter(peer.unit()).line() {
        warn!(%peer, node = %own, left_out, "another process speaks as this node");
    }
    let detail = format!(
        "another process speaks as {own}, says {}: stop one of the two and start the other again; \
         if its log is held then (LOG_HELD): relay-node log succeed --config FILE --reason TEXT \
         --by NAME --by NAME",
        peer.unit()
    );
    told(alarm_once(ctx, Reason::DuplicateIdentity, ctx.unit(), detail).await);
    // A session that is refused has no other place where this is heard.
    let Some(claim) = ctx.parts.tlog.hear(peer.unit(), held) else { return };
    told(if_room(ctx.parts.store.keep_claim(claim, ctx.now()).await).map(drop));
    if let Some(hold) = ctx.parts.tlog.hold() {
        told(alarm_once(ctx, Reason::LogHeld, ctx.unit(), hold.to_string()).await);
    }
}

fn told(kept: Result<(), StoreError>) {
    if let Err(error) = kept {
        warn!(%error, "what tells of two processes was not kept");
    }
}
