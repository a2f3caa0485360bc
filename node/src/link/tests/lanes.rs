//! What travels: faults in frames, lanes that nobody reads, priorities.

use bytes::Bytes;
use relay_proto::limits;

use super::*;

/// A node with a good session and a hostile one beside it.
pub(super) async fn besieged(settings: LinkSettings) -> (Arc<Book>, Node, Node, TransportIdentity) {
    let book = Arc::new(Book::default());
    let own = identity("xa.ncu/a", 1, 1, 1);
    let mut node = Node::start(settings, own.clone(), &book);
    book.put(&own, node.address().to_string(), KeyExchange::Prefer);
    let mut good = Node::known("xc.ncu/a", 3, &book);
    good.link.dial(&node.unit);
    // Both keep their sessions alive without reading: arrivals are leaked into tasks of the test.
    for node in [&mut good, &mut node] {
        let session = node.up().await;
        tokio::spawn(async move {
            let ended = session.ended();
            ended.cancelled().await;
        });
    }
    let hostile = identity("xb.ncu/a", 2, 2, 1);
    book.put(&hostile, String::new(), KeyExchange::Prefer);
    (book, node, good, hostile)
}

enum Half {
    Urgent,
    Control,
    UrgentReverse,
}

/// Oversized, empty, garbage, cut, misplaced: each ends the session that it came on, with its
/// reason, and no other.
#[tokio::test]
async fn a_bad_frame_ends_its_own_session() {
    let (_book, mut node, good, hostile) = besieged(settings()).await;
    let huge = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 1]);
    let over = Bytes::from(u32::try_from(513 * 1024).unwrap().to_be_bytes().to_vec());
    let long_answer = Bytes::from(8192u32.to_be_bytes().to_vec());
    let garbage = Bytes::from_static(&[0, 0, 0, 3, 0xff, 0xff, 0xff]);
    let unknown = Bytes::from_static(&[0, 0, 0, 3, 0xfa, 0x07, 0]);
    let empty = Bytes::from_static(&[0; 4]);
    let misplaced = encode(receipts(1), 1000).unwrap();
    let on_control = encode(transfer(1, 1), 1000).unwrap();
    let hello_again = encode(Kind::Hello(v1::Hello::default()), 1000).unwrap();
    let cases = [
        (Half::Urgent, huge, CloseCode::TooLarge),
        (Half::Urgent, over, CloseCode::TooLarge),
        (Half::UrgentReverse, long_answer, CloseCode::TooLarge),
        (Half::Urgent, garbage.clone(), CloseCode::Malformed),
        (Half::Control, garbage, CloseCode::Malformed),
        (Half::Control, unknown, CloseCode::Malformed),
        (Half::Control, empty, CloseCode::Malformed),
        (Half::Urgent, misplaced, CloseCode::Malformed),
        (Half::Control, on_control, CloseCode::Malformed),
        (Half::Control, hello_again, CloseCode::Malformed),
    ];
    let faults = u64::try_from(cases.len()).unwrap();
    for (index, (half, bytes, code)) in cases.into_iter().enumerate() {
        let (raw, mut streams) = Raw::session(&hostile, node.address()).await;
        let session = node.up().await;
        let stream = match half {
            Half::Urgent => &mut streams.opened.urgent.send,
            Half::Control => &mut streams.opened.control.send,
            Half::UrgentReverse => &mut streams.accepted.urgent.send,
        };
        streams::write(stream, bytes).await.unwrap();
        assert_eq!(raw.closed().await.code, code, "case {index}");
        let (id, closed) = node.down().await;
        assert_eq!((id, closed.code, closed.by_peer), (session.id(), code, false), "case {index}");
    }
    assert_eq!(node.link.counters().faults, faults);
    good.link.ping(&node.unit).await.unwrap();
    assert_eq!(node.link.session_count(), 1);
}

/// A stream that ends inside a frame, one that ends between frames, and a further one that offers
/// no attachment.
#[tokio::test]
async fn streams_stay_open_and_whole() {
    let (_book, mut node, good, hostile) = besieged(settings()).await;
    for case in 0..3 {
        let (raw, mut streams) = Raw::session(&hostile, node.address()).await;
        let _session = node.up().await;
        let urgent = &mut streams.opened.urgent.send;
        let mut extra = None;
        match case {
            0 => {
                let half = Bytes::from_static(&[0, 0, 0, 9, 1]);
                streams::write(urgent, half).await.unwrap();
                urgent.finish().unwrap();
            }
            1 => urgent.finish().unwrap(),
            _ => {
                let (mut send, receive) = raw.connection.open_bi().await.unwrap();
                let misplaced = encode(transfer(1, 1), 1000).unwrap();
                streams::write(&mut send, misplaced).await.unwrap();
                extra = Some((send, receive));
            }
        }
        assert_eq!(raw.closed().await.code, CloseCode::Malformed, "case {case}");
        assert_eq!(node.down().await.1.code, CloseCode::Malformed, "case {case}");
        drop(extra);
    }
    good.link.ping(&node.unit).await.unwrap();
}

