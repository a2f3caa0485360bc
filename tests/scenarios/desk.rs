//! The real binaries: what the desk is refused, and that nobody else notices.

use std::time::Duration;

use relay_proto::{reason::Reason, v1};
use relay_tests::{
    cluster::{draft, free_udp_port},
    process::{Process, add, introduce, request_id, verify},
};
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::rig::{Federation, count, demo_json, refused, until};

/// An alert to one unit, as a file.
fn alert(federation: &Federation, to: &str, priority: &str) -> String {
    let mut alert = demo_json("alert.json");
    alert["env"]["to"] = json!([to]);
    alert["env"].as_object_mut().unwrap().remove("from");
    alert["env"]["priority"] = json!(priority);
    if priority != "ROUTINE" {
        alert["env"]["urgency_reason"] = json!("a test of urgency");
    }
    let path = federation.write(&format!("{to}-{priority}.json"), &alert.to_string());
    path.to_str().unwrap().to_owned()
}

fn send<'a>(file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["send", "alert", "--file", file], more].concat()
}

fn delivered(node: &Process, file: &str) {
    let sent = node.cli(&send(file, &["--wait", "delivered"]));
    assert_eq!(sent.code, Some(0), "{sent:?}");
}

/// The code, the label and the fields of a gRPC error.
fn told(status: &tonic::Status) -> (Code, Reason, Vec<String>) {
    let details = status.get_error_details();
    let reason = details.error_info().unwrap().reason.parse().unwrap();
    let fields = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    (status.code(), reason, fields.into_iter().map(|violation| violation.field).collect())
}

fn new_request(to: &str) -> v1::SendMessageRequest {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = u64::try_from(since.as_millis()).unwrap();
    let now = relay_proto::timestamp::Timestamp::from_millis(now);
    let draft = Some(draft("alert.json", &[to], now));
    v1::SendMessageRequest {
        request_id: request_id(),
        draft,
        validate_only: false,
        etag: String::new(),
    }
}

/// Unknown, not compared, forged, suspended: each is refused by name, nothing of it is stored, and
/// a verified unit gets its messages all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_verified_units_are_written_to() {
    let federation = Federation::start(&["xa.cyber-poc", "xb.ncu"], "").await;
    let [a, b] = federation.nodes.as_slice() else { panic!("two nodes") };
    let (to_b, to_c) =
        (alert(&federation, "xb.ncu", "ROUTINE"), alert(&federation, "xc.ncu", "ROUTINE"));
    refused(a, &send(&to_c, &[]), 12, "UNKNOWN_RECIPIENT", &["xc.ncu", "peer list"]);

    let c = Process::init(federation.dir.path(), "xc.ncu", "");
    add(a, &c).await;
    refused(a, &send(&to_c, &[]), 17, "PEER_UNVERIFIED", &["xc.ncu", "peer verify"]);
    let wrong = "12345".repeat(12);
    let typed = ["peer", "verify", "xc.ncu", "--by", "Novak", "--fingerprint", &wrong];
    refused(a, &typed, 14, "FINGERPRINT_MISMATCH", &["do not trust this card"]);
    // The same unit's name under other keys.
    let forged = federation.dir.path().join("forged");
    let address = format!("127.0.0.1:{}", free_udp_port());
    let forged = Process::init_at(&forged, "xb.ncu", &address, ("xb", "+1-202-555-0199"), "");
    let card = forged.card();
    let import = ["peer", "add", card.to_str().unwrap()];
    refused(a, &import, 14, "BAD_CARD", &["identity key", "remove the peer"]);
    delivered(a, &to_b);

    let suspended =
        a.cli(&["peer", "suspend", "xb.ncu", "--by", "Novak", "--reason", "key may be lost"]);
    assert_eq!(suspended.code, Some(0), "{suspended:?}");
    refused(a, &send(&to_b, &[]), 17, "PEER_SUSPENDED", &["xb.ncu", "peer show"]);
    // What the suspended unit sends is not lost: it waits there.
    let to_a = alert(&federation, "xa.cyber-poc", "ROUTINE");
    let waiting = b.cli(&send(&to_a, &["--json"]));
    assert_eq!(waiting.code, Some(0), "{waiting:?}");
    assert_eq!((count(a, "OUT").await, count(a, "IN").await), (1, 0));
    verify(a, b).await;
    until("the message that waited", || {
        let outbox = b.cli(&["outbox", "--json"]).json();
        outbox["messages"].as_array().unwrap().is_empty()
    })
    .await;
    delivered(a, &to_b);
    assert_eq!((count(a, "OUT").await, count(a, "IN").await), (2, 1));
    federation.assert_calm();
}

