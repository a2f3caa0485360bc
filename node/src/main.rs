//! The program `relay-node`: arguments in, exit status out; everything else is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use relay_node::cli::{Arguments, execute};

/// Small, short-lived pieces of many sizes on several threads: a fifth of the node's time went into
/// the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Wrong usage ends here with status 2, before anything was done.
    ExitCode::from(execute(Arguments::parse()))
}
