//! Two and three nodes in one process exchange messages over real QUIC.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use relay_node::{relay::submit::Submission, store::records::EntryState};
use relay_proto::ids::Uuid;
use relay_tests::cluster::{Cluster, draft, entries_until, submit};

/// An alert reaches two units, and its receipts come back and settle both entries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_reaches_two_units() {
    let cluster = Cluster::start(&["xa.cyber-poc", "xb.ncu", "xc.cyber-poc"]).await;
    let sender = cluster.node(0);
    let now = sender.relay().clock().now();
    let draft = draft("alert.json", &["xb.ncu", "xc.cyber-poc"], now);
    let sent = submit(sender, draft, 1).await.unwrap();
    let entries = entries_until(sender, &sent.digest, |entry| !entry.is_open()).await;
    assert!(entries.iter().all(|entry| entry.state() == EntryState::Delivered));
    for place in [1, 2] {
        assert!(cluster.node(place).store().message(&sent.digest).unwrap().is_some());
    }
}

/// Two case systems that use one request id send a message each: neither gets the other's answer,
/// nor is refused for the other's content.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_ids_of_two_callers_do_not_meet() {
    let cluster = Cluster::start(&["xa.cyber-poc", "xb.ncu"]).await;
    let sender = cluster.node(0);
    let now = sender.relay().clock().now();
    let mut sent = Vec::new();
    for (caller, to) in [("uid:1000", "ref 1"), ("uid:1001", "ref 2")] {
        let mut draft = draft("alert.json", &["xb.ncu"], now);
        draft.payload.as_mut().unwrap().sender_ref = to.to_owned();
        for repeated in [false, true] {
            let submission = Submission {
                principal: caller.to_owned(),
                request_id: Uuid::random([7; 16]),
                draft: draft.clone(),
                validate_only: false,
            };
            let answer = sender.relay().submit(vec![submission]).await.pop().unwrap().unwrap();
            assert_eq!(answer.repeated, repeated, "{caller}");
            sent.push(answer.message_id);
        }
    }
    assert!(sent[0] == sent[1] && sent[2] == sent[3] && sent[0] != sent[2]);
}
