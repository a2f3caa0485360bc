//! What two desks say about a request before it is decided: kinds 8 to 12.

use crate::{timestamp::Timestamp, v1};

use super::{
    fault::{At, Collector},
    kinds::Whole,
    preservation::PreservationRequest,
    text::{Name, Text},
};

/// A human desk has the request.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct RequestAck {
    pub q_reference: Text,
    pub desk: Text,
    pub next_update_by: Timestamp,
    /// Another desk of the same country has it now.
    pub rerouted: bool,
}

/// Asks for what is missing or unclear.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct InfoRequired {
    /// At least one.
    pub questions: Vec<Question>,
    pub due: Timestamp,
}

/// A question about a field of the request, or the answer to it.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Question {
    /// In the names of message files: `items[2].description`.
    pub field: Name,
    pub text: Text,
}

/// Answers, as a new revision of the request.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct InfoReply {
    /// From 2.
    pub revision: u32,
    /// At least one.
    pub answers: Vec<Question>,
    /// The request as it is now, where the answers change it; of the same revision.
    pub request: Option<PreservationRequest>,
}

/// Preservation may fail or leak (Article 29(6)).
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct RiskNotice {
    pub r#type: v1::RiskType,
    /// Empty: all.
    pub affected_items: Vec<Name>,
    pub explanation: Text,
}

/// The requesting side's answer to a warning (Article 29(6)).
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct RiskDecision {
    pub value: v1::RiskAnswer,
    /// Always there with CHANGE, and only there; from 2.
    pub new_revision: Option<u32>,
    pub drop_items: Vec<Name>,
    pub proceed_items: Vec<Name>,
    pub signer: Option<Text>,
}

impl RequestAck {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::RequestAck,
        _: &Whole<'_>,
    ) -> Self {
        Self {
            q_reference: reference(c, at, &raw.q_reference),
            desk: c.line(at.field("desk"), &raw.desk, "the desk and who is there"),
            next_update_by: c.time(
                at.field("next_update_by"),
                raw.next_update_by_ms,
                "by when you will say more",
            ),
            rerouted: raw.rerouted,
        }
    }
}

impl InfoRequired {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::InfoRequired,
        _: &Whole<'_>,
    ) -> Self {
        Self {
            questions: questions(c, at.field("questions"), &raw.questions, "a question"),
            due: c.time(at.field("due"), raw.due_ms, "by when the answers are needed"),
        }
    }
}

impl InfoReply {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::InfoReply,
        whole: &Whole<'_>,
    ) -> Self {
        let newer = at.field("request");
        let request = raw.request.as_ref().map(|request| {
            if request.revision != raw.revision {
                c.fault(newer.field("revision"), "not that of the answer: state the same");
            }
            PreservationRequest::parse(c, newer, request, whole)
        });
        Self {
            revision: newer_revision(c, at.field("revision"), raw.revision),
            answers: questions(c, at.field("answers"), &raw.answers, "an answer"),
            request,
        }
    }
}

impl RiskNotice {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::RiskNotice,
        _: &Whole<'_>,
    ) -> Self {
        let at = at.article("29(6)");
        Self {
            r#type: c.known(at.field("type"), raw.r#type),
            affected_items: c.item_ids(at.field("affected_items"), &raw.affected_items),
            explanation: c.prose(at.field("explanation"), &raw.explanation, "what may happen"),
        }
    }
}

impl RiskDecision {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::RiskDecision,
        _: &Whole<'_>,
    ) -> Self {
        let at = at.article("29(6)");
        let changes = raw.value == v1::RiskAnswer::Change as i32;
        let new_revision = match (changes, raw.new_revision) {
            (false, 0) => None,
            (false, _) => {
                c.fault(at.field("new_revision"), "belongs to CHANGE: leave it out");
                None
            }
            (true, number) => Some(newer_revision(c, at.field("new_revision"), number)),
        };
        if !changes && !raw.drop_items.is_empty() {
            c.fault(at.field("drop_items"), "belongs to CHANGE: leave it out");
        }
        if raw.drop_items.iter().any(|id| raw.proceed_items.contains(id)) {
            c.fault(at.field("proceed_items"), "has one of `drop_items`: decide on one");
        }
        Self {
            value: c.known(at.field("value"), raw.value),
            new_revision,
            drop_items: c.item_ids(at.field("drop_items"), &raw.drop_items),
            proceed_items: c.item_ids(at.field("proceed_items"), &raw.proceed_items),
            signer: c.optional_line(at.field("signer"), &raw.signer),
        }
    }
}

/// The requested side's own number.
pub(super) fn reference(c: &mut Collector, at: At<'_>, raw: &str) -> Text {
    c.line(at.field("q_reference"), raw, "your own reference of the request")
}

fn questions(c: &mut Collector, at: At<'_>, raw: &[v1::Question], what: &str) -> Vec<Question> {
    c.not_empty(at, raw, what);
    c.list(at, raw, |c, at, one| {
        if !one.field.is_empty() && !is_field(&one.field) {
            let hint = "no field of a request: write `items[2].description` or `custodian`";
            c.fault(at.field("field"), hint);
        }
        Question {
            field: c.name(at.field("field"), &one.field, "which field of the request"),
            text: c.prose(at.field("text"), &one.text, what),
        }
    })
}

/// Whether a text names a field of a request file.
fn is_field(text: &str) -> bool {
    let part = |part: &str| {
        let (name, index) = part.split_once('[').unwrap_or((part, "0]"));
        let number = index.strip_suffix(']').unwrap_or_default();
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        is_number && !name.is_empty() && name.bytes().all(is_word)
    };
    let head = text.split(['.', '[']).next().unwrap_or_default();
    REQUEST_FIELDS.contains(&head) && text.split('.').all(part)
}

fn newer_revision(c: &mut Collector, at: At<'_>, revision: u32) -> u32 {
    if revision < 2 {
        c.fault(at, "missing or 1: state the number after the last revision");
    }
    revision
}

/// The fields of a request, as message files name them.
const REQUEST_FIELDS: [&str; 26] = [
    "status_of_request",
    "previous_reference",
    "requested_authority",
    "requesting_authority",
    "confirmation_contact",
    "investigating_authority",
    "judicial_authorisation",
    "proceeding_stage",
    "offences",
    "facts",
    "items",
    "custodian",
    "system_location",
    "necessity",
    "loss_expected_at",
    "mla_intent",
    "mla_measures",
    "mla_intended_by",
    "traffic_data_art30",
    "confidentiality",
    "may_close_account",
    "dual_criminality_note",
    "requested_period_days",
    "reply_language",
    "parallel_channels",
    "attachments",
];
