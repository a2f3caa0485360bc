//! A journal is gone and there is no backup: what is left in front of the loss is put in place as a
//! backup would be, nothing at all where the loss is at the beginning.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;

use relay_node::{directory::Heard, tlog::Hold};
use relay_tests::cluster::{Cluster, Member};

use super::{
    rollback::{delivered, send, taken},
    succession::{order, take_card},
};

/// Leaves a store as it is before its first event.
fn keep_nothing(member: &Member) {
    let data = member.dir.join("data");
    let id = fs::read(data.join("store.id")).unwrap();
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir_all(data.join("journal")).unwrap();
    fs::write(data.join("store.id"), id).unwrap();
    fs::write(data.join("restored"), "").unwrap();
}

/// Whoever lost all takes up the peers' cards again, compares them, and ends the log. Peers send
/// again what was lost; nothing is signed before, also where the anchor is gone with the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_gone_goes_on() {
    for anchor_too in [false, true] {
        let mut cluster = Cluster::start(&["xa.cyber-poc", "xb.ncu"]).await;
        let lost = send(&cluster, 0, 1).await;
        delivered(&cluster, 0, &lost).await;
        let member = &mut cluster.members[1];
        member.stop().await;
        keep_nothing(member);
        if anchor_too {
            fs::remove_dir_all(member.dir.join("anchor")).unwrap();
        }
        member.start().await;

        let relay = cluster.node(1).relay();
        let hold = relay.tlog().hold();
        assert!(
            match &hold {
                Some(Hold::Behind { signed, here, .. }) => !anchor_too && here < signed,
                Some(Hold::Restored { awaited, .. }) => anchor_too && awaited.is_empty(),
                _ => false,
            },
            "{hold:?}"
        );
        let (sender, now) = (&cluster.members[0], relay.clock().now());
        let card = fs::read(sender.card()).unwrap();
        let peer = relay.directory().add(&card, now).await.unwrap();
        let heard = Heard::All(relay.directory().fingerprint(&peer).concat());
        relay.directory().verify(&sender.unit, &heard, "test", now).await.unwrap();
        relay.directory_changed();
        let meanwhile = send(&cluster, 0, 2).await;
        taken(cluster.node(1), &meanwhile).await;
        assert_eq!(cluster.node(1).relay().tlog().newest_note(), "", "nothing is signed");

        cluster.members[1].stop().await;
        let done = order(&cluster.members[1], &["A. Ito", "B. Cruz"]).await.unwrap().to_string();
        assert!(done.contains("xb.ncu/log/2 begins"), "{done}");
        cluster.members[1].start().await;
        take_card(&cluster, 1).await;
        taken(cluster.node(1), &lost).await;
        delivered(&cluster, 0, &meanwhile).await;
    }
}
