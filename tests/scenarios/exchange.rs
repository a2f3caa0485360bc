//! The real binaries: units exchange, prove, are killed, are stopped.

use std::time::Duration;

use relay_proto::v1;
use relay_tests::{
    cluster::draft,
    process::{Process, offline_cli, request_id},
};

use crate::rig::{Federation, assert_plain, count, demo_file, refused, until};

const UNITS: [&str; 3] = ["xa.cyber-poc", "xb.ncu", "xc.cyber-poc"];

/// Nodes are introduced as operators do it: cards are imported, digits are read and typed.
fn introduce_by_telephone(nodes: &[Process]) {
    let others = |node: &Process| {
        let unit = node.unit.clone();
        nodes.iter().filter(move |other| other.unit != unit)
    };
    for node in nodes {
        for other in others(node) {
            let added = node.cli(&["peer", "add", other.card().to_str().unwrap()]);
            assert_eq!(added.code, Some(0), "{added:?}");
            assert!(added.out.starts_with(&format!("IMPORTED {}", other.unit)), "{added:?}");
        }
    }
    // Before the call nothing is exchanged.
    let alert = demo_file("alert.json");
    let send = ["send", "alert", "--file", alert.as_str()];
    refused(&nodes[0], &send, 17, "PEER_UNVERIFIED", &["xb.ncu", "peer verify"]);
    for node in nodes {
        for other in others(node) {
            let read = other.cli(&["peer", "verify", &node.unit, "--read", "--json"]);
            let digits = read.json()["fingerprint"].as_str().unwrap().to_owned();
            let typed = ["peer", "verify", &other.unit, "--by", "K. Novak", "--fingerprint"];
            let verified = node.cli(&[&typed[..], &[&digits]].concat());
            assert_eq!(verified.code, Some(0), "{verified:?}");
        }
    }
}

/// Sends a demo file and waits for its receipts; the message's short id.
fn send(node: &Process, verb: &str, file: &str) -> String {
    let file = demo_file(file);
    let sent = node.cli(&["send", verb, "--file", &file, "--wait", "delivered", "--json"]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    sent.json()["message"]["short_id"].as_str().unwrap().to_owned()
}

fn events(node: &Process, short: &str) -> Vec<String> {
    let receipts = node.cli(&["receipts", short, "--json"]);
    assert_eq!(receipts.code, Some(0), "{receipts:?}");
    let receipts = receipts.json()["receipts"].as_array().unwrap().clone();
    assert!(receipts.iter().all(|receipt| receipt["verified"] == true), "{receipts:?}");
    receipts.iter().map(|receipt| receipt["event"].as_str().unwrap().to_owned()).collect()
}

/// An alert to two units, a request to one, taken by an officer; the receipts prove it where no
/// node is; each node stops with 0 and has everything when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_units_exchange_and_prove() {
    let mut federation = Federation::strangers(&UNITS, "").await;
    introduce_by_telephone(&federation.nodes);
    let [a, b, c] = federation.nodes.as_slice() else { panic!("three nodes") };
    let alert = send(a, "alert", "alert.json");
    let request = send(a, "preservation", "preservation.json");
    let inbox = b.cli(&["inbox"]);
    assert!(inbox.out.contains(&request) && inbox.out.contains(&alert), "{inbox:?}");
    assert_eq!((count(b, "IN").await, count(c, "IN").await), (2, 1));

    let taken = b.cli(&["ack", &request, "--by", "Det. Sgt. Arun Pillai"]);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    let handed = b.cli(&["ack", &alert, "--handover"]);
    assert_eq!(handed.code, Some(0), "{handed:?}");
    let told = |event: &'static str, short: String| {
        move || events(a, &short).iter().any(|found| found == event)
    };
    until("the officer's receipt", told("ConsignmentAcceptance", request.clone())).await;
    until("the case system's receipt", told("ContentHandover", alert.clone())).await;
    let ladder = ["SubmissionAcceptance", "ContentConsignment", "ConsignmentAcceptance"];
    assert_eq!(events(a, &request), ladder);
    prove(&federation, &request);

    for node in &mut federation.nodes {
        assert_eq!(node.terminate(), Some(0), "{}: {}", node.unit, node.log());
        assert!(!node.socket().exists());
        assert!(node.log().contains("store closed"), "{}", node.log());
        node.start().await;
    }
    assert_eq!(events(&federation.nodes[0], &request), ladder);
    assert_eq!(count(&federation.nodes[1], "IN").await, 2);
    federation.assert_calm();
}

