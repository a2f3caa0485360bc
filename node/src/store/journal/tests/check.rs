//! The check of a segment: each damaged record is named, no other is, and it goes on behind it.

use super::*;

/// What a check came upon.
#[derive(Debug, Default, PartialEq)]
struct Told {
    sound: Vec<u64>,
    zeros: Vec<u64>,
    broken: Vec<u64>,
    found: Vec<Found>,
}

fn told(disk: &SimDisk, number: u64) -> Told {
    let (journal, _) = open(disk).unwrap();
    let mut told = Told::default();
    let mut see = |seen: Seen<'_>| match seen {
        Seen::Event { seq, meta, body, .. } => {
            assert_eq!(meta, event(seq).meta, "what is shown is what was written");
            match body {
                BodyState::Sound => told.sound.push(seq),
                BodyState::Zeros => told.zeros.push(seq),
                BodyState::Damaged => told.broken.push(seq),
            }
        }
        Seen::Damage(found) => told.found.push(found),
    };
    journal.reader().check_segment(number, &mut |_| true, &mut see).unwrap().unwrap();
    told
}

/// A journal whose first segment is sealed: batches of two events, where each event begins, and
/// the last sequence of the segment.
fn sealed() -> (SimDisk, Vec<(u64, Position, StoredEvent)>) {
    let disk = SimDisk::new(1);
    let mut journal = create(&disk);
    while journal.reader().last_segment() < 2 {
        let seq = journal.durable_seq() + 1;
        journal.append(&events(seq..=seq + 1)).unwrap();
    }
    let mut stored = read_all(&journal);
    stored.retain(|(_, position, _)| position.segment == 1);
    journal.close().unwrap();
    (disk, stored)
}

/// Each byte of header, meta and body of each event: only this event is named, and all others are
/// shown, those behind it in its batch as well.
#[test]
fn each_damaged_event_is_named_and_no_other() {
    let (disk, stored) = sealed();
    let all: Vec<u64> = stored.iter().map(|(seq, _, _)| *seq).collect();
    assert_eq!(told(&disk, 1), Told { sound: all.clone(), ..Told::default() });
    assert!(all.len() >= 6);
    for (seq, position, event) in &stored {
        let body = match &event.body {
            Body::Present(body) => body.len(),
            _ => 0,
        };
        let others: Vec<u64> = all.iter().copied().filter(|other| other != seq).collect();
        let meta_end = 64 + event.meta.len() as u64;
        for byte in 0..meta_end + body as u64 {
            let rotted = disk.fork();
            rotted.rot(&segment_path(1), position.offset + byte, 1 << (byte % 8));
            let told = told(&rotted, 1);
            assert_eq!(told.sound, others, "sequence {seq}, byte {byte}");
            if byte >= meta_end {
                assert_eq!((told.broken.as_slice(), told.found.len()), (&[*seq][..], 0));
                continue;
            }
            let Found { what, segment, offset, seq: first, last_seq } = told.found[0];
            assert_eq!((what, segment, offset), (Damage::Event, 1, position.offset));
            assert_eq!((first, last_seq, told.found.len()), (*seq, *seq, 1));
        }
    }
}

/// A batch whose header or trailer rotted is named with its sequences; its events are shown all
/// the same, and so is what follows.
#[test]
fn a_damaged_batch_hides_no_event() {
    let (disk, stored) = sealed();
    let all: Vec<u64> = stored.iter().map(|(seq, _, _)| *seq).collect();
    let batch = stored[2].1.offset - 128;
    let trailer = stored[4].1.offset - 128;
    let trailer = (0..trailer).rev().find(|offset| {
        let content = disk.content(&segment_path(1)).unwrap();
        content[*offset as usize] != 0
    });
    for offset in (batch..batch + 128).chain([trailer.unwrap() - 20]) {
        let rotted = disk.fork();
        rotted.rot(&segment_path(1), offset, 4);
        let told = told(&rotted, 1);
        assert_eq!(told.sound, all, "offset {offset}");
        let Found { what, offset: place, seq, last_seq, .. } = told.found[0];
        assert_eq!((what, place, seq, last_seq), (Damage::Batch, batch, 3, 4));
        assert_eq!(told.found.len(), 1);
    }
}

/// Wherever a whole sector is zeros or noise, what is not named was shown as it was written.
#[test]
fn lost_sectors_hide_nothing_else() {
    let (disk, stored) = sealed();
    let ends = stored.iter().map(|(_, position, event)| {
        let body = match &event.body {
            Body::Present(body) => body.len() as u64,
            _ => 0,
        };
        position.offset + 64 + event.meta.len() as u64 + body
    });
    let ends: Vec<u64> = ends.collect();
    for sector in 1..(8 << 10) / 512 {
        for mask in [0u8, 0xff] {
            let rotted = disk.fork();
            let content = rotted.content(&segment_path(1)).unwrap();
            for offset in sector * 512..(sector + 1) * 512 {
                let byte = content[offset as usize];
                rotted.rot(&segment_path(1), offset, if mask == 0 { byte } else { mask });
            }
            let Ok((journal, _)) = open(&rotted) else { continue };
            drop(journal);
            let told = told(&rotted, 1);
            for ((seq, position, _), end) in stored.iter().zip(&ends) {
                let touched = position.offset < (sector + 1) * 512 && *end > sector * 512;
                assert_eq!(!touched, told.sound.contains(seq), "sector {sector}, sequence {seq}");
                let named = |found: &Found| (found.seq..=found.last_seq).contains(seq);
                let is_named = told.found.iter().any(named)
                    || told.broken.contains(seq)
                    || told.zeros.contains(seq);
                assert!(!touched || is_named, "sector {sector}, sequence {seq}: {told:?}");
            }
        }
    }
}

/// Whoever stops the check gets no result.
#[test]
fn a_check_that_was_stopped_says_so() {
    let (disk, _) = sealed();
    let (journal, _) = open(&disk).unwrap();
    let mut left = 5;
    let mut pace = |_| {
        left -= 1;
        left > 0
    };
    assert!(journal.reader().check_segment(1, &mut pace, &mut |_| {}).unwrap().is_none());
}
