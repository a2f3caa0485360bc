//! Receipts that come in: checked, kept, and what they settle.
//!
//! A receiver makes nine checks: sizes and canonical form (the link's strict decoding and the
//! statement's); the checkpoint's signature under a log of the issuer's card; inclusion; the
//! issuer's node; its role; that it is about a header that we hold; consistency with the checkpoint
//! that is held; legality after the receipts that are held; and one commit for leaf, proof and
//! checkpoint. One bad receipt spoils itself, a bad checkpoint its group.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use relay_core::{outbox::Input, quota::Meter};
use relay_proto::{
    ids::{Digest, UnitId},
    limits,
    reason::Reason,
    receipt::{CheckpointAdvance, ConsistencyPath, advance, check_group},
    tlog::{Checkpoint, SignedCheckpoint},
    v1,
};
use tokio::time::Instant;
use tracing::info;

use super::{
    Context,
    alarms::{alarm, alarm_once, proof},
    checker::{Checker, Wrong, digests},
    peers::Live,
};
use crate::{
    directory::Peer,
    faults::{self, Point},
    link::{CloseCode, Lane},
    store::{NewReceipt, ReceiptsToRecord, StoreError},
    telemetry::Counter,
};

/// Takes the receipts of one session.
pub(super) struct Settler {
    ctx: Arc<Context>,
    unit: UnitId,
    live: Live,
    /// The issuer owes nothing up to this number, it says: it does not keep what was confirmed, or
    /// its numbers go on from elsewhere since a log of its ended.
    owed_after: u64,
    /// Since when receipts that came were not kept, for want of room.
    full_since: Option<Instant>,
    /// It was told that receipts are about messages that are not here.
    told_not_here: bool,
    /// Groups whose checkpoint waits for a proof. They settle nothing until it is here.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    group: v1::ReceiptGroup,
    from: u64,
    to: u64,
    since: Instant,
    alarmed: bool,
}

impl Settler {
    /// For one session.
    pub(super) fn new(ctx: Arc<Context>, unit: UnitId, live: Live) -> Self {
        let (full_since, told_not_here, waiting) = (None, false, VecDeque::new());
        Self { ctx, unit, live, owed_after: 0, full_since, told_not_here, waiting }
    }

    /// Compares the log that the peer's Hello shows with the one that is held: a log that shrank or
    /// forked is seen at once.
    pub(super) async fn begin(&mut self) -> Result<(), StoreError> {
        let made = self.live.hello.heads.unwrap_or_default().receipts_made;
        if let Some(have) = self.live.had
            && made < have
            && !self.ctx.peers.proven_by(&self.unit, &self.live.hello.boot_id)
        {
            // Also a log that shows nothing, because it is held, has shrunk.
            let detail = format!("it made {made} receipts for us, {have} are here");
            alarm_once(&self.ctx, Reason::PeerRolledBack, &self.unit, detail).await?;
        }
        let note = &self.live.hello.own_checkpoint;
        if note.is_empty() {
            return Ok(());
        }
        let settling = Arc::clone(&self.live.settling);
        let _one_at_a_time = settling.lock().await;
        let Some(peer) = self.peer() else { return Ok(()) };
        let signed = match check_group(note, &peer.card) {
            Ok(signed) => signed,
            Err(error) if error.reason() == Reason::UnknownLog => return self.unnamed_log().await,
            Err(error) => {
                self.bad_checkpoint(error.reason()).await;
                return Ok(());
            }
        };
        let shown = signed.checkpoint();
        let held = self.ctx.parts.store.held_checkpoint(&shown.origin)?;
        let Some(held) = held else { return Ok(()) };
        let forked = held.size == shown.size && held.root != shown.root.as_bytes().as_slice();
        if forked {
            self.forked(shown, &signed.own_note().to_string()).await?;
            return Ok(());
        }
        // A Hello may be older than a group that another session brought: of the same run of the
        // peer's node, or of another of its nodes.
        let same_run = self.ctx.peers.proven_by(&self.unit, &self.live.hello.boot_id);
        if shown.size < held.size && !same_run && self.live.had.is_some() {
            let detail = format!("log shows size {}, {} is held", shown.size, held.size);
            alarm(&self.ctx, Reason::PeerRolledBack, &self.unit, detail).await;
        }
        Ok(())
    }

