//! The verbs of `peer`: verification never without digits, removal never without a word.

use relay_proto::v1;
use tonic::Code;

use crate::fake::{Fake, Script, end, program, refusal};

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
    let line = format!("peer verify xb.ncu --by Novak --fingerprint {wrong}");
    let ended = fake.run(&line).await;
    assert_eq!(ended.code, Some(14), "{ended:?}");
    assert!(ended.err.contains("do not trust this card"), "{ended:?}");
    assert!(ended.err.contains("trust is as it was"));
}

/// Without an account's name and without `--by` nobody compared: a usage error, nothing asked.
#[tokio::test]
async fn somebody_must_compare() {
    let fake = fake().await;
    let digits = "12345".repeat(12);
    let line = format!("peer verify xb.ncu --fingerprint {digits}");
    let mut command = fake.command(&line);
    command.env_remove("USER");
    let ended = end(command).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("relay-cli peer verify xb.ncu --by NAME"), "{ended:?}");
    assert!(fake.script.lock().unwrap().verify.is_none());
    let mut command = fake.command(&line);
    command.env("USER", "desk1");
    assert_eq!(end(command).await.code, Some(0));
    assert_eq!(fake.script.lock().unwrap().verify.as_ref().unwrap().by, "desk1");
    // The same for every name that has to be stated.
    for line in ["ack 7F3K-22QD", "ack 7F3K-22QD --by=", "peer suspend xb.ncu --reason=x"] {
        let ended = fake.run(line).await;
        assert_eq!(ended.code, Some(2), "{line}: {ended:?}");
    }
    assert!(fake.script.lock().unwrap().ack.is_none());
}

/// Who suspended a unit and why goes to the node, and is shown.
#[tokio::test]
async fn a_suspension_has_an_author_and_a_reason() {
    let fake = fake().await;
    let mut command = fake.command("peer suspend xb.ncu --by");
    command.args(["K. Novak", "--reason", "key may be lost"]);
    let ended = end(command).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let asked = fake.script.lock().unwrap().suspend.clone().unwrap();
    assert_eq!((&*asked.by, &*asked.reason), ("K. Novak", "key may be lost"));
    for line in ["peer show xb.ncu", "peer show xb.ncu --json"] {
        let shown = fake.run(line).await;
        assert_eq!(shown.code, Some(1), "{shown:?}");
        assert!(shown.out.contains("K. Novak") && shown.out.contains("key may be lost"), "{line}");
    }
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

/// To a unit that was suspended nothing is sent, whether it is there or not: 17, and no promise
/// that it is.
#[tokio::test]
async fn a_suspended_peer_is_not_said_to_return() {
    let fake = fake().await;
    let text = "xb.ncu: The peer was suspended by the operator.";
    let refused = refusal(Code::FailedPrecondition, "PEER_SUSPENDED", text, &[]);
    fake.script.lock().unwrap().ping = Some(refused);
    let ended = fake.run("peer ping xb.ncu").await;
    assert_eq!(ended.code, Some(17), "{ended:?}");
    assert!(ended.err.contains("none is sent until it is verified again"), "{ended:?}");
    assert!(!ended.err.contains("returns"), "{ended:?}");
}

/// A unit that nobody added: the list of those that were, and how to add one.
#[tokio::test]
async fn an_unknown_peer_is_to_be_added() {
    let fake = Fake::start(Script::default()).await;
    let suspend = "peer suspend xz.ncu --by Novak --reason lost";
    for line in ["peer show xz.ncu", "peer verify xz.ncu --read", suspend] {
        let ended = fake.run(line).await;
        assert_eq!(ended.code, Some(12), "{ended:?}");
        assert!(ended.err.contains("relay-cli peer add CARD"), "{ended:?}");
        assert!(!ended.err.contains("inbox"), "{ended:?}");
    }
}

/// A peer that has not verified us is not silent: 17, and every screen says whom to call and what
/// they have to type.
#[tokio::test]
async fn a_peer_that_refuses_us_is_to_be_called() {
    let fake = fake().await;
    {
        let mut script = fake.script.lock().unwrap();
        let text = "no session";
        script.ping = Some(refusal(Code::FailedPrecondition, "NOT_VERIFIED_THERE", text, &[]));
        script.peer = Some(v1::Peer {
            state: v1::PeerState::Never.into(),
            last_reason: "NOT_VERIFIED_THERE".into(),
            ..peer()
        });
    }
    let ended = fake.run("peer ping xb.ncu").await;
    assert_eq!(ended.code, Some(17), "{ended:?}");
    assert!(ended.err.contains("refuses this node's key"), "{ended:?}");
    let typed = "telephone them; they run: relay-cli peer verify xa.cyber-poc --by NAME";
    assert!(ended.err.split_whitespace().collect::<Vec<_>>().join(" ").contains(typed));
    let list = fake.run("peer list").await;
    assert_eq!(list.code, Some(1), "{list:?}");
    assert!(list.out.contains("REFUSES US"), "{list:?}");
    assert!(list.out.contains("xb.ncu has not verified us: telephone them"), "{list:?}");
    let show = fake.run("peer show xb.ncu").await;
    assert!(show.out.starts_with("xb.ncu REFUSES US: it has not verified us\n"), "{show:?}");
    assert!(show.out.contains("relay-cli peer verify xa.cyber-poc"), "{show:?}");
    // Once a session is up, what was the last reason does not matter.
    fake.script.lock().unwrap().peer.as_mut().unwrap().state = v1::PeerState::Up.into();
    assert_eq!(fake.run("peer list").await.code, Some(0));
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
