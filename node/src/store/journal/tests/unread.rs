//! Sectors that the disk does not give: they are named with their place, and so is what they held;
//! everything else is read.

use super::*;

const SECTOR: usize = 4096;

fn large() -> JournalSettings {
    JournalSettings { segment_bytes: 32 << 10, ..settings() }
}

/// Two sealed segments and a newest one, in batches of two events.
fn written() -> SimDisk {
    let disk = SimDisk::new(1);
    let mut journal = Journal::create(large(), Arc::new(disk.clone())).unwrap();
    while journal.reader().last_segment() < 3 {
        let seq = journal.durable_seq() + 1;
        journal.append(&events(seq..=seq + 1)).unwrap();
    }
    journal.close().unwrap();
    disk
}

fn reopened(disk: &SimDisk) -> Result<(Journal, Recovered), JournalError> {
    Journal::open(large(), Arc::new(disk.clone()), &[])
}

fn events_of(journal: &Journal, segment: u64) -> Vec<(u64, std::ops::Range<usize>)> {
    let stored = read_all(journal).into_iter().filter(|(_, at, _)| at.segment == segment);
    let each = stored.map(|(seq, at, event)| {
        let body = match event.body {
            Body::Present(body) => body.len(),
            _ => 0,
        };
        let start = at.offset as usize;
        (seq, start..start + 64 + event.meta.len() + body)
    });
    each.collect()
}

/// What a survey says, and the sequences of the events that it shows whole.
fn surveyed(disk: &SimDisk) -> (Survey, Vec<u64>) {
    let mut sound = Vec::new();
    let found = survey(disk, Path::new("j"), 0, &mut |seen| {
        if let Seen::Event { seq, meta, body, .. } = seen {
            assert_eq!(meta, event(seq).meta);
            if body == BodyState::Sound {
                sound.push(seq);
            }
        }
    });
    (found.unwrap(), sound)
}

/// Each sector of a sealed segment: its place is told once, and every event that is not in it is
/// shown, by the check of a running journal and by the survey.
#[test]
fn a_lost_sector_hides_only_what_it_held() {
    let good = written();
    let (journal, _) = reopened(&good).unwrap();
    let (events, end) = (events_of(&journal, 2), journal.reader().segment_bytes(2) as usize);
    let all: Vec<u64> = read_all(&journal).iter().map(|(seq, _, _)| *seq).collect();
    assert!(end > 5 * SECTOR);
    for start in (SECTOR..(32 << 10)).step_by(SECTOR) {
        let disk = good.fork();
        // A running journal; a new one would read the table of the segment.
        let (journal, _) = reopened(&disk).unwrap();
        disk.lose(&segment_path(2), start..start + SECTOR);
        let lost =
            |range: &std::ops::Range<usize>| range.start < start + SECTOR && start < range.end;
        let kept: Vec<u64> =
            events.iter().filter(|(_, range)| !lost(range)).map(|(seq, _)| *seq).collect();
        let (mut sound, mut found) = (Vec::new(), Vec::new());
        let checked = journal.reader().check_segment(2, &mut |_| true, &mut |seen| match seen {
            Seen::Event { seq, body: BodyState::Sound, .. } => sound.push(seq),
            Seen::Event { .. } => {}
            Seen::Damage(one) => found.push(one),
        });
        assert!(checked.unwrap().is_some());
        assert_eq!(sound, kept, "{start}");
        let unread = |found: &[Found]| -> Vec<(u64, u64)> {
            let unread = found.iter().filter(|one| one.what == Damage::Unread);
            unread.map(|one| (one.segment, one.offset)).collect()
        };
        assert_eq!(unread(&found), [(2, start as u64)]);
        drop(journal);
        let (survey, sound) = surveyed(&disk);
        let wanted: Vec<u64> = all
            .iter()
            .filter(|seq| events.iter().all(|(other, range)| other != *seq || !lost(range)))
            .copied()
            .collect();
        assert_eq!(sound, wanted, "{start}");
        if start < end {
            assert_eq!(unread(&survey.found), [(2, start as u64)]);
            continue;
        }
        // Behind the batches all follows from them: written back, and the disk gives it again.
        assert!(survey.found.is_empty() && survey.mends.len() == 1, "{start}");
        survey.mends[0].write(&disk).unwrap();
        assert!(surveyed(&disk).0.mends.is_empty());
        assert_eq!(disk.content(&segment_path(2)), good.content(&segment_path(2)));
        assert_eq!(read_all(&reopened(&disk).unwrap().0).len(), all.len());
    }
}

/// The header of a sealed segment, and any sector of the newest one: the survey goes on and names
/// the place; an opening is refused with segment and offset, and changes nothing.
#[test]
fn what_an_opening_needs_is_named() {
    let good = written();
    let all = read_all(&reopened(&good).unwrap().0).len();
    for (segment, start) in [(1, 0), (2, 0), (3, 0), (3, SECTOR), (3, 7 * SECTOR)] {
        let disk = good.fork();
        disk.lose(&segment_path(segment), start..start + SECTOR);
        let (survey, sound) = surveyed(&disk);
        let place = |one: &Found| {
            (one.what, one.segment, one.offset) == (Damage::Unread, segment, start as u64)
        };
        assert!(survey.found.iter().any(place), "{segment} {start}: {:?}", survey.found);
        assert!(survey.refused && survey.tail.is_none() && survey.mends.is_empty());
        assert!(sound.len() < all || start > 0, "{segment} {start}");
        assert!(sound.len() > all / 2, "{segment} {start}");
        let (Err(error), before) = (reopened(&disk), disk.content(&segment_path(3))) else {
            panic!("it opened")
        };
        let text = error.to_string();
        let wanted = format!("(segment {segment}, offset {})", start / (64 << 10));
        assert!(text.contains(&wanted) && error.is_unread(), "{text}");
        assert_eq!(disk.content(&segment_path(3)), before);
    }
}

/// Too many open files say nothing about the disk.
#[test]
fn a_lack_of_the_process_is_no_damage() {
    let disk = written();
    let (journal, _) = reopened(&disk).unwrap();
    let reader = journal.reader();
    for (kind, errno) in [
        (OpKind::Open, nix::libc::EMFILE),
        (OpKind::Open, nix::libc::ENFILE),
        (OpKind::Read, nix::libc::ENOMEM),
    ] {
        let newest = reader.last_segment();
        reader.forget_cached(newest).unwrap();
        disk.fail_nth(kind, 1, errno);
        let mut see = |seen: Seen<'_>| assert!(matches!(seen, Seen::Event { .. }));
        let failed = reader.check_segment(newest, &mut |_| true, &mut see).unwrap_err();
        assert!(!failed.is_unread() && failed.to_string().contains("segment 3"), "{failed}");
        assert!(reader.check_segment(newest, &mut |_| true, &mut see).unwrap().is_some());
    }
    disk.fail_nth(OpKind::Open, 1, nix::libc::EIO);
    reader.forget_cached(1).unwrap_err();
}
