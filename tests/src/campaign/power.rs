//! *power*: each node's files lie on a file system of its own behind a loop device; under load the
//! power of one or both goes, and with it all that was not truly synced.

use std::time::Duration;

use rand::{Rng as _, RngExt as _};

use super::{
    Campaign,
    check::Terms,
    federation::Federation,
    load::Load,
    volume::{Kind, Volume},
};

/// Cuts the power until the time is over.
pub(super) async fn run(campaign: &mut Campaign, kind: Kind) {
    while campaign.goes_on() {
        let dir = tempfile::tempdir().expect("a directory for the images");
        let made = ["one", "two"].map(|name| Volume::image(dir.path(), name, kind));
        let [Ok(one), Ok(two)] = made else {
            let why = made.into_iter().find_map(Result::err).unwrap_or_default();
            return campaign.row.skip(why);
        };
        let volumes = [one, two];
        let places = [&volumes[0].path, &volumes[1].path];
        let mut federation = Federation::start_in(campaign, None, &places, "").await;
        for _ in 0..RUNS_A_FEDERATION {
            if !campaign.goes_on() {
                break;
            }
            if let Err(why) = one_cut(campaign, &mut federation, &volumes).await {
                return campaign.row.fail(why);
            }
            let found = federation.check(Terms::USUAL).await;
            campaign.row.take(found);
            campaign.row.runs += 1;
        }
        let found = federation.check_all().await;
        campaign.row.take(found);
    }
}

async fn one_cut(
    campaign: &mut Campaign,
    federation: &mut Federation,
    volumes: &[Volume; 2],
) -> Result<(), String> {
    let both = campaign.rng.random_ratio(1, 4);
    let first = campaign.rng.random_range(0..2usize);
    let victims = if both { vec![first, 1 - first] } else { vec![first] };
    // A process that dies between write and sync leaves its batch in the page cache; then the power
    // goes.
    let dies = campaign.rng.random_ratio(1, 4);
    if dies {
        let orders = format!("written=kill@{}", campaign.rng.random_range(1..=60u32));
        federation.node(first).kill();
        federation.restart(first, campaign.orders(&orders)).await;
    }
    let load = Load::start(federation);
    let pause = u64::from(campaign.rng.next_u32() % 600);
    tokio::time::sleep(Duration::from_millis(50 + pause)).await;
    federation.lose_power(volumes, &victims)?;
    if campaign.rng.random_ratio(1, 5) {
        // Again, while the node opens its store.
        for place in &victims {
            federation.node(*place).faults = campaign.orders("");
            federation.node(*place).spawn();
        }
        let pause = u64::from(campaign.rng.next_u32() % 60);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        federation.lose_power(volumes, &victims)?;
    }
    for place in &victims {
        let took = federation.restart(*place, campaign.orders("")).await;
        campaign.row.recovered(took);
    }
    load.stop().await;
    Ok(())
}

/// Stores grow; so does the last look at all of them.
const RUNS_A_FEDERATION: usize = 20;
