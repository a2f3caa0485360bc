//! Every operation of the disk fails, or is the last before a crash, for every one of them; then
//! the power goes.

use super::*;
use crate::store::records::EntryState;

/// What the script was told.
#[derive(Default)]
struct Told {
    /// Steps whose verb answered `Ok`.
    done: usize,
    /// Size and root after each.
    heads: Vec<LogHead>,
}

const STEPS: usize = 13;

/// The nth verb of the script.
async fn step(store: &Store, n: usize) -> Result<(), StoreError> {
    let big = |n| NewSubmission { payload: vec![n as u8; 30_000].into(), ..submission(n) };
    match n {
        0 | 6 | 7 | 9 => store.accept_submissions(vec![big(n as u64 + 20)]).await.map(drop),
        1 => store.accept_submissions((1..=3).map(submission).collect()).await.map(drop),
        2 => {
            let all = vec![arrival(1, 0), refusal(2, 0), arrival(1, 0), arrival(1, 1)];
            store.accept_arrivals(Priority::Urgent, all).await.map(drop)
        }
        3 => {
            let settled = vec![receipt(1, Stated::ContentConsignment)];
            store.record_receipts(group(9, 1, settled)).await.map(drop)
        }
        4 => store.record_have(them(), 1, at(4)).await,
        5 => store.acknowledge(ack(1, 1, 1)).await.map(drop),
        8 => {
            let failure = statement("failure", 2);
            let expiry = NewExpiry { digest: ours(2), recipient: them(), failure, now: at(9) };
            store.expire(vec![expiry]).await.map(drop)
        }
        10 => store.erase(ours(1), "rule".into(), "officer".into(), at(10)).await.map(drop),
        11 => store.defer(ours(3), "xb.ncu".into(), Reason::Busy, at(99), 1, at(11)).await,
        _ => alarm(store, Reason::Busy, them(), "last").await,
    }
}

/// Opens and runs all, up to the first error; after one nothing succeeds and the end is told as a
/// failure.
async fn run(place: &Place, told: &mut Told) {
    let Ok(store) = place.try_open() else { return };
    for n in 0..STEPS {
        let mut done = step(&store, n).await;
        if matches!(done, Err(StoreError::Full)) {
            // No room for a moment: nothing is kept of it, and the store goes on.
            done = step(&store, n).await;
        }
        if done.is_err() {
            for _ in 0..2 {
                assert!(alarm(&store, Reason::Busy, us(), "").await.is_err());
            }
            assert!(matches!(store.ended().await, Ended::Failed(_)));
            return;
        }
        told.done = n + 1;
        told.heads.push(store.log_head());
    }
    store.close().await;
}

/// What was answered is there.
fn judge(store: &Store, told: &Told, what: &str) {
    let done = |n: usize| told.done > n;
    for n in [0, 6, 7, 9].into_iter().filter(|n| done(*n)) {
        let record = store.message(&ours(n as u64 + 20)).unwrap().expect(what);
        let content = store.content(&record).unwrap().payload.expect(what);
        assert_eq!(content, vec![n as u8 + 20; 30_000], "{what}");
    }
    if done(1) {
        for n in 2..=3 {
            let record = store.message(&ours(n)).unwrap().expect(what);
            assert_eq!(store.content(&record).unwrap().payload, Some(payload(n)), "{what}");
            assert!(store.request(&submission(n).request_key).unwrap().is_some(), "{what}");
        }
        assert_eq!(store.entries(&ours(3)).unwrap().len(), 1, "{what}");
    }
    if done(2) {
        assert!(store.message(&theirs(1)).unwrap().is_some(), "{what}");
        assert!(store.refused(&theirs(2)).unwrap().is_some(), "{what}");
        assert!(!store.receipts(&theirs(2)).unwrap().is_empty(), "{what}");
    }
    let state = |n| store.entries(&ours(n)).unwrap()[0].state();
    if done(3) {
        assert_eq!(state(1), EntryState::Delivered, "{what}");
        assert_eq!(store.receipts(&ours(1)).unwrap().len(), 2, "{what}");
    }
    if done(4) {
        assert_eq!(store.counter("receipts-confirmed", &them()).unwrap(), 1, "{what}");
    }
    if done(5) {
        assert_eq!(store.acknowledgements(&theirs(1)).unwrap().len(), 1, "{what}");
    }
    if done(8) {
        assert_eq!(state(2), EntryState::Expired, "{what}");
    }
    if done(10) {
        let record = store.message(&ours(1)).unwrap().unwrap();
        assert_eq!(store.content(&record).unwrap().payload, None, "{what}");
    }
    if done(11) {
        assert_eq!(state(3), EntryState::Deferred, "{what}");
    }
    let statements = sound::statements(store);
    for head in &told.heads {
        let leaves = statements.get(..head.size as usize).expect(what);
        assert_eq!(sound::root_of(leaves), head.root, "{what}: the log extends all that was seen");
    }
    assert_sound(store);
}