    /// Takes a group. Returns up to which number receipts are dealt with and durable.
    pub(super) async fn group(
        &mut self,
        group: v1::ReceiptGroup,
    ) -> Result<Option<u64>, StoreError> {
        if group.receipts.is_empty() {
            // It says nothing, and a checkpoint alone is not worth a record.
            return Ok(None);
        }
        if group.receipts.len() > limits::RECEIPTS_PER_GROUP_MAX {
            self.bad_checkpoint(Reason::TooLarge).await;
            return Ok(None);
        }
        if group.receipts.iter().any(|receipt| receipt.number <= group.owed_after) {
            self.bad_checkpoint(Reason::Malformed).await;
            return Ok(None);
        }
        self.owed_after = self.owed_after.max(group.owed_after);
        self.settle(group, None).await
    }

    /// Takes a consistency proof that was asked for.
    pub(super) async fn proof(
        &mut self,
        proof: v1::Consistency,
    ) -> Result<Option<u64>, StoreError> {
        let place = self.waiting.iter().position(|w| (w.from, w.to) == (proof.from, proof.to));
        let Some(waiting) = place.and_then(|place| self.waiting.remove(place)) else {
            return Ok(None);
        };
        self.settle(waiting.group, Some(proof)).await
    }

    /// Alarms for proofs that do not come, and has receipts that found no room sent again: with a
    /// new session the issuer begins at the first that is not had.
    pub(super) async fn tick(&mut self) {
        if self.full_since.is_some_and(|since| since.elapsed() > FULL_WAIT)
            && let Some(link) = self.ctx.peers.link()
        {
            self.full_since = None;
            link.close_peer(&self.unit, CloseCode::Unwanted, "disk was full, beginning anew");
        }
        let late: Vec<(u64, u64)> = self
            .waiting
            .iter_mut()
            .filter(|waiting| !waiting.alarmed && waiting.since.elapsed() > PROOF_WAIT)
            .map(|waiting| {
                waiting.alarmed = true;
                (waiting.from, waiting.to)
            })
            .collect();
        for (from, to) in late {
            let detail = format!("no proof from size {from} to {to}");
            alarm(&self.ctx, Reason::UnprovenExtension, &self.unit, detail).await;
        }
    }

    async fn settle(
        &mut self,
        group: v1::ReceiptGroup,
        proof: Option<v1::Consistency>,
    ) -> Result<Option<u64>, StoreError> {
        let settling = Arc::clone(&self.live.settling);
        let _one_at_a_time = settling.lock().await;
        let Some(peer) = self.peer() else { return Ok(None) };
        let signed = match check_group(&group.checkpoint, &peer.card) {
            Ok(signed) => signed,
            Err(error) if error.reason() == Reason::UnknownLog => {
                self.unnamed_log().await?;
                return Ok(None);
            }
            Err(error) => {
                self.bad_checkpoint(error.reason()).await;
                return Ok(None);
            }
        };
        match self.advance(&signed, &group, proof.as_ref())? {
            CheckpointAdvance::Newer | CheckpointAdvance::Same | CheckpointAdvance::Older => {}
            // A proof that was asked for may come when a newer checkpoint is held: it proves
            // nothing then.
            CheckpointAdvance::NeedProof { from, to }
                if proof.as_ref().is_none_or(|proof| (proof.from, proof.to) != (from, to)) =>
            {
                self.ask(group, from, to);
                return Ok(None);
            }
            CheckpointAdvance::Fork => {
                // The lines of others prove nothing, and there may be many.
                self.forked(signed.checkpoint(), &signed.own_note().to_string()).await?;
                return Ok(None);
            }
            other => {
                let reason = other.reason().unwrap_or(Reason::BadConsistency);
                self.bad_checkpoint(reason).await;
                return Ok(None);
            }
        }
        self.record(group, &signed, &peer).await
    }

