//! Snapshots of the index: made while it changes, named in the journal, believed only if both
//! agree.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use super::*;
use crate::store::{
    event::{Fact, Snapshotted},
    index::{Index, MemoryIndex, Op, Tree},
    snapshot,
    view::View,
};

/// All kinds of change, and bodies that fill segments.
async fn work(store: &Store, first: u64, count: u64) {
    for n in first..first + count {
        submit(store, NewSubmission { payload: vec![n as u8; 12_000].into(), ..submission(n) })
            .await;
        arrive(store, arrival(n, 0)).await;
        if n % 3 == 0 {
            let settled = vec![receipt(n, Stated::ContentConsignment)];
            store.record_receipts(group(n, n, settled)).await.unwrap();
            store.acknowledge(ack(n, n, 1)).await.unwrap();
        }
    }
}

fn named(store: &Store) -> Vec<Snapshotted> {
    let events = sound::events(store);
    let each = events.into_iter().filter_map(|(_, _, event)| match event.fact {
        Some(Fact::Snapshotted(named)) => Some(named),
        _ => None,
    });
    each.collect()
}

fn files(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.path().join(snapshot::DIR)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Waits for one more snapshot than there was.
async fn next_named(store: &Store, before: usize) -> Snapshotted {
    let wait = async {
        loop {
            let found = named(store);
            if found.len() > before {
                return found.last().unwrap().clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap()
}

/// What a rebuild would begin with.
fn restored(place: &Place, store: &Store) -> (u64, Index) {
    let index = Index::Memory(MemoryIndex::new());
    let seq = snapshot::restore(place.path(), &store.shared.reader, &index).unwrap();
    (seq, index)
}

/// What was restored, and the events that follow, are the index.
fn assert_whole(store: &Store, seq: u64, index: &Index) {
    let mut events = sound::events(store);
    events.retain(|(at, _, _)| *at > seq);
    sound::replay(index, &events);
    assert_eq!(sound::dump_view(&View::new([None, None, None], index)), sound::dump(store));
}

/// Every eighth segment brings one; two are kept; a damaged one is passed over for the older, then
/// for a replay of everything; what no event names is not believed.
#[tokio::test]
async fn a_rebuild_begins_at_the_newest_good_snapshot() {
    let place = Place::embedded();
    fs::create_dir_all(place.path().join(snapshot::DIR)).unwrap();
    fs::write(place.path().join(snapshot::DIR).join("index-00000000000000000009.new"), b"x")
        .unwrap();
    let store = place.open();
    let mut last = Snapshotted::default();
    for round in 0..3 {
        work(&store, 1 + round * 60, 60).await;
        last = next_named(&store, round as usize).await;
    }
    assert_eq!(files(&place).len(), 2, "the newest two");
    let bytes = fs::metadata(files(&place).last().unwrap()).unwrap().len();
    assert_eq!(last.bytes, bytes);
    work(&store, 500, 5).await;
    let (seq, index) = restored(&place, &store);
    assert_eq!(seq, last.seq);
    assert!(index.len(Tree::Messages).unwrap() > 100);
    assert_whole(&store, seq, &index);
    let before = sound::dump(&store);
    store.close().await;
    drop(store);

    // The index is lost: rebuilt from the newest one, and one renamed is not believed.
    let [older, newest] = files(&place).try_into().unwrap();
    let renamed = newest.with_file_name(format!("index-{:020}", last.seq + 1));
    fs::copy(&newest, &renamed).unwrap();
    for damage in 0..4 {
        match damage {
            0 => {}
            1 => flip(&newest, bytes / 2),
            2 => flip(&older, 20),
            _ => fs::write(&older, b"").unwrap(),
        }
        fs::write(place.path().join("index/conf"), b"not a configuration").unwrap();
        let store = place.open();
        assert_eq!(sound::dump(&store), before, "damage {damage}");
        assert_sound(&store);
        let (seq, _) = restored(&place, &store);
        assert_eq!((seq == last.seq, seq == 0), (damage == 0, damage > 1), "damage {damage}");
        store.close().await;
    }
}

fn flip(path: &Path, offset: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset as usize] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Read while everything changes: with the events after its sequence it is the index all the same.
#[tokio::test]
async fn a_snapshot_of_a_changing_index_is_whole() {
    let place = Place::embedded();
    let store = place.open();
    work(&store, 1, 150).await;
    let events = sound::events(&store);
    let index = Index::Memory(MemoryIndex::new());
    let (dir, stop) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
    let (mut next, mut taken) = (0, Vec::new());
    while next < events.len() {
        sound::replay(&index, &events[next..=next]);
        let seq = events[next].0;
        next += 1;
        // Events come in between all pages.
        let mut more = || {
            let until = events.len().min(next + 1);
            sound::replay(&index, &events[next..until]);
            next = until;
        };
        taken.push(snapshot::write(dir.path(), &index, seq, &stop, &mut more).unwrap().unwrap());
        assert!(next == events.len() || events[next - 1].0 > seq, "it changed meanwhile");
    }
    assert!(taken.len() > 3);
    for one in taken {
        let path = dir.path().join(format!("index-{:020}", one.seq));
        assert_eq!(snapshot::verify(&path, one.seq).unwrap().as_slice(), one.hash);
        let index = Index::Memory(MemoryIndex::new());
        snapshot::load(&path, one.seq, &index).unwrap();
        assert_whole(&store, one.seq, &index);
    }
    // One that is stopped leaves nothing.
    stop.store(true, Ordering::Release);
    let before = fs::read_dir(dir.path()).unwrap().count();
    assert!(snapshot::write(dir.path(), &index, 9, &stop, &mut || {}).unwrap().is_none());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), before);
}

/// A snapshot that an event names, and that lacks what the journal says: the comparison at the end
/// of the rebuild finds it, and everything is replayed.
#[tokio::test]
async fn a_wrong_snapshot_is_found_by_the_rebuild() {
    let place = Place::embedded();
    let store = place.open();
    work(&store, 1, 3).await;
    let events = sound::events(&store);
    let index = sound::rebuilt(&events);
    let key = ours(2).as_bytes().to_vec();
    index
        .apply_ops(&[Op { tree: Tree::Messages, key, value: None, fresh: false }], seq(&store))
        .unwrap();
    let (dir, stop) = (place.path().join(snapshot::DIR), AtomicBool::new(false));
    let wrong = snapshot::write(&dir, &index, seq(&store), &stop, &mut || {}).unwrap().unwrap();
    store
        .commit(Priority::Routine, move |txn| {
            txn.push(at(1), Fact::Snapshotted(wrong), Bytes::new());
            Ok(())
        })
        .await
        .unwrap();
    store.close().await;
    drop(store);
    fs::write(place.path().join("index/conf"), b"not a configuration").unwrap();
    let store = place.open();
    assert!(store.message(&ours(2)).unwrap().is_some());
    assert!(place.path().join("index.damaged-2").exists(), "the one from the snapshot");
    assert_sound(&store);
}
