//! How many callers a listener serves at once, and how soon each must say who it is.
//!
//! Descriptors are the whole node's: callers that connect and say nothing must not take what the
//! store needs. One caller cannot take all places either. Invariant: a place is given back when its
//! connection goes.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::{Instant, Sleep, sleep},
};
use tokio_stream::Stream;
use tonic::transport::server::Connected;
use tracing::warn;

/// What a listener bears.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at once.
    pub all: usize,
    /// Of them, of one caller.
    pub each: usize,
    /// Until it has said what every client of HTTP/2 or TLS begins with.
    pub beginning: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { all: 256, each: 192, beginning: Duration::from_secs(10) }
    }
}

/// Who is at the other end, as far as it can be told before a byte was read.
pub(super) trait Whose {
    fn whose(&self) -> String;
}

impl Whose for UnixStream {
    fn whose(&self) -> String {
        self.peer_cred().map_or_else(|_| String::new(), |user| format!("uid {}", user.uid()))
    }
}

impl Whose for TcpStream {
    fn whose(&self) -> String {
        self.peer_addr().map_or_else(|_| String::new(), |address| address.ip().to_string())
    }
}

/// Connections of a listener that are within its limits; others are closed at once.
pub(super) struct Admitted<L> {
    incoming: L,
    limits: Limits,
    places: Arc<Places>,
    /// When somebody was last told in the log to have been sent away.
    told: Option<Instant>,
}

impl<L> Admitted<L> {
    pub(super) fn new(incoming: L, limits: Limits) -> Self {
        Self { incoming, limits, places: Arc::default(), told: None }
    }

    fn refused(&mut self, who: &str) {
        if self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            self.told = Some(Instant::now());
            warn!(
                who,
                limit = self.limits.all,
                each = self.limits.each,
                "too many API connections"
            );
        }
    }
}

impl<L, S> Stream for Admitted<L>
where
    L: Stream<Item = io::Result<S>> + Unpin,
    S: Whose,
{
    type Item = io::Result<Caller<S>>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let stream = match ready!(Pin::new(&mut this.incoming).poll_next(context)) {
                Some(Ok(stream)) => stream,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            };
            let who = stream.whose();
            match Place::take(&this.places, &who, this.limits) {
                Some(place) => {
                    let caller = Caller::new(stream, place, this.limits.beginning);
                    return Poll::Ready(Some(Ok(caller)));
                }
                None => this.refused(&who),
            }
        }
    }
}

/// Connections by whose they are.
#[derive(Debug, Default)]
struct Places(Mutex<BTreeMap<String, usize>>);

/// One connection among them.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    who: String,
}

impl Place {
    fn take(places: &Arc<Places>, who: &str, limits: Limits) -> Option<Self> {
        let mut taken = places.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(who).copied().unwrap_or(0);
        if own >= limits.each || taken.values().sum::<usize>() >= limits.all {
            return None;
        }
        taken.insert(who.to_owned(), own + 1);
        Some(Self { places: Arc::clone(places), who: who.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.who) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.who);
            }
        }
    }
}

/// A connection with its place. It ends when too little was read in time.
pub(super) struct Caller<S> {
    stream: S,
    _place: Place,
    /// Until the beginning was read.
    deadline: Option<Pin<Box<Sleep>>>,
    read: usize,
}

impl<S> Caller<S> {
    fn new(stream: S, place: Place, beginning: Duration) -> Self {
        Self { stream, _place: place, deadline: Some(Box::pin(sleep(beginning))), read: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Caller<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        let Some(deadline) = &mut this.deadline else { return polled };
        this.read += buffer.filled().len() - before;
        if this.read >= BEGINNING_BYTES {
            this.deadline = None;
        } else if polled.is_pending() && deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Caller<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl<S: Connected> Connected for Caller<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

/// The preface of HTTP/2 (RFC 9113, 3.4) has so many; a TLS record's header and what follows it at
/// least as many.
const BEGINNING_BYTES: usize = 24;
const TOLD_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio_stream::{StreamExt as _, iter};

    use super::*;

    struct Known(DuplexStream, &'static str);

    impl Whose for Known {
        fn whose(&self) -> String {
            self.1.to_owned()
        }
    }

    impl AsyncRead for Known {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(context, buffer)
        }
    }

    const LIMITS: Limits = Limits { all: 3, each: 2, beginning: Duration::from_secs(10) };

    fn callers(names: &[&'static str]) -> (Vec<DuplexStream>, Vec<io::Result<Known>>) {
        let pair = |name: &&'static str| {
            let (ours, theirs) = duplex(64);
            (theirs, Ok(Known(ours, name)))
        };
        names.iter().map(pair).unzip()
    }

    /// One caller cannot take all places, all together not more than there are; a place that is
    /// given back is another's.
    #[tokio::test]
    async fn places_are_bounded_and_come_back() {
        let (_theirs, incoming) = callers(&["a", "a", "a", "b", "c", "c", "a"]);
        let mut admitted = Admitted::new(iter(incoming), LIMITS);
        let mut standing = Vec::new();
        for expected in ["a", "a", "b"] {
            let caller = admitted.next().await.unwrap().unwrap();
            assert_eq!(caller.stream.1, expected);
            standing.push(caller);
        }
        let places = Arc::clone(&admitted.places);
        standing.remove(0);
        assert_eq!(admitted.next().await.unwrap().unwrap().stream.1, "c");
        standing.clear();
        assert_eq!(places.0.lock().unwrap().len(), 0);
    }

    /// Who says nothing, or less than every client begins with, is cut off; who began stays.
    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_goes() {
        let (mut theirs, incoming) = callers(&["a", "a", "b"]);
        let mut admitted = Admitted::new(iter(incoming), LIMITS);
        theirs[1].write_all(b"PRI").await.unwrap();
        theirs[2].write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut buffer = [0; BEGINNING_BYTES];
        for _ in 0..2 {
            let mut caller = admitted.next().await.unwrap().unwrap();
            let error = caller.read_exact(&mut buffer).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        let mut caller = admitted.next().await.unwrap().unwrap();
        caller.read_exact(&mut buffer).await.unwrap();
        let more = tokio::time::timeout(Duration::from_secs(60), caller.read_u8()).await;
        assert!(more.is_err(), "still open");
    }
}
