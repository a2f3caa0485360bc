//! A log that ends: two officers order it, the next generation begins, peers take it by their
//! operator's word and send again what was lost.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use relay_node::store::records::AlarmRecord;
use relay_node::{
    config,
    daemon::Node,
    relay::{
        acknowledge::{Acknowledge, Capacity},
        submit::Principal,
    },
    store::Filter,
    succeed::{Order, SucceedError, Succeeded, succeed},
    tlog::{Doubt, Hold},
};
use relay_proto::{
    card::Card,
    evidence::{self, Outcome, TrustAnchors},
    ids::{Digest, Uuid},
    reason::Reason,
    receipt::{Event, Statement},
    v1,
};
use relay_tests::{
    client::Client,
    cluster::{Cluster, Member, entries_until, until_stored},
};

use super::rollback::{anchor, delivered, has_alarm, send, taken};

/// The command, on a thread of its own: it brings its runtime.
pub async fn order(member: &Member, by: &[&str]) -> Result<Succeeded, SucceedError> {
    command(member, by, false).await
}

/// The same, also when nothing asks for it.
pub async fn command(
    member: &Member,
    by: &[&str],
    anyway: bool,
) -> Result<Succeeded, SucceedError> {
    let settings = config::load(&member.dir.join("relay.toml")).unwrap();
    let now = relay_node::clock::Clock::new(&settings.clock).now();
    let by = by.iter().map(|by| (*by).to_owned()).collect();
    let order = Order { reason: "the backup of the night".to_owned(), by, identity: None, anyway };
    tokio::task::spawn_blocking(move || succeed(&settings, &order, now)).await.unwrap()
}

/// The outcome of what a node exports about a message, against these cards.
async fn outcome(node: &Node, digest: &Digest, trust: &[&Card]) -> Outcome {
    let bundle = node.relay().evidence(digest, true).await.unwrap();
    let bundle = evidence::parse(&evidence::to_bytes(&bundle)).unwrap();
    let mut anchors = TrustAnchors::default();
    for card in trust {
        anchors.add_card((*card).clone()).unwrap();
    }
    let verdict = evidence::verify(&bundle, &anchors);
    assert!(verdict.problems.is_empty(), "{:?}", verdict.problems);
    verdict.outcome
}

fn card(member: &Member) -> Card {
    Card::from_file(&std::fs::read(member.card()).unwrap()).unwrap()
}

/// The receipts that a node holds of one event about a message: log, and whether stated again.
pub fn receipts(node: &Node, digest: &Digest, event: Event) -> Vec<(String, bool)> {
    let held = node.store().receipts(digest).unwrap().into_iter().map(|held| {
        let statement = Statement::from_bytes(&held.statement).unwrap();
        let recovered = statement.has(v1::StatementFlag::Recovered);
        (statement.event, (held.origin, recovered))
    });
    held.filter(|(of, _)| *of == event).map(|(_, held)| held).collect()
}

/// A message that both have, one that is lost with its receipt, one that is taken while the log is
/// held. The second member does not run afterwards.
async fn set_back(cluster: &mut Cluster) -> [Digest; 3] {
    let kept = send(cluster, 0, 1).await;
    delivered(cluster, 0, &kept).await;
    cluster.members[1].stop().await;
    cluster.members[1].back_up("backup");
    cluster.members[1].start().await;
    let lost = send(cluster, 0, 2).await;
    delivered(cluster, 0, &lost).await;
    let running = order(&cluster.members[1], &["A. Ito", "B. Cruz"]).await.unwrap_err();
    assert!(matches!(running, SucceedError::Running), "{running}");
    cluster.members[1].stop().await;
    cluster.members[1].put_back("backup");

    // Held: taken, not receipted.
    cluster.members[1].start().await;
    let meanwhile = send(cluster, 0, 3).await;
    taken(cluster.node(1), &meanwhile).await;
    assert!(cluster.node(1).relay().tlog().hold().is_some());
    assert!(cluster.node(1).store().message(&lost).unwrap().is_none());
    cluster.members[1].stop().await;
    [kept, lost, meanwhile]
}

/// The order: two officers, and the identity key. Gives the new card.
async fn end_the_log(member: &Member) -> Card {
    let alone = order(member, &["A. Ito", " a. ito "]).await.unwrap_err();
    assert!(matches!(alone, SucceedError::Order(_)), "{alone}");
    let (key, away) = (member.dir.join("keys/identity.key"), member.dir.join("identity.away"));
    std::fs::rename(&key, &away).unwrap();
    let offline = order(member, &["A. Ito", "B. Cruz"]).await.unwrap_err();
    assert!(offline.to_string().contains("bring it back"), "{offline}");
    std::fs::rename(&away, &key).unwrap();
    let done = order(member, &["A. Ito", "B. Cruz"]).await.unwrap().to_string();
    assert!(done.contains("xb.ncu/log/2 begins"), "{done}");
    let new_card = card(member);
    assert_eq!((new_card.number(), new_card.logs().len()), (2, 2));
    assert_eq!(new_card.logs()[0].closed_size, 2, "where its peer says that it ended");
    new_card
}

