//! The hostile client: QUIC connections from any address of loopback, frames written by hand, and
//! what the node answered.
//!
//! Enter through [`connect`], then [`Peer::greet`] for a session. None of the node's link code is
//! used, so that one mistake cannot hide another.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message as _;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig,
    congestion::NewRenoConfig,
};
use relay_proto::v1::{self, frame::Kind};
use tokio::sync::mpsc;

use super::{
    inject::{Injecting, Injector},
    tls::{self, Identity},
};

/// How a connection is made.
#[derive(Clone)]
pub struct How {
    /// What is shown at the door.
    pub identity: Identity,
    /// The application protocol.
    pub alpn: &'static [u8],
    /// From which address of loopback.
    pub from: [u8; 4],
    /// Frames in place of the library's own.
    pub injector: Option<Injector>,
}

impl How {
    /// Like a node, with this key.
    pub fn like_a_node(identity: &Identity) -> Self {
        let identity = identity.clone();
        Self { identity, alpn: tls::ALPN, from: [127, 0, 0, 1], injector: None }
    }

    /// The library's configuration.
    pub fn config(&self) -> ClientConfig {
        let crypto = tls::client(&self.identity, self.alpn);
        let mut config = match &self.injector {
            Some(injector) => ClientConfig::new(Arc::new(Injecting(crypto, injector.clone()))),
            None => ClientConfig::new(crypto),
        };
        let mut transport = TransportConfig::default();
        // A close that was lost on the way is told again to whoever still sends.
        transport.max_idle_timeout(None).keep_alive_interval(Some(Duration::from_secs(1)));
        if self.injector.is_some() {
            // Every packet has room, and none waits for an acknowledgement.
            let mut congestion = NewRenoConfig::default();
            congestion.initial_window(1 << 30);
            transport.pad_to_mtu(true).congestion_controller_factory(Arc::new(congestion));
        }
        config.transport_config(Arc::new(transport));
        config
    }
}

/// A connection past the client's part of TLS.
pub struct Peer {
    /// The connection.
    pub connection: Connection,
    endpoint: Endpoint,
}

/// A session that the node took.
pub struct Session {
    /// The connection.
    pub connection: Connection,
    /// Our own streams, by lane: CONTROL, ROUTINE, URGENT, EMERGENCY.
    pub forward: [SendStream; 4],
    /// Our answers on the node's streams, by lane.
    pub reverse: [SendStream; 4],
    /// What the node sends.
    pub arrivals: mpsc::Receiver<Kind>,
    _endpoint: Endpoint,
}

/// Connects; an error says how the node refused.
pub async fn connect(how: &How, to: SocketAddr) -> Result<Peer, String> {
    let mut endpoint = Endpoint::client((how.from, 0).into()).map_err(|e| e.to_string())?;
    endpoint.set_default_client_config(how.config());
    let connecting = endpoint.connect(to, "relay.invalid").map_err(|e| e.to_string())?;
    let connection = tokio::time::timeout(PATIENCE, connecting).await;
    let connection = connection.map_err(|_| "no answer".to_owned())?;
    Ok(Peer { connection: connection.map_err(|e| ended(&e))?, endpoint })
}

impl Peer {
    /// Opens the four lanes; on each the first frame is `Open`.
    pub async fn open(&self) -> Result<Vec<(SendStream, RecvStream)>, String> {
        let mut streams = Vec::new();
        for lane in 1..=4 {
            let (mut send, receive) = self.connection.open_bi().await.map_err(|e| ended(&e))?;
            self.write(&mut send, &frame(Kind::Open(v1::Open { lane }))).await?;
            streams.push((send, receive));
        }
        Ok(streams)
    }

    /// Says hello and confirms, as a node does.
    pub async fn greet(self, hello: v1::Hello) -> Result<Session, String> {
        let session = tokio::time::timeout(PATIENCE, self.take_part(hello)).await;
        session.unwrap_or_else(|_| Err("no session in time".to_owned()))
    }

    async fn take_part(self, hello: v1::Hello) -> Result<Session, String> {
        let mut opened = self.open().await?;
        let (control, _) = opened.first_mut().ok_or("no lane")?;
        self.write(control, &frame(Kind::Hello(hello))).await?;
        let mut accepted = Vec::new();
        for _ in 0..4 {
            let (send, mut receive) =
                self.connection.accept_bi().await.map_err(|error| ended(&error))?;
            let Kind::Open(open) = self.read(&mut receive).await? else {
                return Err("no Open".to_owned());
            };
            accepted.push((open.lane, send, receive));
        }
        accepted.sort_by_key(|(lane, ..)| *lane);
        let (_, answers, theirs) = accepted.first_mut().ok_or("no lane")?;
        let Kind::Hello(_) = self.read(theirs).await? else { return Err("no Hello".to_owned()) };
        let (control, pongs) = opened.first_mut().ok_or("no lane")?;
        self.write(control, &frame(Kind::Ping(v1::Ping { nonce: 1 }))).await?;
        let Kind::Ping(v1::Ping { nonce }) = self.read(theirs).await? else {
            return Err("no Ping".to_owned());
        };
        self.write(answers, &frame(Kind::Pong(v1::Pong { nonce }))).await?;
        let Kind::Pong(_) = self.read(pongs).await? else { return Err("no Pong".to_owned()) };
        self.session(opened, accepted)
    }

