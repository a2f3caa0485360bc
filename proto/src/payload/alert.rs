//! Alerts: every field of kinds 1 and 2, checked (Budapest Convention, Article 26(1)).

use std::collections::BTreeSet;

use crate::{
    ids::{Digest, Uuid},
    limits,
    reason::Reason,
    timestamp::Timestamp,
    v1,
};

use super::{
    PayloadContext,
    common::convention_articles,
    fault::{At, Collector},
    feedback::{AlertChange, change},
    indicator::{Indicator, Subject, Victims, indicator, subject, victims},
    kinds::Whole,
    names::Named as _,
    text::{Country, Name, Text},
};

/// Warns or informs, unasked.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Alert {
    pub alert_id: Uuid,
    /// From 1; grows with every update.
    pub revision: u32,
    pub lifecycle: v1::Lifecycle,
    pub alert_type: v1::AlertType,
    /// RSIT, two levels: `fraud/phishing`.
    pub category: Name,
    pub crime_area: Option<Name>,
    pub offences: Vec<AlertOffence>,
    /// Harm; says nothing about priority.
    pub severity: v1::Severity,
    pub title: Text,
    pub summary: Text,
    pub modus_operandi: Option<Text>,
    pub observed_from: Timestamp,
    pub observed_until: Option<Timestamp>,
    pub reported_at: Option<Timestamp>,
    /// 0 to 100, the STIX scale.
    pub confidence: u8,
    pub evaluation: Option<Evaluation>,
    pub victims: Option<Victims>,
    pub subjects: Vec<Subject>,
    pub indicators: Vec<Indicator>,
    pub stix_bundle: Option<AttachmentRef>,
    pub detection: Vec<Detection>,
    pub playbook: Option<AttachmentRef>,
    /// At least one.
    pub action_requested: Vec<v1::ActionRequested>,
    pub respond_by: Option<Timestamp>,
    pub do_not: Vec<v1::DoNot>,
    /// At least one.
    pub affected_countries: Vec<Country>,
    pub valid_until: Timestamp,
    pub related: Vec<Related>,
    pub dissemination: Dissemination,
    /// At least one with an update, and only there.
    pub changes: Vec<AlertChange>,
}

/// An offence that a request may follow for.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct AlertOffence {
    pub law: Text,
    pub provision: Text,
    /// `2` to `11` of the Budapest Convention, or `other`.
    pub convention_articles: Vec<Name>,
}

/// Europol's 4x4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evaluation {
    /// A, B, C or X.
    pub source: char,
    /// 1 to 4.
    pub information: u8,
}

/// A file by digest.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct AttachmentRef {
    pub sha256: Digest,
    pub size: u64,
}

/// A detection rule.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Detection {
    /// `sigma`, `yara` or `suricata`.
    pub lang: Name,
    pub body: Text,
}

/// Something that the alert belongs to.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Related {
    pub reference: Name,
    pub relation: Name,
}

/// Who may have it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Dissemination {
    pub audience: v1::Audience,
    /// Whether recipients may pass it on within the audience.
    pub onward: bool,
}

impl Alert {
    pub(super) fn parse(c: &mut Collector, at: At<'_>, raw: &v1::Alert, whole: &Whole<'_>) -> Self {
        let (handling, context) = (whole.payload.handling.as_ref(), whole.context);
        let europol = handling.map_or(&[][..], |h| &h.europol);
        let parsed = Self {
            alert_id: c.uuid(at.field("alert_id"), &raw.alert_id),
            revision: revision(c, at, raw.revision),
            lifecycle: c.known(at.field("lifecycle"), raw.lifecycle),
            alert_type: c.known(at.field("alert_type"), raw.alert_type),
            category: c.text(
                at.field("category"),
                &raw.category,
                "an RSIT category: `fraud/phishing`",
                category,
            ),
            crime_area: c.optional_name(at.field("crime_area"), &raw.crime_area),
            offences: c.list(at.field("offences"), &raw.offences, offence),
            severity: c.known(at.field("severity"), raw.severity),
            title: c.text(at.field("title"), &raw.title, "a title", |text| {
                Text::line(text, limits::TITLE_CHARS_MAX)
            }),
            summary: c.prose(at.field("summary"), &raw.summary, "what happened"),
            modus_operandi: c.optional_prose(at.field("modus_operandi"), &raw.modus_operandi),
            observed_from: c.time(
                at.field("observed_from"),
                raw.observed_from_ms,
                "since when it was observed",
            ),
            observed_until: c.optional_time(at.field("observed_until"), raw.observed_until_ms),
            reported_at: c.optional_time(at.field("reported_at"), raw.reported_at_ms),
            confidence: confidence(c, at.field("confidence"), raw.confidence_plus_one),
            evaluation: evaluation(c, at.field("evaluation"), raw.evaluation.as_ref(), context),
            victims: raw.victims.as_ref().map(|v| victims(c, at.field("victims"), v)),
            subjects: c
                .list(at.field("subjects"), &raw.subjects, |c, at, s| subject(c, at, s, europol)),
            indicators: c
                .list(at.field("indicators"), &raw.indicators, |c, at, i| indicator(c, at, i, raw)),
            stix_bundle: file(c, at.field("stix_bundle"), raw.stix_bundle.as_ref()),
            detection: c.list(at.field("detection"), &raw.detection, detection),
            playbook: file(c, at.field("playbook"), raw.playbook.as_ref()),
            action_requested: c.knowns(at.field("action_requested"), &raw.action_requested),
            respond_by: c.optional_time(at.field("respond_by"), raw.respond_by_ms),
            do_not: c.knowns(at.field("do_not"), &raw.do_not),
            affected_countries: c
                .countries(at.field("affected_countries"), &raw.affected_countries),
            valid_until: c.time(
                at.field("valid_until"),
                raw.valid_until_ms,
                "until when it may be relied on",
            ),
            related: c.list(at.field("related"), &raw.related, related),
            dissemination: dissemination(c, at.field("dissemination"), raw.dissemination.as_ref()),
            changes: c
                .list(at.field("changes"), &raw.changes, |c, at, one| change(c, at, one, raw)),
        };
        across(c, at, raw);
        life(c, at, raw, matches!(whole.payload.body, Some(v1::payload::Body::AlertUpdate(_))));
        markings(c, at.field("dissemination"), raw, handling);
        parsed
    }
}

