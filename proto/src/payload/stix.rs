//! STIX 2.1 bundles (OASIS): carried opaque, never rewritten; what a node checks of them.
//!
//! Enter through [`check`]. It reads JSON, the identity of each object and the TLP markings; what
//! the objects say it leaves to their readers. Invariant: a bundle that passes has no object that
//! is marked more strictly than the alert that it goes with; a marking that is not known is the
//! strictest.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{file::strict_json, ids::Uuid, v1};

/// What is wrong with a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StixFault {
    /// Longer than [`STIX_BYTES_MAX`].
    #[error("{0} bytes, at most {STIX_BYTES_MAX} are read")]
    TooLarge(usize),
    /// Not UTF-8, not JSON, nested too deep, or a key that comes twice.
    #[error("{0}")]
    NotJson(String),
    /// Not a bundle with an id.
    #[error("not a STIX bundle: {0}")]
    NotABundle(&'static str),
    /// One object, by its place from 0.
    #[error("objects[{at}]: {what}")]
    Object {
        /// Its place.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// An object is marked more strictly than the alert.
    #[error("objects[{at}]: marked more strictly than the alert: raise its TLP")]
    Stricter {
        /// Its place.
        at: usize,
    },
}

/// Checks a bundle that goes with an alert of this TLP.
pub fn check(bytes: &[u8], tlp: v1::Tlp) -> Result<(), StixFault> {
    if bytes.len() > STIX_BYTES_MAX {
        return Err(StixFault::TooLarge(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| StixFault::NotJson(error.to_string()))?;
    let value = strict_json(text).map_err(StixFault::NotJson)?;
    let Value::Object(bundle) = &value else { return Err(StixFault::NotABundle("no object")) };
    if text_of(bundle, "type") != Some(BUNDLE) {
        return Err(StixFault::NotABundle("its `type` is not `bundle`"));
    }
    if !is_id(bundle, BUNDLE) {
        return Err(StixFault::NotABundle("its `id` is not `bundle--` and a UUID"));
    }
    // A bundle without objects may leave the list out.
    let objects = match bundle.get("objects") {
        None => &[][..],
        Some(Value::Array(objects)) => objects,
        Some(_) => return Err(StixFault::NotABundle("its `objects` are no list")),
    };
    let mut maps = Vec::with_capacity(objects.len());
    for (at, value) in objects.iter().enumerate() {
        let object = value.as_object().ok_or(StixFault::Object { at, what: "no object" })?;
        identity(object).map_err(|what| StixFault::Object { at, what })?;
        maps.push(object);
    }
    let marked = maps.iter().filter(|object| text_of(object, "type") == Some(MARKING));
    let defined: BTreeMap<&str, i32> =
        marked.filter_map(|object| Some((text_of(object, "id")?, level_of(object)))).collect();
    for (at, object) in maps.iter().enumerate() {
        let strictest = refs(object).map(|id| id.map_or(RED, |id| level(id, &defined)));
        if strictest.max().unwrap_or(0) > i32::from(tlp) {
            return Err(StixFault::Stricter { at });
        }
    }
    Ok(())
}

/// Type, id of that type and version; only observables may leave the version out.
fn identity(object: &Map<String, Value>) -> Result<(), &'static str> {
    let kind = text_of(object, "type").ok_or("no `type`")?;
    if !is_id(object, kind) {
        return Err("its `id` is not its type, `--` and a UUID");
    }
    match object.get("spec_version") {
        Some(Value::String(version)) if version == VERSION => Ok(()),
        None if OBSERVABLES.contains(&kind) => Ok(()),
        _ => Err("its `spec_version` is not `2.1`"),
    }
}

fn text_of<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

/// Any version of UUID: those of observables are made of their content.
fn is_id(object: &Map<String, Value>, kind: &str) -> bool {
    let id = text_of(object, "id").and_then(|id| id.strip_prefix(kind)?.strip_prefix("--"));
    id.is_some_and(|id| id.parse::<Uuid>().is_ok())
}

/// The markings of an object and of parts of it; none: one that is no id.
fn refs(object: &Map<String, Value>) -> impl Iterator<Item = Option<&str>> {
    let whole = object.get("object_marking_refs").map(elements).unwrap_or_default().iter();
    let parts = object.get("granular_markings").map(elements).unwrap_or_default().iter();
    // A part may be marked by its language alone.
    let parts = parts.filter(|part| part.get("lang").is_none());
    whole.map(Value::as_str).chain(parts.map(|part| part.get("marking_ref")?.as_str()))
}

/// The elements of a list; what is no list is one element that is no marking.
fn elements(value: &Value) -> &[Value] {
    match value {
        Value::Array(list) => list,
        other => std::slice::from_ref(other),
    }
}

/// Of a marking that an object refers to, as on the wire; 0: it says nothing about TLP.
fn level(id: &str, defined: &BTreeMap<&str, i32>) -> i32 {
    let known = PREDEFINED.iter().find(|(uuid, _)| {
        id.strip_prefix(MARKING).and_then(|id| id.strip_prefix("--")) == Some(uuid)
    });
    match known {
        Some((_, level)) => *level,
        None => defined.get(id).copied().unwrap_or(RED),
    }
}

/// Of a marking that the bundle defines. One of another kind than TLP says nothing about it.
fn level_of(object: &Map<String, Value>) -> i32 {
    let extension = object.get("extensions").and_then(|all| all.get(TLP_EXTENSION));
    let (name, is_tlp) = match extension {
        Some(extension) => (extension.get("tlp_2_0"), true),
        None => {
            let tlp = object.get("definition").and_then(|definition| definition.get("tlp"));
            (tlp, tlp.is_some() || text_of(object, "definition_type") == Some("tlp"))
        }
    };
    let name = name.and_then(Value::as_str).unwrap_or_default();
    match NAMES.iter().find(|(of, _)| *of == name) {
        Some((_, level)) => *level,
        None if is_tlp => RED,
        None => 0,
    }
}

/// Longest bundle that is read. It is read whole; STIX_BYTES_MAX of JSON take some ten times that.
pub const STIX_BYTES_MAX: usize = 8 << 20;

const BUNDLE: &str = "bundle";
const MARKING: &str = "marking-definition";
const VERSION: &str = "2.1";

const CLEAR: i32 = v1::Tlp::Clear as i32;
const GREEN: i32 = v1::Tlp::Green as i32;
const AMBER: i32 = v1::Tlp::Amber as i32;
const STRICT: i32 = v1::Tlp::AmberStrict as i32;
const RED: i32 = v1::Tlp::Red as i32;

/// TLP in STIX 2.1 and in its extension for TLP 2.0.
const NAMES: [(&str, i32); 6] = [
    ("white", CLEAR),
    ("clear", CLEAR),
    ("green", GREEN),
    ("amber", AMBER),
    ("amber+strict", STRICT),
    ("red", RED),
];

/// The markings that have one id everywhere: STIX 2.1, 7.2.1.4 (TLP 1.0, whose AMBER was for the
/// recipient's organisation and its clients, as that of 2.0), and the OASIS extension for TLP 2.0.
const PREDEFINED: [(&str, i32); 9] = [
    ("613f2e26-407d-48c7-9eca-b8e91df99dc9", CLEAR),
    ("34098fce-860f-48ae-8e50-ebd3cc5e41da", GREEN),
    ("f88d31f6-486f-44da-b317-01333bde0b82", AMBER),
    ("5e57c739-391a-4eb3-b6be-7d15ca92d5ed", RED),
    ("94868c89-83c2-464b-929b-a1a8aa3c8487", CLEAR),
    ("bab4a63c-aed9-4cf5-a766-dfca5abac2bb", GREEN),
    ("55d920b0-5e8b-4f79-9ee9-91f868d9b421", AMBER),
    ("939a9414-2ddd-4d32-a0cd-375ea402b003", STRICT),
    ("e828b379-4e03-4974-9ac4-e53a884c97c1", RED),
];

const TLP_EXTENSION: &str = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d";

/// STIX 2.1, 6: objects whose version may be left out.
const OBSERVABLES: [&str; 18] = [
    "artifact",
    "autonomous-system",
    "directory",
    "domain-name",
    "email-addr",
    "email-message",
    "file",
    "ipv4-addr",
    "ipv6-addr",
    "mac-addr",
    "mutex",
    "network-traffic",
    "process",
    "software",
    "url",
    "user-account",
    "windows-registry-key",
    "x509-certificate",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use serde_json::json;

    use super::*;

    const ID: &str = "0192f1a0-0001-4000-8000-000000000001";

    fn bundle(objects: Value) -> Value {
        json!({"type": "bundle", "id": format!("bundle--{ID}"), "objects": objects})
    }

    fn indicator(marking: Value) -> Value {
        json!({"type": "indicator", "spec_version": "2.1", "id": format!("indicator--{ID}"),
               "object_marking_refs": marking})
    }

    fn told(value: &Value, tlp: v1::Tlp) -> Result<(), StixFault> {
        check(value.to_string().as_bytes(), tlp)
    }

    /// Whatever is no bundle of STIX 2.1 is told, and where.
    #[test]
    fn only_bundles_pass() {
        let good = bundle(json!([
            {"type": "indicator", "spec_version": "2.1", "id": format!("indicator--{ID}")},
            {"type": "ipv4-addr", "id": format!("ipv4-addr--{ID}"), "value": "203.0.113.47"},
        ]));
        assert_eq!(told(&good, v1::Tlp::Clear), Ok(()));
        let bare = json!({"type": "bundle", "id": format!("bundle--{ID}")});
        assert_eq!(told(&bare, v1::Tlp::Clear), Ok(()));
        for bad in [
            json!([]),
            json!({"type": "report", "id": format!("report--{ID}")}),
            json!({"type": "bundle", "id": "bundle--1"}),
            json!({"type": "bundle", "id": format!("report--{ID}")}),
            bundle(json!({})),
        ] {
            assert!(matches!(told(&bad, v1::Tlp::Red), Err(StixFault::NotABundle(_))), "{bad}");
        }
        for object in [
            json!(1),
            json!({"id": format!("indicator--{ID}"), "spec_version": "2.1"}),
            json!({"type": "indicator", "spec_version": "2.1", "id": format!("malware--{ID}")}),
            json!({"type": "indicator", "spec_version": "2.0", "id": format!("indicator--{ID}")}),
            json!({"type": "indicator", "id": format!("indicator--{ID}")}),
            json!({"type": "url", "spec_version": "2.0", "id": format!("url--{ID}")}),
        ] {
            let fault = told(&bundle(json!([object])), v1::Tlp::Red).unwrap_err();
            assert!(matches!(fault, StixFault::Object { at: 0, .. }), "{object}: {fault}");
        }
        let not_json =
            |bytes: &[u8]| matches!(check(bytes, v1::Tlp::Red), Err(StixFault::NotJson(_)));
        assert!(not_json(b"{") && not_json(b"\xff") && not_json(&[b'['; 100_000]));
        assert!(not_json(b"{\"type\":\"bundle\",\"type\":\"bundle\"}"), "two readings");
        assert!(not_json(b"// a comment\n{}"), "no JSON of STIX has one");
        let long = vec![b' '; STIX_BYTES_MAX + 1];
        assert_eq!(check(&long, v1::Tlp::Red), Err(StixFault::TooLarge(long.len())));
    }

    /// No object is marked more strictly than the alert, by whichever way of marking.
    #[test]
    fn markings_are_not_stricter_than_the_alert() {
        let id = |uuid: &str| format!("{MARKING}--{uuid}");
        for (uuid, level) in PREDEFINED {
            for tlp in [v1::Tlp::Clear, v1::Tlp::Green, v1::Tlp::Amber, v1::Tlp::AmberStrict] {
                let found = told(&bundle(json!([indicator(json!([id(uuid)]))])), tlp);
                assert_eq!(found.is_ok(), level <= i32::from(tlp), "{uuid}, {tlp:?}");
            }
        }
        let part = json!({"type": "indicator", "spec_version": "2.1",
            "id": format!("indicator--{ID}"), "granular_markings": [
                {"selectors": ["name"], "lang": "de"},
                {"selectors": ["name"], "marking_ref": id(PREDEFINED[3].0)}]});
        assert_eq!(told(&bundle(json!([part])), v1::Tlp::Red), Ok(()));
        let stricter = Err(StixFault::Stricter { at: 0 });
        assert_eq!(told(&bundle(json!([part])), v1::Tlp::AmberStrict), stricter);
        // Nothing is known of it: the strictest.
        for unknown in [json!([id(ID)]), json!([7]), json!("x"), json!(null)] {
            let found = told(&bundle(json!([indicator(unknown.clone())])), v1::Tlp::AmberStrict);
            assert_eq!(found, stricter, "{unknown}");
            assert_eq!(told(&bundle(json!([indicator(unknown)])), v1::Tlp::Red), Ok(()));
        }
        // Defined in the bundle.
        let defined = |more: Value| -> i32 {
            let mut definition = json!({"type": MARKING, "spec_version": "2.1", "id": id(ID)});
            definition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let value = bundle(json!([indicator(json!([id(ID)])), definition]));
            let level = level_of(value["objects"][1].as_object().unwrap());
            for tlp in [v1::Tlp::Clear, v1::Tlp::Amber, v1::Tlp::AmberStrict, v1::Tlp::Red] {
                assert_eq!(told(&value, tlp).is_ok(), level <= i32::from(tlp), "{value}, {tlp:?}");
            }
            level
        };
        let levels = [
            json!({"definition_type": "tlp", "definition": {"tlp": "amber"}}),
            json!({"extensions": {TLP_EXTENSION: {"tlp_2_0": "amber+strict"}}}),
            json!({"definition_type": "tlp", "definition": {"tlp": "purple"}}),
            json!({"definition_type": "statement", "definition": {"statement": "(c)"}}),
        ];
        assert_eq!(levels.map(defined), [AMBER, STRICT, RED, 0]);
    }
}
