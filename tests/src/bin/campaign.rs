//! Faults upon real nodes: `campaign --fault kill --minutes 5`. Exit status 0 only if nothing that
//! was acknowledged is lost, doubled or contradicted, and nothing else failed.
#![forbid(unsafe_code)]

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use relay_tests::{
    campaign::{Fault, Options, Sabotage, run},
    process::interrupted,
};

/// Runs nodes as processes under load while one class of faults after the other is upon them, and
/// looks for everything that was acknowledged.
#[derive(Parser)]
struct Arguments {
    /// A class of faults; may be repeated; all without it
    #[arg(long)]
    fault: Vec<Fault>,
    /// How long, shared by the classes; each runs once at least
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Where chance begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Break every node on purpose: the campaign must fail
    #[arg(long)]
    sabotage: Option<Sabotage>,
    /// The machine is others' as well: tell latencies and rates, do not judge them
    #[arg(long)]
    shared: bool,
    /// A class that cannot be tried here is a failure
    #[arg(long)]
    skip_nothing: bool,
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        faults: arguments.fault,
        time: Duration::from_secs_f64(arguments.minutes.max(0.0) * 60.0),
        seed: arguments.seed,
        sabotage: arguments.sabotage,
        shared: arguments.shared,
    };
    let report = tokio::select! {
        report = run(&options) => report,
        () = interrupted() => return ExitCode::FAILURE,
    };
    match arguments.json {
        true => println!("{}", report.to_json()),
        false => print!("{report}"),
    }
    if report.is_good(!arguments.skip_nothing) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
