//! *torn*, *bit rot*, *stale*: files of a stopped node are damaged, one at a time, and the node is
//! started: either it says that its store is damaged and serves nothing, or it serves everything as
//! it was, but for records that it names as damaged.
//!
//! The store was stopped in order, so that its marks reach to its end: nothing that was cut off may
//! pass for the tail of an interrupted write. A torn write itself is a point of *kill*.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rand::{RngExt as _, rngs::StdRng};
use relay_proto::v1;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::{
    Campaign,
    check::Terms,
    federation::Federation,
    load::{Load, label_of},
};
use crate::{
    client::PURPOSE,
    cluster::copy,
    process::{Binaries, Process},
};

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// It is cut short, or its end becomes zeros.
    Torn,
    /// A bit flips, or a page becomes zeros.
    BitRot,
    /// It is what it was some time ago, or two of its pages change places.
    Stale,
}

/// What a message is, from an undamaged store: a hash of all that a reader gets.
type Contents = BTreeMap<String, [u8; 32]>;

/// Damages files until the time is over.
pub(super) async fn run(campaign: &mut Campaign, damage: Damage) {
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    while campaign.goes_on() {
        let mut federation = Federation::start(campaign, 2).await;
        let victim = campaign.rng.random_range(0..2);
        let kept = tempfile::tempdir().expect("a directory for copies");
        let (old, sound) = (kept.path().join("old"), kept.path().join("sound"));
        work(campaign, &mut federation).await;
        copy_of(&mut federation, victim, &old).await;
        work(campaign, &mut federation).await;
        let contents = contents(federation.node(victim)).await;
        copy_of(&mut federation, victim, &sound).await;
        for _ in 0..DAMAGES_A_STORE {
            federation.node(victim).terminate();
            put(&sound, federation.node(victim));
            let (file, how) = one(&mut campaign.rng, federation.node(victim), damage, &old);
            let path = |data: &Path| fs::read(data.join(&file)).expect("a file of the store");
            if path(&sound) == path(&federation.node(victim).dir.join("data")) {
                // Zeros in the place of zeros.
                continue;
            }
            let what = format!("{}: {how}", file.display());
            let is_seen = is_seen(federation.node(victim));
            if !is_seen && is_named(&file, "segment-") {
                campaign.row.fail(format!("{what}: a dry run of repair finds nothing"));
            }
            let end = start(campaign, federation.node(victim), &what, &contents).await;
            if end == REFUSED && !is_named(&file, "segment-") && !is_of_use(&file) {
                campaign
                    .row
                    .fail(format!("{what}: follows from the journal, and it does not start"));
            }
            *ends.entry(end.to_owned()).or_default() += 1;
            campaign.row.runs += 1;
            if !campaign.goes_on() {
                break;
            }
        }
        federation.node(victim).kill();
        put(&sound, federation.node(victim));
        federation.restart(victim, campaign.orders("")).await;
        let mut found = federation.check(Terms::USUAL).await;
        campaign.row.take(found);
        found = federation.check_all().await;
        campaign.row.take(found);
    }
    let ends = ends.iter().map(|(end, times)| format!("{end} {times}"));
    campaign.row.notes.push(ends.collect::<Vec<_>>().join(", "));
}

/// Some traffic, all of it settled and sound.
async fn work(campaign: &mut Campaign, federation: &mut Federation) {
    let load = Load::start(federation);
    tokio::time::sleep(WORK).await;
    load.stop().await;
    let found = federation.check(Terms::USUAL).await;
    campaign.row.take(found);
}

/// Copies the store of a node that is stopped in order for it, and starts it again.
async fn copy_of(federation: &mut Federation, place: usize, to: &Path) {
    let node = federation.node(place);
    node.terminate();
    copy(&node.dir.join("data"), to);
    node.start().await;
}

fn put(from: &Path, node: &Process) {
    let data = node.dir.join("data");
    fs::remove_dir_all(&data).expect("a store that can be removed");
    copy(from, &data);
}

/// Whether `repair` would find anything; it changes nothing.
fn is_seen(node: &Process) -> bool {
    let mut order = Command::new(&Binaries::built().node);
    order.args(["repair", "--dry-run", "--config"]).arg(node.dir.join("relay.toml"));
    !order.output().expect("relay-node runs").status.success()
}

/// Whether a store cannot be without this file as it was.
fn is_of_use(file: &Path) -> bool {
    ["store.id", "mark"].iter().any(|name| file.ends_with(name))
}

