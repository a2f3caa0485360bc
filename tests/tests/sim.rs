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
        None => {
            (1, std::env::var("RELAY_SIM_COUNT").ok().and_then(|t| t.parse().ok()).unwrap_or(20))
        }
    };
    let start = Instant::now();
    let mut virtual_ms = 0;
    let mut failures = Vec::new();
    let mut lines = 0;
    for seed in first..first + count {
        let at = Instant::now();
        match run(&fixture, seed, Sabotage::None) {
            Ok(report) => {
                virtual_ms += report.virtual_ms;
                lines += report.lines;
                if alone.is_some() || at.elapsed().as_millis() > 600 {
                    println!("{seed} {report:?} {:?}", at.elapsed());
                }
            }
            Err(failure) if alone.is_some() => panic!("{failure}"),
            Err(failure) => {
                println!("FAIL {seed} {}", failure.violation);
                failures.push(failure.violation.to_string());
            }
        }
    }
    println!(
        "{count} seeds, {} s virtual, {:?} lines {lines} failures {}",
        virtual_ms / 1_000,
        start.elapsed(),
        failures.len()
    );
}
