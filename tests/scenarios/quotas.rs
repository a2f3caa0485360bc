//! A verified peer that does everything too often: our disk stops growing, nothing is lost, and
//! others notice nothing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use relay_node::{
    link::Lane,
    store::records::{AlarmRecord, EntryState},
};
use relay_proto::{
    envelope::Priority, ids::MessageId, payload::clear_bytes, reason::Reason, v1, v1::frame::Kind,
};
use relay_tests::cluster::{Cluster, draft, entries_until, submit};

use super::hostile::{Stage, payload};

/// A hundred times its quota of refusals: five leaves, deferrals for the rest, and not one more
/// event in the journal; an honest message of the same peer and one of another unit are taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundredfold_quota_stops_all_growth() {
    let mut stage = Stage::with("[quota]\nrefusals_per_hour = 5").await;
    let before = stage.leaves();
    let mut refused = 0;
    for _ in 0..500 {
        refused += usize::from(send_refused(&mut stage).await);
    }
    assert_eq!((refused, stage.leaves()), (5, before + 5));
    let seq = stage.cluster.node(1).store().log_head().seq;
    for _ in 0..100 {
        assert!(!send_refused(&mut stage).await);
    }
    assert_eq!(stage.cluster.node(1).store().log_head().seq, seq, "the journal grew");

    let other = stage.cluster.node(2);
    let mut draft = draft("alert.json", &["xb.ncu"], stage.now);
    draft.payload.as_mut().unwrap().from.clear();
    let sent = submit(other, draft, 1).await.unwrap();
    let entries = entries_until(other, &sent.digest, |entry| !entry.is_open()).await;
    assert!(entries.iter().all(|entry| entry.state() == EntryState::Delivered));
    stage.honest_message_passes().await;
}

/// Sends what is refused for good; whether it was, or put off.
async fn send_refused(stage: &mut Stage) -> bool {
    let envelope = stage.envelope(|header| header.profile = "no-such-net".into()).await;
    let digest = stage.send(envelope).await;
    loop {
        match stage.peer.next().await.kind {
            Kind::Receipts(_) => return true,
            Kind::Deferral(signed) => {
                let deferral: v1::Deferral = prost::Message::decode(signed.bytes).unwrap();
                assert_eq!(deferral.reason, Reason::Quota.label());
                assert_eq!(deferral.header_digest, digest.as_bytes().as_slice());
                return false;
            }
            _ => {}
        }
    }
}

/// All of a peer's mail is EMERGENCY: beyond the quota it is taken in lower lanes, which its
/// receipts say; nothing is dropped, and one alarm tells our operator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emergency_over_the_quota_is_carried_lower() {
    let quota = "[quota]\nemergency_per_hour = 3\nurgent_per_hour = 2";
    let mut stage = Stage::with(quota).await;
    let mut lanes = Vec::new();
    for _ in 0..8 {
        let envelope = emergency(&stage).await;
        stage.number += 1;
        stage.peer.transfer_on(Lane::Emergency, stage.number, envelope.clone()).await;
        let receipt = stage.peer.next_receipt().await;
        assert_eq!(receipt.event(), v1::Event::ContentConsignment);
        let digest = relay_proto::ids::Digest::of(&envelope.header.unwrap().bytes);
        assert_eq!(receipt.header_digest, digest.as_bytes().as_slice());
        let record = stage.cluster.node(1).store().message(&digest).unwrap().unwrap();
        assert_eq!(record.priority(), Priority::Emergency);
        let told = receipt.flags.contains(&v1::StatementFlag::LaneLowered.into());
        assert_eq!(told, record.lane() != Priority::Emergency);
        lanes.push(record.lane());
    }
    use Priority::{Emergency, Routine, Urgent};
    assert_eq!(lanes, [Emergency, Emergency, Emergency, Urgent, Urgent, Routine, Routine, Routine]);
    assert_eq!(quota_alarms(&stage.cluster, 1).len(), 1);
}

/// A peer that confirms nothing and repeats one message without end has its receipt again, and then
/// one group in two seconds, not one a copy; what is new goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_without_end_move_few_receipts() {
    let mut stage = Stage::new().await;
    let envelope = stage.envelope(|_| {}).await;
    stage.send(envelope.clone()).await;
    stage.peer.next_receipt().await;
    let begun = Instant::now();
    for _ in 0..200 {
        stage.peer.transfer(1, envelope.clone()).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let envelope = stage.envelope(|_| {}).await;
    let new = stage.send(envelope).await;
    let mut again = 0;
    while stage.peer.next_receipt().await.header_digest != new.as_bytes().as_slice() {
        again += 1;
    }
    let max = 2 + begun.elapsed().as_secs() / 2;
    assert!((1..=max).contains(&again), "{again} groups, {max} allowed");
}

async fn emergency(stage: &Stage) -> v1::Envelope {
    let id = MessageId::new(stage.now, rand::random());
    let mut payload = payload(&stage.cluster, 0, &stage.to, id.as_bytes());
    payload.urgency_reason = "a life is at stake".to_owned();
    let clear = clear_bytes(rand::random(), &payload);
    let to = std::slice::from_ref(&stage.to);
    let change = |header: &mut v1::Header| {
        header.message_id = Bytes::copy_from_slice(id.as_bytes());
        header.priority = v1::Priority::Emergency.into();
    };
    stage.peer.envelope(to, clear, stage.now, change).await
}

fn quota_alarms(cluster: &Cluster, place: usize) -> Vec<AlarmRecord> {
    let alarms = cluster.node(place).store().alarms(99).unwrap();
    alarms.into_iter().filter(|alarm| alarm.reason == Reason::Quota.label()).collect()
}

/// Both operators learn it: the receiver's by his own alarm, the sender's by the receipts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_operators_are_told_of_lowered_lanes() {
    let quota = "[quota]\nemergency_per_hour = 1";
    let cluster = Cluster::start_with(&["xa.cyber-poc", "xb.ncu"], quota).await;
    let sender = cluster.node(0);
    let now = sender.relay().clock().now();
    for n in 0..3 {
        let mut draft = draft("alert.json", &["xb.ncu"], now);
        draft.priority = v1::Priority::Emergency.into();
        draft.payload.as_mut().unwrap().urgency_reason = "a life is at stake".to_owned();
        let sent = submit(sender, draft, n).await.unwrap();
        let entries = entries_until(sender, &sent.digest, |entry| !entry.is_open()).await;
        assert!(entries.iter().all(|entry| entry.state() == EntryState::Delivered));
    }
    let (here, there) = (quota_alarms(&cluster, 0), quota_alarms(&cluster, 1));
    assert_eq!((here.len(), there.len()), (1, 1));
    assert_eq!((here[0].peer.as_str(), there[0].peer.as_str()), ("xb.ncu", "xa.cyber-poc"));
    assert!(here[0].detail.contains("our messages"), "{}", here[0].detail);
    assert!(there[0].detail.contains("EMERGENCY"), "{}", there[0].detail);
}