/// Damages one file; says which and how.
fn one(rng: &mut StdRng, node: &Process, damage: Damage, old: &Path) -> (PathBuf, String) {
    let data = node.dir.join("data");
    let mut files = Vec::new();
    list(&data, Path::new(""), &mut files);
    files.retain(|(file, bytes)| *bytes > 0 && file != Path::new("lock"));
    // The zeros of prepared segments are not worth so many tries, the journal is worth more.
    files.retain(|(file, _)| !is_named(file, "prepared-") || rng.random_ratio(1, 20));
    if rng.random_bool(0.5) {
        files.retain(|(file, _)| is_named(file, "segment-"));
    }
    let (file, bytes) = files.get(rng.random_range(0..files.len())).cloned().expect("a file");
    let path = data.join(&file);
    let used = used_bytes(&path).min(bytes).max(1);
    let how = match (damage, rng.random_bool(0.5)) {
        (Damage::Torn, true) => {
            let length = rng.random_range(0..used);
            OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|open| open.set_len(length))
                .map(|()| format!("cut at {length}"))
        }
        (Damage::Torn, false) => {
            let from = rng.random_range(0..used);
            write(&path, from, &vec![0; usize::try_from(used - from).unwrap_or(0)])
                .map(|()| format!("zeros from {from}"))
        }
        (Damage::BitRot, true) => {
            let (at, bit) = (rng.random_range(0..used), rng.random_range(0..8u8));
            flip(&path, at, bit).map(|()| format!("bit {bit} of byte {at}"))
        }
        (Damage::BitRot, false) => {
            let page = rng.random_range(0..used.div_ceil(PAGE)) * PAGE;
            let length = usize::try_from(PAGE.min(bytes - page)).unwrap_or(0);
            write(&path, page, &vec![0; length]).map(|()| format!("page at {page}"))
        }
        (Damage::Stale, true) if old.join(&file).exists() => {
            fs::copy(old.join(&file), &path).map(|_| "an old copy".to_owned())
        }
        (Damage::Stale, _) => {
            let pages = used.div_ceil(PAGE);
            let (one, two) = (rng.random_range(0..pages) * PAGE, rng.random_range(0..pages) * PAGE);
            swap(&path, one, two).map(|()| format!("pages {one} and {two} changed"))
        }
    };
    (file, how.expect("a file that can be damaged"))
}

/// Starts the node; returns how it ended: a word for the notes. Anything that it must not do is a
/// problem of the row.
async fn start(
    campaign: &mut Campaign,
    node: &mut Process,
    file: &str,
    contents: &Contents,
) -> &'static str {
    fs::remove_file(node.dir.join("node.log")).expect("a log");
    node.spawn();
    let begun = Instant::now();
    let client = node.client();
    while client.node.clone().get_card(v1::GetCardRequest {}).await.is_err() {
        if !node.is_running() {
            let log = node.log();
            if ["reason: STORE_", "reason: NOT_A_STORE"].iter().any(|said| log.contains(said)) {
                return REFUSED;
            }
            campaign.row.fail(format!("{file}: ended without a reason: {}", last(&log)));
            return "ended without a reason";
        }
        if begun.elapsed() > START_WITHIN {
            campaign.row.fail(format!("{file}: neither starts nor ends: {}", last(&node.log())));
            node.kill();
            return "neither started nor ended";
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    campaign.row.recovered(begun.elapsed());
    let mut compared = compare(campaign, node, file, contents).await;
    if compared == Compared::Ended {
        // An index whose damage a read found: its service starts it again, with a new one.
        campaign.row.recovered(restarted(node).await);
        compared = compare(campaign, node, file, contents).await;
    }
    let is_ours = |line: &&str| line.contains("panicked") && !line.contains("/sled-");
    if let Some(line) = node.log().lines().find(is_ours) {
        campaign.row.fail(format!("{file}: {line} | {}", last(&node.log())));
    }
    match compared {
        Compared::Same => "served everything",
        Compared::Damaged => "served all but what it named as damaged",
        Compared::Ended => {
            campaign.row.fail(format!("{file}: ended twice: {}", last(&node.log())));
            "ended twice"
        }
    }
}

async fn restarted(node: &mut Process) -> Duration {
    let begun = Instant::now();
    node.kill();
    node.start().await;
    begun.elapsed()
}

/// What a node served of a damaged store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    Same,
    /// Some was named as damaged.
    Damaged,
    /// It ended, and said so.
    Ended,
}

