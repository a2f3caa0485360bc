//! Who gets no session: unknown keys, wrong protocols, wrong names, noise.

use super::*;

/// The node and a key that it knows.
fn listening(settings: LinkSettings) -> (Arc<Book>, Node, TransportIdentity) {
    let book = Arc::new(Book::default());
    let node = Node::start(settings, identity("xa.ncu/a", 1, 1, 1), &book);
    let known = identity("xb.ncu/a", 2, 2, 1);
    book.put(&known, String::new(), KeyExchange::Prefer);
    (book, node, known)
}

/// Tries to get a session and says how that ended.
async fn refused(config: ClientConfig, node: &Node) -> Closed {
    let hello = hello::complete(v1::Hello::default(), identity("xb.ncu/a", 2, 2, 1).local());
    let attempt = async {
        let raw = Raw::connect(config, node.address()).await?;
        match raw.greet(hello).await {
            // A handshake that the server refuses ends later than it seems to the client.
            Ok(_) => panic!("a session came up"),
            Err(_) => Err::<(), _>(raw.closed().await),
        }
    };
    tokio::time::timeout(PATIENCE, attempt).await.unwrap().unwrap_err()
}

/// A key that is not in the book, no certificate at all, another ALPN: the handshake fails by name,
/// and the session of another peer goes on.
#[tokio::test]
async fn strangers_do_not_pass_tls() {
    let (_book, mut node, good, known) = lanes::besieged(settings()).await;
    let server = identity("xa.ncu/a", 1, 1, 1);
    let unknown = Raw::tls(&identity("xb.ncu/a", 66, 2, 1), &server);
    let closed = refused(unknown, &node).await;
    assert_eq!((closed.code, closed.by_peer), (CloseCode::Removed, true), "{}", closed.text);
    assert_eq!(closed.reason(), Reason::NotVerifiedThere);

    let mut nameless = Raw::tls(&known, &server);
    nameless.client_auth_cert_resolver = Arc::new(NoCertificate);
    let closed = refused(nameless, &node).await;
    assert_eq!((closed.code, closed.by_peer), (CloseCode::Removed, true), "{}", closed.text);

    for alpn in [&b"relay/2"[..], b"relay", b"h3"] {
        let mut other = Raw::tls(&known, &server);
        other.alpn_protocols = vec![alpn.to_vec()];
        let closed = refused(other, &node).await;
        assert_eq!((closed.code, closed.by_peer), (CloseCode::Version, true), "{}", closed.text);
    }
    until("all failures counted", || node.link.counters().handshakes_failed == 5).await;
    assert_eq!(node.link.counters().sessions, 1);
    assert!(node.events.try_recv().is_err());
    good.link.ping(&node.unit).await.unwrap();
}

/// A client without ML-KEM is refused where it is required, by the node or for that peer; where it
/// is preferred it is taken, and its classical group is reported.
#[tokio::test]
async fn a_classical_client_meets_the_policy() {
    let server = identity("xa.ncu/a", 1, 1, 1);
    let classical = |known: &TransportIdentity| {
        let provider = tls::provider_with(key_exchange::classical_groups());
        let pins = tls::Pins::Listed(vec![server.spki().to_vec()]);
        tls::client_config(known, provider, pins).unwrap()
    };
    let required = LinkSettings { key_exchange: KeyExchange::Require, ..settings() };
    let (_book, node, known) = listening(required);
    let closed = refused(classical(&known), &node).await;
    assert_eq!((closed.code, closed.by_peer), (CloseCode::KeyExchange, true), "{}", closed.text);
    // The same node takes a hybrid one.
    let (_raw, _streams) = Raw::session(&known, node.address()).await;

    let (book, mut node, known) = listening(settings());
    let raw = Raw::connect(classical(&known), node.address()).await.unwrap();
    let hello = hello::complete(v1::Hello::default(), known.local());
    let _streams = raw.greet(hello).await.unwrap();
    assert_eq!(node.up().await.key_exchange(), "X25519");
    drop(raw);

    book.remove("xb.ncu/a");
    book.put(&known, String::new(), KeyExchange::Require);
    let closed = refused(classical(&known), &node).await;
    assert_eq!(closed.reason(), Reason::UnsupportedAlgorithm);
}

