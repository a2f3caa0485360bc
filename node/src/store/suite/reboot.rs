//! The machine stopped under a store in which an event has rotted that no snapshot covers: the
//! index may be all that remembers it. It is believed when it agrees with every event that can be
//! read, else the start is refused; nothing is removed either way.

use std::{collections::BTreeMap, fs};

use super::*;
use crate::store::{
    event::Fact,
    files,
    index::{Index, Op, Tree},
    journal::Position,
    records::{EntryRecord, MessageRecord},
    sled::SledIndex,
};

const MESSAGES: u64 = 12;

/// A store as a start finds it after its machine stopped: the index was proven up to the mark, more
/// came behind it. Returns the first messages' records, and where it is written which receipts came
/// and who took a message.
async fn stopped() -> (Place, BTreeMap<u64, MessageRecord>, Vec<Position>) {
    let place = Place::embedded();
    let store = place.open();
    let work = async |n| {
        let payload = vec![n as u8; 20_000].into();
        submit(&store, NewSubmission { payload, ..submission(n) }).await;
        arrive(&store, arrival(n, 0)).await;
        if n % 3 == 0 {
            let settled = vec![receipt(n, Stated::ContentConsignment)];
            store.record_receipts(group(n, n, settled)).await.unwrap();
            store.acknowledge(ack(n, n, 1)).await.unwrap();
        }
    };
    for n in 1..=MESSAGES {
        work(n).await;
    }
    let all = store.log_head().seq;
    until(|| store.indexed_seq() >= all).await;
    files::write_index_mark(place.path(), store.shared.prove().unwrap()).unwrap();
    for n in MESSAGES + 1..=MESSAGES + 3 {
        work(n).await;
    }
    let records = (1..=MESSAGES).map(|n| (n, store.message(&ours(n)).unwrap().unwrap()));
    let records = records.collect();
    let last = store.message(&ours(MESSAGES)).unwrap().unwrap().seq;
    let others = sound::events(&store).into_iter().filter(|(seq, _, event)| {
        let is_one = matches!(event.fact, Some(Fact::ReceiptsRecorded(_) | Fact::Acknowledged(_)));
        is_one && *seq < last
    });
    let others = others.map(|(_, position, _)| position).collect();
    let after = place.killed();
    fs::remove_file(after.path().join("lock")).unwrap();
    (after, records, others)
}

/// A byte of an event's meta, or of its header.
fn rot(place: &Place, record: &MessageRecord, at: usize) {
    rot_at(place, Position::from_bytes(record.position.as_ref().try_into().unwrap()), at);
}

