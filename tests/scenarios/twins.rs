//! A unit with two nodes, each with a session of its own: mail, receipts and forks.

use bytes::Bytes;
use relay_node::{
    link::Lane,
    relay::{
        acknowledge::{Acknowledge, Capacity},
        submit::Principal,
    },
    store::records::{AlarmRecord, EntryState},
};
use relay_proto::{
    envelope::Priority,
    ids::{Digest, MessageId, Uuid},
    payload::{bucket, clear_bytes},
    reason::Reason,
    receipt::Event,
    v1::{self, frame::Kind},
};
use relay_tests::{
    cluster::{Cluster, draft, entries_until, submit, submit_draft_payload, until_stored},
    twin::{Log, Side, Twin},
};

pub struct Stage {
    pub cluster: Cluster,
    pub twin: Twin,
}

impl Stage {
    /// One real node, and the twin that it knows.
    async fn new() -> Self {
        Self::with("xt.ncu").await
    }

    /// The same with a twin of this unit.
    pub async fn with(unit: &str) -> Self {
        let cluster = Cluster::start(&["xa.cyber-poc"]).await;
        let twin = Twin::new(unit, cluster.node(0).relay().clock().now());
        twin.introduce(cluster.node(0)).await;
        Self { cluster, twin }
    }

    pub async fn dial(&self, name: &str) -> Side {
        self.twin.dial(name, &self.cluster.members[0], 0).await
    }

    /// The node submits a message to the twin; its header digest.
    async fn submit(&self, n: u128) -> Digest {
        let node = self.cluster.node(0);
        let now = node.relay().clock().now();
        let draft = draft("alert.json", &[self.twin.unit.as_str()], now);
        submit(node, draft, n).await.unwrap().digest
    }

    /// The twin sends a message on the lane of its priority.
    pub async fn send(&self, side: &Side, priority: Priority, number: u64) -> MessageId {
        let to = &self.cluster.members[0].unit;
        let now = self.cluster.node(0).relay().clock().now();
        let id = MessageId::new(now, rand::random());
        let mut payload = submit_draft_payload(&self.cluster, 0, to);
        payload.from = self.twin.unit.to_string();
        payload.message_id = Bytes::copy_from_slice(id.as_bytes());
        payload.urgency_reason = "a life is at stake".to_owned();
        let clear = clear_bytes(rand::random(), &payload);
        let header = v1::Header {
            version: 1,
            message_id: Bytes::copy_from_slice(id.as_bytes()),
            to: vec![to.to_string()],
            profile: "budapest-247".to_owned(),
            priority: priority.to_wire().into(),
            created_at_ms: now.as_millis(),
            expires_at_ms: now.as_millis() + 3_600_000,
            payload_digest: Bytes::copy_from_slice(Digest::of(&clear).as_bytes()),
            payload_bucket: bucket(clear.len()).unwrap(),
            max_hops: 1,
            ..Default::default()
        };
        let envelope = Some(self.twin.envelope(header, clear));
        let transfer = v1::Transfer { number, passed: vec![], envelope, recovered: false };
        let lane = match priority {
            Priority::Emergency => Lane::Emergency,
            Priority::Urgent => Lane::Urgent,
            Priority::Routine => Lane::Routine,
        };
        side.session.sender().send(lane, Kind::Transfer(transfer)).await.unwrap();
        id
    }

    fn alarms(&self, reason: Reason) -> Vec<AlarmRecord> {
        let alarms = self.cluster.node(0).store().alarms(99).unwrap();
        alarms.into_iter().filter(|alarm| alarm.reason == reason.label()).collect()
    }
}

/// Mail goes through the newer session; when that one falls, what is in flight and what is new goes
/// through the one that remains, without a dial.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_goes_on_through_the_remaining_session() {
    let stage = Stage::new().await;
    let mut older = stage.dial("a").await;
    let first = stage.submit(1).await;
    assert_eq!(older.next_header().await.digest, first);
    let mut newer = stage.dial("b").await;
    // Nothing was confirmed, so the newer session gets it as well.
    assert_eq!(newer.next_header().await.digest, first);
    let second = stage.submit(2).await;
    assert_eq!(newer.next_header().await.digest, second);
    newer.close().await;
    let mut again = [older.next_header().await.digest, older.next_header().await.digest];
    again.sort();
    let mut both = [first, second];
    both.sort();
    assert_eq!(again, both);
    let third = stage.submit(3).await;
    assert_eq!(older.next_header().await.digest, third);
    // The older one falls while a newer one stands: nothing changes for that.
    let mut newer = stage.dial("b").await;
    for _ in 0..3 {
        newer.next_header().await;
    }
    older.close().await;
    let fourth = stage.submit(4).await;
    assert_eq!(newer.next_header().await.digest, fourth);
    let node = stage.cluster.node(0);
    assert!(node.relay().peer_status(&stage.twin.unit).up);
}

