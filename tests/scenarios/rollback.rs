//! A node whose store was set back: it notices, signs nothing, takes messages all the same, and
//! comes back in a way that no peer is deceived by.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::PathBuf;

use relay_node::{
    config,
    daemon::Node,
    directory::Heard,
    keys::{KeyStore, KeyUse},
    relay::acknowledge::{Acknowledge, Capacity},
    store::{Filter, records::EntryState},
    succeed::{Order, SucceedError, Succeeded, succeed},
    tlog::{Hold, Witness},
};
use relay_proto::{
    card::Card,
    evidence::{self, Outcome, TrustAnchors},
    ids::{Digest, Uuid},
    reason::Reason,
    receipt::{Event, Statement},
    tlog::{Checkpoint, Note, NoteSignature, VerifierKey},
    v1,
};
use relay_tests::{
    client::Client,
    cluster::{Cluster, Member, PATIENCE, draft, entries_until, submit, until_stored},
    hostile::Hostile,
};

/// Sends an alert from one member to XB; does not wait for anything.
pub async fn send(cluster: &Cluster, from: usize, n: u128) -> Digest {
    let sender = cluster.node(from);
    let mut draft = draft("alert.json", &["xb.ncu"], sender.relay().clock().now());
    // Any member sends it.
    draft.payload.as_mut().unwrap().from = String::new();
    submit(sender, draft, n).await.unwrap().digest
}

/// Waits until a node has a message.
pub async fn taken(node: &Node, digest: &Digest) {
    until_stored(node.store(), "the message", |store| store.message(digest).unwrap()).await;
}

pub async fn delivered(cluster: &Cluster, from: usize, digest: &Digest) {
    let entries = entries_until(cluster.node(from), digest, |entry| !entry.is_open()).await;
    assert!(entries.iter().all(|entry| entry.state() == EntryState::Delivered), "{entries:?}");
}

fn has_alarm(node: &Node, reason: Reason) -> bool {
    node.store().alarms(100).unwrap().iter().any(|alarm| alarm.reason == reason.label())
}

fn anchor(cluster: &Cluster, place: usize) -> PathBuf {
    let member = &cluster.members[place];
    member.dir.join(format!("anchor/{}/log/1", member.unit))
}

/// What an operator sees of the log.
async fn log_status(cluster: &Cluster, place: usize) -> v1::LogStatus {
    let mut client = Client::over(&cluster.members[place].dir.join("api.sock")).node;
    client.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner().log.unwrap()
}

/// A backup is put in the place of the store while the anchor stays: nothing is signed, messages
/// are taken, the operator is told what helps; no restart forgets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_behind_its_anchor_signs_nothing() {
    let mut cluster = Cluster::start(&["xa.cyber-poc", "xb.ncu"]).await;
    let first = send(&cluster, 0, 1).await;
    delivered(&cluster, 0, &first).await;
    cluster.members[1].stop().await;
    cluster.members[1].back_up("backup");
    cluster.members[1].start().await;
    let lost = send(&cluster, 0, 2).await;
    delivered(&cluster, 0, &lost).await;
    cluster.members[1].stop().await;
    cluster.members[1].put_back("backup");

    for round in 0..2 {
        cluster.members[1].start().await;
        let node = cluster.node(1);
        let hold = node.relay().tlog().hold();
        assert!(
            matches!(&hold, Some(Hold::Behind { witness: Witness::Anchor(_), signed, here })
                if signed > here || round > 0),
            "{hold:?}"
        );
        let sent = send(&cluster, 0, 3 + round).await;
        taken(node, &sent).await;
        let error = node.relay().tlog().checkpoint().await.unwrap_err();
        assert_eq!(error.reason(), Reason::LogHeld);
        assert_eq!(node.relay().tlog().newest_note(), "");
        let entries = cluster.node(0).store().entries(&sent).unwrap();
        assert!(entries.iter().all(|entry| entry.is_open()));
        assert!(has_alarm(node, Reason::LogHeld));
        let held = log_status(&cluster, 1).await.held;
        assert!(held.contains("relay-node log succeed"), "{held}");
        cluster.members[1].stop().await;
    }
}

/// Store and anchor are set back together: the peer's claim shows it, and a restart without the
/// peer does not forget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_of_a_peer_is_kept() {
    let mut cluster = Cluster::start(&["xa.cyber-poc", "xb.ncu"]).await;
    cluster.members[1].stop().await;
    cluster.members[1].back_up("backup");
    cluster.members[1].start().await;
    let lost = send(&cluster, 0, 1).await;
    delivered(&cluster, 0, &lost).await;
    cluster.members[1].stop().await;
    cluster.members[1].put_back("backup");
    std::fs::remove_file(anchor(&cluster, 1)).unwrap();

    cluster.members[1].start().await;
    // Something to send, else nobody dials.
    send(&cluster, 0, 2).await;
    let mut holds = cluster.node(1).relay().tlog().holds();
    tokio::time::timeout(PATIENCE, holds.wait_for(Option::is_some)).await.unwrap().unwrap();
    until_stored(cluster.node(1).store(), "a claim", |store| store.claims().unwrap().pop()).await;
    cluster.members[0].stop().await;
    cluster.members[1].stop().await;
    cluster.members[1].start().await;
    let hold = cluster.node(1).relay().tlog().hold();
    let by_peer = Witness::Peer("xa.cyber-poc".to_owned());
    assert!(matches!(&hold, Some(Hold::Behind { witness, .. }) if *witness == by_peer), "{hold:?}");
}

