//! Frames on a stream: length (u32, big endian), then the canonical encoding of a `Frame`.
//!
//! Enter through [`encode`] and [`FrameReader`]. Invariant: no length that a peer states costs
//! memory: it is checked first, and the buffer grows only as bytes come.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use quinn::{ConnectionError, ReadError, RecvStream};
use relay_proto::{
    scan::{self, ScanError, schema},
    v1::{self, frame::Kind},
};
use tokio::time::Instant;

use super::close::{CloseCode, Closed};

/// The bytes of one frame with its length; one allocation, encoded once.
pub(super) fn encode(kind: Kind, max: usize) -> Result<Bytes, FrameError> {
    let frame = v1::Frame { kind: Some(kind) };
    let length = frame.encoded_len();
    let prefix = u32::try_from(length).ok().filter(|_| length <= max);
    let prefix = prefix.ok_or(FrameError::TooLarge { got: length, max })?;
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u32(prefix);
    frame.encode_raw(&mut bytes);
    Ok(bytes.freeze())
}

/// Reads frames from one stream. [`FrameReader::next`] may be dropped at any await and called
/// again.
pub(super) struct FrameReader {
    stream: RecvStream,
    /// Length of the frame that is being read, once known.
    length: Option<usize>,
    buffer: BytesMut,
    /// When the half-received frame has to have moved on.
    deadline: Option<Instant>,
    /// Bytes since the deadline was set.
    progress: usize,
    progress_deadline: Duration,
}

impl FrameReader {
    pub(super) fn new(stream: RecvStream, progress_deadline: Duration) -> Self {
        Self {
            stream,
            length: None,
            buffer: BytesMut::new(),
            deadline: None,
            progress: 0,
            progress_deadline,
        }
    }

    /// The next frame of at most `max` bytes. Between frames it waits without limit.
    pub(super) async fn next(&mut self, max: usize) -> Result<Kind, FrameError> {
        loop {
            if let Some(bytes) = self.take_whole(max)? {
                return decode(bytes, max);
            }
            let wanted = self.length.unwrap_or(PREFIX).saturating_sub(self.buffer.len());
            let read = self.stream.read_chunk(wanted, true);
            let chunk = match self.deadline {
                None => read.await,
                Some(deadline) => {
                    tokio::time::timeout_at(deadline, read).await.map_err(|_| FrameError::Slow)?
                }
            };
            match chunk? {
                Some(chunk) => self.took(&chunk.bytes),
                None if self.deadline.is_some() => return Err(FrameError::Truncated),
                None => return Err(FrameError::Finished),
            }
        }
    }

    /// Tells the peer that nothing more of this stream is read.
    pub(super) fn stop(&mut self) {
        let _ = self.stream.stop(quinn::VarInt::from_u32(0));
    }

    fn took(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        self.progress += bytes.len();
        // A peer that drips single bytes does not move the deadline on.
        if self.deadline.is_none() || self.progress >= PROGRESS_STEP {
            self.deadline = Some(Instant::now() + self.progress_deadline);
            self.progress = 0;
        }
    }

    /// Takes the prefix, then the frame, out of the buffer as soon as they are complete.
    fn take_whole(&mut self, max: usize) -> Result<Option<Bytes>, FrameError> {
        if self.length.is_none() {
            let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else { return Ok(None) };
            let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
            if length > max {
                return Err(FrameError::TooLarge { got: length, max });
            }
            if length == 0 {
                return Err(FrameError::Empty);
            }
            self.length = Some(length);
            self.buffer.clear();
        }
        if self.length != Some(self.buffer.len()) {
            return Ok(None);
        }
        self.length = None;
        self.deadline = None;
        self.progress = 0;
        Ok(Some(std::mem::take(&mut self.buffer).freeze()))
    }
}

/// Why a stream gives no more frames.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// Longer than this place allows; also of our own frames.
    #[error("frame of {got} bytes, {max} allowed")]
    TooLarge { got: usize, max: usize },
    /// Length zero, or a frame without a kind.
    #[error("empty frame")]
    Empty,
    /// The stream ended inside a frame.
    #[error("stream ended inside a frame")]
    Truncated,
    /// The stream ended between frames; lanes stay open as long as the session.
    #[error("stream ended")]
    Finished,
    /// Half a frame, and nothing more.
    #[error("half a frame without progress")]
    Slow,
    /// Not the canonical encoding of a frame.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A known frame in the wrong place.
    #[error("frame in the wrong place")]
    Misplaced,
    /// The connection is gone.
    #[error(transparent)]
    Lost(#[from] ConnectionError),
    /// The stream was reset or stopped.
    #[error("stream was reset")]
    Reset,
}

impl From<ReadError> for FrameError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(error) => Self::Lost(error),
            _ => Self::Reset,
        }
    }
}

impl From<FrameError> for Closed {
    fn from(error: FrameError) -> Self {
        let code = match &error {
            FrameError::Lost(lost) => return lost.clone().into(),
            FrameError::TooLarge { .. } | FrameError::Scan(ScanError::TooLarge { .. }) => {
                CloseCode::TooLarge
            }
            FrameError::Slow => CloseCode::Slow,
            _ => CloseCode::Malformed,
        };
        Self::by_us(code, error.to_string())
    }
}

/// One frame without its length.
pub(super) fn decode(bytes: Bytes, max: usize) -> Result<Kind, FrameError> {
    let frame: v1::Frame = scan::decode(&bytes, &schema::FRAME, max)?;
    frame.kind.ok_or(FrameError::Empty)
}

/// Bytes of the length.
pub(super) const PREFIX: usize = 4;

/// A slow frame has to bring this much before each deadline, or its end.
const PROGRESS_STEP: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// What is encoded decodes; one byte over the limit is refused before anything is sent.
    #[test]
    fn frames_round_trip_up_to_the_limit() {
        let ping = Kind::Ping(v1::Ping { nonce: 7 });
        let bytes = encode(ping.clone(), 4).unwrap();
        assert_eq!(bytes.as_ref(), &[0, 0, 0, 4, 0x6a, 2, 8, 7]);
        assert_eq!(decode(bytes.slice(PREFIX..), 4).unwrap(), ping);
        assert!(matches!(encode(ping, 3), Err(FrameError::TooLarge { got: 4, max: 3 })));
    }

    proptest! {
        /// No bytes make the decoder panic, and what it takes is what we would have sent.
        #[test]
        fn any_bytes_are_refused_or_canonical(bytes in vec(any::<u8>(), 0..48)) {
            let bytes = Bytes::from(bytes);
            if let Ok(kind) = decode(bytes.clone(), 64) {
                prop_assert_eq!(encode(kind, 64).unwrap().slice(PREFIX..), bytes);
            }
        }
    }
}
