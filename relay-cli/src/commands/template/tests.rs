//! Every template, filled from the samples of the wire format, is a message that a node would take.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::BTreeSet, fs, path::PathBuf};

use relay_proto::{file::MessageFile, timestamp::Timestamp};
use serde_json::{Map, Value};

use super::*;

fn now() -> Timestamp {
    "2026-03-02T08:15:00Z".parse().unwrap()
}

/// The samples of the wire format, with their kinds.
fn samples() -> Vec<(v1::Kind, Value)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/samples");
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let draft = MessageFile::parse(&text, now()).unwrap();
        (relay_proto::payload::kind_of_draft(&draft), serde_json::from_str(&text).unwrap())
    };
    paths.iter().map(read).collect()
}

/// The kinds that a desk sends.
fn kinds() -> impl Iterator<Item = v1::Kind> {
    all_kinds().filter(|kind| *kind != v1::Kind::ExpiryWarning)
}

/// Fields that are commented out begin with a quotation mark; all other comments are prose.
fn with_all_fields(text: &str) -> String {
    text.replace("// \"", "\"")
}

fn json(text: &str) -> Value {
    let bare: Vec<&str> =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    serde_json::from_str(&bare.join("\n")).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Puts a sample's values where the template has a question mark; what the sample leaves out goes.
fn fill(template: &Value, sample: Option<&Value>) -> Option<Value> {
    match template {
        Value::String(text) if text == "?" => sample.cloned(),
        Value::Array(list) => {
            let first = sample?.as_array()?.first();
            let one = fill(list.first()?, first)?;
            Some(Value::Array(vec![one]))
        }
        Value::Object(map) => {
            let sample = sample?;
            let mut filled = Map::new();
            for (key, value) in map {
                filled.extend(fill(value, sample.get(key)).map(|value| (key.clone(), value)));
            }
            Some(Value::Object(filled))
        }
        stated => Some(stated.clone()),
    }
}

/// Paths of all fields, list places left out.
fn paths(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            found.insert(format!("{at}.{key}"));
            paths(value, &format!("{at}.{key}"), found);
        }),
        Value::Array(list) => list.iter().for_each(|value| paths(value, at, found)),
        _ => {}
    }
}

fn paths_of(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    paths(value, "", &mut found);
    found
}

/// Kinds of which the sample says a word that asks for a field which else may be left out: what is
/// refused, changed, granted or found.
const DEPENDENT: &[v1::Kind] = &[
    v1::Kind::AlertUpdate,
    v1::Kind::ConditionReply,
    v1::Kind::RiskDecision,
    v1::Kind::PreservationDecision,
    v1::Kind::ExtensionDecision,
    v1::Kind::Closure,
    v1::Kind::EmergencyRequest,
    v1::Kind::EmergencyReply,
    v1::Kind::HandlingRelease,
];

/// Each template with the values of each sample of its kind: a valid draft. What is not commented
/// out is what every message of the kind has to say, and enough.
#[test]
fn every_template_can_be_filled_in() {
    let samples = samples();
    for kind in kinds() {
        let text = whole(kind).unwrap();
        let (fewest, most) = (json(&text), json(&with_all_fields(&text)));
        let of_kind = samples.iter().filter(|(of, _)| *of == kind).map(|(_, sample)| sample);
        // Two samples of one kind may be two things: the first one that has all that is asked for.
        let (mut valid, mut enough) = (0, false);
        for sample in of_kind {
            let filled = fill(&most, Some(sample)).unwrap();
            let missing: Vec<String> =
                paths_of(&fewest).difference(&paths_of(&filled)).cloned().collect();
            if !missing.is_empty() {
                continue;
            }
            let draft = MessageFile::parse(&filled.to_string(), now());
            let draft = draft.unwrap_or_else(|faults| panic!("{kind:?}: {faults}"));
            crate::form::check(&draft, now()).unwrap_or_else(|faults| panic!("{kind:?}: {faults}"));
            valid += 1;
            let least = fill(&fewest, Some(sample)).unwrap();
            let draft = MessageFile::parse(&least.to_string(), now()).unwrap();
            enough |= crate::form::check(&draft, now()).is_ok();
        }
        assert!(valid > 0, "{kind:?}: no sample has all that the template asks for");
        assert_eq!(enough, !DEPENDENT.contains(&kind), "{kind:?}: what is not commented out");
    }
}

/// Every field that a sample states is in the template of its kind, and none that the reader does
/// not know.
#[test]
fn templates_have_the_fields_of_the_format() {
    // `from` may be stated and has to be ours; a new revision is a request of its own.
    let left_out = [".env.from", ".info_reply.request"];
    for (kind, sample) in samples().iter().filter(|(kind, _)| *kind != v1::Kind::ExpiryWarning) {
        let most = json(&with_all_fields(&whole(*kind).unwrap()));
        let missing: Vec<String> = paths_of(sample).difference(&paths_of(&most)).cloned().collect();
        let missing: Vec<_> = missing
            .iter()
            .filter(|path| !left_out.iter().any(|out| path.starts_with(out)))
            .collect();
        assert!(missing.is_empty(), "{kind:?}: {missing:?}");
    }
    for kind in kinds() {
        let most = with_all_fields(&whole(kind).unwrap());
        let Err(faults) = MessageFile::parse(&most, now()) else { panic!("{kind:?}: no fault") };
        assert!(!faults.to_string().contains("unknown key"), "{kind:?}: {faults}");
    }
}

/// Where the format has a closed list of words, the template names all of them.
#[test]
fn templates_name_every_word() {
    for kind in kinds() {
        let text = whole(kind).unwrap();
        let Err(faults) = MessageFile::parse(&with_all_fields(&text), now()) else {
            panic!("{kind:?}: no fault");
        };
        for fault in faults.iter() {
            let Some((_, list)) = fault.text.split_once("expected one of ") else { continue };
            for word in list.split(", ") {
                assert!(text.contains(word), "{kind:?}: {} lacks {word}", fault.path);
            }
        }
    }
}

/// A template fits a terminal, comments included, but for fields that are commented out as one.
#[test]
fn templates_are_narrow() {
    for kind in kinds() {
        for line in whole(kind).unwrap().lines() {
            let is_field = line.trim_start().trim_start_matches("// ").starts_with('"');
            assert!(is_field || line.chars().count() <= 80, "{kind:?}: {line}");
            assert!(!line.contains('\t') && line.trim_end() == line, "{kind:?}: {line:?}");
        }
    }
    assert_eq!(by_name("art29"), Some(v1::Kind::PreservationRequest));
    assert!(by_name("expiry-warning").and_then(whole).is_none());
}
