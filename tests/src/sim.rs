//! The seeded simulator: whole nodes (relay, store and journal, log, directory, QUIC) on one
//! thread, in virtual time, over a net, disks and clocks that fail as the seed says.
//!
//! Enter through [`run`], or [`run_all`] for many. The same seed gives the same trace hash. Time is
//! the runtime's, paused: it moves when nothing else can. A failure shows the seed, the schedule,
//! the last lines and the command that runs that seed alone.

mod check;
mod fixture;
mod net;
mod plan;
mod rng;
mod runner;
mod trace;
mod world;

use std::fmt;

pub use check::Violation;
pub use fixture::Fixture;
pub use plan::{Plan, Size};
pub use runner::{Options, Summary, run_all};
pub use world::{SETTLED_WITHIN, Sabotage, World};

/// What a run was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Hash over all that happened, with virtual times.
    pub hash: u64,
    /// Lines of the trace.
    pub lines: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// The last lines of the trace.
    pub last: Vec<String>,
}

/// A run that broke an invariant.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Which seed.
    pub seed: u64,
    /// Of which schedules.
    pub size: Size,
    /// What was broken.
    pub violation: Violation,
    /// The schedule.
    pub plan: String,
    /// The last lines of the trace.
    pub last: Vec<String>,
}

/// Runs one seed.
pub fn run(
    fixture: &Fixture,
    seed: u64,
    size: Size,
    sabotage: Sabotage,
) -> Result<Report, Box<Failure>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime on this thread");
    let result = runtime.block_on(async {
        let mut world = World::new(fixture, seed, size, sabotage);
        match world.run().await {
            Ok(()) => {
                world.end().await;
                Ok(Report {
                    hash: world.trace.hash(),
                    lines: world.trace.count(),
                    virtual_ms: world.trace.elapsed_ms(),
                    last: world.trace.last(LINES_SHOWN),
                })
            }
            Err(violation) => Err(Box::new(Failure {
                seed,
                size,
                violation,
                plan: world.plan().to_string(),
                last: world.trace.last(LINES_SHOWN),
            })),
        }
    });
    drop(runtime);
    result
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hash, lines, virtual_ms, .. } = self;
        write!(f, "trace {hash:016x} of {lines} lines in {virtual_ms} virtual ms")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.violation)?;
        writeln!(f, "schedule: {}", self.plan)?;
        writeln!(f, "last lines:")?;
        for line in &self.last {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {}: {}", self.seed, self.violation)?;
        let (seed, size) = (self.seed, format!("{:?}", self.size).to_lowercase());
        let command = "cargo run --release -p relay-tests --bin sim";
        write!(f, "alone: {command} -- --size {size} --seed {seed}")
    }
}

const LINES_SHOWN: usize = 200;
