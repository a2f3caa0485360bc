//! From settings to a running node: every room in its order.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use relay_core::{outbox, profile::Profile, quota};
use relay_proto::{card::Card, ids::NodeId, reason::Reason};
use sha2::{Digest as _, Sha512};
use tracing::warn;

use super::RunError;
use crate::{
    api::{self, Api},
    clock::Clock,
    config::{ApiSettings, NotifySettings, Settings},
    directory::Directory,
    keys::{KeyStore, Signer, log_of, open_log_of, read_card},
    link::{self, Link, LocalNode, TransportIdentity, Wire},
    relay::{Limits, Parts, Random, Relay},
    store::{Backend, Gone, NewAlarm, OpenStore, QueueMax, ScrubSettings, Store, StoreError},
    tasks::Tasks,
    telemetry::Counters,
    tlog::{Opened, Tlog, TlogError},
};

/// What a node runs, as it says in receipts and Hellos.
pub const SOFTWARE: &str = concat!("relay-node/", env!("CARGO_PKG_VERSION"));

/// What a node is built from.
pub struct NodeParts {
    /// This node.
    pub id: NodeId,
    /// The working keys.
    pub keys: KeyStore,
    /// This unit's card.
    pub card: Card,
    /// Where the store lives.
    pub backend: Backend,
    /// How the journal is scrubbed.
    pub scrub: ScrubSettings,
    /// The directory of anchor files; nothing in simulations.
    pub anchors: Option<PathBuf>,
    /// The time.
    pub clock: Clock,
    /// The networks.
    pub profiles: Vec<Arc<Profile>>,
    /// Bounds.
    pub limits: Limits,
    /// Who is told of terms beside those that watch.
    pub notify: NotifySettings,
    /// The wire to other nodes.
    pub link: link::LinkSettings,
    /// Another socket than the system's, for simulations.
    pub wire: Option<Wire>,
    /// The local API; nothing in simulations.
    pub api: Option<ApiSettings>,
    /// Random bytes.
    pub random: Random,
}

impl NodeParts {
    /// Reads keys and card, takes the rest from the settings.
    pub fn from_settings(settings: Settings, clock: Clock) -> Result<Self, RunError> {
        let card =
            read_card(&settings.keys.card).map_err(|error| RunError::start("card", error))?;
        let generation = open_log_of(&card).map_or(1, |log| log.origin.generation);
        let keys = KeyStore::open(&settings.keys.dir, generation)
            .map_err(|error| RunError::start("keys", error))?;
        Ok(Self {
            id: settings.node.id.clone(),
            keys,
            card,
            backend: Backend::of(&settings),
            scrub: ScrubSettings {
                bytes_per_second: settings.store.scrub_bytes_per_second,
                interval: settings.store.scrub_interval,
            },
            anchors: Some(settings.node.anchor_dir.clone()),
            clock,
            limits: limits(&settings),
            notify: settings.notify.clone(),
            link: link::LinkSettings::from(&settings.link),
            profiles: settings.profiles,
            wire: None,
            api: Some(settings.api),
            random: Arc::new(|bytes| rand::Rng::fill_bytes(&mut rand::rng(), bytes)),
        })
    }
}

/// A running node.
pub struct Node {
    id: NodeId,
    tasks: Tasks,
    relay: Relay,
    link: Link,
    _api: Option<Api>,
}

impl Node {
    /// Builds every room and starts serving. Call within a runtime.
    pub async fn start(parts: NodeParts) -> Result<Self, RunError> {
        let tasks = Tasks::new();
        let started = Self::build(parts, tasks.clone()).await;
        if started.is_err() {
            // What was begun ends before the runtime does.
            tasks.shutdown(START_GRACE).await;
        }
        started
    }

    async fn build(parts: NodeParts, tasks: Tasks) -> Result<Self, RunError> {
        let NodeParts { id, keys, card, .. } = &parts;
        let origin = log_of(card, keys, id).map_err(|error| RunError::start("card", error))?;
        let store = OpenStore { backend: parts.backend.clone(), unit: id.unit().clone(), origin };
        let store = store.open().map_err(|error| RunError::start("store", error))?;
        if store.succession(store.origin()).is_ok_and(|ended| ended.is_some()) {
            let why = "the log that the card names ended: run `relay-node log succeed` again";
            return Err(RunError::start("log", why));
        }
        let directory = Directory::load(store.clone(), card.clone())
            .map_err(|error| RunError::start("directory", error))?;
        if let Err(error) = directory.keep_own(parts.clock.now()).await {
            // A full disk, say: the next start does it.
            warn!(%error, "our card is not kept yet for evidence that outlives it");
        }
        let signer = Arc::new(keys.signer().clone());
        let tlog = open_log(&parts, &store, &signer, &tasks).await?;
        let relay = Relay::new(Parts {
            node: id.clone(),
            software: SOFTWARE.to_owned(),
            store,
            directory: directory.clone(),
            tlog,
            signer,
            clock: parts.clock.clone(),
            profiles: parts.profiles.clone(),
            limits: parts.limits.clone(),
            notify: parts.notify.clone(),
            counters: Counters::new(),
            tasks: tasks.clone(),
            random: Arc::clone(&parts.random),
        })
        .map_err(|error| RunError::start("relay", error))?;
        let link = start_link(&parts, &relay, directory, &tasks)?;
        let clock = parts.clock.clone();
        let scrubbing = relay.store().keep_scrubbing(parts.scrub, move || clock.now(), &tasks);
        scrubbing.map_err(|error| RunError::start("scrub", error))?;
        relay.store().keep_swept(&tasks);
        // Last: whoever calls finds a node that has all that it needs, and cannot take its
        // descriptors before.
        let api = match &parts.api {
            Some(settings) => Some(
                api::start(settings, relay.clone(), &tasks)
                    .map_err(|error| RunError::start("api", error))?,
            ),
            None => None,
        };
        Ok(Self { id: id.clone(), tasks, relay, link, _api: api })
    }

