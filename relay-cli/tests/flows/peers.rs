//! The verbs of `peer`: verification never without digits, removal never without a word.

use relay_proto::v1;

use crate::fake::{Fake, Script, end, program};

fn peer() -> v1::Peer {
    v1::Peer {
        unit: "xb.ncu".into(),
        trust: v1::PeerTrust::Verified.into(),
        state: v1::PeerState::Up.into(),
        fingerprint: "12345 ".repeat(12),
        verified_by: "script".into(),
        ..Default::default()
    }
}

async fn fake() -> Fake {
    Fake::start(Script { peer: Some(peer()), ..Default::default() }).await
}

/// The digits that one side reads are those that the other side's script gives.
#[tokio::test]
async fn digits_read_are_digits_given() {
    let fake = fake().await;
    let read = fake.run("peer verify xb.ncu --read --json").await;
    assert_eq!(read.code, Some(0), "{read:?}");
    let digits = read.json()["fingerprint"].as_str().unwrap().to_owned();
    assert_eq!(digits, "12345".repeat(12));
    let ended = fake.run(&format!("peer verify xb.ncu --by script --fingerprint {digits}")).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.starts_with("VERIFIED xb.ncu"));
    let request = fake.script.lock().unwrap().verify.clone().unwrap();
    assert_eq!((request.by.as_str(), request.heard.len()), ("script", 0));
}

/// Wrong digits end with 14; too few never reach the node; nobody to ask is a usage error.
#[tokio::test]
async fn nothing_is_verified_by_default() {
    let fake = fake().await;
    let ended = fake.run("peer verify xb.ncu --fingerprint 123").await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for line in ["peer verify xb.ncu", "peer verify xb.ncu --no-input --by Novak"] {
        let ended = fake.run(line).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains("--fingerprint"));
    }
    assert!(fake.script.lock().unwrap().verify.is_none());
    let wrong = "54321".repeat(12);
    let ended = fake.run(&format!("peer verify xb.ncu --fingerprint {wrong}")).await;
    assert_eq!(ended.code, Some(14), "{ended:?}");
    assert!(ended.err.contains("do not trust this card"), "{ended:?}");
    assert!(ended.err.contains("trust is as it was"));
}

/// Removal wants the name typed; a script says so with a flag.
#[tokio::test]
async fn removal_wants_a_word() {
    let fake = fake().await;
    let ended = fake.run("peer remove xb.ncu").await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("--yes"));
    let ended = fake.run("peer remove xb.ncu --yes").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// The list and the peer's page keep the digits to themselves.
#[tokio::test]
async fn digits_are_only_for_the_reader() {
    let fake = fake().await;
    for line in ["peer list", "peer list --json", "peer show xb.ncu", "peer show xb.ncu --json"] {
        let ended = fake.run(line).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(!ended.out.contains("12345"), "{line}");
    }
}

/// The peer's silence is not the node's: 1, with what is safe and the command that helps.
#[tokio::test]
async fn a_silent_peer_is_no_silent_node() {
    let ended = fake().await.run("peer ping xb.ncu").await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("stored and sent when it returns"));
    assert!(ended.err.contains("relay-cli peer show xb.ncu"));
}

/// A damaged card is named before any node is asked.
#[tokio::test]
async fn a_damaged_card_is_refused_here() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x.relaycard"), "relay-card/v1\nnothing").unwrap();
    let mut command = program("peer add x.relaycard");
    command.current_dir(dir.path());
    let ended = end(command).await;
    assert_eq!(ended.code, Some(14), "{ended:?}");
    assert!(ended.err.contains("not a valid card"), "{ended:?}");
}
