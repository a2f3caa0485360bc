//! The program `relay-node`: arguments in, exit status out; everything else is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use relay_node::cli::{Arguments, execute};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Wrong usage ends here with status 2, before anything was done.
    ExitCode::from(execute(Arguments::parse()))
}
