//! One order of a case's messages for both sides.
//!
//! A message follows its sender's one before and the last of the other side that its sender had
//! seen. Of messages that cross, the requested side's come first: what it has done is done, and a
//! withdrawal that crosses it then still ends the case.

use std::collections::{BTreeMap, BTreeSet};

use relay_proto::{ids::Digest, timestamp::Timestamp};

use super::moves::{Message, Side};

/// All messages of which everything before is here, in their order, and the digests of the others.
pub(super) fn order(held: &BTreeMap<Digest, Message>) -> (Vec<&Message>, Vec<Digest>) {
    let mut placed = BTreeSet::new();
    let mut order = Vec::with_capacity(held.len());
    let mut left: Vec<&Message> = held.values().collect();
    left.sort_by_key(|message| rank(message));
    let is_ready = |message: &&Message, placed: &BTreeSet<Digest>| {
        message.before().all(|digest| placed.contains(&digest))
    };
    while let Some(nth) = left.iter().position(|message| is_ready(message, &placed)) {
        let message = left.remove(nth);
        placed.insert(message.digest);
        order.push(message);
    }
    (order, left.into_iter().map(|message| message.digest).collect())
}

/// Those of an order that the sender of a message had seen when it was sent, in that order.
pub(super) fn seen_by<'a>(order: &[&'a Message], message: &Message) -> Vec<&'a Message> {
    let held: BTreeMap<Digest, &Message> = order.iter().map(|one| (one.digest, *one)).collect();
    let mut seen = BTreeSet::new();
    let mut next: Vec<Digest> = message.before().collect();
    while let Some(digest) = next.pop() {
        if seen.insert(digest) {
            next.extend(held.get(&digest).into_iter().flat_map(|message| message.before()));
        }
    }
    order.iter().copied().filter(|one| seen.contains(&one.digest)).collect()
}

/// Which of two that may both come next does.
fn rank(message: &Message) -> (Side, Timestamp, Digest) {
    (message.from, message.sent_at, message.digest)
}
