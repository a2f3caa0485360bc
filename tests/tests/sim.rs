//! The simulator's share of every test run: thousands of seeds, each a schedule of work and faults.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Instant;

use relay_tests::sim::{Fixture, Sabotage, run};

/// Runs the seed of `RELAY_SIM_SEED` alone, or this run's share of seeds.
#[test]
fn seeds_keep_all_invariants() {
    let fixture = Fixture::new();
    let alone = std::env::var("RELAY_SIM_SEED").ok().and_then(|text| text.parse::<u64>().ok());
    let (first, count) = match alone {
        Some(seed) => (seed, 1),
        None => (1, 20),
    };
    let start = Instant::now();
    let mut virtual_ms = 0;
    for seed in first..first + count {
        match run(&fixture, seed, Sabotage::None) {
            Ok(report) => virtual_ms += report.virtual_ms,
            Err(failure) => panic!("{failure}"),
        }
    }
    println!("{count} seeds, {} s virtual, {:?}", virtual_ms / 1_000, start.elapsed());
}
