//! Arguments of calls: request ids, units, names of messages, page sizes.

use relay_proto::{
    ids::{MessageId, RequestId, ShortId, UnitId},
    reason::Reason,
};

use super::status::Problem;
use crate::store::{Store, records::MessageRecord};

/// The caller's key for safe repetition; mandatory.
pub(super) fn request_id(text: &str) -> Result<RequestId, Problem> {
    let wanted = "expected a UUID that you make anew for each new request and repeat with it";
    text.parse().map_err(|_| Problem::field(Reason::RequestIdMissing, "request_id", wanted))
}

/// A unit, with or without `peers/`.
pub(super) fn unit(text: &str) -> Result<UnitId, Problem> {
    let text = text.strip_prefix("peers/").unwrap_or(text);
    text.parse().map_err(|error: relay_proto::ids::IdError| {
        Problem::field(Reason::Malformed, "unit", error.to_string())
    })
}

/// The message of a name: `messages/{id}`, an id, or its last eight characters.
pub(super) fn message(store: &Store, name: &str) -> Result<MessageRecord, Problem> {
    let text = name.strip_prefix("messages/").unwrap_or(name);
    let found = match (text.parse::<MessageId>(), text.parse::<ShortId>()) {
        (Ok(id), _) => store.by_id(&id)?,
        (_, Ok(short)) => store.by_short_id(&short)?,
        _ => {
            let wanted = "expected a message id or its eight characters, as in `7F3K-22QD`";
            return Err(Problem::field(Reason::Malformed, "name", wanted));
        }
    };
    match found.as_slice() {
        [] => Err(no_message(name)),
        [one] => {
            let record = store.message(one)?;
            record.ok_or_else(|| Problem::internal("an id leads to no message"))
        }
        several => {
            let mut candidates = Vec::new();
            for digest in several {
                let record = store.message(digest)?;
                let id = record.as_ref().and_then(MessageRecord::message_id);
                candidates.extend(id.map(|id| id.to_string()));
            }
            let text = "several messages have this name; use the whole id";
            let problem = Problem::field(Reason::Ambiguous, "name", text);
            Err(problem.with("candidates", candidates.join(" ")))
        }
    }
}

/// There is none of this name, or the caller may not know of it.
pub(super) fn no_message(name: &str) -> Problem {
    let text = name.strip_prefix("messages/").unwrap_or(name);
    Problem::text(Reason::NotFound, "no such message").with("name", text)
}

/// The size of a page: 50 by default, 1000 at most.
pub(super) fn page_size(asked: i32) -> Result<usize, Problem> {
    match usize::try_from(asked) {
        Ok(0) => Ok(PAGE_DEFAULT),
        Ok(size) => Ok(size.min(PAGE_MAX)),
        Err(_) => Err(Problem::field(Reason::Malformed, "page_size", "is below zero")),
    }
}

/// The text of who does something: stated, one line, short.
pub(super) fn person(path: &'static str, text: &str) -> Result<String, Problem> {
    line(path, text, relay_proto::limits::ACTOR_CHARS_MAX)
}

/// A text of one line.
pub(super) fn line(path: &'static str, text: &str, max: usize) -> Result<String, Problem> {
    let text = text.trim();
    let sound =
        !text.is_empty() && text.chars().count() <= max && !text.chars().any(char::is_control);
    let wanted = format!("expected one line of 1 to {max} characters");
    if sound { Ok(text.into()) } else { Err(Problem::field(Reason::InvalidContent, path, wanted)) }
}

const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A request id is a UUID in one spelling; a page is never larger than the bound.
    #[test]
    fn arguments_are_checked() {
        let id = "4b0ffb2e-6f0c-4e5f-8a0e-0a7a4f6c8a11";
        assert_eq!(request_id(id).unwrap().to_string(), id);
        for bad in ["", "1", "4B0FFB2E-6F0C-4E5F-8A0E-0A7A4F6C8A11"] {
            assert_eq!(request_id(bad).unwrap_err().reason(), Reason::RequestIdMissing);
        }
        assert_eq!((page_size(0), page_size(7), page_size(5000)), (Ok(50), Ok(7), Ok(1000)));
        assert_eq!(page_size(-1).unwrap_err().reason(), Reason::Malformed);
        assert_eq!(unit("peers/xa.cyber-poc").unwrap().as_str(), "xa.cyber-poc");
        assert_eq!(unit("XA").unwrap_err().reason(), Reason::Malformed);
        for bad in ["", "  ", "a\u{7}b", &"x".repeat(2000)] {
            assert!(person("by", bad).is_err());
        }
        assert_eq!(person("by", " Desk 1 ").unwrap(), "Desk 1");
    }
}
