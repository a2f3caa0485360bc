//! `send`: what is promised, when, and that repeating does nothing twice.

use std::{process::Stdio, time::Duration};

use relay_proto::v1;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::{
    desk::message,
    fake::{Ended, Fake, Script, end, refusal},
};

pub fn alert() -> Value {
    json!({
        "env": {
            "kind": "ALERT", "profile": "budapest-247", "to": ["xb.ncu"], "priority": "ROUTINE",
            "language": "en", "sender_ref": "XA-1"
        },
        "alert": {
            "revision": 1, "lifecycle": "NEW", "alert_type": "WARN", "category": "fraud/phishing",
            "severity": "MEDIUM", "title": "Parcel-fee kit on rented hosting",
            "summary": "Kit copies a postal login page and relays one-time codes.",
            "observed_from": "@-7d", "valid_until": "@+28d", "confidence": 85,
            "affected_countries": ["XB"], "action_requested": ["NONE"],
            "evaluation": {"source": "A", "information": 1},
            "dissemination": {"audience": "NAMED", "onward": false}
        },
        "handling": {"tlp": "AMBER", "pap": "GREEN", "europol": ["H0"], "classification": "BPL"}
    })
}

fn write(fake: &Fake, file: &Value) {
    std::fs::write(fake.dir.path().join("alert.json"), file.to_string()).unwrap();
}

pub fn stored() -> v1::SendMessageResponse {
    let delivery = v1::Delivery {
        recipient: "xb.ncu".into(),
        state: v1::DeliveryState::Queued.into(),
        ..Default::default()
    };
    v1::SendMessageResponse {
        approval: String::new(),
        message: Some(v1::Message {
            direction: v1::Direction::Out.into(),
            from: "xa.cyber-poc".into(),
            to: vec!["xb.ncu".into()],
            deliveries: vec![delivery],
            ..message()
        }),
        repeated_request: false,
    }
}

async fn fake(answers: Vec<Result<v1::SendMessageResponse, Status>>) -> Fake {
    let fake = Fake::start(Script {
        send: answers.into(),
        message: stored().message,
        ..Default::default()
    });
    let fake = fake.await;
    write(&fake, &alert());
    fake
}

pub fn ids(fake: &Fake) -> Vec<String> {
    fake.script.lock().unwrap().sent.iter().map(|sent| sent.request_id.clone()).collect()
}

/// The request id is told before, the short id and the promise after the answer.
#[tokio::test]
async fn stored_is_said_when_it_is_stored() {
    let fake = fake(vec![Ok(stored())]).await;
    let ended = fake.run("send alert --file alert.json").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let first = ended.out.lines().next().unwrap();
    assert!(first.starts_with("STORED    4D2P-F2DB at ") && first.ends_with("power loss)"));
    let id = ids(&fake).remove(0);
    assert!(ended.err.starts_with(&format!("REQUEST   {id}")), "{ended:?}");
    let again = fake.run(&format!("send alert --file alert.json --request-id {id} --json")).await;
    assert_eq!(again.json()["request_id"], id.as_str());
    assert_eq!(again.json()["schema"], "relay.cli.send/1");
}

/// The command that is printed before anything is sent, pasted into a shell, is the same message
/// again: same request id, same content, although its times were offsets.
#[tokio::test]
async fn the_printed_command_repeats_the_message() {
    let fake = fake(vec![Ok(stored())]).await;
    std::fs::rename(fake.dir.path().join("alert.json"), fake.dir.path().join("an alert.json"))
        .unwrap();
    let mut first = fake.command("send alert --file");
    first.args(["an alert.json", "--timeout", "20s"]);
    let ended = end(first).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let (_, command) = ended.err.split_once("  repeat: ").unwrap();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", command]).env("RELAY_NODE", fake.socket()).current_dir(fake.dir.path());
    let ended = end(shell).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let script = fake.script.lock().unwrap();
    let [one, two] = script.sent.as_slice() else { panic!("{:?}", script.sent) };
    assert_eq!(one, two);
}

