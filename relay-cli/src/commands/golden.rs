//! What every verb prints, as files: `tests/golden/VERB.txt` for people, `VERB.json` for programs.
//!
//! To accept a change, run the tests once with `RELAY_GOLDEN=write` and read the difference
//! before it is committed. A field of a `.json` file may be added; one that goes away or changes
//! its meaning needs a new schema number.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod approval;
mod attachments;
mod audit;
pub mod case;
mod casework;
mod drafts;
mod evidence;
mod paper;
pub mod samples;

use std::{fs, path::PathBuf};

use relay_proto::v1;
use serde_json::json;

use self::samples::{
    HOSTILE, ago, damaged, delivery, incoming, look, now, outgoing, peers, receipts, status,
};
use super::{
    ack::AckReport,
    alarm::{AlarmView, AlarmsReport, ClearReport},
    inbox::InboxReport,
    outbox::OutboxReport,
    peer,
    receipts::ReceiptsReport,
    retry::RetryReport,
    sending::SendReport,
    show::ShowReport,
    status::StatusReport,
};
use crate::{
    exit::Exit,
    failure::{Failure, Fault},
    render::{Look, Page, WIDTH, is_unsafe},
    report::{Report, document, failure_document, line_document},
    view::{EventView, MessageView, PeerView},
};

/// Compares with the golden files, and holds every page to 80 columns without one unsafe character.
fn golden<R: Report>(name: &str, report: &R) -> String {
    let mut page = Page::new(look());
    report.people(&mut page);
    let text = page.finish();
    for line in text.lines() {
        assert!(line.chars().count() <= WIDTH, "{name}: wider than {WIDTH}: {line}");
    }
    assert!(!text.chars().any(|c| c != '\n' && is_unsafe(c)), "{name}: unsafe: {text:?}");
    compare(&format!("{name}.txt"), &text);
    let json = format!("{}\n", document(report));
    assert!(!json.chars().any(|c| c != '\n' && is_unsafe(c)), "{name}: unsafe: {json:?}");
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["schema"], format!("relay.cli.{}/{}", R::VERB, R::VERSION));
    compare(&format!("{name}.json"), &json);
    text
}

