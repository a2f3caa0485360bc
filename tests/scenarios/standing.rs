//! How a peer stands: idle is not down, a ping dials, and who puts off says so at both ends. The
//! real binaries run.

use relay_proto::v1;
use relay_tests::{
    client::alert,
    process::{Process, request_id},
};
use serde_json::Value;

use super::rig::{Federation, refused, until};

fn peer(node: &Process) -> Value {
    node.cli(&["peer", "list", "--json"]).json()["peers"][0].clone()
}

async fn send(node: &Process, to: &str) {
    let request = v1::SendMessageRequest {
        request_id: request_id(),
        draft: Some(alert(to)),
        validate_only: false,
        etag: String::new(),
    };
    node.client().messages.send_message(request).await.unwrap();
}

fn open(node: &Process) -> Vec<Value> {
    let listed = node.cli(&["outbox", "--limit", "1000", "--json"]).json();
    listed["messages"].as_array().unwrap().clone()
}

/// Both nodes were started anew and have nothing for each other: none calls the other down, and a
/// ping makes a session. One that does not answer is down after the ping.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_peer_is_not_down_and_a_ping_dials() {
    let mut federation = Federation::start(&["xa.cyber-poc", "xb.ncu"], "").await;
    let [a, b] = federation.nodes.as_mut_slice() else { panic!("two nodes") };
    send(a, "xb.ncu").await;
    until("nothing waits", || open(a).is_empty()).await;
    a.terminate();
    b.terminate();
    a.start().await;
    assert_eq!(peer(a)["state"], "idle");
    let listed = a.cli(&["peer", "list"]);
    assert!(listed.code == Some(0) && listed.out.contains("not tried since"), "{listed:?}");
    let status = a.cli(&["status"]);
    assert!(status.out.contains("1 idle") && !status.out.contains(" down"), "{status:?}");

    let ping = ["peer", "ping", "xb.ncu"];
    refused(a, &ping, 1, "PEER_UNREACHABLE", &["xb.ncu"]);
    until("that it is down", || peer(a)["state"] == "down").await;
    b.start().await;
    let ended = a.cli(&ping);
    assert!(ended.code == Some(0) && ended.out.contains("xb.ncu answers in"), "{ended:?}");
    assert_eq!(peer(a)["state"], "up");
    let back = b.cli(&["peer", "ping", "xa.cyber-poc"]);
    assert_eq!(back.code, Some(0), "{back:?}");
    federation.assert_calm();
}

/// Nobody takes anything at the recipient until its inbox is full: its status says for whom, and
/// the sender's pages say who puts off, why and until when.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_inbox_is_told_at_both_ends() {
    // Notes are the sender's memory of who puts off what: it shows them without any as well.
    let config = "[inbox]\nqueue_messages_max = 100\n[quota]\nnotes_per_hour = 5\n";
    let federation = Federation::start(&["xa.cyber-poc", "xb.ncu"], config).await;
    let [a, b] = federation.nodes.as_slice() else { panic!("two nodes") };
    for _ in 0..130 {
        send(a, "xb.ncu").await;
    }
    until("who puts off", || peer(a)["last_reason"] == "QUEUE_FULL").await;
    until("the rest waits", || open(a).len() <= 30).await;
    let waiting = open(a);
    assert!(!waiting.is_empty());
    for message in &waiting {
        let delivery = &message["deliveries"][0];
        assert_eq!(delivery["reason"], "QUEUE_FULL", "{message}");
        assert!(delivery["next_attempt"].is_string(), "{message}");
        assert_ne!(delivery["state"], "in flight", "{message}");
    }
    let page = a.cli(&["outbox"]);
    assert!(page.out.contains("xb.ncu puts us off"), "{page:?}");
    for (arguments, text) in [
        (&["status"][..], "1 peer putting us off"),
        (&["peer", "list"], "PUTS OFF"),
        (&["peer", "show", "xb.ncu"], "puts our messages off: QUEUE_FULL"),
    ] {
        let page = a.cli(arguments);
        assert!(page.code == Some(1) && page.out.contains(text), "{page:?}");
    }
    let page = b.cli(&["status"]);
    assert!(page.code == Some(1) && page.out.contains("full for xa.cyber-poc"), "{page:?}");
    federation.assert_calm();
}