    fn advance(
        &self,
        signed: &SignedCheckpoint,
        group: &v1::ReceiptGroup,
        proof: Option<&v1::Consistency>,
    ) -> Result<CheckpointAdvance, StoreError> {
        let checkpoint = signed.checkpoint();
        let (store, origin) = (&self.ctx.parts.store, checkpoint.origin.to_string());
        let same_size = store.checkpoint(&origin, checkpoint.size)?;
        if same_size.is_some_and(|same| same.root != checkpoint.root.as_bytes().as_slice()) {
            // Also below the newest one: two roots of one size need no other proof.
            return Ok(CheckpointAdvance::Fork);
        }
        let held = store.held_checkpoint(&checkpoint.origin)?;
        let held = held.and_then(|held| Some((held.size, Digest::from_bytes(&held.root).ok()?)));
        let (from, to, path) = match proof {
            Some(proof) => (proof.from, proof.to, &proof.path),
            None => (group.consistency_from, checkpoint.size, &group.consistency),
        };
        let path = digests(path, limits::CONSISTENCY_HASHES_MAX).unwrap_or_default();
        let given = (from > 0).then_some(ConsistencyPath { from, to, path: &path });
        Ok(advance(held, checkpoint, given))
    }

    fn ask(&mut self, group: v1::ReceiptGroup, from: u64, to: u64) {
        if self.waiting.len() >= WAITING_MAX {
            // The peer sends again what it is owed an answer for, on the next session at the
            // latest.
            self.waiting.pop_front();
        }
        self.waiting.push_back(Waiting { group, from, to, since: Instant::now(), alarmed: false });
        let asked = v1::frame::Kind::GetConsistency(v1::GetConsistency { from, to });
        if self.live.sender.try_send(Lane::Control, asked).is_err()
            && let Some(left_out) = self.meter().line()
        {
            let text = "question for a proof waits for the next session";
            info!(peer = %self.unit, from, to, left_out, text);
        }
    }

