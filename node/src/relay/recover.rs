//! After a peer's log lost leaves and an operator accepted that: what was delivered by receipts in
//! the lost part is sent again, flagged as recovered.
//!
//! Invariant: what is left to do stands in the peer's record until it is done, so a stop in between
//! loses nothing; doing it twice sends a message once more, which has no second effect.

use std::{sync::Arc, time::Duration};

use relay_core::outbox::Input;
use relay_proto::ids::{Digest, RequestId, UnitId};
use tracing::{info, warn};

use super::{
    Context, Relay,
    submit::{Principal, request_key},
};
use crate::{
    directory::{DirectoryError, Peer},
    link::CloseCode,
    store::PeerRequest,
    tasks::TaskKind,
};

/// An operator's word that a peer's next log counts.
#[derive(Debug, Clone)]
pub struct AcceptRollback {
    /// The caller.
    pub principal: Principal,
    /// His key for safe repetition.
    pub request_id: RequestId,
    /// The peer.
    pub unit: UnitId,
    /// Who gives his word.
    pub by: String,
}

impl Relay {
    /// Takes a peer's card with the next generation of its log, and sends again what was lost. The
    /// same request again has no second effect.
    pub async fn accept_rollback(&self, accept: AcceptRollback) -> Result<Peer, DirectoryError> {
        let AcceptRollback { principal, request_id, unit, by } = accept;
        let request = PeerRequest {
            key: request_key(&principal.account, "accept-rollback", &request_id),
            content: Digest::of_parts(&[unit.as_str().as_bytes(), b"\0", by.as_bytes()]),
        };
        let (directory, now) = (&self.ctx.parts.directory, self.ctx.now());
        let peer = directory.accept_rollback(&unit, &by, request, now).await?;
        start(&self.ctx, &unit);
        Ok(peer)
    }
}

/// Begins, or goes on, when there is anything left to do for this peer.
pub(super) fn start(ctx: &Arc<Context>, unit: &UnitId) {
    if !ctx.parts.directory.snapshot().peer(unit).is_some_and(|peer| peer.has_lost) {
        return;
    }
    if !ctx.peers.begin_recovery(unit) {
        return;
    }
    let (again, unit) = (Arc::clone(ctx), unit.clone());
    let stop = ctx.parts.tasks.stop_token();
    ctx.parts.tasks.spawn("peer-recover", TaskKind::Session, async move {
        while let Err(error) = send_again(&again, &unit).await {
            warn!(%error, peer = %unit, "messages not queued again, tried again in a minute");
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(TRY_AGAIN) => {}
            }
        }
        again.peers.end_recovery(&unit);
    });
}

async fn send_again(ctx: &Context, unit: &UnitId) -> Result<(), DirectoryError> {
    let (directory, store) = (&ctx.parts.directory, &ctx.parts.store);
    let all = directory.lost(unit)?;
    if all.is_empty() {
        // Done, or the peer was removed meanwhile.
        return Ok(());
    }
    for lost in &all {
        store.send_again(unit, lost, ctx.now()).await?;
        info!(peer = %unit, log = lost.old_origin, from = lost.from, "lost messages queued again");
    }
    directory.lost_is_done(unit, all, ctx.now()).await?;
    // A worker claims forward only: with a new session it begins at the first open entry.
    if let Some(link) = ctx.peers.link() {
        link.close_peer(unit, CloseCode::Unwanted, "log accepted, beginning anew");
    }
    ctx.peers.input(unit, Input::RetryNow);
    Ok(())
}

/// After a disk that was full.
const TRY_AGAIN: Duration = Duration::from_secs(60);
