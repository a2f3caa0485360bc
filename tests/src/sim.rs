//! The seeded simulator: whole nodes (relay, store and journal, log, directory, QUIC) on one
//! thread, in virtual time, over a net, disks and clocks that fail as the seed says.
//!
//! Enter through [`run`]. The same seed gives the same trace hash. Time is the runtime's, paused:
//! it moves when nothing else can. A failure shows the seed, the schedule and the last lines;
//! `RELAY_SIM_SEED=N cargo test -p relay-tests --test sim -- --nocapture` runs that seed alone.

mod check;
mod fixture;
mod net;
mod plan;
mod rng;
mod trace;
mod world;

use std::fmt;

pub use check::Violation;
pub use fixture::Fixture;
pub use plan::Plan;
pub use world::{SETTLED_WITHIN, Sabotage, World};

/// What a run was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Hash over all that happened, with virtual times.
    pub hash: u64,
    /// Lines of the trace.
    pub lines: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
}

/// A run that broke an invariant.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Which seed.
    pub seed: u64,
    /// What was broken.
    pub violation: Violation,
    /// The schedule.
    pub plan: String,
    /// The last lines of the trace.
    pub last: Vec<String>,
}

/// Runs one seed.
pub fn run(fixture: &Fixture, seed: u64, sabotage: Sabotage) -> Result<Report, Box<Failure>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime on this thread");
    let result = runtime.block_on(async {
        let mut world = World::new(fixture, seed, sabotage);
        match world.run().await {
            Ok(()) => {
                let report = Report {
                    hash: world.trace.hash(),
                    lines: world.trace.count(),
                    virtual_ms: world.trace.elapsed_ms(),
                };
                world.end().await;
                Ok(report)
            }
            Err(violation) => Err(Box::new(Failure {
                seed,
                violation,
                plan: world.plan().to_string(),
                last: world.trace.last(LINES_SHOWN),
            })),
        }
    });
    drop(runtime);
    result
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
        let seed = self.seed;
        write!(
            f,
            "alone: RELAY_SIM_SEED={seed} cargo test -p relay-tests --test sim -- --nocapture"
        )
    }
}

const LINES_SHOWN: usize = 200;
