//! Scenarios over real QUIC on the loopback: this file is the rig, the modules are the themes.
//!
//! Waits are for events and conditions, each under [`PATIENCE`]; no test depends on how fast
//! anything is.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod attachments;
mod lanes;
mod sessions;
mod strangers;

use std::sync::RwLock;

use quinn::Connection;
use relay_proto::v1::frame::Kind;
use rustls::ClientConfig;

use super::{frame::encode, streams::Streams, *};

const PATIENCE: Duration = Duration::from_secs(20);

/// A book that tests change while nodes run.
#[derive(Default)]
struct Book {
    entries: RwLock<Vec<(PeerNode, Vec<u8>, String)>>,
}

impl Book {
    fn put(&self, identity: &TransportIdentity, address: String, key_exchange: KeyExchange) {
        let peer = PeerNode { node: identity.local().node.clone(), key_exchange };
        self.entries.write().unwrap().push((peer, identity.spki().to_vec(), address));
    }

    fn remove(&self, node: &str) {
        self.entries.write().unwrap().retain(|(peer, ..)| peer.node.to_string() != node);
    }
}

impl PeerBook for Book {
    fn by_spki(&self, spki: &[u8]) -> Option<PeerNode> {
        let entries = self.entries.read().unwrap();
        entries.iter().find(|(_, key, _)| key == spki).map(|(peer, ..)| peer.clone())
    }

    fn addresses(&self, unit: &UnitId) -> Vec<DialTarget> {
        let entries = self.entries.read().unwrap();
        let of_unit = entries.iter().filter(|(peer, ..)| peer.node.unit() == unit);
        let targets = of_unit.map(|(peer, key, address)| DialTarget {
            node: peer.node.clone(),
            address: address.clone(),
            spki_pins: vec![key.clone()],
            key_exchange: peer.key_exchange,
        });
        targets.filter(|target| !target.address.is_empty()).collect()
    }

    fn unit_at(&self, address: SocketAddr) -> Option<UnitId> {
        let entries = self.entries.read().unwrap();
        let mut there = entries.iter().filter(|(_, _, at)| at.parse() == Ok(address));
        there.next().map(|(peer, ..)| peer.node.unit().clone())
    }

    fn names(&self, address: IpAddr) -> bool {
        let entries = self.entries.read().unwrap();
        let stated = |text: &String| text.parse::<SocketAddr>().map(|stated| stated.ip());
        entries.iter().any(|(_, _, text)| stated(text) == Ok(address))
    }
}

struct Hellos;

impl HelloSource for Hellos {
    fn hello_for(&self, _peer: &UnitId) -> v1::Hello {
        v1::Hello { software: "relay test".to_owned(), now_ms: 5, ..Default::default() }
    }
}

/// A node's identity; `key` is also its instance.
fn identity(node: &str, key: u8, instance: u8, boot: u8) -> TransportIdentity {
    let local =
        LocalNode { node: node.parse().unwrap(), instance_id: [instance; 16], boot_id: [boot; 16] };
    TransportIdentity::from_secret(local, &[key; 32], &[key; 64]).unwrap()
}

fn settings() -> LinkSettings {
    LinkSettings { listen: Some("127.0.0.1:0".parse().unwrap()), ..Default::default() }
}

/// A running node.
struct Node {
    link: Link,
    events: mpsc::Receiver<LinkEvent>,
    tasks: Tasks,
    unit: UnitId,
}

impl Node {
    fn start(settings: LinkSettings, identity: TransportIdentity, book: &Arc<Book>) -> Self {
        let unit = identity.local().node.unit().clone();
        let tasks = Tasks::new();
        let (link, events) =
            Link::start(settings, identity, book.clone(), Arc::new(Hellos), tasks.clone()).unwrap();
        Self { link, events, tasks, unit }
    }

    /// A node that the book knows with its address.
    fn known(node: &str, key: u8, book: &Arc<Book>) -> Self {
        let identity = identity(node, key, key, 1);
        let started = Self::start(settings(), identity.clone(), book);
        let address = started.link.local_address().unwrap().to_string();
        book.put(&identity, address, KeyExchange::Prefer);
        started
    }

    async fn event(&mut self) -> LinkEvent {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("no event").unwrap()
    }

    async fn up(&mut self) -> Session {
        match self.event().await {
            LinkEvent::Up(session) => *session,
            other => panic!("{other:?}"),
        }
    }

    async fn down(&mut self) -> (SessionId, Closed) {
        match self.event().await {
            LinkEvent::Down { session, closed, .. } => (session, closed),
            other => panic!("{other:?}"),
        }
    }