/// An id that does not say when it was made cannot carry offsets; whole times are fine with it.
#[tokio::test]
async fn offsets_need_a_dated_request_id() {
    let fake = fake(vec![Ok(stored())]).await;
    let line = "send alert --file alert.json --request-id 4f1c1f6e-0f5c-4d2c-9d0c-0f1e2d3c4b5a";
    let ended = fake.run(line).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("would be another message"), "{ended:?}");
    assert!(ids(&fake).is_empty());
    let mut whole = alert();
    whole["alert"]["observed_from"] = json!("2026-03-02T08:15:00Z");
    whole["alert"]["valid_until"] = json!("2026-04-02T08:15:00Z");
    write(&fake, &whole);
    assert_eq!(fake.run(line).await.code, Some(0));
    assert_eq!(ids(&fake), ["4f1c1f6e-0f5c-4d2c-9d0c-0f1e2d3c4b5a"]);
}

/// A node whose disk fails under it says no more than that; the user is told how to find out.
#[tokio::test]
async fn a_failed_store_is_not_taken_for_a_no() {
    let refused = refusal(Code::Unavailable, "STORE_STOPPED", "the store stopped", &[]);
    let fake = fake(vec![Err(refused)]).await;
    let ended = fake.run("send alert --file alert.json --json").await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("it may have been done"), "{ended:?}");
    let repeat = ended.json()["repeat"].as_str().unwrap().to_owned();
    assert!(repeat.ends_with(&format!("--request-id {}", ids(&fake)[0])), "{repeat}");
    // Without a node nothing was sent, and that is said.
    std::fs::remove_file(fake.socket()).unwrap();
    let ended = fake.run("send alert --file alert.json").await;
    assert_eq!(ended.code, Some(10), "{ended:?}");
    assert!(ended.err.contains("nothing was sent or changed"), "{ended:?}");
}

/// A dry run asks the node to check and promises nothing.
#[tokio::test]
async fn a_dry_run_stores_nothing() {
    let fake = fake(vec![Ok(stored())]).await;
    let ended = fake.run("send alert --file alert.json --dry-run").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.starts_with("CHECKED") && !ended.out.contains("STORED"));
    let sent = fake.script.lock().unwrap().sent.remove(0);
    assert!(sent.validate_only);
    let draft = sent.draft.unwrap();
    assert_eq!((draft.profile.as_str(), draft.to.concat().as_str()), ("budapest-247", "xb.ncu"));
}

