//! What a unit said stays said: neither a newer card of its own, nor a clock that proves nothing,
//! spoils its receipts or those of others.

use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey};
use prost::Message as _;
use relay_node::{
    directory::Trust,
    keys::Identity,
    store::{Store, records::EntryState},
};
use relay_proto::{
    card::Card,
    evidence::{self, Outcome, TrustAnchors, Verdict},
    ids::{Digest, UnitId},
    keys::PublicKey,
    reason::Reason,
    receipt::Event,
    signed::Unsigned,
    v1::{self, frame::Kind},
};
use relay_tests::{
    cluster::{Member, draft, submit, until_stored},
    hostile::{Claim, HostileLog},
};

use crate::{hostile::Stage, rollback::has_alarm};

/// The stage's node sends to the hostile peer and to an honest one; what the peer states about it,
/// and which message it is.
async fn sent(stage: &mut Stage, log: &HostileLog, n: u128) -> (Digest, v1::Statement) {
    let to = [0, 2].map(|place: usize| stage.cluster.members[place].unit.to_string());
    let mut draft = draft("alert.json", &[&to[0], &to[1]], stage.now);
    draft.payload.as_mut().unwrap().from.clear();
    let digest = submit(stage.cluster.node(1), draft, n).await.unwrap().digest;
    let header = stage.peer.next_transfer().await.envelope.unwrap().header.unwrap();
    let event = Event::ContentConsignment;
    let claim = Claim { event, reason: None, actor: None, at: stage.now };
    let statement = log.statement(&header, claim);
    (digest, v1::Statement::decode(statement.bytes().clone()).unwrap())
}

/// The peer states it; both recipients' entries are delivered then.
async fn stated(stage: &mut Stage, log: &mut HostileLog, number: u64, statement: &v1::Statement) {
    let bytes = Bytes::from(statement.encode_to_vec());
    let group = log.group(&stage.peer.keys, number, &bytes, "").await;
    stage.peer.say(Kind::Receipts(group)).await;
    let digest = Digest::from_bytes(&statement.header_digest).unwrap();
    let delivered = |store: &Store| {
        let entries = store.entries(&digest).unwrap();
        entries.iter().all(|entry| entry.state() == EntryState::Delivered).then_some(())
    };
    until_stored(stage.cluster.node(1).store(), "both receipts", delivered).await;
}

fn card(member: &Member) -> Card {
    Card::from_file(&std::fs::read(member.card()).unwrap()).unwrap()
}

/// The card of a unit after this one, under the same identity key.
pub(crate) fn next_card(member: &Member, change: impl FnOnce(&mut v1::Card)) -> Card {
    let identity = Identity::open(member.dir.join("keys/identity.key")).unwrap();
    let mut value = card(member).value().clone();
    value.number += 1;
    change(&mut value);
    let unsigned = Unsigned::new(&value, identity.public().id());
    let signature = identity.sign(unsigned.input());
    Card::open(&unsigned.signed(signature)).unwrap()
}

/// What the node's evidence is worth to whoever has the honest units' cards and this one.
async fn verdict(stage: &Stage, digest: &Digest, peer: &Card) -> Verdict {
    let bundle = stage.cluster.node(1).relay().evidence(digest, true).await.unwrap();
    let bundle = evidence::parse(&evidence::to_bytes(&bundle)).unwrap();
    let mut trust = TrustAnchors::default();
    let honest = [1, 2].map(|place: usize| card(&stage.cluster.members[place]));
    for card in honest.into_iter().chain([peer.clone()]) {
        trust.add_card(card).unwrap();
    }
    evidence::verify(&bundle, &trust)
}