    async fn dial_failed(&mut self) -> (Reason, String) {
        match self.event().await {
            LinkEvent::DialFailed { reason, text, .. } => (reason, text),
            other => panic!("{other:?}"),
        }
    }

    fn address(&self) -> SocketAddr {
        self.link.local_address().unwrap()
    }
}

/// Two nodes of a book with one session between them.
async fn pair() -> (Arc<Book>, (Node, Session), (Node, Session)) {
    let book = Arc::new(Book::default());
    let mut one = Node::known("xa.ncu/a", 1, &book);
    let mut other = Node::known("xb.ncu/a", 2, &book);
    one.link.dial(&other.unit);
    let (up, other_up) = (one.up().await, other.up().await);
    (book, (one, up), (other, other_up))
}

/// A peer in the test's own hand, past TLS.
struct Raw {
    connection: Connection,
    /// Kept alive for its connection.
    _endpoint: Endpoint,
}

impl Raw {
    /// Connects with a TLS configuration that may be wrong on purpose.
    async fn connect(config: ClientConfig, to: SocketAddr) -> Result<Self, Closed> {
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
        let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        let connection = endpoint.connect(to, tls::SERVER_NAME).unwrap().await?;
        Ok(Self { connection, _endpoint: endpoint })
    }

    fn tls(identity: &TransportIdentity, server: &TransportIdentity) -> ClientConfig {
        let provider = tls::provider_with(key_exchange::groups(KeyExchange::Prefer));
        let pins = tls::Pins::Listed(vec![server.spki().to_vec()]);
        tls::client_config(identity, provider, pins).unwrap()
    }

    /// A peer that behaves as far as the session; the server has key 1.
    async fn session(identity: &TransportIdentity, to: SocketAddr) -> (Self, Streams) {
        let config = Self::tls(identity, &self::identity("xa.ncu/a", 1, 1, 1));
        let raw = Self::connect(config, to).await.unwrap();
        let hello = hello::complete(v1::Hello::default(), identity.local());
        let streams = raw.greet(hello).await.unwrap();
        (raw, streams)
    }

    /// Says hello and takes the answer.
    async fn greet(&self, hello: v1::Hello) -> Result<Streams, Closed> {
        let mut opened = streams::open(&self.connection, PATIENCE).await?;
        let hello = encode(Kind::Hello(hello), 1 << 20).unwrap();
        streams::write(&mut opened.control.send, hello).await?;
        let mut accepted = streams::accept(&self.connection, PATIENCE).await?;
        accepted.control.frames.next(1 << 20).await?;
        let mut streams = Streams { opened, accepted };
        // Until both pings are answered, for nothing reads on after this.
        let (opened, accepted) = (&mut streams.opened.control, &mut streams.accepted.control);
        let ping = encode(Kind::Ping(v1::Ping { nonce: 1 }), 100).unwrap();
        streams::write(&mut opened.send, ping).await?;
        let pinged = accepted.frames.next(100).await?;
        let Kind::Ping(v1::Ping { nonce }) = pinged else { panic!("{pinged:?}") };
        let pong = encode(Kind::Pong(v1::Pong { nonce }), 100).unwrap();
        streams::write(&mut accepted.send, pong).await?;
        assert_eq!(opened.frames.next(100).await?, Kind::Pong(v1::Pong { nonce: 1 }));
        Ok(streams)
    }

    /// How the other side closed.
    async fn closed(&self) -> Closed {
        tokio::time::timeout(PATIENCE, self.connection.closed()).await.unwrap().into()
    }
}

/// Waits for a condition.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn transfer(number: u64, bytes: usize) -> Kind {
    let payload = v1::envelope::Payload::Clear(vec![7; bytes].into());
    let envelope = v1::Envelope { payload: Some(payload), ..Default::default() };
    Kind::Transfer(v1::Transfer { number, envelope: Some(envelope), ..Default::default() })
}

fn number_of(kind: &Kind) -> u64 {
    match kind {
        Kind::Transfer(transfer) => transfer.number,
        other => panic!("{other:?}"),
    }
}

fn receipts(from: u64) -> Kind {
    Kind::Receipts(v1::ReceiptGroup { consistency_from: from, ..Default::default() })
}

async fn next(queue: &mut mpsc::Receiver<Incoming>) -> Incoming {
    tokio::time::timeout(PATIENCE, queue.recv()).await.expect("no frame").unwrap()
}
