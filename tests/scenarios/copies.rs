//! A copy of a node's whole directory runs beside it: its peer meets both and says so, each of the
//! two is told, and a log that forked is held. The real binaries run.

use std::process::Command;

use relay_tests::process::{Binaries, Process};
use serde_json::Value;

use super::rig::{Federation, demo_json, refused, until};

/// An alert from one of them to the other unit; does not wait for anything.
fn send(federation: &Federation, from: &Process, to: &str) -> String {
    let mut message = demo_json("alert.json");
    message["env"]["to"] = serde_json::json!([to]);
    message["env"].as_object_mut().unwrap().remove("from");
    let file = federation.write("message.json", &message.to_string());
    let sent = from.cli(&["send", "alert", "--file", file.to_str().unwrap(), "--json"]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    sent.json()["message"]["short_id"].as_str().unwrap().to_owned()
}

fn has(node: &Process, id: &str) -> bool {
    node.cli(&["show", id]).code == Some(0)
}

/// The standing alarms of a node with this label.
fn alarms(node: &Process, reason: &str) -> Vec<Value> {
    let listed = node.cli(&["alarm", "list", "--json"]).json();
    let all = listed["alarms"].as_array().unwrap().clone();
    all.into_iter().filter(|alarm| alarm["reason"] == reason).collect()
}

/// While the log is held nobody's word ends what says so.
fn still_stands(node: &Process) {
    for alarm in alarms(node, "LOG_HELD") {
        let id = alarm["id"].to_string();
        let clear = ["alarm", "clear", &id, "--by", "K. Novak", "--reason", "seen"];
        refused(node, &clear, 1, "LOG_HELD", &["still signs nothing", "log succeed"]);
    }
    assert!(!alarms(node, "LOG_HELD").is_empty());
}

fn held(node: &Process) -> String {
    node.cli(&["status", "--json"]).json()["log_held"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_node_is_noticed_by_all_three() {
    let mut federation = Federation::start(&["xa.cyber-poc", "xb.ncu"], "").await;
    let first = send(&federation, &federation.nodes[1], "xa.cyber-poc");
    until("the first message", || has(&federation.nodes[0], &first)).await;
    // A restart is none.
    federation.nodes[1].terminate();
    let mut copy = federation.nodes[1].copied_to(&federation.dir.path().join("copy"));
    federation.nodes[1].start().await;
    let [peer, original] = federation.nodes.as_slice() else { panic!("two nodes") };
    let second = send(&federation, original, "xa.cyber-poc");
    until("the second message", || has(peer, &second)).await;
    assert_eq!(alarms(peer, "DUPLICATE_IDENTITY"), Vec::<Value>::new());

    copy.start().await;
    // The same place of the log, and the same number, for another message.
    send(&federation, &copy, "xa.cyber-poc");
    let all = [peer, original, &copy];
    until("all three alarms", || {
        all.iter().all(|node| !alarms(node, "DUPLICATE_IDENTITY").is_empty())
    })
    .await;
    for (node, unit, texts) in [
        (peer, "xb.ncu", ["speak as xb.ncu/", "stop one of them"]),
        (original, "xb.ncu", ["says xa.cyber-poc", "relay-node log succeed"]),
        (&copy, "xb.ncu", ["says xa.cyber-poc", "relay-node log succeed"]),
    ] {
        let alarm = &alarms(node, "DUPLICATE_IDENTITY")[0];
        assert_eq!(alarm["unit"], unit, "{alarm}");
        for text in texts {
            assert!(alarm["detail"].as_str().unwrap().contains(text), "`{text}` in {alarm}");
        }
        assert_eq!(node.cli(&["status"]).code, Some(1), "nothing needs anybody");
    }
    go_on(&mut federation, copy).await;
}

/// The copy's log is the one that the peer holds by now. The original is refused, and sees in that
/// one handshake that its log forked; its operator ends it and goes on.
async fn go_on(federation: &mut Federation, mut copy: Process) {
    let to_copy = send(federation, &federation.nodes[0], "xb.ncu");
    until("a message to the copy", || has(&copy, &to_copy)).await;
    // The peer holds the checkpoint of its receipt, then.
    let [peer, original] = federation.nodes.as_slice() else { panic!("two nodes") };
    until("its receipt", || {
        let shown = peer.cli(&["show", &to_copy, "--json"]).json();
        shown["message"]["deliveries"][0]["state"] == "delivered"
    })
    .await;
    let waits = send(federation, original, "xa.cyber-poc");
    assert_eq!(original.cli(&["retry", &waits]).code, Some(0));
    until("the fork", || held(original).contains("log succeed")).await;
    until("its alarm", || !alarms(original, "LOG_HELD").is_empty()).await;
    still_stands(original);
    copy.terminate();
    let dir = federation.nodes[1].dir.clone();
    federation.nodes[1].terminate();
    let mut order = Command::new(&Binaries::built().node);
    order.args(["log", "succeed", "--config"]).arg(dir.join("relay.toml"));
    order.args(["--reason", "a copy ran beside it", "--by", "A. Ito", "--by", "B. Cruz"]);
    let ended = order.output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    federation.nodes[1].start().await;
    let [peer, original] = federation.nodes.as_slice() else { panic!("two nodes") };
    let card = original.card();
    for order in [
        &["peer", "add", card.to_str().unwrap()][..],
        &["peer", "rollback-accept", "xb.ncu", "--by", "K. Novak"],
    ] {
        let ended = peer.cli(order);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    let last = send(federation, original, "xa.cyber-poc");
    until("a message of the new log", || has(peer, &last)).await;
    federation.assert_calm();
}
