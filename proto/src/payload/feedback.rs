//! What follows an alert: changes, its cancelling, what recipients saw; kinds 2, 3 and 4.

use crate::{timestamp::Timestamp, v1};

use super::{
    fault::{At, Collector},
    indicator::{Indicator, indicator},
    kinds::Whole,
    text::{Name, Text},
};

/// A difference between two revisions of an alert.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct AlertChange {
    /// `indicators`, `indicators[i2]`, `summary`.
    pub path: Name,
    /// `add`, `replace` or `revoke`.
    pub op: Name,
    pub value: Option<Indicator>,
    pub reason: Option<Text>,
}

/// Takes back an alert or some of its indicators.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct AlertCancel {
    pub reason: v1::CancelReason,
    /// Ids of indicators; empty: the whole alert.
    pub scope: Vec<Name>,
    pub note: Option<Text>,
    pub delete_requested: bool,
}

/// What a recipient of an alert saw or did.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct AlertFeedback {
    pub outcome: v1::FeedbackOutcome,
    pub text: Text,
    /// Ids; empty: the whole alert.
    pub indicators: Vec<Name>,
    pub seen_at: Option<Timestamp>,
}

/// A change of an alert's update. The indicator in it is checked as the alert's own are.
pub(super) fn change(
    c: &mut Collector,
    at: At<'_>,
    raw: &v1::AlertChange,
    alert: &v1::Alert,
) -> AlertChange {
    if !["add", "replace", "revoke"].contains(&raw.op.as_str()) {
        c.fault(at.field("op"), "expected `add`, `replace` or `revoke`");
    }
    if raw.op == "revoke" && raw.value.is_some() {
        c.fault(at.field("value"), "with `revoke`: leave it out");
    }
    AlertChange {
        path: c.name(at.field("path"), &raw.path, "which field: `indicators[i2]`"),
        op: c.optional_name(at.field("op"), &raw.op).unwrap_or_default(),
        value: raw.value.as_ref().map(|value| indicator(c, at.field("value"), value, alert)),
        reason: c.optional_line(at.field("reason"), &raw.reason),
    }
}

impl AlertCancel {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::AlertCancel,
        _: &Whole<'_>,
    ) -> Self {
        Self {
            reason: c.known(at.field("reason"), raw.reason),
            scope: c.ids(at.field("scope"), &raw.scope),
            note: c.optional_prose(at.field("note"), &raw.note),
            delete_requested: c.answer(at.field("delete_requested"), raw.delete_requested),
        }
    }
}

impl AlertFeedback {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::AlertFeedback,
        _: &Whole<'_>,
    ) -> Self {
        Self {
            outcome: c.known(at.field("outcome"), raw.outcome),
            text: c.prose(at.field("text"), &raw.text, "what was seen or done"),
            indicators: c.ids(at.field("indicators"), &raw.indicators),
            seen_at: c.optional_time(at.field("seen_at"), raw.seen_at_ms),
        }
    }
}
