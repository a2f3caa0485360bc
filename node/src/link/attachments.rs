//! Attachments: a stream each, opened by whoever has one to bring.
//!
//! Enter through [`AttachmentSender`] to bring one, and [`accept`] to take them. What is offered,
//! wanted and true is for the relay to say; here are places, frames and time. Invariants: streams
//! of attachments have the lowest priority of all; of one that stands still nothing but its own
//! place is taken; a frame that is malformed or misplaced ends the session, as on every stream.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use quinn::{SendStream, VarInt, WriteError};
use relay_proto::{
    envelope::Priority,
    limits,
    v1::{self, frame::Kind},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{
    close::{CloseCode, Closed},
    frame::{self, FrameError, FrameReader},
    session::SessionCore,
    settings,
};
use crate::tasks::{TaskKind, Tasks};

/// Brings attachments on a session; may be cloned and kept.
#[derive(Debug, Clone)]
pub struct AttachmentSender {
    pub(super) core: Arc<SessionCore>,
}

/// An attachment that is being brought: the peer said from where on. Dropped before its end, the
/// peer keeps what it has.
pub struct Bringing {
    stream: Outgoing,
    frames: FrameReader,
    core: Arc<SessionCore>,
    _places: Vec<OwnedSemaphorePermit>,
}

/// Why an attachment was not brought to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BringError {
    /// The session has ended, or the peer gave the stream up.
    #[error("the stream ended")]
    Ended,
    /// Nothing moved for long.
    #[error("the stream stands still")]
    Slow,
    /// The peer wants no more of it and says why: [`Bringing::answer`].
    #[error("the peer stopped it")]
    Stopped,
}

/// Half of a stream that is reset unless it was finished: quinn would finish it.
struct Outgoing {
    send: SendStream,
    finished: bool,
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.send.reset(GIVEN_UP);
        }
    }
}

impl AttachmentSender {
    /// Offers an attachment and returns the peer's first answer. Waits for a place: of three, two
    /// are open to URGENT and one to ROUTINE.
    pub async fn offer(
        &self,
        offer: v1::AttachmentOffer,
        priority: Priority,
    ) -> Result<(Bringing, v1::AttachmentAnswer), BringError> {
        let core = &self.core;
        let offered = async {
            let places = core.places.enter(priority).await.ok_or(BringError::Ended)?;
            let (send, receive) = core.connection.open_bi().await.map_err(|_| BringError::Ended)?;
            let _ = send.set_priority(stream_priority(priority));
            let frames = FrameReader::new(receive, core.progress);
            let stream = Outgoing { send, finished: false };
            let core = Arc::clone(core);
            let mut bringing = Bringing { stream, frames, core, _places: places };
            bringing.write(Kind::AttachmentOffer(offer), limits::OFFER_BYTES_MAX).await?;
            let answer = bringing.answer().await?;
            Ok((bringing, answer))
        };
        tokio::select! {
            biased;
            () = core.ended.cancelled() => Err(BringError::Ended),
            offered = offered => offered,
        }
    }
}

impl Bringing {
    /// Sends the bytes that come next.
    pub async fn chunk(&mut self, bytes: Bytes) -> Result<(), BringError> {
        let chunk = Kind::AttachmentChunk(v1::AttachmentChunk { bytes });
        self.write(chunk, limits::CHUNK_BYTES_MAX).await
    }

    /// Ends it and returns what became of it.
    pub async fn finish(mut self) -> Result<v1::AttachmentAnswer, BringError> {
        let _ = self.stream.send.finish();
        self.stream.finished = true;
        self.answer().await
    }

    /// What the peer says.
    pub async fn answer(&mut self) -> Result<v1::AttachmentAnswer, BringError> {
        let next = tokio::time::timeout(ANSWER_WAIT, self.frames.next(ANSWER_BYTES_MAX)).await;
        match next.map_err(|_| BringError::Slow)? {
            Ok(Kind::AttachmentAnswer(answer)) => Ok(answer),
            Ok(_) => Err(self.broken(FrameError::Misplaced)),
            Err(FrameError::Finished | FrameError::Reset) => Err(BringError::Ended),
            Err(error) => Err(self.broken(error)),
        }
    }

    async fn write(&mut self, kind: Kind, max: usize) -> Result<(), BringError> {
        // Our own frames fit: the pieces of a store are smaller.
        let frame = frame::encode(kind, max).map_err(|_| BringError::Ended)?;
        let written = self.stream.send.write_chunk(frame);
        match tokio::time::timeout(ANSWER_WAIT, written).await {
            Err(_) => Err(BringError::Slow),
            Ok(Err(WriteError::Stopped(_))) => Err(BringError::Stopped),
            Ok(Err(_)) => Err(BringError::Ended),
            Ok(Ok(())) => Ok(()),
        }
    }

    fn broken(&self, error: FrameError) -> BringError {
        self.core.end(error.into());
        BringError::Ended
    }
}

/// An attachment that the peer offers.
pub struct IncomingAttachment {
    /// What it says of it; nothing of that is verified.
    pub offer: v1::AttachmentOffer,
    stream: Outgoing,
    frames: FrameReader,
    core: Arc<SessionCore>,
}

