//! Every operation of a scenario fails, or is the last one before a crash, for every one of them.

use super::*;

/// What the scenario's callers were told.
#[derive(Default)]
struct Told {
    created: bool,
    /// Events whose `append` answered `Ok`.
    acked: Vec<EventFrame>,
    /// Those of the one call that did not.
    in_flight: Vec<EventFrame>,
    erase_begun: Option<Position>,
    erase_done: bool,
}

/// Batches over several segments, with preparation ahead and inline, a mark, an erasure, an
/// opening in the middle, a stop in order. Ends at the first error, as the process would.
fn run(disk: &SimDisk, told: &mut Told) -> Result<(), JournalError> {
    let mut journal = Journal::create(settings(), Arc::new(disk.clone()))?;
    told.created = true;
    for round in 0..9 {
        let first = told.acked.len() as u64 + 1;
        let frames = events(first..=first + round % 4);
        if round % 4 == 1
            && let Some(work) = journal.take_preparation()
        {
            // A failure here is no failure of the journal: it prepares what it needs itself.
            if let Ok(prepared) = work.run() {
                journal.add_prepared(prepared);
            }
        }
        told.in_flight.clone_from(&frames);
        let plan = journal.plan(&frames)?;
        let done = match journal.append(&frames) {
            // Nothing was changed: the caller may come again.
            Err(JournalError::Full(_)) => journal.append(&frames)?,
            done => done?,
        };
        assert_eq!(done.positions, plan.positions);
        told.acked.append(&mut told.in_flight);
        match round {
            2 | 6 => journal.mark()?,
            4 => {
                let place = journal.reader().scan(1, 1, 0)?[0].1;
                told.erase_begun = Some(place);
                journal.erase_body(place)?;
                told.erase_done = true;
            }
            5 => {
                drop(journal);
                journal = open(disk)?.0;
            }
            _ => {}
        }
    }
    journal.close()
}

/// What was told is there, byte for byte; besides it at most the call that was under way, whole.
fn judge(disk: &SimDisk, told: &Told, what: &str) {
    let (mut journal, recovered) = match open(disk) {
        Ok(opened) => opened,
        Err(JournalError::Missing) if !told.created => {
            create(disk);
            return;
        }
        Err(error) => panic!("{what}: {error}"),
    };
    let mut expected = told.acked.clone();
    if recovered.last_seq > expected.len() as u64 {
        expected.extend_from_slice(&told.in_flight);
    }
    assert_eq!(recovered.last_seq, expected.len() as u64, "{what}");
    check(&journal, &expected, told, told.erase_done, what);
    // The node goes on: erasures are repeated, new batches are written, the power goes again.
    if let Some(place) = told.erase_begun {
        journal.erase_body(place).unwrap();
    }
    let next = expected.len() as u64 + 1;
    journal.append(&events(next..=next + 4)).unwrap();
    expected.extend(events(next..=next + 4));
    disk.power_cut(next);
    let (journal, recovered) = open(disk).unwrap();
    assert_eq!(recovered.tail_cut, None, "{what}");
    check(&journal, &expected, told, told.erase_begun.is_some(), what);
    for number in 1..=journal.reader().last_segment() {
        let report = journal.reader().verify_segment(number).unwrap();
        assert!(report.damaged.is_empty(), "{what}");
    }
}

fn check(journal: &Journal, expected: &[EventFrame], told: &Told, erased: bool, what: &str) {
    let stored = read_all(journal);
    assert_eq!(stored.len(), expected.len(), "{what}");
    for ((_, position, found), frame) in stored.iter().zip(expected) {
        assert_eq!(found.meta, frame.meta, "{what}");
        let ordered = told.erase_begun == Some(*position);
        match &found.body {
            Body::Erased => assert!(ordered, "{what}"),
            Body::Damaged => assert!(ordered && !erased, "{what}"),
            body => {
                assert_eq!(*body, present(frame), "{what}");
                assert!(!ordered || !erased, "{what}");
            }
        }
    }
}

