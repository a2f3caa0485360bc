//! *kill*: SIGKILL under load, at random times and at named points: before, within and after the
//! write of the journal, its sync, the signing of receipts, the sending, the commit of receipts.

use std::{collections::BTreeMap, time::Duration};

use rand::{Rng as _, RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::time::Instant;

use super::{Campaign, check::Terms, federation::Federation, load::Load};

/// Kills until the time is over.
pub(super) async fn run(campaign: &mut Campaign) {
    let (mut deaths, mut ordered) = (BTreeMap::new(), BTreeMap::new());
    while campaign.goes_on() {
        let mut federation = Federation::start(campaign, 2).await;
        for _ in 0..RUNS_A_FEDERATION {
            if !campaign.goes_on() {
                break;
            }
            one(campaign, &mut federation, &mut deaths, &mut ordered).await;
            let found = federation.check(Terms::USUAL).await;
            campaign.row.take(found);
            campaign.row.runs += 1;
        }
        let found = federation.check_all().await;
        campaign.row.take(found);
    }
    for (point, times) in ordered {
        if times >= POINT_TRIES && !deaths.contains_key(point) {
            campaign.row.fail(format!("{point} was ordered {times} times and never reached"));
        }
    }
    let deaths = deaths.iter().map(|(point, times)| format!("{point} {times}"));
    campaign.row.notes.push(format!("killed at: {}", deaths.collect::<Vec<_>>().join(", ")));
}

/// One death: a node is started with its end in it, works until then, and is started again.
async fn one(
    campaign: &mut Campaign,
    federation: &mut Federation,
    deaths: &mut BTreeMap<&'static str, u64>,
    ordered: &mut BTreeMap<&'static str, u64>,
) {
    let victim = campaign.rng.random_range(0..federation.nodes.len());
    let point = campaign.rng.random_bool(0.5).then(|| point(&mut campaign.rng));
    if let Some((point, order)) = &point {
        *ordered.entry(*point).or_default() += 1;
        federation.node(victim).kill();
        federation.restart(victim, campaign.orders(order)).await;
    }
    let load = Load::start(federation);
    let ended = match point {
        Some((point, _)) => died(federation, victim).await.then_some(point),
        None => {
            let pause = u64::from(campaign.rng.next_u32() % 500);
            tokio::time::sleep(Duration::from_millis(20 + pause)).await;
            None
        }
    };
    // Also a node that did not come to its point.
    *deaths.entry(ended.unwrap_or("any time")).or_default() += 1;
    federation.node(victim).kill();
    let took = federation.restart(victim, campaign.orders("")).await;
    campaign.row.recovered(took);
    load.stop().await;
}

/// A named point and the order to die there.
pub(super) fn point(rng: &mut StdRng) -> (&'static str, String) {
    let (point, most) = *POINTS.choose(rng).expect("points");
    let action = if point == "torn" { "write=tear" } else { &format!("{point}=kill") };
    (point, format!("{action}@{}", rng.random_range(1..=most)))
}

async fn died(federation: &mut Federation, victim: usize) -> bool {
    let until = Instant::now() + POINT_WITHIN;
    while federation.node(victim).is_running() {
        if Instant::now() > until {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    true
}

/// Named points, and at which of so many times the node dies there.
const POINTS: [(&str, u64); 10] = [
    ("write", 60),
    ("torn", 60),
    ("written", 60),
    ("synced", 60),
    ("sign", 20),
    ("signed", 20),
    ("send", 100),
    ("sent", 100),
    ("settle", 20),
    ("settled", 20),
];
/// A busy node comes to any point before that.
const POINT_WITHIN: Duration = Duration::from_secs(3);
/// A point that is still there is reached by one of so many nodes.
const POINT_TRIES: u64 = 10;
/// Stores grow; so does the last look at all of them.
const RUNS_A_FEDERATION: usize = 25;
