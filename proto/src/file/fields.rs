//! Every field of a message file, described once for both directions.
//!
//! A function per object, in the order of the `.proto` files. The names are those of the files.

mod assistance;
mod casework;

use crate::v1;

use super::walk::Walk;

pub(super) use assistance::*;
pub(super) use casework::*;

pub(super) fn handling<W: Walk>(w: &mut W, m: &mut v1::Handling) {
    w.name::<v1::Tlp>("tlp", &mut m.tlp);
    w.name::<v1::Pap>("pap", &mut m.pap);
    w.names::<v1::EuropolCode>("europol", &mut m.europol);
    w.name::<v1::Classification>("classification", &mut m.classification);
    w.texts("conditions", &mut m.conditions);
    w.time("delete_by", &mut m.delete_by_ms);
}

/// What `env` and the payload share.
pub(super) fn common<W: Walk>(w: &mut W, m: &mut v1::Payload) {
    w.text("from", &mut m.from);
    w.uuid("message_id", &mut m.message_id);
    w.name::<v1::Kind>("kind", &mut m.kind);
    w.uuid("thread_id", &mut m.case_id);
    w.uuid("in_reply_to", &mut m.in_reply_to);
    w.digest("based_on", &mut m.based_on);
    w.digest("follows", &mut m.follows);
    w.digest("supersedes", &mut m.supersedes);
    w.objects("legal_basis", &mut m.legal_basis, legal_basis);
    w.text("language", &mut m.language);
    w.object("authority", &mut m.authority, authority);
    w.text("sender_ref", &mut m.sender_ref);
    w.flag("exercise", &mut m.exercise);
    w.text("urgency_reason", &mut m.urgency_reason);
    w.objects("attachments", &mut m.attachments, attachment);
    w.object("origin", &mut m.origin, origin);
}

fn origin<W: Walk>(w: &mut W, m: &mut v1::Origin) {
    w.text("unit", &mut m.unit);
    w.uuid("message_id", &mut m.message_id);
    w.digest("header_digest", &mut m.header_digest);
    w.object("handling", &mut m.handling, handling);
    w.answer("onward", &mut m.onward);
    w.uuid("release", &mut m.release);
}

pub(super) fn alert<W: Walk>(w: &mut W, m: &mut v1::Alert) {
    w.uuid("alert_id", &mut m.alert_id);
    w.small("revision", &mut m.revision);
    w.name::<v1::Lifecycle>("lifecycle", &mut m.lifecycle);
    w.name::<v1::AlertType>("alert_type", &mut m.alert_type);
    w.text("category", &mut m.category);
    w.text("crime_area", &mut m.crime_area);
    w.objects("offences", &mut m.offences, alert_offence);
    w.name::<v1::Severity>("severity", &mut m.severity);
    w.text("title", &mut m.title);
    w.text("summary", &mut m.summary);
    w.text("modus_operandi", &mut m.modus_operandi);
    w.time("observed_from", &mut m.observed_from_ms);
    w.time("observed_until", &mut m.observed_until_ms);
    w.time("reported_at", &mut m.reported_at_ms);
    w.percent("confidence", &mut m.confidence_plus_one);
    w.object("evaluation", &mut m.evaluation, evaluation);
    w.object("victims", &mut m.victims, victims);
    w.objects("subjects", &mut m.subjects, subject);
    w.objects("indicators", &mut m.indicators, indicator);
    w.object("stix_bundle", &mut m.stix_bundle, attachment_ref);
    w.objects("detection", &mut m.detection, detection);
    w.object("playbook", &mut m.playbook, attachment_ref);
    w.names::<v1::ActionRequested>("action_requested", &mut m.action_requested);
    w.time("respond_by", &mut m.respond_by_ms);
    w.names::<v1::DoNot>("do_not", &mut m.do_not);
    w.texts("affected_countries", &mut m.affected_countries);
    w.time("valid_until", &mut m.valid_until_ms);
    w.objects("related", &mut m.related, related);
    w.object("dissemination", &mut m.dissemination, dissemination);
    w.objects("changes", &mut m.changes, change);
}

pub(super) fn request<W: Walk>(w: &mut W, m: &mut v1::PreservationRequest) {
    w.uuid("request_id", &mut m.request_id);
    w.small("revision", &mut m.revision);
    w.name::<v1::RequestStatus>("status_of_request", &mut m.status_of_request);
    w.text("previous_reference", &mut m.previous_reference);
    w.object("requested_authority", &mut m.requested_authority, contact);
    w.object("requesting_authority", &mut m.requesting_authority, requesting_authority);
    w.object("confirmation_contact", &mut m.confirmation_contact, contact);
    w.object("investigating_authority", &mut m.investigating_authority, contact);
    w.object("judicial_authorisation", &mut m.judicial_authorisation, judicial_authorisation);
    w.name::<v1::ProceedingStage>("proceeding_stage", &mut m.proceeding_stage);
    w.objects("offences", &mut m.offences, offence);
    w.text("facts", &mut m.facts);
    w.objects("items", &mut m.items, item);
    w.object("custodian", &mut m.custodian, custodian);
    w.object("system_location", &mut m.system_location, system_location);
    w.object("necessity", &mut m.necessity, necessity);
    w.time("loss_expected_at", &mut m.loss_expected_at_ms);
    w.answer("mla_intent", &mut m.mla_intent);
    w.names::<v1::MlaMeasure>("mla_measures", &mut m.mla_measures);
    w.time("mla_intended_by", &mut m.mla_intended_by_ms);
    w.answer("traffic_data_art30", &mut m.traffic_data_art30);
    w.object("confidentiality", &mut m.confidentiality, confidentiality);
    w.answer("may_close_account", &mut m.may_close_account);
    w.text("dual_criminality_note", &mut m.dual_criminality_note);
    w.small("requested_period_days", &mut m.requested_period_days);
    w.texts("reply_language", &mut m.reply_language);
    w.objects("parallel_channels", &mut m.parallel_channels, parallel_channel);
}

