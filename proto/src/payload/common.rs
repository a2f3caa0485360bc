//! The fields that all kinds share: sender, markings, law, authority, attachments.

use crate::{
    attachment::Item,
    ids::{Digest, MessageId, UnitId},
    limits,
    reason::Reason,
    timestamp::Timestamp,
    v1,
};

use super::{
    PayloadContext,
    fault::{At, Collector},
    kinds::{is_casework, kind_of},
    names::Named as _,
    text::{Name, Text},
    value::is_email,
};

/// Markings, each of its own scheme.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Handling {
    pub tlp: v1::Tlp,
    /// None is to be treated as the strictest.
    pub pap: Option<v1::Pap>,
    pub europol: Vec<v1::EuropolCode>,
    pub classification: v1::Classification,
    /// Conditions on use; at least one with H3.
    pub conditions: Vec<Text>,
    pub delete_by: Option<Timestamp>,
}

/// The law that a message is sent under.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)]
pub struct LegalBasis {
    /// `ETS185`
    pub instrument: Name,
    /// `29`
    pub article: Option<Name>,
}

/// The sending authority and whom to call.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Authority {
    pub organisation: Text,
    pub unit: Option<Text>,
    pub person: Option<Text>,
    pub role: Option<Text>,
    pub address: Option<Text>,
    pub phone: Name,
    pub email: Option<Name>,
    pub fax: Option<Name>,
    pub office_hours: Option<Text>,
    pub time_zone: Option<Name>,
    pub reply_means: Option<Text>,
}

/// A file that goes with the message, by digest.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Attachment {
    pub name: Name,
    pub media_type: Name,
    pub size: u64,
    pub sha256: Digest,
    pub description: Option<Text>,
}

impl Attachment {
    /// What is compared of it.
    pub fn item(&self) -> Item {
        Item { sha256: self.sha256, size: self.size }
    }
}

/// The fields of a payload that are read last, kept together until all are checked.
pub(super) struct Rest {
    pub case_id: crate::ids::CaseId,
    pub in_reply_to: Option<MessageId>,
    pub based_on: Option<Digest>,
    pub follows: Option<Digest>,
    pub supersedes: Option<Digest>,
    pub legal_basis: Vec<LegalBasis>,
    pub language: super::Language,
    pub authority: Authority,
    pub sender_ref: Text,
    pub attachments: Vec<Attachment>,
}

impl Rest {
    pub(super) fn parse(
        c: &mut Collector,
        env: At<'_>,
        raw: &v1::Payload,
        context: &PayloadContext<'_>,
    ) -> Self {
        let own = "your own case or reference number";
        Self {
            case_id: c.uuid(env.field("thread_id"), &raw.case_id),
            in_reply_to: c.optional_message_id(env.field("in_reply_to"), &raw.in_reply_to),
            based_on: c.optional_digest(env.field("based_on"), &raw.based_on),
            follows: c.optional_digest(env.field("follows"), &raw.follows),
            supersedes: c.optional_digest(env.field("supersedes"), &raw.supersedes),
            legal_basis: legal_basis(c, env.field("legal_basis"), &raw.legal_basis),
            language: c.language(env.field("language"), &raw.language, "the text's language: `en`"),
            authority: authority(c, env.field("authority"), raw.authority.as_ref()),
            sender_ref: c.line(env.field("sender_ref"), &raw.sender_ref, own),
            attachments: attachments(c, env.field("attachments"), &raw.attachments, context),
        }
    }
}

pub(super) fn message_id(c: &mut Collector, at: At<'_>, raw: &v1::Payload) -> Option<MessageId> {
    let id = MessageId::from_bytes(&raw.message_id);
    id.map_err(|error| c.fault(at.field("message_id"), error.to_string())).ok()
}

pub(super) fn unit(c: &mut Collector, at: At<'_>, text: &str) -> Option<UnitId> {
    text.parse().map_err(|error: crate::ids::IdError| c.fault(at, unit_text(text, &error))).ok()
}

