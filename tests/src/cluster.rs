//! Nodes in this process: real keys, stores, QUIC on loopback; made by `init` as an operator would.

use std::{
    net::UdpSocket,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use relay_node::{
    clock::Clock,
    config::{self, ClockSource},
    daemon::{Node, NodeParts, create_store},
    directory::Heard,
    init::{InitOptions, Law, People, init},
    relay::submit::{Principal, Submission, SubmitError, Submitted},
    store::{Store, records::EntryRecord},
};
use relay_proto::{
    file::MessageFile,
    ids::{Digest, UnitId, Uuid},
    payload::{
        Completion, NewIds, PayloadContext, ProfileDefaults, UnitFacts, all_kinds, complete,
        kind_of_draft,
    },
    timestamp::Timestamp,
    v1,
};

/// Some nodes that know each other.
pub struct Cluster {
    /// Where their files are.
    pub dir: tempfile::TempDir,
    /// The nodes, by the order of their units.
    pub members: Vec<Member>,
}

/// One node and what it takes to start it again.
pub struct Member {
    /// Its unit.
    pub unit: UnitId,
    /// Its directory.
    pub dir: PathBuf,
    /// The node, while it runs.
    pub node: Option<Node>,
    /// What it keeps free of its disk: nothing, for these nodes live shortly. With more than any
    /// disk has, it is full by its own measure.
    pub reserve_bytes_min: u64,
}

impl Cluster {
    /// Starts a node for each unit and introduces all of them to each other.
    pub async fn start(units: &[&str]) -> Self {
        Self::begin(units, "", "").await
    }

    /// As [`Cluster::start`], with what each unit's card says of its law; they are members of all
    /// networks whose profiles ship.
    pub async fn start_by_law(units: &[(&str, Law)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the cluster");
        let mut members = Vec::new();
        for (unit, law) in units {
            let member = Member::init(dir.path(), unit, law.clone());
            member.join_all();
            members.push(member);
        }
        Self::run(dir, members).await
    }

    /// As [`Cluster::start`], with further sections in every node's configuration.
    pub async fn start_with(units: &[&str], sections: &str) -> Self {
        Self::begin(units, sections, "").await
    }

    /// As [`Cluster::start`], and the disk of one of them is full by its own measure.
    pub async fn start_with_full(units: &[&str], full: &str) -> Self {
        Self::begin(units, "", full).await
    }

    async fn begin(units: &[&str], sections: &str, full: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the cluster");
        let mut members = Vec::new();
        for unit in units {
            let mut member = Member::init(dir.path(), unit, Law::default());
            member.configure(sections);
            if *unit == full {
                member.reserve_bytes_min = u64::MAX / 4;
            }
            members.push(member);
        }
        Self::run(dir, members).await
    }

    async fn run(dir: tempfile::TempDir, mut members: Vec<Member>) -> Self {
        for member in &mut members {
            member.start().await;
        }
        let cluster = Self { dir, members };
        cluster.introduce().await;
        cluster
    }

    /// The running node of a place in the list.
    pub fn node(&self, place: usize) -> &Node {
        self.members.get(place).and_then(|member| member.node.as_ref()).expect("a running node")
    }

    async fn introduce(&self) {
        for member in &self.members {
            let node = member.node.as_ref().expect("a running node");
            for other in self.members.iter().filter(|other| other.unit != member.unit) {
                let now = node.relay().clock().now();
                let card = std::fs::read(other.card()).expect("a card");
                let directory = node.relay().directory();
                let peer = directory.add(&card, now).await.expect("a valid card");
                let heard = Heard::All(directory.fingerprint(&peer).concat());
                directory.verify(&other.unit, &heard, "test", now).await.expect("equal digits");
            }
            node.relay().directory_changed();
        }
    }
}

impl Member {
    fn init(base: &Path, unit: &str, law: Law) -> Self {
        let dir = base.join(unit);
        let port = free_udp_port();
        let options = InitOptions {
            unit: unit.parse().expect("a unit id"),
            node: "a".to_owned(),
            dir: dir.clone(),
            listen: format!("127.0.0.1:{port}").parse().expect("an address"),
            advertise: vec![format!("127.0.0.1:{port}")],
            clock: ClockSource::Assumed,
            people: People {
                name: Some(format!("Unit {unit}")),
                phone: "+1-202-555-0100".to_owned(),
                email: Some(format!("poc@{unit}.example.org")),
                language: "en".to_owned(),
                hours: None,
                time_zone: Some("Europe/Paris".to_owned()),
            },
            law,
        };
        let settings = config::ClockSettings { source: ClockSource::Assumed, ..Default::default() };
        let now = Clock::new(&settings).now();
        init(&options, now, &create_store).expect("a new node");
        Self { unit: unit.parse().expect("a unit id"), dir, node: None, reserve_bytes_min: 0 }
    }

    /// Takes the other profiles that ship beside the first.
    fn join_all(&self) {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/profiles");
        let path = self.dir.join("relay.toml");
        let mut text = std::fs::read_to_string(&path).expect("a configuration");
        for name in ["g7-247.toml", "interpol-i247.toml"] {
            std::fs::copy(shipped.join(name), self.dir.join("profiles").join(name))
                .expect("a profile that ships");
            let more = format!("profiles = [\"profiles/{name}\", ");
            text = text.replacen("profiles = [", &more, 1);
        }
        std::fs::write(&path, text).expect("a configuration");
    }

    fn configure(&self, sections: &str) {
        let path = self.dir.join("relay.toml");
        let text = std::fs::read_to_string(&path).expect("a configuration");
        std::fs::write(&path, format!("{text}\n{sections}\n")).expect("a configuration");
    }

    /// Starts the node.
    pub async fn start(&mut self) {
        let mut settings =
            config::load(&self.dir.join("relay.toml")).expect("a good configuration");
        settings.store.reserve_percent = 0;
        settings.store.reserve_bytes_min = self.reserve_bytes_min;
        let clock = Clock::new(&settings.clock);
        let parts = NodeParts::from_settings(settings, clock).expect("keys and card");
        self.node = Some(Node::start(parts).await.expect("a node that starts"));
    }

    /// Stops it in order.
    pub async fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            node.stop(Duration::from_secs(5)).await.expect("a stop in order");
        }
    }

    /// Copies its data directory aside, as a backup does; the node does not run.
    pub fn back_up(&self, name: &str) {
        copy(&self.dir.join("data"), &self.dir.join(name));
    }

    /// Puts such a copy in the place of its data directory.
    pub fn put_back(&self, name: &str) {
        let data = self.dir.join("data");
        std::fs::remove_dir_all(&data).expect("a data directory");
        copy(&self.dir.join(name), &data);
    }

    /// Its card's file.
    pub fn card(&self) -> PathBuf {
        self.dir.join(format!("{}.relaycard", self.unit))
    }
}

