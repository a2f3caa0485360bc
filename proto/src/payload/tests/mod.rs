//! What the checks of a payload refuse, each alone and all together.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use bytes::Bytes;
use proptest::prelude::*;

use crate::{limits, payload::testing, reason::Reason, v1};

use super::{
    Body, FAULTS_MAX, Faults, Payload, PayloadContext, clear_bytes, file_path, open_clear,
};

mod alert;
mod assistance;
mod casework;
mod complete;
mod kinds;
mod request;

/// A path, the article it is demanded by, and the change that must be reported there and nowhere
/// else.
type Case<T> = (&'static str, Option<&'static str>, fn(&mut T));

fn parse(payload: &v1::Payload) -> Result<Payload, Faults> {
    let priority = match payload.urgency_reason.is_empty() {
        true => v1::Priority::Routine,
        false if payload.kind == v1::Kind::EmergencyRequest as i32 => v1::Priority::Emergency,
        false => v1::Priority::Urgent,
    };
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

/// The first millisecond that is no mistaken second.
const LONG_AGO: u64 = 946_684_800_000;

/// Makes each change alone and compares path and article of what is reported.
fn each_alone<T>(base: &v1::Payload, body: fn(&mut v1::Payload) -> &mut T, cases: &[Case<T>]) {
    assert!(parse(base).is_ok());
    for (path, article, change) in cases {
        let mut payload = base.clone();
        change(body(&mut payload));
        let Err(faults) = parse(&payload) else { panic!("{path}: not refused") };
        let found: Vec<_> = faults.iter().map(|f| (f.path.as_str(), f.article)).collect();
        assert_eq!(found, [(*path, *article)], "{faults}");
        assert!(LABELS.contains(&faults.reason()), "{path}: {}", faults.reason());
    }
}

/// Which values have which label is in `labels_of_their_own`.
const LABELS: [Reason; 4] = [
    Reason::InvalidContent,
    Reason::PeriodTooShort,
    Reason::AudienceTooWide,
    Reason::ClassificationTooHigh,
];

/// A list of changes that only clear or set one field.
macro_rules! cases {
    ($article:expr, $($path:literal => |$m:ident| $change:expr;)*) => {
        &[$(($path, $article, |$m| { $change; }),)*]
    };
}
use cases;

/// The content of a payload of that kind.
macro_rules! content {
    ($kind:ident) => {
        content!($kind, $kind)
    };
    ($kind:ident, $type:ident) => {{
        fn content(payload: &mut v1::Payload) -> &mut v1::$type {
            match &mut payload.body {
                Some(v1::payload::Body::$kind(content)) => content,
                other => panic!("{other:?}"),
            }
        }
        content
    }};
}
use content;

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
    let mut base = testing::sample(0);
    base.urgency_reason.clear();
    let whole: fn(&mut v1::Payload) -> &mut v1::Payload = |p| p;
    each_alone(
        &base,
        whole,
        cases! { None,
            "env.message_id" => |p| p.message_id = Bytes::from_static(&[4; 16]);
            "env.from" => |p| p.from = "XA.cyber-poc".to_owned();
            "env.to[2]" => |p| p.to.push("xb.ncu".to_owned());
            "env.to" => |p| p.to = (0..257).map(|i| format!("xb.n{i}")).collect();
            "env.thread_id" => |p| p.case_id = Bytes::from_static(&[1; 15]);
            "env.in_reply_to" => |p| p.in_reply_to = Bytes::from_static(&[1; 16]);
            "env.based_on" => |p| p.based_on = Bytes::from_static(&[1; 31]);
            "env.supersedes" => |p| p.supersedes = Bytes::from_static(&[1; 33]);
            "env.language" => |p| p.language = "english please".to_owned();
            "env.authority.phone" => |p| p.authority.as_mut().unwrap().phone = "110".to_owned();
            "env.authority.email" => |p| p.authority.as_mut().unwrap().email = "poc".to_owned();
            "env.authority.person" => |p| {
                p.authority.as_mut().unwrap().person = "a\u{202e}b".to_owned();
            };
            "env.extensions" => |p| {
                p.extensions = vec![v1::Extension { critical: true, ..Default::default() }];
            };
            "env.attachments[0].name" => |p| p.attachments = vec![file("../a.pdf")];
            "env.attachments[0].size" => |p| {
                p.attachments = vec![v1::Attachment { size: 0, ..file("a.pdf") }];
            };
            "env.attachments[0].media_type" => |p| {
                p.attachments = vec![v1::Attachment { media_type: String::new(), ..file("a.pdf") }];
            };
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
    let unknown = v1::Payload { kind: 32, ..payload.clone() };
    assert_eq!(parse(&unknown).unwrap_err().reason(), Reason::UnsupportedKind);
    let newer = v1::Payload { minor: 1, ..payload.clone() };
    assert_eq!(parse(&newer).unwrap_err().reason(), Reason::UnsupportedVersion);

    let mut bare = payload.clone();
    alert(&mut bare).evaluation = None;
    assert!(parse(&bare).is_ok());
    let strict = PayloadContext { evaluation_required: true, ..routine(&testing::KINDS) };
    let faults = Payload::parse(&bare, &strict).unwrap_err();
    assert_eq!(faults.iter().next().unwrap().path, "alert.evaluation");

    let attached = |sizes: &[u64]| {
        let file = |size: &u64| v1::Attachment { size: *size, ..file("a.pdf") };
        v1::Payload { attachments: sizes.iter().map(file).collect(), ..payload.clone() }
    };
    let (attachments_max, attachment_bytes_max) = (2, 100);
    let small =
        PayloadContext { attachments_max, attachment_bytes_max, ..routine(&testing::KINDS) };
    assert!(Payload::parse(&attached(&[100, 1]), &small).is_ok());
    for (sizes, path) in
        [(&[1, 101][..], "env.attachments[1].size"), (&[1, 1, 1], "env.attachments")]
    {
        let faults = Payload::parse(&attached(sizes), &small).unwrap_err();
        assert_eq!(faults.iter().next().unwrap().path, path);
        assert_eq!(faults.iter().next().unwrap().reason, Reason::TooLarge);
    }

    let long = PayloadContext { minimum_preservation_days: 91, ..routine(&testing::KINDS) };
    let faults = Payload::parse(&testing::sample(1), &long).unwrap_err();
    assert!(faults.to_string().contains("minimum is 91"));
}

/// The same place under the names of the local API.
#[test]
fn faults_have_api_paths() {
    let path = |path: &str| {
        let api = super::Fault::new(path, "").api_path();
        assert_eq!(file_path(&api), path, "{api}");
        api
    };
    let request = "draft.payload.preservation_request.items[0].relationship";
    assert_eq!(path("request.items[0].relationship"), request);
    assert_eq!(path("alert.title"), "draft.payload.alert.title");
    assert_eq!(path("env.to[1]"), "draft.to[1]");
    assert_eq!(path("env.authority.phone"), "draft.payload.authority.phone");
    assert_eq!(path("env.thread_id"), "draft.payload.case_id");
    assert_eq!(path("env.expires_at"), "draft.expire_time");
    assert_eq!(path("handling.tlp"), "draft.payload.handling.tlp");
    assert_eq!(path("*"), "draft.payload");
    assert_eq!(file_path("request_id"), "request_id");
}

/// What the checked types say is what the samples say.
#[test]
fn samples_are_read() {
    let parsed = parse(&testing::sample(0)).unwrap();
    assert_eq!(
        (parsed.kind(), super::title(&testing::sample(0))),
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

proptest! {
    /// A sample with any bytes changed is refused or read, never a panic; what is read is encoded
    /// as it came.
    #[test]
    fn damaged_payloads_do_not_panic(
        i in 0usize..testing::SAMPLES.len(), at in 32usize..2000, byte in any::<u8>(),
    ) {
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

/// What has a label of its own has it; what else is wrong hides none.
#[test]
fn labels_of_their_own() {
    let told = |payload: &v1::Payload| parse(payload).unwrap_err().reason();
    let mut asked = testing::sample(1);
    request(&mut asked).requested_period_days = 59;
    request(&mut asked).facts.clear();
    assert_eq!(told(&asked), Reason::PeriodTooShort);
    let mut classified = testing::sample(1);
    classified.handling.as_mut().unwrap().classification = v1::Classification::Restricted.into();
    assert_eq!(told(&classified), Reason::ClassificationTooHigh);
    let mut kept = testing::sample_of(v1::Kind::PreservationConfirmation);
    let mut items = content!(PreservationConfirmation)(&mut kept).items.iter_mut();
    let item = items.find(|item| item.preserved_from_ms != 0).unwrap();
    item.preserved_until_ms = item.preserved_from_ms + 59 * 24 * 3_600_000;
    assert_eq!(told(&kept), Reason::PeriodTooShort);
    let mut broadcast = testing::sample_of(v1::Kind::Alert);
    broadcast.handling.as_mut().unwrap().tlp = v1::Tlp::AmberStrict.into();
    let to_all = &mut content!(Alert)(&mut broadcast).dissemination;
    to_all.as_mut().unwrap().audience = v1::Audience::NationalLe.into();
    assert_eq!(told(&broadcast), Reason::AudienceTooWide);
}

/// In a network without a treaty a case's messages name none; others may.
#[test]
fn informal_requests_name_no_treaty() {
    let mut context = testing::context(v1::Priority::Routine);
    let mut asked = testing::sample(1);
    assert!(Payload::parse(&asked, &context).is_ok());
    context.has_treaty = false;
    let faults = Payload::parse(&asked, &context).unwrap_err();
    assert_eq!(faults.iter().next().unwrap().path, "env.legal_basis[0].instrument");
    for basis in &mut asked.legal_basis {
        basis.instrument = "POLICE-ACT".to_owned();
    }
    assert!(Payload::parse(&asked, &context).is_ok());
    let alert = testing::sample_of(v1::Kind::Alert);
    assert!(Payload::parse(&alert, &context).is_ok());
}