/// What to say about a text that is no unit id: most often it is one in capitals.
pub(crate) fn unit_text(text: &str, error: &crate::ids::IdError) -> String {
    let lower = text.to_ascii_lowercase();
    if lower != text && lower.parse::<UnitId>().is_ok() {
        format!("unit ids are in lower case: write `{lower}`")
    } else if text.is_empty() {
        "missing: state a unit, as `xa.cyber-poc`".to_owned()
    } else {
        error.to_string()
    }
}

pub(super) fn recipients(c: &mut Collector, at: At<'_>, raw: &[String]) -> Option<Vec<UnitId>> {
    c.not_empty(at, raw, "at least one recipient");
    if raw.len() > limits::RECIPIENTS_MAX {
        c.fault(at, format!("over {} recipients: send several messages", limits::RECIPIENTS_MAX));
        return None;
    }
    let mut units: Vec<UnitId> = Vec::with_capacity(raw.len());
    for (i, text) in raw.iter().enumerate() {
        match unit(c, at.index(i), text) {
            Some(unit) if units.contains(&unit) => c.fault(at.index(i), "stated twice: remove one"),
            Some(unit) => units.push(unit),
            None => {}
        }
    }
    (units.len() == raw.len()).then_some(units)
}

/// A claim of urgency is only as good as its reason.
pub(super) fn urgency_reason(
    c: &mut Collector,
    at: At<'_>,
    raw: &v1::Payload,
    priority: v1::Priority,
) -> Option<Text> {
    let at = at.field("urgency_reason");
    match priority {
        v1::Priority::Urgent | v1::Priority::Emergency => {
            let what = format!("why it is {}", priority.name());
            Some(c.line(at, &raw.urgency_reason, &what))
        }
        v1::Priority::Routine | v1::Priority::Unspecified => {
            c.optional_line(at, &raw.urgency_reason)
        }
    }
}

pub(super) fn handling(
    c: &mut Collector,
    at: At<'_>,
    raw: Option<&v1::Handling>,
    context: &PayloadContext<'_>,
) -> Handling {
    let Some(raw) = raw else {
        c.fault(at, "missing: state at least tlp and classification");
        return Handling::default();
    };
    let classification: v1::Classification =
        c.known(at.field("classification"), raw.classification);
    if classification as i32 > context.classification_max as i32 {
        let max = context.classification_max.name();
        let text = format!("above {max}: may not be sent this way");
        c.labelled(at.field("classification"), Reason::ClassificationTooHigh, text);
    }
    let europol: Vec<v1::EuropolCode> = c.knowns(at.field("europol"), &raw.europol);
    if europol.contains(&v1::EuropolCode::H3) && raw.conditions.is_empty() {
        c.fault(at.field("conditions"), "missing: state the restriction that H3 stands for");
    }
    Handling {
        tlp: c.known(at.field("tlp"), raw.tlp),
        pap: c.optional_known(at.field("pap"), raw.pap),
        europol,
        classification,
        conditions: c.list(at.field("conditions"), &raw.conditions, |c, at, text| {
            c.prose(at, text, "the condition")
        }),
        delete_by: c.optional_time(at.field("delete_by"), raw.delete_by_ms),
    }
}

/// `2` to `11` of the Budapest Convention or `other`, at least one: they decide about Article
/// 29(4).
pub(super) fn convention_articles(c: &mut Collector, at: At<'_>, raw: &[String]) -> Vec<Name> {
    let at = at.field("convention_articles");
    c.not_empty(at, raw, "an article from 2 to 11, or `other`");
    c.list(at, raw, |c, at, text| {
        let article =
            text.parse().is_ok_and(|n: u8| (2..=11).contains(&n) && n.to_string() == *text);
        if !article && text != "other" {
            c.fault(at, "expected an article from 2 to 11, or `other`");
        }
        Name::parse(text, limits::LINE_CHARS_MAX).unwrap_or_default()
    })
}

/// An e-mail address, if one is stated.
pub(super) fn optional_email(c: &mut Collector, at: At<'_>, text: &str) -> Option<Name> {
    if !text.is_empty() && !is_email(text) {
        c.fault(at, "not an e-mail address: write `name@example.com`");
        return None;
    }
    c.optional_name(at, text)
}