/// Half a frame and then nothing, or single bytes now and then: closed as slow. A whole frame moves
/// no deadline.
#[tokio::test]
async fn half_a_frame_has_a_deadline() {
    let quick = LinkSettings { frame_progress: Duration::from_millis(200), ..settings() };
    let (_book, mut node, good, hostile) = besieged(quick).await;
    let (raw, mut streams) = Raw::session(&hostile, node.address()).await;
    let mut session = node.up().await;
    let frame = encode(transfer(1, 10), 1000).unwrap();
    streams::write(&mut streams.opened.urgent.send, frame.clone()).await.unwrap();
    assert_eq!(number_of(&next(&mut session.arrivals.urgent).await.kind), 1);
    let mut sent = 0;
    let drip = async {
        loop {
            let byte = frame.slice(sent % 8..sent % 8 + 1);
            if streams::write(&mut streams.opened.routine.send, byte).await.is_err() {
                return;
            }
            sent += 1;
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    };
    tokio::time::timeout(PATIENCE, drip).await.unwrap();
    assert_eq!(raw.closed().await.code, CloseCode::Slow);
    assert_eq!(node.down().await.1.code, CloseCode::Slow);
    good.link.ping(&node.unit).await.unwrap();
}

/// Size of a frame that [`pump`] sends, and how many of them wait for a reader that takes none.
const PUMPED: usize = 200_000;
const READ_AHEAD: u64 = (streams::ARRIVAL_BYTES / PUMPED) as u64;

/// With what the stream's credit and the sender's queue hold, and one in the hands of the reader
/// and one in those of the writer.
const HELD_MAX: u64 = READ_AHEAD
    + (settings::STREAM_WINDOW as usize).div_ceil(PUMPED) as u64
    + settings::LANE_QUEUE as u64
    + 2;

/// Goes on sending ROUTINE for as long as the session lives; tells how many frames were queued.
fn pump(session: &Session) -> tokio::sync::watch::Receiver<u64> {
    let sender = session.sender();
    let (queued, seen) = tokio::sync::watch::channel(0);
    tokio::spawn(async move {
        for number in 1.. {
            if sender.send(Lane::Routine, transfer(number, PUMPED)).await.is_err() {
                return;
            }
            queued.send_replace(number);
        }
    });
    seen
}

/// Both sides send ROUTINE and neither reads it: that lane stands, and receipts, answers, pings and
/// the other lanes go on in both directions; when reading begins again, everything comes, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_stop_reading() {
    let (_book, (one, mut up), (other, mut other_up)) = pair().await;
    let mut pumps = [pump(&up), pump(&other_up)];
    for pump in &mut pumps {
        // More than waits for the reader: the rest waits in the stream.
        let wait = pump.wait_for(|queued| *queued > READ_AHEAD);
        tokio::time::timeout(PATIENCE, wait).await.unwrap().unwrap();
    }
    for round in 1..=50 {
        let have = Kind::Have(v1::Have { receipts: round });
        for session in [&up, &other_up] {
            session.sender().send(Lane::Control, receipts(round)).await.unwrap();
            session.sender().reply(Lane::Control, have.clone()).await.unwrap();
        }
        up.sender().send(Lane::Emergency, transfer(round, 100_000)).await.unwrap();
        other_up.sender().send(Lane::Urgent, transfer(round, 100_000)).await.unwrap();
        for session in [&mut up, &mut other_up] {
            // They come on two streams, so in any order.
            let control = &mut session.arrivals.control;
            let came = [next(control).await.kind, next(control).await.kind];
            assert!(came.contains(&receipts(round)) && came.contains(&have), "{came:?}");
        }
        assert_eq!(number_of(&next(&mut other_up.arrivals.emergency).await.kind), round);
        assert_eq!(number_of(&next(&mut up.arrivals.urgent).await.kind), round);
    }
    one.link.ping(&other.unit).await.unwrap();
    other.link.ping(&one.unit).await.unwrap();
    for pump in &pumps {
        assert!(*pump.borrow() <= HELD_MAX, "the lane did not stand");
    }
    for number in 1..=40 {
        assert_eq!(number_of(&next(&mut up.arrivals.routine).await.kind), number);
        assert_eq!(number_of(&next(&mut other_up.arrivals.routine).await.kind), number);
    }
}

