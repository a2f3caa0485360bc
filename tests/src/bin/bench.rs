//! Benchmarks of whole processes: `bench pipeline|restart|backlog`. Never part of `cargo test`.
#![forbid(unsafe_code)]

use clap::Parser;
use relay_tests::bench::{Options, backlog, pipeline, restart};

/// Measures nodes as processes on this machine.
#[derive(Parser)]
struct Arguments {
    /// What to measure
    #[command(subcommand)]
    benchmark: Benchmark,
    /// One JSON document instead of a table
    #[arg(long, global = true)]
    json: bool,
    /// Messages per run; those that wait in `restart` and `backlog` [default: 20,000; 100,000;
    /// 1,000,000]
    #[arg(long, global = true)]
    messages: Option<usize>,
    /// Runs of each kind; medians are shown
    #[arg(long, global = true, default_value_t = 3)]
    runs: usize,
}

#[derive(clap::Subcommand)]
enum Benchmark {
    /// From a client's send to the verified, durable receipt in the sender's store
    Pipeline,
    /// Until a node with much in its store answers again, after a stop and after SIGKILL
    Restart,
    /// An outbox that fills while its peer is down, and drains when it returns
    Backlog,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments = Arguments::parse();
    let usual = match arguments.benchmark {
        Benchmark::Pipeline => 20_000,
        Benchmark::Restart => 100_000,
        Benchmark::Backlog => 1_000_000,
    };
    let messages = arguments.messages.unwrap_or(usual);
    let options = Options { messages, runs: arguments.runs };
    let report = match arguments.benchmark {
        Benchmark::Pipeline => pipeline::run(&options).await,
        Benchmark::Restart => restart::run(&options).await,
        Benchmark::Backlog => backlog::run(&options).await,
    };
    match arguments.json {
        true => println!("{}", report.to_json()),
        false => println!("{report}"),
    }
}