fn legal_basis(c: &mut Collector, at: At<'_>, raw: &[v1::LegalBasis]) -> Vec<LegalBasis> {
    c.not_empty(at, raw, "the law, as instrument ETS185 and article 29");
    c.list(at, raw, |c, at, basis| LegalBasis {
        instrument: c.name(at.field("instrument"), &basis.instrument, "the law: `ETS185`"),
        article: c.optional_name(at.field("article"), &basis.article),
    })
}

/// In a network without a treaty a request is one of the police to another: nobody may read an
/// effect under a treaty into it.
pub(super) fn no_treaty_effect(
    c: &mut Collector,
    env: At<'_>,
    raw: &v1::Payload,
    context: &PayloadContext<'_>,
) {
    let kind = raw.body.as_ref().map(kind_of).unwrap_or_default();
    if context.has_treaty || !is_casework(kind) {
        return;
    }
    let at = env.field("legal_basis");
    for (i, basis) in raw.legal_basis.iter().enumerate().take(limits::LIST_MAX) {
        if TREATY_LAWS.contains(&basis.instrument.as_str()) {
            let text = "a treaty, of which requests have no effect in this network: state the law \
                        that the police act under, or use the treaty's own network";
            c.fault(at.index(i).field("instrument"), text);
        }
    }
}

/// The treaties that preservation may rest on, as `legal_basis` names them.
const TREATY_LAWS: [&str; 3] = ["ETS185", "CETS224", "UNCC"];

fn authority(c: &mut Collector, at: At<'_>, raw: Option<&v1::Authority>) -> Authority {
    let Some(raw) = raw else {
        c.fault(at, "missing: state who sends and whom to call");
        return Authority::default();
    };
    Authority {
        organisation: c.line(at.field("organisation"), &raw.organisation, "the organisation"),
        unit: c.optional_line(at.field("unit"), &raw.unit),
        person: c.optional_line(at.field("person"), &raw.person),
        role: c.optional_line(at.field("role"), &raw.role),
        address: c.optional_prose(at.field("address"), &raw.address),
        phone: c.phone(at.field("phone"), &raw.phone),
        email: optional_email(c, at.field("email"), &raw.email),
        fax: c.optional_name(at.field("fax"), &raw.fax),
        office_hours: c.optional_line(at.field("office_hours"), &raw.office_hours),
        time_zone: c.optional_name(at.field("time_zone"), &raw.time_zone),
        reply_means: c.optional_line(at.field("reply_means"), &raw.reply_means),
    }
}

/// The profile's bounds hold at both ends: the sender's node refuses what the receiver's would.
fn attachments(
    c: &mut Collector,
    at: At<'_>,
    raw: &[v1::Attachment],
    context: &PayloadContext<'_>,
) -> Vec<Attachment> {
    let max = context.attachments_max.min(limits::ATTACHMENTS_MAX);
    if raw.len() > max {
        let text = format!("over the profile's {max} attachments: send several messages");
        c.labelled(at, Reason::TooLarge, text);
        return Vec::new();
    }
    let bytes_max = context.attachment_bytes_max.min(limits::ATTACHMENT_BYTES_MAX);
    c.list(at, raw, |c, at, one| {
        if one.size == 0 {
            c.fault(at.field("size"), "missing: state its size in bytes; nothing is no attachment");
        } else if one.size > bytes_max {
            let text = format!("over the profile's {bytes_max} bytes: send it in parts");
            c.labelled(at.field("size"), Reason::TooLarge, text);
        }
        attachment(c, at, one)
    })
}

fn attachment(c: &mut Collector, at: At<'_>, raw: &v1::Attachment) -> Attachment {
    let is_path = raw.name.contains(['/', '\\']) || raw.name.starts_with('.');
    if is_path {
        c.fault(at.field("name"), "a path: state the file's name only");
    }
    Attachment {
        name: c.name(at.field("name"), &raw.name, "the file's name"),
        media_type: c.name(at.field("media_type"), &raw.media_type, "its type: `application/pdf`"),
        size: raw.size,
        sha256: c.digest(at.field("sha256"), &raw.sha256),
        description: c.optional_line(at.field("description"), &raw.description),
    }
}
