//! What is refused in a preservation request; above all the six contents of Article 29(2).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use crate::{payload::testing, v1};

use super::{cases, each_alone, parse, request};

/// The first three of the six contents of Article 29(2): absent, each is the one fault and names
/// its paragraph.
#[test]
fn article_29_2_contents_a_to_c_are_mandatory() {
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
            "request.offences[0].convention_articles" => |r| {
                r.offences[0].convention_articles.clear();
            };
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
}

/// The same for the last three, (d) to (f).
#[test]
fn article_29_2_contents_d_to_f_are_mandatory() {
    let base = testing::sample(1);
    each_alone(
        &base,
        request,
        cases! { Some("29(2)(d)"),
            "request.custodian" => |r| r.items[0].provider.clear();
            "request.system_location" => |r| {
                r.system_location = Some(v1::SystemLocation::default());
            };
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

/// Behind a carrier's NAT an address without port and time is nobody's: if it is said to be there,
/// or is of the space that is always shared.
#[test]
fn a_shared_address_needs_its_port_and_time() {
    let mut base = testing::sample(1);
    let address =
        |value: &str| Some(v1::Identifier { r#type: "ipv4".to_owned(), value: value.to_owned() });
    let item = &mut request(&mut base).items[0];
    (item.identifier, item.behind_cgnat) = (address("203.0.113.9"), v1::Answer::Yes.into());
    (item.source_port, item.time_from_ms) = (51_422, item.time_to_ms);
    each_alone(
        &base,
        request,
        cases! { Some("29(2)(c)"),
            "request.items[0].source_port" => |r| r.items[0].source_port = 0;
            "request.items[0].time_from" => |r| r.items[0].time_from_ms = 0;
            "request.items[0].behind_cgnat" => |r| r.items[0].behind_cgnat = 7;
        },
    );
    let mut shared = base.clone();
    let faulty = |payload: &v1::Payload| parse(payload).is_err();
    for (value, answer, is_faulty) in [
        ("100.64.0.1", v1::Answer::Unspecified, true),
        ("100.127.255.254", v1::Answer::No, true),
        ("100.128.0.1", v1::Answer::Unspecified, false),
        ("203.0.113.9", v1::Answer::Unspecified, false),
        ("203.0.113.9", v1::Answer::No, false),
    ] {
        let item = &mut request(&mut shared).items[0];
        (item.identifier, item.behind_cgnat) = (address(value), answer.into());
        item.source_port = 0;
        assert_eq!(faulty(&shared), is_faulty, "{value}");
        request(&mut shared).items[0].source_port = 51_422;
        assert!(!faulty(&shared), "{value}");
    }
    let item = &mut request(&mut shared).items[0];
    (item.identifier, item.source_port, item.behind_cgnat) = (None, 0, v1::Answer::Yes.into());
    item.description = "logs".to_owned();
    let faults = parse(&shared).unwrap_err();
    assert_eq!(faults.iter().next().unwrap().path, "request.items[0].behind_cgnat");
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

/// A request that lacks all six contents hears of all six at once, in the order of the treaty's
/// fields.
#[test]
fn all_faults_come_together() {
    let mut payload = testing::sample(1);
    payload.body = Some(v1::payload::Body::PreservationRequest(Default::default()));
    payload.sender_ref.clear();
    let faults = parse(&payload).unwrap_err();
    for letter in ["a", "b", "c", "d", "e", "f"] {
        let article = format!("29(2)({letter})");
        let fault = faults.iter().find(|f| f.article == Some(&article)).unwrap();
        assert_eq!(fault.label(), format!("ARTICLE_29_2_{}", letter.to_uppercase()));
        assert!(faults.to_string().contains(&article));
    }
    let plain = faults.iter().find(|f| f.path == "env.sender_ref").unwrap();
    assert_eq!(plain.label(), "INVALID_CONTENT");
    assert!(faults.len() > 20, "{}", faults.len());
}
