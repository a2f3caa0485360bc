//! The whole way of a message: client, node A, node B and back, all as processes on one machine.
//!
//! Time runs from the client's send to the event that says that the verified receipt is durable in
//! the sender's store. After each run every message must be in the recipient's inbox once.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use relay_proto::{
    file::MessageFile,
    timestamp::Timestamp,
    v1::{self, send_messages_response::Outcome},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use super::{Options, Report, Row, Usage};
use crate::{
    client::Client,
    process::{Process, introduce, request_id},
};

/// Measures streaming and unary submission with 256 in flight, and one message at a time.
pub async fn run(options: &Options) -> Report {
    let dir = tempfile::tempdir().expect("a directory for the nodes");
    let mut nodes = vec![
        Process::init(dir.path(), "xa.bench", CONFIG),
        Process::init(dir.path(), "xb.bench", CONFIG),
    ];
    for node in &mut nodes {
        node.start().await;
    }
    introduce(&nodes).await;
    let bench = Bench::new(&nodes).await;
    let idle = bench.usage();
    bench.run(Mode::Streaming, 2_000, 256).await;
    let mut runs: Vec<(Mode, Run)> = Vec::new();
    for _ in 0..options.runs {
        for mode in [Mode::Streaming, Mode::Unary] {
            runs.push((mode, bench.run(mode, options.messages, 256).await));
        }
        runs.push((Mode::Single, bench.run(Mode::Single, options.messages.min(2_000), 1).await));
    }
    report(options, &runs, idle)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Streaming,
    Unary,
    Single,
}

struct Run {
    messages_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_us_per_message: f64,
    rss_peak_mb: f64,
    written_bytes_per_message: f64,
}

struct Bench {
    sender: Client,
    recipient: Client,
    pids: [u32; 2],
    draft: v1::Draft,
}

impl Bench {
    async fn new(nodes: &[Process]) -> Self {
        let [a, b] = nodes else { unreachable!("two nodes") };
        Self {
            sender: a.client(),
            recipient: b.client(),
            pids: [a.pid(), b.pid()],
            draft: draft(&b.unit),
        }
    }

    fn usage(&self) -> [Usage; 2] {
        self.pids.map(Usage::of)
    }

    async fn run(&self, mode: Mode, count: usize, in_flight: usize) -> Run {
        let cursor = self.newest_cursor().await;
        let inbox_before = self.arrived().await;
        let before = self.usage();
        let started = Instant::now();
        let latencies = match mode {
            Mode::Streaming => self.streaming(count, in_flight, cursor).await,
            Mode::Unary | Mode::Single => self.unary(count, in_flight, cursor).await,
        };
        let seconds = started.elapsed().as_secs_f64();
        let after = self.usage();
        assert_eq!(latencies.len(), count, "every message has its receipt");
        assert_eq!(self.arrived().await - inbox_before, count, "every message arrived once");
        let sum = |of: fn(&Usage) -> f64| -> f64 {
            after.iter().zip(&before).map(|(after, before)| of(after) - of(before)).sum()
        };
        let count = count as f64;
        Run {
            messages_per_second: count / seconds,
            p50_ms: percentile(&latencies, 50),
            p99_ms: percentile(&latencies, 99),
            cpu_us_per_message: sum(|usage| usage.cpu_seconds) * 1e6 / count,
            rss_peak_mb: after.iter().map(|u| u.rss_peak_bytes).max().unwrap_or(0) as f64 / 1e6,
            written_bytes_per_message: sum(|usage| usage.written_bytes as f64) / count,
        }
    }