/// Faults that the file has, and faults that only the node can see: 15, all listed, nothing sent.
#[tokio::test]
async fn faults_are_listed_with_their_paths() {
    let faults = [("draft.to[0]", "not a member of the profile"), ("draft.expire_time", "past")];
    let text = "2 faults";
    let refused = refusal(Code::InvalidArgument, "INVALID_CONTENT", text, &faults);
    let fake = fake(vec![Err(refused)]).await;
    let ended = fake.run("send alert --file alert.json").await;
    assert_eq!(ended.code, Some(15), "{ended:?}");
    assert!(ended.err.contains("env.to[0]: not a member of the profile"));
    assert!(ended.err.contains("env.expires_at: past"));
    assert!(ended.err.contains("alert.json has 2 faults."), "{ended:?}");
    assert!(ended.err.contains("mend alert.json, then the same command with --dry-run"));
    assert!(ended.err.contains("nothing was sent"));
    let mut bad = alert();
    bad["env"]["prioritty"] = json!("ROUTINE");
    bad["alert"]["confidence"] = json!("high");
    write(&fake, &bad);
    let ended = fake.run("send alert --file alert.json --json").await;
    assert_eq!(ended.code, Some(15), "{ended:?}");
    let faults = ended.json()["faults"].as_array().unwrap().clone();
    let paths: Vec<&str> = faults.iter().map(|fault| fault["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["env.prioritty", "alert.confidence"]);
    assert_eq!(ids(&fake).len(), 1, "the node was asked with a bad file");
}

/// Each refusal its code; none is repeated by itself.
#[tokio::test]
async fn refusals_have_their_codes() {
    let cases = [
        (Code::FailedPrecondition, "PEER_UNVERIFIED", 17),
        (Code::FailedPrecondition, "PEER_SUSPENDED", 17),
        (Code::AlreadyExists, "REQUEST_ID_CONFLICT", 16),
        (Code::NotFound, "UNKNOWN_RECIPIENT", 12),
        (Code::PermissionDenied, "PERMISSION_DENIED", 11),
        (Code::ResourceExhausted, "QUEUE_FULL", 1),
        (Code::Unavailable, "STORE_STOPPED", 1),
    ];
    for (code, reason, exit) in cases {
        let fake = fake(vec![Err(refusal(code, reason, "no", &[]))]).await;
        let ended = fake.run("send alert --file alert.json").await;
        assert_eq!(ended.code, Some(exit), "{reason}: {ended:?}");
        assert_eq!(ids(&fake).len(), 1, "{reason} was repeated");
        assert!(ended.out.is_empty(), "{ended:?}");
    }
}

/// Each fault is said once: not in the first line, in the node's words and in the list.
#[tokio::test]
async fn faults_are_said_once() {
    let text = "xb.ncu: The peer was suspended by the operator.";
    let refused = refusal(Code::FailedPrecondition, "PEER_SUSPENDED", text, &[("draft.to", text)]);
    let fake = fake(vec![Err(refused)]).await;
    let ended = fake.run("send alert --file alert.json").await;
    assert_eq!(ended.err.matches("suspended by the operator").count(), 1, "{ended:?}");
    let meaning = "The recipient is not a peer of this node.";
    let refused = refusal(Code::NotFound, "UNKNOWN_RECIPIENT", meaning, &[]);
    fake.script.lock().unwrap().send = [Err(refused)].into();
    let ended = fake.run("send alert --file alert.json").await;
    assert_eq!(ended.err.matches("not a peer of").count(), 1, "{ended:?}");
}

/// The wrong verb for a file is found before anything is sent.
#[tokio::test]
async fn an_alert_is_not_sent_as_a_request() {
    let fake = fake(vec![Ok(stored())]).await;
    let ended = fake.run("send preservation --file alert.json").await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("relay-cli send alert --file alert.json"));
    assert!(ids(&fake).is_empty());
    assert_eq!(fake.run("send alert --file missing.json").await.code, Some(12));
}

/// The node dies with the request in hand and comes back: asked again with the same id, and the
/// user is told.
#[test]
fn a_lost_answer_is_asked_for_again() {
    let (first, second) =
        (tokio::runtime::Runtime::new().unwrap(), tokio::runtime::Runtime::new().unwrap());
    let script = Script { send_delay: Duration::from_secs(60), ..Default::default() };
    let dying = first.block_on(Fake::start(script));
    write(&dying, &alert());
    let mut command = dying.command("send alert --file alert.json");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while ids(&dying).is_empty() {
        std::thread::yield_now();
    }
    std::fs::remove_file(dying.socket()).unwrap();
    first.shutdown_background();
    let script = Script { send: [Ok(stored())].into(), ..Default::default() };
    let back = second.block_on(Fake::start_in(dying.dir.clone(), script));
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(err.contains("nothing happens twice"), "{err}");
    assert_eq!(ids(&dying), ids(&back));
    second.shutdown_background();
}

/// An answer that is too late is not repeated: the user is told the truth and how to repeat.
#[tokio::test]
async fn a_slow_answer_is_not_taken_for_a_no() {
    let fake = fake(vec![Ok(stored())]).await;
    fake.script.lock().unwrap().send_delay = Duration::from_secs(60);
    let ended = fake.run("send alert --file alert.json --timeout 300ms").await;
    assert_eq!(ended.code, Some(10), "{ended:?}");
    let id = ids(&fake).remove(0);
    assert!(ended.err.contains("did not answer in time"), "{ended:?}");
    assert!(ended.err.contains(&format!("--request-id {id}")), "{ended:?}");
    assert_eq!(ids(&fake).len(), 1);
}

/// Ctrl-C before the answer: 130, and nobody claims to know.
#[tokio::test]
async fn an_interruption_tells_the_truth() {
    let fake = fake(vec![Ok(stored())]).await;
    fake.script.lock().unwrap().send_delay = Duration::from_secs(60);
    let mut command = fake.command("send alert --file alert.json");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while ids(&fake).is_empty() {
        tokio::task::yield_now().await;
    }
    let mut kill = std::process::Command::new("kill");
    kill.args(["-INT", &child.id().to_string()]);
    assert_eq!(end(kill).await.code, Some(0));
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await;
    let output = output.unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{err}");
    assert!(err.contains("it may have done it"), "{err}");
    assert!(err.contains(&ids(&fake)[0]), "{err}");
}

fn receipt(event: v1::Event, verified: bool) -> v1::ReceiptView {
    v1::ReceiptView {
        event: event.into(),
        issuer_unit: "xb.ncu".into(),
        recipient: "xb.ncu".into(),
        verified,
        ..Default::default()
    }
}

async fn wait(fake: &Fake, goal: &str) -> Ended {
    let line = format!("send alert --file alert.json --wait {goal} --timeout 500ms --json");
    fake.run(&line).await
}

/// Waiting counts verified receipts only; not there in time is 13, safe; refused is 1.
#[tokio::test]
async fn waiting_counts_verified_receipts() {
    let fake = fake(vec![Ok(stored())]).await;
    assert_eq!(wait(&fake, "delivered").await.code, Some(13));
    let set = |receipts| fake.script.lock().unwrap().receipts = receipts;
    set(vec![receipt(v1::Event::ContentConsignment, false)]);
    assert_eq!(wait(&fake, "delivered").await.code, Some(13));
    set(vec![receipt(v1::Event::ContentConsignment, true)]);
    assert_eq!(wait(&fake, "delivered").await.code, Some(0));
    assert_eq!(wait(&fake, "handover").await.code, Some(13));
    set(vec![receipt(v1::Event::ConsignmentAcceptance, true)]);
    let ended = wait(&fake, "ack").await;
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.json()["reached"], true);
    set(Vec::new());
    let mut message = stored().message.unwrap();
    message.deliveries[0].state = v1::DeliveryState::Refused.into();
    fake.script.lock().unwrap().message = Some(message);
    assert_eq!(wait(&fake, "ack").await.code, Some(1));
}

