//! PeerService and NodeService.

use relay_core::quota::Meter;
use relay_proto::{reason::Reason, v1};
use tonic::Code;

use super::{
    fixture::{Node, id, now, request},
    told,
};
use crate::store::{NewAlarm, records::BackoffRecord};

/// A card is added, compared, suspended and removed; each step is shown and needs a request id.
#[tokio::test]
async fn peers_are_introduced() {
    let (a, b) = (Node::start("xa.cyber-poc").await, Node::start("xb.ncu").await);
    let mut client = a.peers();
    let add =
        |card: &[u8], request_id| v1::AddPeerRequest { request_id, card: card.to_vec().into() };
    let error = client.add_peer(add(&b.card, String::new())).await.unwrap_err();
    assert_eq!(told(&error).1, Reason::RequestIdMissing);
    for card in [b"junk".as_slice(), a.card.as_slice()] {
        let error = client.add_peer(add(card, id(1))).await.unwrap_err();
        assert_eq!(told(&error).2, ["card"]);
        assert_eq!(error.code(), Code::InvalidArgument);
    }
    let peer = client.add_peer(add(&b.card, id(1))).await.unwrap().into_inner();
    assert_eq!((peer.trust(), peer.state()), (v1::PeerTrust::Unverified, v1::PeerState::Never));
    assert_eq!((peer.name.as_str(), peer.fingerprint.len()), ("peers/xb.ncu", 71));

    let verify = |digits: &str| v1::VerifyPeerRequest {
        request_id: id(2),
        unit: "xb.ncu".to_owned(),
        fingerprint: digits.to_owned(),
        heard: Vec::new(),
        by: "Desk 1".to_owned(),
    };
    let error = client.verify_peer(verify(&"1".repeat(60))).await.unwrap_err();
    let field = || vec!["fingerprint".to_owned()];
    assert_eq!(told(&error), (Code::FailedPrecondition, Reason::FingerprintMismatch, field()));
    let error = client.verify_peer(verify("")).await.unwrap_err();
    assert_eq!(told(&error), (Code::InvalidArgument, Reason::InvalidContent, field()));
    let verified = client.verify_peer(verify(&peer.fingerprint)).await.unwrap().into_inner();
    assert_eq!(verified.trust(), v1::PeerTrust::Verified);
    assert_eq!(verified.verified_by, "Desk 1");
    a.messages().send_message(request(1, &["xb.ncu"])).await.unwrap();

    let list = client.list_peers(v1::ListPeersRequest::default()).await.unwrap().into_inner();
    assert_eq!((list.peers.len(), list.next_page_token.as_str()), (1, ""));
    assert_eq!((list.peers[0].outbox_messages, list.peers[0].fingerprint.as_str()), (1, ""));
    let ping = v1::PingPeerRequest { unit: "xb.ncu".to_owned() };
    let error = client.ping_peer(ping).await.unwrap_err();
    assert_eq!(told(&error), (Code::Unavailable, Reason::PeerUnreachable, Vec::new()));

    let suspend = v1::SuspendPeerRequest {
        request_id: id(3),
        unit: "xb.ncu".to_owned(),
        reason: "Key lost".to_owned(),
        by: "Desk 2".to_owned(),
    };
    for (field, bad) in [
        ("by", v1::SuspendPeerRequest { by: " ".to_owned(), ..suspend.clone() }),
        ("reason", v1::SuspendPeerRequest { reason: String::new(), ..suspend.clone() }),
    ] {
        let error = client.suspend_peer(bad).await.unwrap_err();
        let expected = (Code::InvalidArgument, Reason::InvalidContent, vec![field.to_owned()]);
        assert_eq!(told(&error), expected);
    }
    let suspended = client.suspend_peer(suspend).await.unwrap().into_inner();
    assert_eq!(suspended.trust(), v1::PeerTrust::Suspended);
    let get = || v1::GetPeerRequest { unit: "xb.ncu".to_owned() };
    let shown = client.get_peer(get()).await.unwrap().into_inner();
    assert_eq!((&*shown.suspended_by, &*shown.suspend_reason), ("Desk 2", "Key lost"));
    assert!(shown.suspended_time.is_some());
    // Comparing again lifts it, and with it what was said about it.
    let again = client.verify_peer(verify(&peer.fingerprint)).await.unwrap().into_inner();
    assert_eq!((&*again.suspended_by, again.suspended_time), ("", None));
    let remove = v1::RemovePeerRequest { request_id: id(4), unit: "xb.ncu".to_owned() };
    client.remove_peer(remove).await.unwrap();
    assert_eq!(told(&client.get_peer(get()).await.unwrap_err()).1, Reason::NotFound);
    a.stop().await;
    b.stop().await;
}