fn total_operations() -> u64 {
    let disk = SimDisk::new(1);
    run(&disk, &mut Told::default()).unwrap();
    disk.counters().total()
}

/// The machine stops at operation n, for every n, and comes back with several choices of what
/// the medium kept; also after a mere kill, and a power cut after the opening that followed.
#[test]
fn crash_at_every_operation() {
    let total = total_operations();
    assert!(total > 80, "the scenario has only {total} operations");
    for n in 1..=total {
        let disk = SimDisk::new(1);
        disk.crash_at_nth_op(n);
        let mut told = Told::default();
        run(&disk, &mut told).unwrap_err();
        assert!(disk.crashed());
        for seed in 0..6 {
            let disk = disk.fork();
            disk.power_cut(seed * 1000 + n);
            judge(&disk, &told, &format!("crash at {n}, power cut {seed}"));
        }
        disk.kill();
        judge(&disk, &told, &format!("crash at {n}, kill"));
    }
}

/// Operation n fails, with an I/O error and with a full disk, for every n. The process ends at
/// the first error it is told; then the same as above.
#[test]
fn fail_at_every_operation() {
    for errno in [5, 28] {
        for n in 1..=total_operations() {
            let disk = SimDisk::new(1);
            disk.fail_nth_op(n, errno);
            let mut told = Told::default();
            // `Ok` where the fault hit a preparation, which the journal can do without.
            let _ = run(&disk, &mut told);
            for seed in 0..3 {
                let disk = disk.fork();
                disk.power_cut(seed * 1000 + n);
                judge(&disk, &told, &format!("errno {errno} at {n}, power cut {seed}"));
            }
            disk.kill();
            judge(&disk, &told, &format!("errno {errno} at {n}, kill"));
        }
    }
}

/// After a failed write or sync nothing is done any more and every call tells the first cause.
#[test]
fn failed_sync_poisons() {
    for kind in [OpKind::Write, OpKind::Sync] {
        let disk = SimDisk::new(1);
        let mut journal = create(&disk);
        let first = journal.append(&events(1..=1)).unwrap();
        journal.append(&events(2..=2)).unwrap();
        disk.fail_nth(kind, 1, 5);
        let is_poisoned = |result: Result<(), JournalError>| match result {
            Err(JournalError::Poisoned { source, .. }) => source.raw_os_error() == Some(5),
            _ => false,
        };
        assert!(is_poisoned(journal.append(&events(3..=3)).map(|_| ())));
        let before = disk.counters();
        assert!(is_poisoned(journal.append(&events(3..=3)).map(|_| ())));
        assert!(is_poisoned(journal.plan(&events(3..=3)).map(|_| ())));
        assert!(is_poisoned(journal.mark()));
        assert!(is_poisoned(journal.erase_body(first.positions[0])));
        assert!(is_poisoned(journal.close()));
        assert_eq!(disk.counters(), before, "the disk is left alone");
    }
}

/// A full disk shows when the next segment is prepared: the batch is refused, nothing is left
/// behind, and the journal goes on once there is room.
#[test]
fn full_disk_refuses_and_goes_on() {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    let mut seq = 1;
    while journal.plan(&events(seq..=seq)).unwrap().positions[0].segment == 1 {
        journal.append(&events(seq..=seq)).unwrap();
        seq += 1;
    }
    let names = disk.list(Path::new("j")).unwrap();
    disk.fail_nth(OpKind::Write, 1, 28);
    assert!(matches!(journal.append(&events(seq..=seq)), Err(JournalError::Full(_))));
    assert_eq!(disk.list(Path::new("j")).unwrap(), names);
    assert_eq!(journal.durable_seq(), seq - 1);
    journal.append(&events(seq..=seq)).unwrap();
    assert_content(&journal, &events(1..=seq));
}
