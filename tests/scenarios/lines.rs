//! What a peer can make us log: a bounded number of lines a minute, whatever it does.

use std::{
    fmt,
    sync::{
        Once,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use relay_node::link::Lane;
use relay_proto::v1::{self, frame::Kind};
use relay_tests::{cluster::Cluster, twin::Twin};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Faulty copies without end and receipts of nothing: each is answered or counted, and the lines
/// about this peer stay within their bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_noisy_peer_fills_no_log() {
    static SET: Once = Once::new();
    SET.call_once(|| tracing::subscriber::set_global_default(Lines).unwrap());
    let start = Instant::now();
    let cluster = Cluster::start(&["xa.cyber-poc"]).await;
    let twin = Twin::new(NOISY, cluster.node(0).relay().clock().now());
    twin.introduce(cluster.node(0)).await;
    let mut side = twin.dial("a", &cluster.members[0], 0).await;
    let envelope = v1::Envelope { header: Some(v1::Signed::default()), ..Default::default() };
    for number in 1..=300 {
        let envelope = Some(envelope.clone());
        let transfer = v1::Transfer { number, passed: vec![], envelope, recovered: false };
        side.session.sender().send(Lane::Routine, Kind::Transfer(transfer)).await.unwrap();
        let Kind::Fault(_) = side.next().await.kind else { panic!("no fault") };
        let fault = v1::TransferFault {
            number,
            header_digest: Bytes::new(),
            reason: "MALFORMED".to_owned(),
            ..Default::default()
        };
        side.session.sender().reply(Lane::Routine, Kind::Fault(fault)).await.unwrap();
    }
    side.close().await;
    let minutes = start.elapsed().as_secs() / 60 + 1;
    let lines = LINES.load(Ordering::Relaxed);
    // The relay and the link each bound their own.
    let bound = (RELAY_LINES + LINK_LINES) * minutes;
    assert!((2..=bound).contains(&lines), "{lines} lines in {minutes} min");
}

/// Lines about one peer in a minute: `core::quota`, and the registry of the link.
const RELAY_LINES: u64 = 30;
const LINK_LINES: u64 = 20;

/// A unit that no other scenario has: lines are counted by its name.
const NOISY: &str = "xn.noisy";

static LINES: AtomicU64 = AtomicU64::new(0);

/// Counts lines about the noisy unit and keeps none.
struct Lines;

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_ours = metadata.target().starts_with("relay_");
        *metadata.level() <= Level::INFO && metadata.is_event() && is_ours
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut IsNoisy);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct IsNoisy;

impl Visit for IsNoisy {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "peer" && format!("{value:?}").contains(NOISY) {
            LINES.fetch_add(1, Ordering::Relaxed);
        }
    }
}
