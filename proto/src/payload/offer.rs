//! Information that is offered under conditions before it is sent (Article 26(2)): kinds 5 and 6.

use crate::{timestamp::Timestamp, v1};

use super::{
    alert::unique,
    fault::{At, Collector},
    kinds::Whole,
    text::{Name, Text},
};

/// A condition on use, with an id that replies name.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Condition {
    pub id: Name,
    pub text: Text,
}

/// What there is, and under which conditions it would be sent.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct ConditionalOffer {
    pub offer_id: Name,
    pub r#abstract: Text,
    /// At least one.
    pub conditions: Vec<Condition>,
    pub expires: Timestamp,
}

/// Which of them can be kept.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct ConditionReply {
    pub decision: v1::ConditionAnswer,
    pub accepted_conditions: Vec<Name>,
    /// At least one unless all is accepted.
    pub cannot_comply: Vec<CannotComply>,
}

/// A condition that cannot be kept.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct CannotComply {
    pub id: Name,
    pub reason: Text,
}

pub(super) fn conditions(
    c: &mut Collector,
    at: At<'_>,
    list: &'static str,
    raw: &[v1::Condition],
) -> Vec<Condition> {
    unique(c, at, list, "id", raw.iter().map(|one| one.id.as_str()));
    c.list(at.field(list), raw, |c, at, one| Condition {
        id: c.name(at.field("id"), &one.id, "an id that a reply can name: `c1`"),
        text: c.prose(at.field("text"), &one.text, "the condition"),
    })
}

impl ConditionalOffer {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::ConditionalOffer,
        _: &Whole<'_>,
    ) -> Self {
        c.not_empty(at.field("conditions"), &raw.conditions, "a condition; without one send it");
        Self {
            offer_id: c.name(at.field("offer_id"), &raw.offer_id, "your own number of the offer"),
            r#abstract: c.prose(at.field("abstract"), &raw.r#abstract, "what there is"),
            conditions: conditions(c, at, "conditions", &raw.conditions),
            expires: c.time(at.field("expires"), raw.expires_ms, "until when the offer stands"),
        }
    }
}

impl ConditionReply {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::ConditionReply,
        _: &Whole<'_>,
    ) -> Self {
        let accepts = raw.decision == v1::ConditionAnswer::Accept as i32;
        let cannot = at.field("cannot_comply");
        match (accepts, raw.cannot_comply.is_empty()) {
            (true, false) => c.fault(cannot, "with ACCEPT: state COUNTER or leave it out"),
            (false, true) if raw.decision != 0 => {
                c.fault(cannot, "missing: state the conditions that you cannot keep, and why");
            }
            _ => {}
        }
        let both = |one: &v1::CannotComply| raw.accepted_conditions.contains(&one.id);
        if raw.cannot_comply.iter().any(both) {
            c.fault(at.field("accepted_conditions"), "has one of `cannot_comply`: decide on one");
        }
        unique(c, at, "cannot_comply", "id", raw.cannot_comply.iter().map(|one| one.id.as_str()));
        Self {
            decision: c.known(at.field("decision"), raw.decision),
            accepted_conditions: c.ids(at.field("accepted_conditions"), &raw.accepted_conditions),
            cannot_comply: c.list(cannot, &raw.cannot_comply, |c, at, one| CannotComply {
                id: c.name(at.field("id"), &one.id, "the condition's id"),
                reason: c.prose(at.field("reason"), &one.reason, "why it cannot be kept"),
            }),
        }
    }
}
