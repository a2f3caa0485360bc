//! How a case ends, and what may happen before: kinds 21 to 24.

use crate::{ids::UnitId, timestamp::Timestamp, v1};

use super::{
    common::unit,
    fault::{At, Collector},
    kinds::Whole,
    text::{Name, Text},
};

/// The requesting side needs it no more.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Withdrawal {
    /// Empty: all.
    pub items: Vec<Name>,
    pub reason: v1::WithdrawalReason,
    pub note: Option<Text>,
}

/// The requested side's node says that the time ends.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct ExpiryWarning {
    pub q_reference: Option<Text>,
    pub preserved_until: Timestamp,
    /// Whole days of 24 hours, rounded down.
    pub days_left: u32,
    /// Whether a request for mutual assistance arrived.
    pub mla_seen: bool,
}

/// The end; the custodian is told.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Closure {
    pub final_state: v1::FinalState,
    pub at: Timestamp,
    /// Whom to ask instead, with NOT_COMPETENT.
    pub hint: Option<UnitId>,
    pub note: Option<Text>,
}

/// Something happened to the data or to their secrecy.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct IncidentNotice {
    pub what: v1::IncidentType,
    pub at: Timestamp,
    /// Empty: all.
    pub items: Vec<Name>,
    pub text: Text,
}

impl Withdrawal {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::Withdrawal,
        _: &Whole<'_>,
    ) -> Self {
        Self {
            items: c.item_ids(at.field("items"), &raw.items),
            reason: c.known(at.field("reason"), raw.reason),
            note: c.optional_prose(at.field("note"), &raw.note),
        }
    }
}

impl ExpiryWarning {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::ExpiryWarning,
        _: &Whole<'_>,
    ) -> Self {
        let until = at.field("preserved_until");
        Self {
            q_reference: c.optional_line(at.field("q_reference"), &raw.q_reference),
            preserved_until: c.time(until, raw.preserved_until_ms, "the end that is near"),
            days_left: raw.days_left,
            mla_seen: c.answer(at.field("mla_seen"), raw.mla_seen),
        }
    }
}

impl Closure {
    pub(super) fn parse(c: &mut Collector, at: At<'_>, raw: &v1::Closure, _: &Whole<'_>) -> Self {
        let elsewhere = raw.final_state == v1::FinalState::NotCompetent as i32;
        let hint = match raw.hint.is_empty() {
            true => None,
            false => unit(c, at.field("hint"), &raw.hint),
        };
        if hint.is_some() && !elsewhere {
            c.fault(at.field("hint"), "belongs to NOT_COMPETENT: leave it out");
        }
        let note = match elsewhere && raw.hint.is_empty() {
            true => Some(c.prose(at.field("note"), &raw.note, "a hint, or here who is competent")),
            false => c.optional_prose(at.field("note"), &raw.note),
        };
        Self {
            final_state: c.known(at.field("final_state"), raw.final_state),
            at: c.time(at.field("at"), raw.at_ms, "when the case ended"),
            hint,
            note,
        }
    }
}

impl IncidentNotice {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::IncidentNotice,
        _: &Whole<'_>,
    ) -> Self {
        Self {
            what: c.known(at.field("what"), raw.what),
            at: c.time(at.field("at"), raw.at_ms, "when it happened"),
            items: c.item_ids(at.field("items"), &raw.items),
            text: c.prose(at.field("text"), &raw.text, "what happened"),
        }
    }
}
