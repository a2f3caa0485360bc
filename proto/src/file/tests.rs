//! Message files: what is read, what is refused and where, and the way back.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    ids::UnitId,
    payload::{Payload, testing},
    v1,
};

use super::{HeaderFacts, MessageFile, to_file};

fn faults(text: &str) -> Vec<(String, String)> {
    let faults = MessageFile::parse(text, testing::now()).unwrap_err();
    faults.into_iter().map(|f| (f.path, f.text)).collect()
}

fn header(draft: &v1::Draft) -> HeaderFacts {
    HeaderFacts {
        profile: draft.profile.clone(),
        priority: draft.priority,
        created_at: testing::now(),
        expires_at: testing::now().after(std::time::Duration::from_secs(86_400)),
    }
}

/// Everything that `part` says, `whole` says too; times may be written another way.
fn contains(whole: &Value, part: &Value, path: &str) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (key, value) in part {
                let path = format!("{path}.{key}");
                contains(whole.get(key).unwrap_or_else(|| panic!("{path} is lost")), value, &path);
            }
        }
        (Value::Array(whole), Value::Array(part)) => {
            assert_eq!(whole.len(), part.len(), "{path}");
            for (i, (whole, part)) in whole.iter().zip(part).enumerate() {
                contains(whole, part, &format!("{path}[{i}]"));
            }
        }
        (_, Value::String(part)) if part.starts_with('@') => {}
        _ => assert_eq!(whole, part, "{path}"),
    }
}

/// Each sample, read, completed and printed, says all it said; printed and read again, it is the
/// same message.
#[test]
fn samples_round_trip() {
    for text in testing::SAMPLES {
        let draft = MessageFile::parse(text, testing::now()).unwrap_or_else(|f| panic!("{f}"));
        let (payload, _) = testing::completed(&draft).unwrap_or_else(|f| panic!("{text}\n{f}"));
        let mut file = to_file(&payload, &header(&draft));
        contains(&file, &serde_json::from_str(text).unwrap(), "");

        let env = file["env"].as_object_mut().unwrap();
        assert_eq!(env.remove("created_at").unwrap(), "2026-03-12T08:15:00Z");
        assert!(env.remove("message_id").is_some());
        let again = MessageFile::parse(&file.to_string(), testing::now()).unwrap();
        assert_eq!(again.expire_time.unwrap().seconds, 1_773_389_700);
        assert_eq!(testing::completed(&again).unwrap().0, payload);
    }
}

/// The demo's messages are complete for the units of the demo.
#[test]
fn demo_messages_are_addressed() {
    let to = |i: usize| MessageFile::parse(testing::SAMPLES[i], testing::now()).unwrap().to;
    assert_eq!(to(0), ["xb.ncu", "xc.cyber-poc"]);
    assert_eq!(to(1), ["xb.ncu"]);
}

/// Times count from the given instant, in the file's own words.
#[test]
fn relative_times() {
    let draft = MessageFile::parse(testing::SAMPLES[0], testing::now()).unwrap();
    let Some(v1::payload::Body::Alert(alert)) = draft.payload.unwrap().body else { panic!() };
    let days = |millis: u64| millis.abs_diff(testing::now().as_millis()) / 86_400_000;
    assert_eq!((days(alert.observed_from_ms), days(alert.valid_until_ms)), (6, 28));
}

