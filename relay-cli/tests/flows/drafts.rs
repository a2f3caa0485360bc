//! `draft …` and `send preservation --interactive`: what is written, kept, and sent once.

use std::{fs::File, io::Write as _, os::unix::fs::PermissionsExt as _, process::Stdio};

use relay_proto::v1::{self, payload::Body};
use serde_json::json;
use tonic::Code;

use crate::{
    fake::{Fake, Script, end, refusal},
    sending::{alert, ids, stored},
};

async fn fake() -> Fake {
    let status = v1::NodeStatus { display_name: "Unit A".into(), ..Default::default() };
    let script = Script { send: [Ok(stored())].into(), status, ..Default::default() };
    let fake = Fake::start(script).await;
    std::fs::write(fake.dir.path().join("a.json"), alert().to_string()).unwrap();
    fake
}

fn lost() -> tonic::Status {
    refusal(Code::Unavailable, "STORE_STOPPED", "the store stopped", &[])
}

/// Saved for this account alone, listed, shown, sent once and gone; again it is not found.
#[tokio::test]
async fn a_draft_is_sent_once() {
    let fake = fake().await;
    let ended = fake.run("draft save kit --file a.json").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.starts_with("SAVED     draft kit; nothing was sent\n"), "{ended:?}");
    assert_eq!(fake.run("draft save kit --file a.json").await.code, Some(16));
    let path = fake.dir.path().join("relay-cli/drafts/kit.json");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let list = fake.run("draft list --json").await.json();
    assert_eq!(list["drafts"][0]["name"], "kit");
    assert_eq!(
        (&list["drafts"][0]["kind"], &list["drafts"][0]["faults"]),
        (&json!("alert"), &json!([]))
    );
    assert!(fake.run("draft show kit").await.out.contains("Parcel-fee kit"));
    let ended = fake.run("draft submit kit --dry-run").await;
    assert!(ended.out.starts_with("CHECKED") && path.exists(), "{ended:?}");
    let ended = fake.run("draft submit kit").await;
    assert!(ended.out.starts_with("STORED    4D2P-F2DB"), "{ended:?}");
    assert!(!path.exists());
    let ended = fake.run("draft submit kit").await;
    assert_eq!(ended.code, Some(12), "{ended:?}");
    assert!(ended.err.contains("relay-cli outbox --all"), "{ended:?}");
}

/// Where nobody knows whether it was stored the same request is made again: same id, same content,
/// although its times are offsets. What is refused for good is a new request next time.
#[tokio::test]
async fn a_draft_keeps_its_request_id() {
    let fake = fake().await;
    fake.script.lock().unwrap().send = [Err(lost()), Ok(stored())].into();
    fake.run("draft save kit --file a.json").await;
    let ended = fake.run("draft submit kit").await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("relay-cli draft submit kit"), "{ended:?}");
    assert!(fake.run("draft list").await.out.contains("tried: submit it again to know"));
    assert_eq!(fake.run("draft submit kit").await.code, Some(0));
    {
        let script = fake.script.lock().unwrap();
        let [one, two] = script.sent.as_slice() else { panic!("{:?}", script.sent) };
        assert_eq!(one, two);
    }
    let fault = refusal(Code::InvalidArgument, "INVALID_CONTENT", "1 fault", &[("draft.to", "no")]);
    fake.script.lock().unwrap().send = [Err(fault), Ok(stored())].into();
    fake.run("draft save next --file a.json").await;
    let ended = fake.run("draft submit next").await;
    assert_eq!(ended.code, Some(15), "{ended:?}");
    assert!(ended.err.contains("relay-cli draft edit next"), "{ended:?}");
    assert_eq!(fake.run("draft submit next").await.code, Some(0));
    let ids = ids(&fake);
    assert!(ids[2] != ids[3], "{ids:?}");
    fake.script.lock().unwrap().send =
        [Err(refusal(Code::AlreadyExists, "REQUEST_ID_CONFLICT", "used", &[]))].into();
    fake.run("draft save third --file a.json").await;
    let ended = fake.run("draft submit third").await;
    assert_eq!(ended.code, Some(16), "{ended:?}");
    assert!(ended.err.contains("at its first try is stored"), "{ended:?}");
    let ended = fake.run("draft remove third").await;
    assert!(ended.out.starts_with("REMOVED   draft third\n"), "{ended:?}");
}