    fn session(
        self,
        opened: Vec<(SendStream, RecvStream)>,
        accepted: Vec<(i32, SendStream, RecvStream)>,
    ) -> Result<Session, String> {
        let (heard, arrivals) = mpsc::channel(ARRIVALS);
        let (mut forward, mut reverse) = (Vec::new(), Vec::new());
        for (send, receive) in opened {
            forward.push(send);
            tokio::spawn(listen(receive, heard.clone()));
        }
        for (_, send, receive) in accepted {
            reverse.push(send);
            tokio::spawn(listen(receive, heard.clone()));
        }
        let four = |streams: Vec<_>| streams.try_into().map_err(|_| "not four lanes".to_owned());
        Ok(Session {
            connection: self.connection,
            forward: four(forward)?,
            reverse: four(reverse)?,
            arrivals,
            _endpoint: self.endpoint,
        })
    }

    /// How the node ended it.
    pub async fn closed(&self) -> String {
        closed(&self.connection).await
    }

    /// Writes; an error says how the node ended the connection.
    async fn write(&self, stream: &mut SendStream, bytes: &[u8]) -> Result<(), String> {
        match stream.write_all(bytes).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.closed().await),
        }
    }

    async fn read(&self, stream: &mut RecvStream) -> Result<Kind, String> {
        match read(stream).await {
            Some(kind) => Ok(kind),
            None => Err(self.closed().await),
        }
    }
}

impl Session {
    /// Sends a frame on one of our own streams.
    pub async fn send(&mut self, lane: usize, kind: Kind) -> Result<(), String> {
        self.send_bytes(lane, &frame(kind)).await
    }

    /// Sends bytes that need not be a frame.
    pub async fn send_bytes(&mut self, lane: usize, bytes: &[u8]) -> Result<(), String> {
        let stream = self.forward.get_mut(lane).ok_or("no such lane")?;
        match tokio::time::timeout(PATIENCE, stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(closed(&self.connection).await),
            Err(_) => Err("the node does not read".to_owned()),
        }
    }

    /// Ends it as a node that stops would.
    pub fn close(&self) {
        self.connection.close(0x1000u32.into(), b"node is stopping");
    }

    /// The next frame that `wanted` takes; others are passed over.
    pub async fn next<T>(&mut self, wanted: impl Fn(Kind) -> Option<T>) -> Result<T, String> {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let kind = self.arrivals.recv().await?;
                if let Some(found) = wanted(kind) {
                    return Some(found);
                }
            }
        });
        match found.await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(closed(&self.connection).await),
            Err(_) => Err("the frame does not come".to_owned()),
        }
    }
}

/// How the other side ended a connection.
pub async fn closed(connection: &Connection) -> String {
    let closed = tokio::time::timeout(PATIENCE, connection.closed()).await;
    closed.map_or_else(|_| "still open".to_owned(), |error| ended(&error))
}

/// The bytes of a frame with its length.
pub fn frame(kind: Kind) -> Vec<u8> {
    raw_frame(&v1::Frame { kind: Some(kind) }.encode_to_vec())
}

/// A length, and these bytes.
pub fn raw_frame(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a short frame");
    [&length.to_be_bytes()[..], bytes].concat()
}

async fn listen(mut stream: RecvStream, heard: mpsc::Sender<Kind>) {
    while let Some(kind) = read(&mut stream).await {
        if heard.send(kind).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut RecvStream) -> Option<Kind> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.ok()?;
    let mut bytes = vec![0; usize::try_from(u32::from_be_bytes(length)).ok()?];
    stream.read_exact(&mut bytes).await.ok()?;
    v1::Frame::decode(Bytes::from(bytes)).ok()?.kind
}

/// A connection's end in a few words: an application's code, a TLS alert, or QUIC's own code.
pub fn ended(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            format!("{:#06x}", close.error_code.into_inner())
        }
        ConnectionError::ConnectionClosed(close) => {
            let code = u64::from(close.error_code);
            match code.checked_sub(0x100) {
                Some(alert) if alert < 0x100 => format!("TLS alert {alert}"),
                _ => format!("QUIC {code:#x}"),
            }
        }
        ConnectionError::TransportError(error) => format!("ours: {error}"),
        ConnectionError::Reset => super::report::RESET.to_owned(),
        ConnectionError::TimedOut => "timed out".to_owned(),
        ConnectionError::VersionMismatch => "no common QUIC version".to_owned(),
        other => other.to_string(),
    }
}

/// Longer than any deadline of the attacked node.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Frames that wait for the scenario.
const ARRIVALS: usize = 65_536;
