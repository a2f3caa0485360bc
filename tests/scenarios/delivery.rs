//! Two and three nodes in one process exchange messages over real QUIC.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use relay_node::store::records::{EntryRecord, EntryState};
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
    assert_eq!(recipient.head().borrow().size, 0);
}
