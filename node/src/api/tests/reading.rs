//! Reading: get, list, watch, acknowledge, receipts, evidence.

use std::time::Duration;

use relay_proto::{reason::Reason, v1};
use tonic::Code;

use super::{
    fixture::{Node, id, request},
    told,
};

async fn pair() -> (Node, Node) {
    let (a, b) = (Node::start("xa.cyber-poc").await, Node::start("xb.ncu").await);
    a.trust(&b).await;
    b.trust(&a).await;
    (a, b)
}

async fn send(node: &Node, n: u32) -> v1::Message {
    let answer = node.messages().send_message(request(n, &["xb.ncu"])).await.unwrap();
    answer.into_inner().message.unwrap()
}

/// A message is found by each of its names; its content is shown in the full view only.
#[tokio::test]
async fn messages_are_found_by_name() {
    let (a, b) = pair().await;
    let sent = send(&a, 1).await;
    let mut client = a.messages();
    for name in [&sent.name, &sent.message_id, &sent.short_id, &sent.short_id.to_lowercase()] {
        let get = v1::GetMessageRequest { name: name.clone(), view: 0, ..Default::default() };
        assert_eq!(client.get_message(get).await.unwrap().into_inner(), sent);
    }
    let full = v1::MessageView::Full.into();
    let get =
        v1::GetMessageRequest { name: sent.name.clone(), view: full, purpose: "a test".to_owned() };
    let message = client.get_message(get).await.unwrap().into_inner();
    assert_eq!(message.title, "Phishing 1");
    assert!(message.payload.is_some() && message.signed_header.is_some());
    let [receipt] = message.receipts.as_slice() else { panic!("one receipt") };
    assert_eq!(receipt.event(), v1::Event::SubmissionAcceptance);
    assert!(receipt.verified && receipt.leaf_hash.len() == 32);
    for (name, reason) in [("0000-0000", Reason::NotFound), ("x", Reason::Malformed)] {
        let get = v1::GetMessageRequest { name: name.to_owned(), view: 0, ..Default::default() };
        assert_eq!(told(&client.get_message(get).await.unwrap_err()).1, reason);
    }
    a.stop().await;
    b.stop().await;
}

/// Pages hold each message once, the newest first; filters hold; tokens belong to their filter.
#[tokio::test]
async fn lists_come_in_pages() {
    let (a, b) = pair().await;
    for n in 1..=7 {
        send(&a, n).await;
    }
    let mut client = a.messages();
    let mut list = v1::ListMessagesRequest {
        page_size: 3,
        filter: "direction = OUT AND state = QUEUED AND peer = \"xb.ncu\"".to_owned(),
        ..Default::default()
    };
    let (mut seen, mut tokens) = (Vec::new(), Vec::new());
    loop {
        let page = client.list_messages(list.clone()).await.unwrap().into_inner();
        assert!(page.messages.len() <= 3);
        seen.extend(page.messages.into_iter().map(|message| message.message_id));
        if page.next_page_token.is_empty() {
            break;
        }
        tokens.push(page.next_page_token.clone());
        list.page_token = page.next_page_token;
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.is_sorted_by(|one, next| one != next));
    let other = v1::ListMessagesRequest {
        filter: "direction = OUT".to_owned(),
        page_token: tokens[0].clone(),
        page_size: 3,
    };
    let error = client.list_messages(other).await.unwrap_err();
    let field = vec!["page_token".to_owned()];
    assert_eq!(told(&error), (Code::InvalidArgument, Reason::BadCursor, field));
    for filter in ["direction = IN", "state = DEFERRED", "kind = PRESERVATION_REQUEST"] {
        let list = v1::ListMessagesRequest { filter: filter.to_owned(), ..Default::default() };
        let page = client.list_messages(list).await.unwrap().into_inner();
        assert_eq!((page.messages.len(), page.next_page_token.as_str()), (0, ""), "{filter}");
    }
    let list = v1::ListMessagesRequest { filter: "colour = RED".to_owned(), ..Default::default() };
    assert_eq!(told(&client.list_messages(list).await.unwrap_err()).1, Reason::BadFilter);
    a.stop().await;
    b.stop().await;
}

/// A watch that is broken off after each single event and resumed by its cursor sees what an
/// unbroken one sees, and what comes later; the polling twin sees the same.
#[tokio::test]
async fn watches_resume_and_skip_nothing() {
    let (a, b) = pair().await;
    let mut sent = Vec::new();
    for n in 1..=3 {
        sent.push(send(&a, n).await.message_id);
    }
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    while seen.len() < 4 {
        let watch = v1::WatchEventsRequest { cursor: cursor.clone() };
        let mut events = a.messages().watch_events(watch).await.unwrap().into_inner();
        if seen.len() == 3 {
            // Nothing is there yet: the watch waits, and the next message wakes it.
            sent.push(send(&a, 4).await.message_id);
        }
        let event = tokio::time::timeout(LONG, events.message()).await.unwrap().unwrap().unwrap();
        cursor.clone_from(&event.cursor);
        if event.kind() == v1::UnitEventKind::MessageSent {
            seen.push(event.message_id);
        }
    }
    assert_eq!(seen, sent);
    let list = v1::ListEventsRequest { cursor: String::new(), page_size: 2 };
    let (mut list, mut polled) = (list, Vec::new());
    loop {
        let page = a.messages().list_events(list.clone()).await.unwrap().into_inner();
        let sends = page.events.iter().filter(|e| e.kind() == v1::UnitEventKind::MessageSent);
        polled.extend(sends.map(|event| event.message_id.clone()));
        if page.next_cursor == list.cursor {
            break;
        }
        list.cursor = page.next_cursor;
    }
    assert_eq!(polled, sent);
    for cursor in ["nonsense", "999999.0"] {
        let watch = v1::WatchEventsRequest { cursor: cursor.to_owned() };
        let error = a.messages().watch_events(watch).await.unwrap_err();
        assert_eq!(told(&error).1, Reason::BadCursor);
    }
    a.stop().await;
    b.stop().await;
}

