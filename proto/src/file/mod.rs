//! Message files: the JSON form in which people write alerts and requests, and read them back.
//!
//! Enter through [`MessageFile::parse`] (file to draft) and [`to_file`] (payload to file). One
//! description of every field (`fields`) serves both directions, so what is written can be read.
//! May not use anything but `payload`, `ids`, `timestamp`. Invariant: a key that is not understood
//! is a fault, never dropped.

mod fields;
mod json;
mod read;
mod time;
mod walk;
mod write;

use serde_json::Value;

pub(crate) use self::json::strict as strict_json;
pub use self::time::parse as parse_time;
use crate::{
    payload::{Fault, Faults},
    timestamp::Timestamp,
    v1,
};

/// A message file.
pub struct MessageFile;

/// What the signed header says beside the payload; [`to_file`] writes it into `env`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderFacts {
    /// The network profile.
    pub profile: String,
    /// Number of the priority.
    pub priority: i32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When delivery is given up.
    pub expires_at: Timestamp,
}

impl MessageFile {
    /// Reads a file into a draft; `now` is what `"@+28d"` counts from. All faults are reported
    /// together, each with its path in the file. Mandatory fields that a node completes may be
    /// absent; the node checks the rest.
    pub fn parse(text: &str, now: Timestamp) -> Result<v1::Draft, Faults> {
        if text.len() > FILE_BYTES_MAX {
            let text = format!("{} bytes: {FILE_BYTES_MAX} at most", text.len());
            return Err(Faults::one(Fault::new("*", text)));
        }
        let value = json::parse(text).map_err(|why| Faults::one(Fault::new("*", why)))?;
        read::read(&value, now)
    }
}

impl From<&v1::Header> for HeaderFacts {
    fn from(header: &v1::Header) -> Self {
        Self {
            profile: header.profile.clone(),
            priority: header.priority,
            created_at: Timestamp::from_millis(header.created_at_ms),
            expires_at: Timestamp::from_millis(header.expires_at_ms),
        }
    }
}

/// The file form of a payload, with the same names and values as in a message file.
pub fn to_file(payload: &v1::Payload, header: &HeaderFacts) -> Value {
    write::write(payload, header)
}

/// Longest file: the largest payload, every character of it escaped.
const FILE_BYTES_MAX: usize = 2 * 1024 * 1024;

#[cfg(test)]
mod tests;
