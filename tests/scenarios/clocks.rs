//! A node whose clock is wrong and says that it is right: what its peers' clocks tell it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use relay_node::{daemon::Node, store::records::EntryState};
use relay_proto::{
    ids::Digest,
    reason::Reason,
    receipt::{Event, Statement},
    v1,
};
use relay_tests::{
    cluster::{Cluster, PATIENCE, draft, entries_until, submit},
    process::{Process, introduce},
};

use super::{rig::until as log_until, rollback::delivered};

/// Starts nodes whose clocks follow a file `shift` in their directories.
pub(crate) async fn start(units: &[&str]) -> Cluster {
    let mut cluster = Cluster::start(units).await;
    for member in &mut cluster.members {
        member.stop().await;
        let path = member.dir.join("relay.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let with = text.replacen("[clock]\n", "[clock]\nshift_file = \"shift\"\n", 1);
        assert_ne!(text, with, "no section for the clock");
        std::fs::write(&path, with).unwrap();
        member.start().await;
    }
    cluster
}

/// Puts a node's clock wrong; nothing: right.
pub(crate) fn shift(cluster: &Cluster, place: usize, text: &str) {
    let dir = &cluster.members[place].dir;
    std::fs::write(dir.join("shift.new"), text).unwrap();
    std::fs::rename(dir.join("shift.new"), dir.join("shift")).unwrap();
}

pub(crate) async fn until(what: &str, look: impl Fn() -> bool) {
    let wait = async {
        while !look() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}

/// Sends an EMERGENCY alert, whose lifetime is four hours.
async fn send(cluster: &Cluster, from: usize, to: &str, n: u128) -> Digest {
    let sender = cluster.node(from);
    // The message states the sender's time, which is right when it is written.
    let mut draft = draft("alert.json", &[to], sender.relay().clock().now());
    draft.priority = v1::Priority::Emergency.into();
    let payload = draft.payload.as_mut().unwrap();
    payload.from = String::new();
    payload.urgency_reason = "a test".to_owned();
    submit(sender, draft, n).await.unwrap().digest
}

/// The clock's state and the flags of the receipt by which the recipient consigned a message, as
/// its sender has it.
fn stated(sender: &Node, digest: &Digest) -> (v1::ClockState, Vec<v1::StatementFlag>) {
    let receipts = sender.store().receipts(digest).unwrap();
    let statements = receipts.iter().map(|one| Statement::from_bytes(&one.statement).unwrap());
    let consigned = statements.into_iter().find(|one| one.event == Event::ContentConsignment);
    consigned.map(|one| (one.clock.state(), one.flags)).unwrap()
}

fn alarms(node: &Node) -> Vec<(Reason, String)> {
    let alarms = node.relay().clock_alarms().into_iter();
    alarms.map(|(reason, about, _)| (reason, about.to_string())).collect()
}

fn state(node: &Node) -> v1::ClockState {
    node.relay().time().state.state()
}

/// One of three is a day ahead and calls itself synchronised, first at a start, then by a step: it
/// takes what is past its time by that clock, says so in its receipts, fails none of its own, and
/// is told at both sides. When the clock is right again, everything is as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contradicted_clock_expires_nothing() {
    let mut cluster = start(&["xa.cyber-poc", "xb.ncu", "xc.cyber-poc"]).await;
    cluster.members[2].stop().await;
    let open = send(&cluster, 0, "xc.cyber-poc", 1).await;

    cluster.members[0].stop().await;
    shift(&cluster, 0, "+1d");
    cluster.members[0].start().await;
    // Only one peer is there to contradict; the other is not heard yet.
    let first = send(&cluster, 1, "xa.cyber-poc", 2).await;
    delivered(&cluster, 1, &first).await;
    let unverified = vec![v1::StatementFlag::ClockUnverified];
    let told = stated(cluster.node(1), &first);
    assert_eq!(told, (v1::ClockState::Contradicted, unverified.clone()));

    cluster.members[2].start().await;
    cluster.node(0).relay().retry_now(&cluster.members[2].unit);
    let entries = entries_until(cluster.node(0), &open, |entry| !entry.is_open()).await;
    assert!(entries.iter().all(|entry| entry.state() == EntryState::Delivered), "{entries:?}");
    assert_eq!(state(cluster.node(0)), v1::ClockState::Contradicted);
    let contradicted = (Reason::ClockContradicted, "xa.cyber-poc".to_owned());
    assert_eq!(alarms(cluster.node(0)).first(), Some(&contradicted));
    let differs = (Reason::ClockDiffers, "xa.cyber-poc".to_owned());
    // Until it has heard the third, it doubts its own clock too.
    let told = || alarms(cluster.node(1)) == std::slice::from_ref(&differs);
    until("told at the peer", told).await;
    assert_eq!(state(cluster.node(1)), v1::ClockState::Synced);

    shift(&cluster, 0, "");
    until("in order", || alarms(cluster.node(0)).is_empty()).await;
    until("in order at the peers", || alarms(cluster.node(1)).is_empty()).await;
    let sent = send(&cluster, 1, "xa.cyber-poc", 3).await;
    delivered(&cluster, 1, &sent).await;
    assert_eq!(stated(cluster.node(1), &sent), (v1::ClockState::Synced, vec![]));

    shift(&cluster, 0, "-1d");
    until("contradicted", || state(cluster.node(0)) == v1::ClockState::Contradicted).await;
    let sent = send(&cluster, 2, "xa.cyber-poc", 4).await;
    delivered(&cluster, 2, &sent).await;
    assert_eq!(stated(cluster.node(2), &sent), (v1::ClockState::Contradicted, unverified));
}

