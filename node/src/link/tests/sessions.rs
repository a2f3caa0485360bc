//! Who gets a session with whom: dialling, crossing, restarts, copied keys, removal, the stop.

use super::*;
use crate::tasks::Stopped;

/// A dial brings one session, the same on both sides: names, Hello, the hybrid key exchange, frames
/// on each lane in both directions, a ping; closed by one side, the other is told why.
#[tokio::test]
async fn two_nodes_come_up_both_ways() {
    let (_book, (mut one, mut up), (mut other, mut other_up)) = pair().await;
    assert!(up.dialled_by_us() && !other_up.dialled_by_us());
    assert_eq!(up.peer().to_string(), "xb.ncu/a");
    assert_eq!(other_up.peer().to_string(), "xa.ncu/a");
    assert_eq!((up.hello.unit.as_str(), up.hello.now_ms), ("xb.ncu", 5));
    assert_eq!(up.key_exchange(), "X25519MLKEM768");
    assert_eq!(other_up.key_exchange(), "X25519MLKEM768");
    for lane in [Lane::Routine, Lane::Urgent, Lane::Emergency] {
        up.sender().send(lane, transfer(1, 100_000)).await.unwrap();
        let came = other_up.arrivals.recv().await.unwrap();
        let direction = Direction::Forward;
        assert_eq!(
            came,
            Incoming { lane, direction, kind: transfer(1, 100_000), room: Room::default() }
        );
        let fault = Kind::Fault(v1::TransferFault { number: 1, ..Default::default() });
        other_up.sender().reply(lane, fault.clone()).await.unwrap();
        let came = next(&mut up.arrivals.control).await;
        assert_eq!(
            came,
            Incoming { lane, direction: Direction::Reverse, kind: fault, room: Room::default() }
        );
    }
    other_up.sender().send(Lane::Control, receipts(3)).await.unwrap();
    assert_eq!(next(&mut up.arrivals.control).await.kind, receipts(3));
    let have = Kind::Have(v1::Have { receipts: 3 });
    up.sender().reply(Lane::Control, have.clone()).await.unwrap();
    assert_eq!(next(&mut other_up.arrivals.control).await.kind, have);
    one.link.ping(&other.unit).await.unwrap();
    other.link.ping(&one.unit).await.unwrap();
    // Another dial while there is a session does nothing.
    one.link.dial(&other.unit);
    assert_eq!((one.link.session_count(), other.link.session_count()), (1, 1));

    up.close(CloseCode::Unwanted, "enough\x1b[2J");
    let (id, closed) = one.down().await;
    assert_eq!((id, closed.by_peer, closed.code), (up.id(), false, CloseCode::Unwanted));
    let (id, closed) = other.down().await;
    assert_eq!((id, closed.by_peer, closed.code), (other_up.id(), true, CloseCode::Unwanted));
    assert_eq!(closed.text, "enough?[2J");
    assert_eq!(up.sender().send(Lane::Control, receipts(1)).await, Err(SendError::Ended));
    assert_eq!(one.link.ping(&other.unit).await, Err(PingError::NoSession));
    assert!(up.arrivals.recv().await.is_none());
}

/// Both sides dial at once, again and again: each time both end with one session, which is the same
/// connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crossing_dials_settle_once() {
    let book = Arc::new(Book::default());
    let mut one = Node::known("xa.ncu/a", 1, &book);
    let mut other = Node::known("xb.ncu/a", 2, &book);
    for _ in 0..10 {
        one.link.dial(&other.unit);
        other.link.dial(&one.unit);
        // Events are drained, for a session that cannot report does not go on. Arrivals are kept
        // alive.
        let mut kept = Vec::new();
        until("one session on one connection", || {
            for node in [&mut one, &mut other] {
                while let Ok(event) = node.events.try_recv() {
                    assert!(!matches!(event, LinkEvent::Alarm(_) | LinkEvent::DialFailed { .. }));
                    kept.push(event);
                }
            }
            [&one, &other].iter().all(|node| {
                node.link.session_count() == 1
                    && node.link.shared.endpoint.open_connections() == 1
                    && node.link.shared.dialling.is_idle()
            })
        })
        .await;
        let dialler = |node: &Node| node.link.shared.registry.live()[0].dialled_by_us;
        assert_ne!(dialler(&one), dialler(&other));
        one.link.ping(&other.unit).await.unwrap();
        other.link.ping(&one.unit).await.unwrap();
        one.link.close_peer(&other.unit, CloseCode::Unwanted, "");
        until("closed", || {
            while other.events.try_recv().is_ok() || one.events.try_recv().is_ok() {}
            let open = |node: &Node| node.link.shared.endpoint.open_connections();
            open(&one) + open(&other) == 0
        })
        .await;
    }
}

