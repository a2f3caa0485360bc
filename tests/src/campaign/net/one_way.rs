//! One direction of a wire is cut: nothing is called delivered that cannot be known to be, nobody
//! runs in circles, and the node that still hears its peer says so.

use std::time::Duration;

use rand::RngExt as _;
use relay_proto::v1;
use tokio::time::{Instant, sleep};

use super::{Figure, World, probe};
use crate::{
    bench::Usage,
    campaign::Campaign,
    client::{PURPOSE, alert},
};

impl World {
    /// Cuts the way from one node to another; who calls heals it.
    pub(super) async fn one_way(&mut self, campaign: &mut Campaign) -> Option<Figure> {
        let ways = self.wires.ways();
        let chosen = campaign.rng.random_range(0..ways.len());
        let &(mute, deaf) = ways.get(chosen)?;
        self.wires.cut(&[(mute, deaf)]);
        // What was on the wire has arrived.
        sleep(Duration::from_millis(500)).await;
        let mut sent = Vec::new();
        for way in [(mute, deaf), (deaf, mute)] {
            for _ in 0..MESSAGES {
                sent.extend(self.send(way).await.map(|id| (way.0, id)));
            }
        }
        let before = self.cpu();
        sleep(CUT_FOR).await;
        let used = self.cpu() - before;
        let hears = self.hears(mute, deaf).await;
        let deaf_sees = probe::peer(&self.federation, deaf, mute).await.state();
        let states = format!("who hears sees {hears:?}, who does not sees {deaf_sees:?}");
        let line = format!("{states}; {used:.1} s of CPU in {} s", CUT_FOR.as_secs());
        if used > CPU_SHARE_MAX * CUT_FOR.as_secs_f64() {
            campaign.row.fail(format!("one-way: {line}"));
        }
        if self.quick && hears != v1::PeerState::OneWay {
            campaign.row.fail("one-way: who hears its peer does not see it as ONE-WAY");
        }
        for (place, id) in sent {
            if self.is_delivered(place, &id).await {
                campaign.row.fail(format!("one-way: {id} is called delivered at {place}"));
            }
        }
        // A session that outlives the cut is another line.
        let of = if self.quick { "one-way, quick link" } else { "one-way" };
        Some(Figure { of, weight: used, line })
    }

    /// How the node that hears its peer sees it, as soon as its session has ended.
    async fn hears(&self, mute: usize, deaf: usize) -> v1::PeerState {
        let until = Instant::now() + SEEN_WITHIN;
        loop {
            let state = probe::peer(&self.federation, mute, deaf).await.state();
            // With the defaults the session outlives this cut.
            if !self.quick || state == v1::PeerState::OneWay || Instant::now() > until {
                return state;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn send(&self, (from, to): (usize, usize)) -> Option<String> {
        let mut client = probe::node(&self.federation, from).client();
        let draft = alert(&probe::node(&self.federation, to).unit);
        probe::send(&self.federation, &mut client, (from, to), draft).await
    }

    async fn is_delivered(&self, place: usize, id: &str) -> bool {
        let mut client = probe::node(&self.federation, place).client().messages;
        let name = id.to_owned();
        let request = v1::GetMessageRequest {
            name,
            view: v1::MessageView::Full.into(),
            purpose: PURPOSE.to_owned(),
        };
        let message = client.get_message(request).await.expect("a message that was acknowledged");
        let message = message.into_inner();
        let delivered = |delivery: &v1::Delivery| delivery.state() == v1::DeliveryState::Delivered;
        message.deliveries.iter().any(delivered)
    }

    fn cpu(&self) -> f64 {
        let nodes = self.federation.nodes.iter();
        nodes.map(|node| Usage::of(node.pid()).cpu_seconds).sum()
    }
}

/// On a busy machine; some dials of the deaf node.
const SEEN_WITHIN: Duration = Duration::from_secs(30);
/// Of a core, for all nodes together: who runs in circles takes all of it.
const CPU_SHARE_MAX: f64 = 0.5;
const MESSAGES: usize = 5;
/// Longer than a quick link lives without being answered.
const CUT_FOR: Duration = Duration::from_secs(16);