/// Rules that bind several fields.
fn across(c: &mut Collector, at: At<'_>, raw: &v1::Alert) {
    use v1::{ActionRequested as Action, AlertType};
    let begin = "observed_from";
    c.ordered(at.field("observed_until"), raw.observed_from_ms, raw.observed_until_ms, begin);
    c.ordered(at.field("valid_until"), raw.observed_from_ms, raw.valid_until_ms, begin);
    c.not_empty(
        at.field("action_requested"),
        &raw.action_requested,
        &format!("one of {}", Action::names()),
    );
    c.not_empty(at.field("affected_countries"), &raw.affected_countries, "a country, as `FR`");
    let asks = raw.alert_type == AlertType::RequestAction as i32
        || raw.action_requested.contains(&(Action::FreezeFunds as i32));
    if asks && raw.respond_by_ms == 0 {
        c.fault(at.field("respond_by"), "missing: state by when the action is needed");
    }
    let none = Action::None as i32;
    if raw.action_requested.contains(&none) && raw.action_requested.len() > 1 {
        c.fault(at.field("action_requested"), "NONE beside actions: remove it or them");
    }
    unique(c, at, "indicators", "id", raw.indicators.iter().map(|i| i.id.as_str()));
}

/// A first alert is NEW, of revision 1 and without changes; an update none of these.
fn life(c: &mut Collector, at: At<'_>, raw: &v1::Alert, is_update: bool) {
    use v1::Lifecycle as L;
    let new = raw.lifecycle == L::New as i32;
    if raw.revision != 0 && raw.lifecycle != 0 && new != (raw.revision == 1) {
        c.fault(at.field("revision"), "lifecycle NEW has revision 1, all others a higher one");
    }
    let place = at.field("lifecycle");
    match L::known(raw.lifecycle) {
        Some(L::Cancel) => c.fault(place, "an alert is taken back by an ALERT_CANCEL"),
        Some(L::Update | L::Superseded) if !is_update => {
            c.fault(place, "an alert is changed by an ALERT_UPDATE: state env.kind");
        }
        Some(L::New) if is_update => c.fault(place, "an update is no new one: state UPDATE"),
        _ => {}
    }
    match (is_update, raw.changes.is_empty()) {
        (true, true) => c.fault(at.field("changes"), "missing: state what differs from before"),
        (false, false) => c.fault(at.field("changes"), "of a first alert: leave them out"),
        _ => {}
    }
}

/// Who may have an alert is bounded by its markings: TLP 2.0, and H2 of Europol's handling codes.
fn markings(c: &mut Collector, at: At<'_>, raw: &v1::Alert, handling: Option<&v1::Handling>) {
    use v1::{Answer, Audience, EuropolCode, Tlp};
    let (Some(handling), Some(dissemination)) = (handling, &raw.dissemination) else { return };
    let tlp = Tlp::known(handling.tlp).unwrap_or_default();
    let named_only = matches!(tlp, Tlp::AmberStrict | Tlp::Red);
    match Audience::known(dissemination.audience) {
        Some(Audience::Named) | None => {}
        Some(_) if named_only => {
            let text = format!("TLP {} goes to named recipients only: state NAMED", tlp.name());
            c.labelled(at.field("audience"), Reason::AudienceTooWide, text);
        }
        Some(Audience::Public) if tlp != Tlp::Clear => {
            let text = "PUBLIC needs TLP CLEAR: state a smaller audience";
            c.labelled(at.field("audience"), Reason::AudienceTooWide, text);
        }
        Some(_) => {}
    }
    let bound = handling.europol.contains(&(EuropolCode::H2 as i32));
    if bound && dissemination.onward == Answer::Yes as i32 {
        c.fault(at.field("onward"), "true with H2, which forbids it: state false or remove H2");
    }
}

