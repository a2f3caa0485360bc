//! What was confirmed comes again to a peer that says that it has less: its store was set back.

use relay_node::{
    link::Lane,
    relay::{
        acknowledge::{Acknowledge, Capacity},
        submit::Principal,
    },
    store::records::AlarmRecord,
};
use relay_proto::{
    envelope::Priority,
    ids::{Digest, Uuid},
    reason::Reason,
    receipt::Event,
    v1::{self, frame::Kind},
};
use relay_tests::{
    cluster::{Cluster, until_stored},
    twin::{Side, Twin},
};

use super::{
    rollback::{delivered, has_alarm, send},
    succession::{command, receipts},
    twins::Stage,
};

/// The desk of XB takes a message.
async fn acknowledge(cluster: &Cluster, digest: Digest, capacity: Capacity) {
    let by = if capacity == Capacity::Desk { "A. Ito" } else { "" };
    let ack = Acknowledge {
        principal: Principal::new("test", "uid:0"),
        request_id: Uuid::random(rand::random()),
        digest,
        capacity,
        by: by.to_owned(),
    };
    cluster.node(1).relay().acknowledge(ack).await.unwrap();
}

/// Waits until XA has a receipt about a message.
async fn comes(cluster: &Cluster, digest: &Digest, event: Event) {
    let node = cluster.node(0);
    until_stored(node.store(), "the receipt", |_| receipts(node, digest, event).pop()).await;
}

/// All alarms of a node about unknown messages.
fn unknown(cluster: &Cluster) -> Vec<AlarmRecord> {
    let alarms = cluster.node(0).store().all_alarms(u64::MAX, 99).unwrap();
    let of = |alarm: &AlarmRecord| alarm.reason == Reason::UnknownMessage.label();
    alarms.into_iter().map(|(_, alarm)| alarm).filter(of).collect()
}

/// A backup is put in the place of a sender's store. The desk's receipt that came since comes
/// again, and what is open again settles; what was sent since is not there any more, and one alarm
/// says so for all of it. Nothing is contradicted, and the session goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_sender_gets_its_receipts_again() {
    let mut cluster = Cluster::start(&["xa.cyber-poc", "xb.ncu"]).await;
    let kept = send(&cluster, 0, 1).await;
    delivered(&cluster, 0, &kept).await;
    cluster.members[1].stop().await;
    let open = send(&cluster, 0, 2).await;
    cluster.members[0].stop().await;
    cluster.members[0].back_up("backup");
    cluster.members[0].start().await;
    cluster.members[1].start().await;
    delivered(&cluster, 0, &open).await;
    acknowledge(&cluster, kept, Capacity::Desk).await;
    comes(&cluster, &kept, Event::ConsignmentAcceptance).await;
    for n in 3..=6 {
        let lost = send(&cluster, 0, n).await;
        delivered(&cluster, 0, &lost).await;
    }
    let (sender, store) = (cluster.members[0].unit.clone(), cluster.node(1).store());
    let made = store.counter("receipts-made", &sender).unwrap();
    until_stored(store, "all as confirmed", |store| {
        store.waiting_receipts(&sender, 1).unwrap().is_empty().then_some(())
    })
    .await;

    cluster.members[0].stop().await;
    cluster.members[0].put_back("backup");
    std::fs::write(cluster.members[0].dir.join("data/restored"), "").unwrap();
    cluster.members[0].start().await;
    let (node, other) = (cluster.node(0), cluster.members[1].unit.clone());
    assert!(receipts(node, &kept, Event::ConsignmentAcceptance).is_empty());
    assert!(node.store().counter("receipts-have", &other).unwrap() < made);
    node.relay().retry_now(&other);
    comes(&cluster, &kept, Event::ConsignmentAcceptance).await;
    delivered(&cluster, 0, &open).await;
    until_stored(node.store(), "all that was made", |store| {
        (store.counter("receipts-have", &other).unwrap() >= made).then_some(())
    })
    .await;
    let alarms = unknown(&cluster);
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert_eq!(alarms[0].peer, "xb.ncu");
    assert!(alarms[0].detail.contains("evidence export"), "{}", alarms[0].detail);
    assert_eq!(receipts(node, &kept, Event::ConsignmentAcceptance).len(), 1);
    assert_eq!(receipts(node, &kept, Event::ContentConsignment).len(), 1);
    for place in [0, 1] {
        assert!(!has_alarm(cluster.node(place), Reason::Contradiction));
    }

    acknowledge(&cluster, kept, Capacity::Handover).await;
    comes(&cluster, &kept, Event::ContentHandover).await;
    assert_eq!(unknown(&cluster).len(), 1);
}

/// Numbers of a group, and up to where it says that nothing is owed.
async fn group(side: &mut Side) -> (Vec<u64>, u64) {
    let group = side.next_receipts().await;
    (group.receipts.iter().map(|receipt| receipt.number).collect(), group.owed_after)
}

/// The twin sends a message and confirms its receipt, the first of all.
async fn confirm_first(stage: &Stage) {
    let mut side = stage.dial("a").await;
    stage.send(&side, Priority::Routine, 1).await;
    assert_eq!(group(&mut side).await, (vec![1], 0));
    let have = Kind::Have(v1::Have { receipts: 1 });
    side.session.sender().reply(Lane::Control, have).await.unwrap();
    until_stored(stage.cluster.node(0).store(), "the receipt as confirmed", |store| {
        (store.receipts_confirmed(&stage.twin.unit).unwrap() >= 1).then_some(())
    })
    .await;
    side.close().await;
}

/// A peer that says on session after session that it has nothing gets all once on each, until its
/// quota of that is used up: then only what waits, and nothing is called settled that is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confirmed_comes_again_within_a_quota() {
    let cluster = Cluster::start_with(&["xa.cyber-poc"], "[quota]\nnotes_per_hour = 2").await;
    let twin = Twin::new("xt.ncu", cluster.node(0).relay().clock().now());
    twin.introduce(cluster.node(0)).await;
    let stage = Stage { cluster, twin };
    confirm_first(&stage).await;
    let dial = |have| stage.twin.dial("a", &stage.cluster.members[0], have);
    for _ in 0..2 {
        let mut side = dial(0).await;
        assert_eq!(group(&mut side).await, (vec![1], 0));
        side.close().await;
    }
    let mut side = dial(0).await;
    stage.send(&side, Priority::Routine, 2).await;
    assert_eq!(group(&mut side).await, (vec![2], 0));
    side.close().await;
    let mut side = dial(1).await;
    assert_eq!(group(&mut side).await, (vec![2], 1));
    side.close().await;
}

/// Receipts of a log that ended cannot be proven under the next one: who was set back behind it is
/// told where that one's begin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_of_an_ended_log_are_passed_over() {
    let mut stage = Stage::with("xt.ncu").await;
    confirm_first(&stage).await;
    let member = &mut stage.cluster.members[0];
    member.stop().await;
    command(member, &["A. Ito", "B. Cruz"], true).await.unwrap();
    member.start().await;
    let mut side = stage.dial("a").await;
    stage.send(&side, Priority::Routine, 2).await;
    let begin = 1 << 40;
    assert_eq!(group(&mut side).await, (vec![begin + 1], begin));
    side.close().await;
}
