//! The desk's verbs: status, inbox, ack, watch, show, and how errors end.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
};

use relay_proto::v1;
use tonic::{Code, Status};

use crate::fake::{Fake, Script, end, program, refusal};

const ID: &str = "0193c8a0-1c00-7abc-8def-0123456789ab";

pub fn message() -> v1::Message {
    v1::Message {
        message_id: ID.into(),
        short_id: "4D2P-F2DB".into(),
        direction: v1::Direction::In.into(),
        from: "xb.ncu".into(),
        to: vec!["xa.cyber-poc".into()],
        priority: v1::Priority::Emergency.into(),
        kind: v1::Kind::Alert.into(),
        store_time: Some(prost_types::Timestamp { seconds: 1_790_000_000, nanos: 0 }),
        title: "a title with \u{1b}[2J".into(),
        ..Default::default()
    }
}

fn healthy() -> v1::NodeStatus {
    let clock = v1::Clock {
        state: v1::ClockState::Synced.into(),
        source: v1::ClockSource::Assumed.into(),
        uncertainty_ms: 0,
    };
    v1::NodeStatus {
        unit: "xa.cyber-poc".into(),
        clock: Some(clock),
        store: Some(v1::StoreStatus { state: "ok".into(), ..Default::default() }),
        ..Default::default()
    }
}

fn event(cursor: &str) -> v1::UnitEvent {
    v1::UnitEvent {
        cursor: cursor.into(),
        kind: v1::UnitEventKind::MessageReceived.into(),
        message_id: ID.into(),
        short_id: "4D2P-F2DB".into(),
        peer: "xb.ncu".into(),
        ..Default::default()
    }
}

/// Healthy is 0, needy is 1; JSON is one document with its schema.
#[tokio::test]
async fn status_tells_whether_all_is_well() {
    let fake = Fake::start(Script { status: healthy(), ..Default::default() }).await;
    let ended = fake.run("status").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.starts_with("OK: nothing needs you\n"));
    let ended = fake.run("status --json").await;
    assert_eq!(ended.json()["schema"], "relay.cli.status/1");
    assert_eq!(ended.json()["healthy"], true);
    fake.script.lock().unwrap().status.inbox_unacknowledged = 2;
    let ended = fake.run("status -q").await;
    assert_eq!((ended.code, ended.out.lines().count()), (Some(1), 1), "{ended:?}");
}

/// A screen that follows the node needs a terminal; elsewhere the verbs are named that do not.
#[tokio::test]
async fn top_needs_a_terminal() {
    let fake = Fake::start(Script { status: healthy(), ..Default::default() }).await;
    for line in ["top", "top --json", "top --no-input"] {
        let ended = fake.run(line).await;
        assert_eq!((ended.code, ended.err.contains("relay-cli status")), (Some(2), true), "{line}");
    }
}

/// No node, a node without permission, a wrong address: each its own code and remedy, and nothing
/// on stdout.
#[tokio::test]
async fn without_a_node_the_code_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("relay.sock");
    let at = |socket: &std::path::Path| program(&format!("--node {} status", socket.display()));
    let ended = end(at(&socket)).await;
    assert_eq!(ended.code, Some(10));
    assert!(ended.out.is_empty() && ended.err.contains("no such socket"), "{ended:?}");
    // A socket whose daemon is gone.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let ended = end(at(&socket)).await;
    assert_eq!(ended.code, Some(10));
    assert!(ended.err.contains("is not running") && ended.err.contains("systemctl"), "{ended:?}");
    let ended = end(program("--node http://localhost:1 status")).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let ended = end(program("--node https://localhost:1 status")).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("--tls-cert"));
    // Root passes every permission check, so this part only speaks where tests run as a user.
    let _alive =
        std::fs::remove_file(&socket).map(|()| std::os::unix::net::UnixListener::bind(&socket));
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::os::unix::net::UnixStream::connect(&socket).is_err() {
        let ended = end(at(&socket)).await;
        assert_eq!(ended.code, Some(11), "{ended:?}");
    }
}