fn legal_basis<W: Walk>(w: &mut W, m: &mut v1::LegalBasis) {
    w.text("instrument", &mut m.instrument);
    w.text("article", &mut m.article);
}

fn authority<W: Walk>(w: &mut W, m: &mut v1::Authority) {
    w.text("organisation", &mut m.organisation);
    w.text("unit", &mut m.unit);
    w.text("person", &mut m.person);
    w.text("role", &mut m.role);
    w.text("address", &mut m.address);
    w.text("phone", &mut m.phone);
    w.text("email", &mut m.email);
    w.text("fax", &mut m.fax);
    w.text("office_hours", &mut m.office_hours);
    w.text("time_zone", &mut m.time_zone);
    w.text("reply_means", &mut m.reply_means);
}

fn attachment<W: Walk>(w: &mut W, m: &mut v1::Attachment) {
    w.text("name", &mut m.name);
    w.text("media_type", &mut m.media_type);
    w.number("size", &mut m.size);
    w.digest("sha256", &mut m.sha256);
    w.text("description", &mut m.description);
}

fn alert_offence<W: Walk>(w: &mut W, m: &mut v1::AlertOffence) {
    w.text("law", &mut m.law);
    w.text("provision", &mut m.provision);
    w.texts("convention_articles", &mut m.convention_articles);
}

fn evaluation<W: Walk>(w: &mut W, m: &mut v1::Evaluation) {
    w.text("source", &mut m.source);
    w.small("information", &mut m.information);
}

fn victims<W: Walk>(w: &mut W, m: &mut v1::Victims) {
    w.number("count", &mut m.count);
    w.texts("countries", &mut m.countries);
    w.texts("sectors", &mut m.sectors);
    w.group("loss", m, |w, m| {
        w.text("amount", &mut m.loss_amount);
        w.text("currency", &mut m.loss_currency);
    });
}

