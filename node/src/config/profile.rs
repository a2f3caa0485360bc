//! From a profile's file to a checked [`Profile`].
//!
//! Enter through [`read`]. The rules themselves are applied by `relay-core`; here they are only
//! read.

use std::time::Duration;

use relay_core::{
    case::{
        ByPriority, Targets,
        refusal::{Ground, Grounds},
    },
    exchange::Replies,
    profile::{Condition, KindRules, Lifetimes, Profile, Topology},
};
use relay_proto::{
    card::TREATIES,
    limits,
    payload::{self, all_kinds, kind_name},
    v1,
};

use super::{document::Section, units};

/// Reads a profile; faults are in the document.
pub(super) fn read(mut root: Section<'_, '_>) -> Option<Profile> {
    let id = root.mandatory("id", "\"budapest-247\"", |text| {
        let slug = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let fits = slug && (1..=ID_BYTES_MAX).contains(&text.len());
        if fits {
            Ok(text.to_owned())
        } else {
            Err("is not lower-case letters, digits, hyphens".into())
        }
    });
    let topology = root.choice("topology", Topology::Mesh, &[("mesh", Topology::Mesh)]);
    let treaty = root.choice("treaty", Some(v1::Treaty::Budapest), &treaties());
    let lifetimes = lifetimes(root.section("lifetimes"));
    let handling_default = handling(root.section("handling_default"));
    let min = root.number("min_preservation_days", MIN_DAYS, 1..=DAYS_MAX);
    let requested = root.number("requested_preservation_days", REQUESTED_DAYS, 1..=DAYS_MAX);
    if requested < min {
        let problem = format!("is below `min_preservation_days` ({min}): every request would fail");
        root.refuse("requested_preservation_days", problem, format!("choose {min} or more"));
    }
    let attachments_max = root.number("attachments_max", ATTACHMENTS, 0..=ATTACHMENTS_MAX);
    let attachment_bytes_max = root.size(
        "attachment_bytes_max",
        payload::ATTACHMENT_BYTES_MAX,
        1..=limits::ATTACHMENT_BYTES_MAX,
    );
    let languages = root
        .list("languages", LANGUAGES_MAX, "\"en\"", language)
        .unwrap_or_else(|| vec!["en".into()]);
    if languages.is_empty() {
        root.refuse("languages", "is empty".into(), "name one, as in `[\"en\"]`".into());
    }
    let kinds = kinds(&mut root);
    let targets = targets(&mut root);
    let refusal_grounds = refusal_grounds(&mut root, treaty.is_some());
    let two_officers = root.list("two_officers", all_kinds().count(), "\"WITHDRAWAL\"", kind);
    root.finish();
    Some(Profile {
        id: id?,
        topology,
        treaty,
        kinds,
        handling_default,
        lifetimes,
        min_preservation_days: min,
        requested_preservation_days: requested,
        attachments_max: usize::try_from(attachments_max).unwrap_or(limits::ATTACHMENTS_MAX),
        attachment_bytes_max,
        languages,
        refusal_grounds,
        targets,
        two_officers: two_officers.unwrap_or_default(),
    })
}