/// The first acknowledgement in a capacity makes the receipt, its repetition the same answer, a
/// second one none.
#[tokio::test]
async fn acknowledgements_are_made_once() {
    let (a, b) = pair().await;
    let sent = send(&a, 1).await;
    b.receive(&a, &sent.message_id).await;
    let mut client = b.messages();
    let ack = |n: u32, capacity: v1::AckCapacity, by: &str| v1::AcknowledgeMessageRequest {
        request_id: id(n),
        name: sent.short_id.clone(),
        capacity: capacity.into(),
        by: by.to_owned(),
    };
    let desk = v1::AckCapacity::Desk;
    let error = client.acknowledge_message(ack(1, desk, " ")).await.unwrap_err();
    assert_eq!(
        told(&error),
        (Code::InvalidArgument, Reason::InvalidContent, vec!["by".to_owned()])
    );
    let unstated = v1::AckCapacity::Unspecified;
    let error = client.acknowledge_message(ack(1, unstated, "x")).await.unwrap_err();
    assert_eq!(told(&error).2, ["capacity"]);

    let first = client.acknowledge_message(ack(1, desk, "Desk 1")).await.unwrap().into_inner();
    let receipt = first.receipt.clone().unwrap();
    assert_eq!(receipt.event(), v1::Event::ConsignmentAcceptance);
    assert_eq!((receipt.actor.as_str(), first.already_acknowledged), ("Desk 1", false));
    let again = client.acknowledge_message(ack(1, desk, "Desk 1")).await.unwrap().into_inner();
    assert_eq!(again.receipt, first.receipt);
    assert!(!again.already_acknowledged);
    let later = client.acknowledge_message(ack(2, desk, "Desk 2")).await.unwrap().into_inner();
    assert!(later.already_acknowledged);
    assert_eq!(later.receipt, first.receipt);
    let again = client.acknowledge_message(ack(2, desk, "Desk 2")).await.unwrap().into_inner();
    assert!(again.already_acknowledged);
    let error = client.acknowledge_message(ack(2, desk, "Desk 3")).await.unwrap_err();
    assert_eq!(told(&error).1, Reason::RequestIdConflict);
    let handover = ack(3, v1::AckCapacity::Handover, "");
    let taken = client.acknowledge_message(handover).await.unwrap().into_inner();
    assert_eq!(taken.receipt.unwrap().event(), v1::Event::ContentHandover);
    assert_eq!(taken.message.unwrap().acknowledgements.len(), 2);

    let events = client.list_events(v1::ListEventsRequest::default()).await.unwrap().into_inner();
    let kinds: Vec<_> = events.events.iter().map(|event| event.kind()).collect();
    use v1::UnitEventKind::{MessageReceived, PeerChanged, ReceiptIssued};
    let wanted = [PeerChanged, PeerChanged, MessageReceived, ReceiptIssued, ReceiptIssued];
    assert_eq!(kinds, wanted);
    // The sender cannot acknowledge its own.
    let error = a.messages().acknowledge_message(ack(9, desk, "Desk 1")).await.unwrap_err();
    assert_eq!(told(&error).1, Reason::FailedPrecondition);

    let receipts = v1::ListReceiptsRequest { name: sent.name.clone() };
    let receipts = client.list_receipts(receipts).await.unwrap().into_inner().receipts;
    assert_eq!(receipts.len(), 3);
    let export = v1::ExportEvidenceRequest {
        name: sent.name.clone(),
        include_payload: false,
        purpose: String::new(),
    };
    let export = client.export_evidence(export).await.unwrap().into_inner();
    let bundle = export.bundle.unwrap();
    assert_eq!((bundle.receipts.len(), bundle.payload.len()), (3, 0));
    assert!(bundle.receipts.iter().all(|receipt| !receipt.checkpoint.is_empty()));
    a.stop().await;
    b.stop().await;
}

/// While the log is held a receipt of ours is noted and signed by nobody: it does not pass for one
/// that others can check.
#[tokio::test]
async fn receipts_of_a_held_log_are_not_verified() {
    let a = Node::start("xa.cyber-poc").await;
    let b = Node::start_restored("xb.ncu").await;
    a.trust(&b).await;
    b.trust(&a).await;
    let sent = send(&a, 1).await;
    b.receive(&a, &sent.message_id).await;
    let ack = v1::AcknowledgeMessageRequest {
        request_id: id(1),
        name: sent.short_id.clone(),
        capacity: v1::AckCapacity::Desk.into(),
        by: "Desk 1".to_owned(),
    };
    let taken = b.messages().acknowledge_message(ack).await.unwrap().into_inner();
    let receipt = taken.receipt.unwrap();
    assert_eq!((receipt.verified, receipt.flags), (false, vec!["LOG_HELD".to_owned()]));
    let list = |name: &str| v1::ListReceiptsRequest { name: name.to_owned() };
    let held = b.messages().list_receipts(list(&sent.name)).await.unwrap().into_inner().receipts;
    assert!(held.len() == 2 && held.iter().all(|receipt| !receipt.verified));
    let free = a.messages().list_receipts(list(&sent.name)).await.unwrap().into_inner().receipts;
    assert!(free.len() == 1 && free.iter().all(|receipt| receipt.verified));
    a.stop().await;
    b.stop().await;
}

const LONG: Duration = Duration::from_secs(20);