/// Reads every message; whether some were named as damaged.
async fn compare(
    campaign: &mut Campaign,
    node: &mut Process,
    file: &str,
    contents: &Contents,
) -> Compared {
    let mut compared = Compared::Same;
    for (id, sound) in contents {
        match read(node, id).await {
            Ok(now) if now == *sound => {}
            Ok(_) => {
                campaign.row.contradictory += 1;
                campaign.row.fail(format!("{file}: {id} is served otherwise than it was"));
            }
            Err(status) if label_of(&status) == "STORE_DAMAGED" => compared = Compared::Damaged,
            Err(_) if ends(node).await => return Compared::Ended,
            Err(status) => {
                campaign.row.lost += 1;
                campaign.row.fail(format!("{file}: {id}: {status}"));
            }
        }
    }
    if file.starts_with("index/") && compared == Compared::Damaged {
        // Of an index alone: it ends within a moment.
        if ends(node).await {
            return Compared::Ended;
        }
        campaign.row.fail(format!("{file}: named as damaged, and it goes on with this index"));
    }
    compared
}

/// Whether it ends with a damaged index, now or in a moment.
async fn ends(node: &mut Process) -> bool {
    let until = Instant::now() + ENDS_WITHIN;
    while node.is_running() {
        if Instant::now() > until {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    node.log().contains("reason: STORE_DAMAGED") || node.log().contains("/sled-")
}

async fn contents(node: &Process) -> Contents {
    let mut contents = Contents::new();
    let mut page_token = String::new();
    loop {
        let request =
            v1::ListMessagesRequest { page_size: 1000, page_token, filter: String::new() };
        let page =
            node.client().messages.list_messages(request).await.expect("a list").into_inner();
        for message in page.messages {
            let id = message.message_id;
            let read = read(node, &id).await.expect("a message");
            contents.insert(id, read);
        }
        if page.next_page_token.is_empty() {
            return contents;
        }
        page_token = page.next_page_token;
    }
}

/// A hash of message and evidence, but for what may differ from one start to the next.
async fn read(node: &Process, id: &str) -> Result<[u8; 32], tonic::Status> {
    use prost::Message as _;
    let mut client = node.client().messages;
    let request = v1::GetMessageRequest {
        name: id.to_owned(),
        view: v1::MessageView::Full.into(),
        purpose: PURPOSE.to_owned(),
    };
    let mut message = client.get_message(request).await?.into_inner();
    message.receipts.clear();
    let request = v1::ExportEvidenceRequest {
        name: id.to_owned(),
        include_payload: true,
        purpose: PURPOSE.to_owned(),
    };
    let bundle = client.export_evidence(request).await?.into_inner().bundle.unwrap_or_default();
    // A checkpoint may be a later one: what is stated must be the same.
    let leaves = bundle.receipts.iter().map(|receipt| &receipt.statement);
    let mut hash = Sha256::new().chain_update(message.encode_to_vec());
    leaves.for_each(|leaf| hash.update(leaf));
    Ok(hash.finalize().into())
}

fn is_named(file: &Path, start: &str) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start))
}

fn list(dir: &Path, below: &Path, files: &mut Vec<(PathBuf, u64)>) {
    for entry in fs::read_dir(dir.join(below)).expect("a directory of the store").flatten() {
        let path = below.join(entry.file_name());
        let Ok(metadata) = entry.metadata() else { continue };
        match metadata.is_dir() {
            true => list(dir, &path, files),
            false => files.push((path, metadata.len())),
        }
    }
    files.sort();
}

/// Up to where a file holds anything: segments end in zeros and a footer.
fn used_bytes(path: &Path) -> u64 {
    let bytes = fs::read(path).expect("a file of the store");
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

fn flip(path: &Path, at: u64, bit: u8) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&byte.map(|byte| byte ^ (1 << bit)), at)
}

fn write(path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all_at(bytes, at)
}

fn swap(path: &Path, one: u64, two: u64) -> io::Result<()> {
    let bytes = fs::read(path)?;
    let page = |at: u64| {
        let from = usize::try_from(at).unwrap_or(0);
        bytes.get(from..(from + PAGE as usize).min(bytes.len())).unwrap_or_default()
    };
    // The last page may be shorter: what it gives must not make the file longer.
    let length = page(one).len().min(page(two).len());
    write(path, one, page(two).get(..length).unwrap_or_default())?;
    write(path, two, page(one).get(..length).unwrap_or_default())
}

/// The end of a log.
fn last(log: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(4).collect();
    lines.join(" | ")
}

const REFUSED: &str = "refused to start and said why";
/// Enough for some hundred messages.
const WORK: Duration = Duration::from_millis(300);
/// A store is small, and copied and read for each.
const DAMAGES_A_STORE: usize = 25;
const PAGE: u64 = 4096;
/// A node that found its index damaged stops in order.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
const START_WITHIN: Duration = Duration::from_secs(30);
