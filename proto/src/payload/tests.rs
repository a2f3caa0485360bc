//! What the checks of a payload refuse, each alone and all together.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use bytes::Bytes;
use proptest::prelude::*;

use crate::{limits, payload::testing, reason::Reason, v1};

use super::{
    Body, Completion, FAULTS_MAX, Faults, Payload, PayloadContext, clear_bytes, complete, lifetime,
    open_clear,
};

/// A path, the article it is demanded by, and the change that must be reported there and nowhere else.
type Case<T> = (&'static str, Option<&'static str>, fn(&mut T));

fn parse(payload: &v1::Payload) -> Result<Payload, Faults> {
    let urgent = !payload.urgency_reason.is_empty();
    let priority = if urgent { v1::Priority::Urgent } else { v1::Priority::Routine };
    Payload::parse(payload, &testing::context(priority))
}

fn alert(payload: &mut v1::Payload) -> &mut v1::Alert {
    match &mut payload.body {
        Some(v1::payload::Body::Alert(alert)) => alert,
        other => panic!("{other:?}"),
    }
}

fn request(payload: &mut v1::Payload) -> &mut v1::PreservationRequest {
    match &mut payload.body {
        Some(v1::payload::Body::PreservationRequest(request)) => request,
        other => panic!("{other:?}"),
    }
}

/// Makes each change alone and compares path and article of what is reported.
fn each_alone<T>(base: &v1::Payload, body: fn(&mut v1::Payload) -> &mut T, cases: &[Case<T>]) {
    assert!(parse(base).is_ok());
    for (path, article, change) in cases {
        let mut payload = base.clone();
        change(body(&mut payload));
        let Err(faults) = parse(&payload) else { panic!("{path}: not refused") };
        let found: Vec<_> = faults.iter().map(|f| (f.path.as_str(), f.article)).collect();
        assert_eq!(found, [(*path, *article)], "{faults}");
        assert_eq!(faults.reason(), Reason::InvalidContent, "{path}");
    }
}

/// A list of changes that only clear or set one field.
macro_rules! cases {
    ($article:expr, $($path:literal => |$m:ident| $change:expr;)*) => {
        &[$(($path, $article, |$m| { $change; }),)*]
    };
}

/// Every mandatory field that all kinds share: absent, it is the one fault.
#[test]
fn common_fields_are_mandatory() {
    let mut base = testing::sample(1);
    base.urgency_reason.clear();
    let whole: fn(&mut v1::Payload) -> &mut v1::Payload = |p| p;
    each_alone(
        &base,
        whole,
        cases! { None,
            "env.message_id" => |p| p.message_id.clear();
            "env.from" => |p| p.from.clear();
            "env.to" => |p| p.to.clear();
            "env.kind" => |p| p.kind = v1::Kind::Alert as i32;
            "env.thread_id" => |p| p.case_id.clear();
            "env.language" => |p| p.language.clear();
            "env.sender_ref" => |p| p.sender_ref.clear();
            "env.sender_ref" => |p| p.sender_ref = " \t".to_owned();
            "env.legal_basis" => |p| p.legal_basis.clear();
            "env.legal_basis[0].instrument" => |p| p.legal_basis[0].instrument.clear();
            "env.authority" => |p| p.authority = None;
            "env.authority.organisation" => |p| p.authority.as_mut().unwrap().organisation.clear();
            "env.authority.phone" => |p| p.authority.as_mut().unwrap().phone.clear();
            "handling" => |p| p.handling = None;
            "handling.tlp" => |p| p.handling.as_mut().unwrap().tlp = 0;
            "handling.classification" => |p| p.handling.as_mut().unwrap().classification = 0;
            "*" => |p| p.body = None;
        },
    );
}

