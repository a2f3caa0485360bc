//! The simulator's share of every test run: thousands of seeds, each a schedule of work and faults.
//!
//! `RELAY_SIM_SEED=N` runs one seed and shows its end; `RELAY_SIM_COUNT=N` runs more or fewer, from
//! `RELAY_SIM_FIRST=N` on.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use relay_tests::sim::{Failure, Fixture, Sabotage, run};

/// All invariants hold for every seed: in CI 2,000 of them, over two threads.
#[test]
fn seeds_keep_all_invariants() {
    let fixture = Fixture::new();
    if let Some(seed) = number("RELAY_SIM_SEED") {
        match run(&fixture, seed, Sabotage::None) {
            Ok(report) => println!("seed {seed} holds: {report:?}"),
            Err(failure) => panic!("{failure}"),
        }
        return;
    }
    let first = number("RELAY_SIM_FIRST").unwrap_or(1);
    let count = number("RELAY_SIM_COUNT").unwrap_or(SEEDS);
    let start = Instant::now();
    let (next, virtual_ms) = (AtomicU64::new(first), AtomicU64::new(0));
    let failures: Mutex<Vec<Failure>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    match run(&fixture, seed, Sabotage::None) {
                        Ok(report) => {
                            virtual_ms.fetch_add(report.virtual_ms, Ordering::Relaxed);
                        }
                        Err(failure) => failures.lock().unwrap().push(*failure),
                    }
                }
            });
        }
    });
    let hours = virtual_ms.into_inner() / 3_600_000;
    println!("{count} seeds, {hours} h virtual, {:?}", start.elapsed());
    let mut failures = failures.into_inner().unwrap();
    failures.sort_by_key(|failure| failure.seed);
    for failure in &failures {
        println!("seed {}: {}", failure.seed, failure.violation);
    }
    if let Some(first) = failures.first() {
        panic!("{} of {count} seeds fail; the first:\n{first}", failures.len());
    }
}

/// Seeds that once broke an invariant, and what was wrong. They are named while schedules stay as
/// they are; whoever changes the making of schedules keeps the unit tests that each left behind.
#[test]
fn seeds_that_found_faults_hold() {
    let fixture = Fixture::new();
    for (seed, fault) in FOUND {
        if let Err(failure) = run(&fixture, seed, Sabotage::None) {
            panic!("again: {fault}\n{failure}");
        }
    }
}

/// I12: the same seed twice gives the same trace, datagram by datagram.
#[test]
fn the_same_seed_gives_the_same_trace() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    for seed in 1..=TWICE {
        let once = run(&fixture, seed, Sabotage::None);
        let again = run(&other, seed, Sabotage::None);
        match (once, again) {
            (Ok(once), Ok(again)) => assert_eq!(once, again, "seed {seed}"),
            (Err(failure), _) | (_, Err(failure)) => panic!("{failure}"),
        }
    }
}

/// A disk whose syncs lie loses what was acknowledged: found as I1.
#[test]
fn a_lying_disk_is_found() {
    found(Sabotage::LyingDisk, "I1");
}

/// A message that takes effect twice is found as I2.
#[test]
fn a_doubled_arrival_is_found() {
    found(Sabotage::DoubledArrival, "I2");
}

/// Some of the first seeds must break this invariant, and none another one.
fn found(sabotage: Sabotage, invariant: &str) {
    let fixture = Fixture::new();
    let failures = (1..=40).filter_map(|seed| run(&fixture, seed, sabotage).err());
    let broken: Vec<&str> = failures.map(|failure| failure.violation.invariant).collect();
    assert!(broken.len() >= 5, "{broken:?}");
    assert!(broken.iter().all(|one| *one == invariant), "{broken:?}");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

const FOUND: [(u64, &str); 5] = [
    (27, "a deferral of a peer whose clock is years ahead held the message for the longest time"),
    (185, "a clock put back stopped dialling until it came to the kept instant again"),
    (204, "a refusal that came while the entry expired was kept without flag"),
    (655, "as 185: receipts that were owed waited"),
    (1564, "a proof of an older checkpoint that came late raised a false alarm"),
];

/// Seeds of every run of the tests.
const SEEDS: u64 = 2_000;
/// Seeds that run twice.
const TWICE: u64 = 50;
const THREADS: usize = 2;
