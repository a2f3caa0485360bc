//! The workers of every verified peer, and how each peer stands.
//!
//! One task a peer owns its outbox (`outbound`); one sends the receipts that it is owed (`owed`);
//! each session has readers of its own (`inbound`, `answers`). Invariant: a peer's failure ends
//! nothing but its own session.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::AtomicU64},
};

use bytes::Bytes;
use relay_core::outbox::Input;
use relay_proto::{
    envelope::Priority,
    ids::{NodeId, UnitId},
    reason::Reason,
    timestamp::Timestamp,
    v1,
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::Instant,
};
use tracing::{info, warn};

use super::{
    Context, alarms::end_held, answers, attachments, inbound, outbound, owed, recover, twins,
};
use crate::{
    link::{
        AttachmentSender, CloseCode, Link, LinkAlarm, LinkEvent, Session, SessionId, SessionSender,
    },
    store::NewClaim,
    tasks::TaskKind,
    telemetry::Counter,
};

/// All workers.
#[derive(Default)]
pub struct Peers {
    link: OnceLock<Link>,
    workers: Mutex<BTreeMap<UnitId, Worker>>,
    /// Peers whose lost messages are being sent again.
    recovering: Mutex<BTreeSet<UnitId>>,
}

/// How a peer stands, for the operator.
#[derive(Debug, Clone, Default)]
pub struct PeerStatus {
    /// A session is up.
    pub up: bool,
    /// When something was last heard.
    pub last_contact: Option<Timestamp>,
    /// Negotiated key exchange group.
    pub key_exchange: String,
    /// The peer's clock minus ours, by its last Hello, in milliseconds.
    pub clock_skew_ms: i64,
    /// What the peer runs.
    pub software: String,
    /// Round trip at the last look, in microseconds.
    pub rtt_us: u32,
    /// Transfers without receipt.
    pub in_flight: u64,
    /// When a handshake from its address was last given up because our answers did not arrive.
    pub unanswered: Option<Instant>,
    /// It was dialled in vain in this run.
    pub dial_failed: bool,
    /// Why it last put messages of ours off, and until when.
    pub deferred: Option<(Reason, Timestamp)>,
}

impl PeerStatus {
    /// Why and until when it puts messages of ours off, if it does.
    pub fn put_off(&self, now: Timestamp) -> Option<(Reason, Timestamp)> {
        self.deferred.filter(|(_, until)| self.up && *until > now)
    }
}

struct Worker {
    /// The run of the peer's node that brought the newest checkpoint since this node started.
    proven_by: Bytes,
    inputs: mpsc::UnboundedSender<Input>,
    /// Advice of the peer that waits for the worker: faults and deferrals.
    advice: Arc<Semaphore>,
    /// The session that is sent on: the newest of `sessions`.
    session: watch::Sender<Option<Live>>,
    /// All live sessions, one a node of the unit, the newest last.
    sessions: Vec<Live>,
    /// Receipts of all sessions are settled one group after the other.
    settling: Arc<tokio::sync::Mutex<()>>,
    status: Arc<Mutex<PeerStatus>>,
}

/// The session that a worker sends on.
#[derive(Clone)]
pub(super) struct Live {
    pub id: SessionId,
    /// Its place in the order in which sessions settled.
    pub settled: u64,
    /// The peer's node.
    pub node: NodeId,
    pub sender: SessionSender,
    pub attachments: AttachmentSender,
    /// The peer's Hello.
    pub hello: Arc<v1::Hello>,
    /// Held while a group of this unit's receipts is checked and recorded: what two of its nodes
    /// bring at once is judged one after the other.
    pub settling: Arc<tokio::sync::Mutex<()>>,
    /// A checkpoint of ours that the peer holds and our store does not bear out.
    pub claim: Option<NewClaim>,
    /// Receipts of ours up to this number are there, as the peer says on this session; paces
    /// sending, proves nothing.
    pub has: Arc<AtomicU64>,
    /// Receipts of the unit that were here when the session came up. Nothing when another of its
    /// nodes had one: what that brings meanwhile is newer than this Hello.
    pub had: Option<u64>,
}

impl Peers {
    /// The link to dial with.
    pub(super) fn attach(&self, link: Link) {
        // Set once, by `start`.
        let _ = self.link.set(link);
    }

    /// The link, once it runs.
    pub(super) fn link(&self) -> Option<&Link> {
        self.link.get()
    }