/// Values of common fields that are there, but wrong.
#[test]
fn common_fields_are_checked() {
    let mut base = testing::sample(1);
    base.urgency_reason.clear();
    let whole: fn(&mut v1::Payload) -> &mut v1::Payload = |p| p;
    each_alone(
        &base,
        whole,
        cases! { None,
            "env.message_id" => |p| p.message_id = Bytes::from_static(&[4; 16]);
            "env.from" => |p| p.from = "XA.cyber-poc".to_owned();
            "env.to[1]" => |p| p.to.push("xb.ncu".to_owned());
            "env.to" => |p| p.to = (0..257).map(|i| format!("xb.n{i}")).collect();
            "env.thread_id" => |p| p.case_id = Bytes::from_static(&[1; 15]);
            "env.in_reply_to" => |p| p.in_reply_to = Bytes::from_static(&[1; 16]);
            "env.based_on" => |p| p.based_on = Bytes::from_static(&[1; 31]);
            "env.supersedes" => |p| p.supersedes = Bytes::from_static(&[1; 33]);
            "env.language" => |p| p.language = "english please".to_owned();
            "env.authority.phone" => |p| p.authority.as_mut().unwrap().phone = "110".to_owned();
            "env.authority.email" => |p| p.authority.as_mut().unwrap().email = "poc".to_owned();
            "env.authority.person" => |p| p.authority.as_mut().unwrap().person = "a\u{202e}b".to_owned();
            "env.extensions" => |p| p.extensions = vec![v1::Extension { r#type: 1, critical: true, ..Default::default() }];
            "env.attachments[0].name" => |p| p.attachments = vec![file("../a.pdf")];
            "handling.tlp" => |p| p.handling.as_mut().unwrap().tlp = 99;
            "handling.pap" => |p| p.handling.as_mut().unwrap().pap = 99;
            "handling.europol[1]" => |p| p.handling.as_mut().unwrap().europol = vec![2, 2];
            "handling.conditions" => |p| p.handling.as_mut().unwrap().europol = vec![4];
            "handling.classification" => |p| p.handling.as_mut().unwrap().classification = 3;
            "handling.delete_by" => |p| p.handling.as_mut().unwrap().delete_by_ms = u64::MAX;
        },
    );
}

fn file(name: &str) -> v1::Attachment {
    v1::Attachment {
        name: name.to_owned(),
        media_type: "application/pdf".to_owned(),
        size: 1,
        sha256: Bytes::from_static(&[1; 32]),
        description: String::new(),
    }
}

/// Every mandatory field of an alert: absent, it is the one fault.
#[test]
fn alert_fields_are_mandatory() {
    each_alone(
        &testing::sample(0),
        alert,
        cases! { None,
            "alert.alert_id" => |a| a.alert_id.clear();
            "alert.revision" => |a| a.revision = 0;
            "alert.lifecycle" => |a| a.lifecycle = 0;
            "alert.alert_type" => |a| a.alert_type = 0;
            "alert.category" => |a| a.category.clear();
            "alert.severity" => |a| a.severity = 0;
            "alert.title" => |a| a.title.clear();
            "alert.summary" => |a| a.summary.clear();
            "alert.observed_from" => |a| a.observed_from_ms = 0;
            "alert.confidence" => |a| a.confidence_plus_one = 0;
            "alert.action_requested" => |a| a.action_requested.clear();
            "alert.affected_countries" => |a| a.affected_countries.clear();
            "alert.valid_until" => |a| a.valid_until_ms = 0;
            "alert.dissemination" => |a| a.dissemination = None;
            "alert.dissemination.audience" => |a| a.dissemination.as_mut().unwrap().audience = 0;
            "alert.dissemination.onward" => |a| a.dissemination.as_mut().unwrap().onward = 0;
            "alert.indicators[0].id" => |a| a.indicators[0].id.clear();
            "alert.indicators[0].type" => |a| a.indicators[0].r#type.clear();
            "alert.indicators[0].value" => |a| a.indicators[0].value.clear();
            "alert.respond_by" => |a| {
                a.respond_by_ms = 0;
                a.alert_type = v1::AlertType::RequestAction as i32;
            };
            "alert.respond_by" => |a| {
                a.respond_by_ms = 0;
                a.action_requested = vec![v1::ActionRequested::FreezeFunds as i32];
            };
        },
    );
}

/// Values of an alert that are there, but wrong.
#[test]
fn alert_fields_are_checked() {
    each_alone(
        &testing::sample(0),
        alert,
        cases! { None,
            "alert.revision" => |a| a.revision = 2;
            "alert.severity" => |a| a.severity = 99;
            "alert.category" => |a| a.category = "phishing".to_owned();
            "alert.category" => |a| a.category = "fraud/".to_owned();
            "alert.title" => |a| a.title = "x".repeat(201);
            "alert.title" => |a| a.title = "two\nlines".to_owned();
            "alert.title" => |a| a.title = "a\u{1b}[31mb".to_owned();
            "alert.title" => |a| a.title = "a\u{202e}b".to_owned();
            "alert.summary" => |a| a.summary = "x".repeat(20_001);
            "alert.summary" => |a| a.summary = "a\u{2067}b".to_owned();
            "alert.observed_until" => |a| a.observed_until_ms = 1;
            "alert.valid_until" => |a| a.valid_until_ms = 1;
            "alert.confidence" => |a| a.confidence_plus_one = 102;
            "alert.evaluation.source" => |a| a.evaluation.as_mut().unwrap().source = "D".to_owned();
            "alert.evaluation.information" => |a| a.evaluation.as_mut().unwrap().information = 5;
            "alert.affected_countries[1]" => |a| a.affected_countries[1] = "UK".to_owned();
            "alert.indicators[1].id" => |a| a.indicators[1].id = "i1".to_owned();
            "alert.indicators[1].value" => |a| a.indicators[1].value = "203.0.113.400".to_owned();
            "alert.indicators[0].value" => |a| a.indicators[0].value = "par\u{200b}cel.example".to_owned();
            "alert.indicators[1].type" => |a| a.indicators[1].r#type = "ip".to_owned();
            "alert.indicators[1].pap" => |a| a.indicators[1].pap = "WHITE".to_owned();
            "alert.indicators[1].first_seen" => |a| a.indicators[1].first_seen_ms = 1;
            "alert.indicators[1].last_seen" => |a| {
                a.indicators[1].first_seen_ms = a.indicators[1].last_seen_ms + 1;
            };
            "alert.action_requested" => |a| a.action_requested.push(1);
            "alert.action_requested[2]" => |a| a.action_requested.push(2);
            "alert.victims.loss.amount" => |a| a.victims = Some(loss("1,000", "EUR"));
            "alert.victims.loss.currency" => |a| a.victims = Some(loss("1000.00", ""));
            "alert.victims.loss.currency" => |a| a.victims = Some(loss("1000.00", "euro"));
            "alert.subjects[0].type" => |a| a.subjects = vec![subject("ship", false, "")];
            "alert.detection[0].lang" => |a| a.detection = vec![rule("perl")];
            "alert.stix_bundle.sha256" => |a| a.stix_bundle = Some(v1::AttachmentRef::default());
            "alert.offences[0].convention_articles[0]" => |a| a.offences = vec![offence("12")];
            "alert.offences[0].convention_articles[0]" => |a| a.offences = vec![offence("02")];
            "alert.indicators" => |a| a.indicators = vec![a.indicators[0].clone(); 1001];
        },
    );
}

fn loss(amount: &str, currency: &str) -> v1::Victims {
    let (loss_amount, loss_currency) = (amount.to_owned(), currency.to_owned());
    v1::Victims { count: 1, loss_amount, loss_currency, ..Default::default() }
}

fn subject(r#type: &str, personal_data: bool, purpose: &str) -> v1::Subject {
    let (role, purpose) = ("suspect".to_owned(), purpose.to_owned());
    v1::Subject { role, r#type: r#type.to_owned(), identifiers: vec![], personal_data, purpose }
}

fn rule(lang: &str) -> v1::Detection {
    v1::Detection { lang: lang.to_owned(), body: "rule".to_owned() }
}

fn offence(article: &str) -> v1::AlertOffence {
    v1::AlertOffence {
        law: "Penal Code XA".to_owned(),
        provision: "s.312".to_owned(),
        convention_articles: vec![article.to_owned()],
    }
}

/// Personal data need a purpose and a handling code of H1 or stricter, each with its own fault.
#[test]
fn personal_data_need_purpose_and_marking() {
    let mut payload = testing::sample(0);
    alert(&mut payload).subjects = vec![subject("person", true, "")];
    let faults = parse(&payload).unwrap_err();
    let paths: Vec<_> = faults.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(paths, ["alert.subjects[0].purpose", "alert.subjects[0].personal_data"]);
    alert(&mut payload).subjects = vec![subject("person", true, "identify the operator")];
    payload.handling.as_mut().unwrap().europol = vec![v1::EuropolCode::H1 as i32];
    assert!(parse(&payload).is_ok());
}

/// Each of the six contents of Article 29(2): absent, it is the one fault and names its paragraph.
#[test]
fn article_29_2_contents_are_mandatory() {
    let base = testing::sample(1);
    each_alone(
        &base,
        request,
        cases! { Some("29(2)(a)"),
            "request.requesting_authority" => |r| r.requesting_authority = None;
            "request.requesting_authority.organisation" => |r| {
                r.requesting_authority.as_mut().unwrap().organisation.clear();
            };
            "request.requesting_authority.person" => |r| {
                r.requesting_authority.as_mut().unwrap().name.clear();
            };
            "request.requesting_authority.phone" => |r| {
                r.requesting_authority.as_mut().unwrap().phone.clear();
            };
        },
    );
    each_alone(
        &base,
        request,
        cases! { Some("29(2)(b)"),
            "request.proceeding_stage" => |r| r.proceeding_stage = 0;
            "request.offences" => |r| r.offences.clear();
            "request.offences[0].title" => |r| r.offences[0].title.clear();
            "request.offences[0].provision" => |r| r.offences[0].provision.clear();
            "request.offences[0].convention_articles" => |r| r.offences[0].convention_articles.clear();
            "request.offences[0].convention_articles[0]" => |r| {
                r.offences[0].convention_articles[0] = "1".to_owned();
            };
            "request.facts" => |r| r.facts.clear();
        },
    );
    each_alone(
        &base,
        request,
        cases! { Some("29(2)(c)"),
            "request.items" => |r| {
                r.items.clear();
                r.custodian = Some(v1::Custodian { name: "Mail".to_owned(), ..Default::default() });
            };
            "request.items[0].item_id" => |r| r.items[0].item_id.clear();
            "request.items[0].identifier" => |r| r.items[0].identifier = None;
            "request.items[0].data_class" => |r| r.items[0].data_class.clear();
            "request.items[0].relationship" => |r| r.items[0].relationship.clear();
        },
    );
    each_alone(
        &base,
        request,
        cases! { Some("29(2)(d)"),
            "request.custodian" => |r| r.items[0].provider.clear();
            "request.system_location" => |r| r.system_location = Some(v1::SystemLocation::default());
            "request.system_location.ip" => |r| {
                let ip = "203.0.113".to_owned();
                r.system_location = Some(v1::SystemLocation { ip, ..Default::default() });
            };
        },
    );
    each_alone(
        &base,
        request,
        cases! { Some("29(2)(e)"),
            "request.necessity" => |r| r.necessity = None;
            "request.necessity.code" => |r| r.necessity.as_mut().unwrap().code = 0;
            "request.necessity.text" => |r| r.necessity.as_mut().unwrap().text.clear();
        },
    );
    each_alone(
        &base,
        request,
        cases! { Some("29(2)(f)"),
            "request.mla_intent" => |r| r.mla_intent = 0;
            "request.mla_intent" => |r| r.mla_intent = v1::Answer::No as i32;
            "request.mla_measures" => |r| r.mla_measures.clear();
        },
    );
}

/// The fields that the form and our own rules demand besides Article 29(2).
#[test]
fn request_fields_are_mandatory() {
    each_alone(
        &testing::sample(1),
        request,
        cases! { None,
            "request.request_id" => |r| r.request_id.clear();
            "request.revision" => |r| r.revision = 0;
            "request.status_of_request" => |r| r.status_of_request = 0;
            "request.previous_reference" => |r| {
                r.status_of_request = v1::RequestStatus::Extension as i32;
            };
            "request.requested_authority" => |r| r.requested_authority = None;
            "request.confirmation_contact" => |r| r.confirmation_contact = None;
            "request.confirmation_contact.name" => |r| {
                r.confirmation_contact.as_mut().unwrap().name.clear();
            };
            "request.confirmation_contact.phone" => |r| {
                r.confirmation_contact.as_mut().unwrap().phone.clear();
            };
            "request.mla_intended_by" => |r| r.mla_intended_by_ms = 0;
            "request.traffic_data_art30" => |r| r.traffic_data_art30 = 0;
            "request.confidentiality" => |r| r.confidentiality = None;
            "request.confidentiality.keep_secret" => |r| {
                r.confidentiality.as_mut().unwrap().keep_secret = 0;
            };
            "request.confidentiality.do_not_notify_user" => |r| {
                r.confidentiality.as_mut().unwrap().do_not_notify_user = 0;
            };
            "request.confidentiality.reason" => |r| {
                r.confidentiality.as_mut().unwrap().reason.clear();
            };
            "request.may_close_account" => |r| r.may_close_account = 0;
            "request.dual_criminality_note" => |r| {
                r.offences[0].convention_articles.push("other".to_owned());
            };
            "request.requested_period_days" => |r| r.requested_period_days = 0;
            "request.requested_period_days" => |r| r.requested_period_days = 59;
            "request.requested_period_days" => |r| r.requested_period_days = 65_536;
            "request.reply_language" => |r| r.reply_language.clear();
        },
    );
}

/// Values of items that are there, but wrong.
#[test]
fn items_are_checked() {
    each_alone(
        &testing::sample(1),
        request,
        cases! { Some("29(2)(c)"),
            "request.items[0].time_to" => |r| r.items[0].time_to_ms = r.items[0].time_from_ms - 1;
            "request.items[1].item_id" => |r| r.items.push(r.items[0].clone());
            "request.items[0].identifier.type" => |r| {
                r.items[0].identifier.as_mut().unwrap().r#type = "mail".to_owned();
            };
            "request.items[0].identifier.value" => |r| {
                r.items[0].identifier.as_mut().unwrap().value = "a.nonym77".to_owned();
            };
            "request.items[0].data_class[0]" => |r| r.items[0].data_class[0] = 99;
            "request.items[0].source_port" => |r| r.items[0].source_port = 443;
            "request.items[0].provider" => |r| r.items[0].provider = "a\u{7}".to_owned();
        },
    );
}

/// "No" and no answer are told apart, and neither is a yes.
#[test]
fn mla_intent_false_and_missing_differ() {
    let mut payload = testing::sample(1);
    let mut text = |answer: v1::Answer| {
        request(&mut payload).mla_intent = answer as i32;
        parse(&payload).unwrap_err().iter().next().unwrap().text.clone()
    };
    let (no, missing) = (text(v1::Answer::No), text(v1::Answer::Unspecified));
    assert!(no.starts_with("false:") && missing.starts_with("missing:"), "{no} / {missing}");
}

/// Each of the three alternatives of Article 29(2)(d) is enough alone.
#[test]
fn one_way_to_the_custodian_is_enough() {
    let mut payload = testing::sample(1);
    assert!(parse(&payload).is_ok());
    request(&mut payload).items[0].provider.clear();
    let mut located = payload.clone();
    let asn = "AS64511".to_owned();
    request(&mut located).system_location = Some(v1::SystemLocation { asn, ..Default::default() });
    assert!(parse(&located).is_ok());
    let name = "Mail Provider Ltd".to_owned();
    request(&mut payload).custodian = Some(v1::Custodian { name, ..Default::default() });
    assert!(parse(&payload).is_ok());
}

/// A request that lacks all six contents hears of all six at once, in the order of the treaty's fields.
#[test]
fn all_faults_come_together() {
    let mut payload = testing::sample(1);
    payload.body = Some(v1::payload::Body::PreservationRequest(Default::default()));
    payload.sender_ref.clear();
    let faults = parse(&payload).unwrap_err();
    for letter in ["a", "b", "c", "d", "e", "f"] {
        let article = format!("29(2)({letter})");
        assert!(faults.iter().any(|f| f.article == Some(&article)), "{article}");
        assert!(faults.to_string().contains(&article));
    }
    assert!(faults.iter().any(|f| f.path == "env.sender_ref"));
    assert!(faults.len() > 20, "{}", faults.len());
}

/// However much is wrong, the list of faults ends.
#[test]
fn faults_are_bounded() {
    let mut payload = testing::sample(0);
    alert(&mut payload).indicators = vec![v1::Indicator::default(); limits::LIST_MAX];
    assert_eq!(parse(&payload).unwrap_err().len(), FAULTS_MAX);
}

/// Priority, kind, profile and version decide with labels of their own.
#[test]
fn context_decides() {
    let payload = testing::sample(0);
    for priority in [v1::Priority::Urgent, v1::Priority::Emergency] {
        let faults = Payload::parse(&payload, &testing::context(priority)).unwrap_err();
        assert_eq!(faults.iter().next().unwrap().path, "env.urgency_reason");
    }
    let routine = |kinds| PayloadContext::new(v1::Priority::Routine, kinds);
    let faults = Payload::parse(&payload, &routine(&[v1::Kind::PreservationRequest])).unwrap_err();
    assert_eq!((faults.len(), faults.reason()), (1, Reason::KindNotAllowed));
    let unknown = v1::Payload { kind: 25, ..payload.clone() };
    assert_eq!(parse(&unknown).unwrap_err().reason(), Reason::UnsupportedKind);
    let newer = v1::Payload { minor: 1, ..payload.clone() };
    assert_eq!(parse(&newer).unwrap_err().reason(), Reason::UnsupportedVersion);

    let mut bare = payload.clone();
    alert(&mut bare).evaluation = None;
    assert!(parse(&bare).is_ok());
    let strict = PayloadContext { evaluation_required: true, ..routine(&testing::KINDS) };
    let faults = Payload::parse(&bare, &strict).unwrap_err();
    assert_eq!(faults.iter().next().unwrap().path, "alert.evaluation");

    let long = PayloadContext { minimum_preservation_days: 91, ..routine(&testing::KINDS) };
    let faults = Payload::parse(&testing::sample(1), &long).unwrap_err();
    assert!(faults.to_string().contains("minimum is 91"));
}

/// The same place under the names of the local API.
#[test]
fn faults_have_api_paths() {
    let path = |path: &str| super::Fault::new(path, "").api_path();
    let request = "draft.payload.preservation_request.items[0].relationship";
    assert_eq!(path("request.items[0].relationship"), request);
    assert_eq!(path("alert.title"), "draft.payload.alert.title");
    assert_eq!(path("env.to[1]"), "draft.to[1]");
    assert_eq!(path("env.authority.phone"), "draft.payload.authority.phone");
    assert_eq!(path("env.thread_id"), "draft.payload.case_id");
    assert_eq!(path("*"), "draft.payload");
}

/// What the checked types say is what the samples say.
#[test]
fn samples_are_read() {
    let parsed = parse(&testing::sample(0)).unwrap();
    assert_eq!(
        (parsed.kind(), parsed.title()),
        (v1::Kind::Alert, "Parcel-fee kit on rented hosting")
    );
    let Body::Alert(alert) = &parsed.body else { panic!("{parsed:?}") };
    assert_eq!((alert.confidence, alert.indicators.len(), alert.revision), (85, 3, 1));
    assert_eq!(alert.evaluation.unwrap().source, 'A');
    let parsed = parse(&testing::sample(1)).unwrap();
    let Body::PreservationRequest(request) = &parsed.body else { panic!("{parsed:?}") };
    assert_eq!(request.requested_period_days, 90);
    assert!(request.confidentiality.keep_secret && !request.may_close_account);
    assert_eq!(request.offences[0].convention_articles[0].as_str(), "8");
}

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

/// An authority that is not named at all is not made up: Article 29(2)(a) is the requester's to meet.
#[test]
fn completion_invents_no_requesting_authority() {
    let mut draft = draft(1);
    request(draft.payload.as_mut().unwrap()).requesting_authority = None;
    let faults = testing::completed(&draft).unwrap_err();
    assert_eq!((faults.len(), faults.iter().next().unwrap().article), (1, Some("29(2)(a)")));
}

/// A draft of another unit, with an id of its own or over the size is refused; faults join those of its content.
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
        defaults: &testing::defaults(),
        ids: testing::ids(),
        exercise: true,
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

#[test]
fn lifetimes_follow_priority() {
    let hours = [v1::Priority::Emergency, v1::Priority::Urgent, v1::Priority::Routine]
        .map(|priority| lifetime(priority).as_secs() / 3600);
    assert_eq!(hours, [4, 24, 120]);
}

fn draft(i: usize) -> v1::Draft {
    crate::file::MessageFile::parse(testing::SAMPLES[i], testing::now()).unwrap()
}

proptest! {
    /// A sample with any bytes changed is refused or read, never a panic; what is read is encoded as it came.
    #[test]
    fn damaged_payloads_do_not_panic(i in 0usize..10, at in 32usize..2000, byte in any::<u8>()) {
        let mut clear = clear_bytes([0; 32], &testing::sample(i)).to_vec();
        let at = at % clear.len();
        clear[at] = byte;
        if let Ok(payload) = open_clear(&clear.into()) {
            let _ = parse(&payload).map_err(|faults| faults.to_string());
        }
    }

    /// Any text in any place of prose is refused or kept as it is.
    #[test]
    fn any_summary(text in any::<String>()) {
        let mut payload = testing::sample(0);
        alert(&mut payload).summary = text.clone();
        if let Ok(parsed) = parse(&payload) {
            let Body::Alert(alert) = parsed.body else { panic!() };
            prop_assert_eq!(alert.summary.as_str(), text);
        }
    }
}
