//! `respond`, `withdraw`, `extend`, `mla`: what is typed becomes one message of the case.

use std::collections::HashMap;

use relay_proto::{
    ids::MessageId,
    timestamp::Timestamp,
    v1::{self, payload::Body},
};
use tonic::{Code, Status};

use crate::fake::{Fake, Script, end, refusal};

const CASE_ID: &str = "0192f1a0-0009-4000-8000-000000000009";
const REQUEST_ID: &str = "0192f1a0-0009-7000-8000-000000000009";

/// A message id for a number.
fn id(number: u8) -> String {
    MessageId::new(Timestamp::from_millis(1_790_000_000_000), [number; 10]).to_string()
}

fn step(number: u8, kind: v1::Kind, from: &str) -> v1::CaseStep {
    let message_id = if number == 0 { REQUEST_ID.to_owned() } else { id(number) };
    v1::CaseStep {
        message_id,
        kind: kind.into(),
        from: from.into(),
        outcome: v1::StepOutcome::Made.into(),
        ..Default::default()
    }
}

/// A case between xa.cyber-poc, who asks, and xb.ncu; items 1 and 2 wait.
fn case(ours: &str, state: v1::CaseState) -> v1::Case {
    let item = |id: &str, state: v1::ItemState| v1::CaseItem {
        item_id: id.into(),
        state: state.into(),
        ..Default::default()
    };
    let due_time = Some(prost_types::Timestamp { seconds: 1_990_000_000, nanos: 0 });
    v1::Case {
        name: format!("cases/{CASE_ID}/{}", other(ours)),
        case_id: CASE_ID.into(),
        peer: other(ours).into(),
        requesting_unit: "xa.cyber-poc".into(),
        requested_unit: "xb.ncu".into(),
        state: state.into(),
        revision: 3,
        priority: v1::Priority::Urgent.into(),
        turn: "xb.ncu".into(),
        legal: vec![v1::Kind::PreservationConfirmation.into(), v1::Kind::RiskNotice.into()],
        items: vec![
            item("1", v1::ItemState::Pending),
            item("2", v1::ItemState::Pending),
            item("3", v1::ItemState::Withdrawn),
        ],
        steps: vec![step(0, v1::Kind::PreservationRequest, "xa.cyber-poc")],
        etag: "5f5f".into(),
        short_id: "4D2P-F2DB".into(),
        obligations: vec![v1::Obligation {
            duty: v1::Duty::Confirm.into(),
            unit: "xb.ncu".into(),
            due_time,
            rule: v1::TermRule::House.into(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn other(ours: &str) -> &'static str {
    if ours == "xb.ncu" { "xa.cyber-poc" } else { "xb.ncu" }
}

fn message(id: &str, sender_ref: &str, body: Body) -> v1::Message {
    let handling = v1::Handling { tlp: v1::Tlp::AmberStrict.into(), ..Default::default() };
    let payload = v1::Payload {
        sender_ref: sender_ref.into(),
        handling: Some(v1::Handling { delete_by_ms: 5, ..handling }),
        body: Some(body),
        ..Default::default()
    };
    v1::Message {
        message_id: id.into(),
        profile: "budapest-247".into(),
        payload: Some(payload),
        exercise: true,
        ..Default::default()
    }
}

fn request() -> v1::Message {
    message(REQUEST_ID, "XA-1", Body::PreservationRequest(v1::PreservationRequest::default()))
}

async fn fake(case: v1::Case, said: Vec<v1::Message>) -> Fake {
    let stored = v1::SendMessageResponse {
        approval: String::new(),
        message: Some(v1::Message {
            message_id: id(99),
            short_id: "9CRR-S1AW".into(),
            ..Default::default()
        }),
        repeated_request: false,
    };
    let messages = said.into_iter().chain([request()]);
    let messages = messages.map(|message| (message.message_id.clone(), message));
    let script = Script {
        send: [Ok(stored)].into(),
        messages: messages.collect::<HashMap<_, _>>(),
        cases: [case].into(),
        status: v1::NodeStatus { display_name: "Unit B".into(), ..Default::default() },
        ..Default::default()
    };
    Fake::start(script).await
}

/// The only message that reached the node.
fn sent(fake: &Fake) -> (v1::SendMessageRequest, v1::Payload, Body) {
    let request = fake.script.lock().unwrap().sent.remove(0);
    let payload = request.draft.clone().unwrap().payload.unwrap();
    let body = payload.body.clone().unwrap();
    (request, payload, body)
}

/// The answer is addressed, marked and numbered by the case; it rests on the case that was read;
/// what is awaited is said after what is promised.
#[tokio::test]
async fn a_desk_takes_a_request() {
    let fake = fake(case("xb.ncu", v1::CaseState::Delivered), vec![]).await;
    let ended = fake.run("respond 4D2P-F2DB --taken --reference XB-77 --next-update 24h").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.starts_with("STORED    9CRR-S1AW"), "{ended:?}");
    assert!(ended.out.contains("CASE      4D2P-F2DB is DELIVERED; it is xb.ncu's turn"));
    assert!(ended.out.contains("xb.ncu  confirm"), "{ended:?}");
    let (request, payload, body) = sent(&fake);
    let draft = request.draft.clone().unwrap();
    assert_eq!((request.etag.as_str(), request.validate_only), ("5f5f", false));
    assert_eq!(
        (draft.profile.as_str(), draft.to.concat().as_str()),
        ("budapest-247", "xa.cyber-poc")
    );
    assert_eq!(draft.priority(), v1::Priority::Urgent);
    assert_eq!(payload.urgency_reason, "the case is URGENT");
    assert_eq!(payload.sender_ref, "XB-77");
    let uuid = |text: &str| text.parse::<relay_proto::ids::Uuid>().unwrap().as_bytes().to_vec();
    assert_eq!(payload.case_id, uuid(CASE_ID));
    assert_eq!(payload.in_reply_to, uuid(REQUEST_ID));
    assert!(payload.exercise, "an answer in a drill is a drill");
    let handling = payload.handling.unwrap();
    assert_eq!((handling.tlp(), handling.delete_by_ms), (v1::Tlp::AmberStrict, 0));
    let Body::RequestAck(ack) = body else { panic!("{body:?}") };
    assert_eq!((ack.q_reference.as_str(), ack.desk.as_str()), ("XB-77", "Unit B"));
    let made = request.request_id.parse::<relay_proto::ids::RequestId>().unwrap().made_at();
    assert_eq!(ack.next_update_by_ms, made.unwrap().as_millis() + 24 * 3_600_000);
    // Without a number of its own nothing is sent.
    let ended = fake.run("respond 4D2P-F2DB --taken --next-update 24h").await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("--reference TEXT") && fake.script.lock().unwrap().sent.is_empty());
}

/// What waits is decided as a whole or by item, of the newest revision, under the number that was
/// stated before.
#[tokio::test]
async fn items_are_decided_and_confirmed() {
    let ack =
        Body::RequestAck(v1::RequestAck { q_reference: "XB-77".into(), ..Default::default() });
    let mut accepted = case("xb.ncu", v1::CaseState::Acknowledged);
    accepted.steps.push(step(1, v1::Kind::RequestAck, "xb.ncu"));
    let fake = fake(accepted, vec![message(&id(1), "XB-77", ack)]).await;
    assert_eq!(fake.run("respond 4D2P-F2DB --decision accept").await.code, Some(0));
    let (_, payload, body) = sent(&fake);
    let Body::PreservationDecision(decision) = body else { panic!("{body:?}") };
    assert_eq!(payload.sender_ref, "XB-77");
    assert_eq!((decision.q_reference.as_str(), decision.revision), ("XB-77", 3));
    let ids: Vec<&str> = decision.items.iter().map(|item| item.item_id.as_str()).collect();
    assert_eq!(ids, ["1", "2"]);
    assert!(decision.items.iter().all(|item| item.decision() == v1::ItemDecision::Accepted));

    let line = "respond 4D2P-F2DB --decision refuse --item 2 --ground essential-interests \
                --reasons security --signer A --signer B";
    assert_eq!(fake.run(line).await.code, Some(0));
    let (_, _, body) = sent(&fake);
    let Body::PreservationDecision(decision) = body else { panic!("{body:?}") };
    let [item] = decision.items.as_slice() else { panic!("{decision:?}") };
    assert_eq!(
        (item.item_id.as_str(), item.ground()),
        ("2", v1::RefusalGround::EssentialInterests)
    );
    assert_eq!(item.article, "29(5)(b)");
    assert_eq!((decision.reasons.as_str(), decision.signers.len()), ("security", 2));

    let line = "respond 4D2P-F2DB --confirm --preserved-until 2099-02-22 --custodian ISP";
    assert_eq!(fake.run(line).await.code, Some(0));
    let (_, _, body) = sent(&fake);
    let Body::PreservationConfirmation(confirmation) = body else { panic!("{body:?}") };
    let until = "2099-02-22T23:59:59Z".parse::<Timestamp>().unwrap().as_millis();
    assert_eq!(confirmation.items.len(), 2);
    assert!(confirmation.items.iter().all(|item| {
        let is = item.status() == v1::FoundStatus::Preserved && item.custodian == "ISP";
        is && item.preserved_until_ms == until && item.preserved_from_ms > 0
    }));
    assert_eq!(fake.run("respond 4D2P-F2DB --not-found --item 1").await.code, Some(0));
    let (_, _, body) = sent(&fake);
    let Body::PreservationConfirmation(confirmation) = body else { panic!("{body:?}") };
    let [item] = confirmation.items.as_slice() else { panic!("{confirmation:?}") };
    assert_eq!((item.status(), item.preserved_until_ms), (v1::FoundStatus::NotFound, 0));
}

/// Questions, warnings and endings; the side that asked answers them.
#[tokio::test]
async fn both_sides_ask_and_answer() {
    let fake = fake(case("xb.ncu", v1::CaseState::Acknowledged), vec![]).await;
    let mut ask = fake.command("respond 4D2P-F2DB --reference XB-77 --ask");
    ask.arg("items[0].source_port=which port?");
    assert_eq!(end(ask).await.code, Some(0));
    let (_, _, body) = sent(&fake);
    let Body::InfoRequired(asked) = body else { panic!("{body:?}") };
    assert_eq!(asked.questions[0].field, "items[0].source_port");
    assert_eq!(asked.questions[0].text, "which port?");
    let line = "respond 4D2P-F2DB --risk availability --explanation volatile --item 1 \
                --reference XB-77";
    assert_eq!(fake.run(line).await.code, Some(0));
    let (_, _, body) = sent(&fake);
    let Body::RiskNotice(risk) = body else { panic!("{body:?}") };
    assert_eq!(
        (risk.r#type(), risk.affected_items.concat()),
        (v1::RiskType::Availability, "1".into())
    );
    // That another unit is competent is never guessed.
    let ended = fake.run("respond 4D2P-F2DB --close elsewhere --reference XB-77").await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("--as not-competent"), "{ended:?}");
    let states = [
        (v1::CaseState::InfoRequired, v1::FinalState::Lapsed),
        (v1::CaseState::MlaPending, v1::FinalState::Released),
        (v1::CaseState::Preserved, v1::FinalState::Expired),
        (v1::CaseState::Withdrawn, v1::FinalState::Withdrawn),
    ];
    for (state, expected) in states {
        fake.script.lock().unwrap().cases = [case("xb.ncu", state)].into();
        let ended = fake.run("respond 4D2P-F2DB --close done --reference XB-77").await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let (_, _, body) = sent(&fake);
        let Body::Closure(closure) = body else { panic!("{body:?}") };
        assert_eq!((closure.final_state(), closure.note.as_str()), (expected, "done"));
    }
}

/// The requesting side's answers name the message that they answer and the next revision.
#[tokio::test]
async fn the_requesting_side_answers() {
    let mut asked = case("xa.cyber-poc", v1::CaseState::InfoRequired);
    asked.steps.push(step(1, v1::Kind::InfoRequired, "xb.ncu"));
    asked.steps.push(step(2, v1::Kind::RiskNotice, "xb.ncu"));
    let fake = fake(asked, vec![]).await;
    assert_eq!(fake.run("respond 4D2P-F2DB --answer custodian=reseller").await.code, Some(0));
    let (_, payload, body) = sent(&fake);
    let Body::InfoReply(reply) = body else { panic!("{body:?}") };
    assert_eq!((reply.revision, payload.sender_ref.as_str()), (4, "XA-1"));
    assert_eq!(payload.in_reply_to, id(1).parse::<MessageId>().unwrap().as_bytes().to_vec());
    let expected = [
        ("--proceed", v1::RiskAnswer::Proceed, 0),
        ("--change --drop 1", v1::RiskAnswer::Change, 4),
        ("--abandon --signer M.V.", v1::RiskAnswer::Abandon, 0),
    ];
    for (flags, value, revision) in expected {
        let ended = fake.run(&format!("respond 4D2P-F2DB {flags}")).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let (_, payload, body) = sent(&fake);
        let Body::RiskDecision(decision) = body else { panic!("{body:?}") };
        assert_eq!((decision.value(), decision.new_revision), (value, revision));
        assert_eq!(payload.in_reply_to, id(2).parse::<MessageId>().unwrap().as_bytes().to_vec());
    }
    let line = "withdraw 4D2P-F2DB --item 1,2 --reason obtained-otherwise --note here";
    assert_eq!(fake.run(line).await.code, Some(0));
    let (_, _, body) = sent(&fake);
    let Body::Withdrawal(withdrawal) = body else { panic!("{body:?}") };
    assert_eq!(withdrawal.items, ["1", "2"]);
    assert_eq!(withdrawal.reason(), v1::WithdrawalReason::ObtainedOtherwise);
    let line = "mla 4D2P-F2DB --reference MOJ-92 --status sent --authority MoJ --date 2026-08-14";
    assert_eq!(fake.run(line).await.code, Some(0));
    let (_, _, body) = sent(&fake);
    let Body::MlaNotice(notice) = body else { panic!("{body:?}") };
    assert_eq!((notice.status(), notice.date.as_str()), (v1::MlaStatus::Sent, "2026-08-14"));
}

/// An extension states the number under which the other side preserves.
#[tokio::test]
async fn an_extension_names_their_number() {
    let confirmation = v1::PreservationConfirmation { q_reference: "XB-81".into(), items: vec![] };
    let mut preserved = case("xa.cyber-poc", v1::CaseState::Preserved);
    preserved.steps.push(step(1, v1::Kind::PreservationConfirmation, "xb.ncu"));
    let said = message(&id(1), "XB-81", Body::PreservationConfirmation(confirmation));
    let fake = fake(preserved, vec![said]).await;
    let line = "extend 4D2P-F2DB --until 2099-05-22 --reason late --mla-status drafted";
    assert_eq!(fake.run(line).await.code, Some(0));
    let (_, _, body) = sent(&fake);
    let Body::ExtensionRequest(extension) = body else { panic!("{body:?}") };
    assert_eq!(extension.previous_reference, "XB-81");
    assert_eq!(extension.mla_status(), v1::MlaStatus::Drafted);
}

/// Mutual assistance is decided under the number and day under which it came.
#[tokio::test]
async fn mutual_assistance_keeps_its_number() {
    let came = Body::MlaReceived(v1::MlaReceived {
        q_mla_reference: "MOJ-5521".into(),
        received_on: "2026-08-19".into(),
        ..Default::default()
    });
    let mut pending = case("xb.ncu", v1::CaseState::MlaPending);
    pending.steps.push(step(1, v1::Kind::MlaReceived, "xb.ncu"));
    let fake = fake(pending, vec![message(&id(1), "XB-77", came)]).await;
    assert_eq!(fake.run("respond 4D2P-F2DB --mla-decided executed").await.code, Some(0));
    let (_, _, body) = sent(&fake);
    let Body::MlaReceived(decided) = body else { panic!("{body:?}") };
    assert_eq!(decided.q_mla_reference, "MOJ-5521");
    assert_eq!(decided.received_on, "2026-08-19");
    assert_eq!((decided.outcome(), decided.effect), (v1::MlaOutcome::Executed, 0));
}

/// The command that is printed makes the same message although the case went on meanwhile.
#[tokio::test]
async fn the_printed_command_repeats_an_answer() {
    let fake = fake(case("xb.ncu", v1::CaseState::Acknowledged), vec![]).await;
    let ended = fake.run("respond 4D2P-F2DB --decision accept --reference XB-77").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let mut later = case("xb.ncu", v1::CaseState::Preserved);
    (later.revision, later.etag) = (4, "7a7a".into());
    later.items.iter_mut().for_each(|item| item.state = v1::ItemState::Preserved.into());
    fake.script.lock().unwrap().cases = [later].into();
    let (_, command) = ended.err.split_once("  repeat: ").unwrap();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", command]).env("RELAY_NODE", fake.socket()).current_dir(fake.dir.path());
    let ended = end(shell).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let script = fake.script.lock().unwrap();
    let [one, two] = script.sent.as_slice() else { panic!("{:?}", script.sent) };
    assert_eq!(one, two);
}

/// A dry run is checked and promises nothing; a refusal says where the case stands and what may be
/// typed; a case that changed is a conflict.
#[tokio::test]
async fn refusals_tell_what_may_be_typed() {
    let fake = fake(case("xb.ncu", v1::CaseState::Accepted), vec![]).await;
    let line = "respond 4D2P-F2DB --not-found --reference XB-77";
    let ended = fake.run(&format!("{line} --dry-run")).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.starts_with("CHECKED"), "{ended:?}");
    assert!(sent(&fake).0.validate_only);
    let set = |answer: Status| fake.script.lock().unwrap().send = [Err(answer)].into();
    let text = "PRESERVATION_CONFIRMATION is not possible now: the case is ACCEPTED; it is \
                xa.cyber-poc's turn";
    set(refusal(Code::FailedPrecondition, "ILLEGAL_TRANSITION", text, &[]));
    let ended = fake.run(line).await;
    assert_eq!(ended.code, Some(15), "{ended:?}");
    let words = ended.err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("it is xa.cyber-poc's turn"), "{ended:?}");
    assert!(words.contains("relay-cli respond 4D2P-F2DB --confirm | --not-found | --risk WORD"));
    assert!(words.contains("relay-cli case show 4D2P-F2DB"), "{ended:?}");
    set(refusal(Code::Aborted, "CASE_CHANGED", "the case has changed", &[]));
    let ended = fake.run(line).await;
    assert_eq!(ended.code, Some(16), "{ended:?}");
    assert!(ended.err.contains("nothing was sent"), "{ended:?}");
    // A case of which only later messages are here.
    let waiting = v1::Case { steps: vec![], ..case("xb.ncu", v1::CaseState::Unspecified) };
    fake.script.lock().unwrap().cases = [waiting].into();
    let ended = fake.run(line).await;
    assert_eq!((ended.code, ended.err.contains("is not here")), (Some(1), true), "{ended:?}");
    // An id that does not say when it was made would make another message when repeated.
    let undated = "--request-id 4f1c1f6e-0f5c-4d2c-9d0c-0f1e2d3c4b5a";
    let ended = fake.run(&format!("{line} {undated}")).await;
    assert_eq!((ended.code, ended.err.contains("when it was made")), (Some(2), true), "{ended:?}");
    fake.script.lock().unwrap().cases.clear();
    let ended = fake.run(line).await;
    assert_eq!(ended.code, Some(12), "{ended:?}");
    assert!(ended.err.contains("relay-cli case list --all"), "{ended:?}");
    // What the officer saw is what the node is told.
    fake.script.lock().unwrap().cases = [case("xb.ncu", v1::CaseState::Accepted)].into();
    fake.run(&format!("{line} --etag 1234")).await;
    let etag = fake.script.lock().unwrap().sent.last().unwrap().etag.clone();
    assert_eq!(etag, "1234");
}

