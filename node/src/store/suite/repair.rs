//! Repair of real stores: what follows from the journal is made anew, exactly; what is damaged for
//! good is named, and nothing of it is touched.

use std::{collections::BTreeMap, fs, path::PathBuf};

use super::*;
use crate::store::{
    index::{Index, Op, Tree},
    repair::{RepairOrder, Repaired, repair},
    sled::SledIndex,
};

const MESSAGES: u64 = 12;

/// A store that was worked with and closed.
async fn closed() -> Place {
    let place = Place::embedded();
    let store = place.open();
    for n in 1..=MESSAGES {
        let payload = vec![n as u8; 20_000].into();
        submit(&store, NewSubmission { payload, ..submission(n) }).await;
        arrive(&store, arrival(n, 0)).await;
    }
    assert_eq!(store.close().await, Ended::Clean);
    place
}

/// Takes a pair out of the index of a closed store, which no checksum tells.
fn lie(place: &Place) {
    let index = Index::Sled(SledIndex::open(&place.path().join("index"), 1 << 20).unwrap());
    let key = records::key::by_id(&us(), &id(4));
    let op = Op { tree: Tree::ById, key, value: None, fresh: false };
    index.apply_ops(&[op], index.applied()).unwrap();
}

async fn look(place: &Place) -> Repaired {
    run(place, true).await
}

async fn mend(place: &Place) -> Repaired {
    run(place, false).await
}

async fn run(place: &Place, dry_run: bool) -> Repaired {
    let (backend, unit, origin) = (place.backend.clone(), us(), us().log_origin(1));
    repair(&RepairOrder { backend, unit, origin, dry_run }).await.unwrap()
}

fn segment(place: &Place, number: u64) -> PathBuf {
    place.path().join(format!("journal/segment-{number:010}"))
}

fn flip(path: &Path, offset: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

/// Every file of the journal.
fn journal(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(place.path().join("journal")).unwrap();
    let each = entries.map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    });
    each.filter(|(name, _)| name.starts_with("segment-")).collect()
}

/// All messages are served and the store is sound.
fn assert_whole(place: &Place) -> Store {
    let store = place.open();
    for n in 1..=MESSAGES {
        let record = store.message(&ours(n)).unwrap().unwrap();
        assert_eq!(store.content(&record).unwrap().payload.unwrap(), vec![n as u8; 20_000]);
    }
    assert_sound(&store);
    store
}

/// Nothing is found, nothing is changed, and a look does not even touch the lock's holder.
#[tokio::test]
async fn a_sound_store_is_left_alone() {
    let place = closed().await;
    let before = journal(&place);
    let report = look(&place).await;
    assert!(report.is_sound() && report.mended.is_empty(), "{report:?}");
    assert!(report.journal.2 > 24 && report.journal.0 > 3);
    assert_eq!(journal(&place), before);
    let report = mend(&place).await;
    assert!(report.is_sound() && report.mended.is_empty() && report.kept.is_empty(), "{report:?}");
    let _open = assert_whole(&place);
    let order = RepairOrder {
        backend: place.backend.clone(),
        unit: us(),
        origin: us().log_origin(1),
        dry_run: true,
    };
    let error = repair(&order).await.unwrap_err();
    assert!(matches!(error, StoreError::Files(files::FilesError::InUse { .. })), "{error}");
}

