//! *clock*: clocks jump by hours and years, both ways, under load and at restarts, of one or more
//! nodes of two or three; some say that nobody vouches for them, some call themselves right.
//!
//! Each run leaves messages open towards a node that is down, so that a clock that may not expire
//! anything would be seen to.

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use rand::{RngExt as _, rngs::StdRng};
use relay_proto::{
    evidence::{self, TrustAnchors},
    receipt::Event,
    v1,
};

use super::{
    Campaign,
    check::{Terms, trust_of},
    federation::Federation,
    load::{Load, Sent},
};
use crate::{bench::Usage, process::Process};

/// Jumps until the time is over.
pub(super) async fn run(campaign: &mut Campaign) {
    let mut kinds = BTreeMap::new();
    for federations in 0.. {
        if !campaign.goes_on() {
            break;
        }
        // Three first: only there a clock that calls itself right can be contradicted.
        let mut federation = prepare(campaign, 3 - federations % 2).await;
        for number in 0..RUNS_A_FEDERATION {
            if !campaign.goes_on() {
                break;
            }
            let count = federation.nodes.len();
            let jump = Jump::draw(&mut campaign.rng, count, number % 2 == 1);
            one(campaign, &mut federation, &jump).await;
            let terms = Terms { undated: true, ..Terms::USUAL };
            let found = federation.check(terms).await;
            campaign.row.take(found);
            campaign.row.runs += 1;
            *kinds.entry(jump.kind(count)).or_insert(0_u64) += 1;
        }
        let found = federation.check_all().await;
        campaign.row.take(found);
    }
    let kinds = kinds.iter().map(|(kind, times)| format!("{kind} {times}"));
    campaign.row.notes.push(format!("jumps: {}", kinds.collect::<Vec<_>>().join(", ")));
}

/// One jump.
struct Jump {
    places: Vec<usize>,
    /// As the file says it.
    shift: String,
    unsynced: bool,
    /// The clock is wrong when the node starts; else it jumps under way.
    restart: bool,
}

impl Jump {
    fn draw(rng: &mut StdRng, count: usize, unsynced: bool) -> Self {
        // At least one is right. Of those that call themselves right one at most is wrong, else the
        // wrong ones outvote it.
        let most = if unsynced { count } else { 2 };
        let wrong = rng.random_range(1..most);
        let first = rng.random_range(0..count);
        let places = (first..first + wrong).map(|place| place % count).collect();
        let sign = if rng.random_range(0..2) == 0 { "-" } else { "+" };
        let far = match rng.random_range(0..3) {
            0 => format!("{sign}{}h", rng.random_range(1..72)),
            1 => format!("{sign}{}d", rng.random_range(1..400)),
            _ => format!("{sign}{}y", rng.random_range(1..30)),
        };
        // Of two nobody is contradicted: what arrives is within its lifetime all the same.
        let near = format!("+{}m", rng.random_range(10..180));
        let shift = if unsynced || count > 2 { far } else { near };
        Self { places, shift, unsynced, restart: rng.random_range(0..2) == 0 }
    }

    /// What the node is to say of its clock, and by which alarm.
    fn wanted(&self, count: usize) -> (v1::ClockState, &'static str) {
        match (self.unsynced, count) {
            (true, _) => (v1::ClockState::Unsynced, "CLOCK_UNTRUSTED"),
            (false, 2) => (v1::ClockState::Synced, "CLOCK_DIFFERS"),
            (false, _) => (v1::ClockState::Contradicted, "CLOCK_CONTRADICTED"),
        }
    }

    fn kind(&self, count: usize) -> String {
        let (_, alarm) = self.wanted(count);
        let way = if self.shift.starts_with('-') { "back" } else { "ahead" };
        let unit = match self.shift.chars().last() {
            Some('y') => "years",
            Some('d') => "days",
            _ => "hours",
        };
        let when = if self.restart { "at a start" } else { "under way" };
        format!("{unit} {way} {when} {alarm}")
    }
}

/// Nodes whose clocks follow a file each, and who have heard of each other.
async fn prepare(campaign: &mut Campaign, count: usize) -> Federation {
    let mut federation = Federation::start(campaign, count).await;
    for place in 0..count {
        let node = federation.node(place);
        node.kill();
        follow(node, Path::new("shift"));
        federation.restart(place, campaign.orders("")).await;
    }
    let load = Load::start(&federation);
    tokio::time::sleep(STEP).await;
    load.stop().await;
    let found = federation.check(Terms::USUAL).await;
    campaign.row.take(found);
    federation
}

/// One jump, from right to right.
async fn one(campaign: &mut Campaign, federation: &mut Federation, jump: &Jump) {
    let count = federation.nodes.len();
    let right: Vec<usize> = (0..count).filter(|place| !jump.places.contains(place)).collect();
    let Some(down) = right.first().copied() else { return };
    federation.node(down).kill();
    let load = Load::start_at(federation, &jump.places);
    tokio::time::sleep(STEP).await;
    load.stop().await;
    set(
        federation,
        jump,
        &format!("{}{}", jump.shift, if jump.unsynced { " unsynced" } else { "" }),
    );
    if jump.restart {
        for place in &jump.places {
            federation.node(*place).kill();
            let took = federation.restart(*place, campaign.orders("")).await;
            campaign.row.recovered(took);
        }
    }
    // Long enough for a look at what has expired.
    let up: Vec<usize> = right.iter().copied().filter(|place| *place != down).collect();
    let load = Load::start_at(federation, &up);
    tokio::time::sleep(LOOK_PASSES).await;
    load.stop().await;
    let took = federation.restart(down, campaign.orders("")).await;
    campaign.row.recovered(took);
    while_wrong(campaign, federation, jump, &right).await;
    set(federation, jump, "");
    for node in &federation.nodes {
        let calm = |status: &v1::NodeStatus| {
            !status.alarms.iter().any(|alarm| alarm.starts_with("CLOCK_"))
                && state(status) == v1::ClockState::Synced
        };
        if let Err(status) = wait_until(node, calm).await {
            campaign.row.fail(format!("{} after {}: {}", node.unit, jump.shift, shown(&status)));
        }
    }
}

