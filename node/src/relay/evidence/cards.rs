//! Which of a unit's cards a bundle needs.
//!
//! Pure. A unit's newest card may have another node, another window, fewer keys than the one under
//! which a receipt was signed: the older ones go along that say of it what the newer ones do not.

use std::collections::BTreeSet;

use relay_proto::{
    card::{Card, CardLog, WorkingKey},
    ids::{LogOrigin, NodeId},
    keys::{KeyId, PublicKey},
    tlog::{Note, SignedCheckpoint},
    v1,
};

/// What a bundle shows of one unit.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// The nodes that its receipts name.
    pub nodes: BTreeSet<NodeId>,
    /// The checkpoints of its receipts.
    pub notes: BTreeSet<String>,
    /// The key of the header, when it is the sender.
    pub key: Option<KeyId>,
}

/// What a card says of it.
#[derive(Debug, PartialEq)]
enum Word {
    Node(NodeId),
    Log(Box<CardLog>),
    Key(Box<WorkingKey>),
}

/// The cards that go along, of all that are here: the first under the identity key that carries
/// what is shown, and the others under it that have a word to add.
pub(super) fn choose(cards: Vec<Card>, shown: &Shown) -> Vec<Card> {
    let Some(identity) = identity(&cards, shown) else { return Vec::new() };
    let origins: BTreeSet<String> = shown.notes.iter().filter_map(|note| origin(note)).collect();
    let mut said: Vec<Word> = Vec::new();
    let mut chosen: Vec<Card> = Vec::new();
    for card in cards.into_iter().filter(|card| *card.identity() == identity) {
        let words = words(&card, shown, &origins);
        if chosen.is_empty() || words.iter().any(|word| !said.contains(word)) {
            said.extend(words);
            chosen.push(card);
        }
    }
    chosen
}

/// A unit that was removed and compared anew has cards under two identity keys; a bundle has room
/// for one of them: the one that carries most, and of equals that of the first card.
fn identity(cards: &[Card], shown: &Shown) -> Option<PublicKey> {
    let first = *cards.first()?.identity();
    if cards.iter().all(|card| *card.identity() == first) {
        return Some(first);
    }
    let carried = |identity: &PublicKey| {
        let of = || cards.iter().filter(move |card| card.identity() == identity);
        let has_key = |id: KeyId| of().any(|card| card.key(v1::KeyKind::Signing, id).is_some());
        let opens = |note: &&String| {
            of().any(|card| {
                let find = |origin: &LogOrigin| card.log(origin).map(|log| log.key.key);
                SignedCheckpoint::open(note, find).is_ok()
            })
        };
        shown.notes.iter().filter(opens).count() + usize::from(shown.key.is_some_and(has_key))
    };
    // Of equal ones the last is the greatest.
    cards.iter().map(Card::identity).rev().max_by_key(|identity| carried(identity)).copied()
}

fn words(card: &Card, shown: &Shown, origins: &BTreeSet<String>) -> Vec<Word> {
    let nodes = card.nodes().iter().map(|node| &node.id).filter(|id| shown.nodes.contains(id));
    let logs = card.logs().iter().filter(|log| {
        let old = log.succession.as_ref().map(|succession| succession.old.origin.to_string());
        origins.contains(&log.origin.to_string()) || old.is_some_and(|old| origins.contains(&old))
    });
    let key = shown.key.and_then(|id| card.key(v1::KeyKind::Signing, id));
    let words = nodes.cloned().map(Word::Node).chain(logs.cloned().map(Box::new).map(Word::Log));
    words.chain(key.copied().map(Box::new).map(Word::Key)).collect()
}

/// The first line of a checkpoint.
fn origin(note: &str) -> Option<String> {
    let note: Note = note.parse().ok()?;
    note.text().lines().next().map(str::to_owned)
}