/// Both dials pass TLS before either has said Hello; then they are completed one after the other,
/// in each order. The connection that the smaller node id dialled stays, the other is closed as
/// crossed.
#[tokio::test]
async fn crossing_dials_in_either_order() {
    for smaller_first in [true, false] {
        let book = Arc::new(Book::default());
        let own = identity("xa.ncu/a", 1, 1, 1);
        let mut node = Node::start(settings(), own.clone(), &book);
        let peer = identity("xb.ncu/a", 2, 2, 1);
        let wire = endpoint::open(settings().listen).unwrap();
        let known = Arc::new(Book::default());
        known.put(&own, String::new(), KeyExchange::Prefer);
        let known: Arc<dyn PeerBook> = known;
        let endpoint = endpoint::start(wire, &settings(), &peer, &known).unwrap();
        let address = endpoint.local_addr().unwrap().to_string();
        book.put(&peer, address, KeyExchange::Prefer);

        node.link.dial(&"xb.ncu".parse().unwrap());
        let connection = endpoint.accept().await.unwrap().accept().unwrap().await.unwrap();
        let by_smaller = Raw { connection, _endpoint: endpoint };
        let by_greater = Raw::connect(Raw::tls(&peer, &own), node.address()).await.unwrap();
        let (first, second) =
            if smaller_first { (&by_smaller, &by_greater) } else { (&by_greater, &by_smaller) };

        let hello = || hello::complete(v1::Hello::default(), peer.local());
        let _streams = first.greet(hello()).await.unwrap();
        let standing = node.up().await;
        assert_eq!(standing.dialled_by_us(), smaller_first);
        let second_streams = second.greet(hello()).await;
        assert_eq!(by_greater.closed().await.code, CloseCode::Crossed);
        if smaller_first {
            assert!(node.events.try_recv().is_err());
        } else {
            assert!(second_streams.is_ok());
            let mut up = None;
            for _ in 0..2 {
                match node.event().await {
                    LinkEvent::Up(session) => up = Some(session),
                    LinkEvent::Down { session, closed, .. } => {
                        assert_eq!((session, closed.code), (standing.id(), CloseCode::Crossed));
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert!(up.unwrap().dialled_by_us());
        }
        assert!(by_smaller.connection.close_reason().is_none());
        assert_eq!(node.link.session_count(), 1);
    }
}

/// A peer that was killed and restarts has another boot id under the same instance: its new
/// connection takes over at once, although the old one is not known to be dead, and nobody is
/// alarmed.
#[tokio::test]
async fn sigkill_restart_is_no_duplicate_identity() {
    let book = Arc::new(Book::default());
    let mut node = Node::known("xa.ncu/a", 1, &book);
    let before = identity("xb.ncu/a", 2, 9, 1);
    book.put(&before, String::new(), KeyExchange::Prefer);
    let (dead, _streams) = Raw::session(&before, node.address()).await;
    let old = node.up().await;
    let after = identity("xb.ncu/a", 2, 9, 2);
    let (alive, mut streams) = Raw::session(&after, node.address()).await;
    let (first, second) = (node.event().await, node.event().await);
    let (mut downs, mut ups) = (Vec::new(), Vec::new());
    for event in [first, second] {
        match event {
            LinkEvent::Down { session, closed, .. } => downs.push((session, closed.code)),
            LinkEvent::Up(session) => ups.push(session),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(downs, [(old.id(), CloseCode::Superseded)]);
    assert_eq!(dead.closed().await.code, CloseCode::Superseded);
    assert_eq!(node.link.session_count(), 1);
    let frame = encode(transfer(1, 10), 1000).unwrap();
    streams::write(&mut streams.opened.urgent.send, frame).await.unwrap();
    assert_eq!(next(&mut ups[0].arrivals.urgent).await.kind, transfer(1, 10));
    assert!(alive.connection.close_reason().is_none());
}

/// A node that is killed and comes back at its address tells peers at once that their connections
/// are gone: its key of stateless resets is the same. Without it the peer would wait out the idle
/// time, which is an hour here.
#[test]
fn a_restarted_node_resets_old_connections() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (ours, theirs) = (runtime(), runtime());
    let book = Arc::new(Book::default());
    let patient = LinkSettings {
        idle: Duration::from_secs(3600),
        keep_alive: Duration::from_millis(200),
        ..settings()
    };
    let other = identity("xb.ncu/a", 2, 2, 1);
    let (address, killed) = theirs.block_on(async {
        let node = Node::start(patient.clone(), other.clone(), &book);
        (node.address(), node)
    });
    book.put(&other, address.to_string(), KeyExchange::Prefer);
    let mut one = ours.block_on(async {
        let own = identity("xa.ncu/a", 1, 1, 1);
        book.put(&own, String::new(), KeyExchange::Prefer);
        Node::start(patient.clone(), own, &book)
    });
    let unit = killed.unit.clone();
    let up = ours.block_on(async {
        one.link.dial(&unit);
        one.up().await
    });
    // No task of it runs any more, so nothing is said to the peer; then the socket goes as well.
    theirs.shutdown_timeout(PATIENCE);
    drop(killed);
    let theirs = runtime();
    let settings = LinkSettings { listen: Some(address), ..patient };
    let _restarted = theirs.block_on(async {
        until("address is free", || std::net::UdpSocket::bind(address).is_ok()).await;
        Node::start(settings, identity("xb.ncu/a", 2, 2, 2), &book)
    });
    let (id, closed) = ours.block_on(one.down());
    assert_eq!((id, closed.code, closed.by_peer), (up.id(), CloseCode::Lost, true));
    assert_eq!(closed.text, "reset by peer");
}

/// A second instance with the same key is refused and told why; the standing session is kept; there
/// is an alarm.
#[tokio::test]
async fn a_copied_key_does_not_steal_the_session() {
    let (book, (mut one, _up), (other, _other_up)) = pair().await;
    let copy = identity("xb.ncu/a", 2, 77, 1);
    let mut thief = Node::start(settings(), copy, &book);
    thief.link.dial(&one.unit);
    let told = |event| matches!(event, LinkEvent::Alarm(LinkAlarm::SpokenFor { .. }));
    assert!(told(thief.event().await));
    let (reason, text) = thief.dial_failed().await;
    assert_eq!(reason, Reason::DuplicateIdentity, "{text}");
    let event = one.event().await;
    let LinkEvent::Alarm(LinkAlarm::DuplicateIdentity { peer, address }) = event else {
        panic!("{event:?}")
    };
    assert_eq!((peer.to_string().as_str(), address), ("xb.ncu/a", thief.address()));
    // Again: refused again, but one alarm a minute is enough.
    thief.link.dial(&one.unit);
    assert!(told(thief.event().await));
    assert_eq!(thief.dial_failed().await.0, Reason::DuplicateIdentity);
    assert!(one.events.try_recv().is_err());
    other.link.ping(&one.unit).await.unwrap();
    assert_eq!(one.link.session_count(), 1);
}

/// A copy of a whole node, keys and instance, runs beside it. Its first connection looks like a
/// restart; the one that was taken over asks, and is the second process then: it is refused, all
/// three are told, and the newer one goes on.
#[tokio::test]
async fn two_processes_of_one_node_are_told() {
    let (book, (mut one, _up), (mut other, _other_up)) = pair().await;
    let node: NodeId = "xa.ncu/a".parse().unwrap();
    let mut copy = Node::start(settings(), identity("xb.ncu/a", 2, 2, 9), &book);
    copy.link.dial(&one.unit);
    let _first = copy.up().await;
    let closed = other.down().await.1;
    assert_eq!((closed.code, closed.by_peer), (CloseCode::Superseded, true));
    let mut kept = Vec::new();
    while kept.len() < 2 {
        // Up of the one, Down of the other: a restart so far.
        let event = one.event().await;
        assert!(!matches!(event, LinkEvent::Alarm(_)), "{event:?}");
        kept.push(event);
    }

    other.link.superseded(&node);
    let spoken_for = |event| match event {
        LinkEvent::Alarm(LinkAlarm::SpokenFor { peer, .. }) => assert_eq!(peer, node),
        event => panic!("{event:?}"),
    };
    spoken_for(other.event().await);
    assert_eq!(other.dial_failed().await.0, Reason::DuplicateIdentity);
    spoken_for(copy.event().await);
    assert_eq!(copy.down().await.1.code, CloseCode::DuplicateIdentity);
    let mut alarms = 0;
    for _ in 0..2 {
        match one.event().await {
            LinkEvent::Down { closed, .. } => {
                assert_eq!(closed.code, CloseCode::DuplicateIdentity);
            }
            LinkEvent::Alarm(LinkAlarm::DuplicateIdentity { peer, address }) => {
                assert_eq!(peer.to_string(), "xb.ncu/a");
                assert_eq!(address, other.address());
                alarms += 1;
            }
            event => panic!("{event:?}"),
        }
    }
    assert_eq!(alarms, 1);

    // It is asked once in a while; the newer one is told once, and keeps its next session.
    other.link.superseded(&node);
    copy.link.dial(&one.unit);
    let _second = copy.up().await;
    other.link.dial(&one.unit);
    spoken_for(other.event().await);
    assert_eq!(other.dial_failed().await.0, Reason::DuplicateIdentity);
    copy.link.ping(&one.unit).await.unwrap();
    // The operator stops both and starts one: a new process.
    let mut restarted = Node::start(settings(), identity("xb.ncu/a", 2, 2, 10), &book);
    restarted.link.dial(&one.unit);
    let _third = restarted.up().await;
}

/// Restarts one after the other, each with the same keys: none is a second process.
#[tokio::test]
async fn restarts_are_no_second_process() {
    let book = Arc::new(Book::default());
    let mut one = Node::known("xa.ncu/a", 1, &book);
    book.put(&identity("xb.ncu/a", 2, 2, 1), String::new(), KeyExchange::Prefer);
    let mut kept = Vec::new();
    for boot in 1..40 {
        let mut node = Node::start(settings(), identity("xb.ncu/a", 2, 2, boot), &book);
        for _ in 0..2 {
            // The same process comes again, as after a change of its network.
            node.link.dial(&one.unit);
            kept.push(node.up().await);
            node.link.close_peer(&one.unit, CloseCode::Unwanted, "");
            assert_eq!(node.down().await.1.code, CloseCode::Unwanted);
        }
        node.tasks.stop_token().cancel();
        while let Ok(event) = one.events.try_recv() {
            assert!(!matches!(event, LinkEvent::Alarm(_)), "{event:?}");
        }
    }
}

/// A peer that leaves the book loses its live session, and cannot come back.
#[tokio::test]
async fn a_removed_peer_loses_its_session() {
    let (book, (mut one, _up), (mut other, _other_up)) = pair().await;
    one.link.recheck_peers();
    one.link.ping(&other.unit).await.unwrap();
    book.remove("xb.ncu/a");
    one.link.recheck_peers();
    assert_eq!(one.down().await.1.code, CloseCode::Removed);
    let (_, closed) = other.down().await;
    assert_eq!((closed.reason(), closed.by_peer), (Reason::NotVerifiedThere, true));
    // In the handshake it is only a TLS alert, and means the same.
    other.link.dial(&one.unit);
    assert_eq!(other.dial_failed().await.0, Reason::NotVerifiedThere);
}

/// Nobody answers, another key answers, no address is known: each dial fails once, with its reason.
#[tokio::test]
async fn dials_fail_with_a_reason() {
    let book = Arc::new(Book::default());
    let quick = LinkSettings { handshake: Duration::from_millis(100), ..settings() };
    let mut one = Node::start(quick, identity("xa.ncu/a", 1, 1, 1), &book);
    let unit: UnitId = "xb.ncu".parse().unwrap();
    one.link.dial(&unit);
    assert_eq!(
        one.dial_failed().await,
        (Reason::PeerUnreachable, "no address is known".to_owned())
    );
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    book.put(&identity("xb.ncu/a", 2, 2, 1), address, KeyExchange::Prefer);
    one.link.dial(&unit);
    let (reason, text) = one.dial_failed().await;
    assert_eq!(reason, Reason::PeerUnreachable);
    assert!(text.ends_with("no answer in time"), "{text}");

    let patient = Node::start(settings(), identity("xa.ncu/b", 3, 3, 1), &book);
    let mut one = patient;
    let impostor = Node::start(settings(), identity("xb.ncu/a", 66, 66, 1), &book);
    book.remove("xb.ncu/a");
    let address = impostor.address().to_string();
    book.put(&identity("xb.ncu/a", 2, 2, 1), address, KeyExchange::Prefer);
    one.link.dial(&unit);
    assert_eq!(one.dial_failed().await.0, Reason::KeyNotPinned);
}

/// A node that stops tells its peers, refuses new connections, and all its tasks end.
#[tokio::test]
async fn the_stop_is_told() {
    let (book, (mut one, up), (mut other, _other_up)) = pair().await;
    one.link.drain();
    other.link.ping(&one.unit).await.unwrap();
    let late = identity("xc.ncu/a", 3, 3, 1);
    book.put(&late, String::new(), KeyExchange::Prefer);
    let mut late = Node::start(settings(), late, &book);
    late.link.dial(&one.unit);
    let (reason, text) = late.dial_failed().await;
    assert_eq!(reason, Reason::PeerUnreachable);
    assert!(text.contains("refused"), "{text}");
    one.link.shutdown().await;
    assert_eq!(one.down().await.1.code, CloseCode::Stopping);
    let (_, closed) = other.down().await;
    assert_eq!((closed.code, closed.by_peer), (CloseCode::Stopping, true));
    drop(up);
    assert_eq!(one.tasks.shutdown(PATIENCE).await, Stopped::Clean);
    assert_eq!(one.tasks.failure(), None);
    assert_eq!(one.tasks.session_panics(), 0);
}
