//! Message files: JSON as people write it. The door to relay-proto's reader, with its faults as
//! ours.

use relay_proto::{
    file::{HeaderFacts, MessageFile, to_file},
    payload,
    reason::Reason,
    timestamp::Timestamp,
    v1,
};
use serde_json::Value;

use crate::{failure::Fault, view::instant};

/// Reads a message file; all faults together. What a template left to be filled in is told before
/// all else: as a text, a `?` would be sent.
pub fn parse(text: &str, now: Timestamp) -> Result<v1::Draft, Vec<Fault>> {
    let read = MessageFile::parse(text, now);
    let open = read.as_ref().map(blanks).unwrap_or_default();
    match read {
        Err(faults) => Err(faults.iter().map(fault).collect()),
        Ok(_) if !open.is_empty() => Err(open),
        Ok(draft) => Ok(draft),
    }
}

/// Where a draft still has a template's question mark.
fn blanks(draft: &v1::Draft) -> Vec<Fault> {
    let mut found = Vec::new();
    let payload = draft.payload.as_ref();
    let file = payload.map(|payload| to_file(payload, &HeaderFacts::default()));
    if let Some(file) = file {
        collect_blanks(&file, String::new(), &mut found);
    }
    found
}

fn collect_blanks(value: &Value, path: String, found: &mut Vec<Fault>) {
    match value {
        Value::String(text) if text == BLANK => found.push(Fault {
            path,
            reason: Some(Reason::InvalidContent.label().to_owned()),
            article: None,
            what: "still to be filled in: state it, or delete the line if it may be left out"
                .to_owned(),
        }),
        Value::Array(list) => {
            for (i, value) in list.iter().enumerate() {
                collect_blanks(value, format!("{path}[{i}]"), found);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect_blanks(value, below, found);
            }
        }
        _ => {}
    }
}

/// The content of a message as the file that would make it; null where the node gave none.
pub fn content(message: &v1::Message) -> Value {
    let header = HeaderFacts {
        profile: message.profile.clone(),
        priority: message.priority,
        created_at: instant(message.create_time.as_ref()).unwrap_or_default(),
        expires_at: instant(message.expire_time.as_ref()).unwrap_or_default(),
    };
    message.payload.as_ref().map_or(Value::Null, |payload| to_file(payload, &header))
}

/// A fault of relay-proto as ours.
pub fn fault(fault: &payload::Fault) -> Fault {
    Fault {
        path: fault.path.clone(),
        reason: Some(fault.label().to_owned()),
        article: fault.article.map(|article| format!("Article {article}")),
        what: fault.text.clone(),
    }
}

/// What a template has in the place of a value.
const BLANK: &str = "?";
