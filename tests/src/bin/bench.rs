//! Benchmarks of whole processes: `bench pipeline`. Never part of `cargo test`.
#![forbid(unsafe_code)]

use clap::Parser;
use relay_tests::bench::{Options, pipeline};

/// Measures nodes as processes on this machine.
#[derive(Parser)]
struct Arguments {
    /// What to measure
    #[command(subcommand)]
    benchmark: Benchmark,
    /// One JSON document instead of a table
    #[arg(long, global = true)]
    json: bool,
    /// Messages per run
    #[arg(long, global = true, default_value_t = 20_000)]
    messages: usize,
    /// Runs of each kind; medians are shown
    #[arg(long, global = true, default_value_t = 3)]
    runs: usize,
}

#[derive(clap::Subcommand)]
enum Benchmark {
    /// From a client's send to the verified, durable receipt in the sender's store
    Pipeline,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments = Arguments::parse();
    let options = Options { messages: arguments.messages, runs: arguments.runs };
    let Benchmark::Pipeline = arguments.benchmark;
    let report = pipeline::run(&options).await;
    match arguments.json {
        true => println!("{}", report.to_json()),
        false => println!("{report}"),
    }
}
