//! A session: what the relay holds of one live connection to a peer's node.
//!
//! Enter through [`Session`]; the relay takes it apart and serves `arrivals` and `sender` in tasks
//! of its own. Invariant: a session ends once, with one cause, and closing the connection comes
//! before anything is dropped, so that a peer never takes our end for a cut stream.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use quinn::Connection;
use relay_proto::{
    ids::NodeId,
    v1::{self, frame::Kind},
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    arbitrate::Claim,
    attachments::{AttachmentSender, IncomingAttachment, Places},
    close::{CloseCode, Closed},
    frame::{self, FrameError},
    lane::{Direction, Lane, Lanes},
    settings,
};

/// Names one session of this run; later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub(super) u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A live session. With one of its arrivals dropped it ends at the next frame for that channel.
#[derive(Debug)]
pub struct Session {
    /// The peer's Hello, checked against the pinned key.
    pub hello: v1::Hello,
    /// What comes from the peer.
    pub arrivals: Arrivals,
    pub(super) core: Arc<SessionCore>,
}

impl Session {
    /// Names this session in events.
    pub fn id(&self) -> SessionId {
        self.core.id
    }

    /// The node whose key was pinned.
    pub fn peer(&self) -> &NodeId {
        &self.core.peer
    }

    /// Its place in the order in which sessions settled. Of two of one node the later one stands,
    /// in whatever order they are told: each is told by a task of its own.
    pub fn settled(&self) -> u64 {
        self.core.settled.load(Ordering::Acquire)
    }

    /// Whether this node dialled.
    pub fn dialled_by_us(&self) -> bool {
        self.core.dialled_by_us
    }

    /// The negotiated key exchange group, `X25519MLKEM768` unless the peer is old.
    pub fn key_exchange(&self) -> &'static str {
        self.core.key_exchange
    }

    /// The transport's present estimate of the round trip.
    pub fn rtt(&self) -> Duration {
        self.core.connection.rtt()
    }

    /// For sending; may be cloned and kept.
    pub fn sender(&self) -> SessionSender {
        self.core.sender.clone()
    }

    /// For bringing attachments; may be cloned and kept.
    pub fn attachments(&self) -> AttachmentSender {
        AttachmentSender { core: Arc::clone(&self.core) }
    }

    /// Ends the session; frames that are queued may be lost.
    pub fn close(&self, code: CloseCode, text: &str) {
        self.core.end(Closed::by_us(code, text));
    }

    /// Cancelled when the session has ended.
    pub fn ended(&self) -> CancellationToken {
        self.core.ended.clone()
    }
}

/// What comes from the peer, by lane, so that a full inbox for ROUTINE stops nothing else.
///
/// The control channel carries receipts, proofs and all answers. Whoever reads it must not wait for
/// anything that sending waits for.
#[derive(Debug)]
pub struct Arrivals {
    /// Of the control lane, and the reverse sides of all lanes.
    pub control: mpsc::Receiver<Incoming>,
    /// Envelopes of priority ROUTINE.
    pub routine: mpsc::Receiver<Incoming>,
    /// Envelopes of priority URGENT.
    pub urgent: mpsc::Receiver<Incoming>,
    /// Envelopes of priority EMERGENCY.
    pub emergency: mpsc::Receiver<Incoming>,
    /// Attachments that the peer offers.
    pub attachments: mpsc::Receiver<IncomingAttachment>,
}

impl Arrivals {
    /// The next of all, EMERGENCY first; nothing when the session has ended. For simple readers and
    /// tests.
    pub async fn recv(&mut self) -> Option<Incoming> {
        tokio::select! {
            biased;
            Some(incoming) = self.emergency.recv() => Some(incoming),
            Some(incoming) = self.control.recv() => Some(incoming),
            Some(incoming) = self.urgent.recv() => Some(incoming),
            Some(incoming) = self.routine.recv() => Some(incoming),
            else => None,
        }
    }
}

/// A frame that arrived, decoded and in its right place.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// On which lane's stream.
    pub lane: Lane,
    /// `Forward`: of a stream that the peer opened; `Reverse`: an answer on one of ours.
    pub direction: Direction,
    /// The frame.
    pub kind: Kind,
    /// What it takes of the room of its lane until it is dropped.
    pub room: Room,
}

/// A place in what a lane may hold unread; a copy takes none.
#[derive(Debug, Default)]
pub struct Room(
    #[expect(dead_code, reason = "held, not read")] pub(super) Option<OwnedSemaphorePermit>,
);

