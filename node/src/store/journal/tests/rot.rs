//! Rot and loss of stored bytes: what must be called damage, and what may be cut.

use super::*;

fn damage_of<T>(result: Result<T, JournalError>) -> (Damage, u64, u64, u64) {
    match result.map(|_| ()) {
        Err(JournalError::Damage { what, segment, offset, seq }) => (what, segment, offset, seq),
        other => panic!("not damage: {other:?}"),
    }
}

/// A rotted last batch looks like a torn one. The mark file or any mark from elsewhere that
/// reaches into it makes it damage, with its place; without a mark it is cut.
#[test]
fn rotted_last_batch_is_damage() {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    journal.append(&events(1..=2)).unwrap();
    let last = journal.append(&events(3..=5)).unwrap();
    let unmarked = disk.fork();
    journal.mark().unwrap();
    drop(journal);
    // A mark is worth what survives the power cut that it is needed after.
    for seed in 0..20 {
        let disk = disk.fork();
        disk.power_cut(seed);
        assert!(disk.rot(&segment_path(1), last.positions[0].offset, 1));
        assert_eq!(damage_of(open(&disk)).0, Damage::Batch);
    }
    let start = last.positions[0].offset - 128;
    let length = frame::batch_bytes(&events(3..=5));
    for offset in start..start + length {
        let disk = disk.fork();
        assert!(disk.rot(&segment_path(1), offset, 1 << (offset % 8)));
        let before = disk.content(&segment_path(1));
        assert_eq!(damage_of(open(&disk)), (Damage::Batch, 1, start, 3));
        assert_eq!(disk.content(&segment_path(1)), before, "damage is left as it was found");

        let disk = unmarked.fork();
        disk.kill();
        assert!(disk.rot(&segment_path(1), offset, 1 << (offset % 8)));
        let other = DurableMark { seq: 4, batch_hash: None };
        let result = Journal::open(settings(), Arc::new(disk.clone()), &[other]);
        assert_eq!(damage_of(result), (Damage::Batch, 1, start, 3));
        let (journal, recovered) = open(&disk).unwrap();
        assert_eq!(recovered.last_seq, 2);
        assert!(recovered.tail_cut.is_some_and(|cut| cut.offset <= start));
        assert_content(&journal, &events(1..=2));
    }
}

/// A bad batch with a later header behind it was durable: damage at its place, without any mark.
/// Also when only the later batch's header is left of it.
#[test]
fn bad_batch_before_a_later_header_is_damage() {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    journal.append(&events(1..=1)).unwrap();
    let second = journal.append(&events(2..=2)).unwrap().positions[0].offset;
    let third = journal.append(&events(3..=3)).unwrap().positions[0].offset;
    drop(journal);
    disk.rot(&segment_path(1), second + 8, 1);
    assert_eq!(damage_of(open(&disk)), (Damage::Batch, 1, second - 128, 2));
    disk.rot(&segment_path(1), third + 8, 1);
    assert_eq!(damage_of(open(&disk)), (Damage::Batch, 1, second - 128, 2));
    // Nothing left that proves it: now both are a tail.
    disk.rot(&segment_path(1), third - 128, 1);
    assert_eq!(open(&disk).unwrap().1.last_seq, 1);
}

/// An end that is only zeros, as after a restore of an older copy, is damage if a mark reaches
/// beyond it; a mark with another hash is damage, wherever it points.
#[test]
fn marks_are_compared_with_the_chain() {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    let first = journal.append(&events(1..=2)).unwrap().batch_hash;
    let old = disk.fork();
    for n in 3..=20 {
        journal.append(&events(n..=n)).unwrap();
    }
    let last = journal.last_hash();
    drop(journal);
    let open_with = |disk: &SimDisk, seq, batch_hash| {
        Journal::open(settings(), Arc::new(disk.fork()), &[DurableMark { seq, batch_hash }])
    };
    old.kill();
    assert_eq!(damage_of(open_with(&old, 3, None)).0, Damage::EndBeforeMark);
    assert!(open_with(&disk, 2, Some(first)).is_ok());
    assert!(open_with(&disk, 20, Some(last)).is_ok());
    assert!(open_with(&disk, 0, Some([0; 32])).is_ok());
    for (seq, hash) in [(2, last), (20, first), (1, first), (0, first)] {
        let damage = damage_of(open_with(&disk, seq, Some(hash)));
        assert_eq!((damage.0, damage.3), (Damage::MarkDiffers, seq));
    }
}

