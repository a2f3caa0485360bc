//! Terms of a case in time: both nodes' clocks are moved together, as time would.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::os::unix::fs::PermissionsExt as _;

use relay_core::case::{Duty, Stage, State};
use relay_node::{
    daemon::Node,
    store::{event::Fact, records::TermRecord},
};
use relay_proto::v1;
use serde_json::json;

use super::{
    casework::{Desk, XA, XB, ack, confirmation, decision},
    clocks::{shift, start, until},
};

/// What a node told of terms so far.
fn told(node: &Node) -> Vec<(Duty, Stage, bool)> {
    let events = node.store().events_after(0, 10_000).unwrap();
    let of = |term: &TermRecord| (term.duty().unwrap(), term.stage().unwrap(), term.ours);
    let each = events.iter().filter_map(|(_, event)| match &event.fact {
        Some(Fact::TermTold(term)) => Some(of(term)),
        _ => None,
    });
    each.collect()
}

/// Moves both clocks, and waits until both are trusted again.
async fn to(desk: &Desk, time: &str) {
    for place in [XA, XB] {
        shift(&desk.cluster, place, time);
    }
    let now = |place| desk.cluster.node(place).relay().time();
    until("both clocks are trusted", || {
        [XA, XB].into_iter().all(|place| {
            let reading = now(place);
            let is_synced = reading.state.state() == v1::ClockState::Synced;
            is_synced && !reading.doubted && reading.against.is_empty()
        }) && now(XA).now.since(now(XB).now).as_secs() < 5
            && now(XB).now.since(now(XA).now).as_secs() < 5
    })
    .await;
}

async fn open() -> Desk {
    Desk::open_in(start(&["xa.cyber-poc", "xb.ncu"]).await).await
}

async fn preserved() -> Desk {
    let mut desk = open().await;
    desk.says(XB, "REQUEST_ACK", "ack", ack()).await;
    desk.says(XB, "PRESERVATION_DECISION", "decision", decision("ACCEPTED")).await;
    desk.says(XB, "PRESERVATION_CONFIRMATION", "confirmation", confirmation("@+90d")).await;
    desk
}

/// How often XB's node warned of the one end there is, as both have it.
fn warned(desk: &Desk) -> u32 {
    held_by(desk, XA).min(held_by(desk, XB))
}

fn held_by(desk: &Desk, at: usize) -> u32 {
    let peer = &desk.cluster.members[1 - at].unit;
    let held = desk.cluster.node(at).relay().case(&desk.case, peer).unwrap().unwrap();
    held.case.unwrap().warned.values().copied().max().unwrap_or_default()
}

fn closure() -> (&'static str, &'static str, serde_json::Value) {
    ("CLOSURE", "closure", json!({"final_state": "EXPIRED", "at": "@now"}))
}

/// A desk that does not answer: both nodes tell half of the term, four fifths, and its end, each
/// once; what was missed while a node was down is told when it is up, and nothing twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_nodes_tell_how_far_a_term_has_run() {
    let mut desk = open().await;
    let count = |desk: &Desk| [XA, XB].map(|place| told(desk.cluster.node(place)).len());
    let stages = [(Stage::Half, "+30m"), (Stage::Late, "+50m")];
    for (n, (stage, time)) in stages.into_iter().enumerate() {
        to(&desk, time).await;
        until("told at both", || count(&desk) == [n + 1; 2]).await;
        assert_eq!(told(desk.cluster.node(XA))[n], (Duty::Acknowledge, stage, false));
        assert_eq!(told(desk.cluster.node(XB))[n], (Duty::Acknowledge, stage, true));
    }
    desk.cluster.members[XB].stop().await;
    shift(&desk.cluster, XB, "+2h");
    desk.cluster.members[XB].start().await;
    to(&desk, "+2h").await;
    until("the third at both", || count(&desk) == [3; 2]).await;
    assert_eq!(told(desk.cluster.node(XB))[2], (Duty::Acknowledge, Stage::Overdue, true));
    desk.cluster.members[XA].stop().await;
    desk.cluster.members[XA].start().await;
    // The next term is the decision's: that it is told shows that all was looked at.
    desk.says(XB, "REQUEST_ACK", "ack", ack()).await;
    to(&desk, "+20h").await;
    until("the next one", || count(&desk) == [4; 2]).await;
    let decide = (Duty::Decide, Stage::Half, false);
    assert_eq!(told(desk.cluster.node(XA))[3], decide);
}

