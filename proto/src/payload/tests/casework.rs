//! What is refused in the messages of a case.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use crate::{payload::testing, v1};

use super::{LONG_AGO, cases, content, each_alone};

const DAY_MS: u64 = 24 * 3600 * 1000;

#[test]
fn acknowledgements_and_questions() {
    each_alone(
        &testing::sample_of(v1::Kind::RequestAck),
        content!(RequestAck),
        cases! { None,
            "ack.q_reference" => |m| m.q_reference.clear();
            "ack.desk" => |m| m.desk.clear();
            "ack.next_update_by" => |m| m.next_update_by_ms = 0;
        },
    );
    each_alone(
        &testing::sample_of(v1::Kind::InfoRequired),
        content!(InfoRequired),
        cases! { None,
            "info_required.questions" => |m| m.questions.clear();
            "info_required.due" => |m| m.due_ms = 0;
            "info_required.questions[0].text" => |m| m.questions[0].text.clear();
            "info_required.questions[1].field" => |m| m.questions[1].field = "weather".to_owned();
            "info_required.questions[0].field" => |m| m.questions[0].field = "items[].x".to_owned();
            "info_required.questions[0].field" => |m| m.questions[0].field = "items[2].".into();
        },
    );
    each_alone(
        &testing::sample_of(v1::Kind::InfoReply),
        content!(InfoReply),
        cases! { None,
            "info_reply.revision" => |m| m.revision = 1;
            "info_reply.answers" => |m| m.answers.clear();
            "info_reply.answers[0].field" => |m| m.answers[0].field.clear();
        },
    );
}

/// A reply that brings the whole request: it is checked as a request is, under its own place.
#[test]
fn answers_bring_a_request() {
    let mut payload = testing::sample_of(v1::Kind::InfoReply);
    let request = testing::sample_of(v1::Kind::PreservationRequest);
    let Some(v1::payload::Body::PreservationRequest(mut request)) = request.body else { panic!() };
    request.revision = 2;
    content!(InfoReply)(&mut payload).request = Some(request);
    each_alone(
        &payload,
        content!(InfoReply),
        cases! { Some("29(2)(b)"),
            "info_reply.request.facts" => |m| m.request.as_mut().unwrap().facts.clear();
        },
    );
    each_alone(
        &payload,
        content!(InfoReply),
        cases! { None,
            "info_reply.request.revision" => |m| m.request.as_mut().unwrap().revision = 3;
        },
    );
}

/// Article 29(6): what a warning and its answer have to say.
#[test]
fn risks() {
    each_alone(
        &testing::sample_of(v1::Kind::RiskNotice),
        content!(RiskNotice),
        cases! { Some("29(6)"),
            "risk.type" => |m| m.r#type = 0;
            "risk.type" => |m| m.r#type = 9;
            "risk.explanation" => |m| m.explanation.clear();
            "risk.affected_items[1]" => |m| m.affected_items.push("1".to_owned());
        },
    );
    each_alone(
        &testing::sample_of(v1::Kind::RiskDecision),
        content!(RiskDecision),
        cases! { Some("29(6)"),
            "decision.new_revision" => |m| m.new_revision = 0;
            "decision.new_revision" => |m| {
                m.value = v1::RiskAnswer::Proceed as i32;
                m.drop_items.clear();
            };
            "decision.drop_items" => |m| {
                m.value = v1::RiskAnswer::Abandon as i32;
                m.new_revision = 0;
            };
            "decision.proceed_items" => |m| m.proceed_items.push("1".to_owned());
        },
    );
}

/// A refusal has a ground of the closed list and reasons (Articles 29(4), 29(5), 27(7)).
#[test]
fn decisions() {
    let sample = testing::sample_of(v1::Kind::PreservationDecision);
    each_alone(
        &sample,
        content!(PreservationDecision),
        cases! { Some("29(4) and (5)"),
            "decision.items[0].ground" => |m| m.items[0].ground = 0;
            "decision.items[0].ground" => |m| m.items[0].ground = 77;
        },
    );
    each_alone(
        &sample,
        content!(PreservationDecision),
        cases! { Some("27(7)"), "decision.reasons" => |m| m.reasons.clear(); },
    );
    each_alone(
        &sample,
        content!(PreservationDecision),
        cases! { None,
            "decision.items" => |m| m.items.clear();
            "decision.revision" => |m| m.revision = 0;
            "decision.carry" => |m| m.carry = v1::Carry::Carried as i32;
            "decision.items[0].decision" => |m| {
                m.items[0].decision = 0;
                m.items[0].ground = 0;
            };
            "decision.items[1].item_id" => |m| m.items.push(m.items[0].clone());
        },
    );
    let mut accepted = sample;
    let decision = content!(PreservationDecision)(&mut accepted);
    decision.items[0].decision = v1::ItemDecision::Accepted as i32;
    decision.items[0].ground = 0;
    each_alone(
        &accepted,
        content!(PreservationDecision),
        cases! { Some("29(4) and (5)"), "decision.items[0].ground" => |m| m.items[0].ground = 2; },
    );
}

