//! What a seed does: how many nodes, which work, which faults, when. Made whole before the run, so
//! that a failure can show it, and so that the run itself draws nothing for it.

use std::fmt;

use super::{fixture::UNITS_MIN, net::Rule, rng::Rng};

/// How many nodes, and which faults. The same seed is another schedule with the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Size {
    /// Two or three nodes: the schedules under which the named seeds found what they found.
    Few,
    /// Three to five nodes; also parts of the net that are cut off, full disks, power that goes
    /// everywhere at once and leaves garbage in what was being written.
    #[default]
    Many,
}

/// The schedule of one run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Nodes.
    pub nodes: usize,
    /// Units that know each other; those without a node are never there.
    pub units: usize,
    /// Percent of power cuts that leave garbage in what was being written.
    pub garbling: u64,
    /// Bytes that each store keeps for a full disk.
    pub reserve: u64,
    /// Virtual milliseconds of a write and sync, by node.
    pub sync_ms: Vec<u64>,
    /// Steps in the order of their time.
    pub steps: Vec<(u64, Step)>,
    /// Transfers of a lane that may be without receipt.
    pub window: usize,
    /// Messages that may wait for a peer, and of a peer for somebody to take them.
    pub queue: u64,
    /// When all faults end.
    pub heal_ms: u64,
    /// A clock is untrusted at some time.
    pub clock_faults: bool,
}

/// One step.
#[derive(Debug, Clone)]
pub enum Step {
    /// A client sends a message, under a request id of its own.
    Submit(Send),
    /// A client repeats the request of this number.
    Repeat(usize),
    /// Somebody takes a message that arrived.
    Acknowledge {
        /// Where.
        node: usize,
        /// Which of those that arrived.
        pick: u64,
        /// By a named officer, else by a case system.
        desk: bool,
        /// Under this request id.
        request: u64,
    },
    /// One direction of the net changes.
    Link(usize, usize, Rule),
    /// One direction is cut or joined.
    Cut(usize, usize, bool),
    /// A machine stops at once and comes back.
    Crash {
        /// Which.
        node: usize,
        /// The power goes; else only the process dies.
        power: bool,
        /// Milliseconds until it is started again.
        down_ms: u64,
        /// What the disk keeps of un-synced data.
        seed: u64,
    },
    /// The power goes at the `after`th disk operation from now.
    CrashAtOperation {
        /// Which machine.
        node: usize,
        /// Which operation.
        after: u64,
    },
    /// The `after`th sync from now fails.
    SyncFails {
        /// Which machine.
        node: usize,
        /// Which sync.
        after: u64,
    },
    /// A node stops in order and comes back.
    Restart {
        /// Which.
        node: usize,
        /// Milliseconds until it is started again.
        down_ms: u64,
    },
    /// A clock is wrong by so much, and says that it is not to be trusted; or it is right again.
    Clock {
        /// Whose.
        node: usize,
        /// Ahead, or behind.
        offset_ms: i64,
        /// Whether it says that it is right.
        synced: bool,
    },
    /// A disk takes so many bytes more, or as many as one likes.
    Room {
        /// Whose.
        node: usize,
        /// How many.
        bytes: Option<u64>,
    },
}