    /// How a peer stands.
    pub fn status(&self, unit: &UnitId) -> PeerStatus {
        let status = self.lock().get(unit).map(|worker| Arc::clone(&worker.status));
        status.map_or_else(PeerStatus::default, |status| lock(&status).clone())
    }

    /// Makes the worker of a peer try now.
    pub fn retry_now(&self, unit: &UnitId) {
        self.input(unit, Input::RetryNow);
    }

    /// Starts workers of units that are verified now; ends sessions with those that are not any
    /// more.
    pub(super) fn directory_changed(&self, ctx: &Arc<Context>) {
        let verified = verified(ctx);
        ctx.witnesses.keep(&verified);
        for unit in &verified {
            self.ensure(ctx, unit);
            self.input(unit, Input::Woken);
        }
        let Some(link) = self.link() else { return };
        let gone: Vec<UnitId> =
            self.lock().keys().filter(|unit| !verified.contains(unit)).cloned().collect();
        for unit in gone {
            link.close_peer(&unit, CloseCode::Removed, "no longer verified here");
        }
        link.recheck_peers();
    }

    /// Makes all workers begin nothing new.
    pub(super) fn drain(&self) {
        for worker in self.lock().values() {
            let _ = worker.inputs.send(Input::Drain);
        }
    }

    /// Transfers without receipt, all peers together.
    pub(super) fn in_flight(&self) -> u64 {
        self.lock().values().map(|worker| lock(&worker.status).in_flight).sum()
    }

    /// Hands a peer's advice to its worker. It is only advice: what comes faster than the worker
    /// takes it is dropped, and the entry is sent again later all the same.
    pub(super) fn advise(&self, unit: &UnitId, input: Input) {
        let workers = self.lock();
        let Some(worker) = workers.get(unit) else { return };
        if let Ok(permit) = worker.advice.try_acquire() {
            permit.forget();
            let _ = worker.inputs.send(input);
        }
    }

    /// Hands an input to a peer's worker.
    pub(super) fn input(&self, unit: &UnitId, input: Input) {
        if let Some(worker) = self.lock().get(unit) {
            // A worker that is gone stopped with the node.
            let _ = worker.inputs.send(input);
        }
    }

    /// A checkpoint was kept that this run of the peer's node sent.
    pub(super) fn proven(&self, unit: &UnitId, boot_id: &Bytes) {
        if let Some(worker) = self.lock().get_mut(unit) {
            worker.proven_by.clone_from(boot_id);
        }
    }

    /// Whether the newest checkpoint came from this run of the peer's node.
    pub(super) fn proven_by(&self, unit: &UnitId, boot_id: &Bytes) -> bool {
        self.lock().get(unit).is_some_and(|worker| worker.proven_by == boot_id)
    }

    /// Whether nobody is sending again what this peer lost: the caller is, from now on.
    pub(super) fn begin_recovery(&self, unit: &UnitId) -> bool {
        self.recovering.lock().unwrap_or_else(PoisonError::into_inner).insert(unit.clone())
    }

    /// It was sent again.
    pub(super) fn end_recovery(&self, unit: &UnitId) {
        self.recovering.lock().unwrap_or_else(PoisonError::into_inner).remove(unit);
    }

    /// Changes what is known of a peer.
    pub(super) fn update(&self, unit: &UnitId, change: impl FnOnce(&mut PeerStatus)) {
        let status = self.lock().get(unit).map(|worker| Arc::clone(&worker.status));
        if let Some(status) = status {
            change(&mut lock(&status));
        }
    }

    fn ensure(&self, ctx: &Arc<Context>, unit: &UnitId) {
        let mut workers = self.lock();
        if workers.contains_key(unit) {
            return;
        }
        // Bounded: settled entries by the window, link events by the link, advice by its permits.
        let (inputs, received) = mpsc::unbounded_channel();
        let advice = Arc::new(Semaphore::new(ADVICE_MAX));
        let session = watch::Sender::new(None);
        let tasks = &ctx.parts.tasks;
        let worker = outbound::run(
            Arc::clone(ctx),
            unit.clone(),
            received,
            Arc::clone(&advice),
            session.subscribe(),
        );
        tasks.spawn("peer-outbound", TaskKind::Process, worker);
        let receipts = owed::run(Arc::clone(ctx), unit.clone(), session.subscribe());
        tasks.spawn("peer-receipts", TaskKind::Process, receipts);
        let status = Arc::default();
        let proven_by = Bytes::new();
        let (sessions, settling) = (Vec::new(), Arc::default());
        workers.insert(
            unit.clone(),
            Worker { proven_by, inputs, advice, session, sessions, settling, status },
        );
    }