/// One EMERGENCY frame sent behind 1,000 ROUTINE frames that wait arrives before nearly all of
/// them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emergency_overtakes_a_thousand_routine_frames() {
    let (_book, (_one, up), (_other, mut other_up)) = pair().await;
    let sender = up.sender();
    let (begun, begin) = tokio::sync::oneshot::channel();
    let pump = tokio::spawn(async move {
        let mut begun = Some(begun);
        for number in 1..=1000 {
            sender.send(Lane::Routine, transfer(number, 20_000)).await.unwrap();
            if number == 10 {
                begun.take().unwrap().send(()).unwrap();
            }
        }
    });
    begin.await.unwrap();
    up.sender().send(Lane::Emergency, transfer(7, 20_000)).await.unwrap();
    assert_eq!(number_of(&next(&mut other_up.arrivals.emergency).await.kind), 7);
    // Nothing of ROUTINE was read so far, so at most the windows and queues are on their way; all
    // of it comes.
    assert!(!pump.is_finished());
    for number in 1..=1000 {
        assert_eq!(number_of(&next(&mut other_up.arrivals.routine).await.kind), number);
    }
    pump.await.unwrap();
}

/// A peer holds half a frame on every stream but EMERGENCY's, in both halves, and on four streams
/// of attachments, and reads nothing on them, so that its windows and ours are full: EMERGENCY
/// passes in both directions all the same. A frame over an offer's length ends its session, and no
/// other's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_attachments_do_not_stop_emergency() {
    let (_book, mut node, good, hostile) = besieged(settings()).await;
    let (raw, mut streams) = Raw::session(&hostile, node.address()).await;
    let mut session = node.up().await;
    let half = |length: usize| {
        let mut bytes = u32::try_from(length).unwrap().to_be_bytes().to_vec();
        bytes.resize(4 + length / 2, 7);
        Bytes::from(bytes)
    };
    let mut attachments = Vec::new();
    for _ in 0..4 {
        let (mut send, receive) = raw.connection.open_bi().await.unwrap();
        streams::write(&mut send, half(limits::OFFER_BYTES_MAX)).await.unwrap();
        attachments.push((send, receive));
    }
    let (opened, accepted) = (&mut streams.opened, &mut streams.accepted);
    for (send, length) in [
        (&mut opened.routine.send, 512 << 10),
        (&mut opened.urgent.send, 512 << 10),
        (&mut opened.control.send, 256 << 10),
        (&mut accepted.routine.send, 4 << 10),
        (&mut accepted.urgent.send, 4 << 10),
        (&mut accepted.control.send, 256 << 10),
    ] {
        streams::write(send, half(length)).await.unwrap();
    }
    let mut pump = pump(&session);
    tokio::time::timeout(PATIENCE, pump.wait_for(|queued| *queued > 4)).await.unwrap().unwrap();
    for lane in [Lane::Urgent, Lane::Control] {
        let fill = || match lane {
            Lane::Control => session.sender().try_send(lane, receipts(1)),
            _ => session.sender().try_send(lane, transfer(1, 200_000)),
        };
        while fill().is_ok() {}
    }
    for round in 1..=50 {
        let frame = encode(transfer(round, 100_000), 1 << 20).unwrap();
        streams::write(&mut opened.emergency.send, frame).await.unwrap();
        assert_eq!(number_of(&next(&mut session.arrivals.emergency).await.kind), round);
        session.sender().send(Lane::Emergency, transfer(round, 100_000)).await.unwrap();
        let came = accepted.emergency.frames.next(1 << 20);
        let came = tokio::time::timeout(PATIENCE, came).await.unwrap().unwrap();
        assert_eq!(number_of(&came), round);
    }
    assert!(raw.connection.close_reason().is_none());
    let further = tokio::time::timeout(Duration::from_millis(200), raw.connection.open_bi()).await;
    assert!(further.is_err(), "a fifth stream of attachments has no credit");
    // Credit comes back by twos.
    for (mut given_up, _) in attachments.drain(2..) {
        given_up.reset(quinn::VarInt::from_u32(0)).unwrap();
    }
    let (mut send, _receive) = raw.connection.open_bi().await.unwrap();
    streams::write(&mut send, half(512 << 10)).await.unwrap();
    assert_eq!(raw.closed().await.code, CloseCode::TooLarge);
    assert_eq!(node.down().await.1.code, CloseCode::TooLarge);
    good.link.ping(&node.unit).await.unwrap();
}
