//! A node is stopped (SIGSTOP) under load and goes on after seconds, seldom after a minute or more:
//! what it held in flight was sent again meanwhile, or is now.

use std::time::{Duration, Instant};

use rand::RngExt as _;
use relay_proto::v1;

use super::super::{Campaign, federation::Federation, load::Load};

/// One pause of one node, or of both.
pub(super) async fn one(campaign: &mut Campaign, federation: &mut Federation) -> &'static str {
    let left = campaign.until.saturating_duration_since(tokio::time::Instant::now());
    let (name, pause) = match campaign.rng.random_range(0..8) {
        // Longer than the link waits for a word.
        0 if left > LONG * 2 => ("pauses of a minute or more", LONG + spread(campaign, LONG)),
        1 | 2 if left > MIDDLE * 2 => ("pauses of half a minute", MIDDLE),
        _ => ("pauses of seconds", SHORT + spread(campaign, SHORT * 4)),
    };
    let first = campaign.rng.random_range(0..federation.nodes.len());
    let both = campaign.rng.random_range(0..3) == 0;
    let places: Vec<usize> = (0..federation.nodes.len()).filter(|n| both || *n == first).collect();
    let load = Load::start(federation);
    tokio::time::sleep(spread(campaign, SHORT)).await;
    places.iter().for_each(|place| federation.node(*place).pause(true));
    tokio::time::sleep(pause).await;
    places.iter().for_each(|place| federation.node(*place).pause(false));
    let begun = Instant::now();
    for node in places.iter().filter_map(|place| federation.nodes.get(*place)) {
        let answer = node.client().node.get_card(v1::GetCardRequest {}).await;
        if let Err(status) = answer {
            campaign.row.fail(format!("{} after a pause of {pause:?}: {status}", node.unit));
        }
    }
    campaign.row.recovered(begun.elapsed());
    load.stop().await;
    name
}

fn spread(campaign: &mut Campaign, most: Duration) -> Duration {
    most.mul_f64(campaign.rng.random_range(0.0..1.0))
}

const SHORT: Duration = Duration::from_secs(1);
const MIDDLE: Duration = Duration::from_secs(35);
const LONG: Duration = Duration::from_secs(70);
