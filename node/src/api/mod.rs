//! The local API: case systems and operators send, read, acknowledge and manage peers over gRPC.
//!
//! Enter through [`start`]. It may use `relay`, `directory`, `store` and `clock` through the relay,
//! `config`, `telemetry` and `tasks`; never `link`. Invariants: nothing is answered that is not
//! durable; every error is made by [`status`], with a stable reason; a caller is known by the
//! kernel's or the certificate's word, not by his own.

mod access;
mod admission;
mod alarms;
mod approvals;
mod args;
mod attachments;
mod audit;
mod cases;
mod convert;
mod crowd;
mod cursor;
mod events;
mod expected;
mod filter;
mod list;
mod messages;
mod node;
mod peers;
mod send;
mod server;
mod socket;
mod status;
mod stream;
mod token;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use relay_proto::timestamp::Timestamp;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{config::ApiSettings, relay::Relay, tasks::Tasks};

use access::Accounts;
use status::Problem;

/// The API while it runs: where it listens.
#[derive(Debug, Clone)]
pub struct Api {
    socket: PathBuf,
    tcp: Option<SocketAddr>,
}

impl Api {
    /// The Unix socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The TCP address, when there is one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        self.tcp
    }
}

/// Binds and serves until the stop token. Call within a runtime.
pub fn start(settings: &ApiSettings, relay: Relay, tasks: &Tasks) -> Result<Api, ApiError> {
    let accounts = Accounts::new(&settings.accounts);
    server::start(settings, Service::new(relay, tasks.clone(), accounts))
}

/// Why the API did not start.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The directory of the socket is not there.
    #[error("the directory of the socket `{}` is not there: make it first", .0.display())]
    NoDirectory(PathBuf),
    /// Somebody answers on the socket.
    #[error(
        "`{}` is in use, another node answers on it: stop it, or choose another `api.socket`",
        .0.display()
    )]
    InUse(PathBuf),
    /// There is something that is no socket.
    #[error("`{}` is there and is not a socket: choose another path", .0.display())]
    NotASocket(PathBuf),
    /// The socket could not be made.
    #[error("cannot listen on `{}` (`api.socket`)", .path.display())]
    Socket {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The TCP address could not be taken.
    #[error("cannot listen on TCP {address} (`api.tcp.listen`)")]
    Tcp {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A certificate or key could not be read.
    #[error("cannot read `{}` (`api.tcp`)", .path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Certificate, key and authority do not make a TLS server.
    #[error("api.tcp: certificate, key and client authority do not go together")]
    Tls(#[source] tonic::transport::Error),
    /// The descriptors of the API could not be read; a fault of the build.
    #[error("the API's own description cannot be read")]
    Reflection(#[source] tonic_reflection::server::Error),
}

/// What all services share. Clones share it.
#[derive(Clone)]
struct Service {
    shared: Arc<Shared>,
}

struct Shared {
    relay: Relay,
    tasks: Tasks,
    stop: CancellationToken,
    accounts: Accounts,
    started: Timestamp,
    /// Places of messages that are being taken.
    submissions: admission::Admission,
    /// One permit an attachment that comes or goes.
    transfers: Arc<Semaphore>,
    /// One permit a stream that stays open.
    streams: Arc<Semaphore>,
    /// Fingerprints cost 100,000 hashes: kept by the peer's identity key.
    fingerprints: Mutex<BTreeMap<[u8; 32], String>>,
    /// Set by whoever watches the health.
    store_ended: AtomicBool,
}

impl Service {
    fn new(relay: Relay, tasks: Tasks, accounts: Accounts) -> Self {
        let (stop, started) = (tasks.drain_token(), relay.clock().now());
        let submissions = admission::Admission::new();
        let streams = Arc::new(Semaphore::new(STREAMS_MAX));
        let transfers = Arc::new(Semaphore::new(attachments::TRANSFERS_MAX));
        Self {
            shared: Arc::new(Shared {
                relay,
                tasks,
                stop,
                accounts,
                started,
                submissions,
                transfers,
                streams,
                fingerprints: Mutex::default(),
                store_ended: AtomicBool::new(false),
            }),
        }
    }

    fn relay(&self) -> &Relay {
        &self.shared.relay
    }

    /// Runs work that reads much or computes long away from the tasks that serve.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let service = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&service)).await;
        // A panic in there ends this call only.
        done.unwrap_or_else(|_| Err(Problem::internal("a blocking call panicked")))
    }

    /// Whether the store stopped.
    fn store_ended(&self) -> bool {
        self.shared.store_ended.load(Ordering::Relaxed)
    }

    fn fingerprints(&self) -> std::sync::MutexGuard<'_, BTreeMap<[u8; 32], String>> {
        self.shared.fingerprints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches and bulk streams that are open at once.
const STREAMS_MAX: usize = 256;
