//! JSON, read strictly: a key that comes twice is refused, for two readers could take different
//! ones. Whole lines that begin with `//` or `#` are comments.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The value of a text; the error says line and column.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    strict(&without_comments(text))
}

/// The same of a text that has no comments.
pub(crate) fn strict(text: &str) -> Result<Value, String> {
    let Strict(value) = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    Ok(value)
}

/// The text with comments as empty lines, so that lines keep their numbers. A text of JSON holds no
/// line end, so that no line inside of one can be taken for a comment.
fn without_comments(text: &str) -> Cow<'_, str> {
    let is_comment =
        |line: &str| line.trim_start().starts_with("//") || line.trim_start().starts_with('#');
    if !text.lines().any(is_comment) {
        return Cow::Borrowed(text);
    }
    let bare = text.split_inclusive('\n').map(|line| match is_comment(line) {
        true if line.ends_with('\n') => "\n",
        true => "",
        false => line,
    });
    Cow::Owned(bare.collect())
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StrictVisitor.deserialize(deserializer).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> DeserializeSeed<'de> for StrictVisitor {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(StrictVisitor)? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(StrictVisitor)?;
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("key {key:?} comes twice")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Doubles at any depth are refused with their line; all else is as serde_json reads it.
    #[test]
    fn doubled_keys_are_refused() {
        let text = r#"{"a":[1,-2,1.5,null,true,"x"],"b":{"a":{}}}"#;
        assert_eq!(parse(text).unwrap(), serde_json::from_str::<Value>(text).unwrap());
        let error = parse("{\n\"a\":[{\"b\":1,\n\"b\":1}]}").unwrap_err();
        assert!(error.contains("\"b\" comes twice") && error.contains("line 3"), "{error}");
        for bad in ["", "{", "{} {}", "{\"a\":1,}", "NaN"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        // What looks like a comment within a line is none, and lines keep their numbers.
        let text = "// a\n{\n  # b\n \"a\": \"// c\",\n  // \"b\": 2,\n \"d\": \"#\"\n}\n// e";
        assert_eq!(parse(text).unwrap(), serde_json::json!({"a": "// c", "d": "#"}));
        assert!(parse("// a\n{\n # b\n \"a\": 1 // c\n}").unwrap_err().contains("line 4"));
        assert!(parse("// nothing").is_err() && parse("{\"a\": \"x\n// y\"}").is_err());
        // Depth is bounded by the JSON reader.
        assert!(parse(&"[".repeat(100_000)).is_err());
    }
}