/// All pages are asked for, with the filter of the verb; an overview shows no title.
#[tokio::test]
async fn inbox_reads_all_pages() {
    let page = |next: &str| v1::ListMessagesResponse {
        messages: vec![message()],
        next_page_token: next.into(),
    };
    let script = Script { pages: [page("t1"), page("")].into(), ..Default::default() };
    let fake = Fake::start(script).await;
    let ended = fake.run("inbox --peer xb.ncu").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.starts_with("2 messages to take"), "{ended:?}");
    assert!(!ended.out.contains("title"));
    let lists = fake.script.lock().unwrap().lists.clone();
    assert_eq!(lists.len(), 2);
    assert_eq!(lists[0].filter, "direction = IN AND acknowledged = no AND peer = \"xb.ncu\"");
    assert_eq!(lists[1].page_token, "t1");
}

#[tokio::test]
async fn outbox_asks_for_what_is_open() {
    let fake = Fake::start(Script::default()).await;
    let ended = fake.run("outbox --json").await;
    assert_eq!(ended.json()["messages"].as_array().map(Vec::len), Some(0));
    let lists = fake.script.lock().unwrap().lists.clone();
    let filters: Vec<&str> = lists.iter().map(|list| list.filter.as_str()).collect();
    assert_eq!(filters, ["direction = OUT AND open = yes"]);
}

/// An officer's name and a fresh request id reach the node; the second time the first one stands.
#[tokio::test]
async fn acknowledging_names_the_officer() {
    let fake = Fake::start(Script { message: Some(message()), ..Default::default() }).await;
    let ended = fake.run("ack 4d2pf2db --by Novak").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.starts_with("TAKEN 4D2P-F2DB by Novak\n"), "{ended:?}");
    let request = fake.script.lock().unwrap().ack.clone().unwrap();
    assert_eq!((request.name.as_str(), request.by.as_str()), ("4D2P-F2DB", "Novak"));
    assert_eq!(request.capacity(), v1::AckCapacity::Desk);
    assert_eq!(request.request_id.len(), 36);
    let ended = fake.run("ack 4D2P-F2DB --handover --json").await;
    assert_eq!(ended.json()["already_acknowledged"], true);
    assert_eq!(ended.json()["capacity"], "handover");
}