impl Clone for Room {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl PartialEq for Room {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Sends frames; each lane has a bounded queue of encoded frames and a task of its own.
#[derive(Debug, Clone)]
pub struct SessionSender {
    forward: Lanes<mpsc::Sender<Bytes>>,
    reverse: Lanes<mpsc::Sender<Bytes>>,
    /// The lesser of our limit and the one that the peer stated.
    envelope_bytes_max: usize,
}

impl SessionSender {
    pub(super) fn new(envelope_bytes_max: usize) -> (Self, Queues) {
        let (forward, forward_queues) = channels(|lane| match lane {
            Lane::Control => settings::CONTROL_QUEUE,
            _ => settings::LANE_QUEUE,
        });
        let (reverse, reverse_queues) = channels(|_| settings::REVERSE_QUEUE);
        let sender = Self { forward, reverse, envelope_bytes_max };
        (sender, Queues { forward: forward_queues, reverse: reverse_queues })
    }

    /// Sends on our own stream of a lane; waits while its queue is full.
    pub async fn send(&self, lane: Lane, kind: Kind) -> Result<(), SendError> {
        let bytes = self.encode(lane, Direction::Forward, kind)?;
        self.forward.of(lane).send(bytes).await.map_err(|_| SendError::Ended)
    }

    /// Answers on the stream that the peer opened; waits while its queue is full.
    pub async fn reply(&self, lane: Lane, kind: Kind) -> Result<(), SendError> {
        let bytes = self.encode(lane, Direction::Reverse, kind)?;
        self.reverse.of(lane).send(bytes).await.map_err(|_| SendError::Ended)
    }

    /// As [`SessionSender::send`], but does not wait.
    pub fn try_send(&self, lane: Lane, kind: Kind) -> Result<(), SendError> {
        let bytes = self.encode(lane, Direction::Forward, kind)?;
        self.forward.of(lane).try_send(bytes).map_err(SendError::from)
    }

    /// As [`SessionSender::reply`], but does not wait.
    pub fn try_reply(&self, lane: Lane, kind: Kind) -> Result<(), SendError> {
        let bytes = self.encode(lane, Direction::Reverse, kind)?;
        self.reverse.of(lane).try_send(bytes).map_err(SendError::from)
    }

    fn encode(&self, lane: Lane, direction: Direction, kind: Kind) -> Result<Bytes, SendError> {
        if !lane.carries(direction, &kind) {
            return Err(SendError::Misplaced);
        }
        let max = lane.frame_bytes_max(direction);
        let max = if lane == Lane::Control { max } else { max.min(self.envelope_bytes_max) };
        frame::encode(kind, max).map_err(|error| match error {
            FrameError::TooLarge { got, max } => SendError::TooLarge { got, max },
            _ => SendError::Misplaced,
        })
    }
}

/// Why a frame was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The session has ended.
    #[error("session has ended")]
    Ended,
    /// The lane's queue is full; only from the calls that do not wait.
    #[error("queue of the lane is full")]
    Full,
    /// Longer than the peer takes.
    #[error("frame of {got} bytes, {max} allowed")]
    TooLarge {
        /// Its length.
        got: usize,
        /// The limit.
        max: usize,
    },
    /// This kind of frame does not travel there.
    #[error("frame in the wrong place")]
    Misplaced,
}

impl From<mpsc::error::TrySendError<Bytes>> for SendError {
    fn from(error: mpsc::error::TrySendError<Bytes>) -> Self {
        match error {
            mpsc::error::TrySendError::Full(_) => Self::Full,
            mpsc::error::TrySendError::Closed(_) => Self::Ended,
        }
    }
}

/// Why a ping has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PingError {
    /// No session with that unit.
    #[error("no session")]
    NoSession,
    /// Too many pings wait, or the control lane is full.
    #[error("busy")]
    Busy,
    /// The session ended before the answer.
    #[error("session has ended")]
    Ended,
    /// The peer lives, but its control task, or ours, is too busy to answer.
    #[error("no answer in time")]
    NoAnswer,
}

/// The other ends of a [`SessionSender`]'s queues.
pub(super) struct Queues {
    pub(super) forward: Lanes<mpsc::Receiver<Bytes>>,
    pub(super) reverse: Lanes<mpsc::Receiver<Bytes>>,
}

/// What tasks, registry and the relay share of one session.
pub(super) struct SessionCore {
    pub(super) id: SessionId,
    pub(super) peer: NodeId,
    pub(super) spki: Vec<u8>,
    pub(super) claim: Claim,
    pub(super) dialled_by_us: bool,
    pub(super) key_exchange: &'static str,
    pub(super) connection: Connection,
    pub(super) sender: SessionSender,
    pub(super) pings: Pings,
    /// Places of the attachments that we bring.
    pub(super) places: Places,
    /// For half a frame to come on.
    pub(super) progress: Duration,
    /// Its place among all that became a session, from 1; 0 before.
    pub(super) settled: AtomicU64,
    /// Set once, by the first who ends the session.
    pub(super) cause: OnceLock<Closed>,
    pub(super) ended: CancellationToken,
}

