//! A verified peer that speaks for others, sends too much, or proves what is not so: nothing of it
//! has an effect, each breach has its label, and honest messages pass all the while.

use bytes::Bytes;
use data_encoding::BASE64;
use relay_node::{daemon::Node, keys::KeyStore, store::records::EntryState};
use relay_proto::{
    ids::MessageId,
    limits,
    payload::clear_bytes,
    reason::Reason,
    receipt::Event,
    v1::{self, frame::Kind},
};
use relay_tests::{
    cluster::{draft, entries_until, submit, until_stored},
    hostile::{Claim, HostileLog},
};

use crate::{
    hostile::{Stage, payload},
    rollback::has_alarm,
};

/// Sender of the envelope, key that signed and peer of the session must be one unit: of all nine
/// pairs of sender and key on this session one passes, the others are unsigned faults.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sender_key_and_session_are_one_unit() {
    let mut stage = Stage::new().await;
    let before = stage.leaves();
    let units = [0, 1, 2].map(|place: usize| stage.cluster.members[place].unit.clone());
    let dirs = [0, 1, 2].map(|place: usize| stage.cluster.members[place].dir.join("keys"));
    let keys = dirs.map(|dir| KeyStore::open(&dir, 1).unwrap());
    for (from, signer) in (0..9).map(|pair| (pair / 3, pair % 3)).filter(|pair| *pair != (0, 0)) {
        // The header's own word about its signer follows its sender, or the key.
        for named in [from, signer] {
            let id = MessageId::new(stage.now, rand::random());
            let payload = payload(&stage.cluster, from, &stage.to, id.as_bytes());
            let clear = clear_bytes(rand::random(), &payload);
            let to = [stage.to.clone()];
            let sender = (&units[from], &keys[signer]);
            let envelope = stage.peer.envelope_of(sender, &to, clear, stage.now, |header| {
                header.message_id = Bytes::copy_from_slice(id.as_bytes());
                header.signer.as_mut().unwrap().unit = units[named].to_string();
            });
            let envelope = envelope.await;
            let digest = stage.send(envelope).await;
            let fault = stage.peer.next_fault().await;
            let mismatch = named != signer;
            let expected = if mismatch { Reason::BadSignature } else { Reason::SenderMismatch };
            assert_eq!(fault.reason, expected.label(), "from {from}, key of {signer}");
            assert!(!fault.detail.is_empty());
            assert_eq!(fault.header_digest, digest.as_bytes().as_slice());
            assert!(stage.cluster.node(1).store().message(&digest).unwrap().is_none());
        }
    }
    assert_eq!(stage.leaves(), before, "a fault became a leaf");
    stage.honest_message_passes().await;
}

/// Too many recipients, too long a payload, too long a header: refused by size before anything is
/// made of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_over_the_limits_are_refused() {
    let mut stage = Stage::new().await;
    let many = stage
        .envelope(|header| {
            header.to = (0..=limits::RECIPIENTS_MAX).map(|n| format!("xb.u{n:03}")).collect();
        })
        .await;
    stage.send(many).await;
    assert_eq!(stage.peer.next_fault().await.reason, Reason::TooLarge.label());

    let long = stage.envelope(|header| header.audience = "a".repeat(limits::HEADER_BYTES_MAX));
    let long = long.await;
    stage.send(long).await;
    assert_eq!(stage.peer.next_fault().await.reason, Reason::TooLarge.label());

    let clear = Bytes::from(vec![7; limits::PAYLOAD_BYTES_MAX + 1]);
    let to = [stage.to.clone()];
    let large = stage.peer.envelope(&to, clear, stage.now, |header| header.payload_bucket = 7);
    let large = large.await;
    let digest = stage.send(large).await;
    assert_eq!(stage.peer.next_fault().await.reason, Reason::TooLarge.label());
    assert!(stage.cluster.node(1).store().message(&digest).unwrap().is_none());
    stage.honest_message_passes().await;
}

/// Waits until an alarm with this label is kept.
async fn alarmed(node: &Node, reason: Reason) {
    until_stored(node.store(), reason.label(), |store| {
        store.alarms(100).unwrap().into_iter().find(|alarm| alarm.reason == reason.label())
    })
    .await;
}

fn flip(bytes: &Bytes) -> Bytes {
    let mut changed = bytes.to_vec();
    changed[0] ^= 1;
    changed.into()
}

