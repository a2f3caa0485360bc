//! The index is only a projection: lost, damaged, or ahead of the journal, it is set aside and
//! rebuilt.

use std::{fs, ops::Bound::Unbounded};

use super::*;
use crate::store::{
    files::{FilesError, read_index_mark},
    index::{Index, IndexError, Op, Tree},
    sled::SledIndex,
};

/// Two messages each way, stopped in order.
async fn work(place: &Place, first: u64) -> std::collections::BTreeMap<Tree, view::Pairs> {
    let store = place.open();
    for n in first..first + 2 {
        submit(&store, submission(n)).await;
        arrive(&store, arrival(n, 0)).await;
    }
    let dump = sound::dump(&store);
    assert_eq!(store.close().await, Ended::Clean);
    dump
}

fn swap(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let _ = fs::remove_file(to);
    copy_all(from, to);
}

fn behind(store: &Store) -> usize {
    let alarms = store.alarms(99).unwrap();
    alarms.iter().filter(|alarm| alarm.reason == "JOURNAL_BEHIND").count()
}

/// Pages that were proven durable are gone (an older copy, an empty directory, rubbish): nothing is
/// lost, nothing is alarmed, the rebuilt index is the old one tree by tree, and it is not believed
/// before it is proven.
#[tokio::test]
async fn index_lost_pages_below_its_mark() {
    let place = Place::embedded();
    work(&place, 1).await;
    let old = tempfile::tempdir().unwrap();
    copy_all(&place.path().join("index"), &old.path().join("index"));
    let before = work(&place, 10).await;
    for damage in 0..3 {
        let index = place.path().join("index");
        match damage {
            0 => swap(&old.path().join("index"), &index),
            1 => fs::remove_dir_all(&index).unwrap(),
            _ => fs::write(index.join("conf"), b"not a configuration").unwrap(),
        }
        let store = place.open();
        assert_eq!(read_index_mark(place.path()), 0);
        assert_eq!(sound::dump(&store), before, "damage {damage}");
        assert_eq!(behind(&store), 0);
        assert_sound(&store);
        store.close().await;
        assert!(read_index_mark(place.path()) > 0);
    }
    assert!(place.path().join("index.damaged-1").exists());
}

/// A read of the index found damage: the store ends, and the next start makes the index anew.
#[tokio::test]
async fn damage_that_a_read_finds_ends_the_store_and_the_index() {
    let place = Place::embedded();
    let before = work(&place, 1).await;
    let store = place.open();
    let found = IndexError::Damaged { detail: "get: a page".to_owned() };
    let Index::Sled(index) = &store.shared.index else { panic!("an index on disk") };
    assert!(index.noting(Err::<(), _>(found)).is_err());
    let ended = store.ended().await;
    assert!(matches!(&ended, Ended::IndexFailed(why) if why.contains("a page")), "{ended:?}");
    drop(store);
    let unsound = place.path().join("index.unsound");
    assert!(fs::read_to_string(&unsound).unwrap().contains("a page"));
    let store = place.open();
    assert!(!unsound.exists() && place.path().join("index.damaged-1").exists());
    assert_eq!(sound::dump(&store), before);
    assert_eq!(store.close().await, Ended::Clean);
}

/// The index opens, and what a start reads of it is not there: it is made anew by this start.
#[tokio::test]
async fn an_index_that_a_start_cannot_read_is_made_anew() {
    let place = Place::embedded();
    let before = work(&place, 1).await;
    let index = Index::Sled(SledIndex::open(&place.path().join("index"), 1 << 20).unwrap());
    let leaves = index.range(Tree::TreeHashes, Unbounded, Unbounded, 99, false).unwrap();
    assert!(!leaves.is_empty());
    let gone = leaves.into_iter().map(|(key, _)| Op {
        tree: Tree::TreeHashes,
        key,
        value: None,
        fresh: false,
    });
    let applied = index.applied();
    index.apply_ops(&gone.collect::<Vec<_>>(), applied).unwrap();
    drop(index);
    let store = place.open();
    assert_eq!(sound::dump(&store), before);
    assert!(place.path().join("index.damaged-1").exists());
    assert!(!place.path().join("index.unsound").exists());
    assert_sound(&store);
}

/// The journal was set back, the index was not, with and without its mark: the index goes, the
/// alarm stays.
#[tokio::test]
async fn index_ahead_of_journal() {
    for mark_too in [true, false] {
        let place = Place::embedded();
        let before = work(&place, 1).await;
        let old = place.killed();
        work(&place, 10).await;
        swap(&old.path().join("journal"), &place.path().join("journal"));
        if !mark_too {
            swap(&old.path().join("index.mark"), &place.path().join("index.mark"));
        }
        let store = place.open();
        assert_eq!(store.message(&ours(10)).unwrap(), None, "nothing of what the journal lost");
        assert_eq!(behind(&store), 1);
        let alarm = store.alarms(1).unwrap().remove(0);
        let today = std::time::UNIX_EPOCH.elapsed().unwrap() - Duration::from_secs(86_400);
        assert!(u128::from(alarm.at_ms) > today.as_millis(), "{alarm:?}");
        assert!(alarm.detail.contains("put those back"), "{alarm:?}");
        let mut after = sound::dump(&store);
        after.insert(Tree::Alarms, vec![]);
        after.insert(Tree::Standing, vec![]);
        assert_eq!(after, before);
        assert_sound(&store);
        store.close().await;
        // It was told once; from now on index and journal belong together.
        assert_eq!(behind(&place.open()), 1);
    }
}