/// Receipts through both sessions under two roots of one size: exactly one is held and settles, the
/// other is the proof of a fork, kept with both notes, and alarmed. Lines that others might have
/// signed are not kept with it: they prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sessions_racing_two_checkpoints_of_one_size() {
    let stage = Stage::new().await;
    let mut one = stage.dial("a").await;
    let digest = stage.submit(1).await;
    let header = one.next_header().await;
    assert_eq!(header.digest, digest);
    let two = stage.dial("b").await;
    let now = stage.cluster.node(0).relay().clock().now();
    let log = |event| Log::default().with(stage.twin.states(event, &header, now));
    let groups = [
        stage.twin.group(&log(Event::ContentConsignment), 1),
        stage.twin.group(&log(Event::ContentHandover), 1),
    ];
    let line = format!("— witness.example {}=\n", "A".repeat(91));
    let [first, second] = groups.clone().map(|group| {
        let Kind::Receipts(mut group) = group else { unreachable!() };
        group.checkpoint.push_str(&line.repeat(15));
        Kind::Receipts(group)
    });
    let (a, b) = (one.session.sender(), two.session.sender());
    let (a, b) = tokio::join!(a.send(Lane::Control, first), b.send(Lane::Control, second));
    a.unwrap();
    b.unwrap();
    let node = stage.cluster.node(0);
    let entries = entries_until(node, &digest, |entry| !entry.is_open()).await;
    assert!(entries.iter().all(|entry| entry.state() == EntryState::Delivered));
    until_stored(node.store(), "the alarm", |_| stage.alarms(Reason::PeerRolledBack).pop()).await;
    let alarms = stage.alarms(Reason::PeerRolledBack);
    assert_eq!(alarms.len(), 1);
    let evidence = String::from_utf8(alarms[0].evidence.to_vec()).unwrap();
    for group in &groups {
        let Kind::Receipts(group) = group else { unreachable!() };
        assert!(evidence.contains(&group.checkpoint), "a note is missing in the proof");
    }
    assert!(!evidence.contains("witness.example"), "{evidence}");
    // Our own SubmissionAcceptance, and the one receipt that won.
    assert_eq!(node.store().receipts(&digest).unwrap().len(), 2);
    let held = node.store().held_checkpoint(&stage.twin.unit.log_origin(1)).unwrap().unwrap();
    assert_eq!(held.size, 1);
}

/// The connection falls right after a ContentHandover was sent on it, and the sender has nothing of
/// it: on the next session it comes again, and once confirmed no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handover_receipt_lost_with_the_connection_arrives() {
    let stage = Stage::new().await;
    let node = stage.cluster.node(0);
    let mut side = stage.dial("a").await;
    let id = stage.send(&side, Priority::Routine, 1).await;
    let consigned = side.next_receipts().await;
    assert_eq!(events(&consigned), [v1::Event::ContentConsignment]);
    let have = |receipts| Kind::Have(v1::Have { receipts });
    side.session.sender().reply(Lane::Control, have(1)).await.unwrap();

    let digest = node.store().by_id(&id).unwrap()[0];
    let ack = Acknowledge {
        principal: Principal::new("test", "uid:0"),
        request_id: Uuid::random(rand::random()),
        digest,
        capacity: Capacity::Handover,
        by: String::new(),
    };
    node.relay().acknowledge(ack).await.unwrap();
    let handover = side.next_receipts().await;
    assert_eq!(events(&handover), [v1::Event::ContentHandover]);
    // Nothing of it was stored there when the connection fell.
    side.close().await;

    let mut side = stage.twin.dial("a", &stage.cluster.members[0], 1).await;
    let again = side.next_receipts().await;
    assert_eq!(again.receipts[0].statement, handover.receipts[0].statement);
    assert_eq!(again.receipts[0].number, handover.receipts[0].number);
    side.session.sender().reply(Lane::Control, have(2)).await.unwrap();
    until_stored(node.store(), "both receipts as confirmed", |store| {
        let confirmed = store.counter("receipts-confirmed", &stage.twin.unit).unwrap();
        (confirmed >= 2).then_some(())
    })
    .await;
    assert!(node.store().waiting_receipts(&stage.twin.unit, 9).unwrap().is_empty());
}