/// A missing segment, one too short, one swapped for another, a lost footer: damage, by number.
#[test]
fn whole_segments_are_missed() {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    while journal.reader().last_segment() < 4 {
        let seq = journal.durable_seq() + 1;
        journal.append(&events(seq..=seq)).unwrap();
    }
    journal.close().unwrap();
    for number in 1..=3 {
        let lost = disk.fork();
        lost.remove(&segment_path(number)).unwrap();
        let damage = damage_of(open(&lost));
        assert_eq!((damage.0, damage.1), (Damage::SegmentMissing, number));
    }
    let lost = disk.fork();
    lost.remove(&segment_path(4)).unwrap();
    assert_eq!(damage_of(open(&lost)).0, Damage::EndBeforeMark);
    let swapped = disk.fork();
    swapped.rename(&segment_path(2), Path::new("j/x")).unwrap();
    swapped.rename(&segment_path(3), &segment_path(2)).unwrap();
    swapped.rename(Path::new("j/x"), &segment_path(3)).unwrap();
    let damage = damage_of(open(&swapped));
    assert_eq!((damage.0, damage.1), (Damage::Chain, 2));
    let footer = disk.fork();
    footer.rot(&segment_path(2), (8 << 10) - 2048, 1);
    let damage = damage_of(open(&footer));
    assert_eq!((damage.0, damage.1), (Damage::Footer, 2));
}

/// A batch whose checksums hold, but that follows another history, is not taken over.
#[test]
fn a_batch_of_another_history_is_not_read() {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    let first = journal.append(&events(1..=1)).unwrap();
    let plan = journal.plan(&events(2..=2)).unwrap();
    drop(journal);
    let path = segment_path(1);
    let id = frame::SegmentHeader::decode(&disk.content(&path).unwrap()).unwrap().id;
    let offset = plan.positions[0].offset - 128;
    for (hash, taken) in [(first.batch_hash, true), ([7; 32], false)] {
        let disk = disk.fork();
        let before = codec::Chain { batch: 1, seq: 1, hash };
        let mut bytes = Vec::new();
        frame::encode_batch(&mut bytes, &id, offset, &before, &events(2..=2));
        disk.open(&path).unwrap().write_at(offset, &bytes).unwrap();
        let (_, recovered) = open(&disk).unwrap();
        assert_eq!((recovered.last_seq == 2, recovered.tail_cut.is_none()), (taken, taken));
    }
}

/// A copy of a segment's bytes at another place, or of another segment, is never read.
#[test]
fn stray_copies_are_not_read() {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    for n in 1..=3 {
        journal.append(&events(n..=n)).unwrap();
    }
    let end = read_all(&journal)[2].1.offset;
    drop(journal);
    // The third batch once more behind itself, as a misplaced write would leave it.
    let bytes = disk.content(&segment_path(1)).unwrap();
    let from = end as usize - 128;
    let copy = &bytes[from..from + 2048];
    let to = from as u64 + 2048;
    disk.open(&segment_path(1)).unwrap().write_at(to, copy).unwrap();
    let (journal, recovered) = open(&disk).unwrap();
    assert!(recovered.tail_cut.is_some());
    assert_content(&journal, &events(1..=3));
}

/// Every byte of a small journal with sealed segments, an erased body and marks is flipped in
/// turn. Each flip is found on opening or by the scrub, and whatever is read is either what was
/// written or told as damaged; nothing is lost in silence.
#[test]
fn every_flipped_byte_is_found() {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    let place = journal.append(&events(1..=2)).unwrap().positions[0];
    while journal.reader().last_segment() < 2 {
        let seq = journal.durable_seq() + 1;
        journal.append(&events(seq..=seq + 1)).unwrap();
    }
    journal.erase_body(place).unwrap();
    journal.close().unwrap();
    for number in 1..=2 {
        for offset in 0..8 << 10 {
            let disk = disk.fork();
            assert!(disk.rot(&segment_path(number), offset, 1 << (offset % 8)));
            assert!(is_found(&disk), "segment {number}, offset {offset}");
        }
    }
    // The mark file says nothing of content: a rotted slot falls back to the other one.
    for offset in 0..1024 {
        let disk = disk.fork();
        assert!(disk.rot(&Path::new("j").join(mark::MARK_NAME), offset, 1 << (offset % 8)));
        let (journal, recovered) = open(&disk).unwrap();
        assert!(recovered.tail_cut.is_none() && !recovered.mark_rebuilt);
        assert!(!check_read(&journal));
    }
    // Both slots gone: told, and healed, as long as the end is in order.
    let path = Path::new("j").join(mark::MARK_NAME);
    disk.rot(&path, 9, 1);
    disk.rot(&path, 521, 1);
    let torn = disk.fork();
    assert!(open(&disk).unwrap().1.mark_rebuilt);
    assert!(!open(&disk).unwrap().1.mark_rebuilt);
    torn.rot(&segment_path(2), 4096, 1);
    let end = torn.content(&segment_path(2)).unwrap();
    assert_eq!(end[4096], 1, "a free byte");
    assert_eq!(damage_of(open(&torn)).0, Damage::EndWithoutMark);
    // No mark file at all, and the refusal makes none that a second try would believe.
    torn.remove(&path).unwrap();
    for _ in 0..2 {
        assert_eq!(damage_of(open(&torn)).0, Damage::EndWithoutMark);
    }
    torn.rot(&segment_path(2), 4096, 1);
    assert!(open(&torn).unwrap().1.mark_rebuilt);
    assert!(!open(&torn).unwrap().1.mark_rebuilt);
}