/// A template is a file to fill in: as it is nothing of it is sent, filled in it is, comments and
/// all.
#[tokio::test]
async fn a_template_is_filled_in_and_sent() {
    let fake = fake(vec![Ok(stored())]).await;
    let ended = fake.run("template show request-ack").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let path = fake.dir.path().join("ack.json");
    std::fs::write(&path, &ended.out).unwrap();
    let refused = fake.run("send message --file ack.json").await;
    assert_eq!(refused.code, Some(15), "{refused:?}");
    let id = "0192f1a0-0009-7000-8000-000000000009";
    let mut text = ended.out.clone();
    for (key, value) in [
        ("to", "[\"xb.ncu\"]"),
        ("thread_id", &format!("\"{id}\"")),
        ("in_reply_to", &format!("\"{id}\"")),
        ("next_update_by", "\"@+24h\""),
    ] {
        let open = if key == "to" { "[\"?\"]" } else { "\"?\"" };
        let from = format!("\n  \"{key}\": {open}");
        assert!(text.contains(&from), "{key} in {text}");
        text = text.replace(&from, &format!("\n  \"{key}\": {value}"));
    }
    std::fs::write(&path, &text).unwrap();
    // What is read as text is not taken for a value either.
    let refused = fake.run("send message --file ack.json").await;
    assert_eq!(refused.code, Some(15), "{refused:?}");
    for path in ["env.sender_ref", "ack.q_reference", "ack.desk"] {
        assert!(refused.err.contains(&format!("{path}: still to be filled in")), "{refused:?}");
    }
    assert!(ids(&fake).is_empty());
    std::fs::write(&path, text.replace("\": \"?\"", "\": \"XB-77\"")).unwrap();
    let ended = fake.run("send message --file ack.json").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ids(&fake).len(), 1);
    assert_eq!(fake.run("template show nothing").await.code, Some(12));
    let list = fake.run("template list --json").await.json();
    assert_eq!(list["templates"].as_array().map(Vec::len), Some(30));
}
