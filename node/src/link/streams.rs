//! The eight streams of a session and the tasks that read and write them.
//!
//! Enter through [`open`], [`accept`] and [`run`]. Each half of each stream has a task of its own.
//! Invariant: a task that ends, for whatever reason, ends the session; nothing is left half alive.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use quinn::{Connection, SendStream, WriteError};
use relay_proto::{
    ids::NodeId,
    limits,
    v1::{self, frame::Kind},
};
use tokio::sync::{Semaphore, mpsc};

use super::{
    attachments::IncomingAttachment,
    close::{CloseCode, Closed},
    frame::{self, FrameError, FrameReader},
    hello::{self, HELLO_BYTES_MAX, OPEN_BYTES_MAX},
    lane::{Direction, Lane, Lanes},
    session::{Arrivals, Incoming, Queues, Room, SessionCore},
};
use crate::tasks::{TaskKind, Tasks};

/// Both halves of one stream.
pub(super) struct Stream {
    pub(super) send: SendStream,
    pub(super) frames: FrameReader,
}

/// All streams of a session.
pub(super) struct Streams {
    /// Those that we opened: we send forward and read answers.
    pub(super) opened: Lanes<Stream>,
    /// Those that the peer opened: we read and send answers.
    pub(super) accepted: Lanes<Stream>,
}

/// Opens our four streams, each beginning with `Open`.
pub(super) async fn open(
    connection: &Connection,
    progress: Duration,
) -> Result<Lanes<Stream>, Closed> {
    let mut opened = Lanes::<Option<Stream>>::default();
    for lane in Lane::ALL {
        let (send, receive) = connection.open_bi().await?;
        let mut stream = Stream { send, frames: FrameReader::new(receive, progress) };
        let _ = stream.send.set_priority(lane.priority());
        let open = Kind::Open(v1::Open { lane: lane.to_wire().into() });
        write(&mut stream.send, frame::encode(open, OPEN_BYTES_MAX)?).await?;
        *opened.of_mut(lane) = Some(stream);
    }
    all(opened)
}

/// Takes the peer's four streams, in any order.
pub(super) async fn accept(
    connection: &Connection,
    progress: Duration,
) -> Result<Lanes<Stream>, Closed> {
    let mut accepted = Lanes::<Option<Stream>>::default();
    for _ in Lane::ALL {
        let (send, receive) = connection.accept_bi().await?;
        let mut stream = Stream { send, frames: FrameReader::new(receive, progress) };
        let lane = opened(&stream.frames.next(OPEN_BYTES_MAX).await?)?;
        let _ = stream.send.set_priority(lane.priority());
        if accepted.of_mut(lane).replace(stream).is_some() {
            return Err(Closed::by_us(CloseCode::Malformed, "a lane was opened twice"));
        }
    }
    all(accepted)
}

/// The lane of an `Open`.
fn opened(kind: &Kind) -> Result<Lane, FrameError> {
    let Kind::Open(open) = kind else { return Err(FrameError::Misplaced) };
    let lane = v1::Lane::try_from(open.lane).ok().and_then(Lane::from_wire);
    lane.ok_or(FrameError::Misplaced)
}

/// What a session makes of the bytes of a frame, its length taken off: in its `place` once the
/// session is up; before, of an `Open` or the Hello of `peer`. For trying the parsers without a
/// connection.
pub fn read_frame(
    bytes: &Bytes,
    place: Option<(Lane, Direction)>,
    peer: &NodeId,
) -> Result<Kind, Closed> {
    let max = place.map_or(HELLO_BYTES_MAX, |(lane, direction)| lane.frame_bytes_max(direction));
    let kind = frame::decode(bytes.clone(), max)?;
    match (place, &kind) {
        (Some((lane, direction)), _) => return Ok(Place { lane, direction }.check(kind)?.kind),
        (None, Kind::Hello(hello)) => drop(hello::check(hello, peer)?),
        (None, _) => drop(opened(&kind)?),
    }
    Ok(kind)
}

/// Writes one frame; returns when the last byte is in the stream's window.
pub(super) async fn write(stream: &mut SendStream, frame: Bytes) -> Result<(), Closed> {
    stream.write_chunk(frame).await.map_err(|error| match error {
        WriteError::ConnectionLost(error) => error.into(),
        other => Closed::by_us(CloseCode::Malformed, other.to_string()),
    })
}

/// Starts the sixteen tasks. `early` came while the connection was being confirmed; attachments
/// that the peer offers come by `offered`.
pub(super) fn run(
    tasks: &Tasks,
    core: &Arc<SessionCore>,
    streams: Streams,
    queues: Queues,
    (early, offered): (Vec<Incoming>, mpsc::Receiver<IncomingAttachment>),
) -> Arrivals {
    let (control, control_arrivals) = mpsc::channel(CONTROL_ARRIVALS);
    for incoming in early {
        // There are fewer of them than the channel holds.
        let _ = control.try_send(incoming);
    }
    let (routine, routine_arrivals) = mpsc::channel(LANE_ARRIVALS);
    let (urgent, urgent_arrivals) = mpsc::channel(LANE_ARRIVALS);
    let (emergency, emergency_arrivals) = mpsc::channel(LANE_ARRIVALS);
    let sinks = Lanes { control: control.clone(), routine, urgent, emergency };
    let queues_forward = queues.forward.into_array();
    for ((lane, stream), (_, queue)) in streams.opened.into_array().into_iter().zip(queues_forward)
    {
        spawn_writer(tasks, core, stream.send, queue);
        let place = Place { lane, direction: Direction::Reverse };
        // Answers of all lanes go to the control channel: they free what sending waits for.
        spawn_reader(tasks, core, stream.frames, place, control.clone());
    }
    let queues_reverse = queues.reverse.into_array();
    for ((lane, stream), (_, queue)) in
        streams.accepted.into_array().into_iter().zip(queues_reverse)
    {
        spawn_writer(tasks, core, stream.send, queue);
        let place = Place { lane, direction: Direction::Forward };
        spawn_reader(tasks, core, stream.frames, place, sinks.of(lane).clone());
    }
    Arrivals {
        control: control_arrivals,
        routine: routine_arrivals,
        urgent: urgent_arrivals,
        emergency: emergency_arrivals,
        attachments: offered,
    }
}

