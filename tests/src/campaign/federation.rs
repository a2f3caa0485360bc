//! Nodes of one campaign: processes that know each other, started and ended as a run wants.

use std::{
    fs::{self, File},
    io,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    Campaign,
    check::{Found, Seen},
    load::Ledger,
    volume::{self, Volume},
};
use crate::process::{Process, introduce};

/// Some nodes, and what their clients were told.
pub struct Federation {
    /// The nodes.
    pub nodes: Vec<Process>,
    /// What was acknowledged.
    pub ledger: Ledger,
    /// What the nodes have shown so far.
    pub seen: Seen,
    /// Their files were kept.
    is_kept: bool,
    /// Where they are, unless somebody else keeps it; goes last.
    _dir: Option<TempDir>,
}

impl Federation {
    /// Makes, starts and introduces nodes, each in a directory of its own below the system's.
    pub async fn start(campaign: &Campaign, count: usize) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the nodes");
        let base = dir.path().to_owned();
        Self::start_in(campaign, Some(dir), &vec![base; count], "").await
    }

    /// The same with the place of each node, and what it keeps for a full disk.
    pub async fn start_in(
        campaign: &Campaign,
        dir: Option<TempDir>,
        places: &[impl AsRef<Path>],
        reserve: &str,
    ) -> Self {
        let config = format!("{reserve}{CONFIG}");
        let made = UNITS.iter().zip(places);
        let made = made.map(|(unit, place)| Process::init(place.as_ref(), unit, &config));
        let nodes = made.collect();
        Self::of(campaign, dir, nodes).await
    }

    /// Starts and introduces nodes that were made.
    pub async fn of(campaign: &Campaign, dir: Option<TempDir>, mut nodes: Vec<Process>) -> Self {
        for node in &mut nodes {
            node.start().await;
        }
        introduce(&nodes).await;
        for node in nodes.iter_mut().filter(|_| !campaign.orders("").is_empty()) {
            node.kill();
            node.faults = campaign.orders("");
            node.start().await;
        }
        Self { nodes, ledger: Ledger::default(), seen: Seen::default(), is_kept: false, _dir: dir }
    }

    /// One of the nodes.
    pub fn node(&mut self, place: usize) -> &mut Process {
        self.nodes.get_mut(place).expect("a node at this place")
    }

    /// Machines of these nodes lose their power, all at once, and come up again; each has the
    /// volume of its place.
    pub(super) fn lose_power(
        &mut self,
        volumes: &[Volume],
        victims: &[usize],
    ) -> Result<(), String> {
        let of = |place: &usize| volumes.get(*place).expect("a volume of each node");
        for place in victims {
            let cut = of(place).cut();
            cut.map_err(|error| format!("the power cannot be cut: {error}"))?;
        }
        for place in victims {
            let node = self.node(*place);
            node.kill();
            of(place).again()?;
            let store = node.dir.join("data");
            machine_started(&store).map_err(|error| format!("{}: {error}", store.display()))?;
        }
        Ok(())
    }

    /// Keeps the nodes' files for whoever looks into what was found; not of nodes that were broken
    /// on purpose.
    pub(super) fn keep(&mut self, found: &mut Found) {
        let broken = self.nodes.iter().any(|node| !node.faults.is_empty());
        if found.problems.is_empty() || broken || self.is_kept {
            return;
        }
        self.is_kept = true;
        let kept = tempfile::Builder::new().prefix("relay-campaign-").tempdir();
        let kept = kept.expect("a directory for what failed").keep();
        for node in &self.nodes {
            if let Err(why) = volume::run(Command::new("cp").arg("-a").arg(&node.dir).arg(&kept)) {
                found.problems.insert(0, format!("files of {} are not kept: {why}", node.unit));
            }
        }
        found.problems.insert(0, format!("the nodes' files are kept in {}", kept.display()));
    }

    /// Starts a node with orders; returns how long it took until it answered.
    pub async fn restart(&mut self, place: usize, orders: String) -> Duration {
        let node = self.node(place);
        node.faults = orders;
        let begun = Instant::now();
        match node.faults.is_empty() {
            true => node.start().await,
            // Its end may come before its first answer.
            false => drop(node.start_or_end().await),
        }
        begun.elapsed()
    }
}

/// A machine that comes up has another start id, and the store's lock still has that of the run in
/// which it was held. Here the kernel's id stays: what the lock says becomes another.
fn machine_started(store: &Path) -> io::Result<()> {
    let lock = store.join("lock");
    let text = match fs::read_to_string(&lock) {
        // The power went before it was written.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text?,
    };
    let Some((before, _)) = text.split_once("boot ") else { return Ok(()) };
    fs::write(&lock, format!("{before}boot {:36}\n", "another start of the machine"))?;
    File::open(&lock)?.sync_all()
}

/// Whose nodes they are.
pub const UNITS: [&str; 3] = ["xa.campaign", "xb.campaign", "xc.campaign"];

/// Goes on in `[store]`. Segments are short, since runs are, and retries quick; nobody takes most
/// of what arrives.
pub const CONFIG: &str = r#"segment_bytes = "4MiB"

[log]
level = "warn"

[inbox]
queue_messages_max = 1000000
queue_bytes_max = "16GiB"

[retry]
first = "100ms"

[quota]
emergency_per_hour = 100000
urgent_per_hour = 100000
"#;