    fn session_up(&self, ctx: &Arc<Context>, session: Session) {
        let unit = session.peer().unit().clone();
        let hello = Arc::new(session.hello.clone());
        self.ensure(ctx, &unit);
        let now = ctx.now();
        ctx.witnesses.heard(&unit, &hello);
        self.update(&unit, |status| {
            status.up = true;
            status.unanswered = None;
            status.last_contact = Some(now);
            session.key_exchange().clone_into(&mut status.key_exchange);
            status.software.clone_from(&hello.software);
            status.rtt_us = u32::try_from(session.rtt().as_micros()).unwrap_or(u32::MAX);
        });
        // Before anything is signed for this session: what the peer holds of our log.
        let claim = ctx.parts.tlog.hear(&unit, &hello.held_checkpoint);
        // It comes again with every Hello.
        if let Some(claim) = &claim
            && let Some(left_out) = ctx.quotas.meter(&unit).line()
        {
            warn!(peer = %unit, size = claim.size, left_out, "log signs nothing: peer knows more");
        }
        let made = ctx.parts.store.counter("receipts-made", &unit).unwrap_or_default();
        let more = hello.heads.is_some_and(|heads| heads.receipts_have > made);
        if ctx.parts.tlog.heard(&unit, &hello.held_checkpoint, more, &verified(ctx)) {
            end_held(ctx);
        }
        let had = ctx.parts.store.counter("receipts-have", &unit).ok();
        let (id, node, sender) = (session.id(), session.peer().clone(), session.sender());
        let (settled, attachments) = (session.settled(), session.attachments());
        let Some((live, stands)) = self.lock().get_mut(&unit).map(|worker| {
            let settling = Arc::clone(&worker.settling);
            let alone = worker.sessions.iter().all(|other| other.node == node);
            let had = had.filter(|_| alone);
            let has = Arc::default();
            let live =
                Live { id, settled, node, sender, attachments, hello, claim, has, had, settling };
            let stands = worker.up(live.clone());
            (live, stands)
        }) else {
            return;
        };
        if stands {
            self.input(&unit, Input::SessionUp);
        }
        if let Some(left_out) = ctx.quotas.meter(&unit).line() {
            let group = session.key_exchange();
            info!(peer = %session.peer(), group, left_out, "session up");
        }
        serve(ctx, &unit, session, live);
    }

