//! Whole messages for tests: the sample files, completed as a node would.

#![allow(clippy::unwrap_used, clippy::panic)]

use crate::{
    file::MessageFile,
    ids::{MessageId, UnitId, Uuid},
    timestamp::Timestamp,
    v1,
};

use super::{
    Completion, Faults, NewIds, Payload, PayloadContext, ProfileDefaults, UnitFacts, complete,
};

/// The sample files of kinds 1 and 7, and the two of the demo.
pub(crate) const SAMPLES: [&str; 10] = [
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
];

pub(crate) const KINDS: [v1::Kind; 2] = [v1::Kind::Alert, v1::Kind::PreservationRequest];

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

pub(crate) fn defaults() -> ProfileDefaults {
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
        alert_basis: basis("26"),
        preservation_basis: basis("29"),
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
        defaults: &defaults(),
        ids: ids(),
        exercise: false,
    };
    let priority = v1::Priority::try_from(draft.priority).unwrap_or_default();
    complete(draft, &completion, &context(priority))
}

/// A sample as it leaves the node.
pub(crate) fn sample(i: usize) -> v1::Payload {
    let draft = MessageFile::parse(SAMPLES.get(i).copied().unwrap(), now()).unwrap();
    match completed(&draft) {
        Ok((payload, _)) => payload,
        Err(faults) => panic!("sample {i}: {faults}"),
    }
}