/// An unfinished message is kept as it is, and not sent.
#[tokio::test]
async fn an_unfinished_draft_is_kept() {
    let fake = fake().await;
    let text = fake.run("template show art29").await.out;
    std::fs::write(fake.dir.path().join("b.json"), &text).unwrap();
    assert_eq!(fake.run("draft save b --file b.json").await.code, Some(0));
    assert!(fake.run("draft list").await.out.contains("to mend"));
    assert_eq!(fake.run("draft show b").await.out, text);
    let ended = fake.run("draft submit b").await;
    assert_eq!(ended.code, Some(15), "{ended:?}");
    assert!(ids(&fake).is_empty());
    // Nobody is there who could edit.
    assert_eq!(fake.run("draft edit b").await.code, Some(2));
    // What an editor wrote is the draft.
    let (terminal, screen) = terminal();
    let mut edit = fake.command("draft edit b");
    edit.env("VISUAL", "cp a.json").stdin(terminal);
    let ended = end(edit).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("can be submitted"), "{ended:?}");
    drop(screen);
}

/// A pseudo-terminal: the program's side, and the side of whoever types.
fn terminal() -> (Stdio, File) {
    let pair = nix::pty::openpty(None, None).unwrap();
    (Stdio::from(pair.slave), File::from(pair.master))
}

/// What a person types for a whole request.
const TYPED: &str = "\n\
    Insp. Mira Valtonen\nJ. Okafor\n+1-202-555-0144\nXA-CCU-2026-0342\n\
    1\nComputer-related fraud\nPenal Code XA s.312\n8\nAccount used to redirect invoices.\n\
    ipv4 198.51.100.7\n51422\nsubscriber, traffic\n\n\nsender of the invoices\nn\n\
    ISP Exemplo SA\n\n\nlog-rotation\nlogs are kept 30 days\n\n\n\n@+50d\n\
    \n\n\nsuspect unaware\n\n\n";

/// Types on a terminal; how the program ended.
async fn on_terminal(fake: &Fake, typed: String) -> crate::fake::Ended {
    let (terminal, mut screen) = terminal();
    screen.write_all(typed.as_bytes()).unwrap();
    let mut command = fake.command("send preservation --to xb.ncu --interactive");
    command.stdin(terminal);
    let ended = end(command).await;
    drop(screen);
    ended
}

/// On a real terminal, from the first question to SEND: one request with the six parts. Without a
/// terminal, or with --no-input, nobody is asked.
#[tokio::test]
async fn a_request_is_typed_on_a_terminal() {
    let fake = fake().await;
    for line in ["send preservation --to xb.ncu --interactive"] {
        let ended = fake.run(line).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains("relay-cli template show art29"), "{ended:?}");
    }
    let ended = on_terminal(&fake, format!("{TYPED}d\nSEND\n")).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("CHECKED") && ended.out.contains("STORED    4D2P-F2DB"));
    assert!(ended.err.contains("6/6 Mutual assistance will follow"), "{ended:?}");
    let sent = fake.script.lock().unwrap().sent.pop().unwrap();
    assert!(!sent.validate_only);
    let payload = sent.draft.unwrap().payload.unwrap();
    let Some(Body::PreservationRequest(request)) = payload.body else { panic!("{payload:?}") };
    assert_eq!((request.items.len(), request.mla_intent()), (1, v1::Answer::Yes));
    assert_eq!(request.requesting_authority.unwrap().organisation, "Unit A");
    assert_eq!(fake.run("draft list -q").await.out, "No draft\n");
}

/// Saved half-way it is a draft; left, nothing of it stays; a fault that only the node can see
/// comes back to the review page.
#[tokio::test]
async fn what_was_typed_is_not_lost() {
    let fake = fake().await;
    let ended = on_terminal(&fake, "\nInsp. Mira Valtonen\ns\n".to_owned()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.starts_with("SAVED     draft xb.ncu; nothing was sent"), "{ended:?}");
    assert!(fake.run("draft show xb.ncu").await.out.contains("Mira Valtonen"));
    // Whatever is still missing is counted before it is submitted.
    assert!(fake.run("draft list").await.out.contains("places to mend"));
    let fault = refusal(Code::InvalidArgument, "INVALID_CONTENT", "1 fault", &[("draft.to", "no")]);
    fake.script.lock().unwrap().send = [Err(fault), Err(lost())].into();
    let ended = on_terminal(&fake, format!("{TYPED}SEND\nSEND\n")).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("relay-cli draft submit xb.ncu-2"), "{ended:?}");
    assert!(fake.run("draft list").await.out.contains("xb.ncu-2"));
    let ended = on_terminal(&fake, format!("{TYPED}q\n")).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("Nothing was stored or sent"), "{ended:?}");
    assert_eq!(fake.run("draft list --json").await.json()["drafts"].as_array().unwrap().len(), 2);
}
