//! Disclosure to avert an emergency (Second Additional Protocol, Article 9): kinds 25 and 26.

use crate::{timestamp::Timestamp, v1};

use super::{
    fault::{At, Collector},
    kinds::Whole,
    offer::{Condition, conditions},
    preservation::{Offence, offences},
    text::{Date, Name, Text},
    traffic::{ADDRESS_HINT, port, shaped},
    value::is_address,
};

/// Asks for data without mutual assistance, for a life is at risk: Article 9(3), a to h.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct EmergencyRequest {
    /// 9(3)(a); the authority is the message's.
    pub issue_date: Date,
    /// 9(3)(b)
    pub statement: Text,
    /// 9(3)(c)
    pub provider: Provider,
    /// 9(3)(d), at least one, each with its penalty.
    pub offences: Vec<Offence>,
    /// 9(3)(e)
    pub emergency_facts: Text,
    /// 9(3)(f)
    pub data_sought: Text,
    /// 9(3)(g)
    pub special_procedures: Option<Text>,
    pub oral_notice_given: bool,
    /// Always there after an oral notice.
    pub oral_contact: Option<Name>,
}

/// Who has the data.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Provider {
    pub name: Text,
    pub address: Text,
}

/// Data, conditions, or a no (Article 9(6) and (7)).
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct EmergencyReply {
    pub determination: v1::Determination,
    /// At least one with DISCLOSED_WITH_CONDITIONS, and only there.
    pub conditions: Vec<Condition>,
    pub follow_up_required: v1::FollowUp,
    /// Always there where a follow-up is required.
    pub follow_up_by: Option<Date>,
    pub data: Vec<DisclosedRecord>,
    /// Always there with REFUSED.
    pub reasons: Option<Text>,
}

/// A piece of what was disclosed.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct DisclosedRecord {
    /// This or a text is always there.
    pub ip: Option<Name>,
    pub port: Option<u16>,
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
    pub text: Option<Text>,
}

impl EmergencyRequest {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::EmergencyRequest,
        whole: &Whole<'_>,
    ) -> Self {
        if whole.context.priority != v1::Priority::Emergency {
            c.fault(At::root("env").field("priority"), "an emergency request is an EMERGENCY");
        }
        let named = at.article("9(3)(c) of the Second Additional Protocol");
        let place = named.field("provider");
        let provider = match &raw.provider {
            Some(one) => Provider {
                name: c.line(place.field("name"), &one.name, "the provider's name"),
                address: c.prose(place.field("address"), &one.address, "the provider's address"),
            },
            None => {
                c.fault(place, "missing: state the provider's name and address");
                Provider::default()
            }
        };
        let law = at.article("9(3)(d) of the Second Additional Protocol");
        for (i, offence) in raw.offences.iter().enumerate() {
            if offence.max_penalty.trim().is_empty() {
                let text = "missing: state the penalty that the law provides";
                c.fault(law.field("offences").index(i).field("penalties"), text);
            }
        }
        let oral = c.answer(at.field("oral_notice_given"), raw.oral_notice_given);
        let facts = at.article("9(3)(e) of the Second Additional Protocol");
        let sought = at.article("9(3)(f) of the Second Additional Protocol");
        Self {
            issue_date: c.date(at.field("issue_date"), &raw.issue_date, "the day of issue"),
            statement: c.prose(
                at.article("9(3)(b) of the Second Additional Protocol").field("statement"),
                &raw.statement,
                "that it is issued under the Protocol",
            ),
            provider,
            offences: offences(c, law, &raw.offences, "penalties"),
            emergency_facts: c.prose(
                facts.field("emergency_facts"),
                &raw.emergency_facts,
                "what the emergency is and how the data relate to it",
            ),
            data_sought: c.prose(
                sought.field("data_sought"),
                &raw.data_sought,
                "a detailed description of the data",
            ),
            special_procedures: c
                .optional_prose(at.field("special_procedures"), &raw.special_procedures),
            oral_notice_given: oral,
            oral_contact: match oral || !raw.oral_contact.is_empty() {
                true => Some(c.phone(at.field("oral_contact"), &raw.oral_contact)),
                false => None,
            },
        }
    }
}

impl EmergencyReply {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::EmergencyReply,
        _: &Whole<'_>,
    ) -> Self {
        use v1::Determination as D;
        let determination: D = c.known(at.field("determination"), raw.determination);
        let place = at.field("conditions");
        match (determination, raw.conditions.is_empty()) {
            (D::DisclosedWithConditions, true) => c.fault(place, "missing: state the conditions"),
            (D::DisclosedWithConditions, false) | (_, true) => {}
            (_, false) => c.fault(place, "belong to DISCLOSED_WITH_CONDITIONS: leave them out"),
        }
        let nothing = matches!(determination, D::Refused | D::NoData);
        if nothing && !raw.data.is_empty() {
            c.fault(at.field("data"), "nothing is disclosed: leave it out");
        }
        let follow_up: v1::FollowUp =
            c.known(at.field("follow_up_required"), raw.follow_up_required);
        let follows = matches!(follow_up, v1::FollowUp::Mla | v1::FollowUp::OtherChannel);
        Self {
            determination,
            conditions: conditions(c, at, "conditions", &raw.conditions),
            follow_up_required: follow_up,
            follow_up_by: match follows || !raw.follow_up_by.is_empty() {
                true => Some(c.date(at.field("follow_up_by"), &raw.follow_up_by, "by when")),
                false => None,
            },
            data: c.list(at.field("data"), &raw.data, disclosed),
            reasons: match determination == D::Refused {
                true => Some(c.prose(at.field("reasons"), &raw.reasons, "why it is refused")),
                false => c.optional_prose(at.field("reasons"), &raw.reasons),
            },
        }
    }
}

fn disclosed(c: &mut Collector, at: At<'_>, raw: &v1::DisclosedRecord) -> DisclosedRecord {
    if raw.ip.is_empty() && raw.text.is_empty() {
        c.fault(at.field("ip"), "missing: state an address or a text");
    }
    c.ordered(at.field("last"), raw.first_ms, raw.last_ms, "first");
    DisclosedRecord {
        ip: shaped(c, at.field("ip"), &raw.ip, is_address, ADDRESS_HINT),
        port: port(c, at.field("port"), raw.port),
        first: c.optional_time(at.field("first"), raw.first_ms),
        last: c.optional_time(at.field("last"), raw.last_ms),
        text: c.optional_prose(at.field("text"), &raw.text),
    }
}
