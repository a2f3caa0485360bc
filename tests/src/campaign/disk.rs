//! *disk full*, *inodes*, *EIO*: a file system without room, and one whose sync fails.

use std::{collections::BTreeSet, path::Path, time::Duration};

use rand::RngExt as _;
use relay_proto::v1;
use tokio::time::Instant;

use super::{
    Campaign,
    check::{Found, Terms},
    federation::Federation,
    load::Load,
    volume::Volume,
};
use crate::process::Process;

/// What the file system has too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scarce {
    /// Bytes.
    Bytes,
    /// Files.
    Files,
}

/// Fills the file system of one node until it refuses, gives it room, and wants everything taken
/// again without anybody doing anything to the node.
pub(super) async fn full(campaign: &mut Campaign, scarce: Scarce) {
    while campaign.goes_on() {
        let dir = tempfile::tempdir().expect("a directory for the nodes");
        // Both, for what is kept back is a share of the file system.
        let made = ["one", "two"].map(|name| Volume::memory(dir.path(), name, ROOMY));
        let [Ok(volume), Ok(other)] = made else {
            let why = made.into_iter().find_map(Result::err).unwrap_or_default();
            return campaign.row.skip(why);
        };
        let places = [volume.path.as_path(), other.path.as_path()];
        let mut federation = Federation::start_in(campaign, None, &places, RESERVED).await;
        for _ in 0..FILLS_A_FEDERATION {
            if !campaign.goes_on() {
                break;
            }
            if let Err(why) = fill(campaign, &mut federation, &volume, scarce).await {
                campaign.row.fail(why);
                break;
            }
            let found = federation.check(REFUSING).await;
            campaign.row.take(found);
            campaign.row.runs += 1;
        }
        let found = federation.check_all().await;
        campaign.row.take(found);
    }
}

async fn fill(
    campaign: &mut Campaign,
    federation: &mut Federation,
    volume: &Volume,
    scarce: Scarce,
) -> Result<(), String> {
    let (bytes, files) = used(&volume.path)?;
    // A little more than there is: some of it is taken before it is full.
    let spare = campaign.rng.random_range(1..6u64) << 20;
    volume.change(&match scarce {
        Scarce::Bytes => format!("size={}", bytes + spare),
        Scarce::Files => format!("nr_inodes={}", files + campaign.rng.random_range(1..4u64)),
    })?;
    let load = Load::start(federation);
    let refused = until(FULL_WITHIN, || !federation.ledger.refused().is_empty()).await;
    let deferred = refused && is_deferred(federation.node(1)).await;
    load.stop().await;
    if refused && !deferred {
        return Err("the peer was not told that there is no room".to_owned());
    }
    let labels: BTreeSet<String> = federation.ledger.refused().into_iter().collect();
    if !refused || labels.iter().any(|label| label != "STORAGE_FULL") {
        return Err(format!("no refusal with STORAGE_FULL alone, but {labels:?}"));
    }
    if !federation.node(0).is_running() {
        return Err(format!("ended on a full disk: {}", federation.node(0).log()));
    }
    // Receipts of what was taken have their room, also while there is none for anything else.
    let (mut found, until) = (Found::default(), Instant::now() + REFUSING.within);
    federation.wait_for_ends(0, until, &mut found).await;
    if let Some(problem) = found.problems.into_iter().next() {
        return Err(format!("while the disk is full: {problem}"));
    }
    volume.change(ROOMY)?;
    let begun = Instant::now();
    let mut client = federation.node(0).client();
    let to = federation.node(1).unit.clone();
    loop {
        let draft = Some(crate::client::alert(&to));
        let request_id = crate::process::request_id();
        let request =
            v1::SendMessageRequest { request_id, draft, validate_only: false, etag: String::new() };
        match client.messages.send_message(request).await {
            Ok(_) => break,
            Err(status) if begun.elapsed() > ROOM_WITHIN => {
                return Err(format!("with room again it still refuses: {status}"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    campaign.row.recovered(begun.elapsed());
    Ok(())
}

/// Whether the other node comes to know that a message is put off for want of room.
async fn is_deferred(node: &Process) -> bool {
    let begun = Instant::now();
    let mut client = node.client().messages;
    while begun.elapsed() < FULL_WITHIN {
        let filter = "state = DEFERRED".to_owned();
        let request = v1::ListMessagesRequest { page_size: 100, page_token: String::new(), filter };
        let page = client.list_messages(request).await.map(tonic::Response::into_inner);
        let messages = page.unwrap_or_default().messages;
        let mut deliveries = messages.iter().flat_map(|message| &message.deliveries);
        if deliveries.any(|delivery| delivery.reason == "STORAGE_FULL") {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

/// A sync fails: the process ends with 74, answers nobody, and what it had answered is there when
/// somebody starts it again.
pub(super) async fn failing(campaign: &mut Campaign) {
    while campaign.goes_on() {
        let mut federation = Federation::start(campaign, 2).await;
        for _ in 0..FAILURES_A_FEDERATION {
            if !campaign.goes_on() {
                break;
            }
            let victim = campaign.rng.random_range(0..2);
            let point = if campaign.rng.random_bool(0.8) { "sync" } else { "write" };
            let order = format!("{point}=fail@{}", campaign.rng.random_range(1..=80u32));
            federation.node(victim).kill();
            federation.restart(victim, campaign.orders(&order)).await;
            let load = Load::start(&federation);
            let ended = until(FULL_WITHIN, || !federation.node(victim).is_running()).await;
            let code = federation.node(victim).wait_or_kill();
            if !ended || code != Some(DISK_FAILED) {
                campaign.row.fail(format!("{order}: ended {ended} with {code:?}"));
            }
            let took = federation.restart(victim, campaign.orders("")).await;
            campaign.row.recovered(took);
            load.stop().await;
            let found = federation.check(Terms::USUAL).await;
            campaign.row.take(found);
            campaign.row.runs += 1;
        }
        let found = federation.check_all().await;
        campaign.row.take(found);
    }
}

/// Waits for a condition; whether it came.
async fn until(within: Duration, mut is: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !is() {
        if begun.elapsed() > within {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}

/// Bytes and files that a file system holds.
fn used(path: &Path) -> Result<(u64, u64), String> {
    let stat = nix::sys::statvfs::statvfs(path).map_err(|error| error.to_string())?;
    let bytes = (stat.blocks() - stat.blocks_free()) * stat.fragment_size();
    Ok((bytes, stat.files() - stat.files_free()))
}

const ROOMY: &str = "size=256m,nr_inodes=2000,mode=0700";
/// What is kept back, so that receipts for what was taken fit.
pub(super) const RESERVED: &str = "reserve_percent = 5\nreserve_bytes_min = \"16MiB\"\n";
/// Full disks refuse.
const REFUSING: Terms = Terms { refusals: &["STORAGE_FULL"], ..Terms::USUAL };
const FULL_WITHIN: Duration = Duration::from_secs(30);
const ROOM_WITHIN: Duration = Duration::from_secs(10);
const FILLS_A_FEDERATION: usize = 8;
const FAILURES_A_FEDERATION: usize = 20;
/// EX_IOERR of sysexits.h: the journal could not be made durable.
const DISK_FAILED: i32 = 74;