/// One tree alone reaches beyond the journal, idle ones lag behind: the furthest counts.
#[tokio::test]
async fn one_tree_ahead_is_enough() {
    let place = Place::embedded();
    work(&place, 1).await;
    let index = Index::Sled(SledIndex::open(&place.path().join("index"), 1 << 20).unwrap());
    let (key, value) = (b"xz.ncu".to_vec(), Some(vec![]));
    let phantom = Op { tree: Tree::Peers, key, value, fresh: false };
    index.apply_ops(&[phantom], 1000).unwrap();
    drop(index);
    let store = place.open();
    assert_eq!((store.peers().unwrap().len(), behind(&store)), (0, 1));
    assert_sound(&store);
}

#[tokio::test]
async fn a_store_is_opened_once_and_by_its_unit() {
    let place = Place::embedded();
    let store = place.open();
    assert!(matches!(place.try_open(), Err(StoreError::Files(FilesError::InUse { .. }))));
    store.close().await;
    let origin = us().log_origin(1);
    let open = |unit, backend| OpenStore { backend, unit, origin: origin.clone() }.open();
    let other = open(them(), place.backend.clone());
    assert!(matches!(other, Err(StoreError::Files(FilesError::OtherUnit { .. }))));
    let nowhere = Place::in_dir(tempfile::tempdir().unwrap());
    assert!(matches!(nowhere.try_open(), Err(StoreError::Files(FilesError::NotThere(_)))));
    let gone = Place::in_dir(tempfile::tempdir().unwrap());
    fs::remove_dir_all(gone.path()).unwrap();
    assert!(matches!(gone.try_open(), Err(StoreError::Files(FilesError::NotThere(_)))));
    fs::write(place.path().join("store.id"), "relay-store 2\nunit xa.ncu\n").unwrap();
    assert!(matches!(place.try_open(), Err(StoreError::Files(FilesError::NewerFormat { .. }))));
}

/// A store at work is copied with its journal's mark first: what the segments have beyond it is
/// taken. The other way round the mark may promise what the copy does not have, and the copy is
/// refused rather than opened without it.
#[tokio::test]
async fn a_store_at_work_is_copied_mark_first() {
    let place = Place::embedded();
    let store = place.open();
    submit(&store, submission(1)).await;
    let copies = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let copy = |to: &TempDir, prefix: &str| {
        let to = to.path().join("journal");
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(place.path().join("journal")).unwrap() {
            let name = entry.unwrap().file_name();
            if name.to_str().unwrap().starts_with(prefix) {
                copy_all(&place.path().join("journal").join(&name), &to.join(&name));
            }
        }
    };
    let [good, bad] = &copies;
    copy(good, "mark");
    copy(bad, "segment-");
    for n in 2..5 {
        submit(&store, submission(n)).await;
    }
    copy(good, "segment-");
    let size = store.log_head().size;
    store.close().await;
    copy(bad, "mark");
    for to in &copies {
        copy_all(&place.path().join("store.id"), &to.path().join("store.id"));
    }
    let [good, bad] = copies;
    let copied = Place::in_dir(good).open();
    assert_eq!((copied.log_head().size, size), (4, 4));
    assert_sound(&copied);
    let refused = Place::in_dir(bad).try_open();
    assert!(matches!(refused, Err(StoreError::Journal(JournalError::Damage { .. }))));
}

/// A segment is lost for good: all before it opens as an older copy of the store, and says so;
/// where nothing is before it, only by the word of whoever put it in place.
#[tokio::test]
async fn what_is_before_a_lost_segment_opens() {
    let place = Place::embedded();
    let store = place.open();
    for n in 1..=12 {
        submit(&store, NewSubmission { payload: vec![7; 20_000].into(), ..submission(n) }).await;
    }
    let (whole, last) = (store.log_head().size, store.shared.reader.last_segment());
    store.close().await;
    assert!(last > 3);
    for kept in [2, 0] {
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join("journal")).unwrap();
        copy_all(&place.path().join("store.id"), &copy.path().join("store.id"));
        for number in 1..=kept {
            let name = format!("journal/segment-{number:010}");
            copy_all(&place.path().join(&name), &copy.path().join(&name));
        }
        let copy = Place::in_dir(copy);
        if kept == 0 {
            let refused = copy.try_open();
            assert!(matches!(refused, Err(StoreError::Journal(JournalError::Missing))));
            fs::write(copy.path().join("restored"), "").unwrap();
        }
        for _ in 0..2 {
            let store = copy.open();
            let size = store.log_head().size;
            assert!(size < whole && (size > 0) == (kept > 0), "{size} of {whole}");
            assert_sound(&store);
            store.close().await;
        }
    }
}
