//! The link: sessions with other units' nodes over QUIC (TLS 1.3, both sides authenticated by
//! pinned keys).
//!
//! Enter through [`Link::start`]. It gives a bounded channel of [`LinkEvent`]s; each [`Session`] in
//! them has bounded channels of its own. May not use the relay, the store or the API: it knows
//! keys, names and frames, and dials only when told. Only this room names `quinn` and `rustls`.
//!
//! Life of a connection
//! 1. TLS: the peer's key is in the [`PeerBook`] (accepting) or is the dialled node's (dialling),
//!    else the handshake fails. That a client's handshake is complete says nothing about the
//!    server's opinion.
//! 2. Each side opens four streams, one a [`Lane`], each beginning with `Open`; on control, `Hello`
//!    follows.
//! 3. Each side checks the other's Hello against the pinned key, looks the key up again, then sends
//!    `Ping`. The answer proves that our Hello was taken: only now is the connection complete on
//!    both sides.
//! 4. [`arbitrate`] decides between it and a standing session of the same node; the loser is
//!    closed.
//! 5. [`LinkEvent::Up`]. Four tasks a lane: reading and writing of each half of both streams are
//!    apart. Further streams bring attachments, one each (`attachments`).
//! 6. The first cause ends the session: a fault of the peer, the loss of the path, a removed key,
//!    the relay, the stop. [`LinkEvent::Down`] names it. What was queued is lost; the relay's
//!    outbox still has it.
//!
//! No deadlock: a reader waits only for its own channel's consumer, a writer only for its own
//! stream's window. The reader of the control lane and of all answers feeds `Arrivals::control`
//! alone; whoever serves that channel must not wait for [`SessionSender::send`]. Then receipts and
//! `Have` are always read, windows always open again, and a lane whose envelopes nobody reads stops
//! that lane only: the stream windows together are less than the connection's, and the send window
//! is as large as it.

mod accept;
mod arbitrate;
mod attachments;
mod book;
mod close;
mod dial;
mod endpoint;
mod establish;
mod frame;
mod hello;
mod identity;
mod key_exchange;
mod lane;
mod registry;
mod session;
mod settings;
mod sources;
mod streams;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quinn::{AsyncUdpSocket, Endpoint, Runtime};
use relay_proto::{
    ids::{NodeId, UnitId},
    reason::Reason,
    v1,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use self::{
    attachments::{AttachmentSender, BringError, Bringing, IncomingAttachment},
    close::{CloseCode, Closed},
    identity::{LocalNode, RESET_KEY_BYTES, TransportIdentity},
    key_exchange::KeyExchange,
    lane::{Direction, Lane, Lanes},
    session::{Arrivals, Incoming, PingError, Room, SendError, Session, SessionId, SessionSender},
    settings::LinkSettings,
    streams::read_frame,
};
use crate::tasks::Tasks;

/// The verified peers. Only units whose keys were compared may appear; answers may change at any
/// time, after which [`Link::recheck_peers`] ends the sessions that are no longer allowed. Must not
/// block.
pub trait PeerBook: Send + Sync {
    /// Whose transport key this is.
    fn by_spki(&self, spki: &[u8]) -> Option<PeerNode>;

    /// Where a unit's nodes can be reached, best first.
    fn addresses(&self, unit: &UnitId) -> Vec<DialTarget>;

    /// Whose node is reached at an address; nobody's where only names are known.
    fn unit_at(&self, address: SocketAddr) -> Option<UnitId>;

    /// Whether a verified card names this address, with whatever port: behind a translator of
    /// addresses a peer dials from another one than it listens on.
    fn names(&self, _address: IpAddr) -> bool {
        false
    }
}

/// The owner of a transport key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerNode {
    /// The node; its unit is part of the id.
    pub node: NodeId,
    /// What this peer has to speak, at least.
    pub key_exchange: KeyExchange,
}

/// One address of a peer's node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialTarget {
    /// Which node answers there.
    pub node: NodeId,
    /// `host:port`
    pub address: String,
    /// SubjectPublicKeyInfo of each of its transport keys; during a rotation there are two.
    pub spki_pins: Vec<Vec<u8>>,
    /// What this peer has to speak, at least.
    pub key_exchange: KeyExchange,
}

/// Gives what this node says in its Hello to one peer. The link itself fills in `versions`, `unit`,
/// `node`, `instance_id`, `boot_id` and `limits.frame_bytes_max`. Must not block.
pub trait HelloSource: Send + Sync {
    /// For a session with this unit that is being made.
    fn hello_for(&self, peer: &UnitId) -> v1::Hello;
}

