//! One run: machines with their disks, clocks and lives, clients that repeat what was not answered,
//! the plan's steps, and the checks between them.

mod clients;

use std::{collections::BTreeMap, time::Duration};

use relay_core::quota;
use relay_node::{clock::FollowingClock, daemon::Node, store::journal::SimDisk};
use relay_proto::ids::Digest;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::clients::{Answers, Request};
use super::{
    check::{Checker, Violation},
    fixture::{self, Fixture, StoreFacts},
    net::Net,
    plan::{Plan, Size, Step},
    rng::Rng,
    trace::Trace,
};

/// A test of the checks themselves: something that must be caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Sabotage {
    /// Nothing.
    #[default]
    None,
    /// Syncs do nothing, as if nobody had asked for them.
    MissingSync,
    /// What was answered since the last look was not yet written when a machine crashes.
    EarlyAnswer,
    /// The checker is shown each arrival of a message twice.
    DoubledArrival,
}

/// All of one run.
pub struct World<'a> {
    seed: u64,
    fixture: &'a Fixture,
    plan: Plan,
    /// What happened.
    pub trace: Trace,
    net: Net,
    machines: Vec<Machine>,
    requests: Vec<Request>,
    acks: BTreeMap<(usize, u64), (Digest, bool)>,
    answers: Answers,
    checker: Checker,
    sabotage: Sabotage,
}

/// One machine.
struct Machine {
    disk: SimDisk,
    /// The disk as it was at the last look; only sabotage uses it.
    before: Option<SimDisk>,
    hand: FollowingClock,
    clock: relay_node::clock::Clock,
    life: Option<Life>,
    lives: u64,
    back_at: Instant,
    /// A fault of the disk is planned that may not have come yet.
    armed: bool,
}

struct Life {
    node: Node,
    dead: CancellationToken,
}

impl<'a> World<'a> {
    /// A run of a seed, not yet begun. Within a runtime whose time is paused.
    pub fn new(fixture: &'a Fixture, seed: u64, size: Size, sabotage: Sabotage) -> Self {
        let plan = Plan::new(seed, size);
        let trace = Trace::new();
        let net = Net::new(Rng::new(seed, 2), trace.clone());
        let machines = fixture.units.iter().take(plan.nodes).map(|unit| {
            let (clock, hand) = fixture::clock();
            let disk = unit.disk(plan.units);
            if sabotage == Sabotage::MissingSync {
                disk.ignore_syncs();
            }
            let (before, back_at) = (None, Instant::now());
            Machine { disk, before, hand, clock, life: None, lives: 0, back_at, armed: false }
        });
        let machines = machines.collect();
        let checker = Checker::new(fixture, plan.nodes, sabotage);
        Self {
            seed,
            fixture,
            plan,
            trace,
            net,
            machines,
            requests: Vec::new(),
            acks: BTreeMap::new(),
            answers: Answers::default(),
            checker,
            sabotage,
        }
    }

    /// The schedule.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Runs it to the end.
    pub async fn run(&mut self) -> Result<(), Violation> {
        let start = Instant::now();
        let steps = std::mem::take(&mut self.plan.steps);
        self.plan.steps.clone_from(&steps);
        self.look().await?;
        let heal_ms = self.plan.heal_ms;
        for (at, step) in steps.into_iter().filter(|(at, _)| *at < heal_ms) {
            self.until(start + Duration::from_millis(at)).await?;
            self.trace.text(format!("{step:?}"));
            self.step(step).await;
            self.look().await?;
        }
        self.until(start + Duration::from_millis(heal_ms)).await?;
        self.heal().await;
        self.settle().await?;
        self.checker.finish(&nodes(&self.machines), &self.trace, self.plan.clock_faults).await?;
        Ok(())
    }

    /// Stops all nodes in order, as a run's last act.
    pub async fn end(&mut self) {
        for machine in 0..self.machines.len() {
            self.stop(machine).await;
        }
    }

    /// Lets time pass, looking at everything each second.
    async fn until(&mut self, at: Instant) -> Result<(), Violation> {
        while Instant::now() < at {
            tokio::time::sleep_until(at.min(Instant::now() + LOOK_EVERY)).await;
            self.look().await?;
        }
        Ok(())
    }

