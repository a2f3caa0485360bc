//! Message files: JSON as people write it. The door to relay-proto's reader, with its faults as
//! ours.

use relay_proto::{timestamp::Timestamp, v1};
use serde_json::Value;

use crate::failure::Fault;

/// Reads a message file; all faults together.
///
/// Stand-in until relay-proto reads message files: recipients, profile, priority and kind only.
pub fn parse(text: &str, _now: Timestamp) -> Result<v1::Draft, Vec<Fault>> {
    let fault =
        |path: &str, what: String| Fault { path: path.to_owned(), article: None, what, mend: None };
    let file: Value =
        serde_json::from_str(text).map_err(|error| vec![fault("file", format!("{error}"))])?;
    let word = |name: &str| file.pointer(&format!("/env/{name}")).and_then(Value::as_str);
    let mut faults = Vec::new();
    let to = file.pointer("/env/to").and_then(Value::as_array).cloned().unwrap_or_default();
    let to: Vec<String> = to.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if to.is_empty() {
        faults.push(fault("env.to", "name at least one recipient".to_owned()));
    }
    let body = match word("kind") {
        Some("ALERT") => Some(v1::payload::Body::Alert(v1::Alert::default())),
        Some("PRESERVATION_REQUEST") => {
            Some(v1::payload::Body::PreservationRequest(v1::PreservationRequest::default()))
        }
        _ => {
            faults.push(fault("env.kind", "expected ALERT or PRESERVATION_REQUEST".to_owned()));
            None
        }
    };
    let priority = word("priority").map(|word| format!("PRIORITY_{word}")).unwrap_or_default();
    let priority = v1::Priority::from_str_name(&priority).unwrap_or_default();
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(v1::Draft {
        profile: word("profile").unwrap_or_default().to_owned(),
        to,
        priority: priority.into(),
        payload: Some(v1::Payload { body, ..Default::default() }),
        ..Default::default()
    })
}

/// The content of a message as the file that would make it.
pub fn content(_message: &v1::Message) -> Value {
    Value::Null
}