/// Nothing of the new log settles anything before the peer's operator accepts it.
async fn accept(cluster: &Cluster, new_card: &Card, meanwhile: &Digest) {
    assert_eq!(cluster.node(1).relay().tlog().hold(), None);
    // What asked for the succession asks for nothing any more.
    let store = cluster.node(1).store();
    assert!(!has_alarm(cluster.node(1), Reason::LogHeld));
    let ended = |(_, alarm): &(u64, AlarmRecord)| alarm.cleared_by == "A. Ito, B. Cruz";
    assert!(store.all_alarms(u64::MAX, 99).unwrap().iter().any(ended));
    let sender = cluster.node(0);
    until_stored(sender.store(), "the alarm of the old card", |store| {
        store.alarms(100).unwrap().into_iter().find(|alarm| {
            let reason = Reason::PeerRolledBack.label();
            alarm.reason == reason && alarm.detail.contains("import its new")
        })
    })
    .await;
    let now = sender.relay().clock().now();
    let mut desk = Client::over(&cluster.members[0].dir.join("api.sock")).peers;
    let word = |n: u8, by: &str| v1::AcceptRollbackRequest {
        request_id: Uuid::random([n; 16]).to_string(),
        unit: new_card.unit().to_string(),
        by: by.to_owned(),
    };
    let refused = desk.accept_rollback(word(1, "K. Novak")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    let file = std::fs::read(cluster.members[1].card()).unwrap();
    let peer = sender.relay().directory().add(&file, now).await.unwrap();
    assert_eq!((peer.card.number(), peer.next_card.map(|card| card.number())), (1, Some(2)));
    assert!(sender.store().entries(meanwhile).unwrap().iter().all(|entry| entry.is_open()));
    // An answer that was lost is asked for again.
    for _ in 0..2 {
        let taken = desk.accept_rollback(word(1, "K. Novak")).await.unwrap().into_inner();
        assert_eq!(taken.card.unwrap().number, 2);
        assert_eq!((&*taken.rollback, &*taken.rollback_accepted_by), ("", "K. Novak"));
    }
    assert!(!has_alarm(sender, Reason::PeerRolledBack), "what was accepted asks for nothing");
    let ended = sender.store().all_alarms(u64::MAX, 99).unwrap();
    assert!(ended.iter().any(|(_, alarm)| alarm.cleared_by == "K. Novak"), "{ended:?}");
    let other = desk.accept_rollback(word(1, "A. Ito")).await.unwrap_err();
    assert_eq!(other.code(), tonic::Code::AlreadyExists);
    let none = desk.accept_rollback(word(2, "K. Novak")).await.unwrap_err();
    assert_eq!(none.code(), tonic::Code::FailedPrecondition);
}

/// A store is set back behind what it signed. Nothing is signed; the log ends by the order of two
/// officers with the identity key; its peer takes the next one only by an operator's word, and then
/// sends again what was lost; every message has one effect; the receipts of both logs verify.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_log_gets_a_new_generation() {
    let mut cluster = Cluster::start(&["xa.cyber-poc", "xb.ncu"]).await;
    let [kept, lost, meanwhile] = set_back(&mut cluster).await;
    let new_card = end_the_log(&cluster.members[1]).await;
    cluster.members[1].start().await;
    accept(&cluster, &new_card, &meanwhile).await;
    let sender = cluster.node(0);
    // Sent again, with one effect each.
    delivered(&cluster, 0, &meanwhile).await;
    taken(cluster.node(1), &lost).await;
    entries_until(sender, &lost, |entry| entry.recovered && !entry.is_open()).await;
    let at_desk = Filter { direction: Some(2), ..Filter::default() };
    let listed = cluster.node(1).store().list(&at_desk, None, 100).unwrap().messages;
    let seen: Vec<(Digest, bool)> =
        listed.iter().map(|record| (record.digest(), record.recovered)).collect();
    assert_eq!(seen.len(), 3);
    assert!(seen.contains(&(lost, true)) && seen.contains(&(meanwhile, false)));
    let consigned = receipts(sender, &lost, Event::ContentConsignment);
    let (old, new) = ("xb.ncu/log/1".to_owned(), "xb.ncu/log/2".to_owned());
    assert_eq!(consigned, [(old.clone(), false), (new.clone(), true)]);
    assert_eq!(receipts(sender, &meanwhile, Event::ContentConsignment), [(new.clone(), false)]);
    assert_eq!(receipts(sender, &kept, Event::ContentConsignment)[0], (old, false));

    // The desk takes it, perhaps for the second time: said again, no contradiction.
    let ack = Acknowledge {
        principal: Principal::new("test", "uid:0"),
        request_id: Uuid::random([7; 16]),
        digest: lost,
        capacity: Capacity::Desk,
        by: "A. Ito".to_owned(),
    };
    cluster.node(1).relay().acknowledge(ack).await.unwrap();
    until_stored(sender.store(), "the desk's receipt", |_| {
        receipts(sender, &lost, Event::ConsignmentAcceptance).pop()
    })
    .await;
    assert_eq!(receipts(sender, &lost, Event::ConsignmentAcceptance), [(new, true)]);
    assert!(!has_alarm(sender, Reason::Contradiction));

    // Evidence of both generations, at both ends.
    let sender_card = card(&cluster.members[0]);
    for digest in [kept, lost, meanwhile] {
        for node in [sender, cluster.node(1)] {
            let outcome = outcome(node, &digest, &[&sender_card, &new_card]).await;
            assert_eq!(outcome, Outcome::Valid);
        }
    }
}