    /// One bidirectional stream; at most so many messages without receipt.
    async fn streaming(&self, count: usize, in_flight: usize, cursor: String) -> Vec<f64> {
        let (requests, queued) = mpsc::channel(in_flight);
        let mut client = self.sender.messages.clone();
        let receipts = self.receipts(cursor);
        let window = std::sync::Arc::new(tokio::sync::Semaphore::new(in_flight));
        let (draft, permits) = (self.draft.clone(), window.clone());
        let (sent_in, mut sent_out) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for _ in 0..count {
                permits.acquire().await.expect("an open window").forget();
                let id = request_id();
                let draft = Some(draft.clone());
                let request = v1::SendMessageRequest {
                    request_id: id.clone(),
                    draft,
                    validate_only: false,
                    etag: String::new(),
                };
                let _ = sent_in.send((id, Instant::now()));
                requests.send(request).await.expect("an open stream");
            }
        });
        let answers = client.send_messages(ReceiverStream::new(queued)).await.expect("a stream");
        let mut answers = answers.into_inner();
        let mut settled = Settled::new(receipts, window);
        let mut sent_at = HashMap::new();
        let mut answered = 0;
        while answered < count || settled.latencies.len() < count {
            tokio::select! {
                answer = answers.next(), if answered < count => {
                    let answer = answer.expect("as many answers as requests").expect("an answer");
                    while let Ok((id, at)) = sent_out.try_recv() {
                        sent_at.insert(id, at);
                    }
                    let at = sent_at.remove(&answer.request_id).expect("an answer to a request");
                    let Some(Outcome::Sent(sent)) = answer.outcome else {
                        unreachable!("a message was refused: {answer:?}")
                    };
                    answered += 1;
                    settled.answered(sent.message_id, at);
                }
                () = settled.next() => {}
            }
        }
        settled.latencies
    }

    /// Unary calls; at most so many messages without receipt.
    async fn unary(&self, count: usize, in_flight: usize, cursor: String) -> Vec<f64> {
        let receipts = self.receipts(cursor);
        let window = std::sync::Arc::new(tokio::sync::Semaphore::new(in_flight));
        let (answers_in, mut answers) = mpsc::channel(in_flight);
        let (client, draft, permits) =
            (self.sender.messages.clone(), self.draft.clone(), window.clone());
        tokio::spawn(async move {
            for _ in 0..count {
                permits.acquire().await.expect("an open window").forget();
                let (mut client, draft, done) = (client.clone(), draft.clone(), answers_in.clone());
                tokio::spawn(async move {
                    let at = Instant::now();
                    let request = v1::SendMessageRequest {
                        request_id: request_id(),
                        draft: Some(draft),
                        validate_only: false,
                        etag: String::new(),
                    };
                    let sent = client.send_message(request).await.expect("an accepted message");
                    let message = sent.into_inner().message.expect("a message in the answer");
                    let _ = done.send((message.message_id, at)).await;
                });
            }
        });
        let mut settled = Settled::new(receipts, window);
        let mut answered = 0;
        while answered < count || settled.latencies.len() < count {
            tokio::select! {
                answer = answers.recv(), if answered < count => {
                    let (id, at) = answer.expect("as many answers as calls");
                    answered += 1;
                    settled.answered(id, at);
                }
                () = settled.next() => {}
            }
        }
        settled.latencies
    }

    /// Ids of messages whose ContentConsignment is durable at the sender, with the instant of
    /// hearing of it.
    fn receipts(&self, cursor: String) -> mpsc::Receiver<(String, Instant)> {
        let (heard, receipts) = mpsc::channel(4096);
        let mut client = self.sender.messages.clone();
        tokio::spawn(async move {
            let request = v1::WatchEventsRequest { cursor };
            let mut events = client.watch_events(request).await.expect("a watch").into_inner();
            while let Some(Ok(event)) = events.next().await {
                let consigned = event.kind() == v1::UnitEventKind::ReceiptReceived
                    && event.receipt_event() == v1::Event::ContentConsignment;
                if consigned && heard.send((event.message_id, Instant::now())).await.is_err() {
                    return;
                }
            }
        });
        receipts
    }

    async fn newest_cursor(&self) -> String {
        let mut cursor = String::new();
        loop {
            let request = v1::ListEventsRequest { cursor: cursor.clone(), page_size: 1000 };
            let page = self.sender.messages.clone().list_events(request).await.expect("events");
            let page = page.into_inner();
            if page.next_cursor == cursor {
                return cursor;
            }
            cursor = page.next_cursor;
        }
    }

    async fn arrived(&self) -> usize {
        let mut ids = BTreeSet::new();
        let mut page_token = String::new();
        loop {
            let filter = "direction = IN".to_owned();
            let request = v1::ListMessagesRequest { page_size: 1000, page_token, filter };
            let page = self.recipient.messages.clone().list_messages(request).await;
            let page = page.expect("a page").into_inner();
            for message in page.messages {
                assert!(ids.insert(message.message_id), "a message is in the inbox twice");
            }
            if page.next_page_token.is_empty() {
                return ids.len();
            }
            page_token = page.next_page_token;
        }
    }
}

/// Brings answers and receipts together, whichever comes first.
struct Settled {
    receipts: mpsc::Receiver<(String, Instant)>,
    window: std::sync::Arc<tokio::sync::Semaphore>,
    sent: HashMap<String, Instant>,
    early: HashMap<String, Instant>,
    latencies: Vec<f64>,
}

