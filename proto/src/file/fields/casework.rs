//! The life of a preservation request.

use crate::v1;

use super::super::walk::Walk;

pub(in crate::file) fn request_ack<W: Walk>(w: &mut W, m: &mut v1::RequestAck) {
    w.text("q_reference", &mut m.q_reference);
    w.text("desk", &mut m.desk);
    w.time("next_update_by", &mut m.next_update_by_ms);
    w.flag("rerouted", &mut m.rerouted);
}

fn question<W: Walk>(w: &mut W, m: &mut v1::Question) {
    w.text("field", &mut m.field);
    w.text("text", &mut m.text);
}

pub(in crate::file) fn info_required<W: Walk>(w: &mut W, m: &mut v1::InfoRequired) {
    w.objects("questions", &mut m.questions, question);
    w.time("due", &mut m.due_ms);
}

pub(in crate::file) fn info_reply<W: Walk>(w: &mut W, m: &mut v1::InfoReply) {
    w.small("revision", &mut m.revision);
    w.objects("answers", &mut m.answers, question);
    w.object("request", &mut m.request, super::request);
}

pub(in crate::file) fn risk_notice<W: Walk>(w: &mut W, m: &mut v1::RiskNotice) {
    w.name::<v1::RiskType>("type", &mut m.r#type);
    w.texts("affected_items", &mut m.affected_items);
    w.text("explanation", &mut m.explanation);
}

pub(in crate::file) fn risk_decision<W: Walk>(w: &mut W, m: &mut v1::RiskDecision) {
    w.name::<v1::RiskAnswer>("value", &mut m.value);
    w.small("new_revision", &mut m.new_revision);
    w.texts("drop_items", &mut m.drop_items);
    w.texts("proceed_items", &mut m.proceed_items);
    w.text("signer", &mut m.signer);
}

pub(in crate::file) fn decision<W: Walk>(w: &mut W, m: &mut v1::PreservationDecision) {
    w.text("q_reference", &mut m.q_reference);
    w.small("revision", &mut m.revision);
    w.objects("items", &mut m.items, |w, m| {
        w.text("item_id", &mut m.item_id);
        w.name::<v1::ItemDecision>("decision", &mut m.decision);
        w.name::<v1::RefusalGround>("ground", &mut m.ground);
        w.text("article", &mut m.article);
    });
    w.text("reasons", &mut m.reasons);
    w.text("alternatives", &mut m.alternatives);
    w.name::<v1::Carry>("carry", &mut m.carry);
    w.texts("signers", &mut m.signers);
}

pub(in crate::file) fn confirmation<W: Walk>(w: &mut W, m: &mut v1::PreservationConfirmation) {
    w.text("q_reference", &mut m.q_reference);
    w.objects("items", &mut m.items, |w, m| {
        w.text("item_id", &mut m.item_id);
        w.name::<v1::FoundStatus>("status", &mut m.status);
        w.time("preserved_from", &mut m.preserved_from_ms);
        w.time("preserved_until", &mut m.preserved_until_ms);
        w.text("custodian", &mut m.custodian);
        w.text("scope_note", &mut m.scope_note);
        w.text("note", &mut m.note);
    });
}

pub(in crate::file) fn disclosure<W: Walk>(w: &mut W, m: &mut v1::TrafficDisclosure) {
    w.text("country", &mut m.country);
    w.object("provider", &mut m.provider, |w, m| {
        w.text("name", &mut m.name);
        w.text("asn", &mut m.asn);
        w.text("address", &mut m.address);
    });
    w.texts("path", &mut m.path);
    w.objects("data", &mut m.data, |w, m| {
        w.text("src", &mut m.src);
        w.text("dst", &mut m.dst);
        w.small("port", &mut m.port);
        w.time("first", &mut m.first_ms);
        w.time("last", &mut m.last_ms);
    });
}

pub(in crate::file) fn withheld<W: Walk>(w: &mut W, m: &mut v1::DisclosureWithheld) {
    w.name::<v1::RefusalGround>("ground", &mut m.ground);
    w.text("reasons", &mut m.reasons);
}

pub(in crate::file) fn extension<W: Walk>(w: &mut W, m: &mut v1::ExtensionRequest) {
    w.text("previous_reference", &mut m.previous_reference);
    w.texts("items", &mut m.items);
    w.time("requested_until", &mut m.requested_until_ms);
    w.text("reason", &mut m.reason);
    w.name::<v1::MlaStatus>("mla_status", &mut m.mla_status);
}

pub(in crate::file) fn extension_decision<W: Walk>(w: &mut W, m: &mut v1::ExtensionDecision) {
    w.answer("granted", &mut m.granted);
    w.texts("items", &mut m.items);
    w.time("preserved_until", &mut m.preserved_until_ms);
    w.text("remark", &mut m.remark);
}

pub(in crate::file) fn mla_notice<W: Walk>(w: &mut W, m: &mut v1::MlaNotice) {
    w.text("mla_reference", &mut m.mla_reference);
    w.name::<v1::MlaStatus>("status", &mut m.status);
    w.text("channel", &mut m.channel);
    w.text("central_authority", &mut m.central_authority);
    w.text("date", &mut m.date);
}

pub(in crate::file) fn mla_received<W: Walk>(w: &mut W, m: &mut v1::MlaReceived) {
    w.text("q_mla_reference", &mut m.q_mla_reference);
    w.text("received_on", &mut m.received_on);
    w.texts("items", &mut m.items);
    w.name::<v1::MlaEffect>("effect", &mut m.effect);
    w.text("central_authority", &mut m.central_authority);
    w.name::<v1::MlaOutcome>("outcome", &mut m.outcome);
}

pub(in crate::file) fn withdrawal<W: Walk>(w: &mut W, m: &mut v1::Withdrawal) {
    w.texts("items", &mut m.items);
    w.name::<v1::WithdrawalReason>("reason", &mut m.reason);
    w.text("note", &mut m.note);
}

pub(in crate::file) fn warning<W: Walk>(w: &mut W, m: &mut v1::ExpiryWarning) {
    w.text("q_reference", &mut m.q_reference);
    w.time("preserved_until", &mut m.preserved_until_ms);
    w.small("days_left", &mut m.days_left);
    w.answer("mla_seen", &mut m.mla_seen);
}

pub(in crate::file) fn closure<W: Walk>(w: &mut W, m: &mut v1::Closure) {
    w.name::<v1::FinalState>("final_state", &mut m.final_state);
    w.time("at", &mut m.at_ms);
    w.text("hint", &mut m.hint);
    w.text("note", &mut m.note);
}

pub(in crate::file) fn incident<W: Walk>(w: &mut W, m: &mut v1::IncidentNotice) {
    w.name::<v1::IncidentType>("what", &mut m.what);
    w.time("at", &mut m.at_ms);
    w.texts("items", &mut m.items);
    w.text("text", &mut m.text);
}