    async fn record(
        &mut self,
        group: v1::ReceiptGroup,
        signed: &SignedCheckpoint,
        peer: &Peer,
    ) -> Result<Option<u64>, StoreError> {
        let checkpoint = signed.checkpoint();
        let Checked { receipts, have, not_here } =
            self.check_all(group.receipts, signed, peer).await?;
        if not_here > 0 {
            self.not_here(not_here).await?;
        }
        faults::at(Point::Settle);
        let recorded = self
            .ctx
            .parts
            .store
            .record_receipts(ReceiptsToRecord {
                peer: self.unit.clone(),
                origin: checkpoint.origin.clone(),
                note: signed.own_note().to_string(),
                size: checkpoint.size,
                root: checkpoint.root,
                receipts,
                have,
                meter: self.meter(),
                now: self.ctx.now(),
            })
            .await;
        faults::at(Point::Settled);
        let settled = match recorded {
            Ok(settled) => settled,
            // It is not had, and its sender keeps it: nothing new, too often.
            Err(StoreError::Refused(Reason::Quota)) => return Ok(None),
            Err(StoreError::Full) => {
                self.full_since.get_or_insert_with(Instant::now);
                return Ok(None);
            }
            Err(StoreError::Refused(Reason::PeerRolledBack)) => {
                self.forked(checkpoint, &signed.own_note().to_string()).await?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        self.ctx.peers.proven(&self.unit, &self.live.hello.boot_id);
        self.ctx.parts.counters.add_many(Counter::Delivered, settled.len() as u64);
        if !settled.is_empty() {
            self.ctx.peers.input(&self.unit, Input::Settled(settled));
        }
        Ok(Some(have))
    }

    /// Checks the receipts of a group, each after those before it.
    async fn check_all(
        &self,
        group: Vec<v1::NumberedReceipt>,
        signed: &SignedCheckpoint,
        peer: &Peer,
    ) -> Result<Checked, StoreError> {
        let checker = Checker { ctx: &self.ctx, unit: &self.unit, signed, peer };
        let had = self.ctx.parts.store.counter("receipts-have", &self.unit)?;
        let mut have = had.max(self.owed_after);
        let mut receipts = Vec::with_capacity(group.len());
        let mut taken = Vec::with_capacity(group.len());
        let (mut lowered, mut not_here) = (false, 0);
        for numbered in group {
            let checked = match checker.check(&numbered, &taken) {
                Err(error) if error.reason() == Reason::StoreDamaged => {
                    checker.unreadable(&numbered, &error).await?;
                    // Not had: it comes again when the message can be read again.
                    continue;
                }
                checked => checked?,
            };
            // Numbers have no gaps: what follows a gap was sent before what it waits for, and is
            // sent again.
            if numbered.number <= have.saturating_add(1) {
                have = have.max(numbered.number);
            }
            match checked {
                Ok((receipt, statement)) => {
                    lowered |= statement.has(v1::StatementFlag::LaneLowered);
                    receipts.push(receipt);
                    taken.push(statement);
                }
                Err(Wrong::NotHere) => not_here += 1,
                Err(Wrong::Bad(reason)) => {
                    self.ctx.parts.counters.add(Counter::VerifyFailure);
                    let detail = format!("receipt {} at index {}", numbered.number, numbered.index);
                    alarm(&self.ctx, reason, &self.unit, detail).await;
                }
            }
        }
        self.ctx.parts.counters.add_many(Counter::ReceiptAccepted, receipts.len() as u64);
        if lowered && self.meter().tells_lowered_there() {
            let detail = "our messages are over its quota: it carries them in a lower lane";
            alarm(&self.ctx, Reason::Quota, &self.unit, detail.to_owned()).await;
        }
        Ok(Checked { receipts, have, not_here })
    }

    /// Receipts about messages that are not here: as many as were sent since a backup that was put
    /// in place. One alarm stands for all of them.
    async fn not_here(&mut self, count: u64) -> Result<(), StoreError> {
        self.ctx.parts.counters.add_many(Counter::VerifyFailure, count);
        if let Some(left_out) = self.meter().line() {
            info!(peer = %self.unit, count, left_out, "receipts about messages that are not here");
        }
        if std::mem::replace(&mut self.told_not_here, true) {
            return Ok(());
        }
        let detail = format!(
            "it sends receipts about messages that this store does not have: if a backup was put \
             in place, what was sent since is not here any more, and {} proves it: ask it for \
             relay-cli evidence export of these messages",
            self.unit
        );
        alarm_once(&self.ctx, Reason::UnknownMessage, &self.unit, detail).await
    }

    fn peer(&self) -> Option<Peer> {
        self.ctx.parts.directory.snapshot().verified(&self.unit).cloned()
    }

    fn meter(&self) -> Meter {
        self.ctx.quotas.meter(&self.unit)
    }

    /// Two signed roots of one size: both notes are kept, they prove the fork to anybody.
    async fn forked(&self, shown: &Checkpoint, note: &str) -> Result<(), StoreError> {
        self.ctx.parts.counters.add(Counter::Equivocation);
        let origin = shown.origin.to_string();
        let held = self.ctx.parts.store.checkpoint(&origin, shown.size)?;
        let held = held.map(|held| held.note).unwrap_or_default();
        let detail = format!("log {origin} has two roots at size {}", shown.size);
        let evidence = Bytes::from([held.as_str(), note].concat());
        proof(&self.ctx, Reason::PeerRolledBack, &self.unit, detail, evidence).await;
        Ok(())
    }

    /// A log that its card here does not name, as after a restore. Nothing of it settles anything
    /// before the card that names it was accepted; what it signed comes again on the session after.
    async fn unnamed_log(&self) -> Result<(), StoreError> {
        let detail = format!(
            "it shows a log that its card here does not name: import its new card, then relay-cli \
             peer rollback-accept {} --by NAME",
            self.unit
        );
        alarm_once(&self.ctx, Reason::PeerRolledBack, &self.unit, detail).await
    }

    async fn bad_checkpoint(&self, reason: Reason) {
        self.ctx.parts.counters.add(Counter::VerifyFailure);
        let detail = "checkpoint of a group of receipts".to_owned();
        alarm(&self.ctx, reason, &self.unit, detail).await;
    }
}

/// What is good of a group, up to which number receipts are dealt with, and how many are about
/// messages that are not here.
struct Checked {
    receipts: Vec<NewReceipt>,
    have: u64,
    not_here: u64,
}

/// Groups that wait for a proof.
const WAITING_MAX: usize = 16;

/// How long after a full disk its receipts are asked for again.
const FULL_WAIT: Duration = Duration::from_secs(10);

/// A proof that is not there by then is told to the operator: a session outlives a path that is cut
/// for half as long, and what was lost there is sent again.
const PROOF_WAIT: Duration = Duration::from_secs(60);