/// An answer rests on the case as it was shown: what came since is read first. An etag that is
/// typed stands above that.
#[tokio::test]
async fn an_answer_rests_on_what_was_shown() {
    let shown = |etag: &str, steps: usize| {
        let mut case = case("xb.ncu", v1::CaseState::Acknowledged);
        let step = case.steps.first().cloned().unwrap();
        case.steps.resize(steps, step);
        case.legal = vec![v1::Kind::PreservationDecision.into()];
        v1::Case { etag: etag.into(), ..case }
    };
    let fake = fake(shown("a1", 1), vec![]).await;
    let now = |case: v1::Case| fake.script.lock().unwrap().cases = [case].into();
    let line = "respond 4D2P-F2DB --decision accept --reference XB-77";
    let again = fake.script.lock().unwrap().send.front().cloned().unwrap();
    let answers = || fake.script.lock().unwrap().send.push_back(again.clone());
    for _ in 0..5 {
        answers();
    }
    assert_eq!(fake.run("case show 4D2P-F2DB").await.code, Some(0));
    now(shown("b2", 2));
    assert_eq!(fake.run(line).await.code, Some(0));
    assert_eq!(sent(&fake).0.etag, "a1", "what came since was not read");
    assert_eq!(fake.run(&format!("{line} --etag c3")).await.code, Some(0));
    assert_eq!(sent(&fake).0.etag, "c3");
    assert_eq!(fake.run("case show 4D2P-F2DB").await.code, Some(0));
    fake.run(line).await;
    assert_eq!(sent(&fake).0.etag, "b2");
    // One that has ended is not kept.
    let ended = v1::Case { turn: String::new(), legal: vec![], ..shown("d4", 3) };
    now(ended);
    assert_eq!(fake.run("case show 4D2P-F2DB").await.code, Some(0));
    let seen = fake.dir.path().join("relay-cli/seen");
    assert_eq!(std::fs::read_dir(seen).unwrap().count(), 0);
}
