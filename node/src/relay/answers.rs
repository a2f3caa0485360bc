//! The control side of a session: receipts that come in, confirmations, faults, deferrals, proofs.
//!
//! Invariant: this reader never waits for anything that sending waits for; answers that find their
//! queue full are given again later, all of them are cumulative or asked for again.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use relay_core::outbox::Input;
use relay_proto::{ids::UnitId, reason::Reason, signed, timestamp::Timestamp, v1};
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Context, alarms::alarm_once, if_room, owed::hashes, peers::Live, settle::Settler};
use crate::{
    link::{Incoming, Lane},
    store::StoreError,
    telemetry::Counter,
    tlog::Hold,
};

/// Serves the control side of one session until it ends.
pub(super) async fn run(
    ctx: Arc<Context>,
    unit: UnitId,
    live: Live,
    mut control: mpsc::Receiver<Incoming>,
    ended: CancellationToken,
) {
    let settler = Settler::new(Arc::clone(&ctx), unit.clone(), live.clone());
    let mut answers = Answers { ctx, unit, live, settler, have_unsent: None };
    if let Err(error) = answers.begin().await {
        warn!(%error, "session not served");
        return;
    }
    // First in its turn: a peer that always has something to say must not keep it waiting.
    let mut ticks = tokio::time::interval(RETRY_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let incoming = tokio::select! {
            biased;
            _ = ticks.tick() => {
                if let Err(error) = answers.tick().await {
                    warn!(%error, "session not served any more");
                    return;
                }
                continue;
            }
            incoming = control.recv() => incoming,
            () = ended.cancelled() => return,
        };
        let Some(incoming) = incoming else { return };
        if let Err(error) = answers.take(incoming).await {
            warn!(%error, "session not served any more");
            return;
        }
    }
}

struct Answers {
    ctx: Arc<Context>,
    unit: UnitId,
    live: Live,
    settler: Settler,
    have_unsent: Option<u64>,
}

impl Answers {
    /// What the peer's Hello says of receipts that it has.
    async fn begin(&mut self) -> Result<(), StoreError> {
        let heads = self.live.hello.heads.unwrap_or_default();
        let (unit, now) = (self.unit.clone(), self.ctx.now());
        self.keep_claim().await?;
        if let Some(later) = self.ctx.parts.tlog.later(&self.live.hello.held_checkpoint) {
            if_room(self.ctx.parts.store.keep_later(&unit, &later, now).await)?;
            // Without the log's name, which it may change each time: told once.
            let detail = format!(
                "{unit} names a later log of ours than the card, without proof: if the card is an \
                 old one, put the newest in place. Until this peer is suspended, relay-node log \
                 succeed is refused for it"
            );
            alarm_once(&self.ctx, Reason::JournalBehind, self.ctx.unit(), detail).await?;
        }
        let tlog = &self.ctx.parts.tlog;
        match tlog.hold() {
            None => {
                let had = self.ctx.parts.store.record_have(unit, heads.receipts_have, now).await;
                if_room(had)?;
            }
            // Numbers of a store that was set back were given to other receipts before: nothing is
            // confirmed by them.
            Some(Hold::Restored { .. }) => {}
            Some(hold) => {
                let own = self.ctx.unit();
                alarm_once(&self.ctx, Reason::LogHeld, own, hold.to_string()).await?;
            }
        }
        let made = self.ctx.parts.store.counter("receipts-made", &self.unit)?;
        if heads.receipts_have > made {
            // Our store was set back, or the peer lies. Not a fault of its log, and told without
            // the number that it says, so that it is told once.
            let detail = format!(
                "{} says that it has receipts that this store never made: if the store was set \
                 back, stop the node and end its log with relay-node log succeed",
                self.unit
            );
            alarm_once(&self.ctx, Reason::JournalBehind, self.ctx.unit(), detail).await?;
        }
        self.settler.begin().await
    }

    /// Keeps what the peer proves of our log. It must not be forgotten: a full disk makes it wait.
    async fn keep_claim(&mut self) -> Result<(), StoreError> {
        let Some(claim) = self.live.claim.clone() else { return Ok(()) };
        let kept = self.ctx.parts.store.keep_claim(claim, self.ctx.now()).await;
        if if_room(kept)?.is_some() {
            self.live.claim = None;
        }
        Ok(())
    }

