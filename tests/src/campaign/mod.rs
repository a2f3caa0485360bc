//! Campaigns: real nodes as processes, real stores on a real file system, load, and one class of
//! faults after the other; after each run everything that was acknowledged is looked for.
//!
//! Enter through [`run`]. Invariant: a run counts only when it was checked, and a class that cannot
//! be tried here says SKIPPED and never that it held.

mod chaos;
mod check;
mod clock;
mod disk;
mod federation;
mod history;
mod kill;
mod load;
mod net;
mod power;
mod report;
mod resources;
mod rot;
mod volume;

use std::time::Duration;

use clap::ValueEnum;
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::time::Instant;

pub use self::report::{Report, Row, Verdict};
use self::{disk::Scarce, rot::Damage, volume::Kind};
use crate::process::{Binaries, faulty_node};

/// A class of faults, named as in the table of `tests/README.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// SIGKILL at random times and at named points.
    Kill,
    /// Power cuts on ext4: what was not truly synced is gone.
    Power,
    /// The same on xfs.
    PowerXfs,
    /// Files that are cut short or end in zeros.
    Torn,
    /// Bits that flip, pages that become zeros.
    BitRot,
    /// Files or pages that are not where or what they should be.
    Stale,
    /// No room for bytes.
    DiskFull,
    /// No room for files.
    Inodes,
    /// A sync fails.
    Eio,
    /// Loss, delay, partitions and slow peers between nodes in network namespaces.
    Net,
    /// Stores that are set back by a backup.
    History,
    /// Stores whose twin worked meanwhile.
    Twin,
    /// Clocks that jump by hours and years, trusted and not.
    Clock,
    /// Few descriptors, little memory, floods of Initial packets, pauses.
    Resources,
    /// All of them together, but for damage that is not mended by itself.
    Chaos,
}

/// Something wrong with the node itself that a campaign must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sabotage {
    /// The journal is not synced.
    NoSync,
    /// Commits are answered before they are written.
    EarlyAnswer,
    /// Arrivals are not looked up.
    NoDuplicateCheck,
}

impl Sabotage {
    /// As `node/src/faults.rs` takes it.
    fn order(self) -> &'static str {
        match self {
            Self::NoSync => "sync=skip",
            Self::EarlyAnswer => "wait=skip",
            Self::NoDuplicateCheck => "duplicate=skip",
        }
    }
}

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which classes; all when empty.
    pub faults: Vec<Fault>,
    /// How long, in all.
    pub time: Duration,
    /// Where chance begins.
    pub seed: u64,
    /// What is wrong with every node.
    pub sabotage: Option<Sabotage>,
    /// The machine is others' as well: latencies and rates are told, not judged.
    pub shared: bool,
}

/// Runs the classes one after the other, each for its share of the time and at least once.
pub async fn run(options: &Options) -> Report {
    let faults = match options.faults.is_empty() {
        true => Fault::value_variants().to_vec(),
        false => options.faults.clone(),
    };
    // Not on the time of the first class.
    let (_, _) = (Binaries::built(), faulty_node());
    let share = options.time / u32::try_from(faults.len()).unwrap_or(1);
    let mut rows = Vec::new();
    for fault in faults {
        let name = fault.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
        let mut campaign = Campaign {
            rng: StdRng::seed_from_u64(options.seed ^ rows.len() as u64),
            until: Instant::now() + share,
            sabotage: options.sabotage,
            shared: options.shared,
            row: Row::new(&name),
        };
        match fault {
            Fault::Kill => kill::run(&mut campaign).await,
            Fault::Power => power::run(&mut campaign, Kind::Ext4).await,
            Fault::PowerXfs => power::run(&mut campaign, Kind::Xfs).await,
            Fault::Torn => rot::run(&mut campaign, Damage::Torn).await,
            Fault::BitRot => rot::run(&mut campaign, Damage::BitRot).await,
            Fault::Stale => rot::run(&mut campaign, Damage::Stale).await,
            Fault::DiskFull => disk::full(&mut campaign, Scarce::Bytes).await,
            Fault::Inodes => disk::full(&mut campaign, Scarce::Files).await,
            Fault::Eio => disk::failing(&mut campaign).await,
            Fault::History => history::run(&mut campaign, false).await,
            Fault::Twin => history::run(&mut campaign, true).await,
            Fault::Net => net::run(&mut campaign).await,
            Fault::Clock => clock::run(&mut campaign).await,
            Fault::Resources => resources::run(&mut campaign).await,
            Fault::Chaos => chaos::run(&mut campaign).await,
        }
        let row = campaign.row.judged();
        eprintln!("{row}");
        rows.push(row);
    }
    Report::new(options, rows)
}

/// One class at work.
struct Campaign {
    rng: StdRng,
    until: Instant,
    sabotage: Option<Sabotage>,
    shared: bool,
    row: Row,
}

impl Campaign {
    /// Whether there is time for another run; there always is for the first.
    fn goes_on(&self) -> bool {
        self.row.runs == 0 || (Instant::now() < self.until && !self.row.is_hopeless())
    }

    /// Something was slower than it may be.
    fn too_slow(&mut self, what: String) {
        match self.shared {
            true => self.row.notes.push(format!("slow: {what}")),
            false => self.row.fail(what),
        }
    }

    /// The orders for a node: what the run wants of it, and what is wrong with all of them.
    fn orders(&self, own: &str) -> String {
        let sabotage = self.sabotage.map_or("", Sabotage::order);
        let both = [sabotage, own].into_iter().filter(|order| !order.is_empty());
        both.collect::<Vec<_>>().join(",")
    }
}
