//! What holds of every store at every time, found from its events alone. Enter through
//! `assert_sound`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::Unbounded;

use relay_proto::{receipt::leaf_hash, tlog::MemoryTree};

use super::*;
use crate::store::{
    event::{Event, Fact, Leaf},
    index::{Index, MemoryIndex, Tree},
    journal::Position,
    project::project,
    view::Pairs,
};

/// All events with their places.
pub fn events(store: &Store) -> Vec<(u64, Position, Event)> {
    let stored = store.shared.reader.scan(1, usize::MAX, usize::MAX).unwrap();
    let each = stored.into_iter().map(|(seq, position, stored)| {
        (seq, position, prost::Message::decode(stored.meta).unwrap())
    });
    each.collect()
}

pub fn leaf_of(event: &Event) -> Option<&Leaf> {
    match event.fact.as_ref()? {
        Fact::Submitted(fact) => fact.leaf.as_ref(),
        Fact::Arrived(fact) => fact.leaf.as_ref(),
        Fact::Refused(fact) => fact.leaf.as_ref(),
        Fact::Acknowledged(fact) => fact.leaf.as_ref(),
        Fact::EntryExpired(fact) | Fact::EntryDeferred(fact) => fact.leaf.as_ref(),
        _ => None,
    }
}

/// The statements of our log in its order.
pub fn statements(store: &Store) -> Vec<Bytes> {
    let events = events(store);
    events.iter().filter_map(|(_, _, e)| leaf_of(e)).map(|leaf| leaf.statement.clone()).collect()
}

/// The root over the first leaves.
pub fn root_of(statements: &[Bytes]) -> Digest {
    let mut tree = MemoryTree::new();
    for statement in statements {
        tree.append(leaf_hash(statement));
    }
    tree.root()
}

/// The index as everybody reads it, tree by tree.
pub fn dump(store: &Store) -> BTreeMap<Tree, Pairs> {
    store.read(|view| dump_view(&view))
}

pub fn dump_view(view: &View<'_>) -> BTreeMap<Tree, Pairs> {
    let each = Tree::all().iter();
    each.map(|tree| (*tree, view.range(*tree, Unbounded, Unbounded, 1 << 20, false).unwrap()))
        .collect()
}

pub fn rebuilt(events: &[(u64, Position, Event)]) -> Index {
    let index = Index::Memory(MemoryIndex::new());
    replay(&index, events);
    index
}

pub fn replay(index: &Index, events: &[(u64, Position, Event)]) {
    for (seq, position, event) in events {
        index.apply_ops(&project(event, *seq, *position), *seq).unwrap();
    }
}

/// Checks all that holds of every store.
pub fn assert_sound(store: &Store) {
    // The writer may note how far the index is at any moment: then once more.
    let (events, head) = std::iter::repeat_with(|| (events(store), store.log_head()))
        .take(100)
        .find(|(events, head)| head.seq <= events.len() as u64)
        .unwrap_or_else(|| (events(store), store.log_head()));
    for (expected, (seq, _, _)) in (1..).zip(&events) {
        assert_eq!(*seq, expected, "sequence has no gap");
    }
    assert_eq!(head.seq, events.len() as u64);
    assert_log(&events, &head);
    assert_numbers(&events);
    assert_messages(store, &events);
    let index = rebuilt(&events);
    let fresh = dump_view(&View::new([None, None, None], &index));
    for (tree, pairs) in dump(store) {
        assert_eq!(pairs, fresh[&tree], "tree {} is not what the events say", tree.name());
    }
    // What is open is due and expires, and nothing else is or does.
    let open: BTreeSet<Vec<u8>> = fresh[&Tree::Outbox]
        .iter()
        .filter(|(_, v)| records::EntryRecord::is_open(&view::decode(Tree::Outbox, v).unwrap()))
        .map(|(key, _)| key.clone())
        .collect();
    for tree in [Tree::Due, Tree::Expiry] {
        assert_eq!(fresh[&tree].len(), open.len(), "{}", tree.name());
        let skip = if tree == Tree::Due { size_of::<u32>() } else { 0 };
        let named: BTreeSet<Vec<u8>> =
            fresh[&tree].iter().map(|(_, v)| v[skip..].to_vec()).collect();
        assert_eq!(named, open, "{}", tree.name());
    }
}

/// Leaf indexes have no gap, the root is that of the statements, the stored hashes make the same
/// tree.
fn assert_log(events: &[(u64, Position, Event)], head: &LogHead) {
    let leaves: Vec<&Leaf> = events.iter().filter_map(|(_, _, event)| leaf_of(event)).collect();
    for (expected, leaf) in (0..).zip(&leaves) {
        assert_eq!(leaf.index, expected, "leaf indexes have no gap");
    }
    let statements: Vec<Bytes> = leaves.iter().map(|leaf| leaf.statement.clone()).collect();
    assert_eq!((head.size, head.root), (leaves.len() as u64, root_of(&statements)));
}

/// Transfers and receipts owed are numbered without gap, each peer for itself; nothing waits twice.
fn assert_numbers(events: &[(u64, Position, Event)]) {
    let mut transfers: BTreeMap<&str, u64> = BTreeMap::new();
    let mut receipts: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, _, event) in events {
        if let Some(Fact::Submitted(fact)) = &event.fact {
            for entry in &fact.entries {
                let last = transfers.entry(&entry.next_hop).or_default();
                *last += 1;
                assert_eq!(entry.number, *last);
            }
        }
        if let Some(leaf) = leaf_of(event).filter(|leaf| !leaf.owed_to.is_empty()) {
            let last = receipts.entry(&leaf.owed_to).or_default();
            *last += 1;
            assert_eq!(leaf.owed_number, *last);
        }
        if let Some(Fact::OwedAgain(fact)) = &event.fact {
            let last = receipts.entry(&fact.peer).or_default();
            assert_eq!(fact.first_number, *last + 1);
            *last += fact.receipt_keys.len() as u64;
        }
    }
}

/// One message a sender and id, one acknowledgement receipt a capacity, and all content is there
/// that no order erased.
fn assert_messages(store: &Store, events: &[(u64, Position, Event)]) {
    let mut ids = BTreeSet::new();
    for (seq, _, event) in events {
        let record = match &event.fact {
            Some(Fact::Submitted(fact)) => fact.record.as_ref().unwrap(),
            Some(Fact::Arrived(fact)) => fact.record.as_ref().unwrap(),
            _ => continue,
        };
        assert!(ids.insert((record.from.clone(), record.message_id.clone())), "stored twice");
        let stored = store.message(&record.digest()).unwrap().unwrap();
        assert_eq!(stored.seq, *seq);
        let erased = store.erased(&record.digest()).unwrap().is_some();
        let content = store.content(&stored).unwrap();
        assert_eq!(content.payload.is_none(), erased);
        assert_eq!(Digest::of(&content.header.bytes), record.digest());
    }
    let mut waits = BTreeSet::new();
    for peer in store.peers().unwrap().iter().map(|peer| unit(&peer.unit)).chain([them()]) {
        waits.clear();
        for (_, receipt) in store.waiting_receipts(&peer, 10_000).unwrap() {
            assert!(waits.insert(receipt.statement), "owed twice at once");
        }
    }
}