    async fn take(&mut self, incoming: Incoming) -> Result<(), StoreError> {
        let now = self.ctx.now();
        self.ctx.peers.update(&self.unit, |status| status.last_contact = Some(now));
        match incoming.kind {
            v1::frame::Kind::Receipts(group) => {
                if let Some(have) = self.settler.group(group).await? {
                    self.have_unsent = Some(have);
                    self.confirm();
                }
            }
            v1::frame::Kind::Consistency(proof) => {
                if let Some(have) = self.settler.proof(proof).await? {
                    self.have_unsent = Some(have);
                    self.confirm();
                }
            }
            v1::frame::Kind::Have(have) => {
                let store = &self.ctx.parts.store;
                self.live.has.fetch_max(have.receipts, Ordering::AcqRel);
                store.bells(&self.unit).receipts.notify_one();
                if_room(store.record_have(self.unit.clone(), have.receipts, now).await)?;
            }
            v1::frame::Kind::Fault(fault) => self.fault(&fault),
            v1::frame::Kind::Deferral(deferral) => self.deferral(&deferral),
            v1::frame::Kind::GetConsistency(asked) => {
                let path = self.ctx.parts.tlog.consistency(asked.from, asked.to);
                let path = path.map(|path| hashes(&path)).unwrap_or_default();
                let answer = v1::Consistency { from: asked.from, to: asked.to, path };
                self.answer(v1::frame::Kind::Consistency(answer));
            }
            v1::frame::Kind::GetInclusion(asked) => {
                let path = self.ctx.parts.tlog.inclusion(asked.index, asked.size);
                let path = path.map(|path| hashes(&path)).unwrap_or_default();
                let answer = v1::Inclusion { index: asked.index, size: asked.size, path };
                self.answer(v1::frame::Kind::Inclusion(answer));
            }
            // Pings are the link's; nothing else travels here.
            _ => {}
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<(), StoreError> {
        self.confirm();
        self.settler.tick().await;
        self.keep_claim().await
    }

    /// Says which receipts are durable here. A full queue is no reason to wait: the next one says
    /// as much.
    fn confirm(&mut self) {
        if let Some(receipts) = self.have_unsent {
            let have = v1::frame::Kind::Have(v1::Have { receipts });
            if self.live.sender.try_reply(Lane::Control, have).is_ok() {
                self.have_unsent = None;
            }
        }
    }

    fn answer(&self, kind: v1::frame::Kind) {
        // The peer asks again when it hears nothing.
        let _ = self.live.sender.try_reply(Lane::Control, kind);
    }

    fn fault(&self, fault: &v1::TransferFault) {
        let reason = fault.reason.parse().unwrap_or(Reason::Malformed);
        let (number, label) = (fault.number, reason.label());
        if let Some(left_out) = self.ctx.quotas.meter(&self.unit).line() {
            info!(peer = %self.unit, number, reason = label, left_out, "copy called faulty");
        }
        self.ctx.peers.advise(&self.unit, Input::Fault { number: fault.number, reason });
    }

    /// A deferral counts only under a key of the peer's.
    fn deferral(&self, deferral: &v1::Signed) {
        let snapshot = self.ctx.parts.directory.snapshot();
        let opened = signed::open::<v1::Deferral>(deferral, |id| {
            snapshot.signing_key(id).map(|(unit, key)| (unit.clone(), key.key))
        });
        let Ok(opened) = opened else {
            self.ctx.parts.counters.add(Counter::VerifyFailure);
            return;
        };
        let key = snapshot.signing_key(opened.key_id()).map(|(_, key)| key);
        let issued = Timestamp::from_millis(opened.value().issued_at_ms);
        if key.is_none_or(|key| key.check_at(issued).is_err()) {
            self.ctx.parts.counters.add(Counter::VerifyFailure);
            return;
        }
        let value = opened.value();
        if opened.unit() != &self.unit || value.peer != self.ctx.unit().as_str() {
            self.ctx.parts.counters.add(Counter::VerifyFailure);
            return;
        }
        // Both instants are the peer's: its clock may be years off, the wait between them is not.
        let wait = value.not_before_ms.saturating_sub(value.issued_at_ms);
        let wait = Duration::from_millis(wait);
        let reason = value.reason.parse().unwrap_or(Reason::Busy);
        let input = match value.header_digest.is_empty() {
            true => Some(Input::Deferred { number: None, reason, wait }),
            false => self.number_of(&value.header_digest).map(|number| Input::Deferred {
                number: Some(number),
                reason,
                wait,
            }),
        };
        if let Some(input) = input {
            self.ctx.peers.advise(&self.unit, input);
        }
    }

    fn number_of(&self, digest: &[u8]) -> Option<u64> {
        let digest = relay_proto::ids::Digest::from_bytes(digest).ok()?;
        let entries = self.ctx.parts.store.entries(&digest).ok()?;
        let hop = self.unit.as_str();
        entries.iter().find(|entry| entry.next_hop == hop).map(|entry| entry.number)
    }
}

/// How often unsent answers are tried again, and open questions looked at.
const RETRY_EVERY: Duration = Duration::from_secs(1);
