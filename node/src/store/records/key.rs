//! How keys of the trees are made.

use relay_proto::{
    envelope::Priority,
    ids::{Digest, MessageId, ShortId, UnitId},
    timestamp::Timestamp,
};

use super::{TRANSFERS_KEPT, TermRecord};

/// Short id || digest of sender and message id: one record per sender and message id, found by
/// eight characters. 136 bits of the digest: sled keeps a key of up to 22 bytes in its node.
pub fn by_id(from: &UnitId, id: &MessageId) -> Vec<u8> {
    let digest = Digest::of_parts(&[from.as_str().as_bytes(), b"\0", id.as_bytes()]);
    let short = id.short();
    let parts = short.as_bytes().iter().chain(digest.as_bytes());
    parts.copied().take(BY_ID_BYTES).collect()
}

/// The prefix of all messages with this short id.
pub fn short(id: &ShortId) -> Vec<u8> {
    id.as_bytes().to_vec()
}

/// SHA-256 of an attachment || header digest of a message that lists it.
pub fn attachment(sha256: &[u8], message: &Digest) -> Vec<u8> {
    [sha256, message.as_bytes()].concat()
}

/// Header digest || recipient.
pub fn entry(digest: &Digest, recipient: &str) -> Vec<u8> {
    [digest.as_bytes().as_slice(), recipient.as_bytes()].concat()
}

/// Peer || 0 || lane || number: open entries in the order in which they are sent.
pub fn due(peer: &str, lane: Priority, number: u64) -> Vec<u8> {
    let lane = [super::priority_number(lane) as u8];
    [peer.as_bytes(), b"\0", &lane, &number.to_be_bytes()].concat()
}

/// Expiry || header digest || recipient.
pub fn expiry(at: Timestamp, digest: &Digest, recipient: &str) -> Vec<u8> {
    [&at.as_millis().to_be_bytes()[..], digest.as_bytes(), recipient.as_bytes()].concat()
}

/// Id || 1: what was decided about an approval, beside what was asked.
pub fn decided(id: &[u8]) -> Vec<u8> {
    [id, &[1]].concat()
}

/// Header digest || sequence || number within the event.
pub fn receipt(digest: &Digest, seq: u64, nth: u32) -> Vec<u8> {
    [digest.as_bytes().as_slice(), &seq.to_be_bytes(), &nth.to_be_bytes()].concat()
}

/// Header digest || start of the digest of a statement about that message.
pub fn statement(digest: &Digest, statement: &[u8]) -> Vec<u8> {
    let of = Digest::of(statement);
    digest.as_bytes().iter().chain(of.as_bytes()).copied().take(STATEMENT_BYTES).collect()
}

/// Peer || 0 || number.
pub fn numbered(peer: &str, number: u64) -> Vec<u8> {
    [peer.as_bytes(), b"\0", &number.to_be_bytes()].concat()
}

/// Unit || 0: before the digests of its cards.
pub fn cards(unit: &str) -> Vec<u8> {
    [unit.as_bytes(), b"\0"].concat()
}

/// Unit || 0 || digest of the card.
pub fn card(unit: &str, card: &[u8]) -> Vec<u8> {
    [&cards(unit)[..], Digest::of(card).as_bytes()].concat()
}

/// Name || 0 || peer.
pub fn counter(name: &str, peer: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0", peer.as_bytes()].concat()
}

/// Generation of our log || index of a leaf. The value: the hashes of the subtrees that the
/// leaf completes, itself first, each level above the last.
pub fn leaf_hashes(generation: u32, leaf: u64) -> Vec<u8> {
    [&generation.to_be_bytes()[..], &leaf.to_be_bytes()].concat()
}

/// Peer || 0 || place among its last transfers; a number takes the place of one long past.
pub fn transfer(peer: &str, number: u64) -> Vec<u8> {
    numbered(peer, number % TRANSFERS_KEPT)
}

/// What a peer holds of one of our logs.
pub fn claim(origin: &str, peer: &str) -> Vec<u8> {
    [b"claim\0", origin.as_bytes(), b"\0", peer.as_bytes()].concat()
}

/// The later logs of ours that peers name.
pub const LATER: &[u8] = b"later\0";

/// A later log of ours that a peer names.
pub fn later(origin: &str, peer: &str) -> Vec<u8> {
    [LATER, origin.as_bytes(), b"\0", peer.as_bytes()].concat()
}

/// How one of our logs ended.
pub fn succession(old_origin: &str) -> Vec<u8> {
    [b"succession\0", old_origin.as_bytes()].concat()
}

