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
    let mut after: BTreeMap<Digest, Vec<&Message>> = BTreeMap::new();
    let mut missing: BTreeMap<Digest, usize> = BTreeMap::new();
    for message in held.values() {
        let before: BTreeSet<Digest> = message.before().collect();
        // One that names a message of the wrong side never comes in.
        let never = usize::from(!names_rightly(held, message));
        missing.insert(message.digest, before.len() + never);
        before.into_iter().for_each(|digest| after.entry(digest).or_default().push(message));
    }
    let is_first = |message: &&Message| message.before().next().is_none();
    let mut ready: BTreeMap<_, &Message> =
        held.values().filter(is_first).map(|message| (rank(message), message)).collect();
    let mut order = Vec::with_capacity(held.len());
    while let Some((_, message)) = ready.pop_first() {
        missing.remove(&message.digest);
        order.push(message);
        for next in after.remove(&message.digest).unwrap_or_default() {
            let Some(left) = missing.get_mut(&next.digest) else { continue };
            *left = left.saturating_sub(1);
            if *left == 0 {
                ready.insert(rank(next), next);
            }
        }
    }
    (order, missing.into_keys().collect())
}

/// Whether a message follows one of its own side and is based on one of the other, as far as they
/// are here.
pub(super) fn names_rightly(held: &BTreeMap<Digest, Message>, message: &Message) -> bool {
    let side = |digest: Option<Digest>| digest.and_then(|digest| held.get(&digest));
    side(message.follows).is_none_or(|before| before.from == message.from)
        && side(message.based_on).is_none_or(|before| before.from != message.from)
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
