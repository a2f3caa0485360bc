//! From a finished TLS handshake to a session, and the session's supervisor.
//!
//! Enter through [`session`]; see the steps at the head of `link`. Invariant: a connection that is
//! not taken is closed with a code that says why, and whoever reports it does so once.

use std::sync::{Arc, OnceLock, atomic::AtomicU64};

use quinn::Connection;
use relay_proto::{
    ids::NodeId,
    limits,
    v1::{self, frame::Kind},
};
use rustls::NamedGroup;
use rustls_pki_types::CertificateDer;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Counters, LinkAlarm, LinkEvent, PeerNode, Session, Shared,
    arbitrate::Claim,
    attachments::{self, Places},
    close::{CloseCode, Closed},
    frame::{self, FrameError},
    hello::{self, HELLO_BYTES_MAX},
    key_exchange::{self, HandshakeData, KeyExchange},
    lane::{Direction, Lane},
    session::{Incoming, Pings, Queues, SessionCore, SessionSender},
    streams::{self, EARLY_MAX, Streams},
    tls,
};

/// A session that both sides have taken, not yet running.
pub(super) struct Established {
    core: Arc<SessionCore>,
    hello: v1::Hello,
    streams: Streams,
    queues: Queues,
    early: Vec<Incoming>,
}

/// Makes a session of a connection; `dialled` is the node that we meant to reach.
pub(super) async fn session(
    shared: &Shared,
    connection: &Connection,
    dialled: Option<&NodeId>,
) -> Result<Established, Closed> {
    let peer = identify(shared, connection, dialled);
    let mut said = v1::Hello::default();
    let result = match &peer {
        Ok(peer) => {
            let attempt = attempt(shared, connection, peer, dialled.is_some(), &mut said);
            let timeout = || Closed::by_us(CloseCode::HelloTimeout, "");
            let attempt = tokio::time::timeout(shared.settings.hello, attempt).await;
            attempt.unwrap_or_else(|_| Err(timeout()))
        }
        Err(closed) => Err(closed.clone()),
    };
    let closed = match result {
        Ok(established) => {
            shared.sources.met(connection.remote_address().ip());
            return Ok(established);
        }
        Err(closed) => closed,
    };
    closed.code.close(connection, &closed.text);
    if let (CloseCode::DuplicateIdentity, Ok(peer)) = (closed.code, peer) {
        tell_duplicate(shared, connection, peer.node, &closed, said.held_checkpoint).await;
    }
    Err(closed)
}

/// Two processes speak as one node: the peer's, or our own by the peer's word.
async fn tell_duplicate(
    shared: &Shared,
    connection: &Connection,
    peer: NodeId,
    closed: &Closed,
    held: String,
) {
    let alarm = match closed.by_peer {
        true => LinkAlarm::SpokenFor { peer, held },
        false if !shared.registry.may_alarm(&peer) => return,
        false => {
            let address = connection.remote_address();
            tracing::error!(%peer, %address, "duplicate identity");
            LinkAlarm::DuplicateIdentity { peer, address }
        }
    };
    shared.tell(LinkEvent::Alarm(alarm)).await;
}

/// Runs a session to its end and reports both.
pub(super) async fn run(shared: &Shared, established: Established) {
    let Established { core, hello, streams, queues, early } = established;
    let supervised = Supervised { shared, core: core.clone() };
    let (attachments, offered) = mpsc::channel(ATTACHMENTS_MAX);
    let arrivals = streams::run(&shared.tasks, &core, streams, queues, (early, offered));
    Counters::add(&shared.counters.sessions);
    let (peer, session) = (&core.peer, core.id);
    let (key_exchange, dialled) = (core.key_exchange, core.dialled_by_us);
    if shared.registry.may_log(peer) {
        tracing::info!(%peer, %session, key_exchange, dialled, "session came up");
    }
    shared.tell(LinkEvent::Up(Box::new(Session { hello, arrivals, core: core.clone() }))).await;
    let closed: Closed = tokio::select! {
        biased;
        () = core.ended.cancelled() => Closed::by_us(CloseCode::Internal, ""),
        error = core.connection.closed() => error.into(),
        closed = attachments::accept(&shared.tasks, &core, &attachments) => closed,
    };
    // When the session was ended already, that cause stands.
    core.end(closed);
    drop(supervised);
    let closed = core.cause.get().cloned().unwrap_or(Closed::by_us(CloseCode::Internal, ""));
    if !closed.by_peer && FAULTS.contains(&closed.code) {
        Counters::add(&shared.counters.faults);
    }
    if closed.code == CloseCode::DuplicateIdentity && closed.by_peer {
        let node = peer.clone();
        tell_duplicate(shared, &core.connection, node, &closed, String::new()).await;
    }
    let (code, by_peer, text) = (closed.code, closed.by_peer, &closed.text);
    if shared.registry.may_log(peer) {
        tracing::info!(%peer, %session, ?code, by_peer, text, "session ended");
    }
    shared.tell(LinkEvent::Down { peer: core.peer.clone(), session: core.id, closed }).await;
}

/// Takes the session out of the registry, also when the supervisor panics.
struct Supervised<'a> {
    shared: &'a Shared,
    core: Arc<SessionCore>,
}

impl Drop for Supervised<'_> {
    fn drop(&mut self) {
        self.core.end(Closed::by_us(CloseCode::Internal, ""));
        self.shared.registry.remove(&self.core);
    }
}

struct Identified {
    node: NodeId,
    spki: Vec<u8>,
    group: Option<NamedGroup>,
}