    fn session_down(&self, ctx: &Context, unit: &UnitId, id: SessionId) {
        let Some(fall) = self.lock().get_mut(unit).map(|worker| worker.down(id)) else { return };
        match fall {
            Fall::Other => {}
            // What was in flight on the one that fell is due again on the one that stays.
            Fall::Moved => self.input(unit, Input::SessionUp),
            Fall::Last => {
                let now = ctx.now();
                self.update(unit, |status| {
                    status.up = false;
                    status.last_contact = Some(now);
                });
                self.input(unit, Input::SessionDown);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<UnitId, Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The units that are verified now.
fn verified(ctx: &Context) -> Vec<UnitId> {
    let snapshot = ctx.parts.directory.snapshot();
    let units = snapshot.peers().map(|peer| peer.card.unit().clone());
    units.filter(|unit| snapshot.verified(unit).is_some()).collect()
}

/// What the end of one session means for sending.
#[derive(Debug, PartialEq, Eq)]
enum Fall {
    /// Nothing: another one is sent on.
    Other,
    /// Another node of the unit has a session: it is sent on now.
    Moved,
    /// There is none left.
    Last,
}

/// Whether a later session of the same node stands.
fn is_replaced<'a>(
    mut standing: impl Iterator<Item = (&'a NodeId, u64)>,
    (node, settled): (&NodeId, u64),
) -> bool {
    standing.any(|(other, later)| other == node && later > settled)
}

impl Worker {
    /// Sends on a new session from now on; the older one of the same node is over. Which is older
    /// is not told by what comes first: of two crossing dials the one that gave way may be told of
    /// last. Returns whether it stands.
    fn up(&mut self, live: Live) -> bool {
        let standing = self.sessions.iter().map(|other| (&other.node, other.settled));
        if is_replaced(standing, (&live.node, live.settled)) {
            return false;
        }
        self.sessions.retain(|other| other.node != live.node);
        self.sessions.push(live.clone());
        self.session.send_replace(Some(live));
        true
    }

    fn down(&mut self, id: SessionId) -> Fall {
        self.sessions.retain(|live| live.id != id);
        if self.session.borrow().as_ref().is_none_or(|live| live.id != id) {
            return Fall::Other;
        }
        let next = self.sessions.last().cloned();
        let fall = if next.is_some() { Fall::Moved } else { Fall::Last };
        self.session.send_replace(next);
        fall
    }
}

/// Serves the link's events until the node stops.
pub(super) async fn run(ctx: Arc<Context>, mut events: mpsc::Receiver<LinkEvent>) {
    let stop = ctx.parts.tasks.stop_token();
    ctx.peers.directory_changed(&ctx);
    for unit in verified(&ctx) {
        recover::start(&ctx, &unit);
    }
    loop {
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            event = events.recv() => event,
        };
        let Some(event) = event else { return };
        match event {
            LinkEvent::Up(session) => {
                ctx.parts.counters.add(Counter::Session);
                ctx.peers.session_up(&ctx, *session);
            }
            LinkEvent::Down { peer, session, closed } => {
                let reason = closed.reason().label();
                if let Some(left_out) = ctx.quotas.meter(peer.unit()).line() {
                    info!(peer = %peer, reason, text = closed.text, left_out, "session down");
                }
                ctx.peers.session_down(&ctx, peer.unit(), session);
                if let (CloseCode::Superseded, true, Some(link)) =
                    (closed.code, closed.by_peer, ctx.peers.link())
                {
                    link.superseded(&peer);
                }
            }
            LinkEvent::DialFailed { unit, reason, text } => {
                ctx.parts.counters.add(Counter::SessionFailure);
                if let Some(left_out) = ctx.quotas.meter(&unit).line() {
                    info!(peer = %unit, reason = reason.label(), text, left_out, "dial failed");
                }
                ctx.peers.update(&unit, |status| status.dial_failed = true);
                ctx.peers.input(&unit, Input::DialFailed(reason));
            }
            LinkEvent::Unanswered { unit } => {
                if let Some(left_out) = ctx.quotas.meter(&unit).line() {
                    info!(peer = %unit, left_out, "one-way: peer is heard and hears nothing");
                }
                ctx.peers.update(&unit, |status| status.unanswered = Some(Instant::now()));
            }
            LinkEvent::Alarm(LinkAlarm::DuplicateIdentity { peer, address }) => {
                // The link tells it once a minute at most.
                warn!(peer = %peer, address = %address, "two processes use one transport key");
                twins::theirs(&ctx, &peer, address).await;
            }
            LinkEvent::Alarm(LinkAlarm::SpokenFor { peer, held }) => {
                twins::ours(&ctx, &peer, &held).await;
            }
        }
    }
}

/// Starts the readers of a session.
fn serve(ctx: &Arc<Context>, unit: &UnitId, session: Session, live: Live) {
    let tasks = &ctx.parts.tasks;
    let ended = session.ended();
    let arrivals = session.arrivals;
    for (name, priority, lane) in [
        ("session-emergency", Priority::Emergency, arrivals.emergency),
        ("session-urgent", Priority::Urgent, arrivals.urgent),
        ("session-routine", Priority::Routine, arrivals.routine),
    ] {
        let (unit, sender) = (unit.clone(), live.sender.clone());
        let reader = inbound::Reader { ctx: Arc::clone(ctx), unit, sender, priority };
        let reader = inbound::run(reader, lane);
        tasks.spawn(name, TaskKind::Session, reader);
    }
    let offers = attachments::run(Arc::clone(ctx), unit.clone(), arrivals.attachments);
    tasks.spawn("session-attachments", TaskKind::Session, offers);
    let reader = answers::run(Arc::clone(ctx), unit.clone(), live, arrivals.control, ended);
    tasks.spawn("session-control", TaskKind::Session, reader);
}

fn lock(status: &Mutex<PeerStatus>) -> MutexGuard<'_, PeerStatus> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Faults and deferrals of a peer that may wait for its worker: two windows of every lane.
const ADVICE_MAX: usize = 1536;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Of two crossing dials the one that gave way is told of last: what stands is not taken for
    /// over, else nothing would be sent until its connection ends.
    #[test]
    fn a_session_that_gave_way_replaces_none() {
        let [one, other]: [NodeId; 2] = ["xb.ncu/a", "xb.ncu/b"].map(|name| name.parse().unwrap());
        let standing = [(&one, 3)];
        assert!(is_replaced(standing.into_iter(), (&one, 2)));
        assert!(!is_replaced(standing.into_iter(), (&one, 4)));
        assert!(!is_replaced(standing.into_iter(), (&other, 2)));
        assert!(!is_replaced([].into_iter(), (&one, 2)));
    }
}
