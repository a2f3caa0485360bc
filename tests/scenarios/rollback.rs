//! A node whose store was set back: it notices, signs nothing, takes messages all the same, and
//! comes back in a way that no peer is deceived by.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::PathBuf;

use relay_node::{
    daemon::Node,
    directory::Heard,
    keys::{KeyStore, KeyUse},
    store::records::{AlarmRecord, EntryState},
    tlog::{Hold, Witness},
};
use relay_proto::{
    ids::Digest,
    reason::Reason,
    tlog::{Checkpoint, Note, NoteSignature, VerifierKey},
    v1,
};
use relay_tests::{
    client::Client,
    cluster::{Cluster, Member, PATIENCE, draft, entries_until, submit, until_stored},
    hostile::Hostile,
};

use super::succession::order;

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

pub fn has_alarm(node: &Node, reason: Reason) -> bool {
    node.store().alarms(100).unwrap().iter().any(|alarm| alarm.reason == reason.label())
}

pub fn anchor(cluster: &Cluster, place: usize) -> PathBuf {
    let member = &cluster.members[place];
    member.dir.join(format!("anchor/{}/log/1", member.unit))
}

/// What an operator sees of the log.
async fn log_status(cluster: &Cluster, place: usize) -> v1::LogStatus {
    let mut client = Client::over(&cluster.members[place].dir.join("api.sock")).node;
    client.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner().log.unwrap()
}

/// The second node, which is stopped, takes and answers one more message and is set back to before
/// that; its anchor stays.
async fn lose(cluster: &mut Cluster, number: u128) -> Digest {
    cluster.members[1].back_up("backup");
    cluster.members[1].start().await;
    let lost = send(cluster, 0, number).await;
    delivered(cluster, 0, &lost).await;
    cluster.members[1].stop().await;
    cluster.members[1].put_back("backup");
    lost
}

/// A backup is put in the place of the store while the anchor stays: nothing is signed, messages
/// are taken, the operator is told what helps; no restart forgets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_behind_its_anchor_signs_nothing() {
    let mut cluster = Cluster::start(&["xa.cyber-poc", "xb.ncu"]).await;
    let first = send(&cluster, 0, 1).await;
    delivered(&cluster, 0, &first).await;
    cluster.members[1].stop().await;
    lose(&mut cluster, 2).await;

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

/// A digit of the anchor's size rotted, or a byte of its root: it is called damaged, not a
/// rollback, and the log is not ended for it. Without the file the node goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_anchor_is_no_rollback() {
    let mut cluster = Cluster::start(&["xa.cyber-poc", "xb.ncu"]).await;
    let file = anchor(&cluster, 1);
    for n in [1, 2] {
        let sent = send(&cluster, 0, n).await;
        delivered(&cluster, 0, &sent).await;
    }
    cluster.members[1].stop().await;
    let sound = std::fs::read_to_string(&file).unwrap();
    // The third line is the size, the fourth the root.
    let lines: Vec<&str> = sound.lines().collect();
    let root = lines[3].replace(&lines[3][..1], if lines[3].starts_with('A') { "B" } else { "A" });
    for (place, rotten) in [(2, format!("9{}", lines[2])), (3, root)] {
        let mut lines = lines.clone();
        lines[place] = &rotten;
        std::fs::write(&file, lines.join("\n") + "\n").unwrap();
        cluster.members[1].start().await;
        let hold = cluster.node(1).relay().tlog().hold();
        assert!(matches!(hold, Some(Hold::Unreadable(_))), "{hold:?}");
        let held = log_status(&cluster, 1).await.held;
        assert!(held.contains("damaged") && !held.contains("log succeed"), "{held}");
        cluster.members[1].stop().await;
        let refused = order(&cluster.members[1], &["A. Ito", "B. Cruz"]).await.unwrap_err();
        assert!(refused.to_string().contains("is damaged"), "{refused}");
    }
    std::fs::remove_file(&file).unwrap();
    cluster.members[1].start().await;
    assert!(has_alarm(cluster.node(1), Reason::AnchorMissing));
    let sent = send(&cluster, 0, 3).await;
    delivered(&cluster, 0, &sent).await;
    cluster.members[1].stop().await;
    // Damaged, and the store set back to boot: the peer's word is heard.
    lose(&mut cluster, 4).await;
    std::fs::write(&file, "rubbish").unwrap();
    cluster.members[1].start().await;
    send(&cluster, 0, 5).await;
    let mut holds = cluster.node(1).relay().tlog().holds();
    let behind = holds.wait_for(|hold| matches!(hold, Some(Hold::Behind { .. })));
    tokio::time::timeout(PATIENCE, behind).await.unwrap().unwrap();
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
        matches!(&hold, Some(Hold::Restored { awaited, heard, .. })
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
        // Later logs, which are told once, however many there are.
        good.replace("/log/1", "/log/2"),
        good.replace("/log/1", "/log/3"),
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
    let store = cluster.node(1).store();
    let told = |alarm: &AlarmRecord| alarm.reason == Reason::JournalBehind.label();
    let count = until_stored(store, "the alarm of the later logs", |store| {
        Some(store.alarms(100).ok()?.iter().filter(|alarm| told(alarm)).count()).filter(|n| *n > 0)
    })
    .await;
    assert_eq!(count, 1);
    let say = move |hello: &mut v1::Hello| hello.held_checkpoint.clone_from(&good);
    let _peer = Hostile::dial_saying(&cluster.members[0], &cluster.members[1], say).await;
    let mut holds = cluster.node(1).relay().tlog().holds();
    let hold = holds.wait_for(Option::is_some).await.unwrap().clone();
    assert!(matches!(hold, Some(Hold::Behind { signed: 1_000_000_000, .. })), "{hold:?}");
}