/// A known key with another unit's name in its Hello gets no session, nor one with a missing
/// instance id, nor one whose first frame is no Hello; the session of another peer goes on.
#[tokio::test]
async fn hello_is_held_to_the_key() {
    let (_book, mut node, good, known) = lanes::besieged(settings()).await;
    let server = identity("xa.ncu/a", 1, 1, 1);
    let greeting = || hello::complete(v1::Hello::default(), known.local());
    let mut names = [greeting(), greeting(), greeting()];
    names[0].unit = "xc.ncu".to_owned();
    names[1].node = "b".to_owned();
    names[2].instance_id = bytes::Bytes::new();
    let codes = [CloseCode::WrongName, CloseCode::WrongName, CloseCode::Malformed];
    for (hello, code) in names.into_iter().zip(codes) {
        let raw = Raw::connect(Raw::tls(&known, &server), node.address()).await.unwrap();
        assert!(raw.greet(hello).await.is_err());
        let closed = raw.closed().await;
        assert_eq!((closed.code, closed.by_peer), (code, true));
        assert!(!closed.text.is_empty(), "the peer is told why");
    }
    let raw = Raw::connect(Raw::tls(&known, &server), node.address()).await.unwrap();
    let mut opened = streams::open(&raw.connection, PATIENCE).await.unwrap();
    let ping = encode(Kind::Ping(v1::Ping { nonce: 1 }), 100).unwrap();
    streams::write(&mut opened.control.send, ping).await.unwrap();
    assert_eq!(raw.closed().await.code, CloseCode::Malformed);
    assert!(node.events.try_recv().is_err());
    assert_eq!(node.link.counters().sessions, 1);
    good.link.ping(&node.unit).await.unwrap();
}

/// A peer that never says hello is closed in time, and holds only a bounded number of places.
#[tokio::test]
async fn silence_after_tls_is_bounded() {
    let quick = LinkSettings { hello: Duration::from_millis(300), ..settings() };
    let (_book, node, known) = listening(quick);
    let server = identity("xa.ncu/a", 1, 1, 1);
    let mut silent = Vec::new();
    for _ in 0..=settings::UNSETTLED_PER_NODE_MAX {
        let raw = Raw::connect(Raw::tls(&known, &server), node.address()).await.unwrap();
        silent.push(raw);
    }
    for raw in &silent {
        let code = raw.closed().await.code;
        assert!(matches!(code, CloseCode::HelloTimeout | CloseCode::Busy), "{code:?}");
    }
    // Afterwards there is room again.
    let (_raw, _streams) = Raw::session(&known, node.address()).await;
}

/// However many nodes a unit names, its sessions are few: the rest is told to come later, another
/// unit is not, nor a node of it that comes again while its old session stands.
#[tokio::test]
async fn a_units_connections_are_bounded() {
    let (book, node, other) = listening(settings());
    let nodes: Vec<TransportIdentity> = (0..14u8)
        .map(|n| identity(&format!("xc.ncu/n{n}"), 20 + n, 20 + n, 1))
        .inspect(|one| book.put(one, String::new(), KeyExchange::Prefer))
        .collect();
    let (known, more) = nodes.split_at(settings::CONNECTIONS_PER_UNIT_MAX);
    let mut kept = Vec::new();
    for one in known {
        kept.push(Raw::session(one, node.address()).await);
    }
    let server = identity("xa.ncu/a", 1, 1, 1);
    for one in more {
        let raw = Raw::connect(Raw::tls(one, &server), node.address()).await.unwrap();
        let closed = raw.closed().await;
        assert_eq!((closed.code, closed.by_peer), (CloseCode::Busy, true));
    }
    until("all stand", || node.link.session_count() == known.len()).await;
    kept.push(Raw::session(&other, node.address()).await);
    let restarted = identity("xc.ncu/n0", 20, 20, 2);
    kept.push(Raw::session(&restarted, node.address()).await);
    // A place is free again when a session ends.
    kept[1].0.connection.close(quinn::VarInt::from_u32(0), b"");
    until("one ended", || node.link.session_count() == known.len()).await;
    kept.push(Raw::session(&more[0], node.address()).await);
}

/// Thousands of garbage datagrams, some of them dressed as first packets, cost nothing that lasts:
/// no session, no handshake that stays, and a peer comes up as before.
#[tokio::test]
async fn noise_changes_nothing() {
    let (_book, node, known) = listening(settings());
    let noise = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for round in 0..5_000usize {
        let mut datagram: Vec<u8> = (0..round % 1400)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[0]
            })
            .collect();
        if round % 3 == 0 {
            datagram.resize(1200, 0);
            // A long header of QUIC version 1 (RFC 9000, 17.2): Initial.
            datagram[..5].copy_from_slice(&[0xc3, 0, 0, 0, 1]);
        }
        noise.send_to(&datagram, node.address()).await.unwrap();
    }
    let (_raw, _streams) = Raw::session(&known, node.address()).await;
    assert!(node.link.shared.endpoint.open_connections() <= 1);
    assert_eq!(node.link.counters().sessions, 1);
    assert_eq!(node.tasks.session_panics(), 0);
}