/// The clock is wrong and all nodes run: what is told, what receipts say, what it costs.
async fn while_wrong(
    campaign: &mut Campaign,
    federation: &Federation,
    jump: &Jump,
    right: &[usize],
) {
    let (wanted, alarm) = jump.wanted(federation.nodes.len());
    let load = Load::start_at(federation, right);
    for node in jump.places.iter().filter_map(|place| federation.nodes.get(*place)) {
        let told = |status: &v1::NodeStatus| {
            state(status) == wanted && status.alarms.iter().any(|one| one.starts_with(alarm))
        };
        if let Err(status) = wait_until(node, told).await {
            let shown = shown(&status);
            campaign.row.fail(format!("{} at {}: no {alarm}: {shown}", node.unit, jump.shift));
        }
    }
    let before = federation.ledger.sent().len();
    tokio::time::sleep(STEP).await;
    load.stop().await;
    let sent = federation.ledger.sent().split_off(before);
    let trust = trust_of(&federation.nodes);
    for sent in sent.iter().filter(|sent| jump.places.contains(&sent.to)) {
        if let Some(problem) = look_at_receipt(federation, sent, wanted, &trust).await {
            campaign.row.fail(problem);
            // The others would be waited for as long.
            break;
        }
    }
    for node in jump.places.iter().filter_map(|place| federation.nodes.get(*place)) {
        let (begun, before) = (Instant::now(), Usage::of(node.pid()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let used = Usage::of(node.pid()).cpu_seconds - before.cpu_seconds;
        let share = used / begun.elapsed().as_secs_f64();
        if share > BUSY_SHARE {
            let shift = &jump.shift;
            campaign.row.fail(format!("{} is busy at {shift}: {share:.2} of a core", node.unit));
        }
    }
}

/// Writes how wrong the clocks are.
fn set(federation: &Federation, jump: &Jump, text: &str) {
    for node in jump.places.iter().filter_map(|place| federation.nodes.get(*place)) {
        write(&node.dir.join("shift"), text);
    }
}

/// The node's clock follows a file from its next start on.
pub(super) fn follow(node: &Process, file: &Path) {
    let path = node.dir.join("relay.toml");
    let text = fs::read_to_string(&path).expect("a configuration");
    let shift = format!("[clock]\nshift_file = \"{}\"\n", file.display());
    let text = text.replacen("[clock]\n", &shift, 1);
    fs::write(&path, text).expect("a configuration that can be written");
}

/// Writes how wrong a clock is that follows this file.
pub(super) fn write(file: &Path, text: &str) {
    let new = file.with_extension("new");
    let moved = fs::write(&new, text).and_then(|()| fs::rename(&new, file));
    moved.expect("a file of the campaign's own");
}

/// The recipient's receipt says how far its clock was trusted. Returns what is wrong.
async fn look_at_receipt(
    federation: &Federation,
    sent: &Sent,
    wanted: v1::ClockState,
    trust: &TrustAnchors,
) -> Option<String> {
    let client = federation.nodes.get(sent.from)?.client();
    let until = Instant::now() + PATIENCE;
    loop {
        let request = v1::ExportEvidenceRequest {
            name: sent.id.clone(),
            include_payload: false,
            purpose: String::new(),
        };
        let answer = client.messages.clone().export_evidence(request).await;
        let bundle = answer.ok().and_then(|answer| answer.into_inner().bundle);
        let ladder = bundle.map(|bundle| evidence::verify(&bundle, trust).ladder);
        let line =
            ladder.into_iter().flatten().find(|line| line.event == Event::ContentConsignment);
        if let Some(line) = line {
            let flagged = line.flags.contains(&v1::StatementFlag::ClockUnverified);
            let right =
                line.clock.state() == wanted && flagged == (wanted != v1::ClockState::Synced);
            let (clock, flags) = (line.clock.state(), line.flags);
            return (!right).then(|| format!("{}: {clock:?}, {flags:?}, not {wanted:?}", sent.id));
        }
        if Instant::now() > until {
            return Some(format!("{}: not consigned while the clock was wrong", sent.id));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits for a status; the last one when it does not come.
async fn wait_until(
    node: &Process,
    wanted: impl Fn(&v1::NodeStatus) -> bool,
) -> Result<(), v1::NodeStatus> {
    let (client, until) = (node.client(), Instant::now() + PATIENCE);
    loop {
        let answer = client.node.clone().get_status(v1::GetStatusRequest {}).await;
        let status = answer.map(tonic::Response::into_inner).unwrap_or_default();
        if wanted(&status) {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(status);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn state(status: &v1::NodeStatus) -> v1::ClockState {
    status.clock.unwrap_or_default().state()
}

fn shown(status: &v1::NodeStatus) -> impl Display {
    format!("{:?}, {:?}", state(status), status.alarms)
}

/// Load before, and while the clock is wrong.
const STEP: Duration = Duration::from_millis(300);
/// A node looks for what has expired once a second.
const LOOK_PASSES: Duration = Duration::from_millis(1500);
/// Between two looks at what takes its time.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Of a core, by a node that has nothing to do.
const BUSY_SHARE: f64 = 0.5;
const PATIENCE: Duration = Duration::from_secs(30);
/// Stores grow; so does the last look at all of them.
const RUNS_A_FEDERATION: usize = 6;
