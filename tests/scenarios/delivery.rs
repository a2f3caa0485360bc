//! Two and three nodes in one process exchange messages over real QUIC.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use relay_node::store::records::EntryState;
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
