//! Whole messages for tests: the sample files, completed as a node would.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::LazyLock;

use crate::{
    file::MessageFile,
    ids::{MessageId, UnitId, Uuid},
    timestamp::Timestamp,
    v1,
};

use super::{
    Completion, Faults, NewIds, Payload, PayloadContext, ProfileDefaults, UnitFacts, all_kinds,
    complete, kind_of_draft,
};

/// The two files of the demo, alerts and requests, then all other kinds.
pub(crate) const SAMPLES: [&str; 40] = [
    include_str!("../../../config/demo/alert.json"),
    include_str!("../../../config/demo/preservation.json"),
    include_str!("../../../tests/vectors/samples/01-alert.json"),
    include_str!("../../../tests/vectors/samples/02-alert.json"),
    include_str!("../../../tests/vectors/samples/03-alert-update.json"),
    include_str!("../../../tests/vectors/samples/04-alert.json"),
    include_str!("../../../tests/vectors/samples/05-alert.json"),
    include_str!("../../../tests/vectors/samples/09-preservation-request.json"),
    include_str!("../../../tests/vectors/samples/12-preservation-request.json"),
    include_str!("../../../tests/vectors/samples/17-preservation-request.json"),
    include_str!("../../../tests/vectors/samples/06-alert-cancel.json"),
    include_str!("../../../tests/vectors/samples/07-conditional-offer.json"),
    include_str!("../../../tests/vectors/samples/08-condition-reply.json"),
    include_str!("../../../tests/vectors/samples/10-request-ack.json"),
    include_str!("../../../tests/vectors/samples/11-info-required.json"),
    include_str!("../../../tests/vectors/samples/13-risk-notice.json"),
    include_str!("../../../tests/vectors/samples/14-risk-decision.json"),
    include_str!("../../../tests/vectors/samples/15-preservation-confirmation.json"),
    include_str!("../../../tests/vectors/samples/16-traffic-disclosure.json"),
    include_str!("../../../tests/vectors/samples/18-extension-request.json"),
    include_str!("../../../tests/vectors/samples/19-extension-decision.json"),
    include_str!("../../../tests/vectors/samples/20-preservation-decision.json"),
    include_str!("../../../tests/vectors/samples/21-mla-received.json"),
    include_str!("../../../tests/vectors/samples/22-emergency-request.json"),
    include_str!("../../../tests/vectors/samples/23-emergency-reply.json"),
    include_str!("../../../tests/vectors/samples/24-expiry-warning.json"),
    include_str!("../../../tests/vectors/samples/25-contact-check.json"),
    include_str!("../../../tests/vectors/samples/26-alert-feedback.json"),
    include_str!("../../../tests/vectors/samples/27-info-reply.json"),
    include_str!("../../../tests/vectors/samples/28-disclosure-withheld.json"),
    include_str!("../../../tests/vectors/samples/29-mla-notice.json"),
    include_str!("../../../tests/vectors/samples/30-mla-decision.json"),
    include_str!("../../../tests/vectors/samples/31-withdrawal.json"),
    include_str!("../../../tests/vectors/samples/32-closure.json"),
    include_str!("../../../tests/vectors/samples/33-incident-notice.json"),
    include_str!("../../../tests/vectors/samples/34-assistance-request.json"),
    include_str!("../../../tests/vectors/samples/35-assistance-reply.json"),
    include_str!("../../../tests/vectors/samples/36-handling-release.json"),
    include_str!("../../../tests/vectors/samples/37-handling-report.json"),
    include_str!("../../../tests/vectors/samples/38-contact-answer.json"),
];

/// Every kind.
pub(crate) static KINDS: LazyLock<Vec<v1::Kind>> = LazyLock::new(|| all_kinds().collect());

pub(crate) fn now() -> Timestamp {
    "2026-03-12T08:15:00Z".parse().unwrap()
}

pub(crate) fn context(priority: v1::Priority) -> PayloadContext<'static> {
    PayloadContext::new(priority, &KINDS)
}

pub(crate) fn facts(unit: &str) -> UnitFacts {
    UnitFacts {
        organisation: format!("Unit {unit}"),
        unit: unit.to_owned(),
        role: "24/7 point of contact".to_owned(),
        phone: "+1-202-555-0143".to_owned(),
        email: "poc@cyber.example.org".to_owned(),
        languages: vec!["en".to_owned(), "fr".to_owned()],
        office_hours: "always".to_owned(),
        time_zone: "Europe/Testville".to_owned(),
    }
}

pub(crate) fn defaults(kind: v1::Kind) -> ProfileDefaults {
    let basis = |article: &str| {
        vec![v1::LegalBasis { instrument: "ETS185".to_owned(), article: article.to_owned() }]
    };
    ProfileDefaults {
        handling: v1::Handling {
            tlp: v1::Tlp::AmberStrict as i32,
            pap: v1::Pap::Amber as i32,
            europol: vec![v1::EuropolCode::H1 as i32],
            classification: v1::Classification::Bpl as i32,
            ..Default::default()
        },
        languages: vec!["en".to_owned()],
        legal_basis: basis(if kind == v1::Kind::Alert { "26" } else { "29" }),
        period_days: 90,
    }
}

pub(crate) fn ids() -> NewIds {
    NewIds {
        message_id: MessageId::new(now(), [7; 10]),
        case_id: Uuid::random([1; 16]),
        body_id: Uuid::random([2; 16]),
    }
}

/// Completes a draft as the node of its `from` would, or of `xa.cyber-poc`.
pub(crate) fn completed(draft: &v1::Draft) -> Result<(v1::Payload, Payload), Faults> {
    let from = draft.payload.as_ref().map_or("", |p| &p.from);
    let from: UnitId = if from.is_empty() { "xa.cyber-poc" } else { from }.parse().unwrap();
    let (own, recipient) = (facts(from.as_str()), facts("xb.ncu"));
    let completion = Completion {
        from: &from,
        own: &own,
        recipient: (draft.to.len() == 1).then_some(&recipient),
        defaults: &defaults(kind_of_draft(draft)),
        ids: ids(),
        exercise: false,
        place: Default::default(),
    };
    let priority = v1::Priority::try_from(draft.priority).unwrap_or_default();
    complete(draft, &completion, &context(priority))
}

/// The first sample of a kind, as it leaves the node.
pub(crate) fn sample_of(kind: v1::Kind) -> v1::Payload {
    let mut all = (0..SAMPLES.len()).map(sample);
    all.find(|payload| payload.kind == kind as i32).unwrap()
}

/// A sample as it leaves the node.
pub(crate) fn sample(i: usize) -> v1::Payload {
    let draft = MessageFile::parse(SAMPLES.get(i).copied().unwrap(), now()).unwrap();
    match completed(&draft) {
        Ok((payload, _)) => payload,
        Err(faults) => panic!("sample {i}: {faults}"),
    }
}
