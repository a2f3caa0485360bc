//! `relay-node` with the faults that a campaign orders (`node/src/faults.rs`).
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use relay_node::cli::{Arguments, execute};

fn main() -> ExitCode {
    ExitCode::from(execute(Arguments::parse()))
}
