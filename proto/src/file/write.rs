//! Writes a payload in the form of a message file.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::{
    ids::{Digest, Uuid},
    payload::{kinds::kinds, names::Named},
    timestamp::Timestamp,
    v1,
};

use super::{HeaderFacts, fields, walk::Walk};

/// The file form; whatever is not stated is not written.
pub(super) fn write(payload: &v1::Payload, header: &HeaderFacts) -> Value {
    let mut payload = payload.clone();
    let mut facts = header.clone();
    let mut w = Writer::default();
    let mut env = Writer::default();
    env.text("profile", &mut facts.profile);
    env.texts("to", &mut payload.to);
    env.name::<v1::Priority>("priority", &mut facts.priority);
    env.time("created_at", &mut facts.created_at.as_millis());
    env.time("expires_at", &mut facts.expires_at.as_millis());
    fields::common(&mut env, &mut payload);
    w.put("env", Value::Object(env.0));
    if let Some(body) = payload.body.take() {
        write_body(&mut w, body);
    }
    w.object("handling", &mut payload.handling, fields::handling);
    Value::Object(w.0)
}

macro_rules! bodies {
    ($($kind:ident $content:ident $fields:ident $key:literal $field:literal;)*) => {
        fn write_body(w: &mut Writer, body: v1::payload::Body) {
            match body {
                $(v1::payload::Body::$kind(body) => {
                    w.object($key, &mut Some(body), fields::$fields);
                })*
            }
        }
    };
}
kinds!(bodies);

#[derive(Default)]
struct Writer(Map<String, Value>);

impl Writer {
    fn put(&mut self, key: &'static str, value: Value) {
        self.0.insert(key.to_owned(), value);
    }
}

impl Walk for Writer {
    fn text(&mut self, key: &'static str, value: &mut String) {
        if !value.is_empty() {
            self.put(key, Value::String(std::mem::take(value)));
        }
    }

    fn texts(&mut self, key: &'static str, value: &mut Vec<String>) {
        if !value.is_empty() {
            self.put(key, value.drain(..).map(Value::String).collect());
        }
    }

    fn number(&mut self, key: &'static str, value: &mut u64) {
        if *value != 0 {
            self.put(key, Value::Number((*value).into()));
        }
    }

    fn percent(&mut self, key: &'static str, value: &mut u32) {
        if let Some(percent) = value.checked_sub(1) {
            self.put(key, Value::Number(percent.into()));
        }
    }

    fn flag(&mut self, key: &'static str, value: &mut bool) {
        if *value {
            self.put(key, Value::Bool(true));
        }
    }

    fn answer(&mut self, key: &'static str, value: &mut i32) {
        if let Some(answer) = v1::Answer::known(*value) {
            self.put(key, Value::Bool(answer == v1::Answer::Yes));
        }
    }

    fn time(&mut self, key: &'static str, value: &mut u64) {
        if *value != 0 {
            self.put(key, Value::String(Timestamp::from_millis(*value).to_string()));
        }
    }

    fn name<E: Named>(&mut self, key: &'static str, value: &mut i32) {
        if *value != 0 {
            self.put(key, name::<E>(*value));
        }
    }

    fn names<E: Named>(&mut self, key: &'static str, value: &mut Vec<i32>) {
        if !value.is_empty() {
            self.put(key, value.iter().map(|number| name::<E>(*number)).collect());
        }
    }

    fn uuid(&mut self, key: &'static str, value: &mut Bytes) {
        if !value.is_empty() {
            let text = Uuid::from_bytes(value).map(|uuid| uuid.to_string());
            self.put(key, Value::String(text.unwrap_or_else(|_| hex(value))));
        }
    }

    fn digest(&mut self, key: &'static str, value: &mut Bytes) {
        if !value.is_empty() {
            let text = Digest::from_bytes(value).map(|digest| digest.to_string());
            self.put(key, Value::String(text.unwrap_or_else(|_| hex(value))));
        }
    }

    fn object<T: Default>(
        &mut self,
        key: &'static str,
        value: &mut Option<T>,
        fields: fn(&mut Self, &mut T),
    ) {
        if let Some(inner) = value {
            self.put(key, object(inner, fields));
        }
    }

    fn objects<T: Default>(
        &mut self,
        key: &'static str,
        value: &mut Vec<T>,
        fields: fn(&mut Self, &mut T),
    ) {
        if !value.is_empty() {
            self.put(key, value.iter_mut().map(|inner| object(inner, fields)).collect());
        }
    }

    fn group<T>(&mut self, key: &'static str, value: &mut T, fields: fn(&mut Self, &mut T)) {
        if let Value::Object(inner) = object(value, fields)
            && !inner.is_empty()
        {
            self.put(key, Value::Object(inner));
        }
    }
}

fn object<T>(value: &mut T, fields: fn(&mut Writer, &mut T)) -> Value {
    let mut inner = Writer::default();
    fields(&mut inner, value);
    Value::Object(inner.0)
}

/// A value that a newer version sent is shown as its number.
fn name<E: Named>(number: i32) -> Value {
    E::known(number).map_or(Value::Number(number.into()), |known| known.name().into())
}

fn hex(bytes: &Bytes) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
