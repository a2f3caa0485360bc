//! What is to be preserved and where it is: Article 29(2)(c) and (d).

use crate::{timestamp::Timestamp, v1};

use super::{
    alert::unique,
    fault::{At, Collector},
    indicator::identifier,
    text::{Country, Name, Text},
    value::{Identifier, is_address, is_asn, is_domain},
};

/// Data to be preserved.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct PreservationItem {
    /// Unique in its request.
    pub item_id: Name,
    pub provider: Option<Text>,
    /// This or a description is always there.
    pub identifier: Option<Identifier>,
    /// At least one.
    pub data_class: Vec<v1::DataClass>,
    pub description: Option<Text>,
    pub time_from: Option<Timestamp>,
    pub time_to: Option<Timestamp>,
    pub time_zone: Option<Name>,
    /// Always there, as is `time_from`, where the address is behind a carrier's NAT.
    pub source_port: Option<u16>,
    pub behind_cgnat: Option<bool>,
    pub retention_risk: Option<Text>,
    /// To the offence.
    pub relationship: Text,
}

/// Who has the data.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Custodian {
    pub name: Text,
    pub address: Option<Text>,
    pub country: Option<Country>,
    pub le_portal_ref: Option<Name>,
    pub is_hosting_reseller: Option<bool>,
}

/// Where the system is; at least one field is there.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct SystemLocation {
    pub ip: Option<Name>,
    pub asn: Option<Name>,
    pub hostname: Option<Name>,
    pub datacentre: Option<Text>,
    pub cloud_region: Option<Text>,
}

pub(super) fn items(
    c: &mut Collector,
    at: At<'_>,
    raw: &[v1::PreservationItem],
) -> Vec<PreservationItem> {
    let list = at.field("items");
    c.not_empty(list, raw, "the stored data to be preserved");
    c.has_too_many_items(list, raw);
    unique(c, at, "items", "item_id", raw.iter().map(|item| item.item_id.as_str()));
    c.list(list, raw, item)
}

fn item(c: &mut Collector, at: At<'_>, raw: &v1::PreservationItem) -> PreservationItem {
    let (from, to) = (raw.time_from_ms, raw.time_to_ms);
    c.ordered(at.field("time_to"), from, to, "time_from");
    if raw.identifier.is_none() && raw.description.is_empty() {
        c.fault(at.field("identifier"), "missing: state an identifier or a description");
    }
    let identifier = raw.identifier.as_ref().map(|i| identifier(c, at.field("identifier"), i));
    let data_class = at.field("data_class");
    c.not_empty(data_class, &raw.data_class, "SUBSCRIBER, TRAFFIC, CONTENT or OTHER");
    let port = u16::try_from(raw.source_port).ok();
    if port.is_none() {
        c.fault(at.field("source_port"), "over 65535: correct it");
    }
    if raw.source_port != 0 && !identifier.as_ref().is_some_and(|i| i.r#type.is_address()) {
        c.fault(at.field("source_port"), "belongs to an identifier of type ipv4 or ipv6");
    }
    let behind_cgnat = cgnat(c, at, raw);
    PreservationItem {
        item_id: c.item_id(at.field("item_id"), &raw.item_id),
        provider: c.optional_line(at.field("provider"), &raw.provider),
        identifier,
        data_class: c.knowns(data_class, &raw.data_class),
        description: c.optional_prose(at.field("description"), &raw.description),
        time_from: c.optional_time(at.field("time_from"), from),
        time_to: c.optional_time(at.field("time_to"), to),
        time_zone: c.optional_name(at.field("time_zone"), &raw.time_zone),
        source_port: port.filter(|port| *port != 0),
        behind_cgnat,
        retention_risk: c.optional_line(at.field("retention_risk"), &raw.retention_risk),
        relationship: c.line(
            at.field("relationship"),
            &raw.relationship,
            "how the data relate to the offence",
        ),
    }
}

