//! What holds for every kind.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use bytes::Bytes;

use crate::{
    file::{HeaderFacts, MessageFile, to_file},
    payload::{all_kinds, file_path, is_answer, kind_name, testing, title},
    reason::Reason,
    v1,
};

use super::{Payload, PayloadContext, parse};

/// Each kind has a sample, which is taken, is of that kind, and has a line for overviews.
#[test]
fn every_kind_has_a_sample() {
    for kind in all_kinds() {
        let payload = testing::sample_of(kind);
        let parsed = parse(&payload).unwrap_or_else(|faults| panic!("{kind:?}: {faults}"));
        assert_eq!(parsed.kind(), kind);
        let unnamed = matches!(kind, v1::Kind::ConditionReply | v1::Kind::EmergencyReply);
        assert_eq!(title(&payload).is_empty(), unnamed, "{kind:?}");
    }
    assert_eq!(all_kinds().count(), 31);
}

/// A file says what the payload says, whatever its kind; a file whose key several kinds share has
/// to name one of them.
#[test]
fn every_kind_has_a_file() {
    for i in 0..testing::SAMPLES.len() {
        let payload = testing::sample(i);
        let header = HeaderFacts { profile: "p".to_owned(), priority: 1, ..Default::default() };
        let mut file = to_file(&payload, &header);
        let env = file["env"].as_object_mut().unwrap();
        env.remove("message_id");
        let draft = MessageFile::parse(&file.to_string(), testing::now()).unwrap();
        let read = draft.payload.unwrap();
        assert_eq!((read.kind, &read.body), (payload.kind, &payload.body));
        file["env"].as_object_mut().unwrap().remove("kind");
        let faults = MessageFile::parse(&file.to_string(), testing::now()).err();
        let kind = v1::Kind::try_from(payload.kind).unwrap();
        use v1::Kind as K;
        let decides = matches!(kind, K::RiskDecision | K::PreservationDecision);
        let shared = decides || matches!(kind, K::ConditionReply | K::EmergencyReply);
        assert_eq!(faults.is_some(), shared, "{kind:?}: {faults:?}");
        if let Some(faults) = faults {
            let fault = faults.iter().next().unwrap();
            assert!(fault.path == "env.kind" && fault.text.contains(kind_name(kind)), "{fault}");
        }
    }
}

/// A content of another kind, a kind that the profile does not allow, a reply to nothing: each is
/// refused, of every kind.
#[test]
fn every_kind_is_checked_against_its_frame() {
    for kind in all_kinds() {
        let payload = testing::sample_of(kind);
        let other = if kind == v1::Kind::Alert { v1::Kind::Closure } else { v1::Kind::Alert };
        let lying = v1::Payload { kind: other as i32, ..payload.clone() };
        let faults = parse(&lying).unwrap_err();
        assert_eq!(faults.iter().next().unwrap().path, "env.kind", "{kind:?}");
        let priority = v1::Priority::Emergency;
        let urgent = v1::Payload { urgency_reason: "now".to_owned(), ..payload.clone() };
        let none = PayloadContext::new(priority, &[]);
        let faults = Payload::parse(&urgent, &none).unwrap_err();
        assert_eq!(faults.reason(), Reason::KindNotAllowed, "{kind:?}");
        let alone = v1::Payload { in_reply_to: Bytes::new(), ..payload };
        let refused = parse(&alone).err().map(|faults| faults.iter().next().unwrap().path.clone());
        assert_eq!(refused.is_some(), is_answer(kind), "{kind:?}");
        assert!(refused.is_none_or(|path| path == "env.in_reply_to"));
    }
}

/// Faults of kinds that share a key are told under the alternative that was sent.
#[test]
fn api_paths_name_the_content_that_was_sent() {
    let path = |mut payload: v1::Payload, clear: fn(&mut v1::payload::Body)| {
        clear(payload.body.as_mut().unwrap());
        let faults = parse(&payload).unwrap_err();
        let fault = faults.iter().next().unwrap();
        assert_eq!(file_path(&fault.api_path()), fault.path);
        fault.api_path()
    };
    let risk = path(testing::sample_of(v1::Kind::RiskDecision), |body| {
        if let v1::payload::Body::RiskDecision(decision) = body {
            decision.new_revision = 0;
        }
    });
    assert_eq!(risk, "draft.payload.risk_decision.new_revision");
    let decision = path(testing::sample_of(v1::Kind::PreservationDecision), |body| {
        if let v1::payload::Body::PreservationDecision(decision) = body {
            decision.reasons.clear();
        }
    });
    assert_eq!(decision, "draft.payload.preservation_decision.reasons");
    let update = path(testing::sample_of(v1::Kind::AlertUpdate), |body| {
        if let v1::payload::Body::AlertUpdate(alert) = body {
            alert.changes.clear();
        }
    });
    assert_eq!(update, "draft.payload.alert_update.changes");
}