/// The note with one bit of its signature changed, still well-formed.
fn flip_signature(note: &str) -> String {
    let (text, base64) = note.trim_end().rsplit_once(' ').unwrap();
    let mut raw = BASE64.decode(base64.as_bytes()).unwrap();
    *raw.last_mut().unwrap() ^= 1;
    format!("{text} {}\n", BASE64.encode(&raw))
}

/// A recipient whose receipts prove nothing: another leaf than was logged, a wrong path, a
/// checkpoint with a bad signature, a fork, an event that is not its to state, a message that
/// nobody sent it. Each is alarmed by its label and settles nothing; then the good receipt does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proofs_that_do_not_verify_settle_nothing() {
    let mut stage = Stage::new().await;
    let to = [stage.cluster.members[0].unit.clone(), stage.cluster.members[2].unit.clone()];
    let node = stage.cluster.node(1);
    let mut draft = draft("alert.json", &[to[0].as_str(), to[1].as_str()], stage.now);
    draft.payload.as_mut().unwrap().from.clear();
    let sent = submit(node, draft, 1).await.unwrap();
    let transfer = stage.peer.next_transfer().await;
    let header = transfer.envelope.unwrap().header.unwrap();
    let mut log = HostileLog::new(&stage.peer.unit);
    let claim = |event| Claim { event, reason: None, actor: None, at: stage.now };
    let consigned = log.statement(&header, claim(Event::ContentConsignment));

    let keys = &stage.peer.keys;
    let mut other_leaf = log.group(keys, 1, &flip(consigned.bytes()), "").await;
    other_leaf.receipts[0].statement = consigned.bytes().clone();
    let mut wrong_path = log.group(keys, 2, consigned.bytes(), "").await;
    let path = &mut wrong_path.receipts[0].path[0];
    *path = flip(path);
    let failure = Claim { reason: Some(Reason::Expired), ..claim(Event::RelayFailure) };
    let failure = log.statement(&header, failure);
    let wrong_role = log.group(keys, 3, failure.bytes(), "").await;
    let mut foreign = header.clone();
    let mut value: v1::Header = prost::Message::decode(foreign.bytes).unwrap();
    value.message_id = Bytes::copy_from_slice(MessageId::new(stage.now, [7; 10]).as_bytes());
    foreign.bytes = prost::Message::encode_to_vec(&value).into();
    let unknown = log.statement(&foreign, claim(Event::ContentConsignment));
    let unknown = log.group(keys, 4, unknown.bytes(), "").await;
    let good = log.group(keys, 5, consigned.bytes(), "").await;
    let mut unsigned = good.clone();
    unsigned.checkpoint = flip_signature(&unsigned.checkpoint);
    let mut later = HostileLog::of_generation(&stage.peer.unit, 2);
    let later = later.group(keys, 5, consigned.bytes(), "").await;
    let mut fork = HostileLog::new(&stage.peer.unit);
    for n in 0..5u8 {
        fork.group(keys, 9, &Bytes::copy_from_slice(&[n]), "").await;
    }
    let mut forked = fork.group(keys, 6, consigned.bytes(), "").await;
    (forked.consistency_from, forked.consistency) = (5, good.consistency.clone());

    let breaches = [
        (other_leaf, Reason::BadInclusion),
        (wrong_path, Reason::BadInclusion),
        (wrong_role, Reason::WrongIssuer),
        (unknown, Reason::UnknownMessage),
        (unsigned, Reason::BadSignature),
        (later, Reason::PeerRolledBack),
    ];
    for (group, reason) in breaches {
        stage.peer.say(Kind::Receipts(group)).await;
        alarmed(node, reason).await;
    }
    let state = |recipient: usize| {
        let entries = node.store().entries(&sent.digest).unwrap();
        let of = |unit: &str| entries.iter().find(|entry| entry.recipient == unit).unwrap().state();
        of(to[recipient].as_str())
    };
    assert!(matches!(state(0), EntryState::Queued | EntryState::Deferred), "settled by nothing");
    // A log whose card was not imported yet contradicts nothing.
    assert!(!has_alarm(node, Reason::UnknownLog));
    stage.peer.say(Kind::Receipts(good)).await;
    // The bystander's receipt settled its own entry all the while.
    entries_until(node, &sent.digest, |entry| entry.state() == EntryState::Delivered).await;
    stage.peer.say(Kind::Receipts(forked)).await;
    alarmed(node, Reason::BadConsistency).await;
    assert_eq!(node.store().receipts(&sent.digest).unwrap().len(), 3);
    stage.honest_message_passes().await;
}