async fn total() -> u64 {
    let place = Place::memory(1);
    let before = place.disk().counters().total();
    let mut told = Told::default();
    run(&place, &mut told).await;
    assert_eq!(told.done, STEPS);
    place.disk().counters().total() - before
}

/// One run with one fault, then power cuts, then the whole script once more, which changes only
/// what is missing.
async fn one(n: u64, errno: Option<i32>, seeds: std::ops::Range<u64>) {
    let place = Place::memory(1);
    match errno {
        Some(errno) => place.disk().fail_nth_op(n, errno),
        None => place.disk().crash_at_nth_op(n),
    }
    let mut told = Told::default();
    run(&place, &mut told).await;
    for seed in seeds {
        let what = format!("operation {n}, fault {errno:?}, seed {seed}");
        let disk = place.disk().fork();
        disk.power_cut(n * 31 + seed);
        let after = Place::on(disk);
        let store = after.open();
        judge(&store, &told, &what);
        // Callers come again: all verbs are repeatable.
        for n in 0..STEPS {
            step(&store, n).await.unwrap();
        }
        let all = Told { done: STEPS, heads: vec![store.log_head()] };
        judge(&store, &all, &what);
        assert_eq!(store.list(&Filter::default(), None, 99).unwrap().messages.len(), 8);
        assert_eq!(store.log_head().size, 12, "{what}: nothing has two leaves");
        after.disk().power_cut(seed);
        judge(&after.open(), &all, &what);
    }
}

#[tokio::test(start_paused = true)]
async fn every_operation_fails_with_eio() {
    for n in 1..=total().await {
        one(n, Some(5), 0..2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_operation_fails_with_enospc() {
    for n in 1..=total().await {
        one(n, Some(28), 0..1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_every_operation() {
    for n in 1..=total().await {
        one(n, None, 0..3).await;
    }
}

/// Killed without a stop: all is there that was answered, on both variants.
#[tokio::test]
async fn killed_and_opened_again() {
    for place in [Place::memory(1), Place::embedded()] {
        let store = place.open();
        for n in 0..STEPS {
            step(&store, n).await.unwrap();
        }
        let told = Told { done: STEPS, heads: vec![store.log_head()] };
        let after = place.killed();
        judge(&after.open(), &told, "killed");
    }
}

/// At the moment that a head is shown, a power cut leaves at least its leaves.
#[tokio::test(start_paused = true)]
async fn no_checkpoint_over_undurable_leaves() {
    let place = Place::memory(1);
    let store = place.open();
    let mut durable = store.durable();
    let script = tokio::spawn({
        let store = store.clone();
        async move {
            for n in 0..STEPS {
                step(&store, n).await.unwrap();
            }
        }
    });
    let mut looked = 0;
    while !script.is_finished() {
        tokio::select! {
            changed = durable.changed() => changed.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(50)) => continue,
        }
        durable.borrow_and_update();
        let seen = store.log_head();
        for seed in 0..3 {
            let disk = place.disk().fork();
            disk.power_cut(seed);
            let statements = sound::statements(&Place::on(disk).open());
            let leaves = statements.get(..seen.size as usize).unwrap();
            assert_eq!(sound::root_of(leaves), seen.root);
        }
        looked += 1;
    }
    assert!(looked >= STEPS);
}