/// A peer that says that it has receipts which were never made: our store was set back, or it lies.
/// That is about our own log and said once, whatever number it says how often; its log is not
/// called set back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_that_were_never_made_are_told_once() {
    let stage = Stage::new().await;
    for have in [1_000, 1_000, 2_000, 0] {
        let mut side = stage.twin.dial("a", &stage.cluster.members[0], have).await;
        // Answered after the Hello was looked at.
        let asked = Kind::GetConsistency(v1::GetConsistency { from: 0, to: 0 });
        side.session.sender().send(Lane::Control, asked).await.unwrap();
        while !matches!(side.next().await.kind, Kind::Consistency(_)) {}
        side.close().await;
    }
    let held = stage.alarms(Reason::JournalBehind);
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(held[0].peer, "xa.cyber-poc");
    assert!(held[0].detail.contains("xt.ncu") && held[0].detail.contains("log succeed"));
    assert!(stage.alarms(Reason::PeerRolledBack).is_empty());
}

fn events(group: &v1::ReceiptGroup) -> Vec<v1::Event> {
    let statements = group.receipts.iter().map(|receipt| receipt.statement.clone());
    statements.map(|one| <v1::Statement as prost::Message>::decode(one).unwrap().event()).collect()
}

/// Three hundred receipts wait when a session comes up, the last one about an EMERGENCY: it goes
/// first, alone, then all go in their turn, so that `Have` counts up to the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_about_emergency_go_ahead_of_a_backlog() {
    let stage = Stage::new().await;
    let mut side = stage.dial("a").await;
    let mut came = 0;
    for number in 1..=300 {
        stage.send(&side, Priority::Routine, number).await;
        while came + 8 < number {
            came += side.next_receipts().await.receipts.len() as u64;
        }
    }
    while came < 300 {
        came += side.next_receipts().await.receipts.len() as u64;
    }
    stage.send(&side, Priority::Emergency, 301).await;
    let last = side.next_receipts().await.receipts.remove(0);
    assert_eq!(last.number, 301);
    side.close().await;

    let mut side = stage.dial("a").await;
    let ahead = side.next_receipts().await;
    assert_eq!((ahead.receipts.len(), ahead.receipts[0].number), (1, 301));
    assert_eq!(ahead.owed_after, 0, "receipt 1 is owed");
    assert_eq!(ahead.receipts[0].statement, last.statement);
    let mut numbers = Vec::new();
    while numbers.len() < 301 {
        let group = side.next_receipts().await;
        numbers.extend(group.receipts.iter().map(|receipt| receipt.number));
    }
    assert_eq!(numbers, (1..=301).collect::<Vec<u64>>());
}

/// A receipt that goes ahead of a backlog confirms nothing of the backlog: only what the issuer
/// says that it does not owe counts as dealt with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_ahead_of_its_turn_confirms_nothing_before_it() {
    let stage = Stage::new().await;
    let mut side = stage.dial("a").await;
    stage.submit(1).await;
    let header = side.next_header().await;
    let now = stage.cluster.node(0).relay().clock().now();
    let log = Log::default().with(stage.twin.states(Event::ContentConsignment, &header, now));
    let group = |number, after| {
        let Kind::Receipts(group) = stage.twin.group(&log, number) else { unreachable!() };
        Kind::Receipts(v1::ReceiptGroup { owed_after: after, ..group })
    };
    let sender = side.session.sender();
    sender.send(Lane::Control, group(301, 0)).await.unwrap();
    assert_eq!(side.next_have().await, 0);
    // It owes nothing up to 300, and at once owes 300: that is nonsense, and nothing is taken.
    sender.send(Lane::Control, group(300, 300)).await.unwrap();
    sender.send(Lane::Control, group(301, 0)).await.unwrap();
    assert_eq!(side.next_have().await, 0);
    assert_eq!(stage.alarms(Reason::Malformed).len(), 1);
    sender.send(Lane::Control, group(300, 299)).await.unwrap();
    assert_eq!(side.next_have().await, 300);
    sender.send(Lane::Control, group(301, 0)).await.unwrap();
    assert_eq!(side.next_have().await, 301);
}
