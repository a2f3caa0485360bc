//! Checked settings: what the other rooms are built from.
//!
//! Made only by [`super::load`]; `Default` of a section is the documented default of each of its
//! keys. Invariant: every value lies within the limits that `config/relay.toml` states; paths are
//! absolute or relative to the process, no longer to the file.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use super::account::AccountSettings;
use relay_core::{
    case::Stage,
    outbox::{WINDOW_BYTES, WINDOW_MESSAGES},
    profile::Profile,
};
/// `[quota]` and `[retry]`, with their defaults.
pub use relay_core::{quota::Settings as QuotaSettings, retry::Schedule as RetrySettings};
use relay_proto::ids::NodeId;

/// All settings of one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Who this node is.
    pub node: NodeSettings,
    /// Where its keys are.
    pub keys: KeySettings,
    /// The wire to other nodes.
    pub link: LinkSettings,
    /// The local door for case systems and operators.
    pub api: ApiSettings,
    /// Where the time comes from.
    pub clock: ClockSettings,
    /// The journal and its index.
    pub store: StoreSettings,
    /// What waits for peers.
    pub outbox: OutboxSettings,
    /// What waits for our own case systems.
    pub inbox: InboxSettings,
    /// What each peer may cause in an hour.
    pub quota: QuotaSettings,
    /// When a failed transfer is tried again.
    pub retry: RetrySettings,
    /// The networks that this node takes part in, at least one.
    pub profiles: Vec<Arc<Profile>>,
    /// Logs.
    pub log: LogSettings,
    /// Who is told beside those that watch.
    pub notify: NotifySettings,
    /// Stopping.
    pub stop: StopSettings,
}

impl Settings {
    /// The profile of this name.
    pub fn profile(&self, id: &str) -> Option<&Arc<Profile>> {
        self.profiles.iter().find(|profile| profile.id == id)
    }
}

/// `[node]`
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSettings {
    /// `unit` and `name` together.
    pub id: NodeId,
    /// The store.
    pub dir: PathBuf,
    /// Where the log's anchors are kept, apart from the store and its backups.
    pub anchor_dir: PathBuf,
}

/// `[notify]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifySettings {
    /// A program and its arguments; empty: none.
    pub command: Vec<String>,
    /// How far a term must have run.
    pub from: Stage,
}

impl Default for NotifySettings {
    fn default() -> Self {
        Self { command: Vec::new(), from: Stage::Late }
    }
}

/// `[keys]`
#[derive(Debug, Clone, PartialEq)]
pub struct KeySettings {
    /// The working keys, the instance id and the QUIC reset key.
    pub dir: PathBuf,
    /// This unit's own card, as its peers have it.
    pub card: PathBuf,
}

/// `[link]`
#[derive(Debug, Clone, PartialEq)]
pub struct LinkSettings {
    /// UDP address to listen on; port 0: any free one.
    pub listen: SocketAddr,
    /// What peers may dial, `host:port`; empty: this node only dials.
    pub advertise: Vec<String>,
    /// Whether sessions without post-quantum key exchange are taken.
    pub key_exchange: KeyExchange,
    /// A session is over when nothing was heard for so long.
    pub idle_timeout: Duration,
    /// Silence after which a sign of life is sent.
    pub keep_alive: Duration,
    /// One address must answer and finish TLS by then.
    pub handshake_timeout: Duration,
    /// From the end of TLS to a session that both sides have taken.
    pub hello_timeout: Duration,
    /// A half-received frame that makes no progress for so long resets its stream.
    pub progress_timeout: Duration,
    /// Whether every packet is padded to full size, so that sizes tell nothing.
    pub pad_packets: bool,
}

/// `link.key_exchange`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyExchange {
    /// X25519MLKEM768 where the peer has it, X25519 otherwise.
    Prefer,
    /// X25519MLKEM768 or no session.
    Require,
}

/// `[api]`
#[derive(Debug, Clone, PartialEq)]
pub struct ApiSettings {
    /// The Unix socket; callers are known by their peer credentials.
    pub socket: PathBuf,
    /// Its mode.
    pub socket_mode: u32,
    /// A TCP listener for callers with client certificates.
    pub tcp: Option<ApiTcpSettings>,
    /// Who may call what; none: the user that the node runs as, everything.
    pub accounts: Vec<AccountSettings>,
}

/// `[api.tcp]`
#[derive(Debug, Clone, PartialEq)]
pub struct ApiTcpSettings {
    /// TCP address to listen on.
    pub listen: SocketAddr,
    /// The server's certificate chain, PEM.
    pub certificate: PathBuf,
    /// The server's private key, PEM.
    pub key: PathBuf,
    /// The authority that every client certificate must come from, PEM.
    pub client_ca: PathBuf,
}