/// Without its anchor file a node goes on, tells its operator, and writes the file again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_anchor_is_an_alarm_only() {
    let mut cluster = Cluster::start(&["xa.cyber-poc", "xb.ncu"]).await;
    let file = anchor(&cluster, 1);
    for n in [1, 2] {
        // The second batch notes in the journal what the first one's checkpoint was.
        let sent = send(&cluster, 0, n).await;
        delivered(&cluster, 0, &sent).await;
    }
    assert!(!has_alarm(cluster.node(1), Reason::AnchorMissing));
    cluster.members[1].stop().await;
    std::fs::remove_file(&file).unwrap();
    cluster.members[1].start().await;
    assert!(has_alarm(cluster.node(1), Reason::AnchorMissing));
    let sent = send(&cluster, 0, 3).await;
    delivered(&cluster, 0, &sent).await;
    cluster.members[1].stop().await;
    assert!(file.exists());
}

/// A store that is marked as restored signs only when every verified peer was heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_store_waits_for_every_peer() {
    let mut cluster = Cluster::start(&["xa.cyber-poc", "xb.ncu", "xc.cyber-poc"]).await;
    cluster.members[2].stop().await;
    cluster.members[1].stop().await;
    let mark = cluster.members[1].dir.join("data/restored");
    std::fs::write(&mark, "").unwrap();
    cluster.members[1].start().await;
    let sent = send(&cluster, 0, 1).await;
    taken(cluster.node(1), &sent).await;
    let hold = cluster.node(1).relay().tlog().hold();
    assert!(matches!(hold, Some(Hold::Restored { heard, .. }) if heard.len() == 1));
    assert!(cluster.node(0).store().entries(&sent).unwrap().iter().all(|entry| entry.is_open()));
    assert!(mark.exists());

    // Nothing waits for it: the restored node dials it all the same.
    cluster.members[2].start().await;
    cluster.node(1).relay().retry_now(&cluster.members[2].unit);
    delivered(&cluster, 0, &sent).await;
    assert!(!mark.exists());
    assert_eq!(cluster.node(1).relay().tlog().hold(), None);
}

/// A card is added and compared.
async fn trust_again(node: &Node, member: &Member) {
    let (directory, now) = (node.relay().directory(), node.relay().clock().now());
    let file = std::fs::read(member.card()).unwrap();
    let peer = directory.add(&file, now).await.unwrap();
    let digits = Heard::All(directory.fingerprint(&peer).concat());
    directory.verify(&member.unit, &digits, "A. Ito", now).await.unwrap();
    node.relay().directory_changed();
}

/// Nobody who may know of a lost receipt is forgotten: neither suspending nor removing him, nor a
/// restart after that, makes the restored node sign; when he is heard, it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_store_forgets_no_witness() {
    let mut cluster = Cluster::start(&["xa.cyber-poc", "xb.ncu", "xc.cyber-poc"]).await;
    let witness = cluster.members[2].unit.clone();
    cluster.members[2].stop().await;
    cluster.members[1].stop().await;
    let mark = cluster.members[1].dir.join("data/restored");
    std::fs::write(&mark, "").unwrap();
    cluster.members[1].start().await;
    let waits = |cluster: &Cluster, heard: usize| {
        let hold = cluster.node(1).relay().tlog().hold();
        assert!(hold.as_ref().unwrap().to_string().contains("xc.cyber-poc"), "{hold:?}");
        matches!(hold, Some(Hold::Restored { heard: units, .. }) if units.len() == heard)
    };
    let sent = send(&cluster, 0, 1).await;
    taken(cluster.node(1), &sent).await;
    assert!(waits(&cluster, 1));
    let relay = cluster.node(1).relay();
    let now = relay.clock().now();
    relay.directory().suspend(&witness, "A. Ito", "stays away", now).await.unwrap();
    relay.directory_changed();
    assert!(waits(&cluster, 1));
    relay.directory().remove(&witness, now).await.unwrap();
    relay.directory_changed();
    assert!(waits(&cluster, 1));
    cluster.members[1].stop().await;

    cluster.members[1].start().await;
    let second = send(&cluster, 0, 2).await;
    taken(cluster.node(1), &second).await;
    assert!(waits(&cluster, 1) && mark.exists());
    trust_again(cluster.node(1), &cluster.members[2]).await;
    cluster.members[2].start().await;
    cluster.node(1).relay().retry_now(&witness);
    delivered(&cluster, 0, &sent).await;
    delivered(&cluster, 0, &second).await;
    assert!(!mark.exists());
}