/// A draft out of a message file of `config/demo`, to these recipients.
pub fn draft(name: &str, to: &[&str], now: Timestamp) -> v1::Draft {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../config/demo").join(name);
    let text = std::fs::read_to_string(path).expect("a message file");
    let mut draft = MessageFile::parse(&text, now).expect("a good message file");
    draft.to = to.iter().map(|unit| (*unit).to_owned()).collect();
    draft
}

/// The payload that a member's node would make of the demo's alert, without sending it.
pub fn submit_draft_payload(cluster: &Cluster, from: usize, to: &UnitId) -> v1::Payload {
    let member = cluster.members.get(from).expect("a member");
    draft_payload(&member.dir, &member.unit, to)
}

/// The payload that the node in `dir` would make of the demo's alert.
pub fn draft_payload(dir: &Path, unit: &UnitId, to: &UnitId) -> v1::Payload {
    let settings = config::load(&dir.join("relay.toml")).expect("a good configuration");
    let now = Clock::new(&settings.clock).now();
    completed(dir, unit, draft("alert.json", &[to.as_str()], now), None)
}

/// The payload that the node in `dir` would make of a good draft, for a unit whose card is in a
/// file. It is not judged by any case or card.
pub fn completed(dir: &Path, unit: &UnitId, draft: v1::Draft, to: Option<&Path>) -> v1::Payload {
    let facts = |path: &Path| {
        let card = std::fs::read(path).expect("a card");
        UnitFacts::from(relay_proto::card::Card::from_file(&card).expect("a card").value())
    };
    let settings = config::load(&dir.join("relay.toml")).expect("a good configuration");
    let profile = settings.profile(&draft.profile).expect("a profile");
    let now = Clock::new(&settings.clock).now();
    let defaults = ProfileDefaults {
        handling: profile.handling_default.clone(),
        languages: profile.languages.clone(),
        legal_basis: profile.legal_basis_default(kind_of_draft(&draft)).to_vec(),
        period_days: profile.requested_preservation_days,
    };
    let own = facts(&dir.join(format!("{unit}.relaycard")));
    let recipient = to.map(facts);
    let ids = NewIds {
        message_id: relay_proto::ids::MessageId::new(now, rand::random()),
        case_id: Uuid::random(rand::random()),
        body_id: Uuid::random(rand::random()),
    };
    let completion = Completion {
        from: unit,
        own: &own,
        recipient: recipient.as_ref(),
        defaults: &defaults,
        ids,
        exercise: unit.is_demo(),
        place: Default::default(),
    };
    let kinds: Vec<v1::Kind> = all_kinds().collect();
    let context = PayloadContext::new(draft.priority(), &kinds);
    let mut draft = draft;
    // A file names the unit that it was written for.
    draft.payload.as_mut().expect("a payload").from.clear();
    complete(&draft, &completion, &context).expect("a good draft").0
}