/// Reports the second of two elements of one id.
pub(super) fn unique<'a>(
    c: &mut Collector,
    at: At<'_>,
    list: &str,
    key: &str,
    ids: impl Iterator<Item = &'a str>,
) {
    // An overlong list is reported as such, not for each of its elements.
    let ids: Vec<_> = ids.take(limits::LIST_MAX + 1).collect();
    if ids.len() > limits::LIST_MAX {
        return;
    }
    let mut seen = BTreeSet::new();
    for (i, id) in ids.into_iter().enumerate() {
        if !id.is_empty() && !seen.insert(id) {
            c.fault(at.field(list).index(i).field(key), "used twice: give each its own");
        }
    }
}

/// Revisions count from 1.
pub(super) fn revision(c: &mut Collector, at: At<'_>, revision: u32) -> u32 {
    if revision == 0 {
        c.fault(at.field("revision"), "missing: state 1 for a new one");
    }
    revision
}

fn category(text: &str) -> Result<Name, String> {
    let (top, second) = text.split_once('/').unwrap_or((text, ""));
    let slug = |s: &str| {
        !s.is_empty()
            && s.bytes().all(|b| b.is_ascii_lowercase() || b == b'-' || b.is_ascii_digit())
    };
    if !RSIT.contains(&top) {
        return Err(format!("unknown RSIT class: expected one of {}", RSIT.join(", ")));
    }
    if !slug(second) || second.len() > limits::LINE_CHARS_MAX {
        return Err("not two levels of RSIT: write `fraud/phishing`".to_owned());
    }
    Name::parse(text, limits::LINE_CHARS_MAX)
}

fn offence(c: &mut Collector, at: At<'_>, raw: &v1::AlertOffence) -> AlertOffence {
    AlertOffence {
        law: c.line(at.field("law"), &raw.law, "the law"),
        provision: c.line(at.field("provision"), &raw.provision, "the provision"),
        convention_articles: convention_articles(c, at, &raw.convention_articles),
    }
}

fn confidence(c: &mut Collector, at: At<'_>, plus_one: u32) -> u8 {
    if plus_one == 0 {
        c.fault(at, "missing: state 0 to 100");
        return 0;
    }
    optional_confidence(c, at, plus_one).unwrap_or_default()
}

pub(super) fn optional_confidence(c: &mut Collector, at: At<'_>, plus_one: u32) -> Option<u8> {
    if plus_one > 101 {
        c.fault(at, "over 100: state 0 to 100");
    }
    plus_one.checked_sub(1).and_then(|percent| u8::try_from(percent).ok())
}

fn evaluation(
    c: &mut Collector,
    at: At<'_>,
    raw: Option<&v1::Evaluation>,
    context: &PayloadContext<'_>,
) -> Option<Evaluation> {
    let Some(raw) = raw else {
        if context.evaluation_required {
            c.fault(at, "missing: state source A, B, C or X and information 1 to 4");
        }
        return None;
    };
    if !["A", "B", "C", "X"].contains(&raw.source.as_str()) {
        c.fault(at.field("source"), "expected A, B, C or X");
    }
    if !(1..=4).contains(&raw.information) {
        c.fault(at.field("information"), "expected 1, 2, 3 or 4");
    }
    let source = raw.source.chars().next().unwrap_or('X');
    Some(Evaluation { source, information: u8::try_from(raw.information).unwrap_or_default() })
}

fn file(c: &mut Collector, at: At<'_>, raw: Option<&v1::AttachmentRef>) -> Option<AttachmentRef> {
    let raw = raw?;
    Some(AttachmentRef { sha256: c.digest(at.field("sha256"), &raw.sha256), size: raw.size })
}

fn detection(c: &mut Collector, at: At<'_>, raw: &v1::Detection) -> Detection {
    if !["sigma", "yara", "suricata"].contains(&raw.lang.as_str()) {
        c.fault(at.field("lang"), "expected sigma, yara or suricata");
    }
    Detection {
        lang: Name::parse(&raw.lang, limits::LINE_CHARS_MAX).unwrap_or_default(),
        body: c.prose(at.field("body"), &raw.body, "the rule"),
    }
}

fn related(c: &mut Collector, at: At<'_>, raw: &v1::Related) -> Related {
    Related {
        reference: c.name(at.field("ref"), &raw.r#ref, "what it is related to"),
        relation: c.name(at.field("relation"), &raw.relation, "how it is related"),
    }
}

fn dissemination(c: &mut Collector, at: At<'_>, raw: Option<&v1::Dissemination>) -> Dissemination {
    let Some(raw) = raw else {
        c.fault(at, "missing: state audience and onward");
        return Dissemination::default();
    };
    Dissemination {
        audience: c.known(at.field("audience"), raw.audience),
        onward: c.answer(at.field("onward"), raw.onward),
    }
}

/// First level of the Reference Security Incident Taxonomy.
const RSIT: [&str; 11] = [
    "abusive-content",
    "malicious-code",
    "information-gathering",
    "intrusion-attempts",
    "intrusions",
    "availability",
    "information-content-security",
    "fraud",
    "vulnerable",
    "other",
    "test",
];
