//! Traffic data that lead to another State's provider, or why they are withheld (Article 30): kinds
//! 15 and 16.

use crate::{limits, timestamp::Timestamp, v1};

use super::{
    fault::{At, Collector},
    kinds::Whole,
    text::{Country, Name, Text},
    value::{is_address, is_asn},
};

/// Enough to identify the other provider and the path (Article 30(1)).
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct TrafficDisclosure {
    /// Where the other provider is.
    pub country: Country,
    pub provider: DisclosedProvider,
    /// Addresses, in order.
    pub path: Vec<Name>,
    pub data: Vec<TrafficRecord>,
}

/// A provider that took part.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)]
pub struct DisclosedProvider {
    pub name: Text,
    pub asn: Option<Name>,
    pub address: Option<Text>,
}

/// A connection.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct TrafficRecord {
    pub src: Name,
    pub dst: Option<Name>,
    pub port: Option<u16>,
    pub first: Timestamp,
    pub last: Option<Timestamp>,
}

/// Why no traffic data are disclosed (Article 30(2)).
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct DisclosureWithheld {
    /// One of the two of Article 29(5).
    pub ground: v1::RefusalGround,
    pub reasons: Text,
}

impl TrafficDisclosure {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::TrafficDisclosure,
        _: &Whole<'_>,
    ) -> Self {
        let at = at.article("30(1)");
        let provider = at.field("provider");
        if raw.provider.is_none() {
            c.fault(provider, "missing: state the provider that took part");
        }
        Self {
            country: c.text(
                at.field("country"),
                &raw.country,
                "the other provider's country",
                Country::parse,
            ),
            provider: raw
                .provider
                .as_ref()
                .map(|one| DisclosedProvider {
                    name: c.line(provider.field("name"), &one.name, "the provider's name"),
                    asn: shaped(c, provider.field("asn"), &one.asn, is_asn, ASN_HINT),
                    address: c.optional_prose(provider.field("address"), &one.address),
                })
                .unwrap_or_default(),
            path: c.list(at.field("path"), &raw.path, |c, at, text| {
                shaped(c, at, text, is_address, ADDRESS_HINT).unwrap_or_default()
            }),
            data: c.list(at.field("data"), &raw.data, record),
        }
    }
}

fn record(c: &mut Collector, at: At<'_>, raw: &v1::TrafficRecord) -> TrafficRecord {
    if raw.src.is_empty() {
        c.fault(at.field("src"), "missing: state the source address");
    }
    c.ordered(at.field("last"), raw.first_ms, raw.last_ms, "first");
    TrafficRecord {
        src: shaped(c, at.field("src"), &raw.src, is_address, ADDRESS_HINT).unwrap_or_default(),
        dst: shaped(c, at.field("dst"), &raw.dst, is_address, ADDRESS_HINT),
        port: port(c, at.field("port"), raw.port),
        first: c.time(at.field("first"), raw.first_ms, "when it was seen"),
        last: c.optional_time(at.field("last"), raw.last_ms),
    }
}

impl DisclosureWithheld {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::DisclosureWithheld,
        _: &Whole<'_>,
    ) -> Self {
        use v1::RefusalGround as G;
        let at = at.article("30(2)");
        let ground: G = c.known(at.field("ground"), raw.ground);
        if !matches!(ground, G::Unspecified | G::PoliticalOffence | G::EssentialInterests) {
            let text = "expected POLITICAL_OFFENCE or ESSENTIAL_INTERESTS: there is no other";
            c.fault(at.field("ground"), text);
        }
        Self {
            ground,
            reasons: c.prose(at.field("reasons"), &raw.reasons, "why they are withheld"),
        }
    }
}

/// A port of TCP or UDP, if one is stated.
pub(super) fn port(c: &mut Collector, at: At<'_>, raw: u32) -> Option<u16> {
    let port = u16::try_from(raw).ok();
    if port.is_none() {
        c.fault(at, "over 65535: correct it");
    }
    port.filter(|port| *port != 0)
}

/// An optional name of a certain shape.
pub(super) fn shaped(
    c: &mut Collector,
    at: At<'_>,
    text: &str,
    good: fn(&str) -> bool,
    hint: &str,
) -> Option<Name> {
    if text.is_empty() {
        return None;
    }
    if !good(text) {
        c.fault(at, hint);
        return None;
    }
    Name::parse(text, limits::LINE_CHARS_MAX).ok()
}

pub(super) const ADDRESS_HINT: &str = "not an address: write `203.0.113.47`";
const ASN_HINT: &str = "not an AS number: write `AS64500`";