    /// This node's id.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// Its tasks.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Its relay.
    pub fn relay(&self) -> &Relay {
        &self.relay
    }

    /// Its store.
    pub fn store(&self) -> &Store {
        self.relay.store()
    }

    /// Its link.
    pub fn link(&self) -> Option<&Link> {
        Some(&self.link)
    }
}

/// Opens the log and tells the operator what it shows of a store that was set back.
async fn open_log(
    parts: &NodeParts,
    store: &Store,
    signer: &Arc<Signer>,
    tasks: &Tasks,
) -> Result<Tlog, RunError> {
    let opened = Tlog::open(store.clone(), Arc::clone(signer), parts.anchors.as_deref());
    let Opened { tlog, alarms } = opened.map_err(|error| RunError::start("log", error))?;
    for (reason, detail) in alarms {
        let (peer, evidence, now) = (parts.id.unit().to_string(), Bytes::new(), parts.clock.now());
        let new = NewAlarm { reason, peer, detail, evidence, now };
        match store.alarm_once(new, quota::Meter::unlimited()).await {
            // The hold stands without it, and is told with every status.
            Ok(()) | Err(StoreError::Full) => {}
            Err(error) => return Err(RunError::start("log", error)),
        }
    }
    if tlog.hold().is_none() {
        let gone = Gone {
            reason: Reason::LogHeld,
            why: "the log signs",
            through: store.log_head().seq,
            cause: tlog.held(),
        };
        match store.end_alarms(parts.id.unit(), gone, parts.clock.now()).await {
            Ok(()) | Err(StoreError::Full) => {}
            Err(error) => return Err(RunError::start("log", error)),
        }
    }
    match tlog.start(tasks).await {
        // The signer may come later: messages are taken, receipts wait.
        Ok(()) | Err(TlogError::Sign(_)) => Ok(tlog),
        Err(error) => Err(RunError::start("log", error)),
    }
}

fn start_link(
    parts: &NodeParts,
    relay: &Relay,
    directory: Directory,
    tasks: &Tasks,
) -> Result<Link, RunError> {
    let fail = |error| RunError::start("link", error);
    let mut boot_id = [0; 16];
    (parts.random)(&mut boot_id);
    let local = LocalNode {
        node: parts.id.clone(),
        instance_id: *parts.keys.instance().as_bytes(),
        boot_id,
    };
    let der = parts.keys.transport().pkcs8_der();
    // The QUIC library takes 64 bytes; the key file holds 32 random ones.
    let reset: [u8; 64] = Sha512::digest(parts.keys.reset_key().as_bytes()).into();
    let identity = TransportIdentity::from_pkcs8(local, &der, &reset).map_err(fail)?;
    let (book, hello) = (Arc::new(directory), relay.hello_source());
    let settings = parts.link.clone();
    let started = match parts.wire.clone() {
        Some(wire) => Link::start_on(wire, settings, identity, book, hello, tasks.clone()),
        None => Link::start(settings, identity, book, hello, tasks.clone()),
    };
    let (link, events) = started.map_err(fail)?;
    relay.start(link.clone(), events);
    Ok(link)
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        outbox: outbox::Settings {
            window_messages: usize::try_from(settings.outbox.window_messages).unwrap_or(256),
            window_bytes: usize::try_from(settings.outbox.window_bytes).unwrap_or(usize::MAX),
            schedule: settings.retry,
            ..outbox::Settings::default()
        },
        queue_max: QueueMax {
            messages: u64::from(settings.outbox.queue_messages_max),
            bytes: settings.outbox.queue_bytes_max,
        },
        inbox_messages_max: u64::from(settings.inbox.queue_messages_max),
        inbox_bytes_max: settings.inbox.queue_bytes_max,
        quotas: settings.quota,
    }
}

/// How long what a failed start had begun may take to end.
const START_GRACE: Duration = Duration::from_secs(5);
