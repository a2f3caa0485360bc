//! What is watched of the attacked node from outside: its memory, its health over a connection of
//! its own, its log.

use std::{collections::BTreeMap, time::Duration};

use tokio::{sync::oneshot, task::JoinHandle, time::Instant};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use super::honest::percentile;
use crate::{bench::Usage, client::Client, process::Process};

/// Watches from its start until [`Watch::end`].
pub struct Watch {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Seen>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// The highest resident memory, bytes.
    pub rss_peak: u64,
    /// Health calls that did not say SERVING.
    pub unhealthy: usize,
    /// The 99th percentile of their latency, milliseconds.
    pub health_p99: f64,
}

impl Watch {
    /// Begins.
    pub fn start(node: &Process) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let (client, pid) = (node.client(), node.pid());
        let task = tokio::spawn(async move {
            let mut tick = tokio::time::interval(PACE);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let (mut seen, mut latencies) = (Seen::default(), Vec::new());
            while stopped.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Empty) {
                tick.tick().await;
                seen.rss_peak = seen.rss_peak.max(Usage::of(pid).rss_bytes);
                let started = Instant::now();
                seen.unhealthy += usize::from(!serves(&client).await);
                latencies.push(started.elapsed().as_secs_f64() * 1e3);
            }
            seen.health_p99 = percentile(latencies.into_iter(), 99);
            seen
        });
        Self { stop, task }
    }

    /// Ends, and says what was seen.
    pub async fn end(self) -> Seen {
        let _ = self.stop.send(());
        self.task.await.expect("the watch ends by itself")
    }
}

/// Whether the node says that it serves.
pub async fn serves(client: &Client) -> bool {
    let mut health = client.health.clone();
    let answer = tokio::time::timeout(LATE, health.check(HealthCheckRequest::default())).await;
    matches!(answer, Ok(Ok(answer)) if answer.get_ref().status() == ServingStatus::Serving)
}

/// What a node logged in a stretch of time.
pub struct Lines {
    /// All lines.
    pub all: usize,
    /// Lines about strangers, by address without the port.
    pub by_source: BTreeMap<String, usize>,
    /// Lines that tell of a panic.
    pub panics: Vec<String>,
}

impl Lines {
    /// Of what stands in a node's log after so many bytes.
    pub fn after(node: &Process, bytes: usize) -> Self {
        let log = node.log();
        let mut lines = Self { all: 0, by_source: BTreeMap::new(), panics: Vec::new() };
        for line in log.get(bytes..).unwrap_or_default().lines() {
            lines.all += 1;
            if line.contains("panicked") {
                lines.panics.push(line.to_owned());
            }
            if let Some((_, rest)) = line.split_once("\"address\":\"") {
                let source = rest.split([':', '"']).next().unwrap_or_default();
                *lines.by_source.entry(source.to_owned()).or_default() += 1;
            }
        }
        lines
    }

    /// Lines about anything but strangers.
    pub fn of_peers(&self) -> usize {
        self.all.saturating_sub(self.by_source.values().sum())
    }

    /// Most lines about one source.
    pub fn most(&self) -> usize {
        self.by_source.values().copied().max().unwrap_or(0)
    }
}

/// Between two looks.
const PACE: Duration = Duration::from_millis(20);

/// A health call that takes longer has failed.
const LATE: Duration = Duration::from_secs(5);