/// Calls of programs: no request id, one that is none, an unknown recipient, no recipient.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_refused_with_their_fields() {
    let federation = Federation::start(&["xa.cyber-poc", "xb.ncu"], "").await;
    let node = &federation.nodes[0];
    let mut messages = node.client().messages;
    for id in ["", "7", "not-a-uuid\u{1b}[2J"] {
        let request = v1::SendMessageRequest { request_id: id.to_owned(), ..new_request("xb.ncu") };
        let status = messages.send_message(request).await.unwrap_err();
        let fields = vec!["request_id".to_owned()];
        assert_eq!(told(&status), (Code::InvalidArgument, Reason::RequestIdMissing, fields));
        assert!(status.message().contains("UUID"), "{status:?}");
    }
    for to in ["xz.nobody", "nobody", "\u{202e}ucn.bx"] {
        let status = messages.send_message(new_request(to)).await.unwrap_err();
        let fields = vec!["draft.to".to_owned()];
        assert_eq!(told(&status), (Code::NotFound, Reason::UnknownRecipient, fields));
        assert!(status.message().contains(to), "{status:?}");
    }
    let mut nobody = new_request("xb.ncu");
    nobody.draft.as_mut().unwrap().to.clear();
    let status = messages.send_message(nobody).await.unwrap_err();
    let fields = vec!["draft.to".to_owned()];
    assert_eq!(told(&status), (Code::InvalidArgument, Reason::InvalidContent, fields));
    assert_eq!(count(node, "OUT").await, 0);
    messages.send_message(new_request("xb.ncu")).await.unwrap();
    federation.assert_calm();
}

const SMALL: &str = "\n[outbox]\nqueue_messages_max = 100\nwindow_messages = 100\n\
                     \n[inbox]\nqueue_messages_max = 100\n";

async fn send_many(node: &Process, to: &str, count: usize) {
    let requests: Vec<_> = (0..count).map(|_| new_request(to)).collect();
    let mut messages = node.client().messages;
    let answers = messages.send_messages(tokio_stream::iter(requests)).await.unwrap();
    let mut answers = answers.into_inner();
    for _ in 0..count {
        let answer = answers.message().await.unwrap().unwrap();
        let sent = matches!(answer.outcome, Some(v1::send_messages_response::Outcome::Sent(_)));
        assert!(sent, "{answer:?}");
    }
}

