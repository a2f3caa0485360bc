//! The journal on a disk that does not fail.

use super::*;

/// What was planned is what is given; what was appended is read back by position and by scan,
/// over several segments, before and after opening again; a stop in order is told as such.
#[test]
fn appended_events_are_read_back() {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    let mut seq = 1;
    for size in [1, 3, 2, 5, 1, 7, 2] {
        let frames = events(seq..=seq + size - 1);
        let plan = journal.plan(&frames).unwrap();
        let done = journal.append(&frames).unwrap();
        assert_eq!((done.first_seq, &done.positions), (plan.first_seq, &plan.positions));
        assert_eq!((done.first_seq, done.batch_hash), (seq, journal.last_hash()));
        seq += size;
    }
    assert!(journal.reader().last_segment() > 2);
    assert_content(&journal, &events(1..=seq - 1));
    journal.close().unwrap();
    let (mut journal, recovered) = open(&disk).unwrap();
    assert_eq!((recovered.last_seq, recovered.tail_cut, recovered.clean), (seq - 1, None, true));
    assert_content(&journal, &events(1..=seq - 1));
    journal.append(&events(seq..=seq)).unwrap();
    drop(journal);
    let (journal, recovered) = open(&disk).unwrap();
    assert!(!recovered.clean);
    assert_content(&journal, &events(1..=seq));
    for segment in 1..=journal.reader().last_segment() {
        let report = journal.reader().verify_segment(segment).unwrap();
        assert!(report.erased.is_empty() && report.damaged.is_empty());
    }
}

/// The same on the disk of this machine.
#[test]
fn real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let settings = JournalSettings { dir: dir.path().join("journal"), segment_bytes: 16 << 10 };
    let missing = Journal::open(settings.clone(), Arc::new(RealIo), &[]);
    assert!(missing.is_err());
    let mut journal = Journal::create(settings.clone(), Arc::new(RealIo)).unwrap();
    for n in 1..=60 {
        if let Some(work) = journal.take_preparation() {
            let prepared = std::thread::spawn(|| work.run()).join().unwrap().unwrap();
            journal.add_prepared(prepared);
        }
        journal.append(&events(n..=n)).unwrap();
    }
    assert!(journal.reader().last_segment() > 3);
    let position = read_all(&journal)[0].1;
    journal.erase_body(position).unwrap();
    journal.close().unwrap();
    assert!(matches!(
        Journal::create(settings.clone(), Arc::new(RealIo)),
        Err(JournalError::Exists)
    ));
    let (journal, recovered) = Journal::open(settings, Arc::new(RealIo), &[]).unwrap();
    assert_eq!((recovered.last_seq, recovered.clean), (60, true));
    assert_eq!(journal.reader().read(position).unwrap().body, Body::Erased);
    for n in 2..=60 {
        let found = journal.reader().scan(n, 1, 0).unwrap();
        assert_eq!((found[0].0, &found[0].2.meta), (n, &event(n).meta));
        assert_eq!(found[0].2.body, present(&event(n)));
    }
    let names = std::fs::read_dir(dir.path().join("journal")).unwrap();
    let prepared = names.filter(|name| {
        name.as_ref().unwrap().file_name().to_string_lossy().starts_with("prepared-")
    });
    assert_eq!(prepared.count(), 0, "segments of an earlier process are never used");
}

/// Bounds of a scan: from the middle of a batch, by count, by bytes, beyond the end.
#[test]
fn scans_are_bounded() {
    let mut journal = create(&SimDisk::new(1));
    for first in (1..60).step_by(3) {
        journal.append(&events(first..=first + 2)).unwrap();
    }
    let reader = journal.reader();
    for from in 1..=60 {
        let seqs = |max_events, max_bytes| -> Vec<u64> {
            let found = reader.scan(from, max_events, max_bytes).unwrap();
            found.iter().map(|found| found.0).collect()
        };
        assert_eq!(seqs(5, usize::MAX), (from..=60.min(from + 4)).collect::<Vec<_>>());
        assert_eq!(seqs(5, 0), vec![from], "one event passes whatever its size");
        assert!(seqs(0, usize::MAX).is_empty());
    }
    assert!(reader.scan(61, 10, 1000).unwrap().is_empty());
    let beyond = Position { segment: 99, offset: 512 };
    assert!(matches!(reader.read(beyond), Err(JournalError::NoEvent { .. })));
}

/// A late scan reads a bounded part of the segment, not the journal from its beginning.
#[test]
fn a_scan_seeks() {
    let disk = SimDisk::new(1);
    let mut journal = Journal::create(
        JournalSettings { dir: PathBuf::from("j"), segment_bytes: 4 << 20 },
        Arc::new(disk.clone()),
    )
    .unwrap();
    for n in 1..=4000 {
        journal.append(&events(n..=n)).unwrap();
    }
    let before = disk.counters().bytes_read;
    assert_eq!(journal.reader().scan(3990, 1, 0).unwrap()[0].0, 3990);
    let read = disk.counters().bytes_read - before;
    assert!(read <= 2 * (64 << 10), "read {read} bytes for one event");
}