/// The treaties by name, and that there is none.
fn treaties() -> [(&'static str, Option<v1::Treaty>); 4] {
    let [first, second, third] = TREATIES.map(|(treaty, name)| (name, Some(treaty)));
    [first, second, third, ("none", None)]
}

/// The closed list, or a part of it: what rests on a treaty needs one, and a limit of domestic law
/// is no ground where there is one.
fn refusal_grounds(root: &mut Section<'_, '_>, has_treaty: bool) -> Grounds {
    let listed = root.list("refusal_grounds", GROUNDS.len(), "\"POLITICAL_OFFENCE\"", |text| {
        let found = GROUNDS.iter().find(|(name, _)| *name == text).map(|(_, ground)| *ground);
        match found {
            None => Err("is no ground of the closed list".to_owned()),
            Some(Ground::DualCriminalityReserved | Ground::NoTreatyRelation) if !has_treaty => {
                Err("rests on a treaty, and `treaty` is \"none\"".to_owned())
            }
            Some(Ground::DomesticLawLimit) if has_treaty => {
                Err("is for networks without a treaty alone".to_owned())
            }
            Some(ground) => Ok(ground),
        }
    });
    let default = if has_treaty { Grounds::TREATY } else { Grounds::BEST_EFFORT };
    listed.map_or(default, |listed| Grounds::of(&listed))
}

/// The network's own terms in a case.
fn targets(root: &mut Section<'_, '_>) -> Targets {
    let default = Targets::default();
    let limits = TARGET_MIN..=TARGET_MAX;
    let follow_up = root.duration("follow_up_target", default.follow_up, limits);
    let warnings = root.list("expiry_warnings", WARNINGS_MAX, "\"30d\"", |text| {
        let before = units::duration(text).ok_or("is not a duration, as in `30d` or `48h`")?;
        if before < TARGET_MIN || before > TARGET_MAX {
            return Err("is out of its limits, 1m to 365d".to_owned());
        }
        Ok(before)
    });
    let mut expiry_warnings = warnings.unwrap_or(default.expiry_warnings);
    expiry_warnings.sort_unstable_by(|a, b| b.cmp(a));
    expiry_warnings.dedup();
    if expiry_warnings.len() < WARNINGS_MIN {
        let problem = "names fewer than two: nothing may lapse without two warnings".to_owned();
        root.refuse(
            "expiry_warnings",
            problem,
            "name two or more, as in `[\"14d\", \"2d\"]`".into(),
        );
    }
    Targets {
        acknowledge: by_priority(root.section("ack_target"), default.acknowledge),
        decide: by_priority(root.section("decision_target"), default.decide),
        decide_risk: by_priority(root.section("risk_target"), default.decide_risk),
        follow_up,
        expiry_warnings,
        replies: replies(root.section("reply_target"), default.replies),
    }
}

/// What is expected outside of cases, by the kind that is to be answered.
fn replies(mut section: Section<'_, '_>, default: Replies) -> Replies {
    let limits = || TARGET_MIN..=TARGET_MAX;
    let replies = Replies {
        alert: by_priority(section.section("ALERT"), default.alert),
        deletion: section.duration("ALERT_CANCEL", default.deletion, limits()),
        offer: section.duration("CONDITIONAL_OFFER", default.offer, limits()),
        release: section.duration("HANDLING_RELEASE", default.release, limits()),
        assistance: by_priority(section.section("ASSISTANCE_REQUEST"), default.assistance),
        emergency: section.duration("EMERGENCY_REQUEST", default.emergency, limits()),
    };
    section.finish();
    replies
}

fn by_priority(mut section: Section<'_, '_>, default: ByPriority) -> ByPriority {
    let limits = TARGET_MIN..=TARGET_MAX;
    let targets = ByPriority {
        emergency: section.duration("EMERGENCY", default.emergency, limits.clone()),
        urgent: section.duration("URGENT", default.urgent, limits.clone()),
        routine: section.duration("ROUTINE", default.routine, limits),
    };
    section.finish();
    targets
}

fn kind(text: &str) -> Result<v1::Kind, String> {
    all_kinds().find(|kind| kind_name(*kind) == text).ok_or_else(|| {
        let near = super::document::nearest(text, all_kinds().map(kind_name));
        let hint = near.map(|name| format!(", did you mean \"{name}\"?"));
        format!("is not a kind that this version knows{}", hint.unwrap_or_default())
    })
}

fn kinds(root: &mut Section<'_, '_>) -> Vec<KindRules> {
    let example = "\"ALERT\", \"PRESERVATION_REQUEST\"";
    let allowed = root.list("kinds_allowed", all_kinds().count(), example, kind);
    if !root.has("kinds_allowed") || allowed.as_ref().is_some_and(Vec::is_empty) {
        let mend = format!("name some, as in `kinds_allowed = [{example}]`");
        root.refuse("kinds_allowed", "no kind is allowed, so nothing can be sent".into(), mend);
    }
    let allowed = allowed.unwrap_or_default();
    let conditional = conditional(root, &allowed);
    let condition_of = |kind| conditional.iter().find(|(of, _)| *of == kind).map(|(_, one)| *one);
    let mut section = root.section("legal_basis_default");
    let mut rules = Vec::new();
    // Every known kind may have one here, also a kind that is not allowed at the moment.
    for kind in all_kinds() {
        let name = kind_name(kind);
        let list = section.list(name, limits::LIST_MAX, "\"ETS185 29\"", legal_basis);
        let condition = condition_of(kind);
        if condition.is_some() || allowed.contains(&kind) {
            let legal_basis_default = list.unwrap_or_default();
            rules.push(KindRules { kind, legal_basis_default, condition });
        }
    }
    section.finish();
    rules
}

/// Kinds that are allowed between two units if their cards meet a condition.
fn conditional(root: &mut Section<'_, '_>, allowed: &[v1::Kind]) -> Vec<(v1::Kind, Condition)> {
    let mut section = root.section("kinds_conditional");
    let mut found = Vec::new();
    for kind in all_kinds() {
        let name = kind_name(kind);
        let condition = section.optional(name, "\"both.parties.2ap\"", |text| {
            let treaty = text.strip_prefix("both.parties.");
            let treaty = TREATIES.iter().find(|(_, name)| Some(*name) == treaty);
            treaty.map(|(treaty, _)| Condition::BothParties(*treaty)).ok_or_else(|| {
                "is no condition: expected \"both.parties.\" and budapest, 2ap or unc".to_owned()
            })
        });
        if condition.is_some() && allowed.contains(&kind) {
            let mend = "leave it in one of the two".to_owned();
            section.refuse(name, "stands in `kinds_allowed` as well".into(), mend);
        }
        found.extend(condition.map(|condition| (kind, condition)));
    }
    section.finish();
    found
}

fn lifetimes(mut section: Section<'_, '_>) -> Lifetimes {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let limits = limits::LIFETIME_MIN..=limits::LIFETIME_MAX;
    let lifetimes = Lifetimes {
        emergency: section.duration("EMERGENCY", hours(4), limits.clone()),
        urgent: section.duration("URGENT", hours(24), limits.clone()),
        routine: section.duration("ROUTINE", hours(120), limits),
    };
    section.finish();
    lifetimes
}

fn handling(mut section: Section<'_, '_>) -> v1::Handling {
    let tlp = section.choice("tlp", v1::Tlp::AmberStrict, &TLP);
    let pap = section.choice("pap", v1::Pap::Amber, &PAP);
    let class = section.choice("classification", v1::Classification::Bpl, &CLASSIFICATION);
    let europol = section.list("europol", EUROPOL.len(), "\"H1\"", |text| {
        let found = EUROPOL.iter().find(|(name, _)| *name == text);
        found.map(|(_, code)| i32::from(*code)).ok_or_else(|| "is not H0, H1, H2 or H3".to_owned())
    });
    section.finish();
    v1::Handling {
        tlp: tlp.into(),
        pap: pap.into(),
        europol: europol.unwrap_or_default(),
        classification: class.into(),
        conditions: Vec::new(),
        delete_by_ms: 0,
    }
}

fn legal_basis(text: &str) -> Result<v1::LegalBasis, String> {
    match text.split_once(' ') {
        Some((instrument, article)) if !instrument.is_empty() && !article.trim().is_empty() => {
            Ok(v1::LegalBasis { instrument: instrument.into(), article: article.into() })
        }
        _ => Err("is not an instrument, a space and an article".into()),
    }
}

/// The shape of a language tag (BCP 47, RFC 5646).
pub fn language(text: &str) -> Result<String, String> {
    let mut parts = text.split('-');
    let first = parts.next().unwrap_or_default();
    let primary = (2..=8).contains(&first.len()) && first.bytes().all(|b| b.is_ascii_lowercase());
    let part = |part: &str| {
        (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    if primary && text.len() <= LANGUAGE_BYTES_MAX && parts.all(part) {
        Ok(text.into())
    } else {
        Err("is not a language tag (BCP 47)".into())
    }
}

const GROUNDS: [(&str, Ground); 5] = [
    ("DUAL_CRIMINALITY_RESERVED", Ground::DualCriminalityReserved),
    ("POLITICAL_OFFENCE", Ground::PoliticalOffence),
    ("ESSENTIAL_INTERESTS", Ground::EssentialInterests),
    ("NO_TREATY_RELATION", Ground::NoTreatyRelation),
    ("DOMESTIC_LAW_LIMIT", Ground::DomesticLawLimit),
];

const TLP: [(&str, v1::Tlp); 5] = [
    ("CLEAR", v1::Tlp::Clear),
    ("GREEN", v1::Tlp::Green),
    ("AMBER", v1::Tlp::Amber),
    ("AMBER+STRICT", v1::Tlp::AmberStrict),
    ("RED", v1::Tlp::Red),
];

const PAP: [(&str, v1::Pap); 4] = [
    ("CLEAR", v1::Pap::Clear),
    ("GREEN", v1::Pap::Green),
    ("AMBER", v1::Pap::Amber),
    ("RED", v1::Pap::Red),
];

const CLASSIFICATION: [(&str, v1::Classification); 4] = [
    ("UNCLASSIFIED", v1::Classification::Unclassified),
    ("BPL", v1::Classification::Bpl),
    ("RESTRICTED", v1::Classification::Restricted),
    ("CONFIDENTIAL", v1::Classification::Confidential),
];

const EUROPOL: [(&str, v1::EuropolCode); 4] = [
    ("H0", v1::EuropolCode::H0),
    ("H1", v1::EuropolCode::H1),
    ("H2", v1::EuropolCode::H2),
    ("H3", v1::EuropolCode::H3),
];

/// Article 29(7): data are preserved for at least sixty days.
const MIN_DAYS: u32 = 60;

/// Article 16(2) speaks of ninety days.
const REQUESTED_DAYS: u32 = 90;

/// Attachments of a message, and what the wire takes at most.
const ATTACHMENTS: u32 = payload::ATTACHMENTS_MAX as u32;
const ATTACHMENTS_MAX: u32 = limits::ATTACHMENTS_MAX as u32;

/// Ten years: longer than any preservation.
const DAYS_MAX: u32 = 3650;

/// Terms of a case.
const TARGET_MIN: Duration = Duration::from_secs(60);
const TARGET_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Warnings before an end.
const WARNINGS_MIN: usize = 2;
const WARNINGS_MAX: usize = 16;

const ID_BYTES_MAX: usize = 32;
const LANGUAGES_MAX: usize = 32;

/// RFC 5646 4.4.1 recommends room for 35 characters.
const LANGUAGE_BYTES_MAX: usize = 35;
