//! An outbox that fills while its peer is down, and drains when it returns: memory, rate, order.
//!
//! What is urgent is handed in last and must arrive first. The rate of the drain is held against
//! that of `pipeline` in the same run, on the same machine.

use relay_proto::v1;
use tokio::time::Instant;

use super::{
    Options, Report, Row, Usage,
    load::{drained, pair, start_timed, submit, waiting},
    pipeline::{self, draft},
};
use crate::client::Client;

/// Measures with `messages` that wait.
pub async fn run(options: &Options) -> Report {
    let usual = Options { messages: options.messages.min(PIPELINE_MAX), runs: 1 };
    let usual = pipeline::run(&usual).await;
    let usual = usual.rows.first().map_or(f64::NAN, |row| row.median);

    let (_dir, node, mut peer) = pair().await;
    peer.terminate();
    let (sender, routine) = (node.client(), draft("xb.bench"));
    let started = Instant::now();
    submit(&sender, &routine, options.messages).await;
    let taken = options.messages as f64 / started.elapsed().as_secs_f64();
    let mut draft = routine;
    draft.priority = v1::Priority::Urgent.into();
    draft.payload.as_mut().expect("a payload").urgency_reason = "kit is live".to_owned();
    let urgent = submit(&sender, &draft, URGENT).await;
    let all = options.messages + URGENT;
    assert_eq!(waiting(&sender).await, all as u64, "all of them wait");
    let full = Usage::of(node.pid());

    start_timed(&mut peer).await;
    let recipient = peer.client();
    let first = arrivals(&recipient, 1).await;
    let started = Instant::now();
    drained(&sender).await;
    let rate = (all - first.len()) as f64 / started.elapsed().as_secs_f64();
    let order = arrivals(&recipient, all).await;
    assert_eq!(order.len(), all, "each arrived once");
    let place = |id: &String| order.iter().position(|arrived| arrived == id).unwrap_or(all) + 1;
    let last = urgent.iter().map(place).max().unwrap_or(0);
    let peaks = [node.pid(), peer.pid()].map(|pid| Usage::of(pid).rss_peak_bytes as f64);
    let mb = |bytes: f64| vec![bytes / 1e6];
    let rows = vec![
        Row::new("taken while the peer is down", "messages/s", vec![taken], None),
        Row::new("memory with all of them queued", "MB", mb(full.rss_bytes as f64), Some(150.0)),
        Row::new("the same, peak", "MB", mb(full.rss_peak_bytes as f64), Some(150.0)),
        Row::new("memory of the sender, peak to the end", "MB", mb(peaks[0]), Some(150.0)),
        Row::new("memory of the recipient, peak", "MB", mb(peaks[1]), Some(150.0)),
        Row::new("drained when it returns", "messages/s", vec![rate], Some(usual)),
        Row::new("place of the last urgent one among all", "th", vec![last as f64], None),
    ];
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let machine = format!(
        "{cores} cores shared by both nodes and the client; {} ROUTINE of 1 KiB, then {URGENT} \
         URGENT; the drain's target is what `pipeline` streams in this run",
        options.messages
    );
    Report { schema: "relay.bench.backlog/1", machine, rows }
}

/// Ids of what arrived, in its order, once there are so many.
async fn arrivals(recipient: &Client, least: usize) -> Vec<String> {
    let (mut arrived, mut cursor) = (Vec::new(), String::new());
    let started = Instant::now();
    while arrived.len() < least {
        assert!(started.elapsed() < ARRIVE_MAX, "{} of {least} arrived", arrived.len());
        let request = v1::ListEventsRequest { cursor: cursor.clone(), page_size: 1000 };
        let page = recipient.messages.clone().list_events(request).await.expect("events");
        let page = page.into_inner();
        if page.next_cursor == cursor {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        cursor = page.next_cursor;
        let received = page
            .events
            .into_iter()
            .filter(|event| event.kind() == v1::UnitEventKind::MessageReceived);
        arrived.extend(received.map(|event| event.message_id));
    }
    arrived
}

const URGENT: usize = 20;
const PIPELINE_MAX: usize = 20_000;
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(2);
const ARRIVE_MAX: std::time::Duration = std::time::Duration::from_secs(300);
