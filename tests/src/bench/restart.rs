//! How long a node with much in its store takes until it answers again.
//!
//! The store is made by real traffic: what was delivered leaves two receipts a message at the
//! sender, then the peer goes and the rest waits, with a receipt each. Time runs from the start of
//! the process to the first answer of its API.

use super::{
    Options, Report, Row, Usage,
    load::{drained, pair, start_timed, submit, waiting},
    pipeline::draft,
};

/// Measures starts after a stop in order and after SIGKILL, with `messages` queued and ten times as
/// many receipts.
pub async fn run(options: &Options) -> Report {
    let (_dir, mut node, mut peer) = pair().await;
    let (queued, delivered) = (options.messages, options.messages * 9 / 2);
    let draft = draft("xb.bench");
    submit(&node.client(), &draft, delivered).await;
    drained(&node.client()).await;
    peer.terminate();
    submit(&node.client(), &draft, queued).await;
    let (mut clean, mut killed) = (Vec::new(), Vec::new());
    let mut waits = queued as u64;
    for _ in 0..options.runs {
        assert_eq!(node.terminate(), Some(0), "a stop in order");
        clean.push(start_timed(&mut node).await.as_secs_f64());
        assert_eq!(waiting(&node.client()).await, waits, "all of them wait");
        // So that there is something to replay.
        submit(&node.client(), &draft, AFTER).await;
        node.kill();
        killed.push(start_timed(&mut node).await.as_secs_f64());
        waits += AFTER as u64;
        assert_eq!(waiting(&node.client()).await, waits, "nothing was lost");
    }
    let usage = Usage::of(node.pid());
    let rows = vec![
        Row::new("ready after a stop in order", "s", clean, Some(2.0)),
        Row::new("ready after SIGKILL", "s", killed, Some(2.0)),
        Row::new(
            "memory after the start, peak",
            "MB",
            vec![usage.rss_peak_bytes as f64 / 1e6],
            Some(150.0),
        ),
    ];
    let receipts = delivered * 2 + queued;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let machine =
        format!("{cores} cores; {queued} queued, {receipts} receipts; {} runs", options.runs);
    Report { schema: "relay.bench.restart/1", machine, rows }
}

/// Messages that are taken between a start and the SIGKILL after it.
const AFTER: usize = 1_000;