/// All faults of a file come together, each with its path and what to do.
#[test]
fn all_faults_come_together() {
    let text = r#"{
        "env": {"profile": "budapest-247", "to": ["XB.ncu", "xb"], "priority": "HIGH",
                "message_id": "0192f1a0-0001-7000-8000-000000000001", "sender_reff": "x",
                "from": "XA.cyber-poc", "thread_id": "t-0001"},
        "alert": {"titel": "x", "severity": 3, "confidence": 101, "observed_from": "@28d",
                  "indicators": [{"id": "i1", "provider": "bank"}, 7],
                  "victims": {"loss": {"sum": 1}}, "evaluation": [], "summary": null},
        "handling": {"tlp": "WHITE", "europol": ["H0", "H9"]},
        "extra": 1}"#;
    let found = faults(text);
    let at = |path: &str| {
        let hit = found.iter().find(|(p, _)| p == path);
        hit.unwrap_or_else(|| panic!("{path}: {found:?}")).1.as_str()
    };
    assert!(at("env.to[0]").contains("write `xb.ncu`"));
    assert!(at("env.from").contains("write `xa.cyber-poc`"));
    assert!(at("env.to[1]").contains("territory.slug"));
    assert!(at("env.priority").contains("ROUTINE, URGENT, EMERGENCY"));
    assert!(at("env.message_id").contains("leave it out"));
    assert!(at("env.sender_reff").contains("did you mean `sender_ref`"));
    assert!(at("env.thread_id").contains("UUID"));
    assert!(at("alert.titel").contains("did you mean `title`"));
    assert!(at("alert.severity").contains("not a text"));
    assert!(at("alert.confidence").contains("0 to 100"));
    assert!(at("alert.observed_from").contains("@+28d"));
    assert!(at("alert.indicators[0].provider").contains("id, type, value"));
    assert!(at("alert.indicators[1]").contains("not an object"));
    assert!(at("alert.victims.loss.sum").contains("amount, currency"));
    assert!(at("alert.evaluation").contains("not an object"));
    assert!(at("alert.summary").contains("null"));
    assert!(at("handling.tlp").contains("AMBER+STRICT"));
    assert!(at("handling.europol[1]").contains("H0, H1, H2, H3"));
    assert!(at("extra").contains("env, handling, alert"));
    assert_eq!(found.len(), 19, "{found:#?}");
}

/// A bogus key planted in any object of any sample is found where it is.
#[test]
fn unknown_keys_are_found_everywhere() {
    fn plant(value: &mut Value, path: &str, planted: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (key, inner) in map.iter_mut() {
                    let dot = if path.is_empty() { "" } else { "." };
                    plant(inner, &format!("{path}{dot}{key}"), planted);
                }
                map.insert("bogus".to_owned(), json!(1));
                let dot = if path.is_empty() { "" } else { "." };
                planted.push(format!("{path}{dot}bogus"));
            }
            Value::Array(list) => {
                for (i, inner) in list.iter_mut().enumerate() {
                    plant(inner, &format!("{path}[{i}]"), planted);
                }
            }
            _ => {}
        }
    }
    for text in testing::SAMPLES {
        let mut value: Value = serde_json::from_str(text).unwrap();
        let mut planted = Vec::new();
        plant(&mut value, "", &mut planted);
        let mut found: Vec<_> =
            faults(&value.to_string()).into_iter().map(|(path, _)| path).collect();
        found.sort();
        planted.sort();
        assert_eq!(found, planted);
    }
}

/// Files that are not one message.
#[test]
fn whole_files_are_refused() {
    let one = |text: &str| {
        let found = faults(text);
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    };
    assert!(one("").1.contains("not JSON"));
    assert!(one("[]").1.contains("not an object"));
    assert!(one("{\"env\":{},\"env\":{}}").1.contains("comes twice"));
    assert!(one(&" ".repeat(3 << 20)).1.contains("at most"));
    let env = r#""env":{"profile":"p","to":["xb.ncu"],"priority":"ROUTINE""#;
    assert_eq!(one(&format!("{{{env}}}}}")).0, "*");
    assert_eq!(one(&format!("{{{env}}},\"alert\":{{}},\"request\":{{}}}}")).0, "request");
    let kind = format!("{{{env},\"kind\":\"ALERT\"}},\"request\":{{}}}}");
    assert_eq!(one(&kind).0, "env.kind");
    let hostile = format!("{{{env}}},\"alert\":{{\"\\u001b[31m\\u202e\":1}}}}");
    assert_eq!(one(&hostile).0, r"alert.\u{1b}[31m\u{202e}");
    let missing: Vec<_> = faults("{\"alert\":{}}").into_iter().map(|(path, _)| path).collect();
    assert_eq!(missing, ["env"]);
}

