//! Reads the JSON of a message file into a draft. Goes on after every fault, so that all are told
//! together.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::{
    ids::{Digest, UnitId, Uuid},
    limits,
    payload::{
        Fault, FaultCollector, Faults,
        kinds::{self, kinds},
        names::Named,
        unit_text,
    },
    timestamp::Timestamp,
    v1,
};

use super::{fields, time, walk::Walk};

/// The draft in a file's value.
pub(super) fn read(value: &Value, now: Timestamp) -> Result<v1::Draft, Faults> {
    let Value::Object(map) = value else {
        return Err(Faults::one(Fault::new(
            "*",
            "not an object: write {\"env\":{…},\"alert\":{…}}",
        )));
    };
    let mut r = Reader {
        map,
        path: String::new(),
        known: Vec::new(),
        now,
        faults: FaultCollector::default(),
    };
    let mut both = (v1::Draft::default(), v1::Payload::default());
    r.group("env", &mut both, env);
    let (mut draft, mut payload) = both;
    r.object("handling", &mut payload.handling, fields::handling);
    if !map.contains_key("env") {
        r.fault("env", "missing: state at least profile, to, priority and sender_ref");
    }
    let kind = r.kind(v1::Kind::known(payload.kind));
    payload.body = kind.and_then(|kind| r.content(kind));
    payload.kind = kind.unwrap_or_default() as i32;
    r.unknown_keys();
    draft.payload = Some(payload);
    r.faults.result(draft)
}

/// The routing facts and those fields of the payload that are written beside them.
fn env(r: &mut Reader<'_>, (draft, payload): &mut (v1::Draft, v1::Payload)) {
    r.text("profile", &mut draft.profile);
    r.texts("to", &mut draft.to);
    for (i, unit) in draft.to.iter().enumerate() {
        if let Err(error) = unit.parse::<UnitId>() {
            r.fault(&format!("env.to[{i}]"), unit_text(unit, &error));
        }
    }
    r.name::<v1::Priority>("priority", &mut draft.priority);
    let mut expires = 0;
    r.time("expires_at", &mut expires);
    draft.expire_time = (expires != 0).then(|| prost_types::Timestamp {
        seconds: i64::try_from(expires / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(expires % 1000 * 1_000_000).unwrap_or(0),
    });
    fields::common(r, payload);
    if let (false, Err(error)) = (payload.from.is_empty(), payload.from.parse::<UnitId>()) {
        r.fault("env.from", unit_text(&payload.from, &error));
    }
    // A file that was printed by `show` has them; sent again it is another message.
    for key in ["message_id", "created_at"] {
        if r.map.contains_key(key) {
            r.fault(&format!("env.{key}"), "the node makes it: leave it out");
        }
    }
    payload.message_id.clear();
    for key in ["profile", "to", "priority"] {
        if !r.map.contains_key(key) {
            r.fault(&format!("env.{key}"), "missing: the node needs it to send the message");
        }
    }
    r.known.push("created_at");
}

macro_rules! bodies {
    ($($kind:ident $content:ident $fields:ident $key:literal $field:literal;)*) => {
        impl Reader<'_> {
            /// What a message of this kind says; the other contents are no keys that are known.
            fn content(&mut self, kind: v1::Kind) -> Option<v1::payload::Body> {
                match kind {
                    $(v1::Kind::$kind => {
                        let mut content: Option<v1::$content> = None;
                        self.object($key, &mut content, fields::$fields);
                        content.map(v1::payload::Body::$kind)
                    })*
                    v1::Kind::Unspecified => None,
                }
            }
        }
    };
}
kinds!(bodies);

/// Where the reading is: one object of the file, and its path.
struct Reader<'a> {
    map: &'a Map<String, Value>,
    path: String,
    known: Vec<&'static str>,
    now: Timestamp,
    faults: FaultCollector,
}

