//! What is refused in offers, what follows alerts, emergencies, assistance, releases and drills.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use crate::{payload::testing, v1};

use super::{LONG_AGO, cases, content, each_alone};

/// An update is whole, says what differs, and is no first alert.
#[test]
fn updates() {
    each_alone(
        &testing::sample_of(v1::Kind::AlertUpdate),
        content!(AlertUpdate, Alert),
        cases! { None,
            "alert.changes" => |a| a.changes.clear();
            "alert.changes[0].op" => |a| a.changes[0].op = "delete".to_owned();
            "alert.changes[0].path" => |a| a.changes[0].path.clear();
            "alert.changes[1].value" => |a| a.changes[1].value = a.changes[0].value.clone();
            "alert.changes[0].value.type" => |a| {
                a.changes[0].value.as_mut().unwrap().r#type = "ipv7".to_owned();
            };
            "alert.lifecycle" => |a| a.lifecycle = v1::Lifecycle::Cancel as i32;
            "alert.lifecycle" => |a| {
                a.lifecycle = v1::Lifecycle::New as i32;
                a.revision = 1;
            };
            "alert.title" => |a| a.title.clear();
        },
    );
    each_alone(
        &testing::sample_of(v1::Kind::Alert),
        content!(Alert),
        cases! { None,
            "alert.lifecycle" => |a| {
                a.lifecycle = v1::Lifecycle::Update as i32;
                a.revision = 2;
            };
            "alert.changes" => |a| a.changes.push(v1::AlertChange {
                path: "title".to_owned(),
                op: "replace".to_owned(),
                ..Default::default()
            });
        },
    );
}

#[test]
fn cancelling_and_feedback() {
    each_alone(
        &testing::sample_of(v1::Kind::AlertCancel),
        content!(AlertCancel),
        cases! { None,
            "cancel.reason" => |m| m.reason = 0;
            "cancel.delete_requested" => |m| m.delete_requested = 0;
            "cancel.scope[1]" => |m| m.scope.push("i2".to_owned());
        },
    );
    each_alone(
        &testing::sample_of(v1::Kind::AlertFeedback),
        content!(AlertFeedback),
        cases! { None,
            "feedback.outcome" => |m| m.outcome = 0;
            "feedback.text" => |m| m.text.clear();
        },
    );
}

/// Article 26(2): an offer has conditions; its reply accounts for those that it does not accept.
#[test]
fn offers() {
    each_alone(
        &testing::sample_of(v1::Kind::ConditionalOffer),
        content!(ConditionalOffer),
        cases! { None,
            "offer.offer_id" => |m| m.offer_id.clear();
            "offer.abstract" => |m| m.r#abstract.clear();
            "offer.conditions" => |m| m.conditions.clear();
            "offer.conditions[1].id" => |m| m.conditions[1].id = "c1".to_owned();
            "offer.expires" => |m| m.expires_ms = 0;
        },
    );
    each_alone(
        &testing::sample_of(v1::Kind::ConditionReply),
        content!(ConditionReply),
        cases! { None,
            "reply.decision" => |m| m.decision = 0;
            "reply.cannot_comply" => |m| m.cannot_comply.clear();
            "reply.cannot_comply" => |m| m.decision = v1::ConditionAnswer::Accept as i32;
            "reply.cannot_comply[0].reason" => |m| m.cannot_comply[0].reason.clear();
            "reply.accepted_conditions" => |m| m.accepted_conditions.push("c2".to_owned());
        },
    );
}