/// `[clock]`
#[derive(Debug, Clone, PartialEq)]
pub struct ClockSettings {
    /// Whose word it is that the clock is right.
    pub source: ClockSource,
    /// With `assumed`: the bound of the error that the operator vouches for.
    pub assumed_uncertainty: Duration,
    /// Where the kernel may not be asked: files that a time service touches when it has set the
    /// clock.
    pub state_files: Vec<PathBuf>,
    /// There: a file not touched for so long says nothing any more.
    pub state_age_max: Duration,
    /// There: the bound of the error while such a file is fresh.
    pub state_uncertainty: Duration,
    /// What puts a demo unit's clock wrong, for campaigns and drills.
    pub shift_file: Option<PathBuf>,
}

/// `clock.source`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockSource {
    /// What the machine's time service says.
    Kernel,
    /// The operator's word; every receipt says so.
    Assumed,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq)]
pub struct StoreSettings {
    /// Length of one journal file.
    pub segment_bytes: u64,
    /// Memory of the index.
    pub index_cache_bytes: u64,
    /// Part of the file system that is kept for a full disk.
    pub reserve_percent: u32,
    /// At least so much of it.
    pub reserve_bytes_min: u64,
    /// What the scrub reads in a second at most; 0: nothing is scrubbed.
    pub scrub_bytes_per_second: u64,
    /// From the beginning of a round of the scrub to that of the next.
    pub scrub_interval: Duration,
}

/// `[outbox]`
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxSettings {
    /// Most messages of each priority that wait for one peer.
    pub queue_messages_max: u32,
    /// Most bytes of each priority that wait for one peer.
    pub queue_bytes_max: u64,
    /// Most messages of each priority in flight to one peer without receipt.
    pub window_messages: u32,
    /// Most bytes of each priority in flight to one peer without receipt.
    pub window_bytes: u64,
}

/// `[inbox]`
#[derive(Debug, Clone, PartialEq)]
pub struct InboxSettings {
    /// Most messages of one peer that nobody has acknowledged.
    pub queue_messages_max: u32,
    /// Most bytes of one peer that nobody has acknowledged.
    pub queue_bytes_max: u64,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq)]
pub struct LogSettings {
    /// How a record is written.
    pub format: LogFormat,
    /// The least important records that are written.
    pub level: LogLevel,
}

/// `log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// One line of text.
    Text,
}

/// `log.level`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// An operator must act.
    Error,
    /// An operator may have to act.
    Warn,
    /// Once per life event.
    Info,
    /// Once per message.
    Debug,
    /// Everything of this program.
    Trace,
}

/// `[stop]`
#[derive(Debug, Clone, PartialEq)]
pub struct StopSettings {
    /// Transfers may finish for so long after a stop was asked for.
    pub grace: Duration,
}

impl Default for LinkSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 0], 7443)),
            advertise: Vec::new(),
            key_exchange: KeyExchange::Prefer,
            idle_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            hello_timeout: Duration::from_secs(10),
            progress_timeout: Duration::from_secs(30),
            pad_packets: false,
        }
    }
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            socket: "/run/relay/api.sock".into(),
            socket_mode: 0o660,
            tcp: None,
            accounts: Vec::new(),
        }
    }
}

impl Default for ClockSettings {
    fn default() -> Self {
        Self {
            source: ClockSource::Kernel,
            assumed_uncertainty: Duration::from_secs(1),
            state_files: vec!["/run/systemd/timesync/synchronized".into()],
            state_age_max: Duration::from_secs(3600),
            state_uncertainty: Duration::from_secs(1),
            shift_file: None,
        }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            // Large enough that sealing is rare, small enough that preparing one does not disturb a
            // disk.
            segment_bytes: 64 << 20,
            index_cache_bytes: 16 << 20,
            reserve_percent: 5,
            reserve_bytes_min: 256 << 20,
            // A hundredth of what a disk gives, a hundredth of a core.
            scrub_bytes_per_second: 4 << 20,
            scrub_interval: Duration::from_secs(86_400),
        }
    }
}

impl Default for OutboxSettings {
    fn default() -> Self {
        Self {
            queue_messages_max: 10_000,
            queue_bytes_max: 256 << 20,
            window_messages: WINDOW_MESSAGES,
            window_bytes: u64::from(WINDOW_BYTES),
        }
    }
}

impl Default for InboxSettings {
    fn default() -> Self {
        Self { queue_messages_max: 10_000, queue_bytes_max: 256 << 20 }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Json, level: LogLevel::Info }
    }
}

impl Default for StopSettings {
    fn default() -> Self {
        Self { grace: Duration::from_secs(30) }
    }
}
