//! *history*: a node whose store is set back, by a backup or because its twin worked meanwhile. It
//! signs nothing, its peer is told, an operator ends the log and the peer's operator takes the next
//! one; then everything that was acknowledged is there, and nothing took effect twice.

use std::{fs, path::Path, process::Command, time::Duration};

use relay_proto::v1;
use tokio::time::Instant;

use super::{Campaign, check::Terms, federation::Federation, load::Load};
use crate::{cluster::copy, process::Binaries};

/// Sets stores back until the time is over.
pub(super) async fn run(campaign: &mut Campaign, twin: bool) {
    while campaign.goes_on() {
        let mut federation = Federation::start(campaign, 2).await;
        work(Load::start(&federation)).await;
        let found = federation.check(Terms::USUAL).await;
        campaign.row.take(found);
        match set_back(&mut federation, twin).await {
            Ok(took) => campaign.row.recovered(took),
            Err(why) => campaign.row.fail(why),
        }
        let found = federation.check(RAISED).await;
        campaign.row.take(found);
        let found = federation.check_all().await;
        campaign.row.take(found);
        campaign.row.runs += 1;
    }
}

/// One history: returns how long it took until the set-back was noticed.
async fn set_back(federation: &mut Federation, twin: bool) -> Result<Duration, String> {
    let kept = tempfile::tempdir().map_err(|error| error.to_string())?;
    let copied = kept.path().join("copy");
    federation.seen.back_up(VICTIM);
    federation.node(VICTIM).terminate();
    let dir = federation.node(VICTIM).dir.clone();
    copy(&dir, &copied);
    if twin {
        // The copy works in the place of the original, which does not know of it.
        fs::rename(&dir, kept.path().join("original")).map_err(|error| error.to_string())?;
        copy(&copied, &dir);
    }
    federation.node(VICTIM).start().await;
    // What the victim's own clients sent would be gone with its store, and what its peer's desk
    // stated.
    work(Load::senders(federation, 0)).await;
    settled(federation).await?;
    second_is_refused(federation)?;
    let found = federation.read_on(VICTIM, Terms::USUAL).await;
    if let Some(problem) = found.problems.into_iter().next() {
        return Err(problem);
    }
    federation.node(VICTIM).terminate();
    match twin {
        true => {
            fs::remove_dir_all(&dir).map_err(|error| error.to_string())?;
            copy(&kept.path().join("original"), &dir);
        }
        // The anchor stays, as README says.
        false => put_store(&copied, &dir),
    }
    federation.seen.set_back(VICTIM);
    let begun = Instant::now();
    federation.node(VICTIM).start().await;
    // Nodes that have nothing for each other do not speak. It takes messages and signs nothing.
    let load = Load::senders(federation, 0);
    let noticed = noticed(federation).await;
    let took = begun.elapsed();
    work(load).await;
    noticed?;
    federation.node(VICTIM).terminate();
    succeed(&dir)?;
    federation.node(VICTIM).start().await;
    accept(federation)?;
    Ok(took)
}

async fn work(load: Load) {
    tokio::time::sleep(WORK).await;
    load.stop().await;
}

async fn settled(federation: &mut Federation) -> Result<(), String> {
    let mut found = super::check::Found::default();
    let until = Instant::now() + Terms::USUAL.within;
    for place in 0..federation.nodes.len() {
        federation.wait_for_ends(place, until, &mut found).await;
    }
    found.problems.pop().map_or(Ok(()), Err)
}

/// A second process with this store is refused by its lock.
fn second_is_refused(federation: &mut Federation) -> Result<(), String> {
    let ended = federation.node(VICTIM).run_refused();
    match ended.code == Some(1) && ended.err.contains("STORE_IN_USE") {
        true => Ok(()),
        false => Err(format!("a second process with one store: {ended:?}")),
    }
}

fn put_store(copied: &Path, dir: &Path) {
    fs::remove_dir_all(dir.join("data")).expect("a store that can be removed");
    copy(&copied.join("data"), &dir.join("data"));
}

/// The node holds its log within one handshake.
async fn noticed(federation: &mut Federation) -> Result<(), String> {
    let mut client = federation.node(VICTIM).client().node;
    let begun = Instant::now();
    while begun.elapsed() < NOTICED_WITHIN {
        let status = client.get_status(v1::GetStatusRequest {}).await;
        let status = status.map_err(|status| status.to_string())?.into_inner();
        let held = status.log.unwrap_or_default().held;
        if held.contains("log succeed") && status.alarms.iter().any(|a| a.contains("LOG_HELD")) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err("a store that was set back is not noticed".to_owned())
}

fn succeed(dir: &Path) -> Result<(), String> {
    let mut order = Command::new(&Binaries::built().node);
    order.args(["log", "succeed", "--config"]).arg(dir.join("relay.toml"));
    super::volume::run(order.args(["--reason", "a campaign", "--by", "A. Ito", "--by", "B. Cruz"]))
}

/// The peer's operator imports the new card and takes the new log.
fn accept(federation: &mut Federation) -> Result<(), String> {
    let (card, unit) = (federation.node(VICTIM).card(), federation.node(VICTIM).unit.clone());
    let card = card.to_string_lossy().into_owned();
    let orders =
        [vec!["peer", "add", &card], vec!["peer", "rollback-accept", &unit, "--by", "K. Novak"]];
    for order in orders {
        let ended = federation.node(0).cli(&order);
        if ended.code != Some(0) {
            return Err(format!("{order:?}: {ended:?}"));
        }
    }
    Ok(())
}

/// Whose store is set back.
const VICTIM: usize = 1;
const WORK: Duration = Duration::from_millis(300);
/// A handshake, and the wait before it.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);
/// What such a history raises.
const RAISED: Terms =
    Terms { alarms: &["JOURNAL_BEHIND", "LOG_HELD", "PEER_ROLLED_BACK"], ..Terms::USUAL };
