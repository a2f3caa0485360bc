//! The form of a preservation request (T-CY(2018)11, Article 29(2)), filled in step by step.
//!
//! Enter through [`Form::new`] and [`Interview`]. What is filled in is a message file, so that it
//! can be saved, edited and sent as any other; what is typed is checked by relay-proto's own
//! readers, at once and at the place where it was typed. Nothing here knows a node or a terminal:
//! the dialogue reads and writes lines.

mod interview;
mod questions;

use relay_proto::{
    file::MessageFile,
    ids::{MessageId, UnitId, Uuid},
    payload::{
        Completion, Fault, Faults, NewIds, PayloadContext, Place, ProfileDefaults, UnitFacts,
        all_kinds, complete,
    },
    timestamp::Timestamp,
    v1,
};
use serde_json::{Value, json};

pub use self::interview::{Choice, Interview};

/// A request that is being written.
#[derive(Debug, Clone)]
pub struct Form {
    /// As a message file.
    value: Value,
    /// How many items it has.
    items: usize,
    /// What times with `@` count from while it is written.
    now: Timestamp,
}

impl Form {
    /// An empty one; `person` and `organisation` are offered where the form asks for them.
    pub fn new(to: &UnitId, organisation: &str, now: Timestamp) -> Self {
        let mut value = json!({
            "env": {
                "kind": "PRESERVATION_REQUEST",
                "profile": "budapest-247",
                "to": [to.as_str()],
                "priority": "ROUTINE",
            },
            "request": {"status_of_request": "NEW", "items": [{"item_id": "1"}]},
        });
        if !organisation.is_empty() {
            put(&mut value, "request.requesting_authority.organisation", json!(organisation));
        }
        Self { value, items: 1, now }
    }

    /// Whom it goes to.
    pub fn to(&self) -> &str {
        self.at("env.to[0]").and_then(Value::as_str).unwrap_or_default()
    }

    /// The message file.
    pub fn file(&self) -> String {
        let text = serde_json::to_string_pretty(&self.value).unwrap_or_default();
        format!("{text}\n")
    }

    fn at(&self, path: &str) -> Option<&Value> {
        let mut value = &self.value;
        for part in parts(path) {
            value = match part {
                Part::Key(key) => value.get(key)?,
                Part::Place(place) => value.get(place)?,
            };
        }
        Some(value)
    }

    fn set(&mut self, path: &str, value: Value) {
        put(&mut self.value, path, value);
    }

    fn clear(&mut self, path: &str) {
        let Some((above, key)) = path.rsplit_once('.') else { return };
        if let Some(Value::Object(map)) = self.at(above).cloned() {
            let rest = map.into_iter().filter(|(of, _)| of != key).collect();
            self.set(above, Value::Object(rest));
        }
    }

    fn add_item(&mut self) {
        let place = self.items;
        self.items += 1;
        self.set(&format!("request.items[{place}].item_id"), json!(self.items.to_string()));
    }

    /// What is wrong at a place, or below it.
    fn faults_at(&self, path: &str) -> Vec<String> {
        let Err(faults) = self.checked() else { return Vec::new() };
        let below = |of: &str| {
            of.strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let told = |fault: &Fault| match fault.article {
            Some(article) => format!("{} (Article {article})", fault.text),
            None => fault.text.clone(),
        };
        faults.iter().filter(|fault| below(&fault.path)).map(told).collect()
    }

    /// The request as the reader and the checks of the wire format take it.
    fn checked(&self) -> Result<(), Faults> {
        let draft = MessageFile::parse(&self.value.to_string(), self.now)?;
        check(&draft, self.now)
    }
}

/// Checks a draft as a node would complete it; what a node takes from its card and its profile is
/// assumed to be there.
pub fn check(draft: &v1::Draft, now: Timestamp) -> Result<(), Faults> {
    let own = UnitFacts {
        organisation: "-".to_owned(),
        phone: "+1-202-555-0143".to_owned(),
        languages: vec!["en".to_owned()],
        ..UnitFacts::default()
    };
    let handling = v1::Handling {
        tlp: v1::Tlp::Amber.into(),
        classification: v1::Classification::Bpl.into(),
        ..Default::default()
    };
    let legal_basis = vec![v1::LegalBasis { instrument: "ETS185".into(), article: "29".into() }];
    let defaults = ProfileDefaults { handling, legal_basis, period_days: 90, ..Default::default() };
    let kinds: Vec<v1::Kind> = all_kinds().collect();
    // Any unit will do: the node states its own.
    let Ok(from) = "xy.ncu".parse() else { return Ok(()) };
    let completion = Completion {
        from: &from,
        own: &own,
        recipient: Some(&own),
        defaults: &defaults,
        ids: NewIds {
            message_id: MessageId::new(now, [0; 10]),
            case_id: Uuid::random([0; 16]),
            body_id: Uuid::random([1; 16]),
        },
        exercise: false,
        place: Place::default(),
    };
    complete(draft, &completion, &PayloadContext::new(draft.priority(), &kinds)).map(drop)
}

/// A step of a path.
enum Part<'a> {
    Key(&'a str),
    Place(usize),
}

/// `request.items[0].item_id`, step by step.
fn parts(path: &str) -> impl Iterator<Item = Part<'_>> {
    path.split(['.', '[']).map(|part| {
        let place = part.strip_suffix(']').and_then(|number| number.parse().ok());
        place.map_or(Part::Key(part), Part::Place)
    })
}

/// Puts a value at a path; objects and list places on the way are made.
fn put(root: &mut Value, path: &str, new: Value) {
    let mut value = root;
    for part in parts(path) {
        match part {
            Part::Key(key) => {
                if !value.is_object() {
                    *value = json!({});
                }
                let Value::Object(map) = value else { return };
                value = map.entry(key).or_insert(Value::Null);
            }
            Part::Place(place) => {
                if !value.is_array() {
                    *value = json!([]);
                }
                let Value::Array(list) = value else { return };
                while list.len() <= place {
                    list.push(json!({}));
                }
                let Some(element) = list.get_mut(place) else { return };
                value = element;
            }
        }
    }
    *value = new;
}