fn rot_at(place: &Place, position: Position, at: usize) {
    let name = format!("journal/segment-{:010}", position.segment);
    let path = place.path().join(name);
    let mut bytes = fs::read(&path).unwrap();
    bytes[position.offset as usize + at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

/// In the meta of an event, and in its header.
const PLACES: [usize; 2] = [64 + 9, 8];

fn refused(place: &Place) -> String {
    let before = kept(place);
    let Err(error) = place.try_open() else { panic!("it opened") };
    assert_eq!(error.reason(), Reason::StoreDamaged, "{error}");
    assert_eq!(kept(place), before, "nothing was removed, and the mark stays");
    error.to_string()
}

/// What the start must leave: how far the index is proven, and where it lies.
fn kept(place: &Place) -> (u64, Vec<String>) {
    let entries = fs::read_dir(place.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("index")).collect();
    names.sort();
    (files::read_index_mark(place.path()), names)
}

/// The start, and all that was answered is there; the rotted one is known and not served.
async fn starts(place: &Place, rotted: u64) {
    let store = place.open();
    for n in 1..=MESSAGES + 3 {
        let record = store.message(&ours(n)).unwrap().unwrap();
        let content = store.content(&record);
        match n == rotted {
            true => assert_eq!(content.unwrap_err().reason(), Reason::StoreDamaged),
            false => assert_eq!(content.unwrap().payload.unwrap(), vec![n as u8; 20_000]),
        }
        let payload = vec![n as u8; 20_000].into();
        let again = submit(&store, NewSubmission { payload, ..submission(n) }).await;
        assert_eq!(again, SubmissionAnswer::Repeated(ours(n)));
        assert_eq!(arrive(&store, arrival(n, 0)).await, ArrivalAnswer::Duplicate);
        let entry: EntryRecord = store
            .read(|view| view.record(Tree::Outbox, &records::key::entry(&ours(n), "xb.ncu")))
            .unwrap()
            .unwrap();
        assert_eq!(entry.is_open(), n % 3 != 0, "{n}");
    }
    submit(&store, submission(40)).await;
    assert_eq!(store.close().await, Ended::Clean);
}

#[tokio::test]
async fn an_index_that_agrees_is_believed() {
    for (n, at) in [(5, PLACES[0]), (5, PLACES[1]), (3, PLACES[0]), (1, PLACES[0])] {
        let (place, records, _) = stopped().await;
        rot(&place, &records[&n], at);
        let before = kept(&place);
        starts(&place, n).await;
        assert_eq!(kept(&place).1, before.1, "it was neither removed nor set aside");
        // In order now, and the machine stays the same: as always.
        starts(&place, n).await;
    }
}

/// What an event took out, or changed last, is believed where all that is kept about it agrees.
#[tokio::test]
async fn what_a_rotted_event_had_the_last_word_on_is_believed() {
    let (place, _, others) = stopped().await;
    assert!(others.len() >= 6, "{others:?}");
    for position in others {
        rot_at(&place, position, PLACES[0]);
        let again = place.killed();
        fs::remove_file(again.path().join("lock")).ok();
        starts(&again, 0).await;
        rot_at(&place, position, PLACES[0]);
    }
}

/// Without a mark that covers it, nobody remembers the event for certain.
#[tokio::test]
async fn an_event_beyond_the_mark_is_missed() {
    let (place, records, _) = stopped().await;
    for seq in [0, records[&5].seq - 1] {
        files::write_index_mark(place.path(), seq).unwrap();
        rot(&place, &records[&5], PLACES[0]);
        let text = refused(&place);
        for part in [&format!("event {}", records[&5].seq), "backup", "nothing was removed"] {
            assert!(text.contains(part), "`{part}` in {text}");
        }
        rot(&place, &records[&5], PLACES[0]);
    }
    // The segment comes back out of a backup.
    starts(&place, 0).await;
}

fn first_key(index: &Index, tree: Tree) -> Vec<u8> {
    use std::ops::Bound::Unbounded;
    index.range(tree, Unbounded, Unbounded, 1, false).unwrap().remove(0).0
}

/// What the disk lost of the index shows by what the other events say; then it is not believed
/// about the one that cannot be read.
#[tokio::test]
async fn an_index_that_lost_pages_is_not_believed() {
    // Before the rotted event and behind it; at the end what an event may also have taken out.
    for (tree, n) in [
        (Tree::Messages, 4),
        (Tree::Timeline, 7),
        (Tree::Outbox, 4),
        (Tree::TreeHashes, 5),
        (Tree::Due, 4),
        (Tree::Expiry, 4),
        (Tree::Unacknowledged, 4),
        (Tree::Owed, 1),
    ] {
        let (place, records, _) = stopped().await;
        let index = SledIndex::open(&place.path().join("index"), 1 << 20).unwrap();
        let index = Index::Sled(index);
        let key = match tree {
            Tree::Messages => ours(n).as_bytes().to_vec(),
            Tree::Timeline => records[&n].seq.to_be_bytes().to_vec(),
            Tree::Outbox => records::key::entry(&ours(n), "xb.ncu"),
            // Two leaves a message and one more for each that was taken: that of the rotted one.
            Tree::TreeHashes => records::key::leaf_hashes(1, 9),
            Tree::Due => records::key::due("xb.ncu", priority(n), n),
            Tree::Expiry => records::key::expiry(at(n + 3_600_000), &ours(n), "xb.ncu"),
            _ => first_key(&index, tree),
        };
        assert!(index.get(tree, &key).unwrap().is_some(), "{tree:?}");
        let op = Op { tree, key, value: None, fresh: false };
        index.apply_ops(&[op], index.applied()).unwrap();
        index.make_durable().unwrap();
        drop(index);
        rot(&place, &records[&5], PLACES[0]);
        refused(&place);
        rot(&place, &records[&5], PLACES[0]);
        starts(&place, 0).await;
    }
}