/// The last signed checkpoint of one of our logs.
pub fn anchor(origin: &str) -> Vec<u8> {
    [b"anchor\0", origin.as_bytes()].concat()
}

/// The last whole round of the scrub.
pub const SCRUB_LAST: &[u8] = b"scrub\0last";
/// How far a round came that a stop cut off.
pub const SCRUB_PART: &[u8] = b"scrub\0part";

/// Origin || 0 || size.
pub fn checkpoint(origin: &str, size: u64) -> Vec<u8> {
    numbered(origin, size)
}

/// Header digest || capacity.
pub fn ack(digest: &Digest, capacity: u32) -> Vec<u8> {
    [digest.as_bytes().as_slice(), &capacity.to_be_bytes()].concat()
}

/// Sequences of the alarms that stand, under this.
pub const STANDING: &[u8] = &[0];

/// An alarm that stands, in the order in which they were raised.
pub fn standing(seq: u64) -> Vec<u8> {
    [STANDING, &seq.to_be_bytes()].concat()
}

/// The prefix of the alarms about a unit that stand, of those for a reason, of those that say
/// this.
pub fn standing_about(peer: &str, reason: Option<&str>, detail: Option<&str>) -> Vec<u8> {
    let parts = [Some(peer), reason, detail].into_iter().flatten();
    let digests = parts.map(|part| Digest::of(part.as_bytes()));
    digests.fold(vec![1], |mut key, digest| {
        key.extend(digest.as_bytes().iter().take(STANDING_BYTES));
        key
    })
}

/// The same alarm among those about its unit.
pub fn standing_named(peer: &str, reason: &str, detail: &str, seq: u64) -> Vec<u8> {
    let named = standing_about(peer, Some(reason), Some(detail));
    named.into_iter().chain(seq.to_be_bytes()).collect()
}

/// Case || peer || 0: before the messages of a case with a peer.
pub fn case(case_id: &[u8], peer: &str) -> Vec<u8> {
    [case_id, peer.as_bytes(), b"\0"].concat()
}

/// A message of a case, in the order in which they were stored here.
pub fn case_message(case_id: &[u8], peer: &str, seq: u64) -> Vec<u8> {
    [&case(case_id, peer)[..], &seq.to_be_bytes()].concat()
}

/// A term of a case.
pub fn term(term: &TermRecord) -> Vec<u8> {
    let duty = u8::try_from(term.duty).unwrap_or_default();
    let times = [term.since_ms.to_be_bytes(), term.due_ms.to_be_bytes()].concat();
    [&case(&term.case_id, &term.peer)[..], &[duty], &times].concat()
}

/// The messages that answer a message, or are about it.
pub fn about(digest: &[u8]) -> Vec<u8> {
    [&b"about\0"[..], digest].concat()
}

/// The messages that are an alert or change it: our own that pass nothing on, or all others.
pub fn alert(alert_id: &[u8], own: bool) -> Vec<u8> {
    [&b"alert\0"[..], alert_id, &[u8::from(!own)]].concat()
}

/// Those of one sender.
pub fn alert_of(alert_id: &[u8], own: bool, from: &str) -> Vec<u8> {
    [&alert(alert_id, own)[..], from.as_bytes(), b"\0"].concat()
}

/// The messages that have a file: our own that pass nothing on, or all others.
pub fn file(short: &[u8], own: bool) -> Vec<u8> {
    [&b"file\0"[..], short, &[u8::from(!own)]].concat()
}

/// One of these messages, in the order in which they were stored here.
pub fn nth(prefix: Vec<u8>, seq: u64) -> Vec<u8> {
    [prefix.as_slice(), &seq.to_be_bytes()].concat()
}

/// The messages to which something is expected back.
pub const OPEN: &[u8] = b"open\0";

/// One of them, towards or from a peer.
pub fn open(digest: &[u8], peer: &str) -> Vec<u8> {
    [OPEN, digest, peer.as_bytes()].concat()
}

/// The end of a range of keys that begin with `prefix`.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// A key of [`statement`]. 192 bits of the statement's digest: whoever makes two statements with
/// one key would hide the second.
const STATEMENT_BYTES: usize = 56;

/// 128 bits of each: whoever makes two alarms with one key would hide the second.
const STANDING_BYTES: usize = 16;

/// A key of [`by_id`].
const BY_ID_BYTES: usize = 22;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end() {
        assert_eq!(after_prefix(&[1, 255]), Some(vec![2]));
        assert_eq!(after_prefix(&[255, 255]), None);
    }
}