/// The bundle is VALID under both cards, CONSISTENT without, INVALID with one bit changed.
fn prove(federation: &Federation, short: &str) {
    let dir = federation.dir.path();
    let exported = federation.nodes[0].cli(&[
        "evidence",
        "export",
        short,
        "--to",
        dir.join("court").to_str().unwrap(),
    ]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    let bundle = format!("court/{short}.relayev");
    let cards = [federation.nodes[0].card(), federation.nodes[1].card()];
    let cards = cards.each_ref().map(|card| card.to_str().unwrap());
    let verify = ["evidence", "verify", bundle.as_str()];
    let trusted = [&verify[..], &["--trust"], &cards].concat();
    let valid = offline_cli(dir, &trusted);
    assert_eq!(valid.code, Some(0), "{valid:?}");
    assert!(valid.out.starts_with("VALID"), "{valid:?}");
    let consistent = offline_cli(dir, &verify);
    assert_eq!(consistent.code, Some(1), "{consistent:?}");
    assert!(consistent.out.starts_with("CONSISTENT"), "{consistent:?}");
    let path = dir.join(&bundle);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let invalid = offline_cli(dir, &trusted);
    assert_eq!(invalid.code, Some(14), "{invalid:?}");
    assert!(invalid.out.starts_with("INVALID"), "{invalid:?}");
    assert_plain(&invalid);
}

/// Sends under one request id until the node answers; repeats whatever died on the way.
async fn send_for_sure(
    node: &v1::message_service_client::MessageServiceClient<tonic::transport::Channel>,
    request: &v1::SendMessageRequest,
) -> v1::Message {
    loop {
        match node.clone().send_message(request.clone()).await {
            Ok(answer) => return answer.into_inner().message.unwrap(),
            Err(status) => {
                let away = [tonic::Code::Unavailable, tonic::Code::Unknown, tonic::Code::Cancelled];
                assert!(away.contains(&status.code()), "{status:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// SIGKILL of the recipient, then of the sender, in the middle of forty messages; the client
/// repeats by request id: its record and the recipient's inbox are the same messages, each once,
/// and repeating one of them later does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_nodes_lose_and_double_nothing() {
    let mut federation = Federation::start(&UNITS[..2], "").await;
    let client = federation.nodes[0].client().messages;
    let now = relay_proto::timestamp::Timestamp::from_millis(now_ms());
    let request = |_| v1::SendMessageRequest {
        request_id: request_id(),
        draft: Some(draft("alert.json", &["xb.ncu"], now)),
        validate_only: false,
        etag: String::new(),
    };
    let requests: Vec<v1::SendMessageRequest> = (0..40).map(request).collect();
    let (answered, mut progress) = tokio::sync::watch::channel(0);
    let sending = {
        let (client, requests) = (client.clone(), requests.clone());
        tokio::spawn(async move {
            let mut record = Vec::new();
            for request in &requests {
                record.push(send_for_sure(&client, request).await.message_id);
                answered.send_replace(record.len());
            }
            record
        })
    };
    progress.wait_for(|count| *count >= 10).await.unwrap();
    federation.nodes[1].kill();
    progress.wait_for(|count| *count >= 20).await.unwrap();
    federation.nodes[1].start().await;
    progress.wait_for(|count| *count >= 25).await.unwrap();
    federation.nodes[0].kill();
    federation.nodes[0].start().await;
    let record = sending.await.unwrap();
    assert_eq!(record.iter().collect::<std::collections::BTreeSet<_>>().len(), 40);

    let again = client.clone().send_message(requests[0].clone()).await.unwrap().into_inner();
    assert!(again.repeated_request);
    assert_eq!(again.message.unwrap().message_id, record[0]);
    let outbox = || federation.nodes[0].cli(&["outbox", "--json"]).json();
    until("all is delivered", || outbox()["messages"].as_array().unwrap().is_empty()).await;
    assert_eq!(count(&federation.nodes[0], "OUT").await, 40);
    assert_eq!(count(&federation.nodes[1], "IN").await, 40);
    for id in &record {
        let name = format!("messages/{id}");
        let mut other = federation.nodes[1].client().messages;
        let get = v1::GetMessageRequest { name, ..Default::default() };
        other.get_message(get).await.unwrap();
        assert_eq!(
            events(&federation.nodes[0], id),
            ["SubmissionAcceptance", "ContentConsignment"]
        );
    }
    federation.assert_calm();
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// A command of the desk that is repeated with its request id sends nothing twice, also when its
/// file says times relative to now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_command_sends_once() {
    let mut federation = Federation::start(&UNITS[..2], "").await;
    let file = {
        let mut alert = crate::rig::demo_json("alert.json");
        alert["env"]["to"] = serde_json::json!(["xb.ncu"]);
        federation.write("alert.json", &alert.to_string())
    };
    let file = file.to_str().unwrap();
    let first = federation.nodes[0].cli(&["send", "alert", "--file", file, "--json"]).json();
    let id = first["request_id"].as_str().unwrap().to_owned();
    federation.nodes[0].kill();
    federation.nodes[0].start().await;
    let again =
        federation.nodes[0].cli(&["send", "alert", "--file", file, "--request-id", &id, "--json"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(again.json()["repeated_request"], true);
    assert_eq!(again.json()["message"]["message_id"], first["message"]["message_id"]);
    assert_eq!(count(&federation.nodes[0], "OUT").await, 1);
    // The same id for something else is refused, and says how to go on.
    let said = ["other content", "--request-id"];
    let other = demo_file("preservation.json");
    let other = ["send", "preservation", "--file", other.as_str(), "--request-id", &id];
    refused(&federation.nodes[0], &other, 16, "REQUEST_ID_CONFLICT", &said);
    assert_eq!(count(&federation.nodes[0], "OUT").await, 1);
    federation.assert_calm();
}