/// A path that loses all answers, which is what a forged source address looks like to the node:
/// where it begins, and what the node sees as source.
async fn one_way(to: SocketAddr) -> (SocketAddr, SocketAddr) {
    let near = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let far = tokio::net::UdpSocket::bind("127.0.0.2:0").await.unwrap();
    let addresses = (near.local_addr().unwrap(), far.local_addr().unwrap());
    tokio::spawn(async move {
        let mut datagram = [0; 2048];
        while let Ok(length) = near.recv(&mut datagram).await {
            let _ = far.send_to(&datagram[..length], to).await;
        }
    });
    addresses
}

/// A peer that hears nothing of us is told of, by its address; a stranger who does not is not, nor
/// a peer that gave up at once.
#[tokio::test]
async fn a_peer_that_our_answers_do_not_reach_is_told() {
    let quick = LinkSettings { handshake: Duration::from_secs(1), ..settings() };
    let (book, mut node, known) = listening(quick);
    let tls = Raw::tls(&known, &identity("xa.ncu/a", 1, 1, 1));
    let (stranger, _) = one_way(node.address()).await;
    let (dead_end, seen) = one_way(node.address()).await;
    let unit: UnitId = "xd.ncu".parse().unwrap();
    book.put(&identity("xd.ncu/a", 4, 4, 1), seen.to_string(), KeyExchange::Prefer);
    let gave_up = Raw::connect(tls.clone(), dead_end);
    assert!(tokio::time::timeout(Duration::from_millis(100), gave_up).await.is_err());
    let link = node.link.clone();
    let failed = |count| {
        let link = link.clone();
        until("failed", move || count <= link.counters().handshakes_failed)
    };
    failed(1).await;
    for (path, count) in [(stranger, 2), (dead_end, 3)] {
        let config = tls.clone();
        let attempt = tokio::spawn(async move { Raw::connect(config, path).await.is_ok() });
        failed(count).await;
        attempt.abort();
    }
    match node.event().await {
        LinkEvent::Unanswered { unit: told } => assert_eq!(told, unit),
        other => panic!("{other:?}"),
    }
    assert!(node.events.try_recv().is_err());
}

/// With sixteen handshakes that go nowhere, the next source has to prove its address first, and
/// then gets its session; nobody is refused.
#[tokio::test]
async fn under_load_sources_prove_their_address() {
    let (_book, node, known) = listening(settings());
    let (dead_end, _) = one_way(node.address()).await;
    let stranger = Raw::tls(&identity("xz.ncu/a", 9, 9, 1), &identity("xa.ncu/a", 1, 1, 1));
    let mut attempts = Vec::new();
    for _ in 0..settings::RETRY_FROM {
        let config = stranger.clone();
        attempts.push(tokio::spawn(async move { Raw::connect(config, dead_end).await.is_ok() }));
    }
    let begun = u64::try_from(settings::RETRY_FROM).unwrap();
    until("all begun", || node.link.counters().handshakes == begun).await;
    assert_eq!(node.link.counters().retries, 0);
    let (_raw, _streams) = Raw::session(&known, node.address()).await;
    let counters = node.link.counters();
    assert!(counters.retries >= 1);
    assert_eq!((counters.sessions, counters.handshakes_refused), (1, 0));
    attempts.into_iter().for_each(|attempt| attempt.abort());
}

/// Strangers hold all places that they can have: a peer comes in from an address that its card
/// names, and a stranger is refused.
#[tokio::test]
async fn a_flood_leaves_peers_their_places() {
    let (book, node, known) = listening(settings());
    let flood = |n: usize| IpAddr::from([192, 0, 2, u8::try_from(n / 8).unwrap()]);
    let sources = &node.link.shared.sources;
    let open = settings::HANDSHAKES_MAX - settings::HANDSHAKES_KEPT;
    let _flood: Vec<_> = (0..open).map(|n| sources.enter(flood(n), true)).collect();
    let config = Raw::tls(&known, &identity("xa.ncu/a", 1, 1, 1));
    assert!(Raw::connect(config, node.address()).await.is_err());
    assert_eq!(node.link.counters().handshakes_refused, 1);
    book.put(&identity("xd.ncu/a", 4, 4, 1), "127.0.0.1:7443".to_owned(), KeyExchange::Prefer);
    let (_raw, _streams) = Raw::session(&known, node.address()).await;
    // Also one who was there before, wherever its card says that it is.
    book.remove("xd.ncu/a");
    let (_raw, _streams) = Raw::session(&known, node.address()).await;
    assert_eq!(node.link.counters().handshakes_refused, 1);
}

#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