/// Of two nodes nobody can tell which is wrong: both say that the clocks differ, and each goes by
/// its own. One outside the time of its own keys is wrong, whatever it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_peer_contradicts_nobody_but_with_the_own_card() {
    let cluster = start(&["xa.cyber-poc", "xb.ncu"]).await;
    for (n, wrong, wanted) in
        [(1, "+2h", v1::ClockState::Synced), (2, "+10y", v1::ClockState::Contradicted)]
    {
        shift(&cluster, 0, wrong);
        until("the peer differs", || !alarms(cluster.node(0)).is_empty()).await;
        until("told at the peer", || !alarms(cluster.node(1)).is_empty()).await;
        until("as wanted", || state(cluster.node(0)) == wanted).await;
        let sent = send(&cluster, 1, "xa.cyber-poc", n).await;
        delivered(&cluster, 1, &sent).await;
        assert_eq!(stated(cluster.node(1), &sent).0, wanted);
        assert_eq!(state(cluster.node(1)), v1::ClockState::Synced);
        let about: Vec<_> = alarms(cluster.node(0));
        assert!(about.contains(&(Reason::ClockDiffers, "xb.ncu".to_owned())), "{about:?}");
        shift(&cluster, 0, "");
        until("in order", || alarms(cluster.node(0)).is_empty()).await;
        until("in order at the peer", || alarms(cluster.node(1)).is_empty()).await;
    }
}

/// A peer that cannot be reached when a clock is put right hears of it once it can, although
/// neither has anything to send.
#[tokio::test]
async fn a_peer_that_was_away_hears_that_the_clock_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = ["xa.ncu", "xb.ncu"].map(|unit| Process::init(dir.path(), unit, ""));
    for node in &mut nodes {
        let path = node.dir.join("relay.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.replacen("[link]\n", "[link]\nhandshake_timeout = \"1s\"\n", 1);
        let text = text.replacen("[clock]\n", "[clock]\nshift_file = \"shift\"\n", 1);
        std::fs::write(&path, text).unwrap();
        node.log_filter = Some("info,relay_node::link=debug");
        node.start().await;
    }
    introduce(&nodes).await;
    let [away, wrong] = &mut nodes;
    let client = away.client();
    let alarmed = async |wanted: bool| {
        let wait = async {
            loop {
                let status = client.node.clone().get_status(v1::GetStatusRequest {}).await;
                let alarms = status.unwrap().into_inner().alarms;
                if alarms.iter().any(|alarm| alarm.starts_with("CLOCK_DIFFERS")) == wanted {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, wait).await;
        assert!(in_time.is_ok(), "CLOCK_DIFFERS, {wanted}: never");
    };
    let steps = |wrong: &Process| wrong.log().matches("the clock was stepped").count();

    std::fs::write(wrong.dir.join("shift"), "+2h").unwrap();
    alarmed(true).await;
    let before = steps(wrong);
    away.pause(true);
    std::fs::write(wrong.dir.join("shift"), "").unwrap();
    log_until("stepped back", || steps(wrong) > before).await;
    let after = wrong.log().len();
    log_until("not reached", || wrong.log()[after..].contains("dial failed")).await;
    away.pause(false);
    alarmed(false).await;
}