/// The index: a byte of a file flipped, a file cut short, all of it removed, its mark removed.
#[tokio::test]
async fn an_index_is_made_anew() {
    let place = closed().await;
    let files = || {
        let mut files = Vec::new();
        for entry in fs::read_dir(place.path().join("index")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && fs::metadata(&path).unwrap().len() > 0 {
                files.push(path);
            }
        }
        files.sort();
        files
    };
    let count = files().len();
    assert!(count >= 2);
    for (nth, how) in (0..count).flat_map(|nth| [(nth, "flip"), (nth, "cut")]) {
        let path = &files()[nth % files().len()];
        let length = fs::metadata(path).unwrap().len();
        match how {
            "flip" => {
                for part in 1..20 {
                    flip(path, (length / 20 * part) as usize);
                }
            }
            _ => fs::File::options().write(true).open(path).unwrap().set_len(length / 2).unwrap(),
        }
        let report = mend(&place).await;
        assert!(report.is_sound(), "{how} {}: {report:?}", path.display());
        assert_whole(&place).close().await;
    }
    fs::remove_dir_all(place.path().join("index")).unwrap();
    let report = mend(&place).await;
    assert!(report.is_sound() && !report.mended.is_empty(), "{report:?}");
    assert_whole(&place).close().await;
    fs::remove_file(place.path().join("index.mark")).unwrap();
    let report = mend(&place).await;
    assert!(report.is_sound() && report.mended[0].contains("index's mark"), "{report:?}");
    assert_whole(&place).close().await;
}

/// A pair of the index that is not as the journal says, which no checksum tells: found by the
/// comparison, the index made anew and the old one kept.
#[tokio::test]
async fn an_index_that_lies_is_made_anew() {
    let place = closed().await;
    lie(&place);
    let mark = fs::read(place.path().join("index.mark")).unwrap();
    let report = mend(&place).await;
    assert!(report.is_sound(), "{report:?}");
    assert!(report.mended[0].contains("index"), "{report:?}");
    let [marks, index] = report.kept.as_slice() else { panic!("{report:?}") };
    assert!(index.ends_with("index.damaged-1") && index.is_dir());
    assert_eq!(fs::read(marks.join("index.mark")).unwrap(), mark);
    assert_whole(&place);
}

/// Header, table, free bytes and footer of a sealed segment follow from its batches and its
/// neighbours: written back as they were, byte for byte; the former bytes are kept.
#[tokio::test]
async fn the_frame_of_a_segment_is_written_back() {
    let place = closed().await;
    let good = journal(&place);
    let path = segment(&place, 2);
    let length = fs::metadata(&path).unwrap().len() as usize;
    let content = fs::read(&path).unwrap();
    let table = (512..length - 2048).rev().find(|at| content[*at] != 0).unwrap();
    let free = length - 2048 - 1;
    for (round, offset) in
        [5, 12, 27, 40, 60, 90, 300, table, free, length - 2048, length - 1900, length - 1]
            .iter()
            .enumerate()
    {
        flip(&path, *offset);
        let damaged = fs::read(&path).unwrap();
        let report = look(&place).await;
        assert!(!report.is_sound() && report.remains.is_empty(), "offset {offset}: {report:?}");
        assert_eq!(fs::read(&path).unwrap(), damaged, "a look changes nothing");
        let report = mend(&place).await;
        assert!(report.is_sound() && report.mended.len() == 1, "offset {offset}: {report:?}");
        let kept = place.path().join(format!("repair-{}", round + 1));
        assert_eq!(report.kept, std::slice::from_ref(&kept));
        assert_eq!(fs::read(kept.join("segment-0000000002")).unwrap(), damaged);
        let now = journal(&place);
        assert_eq!(now["segment-0000000002"], good["segment-0000000002"], "offset {offset}");
        assert_whole(&place).close().await;
    }
}

/// A message whose body rotted is named with sender and place, all else is right.
#[tokio::test]
async fn a_rotted_message_is_named() {
    let place = closed().await;
    let store = place.open();
    let record = store.message(&ours(5)).unwrap().unwrap();
    store.close().await;
    drop(store);
    let position = journal::Position::from_bytes(record.position.as_ref().try_into().unwrap());
    let path = segment(&place, position.segment);
    flip(&path, position.offset as usize + 10_000);
    let damaged = fs::read(&path).unwrap();
    for report in [look(&place).await, mend(&place).await] {
        assert!(!report.is_sound() && report.mended.is_empty(), "{report:?}");
        let [damage] = report.remains.as_slice() else { panic!("{report:?}") };
        assert_eq!((damage.seq, damage.segment), (record.seq, position.segment));
        assert_eq!(damage.offset, position.offset);
        assert_eq!(damage.message, record.message_id().unwrap().to_string());
        assert_eq!((damage.from.as_str(), damage.to.as_slice()), (us().as_str(), &record.to[..]));
    }
    assert_eq!(fs::read(&path).unwrap(), damaged, "damage is left as it is");
    let store = place.open();
    assert!(store.content(&record).is_err());
    assert!(store.content(&store.message(&ours(6)).unwrap().unwrap()).is_ok());
}