impl<'a> Reader<'a> {
    /// The kind of the content that is there; it has to be the one that `env` states. Contents of
    /// other kinds are named, and known keys so that they are not named twice.
    fn kind(&mut self, stated: Option<v1::Kind>) -> Option<v1::Kind> {
        let map = self.map;
        let keys: Vec<&'static str> =
            kinds::all_keys().filter(|key| map.contains_key(*key)).collect();
        self.known.extend(&keys);
        let Some((first, others)) = keys.split_first() else {
            // For a key that is nearly one of them.
            self.known.extend(kinds::all_keys());
            let (path, wanted) = match stated.and_then(kinds::key) {
                Some(key) => (key, format!("missing: the content of {}", named(stated))),
                None => ("*", format!("no content: state one of {}", kinds::keys())),
            };
            self.fault(path, wanted);
            return None;
        };
        for other in others {
            let text = format!("beside `{first}`: one message says one thing, write two files");
            self.fault(other, text);
        }
        let mut possible = kinds::by_key(first);
        let kind = match stated {
            Some(kind) if possible.any(|of| of == kind) => kind,
            Some(_) => {
                let names: Vec<_> = possible.map(|kind| kind.name()).collect();
                self.fault("env.kind", format!("the content is of kind {}", names.join(" or ")));
                return None;
            }
            None => possible.next()?,
        };
        let several = stated.is_none() && kind != v1::Kind::Alert && kinds::is_shared(first);
        if several {
            let names: Vec<_> = kinds::by_key(first).map(|kind| kind.name()).collect();
            self.fault("env.kind", format!("missing: `{first}` is of {}", names.join(" or ")));
            return None;
        }
        Some(kind)
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        let value = self.map.get(key)?;
        if value.is_null() {
            self.bad(key, "null: state a value or leave the key out");
            return None;
        }
        Some(value)
    }