/// Whose key the TLS library saw, looked up in the book as it is now.
fn identify(
    shared: &Shared,
    connection: &Connection,
    dialled: Option<&NodeId>,
) -> Result<Identified, Closed> {
    let removed = || Closed::by_us(CloseCode::Removed, "");
    let identity = connection.peer_identity().ok_or_else(removed)?;
    let chain = identity.downcast::<Vec<CertificateDer<'static>>>().map_err(|_| removed())?;
    let spki = chain.first().and_then(|end| tls::spki_of(end).ok()).ok_or_else(removed)?;
    let PeerNode { node, key_exchange } = shared.book.by_spki(&spki).ok_or_else(removed)?;
    if dialled.is_some_and(|dialled| *dialled != node) || node == shared.identity.local().node {
        return Err(removed());
    }
    let data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    let group = data.and_then(|data| data.group);
    if key_exchange == KeyExchange::Require && group != Some(NamedGroup::X25519MLKEM768) {
        return Err(Closed::by_us(CloseCode::KeyExchange, ""));
    }
    Ok(Identified { node, spki, group })
}

async fn attempt(
    shared: &Shared,
    connection: &Connection,
    peer: &Identified,
    dialled_by_us: bool,
    said: &mut v1::Hello,
) -> Result<Established, Closed> {
    let (id, begun) = (shared.next_id(), Instant::now());
    let _reservation = shared.registry.reserve(&peer.node, id, &peer.spki, connection)?;
    let local = shared.identity.local();
    let progress = shared.settings.frame_progress;
    let mut opened = streams::open(connection, progress).await?;
    let ours = hello::complete(shared.hello.hello_for(peer.node.unit()), local);
    let ours = frame::encode(Kind::Hello(ours), HELLO_BYTES_MAX)?;
    streams::write(&mut opened.control.send, ours).await?;
    let mut accepted = streams::accept(connection, progress).await?;
    let Kind::Hello(hello) = accepted.control.frames.next(HELLO_BYTES_MAX).await? else {
        return Err(FrameError::Misplaced.into());
    };
    let checked = hello::check(&hello, &peer.node)?;
    said.clone_from(&hello);
    // The operator may have removed the peer while its Hello was on the way.
    if shared.book.by_spki(&peer.spki).is_none_or(|now| now.node != peer.node) {
        return Err(Closed::by_us(CloseCode::Removed, ""));
    }
    let (sender, queues) = SessionSender::new(checked.envelope_bytes_max);
    let claim = Claim {
        instance: checked.instance,
        boot: checked.boot,
        dialled_by_smaller: dialled_by_us == (local.node < peer.node),
    };
    let core = Arc::new(SessionCore {
        id,
        peer: peer.node.clone(),
        spki: peer.spki.clone(),
        claim,
        dialled_by_us,
        key_exchange: key_exchange::name(peer.group),
        connection: connection.clone(),
        sender,
        pings: Pings::default(),
        places: Places::default(),
        progress,
        settled: AtomicU64::new(0),
        cause: OnceLock::new(),
        ended: CancellationToken::new(),
    });
    shared.registry.refuse_duplicate(&core)?;
    let mut streams = Streams { opened, accepted };
    let early = confirm(&mut streams).await?;
    shared.registry.settle(&core, begun)?;
    // A peer that was removed between the check above and settling is not missed.
    shared.registry.recheck(&*shared.book);
    Ok(Established { core, hello, streams, queues, early })
}

/// Sends a Ping and waits for its answer: a peer answers only after it has taken our Hello. It may
/// already use its session before its answer comes; what it sends is kept.
async fn confirm(streams: &mut Streams) -> Result<Vec<Incoming>, Closed> {
    let (opened, accepted) = (&mut streams.opened.control, &mut streams.accepted.control);
    let ping = frame::encode(Kind::Ping(v1::Ping { nonce: CONFIRM_NONCE }), HELLO_BYTES_MAX)?;
    streams::write(&mut opened.send, ping).await?;
    let mut early = Vec::new();
    let max = limits::CONTROL_BYTES_MAX;
    // The peer's own frames are left in their stream once they are no longer pings.
    let mut reads_forward = true;
    while early.len() < EARLY_MAX {
        let (direction, kind) = tokio::select! {
            biased;
            kind = opened.frames.next(max) => (Direction::Reverse, kind?),
            kind = accepted.frames.next(max), if reads_forward => (Direction::Forward, kind?),
        };
        match kind {
            Kind::Pong(v1::Pong { nonce: CONFIRM_NONCE }) if direction == Direction::Reverse => {
                return Ok(early);
            }
            Kind::Ping(v1::Ping { nonce }) if direction == Direction::Forward => {
                let pong = Kind::Pong(v1::Pong { nonce });
                let pong = frame::encode(pong, Lane::Control.frame_bytes_max(direction))?;
                streams::write(&mut accepted.send, pong).await?;
            }
            kind => {
                early.push(streams::on_control(direction, kind)?);
                reads_forward &= direction == Direction::Reverse;
            }
        }
    }
    Err(Closed::by_us(CloseCode::Malformed, "too much before the first pong"))
}

/// Offers that wait for the relay; QUIC allows a peer no more streams.
const ATTACHMENTS_MAX: usize = 4;

/// Pings of a running session count from 1.
const CONFIRM_NONCE: u64 = u64::MAX;

/// Ends that are the peer's fault.
const FAULTS: [CloseCode; 3] = [CloseCode::Malformed, CloseCode::TooLarge, CloseCode::Slow];
