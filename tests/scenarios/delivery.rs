//! Two and three nodes in one process exchange messages over real QUIC.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use relay_node::{
    relay::submit::{Principal, Submission},
    store::records::{EntryRecord, EntryState},
};
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
                principal: Principal::new(caller, caller),
                request_id: Uuid::random([7; 16]),
                draft: draft.clone(),
                validate_only: false,
                etag: String::new(),
                granted: None,
            };
            let answer = sender.relay().submit(vec![submission]).await.pop().unwrap().unwrap();
            assert_eq!(answer.repeated, repeated, "{caller}");
            sent.push(answer.message_id);
        }
    }
    assert!(sent[0] == sent[1] && sent[2] == sent[3] && sent[0] != sent[2]);
}

/// A recipient whose disk is full takes nothing and refuses nothing for good: it asks to come back
/// later, and the sender keeps its message and says why it waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_defers_what_arrives() {
    let cluster = Cluster::start_with_full(&["xa.cyber-poc", "xb.ncu"], "xb.ncu").await;
    let sender = cluster.node(0);
    let draft = draft("alert.json", &["xb.ncu"], sender.relay().clock().now());
    let sent = submit(sender, draft, 1).await.unwrap();
    let deferred = |entry: &EntryRecord| entry.state() == EntryState::Deferred;
    let entries = entries_until(sender, &sent.digest, deferred).await;
    assert_eq!(entries[0].reason, "STORAGE_FULL");
    let receipts = sender.store().receipts(&sent.digest).unwrap();
    assert_eq!(receipts.len(), 1, "our own SubmissionAcceptance, and no verdict of the peer");
    let recipient = cluster.node(1).store();
    assert!(recipient.message(&sent.digest).unwrap().is_none());
    assert_eq!(recipient.log_head().size, 0);
}
