//! Longer preservation and the request for mutual assistance: kinds 17 to 20.

use crate::{timestamp::Timestamp, v1};

use super::{
    fault::{At, Collector},
    kinds::Whole,
    text::{Date, Name, Text},
};

/// Asks for a later end.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct ExtensionRequest {
    pub previous_reference: Option<Text>,
    /// Empty: all that are preserved.
    pub items: Vec<Name>,
    pub requested_until: Timestamp,
    pub reason: Text,
    pub mla_status: v1::MlaStatus,
}

/// Grants or refuses it.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct ExtensionDecision {
    /// Empty: all that are preserved.
    pub items: Vec<Name>,
    /// The new end; none: refused.
    pub preserved_until: Option<Timestamp>,
    /// Always there with a refusal.
    pub remark: Option<Text>,
}

/// The request for mutual assistance is on its way.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct MlaNotice {
    pub mla_reference: Text,
    pub status: v1::MlaStatus,
    pub channel: Text,
    pub central_authority: Text,
    pub date: Date,
}

/// It arrived, or it was decided (Article 29(7)).
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct MlaReceived {
    pub q_mla_reference: Text,
    pub received_on: Date,
    /// Empty: all that are preserved.
    pub items: Vec<Name>,
    pub effect: Option<v1::MlaEffect>,
    pub central_authority: Option<Text>,
    /// None: not decided.
    pub outcome: Option<v1::MlaOutcome>,
}

impl ExtensionRequest {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::ExtensionRequest,
        _: &Whole<'_>,
    ) -> Self {
        let what = "until when the data are needed";
        Self {
            previous_reference: c
                .optional_line(at.field("previous_reference"), &raw.previous_reference),
            items: c.item_ids(at.field("items"), &raw.items),
            requested_until: c.time(at.field("requested_until"), raw.requested_until_ms, what),
            reason: c.prose(at.field("reason"), &raw.reason, "why it takes longer"),
            mla_status: c.known(at.field("mla_status"), raw.mla_status),
        }
    }
}

impl ExtensionDecision {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::ExtensionDecision,
        _: &Whole<'_>,
    ) -> Self {
        let granted = c.answer(at.field("granted"), raw.granted);
        let until = at.field("preserved_until");
        let preserved_until = match granted {
            true => Some(c.time(until, raw.preserved_until_ms, "the new end")),
            false => {
                if raw.granted != 0 && raw.preserved_until_ms != 0 {
                    c.fault(until, "without a grant the end stays: leave it out");
                }
                None
            }
        };
        Self {
            items: c.item_ids(at.field("items"), &raw.items),
            preserved_until,
            remark: match granted || raw.granted == 0 {
                true => c.optional_prose(at.field("remark"), &raw.remark),
                false => Some(c.prose(at.field("remark"), &raw.remark, "why it is refused")),
            },
        }
    }
}

impl MlaNotice {
    pub(super) fn parse(c: &mut Collector, at: At<'_>, raw: &v1::MlaNotice, _: &Whole<'_>) -> Self {
        let authority = "the authority that it goes to";
        Self {
            mla_reference: c.line(at.field("mla_reference"), &raw.mla_reference, "its number"),
            status: c.known(at.field("status"), raw.status),
            channel: c.line(at.field("channel"), &raw.channel, "the way that it takes"),
            central_authority: c.line(
                at.field("central_authority"),
                &raw.central_authority,
                authority,
            ),
            date: c.date(at.field("date"), &raw.date, "the day that it was or will be sent"),
        }
    }
}

impl MlaReceived {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::MlaReceived,
        _: &Whole<'_>,
    ) -> Self {
        let at = at.article("29(7)");
        let number = "the central authority's number of it";
        Self {
            q_mla_reference: c.line(at.field("q_mla_reference"), &raw.q_mla_reference, number),
            received_on: c.date(at.field("received_on"), &raw.received_on, "the day it came"),
            items: c.item_ids(at.field("items"), &raw.items),
            effect: c.optional_known(at.field("effect"), raw.effect),
            central_authority: c
                .optional_line(at.field("central_authority"), &raw.central_authority),
            outcome: c.optional_known(at.field("outcome"), raw.outcome),
        }
    }
}