/// A recipient renames its node and narrows the window of its log's key by a new card, after its
/// receipt settled a message. The evidence is as valid as before to whoever has the new card alone;
/// a receipt that was under way settles; nothing is lost either after the peer was removed, nor
/// when somebody brings a card of that name afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_card_spoils_no_evidence() {
    let mut stage = Stage::new().await;
    let mut log = HostileLog::new(&stage.peer.unit);
    let (first, statement) = sent(&mut stage, &log, 1).await;
    stated(&mut stage, &mut log, 1, &statement).await;
    let newer = next_card(&stage.cluster.members[0], |card| {
        card.nodes[0].name = "b".to_owned();
        let key = card.logs[0].key.as_mut().unwrap();
        key.not_after_ms = key.not_before_ms;
    });
    let directory = stage.cluster.node(1).relay().directory().clone();
    let file = Card::to_file(newer.signed());
    assert_eq!(directory.add(&file, stage.now).await.unwrap().card.number(), 2);
    let (second, statement) = sent(&mut stage, &log, 2).await;
    stated(&mut stage, &mut log, 2, &statement).await;
    for step in ["changed", "removed", "in another's name"] {
        match step {
            "changed" => {}
            "removed" => directory.remove(&stage.peer.unit, stage.now).await.unwrap(),
            _ => {
                let thief = in_the_name_of(&newer);
                let peer = directory.add(&Card::to_file(thief.signed()), stage.now).await.unwrap();
                assert_eq!(peer.trust, Trust::Unverified);
            }
        }
        for digest in [first, second] {
            let verdict = verdict(&stage, &digest, &newer).await;
            assert_eq!(verdict.outcome, Outcome::Valid, "{step}: {:?}", verdict.problems);
        }
    }
}

/// The same card under another identity key.
fn in_the_name_of(card: &Card) -> Card {
    let key = SigningKey::from_bytes(&[9; 32]);
    let identity = PublicKey::from_bytes(key.verifying_key().as_bytes()).unwrap();
    let mut value = card.value().clone();
    value.number += 1;
    value.identity_key.as_mut().unwrap().public_key = Bytes::copy_from_slice(identity.as_bytes());
    value.signer.as_mut().unwrap().key_id = Bytes::copy_from_slice(identity.id().as_bytes());
    let unsigned = Unsigned::new(&value, identity.id());
    let signature = key.sign(unsigned.input()).to_bytes();
    Card::open(&unsigned.signed(signature)).unwrap()
}

/// A recipient whose clock is not trusted dates its receipt far off. The message is delivered, for
/// it would be sent without end otherwise; the receipt is flagged, and the evidence of the other
/// recipient stays what it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_without_a_proven_time_settles_and_is_flagged() {
    let mut stage = Stage::new().await;
    let mut log = HostileLog::new(&stage.peer.unit);
    for number in [1, 2] {
        let (digest, mut statement) = sent(&mut stage, &log, u128::from(number)).await;
        statement.event_time_ms = 4_000_000_000_000;
        let clock = statement.clock.as_mut().unwrap();
        clock.state = v1::ClockState::Unsynced.into();
        stated(&mut stage, &mut log, number, &statement).await;
        let node = stage.cluster.node(1);
        let flagged = |store: &Store| {
            let held = store.receipts(&digest).unwrap();
            held.into_iter().find(|one| !one.flags.is_empty())
        };
        let receipt = until_stored(node.store(), "the flagged receipt", flagged).await;
        assert_eq!(receipt.flags, ["CLOCK_UNTRUSTED"]);
        assert!(receipt.counts());
        let verdict = verdict(&stage, &digest, &card(&stage.cluster.members[0])).await;
        assert_eq!(verdict.outcome, Outcome::UnprovenTime);
        let part = |unit: &UnitId| verdict.parts[unit];
        assert_eq!(part(&stage.peer.unit), Outcome::UnprovenTime);
        for place in [1, 2] {
            assert_eq!(part(&stage.cluster.members[place].unit), Outcome::Valid);
        }
    }
    // An honest unit whose clock is wrong is nobody's alarm but its own.
    assert!(!has_alarm(stage.cluster.node(1), Reason::ClockUntrusted));
}
