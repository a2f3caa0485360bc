//! Named crashes: each one was met by somebody's database.

use super::*;

/// kill -9 between write and sync: the next process reads the batch from the page cache, answers
/// from it, and must have made it durable before: a power cut after the opening keeps it.
#[test]
fn kill_between_write_and_sync_then_power_cut() {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    journal.append(&events(1..=2)).unwrap();
    disk.crash_at_nth_op(2);
    journal.append(&events(3..=5)).unwrap_err();
    disk.kill();
    let (journal, recovered) = open(&disk).unwrap();
    assert_eq!((recovered.last_seq, recovered.tail_cut), (5, None));
    for seed in 0..40 {
        let disk = disk.fork();
        disk.power_cut(seed);
        assert_content(&open(&disk).unwrap().0, &events(1..=5));
    }
    drop(journal);
}

/// The same after a failed sync, which has marked the pages as clean: only the rewrite of the
/// last batch brings it to the disk, another sync alone would answer `Ok` for nothing.
#[test]
fn failed_sync_then_restart_then_power_cut() {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    journal.append(&events(1..=2)).unwrap();
    disk.fail_nth(OpKind::Sync, 1, 5);
    journal.append(&events(3..=5)).unwrap_err();
    disk.kill();
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.last_seq, 5);
    for seed in 0..40 {
        let disk = disk.fork();
        disk.power_cut(seed);
        assert_content(&open(&disk).unwrap().0, &events(1..=5));
    }
}

/// And for a footer: sealed in the page cache only, then rewritten, then the power goes.
#[test]
fn failed_sync_of_a_footer() {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    let mut seq = 0;
    while journal.plan(&events(seq + 1..=seq + 1)).unwrap().positions[0].segment == 1 {
        seq += 1;
        journal.append(&events(seq..=seq)).unwrap();
    }
    // Of the roll: the prepared file, then the footer.
    disk.fail_nth(OpKind::Sync, 2, 5);
    journal.append(&events(seq + 1..=seq + 1)).unwrap_err();
    disk.kill();
    let (mut journal, recovered) = open(&disk).unwrap();
    assert_eq!((recovered.last_seq, recovered.tail_cut), (seq, None));
    journal.append(&events(seq + 1..=seq + 1)).unwrap();
    assert_eq!(journal.reader().last_segment(), 2);
    for seed in 0..40 {
        let disk = disk.fork();
        disk.power_cut(seed);
        assert_content(&open(&disk).unwrap().0, &events(1..=seq + 1));
    }
}

/// Sectors of a torn batch persist in any order. What is behind the cut is zeros up to the end of
/// the segment, also when the cutting itself is cut short, so that a shorter batch written over
/// the front and a second crash bring none of it back.
#[test]
fn second_crash_does_not_revive_cut_frames() {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    journal.append(&events(1..=1)).unwrap();
    let before = disk.content(&segment_path(1)).unwrap();
    disk.crash_at_nth_op(2);
    journal.append(&events(2..=6)).unwrap_err();
    let mut cuts = 0;
    for seed in 0..60 {
        let disk = disk.fork();
        disk.power_cut(seed);
        let torn = disk.content(&segment_path(1)).unwrap();
        // First the opening is stopped at each of its steps, with another cut of the power.
        for n in 1..30 {
            let disk = disk.fork();
            disk.crash_at_nth_op(n);
            if open(&disk).is_ok() {
                break;
            }
            disk.power_cut(seed + n);
            let (journal, _) = open(&disk).unwrap();
            let last = journal.durable_seq();
            assert!(last == 1 || last == 6);
            assert_content(&journal, &events(1..=last));
        }
        let (mut journal, recovered) = open(&disk).unwrap();
        let Some(cut) = recovered.tail_cut else {
            continue;
        };
        cuts += 1;
        assert_eq!(recovered.last_seq, 1);
        assert_eq!(disk.content(&segment_path(1)).unwrap(), before);
        let bytes = &torn[cut.offset as usize..][..cut.bytes as usize];
        assert_eq!((cut.segment, cut.hash), (1, codec::digest(bytes)));
        journal.append(&events(2..=2)).unwrap();
        disk.crash_at_nth_op(2);
        journal.append(&events(3..=3)).unwrap_err();
        disk.power_cut(seed);
        let (journal, _) = open(&disk).unwrap();
        let last = journal.durable_seq();
        assert!(last == 2 || last == 3);
        assert_content(&journal, &events(1..=last));
    }
    assert!(cuts > 10, "only {cuts} torn batches");
}

/// Every step of an erasure is crashed. The chain holds throughout, no other event changes, the
/// repeated erasure ends it, and its `Ok` survives a power cut.
#[test]
fn erase_crash_at_every_step() {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    let first = journal.append(&events(1..=3)).unwrap();
    let newest = journal.append(&events(4..=5)).unwrap();
    let refused = journal.erase_body(newest.positions[1]);
    assert!(matches!(refused, Err(JournalError::EraseTooEarly { seq: 5 })));
    let place = first.positions[2];
    let root = journal.reader().verify_segment(1).unwrap().root;
    drop(journal);
    let mut steps = 0;
    for n in 1.. {
        let disk = disk.fork();
        let (mut journal, _) = open(&disk).unwrap();
        disk.crash_at_nth_op(n);
        let erased = journal.erase_body(place);
        steps = n;
        for seed in 0..10 {
            let disk = disk.fork();
            disk.power_cut(seed);
            let (mut journal, recovered) = open(&disk).unwrap();
            assert_eq!((recovered.last_seq, recovered.tail_cut), (5, None));
            let body = journal.reader().read(place).unwrap().body;
            match erased {
                Ok(()) => assert_eq!(body, Body::Erased),
                Err(_) => assert_ne!(body, Body::Empty),
            }
            journal.erase_body(place).unwrap();
            disk.power_cut(seed);
            let (journal, _) = open(&disk).unwrap();
            let report = journal.reader().verify_segment(1).unwrap();
            assert_eq!((report.root, report.erased, report.damaged), (root, vec![3], vec![]));
            for (seq, _, found) in read_all(&journal) {
                let expected = event(seq);
                assert_eq!(found.meta, expected.meta);
                let body = if seq == 3 { Body::Erased } else { present(&expected) };
                assert_eq!(found.body, body);
            }
        }
        if erased.is_ok() {
            break;
        }
    }
    assert!(steps > 3);
}

/// An erased body in the batch before a torn one is not taken for part of the tail.
#[test]
fn erased_body_before_a_torn_batch_stays() {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    let first = journal.append(&events(1..=1)).unwrap();
    journal.append(&events(2..=2)).unwrap();
    journal.erase_body(first.positions[0]).unwrap();
    // The batch that ordered it rots: without the mark that the erasure wrote, it would be cut,
    // and at the next opening the one with the erased body as well.
    let rotted = disk.fork();
    rotted.power_cut(1);
    let offset = journal.reader().scan(2, 1, 0).unwrap()[0].1.offset;
    assert!(rotted.rot(&segment_path(1), offset, 1));
    assert!(matches!(open(&rotted).map(|_| ()), Err(JournalError::Damage { seq: 2, .. })));
    disk.crash_at_nth_op(2);
    journal.append(&events(3..=6)).unwrap_err();
    for seed in 0..40 {
        let disk = disk.fork();
        disk.power_cut(seed);
        let (journal, recovered) = open(&disk).unwrap();
        assert!(recovered.last_seq == 2 || recovered.last_seq == 6);
        assert_eq!(journal.reader().read(first.positions[0]).unwrap().body, Body::Erased);
    }
}
