//! The background scrub on real files: it finds, names and tells what is damaged, hides nothing
//! else, and goes on where a stop cut it off.

use std::{os::unix::fs::FileExt as _, path::PathBuf};

use super::*;
use crate::{
    store::{
        index::Tree,
        records::{DamageRecord, ScrubRecord},
    },
    tasks::Tasks,
};

const FAST: ScrubSettings =
    ScrubSettings { bytes_per_second: 1 << 30, interval: Duration::from_millis(20) };

/// Messages of ours and of a peer over some segments.
async fn worked(place: &Place) -> Store {
    let store = place.open();
    for n in 1..=12 {
        let payload = vec![n as u8; 20_000].into();
        submit(&store, NewSubmission { payload, ..submission(n) }).await;
        arrive(&store, arrival(n, 0)).await;
    }
    let settled = vec![receipt(2, Stated::ContentConsignment)];
    store.record_receipts(group(2, 2, settled)).await.unwrap();
    assert!(store.erase(ours(2), "rule".into(), "officer".into(), at(9)).await.unwrap());
    store
}

fn begin(store: &Store, settings: ScrubSettings) -> Tasks {
    let tasks = Tasks::new();
    let begun = std::time::Instant::now();
    let now = move || at(100).after(begun.elapsed());
    store.keep_scrubbing(settings, now, &tasks).unwrap();
    tasks
}

/// The result of a round that began after what is there by now.
async fn next_round(store: &Store) -> ScrubRecord {
    let last = || store.scrub_status().unwrap().last;
    let mut durable = store.durable();
    let mut seen = last().map_or(0, |round| round.started_at_ms);
    for _ in 0..2 {
        while last().map_or(0, |round| round.started_at_ms) <= seen {
            tokio::time::timeout(Duration::from_secs(20), durable.changed())
                .await
                .unwrap()
                .unwrap();
        }
        seen = last().map_or(0, |round| round.started_at_ms);
    }
    last().unwrap()
}

fn flip(place: &Place, record: &records::MessageRecord, at: u64) {
    let position = journal::Position::from_bytes(record.position.as_ref().try_into().unwrap());
    let name = format!("journal/segment-{:010}", position.segment);
    let file = std::fs::File::options().read(true).write(true).open(place.path().join(name));
    let (file, mut byte) = (file.unwrap(), [0]);
    file.read_exact_at(&mut byte, position.offset + at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], position.offset + at).unwrap();
}

/// All of it was read, an ordered erasure is no damage, and the result outlives the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sound_store_is_scrubbed_as_sound() {
    let place = Place::embedded();
    let store = worked(&place).await;
    let tasks = begin(&store, FAST);
    let round = next_round(&store).await;
    assert_eq!((round.damages.as_slice(), round.left_out, round.complete), (&[][..], 0, true));
    assert!(round.records >= 25 && round.segments > 3, "{round:?}");
    assert!(round.bytes > 12 * 20_000 && round.ended_at_ms >= round.started_at_ms);
    assert!(store.alarms(9).unwrap().is_empty());
    tasks.shutdown(Duration::from_secs(5)).await;
    let last = store.scrub_status().unwrap().last;
    assert_eq!(store.close().await, Ended::Clean);
    let store = place.open();
    assert_eq!(store.scrub_status().unwrap().last, last);
    assert_sound(&store);
}