    /// Machines that fell over or are due again, answers that came, then all checks.
    async fn look(&mut self) -> Result<(), Violation> {
        for machine in 0..self.machines.len() {
            self.tend(machine).await?;
        }
        self.take_answers()?;
        if self.sabotage == Sabotage::EarlyAnswer {
            self.machines.iter_mut().for_each(|one| one.before = Some(one.disk.fork()));
        }
        let nodes = nodes(&self.machines);
        match self.checker.step(&nodes, &self.trace) {
            // The look itself was the operation at which the machine stops.
            Err(violation) if violation.unread && self.is_off(violation.node) => Ok(()),
            result => result,
        }
    }

    fn is_off(&self, place: usize) -> bool {
        self.machines.get(place).is_some_and(|machine| machine.disk.crashed())
    }

    async fn tend(&mut self, place: usize) -> Result<(), Violation> {
        let Some(machine) = self.machines.get(place) else { return Ok(()) };
        if let Some(life) = &machine.life {
            let crashed = machine.disk.crashed();
            let ended = has_ended(&life.node).await;
            // A store that failed takes its tasks with it; nothing else may.
            if let Some(failure) = life.node.tasks().failure()
                && !crashed
                && !ended
            {
                return Err(Violation::new("I0", place, format!("task failed: {failure}")));
            }
            if crashed || ended {
                self.trace.text(format!("{place} fell over, crashed {crashed}"));
                self.crash(place, true, 1_000, self.seed ^ 0x5EED).await;
            }
        } else if machine.back_at <= Instant::now() {
            self.start(place).await?;
        }
        Ok(())
    }

    async fn start(&mut self, place: usize) -> Result<(), Violation> {
        let (Some(machine), Some(unit)) =
            (self.machines.get_mut(place), self.fixture.units.get(place))
        else {
            return Ok(());
        };
        machine.lives += 1;
        let dead = CancellationToken::new();
        let wire = self.net.socket(place, dead.clone());
        let sync_ms = self.plan.sync_ms.get(place).copied().unwrap_or(1);
        let seed = Rng::new(self.seed, (place as u64 + 1) * 1_000 + machine.lives).next();
        let store = StoreFacts { sync_ms, reserve: self.plan.reserve };
        let mut parts = unit.parts(&machine.disk, store, machine.clock.clone(), wire, seed);
        parts.limits.outbox.window_messages = self.plan.window;
        parts.limits.queue_max.messages = self.plan.queue;
        parts.limits.inbox_messages_max = self.plan.queue;
        parts.limits.quotas = quota::Settings::UNLIMITED;
        self.trace.text(format!("{place} starts, life {}", machine.lives));
        match Node::start(parts).await {
            Ok(node) => machine.life = Some(Life { node, dead }),
            Err(_) if machine.armed => {
                // A planned fault hit the start itself.
                dead.cancel();
                machine.armed = false;
                machine.disk.power_cut_garbling(self.seed, self.plan.garbling);
                machine.back_at = Instant::now() + Duration::from_secs(1);
                return Ok(());
            }
            Err(error) => {
                let text = chain(&error);
                return Err(Violation::new("I1", place, format!("does not start: {text}")));
            }
        }
        let life = machine.life.as_ref().map(|life| &life.node);
        match life {
            Some(node) => match self.checker.started(place, node) {
                Err(violation) if violation.unread && self.is_off(place) => Ok(()),
                result => result,
            },
            None => Ok(()),
        }
    }

    /// Ends a life without any order: nothing of it reaches net or disk from here on.
    async fn crash(&mut self, place: usize, power: bool, down_ms: u64, seed: u64) {
        let Some(machine) = self.machines.get_mut(place) else { return };
        let Some(life) = machine.life.take() else { return };
        // An orderly stop keeps what is planned, also for the next start.
        machine.armed = false;
        self.net.unplug(place);
        if let Some(before) = machine.before.take() {
            machine.disk = before;
        }
        match power {
            true => machine.disk.power_cut_garbling(seed, self.plan.garbling),
            false => machine.disk.kill(),
        }
        life.dead.cancel();
        machine.back_at = Instant::now() + Duration::from_millis(down_ms);
        bury(life.node).await;
    }

