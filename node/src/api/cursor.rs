//! Cursors of events: `sequence.n` means that `n` events of that fact, and all of earlier facts,
//! were seen.

use std::{fmt, str::FromStr};

use relay_proto::reason::Reason;

use super::status::Problem;

/// A place in the row of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor {
    /// The journal's sequence.
    pub seq: u64,
    /// How many events of that fact were seen.
    pub seen: u32,
}

impl Cursor {
    /// Before everything.
    pub const START: Self = Self { seq: 1, seen: 0 };

    /// The cursor of a request, which must not lie beyond what is durable.
    pub fn of_request(text: &str, durable: u64) -> Result<Self, Problem> {
        if text.is_empty() {
            return Ok(Self::START);
        }
        let wrong = |text| Problem::field(Reason::BadCursor, "cursor", text);
        let cursor: Self = text.parse().map_err(|()| wrong("is not a cursor of this node"))?;
        let known = durable.saturating_add(1);
        if cursor.seq > known || (cursor.seq == known && cursor.seen > 0) {
            let text = "is beyond the last event: this store was set back, or it is another node's";
            return Err(wrong(text));
        }
        Ok(cursor)
    }

    /// After all events of a fact.
    pub fn after(seq: u64) -> Self {
        Self { seq: seq.saturating_add(1), seen: 0 }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.seq, self.seen)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (seq, seen) = text.split_once('.').ok_or(())?;
        let cursor = Self { seq: seq.parse().map_err(drop)?, seen: seen.parse().map_err(drop)? };
        // One spelling only, and the first sequence is 1.
        if cursor.seq == 0 || cursor.to_string() != text { Err(()) } else { Ok(cursor) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Cursors read back as written; others, and those of a future, are refused.
    #[test]
    fn cursors_are_checked() {
        let cursor = Cursor { seq: 9, seen: 2 };
        assert_eq!(Cursor::of_request("9.2", 9).unwrap(), cursor);
        assert_eq!(Cursor::of_request("10.0", 9).unwrap(), Cursor::after(9));
        assert_eq!(Cursor::of_request("", 9).unwrap(), Cursor::START);
        for bad in ["10.1", "11.0", "9", "9.", ".2", "09.2", "+9.2", "0.0", "9.2.1", "x"] {
            let problem = Cursor::of_request(bad, 9).unwrap_err();
            assert_eq!(problem.reason(), Reason::BadCursor, "{bad}");
        }
    }
}