/// A message to be sent.
#[derive(Debug, Clone)]
pub struct Send {
    /// By whom.
    pub node: usize,
    /// To whom.
    pub to: Vec<usize>,
    /// A preservation request; else an alert.
    pub request: bool,
    /// 1 to 3.
    pub priority: i32,
    /// Seconds until it expires; the profile's when absent.
    pub lifetime_s: Option<u64>,
}

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64, size: Size) -> Self {
        let mut rng = Rng::new(seed, 1);
        let nodes = match size {
            Size::Few if rng.percent(50) => 2,
            Size::Few => 3,
            Size::Many => rng.index(3) + 3,
        };
        // One in twelve runs long enough for messages to expire.
        let long = rng.percent(8);
        let span = if long { 420_000 } else { rng.between(10_000, 60_000) };
        let mut plan = Self {
            nodes,
            units: nodes.max(UNITS_MIN),
            garbling: 0,
            reserve: 0,
            sync_ms: (0..nodes).map(|_| rng.between(1, 8)).collect(),
            window: [1, 3, 256, 256].get(rng.index(4)).copied().unwrap_or(256),
            queue: if rng.percent(20) { 3 } else { 10_000 },
            steps: Vec::new(),
            heal_ms: span,
            clock_faults: false,
        };
        plan.work(&mut rng, span, long);
        plan.net(&mut rng, span, long);
        plan.crashes(&mut rng, span);
        plan.clocks(&mut rng, span);
        if size == Size::Many {
            plan.more(&mut Rng::new(seed, 3), span);
        }
        // Stable: steps of one instant stay in the order in which they were made.
        plan.steps.sort_by_key(|(at, _)| *at);
        plan
    }

    fn work(&mut self, rng: &mut Rng, span: u64, long: bool) {
        let sends = rng.between(2, 8);
        let mut requests = 0;
        for _ in 0..sends {
            let at = rng.below(if long { span / 4 } else { span });
            let send = self.send(rng, long);
            self.steps.push((at, Step::Submit(send)));
            requests += 1;
        }
        if rng.percent(20) {
            // Many at once, of all priorities.
            let at = rng.below(span);
            let node = rng.index(self.nodes);
            for _ in 0..rng.between(5, 20) {
                let send = Send { node, ..self.send(rng, long) };
                let to = send.to.into_iter().filter(|to| *to != node).collect::<Vec<_>>();
                let to = if to.is_empty() { vec![usize::from(node == 0)] } else { to };
                self.steps.push((at, Step::Submit(Send { to, ..send })));
                requests += 1;
            }
        }
        for _ in 0..rng.below(4) {
            self.steps.push((rng.below(span), Step::Repeat(rng.index(requests))));
        }
        for request in 0..rng.below(8) {
            let node = rng.index(self.nodes);
            // Some ids come twice, for the same message or for another.
            let request = if rng.percent(20) { 0 } else { request };
            let (pick, desk) = (rng.next(), rng.percent(50));
            let step = Step::Acknowledge { node, pick, desk, request };
            self.steps.push((rng.below(span), step));
        }
    }

    fn send(&self, rng: &mut Rng, long: bool) -> Send {
        let node = rng.index(self.nodes);
        let mut to: Vec<usize> = (0..self.nodes).filter(|other| *other != node).collect();
        while to.len() > 1 && rng.percent(60) {
            to.remove(rng.index(to.len()));
        }
        let lifetime_s = (long && rng.percent(60)).then(|| rng.between(300, 330));
        let request = to.len() == 1 && rng.percent(40);
        let priority = i32::try_from(rng.between(1, 3)).unwrap_or(1);
        Send { node, to, request, priority, lifetime_s }
    }

    fn net(&mut self, rng: &mut Rng, span: u64, long: bool) {
        let pairs = self.pairs();
        if rng.percent(60) {
            for (from, to) in &pairs {
                let rule = Rule {
                    cut: false,
                    loss: rng.below(31),
                    double: rng.below(51),
                    delay_ms: rng.between(1, 150),
                    jitter_ms: rng.below(100),
                };
                self.steps.push((0, Step::Link(*from, *to, rule)));
            }
        }
        if long {
            // Somebody is out of reach until his messages expire.
            let alone = rng.index(self.nodes);
            let from = rng.below(span / 5);
            for (a, b) in pairs.iter().filter(|(a, b)| *a == alone || *b == alone) {
                self.steps.push((from, Step::Cut(*a, *b, true)));
            }
        }
        if rng.percent(12) {
            // Swizzle: directions are cut in one order and joined in another.
            for (a, b) in &pairs {
                let from = rng.below(span / 2);
                self.steps.push((from, Step::Cut(*a, *b, true)));
                self.steps.push((rng.between(span / 2, span), Step::Cut(*a, *b, false)));
            }
        }
        if rng.percent(50) {
            for _ in 0..rng.between(1, 3) {
                let Some((a, b)) = pairs.get(rng.index(pairs.len())).copied() else { continue };
                let from = rng.below(span);
                let until = from + rng.between(500, 45_000);
                let both = rng.percent(60);
                for (a, b) in [(a, b), (b, a)].into_iter().take(if both { 2 } else { 1 }) {
                    self.steps.push((from, Step::Cut(a, b, true)));
                    self.steps.push((until, Step::Cut(a, b, false)));
                }
            }
        }
    }

    fn pairs(&self) -> Vec<(usize, usize)> {
        let all = (0..self.nodes).flat_map(|a| (0..self.nodes).map(move |b| (a, b)));
        all.filter(|(a, b)| a != b).collect()
    }

    /// What only more nodes have.
    fn more(&mut self, rng: &mut Rng, span: u64) {
        self.garbling = rng.between(80, 100);
        if rng.percent(25) {
            // Two parts of the net, or one that hears the other and is not heard.
            let inside = rng.between(1, (1 << self.nodes) - 2);
            let is_inside = |node: usize| inside >> node & 1 == 1;
            let (from, both) = (rng.below(span), rng.percent(60));
            let until = from + rng.between(500, 45_000);
            for (a, b) in self.pairs() {
                if is_inside(a) != is_inside(b) && (both || is_inside(a)) {
                    self.steps.push((from, Step::Cut(a, b, true)));
                    self.steps.push((until, Step::Cut(a, b, false)));
                }
            }
        }
        if rng.percent(10) {
            // The power goes everywhere.
            let at = rng.below(span);
            for node in 0..self.nodes {
                let (down_ms, seed) = (rng.between(0, 15_000), rng.next());
                self.steps.push((at, Step::Crash { node, power: true, down_ms, seed }));
            }
        }
        if rng.percent(50) {
            self.crashes_at_work(rng);
        }
        if rng.percent(20) {
            self.reserve = RESERVE;
            for _ in 0..rng.between(1, 2) {
                let (from, node) = (rng.below(span), rng.index(self.nodes));
                let until = from + rng.between(500, 45_000);
                let bytes = Some(rng.below(RESERVE / 2));
                self.steps.push((from, Step::Room { node, bytes }));
                self.steps.push((until, Step::Room { node, bytes: None }));
            }
        }
    }

    /// Machines stop while a message is taken and goes from one to the other.
    fn crashes_at_work(&mut self, rng: &mut Rng) {
        let submits = self.steps.iter().filter_map(|(at, step)| match step {
            Step::Submit(send) => Some((*at, send.node, send.to.clone())),
            _ => None,
        });
        let submits: Vec<(u64, usize, Vec<usize>)> = submits.collect();
        for _ in 0..rng.between(1, 3) {
            let Some((at, from, to)) = submits.get(rng.index(submits.len())) else { return };
            let to = to.get(rng.index(to.len())).copied().unwrap_or(*from);
            let node = if rng.percent(50) { *from } else { to };
            let (down_ms, seed) = (rng.between(0, 5_000), rng.next());
            let (at, step) = match rng.below(3) {
                0 => (*at, Step::CrashAtOperation { node, after: rng.between(1, 12) }),
                1 => (at + rng.below(50), Step::Crash { node, power: true, down_ms, seed }),
                _ => {
                    let power = rng.percent(50);
                    (at + rng.below(1_000), Step::Crash { node, power, down_ms, seed })
                }
            };
            self.steps.push((at, step));
        }
    }

    fn crashes(&mut self, rng: &mut Rng, span: u64) {
        if !rng.percent(60) {
            return;
        }
        for _ in 0..rng.between(1, 3) {
            let (at, node) = (rng.below(span), rng.index(self.nodes));
            let down_ms = rng.between(0, 15_000);
            let step = match rng.below(10) {
                0..4 => Step::Crash { node, power: true, down_ms, seed: rng.next() },
                4..6 => Step::Crash { node, power: false, down_ms, seed: 0 },
                6..8 => Step::CrashAtOperation { node, after: rng.between(1, 40) },
                8 => Step::SyncFails { node, after: rng.between(1, 10) },
                _ => Step::Restart { node, down_ms },
            };
            self.steps.push((at, step));
        }
    }

    fn clocks(&mut self, rng: &mut Rng, span: u64) {
        if !rng.percent(25) {
            return;
        }
        self.clock_faults = true;
        for _ in 0..rng.between(1, 2) {
            let (from, node) = (rng.below(span), rng.index(self.nodes));
            let until = from + rng.between(1_000, 60_000);
            let size = match rng.below(3) {
                0 => 5_000,
                1 => 3_600_000,
                _ => 10 * 365 * 86_400_000,
            };
            let offset_ms = i64::try_from(rng.below(size)).unwrap_or(0);
            let offset_ms = if rng.percent(50) { offset_ms } else { -offset_ms };
            self.steps.push((from, Step::Clock { node, offset_ms, synced: false }));
            self.steps.push((until, Step::Clock { node, offset_ms: 0, synced: true }));
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} nodes, sync {:?} ms, healed at {} ms, {} % of power cuts garble",
            self.nodes, self.sync_ms, self.heal_ms, self.garbling
        )?;
        for (at, step) in &self.steps {
            writeln!(f, "{at:>8} ms  {step:?}")?;
        }
        Ok(())
    }
}

/// What a store keeps for a full disk, where one fills up: eight journal segments.
const RESERVE: u64 = 512 << 10;
