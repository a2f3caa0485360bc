//! Message files: JSON as people write it. The door to relay-proto's reader, with its faults as
//! ours.

use relay_proto::{
    file::{HeaderFacts, MessageFile, to_file},
    payload,
    timestamp::Timestamp,
    v1,
};
use serde_json::Value;

use crate::{failure::Fault, view::instant};

/// Reads a message file; all faults together.
pub fn parse(text: &str, now: Timestamp) -> Result<v1::Draft, Vec<Fault>> {
    MessageFile::parse(text, now).map_err(|faults| faults.iter().map(fault).collect())
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

fn fault(fault: &payload::Fault) -> Fault {
    Fault {
        path: fault.path.clone(),
        reason: Some(fault.label().to_owned()),
        article: fault.article.map(|article| format!("Article {article}")),
        what: fault.text.clone(),
    }
}
