//! Hostile peers against real nodes: one row for each attack, and exit status 0 only if the nodes
//! held against all. Never part of `cargo test`.
#![forbid(unsafe_code)]

use std::{process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum as _};
use relay_tests::{
    attack::{Attack, Options, run},
    process::interrupted,
};

/// Attacks a node while it serves an honest peer.
#[derive(Parser)]
struct Arguments {
    /// Which attacks; all, unless some are named
    #[arg(long = "attack", value_enum)]
    attacks: Vec<Attack>,
    /// Length of each attack
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seed of all chance in the attacks
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The machine is others' as well: tell latencies, do not judge them
    #[arg(long)]
    shared: bool,
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let attacks = match arguments.attacks.as_slice() {
        [] => Attack::value_variants(),
        named => named,
    };
    let Arguments { seconds, seed, shared, .. } = arguments;
    let options = Options { length: Duration::from_secs(seconds), seed, shared };
    let told = |row: &_| {
        if !arguments.json {
            println!("{row}");
        }
    };
    let report = tokio::select! {
        report = run(attacks, options, told) => report,
        () = interrupted() => return ExitCode::FAILURE,
    };
    if arguments.json {
        println!("{}", report.to_json());
    }
    let failed = report.rows.iter().filter(|row| !row.faults.is_empty()).count();
    if report.holds() {
        return ExitCode::SUCCESS;
    }
    eprintln!("attack: {failed} of {} attacks had an effect", report.rows.len());
    ExitCode::FAILURE
}