impl IncomingAttachment {
    /// Says from where on it is wanted.
    pub async fn wanted(&mut self, offset: u64) -> bool {
        let state = v1::AttachmentState::Send.into();
        self.write(v1::AttachmentAnswer { state, offset, reason: String::new() }).await
    }

    /// The bytes that come next; nothing when the peer gives no more of them, for whatever reason.
    pub async fn chunk(&mut self) -> Option<Bytes> {
        let next = self.frames.next(limits::CHUNK_BYTES_MAX);
        let next = tokio::select! {
            biased;
            () = self.core.ended.cancelled() => return None,
            next = tokio::time::timeout(self.core.progress, next) => next,
        };
        match next {
            Ok(Ok(Kind::AttachmentChunk(chunk))) if !chunk.bytes.is_empty() => Some(chunk.bytes),
            Ok(Ok(_)) => self.broken(FrameError::Misplaced),
            Ok(Err(FrameError::Finished | FrameError::Reset)) => None,
            Ok(Err(error)) => self.broken(error),
            // Between two pieces: it may go on later, and keeps nothing but its own place.
            Err(_) => None,
        }
    }

    /// Says what became of it, and wants no more.
    pub async fn end(mut self, state: v1::AttachmentState, reason: String) {
        let answer = v1::AttachmentAnswer { state: state.into(), offset: 0, reason };
        if self.write(answer).await {
            let _ = self.stream.send.finish();
            self.stream.finished = true;
        }
        self.frames.stop();
    }

    async fn write(&mut self, answer: v1::AttachmentAnswer) -> bool {
        let Ok(frame) = frame::encode(Kind::AttachmentAnswer(answer), ANSWER_BYTES_MAX) else {
            return false;
        };
        let written = self.stream.send.write_chunk(frame);
        matches!(tokio::time::timeout(ANSWER_WAIT, written).await, Ok(Ok(())))
    }

    fn broken(&self, error: FrameError) -> Option<Bytes> {
        self.core.end(error.into());
        None
    }
}

impl fmt::Debug for IncomingAttachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingAttachment").field("peer", &self.core.peer).finish_non_exhaustive()
    }
}

/// Takes the streams that the peer opens beside its lanes, until the session ends.
pub(super) async fn accept(
    tasks: &Tasks,
    core: &Arc<SessionCore>,
    sink: &mpsc::Sender<IncomingAttachment>,
) -> Closed {
    loop {
        let (send, receive) = match core.connection.accept_bi().await {
            Ok(stream) => stream,
            Err(error) => return error.into(),
        };
        let _ = send.set_priority(stream_priority(Priority::Routine));
        let stream = Outgoing { send, finished: false };
        let mut frames = FrameReader::new(receive, core.progress);
        let (core, sink) = (Arc::clone(core), sink.clone());
        // QUIC bounds how many there are at once.
        tasks.spawn("link-attachment", TaskKind::Session, async move {
            let first = frames.next(limits::OFFER_BYTES_MAX);
            let first = tokio::select! {
                biased;
                () = core.ended.cancelled() => return,
                first = tokio::time::timeout(core.progress, first) => first,
            };
            let offer = match first {
                Ok(Ok(Kind::AttachmentOffer(offer))) => offer,
                Ok(Ok(_)) => return core.end(FrameError::Misplaced.into()),
                // It goes behind all lanes, so that it may have to wait for them.
                Err(_) | Ok(Err(FrameError::Reset | FrameError::Slow)) => return,
                Ok(Err(error)) => return core.end(error.into()),
            };
            let incoming = IncomingAttachment { offer, stream, frames, core: Arc::clone(&core) };
            tokio::select! {
                biased;
                () = core.ended.cancelled() => {}
                sent = sink.send(incoming) => if sent.is_err() {
                    core.end(Closed::by_us(CloseCode::Unwanted, ""));
                },
            }
        });
    }
}

/// Places of the attachments that we bring at once.
#[derive(Debug)]
pub(super) struct Places {
    routine: Arc<Semaphore>,
    urgent: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        let of = |count| Arc::new(Semaphore::new(count));
        let all = settings::ATTACHMENT_STREAMS_MAX;
        Self { routine: of(all - 2), urgent: of(all - 1), all: of(all) }
    }
}

impl Places {
    async fn enter(&self, priority: Priority) -> Option<Vec<OwnedSemaphorePermit>> {
        let wanted: &[&Arc<Semaphore>] = match priority {
            Priority::Routine => &[&self.routine, &self.urgent, &self.all],
            Priority::Urgent => &[&self.urgent, &self.all],
            Priority::Emergency => &[&self.all],
        };
        let mut places = Vec::with_capacity(wanted.len());
        for semaphore in wanted {
            places.push(Arc::clone(semaphore).acquire_owned().await.ok()?);
        }
        Some(places)
    }
}

/// Below every lane.
fn stream_priority(priority: Priority) -> i32 {
    match priority {
        Priority::Emergency => -1,
        Priority::Urgent => -2,
        Priority::Routine => -3,
    }
}

/// The stream is given up: nothing is said about the attachment.
const GIVEN_UP: VarInt = VarInt::from_u32(0);

/// A label and a number.
const ANSWER_BYTES_MAX: usize = 256;

/// How long the peer may take to answer, or to take a piece: it compares digests meanwhile.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