fn is_found(disk: &SimDisk) -> bool {
    let (journal, recovered) = match open(disk) {
        Err(JournalError::Damage { .. }) => return true,
        Err(other) => panic!("{other}"),
        Ok(opened) => opened,
    };
    // All was marked on closing, so a cut may take free bytes only.
    assert_eq!(recovered.last_seq, journal.durable_seq());
    let told = check_read(&journal);
    let scrubbed = (1..=2).any(|number| match journal.reader().verify_segment(number) {
        Err(JournalError::Damage { .. }) => true,
        Err(other) => panic!("{other}"),
        Ok(report) => !report.damaged.is_empty(),
    });
    told || scrubbed || recovered.tail_cut.is_some()
}

/// Reads everything; true if a read told of damage. Panics if something else than what was
/// written is shown, or if events are missing without a word.
fn check_read(journal: &Journal) -> bool {
    let mut told = false;
    for seq in 1..=journal.durable_seq() {
        match journal.reader().scan(seq, 1, 0) {
            Err(JournalError::Damage { .. }) => told = true,
            Err(other) => panic!("{other}"),
            Ok(found) => {
                let (found_seq, _, found) = &found[0];
                assert_eq!((*found_seq, &found.meta), (seq, &event(seq).meta));
                match &found.body {
                    Body::Damaged => told = true,
                    Body::Erased => assert_eq!(seq, 1),
                    body => assert_eq!(*body, present(&event(seq))),
                }
            }
        }
    }
    told
}

/// The table of a sealed segment finds every event. One that rotted sends nobody to another event,
/// the scrub tells it, and reading by sequence goes on without it; a sealing that was torn is made
/// again.
#[test]
fn the_table_finds_every_event() {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    while journal.reader().last_segment() < 3 {
        let seq = journal.durable_seq() + 1;
        journal.append(&events(seq..=seq + 2)).unwrap();
    }
    let reader = journal.reader();
    let stored = read_all(&journal);
    for (seq, position, _) in &stored {
        assert_eq!(reader.position_of(*seq).unwrap(), *position);
    }
    let beyond = journal.durable_seq() + 1;
    assert!(matches!(reader.position_of(beyond), Err(JournalError::NotDurable { .. })));

    let content = disk.content(&segment_path(1)).unwrap();
    let offsets: Vec<u8> = stored
        .iter()
        .filter(|(_, position, _)| position.segment == 1)
        .flat_map(|(_, position, _)| (position.offset as u32).to_le_bytes())
        .collect();
    let table = content.windows(offsets.len()).position(|window| window == offsets).unwrap();
    assert_eq!(table % 512, 0);
    for byte in 0..offsets.len() {
        let disk = disk.fork();
        disk.kill();
        assert!(disk.rot(&segment_path(1), (table + byte) as u64, 1));
        let (journal, _) = open(&disk).unwrap();
        let place = journal.reader().position_of(byte as u64 / 4 + 1);
        assert_eq!(damage_of(place).0, Damage::Footer);
        assert_eq!(damage_of(journal.reader().verify_segment(1)).0, Damage::Footer);
        assert_eq!(read_all(&journal), stored);
    }
    // The last segment is sealed, and part of its table never reached the disk.
    let torn = disk.fork();
    torn.kill();
    torn.remove(&segment_path(3)).unwrap();
    torn.remove(&segment_path(2)).unwrap();
    torn.remove(&Path::new("j").join(mark::MARK_NAME)).unwrap();
    let whole = torn.fork();
    whole.kill();
    assert_eq!(open(&whole).unwrap().1.tail_cut, None);
    assert!(torn.rot(&segment_path(1), table as u64, 1));
    let (mut journal, recovered) = open(&torn).unwrap();
    assert!(recovered.tail_cut.is_some_and(|cut| cut.offset <= table as u64));
    let last = journal.durable_seq();
    assert_eq!(last, offsets.len() as u64 / 4);
    journal.append(&events(last + 1..=last + 40)).unwrap();
    assert_content(&open(&torn).unwrap().0, &events(1..=last + 40));
}
