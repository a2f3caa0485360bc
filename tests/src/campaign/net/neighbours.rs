//! Two nodes that exchange messages, beside a third that is dead or slow: what they notice of it.
//! Both states are measured in turns within the run, for the machine's speed changes.

use std::{fmt, time::Duration};

use relay_proto::v1;
use tokio::time::{Instant, sleep};

use super::{
    DRAINED_WITHIN, Figure, World,
    kinds::ms,
    probe::{self, Measure, Times},
};
use crate::{bench::Usage, campaign::Campaign, client::alert, forwarder::Way, hostile::Hostile};

/// What the third is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbour {
    /// Nothing comes or goes.
    Dead,
    /// It gets a packet a second, while megabytes wait for it.
    Slow,
    /// It has a session with the first and reads nothing of it, while megabytes wait for it.
    Silent,
}

/// Deliveries between the others, and by how much the sender's memory grew.
#[derive(Debug, Default)]
struct Beside {
    good: Times,
    bad: Times,
    grown_good: u64,
    grown_bad: u64,
}

impl Beside {
    fn is_good(&self) -> bool {
        self.is_quick() && self.is_small()
    }

    fn is_quick(&self) -> bool {
        self.bad.p99() <= 2 * self.good.p99() + FLOOR
    }

    fn is_small(&self) -> bool {
        self.grown_bad <= self.grown_good + MEMORY_BYTES
    }
}

impl fmt::Display for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p99 {} to {} ({} and {} deliveries), memory +{} MiB to +{} MiB",
            ms(self.good.p99()),
            ms(self.bad.p99()),
            self.good.count(),
            self.bad.count(),
            self.grown_good >> 20,
            self.grown_bad >> 20
        )
    }
}

impl World {
    /// Compares deliveries beside a good and a bad third; again where the bad one looks worse, for
    /// what another program does to this machine does not come back each time.
    pub(super) async fn neighbours(
        &mut self,
        campaign: &mut Campaign,
        neighbour: Neighbour,
    ) -> Figure {
        let mut beside = self.beside(campaign, neighbour).await;
        for _ in 1..TRIES {
            if beside.is_good() {
                break;
            }
            beside = self.beside(campaign, neighbour).await;
        }
        let of = match neighbour {
            Neighbour::Dead => "beside a dead third",
            Neighbour::Slow => "beside a slow third",
            Neighbour::Silent => "beside a silent third",
        };
        let line = beside.to_string();
        if !beside.is_small() {
            campaign.row.fail(format!("{of}: {line}"));
        } else if !beside.is_quick() {
            campaign.too_slow(format!("{of}: {line}"));
        }
        let weight = beside.bad.p99().as_secs_f64() - beside.good.p99().as_secs_f64();
        Figure { of, weight, line }
    }

    /// Measures both in turns.
    async fn beside(&mut self, campaign: &mut Campaign, neighbour: Neighbour) -> Beside {
        let mut beside = Beside::default();
        for _ in 0..TURNS {
            let begun = self.memory();
            beside.good.add(probe::times(&self.federation, pair(GOOD_FOR)).await);
            let between = self.memory();
            let silent = self.impede(neighbour).await;
            beside.bad.add(probe::times(&self.federation, pair(BAD_FOR)).await);
            beside.grown_good += between.saturating_sub(begun);
            beside.grown_bad += self.memory().saturating_sub(between);
            self.wires.heal();
            if let Some(silent) = silent {
                silent.close().await;
                self.wires.until_free(THIRD).await;
                self.federation.restart(THIRD, campaign.orders("")).await;
            }
            if !self.caught_up().await {
                campaign.row.fail(format!("{neighbour:?} third: not drained within a minute"));
            }
        }
        beside
    }

    /// Waits until the third has nearly all that waited for it: what comes next is a good time
    /// again. False when that is not so in time.
    async fn caught_up(&self) -> bool {
        let until = Instant::now() + DRAINED_WITHIN;
        for place in [0, 1] {
            while probe::peer(&self.federation, place, THIRD).await.outbox_messages > FEW {
                if Instant::now() > until {
                    return false;
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
        true
    }

    /// Resident bytes of the first node.
    fn memory(&self) -> u64 {
        Usage::of(probe::node(&self.federation, 0).pid()).rss_bytes
    }

    /// Gives the peer that took the third's place, if one did.
    async fn impede(&mut self, neighbour: Neighbour) -> Option<Hostile> {
        match neighbour {
            Neighbour::Dead => {
                let ways = self.wires.ways_at(THIRD);
                self.wires.cut(&ways);
            }
            Neighbour::Slow => {
                for from in [0, 1] {
                    let every = Some(Duration::from_secs(1));
                    self.wires.shape((from, THIRD), Way { every, ..Way::default() });
                }
                self.send_much().await;
            }
            Neighbour::Silent => {
                self.federation.node(THIRD).kill();
                let (first, third) =
                    (probe::node(&self.federation, 0), probe::node(&self.federation, THIRD));
                let unit = third.unit.parse().expect("a unit's name");
                let socket = self.wires.socket(THIRD);
                let silent = Hostile::dial_on(socket, &third.dir, &unit, &first.card()).await;
                self.send_much().await;
                return Some(silent);
            }
        }
        None
    }

    /// More than every window and queue of a link holds.
    async fn send_much(&self) {
        let node = probe::node(&self.federation, THIRD);
        let mut draft = alert(&node.unit);
        if let Some(v1::payload::Body::Alert(alert)) =
            draft.payload.as_mut().and_then(|payload| payload.body.as_mut())
        {
            alert.summary = "x".repeat(SUMMARY_CHARS);
        }
        let mut client = probe::node(&self.federation, 0).client();
        for _ in 0..LONG_MESSAGES {
            probe::send(&self.federation, &mut client, (0, THIRD), draft.clone()).await;
        }
    }
}

/// Deliveries from the first to the second.
fn pair(length: Duration) -> Measure {
    Measure { way: (0, 1), gap: GAP, length }
}

const GAP: Duration = Duration::from_millis(50);
const THIRD: usize = 2;
/// Of a load that goes on.
const FEW: u64 = 10;
const TURNS: usize = 2;
const TRIES: usize = 3;
const GOOD_FOR: Duration = Duration::from_secs(5);
/// Longer than a quick link takes to give a peer up.
const BAD_FOR: Duration = Duration::from_secs(8);
/// What a shared machine does by itself.
const FLOOR: Duration = Duration::from_millis(150);
/// What a peer may cost.
const MEMORY_BYTES: u64 = 16 << 20;
/// As long as a text may be.
const SUMMARY_CHARS: usize = 20_000;
/// 4 MB of text: four windows of a lane.
const LONG_MESSAGES: usize = 200;
