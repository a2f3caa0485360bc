//! The requested side's decision and what was preserved: kinds 13 and 14.

use std::time::Duration;

use crate::{reason::Reason, timestamp::Timestamp, v1};

use super::{
    alert::unique,
    desk::reference,
    fault::{At, Collector},
    kinds::Whole,
    names::Named as _,
    text::{Name, Text},
};

/// Accepts or refuses, item by item (Articles 29(3) to (5), 27(7)).
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct PreservationDecision {
    pub q_reference: Option<Text>,
    /// Of the request that it decides.
    pub revision: u32,
    /// At least one, unless it says whether a decision carries over.
    pub items: Vec<DecidedItem>,
    /// Always there where an item is refused.
    pub reasons: Option<Text>,
    pub alternatives: Option<Text>,
    pub carry: Option<v1::Carry>,
    pub signers: Vec<Text>,
}

/// What was decided about an item.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct DecidedItem {
    pub item_id: Name,
    pub decision: v1::ItemDecision,
    /// Always there with REFUSED, and only there.
    pub ground: Option<v1::RefusalGround>,
    pub article: Option<Name>,
}

/// What is preserved, since when and until when (Article 29(7)).
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct PreservationConfirmation {
    pub q_reference: Text,
    /// At least one.
    pub items: Vec<ConfirmedItem>,
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct ConfirmedItem {
    pub item_id: Name,
    pub status: v1::FoundStatus,
    /// From and until; always there with PRESERVED and PARTIAL, and only there.
    pub preserved: Option<(Timestamp, Timestamp)>,
    pub custodian: Option<Text>,
    pub scope_note: Option<Text>,
    pub note: Option<Text>,
}

impl PreservationDecision {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::PreservationDecision,
        _: &Whole<'_>,
    ) -> Self {
        let is = |decision: v1::ItemDecision| decision as i32;
        let refuses = |item: &v1::DecidedItem| item.decision == is(v1::ItemDecision::Refused);
        let carry = c.optional_known(at.field("carry"), raw.carry);
        match (raw.carry, raw.items.is_empty()) {
            (0, true) => c.fault(at.field("items"), "missing: state the items that are decided"),
            (0, false) | (_, true) => {}
            (_, false) => c.fault(at.field("carry"), "beside items: decide them, or carry over"),
        }
        if raw.revision == 0 {
            let text = "missing: state the revision of the request that is decided";
            c.fault(at.field("revision"), text);
        }
        unique(c, at, "items", "item_id", raw.items.iter().map(|item| item.item_id.as_str()));
        c.has_too_many_items(at.field("items"), &raw.items);
        let reasons = at.article("27(7)");
        Self {
            q_reference: c.optional_line(at.field("q_reference"), &raw.q_reference),
            revision: raw.revision,
            items: c.list(at.field("items"), &raw.items, decided),
            reasons: match raw.items.iter().any(refuses) {
                true => Some(c.prose(reasons.field("reasons"), &raw.reasons, "why it is refused")),
                false => c.optional_prose(at.field("reasons"), &raw.reasons),
            },
            alternatives: c.optional_prose(at.field("alternatives"), &raw.alternatives),
            carry,
            signers: signers(c, at.field("signers"), &raw.signers),
        }
    }
}

/// Two officers are two persons.
fn signers(c: &mut Collector, at: At<'_>, raw: &[String]) -> Vec<Text> {
    for (i, name) in raw.iter().enumerate().take(SIGNERS_MAX) {
        let same = |before: &String| before.trim().eq_ignore_ascii_case(name.trim());
        if raw.iter().take(i).any(same) {
            c.fault(at.index(i), "stated twice: name another officer");
        }
    }
    if raw.len() > SIGNERS_MAX {
        c.fault(at, format!("over {SIGNERS_MAX}: name those who decide"));
        return Vec::new();
    }
    c.list(at, raw, |c, at, name| c.line(at, name, "the officer's name"))
}

fn decided(c: &mut Collector, at: At<'_>, raw: &v1::DecidedItem) -> DecidedItem {
    let refused = raw.decision == v1::ItemDecision::Refused as i32;
    let place = at.field("ground").article("29(4) and (5)");
    let ground = match (refused, raw.ground) {
        (true, _) => Some(c.known(place, raw.ground)),
        (false, 0) => None,
        (false, _) => {
            c.fault(place, "belongs to REFUSED: leave it out");
            None
        }
    };
    DecidedItem {
        item_id: item_id(c, at, &raw.item_id),
        decision: c.known(at.field("decision"), raw.decision),
        ground,
        article: c.optional_name(at.field("article"), &raw.article),
    }
}

impl PreservationConfirmation {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::PreservationConfirmation,
        whole: &Whole<'_>,
    ) -> Self {
        let list = at.field("items");
        let days = whole.context.minimum_preservation_days;
        c.not_empty(list, &raw.items, "what became of the items");
        unique(c, at, "items", "item_id", raw.items.iter().map(|item| item.item_id.as_str()));
        c.has_too_many_items(at.field("items"), &raw.items);
        Self {
            q_reference: reference(c, at, &raw.q_reference),
            items: c.list(list, &raw.items, |c, at, item| confirmed(c, at, item, days)),
        }
    }
}

fn confirmed(c: &mut Collector, at: At<'_>, raw: &v1::ConfirmedItem, days: u32) -> ConfirmedItem {
    use v1::FoundStatus as S;
    let status: S = c.known(at.field("status"), raw.status);
    let (from, until) = (raw.preserved_from_ms, raw.preserved_until_ms);
    let preserved = match status {
        S::Preserved | S::Partial => {
            let place = at.field("preserved_until").article("29(7)");
            let since = c.time(at.field("preserved_from"), from, "since when it is preserved");
            let end = c.time(place, until, "until when it is preserved");
            let least = since.after(Duration::from_secs(u64::from(days) * DAY_SECONDS));
            if from != 0 && until != 0 && end < least {
                let text = format!("less than {days} days after preserved_from");
                c.labelled(place, Reason::PeriodTooShort, text);
            }
            Some((since, end))
        }
        _ => {
            if (from, until) != (0, 0) {
                let text = format!("with {}: nothing is preserved, leave it out", status.name());
                c.fault(at.field("preserved_until"), text);
            }
            None
        }
    };
    ConfirmedItem {
        item_id: item_id(c, at, &raw.item_id),
        status,
        preserved,
        custodian: c.optional_line(at.field("custodian"), &raw.custodian),
        scope_note: c.optional_prose(at.field("scope_note"), &raw.scope_note),
        note: c.optional_prose(at.field("note"), &raw.note),
    }
}

fn item_id(c: &mut Collector, at: At<'_>, raw: &str) -> Name {
    c.item_id(at.field("item_id"), raw)
}

const DAY_SECONDS: u64 = 24 * 3600;

/// Officers who sign a decision.
const SIGNERS_MAX: usize = 8;