fn compare(file: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("RELAY_GOLDEN").is_some_and(|value| value == "write") {
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(expected, text, "{file} differs; see the first lines of commands/golden.rs");
}

/// What stands is told apart from what ended, and by whom.
#[test]
fn alarm_pages() {
    let alarms: Vec<AlarmView> = samples::alarms().iter().map(AlarmView::from).collect();
    let ended = alarms.last().cloned().unwrap();
    let all = AlarmsReport { alarms: alarms.clone(), more: false, all: true };
    let text = golden("alarm-list-all", &all);
    assert!(text.starts_with("ACTION NEEDED: 1 alarm\n"), "{text}");
    let none = AlarmsReport { alarms: Vec::new(), more: false, all: false };
    assert!(golden("alarm-list-none", &none).starts_with("No alarm stands\n"));
    golden(
        "alarm-clear",
        &ClearReport { request_id: "3f0c0000-0000-4000-8000-000000000001".into(), alarm: ended },
    );
}

/// A stalled outbox and a full inbox are told; a peer that was not tried needs nobody.
#[test]
fn a_stalled_way_is_told() {
    let quiet = v1::NodeStatus {
        peers: peers().into_iter().skip(5).collect(),
        inbox_full: vec!["xb.ncu".to_owned()],
        outbox_open: 120,
        oldest_outbox_time: ago(125),
        ..status()
    };
    let text = golden("status-quiet", &StatusReport::of(&quiet, now()));
    let stalled = "ACTION NEEDED: inbox full for 1 unit, 1 peer putting us off\n";
    assert!(text.starts_with(stalled) && text.contains("1 idle"), "{text}");
}

/// Healthy: the verdict says so and the code is 0. In need: counted, listed with commands, code 1.
#[test]
fn status_pages() {
    let mut well = status();
    well.peers = peers().into_iter().take(1).collect();
    let report = StatusReport::of(&well, now());
    assert!(golden("status-well", &report).starts_with("OK: nothing needs you\n"));
    assert_eq!(report.exit(), Exit::Done);
    let needy = v1::NodeStatus {
        peers: peers().into_iter().take(3).collect(),
        outbox_open: 4,
        oldest_outbox_time: ago(125),
        inbox_unacknowledged: 3,
        needs_acknowledgement: vec![incoming()],
        alarms: vec![format!("CONTRADICTION from xc.cyber-poc {HOSTILE}")],
        ..status()
    };
    let peers = peers().into_iter().take(2).collect();
    let held = v1::NodeStatus { peers, outbox_open: 10_000, outbox_more: true, ..status() };
    let report = StatusReport::of(&v1::NodeStatus { oldest_outbox_time: ago(125), ..held }, now());
    let text = golden("status-removed", &report);
    assert!(text.contains("HELD, the rest is retried"), "{text}");
    let mut held = status();
    held.log.as_mut().unwrap().held =
        format!("size 120 was signed and the store has 110 {HOSTILE}");
    let report = StatusReport::of(&held, now());
    let text = golden("status-held", &report);
    assert!(text.starts_with("ACTION NEEDED: the log signs nothing, receipts wait"));
    let report = StatusReport::of(&needy, now());
    let text = golden("status-needy", &report);
    assert!(
        text.starts_with("ACTION NEEDED: 3 to acknowledge, 1 peer down, 1 peer unverified"),
        "{text}"
    );
    assert_eq!(report.exit(), Exit::Attention);
    assert!(text.lines().count() <= 24, "a screen has 24 lines");
    let mut full = well;
    full.store = full.store.map(|store| v1::StoreStatus { free_bytes: 900_000_000, ..store });
    let report = StatusReport::of(&full, now());
    assert_eq!(report.exit(), Exit::Attention);
    assert!(golden("status-full", &report).starts_with("ACTION NEEDED: disk nearly full, 900 MB"));
    let room = "EMERGENCY_ONLY".to_owned();
    full.store = full.store.map(|store| v1::StoreStatus { room, ..store });
    let text = golden("status-refusing", &StatusReport::of(&full, now()));
    assert!(text.starts_with("ACTION NEEDED: disk full, only EMERGENCY messages are taken\n"));

    let mut rotted = v1::NodeStatus { store: Some(damaged()), ..status() };
    rotted.peers = samples::peers().into_iter().take(1).collect();
    let report = StatusReport::of(&rotted, now());
    let text = golden("status-damaged", &report);
    assert!(text.starts_with("ACTION NEEDED: 1 damaged record\n"), "{text}");
}

/// Titles are not shown on overviews: they may name persons.
#[test]
fn lists_of_messages() {
    let taken = v1::Message {
        acknowledgements: vec![v1::Acknowledgement {
            capacity: v1::AckCapacity::Desk.into(),
            by: HOSTILE.into(),
            time: ago(3),
        }],
        exercise: true,
        ..incoming()
    };
    let messages = vec![MessageView::from(&incoming()), MessageView::from(&taken)];
    let inbox = InboxReport { messages, more: true, all: true };
    assert!(!golden("inbox", &inbox).contains("dlrow\\u{2066}\n"));
    golden("inbox-empty", &InboxReport { messages: vec![], more: false, all: false });
    let messages = vec![MessageView::from(&outgoing())];
    let text = golden("outbox", &OutboxReport { messages, more: false, all: false });
    assert!(!text.contains("phishing") && text.contains("PEER_UNREACHABLE"));
    let mut refused = outgoing();
    refused.deliveries[0] = delivery("xb.ncu", v1::DeliveryState::Queued, "NOT_VERIFIED_THERE");
    let messages = vec![MessageView::from(&refused), MessageView::from(&refused)];
    let text = golden("outbox-refused", &OutboxReport { messages, more: false, all: false });
    assert_eq!(text.matches("xb.ncu has not verified us").count(), 1, "{text}");
    let mut held = outgoing();
    held.deliveries = vec![
        delivery("xb.ncu", v1::DeliveryState::Held, "PEER_SUSPENDED"),
        delivery("xc.cyber-poc", v1::DeliveryState::Held, "UNKNOWN_RECIPIENT"),
    ];
    let messages = vec![MessageView::from(&held)];
    let text = golden("outbox-held", &OutboxReport { messages, more: false, all: false });
    assert!(text.contains("HELD: not sent") && !text.contains("relay-cli retry"), "{text}");
    golden("outbox-empty", &OutboxReport { messages: vec![], more: false, all: false });
    let request_id = "3f0c0000-0000-4000-8000-000000000001".to_owned();
    golden("retry", &RetryReport { request_id, message: MessageView::from(&outgoing()) });
}

/// Both directions; the content is a peer's and can make no line of ours.
#[test]
fn one_message() {
    let content = json!({
        "kind": "preservation-request",
        HOSTILE: {"facts": HOSTILE.repeat(9), "items": [{"provider": "ISP", "port": 51422}]},
        "to": ["xa.cyber-poc"],
    });
    let report = ShowReport {
        message: MessageView::from(&incoming()),
        title: Some(HOSTILE.into()),
        receipts: receipts(),
        content,
    };
    let text = golden("show-in", &report);
    assert!(!text.lines().any(|line| line.starts_with("VALID")));
    let report = ShowReport {
        message: MessageView::from(&outgoing()),
        title: None,
        receipts: receipts(),
        content: serde_json::Value::Null,
    };
    golden("show-out", &report);
    let report = ReceiptsReport { message: report.message, receipts: receipts() };
    golden("receipts", &report);
    assert_eq!(report.exit(), Exit::Invalid);
    let held = vec![samples::held_receipt()];
    let report = ReceiptsReport { receipts: held, ..report };
    let text = golden("receipts-held", &report);
    assert!(!text.contains("verified") && text.contains("NOT SIGNED"), "{text}");
    assert_eq!(report.exit(), Exit::Attention);
}

/// Exactly what is promised so far, and the code of each outcome.
#[test]
fn sending() {
    let base = SendReport {
        request_id: "3f0c0000-0000-4000-8000-000000000001".into(),
        stored: true,
        repeated_request: false,
        message: MessageView::from(&outgoing()),
        approval: None,
        receipts: Vec::new(),
        waited_for: None,
        reached: None,
    };
    assert!(golden("send-stored", &base).contains("(survives power loss)"));
    assert_eq!(base.exit(), Exit::Done);
    let checked = SendReport { stored: false, ..base.clone() };
    assert!(!golden("send-checked", &checked).contains("STORED"));
    let open = SendReport {
        receipts: receipts(),
        waited_for: Some("ack"),
        reached: Some(false),
        ..base.clone()
    };
    golden("send-open", &open);
    assert_eq!(open.exit(), Exit::StillOpen);
    let mut lost = outgoing();
    lost.deliveries[1] = delivery("xc.cyber-poc", v1::DeliveryState::Refused, "KIND_NOT_ALLOWED");
    let lost = SendReport { message: MessageView::from(&lost), ..open };
    golden("send-refused", &lost);
    assert_eq!(lost.exit(), Exit::Attention);
    let waits = SendReport {
        approval: Some("0d9a1f4e-6c1b-4c55-9d52-2f7c1c9f5a10".to_owned()),
        waited_for: Some("delivered"),
        reached: Some(false),
        ..base.clone()
    };
    assert!(golden("send-waits", &waits).starts_with("WAITS     for a second officer"));
    golden("send-repeated", &SendReport { repeated_request: true, ..base });
}

#[test]
fn acknowledging() {
    let report = AckReport {
        request_id: "3f0c0000-0000-4000-8000-000000000001".into(),
        capacity: "desk",
        by: "K. Novak".into(),
        already_acknowledged: false,
        message: MessageView::from(&incoming()),
        receipt: receipts().into_iter().nth(2),
    };
    golden("ack", &report);
    let held = AckReport { receipt: Some(samples::held_receipt()), ..report.clone() };
    assert!(!golden("ack-held", &held).contains("TAKEN"));
    let earlier = v1::Message {
        acknowledgements: vec![v1::Acknowledgement {
            capacity: v1::AckCapacity::Desk.into(),
            by: "J. Svoboda".into(),
            time: ago(3),
        }],
        ..incoming()
    };
    let message = MessageView::from(&earlier);
    golden("ack-again", &AckReport { already_acknowledged: true, message, ..report });
}

/// A trusted unit whose log goes on as another one stays trusted; only its log waits.
#[test]
fn a_card_with_the_next_log_waits() {
    let rollback = Some("xb.ncu/log/2".to_owned());
    let peer = PeerView { rollback, ..PeerView::from(&peers()[0]) };
    let request_id = "3f0c0000-0000-4000-8000-000000000001".to_owned();
    let text = golden("peer-add-rollback", &peer::AddReport { request_id, our_unit: None, peer });
    assert!(text.starts_with("WAITS") && !text.contains("NOT trusted"), "{text}");
}

/// The digits stay off every screen but the reader's.
#[test]
fn pages_of_peers() {
    let request_id = "3f0c0000-0000-4000-8000-000000000001".to_owned();
    let our_unit = || Some("xa.cyber-poc".to_owned());
    let peers = peers();
    let views: Vec<PeerView> = peers.iter().map(PeerView::from).collect();
    let list = peer::ListReport { peers: views.clone() };
    let text = golden("peer-list", &list);
    assert_eq!(list.exit(), Exit::Attention);
    assert!(!text.contains("12345") && !document(&list).contains("12345"));
    let [up, down, new, suspended, refusing] = [0, 1, 2, 3, 4].map(|n| views[n].clone());
    golden("peer-show-refusing", &peer::PeerReport { our_unit: our_unit(), peer: refusing });
    golden("peer-show-up", &peer::PeerReport { our_unit: our_unit(), peer: up.clone() });
    golden("peer-show-down", &peer::PeerReport { our_unit: our_unit(), peer: down.clone() });
    golden(
        "peer-add",
        &peer::AddReport { request_id: request_id.clone(), our_unit: our_unit(), peer: new },
    );
    let groups: Vec<String> = (0..12).map(|n| format!("{:05}", 11_111 * n % 100_000)).collect();
    let read = peer::ReadReport {
        our_unit: our_unit(),
        unit: "xb.ncu".into(),
        trust: "unverified".into(),
        fingerprint: groups.concat(),
        groups,
    };
    golden("peer-verify-read", &read);
    let rest = vec![1, 2, 5, 6, 9, 10];
    let verified =
        peer::VerifyReport { request_id: request_id.clone(), our_unit: our_unit(), peer: up, rest };
    golden("peer-verify", &verified);
    let answer = v1::PingPeerResponse {
        rtt_us: 21_400,
        key_exchange: "X25519MLKEM768".into(),
        clock_skew_ms: 4,
        software: HOSTILE.into(),
    };
    golden("peer-ping", &peer::PingReport::new(&"xb.ncu".parse().unwrap(), &answer));
    golden(
        "peer-show-suspended",
        &peer::PeerReport { our_unit: our_unit(), peer: suspended.clone() },
    );
    let peer = suspended;
    golden("peer-suspend", &peer::SuspendReport { request_id: request_id.clone(), peer });
    let unit = "xb.ncu".to_owned();
    let removed = peer::RemoveReport { request_id, unit, waiting: 0 };
    golden("peer-remove", &removed);
    golden("peer-remove-waiting", &peer::RemoveReport { waiting: 2, ..removed });
}

/// One line each, however hostile; the cursor is in the JSON form.
#[test]
fn records_are_one_line() {
    let event = v1::UnitEvent {
        cursor: "c42".into(),
        kind: v1::UnitEventKind::MessageReceived.into(),
        time: ago(1),
        message_id: "0193c8a0-1c00-7abc-8def-0123456789ab".into(),
        short_id: "4D2P-F2DB".into(),
        peer: "xb.ncu".into(),
        priority: v1::Priority::Emergency.into(),
        reason: HOSTILE.into(),
        recovered: true,
        ..Default::default()
    };
    let report = EventView::from(&event);
    let mut page = Page::new(Look { plain: true, ..look() });
    report.people(&mut page);
    let text = page.finish();
    assert_eq!(text.lines().count(), 1);
    compare("watch.txt", &text);
    let alarm = v1::UnitEvent {
        kind: v1::UnitEventKind::Contradiction.into(),
        time: ago(60 * 24),
        peer: "xb.ncu".into(),
        reason: "PEER_ROLLED_BACK".into(),
        ..Default::default()
    };
    let mut page = Page::new(Look { plain: true, ..look() });
    EventView::from(&alarm).people(&mut page);
    compare("watch-earlier.txt", &page.finish());
    let term = v1::UnitEvent {
        kind: v1::UnitEventKind::Term.into(),
        time: ago(5),
        short_id: "4D2P-F2DB".into(),
        peer: "xb.ncu".into(),
        priority: v1::Priority::Urgent.into(),
        obligation: Some(v1::Obligation {
            duty: v1::Duty::Acknowledge.into(),
            unit: "xb.ncu".into(),
            due_time: ago(5),
            rule: v1::TermRule::House.into(),
            stage: v1::TermStage::Overdue.into(),
            short_id: "4D2P-F2DB".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut page = Page::new(Look { plain: true, ..look() });
    EventView::from(&term).people(&mut page);
    compare("watch-term.txt", &page.finish());
    let json = line_document(&report);
    assert!(!json.contains('\n') && json.contains("\"cursor\":\"c42\""));
    compare("watch.json", &format!("{json}\n"));
}

/// What happened, what is safe, what to type; every fault with its path and article.
#[test]
fn failures() {
    let fault = |path: &str, article: &str, label: &str| Fault {
        path: path.into(),
        reason: Some(label.into()),
        article: Some(article.into()),
        what: format!("missing {HOSTILE}: name the provider, the custodian or the system"),
    };
    let failure = Failure::new(Exit::Faults, "request.json has 2 faults.")
        .with_faults(vec![
            fault("items[0].provider", "Article 29(2)(d)", "ARTICLE_29_2_D"),
            fault("facts", "Article 29(2)(b)", "ARTICLE_29_2_B"),
        ])
        .safe("nothing was sent")
        .with_remedy("mend request.json, then the same command with --dry-run");
    let mut page = Page::new(look());
    failure.people(&mut page);
    let text = page.finish();
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
    assert!(!text.chars().any(|c| c != '\n' && is_unsafe(c)));
    compare("failure.txt", &text);
    let json = failure_document(&failure);
    assert!(json.contains("\"schema\": \"relay.cli.error/1\"") && json.contains("\"exit\": 15"));
    compare("failure.json", &format!("{json}\n"));
}
