//! The honest pair: two nodes that exchange messages all the while, each way one at a time, and how
//! long each took from the call to the verified, durable receipt.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use relay_proto::{file::MessageFile, timestamp::Timestamp, v1};
use tokio::{task::JoinHandle, time::Instant};
use tonic::{Status, Streaming};

use crate::{
    client::Client,
    process::{Process, request_id},
};

/// The running pair.
pub struct Honest {
    record: Arc<Mutex<Record>>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Record {
    samples: Vec<(Instant, f64)>,
    failures: Vec<String>,
}

/// Latencies of a stretch of time, in milliseconds.
pub struct Stretch {
    /// Medians of the windows.
    pub p50: f64,
    /// See `p50`.
    pub p99: f64,
    /// Exchanges.
    pub count: usize,
}

impl Honest {
    /// Starts to exchange.
    pub fn start(one: &Process, other: &Process) -> Self {
        let record = Arc::<Mutex<Record>>::default();
        let tasks = [(one, other), (other, one)].map(|(from, to)| {
            let (client, draft, record) = (from.client(), draft(&to.unit), record.clone());
            tokio::spawn(exchange(client, draft, record))
        });
        Self { record, tasks: tasks.into() }
    }

    /// What was measured from `from` on until now.
    pub fn since(&self, from: Instant) -> Stretch {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let mut windows: Vec<Vec<f64>> = Vec::new();
        for (at, latency) in record.samples.iter().filter(|(at, _)| *at >= from) {
            let place = (*at - from).as_millis() / WINDOW.as_millis();
            let place = usize::try_from(place).unwrap_or(usize::MAX);
            if windows.len() <= place {
                windows.resize_with(place + 1, Vec::new);
            }
            windows.get_mut(place).expect("made above").push(*latency);
        }
        let count = windows.iter().map(Vec::len).sum();
        // The last one may hold too few to say anything.
        if windows.len() > 1 {
            windows.pop();
        }
        let of = |percent| {
            percentile(windows.iter().map(|w| percentile(w.iter().copied(), percent)), 50)
        };
        Stretch { p50: of(50), p99: of(99), count }
    }

    /// What failed since it was last asked.
    pub fn failures(&self) -> Vec<String> {
        std::mem::take(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner).failures)
    }
}

impl Drop for Honest {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A percentile of values in any order.
pub fn percentile(values: impl Iterator<Item = f64>, percent: usize) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

async fn exchange(client: Client, draft: v1::Draft, record: Arc<Mutex<Record>>) {
    let mut tick = tokio::time::interval(PACE);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut watch = None;
    loop {
        tick.tick().await;
        let started = Instant::now();
        let done = tokio::time::timeout(LATE, one(&client, &draft, &mut watch)).await;
        let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
        match done {
            Ok(Ok(())) => {
                record.samples.push((Instant::now(), started.elapsed().as_secs_f64() * 1e3));
            }
            Ok(Err(status)) => record.failures.push(format!("honest exchange: {status}")),
            Err(_) => record.failures.push(format!("honest exchange took over {LATE:?}")),
        }
        if !record.failures.is_empty() {
            watch = None;
        }
    }
}

/// One message, to its receipt.
async fn one(
    client: &Client,
    draft: &v1::Draft,
    watch: &mut Option<(String, Streaming<v1::UnitEvent>)>,
) -> Result<(), Status> {
    let mut messages = client.messages.clone();
    let (cursor, events) = match watch {
        Some(watch) => watch,
        None => {
            let cursor = newest(client).await?;
            let request = v1::WatchEventsRequest { cursor: cursor.clone() };
            watch.insert((cursor, messages.watch_events(request).await?.into_inner()))
        }
    };
    let request = v1::SendMessageRequest {
        request_id: request_id(),
        draft: Some(draft.clone()),
        validate_only: false,
        etag: String::new(),
    };
    let sent = messages.send_message(request).await?.into_inner().message.unwrap_or_default();
    while let Some(event) = events.message().await? {
        cursor.clone_from(&event.cursor);
        let consigned = event.receipt_event() == v1::Event::ContentConsignment;
        let receipt = event.kind() == v1::UnitEventKind::ReceiptReceived && consigned;
        if receipt && event.message_id == sent.message_id {
            return Ok(());
        }
    }
    Err(Status::unavailable("the watch ended"))
}

async fn newest(client: &Client) -> Result<String, Status> {
    let mut cursor = String::new();
    loop {
        let request = v1::ListEventsRequest { cursor: cursor.clone(), page_size: 1000 };
        let page = client.messages.clone().list_events(request).await?.into_inner();
        if page.next_cursor == cursor {
            return Ok(cursor);
        }
        cursor = page.next_cursor;
    }
}

/// The demo's alert, to one unit.
pub fn draft(to: &str) -> v1::Draft {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/demo/alert.json");
    let text = std::fs::read_to_string(path).expect("a message file");
    let mut draft = MessageFile::parse(&text, now()).expect("a good message file");
    draft.to = vec![to.to_owned()];
    draft.payload.as_mut().expect("a payload").from.clear();
    draft
}

/// The time of day.
pub fn now() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap_or(Duration::ZERO).as_millis();
    Timestamp::from_millis(u64::try_from(now).unwrap_or(0))
}

/// Between two messages of one direction.
const PACE: Duration = Duration::from_millis(20);

/// A window of some two hundred exchanges has a 99th percentile worth the name.
const WINDOW: Duration = Duration::from_secs(2);

/// An exchange that takes longer has failed.
const LATE: Duration = Duration::from_secs(10);