/// A queue for a unit that is away is full: the next message is refused with a wait, and another
/// unit gets its own. An inbox that nobody empties is full: the next message waits at its sender,
/// EMERGENCY passes, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_queues_are_told_and_hold_up_nobody() {
    let federation = Federation::start(&["xa.cyber-poc", "xb.ncu"], SMALL).await;
    let [a, b] = federation.nodes.as_slice() else { panic!("two nodes") };
    let c = Process::init(federation.dir.path(), "xc.ncu", "");
    add(a, &c).await;
    verify(a, &c).await;
    send_many(a, "xc.ncu", 100).await;
    let to_c = alert(&federation, "xc.ncu", "ROUTINE");
    let document = refused(a, &send(&to_c, &[]), 1, "QUEUE_FULL", &["xc.ncu", "wait:"]);
    assert_eq!(document["retry_after_ms"], 30_000);
    assert_eq!(count(a, "OUT").await, 100);

    send_many(a, "xb.ncu", 100).await;
    let arrived = async || count(b, "IN").await == 100;
    let wait = async {
        while !arrived().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap();
    let to_b = alert(&federation, "xb.ncu", "ROUTINE");
    let sent = a.cli(&send(&to_b, &["--json"]));
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let short = sent.json()["message"]["short_id"].as_str().unwrap().to_owned();
    let delivery = |short: &str| {
        let shown = a.cli(&["show", short, "--json", "--no-content"]).json();
        let delivery = shown["message"]["deliveries"][0].clone();
        (delivery["state"].as_str().unwrap().to_owned(), delivery["reason"].clone())
    };
    let deferred = ("deferred".to_owned(), json!("QUEUE_FULL"));
    until("the deferral is told", || delivery(&short) == deferred).await;
    delivered(a, &alert(&federation, "xb.ncu", "EMERGENCY"));

    let inbox = b.cli(&["inbox", "--json", "--limit", "5"]).json();
    for message in inbox["messages"].as_array().unwrap() {
        let taken = b.cli(&["ack", message["message_id"].as_str().unwrap(), "--by", "Novak"]);
        assert_eq!(taken.code, Some(0), "{taken:?}");
    }
    assert_eq!(a.cli(&["retry", &short]).code, Some(0));
    until("it is delivered", || delivery(&short).0 == "delivered").await;
    assert_eq!((count(a, "OUT").await, count(b, "IN").await), (202, 102));
    federation.assert_calm();
}

/// Somebody with other keys answers at a peer's address: no session, the message waits, the label
/// says why, and another peer is served; when the peer is back, it gets the message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_at_a_peers_address_gets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_udp_port());
    let mut nodes = vec![
        Process::init(dir.path(), "xa.cyber-poc", ""),
        Process::init_at(&dir.path().join("b"), "xb.ncu", &address, ("xb", "+1-202-555-0101"), ""),
        Process::init(dir.path(), "xc.ncu", ""),
    ];
    for node in &mut nodes {
        node.start().await;
    }
    introduce(&nodes).await;
    let mut federation = Federation { dir, nodes };
    assert_eq!(federation.nodes[1].terminate(), Some(0));
    let place = federation.dir.path().join("impostor");
    let mut impostor = Process::init_at(&place, "xb.ncu", &address, ("xb", "+1-202-555-0101"), "");
    impostor.start().await;

    let to_b = alert(&federation, "xb.ncu", "ROUTINE");
    let sent = federation.nodes[0].cli(&send(&to_b, &["--json"]));
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let peer = || federation.nodes[0].cli(&["peer", "show", "xb.ncu", "--json"]).json();
    until("the label", || peer()["peer"]["last_reason"] == "KEY_NOT_PINNED").await;
    let ping = ["peer", "ping", "xb.ncu"];
    refused(
        &federation.nodes[0],
        &ping,
        1,
        "PEER_UNREACHABLE",
        &["stored and sent when it returns"],
    );
    delivered(&federation.nodes[0], &alert(&federation, "xc.ncu", "ROUTINE"));
    assert_eq!(count(&impostor, "IN").await, 0);

    assert_eq!(impostor.terminate(), Some(0));
    federation.nodes[1].start().await;
    let short = sent.json()["message"]["short_id"].as_str().unwrap().to_owned();
    federation.nodes[0].cli(&["retry", &short]);
    until("the message that waited", || {
        let outbox = federation.nodes[0].cli(&["outbox", "--json"]).json();
        outbox["messages"].as_array().unwrap().is_empty()
    })
    .await;
    assert_eq!(count(&federation.nodes[1], "IN").await, 1);
    federation.assert_calm();
}