/// A restored store that knew nobody when it was put in place cannot be told by anybody: those who
/// are introduced later may be fewer than those who were lost. Two officers end the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_store_without_peers_stays_held() {
    let mut cluster = Cluster::start(&["xa.cyber-poc", "xb.ncu"]).await;
    let other = cluster.members[0].unit.clone();
    let now = cluster.node(1).relay().clock().now();
    cluster.node(1).relay().directory().remove(&other, now).await.unwrap();
    cluster.members[1].stop().await;
    let mark = cluster.members[1].dir.join("data/restored");
    std::fs::write(&mark, "").unwrap();
    cluster.members[1].start().await;
    trust_again(cluster.node(1), &cluster.members[0]).await;
    let sent = send(&cluster, 0, 1).await;
    taken(cluster.node(1), &sent).await;
    let hold = cluster.node(1).relay().tlog().hold();
    assert!(
        matches!(&hold, Some(Hold::Restored { awaited, heard })
        if awaited.is_empty() && heard.len() == 1),
        "{hold:?}"
    );
    assert!(log_status(&cluster, 1).await.held.contains("relay-node log succeed"));
    cluster.members[1].stop().await;
    order(&cluster.members[1], &["A. Ito", "B. Cruz"]).await.unwrap();
    assert!(!mark.exists());
    cluster.members[1].start().await;
    assert_eq!(cluster.node(1).relay().tlog().hold(), None);
}

/// A note of XB's log of a billion leaves, signed by this key.
async fn claim(keys: &KeyStore, key: KeyUse) -> String {
    let origin = "xb.ncu/log/1".parse().unwrap();
    let root = Digest::from_array([9; 32]);
    let text = Checkpoint { origin, size: 1_000_000_000, root }.text();
    let signature = keys.signer().sign(key, text.as_bytes()).await.unwrap();
    let verifier = VerifierKey::new("xb.ncu/log/1".to_owned(), keys.signer().public(key)).unwrap();
    Note::new(text, NoteSignature::new(&verifier, signature)).unwrap().to_string()
}

/// Whatever a peer claims of our log without our own valid signature changes nothing; with it, it
/// stops all signing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bogus_peer_claim_does_not_freeze() {
    let mut cluster = Cluster::start(&["xa.cyber-poc", "xb.ncu", "xc.cyber-poc"]).await;
    cluster.members[0].stop().await;
    let theirs = KeyStore::open(&cluster.members[0].dir.join("keys"), 1).unwrap();
    let ours = KeyStore::open(&cluster.members[1].dir.join("keys"), 1).unwrap();
    let good = claim(&ours, KeyUse::Checkpoint).await;
    let bogus = [
        "1000000000".to_owned(),
        claim(&theirs, KeyUse::Checkpoint).await,
        // Our own key, but not the log's.
        claim(&ours, KeyUse::Envelope).await,
        good.replace("1000000000", "1000000001"),
        good.replace("/log/1", "/log/2"),
    ];
    for (n, note) in (1..).zip(bogus) {
        let held = note.clone();
        let say = move |hello: &mut v1::Hello| hello.held_checkpoint.clone_from(&held);
        let peer = Hostile::dial_saying(&cluster.members[0], &cluster.members[1], say).await;
        let sent = send(&cluster, 2, n).await;
        delivered(&cluster, 2, &sent).await;
        assert_eq!(cluster.node(1).relay().tlog().hold(), None, "{note}");
        assert!(!has_alarm(cluster.node(1), Reason::LogHeld));
        peer.close().await;
    }
    let say = move |hello: &mut v1::Hello| hello.held_checkpoint.clone_from(&good);
    let _peer = Hostile::dial_saying(&cluster.members[0], &cluster.members[1], say).await;
    let mut holds = cluster.node(1).relay().tlog().holds();
    let hold = holds.wait_for(Option::is_some).await.unwrap().clone();
    assert!(matches!(hold, Some(Hold::Behind { signed: 1_000_000_000, .. })), "{hold:?}");
}

/// The command, on a thread of its own: it brings its runtime.
async fn order(member: &Member, by: &[&str]) -> Result<Succeeded, SucceedError> {
    let settings = config::load(&member.dir.join("relay.toml")).unwrap();
    let now = relay_node::clock::Clock::new(&settings.clock).now();
    let by = by.iter().map(|by| (*by).to_owned()).collect();
    let order = Order { reason: "the backup of the night".to_owned(), by, identity: None };
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
fn receipts(node: &Node, digest: &Digest, event: Event) -> Vec<(String, bool)> {
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
    let listed = cluster.node(1).store().list(&at_desk, u64::MAX, 100).unwrap().messages;
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
        principal: "uid:0".to_owned(),
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
