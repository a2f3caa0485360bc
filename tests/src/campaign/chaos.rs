//! *chaos*: all together upon three nodes, each on a file system and in a network namespace of its
//! own: kills at any time and at named points, power cuts of one and of all, syncs that fail, full
//! disks, pauses, wrong clocks, wires that lose, double, delay and are cut.
//!
//! A storm under load, in which faults overlap and end in any order; then everything heals, must
//! drain, and all that was acknowledged is looked for.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rand::{
    RngExt as _,
    seq::{IndexedRandom as _, SliceRandom as _},
};
use tokio::time::{Instant, sleep};

use super::{
    Campaign,
    check::Terms,
    clock,
    disk::RESERVED,
    federation::{CONFIG, Federation},
    kill::point,
    load::Load,
    net::{disorder, wires::Wires},
    volume::{self, Kind, Volume},
};
use crate::{forwarder::Way, netns};

/// Storms until the time is over.
pub(super) async fn run(campaign: &mut Campaign) {
    netns::sweep();
    if let Err(missing) = netns::available() {
        return campaign.row.skip(missing);
    }
    let mut happened = BTreeMap::new();
    while campaign.goes_on() {
        let mut stage = match Stage::new(campaign).await {
            Ok(stage) => stage,
            Err(why) => return campaign.row.skip(why),
        };
        for _ in 0..STORMS_A_FEDERATION {
            if !campaign.goes_on() {
                break;
            }
            if let Err(why) = stage.storm(campaign, &mut happened).await {
                return campaign.row.fail(why);
            }
            let found = stage.federation.check(CALM_AGAIN).await;
            campaign.row.take(found);
            campaign.row.runs += 1;
        }
        let found = stage.federation.check_all().await;
        campaign.row.take(found);
    }
    let happened = happened.iter().map(|(what, times)| format!("{what} {times}"));
    campaign.row.notes.push(format!("happened: {}", happened.collect::<Vec<_>>().join(", ")));
}

/// Three nodes and everything of theirs that can be made worse.
struct Stage {
    federation: Federation,
    /// After the nodes, which run in its namespaces and on these file systems.
    wires: Wires,
    volumes: Vec<Volume>,
    /// What ends, and when.
    ends: Vec<(Instant, End)>,
    /// Goes last.
    dir: tempfile::TempDir,
}

/// How a fault ends.
#[derive(Debug, Clone, PartialEq)]
enum End {
    /// The node is started.
    Start(usize),
    /// The node goes on.
    Continue(usize),
    /// There is room again.
    Room(usize),
    /// Its clock is right again.
    Clock(usize),
    /// Nothing is dropped there any more.
    Mend(Vec<(usize, usize)>),
    /// Packets pass as on a new wire.
    Smooth((usize, usize)),
}

/// What happens.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Kill,
    /// The next start has a death or a failing disk in it.
    Point,
    Power,
    Blackout,
    Full,
    Pause,
    Clock,
    Loss,
    Disorder,
    Cut,
}

/// As often as they come; all nodes seldom lose their power at once.
const TROUBLES: [Trouble; 19] = [
    Trouble::Kill,
    Trouble::Kill,
    Trouble::Point,
    Trouble::Point,
    Trouble::Power,
    Trouble::Power,
    Trouble::Blackout,
    Trouble::Full,
    Trouble::Full,
    Trouble::Pause,
    Trouble::Pause,
    Trouble::Clock,
    Trouble::Clock,
    Trouble::Loss,
    Trouble::Loss,
    Trouble::Disorder,
    Trouble::Disorder,
    Trouble::Cut,
    Trouble::Cut,
];