/// A rotted body and a rotted event are named with place and message, in the status and in one
/// alarm each, however many rounds find them. The message is not served, all others are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rot_is_found_named_and_told_once() {
    let place = Place::embedded();
    let store = worked(&place).await;
    store.close().await;
    // What is served comes from the disk.
    let store = place.open();
    let (body, meta) = (store.message(&ours(3)).unwrap().unwrap(), ours(5));
    let meta = store.message(&meta).unwrap().unwrap();
    flip(&place, &body, 19_000);
    flip(&place, &meta, 64 + 9);
    let tasks = begin(&store, FAST);
    let round = next_round(&store).await;
    next_round(&store).await;
    let found: Vec<(u64, u64, &str)> = round
        .damages
        .iter()
        .map(|damage: &DamageRecord| (damage.seq, damage.last_seq, damage.message.as_str()))
        .collect();
    let id = |record: &records::MessageRecord| record.message_id().unwrap().to_string();
    let (body_id, meta_id) = (id(&body), id(&meta));
    let wanted = [(body.seq, body.seq, &*body_id), (meta.seq, meta.seq, &*meta_id)];
    assert_eq!(found, wanted);
    let alarms = store.alarms(9).unwrap();
    assert_eq!(alarms.len(), 2, "{alarms:?}");
    for (alarm, record) in alarms.iter().rev().zip([&body, &meta]) {
        assert_eq!((alarm.reason.as_str(), alarm.peer.as_str()), ("STORE_DAMAGED", us().as_str()));
        let position = journal::Position::from_bytes(record.position.as_ref().try_into().unwrap());
        let place = format!("offset {}, sequence {})", position.offset, record.seq);
        let short = record.message_id().unwrap().short().to_string();
        for text in [&place, &format!("segment {}", position.segment), &short] {
            assert!(alarm.detail.contains(text.as_str()), "`{text}` in {}", alarm.detail);
        }
        assert!(alarm.detail.contains("relay-node repair"), "{}", alarm.detail);
    }
    for n in 1..=12 {
        let record = store.message(&ours(n)).unwrap().unwrap();
        let content = store.content(&record);
        match n {
            3 | 5 => assert_eq!(content.unwrap_err().reason(), Reason::StoreDamaged),
            2 => assert_eq!(content.unwrap().payload, None),
            _ => assert_eq!(content.unwrap().payload.unwrap(), vec![n as u8; 20_000]),
        }
    }
    submit(&store, submission(40)).await;
    tasks.shutdown(Duration::from_secs(5)).await;
}

/// A segment whose file is gone is a damage of that segment: told, and those behind it are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_cannot_be_opened_stops_no_round() {
    let place = Place::embedded();
    let store = worked(&place).await;
    store.close().await;
    let store = place.open();
    let later = store.message(&ours(11)).unwrap().unwrap();
    flip(&place, &later, 19_000);
    // Whether or not it was open before.
    store.content(&store.message(&ours(3)).unwrap().unwrap()).unwrap();
    let (path, away) = (place.path().join("journal/segment-0000000002"), place.path().join("away"));
    std::fs::rename(&path, &away).unwrap();
    let tasks = begin(&store, FAST);
    let round = next_round(&store).await;
    assert!(round.complete, "{round:?}");
    let found: Vec<(u64, bool)> =
        round.damages.iter().map(|one| (one.segment, one.what.contains("No such file"))).collect();
    let position = journal::Position::from_bytes(later.position.as_ref().try_into().unwrap());
    assert_eq!(found, [(2, true), (position.segment, false)], "{round:?}");
    let alarms = store.alarms(9).unwrap();
    assert!(alarms.iter().any(|alarm| alarm.detail.contains("(segment 2,")), "{alarms:?}");
    std::fs::rename(&away, &path).unwrap();
    assert_eq!(next_round(&store).await.damages.len(), 1);
    tasks.shutdown(Duration::from_secs(5)).await;
}

/// One round on a thread of its own.
async fn round_of(store: &Store, now: Timestamp) -> Result<ScrubRecord, StoreError> {
    let (done, is_done) = tokio::sync::oneshot::channel();
    let (store, runtime) = (store.clone(), tokio::runtime::Handle::current());
    std::thread::spawn(move || done.send(store.scrub_round(now, runtime)));
    is_done.await.unwrap()
}