/// False and absent are different answers, there and back.
#[test]
fn answers_have_three_values() {
    let mut value: Value = serde_json::from_str(testing::SAMPLES[1]).unwrap();
    let mut intent = |answer: Option<Value>| -> Result<i32, crate::payload::Faults> {
        let request = value["request"].as_object_mut().unwrap();
        request.remove("mla_intent");
        request.extend(answer.map(|answer| ("mla_intent".to_owned(), answer)));
        let draft = MessageFile::parse(&value.to_string(), testing::now())?;
        match draft.payload.unwrap().body.unwrap() {
            v1::payload::Body::PreservationRequest(request) => Ok(request.mla_intent),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(intent(Some(json!(true))), Ok(v1::Answer::Yes as i32));
    assert_eq!(intent(Some(json!(false))), Ok(v1::Answer::No as i32));
    assert_eq!(intent(None), Ok(0));
    assert!(intent(Some(json!("yes"))).is_err());
}

prop_compose! {
    fn an_alert()(
        title in "[\\PC&&[^\u{202a}-\u{202e}\u{2066}-\u{2069}]]{1,40}",
        confidence in 1u32..=101,
        actions in proptest::sample::subsequence(vec![2, 3, 4, 5, 7], 1..5),
        to_ids in 0i32..=2,
        seen in 1u64..=1_000_000_000_000,
        count in any::<u64>(),
        purpose in "[a-z \\n]{0,30}",
    ) -> v1::Alert {
        let indicator = v1::Indicator {
            id: "i1".to_owned(),
            r#type: "ipv4".to_owned(),
            value: "203.0.113.47".to_owned(),
            last_seen_ms: seen,
            confidence_plus_one: confidence,
            to_ids,
            pap: "RED".to_owned(),
            ..Default::default()
        };
        let subject = v1::Subject {
            role: "suspect".to_owned(),
            r#type: "org".to_owned(),
            identifiers: vec![v1::Identifier { r#type: "asn".to_owned(), value: "AS1".to_owned() }],
            personal_data: seen % 2 == 0,
            purpose,
        };
        v1::Alert {
            title,
            confidence_plus_one: confidence,
            action_requested: actions,
            indicators: vec![indicator; 2],
            subjects: vec![subject],
            victims: Some(v1::Victims { count, loss_amount: "1".to_owned(), ..Default::default() }),
            dissemination: Some(v1::Dissemination { audience: 3, onward: to_ids }),
            stix_bundle: Some(v1::AttachmentRef { sha256: vec![7; 32].into(), size: count }),
            ..Default::default()
        }
    }
}

proptest! {
    /// Whatever an alert says, its file says it too.
    #[test]
    fn alerts_round_trip(alert in an_alert(), priority in 1i32..=3, exercise in any::<bool>()) {
        let payload = v1::Payload {
            to: vec!["xb.ncu".to_owned()],
            kind: v1::Kind::Alert as i32,
            case_id: vec![9; 16].into(),
            exercise,
            body: Some(v1::payload::Body::Alert(alert)),
            handling: Some(v1::Handling { tlp: 4, europol: vec![1, 3], ..Default::default() }),
            ..Default::default()
        };
        let header = HeaderFacts { profile: "p".to_owned(), priority, ..Default::default() };
        let file = to_file(&payload, &header).to_string();
        let draft = MessageFile::parse(&file, testing::now()).unwrap();
        prop_assert_eq!((draft.priority, &draft.to), (priority, &payload.to));
        let read = v1::Payload { to: draft.to, ..draft.payload.unwrap() };
        prop_assert_eq!(read, payload);
    }

    /// Any text is read or refused; with a sample's beginning it gets far.
    #[test]
    fn any_file(cut in 0usize..2000, tail in "\\PC{0,20}") {
        let head: String = testing::SAMPLES[2].chars().take(cut).collect();
        let _ = MessageFile::parse(&(head + &tail), testing::now());
    }

    /// Payloads with numbers of a newer version are printed, not hidden.
    #[test]
    fn newer_numbers_are_shown(tlp in 6i32..100) {
        let handling = Some(v1::Handling { tlp, ..Default::default() });
        let payload = v1::Payload { handling, ..Default::default() };
        let file = to_file(&payload, &HeaderFacts::default());
        prop_assert_eq!(&file["handling"]["tlp"], &json!(tlp));
    }
}

/// The completed sample is checked by the same rules that the recipient applies.
#[test]
fn recipients_take_what_nodes_complete() {
    for text in testing::SAMPLES {
        let draft = MessageFile::parse(text, testing::now()).unwrap();
        let (raw, parsed) = testing::completed(&draft).unwrap();
        let priority = v1::Priority::try_from(draft.priority).unwrap();
        assert_eq!(Payload::parse(&raw, &testing::context(priority)).unwrap(), parsed);
        assert!(parsed.to.iter().all(UnitId::is_demo));
    }
}