impl Settled {
    fn new(
        receipts: mpsc::Receiver<(String, Instant)>,
        window: std::sync::Arc<tokio::sync::Semaphore>,
    ) -> Self {
        let (sent, early) = (HashMap::new(), HashMap::new());
        Self { receipts, window, sent, early, latencies: Vec::new() }
    }

    fn answered(&mut self, id: String, at: Instant) {
        match self.early.remove(&id) {
            Some(heard) => self.settle(at, heard),
            None => drop(self.sent.insert(id, at)),
        }
    }

    async fn next(&mut self) {
        let (id, heard) = self.receipts.recv().await.expect("a live watch");
        match self.sent.remove(&id) {
            Some(at) => self.settle(at, heard),
            None => drop(self.early.insert(id, heard)),
        }
    }

    fn settle(&mut self, sent: Instant, heard: Instant) {
        self.latencies.push(heard.duration_since(sent).as_secs_f64() * 1e3);
        self.window.add_permits(1);
    }
}

fn report(options: &Options, runs: &[(Mode, Run)], idle: [Usage; 2]) -> Report {
    let of = |mode: Mode, figure: fn(&Run) -> f64| -> Vec<f64> {
        runs.iter().filter(|(of, _)| *of == mode).map(|(_, run)| figure(run)).collect()
    };
    let idle_mb = idle.iter().map(|usage| usage.rss_bytes).max().unwrap_or(0) as f64 / 1e6;
    let rate: fn(&Run) -> f64 = |run| run.messages_per_second;
    let cpu: fn(&Run) -> f64 = |run| run.cpu_us_per_message;
    let written: fn(&Run) -> f64 = |run| run.written_bytes_per_message;
    let rows = vec![
        Row::new("streaming, 256 in flight", "messages/s", of(Mode::Streaming, rate), Some(5000.0)),
        Row::new("unary, 256 in flight", "messages/s", of(Mode::Unary, rate), Some(4000.0)),
        Row::new("one in flight, p50", "ms", of(Mode::Single, |run| run.p50_ms), Some(2.0)),
        Row::new("one in flight, p99", "ms", of(Mode::Single, |run| run.p99_ms), Some(10.0)),
        Row::new("streaming, p50", "ms", of(Mode::Streaming, |run| run.p50_ms), None),
        Row::new("streaming, p99", "ms", of(Mode::Streaming, |run| run.p99_ms), None),
        Row::new("CPU of both nodes, streaming", "us/message", of(Mode::Streaming, cpu), None),
        Row::new("CPU of both nodes, unary", "us/message", of(Mode::Unary, cpu), None),
        Row::new(
            "written by both nodes, streaming",
            "B/message",
            of(Mode::Streaming, written),
            None,
        ),
        Row::new("memory of a node, idle", "MB", vec![idle_mb], Some(40.0)),
        Row::new(
            "memory of a node, peak of all runs",
            "MB",
            vec![runs.iter().map(|(_, run)| run.rss_peak_mb).fold(0.0, f64::max)],
            Some(150.0),
        ),
    ];
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let machine = format!(
        "{cores} cores shared by both nodes and the client; loopback; {} messages of 1 KiB a run, \
         {} runs",
        options.messages, options.runs
    );
    Report { schema: "relay.bench.pipeline/1", machine, rows }
}

/// An alert whose payload has 1 KiB as it travels.
pub(super) fn draft(to: &str) -> v1::Draft {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/demo/alert.json");
    let text = std::fs::read_to_string(path).expect("a message file");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap_or(Duration::ZERO).as_millis();
    let now = Timestamp::from_millis(u64::try_from(now).unwrap_or(0));
    let mut draft = MessageFile::parse(&text, now).expect("a good message file");
    draft.to = vec![to.to_owned()];
    let payload = draft.payload.as_mut().expect("a payload");
    payload.from.clear();
    if let Some(v1::payload::Body::Alert(alert)) = &mut payload.body {
        alert.summary = "Kit relays one-time codes in real time. ".repeat(10);
    }
    draft
}

fn percentile(latencies: &[f64], percent: usize) -> f64 {
    let mut sorted = latencies.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

/// Nobody takes what arrives here, so the inbox must hold all of it.
const CONFIG: &str = "\n[log]\nlevel = \"warn\"\n\n[inbox]\nqueue_messages_max = 1000000\n\
                      queue_bytes_max = \"16GiB\"\n";