/// What the link has to say. `Down` names its session: it may come after the `Up` of the session
/// that replaced it.
#[derive(Debug)]
pub enum LinkEvent {
    /// A session that both sides have taken.
    Up(Box<Session>),
    /// A session ended.
    Down {
        /// With which node.
        peer: NodeId,
        /// Which one.
        session: SessionId,
        /// How.
        closed: Closed,
    },
    /// A dial gave no session, at no address.
    DialFailed {
        /// Who was dialled.
        unit: UnitId,
        /// The label of the last failure.
        reason: Reason,
        /// Printable, for the operator.
        text: String,
    },
    /// A handshake from a peer's address got no further than our answer to it: its packets arrive
    /// here, ours do not arrive there. Anybody can send in its name, so this is a hint.
    Unanswered {
        /// Whose address it is.
        unit: UnitId,
    },
    /// Something that an operator has to look at.
    Alarm(LinkAlarm),
}

/// See [`LinkEvent::Alarm`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkAlarm {
    /// Two instances, or two processes of one, use one transport key at the same time; this one
    /// was refused.
    DuplicateIdentity {
        /// Whose key.
        peer: NodeId,
        /// Where the one is that was refused.
        address: SocketAddr,
    },
    /// A peer says so of our own key.
    SpokenFor {
        /// Who says it.
        peer: NodeId,
        /// The checkpoint of our log that its Hello showed; empty when it was told already.
        held: String,
    },
}

/// Counters since the start, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkCounters {
    /// Handshakes taken on.
    pub handshakes: u64,
    /// Handshakes that failed: unknown key, wrong protocol, time.
    pub handshakes_failed: u64,
    /// Handshakes refused unread, for load.
    pub handshakes_refused: u64,
    /// Sources that had to prove their address first.
    pub retries: u64,
    /// Sessions that came up.
    pub sessions: u64,
    /// Sessions ended by a fault in what the peer sent.
    pub faults: u64,
}

/// A UDP socket and the clock that goes with it, for simulations.
#[derive(Debug, Clone)]
pub struct Wire {
    /// The socket.
    pub socket: Arc<dyn AsyncUdpSocket>,
    /// Timers and tasks of the QUIC library.
    pub runtime: Arc<dyn Runtime>,
}

/// The running link; a clone is the same link.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
}

impl Link {
    /// Opens the socket and begins to listen, when there is an address for it. Nothing is dialled
    /// yet.
    pub fn start(
        settings: LinkSettings,
        identity: TransportIdentity,
        book: Arc<dyn PeerBook>,
        hello: Arc<dyn HelloSource>,
        tasks: Tasks,
    ) -> Result<(Self, mpsc::Receiver<LinkEvent>), LinkError> {
        let wire = endpoint::open(settings.listen)?;
        Self::start_on(wire, settings, identity, book, hello, tasks)
    }

    /// As [`Link::start`], over a given socket.
    pub fn start_on(
        wire: Wire,
        settings: LinkSettings,
        identity: TransportIdentity,
        book: Arc<dyn PeerBook>,
        hello: Arc<dyn HelloSource>,
        tasks: Tasks,
    ) -> Result<(Self, mpsc::Receiver<LinkEvent>), LinkError> {
        let endpoint = endpoint::start(wire, &settings, &identity, &book)?;
        let (events, received) = mpsc::channel(settings::EVENTS_MAX);
        let shared = Arc::new(Shared {
            settings,
            identity,
            book,
            hello,
            endpoint,
            events,
            registry: registry::Registry::default(),
            sources: sources::Sources::default(),
            dialling: dial::Dialling::default(),
            closing: tasks.child(),
            tasks,
            counters: Counters::default(),
            last_id: AtomicU64::new(0),
        });
        accept::spawn(&shared);
        Ok((Self { shared }, received))
    }

