//! *net*: nodes in network namespaces, and between them loss, delay, doubled and overtaking
//! packets, cuts of one or both directions, links that flap, peers that are dead or slow.
//!
//! Every kind is one run: the wires are made worse under load, healed, and all that was
//! acknowledged is looked for. Where namespaces cannot be had, the class is skipped.

mod kinds;
mod neighbours;
mod one_way;
mod probe;
pub(super) mod wires;

use std::{collections::BTreeMap, time::Duration};

use rand::{RngExt as _, seq::SliceRandom as _};
use tokio::time::Instant;

pub(super) use self::kinds::disorder;
use self::{kinds::Kind, wires::Wires};
use super::{
    Campaign,
    check::{Found, Terms},
    federation::{CONFIG, Federation},
    load::Load,
};
use crate::netns;

/// Something that was measured.
struct Figure {
    /// Figures of one kind are one line.
    of: &'static str,
    /// The larger, the worse.
    weight: f64,
    /// In words.
    line: String,
}

/// The worst figure of each kind, and how many there were.
#[derive(Default)]
struct Figures(BTreeMap<&'static str, (u64, f64, String)>);

impl Figures {
    fn take(&mut self, figure: Figure) {
        let worst = self.0.entry(figure.of).or_insert((0, f64::MIN, String::new()));
        worst.0 += 1;
        if figure.weight > worst.1 {
            (worst.1, worst.2) = (figure.weight, figure.line);
        }
    }

    fn lines(self) -> impl Iterator<Item = String> {
        let lines = self.0.into_iter();
        lines.map(|(of, (times, _, line))| format!("{of}: {line} (the worst of {times})"))
    }
}

/// Nodes and the wires between them.
struct World {
    federation: Federation,
    /// After the nodes, which run in its namespaces.
    wires: Wires,
    /// Whether a cut of some seconds ends its sessions.
    quick: bool,
}

/// Makes wires worse until the time is over.
pub(super) async fn run(campaign: &mut Campaign) {
    netns::sweep();
    if let Err(missing) = netns::available() {
        return campaign.row.skip(missing);
    }
    let (mut ran, mut figures) = (BTreeMap::new(), Figures::default());
    for count in [3, 2].into_iter().cycle() {
        if !campaign.goes_on() {
            break;
        }
        let mut world = match World::start(campaign, count).await {
            Ok(world) => world,
            Err(problem) => return campaign.row.fail(problem),
        };
        let mut kinds = Kind::ALL.to_vec();
        kinds.retain(|kind| count > 2 || !kind.needs_three());
        kinds.shuffle(&mut campaign.rng);
        for kind in kinds {
            if campaign.goes_on() {
                if let Some(figure) = world.one(campaign, kind).await {
                    figures.take(figure);
                }
                *ran.entry(kind.name()).or_insert(0u64) += 1;
            }
        }
        let found = world.federation.check_all().await;
        campaign.row.take(found);
    }
    campaign.row.notes.extend(figures.lines());
    let ran = ran.iter().map(|(kind, times)| format!("{kind} {times}"));
    campaign.row.notes.push(format!("runs: {}", ran.collect::<Vec<_>>().join(", ")));
}

impl World {
    async fn start(campaign: &mut Campaign, count: usize) -> Result<Self, String> {
        let wires = Wires::new(count, campaign.rng.random())?;
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let quick = campaign.rng.random_bool(0.5);
        let nodes = wires.nodes(&vec![dir.path(); count], CONFIG, if quick { QUICK } else { "" });
        Ok(Self { federation: Federation::of(campaign, Some(dir), nodes).await, wires, quick })
    }

    /// One run of a kind, and its check.
    async fn one(&mut self, campaign: &mut Campaign, kind: Kind) -> Option<Figure> {
        let places: Vec<usize> = self.wires.places().collect();
        let pause = kind.load_pause();
        let load = pause.map(|pause| Load::paced(&self.federation, &places, pause));
        let figure = self.make_worse(campaign, kind).await;
        self.wires.heal();
        let healed = Instant::now();
        if let Some(load) = load {
            load.stop().await;
        }
        let mut found = Found::default();
        for place in self.wires.places() {
            self.federation.wait_for_ends(place, healed + DRAINED_WITHIN, &mut found).await;
        }
        campaign.row.recovered(healed.elapsed());
        let mut checked = self.federation.check(Terms::USUAL).await;
        checked.problems.extend(found.problems);
        for problem in &mut checked.problems {
            *problem = format!("{}: {problem}", kind.name());
        }
        campaign.row.take(checked);
        campaign.row.runs += 1;
        figure
    }
}

/// So that within a run also sessions end and are made again.
const QUICK: &str = "idle_timeout = \"5s\"\nkeep_alive = \"1s\"\n\
                     handshake_timeout = \"3s\"\nhello_timeout = \"3s\"\n";
/// The promise.
const DRAINED_WITHIN: Duration = Duration::from_secs(60);
