//! What the node adds to a draft, and what it does not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use bytes::Bytes;

use crate::{
    file::MessageFile,
    payload::{Body, Completion, clear_bytes, complete, lifetime, open_clear, testing},
    reason::Reason,
    v1,
};

use super::{alert, request};

/// Only what is absent is added, and a drill stays a drill.
#[test]
fn completion_adds_what_is_absent() {
    let mut draft = draft(1);
    let payload = draft.payload.as_mut().unwrap();
    payload.handling = Some(v1::Handling { tlp: v1::Tlp::Red as i32, ..Default::default() });
    payload.language.clear();
    payload.legal_basis.clear();
    let r = request(payload);
    (r.revision, r.requested_period_days) = (0, 0);
    r.reply_language.clear();
    r.requested_authority = None;
    r.requesting_authority = Some(v1::Contact { name: "M. V.".to_owned(), ..Default::default() });
    let (raw, parsed) = testing::completed(&draft).unwrap();
    assert_eq!((parsed.handling.tlp, parsed.handling.pap), (v1::Tlp::Red, Some(v1::Pap::Amber)));
    assert_eq!((parsed.language.as_str(), parsed.from.as_str()), ("en", "xa.cyber-poc"));
    assert_eq!(parsed.legal_basis[0].article.as_ref().unwrap().as_str(), "29");
    assert_eq!(parsed.message_id, testing::ids().message_id);
    assert!(!parsed.exercise);
    let Body::PreservationRequest(r) = &parsed.body else { panic!("{parsed:?}") };
    assert_eq!((r.revision, r.requested_period_days, r.reply_language.len()), (1, 90, 2));
    assert_eq!(r.requested_authority.organisation.as_ref().unwrap().as_str(), "Unit xb.ncu");
    assert_eq!(r.requesting_authority.name.as_ref().unwrap().as_str(), "M. V.");
    assert_eq!(raw.to, ["xb.ncu"]);
    assert_eq!(open_clear(&clear_bytes([1; 32], &raw)).unwrap(), raw);
}

/// An authority that is not named at all is not made up: Article 29(2)(a) is the requester's to
/// meet.
#[test]
fn completion_invents_no_requesting_authority() {
    let mut draft = draft(1);
    request(draft.payload.as_mut().unwrap()).requesting_authority = None;
    let faults = testing::completed(&draft).unwrap_err();
    assert_eq!((faults.len(), faults.iter().next().unwrap().article), (1, Some("29(2)(a)")));
}

/// A draft of another unit, with an id of its own or over the size is refused; faults join those of
/// its content.
#[test]
fn completion_refuses() {
    let mut other = draft(0);
    let payload = other.payload.as_mut().unwrap();
    payload.from = "xb.ncu".to_owned();
    payload.message_id = Bytes::from_static(&[1; 16]);
    alert(payload).title.clear();
    let from = "xa.cyber-poc".parse().unwrap();
    let own = testing::facts("xa.cyber-poc");
    let completion = Completion {
        from: &from,
        own: &own,
        recipient: None,
        defaults: &testing::defaults(v1::Kind::Alert),
        ids: testing::ids(),
        exercise: true,
        place: Default::default(),
    };
    let context = testing::context(v1::Priority::Routine);
    let faults = complete(&other, &completion, &context).unwrap_err();
    let paths: Vec<_> = faults.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(paths, ["env.from", "env.message_id", "alert.title"]);
    assert!(complete(&draft(0), &completion, &context).unwrap().1.exercise);

    let mut large = draft(0);
    let a = alert(large.payload.as_mut().unwrap());
    a.detection = vec![v1::Detection { lang: "yara".to_owned(), body: "x".repeat(20_000) }; 14];
    assert_eq!(complete(&large, &completion, &context).unwrap_err().reason(), Reason::TooLarge);
    let mut many = draft(0);
    let a = alert(many.payload.as_mut().unwrap());
    a.related = vec![v1::Related { r#ref: "a".to_owned(), relation: "b".to_owned() }; 1000];
    a.detection = vec![v1::Detection { lang: "yara".to_owned(), body: "x".to_owned() }; 1000];
    a.indicators = (0..1000)
        .map(|i| v1::Indicator {
            id: format!("i{i}"),
            r#type: "asn".to_owned(),
            value: "AS1".to_owned(),
            ..Default::default()
        })
        .collect();
    assert_eq!(complete(&many, &completion, &context).unwrap_err().reason(), Reason::TooLarge);
}

/// A card's facts are the completion's; where it names no language, the profile does.
#[test]
fn facts_come_from_the_card() {
    let card = v1::Card {
        unit: "xa.cyber-poc".to_owned(),
        names: vec![v1::CardName {
            language: "en".to_owned(),
            name: "Cybercrime Unit XA".to_owned(),
        }],
        phone_24x7: "+1-202-555-0143".to_owned(),
        ..Default::default()
    };
    let completion = Completion {
        from: &card.unit.parse().unwrap(),
        own: &(&card).into(),
        recipient: Some(&testing::facts("xb.ncu")),
        defaults: &testing::defaults(v1::Kind::Alert),
        ids: testing::ids(),
        exercise: true,
        place: Default::default(),
    };
    let mut draft = draft(1);
    let payload = draft.payload.as_mut().unwrap();
    payload.language.clear();
    request(payload).reply_language.clear();
    let context = testing::context(v1::Priority::Urgent);
    let (_, parsed) = complete(&draft, &completion, &context).unwrap();
    assert_eq!(parsed.authority.organisation.as_str(), "Cybercrime Unit XA");
    assert_eq!((parsed.authority.email, parsed.language.as_str()), (None, "en"));
    let Body::PreservationRequest(request) = parsed.body else { panic!() };
    assert_eq!(request.reply_language.len(), 1);
}

#[test]
fn lifetimes_follow_priority() {
    let hours = [v1::Priority::Emergency, v1::Priority::Urgent, v1::Priority::Routine]
        .map(|priority| lifetime(priority).as_secs() / 3600);
    assert_eq!(hours, [4, 24, 120]);
}

fn draft(i: usize) -> v1::Draft {
    MessageFile::parse(testing::SAMPLES[i], testing::now()).unwrap()
}