    /// Where the socket is bound.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.shared.endpoint.local_addr()
    }

    /// Dials a unit once, in the background: `Up` or `DialFailed` follows. Nothing happens while it
    /// has a session or is being dialled. When to dial again is for the relay to say.
    pub fn dial(&self, unit: &UnitId) {
        dial::spawn(&self.shared, unit);
    }

    /// A node says that a newer connection of ours took over. When none is known here, asks it what
    /// that is, by dialling: another process may speak as this node, and is named then.
    pub fn superseded(&self, by: &NodeId) {
        if self.shared.registry.may_ask(by) {
            dial::spawn(&self.shared, by.unit());
        }
    }

    /// Ends all connections with a unit.
    pub fn close_peer(&self, unit: &UnitId, code: CloseCode, text: &str) {
        self.shared.registry.close_unit(unit, code, text);
    }

    /// Ends the connections whose key the book no longer names. To be called after each change of
    /// the book.
    pub fn recheck_peers(&self) {
        self.shared.registry.recheck(&*self.shared.book);
    }

    /// Returns when there is a session with the unit, dialling it if there is none; or says why
    /// there is none. The caller bounds the wait.
    pub async fn reach(&self, unit: &UnitId) -> Result<(), Closed> {
        dial::reach(&self.shared, unit).await
    }

    /// The round trip through a session with the unit.
    pub async fn ping(&self, unit: &UnitId) -> Result<Duration, PingError> {
        let session = self.shared.registry.session_of(unit).ok_or(PingError::NoSession)?;
        session.ping().await
    }

    /// Live sessions.
    pub fn session_count(&self) -> usize {
        self.shared.registry.live().len()
    }

    /// The nodes with a live session.
    pub fn peers_up(&self) -> Vec<NodeId> {
        self.shared.registry.live().iter().map(|session| session.peer.clone()).collect()
    }

    /// Counters since the start.
    pub fn counters(&self) -> LinkCounters {
        self.shared.counters.snapshot()
    }

    /// Takes no new connection and dials no more; sessions go on, so that transfers can finish. The
    /// stop token does the same; the link's tasks end after [`Link::shutdown`].
    pub fn drain(&self) {
        self.shared.closing.cancel();
    }

    /// Drains, tells all peers that the node stops, and waits a moment for them to hear it.
    pub async fn shutdown(&self) {
        self.drain();
        self.shared.registry.close_all(CloseCode::Stopping);
        let code = quinn::VarInt::from_u32(CloseCode::Stopping.number());
        self.shared.endpoint.close(code, CloseCode::Stopping.text().as_bytes());
        let waited = tokio::time::timeout(settings::CLOSE_WAIT, self.shared.endpoint.wait_idle());
        if waited.await.is_err() {
            tracing::debug!("peers did not confirm the close in time");
        }
    }
}

/// Why the link does not start.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The transport key cannot be used.
    #[error("{0}")]
    Key(&'static str),
    /// The certificate could not be made.
    #[error("certificate could not be made")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refused its configuration.
    #[error("TLS configuration was refused")]
    Tls(#[from] rustls::Error),
    /// No cipher suite for QUIC's first packets.
    #[error(transparent)]
    CipherSuite(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
    /// The address is in use, not ours or not allowed.
    #[error("cannot listen on UDP {0} (`link.listen`)")]
    Listen(SocketAddr, #[source] io::Error),
    /// The system gives no socket.
    #[error("socket could not be opened")]
    Socket(#[from] io::Error),
    /// A limit that QUIC cannot express.
    #[error("setting {0} is out of range")]
    Setting(&'static str),
}

/// What all parts of the link share.
struct Shared {
    settings: LinkSettings,
    identity: TransportIdentity,
    book: Arc<dyn PeerBook>,
    hello: Arc<dyn HelloSource>,
    tasks: Tasks,
    endpoint: Endpoint,
    events: mpsc::Sender<LinkEvent>,
    registry: registry::Registry,
    sources: sources::Sources,
    dialling: dial::Dialling,
    /// Cancelled by [`Link::drain`] and with the stop token.
    closing: CancellationToken,
    counters: Counters,
    last_id: AtomicU64,
}

impl Shared {
    fn next_id(&self) -> SessionId {
        SessionId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The relay may have stopped listening while the node stops; then nobody is interested.
    async fn tell(&self, event: LinkEvent) {
        let _ = self.events.send(event).await;
    }
}

#[derive(Default)]
struct Counters {
    handshakes: AtomicU64,
    handshakes_failed: AtomicU64,
    handshakes_refused: AtomicU64,
    retries: AtomicU64,
    sessions: AtomicU64,
    faults: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn snapshot(&self) -> LinkCounters {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LinkCounters {
            handshakes: of(&self.handshakes),
            handshakes_failed: of(&self.handshakes_failed),
            handshakes_refused: of(&self.handshakes_refused),
            retries: of(&self.retries),
            sessions: of(&self.sessions),
            faults: of(&self.faults),
        }
    }
}
