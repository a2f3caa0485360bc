//! The use cases of the relay: submit, send, take, settle, expire, acknowledge, export.
//!
//! Enter through [`Relay`]. It may use every room but `api` and `daemon`. Decisions are made in
//! `relay-core`; here they are performed on the store, the log and the link. Invariant: nothing is
//! answered or signed that is not durable.
//!
//! Where things are decided: a refusal in `relay_core::policy` (called from [`inbound`] and
//! [`submit`]), a retry in `relay_core::outbox` and `retry` (performed by [`outbound`]).

pub mod acknowledge;
mod alarms;
mod answers;
mod attachments;
mod cards;
pub mod cases;
mod checker;
pub mod evidence;
pub mod exchange;
mod expire;
mod gate;
mod hello;
mod inbound;
mod inbox;
mod notify;
mod outbound;
mod owed;
mod peers;
mod quotas;
pub mod recover;
mod sending;
mod settle;
pub mod submit;
mod terms;
mod times;
mod twins;

use std::{sync::Arc, time::Duration};

use relay_core::{outbox, profile::Profile, quota};
use relay_proto::{
    envelope::Header,
    ids::{NodeId, UnitId},
    reason::Reason,
    receipt::{Event, NewStatement, Statement},
    timestamp::Timestamp,
    v1,
};
use tokio::sync::mpsc;

pub use self::{
    peers::{PeerStatus, Peers},
    times::Reading,
};

use crate::{
    clock::Clock,
    config::NotifySettings,
    directory::Directory,
    keys::Signer,
    link::{Link, LinkEvent},
    store::{QueueMax, Store, StoreError},
    tasks::{TaskKind, Tasks},
    telemetry::Counters,
    tlog::Tlog,
};

/// What a commit answered that may be left out when the disk is full: it is an aid for later, and
/// is made anew by what comes next. Other errors of the store end what was going on.
fn if_room<T>(answer: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match answer {
        Err(StoreError::Full) => Ok(None),
        answer => answer.map(Some),
    }
}

/// What the relay is built from.
pub struct Parts {
    /// This node.
    pub node: NodeId,
    /// What it runs, as in receipts: `relay-node/0.1.0`.
    pub software: String,
    /// The open store.
    pub store: Store,
    /// The local directory.
    pub directory: Directory,
    /// The log of receipts.
    pub tlog: Tlog,
    /// The working keys.
    pub signer: Arc<Signer>,
    /// The time.
    pub clock: Clock,
    /// The networks.
    pub profiles: Vec<Arc<Profile>>,
    /// Bounds.
    pub limits: Limits,
    /// Who is told of terms beside those that watch.
    pub notify: NotifySettings,
    /// Counters.
    pub counters: Counters,
    /// Where tasks run.
    pub tasks: Tasks,
    /// Random bytes.
    pub random: Random,
}

/// Bounds of the relay's queues.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Window and back-off of a peer's outbox.
    pub outbox: outbox::Settings,
    /// Most of one priority that waits for one peer.
    pub queue_max: QueueMax,
    /// Most messages of one peer that nobody has taken.
    pub inbox_messages_max: u64,
    /// Most bytes of them.
    pub inbox_bytes_max: u64,
    /// What each peer may cause in an hour.
    pub quotas: quota::Settings,
}

/// Where random bytes come from: the system, or a seed in simulations.
pub type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// The relay. Clones share it.
#[derive(Clone)]
pub struct Relay {
    ctx: Arc<Context>,
}

/// What the parts of the relay share.
pub(crate) struct Context {
    pub parts: Parts,
    pub peers: Peers,
    pub inbox: inbox::Inbox,
    pub quotas: quotas::Quotas,
    pub gate: gate::Gate,
    pub witnesses: times::Witnesses,
    pub notices: notify::Notices,
}

impl Relay {
    /// The relay over its parts; nothing runs yet.
    pub fn new(parts: Parts) -> Result<Self, StoreError> {
        let inbox = inbox::Inbox::load(&parts.store)?;
        let quotas = quotas::Quotas::new(parts.limits.quotas);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let gate = gate::Gate::new(processors);
        let (peers, witnesses) = (Peers::default(), times::Witnesses::default());
        let notices = notify::Notices::default();
        let ctx = Context { parts, peers, inbox, quotas, gate, witnesses, notices };
        Ok(Self { ctx: Arc::new(ctx) })
    }

    /// Starts serving: the peers that are known, the link's events, expiries.
    pub fn start(&self, link: Link, events: mpsc::Receiver<LinkEvent>) {
        let tasks = &self.ctx.parts.tasks;
        self.ctx.peers.attach(link);
        let ctx = Arc::clone(&self.ctx);
        tasks.spawn("relay-peers", TaskKind::Process, peers::run(ctx, events));
        let ctx = Arc::clone(&self.ctx);
        tasks.spawn("relay-expiry", TaskKind::Process, expire::run(ctx));
        let ctx = Arc::clone(&self.ctx);
        tasks.spawn("relay-terms", TaskKind::Process, terms::run(ctx));
        if !self.ctx.parts.notify.command.is_empty() {
            let ctx = Arc::clone(&self.ctx);
            tasks.spawn("relay-notify", TaskKind::Process, notify::run(ctx));
        }
        let ctx = Arc::clone(&self.ctx);
        tasks.spawn("relay-clock", TaskKind::Process, times::run(ctx));
    }