/// Submits one draft under a request id made of `n`.
pub async fn submit(node: &Node, draft: v1::Draft, n: u128) -> Result<Submitted, SubmitError> {
    submit_seen(node, draft, "", n).await
}

/// The same by a caller who saw the case as this etag tells.
pub async fn submit_seen(
    node: &Node,
    draft: v1::Draft,
    etag: &str,
    n: u128,
) -> Result<Submitted, SubmitError> {
    let submission = Submission {
        principal: Principal::new("test", "uid:0"),
        request_id: Uuid::random(n.to_be_bytes()),
        draft,
        validate_only: false,
        etag: etag.to_owned(),
        granted: None,
    };
    node.relay().submit(vec![submission]).await.pop().expect("one answer")
}

/// Waits until all entries of a message pass a test; the store's own wake is the condition.
pub async fn entries_until(
    node: &Node,
    digest: &Digest,
    test: impl Fn(&EntryRecord) -> bool,
) -> Vec<EntryRecord> {
    until_stored(node.store(), "entries as wanted", |store| {
        let entries = store.entries(digest).expect("a readable store");
        (!entries.is_empty() && entries.iter().all(&test)).then_some(entries)
    })
    .await
}

/// Waits until a look at a store finds `what` is wanted; the store's own wake is the condition.
pub async fn until_stored<T>(store: &Store, what: &str, look: impl Fn(&Store) -> Option<T>) -> T {
    let mut durable = store.durable();
    let wait = async {
        loop {
            if let Some(found) = look(store) {
                return found;
            }
            durable.changed().await.expect("a live store");
        }
    };
    let found = tokio::time::timeout(PATIENCE, wait).await;
    found.unwrap_or_else(|_| unreachable!("not stored within {} s: {what}", PATIENCE.as_secs()))
}

/// Copies a directory with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    let mode = std::fs::metadata(from).expect("a directory to copy").permissions();
    std::fs::set_permissions(to, mode).expect("the same mode");
    for entry in std::fs::read_dir(from).expect("a directory to copy") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

/// A UDP port that nobody uses now, and that nobody gets by chance before the node binds it, or
/// while that node is down: it lies below those that the system gives to sockets that ask for any,
/// as every dialling node does. Each process begins at another place, and gives none twice.
pub fn free_udp_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(PORTS_A_PROCESS);
    for _ in 0..PORTS {
        let next = start.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let port = PORT_FIRST + u16::try_from(next).expect("a port's number");
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    unreachable!("no UDP port from {PORT_FIRST} on is free");
}

/// Linux gives ports from 32768 on (`net.ipv4.ip_local_port_range`).
const PORT_FIRST: u16 = 12_000;
const PORTS: u32 = 20_000;

/// Few tests of one process are under way at once; a prime, so that places meet late.
const PORTS_A_PROCESS: u32 = 97;

/// Longest wait for anything that a node does by itself.
pub const PATIENCE: Duration = Duration::from_secs(90);
