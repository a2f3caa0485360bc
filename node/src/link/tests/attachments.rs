//! Streams of attachments: resumed, refused, broken; never at the cost of the lanes.

use bytes::Bytes;
use relay_proto::{envelope::Priority, v1::AttachmentState};

use super::{lanes::besieged, *};

fn offer(index: u32) -> v1::AttachmentOffer {
    v1::AttachmentOffer { index, salt: vec![7; 32].into(), ..Default::default() }
}

async fn offered(session: &mut Session) -> IncomingAttachment {
    let offered = session.arrivals.attachments.recv();
    tokio::time::timeout(PATIENCE, offered).await.expect("no offer").unwrap()
}

/// Bytes go from where the receiver says on, in order; the answers are the receiver's. A stream
/// that is given up half way is its end, and of nothing else.
#[tokio::test]
async fn an_attachment_comes_from_an_offset_on() {
    let (_book, (_one, up), (_other, mut other_up)) = pair().await;
    let sender = up.attachments();
    let send = tokio::spawn(async move {
        let (mut bringing, answer) = sender.offer(offer(3), Priority::Routine).await.unwrap();
        assert_eq!((answer.state(), answer.offset), (AttachmentState::Send, 5));
        for n in 0..20u8 {
            bringing.chunk(vec![n; 100_000].into()).await.unwrap();
        }
        let whole = bringing.finish().await.unwrap();
        assert_eq!(whole.state(), AttachmentState::Whole);
        // And one that is given up.
        let (mut bringing, _) = sender.offer(offer(4), Priority::Urgent).await.unwrap();
        bringing.chunk(vec![1; 10].into()).await.unwrap();
    });
    let mut incoming = offered(&mut other_up).await;
    assert_eq!(incoming.offer, offer(3));
    assert!(incoming.wanted(5).await);
    for n in 0..20u8 {
        assert_eq!(incoming.chunk().await.unwrap(), vec![n; 100_000]);
    }
    assert_eq!(incoming.chunk().await, None);
    incoming.end(AttachmentState::Whole, String::new()).await;
    let mut incoming = offered(&mut other_up).await;
    assert!(incoming.wanted(0).await);
    while incoming.chunk().await.is_some() {}
    send.await.unwrap();
    assert!(!up.ended().is_cancelled() && !other_up.ended().is_cancelled());
}

/// A receiver that wants no more says why in the middle, and the sender hears it.
#[tokio::test]
async fn a_receiver_stops_it_and_says_why() {
    let (_book, (_one, up), (_other, mut other_up)) = pair().await;
    let sender = up.attachments();
    let send = tokio::spawn(async move {
        let (mut bringing, _) = sender.offer(offer(0), Priority::Routine).await.unwrap();
        let stopped = loop {
            if let Err(error) = bringing.chunk(vec![1; 200_000].into()).await {
                break error;
            }
        };
        assert_eq!(stopped, BringError::Stopped);
        bringing.answer().await.unwrap()
    });
    let mut incoming = offered(&mut other_up).await;
    assert!(incoming.wanted(0).await);
    assert!(incoming.chunk().await.is_some());
    incoming.end(AttachmentState::Later, "STORAGE_FULL".to_owned()).await;
    let answer = send.await.unwrap();
    assert_eq!((answer.state(), answer.reason.as_str()), (AttachmentState::Later, "STORAGE_FULL"));
}

/// One place is ROUTINE's, two are URGENT's; EMERGENCY has the third whatever waits, one after the
/// other.
#[tokio::test]
async fn emergency_has_a_place() {
    let (_book, (_one, up), (_other, mut other_up)) = pair().await;
    let mut held = Vec::new();
    for priority in [Priority::Routine, Priority::Urgent] {
        let sender = up.attachments();
        let send = tokio::spawn(async move { sender.offer(offer(1), priority).await.unwrap() });
        let mut incoming = offered(&mut other_up).await;
        assert!(incoming.wanted(0).await);
        held.push((send.await.unwrap(), incoming));
    }
    for waits in [Priority::Routine, Priority::Urgent] {
        let sender = up.attachments();
        tokio::spawn(async move { sender.offer(offer(2), waits).await.map(drop) });
    }
    for index in 10..20 {
        let sender = up.attachments();
        let send =
            tokio::spawn(async move { sender.offer(offer(index), Priority::Emergency).await });
        let incoming = offered(&mut other_up).await;
        assert_eq!(incoming.offer.index, index);
        incoming.end(AttachmentState::Whole, String::new()).await;
        drop(send.await.unwrap().unwrap());
    }
}

/// What is no offer, no chunk or no frame ends the session that it came on, with its reason; a
/// stream that is only reset ends nothing. Others go on.
#[tokio::test]
async fn a_broken_stream_ends_its_own_session() {
    let (_book, mut node, good, hostile) = besieged(settings()).await;
    let good_offer = encode(Kind::AttachmentOffer(offer(0)), 1000).unwrap();
    let chunk = |bytes: Vec<u8>| {
        encode(Kind::AttachmentChunk(v1::AttachmentChunk { bytes: bytes.into() }), 1000).unwrap()
    };
    let over = Bytes::from(u32::try_from(300 * 1024).unwrap().to_be_bytes().to_vec());
    let cases = [
        (vec![chunk(vec![1])], CloseCode::Malformed),
        (vec![good_offer.clone(), good_offer.clone()], CloseCode::Malformed),
        (vec![good_offer.clone(), chunk(vec![])], CloseCode::Malformed),
        (vec![good_offer.clone(), over], CloseCode::TooLarge),
        (vec![Bytes::from_static(&[0, 0, 0, 3, 0xff, 0xff, 0xff])], CloseCode::Malformed),
    ];
    for (index, (frames, code)) in cases.into_iter().enumerate() {
        let (raw, _streams) = Raw::session(&hostile, node.address()).await;
        let mut session = node.up().await;
        tokio::spawn(async move {
            while let Some(mut incoming) = session.arrivals.attachments.recv().await {
                incoming.wanted(0).await;
                while incoming.chunk().await.is_some() {}
            }
        });
        let (mut reset, _receive) = raw.connection.open_bi().await.unwrap();
        streams::write(&mut reset, good_offer.clone()).await.unwrap();
        reset.reset(quinn::VarInt::from_u32(0)).unwrap();
        let (mut send, _receive) = raw.connection.open_bi().await.unwrap();
        for frame in frames {
            streams::write(&mut send, frame).await.unwrap();
        }
        assert_eq!(raw.closed().await.code, code, "case {index}");
        assert_eq!(node.down().await.1.code, code, "case {index}");
    }
    good.link.ping(&node.unit).await.unwrap();
}
