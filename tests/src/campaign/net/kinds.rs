//! The kinds of this class, and what each does to the wires.

use std::time::Duration;

use rand::{RngExt as _, seq::SliceRandom as _};
use tokio::time::sleep;

use super::{
    Figure, World,
    neighbours::Neighbour,
    probe::{self, Measure},
};
use crate::{campaign::Campaign, forwarder::Way};

/// What becomes of the wires in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Up to three packets of ten are lost.
    Loss,
    /// Packets are late, overtake each other and arrive twice.
    Disorder,
    /// A tenth is lost over a round trip of 200 ms, and deliveries are timed.
    Distance,
    /// A wire is cut, or a node from all others.
    Cut,
    /// One direction of a wire is cut.
    OneWay,
    /// Wires are cut and mended again and again.
    Flap,
    /// All ways are cut in a random order, and mended in another.
    Swizzle,
    /// One of three is cut off; the others do not notice.
    DeadThird,
    /// One of three takes a packet a second; the others do not notice.
    SlowThird,
    /// One of three has a session and does not read; the others do not notice.
    SilentThird,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Loss,
        Self::Disorder,
        Self::Distance,
        Self::Cut,
        Self::OneWay,
        Self::Flap,
        Self::Swizzle,
        Self::DeadThird,
        Self::SlowThird,
        Self::SilentThird,
    ];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Disorder => "disorder",
            Self::Distance => "distance",
            Self::Cut => "cut",
            Self::OneWay => "one-way",
            Self::Flap => "flap",
            Self::Swizzle => "swizzle",
            Self::DeadThird => "dead third",
            Self::SlowThird => "slow third",
            Self::SilentThird => "silent third",
        }
    }

    /// Whether it is about a pair and a third.
    pub fn needs_three(self) -> bool {
        matches!(self, Self::DeadThird | Self::SlowThird | Self::SilentThird)
    }

    /// Between two messages of a client beside; none where nothing else may use the wires.
    pub fn load_pause(self) -> Option<Duration> {
        match self {
            Self::Distance => None,
            Self::DeadThird | Self::SlowThird | Self::SilentThird | Self::OneWay => {
                Some(Duration::from_secs(1))
            }
            _ => Some(Duration::from_millis(300)),
        }
    }
}

impl World {
    /// Does to the wires what a kind says; who calls heals them.
    pub(super) async fn make_worse(
        &mut self,
        campaign: &mut Campaign,
        kind: Kind,
    ) -> Option<Figure> {
        match kind {
            Kind::Loss => {
                let share = campaign.rng.random_range(10..=300);
                let ways = self.wires.ways();
                self.wires.lose(&ways, share);
                sleep(FOR_A_WHILE).await;
            }
            Kind::Disorder => {
                for way in self.wires.ways() {
                    let shape = disorder(campaign);
                    self.wires.shape(way, shape);
                }
                sleep(FOR_A_WHILE).await;
            }
            Kind::Distance => return Some(self.distance(campaign).await),
            Kind::Cut => self.cut(campaign).await,
            Kind::OneWay => return self.one_way(campaign).await,
            Kind::Flap => self.flap(campaign).await,
            Kind::Swizzle => self.swizzle(campaign).await,
            Kind::DeadThird => return Some(self.neighbours(campaign, Neighbour::Dead).await),
            Kind::SlowThird => return Some(self.neighbours(campaign, Neighbour::Slow).await),
            Kind::SilentThird => return Some(self.neighbours(campaign, Neighbour::Silent).await),
        }
        None
    }

    async fn distance(&mut self, campaign: &mut Campaign) -> Figure {
        let ways = self.wires.ways();
        self.wires.lose(&ways, 100);
        for way in ways {
            self.wires.shape(way, Way { delay: Duration::from_millis(100), ..Way::default() });
        }
        let measure = Measure { way: (0, 1), gap: FAR_GAP, length: FAR_FOR };
        let times = probe::times(&self.federation, measure).await;
        let (count, p99) = (times.count(), times.p99());
        let line = format!("p99 of {count} deliveries {}", ms(p99));
        if p99 > FAR_P99 {
            campaign.too_slow(format!("{FAR}: {line}"));
        }
        Figure { of: FAR, weight: p99.as_secs_f64(), line }
    }

    async fn cut(&mut self, campaign: &mut Campaign) {
        let place = campaign.rng.random_range(self.wires.places());
        let whole = campaign.rng.random_bool(0.5);
        let mut ways = self.wires.ways_at(place);
        if !whole {
            let other = (place + 1) % self.wires.places().len();
            ways.retain(|(from, to)| *from == other || *to == other);
        }
        self.wires.cut(&ways);
        sleep(Duration::from_millis(campaign.rng.random_range(1_000..15_000))).await;
    }

    async fn flap(&mut self, campaign: &mut Campaign) {
        for _ in 0..FLAPS {
            let mut ways = self.wires.ways();
            ways.shuffle(&mut campaign.rng);
            ways.truncate(campaign.rng.random_range(1..=ways.len()));
            self.wires.cut(&ways);
            sleep(Duration::from_millis(campaign.rng.random_range(20..1_500))).await;
            self.wires.mend(&ways);
            sleep(Duration::from_millis(campaign.rng.random_range(20..700))).await;
        }
    }

    async fn swizzle(&mut self, campaign: &mut Campaign) {
        let mut ways = self.wires.ways();
        for cuts in [true, false] {
            ways.shuffle(&mut campaign.rng);
            for way in &ways {
                match cuts {
                    true => self.wires.cut(&[*way]),
                    false => self.wires.mend(&[*way]),
                }
                sleep(Duration::from_millis(campaign.rng.random_range(100..1_500))).await;
            }
        }
    }
}

/// What VOPR does to packets.
pub fn disorder(campaign: &mut Campaign) -> Way {
    Way {
        delay: Duration::from_millis(campaign.rng.random_range(0..=100)),
        held: campaign.rng.random_range(0.0..0.5),
        hold: Duration::from_millis(campaign.rng.random_range(1..=100)),
        doubled: campaign.rng.random_range(0.0..0.5),
        every: None,
    }
}

/// For notes.
pub fn ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

const FAR: &str = "10 % loss, 200 ms";
/// Long enough for some hundred messages.
const FOR_A_WHILE: Duration = Duration::from_secs(8);
const FLAPS: usize = 8;
/// As often as a busy desk sends.
const FAR_GAP: Duration = Duration::from_millis(250);
const FAR_FOR: Duration = Duration::from_secs(20);
/// What 99 of 100 deliveries over the bad distance should take at most.
const FAR_P99: Duration = Duration::from_secs(10);