/// What waits for a unit that was suspended or removed is held, says why, is counted, and is not
/// tried.
#[tokio::test]
async fn what_waits_for_no_trusted_unit_is_held() {
    let (a, b) = (Node::start("xa.cyber-poc").await, Node::start("xb.ncu").await);
    a.trust(&b).await;
    let sent = a.messages().send_message(request(1, &["xb.ncu"])).await.unwrap().into_inner();
    let name = sent.message.unwrap().name;
    let unit = "xb.ncu".parse().unwrap();
    for reason in [Reason::PeerSuspended, Reason::UnknownRecipient, Reason::PeerUnverified] {
        let directory = a.relay.directory();
        match reason {
            Reason::PeerSuspended => drop(directory.suspend(&unit, "D", "x", now()).await.unwrap()),
            Reason::UnknownRecipient => directory.remove(&unit, now()).await.unwrap(),
            _ => drop(directory.add(&b.card, now()).await.unwrap()),
        }
        let list = v1::ListMessagesRequest { filter: "state = HELD".into(), ..Default::default() };
        let list = a.messages().list_messages(list).await.unwrap().into_inner();
        let delivery = &list.messages[0].deliveries[0];
        assert_eq!(delivery.state(), v1::DeliveryState::Held);
        assert_eq!((&*delivery.reason, delivery.next_attempt_time), (reason.label(), None));
        let retry = v1::RetryMessageRequest { request_id: id(2), name: name.clone() };
        let error = a.messages().retry_message(retry).await.unwrap_err();
        assert_eq!(told(&error).1, reason);
        let ping = v1::PingPeerRequest { unit: "xb.ncu".to_owned() };
        let refused = told(&a.peers().ping_peer(ping).await.unwrap_err()).1;
        let removed = reason == Reason::UnknownRecipient;
        assert_eq!(refused, if removed { Reason::NotFound } else { reason });
        let status = a.node().get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
        assert_eq!((status.outbox_open, status.oldest_outbox_time.is_some()), (1, true));
        let list = v1::ListEventsRequest::default();
        let events = a.messages().list_events(list).await.unwrap().into_inner().events;
        let last = events.last().unwrap();
        assert_eq!((&*last.peer, &*last.reason), ("xb.ncu", reason.label()));
    }
    a.stop().await;
    b.stop().await;
}

/// A peer that was dialled in vain: how often, and a next try that was due is due now.
#[tokio::test]
async fn vain_dials_are_tries() {
    let (a, b) = (Node::start("xa.cyber-poc").await, Node::start("xb.ncu").await);
    a.trust(&b).await;
    let sent = a.messages().send_message(request(1, &["xb.ncu"])).await.unwrap().into_inner();
    let get =
        v1::GetMessageRequest { name: sent.message.unwrap().name, view: 0, ..Default::default() };
    for next_try in [now().before(LATE), now().after(LATE)] {
        let record = BackoffRecord {
            attempts: 3,
            next_try_ms: next_try.as_millis(),
            reason: Reason::PeerUnreachable.label().to_owned(),
            at_ms: now().as_millis(),
        };
        let unit = "xb.ncu".parse().unwrap();
        a.relay.store().save_backoff(unit, Some(record), now()).await.unwrap();
        let message = a.messages().get_message(get.clone()).await.unwrap().into_inner();
        let delivery = &message.deliveries[0];
        assert_eq!((delivery.attempts, &*delivery.reason), (3, "PEER_UNREACHABLE"));
        let next = delivery.next_attempt_time.unwrap().seconds.unsigned_abs() * 1000;
        assert_eq!(next, next_try.max(now()).as_millis());
    }
    a.stop().await;
    b.stop().await;
}

/// The status counts what waits on both sides; the card is the one that peers import.
#[tokio::test]
async fn the_status_says_what_waits() {
    let (a, b) = (Node::start("xa.cyber-poc").await, Node::start("xb.ncu").await);
    a.trust(&b).await;
    b.trust(&a).await;
    let sent = a.messages().send_message(request(1, &["xb.ncu"])).await.unwrap().into_inner();
    b.receive(&a, &sent.message.unwrap().message_id).await;
    let status = a.node().get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.node.as_str(), status.outbox_open), ("xa.cyber-poc/a", 1));
    assert!(status.oldest_outbox_time.is_some() && status.working_keys_expire_time.is_some());
    let (store, log) = (status.store.unwrap(), status.log.unwrap());
    assert_eq!((store.state.as_str(), log.size), ("OPEN", 1));
    let status = b.node().get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.inbox_unacknowledged, status.needs_acknowledgement.len()), (1, 1));
    let card = a.node().get_card(v1::GetCardRequest {}).await.unwrap().into_inner();
    assert_eq!((card.card.as_ref(), card.unit.as_str()), (a.card.as_slice(), "xa.cyber-poc"));
    a.stop().await;
    b.stop().await;
}

const LATE: std::time::Duration = std::time::Duration::from_secs(4);

/// Many alarms about one peer hide neither those about another nor what is wrong here; that there
/// are more is said.
#[tokio::test]
async fn alarms_of_one_peer_hide_no_others() {
    let (a, b, c) = (
        Node::start("xa.cyber-poc").await,
        Node::start("xb.ncu").await,
        Node::start("xc.cyber-poc").await,
    );
    a.trust(&b).await;
    a.trust(&c).await;
    let alarm = |peer: &str, detail: String| NewAlarm {
        reason: Reason::BadSignature,
        peer: peer.to_owned(),
        detail,
        evidence: bytes::Bytes::new(),
        now: now(),
    };
    let store = a.relay.store();
    for (peer, count) in [("xa.cyber-poc", 1), ("xc.cyber-poc", 1), ("xb.ncu", 25)] {
        for n in 0..count {
            store.alarm(alarm(peer, format!("number {n}")), Meter::unlimited()).await.unwrap();
        }
    }
    let status = a.node().get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
    let about = |unit: &str| {
        status.alarms.iter().filter(|alarm| alarm.contains(&format!(" {unit}: "))).count()
    };
    assert_eq!((about("xa.cyber-poc"), about("xc.cyber-poc"), about("xb.ncu")), (1, 1, 3));
    assert!(status.alarms[0].contains("xa.cyber-poc"), "ours come first");
    assert!(status.alarms_more);
}