    fn string(&mut self, key: &'static str) -> Option<&'a str> {
        let value = self.value(key)?;
        let text = value.as_str();
        if text.is_none() {
            self.bad(key, "not a text: write it in quotation marks");
        }
        text
    }

    fn list(&mut self, key: &'static str) -> &'a [Value] {
        let Some(value) = self.value(key) else { return &[] };
        let Value::Array(list) = value else {
            self.bad(key, "not a list: write it in [ ]");
            return &[];
        };
        if list.len() > limits::LIST_MAX {
            let (got, max) = (list.len(), limits::LIST_MAX);
            self.bad(key, format!("{got} elements: {max} at most, split the message"));
            return &[];
        }
        list
    }

    /// Reads `value` as an object at `path` with its own keys, then comes back to this one.
    fn inside(&mut self, path: String, value: &'a Value, fields: impl FnOnce(&mut Self)) -> bool {
        let Value::Object(map) = value else {
            self.fault(&path, "not an object: write it in { }");
            return false;
        };
        let outer = (
            std::mem::replace(&mut self.map, map),
            std::mem::replace(&mut self.path, path),
            std::mem::take(&mut self.known),
        );
        fields(self);
        self.unknown_keys();
        (self.map, self.path, self.known) = outer;
        true
    }

    fn unknown_keys(&mut self) {
        let map = self.map;
        for key in map.keys().filter(|key| !self.known.contains(&key.as_str())).collect::<Vec<_>>()
        {
            // A key is shown escaped: it may hold anything.
            let shown: String = key.chars().take(KEY_CHARS_SHOWN).collect();
            let near = self.known.iter().find(|known| is_near(known, key));
            let text = match near {
                Some(near) => format!("unknown key: did you mean `{near}`?"),
                None if self.known.len() <= KEYS_LISTED_MAX => {
                    format!("unknown key: expected one of {}", self.known.join(", "))
                }
                None => "unknown key: remove or correct it".to_owned(),
            };
            let path = self.join(&crate::untrusted::Untrusted(shown).to_string());
            self.fault(&path, text);
        }
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn bad(&mut self, key: &str, text: impl Into<String>) {
        let path = self.join(key);
        self.fault(&path, text);
    }

    fn fault(&mut self, path: &str, text: impl Into<String>) {
        self.faults.push(Fault::new(path, text));
    }
}

impl Walk for Reader<'_> {
    fn text(&mut self, key: &'static str, value: &mut String) {
        if let Some(text) = self.string(key) {
            text.clone_into(value);
        }
    }

    fn texts(&mut self, key: &'static str, value: &mut Vec<String>) {
        for (i, element) in self.list(key).iter().enumerate() {
            match element.as_str() {
                Some(text) => value.push(text.to_owned()),
                None => self.bad(&format!("{key}[{i}]"), "not a text: write it in quotation marks"),
            }
        }
    }

    fn number(&mut self, key: &'static str, value: &mut u64) {
        let Some(raw) = self.value(key) else { return };
        match raw.as_u64() {
            Some(number) => *value = number,
            None => self.bad(key, "not a whole number from 0: write it without quotation marks"),
        }
    }

    fn percent(&mut self, key: &'static str, value: &mut u32) {
        let Some(raw) = self.value(key) else { return };
        match raw.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= 100) {
            Some(percent) => *value = percent + 1,
            None => self.bad(key, "not a whole number from 0 to 100"),
        }
    }

    fn flag(&mut self, key: &'static str, value: &mut bool) {
        let Some(raw) = self.value(key) else { return };
        match raw.as_bool() {
            Some(flag) => *value = flag,
            None => self.bad(key, "not a yes or no: write true or false"),
        }
    }

    fn answer(&mut self, key: &'static str, value: &mut i32) {
        let Some(raw) = self.value(key) else { return };
        match raw.as_bool() {
            Some(true) => *value = v1::Answer::Yes as i32,
            Some(false) => *value = v1::Answer::No as i32,
            None => self.bad(key, "not a yes or no: write true or false"),
        }
    }

    fn time(&mut self, key: &'static str, value: &mut u64) {
        let Some(text) = self.string(key) else { return };
        match time::parse(text, self.now) {
            // The epoch itself is "not stated" on the wire.
            Ok(time) if time.as_millis() == 0 => self.bad(key, "before 1970: correct it"),
            Ok(time) => *value = time.as_millis(),
            Err(why) => self.bad(key, why),
        }
    }

    fn name<E: Named>(&mut self, key: &'static str, value: &mut i32) {
        let Some(text) = self.string(key) else { return };
        match E::by_name(text) {
            Some(known) => *value = known.into(),
            None => self.bad(key, format!("unknown name: expected one of {}", E::names())),
        }
    }

    fn names<E: Named>(&mut self, key: &'static str, value: &mut Vec<i32>) {
        for (i, element) in self.list(key).iter().enumerate() {
            match element.as_str().and_then(E::by_name) {
                Some(known) => value.push(known.into()),
                None => {
                    let text = format!("unknown name: expected one of {}", E::names());
                    self.bad(&format!("{key}[{i}]"), text);
                }
            }
        }
    }

    fn uuid(&mut self, key: &'static str, value: &mut Bytes) {
        let Some(text) = self.string(key) else { return };
        match text.parse::<Uuid>() {
            Ok(uuid) => *value = Bytes::copy_from_slice(uuid.as_bytes()),
            Err(error) => self.bad(key, error.to_string()),
        }
    }

    fn digest(&mut self, key: &'static str, value: &mut Bytes) {
        let Some(text) = self.string(key) else { return };
        match text.parse::<Digest>() {
            Ok(digest) => *value = Bytes::copy_from_slice(digest.as_bytes()),
            Err(error) => self.bad(key, error.to_string()),
        }
    }

    fn object<T: Default>(
        &mut self,
        key: &'static str,
        value: &mut Option<T>,
        fields: fn(&mut Self, &mut T),
    ) {
        let Some(raw) = self.value(key) else { return };
        let (path, mut inner) = (self.join(key), T::default());
        if self.inside(path, raw, |r| fields(r, &mut inner)) {
            *value = Some(inner);
        }
    }

    fn objects<T: Default>(
        &mut self,
        key: &'static str,
        value: &mut Vec<T>,
        fields: fn(&mut Self, &mut T),
    ) {
        for (i, element) in self.list(key).iter().enumerate() {
            let (path, mut inner) = (self.join(&format!("{key}[{i}]")), T::default());
            if self.inside(path, element, |r| fields(r, &mut inner)) {
                value.push(inner);
            }
        }
    }

    fn group<T>(&mut self, key: &'static str, value: &mut T, fields: fn(&mut Self, &mut T)) {
        let Some(raw) = self.value(key) else { return };
        let path = self.join(key);
        self.inside(path, raw, |r| fields(r, value));
    }
}

fn named(kind: Option<v1::Kind>) -> &'static str {
    kind.unwrap_or_default().name()
}

/// One letter wrong, missing or too many, or two exchanged.
fn is_near(known: &str, key: &str) -> bool {
    let (a, b) = (known.as_bytes(), key.as_bytes());
    if a.len().abs_diff(b.len()) > 1 {
        return false;
    }
    let head = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let tail = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let differing = a.len().max(b.len()).saturating_sub(head + tail);
    let exchanged = a.len() == b.len()
        && differing == 2
        && a.get(head) == b.get(head + 1)
        && a.get(head + 1) == b.get(head);
    differing <= 1 || exchanged
}

/// Keys of the file's objects are short; a longer one is cut in the fault.
const KEY_CHARS_SHOWN: usize = 64;

/// More keys than that are not listed in a fault.
const KEYS_LISTED_MAX: usize = 16;
