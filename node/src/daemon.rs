//! Composition root: builds every room from checked settings, starts and stops them in order.
//!
//! Enter through [`run`], or through [`Node`] in tests and simulations. Only `main` and tests may
//! use this module.
//!
//! Start: keys, store, directory, log, relay, link, API. Stop (SIGTERM, SIGINT): readiness off and
//! new work refused, transfers finish within the grace period, QUIC closes with a code, the store
//! is flushed and closed.

mod build;
mod error;

use std::{error::Error, path::Path, time::Duration};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use relay_proto::{ids::NodeId, timestamp::Timestamp};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

pub use build::{Node, NodeParts, SOFTWARE};
pub use error::RunError;

use crate::{
    clock::Clock,
    config::Settings,
    faults,
    keys::InstanceId,
    store::{self, Backend, Ended, space::ReserveSettings},
    tasks::Stopped,
};

/// Runs a node until it is told to stop.
pub fn run(settings: Settings) -> Result<(), RunError> {
    faults::begin();
    abort_on_index_panic();
    allow_all_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("relay")
        .build()
        .map_err(|source| RunError::start("runtime", source))?;
    let grace = settings.stop.grace;
    let result = runtime.block_on(serve(settings));
    runtime.shutdown_timeout(grace.min(LAST_WAIT));
    result
}

/// As many descriptors as the system allows: the usual soft limit is one for programs of another
/// time, that use select(2).
fn allow_all_descriptors() {
    let allowed = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = allowed {
        warn!(%error, "the soft limit of descriptors stays");
    }
}

async fn serve(settings: Settings) -> Result<(), RunError> {
    // Signals are caught before anything is opened, so that a stop during the start is a stop in
    // order.
    let mut terminate = signals(SignalKind::terminate())?;
    let mut interrupt = signals(SignalKind::interrupt())?;
    let clock = Clock::new(&settings.clock);
    let grace = settings.stop.grace;
    let node = Node::start(NodeParts::from_settings(settings, clock)?).await?;
    info!(node = %node.id(), software = SOFTWARE, "node ready");
    let stop = node.tasks().stop_token();
    let why = tokio::select! {
        biased;
        ended = node.store().ended() => Some(ended),
        () = stop.cancelled() => None,
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    // Nothing may be answered any more: no grace, no flush. Whoever called tells why.
    if let Some(ended) = why {
        // Threads that wait in the runtime's timers would panic when it goes.
        stop.cancel();
        failed(ended)?;
    }
    node.stop(grace).await
}

/// What the end of the store means for the process.
fn failed(ended: Ended) -> Result<(), RunError> {
    match ended {
        Ended::Clean => Ok(()),
        Ended::Failed(text) => Err(RunError::Journal { source: text.into() }),
        Ended::IndexFailed(why) => Err(RunError::Index { why }),
    }
}

fn signals(kind: SignalKind) -> Result<tokio::signal::unix::Signal, RunError> {
    signal(kind).map_err(|source| RunError::start("signals", source))
}

impl Node {
    /// Stops in order. What is durable stays; what was not answered was not promised.
    pub async fn stop(self, grace: Duration) -> Result<(), RunError> {
        let failure = self.tasks().failure().cloned();
        info!("node stops");
        // Readiness off, new work refused: the API watches this token.
        self.tasks().drain_token().cancel();
        if let Some(link) = self.link() {
            link.drain();
            if tokio::time::timeout(grace, self.relay().drain()).await.is_err() {
                // They are due again at the next start.
                warn!("transfers did not finish within the grace period");
            }
            link.shutdown().await;
        }
        self.tasks().stop_token().cancel();
        if let Stopped::Forced { left } = self.tasks().shutdown(grace).await {
            warn!(left, "grace period over");
        }
        failed(self.store().close().await)?;
        info!("store closed");
        match failure {
            Some(failure) => {
                Err(RunError::Task { name: failure.task.to_owned(), why: failure.how })
            }
            None => Ok(()),
        }
    }
}

/// Makes an empty store in an empty directory; only `init` calls this.
pub fn create_store(
    dir: &Path,
    node: &NodeId,
    instance: InstanceId,
    now: Timestamp,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let backend = Backend::Embedded {
        dir: dir.to_owned(),
        segment_bytes: crate::config::StoreSettings::default().segment_bytes,
        cache_bytes: 0,
        reserve: ReserveSettings::NONE,
    };
    Ok(store::create(&backend, node.unit(), *instance.as_bytes(), now)?)
}

/// The index panics in threads of its own when its disk fails. It is only a projection, but a
/// process that lost a part of itself must not go on: it ends, starts again and rebuilds.
fn abort_on_index_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        let in_index = info.location().is_some_and(|at| at.file().contains("/sled-"));
        // While it opens the panic is caught, and the index made anew.
        if in_index && !store::is_index_opening() {
            std::process::exit(1);
        }
    }));
}

/// How long threads of the runtime may take to end.
const LAST_WAIT: Duration = Duration::from_secs(5);
