//! The simulator as a command: `sim --seeds N [--first SEED]`, or `--seed ONE` alone.
//!
//! Exit status 0 only if no seed broke an invariant.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use relay_tests::sim::{Fixture, Options, Sabotage, Size, run, run_all};

/// Runs whole nodes on simulated disks, clocks and net, a schedule of faults for each seed.
#[derive(Parser)]
struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Threads; one seed runs on one
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// How many nodes
    #[arg(long, value_enum, default_value_t)]
    size: Size,
    /// Run this seed alone and show its schedule if it fails
    #[arg(long, conflicts_with_all = ["seeds", "first", "threads"])]
    seed: Option<u64>,
    /// Every seed that divides by this runs twice, and both traces must be equal; 0 for none
    #[arg(long, default_value_t = 64)]
    twice_every: u64,
    /// Break something on purpose: the run must fail
    #[arg(long, value_enum, default_value_t)]
    sabotage: Sabotage,
    /// One JSON document in place of text
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Arguments { first, seeds: count, threads, twice_every, size, sabotage, .. } = arguments;
    if let Some(seed) = arguments.seed {
        return match run(&Fixture::new(), seed, size, sabotage) {
            Ok(report) => {
                println!("{}\nseed {seed} holds: {report}", report.last.join("\n"));
                ExitCode::SUCCESS
            }
            Err(failure) => {
                println!("{failure}");
                ExitCode::FAILURE
            }
        };
    }
    let summary = run_all(Options { first, size, count, threads, twice_every, sabotage });
    match arguments.json {
        true => println!("{}", summary.to_json()),
        false => println!("{summary}"),
    }
    match summary.failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