impl SessionCore {
    /// Ends the session; only the first cause counts.
    pub(super) fn end(&self, closed: Closed) {
        let closed = self.cause.get_or_init(|| closed);
        // Streams are dropped by tasks that see the token, and dropping one ends it for the peer:
        // so first this.
        closed.code.close(&self.connection, &closed.text);
        self.ended.cancel();
    }

    pub(super) fn is_live(&self) -> bool {
        !self.ended.is_cancelled() && self.connection.close_reason().is_none()
    }

    /// The round trip of one ping through both sides' control tasks.
    pub(super) async fn ping(&self) -> Result<Duration, PingError> {
        let start = Instant::now();
        let (nonce, answer) = self.pings.next().ok_or(PingError::Busy)?;
        let ping = Kind::Ping(v1::Ping { nonce });
        let result = match self.sender.try_send(Lane::Control, ping) {
            Ok(()) => tokio::select! {
                biased;
                answer = answer => answer.map_err(|_| PingError::Ended),
                () = self.ended.cancelled() => Err(PingError::Ended),
                () = tokio::time::sleep(settings::PING_WAIT) => Err(PingError::NoAnswer),
            },
            Err(SendError::Full) => Err(PingError::Busy),
            Err(_) => Err(PingError::Ended),
        };
        self.pings.answered(nonce);
        result.map(|()| start.elapsed())
    }
}

impl fmt::Debug for SessionCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).field("peer", &self.peer).finish()
    }
}

/// Pings of our own that wait for their answer.
#[derive(Default)]
pub(super) struct Pings {
    last: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<()>>>,
}

impl Pings {
    fn next(&self) -> Option<(u64, oneshot::Receiver<()>)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // A ping that was given up leaves its entry behind; those are cleared here.
        waiting.retain(|_, answer| !answer.is_closed());
        if waiting.len() >= settings::PINGS_MAX {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        let nonce = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        waiting.insert(nonce, answer);
        Some((nonce, answered))
    }

    /// An answer that nobody waits for is no fault.
    pub(super) fn answered(&self, nonce: u64) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = waiting.remove(&nonce) {
            let _ = answer.send(());
        }
    }
}

type Channels = (Lanes<mpsc::Sender<Bytes>>, Lanes<mpsc::Receiver<Bytes>>);

fn channels(size: impl Fn(Lane) -> usize) -> Channels {
    let [control, routine, urgent, emergency] = Lane::ALL.map(|lane| mpsc::channel(size(lane)));
    (
        Lanes { control: control.0, routine: routine.0, urgent: urgent.0, emergency: emergency.0 },
        Lanes { control: control.1, routine: routine.1, urgent: urgent.1, emergency: emergency.1 },
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Our own frames are held to place and size before they are queued; a full queue is said, not
    /// waited for.
    #[tokio::test]
    async fn own_frames_are_checked_before_they_are_queued() {
        let (sender, queues) = SessionSender::new(100);
        let have = Kind::Have(v1::Have { receipts: 1 });
        assert_eq!(sender.send(Lane::Control, have.clone()).await, Err(SendError::Misplaced));
        assert_eq!(sender.reply(Lane::Control, have).await, Ok(()));
        let void = |length| Kind::Void(v1::Void { number: 1, reason: "x".repeat(length) });
        let large = sender.send(Lane::Urgent, void(200)).await;
        assert!(matches!(large, Err(SendError::TooLarge { max: 100, .. })));
        for _ in 0..settings::LANE_QUEUE {
            assert_eq!(sender.try_send(Lane::Urgent, void(1)), Ok(()));
        }
        assert_eq!(sender.try_send(Lane::Urgent, void(1)), Err(SendError::Full));
        drop(queues);
        assert_eq!(sender.try_send(Lane::Urgent, void(1)), Err(SendError::Ended));
    }

    /// The number of pings without an answer is bounded, and given-up ones make room.
    #[test]
    fn pings_are_bounded() {
        let pings = Pings::default();
        let mut kept: Vec<_> = (0..settings::PINGS_MAX).map(|_| pings.next().unwrap()).collect();
        assert!(pings.next().is_none());
        kept.pop();
        let (nonce, mut answered) = pings.next().unwrap();
        pings.answered(nonce);
        assert!(answered.try_recv().is_ok());
        pings.answered(9999);
    }
}
