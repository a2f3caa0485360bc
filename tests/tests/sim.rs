//! The simulator's share of every test run: hundreds of seeds, each a schedule of work and faults.
//!
//! The command `sim` runs any number, or one alone.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::LazyLock;

use relay_tests::sim::{Fixture, Options, Sabotage, Size, run, run_all};

/// All invariants hold for every seed; I12: some of them run twice and give the same trace,
/// datagram by datagram, down to the orderly stop.
#[test]
fn seeds_keep_all_invariants() {
    for (size, count) in [(Size::Few, FEW), (Size::Many, MANY)] {
        let (twice_every, sabotage) = (TWICE_EVERY, Sabotage::None);
        let options = Options { first: 1, size, count, threads: 2, twice_every, sabotage };
        let summary = run_all(options);
        println!("{size:?}\n{summary}");
        assert!(summary.failures.is_empty(), "{} seeds fail", summary.failures.len());
    }
}

/// Seeds that once broke an invariant, and what was wrong. They are named while schedules stay as
/// they are; whoever changes the making of schedules keeps the unit tests that each left behind.
#[test]
fn seeds_that_found_faults_hold() {
    let few = FOUND.into_iter().map(|(seed, fault)| (seed, Size::Few, fault));
    let many = FOUND_OF_MANY.into_iter().map(|(seed, fault)| (seed, Size::Many, fault));
    for (seed, size, fault) in few.chain(many) {
        if let Err(failure) = run(&FIXTURE, seed, size, Sabotage::None) {
            panic!("again: {fault}\n{failure}");
        }
    }
}

/// I12 for the seed whose orderly stop was left to chance: a server repeats its first packets to a
/// client that is gone, and two random bits decided whether the QUIC library takes them for a dial.
#[test]
fn the_same_seed_gives_the_same_trace() {
    let once = run(&FIXTURE, STOP_BY_CHANCE, Size::Few, Sabotage::None).unwrap();
    for _ in 0..16 {
        let again = run(&FIXTURE, STOP_BY_CHANCE, Size::Few, Sabotage::None).unwrap();
        assert_eq!(once, again);
    }
}

/// Syncs that do nothing lose what was acknowledged: found as I1.
#[test]
fn a_missing_sync_is_found() {
    let broken = broken_by(Sabotage::MissingSync);
    assert!(broken.len() >= 5 && broken.iter().all(|one| *one == "I1"), "{broken:?}");
}

/// An answer before the commit loses what was acknowledged: found as I1. Where a peer shows that
/// more was signed than the store has, the node says so first.
#[test]
fn an_early_answer_is_found() {
    let broken = broken_by(Sabotage::EarlyAnswer);
    assert!(broken.iter().filter(|one| **one == "I1").count() >= 3, "{broken:?}");
    assert!(broken.iter().all(|one| ["I1", "I3"].contains(one)), "{broken:?}");
}

/// A message that takes effect twice is found as I2.
#[test]
fn a_doubled_arrival_is_found() {
    let broken = broken_by(Sabotage::DoubledArrival);
    assert!(broken.len() >= 5 && broken.iter().all(|one| *one == "I2"), "{broken:?}");
}

/// What the first seeds find.
fn broken_by(sabotage: Sabotage) -> Vec<&'static str> {
    let runs = (1..=60).map(|seed| run(&FIXTURE, seed, Size::Many, sabotage));
    let failures = runs.filter_map(Result::err);
    failures.map(|failure| failure.violation.invariant).collect()
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(Fixture::new);

const FOUND: [(u64, &str); 5] = [
    (27, "a deferral of a peer whose clock is years ahead held the message for the longest time"),
    (185, "a clock put back stopped dialling until it came to the kept instant again"),
    (204, "a refusal that came while the entry expired was kept without flag"),
    (655, "as 185: receipts that were owed waited"),
    (1564, "a proof of an older checkpoint that came late raised a false alarm"),
];

/// The same of three to five nodes.
const FOUND_OF_MANY: [(u64, &str); 6] = [
    (100_867, "a deferral kept by a clock that was ahead waited the longest time by a right one"),
    (102_071, "as 100867"),
    (102_242, "as 100867"),
    (422_035, "a proof that a cut path held up was told as one that the peer does not give"),
    (423_929, "as 422035"),
    (415_554, "what expired stayed in the window: sent for ever, and nothing after it"),
];

/// Seeds of every run of the tests, of two to three nodes and of three to five.
const FEW: u64 = 800;
const MANY: u64 = 500;
/// Of these every so many runs twice.
const TWICE_EVERY: u64 = 25;
const STOP_BY_CHANCE: u64 = 141;