/// An event that rotted, in a sealed segment and in the newest one: named by sequence, and neither
/// journal nor index are touched.
#[tokio::test]
async fn a_rotted_event_is_named_and_left() {
    let place = closed().await;
    let store = place.open();
    let newest = store.shared.reader.last_segment();
    let records: Vec<_> = (1..=MESSAGES)
        .map(|n| store.message(&ours(n)).unwrap().unwrap())
        .map(|record| {
            let position = record.position.as_ref().try_into().unwrap();
            (record.seq, journal::Position::from_bytes(position))
        })
        .collect();
    store.close().await;
    drop(store);
    let sealed = records.iter().find(|(_, position)| position.segment == 2).unwrap();
    let open = records.iter().find(|(_, position)| position.segment == newest).unwrap();
    for (seq, position) in [sealed, open] {
        let path = segment(&place, position.segment);
        flip(&path, position.offset as usize + 64 + 3);
        let (bytes, mark) = (journal(&place), files::read_index_mark(place.path()));
        for report in [look(&place).await, mend(&place).await] {
            let [damage] = report.remains.as_slice() else { panic!("{report:?}") };
            assert_eq!((damage.seq, damage.segment), (*seq, position.segment), "{damage}");
            assert!(report.not_looked.is_some() && report.kept.is_empty());
        }
        assert_eq!(journal(&place), bytes);
        assert_eq!(files::read_index_mark(place.path()), mark);
        flip(&path, position.offset as usize + 64 + 3);
    }
    assert!(mend(&place).await.is_sound());
    assert_whole(&place);
}

/// A node that is started while the repair runs waits for its end: the lock is never free.
#[tokio::test]
async fn nobody_gets_in_between() {
    use std::sync::mpsc;

    let place = closed().await;
    lie(&place);
    let (dir, (got, is_got)) = (place.path().to_owned(), mpsc::channel());
    let (begin, begun) = mpsc::channel::<()>();
    let other = std::thread::spawn(move || {
        begun.recv().unwrap();
        // The repair has it first.
        while !files::Lock::is_held(&dir) {
            std::hint::spin_loop();
        }
        loop {
            if let Ok(lock) = files::Lock::take(&dir) {
                got.send(()).unwrap();
                return lock;
            }
        }
    });
    begin.send(()).unwrap();
    let report = mend(&place).await;
    assert!(report.is_sound() && report.mended.len() == 1, "{report:?}");
    is_got.recv_timeout(Duration::from_secs(10)).unwrap();
    drop(other.join().unwrap());
    assert_whole(&place);
}

/// What was done before an error is told with it.
#[tokio::test]
async fn an_error_hides_no_mend() {
    let place = closed().await;
    flip(&segment(&place, 2), 5);
    let obstacle = place.path().join("reserve.bin");
    fs::remove_file(&obstacle).ok();
    fs::create_dir(&obstacle).unwrap();
    let report = mend(&place).await;
    assert!(!report.is_sound() && report.failed.is_some(), "{report:?}");
    assert!(report.mended.len() == 1 && report.mended[0].contains("segment 2"), "{report:?}");
    assert!(report.kept[0].join("segment-0000000002").exists());
    fs::remove_dir(&obstacle).unwrap();
    assert!(mend(&place).await.is_sound());
    assert_whole(&place);
}