#[derive(Clone, Copy)]
struct Place {
    lane: Lane,
    direction: Direction,
}

/// Ends the session when its task ends, also by a panic.
struct EndsSession(Arc<SessionCore>);

impl Drop for EndsSession {
    fn drop(&mut self) {
        self.0.end(Closed::by_us(CloseCode::Internal, "a task of the session ended"));
    }
}

fn spawn_writer(
    tasks: &Tasks,
    core: &Arc<SessionCore>,
    mut stream: SendStream,
    mut queue: mpsc::Receiver<Bytes>,
) {
    let guard = EndsSession(core.clone());
    tasks.spawn("link-write", TaskKind::Session, async move {
        let core = &guard.0;
        loop {
            let frame = tokio::select! {
                biased;
                () = core.ended.cancelled() => return,
                Some(frame) = queue.recv() => frame,
            };
            // One frame at a time: what waits in the queue has not yet taken the connection's
            // window.
            if let Err(closed) = write(&mut stream, frame).await {
                return core.end(closed);
            }
        }
    });
}

fn spawn_reader(
    tasks: &Tasks,
    core: &Arc<SessionCore>,
    mut frames: FrameReader,
    place: Place,
    sink: mpsc::Sender<Incoming>,
) {
    let guard = EndsSession(core.clone());
    tasks.spawn("link-read", TaskKind::Session, async move {
        let core = &guard.0;
        let room = Arc::new(Semaphore::new(ARRIVAL_BYTES));
        loop {
            let kind = tokio::select! {
                biased;
                () = core.ended.cancelled() => return,
                kind = frames.next(place.lane.frame_bytes_max(place.direction)) => kind,
            };
            let incoming = match kind.and_then(|kind| place.check(kind)) {
                Ok(incoming) => incoming,
                Err(error) => return core.end(error.into()),
            };
            let Some(mut incoming) = answer_pings(core, incoming) else { continue };
            // The smallest frame counts as well, the largest fits.
            let bytes = incoming.kind.encoded_len().clamp(ARRIVAL_BYTES_MIN, ARRIVAL_BYTES);
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            let sent = tokio::select! {
                biased;
                () = core.ended.cancelled() => return,
                sent = async {
                    let taken = Arc::clone(&room).acquire_many_owned(bytes).await;
                    incoming.room = Room(taken.ok());
                    sink.send(incoming).await
                } => sent,
            };
            if sent.is_err() {
                return core.end(Closed::by_us(CloseCode::Unwanted, ""));
            }
        }
    });
}

impl Place {
    fn check(self, kind: Kind) -> Result<Incoming, FrameError> {
        if self.lane.carries(self.direction, &kind) {
            Ok(Incoming { lane: self.lane, direction: self.direction, kind, room: Room::default() })
        } else {
            Err(FrameError::Misplaced)
        }
    }
}

/// As [`Place::check`] for frames that come before the tasks run.
pub(super) fn on_control(direction: Direction, kind: Kind) -> Result<Incoming, FrameError> {
    Place { lane: Lane::Control, direction }.check(kind)
}

/// Pings are the link's own: answered without waiting, dropped when too many come.
fn answer_pings(core: &SessionCore, incoming: Incoming) -> Option<Incoming> {
    match incoming.kind {
        Kind::Ping(v1::Ping { nonce }) => {
            let pong = Kind::Pong(v1::Pong { nonce });
            let _ = core.sender.try_reply(Lane::Control, pong);
            None
        }
        Kind::Pong(v1::Pong { nonce }) => {
            core.pings.answered(nonce);
            None
        }
        _ => Some(incoming),
    }
}

fn all(streams: Lanes<Option<Stream>>) -> Result<Lanes<Stream>, Closed> {
    let missing = || Closed::by_us(CloseCode::Malformed, "a lane is missing");
    Ok(Lanes {
        control: streams.control.ok_or_else(missing)?,
        routine: streams.routine.ok_or_else(missing)?,
        urgent: streams.urgent.ok_or_else(missing)?,
        emergency: streams.emergency.ok_or_else(missing)?,
    })
}

/// Decoded control frames that wait for the relay; each up to 256 KiB, and the early ones have to
/// fit.
const CONTROL_ARRIVALS: usize = 16;

/// Frames that may come on control while the connection is being confirmed.
pub(super) const EARLY_MAX: usize = 8;

/// Decoded envelopes that wait for the relay on one lane: what comes while it stores others is one
/// group then. Their bytes are bounded by [`ARRIVAL_BYTES`].
const LANE_ARRIVALS: usize = 128;

/// Bytes of decoded frames of one stream that the relay has not taken yet: two of the longest.
pub(super) const ARRIVAL_BYTES: usize = 2 * limits::FRAME_BYTES_MAX;

/// What a frame holds in memory at least.
const ARRIVAL_BYTES_MIN: usize = 512;