impl Stage {
    async fn new(campaign: &mut Campaign) -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let volumes = ["one", "two", "three"].map(|name| Volume::image(dir.path(), name, KIND));
        let volumes = volumes.into_iter().collect::<Result<Vec<_>, _>>()?;
        let wires = Wires::new(volumes.len(), campaign.rng.random())?;
        let places: Vec<&Path> = volumes.iter().map(|volume| volume.path.as_path()).collect();
        let nodes = wires.nodes(&places, &format!("{RESERVED}{CONFIG}"), "");
        for (place, node) in nodes.iter().enumerate() {
            clock::follow(node, &shift(dir.path(), place));
        }
        // The configurations are there before the first power cut.
        volume::run(&mut Command::new("sync"))?;
        let federation = Federation::of(campaign, None, nodes).await;
        Ok(Self { federation, wires, volumes, ends: Vec::new(), dir })
    }

    /// One storm, from calm to calm.
    async fn storm(
        &mut self,
        campaign: &mut Campaign,
        happened: &mut BTreeMap<&'static str, u64>,
    ) -> Result<(), String> {
        let places: Vec<usize> = self.wires.places().collect();
        let load = Load::paced(&self.federation, &places, PACE);
        let over = Instant::now() + STORM;
        while Instant::now() < over {
            sleep(Duration::from_millis(campaign.rng.random_range(10..600))).await;
            for what in self.end_what_is_due(campaign, Instant::now())? {
                *happened.entry(what).or_default() += 1;
            }
            let trouble = *TROUBLES.choose(&mut campaign.rng).expect("troubles");
            if let Some(what) = self.cause(campaign, trouble)? {
                *happened.entry(what).or_default() += 1;
            }
        }
        let last = self.ends.iter().map(|(at, _)| *at).max().unwrap_or(over);
        self.end_what_is_due(campaign, last)?;
        self.wires.heal();
        for place in places {
            // A power cut may have brought it back.
            let _ = fs::remove_file(self.filler(place));
            if !self.federation.node(place).faults.is_empty() {
                self.federation.node(place).kill();
            }
            // One that was started on a full disk may have ended since, and its service starts it
            // again.
            if !self.federation.node(place).answers_or_ends().await {
                let took = self.federation.restart(place, campaign.orders("")).await;
                campaign.row.recovered(took);
            }
        }
        load.stop().await;
        Ok(())
    }

    /// Ends what is due, and sees to nodes that died. Returns what happened.
    fn end_what_is_due(
        &mut self,
        campaign: &mut Campaign,
        now: Instant,
    ) -> Result<Vec<&'static str>, String> {
        let mut happened = Vec::new();
        for place in self.wires.places() {
            let is_down = !self.federation.node(place).is_running();
            if is_down && !self.ends.iter().any(|(_, end)| *end == End::Start(place)) {
                // What it had written and not synced is in the page cache. Or is not.
                if campaign.rng.random_ratio(1, 4) {
                    self.federation.lose_power(&self.volumes, &[place])?;
                    happened.push("power lost after a death");
                }
                happened.push("death at a point");
                self.later(campaign, End::Start(place));
            }
        }
        let (due, ends) =
            std::mem::take(&mut self.ends).into_iter().partition(|(at, _)| *at <= now);
        self.ends = ends;
        let due: Vec<(Instant, End)> = due;
        for (_, end) in due {
            match end {
                End::Start(place) => {
                    let node = self.federation.node(place);
                    if !node.is_running() {
                        node.faults = campaign.orders("");
                        node.spawn();
                    }
                }
                End::Continue(place) => self.federation.node(place).pause(false),
                End::Room(place) => drop(fs::remove_file(self.filler(place))),
                End::Clock(place) => clock::write(&shift(self.dir.path(), place), ""),
                End::Mend(ways) => self.wires.mend(&ways),
                End::Smooth(way) => self.wires.shape(way, Way::default()),
            }
        }
        Ok(happened)
    }

    /// Makes something worse; nothing where it is as bad already.
    fn cause(
        &mut self,
        campaign: &mut Campaign,
        trouble: Trouble,
    ) -> Result<Option<&'static str>, String> {
        let place = campaign.rng.random_range(self.wires.places());
        let is_up = self.federation.node(place).is_running();
        match trouble {
            Trouble::Kill | Trouble::Point | Trouble::Power | Trouble::Pause if !is_up => Ok(None),
            Trouble::Kill => {
                self.federation.node(place).kill();
                self.later(campaign, End::Start(place));
                Ok(Some("kill"))
            }
            Trouble::Point => {
                let orders = match campaign.rng.random_ratio(1, 4) {
                    true => format!("sync=fail@{}", campaign.rng.random_range(1..=80u32)),
                    false => point(&mut campaign.rng).1,
                };
                let orders = campaign.orders(&orders);
                let node = self.federation.node(place);
                node.kill();
                node.faults = orders;
                node.spawn();
                Ok(Some("start with a death in it"))
            }
            Trouble::Power => {
                self.federation.lose_power(&self.volumes, &[place])?;
                self.later(campaign, End::Start(place));
                Ok(Some("power cut"))
            }
            Trouble::Blackout => {
                let all: Vec<usize> = self.wires.places().collect();
                self.federation.lose_power(&self.volumes, &all)?;
                for place in all {
                    self.later(campaign, End::Start(place));
                }
                Ok(Some("power cut of all"))
            }
            Trouble::Full => Ok(self.fill(campaign, place)?.then_some("full disk")),
            Trouble::Pause => {
                self.federation.node(place).pause(true);
                self.later(campaign, End::Continue(place));
                Ok(Some("pause"))
            }
            Trouble::Clock => {
                let sign = if campaign.rng.random_bool(0.5) { '-' } else { '+' };
                let days = campaign.rng.random_range(1..4_000);
                clock::write(&shift(self.dir.path(), place), &format!("{sign}{days}d unsynced"));
                self.later(campaign, End::Clock(place));
                Ok(Some("wrong clock"))
            }
            Trouble::Loss | Trouble::Disorder | Trouble::Cut => {
                Ok(Some(self.cause_on_wires(campaign, trouble)))
            }
        }
    }

    fn cause_on_wires(&mut self, campaign: &mut Campaign, trouble: Trouble) -> &'static str {
        let mut ways = self.wires.ways();
        ways.shuffle(&mut campaign.rng);
        ways.truncate(campaign.rng.random_range(1..=ways.len()));
        let (share, what) = match trouble {
            Trouble::Disorder => {
                for way in ways {
                    let shape = disorder(campaign);
                    self.wires.shape(way, shape);
                    self.later(campaign, End::Smooth(way));
                }
                return "disorder";
            }
            Trouble::Loss => (campaign.rng.random_range(10..=300), "loss"),
            _ => (netns::ALL, "cut wires"),
        };
        self.wires.lose(&ways, share);
        self.later(campaign, End::Mend(ways));
        what
    }

    fn later(&mut self, campaign: &mut Campaign, end: End) {
        let wait = Duration::from_millis(campaign.rng.random_range(50..LONGEST_MS));
        self.ends.push((Instant::now() + wait, end));
    }

    /// Leaves little room; false where there is little already.
    fn fill(&mut self, campaign: &mut Campaign, place: usize) -> Result<bool, String> {
        let filler = self.filler(place);
        let stat = nix::sys::statvfs::statvfs(&self.volume(place).path);
        let stat = stat.map_err(|error| error.to_string())?;
        let spare = campaign.rng.random_range(1..6u64) << 20;
        let bytes = (stat.blocks_free() * stat.fragment_size()).saturating_sub(spare);
        if bytes == 0 || filler.exists() {
            return Ok(false);
        }
        // The nodes write meanwhile: it may be a little too much.
        let _ = Command::new("fallocate").arg("-l").arg(bytes.to_string()).arg(&filler).output();
        self.later(campaign, End::Room(place));
        Ok(filler.exists())
    }

    fn volume(&self, place: usize) -> &Volume {
        self.volumes.get(place).expect("a place")
    }

    fn filler(&self, place: usize) -> PathBuf {
        self.volume(place).path.join("filler")
    }
}

/// Says how wrong a clock is; no power cut takes it away.
fn shift(dir: &Path, place: usize) -> PathBuf {
    dir.join(format!("shift-{place}"))
}

const KIND: Kind = Kind::Ext4;
const STORM: Duration = Duration::from_secs(25);
/// What a fault lasts at most.
const LONGEST_MS: u64 = 4_000;
/// Between two messages of a client.
const PACE: Duration = Duration::from_millis(150);
/// Stores grow; so does the last look at all of them.
const STORMS_A_FEDERATION: usize = 5;
/// Clocks were wrong and disks were full.
const CALM_AGAIN: Terms =
    Terms { undated: true, refusals: &["CLOCK_UNTRUSTED", "STORAGE_FULL"], ..Terms::USUAL };