/// Behind a carrier's NAT many users share an address at a time: only port and instant tell them
/// apart. An address of the space that is shared so (RFC 6598) is behind one, whatever is stated.
fn cgnat(c: &mut Collector, at: At<'_>, raw: &v1::PreservationItem) -> Option<bool> {
    let place = at.field("behind_cgnat");
    let stated = c.optional_answer(place, raw.behind_cgnat);
    let identifier = raw.identifier.as_ref();
    let address = identifier.filter(|i| i.r#type == "ipv4" || i.r#type == "ipv6");
    if stated.is_some() && address.is_none() {
        c.fault(place, "belongs to an identifier of type ipv4 or ipv6");
        return None;
    }
    let shared = address.is_some_and(|i| is_shared(&i.value));
    if stated == Some(true) || shared {
        if raw.source_port == 0 {
            let text = "missing: many users share an address behind a carrier's NAT (CGNAT), state \
                        the port";
            c.fault(at.field("source_port"), text);
        }
        if raw.time_from_ms == 0 {
            let text = "missing: behind a carrier's NAT (CGNAT) a port is a user's for a moment";
            c.fault(at.field("time_from"), text);
        }
    }
    stated
}

/// 100.64.0.0/10, RFC 6598. Its form is checked elsewhere.
fn is_shared(address: &str) -> bool {
    let mut octets = address.split('.').map(str::parse::<u8>);
    let second = |octet: &u8| (64..128).contains(octet);
    octets.next() == Some(Ok(100)) && octets.next().is_some_and(|o| o.as_ref().is_ok_and(second))
}

/// Article 29(2)(d): "any available information identifying the custodian or the location of the
/// system".
pub(super) fn custodian(
    c: &mut Collector,
    at: At<'_>,
    raw: &v1::PreservationRequest,
) -> Option<Custodian> {
    let at = at.field("custodian");
    let provider = raw.items.iter().any(|item| !item.provider.trim().is_empty());
    let Some(custodian) = &raw.custodian else {
        if !provider && raw.system_location.is_none() {
            c.fault(at, "missing: state a custodian, a system_location or an item's provider");
        }
        return None;
    };
    Some(Custodian {
        name: c.line(at.field("name"), &custodian.name, "the custodian's name"),
        address: c.optional_prose(at.field("address"), &custodian.address),
        country: (!custodian.country.is_empty())
            .then(|| c.text(at.field("country"), &custodian.country, "a country", Country::parse)),
        le_portal_ref: c.optional_name(at.field("le_portal_ref"), &custodian.le_portal_ref),
        is_hosting_reseller: c
            .optional_answer(at.field("is_hosting_reseller"), custodian.is_hosting_reseller),
    })
}

pub(super) fn system_location(
    c: &mut Collector,
    at: At<'_>,
    raw: Option<&v1::SystemLocation>,
) -> Option<SystemLocation> {
    let (at, raw) = (at.field("system_location"), raw?);
    let parts = [&raw.ip, &raw.asn, &raw.hostname, &raw.datacentre, &raw.cloud_region];
    if parts.iter().all(|part| part.trim().is_empty()) {
        c.fault(at, "empty: state ip, asn, hostname, datacentre or cloud_region");
    }
    let mut shaped = |name, text: &str, good: fn(&str) -> bool, hint: &str| {
        if !text.is_empty() && !good(text) {
            c.fault(at.field(name), hint);
            return None;
        }
        c.optional_name(at.field(name), text)
    };
    Some(SystemLocation {
        ip: shaped("ip", &raw.ip, is_address, "not an address: write `203.0.113.47`"),
        asn: shaped("asn", &raw.asn, is_asn, "not an AS number: write `AS64500`"),
        hostname: shaped("hostname", &raw.hostname, is_domain, "not a name: write `a.example.net`"),
        datacentre: c.optional_line(at.field("datacentre"), &raw.datacentre),
        cloud_region: c.optional_line(at.field("cloud_region"), &raw.cloud_region),
    })
}
