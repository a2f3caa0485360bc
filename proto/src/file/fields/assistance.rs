//! Emergencies, assistance, the use of what was sent, drills.

use crate::v1;

use super::{super::walk::Walk, condition, custodian};

pub(in crate::file) fn emergency<W: Walk>(w: &mut W, m: &mut v1::EmergencyRequest) {
    w.text("issue_date", &mut m.issue_date);
    w.text("statement", &mut m.statement);
    w.object("provider", &mut m.provider, custodian);
    w.objects("offences", &mut m.offences, |w, m| {
        w.text("title", &mut m.title);
        w.text("provision", &mut m.provision);
        w.text("penalties", &mut m.max_penalty);
        w.texts("convention_articles", &mut m.convention_articles);
    });
    w.text("emergency_facts", &mut m.emergency_facts);
    w.text("data_sought", &mut m.data_sought);
    w.text("special_procedures", &mut m.special_procedures);
    w.answer("oral_notice_given", &mut m.oral_notice_given);
    w.text("oral_contact", &mut m.oral_contact);
}

pub(in crate::file) fn emergency_reply<W: Walk>(w: &mut W, m: &mut v1::EmergencyReply) {
    w.name::<v1::Determination>("determination", &mut m.determination);
    w.objects("conditions", &mut m.conditions, condition);
    w.name::<v1::FollowUp>("follow_up_required", &mut m.follow_up_required);
    w.text("follow_up_by", &mut m.follow_up_by);
    w.objects("data", &mut m.data, |w, m| {
        w.text("ip", &mut m.ip);
        w.small("port", &mut m.port);
        w.time("first", &mut m.first_ms);
        w.time("last", &mut m.last_ms);
        w.text("text", &mut m.text);
    });
    w.text("reasons", &mut m.reasons);
}

pub(in crate::file) fn assistance<W: Walk>(w: &mut W, m: &mut v1::AssistanceRequest) {
    w.text("subject", &mut m.subject);
    w.text("purpose", &mut m.purpose);
    w.text("facts", &mut m.facts);
    w.names::<v1::AssistanceWanted>("wanted", &mut m.wanted);
    w.time("respond_by", &mut m.respond_by_ms);
}

pub(in crate::file) fn assistance_reply<W: Walk>(w: &mut W, m: &mut v1::AssistanceReply) {
    w.name::<v1::AssistanceOutcome>("outcome", &mut m.outcome);
    w.text("text", &mut m.text);
}

pub(in crate::file) fn handling_release<W: Walk>(w: &mut W, m: &mut v1::HandlingRelease) {
    w.uuid("object", &mut m.object);
    w.name::<v1::WantedUse>("wanted_use", &mut m.wanted_use);
    w.text("text", &mut m.text);
    w.texts("recipients", &mut m.recipients);
    w.name::<v1::ReleaseDecision>("decision", &mut m.decision);
}

pub(in crate::file) fn handling_report<W: Walk>(w: &mut W, m: &mut v1::HandlingReport) {
    w.uuid("object", &mut m.object);
    w.name::<v1::HandlingDone>("done", &mut m.done);
    w.text("statement", &mut m.statement);
    w.time("at", &mut m.at_ms);
}

pub(in crate::file) fn contact_check<W: Walk>(w: &mut W, m: &mut v1::ContactCheck) {
    w.text("mode", &mut m.mode);
    w.text("nonce", &mut m.nonce);
    w.time("respond_by", &mut m.respond_by_ms);
    w.text("scenario", &mut m.scenario);
    w.object("answer", &mut m.answer, |w, m| {
        w.text("desk", &mut m.desk);
        w.text("person", &mut m.person);
        w.time("at", &mut m.at_ms);
    });
}