/// A sector that the disk does not give: its place is told, and the messages in it by name; too
/// many open files are no damage.
#[tokio::test(start_paused = true)]
async fn a_lost_sector_is_told_with_what_it_held() {
    let place = Place::memory(1);
    worked(&place).await.close().await;
    // What is served comes from the disk.
    let store = place.open();
    let record = store.message(&ours(5)).unwrap().unwrap();
    let position = journal::Position::from_bytes(record.position.as_ref().try_into().unwrap());
    assert_eq!(round_of(&store, at(200)).await.unwrap().damages, []);
    let path = PathBuf::from(format!("/journal/segment-{:010}", position.segment));
    let sector = (position.offset as usize + 8192) / 4096 * 4096;
    place.disk().lose(&path, sector..sector + 4096);
    place.disk().fail_nth(journal::OpKind::Open, 3, nix::libc::EMFILE);
    let error = round_of(&store, at(201)).await.unwrap_err();
    assert_eq!(error.reason(), Reason::StoreStopped, "{error}");
    assert!(store.alarms(9).unwrap().is_empty());
    let round = round_of(&store, at(202)).await.unwrap();
    let [place, message] = round.damages.as_slice() else { panic!("{round:?}") };
    assert_eq!((place.segment, place.offset), (position.segment, sector as u64));
    assert!(place.what.contains("cannot be read"), "{place}");
    assert_eq!(message.message, record.message_id().unwrap().to_string());
    assert_eq!(store.alarms(9).unwrap().len(), 2);
    let refused = store.content(&record).err().map(|error| error.reason());
    assert_eq!(refused, Some(Reason::StoreDamaged));
    let next = store.message(&ours(6)).unwrap().unwrap();
    assert!(store.content(&next).is_ok());
    // Whoever goes through all events gets all others.
    store.events_after(0, 1000).unwrap();
}

/// Whoever goes through all events gets all but the damaged one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_event_stops_no_watcher() {
    let place = Place::embedded();
    let store = worked(&place).await;
    store.close().await;
    let store = place.open();
    let damaged = store.message(&ours(5)).unwrap().unwrap();
    flip(&place, &damaged, 64 + 9);
    let (mut seen, mut next) = (Vec::new(), 0);
    while let Some((last, _)) = store.events_after(next, 4).unwrap().last() {
        seen.extend(store.events_after(next, 4).unwrap().into_iter().map(|(seq, _)| seq));
        next = *last;
    }
    let all: Vec<u64> = (1..=store.log_head().seq).filter(|seq| *seq != damaged.seq).collect();
    assert_eq!(seen, all);
    store.close().await;
}

/// The scrub keeps to its rate; a stop in order notes how far it came, and the next start goes on
/// there and ends the same round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_goes_on_after_a_stop() {
    let place = Place::embedded();
    let store = worked(&place).await;
    let slow = ScrubSettings { bytes_per_second: 400 << 10, interval: Duration::from_secs(3600) };
    let begun = std::time::Instant::now();
    let tasks = begin(&store, slow);
    let running = || store.scrub_status().unwrap().running;
    while running().is_none_or(|round| round.segments < 2) {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let read = running().unwrap().bytes;
    let least = Duration::from_millis(read * 1000 / (400 << 10)).mul_f64(0.8);
    assert!(begun.elapsed() >= least, "{read} bytes in {:?}", begun.elapsed());
    tasks.shutdown(Duration::from_secs(5)).await;
    let status = store.scrub_status().unwrap();
    assert_eq!((status.last, status.running), (None, None));
    store.close().await;

    let store = place.open();
    let part: ScrubRecord =
        store.read(|view| view.record(Tree::Meta, records::key::SCRUB_PART)).unwrap().unwrap();
    assert!(part.segments >= 2 && !part.complete);
    let tasks = begin(&store, ScrubSettings { bytes_per_second: 1 << 30, ..slow });
    let mut durable = store.durable();
    while store.scrub_status().unwrap().last.is_none() {
        tokio::time::timeout(Duration::from_secs(20), durable.changed()).await.unwrap().unwrap();
    }
    let last = store.scrub_status().unwrap().last.unwrap();
    assert_eq!(last.started_at_ms, part.started_at_ms, "the same round");
    assert!(last.complete && last.segments > part.segments && last.records > part.records);
    assert!(store.read(|view| view.get(Tree::Meta, records::key::SCRUB_PART)).unwrap().is_none());
    tasks.shutdown(Duration::from_secs(5)).await;
    assert_sound(&store);
}
