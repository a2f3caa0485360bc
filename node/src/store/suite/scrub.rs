//! The scrub finds what is not as the journal says, and nothing else.

use super::*;
use crate::store::{
    index::{Op, Tree},
    journal::{Damage, JournalError},
    scrub::{self, Source},
};

const ROUNDS: u64 = 12;

async fn worked(place: &Place) -> Store {
    let store = place.open();
    for n in 1..=ROUNDS {
        let payload = vec![n as u8; 20_000].into();
        submit(&store, NewSubmission { payload, ..submission(n) }).await;
        arrive(&store, arrival(n, 0)).await;
        if n % 2 == 0 {
            let settled = vec![receipt(n, Stated::ContentConsignment)];
            store.record_receipts(group(n, n, settled)).await.unwrap();
            store.acknowledge(ack(n, n, 1)).await.unwrap();
        }
    }
    store.record_have(them(), 5, at(4)).await.unwrap();
    assert!(store.erase(ours(2), "rule".into(), "officer".into(), at(9)).await.unwrap());
    store
}

on_each![a_sound_store_is_sound];

/// Everything is compared: counts and hashes agree segment by segment, an ordered erasure is no
/// damage.
async fn a_sound_store_is_sound(place: Place) {
    let store = worked(&place).await;
    let report = store.scrub().unwrap();
    assert!(report.is_sound() && report.complete, "{report:?}");
    assert_eq!(report.segments.len() as u64, store.shared.reader.last_segment());
    assert!(report.segments.len() > 3);
    let events: u64 = report.segments.iter().map(|segment| segment.events).sum();
    assert_eq!(events, seq(&store));
    for segment in &report.segments {
        assert_eq!(segment.pairs.0, segment.pairs.1);
        assert_eq!(segment.hashes.0, segment.hashes.1);
    }
    assert!(report.segments.iter().map(|segment| segment.pairs.0).sum::<u64>() > 10 * ROUNDS);
}

/// Changes the index behind the store's back.
fn tamper(store: &Store, tree: Tree, key: &[u8], value: Option<Vec<u8>>) {
    let op = Op { tree, key: key.to_vec(), value, fresh: false };
    store.shared.index.apply_ops(&[op], store.indexed_seq()).unwrap();
}

/// For every tree: a lost pair, another value, a pair too many. Each is named, and only the hash of
/// its segment differs.
#[tokio::test(start_paused = true)]
async fn every_difference_is_found() {
    let place = Place::memory(1);
    let store = worked(&place).await;
    let dump = sound::dump(&store);
    let mut tried = 0;
    for (tree, pairs) in dump {
        let Some((key, value)) = pairs.get(pairs.len() / 2).cloned() else { continue };
        tried += 1;
        for wrong in [None, Some([&value[..], b"x"].concat())] {
            tamper(&store, tree, &key, wrong.clone());
            let report = store.scrub().unwrap();
            let found = &report.differences;
            assert_eq!((found.len(), found[0].tree, &found[0].key), (1, tree.name(), &key));
            let differ = |segment: &&scrub::SegmentScrub| segment.hashes.0 != segment.hashes.1;
            assert_eq!(report.segments.iter().filter(differ).count(), 1);
            assert_eq!(report.counts.len(), usize::from(wrong.is_none()));
            tamper(&store, tree, &key, Some(value.clone()));
        }
        let extra = [&key[..], b"\xffx"].concat();
        tamper(&store, tree, &extra, Some(value));
        let report = store.scrub().unwrap();
        assert_eq!((report.differences.len(), report.counts.len()), (0, 1), "{}", tree.name());
        assert_eq!(report.counts[0].index, report.counts[0].journal + 1);
        tamper(&store, tree, &extra, None);
    }
    assert!(tried > 10);
    assert!(store.scrub().unwrap().is_sound());
    // What was deleted and is there again.
    let gone = records::key::due(them().as_str(), priority(2), 2);
    assert_eq!(store.read(|view| view.get(Tree::Due, &gone)).unwrap(), None);
    tamper(&store, Tree::Due, &gone, Some(vec![1]));
    let report = store.scrub().unwrap();
    assert_eq!((report.differences.len(), report.counts.len()), (1, 1));
}

/// The newest segments only: nothing is said of the rest.
#[tokio::test(start_paused = true)]
async fn a_bounded_look_is_no_complete_one() {
    let place = Place::memory(1);
    let store = worked(&place).await;
    let look = |segments| {
        let source = Source {
            get: &|tree, key| store.read(|view| view.get(tree, key)),
            len: &|_| panic!("counts of a part"),
        };
        scrub::compare(&store.shared.reader, &source, segments, None).unwrap()
    };
    let report = look(2);
    assert!(report.is_sound() && !report.complete && report.segments.len() == 2);
    let old = records::key::by_id(&us(), &id(1));
    tamper(&store, Tree::ById, &old, None);
    assert!(look(2).is_sound());
    assert_eq!(store.scrub().unwrap().differences.len(), 1);
}

/// A body that rotted, or that is zeros without an order, is named; damage of the chain is an error
/// with its place.
#[tokio::test(start_paused = true)]
async fn damage_of_the_journal_is_told() {
    let place = Place::memory(1);
    let store = worked(&place).await;
    let record = store.message(&ours(3)).unwrap().unwrap();
    let position = journal::Position::from_bytes(record.position.as_ref().try_into().unwrap());
    let path = Path::new("/journal").join(format!("segment-{:010}", position.segment));
    let content = place.disk().content(&path).unwrap();
    let start = content.windows(20_000).position(|window| window == [3; 20_000]).unwrap() as u64;
    assert!(start > position.offset);
    place.disk().rot(&path, start + 7, 3);
    assert_eq!(store.scrub().unwrap().damaged, [record.seq]);
    for offset in (start..start + 20_000).filter(|offset| *offset != start + 7) {
        place.disk().rot(&path, offset, 3);
    }
    let report = store.scrub().unwrap();
    assert_eq!((report.damaged.as_slice(), report.differences.len()), (&[record.seq][..], 0));
    place.disk().rot(&path, position.offset + 70, 1);
    let error = store.scrub().unwrap_err();
    assert!(
        matches!(&error, StoreError::Journal(JournalError::Damage { what: Damage::Event, seq, .. })
            if *seq == record.seq),
        "{error}"
    );
}

/// Commits meanwhile are no differences.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrub_beside_the_writer_finds_nothing() {
    let place = Place::embedded();
    let store = worked(&place).await;
    let writing = tokio::spawn({
        let store = store.clone();
        async move {
            for n in 100..220 {
                submit(&store, submission(n)).await;
                arrive(&store, arrival(n, 0)).await;
                let settled = vec![receipt(n, Stated::ContentConsignment)];
                store.record_receipts(group(n, n, settled)).await.unwrap();
            }
        }
    });
    let mut scrubs = 0;
    while !writing.is_finished() || scrubs == 0 {
        let store = store.clone();
        let report = tokio::task::spawn_blocking(move || store.scrub().unwrap()).await.unwrap();
        assert!(report.is_sound(), "{report:?}");
        scrubs += 1;
    }
    writing.await.unwrap();
    assert!(store.scrub().unwrap().is_sound());
}