/// An older copy of a segment in its place is called what it is, sealed or newest: its events are
/// missing, and it is not taken for a tail.
#[tokio::test]
async fn a_stale_segment_is_told() {
    let place = Place::embedded();
    let store = place.open();
    let mut copies: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for n in 1..=MESSAGES {
        let payload = vec![n as u8; 20_000].into();
        submit(&store, NewSubmission { payload, ..submission(n) }).await;
        let newest = store.shared.reader.last_segment();
        copies.entry(newest).or_insert_with(|| fs::read(segment(&place, newest)).unwrap());
    }
    let newest = store.shared.reader.last_segment();
    assert_eq!(store.close().await, Ended::Clean);
    for number in [2, newest] {
        let path = segment(&place, number);
        let good = fs::read(&path).unwrap();
        assert_ne!(copies[&number], good);
        fs::write(&path, &copies[&number]).unwrap();
        for report in [look(&place).await, mend(&place).await] {
            assert_eq!(report.remains.len(), 1, "{report:?}");
            let damage = &report.remains[0];
            assert_eq!(damage.segment, number);
            assert!(damage.seq <= damage.last_seq, "which events are missing: {damage}");
        }
        assert_eq!(fs::read(&path).unwrap(), copies[&number], "it is left as it is");
        assert!(matches!(place.try_open(), Err(StoreError::Journal(_))), "and not opened");
        fs::write(&path, good).unwrap();
    }
    // A whole segment that is gone.
    let away = place.path().join("away");
    fs::rename(segment(&place, 2), &away).unwrap();
    let report = mend(&place).await;
    assert!(report.remains[0].what.contains("missing"), "{report:?}");
    fs::rename(&away, segment(&place, 2)).unwrap();
    assert!(mend(&place).await.is_sound());
    assert_whole(&place);
}

/// The journal's mark removed: made anew. A torn tail: cut off, as nobody was answered for it.
/// Both: nobody can tell a tail from damage, and nothing is cut.
#[tokio::test]
async fn marks_are_made_anew_and_tails_cut() {
    let place = closed().await;
    let mark = place.path().join("journal/mark");
    fs::remove_file(&mark).unwrap();
    let report = mend(&place).await;
    assert!(report.is_sound() && report.mended[0].contains("mark"), "{report:?}");
    assert!(mark.exists());
    assert_whole(&place).close().await;

    let store = place.open();
    let newest = store.shared.reader.last_segment();
    let end = store.shared.reader.segment_bytes(newest);
    store.close().await;
    drop(store);
    // What closing wrote lies behind it.
    let path = segment(&place, newest);
    let bytes = fs::read(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap().max(end as usize);
    let torn = (used + 1).next_multiple_of(512) + 512;
    flip(&path, torn);
    let (with_tail, marked) = (fs::read(&path).unwrap(), fs::read(&mark).unwrap());
    let report = look(&place).await;
    assert!(!report.is_sound() && report.mended[0].contains("tail"), "{report:?}");
    let kept = fs::read(&mark).unwrap();
    fs::remove_file(&mark).unwrap();
    let report = mend(&place).await;
    assert!(report.remains[0].what.contains("no mark file"), "{report:?}");
    assert!(!mark.exists(), "a refusal makes no mark that a second try would believe");
    fs::write(&mark, kept).unwrap();
    let report = mend(&place).await;
    assert!(report.is_sound() && report.mended[0].contains("tail"), "{report:?}");
    let [kept] = report.kept.as_slice() else { panic!("{report:?}") };
    let copy = fs::read(kept.join(path.file_name().unwrap())).unwrap();
    assert!(copy == with_tail, "the tail is kept");
    assert_ne!(fs::read(&path).unwrap(), with_tail);
    assert_eq!(fs::read(kept.join("mark")).unwrap(), marked);
    assert_whole(&place);
}

/// A damaged snapshot is set aside.
#[tokio::test]
async fn a_damaged_snapshot_is_set_aside() {
    let place = closed().await;
    let snapshot = place.path().join("snapshots/index-00000000000000000009");
    fs::write(&snapshot, b"no snapshot").unwrap();
    assert!(!look(&place).await.is_sound() && snapshot.exists());
    let report = mend(&place).await;
    assert!(report.is_sound() && report.mended[0].contains("snapshot"), "{report:?}");
    assert!(!snapshot.exists() && report.kept[0].join(snapshot.file_name().unwrap()).exists());
    assert_whole(&place);
}