/// The command is run for what has run far, with what it is about; one that fails is run again and
/// is an alarm, one that worked is not run again after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_is_run_until_it_worked() {
    let mut cluster = start(&["xa.cyber-poc", "xb.ncu"]).await;
    let dir = cluster.members[XB].dir.clone();
    let program = dir.join("page");
    let script = format!(
        "#!/bin/sh\nenv | grep ^RELAY_ | sort >{0}/seen.new\n[ -e {0}/works ] || exit 3\n\
         mv {0}/seen.new {0}/seen-$RELAY_STAGE-$RELAY_DUTY\n",
        dir.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    cluster.members[XB].stop().await;
    let config = dir.join("relay.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let section = format!("[notify]\ncommand = [\"{}\"]\n\n[clock]\n", program.display());
    std::fs::write(&config, text.replacen("[clock]\n", &section, 1)).unwrap();
    cluster.members[XB].start().await;
    let mut desk = Desk::open_in(cluster).await;
    to(&desk, "+30m").await;
    until("half", || told(desk.cluster.node(XB)).len() == 1).await;
    to(&desk, "+50m").await;
    let unit = desk.cluster.members[XB].unit.clone();
    let failed = |desk: &Desk| {
        let alarms = desk.cluster.node(XB).store().alarms_about(&unit, 9).unwrap();
        alarms.iter().any(|alarm| alarm.reason == "NOTIFY_FAILED")
    };
    until("told that it fails", || failed(&desk)).await;
    std::fs::write(dir.join("works"), "").unwrap();
    // What is left is run for after a restart as well, at once.
    desk.cluster.members[XB].stop().await;
    desk.cluster.members[XB].start().await;
    let late = dir.join("seen-LATE-ACKNOWLEDGE");
    until("run", || late.exists()).await;
    let seen = std::fs::read_to_string(&late).unwrap();
    for line in [
        "RELAY_STAGE=LATE",
        "RELAY_OWED_BY=xb.ncu",
        "RELAY_UNIT=xb.ncu",
        "RELAY_PEER=xa.cyber-poc",
        "RELAY_RULE=HOUSE",
        "RELAY_BASIS=the profile's ack_target",
        &format!("RELAY_CASE={}", desk.case),
    ] {
        assert!(seen.lines().any(|seen| seen == line), "{line} is not in {seen}");
    }
    assert!(!dir.join("seen-HALF-ACKNOWLEDGE").exists(), "that was not far enough");
    let noted = |desk: &Desk| {
        let events = desk.cluster.node(XB).store().events_after(0, 10_000).unwrap();
        events.iter().filter(|(_, event)| matches!(event.fact, Some(Fact::TermNotified(_)))).count()
    };
    until("noted", || noted(&desk) == 1).await;
    std::fs::remove_file(&late).unwrap();
    desk.cluster.members[XB].stop().await;
    desk.cluster.members[XB].start().await;
    to(&desk, "+2h").await;
    until("run for the next", || dir.join("seen-OVERDUE-ACKNOWLEDGE").exists()).await;
    assert!(!late.exists(), "run twice");
}

/// The node that holds the data warns as its profile says, each time once; then the time may end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_warned_of_by_the_node_that_holds_the_data() {
    let mut desk = preserved().await;
    for (times, time) in [(1, "+61d"), (2, "+77d"), (3, "+84d"), (4, "+89d")] {
        to(&desk, time).await;
        until("warned once more", || warned(&desk) == times).await;
    }
    to(&desk, "+92d").await;
    let is_over = |place| {
        let over = (Duty::UseOrLose, Stage::Overdue, place == XA);
        told(desk.cluster.node(place)).contains(&over)
    };
    until("told that it is over", || is_over(XA) && is_over(XB)).await;
    assert_eq!(warned(&desk), 4);
    let (kind, key, content) = closure();
    desk.says(XB, kind, key, content).await;
    assert_eq!(desk.both().state, State::Expired);
}

/// A node that was away for all of that time warns when it is back, twice and a day apart; before
/// that nothing ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_lapses_while_the_node_was_away() {
    let mut desk = preserved().await;
    desk.cluster.members[XB].stop().await;
    for place in [XA, XB] {
        shift(&desk.cluster, place, "+100d");
    }
    desk.cluster.members[XB].start().await;
    to(&desk, "+100d").await;
    until("warned", || warned(&desk) == 1).await;
    let why = "CLOSURE does not fit the case as it stands: the case is PRESERVED, compare its \
               revision, items and times with `case show`; it is xa.cyber-poc's turn; what you may \
               send now: PRESERVATION_CONFIRMATION, TRAFFIC_DISCLOSURE, \
               DISCLOSURE_WITHHELD, MLA_RECEIVED, CLOSURE, INCIDENT_NOTICE";
    desk.cannot(XB, closure(), why).await;
    to(&desk, "+102d").await;
    until("warned again", || warned(&desk) == 2).await;
    let (kind, key, content) = closure();
    desk.says(XB, kind, key, content).await;
    assert_eq!(desk.both().state, State::Expired);
}

/// How many warnings XB's node sent.
fn sent(desk: &Desk) -> usize {
    let events = desk.cluster.node(XB).store().events_after(0, 10_000).unwrap();
    let is_warning = |fact: &Fact| match fact {
        Fact::Submitted(fact) => fact.record.as_ref().unwrap().kind == KIND,
        _ => false,
    };
    events.iter().filter(|(_, event)| event.fact.as_ref().is_some_and(is_warning)).count()
}

/// The other side refuses every warning: each point has its own all the same, and after the end one
/// a day; once they are taken, two of them end the case.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warning_that_is_refused_is_sent_again() {
    let mut desk = preserved().await;
    let profile = desk.cluster.members[XA].dir.join("profiles/budapest-247.toml");
    let whole = std::fs::read_to_string(&profile).unwrap();
    let without = whole.replacen("\"EXPIRY_WARNING\", ", "", 1);
    assert_ne!(whole, without);
    desk.cluster.members[XA].stop().await;
    std::fs::write(&profile, without).unwrap();
    desk.cluster.members[XA].start().await;
    for (times, time) in [(1, "+61d"), (2, "+77d"), (3, "+92d"), (4, "+94d")] {
        to(&desk, time).await;
        until("sent", || sent(&desk) == times).await;
        // It is in the case until the refusal comes.
        until("refused", || warned(&desk) == 0 && held_by(&desk, XB) == 0).await;
    }
    desk.cluster.members[XA].stop().await;
    std::fs::write(&profile, whole).unwrap();
    desk.cluster.members[XA].start().await;
    for (times, time) in [(1, "+96d"), (2, "+98d")] {
        to(&desk, time).await;
        until("taken", || warned(&desk) == times).await;
    }
    let (kind, key, content) = closure();
    desk.says(XB, kind, key, content).await;
    assert_eq!(desk.both().state, State::Expired);
}

const KIND: u32 = v1::Kind::ExpiryWarning as u32;