/// Article 29(7): preserved for sixty days or longer; 59 are refused.
#[test]
fn confirmations() {
    let sample = testing::sample_of(v1::Kind::PreservationConfirmation);
    each_alone(
        &sample,
        content!(PreservationConfirmation),
        cases! { Some("29(7)"),
            "confirmation.items[1].preserved_until" => |m| {
                m.items[1].preserved_until_ms = m.items[1].preserved_from_ms + 59 * DAY_MS;
            };
            "confirmation.items[1].preserved_until" => |m| {
                m.items[1].preserved_until_ms = m.items[1].preserved_from_ms + 60 * DAY_MS - 1;
            };
            "confirmation.items[1].preserved_until" => |m| m.items[1].preserved_until_ms = 0;
        },
    );
    each_alone(
        &sample,
        content!(PreservationConfirmation),
        cases! { None,
            "confirmation.q_reference" => |m| m.q_reference.clear();
            "confirmation.items" => |m| m.items.clear();
            "confirmation.items[1].preserved_from" => |m| m.items[1].preserved_from_ms = 0;
            "confirmation.items[0].preserved_until" => |m| m.items[0].preserved_until_ms = LONG_AGO;
            "confirmation.items[0].status" => |m| m.items[0].status = 0;
        },
    );
    let mut whole = sample;
    let items = &mut content!(PreservationConfirmation)(&mut whole).items;
    items[1].preserved_until_ms = items[1].preserved_from_ms + 60 * DAY_MS;
    assert!(super::parse(&whole).is_ok());
}

/// Article 30: traffic data, or one of two grounds.
#[test]
fn traffic() {
    each_alone(
        &testing::sample_of(v1::Kind::TrafficDisclosure),
        content!(TrafficDisclosure),
        cases! { Some("30(1)"),
            "disclosure.country" => |m| m.country.clear();
            "disclosure.provider" => |m| m.provider = None;
            "disclosure.provider.asn" => |m| m.provider.as_mut().unwrap().asn = "x".to_owned();
            "disclosure.path[0]" => |m| m.path[0] = "here".to_owned();
            "disclosure.data[0].src" => |m| m.data[0].src.clear();
            "disclosure.data[0].port" => |m| m.data[0].port = 70_000;
            "disclosure.data[0].last" => |m| m.data[0].last_ms = m.data[0].first_ms - 1;
        },
    );
    each_alone(
        &testing::sample_of(v1::Kind::DisclosureWithheld),
        content!(DisclosureWithheld),
        cases! { Some("30(2)"),
            "withheld.ground" => |m| m.ground = v1::RefusalGround::NoTreatyRelation as i32;
            "withheld.reasons" => |m| m.reasons.clear();
        },
    );
}

#[test]
fn extensions_and_mutual_assistance() {
    each_alone(
        &testing::sample_of(v1::Kind::ExtensionRequest),
        content!(ExtensionRequest),
        cases! { None,
            "extension.requested_until" => |m| m.requested_until_ms = 0;
            "extension.reason" => |m| m.reason.clear();
            "extension.mla_status" => |m| m.mla_status = 0;
        },
    );
    let decision = testing::sample_of(v1::Kind::ExtensionDecision);
    each_alone(
        &decision,
        content!(ExtensionDecision),
        cases! { None,
            "extension_decision.granted" => |m| m.granted = 0;
            "extension_decision.preserved_until" => |m| m.preserved_until_ms = 0;
            "extension_decision.preserved_until" => |m| m.granted = v1::Answer::No as i32;
        },
    );
    let mut refused = decision;
    let content = content!(ExtensionDecision)(&mut refused);
    (content.granted, content.preserved_until_ms) = (v1::Answer::No as i32, 0);
    each_alone(
        &refused,
        content!(ExtensionDecision),
        cases! { None, "extension_decision.remark" => |m| m.remark.clear(); },
    );
    each_alone(
        &testing::sample_of(v1::Kind::MlaNotice),
        content!(MlaNotice),
        cases! { None,
            "mla_notice.mla_reference" => |m| m.mla_reference.clear();
            "mla_notice.status" => |m| m.status = 0;
            "mla_notice.channel" => |m| m.channel.clear();
            "mla_notice.date" => |m| m.date = "2026-02-30".to_owned();
            "mla_notice.date" => |m| m.date = "2026-8-1".to_owned();
        },
    );
    each_alone(
        &testing::sample_of(v1::Kind::MlaReceived),
        content!(MlaReceived),
        cases! { Some("29(7)"),
            "mla.q_mla_reference" => |m| m.q_mla_reference.clear();
            "mla.received_on" => |m| m.received_on.clear();
            "mla.outcome" => |m| m.outcome = 12;
        },
    );
}

#[test]
fn endings() {
    each_alone(
        &testing::sample_of(v1::Kind::Withdrawal),
        content!(Withdrawal),
        cases! { None,
            "withdrawal.reason" => |m| m.reason = 0;
            "withdrawal.items[1]" => |m| m.items.push("1".to_owned());
        },
    );
    each_alone(
        &testing::sample_of(v1::Kind::ExpiryWarning),
        content!(ExpiryWarning),
        cases! { None,
            "warning.preserved_until" => |m| m.preserved_until_ms = 0;
            "warning.mla_seen" => |m| m.mla_seen = 0;
        },
    );
    each_alone(
        &testing::sample_of(v1::Kind::Closure),
        content!(Closure),
        cases! { None,
            "closure.final_state" => |m| {
                m.final_state = 0;
                m.hint.clear();
            };
            "closure.at" => |m| m.at_ms = 0;
            "closure.hint" => |m| m.hint = "XC.cyber-poc".to_owned();
            "closure.hint" => |m| m.final_state = v1::FinalState::Expired as i32;
            "closure.note" => |m| {
                m.hint.clear();
                m.note.clear();
            };
        },
    );
    each_alone(
        &testing::sample_of(v1::Kind::IncidentNotice),
        content!(IncidentNotice),
        cases! { None,
            "incident.what" => |m| m.what = 0;
            "incident.at" => |m| m.at_ms = 0;
            "incident.text" => |m| m.text.clear();
        },
    );
}