/// A lost stream is taken up after the last record: none twice, none left out.
#[tokio::test]
async fn watch_resumes_from_the_last_record() {
    let lost = || Status::unavailable("connection reset");
    let streams = [(vec![event("1"), event("2")], lost()), (vec![event("3")], lost())];
    let fake = Fake::start(Script { streams: streams.into(), ..Default::default() }).await;
    let ended = fake.run("watch --jsonl --count 3 --cursor 0").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let cursors: Vec<String> = ended
        .out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|record| record["cursor"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(cursors, ["1", "2", "3"]);
    assert_eq!(fake.script.lock().unwrap().cursors, ["0", "2"]);
    assert!(ended.err.contains("going on after the last record"));
}

/// A refusal ends the watch and says how to go on; what was printed stays.
#[tokio::test]
async fn watch_says_where_to_go_on() {
    let stop = refusal(Code::InvalidArgument, "BAD_CURSOR", "not a cursor of this node", &[]);
    let streams = [(vec![event("7")], stop)];
    let fake = Fake::start(Script { streams: streams.into(), ..Default::default() }).await;
    let ended = fake.run("watch").await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(ended.out.lines().count(), 1);
    assert!(ended.err.contains("relay-cli watch --cursor 7"), "{ended:?}");
}

#[tokio::test]
async fn watch_once_polls_until_nothing_is_new() {
    let end = Status::unavailable("");
    let streams = [(vec![event("1")], end.clone()), (vec![event("2")], end)];
    let fake = Fake::start(Script { streams: streams.into(), ..Default::default() }).await;
    let ended = fake.run("watch --once").await;
    assert_eq!((ended.code, ended.out.lines().count()), (Some(0), 2), "{ended:?}");
    assert_eq!(fake.script.lock().unwrap().cursors, ["", "1", "2"]);
}

/// A reader that has seen enough is no error.
#[tokio::test]
async fn a_broken_pipe_is_zero() {
    let events: Vec<_> = (1..50_000).map(|n| event(&n.to_string())).collect();
    let streams = [(events, Status::unavailable(""))];
    let fake = Fake::start(Script { streams: streams.into(), ..Default::default() }).await;
    let mut command = fake.command("watch");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (status, err) = tokio::task::spawn_blocking(move || {
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        reader.read_line(&mut String::new()).unwrap();
        drop(reader);
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (child.wait().unwrap(), err)
    })
    .await
    .unwrap();
    assert_eq!(status.code(), Some(0), "{err}");
    assert!(err.is_empty(), "{err}");
}

/// Not found is 12 for people and for programs, where the document has the reason.
#[tokio::test]
async fn an_unknown_message_is_not_found() {
    let fake = Fake::start(Script::default()).await;
    let ended = fake.run("show 4D2P-F2DB").await;
    assert_eq!(ended.code, Some(12), "{ended:?}");
    assert!(ended.out.is_empty() && ended.err.contains("relay-cli inbox --all"));
    let ended = fake.run("receipts 4D2P-F2DB --json").await;
    assert_eq!(ended.code, Some(12));
    assert_eq!(ended.json()["schema"], "relay.cli.error/1");
    assert_eq!(ended.json()["reason"], "NOT_FOUND");
    assert_eq!(ended.json()["exit"], 12);
}

/// A peer's control characters reach neither stdout nor JSON.
#[tokio::test]
async fn show_prints_nothing_raw() {
    let alert = v1::Alert { summary: "sum\u{202e}mary".into(), ..Default::default() };
    let body = Some(v1::payload::Body::Alert(alert));
    let payload = Some(v1::Payload { body, ..Default::default() });
    let message = v1::Message { payload, ..message() };
    let fake = Fake::start(Script { message: Some(message), ..Default::default() }).await;
    for line in ["show 4D2P-F2DB", "show 4D2P-F2DB --json", "show 4D2P-F2DB --plain"] {
        let ended = fake.run(line).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.out.contains("a title with"));
        assert!(ended.out.contains("sum\\u{202e}mary") || ended.out.contains("sum\\u202emary"));
        assert!(
            !ended.out.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'),
            "{line}"
        );
    }
    assert!(!fake.run("show 4D2P-F2DB --no-content").await.out.contains("a title with"));
}

/// The node's own short id is not trusted for a file name, and nothing is overwritten.
#[tokio::test]
async fn export_names_files_by_checked_ids() {
    let fake = Fake::start(Script::default()).await;
    let ended = fake.run("evidence export 4D2P-F2DB --to court --json").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.json()["bundle"], "court/4D2P-F2DB.relayev");
    let ended = fake.run("evidence export 4D2P-F2DB --to court").await;
    assert_eq!(ended.code, Some(16), "{ended:?}");
    // And what was written is read, without a node, as a bundle that proves nothing.
    let mut offline = program("evidence verify court/4D2P-F2DB.relayev");
    offline.current_dir(fake.dir.path());
    let ended = end(offline).await;
    assert_eq!(ended.code, Some(14), "{ended:?}");
    assert!(ended.out.starts_with("INVALID"));
}

/// A file that is no bundle is INVALID with the reason, in both forms.
#[tokio::test]
async fn a_foreign_file_is_invalid() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), "PK..").unwrap();
    let mut command = program("evidence verify a --json");
    command.current_dir(dir.path());
    let ended = end(command).await;
    assert_eq!(ended.code, Some(14), "{ended:?}");
    assert_eq!(ended.json()["verdict"], "INVALID");
    assert_eq!(ended.json()["problems"][0]["reason"], "MALFORMED");
    let mut command = program("evidence verify a --trust missing.relaycard");
    command.current_dir(dir.path());
    assert_eq!(end(command).await.code, Some(12));
}