    /// What the node says in its Hello.
    pub fn hello_source(&self) -> Arc<dyn crate::link::HelloSource> {
        Arc::new(hello::Hellos(Arc::downgrade(&self.ctx)))
    }

    /// This node's id.
    pub fn node(&self) -> &NodeId {
        &self.ctx.parts.node
    }

    /// The store, for reading.
    pub fn store(&self) -> &Store {
        &self.ctx.parts.store
    }

    /// The local directory.
    pub fn directory(&self) -> &Directory {
        &self.ctx.parts.directory
    }

    /// The log.
    pub fn tlog(&self) -> &Tlog {
        &self.ctx.parts.tlog
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.ctx.parts.clock
    }

    /// Counters.
    pub fn counters(&self) -> &Counters {
        &self.ctx.parts.counters
    }

    /// What the node runs.
    pub fn software(&self) -> &str {
        &self.ctx.parts.software
    }

    /// Tells the workers that the directory changed.
    pub fn directory_changed(&self) {
        self.ctx.peers.directory_changed(&self.ctx);
    }

    /// Tries a peer now, whatever its back-off says.
    pub fn retry_now(&self, unit: &UnitId) {
        self.ctx.peers.retry_now(unit);
    }

    /// Begins nothing new and waits until all that is in flight has its receipt; the caller bounds
    /// the wait.
    pub async fn drain(&self) {
        self.ctx.peers.drain();
        while self.ctx.peers.in_flight() > 0 {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    }

    /// Units whose messages are put off, because too many of theirs wait for somebody here.
    pub fn full_inboxes(&self) -> Vec<String> {
        let limits = &self.ctx.parts.limits;
        self.ctx.inbox.full(limits.inbox_messages_max, limits.inbox_bytes_max)
    }

    /// Bytes of the largest attachment that any profile allows.
    pub fn attachment_bytes_max(&self) -> u64 {
        let each = self.ctx.parts.profiles.iter().map(|profile| profile.attachment_bytes_max);
        each.max().unwrap_or_default()
    }

    /// How a peer stands.
    pub fn peer_status(&self, unit: &UnitId) -> PeerStatus {
        let mut status = self.ctx.peers.status(unit);
        let skew_ms = self.ctx.witnesses.skew_ms(unit, self.ctx.now());
        status.clock_skew_ms = skew_ms.unwrap_or_default();
        status
    }

    /// Returns when there is a session with a peer, dialling it whatever its back-off says; else
    /// says why there is none. Nothing: the link does not run.
    pub async fn reach(&self, unit: &UnitId) -> Option<Result<(), (Reason, String)>> {
        let link = self.ctx.peers.link()?;
        let reached = tokio::time::timeout(REACH_WAIT, link.reach(unit)).await;
        Some(match reached {
            Ok(Ok(())) => Ok(()),
            Ok(Err(closed)) => Err((closed.reason(), closed.text)),
            Err(_) => Err((Reason::PeerUnreachable, "no session in time".to_owned())),
        })
    }

    /// The round trip to a peer.
    pub async fn ping(&self, unit: &UnitId) -> Option<Result<Duration, crate::link::PingError>> {
        let link = self.ctx.peers.link()?;
        Some(link.ping(unit).await)
    }
}

impl Context {
    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    fn unit(&self) -> &UnitId {
        self.parts.node.unit()
    }

    /// When our open log succeeded one that lost leaves; nothing: it is the first.
    fn log_began(&self) -> Option<Timestamp> {
        let own = self.parts.directory.own();
        let log = own.log(self.parts.tlog.origin())?;
        log.succession.as_ref().map(|succession| succession.at)
    }

    fn profile(&self, id: &str) -> Option<&Arc<Profile>> {
        self.parts.profiles.iter().find(|profile| profile.id == id)
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.parts.random)(&mut bytes);
        bytes
    }

    /// A statement of this node about a message.
    fn statement<'a>(
        &'a self,
        header: &'a Header,
        event: Event,
        now: Timestamp,
    ) -> NewStatement<'a> {
        let clock: v1::Clock = self.time().state;
        let node = &self.parts.node;
        let mut new = NewStatement::about(header, event, node, now, clock, self.random());
        new.software = &self.parts.software;
        new
    }
}

/// The bytes of a statement of our own; a fault in one is a bug, and says so instead of issuing it.
fn own(statement: &NewStatement<'_>) -> Result<Statement, relay_proto::receipt::StatementError> {
    statement.build().inspect_err(|error| tracing::error!(%error, "own statement breaks a rule"))
}

/// How long a session is waited for at most: less than callers wait for the answer.
const REACH_WAIT: Duration = Duration::from_secs(15);

/// How often a draining node looks whether it is done.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
