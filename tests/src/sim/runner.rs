//! Many seeds over some threads: the one loop of the tests and of the command `sim`.
//!
//! Enter through [`run_all`]. Every so many seeds one runs a second time, on a fixture of its own:
//! a trace that differs is a failure of I12.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{Failure, Fixture, Report, Sabotage, Size, check::Violation, run};
use crate::bench::Usage;

/// What is to be run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The first seed.
    pub first: u64,
    /// Of which schedules.
    pub size: Size,
    /// How many from there on.
    pub count: u64,
    /// On so many threads.
    pub threads: usize,
    /// Each seed that divides by this runs twice; 0 for none.
    pub twice_every: u64,
    /// What is planted.
    pub sabotage: Sabotage,
}

/// What became of it.
#[derive(Debug)]
pub struct Summary {
    /// As it was asked for.
    pub options: Options,
    /// Seeds that ran twice.
    pub twice: u64,
    /// By seed.
    pub failures: Vec<Failure>,
    /// Of all runs together.
    pub virtual_time: Duration,
    /// On the clock.
    pub wall: Duration,
    /// User and system time of this process.
    pub cpu: Duration,
}

/// Runs them all, also after a failure.
pub fn run_all(options: Options) -> Summary {
    let fixture = Fixture::new();
    let other = if options.twice_every > 0 { &Fixture::new() } else { &fixture };
    let (start, cpu) = (Instant::now(), cpu_time());
    let (next, virtual_ms, twice) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let failures: Mutex<Vec<Failure>> = Mutex::default();
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= options.count {
                return;
            }
            let seed = options.first + number;
            let again = options.twice_every > 0 && seed.is_multiple_of(options.twice_every);
            twice.fetch_add(u64::from(again), Ordering::Relaxed);
            let run_one = |fixture: &Fixture| {
                let report = run(fixture, seed, options.size, options.sabotage)?;
                virtual_ms.fetch_add(report.virtual_ms, Ordering::Relaxed);
                Ok(report)
            };
            let result = match again {
                true => same(seed, options.size, run_one(&fixture), run_one(other)),
                false => run_one(&fixture).map(|_| ()),
            };
            if let Err(failure) = result {
                failures.lock().unwrap_or_else(PoisonError::into_inner).push(*failure);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            scope.spawn(work);
        }
    });
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort_by_key(|failure| failure.seed);
    Summary {
        options,
        twice: twice.into_inner(),
        failures,
        virtual_time: Duration::from_millis(virtual_ms.into_inner()),
        wall: start.elapsed(),
        cpu: cpu_time().saturating_sub(cpu),
    }
}

type Outcome = Result<Report, Box<Failure>>;

/// I12: both runs of a seed say the same.
fn same(seed: u64, size: Size, once: Outcome, again: Outcome) -> Result<(), Box<Failure>> {
    let (once, again) = (once?, again?);
    if once == again {
        return Ok(());
    }
    let text = format!("{once}, then {again}");
    let violation = Violation::new("I12", 0, text);
    // The later a difference, the more both have in common.
    let last = [once.last, vec!["the other run:".to_owned()], again.last].concat();
    Err(Box::new(Failure { seed, size, violation, plan: String::new(), last }))
}

impl Summary {
    /// Runs for a minute of this process's own time: what a core does when nothing else uses it.
    pub fn per_cpu_minute(&self) -> f64 {
        self.runs() * 60.0 / self.cpu.as_secs_f64().max(f64::EPSILON)
    }

    /// Runs for a minute on the clock and a thread: what was left to it.
    pub fn per_wall_minute(&self) -> f64 {
        let threads = self.options.threads.max(1) as f64;
        self.runs() * 60.0 / self.wall.as_secs_f64().max(f64::EPSILON) / threads
    }

    fn runs(&self) -> f64 {
        (self.options.count + self.twice) as f64
    }

    /// One JSON document.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Broken {
            seed: u64,
            invariant: &'static str,
            node: usize,
            text: String,
        }
        #[derive(Serialize)]
        struct Document {
            seeds: u64,
            first: u64,
            twice: u64,
            threads: usize,
            virtual_hours: f64,
            wall_s: f64,
            cpu_s: f64,
            seeds_per_cpu_minute: f64,
            seeds_per_wall_minute_and_thread: f64,
            failures: Vec<Broken>,
        }
        let failures = self.failures.iter().map(|failure| Broken {
            seed: failure.seed,
            invariant: failure.violation.invariant,
            node: failure.violation.node,
            text: failure.violation.text.clone(),
        });
        let document = Document {
            seeds: self.options.count,
            first: self.options.first,
            twice: self.twice,
            threads: self.options.threads,
            virtual_hours: self.virtual_time.as_secs_f64() / 3600.0,
            wall_s: self.wall.as_secs_f64(),
            cpu_s: self.cpu.as_secs_f64(),
            seeds_per_cpu_minute: self.per_cpu_minute(),
            seeds_per_wall_minute_and_thread: self.per_wall_minute(),
            failures: failures.collect(),
        };
        serde_json::to_string(&document).expect("numbers and text")
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(f, "seed {}: {}", failure.seed, failure.violation)?;
        }
        if let Some(first) = self.failures.first() {
            writeln!(f, "the first failure:\n{first}")?;
        }
        let Options { first, count, threads, .. } = self.options;
        writeln!(f, "seeds               {count} from {first}, {} of them twice", self.twice)?;
        writeln!(f, "failures            {}", self.failures.len())?;
        writeln!(f, "virtual             {:.1} h", self.virtual_time.as_secs_f64() / 3600.0)?;
        let (wall, cpu) = (self.wall.as_secs_f64(), self.cpu.as_secs_f64());
        writeln!(f, "took                {wall:.1} s on {threads} threads, {cpu:.1} s of CPU")?;
        write!(
            f,
            "seeds a minute      {:.0} a core by CPU time, {:.0} a thread by the clock",
            self.per_cpu_minute(),
            self.per_wall_minute()
        )
    }
}

fn cpu_time() -> Duration {
    Duration::from_secs_f64(Usage::of(std::process::id()).cpu_seconds)
}