/// A backup from before the succession is put in place with the card of that time, and the anchors
/// are gone: what the peer holds of the later log keeps the old one from signing. With the newest
/// card the log ends once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_from_before_a_succession_signs_nothing() {
    let mut cluster = Cluster::start(&["xa.cyber-poc", "xb.ncu"]).await;
    let first = send(&cluster, 0, 1).await;
    delivered(&cluster, 0, &first).await;
    let member = &mut cluster.members[1];
    member.stop().await;
    member.back_up("backup");
    let old_card = std::fs::read(member.card()).unwrap();
    let refused = order(member, &["A. Ito", "B. Cruz"]).await.unwrap_err();
    assert!(matches!(&refused, SucceedError::Healthy(log) if log.generation == 1), "{refused}");
    assert!(refused.to_string().contains("--anyway"), "{refused}");
    command(member, &["A. Ito", "B. Cruz"], true).await.unwrap();
    let second_card = std::fs::read(member.card()).unwrap();
    member.start().await;
    take_card(&cluster, 1).await;
    let second = send(&cluster, 0, 2).await;
    delivered(&cluster, 0, &second).await;

    let anchors = anchor(&cluster, 1).parent().unwrap().to_owned();
    let member = &mut cluster.members[1];
    member.stop().await;
    member.put_back("backup");
    std::fs::write(member.card(), old_card).unwrap();
    std::fs::remove_dir_all(anchors).unwrap();
    std::fs::write(member.dir.join("data/restored"), "").unwrap();
    member.start().await;
    let third = send(&cluster, 0, 3).await;
    taken(cluster.node(1), &third).await;
    let hold = cluster.node(1).relay().tlog().hold();
    let later = Doubt::Later("xb.ncu/log/2".parse().unwrap());
    assert!(
        matches!(&hold, Some(Hold::Restored { heard, doubts, .. })
            if heard.is_empty() && doubts.values().eq([&later])),
        "{hold:?}"
    );
    assert!(hold.unwrap().to_string().contains("xa.cyber-poc holds xb.ncu/log/2"));
    assert_eq!(cluster.node(1).relay().tlog().newest_note(), "");

    let member = &mut cluster.members[1];
    member.stop().await;
    let refused = order(member, &["A. Ito", "B. Cruz"]).await.unwrap_err().to_string();
    assert!(
        refused.contains("names xb.ncu/log/1, but xa.cyber-poc knows xb.ncu/log/2"),
        "{refused}"
    );
    std::fs::write(member.card(), second_card).unwrap();
    let done = order(member, &["A. Ito", "B. Cruz"]).await.unwrap().to_string();
    assert!(done.contains("xb.ncu/log/3 begins"), "{done}");
    member.start().await;
    take_card(&cluster, 2).await;
    delivered(&cluster, 0, &third).await;
    taken(cluster.node(1), &second).await;
}

/// The first member's operator takes the second's new card.
pub async fn take_card(cluster: &Cluster, n: u8) {
    let relay = cluster.node(0).relay();
    let file = std::fs::read(cluster.members[1].card()).unwrap();
    relay.directory().add(&file, relay.clock().now()).await.unwrap();
    let mut desk = Client::over(&cluster.members[0].dir.join("api.sock")).peers;
    let word = v1::AcceptRollbackRequest {
        request_id: Uuid::random([n; 16]).to_string(),
        unit: cluster.members[1].unit.to_string(),
        by: "K. Novak".to_owned(),
    };
    desk.accept_rollback(word).await.unwrap();
}
