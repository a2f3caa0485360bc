//! Benchmarks: real processes, real disks, loopback. Figures are medians of several runs with their
//! spread.

pub mod backlog;
mod load;
pub mod pipeline;
mod report;
pub mod restart;
mod usage;

pub use report::{Report, Row};
pub use usage::Usage;

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Options {
    /// Messages per run.
    pub messages: usize,
    /// Runs of each kind.
    pub runs: usize,
}
