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
use relay_node::{
    keys::{KeyStore, KeyUse},
    link::Lane,
};
use relay_proto::{
    envelope::Priority,
    ids::Digest,
    tlog::Checkpoint,
    v1::{self, frame::Kind},
};
use relay_tests::{
    cluster::{Cluster, until_stored},
    twin::Twin,
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::twins::Stage;

/// Faulty copies without end and receipts of nothing: each is answered or counted, and the lines
/// about this peer stay within their bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_noisy_peer_fills_no_log() {
    count_lines();
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
    let lines = LINES[0].load(Ordering::Relaxed);
    // The relay and the link each bound their own.
    let bound = (RELAY_LINES + LINK_LINES) * minutes;
    assert!((2..=bound).contains(&lines), "{lines} lines in {minutes} min");
}

/// A log that is held, a receipt that waits for it, and a peer that comes and goes and shows each
/// time what our store does not bear out: the lines stay within their bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_log_fills_no_log() {
    count_lines();
    let start = Instant::now();
    let stage = Stage::with(COMES_AND_GOES).await;
    let keys = KeyStore::open(&stage.cluster.members[0].dir.join("keys"), 1).unwrap();
    let origin = "xa.cyber-poc/log/1".parse().unwrap();
    let ahead = Checkpoint { origin, size: 1_000_000, root: Digest::from_array([9; 32]) };
    let signer = keys.signer();
    let signature = signer.sign(KeyUse::Checkpoint, ahead.text().as_bytes()).await.unwrap();
    let note = ahead.finish(signer.public(KeyUse::Checkpoint), signature).unwrap();
    let note = note.note().to_string();
    let store = stage.cluster.node(0).store();
    for round in 0..30 {
        let member = &stage.cluster.members[0];
        let mut side = stage.twin.dial_holding("a", member, note.clone()).await;
        if round == 0 {
            stage.send(&side, Priority::Routine, 1).await;
            until_stored(store, "a receipt", |store| {
                store.waiting_receipts(&stage.twin.unit, 1).unwrap().pop()
            })
            .await;
        }
        // Answered when the Hello was looked at.
        let asked = Kind::GetConsistency(v1::GetConsistency { from: 0, to: 0 });
        side.session.sender().send(Lane::Control, asked).await.unwrap();
        while !matches!(side.next().await.kind, Kind::Consistency(_)) {}
        side.close().await;
    }
    assert!(stage.cluster.node(0).relay().tlog().hold().is_some());
    let minutes = start.elapsed().as_secs() / 60 + 1;
    let lines = LINES[1].load(Ordering::Relaxed);
    // The relay and the link each bound their own.
    let bound = (RELAY_LINES + LINK_LINES) * minutes;
    assert!((2..=bound).contains(&lines), "{lines} lines in {minutes} min");
}

/// Lines about one peer in a minute: `core::quota`, and the registry of the link.
const RELAY_LINES: u64 = 30;
const LINK_LINES: u64 = 20;

/// Units that no other scenario has: lines are counted by their names.
const NOISY: &str = "xn.noisy";
const COMES_AND_GOES: &str = "xn.comes-and-goes";

static LINES: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

fn count_lines() {
    static SET: Once = Once::new();
    SET.call_once(|| tracing::subscriber::set_global_default(Lines).unwrap());
}

/// Counts lines about the noisy units and keeps none.
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
        let mut named = Named::default();
        event.record(&mut named);
        for (count, is_named) in LINES.iter().zip(named.0) {
            count.fetch_add(u64::from(is_named), Ordering::Relaxed);
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Which of the units a line names, in any of its fields.
#[derive(Default)]
struct Named([bool; 2]);

impl Visit for Named {
    fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        for (is_named, unit) in self.0.iter_mut().zip([NOISY, COMES_AND_GOES]) {
            *is_named |= text.contains(unit);
        }
    }
}
