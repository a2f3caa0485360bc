//! What is refused in an alert.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use crate::{payload::testing, v1};

use super::{LONG_AGO, alert, cases, each_alone, parse};

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
            "alert.observed_until" => |a| a.observed_until_ms = LONG_AGO;
            "alert.valid_until" => |a| a.valid_until_ms = LONG_AGO;
            "alert.confidence" => |a| a.confidence_plus_one = 102;
            "alert.evaluation.source" => |a| a.evaluation.as_mut().unwrap().source = "D".to_owned();
            "alert.evaluation.information" => |a| a.evaluation.as_mut().unwrap().information = 5;
            "alert.affected_countries[1]" => |a| a.affected_countries[1] = "UK".to_owned();
            "alert.indicators[1].id" => |a| a.indicators[1].id = "i1".to_owned();
            "alert.indicators[1].value" => |a| a.indicators[1].value = "203.0.113.400".to_owned();
            "alert.indicators[0].value" => |a| {
                a.indicators[0].value = "par\u{200b}cel.example".to_owned();
            };
            "alert.indicators[1].type" => |a| a.indicators[1].r#type = "ip".to_owned();
            "alert.indicators[1].pap" => |a| a.indicators[1].pap = "WHITE".to_owned();
            "alert.indicators[1].first_seen" => |a| a.indicators[1].first_seen_ms = LONG_AGO;
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

/// TLP and handling codes bound the audience: a broadcast of AMBER+STRICT is refused.
#[test]
fn markings_bound_the_audience() {
    use v1::{Answer, Audience, EuropolCode, Tlp};
    let refused = |tlp: Tlp, code: EuropolCode, audience: Audience, onward: Answer| {
        let mut payload = testing::sample(0);
        let handling = payload.handling.as_mut().unwrap();
        (handling.tlp, handling.europol) = (tlp as i32, vec![code as i32]);
        alert(&mut payload).dissemination =
            Some(v1::Dissemination { audience: audience as i32, onward: onward as i32 });
        let paths = parse(&payload).map_err(|f| f.into_iter().map(|f| f.path).collect::<Vec<_>>());
        paths.err().unwrap_or_default().join(" ")
    };
    let (yes, no, h0, h2) = (Answer::Yes, Answer::No, EuropolCode::H0, EuropolCode::H2);
    let (audience, onward) = ("alert.dissemination.audience", "alert.dissemination.onward");
    assert_eq!(refused(Tlp::AmberStrict, h0, Audience::Profile, no), audience);
    assert_eq!(refused(Tlp::Red, h0, Audience::NationalLe, no), audience);
    assert_eq!(refused(Tlp::Green, h0, Audience::Public, no), audience);
    assert_eq!(refused(Tlp::Amber, h2, Audience::Named, yes), onward);
    assert_eq!(refused(Tlp::Amber, h2, Audience::Named, no), "");
    assert_eq!(refused(Tlp::Red, h0, Audience::Named, yes), "");
    assert_eq!(refused(Tlp::Amber, h0, Audience::Profile, yes), "");
    assert_eq!(refused(Tlp::Clear, h0, Audience::Public, yes), "");
}
