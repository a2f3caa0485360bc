//! Page tokens: opaque, bound to the query that they continue, without any authority in them.

use data_encoding::BASE64URL_NOPAD;
use relay_proto::{ids::Digest, reason::Reason};

use super::status::Problem;

/// A token that goes on at `place` of `query`.
pub(super) fn write(query: &str, place: &[u8]) -> String {
    BASE64URL_NOPAD.encode(&[mark(query).as_slice(), place].concat())
}

/// The place of a token of the same query; nothing for the first page.
pub(super) fn read(query: &str, token: &str) -> Result<Option<Vec<u8>>, Problem> {
    if token.is_empty() {
        return Ok(None);
    }
    let wrong = |text| Problem::field(Reason::BadCursor, "page_token", text);
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes());
    let bytes = bytes.map_err(|_| wrong("is not a token of this node"))?;
    match bytes.split_at_checked(MARK_BYTES) {
        Some((begin, place)) if begin == mark(query) => Ok(Some(place.to_vec())),
        _ => Err(wrong("belongs to another query: begin again without a token")),
    }
}

fn mark(query: &str) -> [u8; MARK_BYTES] {
    let digest = Digest::of_parts(&[b"relay/api/page\0", query.as_bytes()]);
    digest.as_bytes().first_chunk().copied().unwrap_or_default()
}

const MARK_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A token leads back to its place under its own query and is refused under any other.
    #[test]
    fn tokens_are_bound_to_their_query() {
        let token = write("direction = OUT", &7u64.to_be_bytes());
        assert_eq!(read("direction = OUT", &token).unwrap().unwrap(), 7u64.to_be_bytes());
        assert_eq!(read("direction = OUT", "").unwrap(), None);
        for (query, token) in [
            ("direction = IN", token.as_str()),
            ("direction = OUT", "!"),
            ("direction = OUT", "AA"),
        ] {
            assert_eq!(read(query, token).unwrap_err().reason(), Reason::BadCursor);
        }
    }
}