    async fn stop(&mut self, place: usize) {
        let Some(machine) = self.machines.get_mut(place) else { return };
        let Some(life) = machine.life.take() else { return };
        self.net.stopping(place);
        if let Err(error) = life.node.stop(Duration::from_secs(5)).await {
            self.trace.text(format!("{place} stopped badly: {error}"));
        }
        self.net.unplug(place);
        life.dead.cancel();
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Submit(send) => {
                let draft = self.draft(&send);
                self.requests.push(Request { send, draft, asked: false, end: None });
                self.ask(self.requests.len() - 1);
            }
            Step::Repeat(request) => self.ask(request),
            Step::Acknowledge { node, pick, desk, request } => {
                let picked = self.checker.arrived(node, pick);
                if let Some(digest) = picked {
                    let (digest, desk) =
                        *self.acks.entry((node, request)).or_insert((digest, desk));
                    self.acknowledge(node, request, digest, desk);
                }
            }
            Step::Link(from, to, rule) => self.net.set(from, to, rule),
            Step::Cut(from, to, cut) => self.net.cut(from, to, cut),
            Step::Crash { node, power, down_ms, seed } => {
                self.crash(node, power, down_ms, seed).await;
            }
            Step::CrashAtOperation { node, after } => {
                self.disk(node, |disk| disk.crash_at_nth_op(after));
            }
            Step::SyncFails { node, after } => {
                let sync = relay_node::store::journal::OpKind::Sync;
                self.disk(node, |disk| disk.fail_nth(sync, after, EIO));
            }
            Step::Restart { node, down_ms } => {
                self.stop(node).await;
                if let Some(machine) = self.machines.get_mut(node) {
                    machine.back_at = Instant::now() + Duration::from_millis(down_ms);
                }
            }
            Step::Clock { node, offset_ms, synced } => {
                if let Some(machine) = self.machines.get(node) {
                    machine.hand.set_synced(synced);
                    machine.hand.set_offset_ms(offset_ms);
                }
            }
            Step::Room { node, bytes } => {
                if let Some(machine) = self.machines.get(node) {
                    machine.disk.set_room(bytes);
                }
            }
        }
    }

    fn disk(&mut self, place: usize, change: impl FnOnce(&SimDisk)) {
        if let Some(machine) = self.machines.get_mut(place).filter(|one| one.life.is_some()) {
            machine.armed = true;
            change(&machine.disk);
        }
    }

    async fn heal(&mut self) {
        self.trace.text("all faults end");
        self.net.heal();
        for place in 0..self.machines.len() {
            let Some(machine) = self.machines.get_mut(place) else { continue };
            machine.hand.set_offset_ms(0);
            machine.hand.set_synced(true);
            machine.disk.set_room(None);
            machine.back_at = machine.back_at.min(Instant::now());
            if machine.armed {
                // What was planned and did not come yet goes with a restart of the machine.
                if machine.life.is_none() {
                    machine.disk.power_cut_garbling(self.seed, self.plan.garbling);
                    machine.armed = false;
                }
                self.crash(place, true, 0, self.seed).await;
            }
        }
    }

    /// Waits until everything has its end, and no longer than is promised.
    async fn settle(&mut self) -> Result<(), Violation> {
        let healed = Instant::now();
        loop {
            self.until(Instant::now() + LOOK_EVERY).await?;
            for number in 0..self.requests.len() {
                let open = self.requests.get(number).is_some_and(|one| one.end.is_none());
                if open && self.requests.get(number).is_some_and(|one| !one.asked) {
                    self.ask(number);
                }
            }
            if self.plan.queue < SMALL_QUEUE {
                self.take_all();
            }
            let asked = self.requests.iter().any(|request| request.end.is_none());
            let open = self.checker.open(&nodes(&self.machines));
            if open.is_none() && !asked {
                return Ok(());
            }
            if healed.elapsed() > SETTLED_WITHIN {
                let open = open.unwrap_or_else(|| "a client has no answer".to_owned());
                return Err(Violation::new("I4", 0, format!("not settled: {open}")));
            }
        }
    }
}

fn nodes(machines: &[Machine]) -> Vec<Option<&Node>> {
    machines.iter().map(|machine| machine.life.as_ref().map(|life| &life.node)).collect()
}

async fn has_ended(node: &Node) -> bool {
    tokio::select! {
        biased;
        _ = node.store().ended() => true,
        () = std::future::ready(()) => false,
    }
}

/// Lets the tasks of a dead life end; its disk and its socket are dead already.
async fn bury(node: Node) {
    node.tasks().shutdown(Duration::ZERO).await;
    node.store().close().await;
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Between two looks at everything.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// From the end of all faults until everything is settled: the longest back-off of ROUTINE mail,
/// and a minute.
pub const SETTLED_WITHIN: Duration = Duration::from_secs(5 * 60 + 60);

/// Queues below this fill up.
const SMALL_QUEUE: u64 = 100;

const EIO: i32 = 5;