/// Second Additional Protocol, Article 9(3): each of its contents is a field that must be there.
#[test]
fn emergencies() {
    let sample = testing::sample_of(v1::Kind::EmergencyRequest);
    let protocol = |paragraph: &str| format!("9(3)({paragraph}) of the Second Additional Protocol");
    type Change = fn(&mut v1::EmergencyRequest);
    let cases: [(&str, &str, Change); 7] = [
        ("b", "emergency.statement", |m| m.statement.clear()),
        ("c", "emergency.provider", |m| m.provider = None),
        ("c", "emergency.provider.address", |m| m.provider.as_mut().unwrap().address.clear()),
        ("d", "emergency.offences", |m| m.offences.clear()),
        ("d", "emergency.offences[0].penalties", |m| m.offences[0].max_penalty.clear()),
        ("e", "emergency.emergency_facts", |m| m.emergency_facts.clear()),
        ("f", "emergency.data_sought", |m| m.data_sought.clear()),
    ];
    for (paragraph, path, change) in cases {
        let mut payload = sample.clone();
        change(content!(EmergencyRequest)(&mut payload));
        let faults = super::parse(&payload).unwrap_err();
        let found: Vec<_> = faults.iter().map(|f| (f.path.as_str(), f.article)).collect();
        assert_eq!(found, [(path, Some(protocol(paragraph).as_str()))]);
    }
    each_alone(
        &sample,
        content!(EmergencyRequest),
        cases! { None,
            "emergency.issue_date" => |m| m.issue_date = "today".to_owned();
            "emergency.oral_notice_given" => |m| m.oral_notice_given = 0;
            "emergency.oral_contact" => |m| m.oral_contact.clear();
        },
    );
    let urgent = testing::context(v1::Priority::Urgent);
    let faults = super::Payload::parse(&sample, &urgent).unwrap_err();
    assert_eq!(faults.iter().next().unwrap().path, "env.priority");
    each_alone(
        &testing::sample_of(v1::Kind::EmergencyReply),
        content!(EmergencyReply),
        cases! { None,
            "reply.determination" => |m| {
                m.determination = 0;
                m.conditions.clear();
            };
            "reply.conditions" => |m| m.conditions.clear();
            "reply.conditions" => |m| m.determination = v1::Determination::Disclosed as i32;
            "reply.follow_up_required" => |m| m.follow_up_required = 0;
            "reply.follow_up_by" => |m| m.follow_up_by.clear();
            "reply.data[0].ip" => |m| m.data[0].ip.clear();
            "reply.data" => |m| {
                m.determination = v1::Determination::NoData as i32;
                m.conditions.clear();
            };
        },
    );
}

#[test]
fn assistance_releases_and_drills() {
    each_alone(
        &testing::sample_of(v1::Kind::AssistanceRequest),
        content!(AssistanceRequest),
        cases! { None,
            "assistance.subject" => |m| m.subject.clear();
            "assistance.purpose" => |m| m.purpose.clear();
            "assistance.facts" => |m| m.facts.clear();
            "assistance.wanted" => |m| m.wanted.clear();
        },
    );
    each_alone(
        &testing::sample_of(v1::Kind::AssistanceReply),
        content!(AssistanceReply),
        cases! { None,
            "assistance_reply.outcome" => |m| m.outcome = 0;
            "assistance_reply.text" => |m| m.text.clear();
        },
    );
    each_alone(
        &testing::sample_of(v1::Kind::HandlingRelease),
        content!(HandlingRelease),
        cases! { None,
            "release.object" => |m| m.object.clear();
            "release.wanted_use" => |m| m.wanted_use = 0;
            "release.recipients" => |m| m.recipients.clear();
            "release.recipients[0]" => |m| m.recipients[0] = "XA".to_owned();
            "env.in_reply_to" => |m| m.decision = v1::ReleaseDecision::Granted as i32;
        },
    );
    each_alone(
        &testing::sample_of(v1::Kind::HandlingReport),
        content!(HandlingReport),
        cases! { None,
            "report.object" => |m| m.object.clear();
            "report.done" => |m| m.done = 0;
            "report.statement" => |m| m.statement.clear();
        },
    );
    each_alone(
        &testing::sample_of(v1::Kind::ContactCheck),
        content!(ContactCheck),
        cases! { None,
            "check.mode" => |m| m.mode = "loud".to_owned();
            "check.nonce" => |m| m.nonce = "6F1C0D2A9E".to_owned();
            "check.nonce" => |m| m.nonce.clear();
            "check.respond_by" => |m| m.respond_by_ms = 0;
            "env.in_reply_to" => |m| m.answer = Some(v1::ContactAnswer {
                desk: "night desk".to_owned(),
                at_ms: LONG_AGO,
                ..Default::default()
            });
        },
    );
}
