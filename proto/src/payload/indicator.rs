//! The parts of an alert that name things: victims in numbers, subjects, indicators.

use crate::{timestamp::Timestamp, v1};

use super::{
    alert::optional_confidence,
    fault::{At, Collector},
    names::Named as _,
    text::{Country, Name, Text},
    value::{Identifier, IdentifierType},
};

/// How many and where; never who.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Victims {
    pub count: u64,
    pub countries: Vec<Country>,
    pub sectors: Vec<Name>,
    /// Amount (`486200.00`) and ISO 4217 currency.
    pub loss: Option<(Name, Name)>,
}

/// A person or organisation that the alert is about.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Subject {
    pub role: Name,
    /// Else a person.
    pub is_organisation: bool,
    pub identifiers: Vec<Identifier>,
    pub personal_data: bool,
    pub purpose: Option<Text>,
}

/// A technical trace.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Indicator {
    /// Unique in its alert.
    pub id: Name,
    pub identifier: Identifier,
    pub role: Option<Name>,
    pub first_seen: Option<Timestamp>,
    pub last_seen: Option<Timestamp>,
    pub confidence: Option<u8>,
    pub to_ids: Option<bool>,
    /// None: that of the message.
    pub pap: Option<v1::Pap>,
}

pub(super) fn victims(c: &mut Collector, at: At<'_>, raw: &v1::Victims) -> Victims {
    let place = at.field("loss");
    let amount = c.optional_name(place.field("amount"), &raw.loss_amount);
    let currency = c.optional_name(place.field("currency"), &raw.loss_currency);
    let (whole, cents) = raw.loss_amount.split_once('.').unwrap_or((&raw.loss_amount, "0"));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if amount.is_some() && !(digits(whole) && digits(cents)) {
        c.fault(place.field("amount"), "not an amount: write `486200.00`");
    }
    let code =
        raw.loss_currency.len() == 3 && raw.loss_currency.bytes().all(|b| b.is_ascii_uppercase());
    if (currency.is_some() && !code) || amount.is_some() != currency.is_some() {
        c.fault(place.field("currency"), "state amount and currency, as `486200.00` and `EUR`");
    }
    Victims {
        count: raw.count,
        countries: c.countries(at.field("countries"), &raw.countries),
        sectors: c.list(at.field("sectors"), &raw.sectors, |c, at, s| c.name(at, s, "a sector")),
        loss: amount.zip(currency),
    }
}

pub(super) fn subject(
    c: &mut Collector,
    at: At<'_>,
    raw: &v1::Subject,
    europol: &[i32],
) -> Subject {
    if !["person", "org"].contains(&raw.r#type.as_str()) {
        c.fault(at.field("type"), "expected `person` or `org`");
    }
    let purpose = c.optional_prose(at.field("purpose"), &raw.purpose);
    // Data on persons: only for a stated purpose and never freely usable.
    if raw.personal_data && purpose.is_none() {
        c.fault(at.field("purpose"), "missing: state what the personal data may be used for");
    }
    let open = v1::EuropolCode::H0 as i32;
    if raw.personal_data && !europol.iter().any(|code| *code > open) {
        c.fault(at.field("personal_data"), "needs handling code H1, H2 or H3: add one");
    }
    Subject {
        role: c.name(at.field("role"), &raw.role, "the subject's role"),
        is_organisation: raw.r#type == "org",
        identifiers: c.list(at.field("identifiers"), &raw.identifiers, identifier),
        personal_data: raw.personal_data,
        purpose,
    }
}

/// A type and a value of that type.
pub(super) fn identifier(c: &mut Collector, at: At<'_>, raw: &v1::Identifier) -> Identifier {
    typed(c, at, &raw.r#type, &raw.value)
}

fn typed(c: &mut Collector, at: At<'_>, r#type: &str, value: &str) -> Identifier {
    let known = c.text(at.field("type"), r#type, "the type: ipv4, domain, …", |text| {
        IdentifierType::parse(text).map(Some)
    });
    let value_type = known.unwrap_or(IdentifierType::Other);
    c.text(at.field("value"), value, "the value", |text| Identifier::parse(value_type, text))
}

pub(super) fn indicator(
    c: &mut Collector,
    at: At<'_>,
    raw: &v1::Indicator,
    alert: &v1::Alert,
) -> Indicator {
    c.ordered(at.field("last_seen"), raw.first_seen_ms, raw.last_seen_ms, "first_seen");
    // Seen outside the time of the alert: one of the two is a slip.
    for (name, seen) in [("first_seen", raw.first_seen_ms), ("last_seen", raw.last_seen_ms)] {
        let early = seen != 0 && seen < alert.observed_from_ms;
        // A reversed range has a fault of its own.
        let until = alert.observed_until_ms;
        let late = until != 0 && until >= alert.observed_from_ms && seen > until;
        if early || late {
            c.fault(at.field(name), "outside the alert's observed_from to observed_until");
        }
    }
    let pap = v1::Pap::by_name(&raw.pap);
    if pap.is_none() && !raw.pap.is_empty() {
        c.fault(at.field("pap"), format!("expected one of {}", v1::Pap::names()));
    }
    Indicator {
        id: c.name(at.field("id"), &raw.id, "an id that is unique in the alert, as `i1`"),
        identifier: typed(c, at, &raw.r#type, &raw.value),
        role: c.optional_name(at.field("role"), &raw.role),
        first_seen: c.optional_time(at.field("first_seen"), raw.first_seen_ms),
        last_seen: c.optional_time(at.field("last_seen"), raw.last_seen_ms),
        confidence: optional_confidence(c, at.field("confidence"), raw.confidence_plus_one),
        to_ids: c.optional_answer(at.field("to_ids"), raw.to_ids),
        pap,
    }
}