/// Readers stop at the durable sequence: a batch that is written and not synced is not there,
/// neither by scan nor by its planned position.
#[test]
fn readers_stop_at_the_durable_sequence() {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    journal.append(&events(1..=2)).unwrap();
    let reader = journal.reader();
    let plan = journal.plan(&events(3..=3)).unwrap();
    disk.fail_nth(OpKind::Sync, 1, 5);
    journal.append(&events(3..=3)).unwrap_err();
    assert_eq!((reader.durable_seq(), journal.durable_seq()), (2, 2));
    assert_eq!(reader.scan(1, 10, usize::MAX).unwrap().len(), 2);
    assert!(reader.scan(3, 10, usize::MAX).unwrap().is_empty());
    assert!(matches!(reader.read(plan.positions[0]), Err(JournalError::NoEvent { .. })));
}

/// One batch is one write and one sync; a roll that finds a prepared segment creates none.
#[test]
fn one_write_and_one_sync_a_batch() {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    let first = journal.take_preparation().unwrap();
    let second = journal.take_preparation().unwrap();
    assert!(journal.take_preparation().is_none(), "two are under way");
    journal.add_prepared(first.run().unwrap());
    drop(second);
    let second = journal.take_preparation().expect("dropped work counts no longer");
    journal.add_prepared(second.run().unwrap());
    assert!(journal.take_preparation().is_none());
    let count = |kind| disk.counters().operations.get(&kind).copied().unwrap_or(0);
    let before = (count(OpKind::Write), count(OpKind::Sync), count(OpKind::Create));
    journal.append(&events(1..=3)).unwrap();
    assert_eq!((count(OpKind::Write), count(OpKind::Sync)), (before.0 + 1, before.1 + 1));
    while journal.reader().last_segment() < 3 {
        let seq = journal.durable_seq() + 1;
        journal.append(&events(seq..=seq)).unwrap();
    }
    assert_eq!(count(OpKind::Create), before.2);
    assert!(journal.take_preparation().is_some());
}

/// Batches at and over the limits; one larger than a segment gets a segment of its own.
#[test]
fn limits_of_a_batch() {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    assert!(matches!(journal.append(&[]), Err(JournalError::EmptyBatch)));
    let with = |meta: usize, body: usize| EventFrame {
        meta: Bytes::from(vec![1; meta]),
        body: Bytes::from(vec![2; body]),
    };
    for refused in [
        vec![with(META_BYTES_MAX + 1, 0)],
        vec![with(0, BODY_BYTES_MAX + 1)],
        vec![with(0, 0); BATCH_EVENTS_MAX as usize + 1],
        vec![with(0, BODY_BYTES_MAX); 4],
    ] {
        assert!(matches!(journal.append(&refused), Err(JournalError::TooLarge { .. })));
    }
    assert_eq!(journal.durable_seq(), 0);
    let expected = vec![with(3, 5), with(100, 1 << 20), with(0, 0), with(7, 9)];
    for frame in &expected {
        journal.append(std::slice::from_ref(frame)).unwrap();
    }
    assert_content(&journal, &expected);
    drop(journal);
    assert_content(&open(&disk).unwrap().0, &expected);
}

/// Positions sort as bytes as they do as values, and come back.
#[test]
fn positions_encode() {
    let mut places = [(2, 1), (1, u64::MAX), (1, 512), (u64::MAX, 0), (0, 3)]
        .map(|(segment, offset)| Position { segment, offset });
    places.sort();
    let bytes = places.map(Position::to_bytes);
    assert!(bytes.is_sorted());
    assert_eq!(bytes.map(Position::from_bytes), places);
}

/// A journal of a newer program is refused by number, not called damaged.
#[test]
fn newer_format_is_refused() {
    let disk = SimDisk::new(1);
    drop(create(&disk));
    let path = segment_path(1);
    let old = disk.content(&path).unwrap();
    let mut header = frame::SegmentHeader::decode(&old).unwrap();
    header.version = 2;
    disk.open(&path).unwrap().write_at(0, &header.encode()).unwrap();
    let refused = open(&disk).map(|_| ());
    assert!(matches!(refused, Err(JournalError::NewerFormat { segment: 1, found: 2, .. })));
}

/// A journal is begun once, and opened only where it was begun.
#[test]
fn create_and_open_do_not_replace_each_other() {
    let disk = SimDisk::new(1);
    assert!(matches!(open(&disk).map(|_| ()), Err(JournalError::Missing)));
    drop(create(&disk));
    let again = Journal::create(settings(), Arc::new(disk.clone())).map(|_| ());
    assert!(matches!(again, Err(JournalError::Exists)));
}