fn subject<W: Walk>(w: &mut W, m: &mut v1::Subject) {
    w.text("role", &mut m.role);
    w.text("type", &mut m.r#type);
    w.objects("identifiers", &mut m.identifiers, identifier);
    w.flag("personal_data", &mut m.personal_data);
    w.text("purpose", &mut m.purpose);
}

fn identifier<W: Walk>(w: &mut W, m: &mut v1::Identifier) {
    w.text("type", &mut m.r#type);
    w.text("value", &mut m.value);
}

pub(super) fn indicator<W: Walk>(w: &mut W, m: &mut v1::Indicator) {
    w.text("id", &mut m.id);
    w.text("type", &mut m.r#type);
    w.text("value", &mut m.value);
    w.text("role", &mut m.role);
    w.time("first_seen", &mut m.first_seen_ms);
    w.time("last_seen", &mut m.last_seen_ms);
    w.percent("confidence", &mut m.confidence_plus_one);
    w.answer("to_ids", &mut m.to_ids);
    w.text("pap", &mut m.pap);
}

fn attachment_ref<W: Walk>(w: &mut W, m: &mut v1::AttachmentRef) {
    w.digest("sha256", &mut m.sha256);
    w.number("size", &mut m.size);
}

fn detection<W: Walk>(w: &mut W, m: &mut v1::Detection) {
    w.text("lang", &mut m.lang);
    w.text("body", &mut m.body);
}

fn related<W: Walk>(w: &mut W, m: &mut v1::Related) {
    w.text("ref", &mut m.r#ref);
    w.text("relation", &mut m.relation);
}

fn change<W: Walk>(w: &mut W, m: &mut v1::AlertChange) {
    w.text("path", &mut m.path);
    w.text("op", &mut m.op);
    w.object("value", &mut m.value, indicator);
    w.text("reason", &mut m.reason);
}

pub(super) fn alert_cancel<W: Walk>(w: &mut W, m: &mut v1::AlertCancel) {
    w.name::<v1::CancelReason>("reason", &mut m.reason);
    w.texts("scope", &mut m.scope);
    w.text("note", &mut m.note);
    w.answer("delete_requested", &mut m.delete_requested);
}

pub(super) fn alert_feedback<W: Walk>(w: &mut W, m: &mut v1::AlertFeedback) {
    w.name::<v1::FeedbackOutcome>("outcome", &mut m.outcome);
    w.text("text", &mut m.text);
    w.texts("indicators", &mut m.indicators);
    w.time("seen_at", &mut m.seen_at_ms);
}

fn condition<W: Walk>(w: &mut W, m: &mut v1::Condition) {
    w.text("id", &mut m.id);
    w.text("text", &mut m.text);
}

pub(super) fn conditional_offer<W: Walk>(w: &mut W, m: &mut v1::ConditionalOffer) {
    w.text("offer_id", &mut m.offer_id);
    w.text("abstract", &mut m.r#abstract);
    w.objects("conditions", &mut m.conditions, condition);
    w.time("expires", &mut m.expires_ms);
}

pub(super) fn condition_reply<W: Walk>(w: &mut W, m: &mut v1::ConditionReply) {
    w.name::<v1::ConditionAnswer>("decision", &mut m.decision);
    w.texts("accepted_conditions", &mut m.accepted_conditions);
    w.objects("cannot_comply", &mut m.cannot_comply, |w, m| {
        w.text("id", &mut m.id);
        w.text("reason", &mut m.reason);
    });
}

fn dissemination<W: Walk>(w: &mut W, m: &mut v1::Dissemination) {
    w.name::<v1::Audience>("audience", &mut m.audience);
    w.answer("onward", &mut m.onward);
}

fn contact<W: Walk>(w: &mut W, m: &mut v1::Contact) {
    w.text("name", &mut m.name);
    contact_rest(w, m);
}

/// The form's section 5 calls the name "person in charge".
fn requesting_authority<W: Walk>(w: &mut W, m: &mut v1::Contact) {
    w.text("person", &mut m.name);
    contact_rest(w, m);
}

fn contact_rest<W: Walk>(w: &mut W, m: &mut v1::Contact) {
    w.text("organisation", &mut m.organisation);
    w.text("function", &mut m.function);
    w.text("address", &mut m.address);
    w.text("phone", &mut m.phone);
    w.text("email", &mut m.email);
    w.text("fax", &mut m.fax);
    w.text("office_hours", &mut m.office_hours);
    w.text("time_zone", &mut m.time_zone);
    w.text("reply_means", &mut m.reply_means);
}

fn judicial_authorisation<W: Walk>(w: &mut W, m: &mut v1::JudicialAuthorisation) {
    w.text("court", &mut m.court);
    w.text("number", &mut m.number);
    w.time("date", &mut m.date_ms);
    w.answer("required", &mut m.required);
}

fn offence<W: Walk>(w: &mut W, m: &mut v1::Offence) {
    w.text("title", &mut m.title);
    w.text("provision", &mut m.provision);
    w.text("max_penalty", &mut m.max_penalty);
    w.texts("convention_articles", &mut m.convention_articles);
}

fn item<W: Walk>(w: &mut W, m: &mut v1::PreservationItem) {
    w.text("item_id", &mut m.item_id);
    w.text("provider", &mut m.provider);
    w.object("identifier", &mut m.identifier, identifier);
    w.names::<v1::DataClass>("data_class", &mut m.data_class);
    w.text("description", &mut m.description);
    w.time("time_from", &mut m.time_from_ms);
    w.time("time_to", &mut m.time_to_ms);
    w.text("time_zone", &mut m.time_zone);
    w.small("source_port", &mut m.source_port);
    w.answer("behind_cgnat", &mut m.behind_cgnat);
    w.text("retention_risk", &mut m.retention_risk);
    w.text("relationship", &mut m.relationship);
}

pub(super) fn custodian<W: Walk>(w: &mut W, m: &mut v1::Custodian) {
    w.text("name", &mut m.name);
    w.text("address", &mut m.address);
    w.text("country", &mut m.country);
    w.text("le_portal_ref", &mut m.le_portal_ref);
    w.answer("is_hosting_reseller", &mut m.is_hosting_reseller);
}

fn system_location<W: Walk>(w: &mut W, m: &mut v1::SystemLocation) {
    w.text("ip", &mut m.ip);
    w.text("asn", &mut m.asn);
    w.text("hostname", &mut m.hostname);
    w.text("datacentre", &mut m.datacentre);
    w.text("cloud_region", &mut m.cloud_region);
}

fn necessity<W: Walk>(w: &mut W, m: &mut v1::Necessity) {
    w.name::<v1::NecessityCode>("code", &mut m.code);
    w.text("text", &mut m.text);
}

fn confidentiality<W: Walk>(w: &mut W, m: &mut v1::Confidentiality) {
    w.answer("keep_secret", &mut m.keep_secret);
    w.answer("do_not_notify_user", &mut m.do_not_notify_user);
    w.text("reason", &mut m.reason);
}

fn parallel_channel<W: Walk>(w: &mut W, m: &mut v1::ParallelChannel) {
    w.text("channel", &mut m.channel);
    w.text("reference", &mut m.reference);
    w.time("date", &mut m.date_ms);
}
