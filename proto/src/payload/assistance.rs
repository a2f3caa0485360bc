//! Advice, legal information, people who are looked for (Article 35(1)); the use of what was sent
//! (Article 28); drills (Article 35(2)): kinds 27 to 30 and 33.

use crate::{
    ids::{MessageId, UnitId},
    timestamp::Timestamp,
    v1,
};

use super::{
    common::unit,
    fault::{At, Collector},
    kinds::Whole,
    text::{Name, Text},
};

/// Asks for immediate assistance.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct AssistanceRequest {
    pub subject: Text,
    pub purpose: Text,
    pub facts: Text,
    /// At least one.
    pub wanted: Vec<v1::AssistanceWanted>,
    pub respond_by: Option<Timestamp>,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct AssistanceReply {
    pub outcome: v1::AssistanceOutcome,
    pub text: Text,
}

/// Asks for a use that markings forbid, or decides about one.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct HandlingRelease {
    /// The message that is marked.
    pub object: Option<MessageId>,
    pub wanted_use: v1::WantedUse,
    pub text: Text,
    /// At least one with DISSEMINATION.
    pub recipients: Vec<UnitId>,
    /// None: it asks.
    pub decision: Option<v1::ReleaseDecision>,
}

/// What was done with a message.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct HandlingReport {
    /// That message.
    pub object: Option<MessageId>,
    pub done: v1::HandlingDone,
    pub statement: Text,
    pub at: Option<Timestamp>,
}

/// A drill of reachability, or the answer to one.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct ContactCheck {
    /// Whether a human has to answer.
    pub is_human: bool,
    /// Hexadecimal.
    pub nonce: Name,
    /// Always there where it asks.
    pub respond_by: Option<Timestamp>,
    pub scenario: Option<Text>,
    pub answer: Option<ContactAnswer>,
}

/// Who answered a drill.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct ContactAnswer {
    pub desk: Text,
    pub person: Option<Text>,
    pub at: Timestamp,
}

impl AssistanceRequest {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::AssistanceRequest,
        _: &Whole<'_>,
    ) -> Self {
        let wanted = at.field("wanted");
        c.not_empty(wanted, &raw.wanted, "what kind of assistance");
        Self {
            subject: c.line(at.field("subject"), &raw.subject, "what it is about"),
            purpose: c.prose(at.field("purpose"), &raw.purpose, "what it is for"),
            facts: c.prose(at.field("facts"), &raw.facts, "a brief summary of the facts"),
            wanted: c.knowns(wanted, &raw.wanted),
            respond_by: c.optional_time(at.field("respond_by"), raw.respond_by_ms),
        }
    }
}

impl AssistanceReply {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::AssistanceReply,
        _: &Whole<'_>,
    ) -> Self {
        Self {
            outcome: c.known(at.field("outcome"), raw.outcome),
            text: c.prose(at.field("text"), &raw.text, "the answer, or why there is none"),
        }
    }
}

impl HandlingRelease {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::HandlingRelease,
        whole: &Whole<'_>,
    ) -> Self {
        let wanted_use = c.known(at.field("wanted_use"), raw.wanted_use);
        let decision = c.optional_known(at.field("decision"), raw.decision);
        if decision.is_some() && whole.payload.in_reply_to.is_empty() {
            let text = "missing: a decision answers a request, state its id";
            c.fault(At::root("env").field("in_reply_to"), text);
        }
        if wanted_use == v1::WantedUse::Dissemination {
            c.not_empty(at.field("recipients"), &raw.recipients, "who would get it");
        }
        let units: Vec<Option<UnitId>> =
            c.list(at.field("recipients"), &raw.recipients, |c, at, text| unit(c, at, text));
        Self {
            object: object(c, at, &raw.object),
            wanted_use,
            text: c.prose(at.field("text"), &raw.text, "what for, or why it is decided so"),
            recipients: units.into_iter().flatten().collect(),
            decision,
        }
    }
}

impl HandlingReport {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::HandlingReport,
        _: &Whole<'_>,
    ) -> Self {
        Self {
            object: object(c, at, &raw.object),
            done: c.known(at.field("done"), raw.done),
            statement: c.prose(at.field("statement"), &raw.statement, "what was done"),
            at: c.optional_time(at.field("at"), raw.at_ms),
        }
    }
}

fn object(c: &mut Collector, at: At<'_>, raw: &bytes::Bytes) -> Option<MessageId> {
    if raw.is_empty() {
        c.fault(at.field("object"), "missing: state the id of the message that it is about");
    }
    c.optional_message_id(at.field("object"), raw)
}

impl ContactCheck {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::ContactCheck,
        whole: &Whole<'_>,
    ) -> Self {
        if !["auto", "human"].contains(&raw.mode.as_str()) {
            c.fault(at.field("mode"), "expected `auto` or `human`");
        }
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if !(NONCE_DIGITS_MIN..=NONCE_DIGITS_MAX).contains(&raw.nonce.len())
            || !raw.nonce.bytes().all(is_hex)
        {
            c.fault(at.field("nonce"), "not 8 to 64 hexadecimal digits in lower case");
        }
        let asks = raw.answer.is_none();
        if !asks && whole.payload.in_reply_to.is_empty() {
            let text = "missing: an answer names the check, state its id";
            c.fault(At::root("env").field("in_reply_to"), text);
        }
        let by = at.field("respond_by");
        Self {
            is_human: raw.mode == "human",
            nonce: c.optional_name(at.field("nonce"), &raw.nonce).unwrap_or_default(),
            respond_by: match asks {
                true => Some(c.time(by, raw.respond_by_ms, "by when it is to be answered")),
                false => c.optional_time(by, raw.respond_by_ms),
            },
            scenario: c.optional_line(at.field("scenario"), &raw.scenario),
            answer: raw.answer.as_ref().map(|answer| {
                let at = at.field("answer");
                ContactAnswer {
                    desk: c.line(at.field("desk"), &answer.desk, "which desk answers"),
                    person: c.optional_line(at.field("person"), &answer.person),
                    at: c.time(at.field("at"), answer.at_ms, "when it was seen"),
                }
            }),
        }
    }
}

const NONCE_DIGITS_MIN: usize = 8;
const NONCE_DIGITS_MAX: usize = 64;
