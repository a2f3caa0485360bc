//! The attacked node, the honest node beside it, and the keys of a third that was taken over: real
//! processes, introduced as operators would.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use relay_node::keys::KeyStore;
use relay_proto::{ids::UnitId, v1};
use tokio::sync::Mutex;

use super::{
    honest::{self, Honest},
    peer::{How, Session, connect},
    tcp::{AUTHORITY, Authority},
    tls::Identity,
};
use crate::{
    cluster::free_udp_port,
    hostile::HostileLog,
    process::{Process, introduce},
};

/// Everything that an attack plays on.
pub struct Stage {
    /// The attacked node.
    pub attacked: Process,
    /// Its honest peer.
    pub honest: Process,
    /// Where the attacked node listens.
    pub address: SocketAddr,
    /// Where its API listens for callers with certificates.
    pub tcp: SocketAddr,
    /// The peer that was taken over.
    pub hacked: Hacked,
    /// Another one, whose log has two histories.
    pub liar: Hacked,
    /// The honest pair's exchange.
    pub exchange: Honest,
    /// The same between two nodes that nobody attacks: what the machine itself does to everybody.
    pub control: Honest,
    /// Of all chance in the attacks.
    pub seed: u64,
    /// Those two.
    pub bystanders: Vec<Process>,
    _dir: tempfile::TempDir,
}

/// A verified peer whose keys the attacker has; its node does not run.
pub struct Hacked {
    /// Its unit.
    pub unit: UnitId,
    /// Its directory.
    pub dir: PathBuf,
    /// Its working keys.
    pub keys: KeyStore,
    /// Its transport key.
    pub identity: Identity,
    /// Its log, as far as it was shown to the attacked node, and the number of receipts in it.
    pub log: Mutex<(HostileLog, u64)>,
}

impl Stage {
    /// Starts and introduces the nodes, and lets the honest pair warm up.
    pub async fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the nodes");
        let units = ["xa.attacked", "xb.honest", "xc.hacked", "xd.liar"];
        let (mut nodes, address, tcp) = nodes(dir.path(), &units).await;
        let (others, ..) = self::nodes(dir.path(), &["xe.control", "xf.control"]).await;
        let (Some(mut liar), Some(mut hacked), Some(honest), Some(attacked)) =
            (nodes.pop(), nodes.pop(), nodes.pop(), nodes.pop())
        else {
            unreachable!("four nodes")
        };
        let [one, other] = others.as_slice() else { unreachable!("two nodes") };
        hacked.terminate();
        liar.terminate();
        let exchange = Honest::start(&attacked, &honest);
        let control = Honest::start(one, other);
        let (hacked, liar) = (Hacked::of(&hacked), Hacked::of(&liar));
        tokio::time::sleep(WARM_UP).await;
        Self {
            attacked,
            honest,
            address,
            tcp,
            hacked,
            liar,
            exchange,
            control,
            bystanders: others,
            seed,
            _dir: dir,
        }
    }

    /// A session as the hacked peer.
    pub async fn session(&self) -> Result<Session, String> {
        self.session_of(&self.hacked).await
    }

    /// A session as the other peer that was taken over.
    pub async fn session_of(&self, peer: &Hacked) -> Result<Session, String> {
        connect(&How::like_a_node(&peer.identity), self.address).await?.greet(peer.hello()).await
    }

    /// What the attacked node says of itself.
    pub async fn status(&self) -> v1::NodeStatus {
        let status = self.attacked.client().node.get_status(v1::GetStatusRequest {}).await;
        status.expect("a node that answers").into_inner()
    }

    /// The labels and texts of all alarms that the attacked node raises now.
    pub async fn alarms(&self) -> Vec<String> {
        let status = self.status().await;
        status.peers.into_iter().flat_map(|peer| peer.alarms).chain(status.alarms).collect()
    }

    /// Messages of the hacked peer in the attacked node's inbox.
    pub async fn messages_of_hacked(&self) -> usize {
        let filter = format!("direction = IN AND peer = \"{}\"", self.hacked.unit);
        let request = v1::ListMessagesRequest { page_size: 1000, filter, ..Default::default() };
        let page = self.attacked.client().messages.list_messages(request).await;
        page.expect("a list").into_inner().messages.len()
    }
}

impl Hacked {
    fn of(node: &Process) -> Self {
        let unit: UnitId = node.unit.parse().expect("a unit id");
        let keys = KeyStore::open(&node.dir.join("keys"), 1).expect("the node's keys");
        let identity = Identity::of(&format!("{unit}/a"), &keys.transport().pkcs8_der());
        let log = Mutex::new((HostileLog::new(&unit), 0));
        Self { unit, dir: node.dir.clone(), keys, identity, log }
    }

    /// What a node of this unit would say first.
    pub fn hello(&self) -> v1::Hello {
        v1::Hello {
            versions: vec![1],
            unit: self.unit.to_string(),
            node: "a".to_owned(),
            software: "attack/1".to_owned(),
            instance_id: self.keys.instance().as_bytes().to_vec().into(),
            boot_id: vec![7; 16].into(),
            card_number: 1,
            now_ms: honest::now().as_millis(),
            clock: Some(v1::Clock {
                state: v1::ClockState::Unsynced.into(),
                source: v1::ClockSource::Assumed.into(),
                uncertainty_ms: 0,
            }),
            heads: Some(v1::Heads::default()),
            limits: Some(v1::Limits::default()),
            ..Default::default()
        }
    }
}

/// Running nodes that know each other, and where the first listens: for peers, and for callers.
async fn nodes(base: &Path, units: &[&str]) -> (Vec<Process>, SocketAddr, SocketAddr) {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let (mut nodes, mut listens) = (Vec::new(), Vec::new());
    for unit in units {
        let (link, api) = (local(free_udp_port()), local(free_tcp_port()));
        nodes.push(make(base, unit, link, api));
        listens.push((link, api));
    }
    for node in &mut nodes {
        node.start().await;
    }
    introduce(&nodes).await;
    let (link, api) = *listens.first().expect("a node");
    (nodes, link, api)
}

/// Deadlines are short, so that a run of seconds reaches them; all else is at its default, but for
/// the inbox, which nobody empties.
fn make(base: &Path, unit: &str, link: SocketAddr, api: SocketAddr) -> Process {
    let inbox = "\n[inbox]\nqueue_messages_max = 1000000\nqueue_bytes_max = \"16GiB\"\n";
    let who = (unit, "+1-202-555-0100");
    let node = Process::init_at(&base.join(unit), unit, &link.to_string(), who, inbox);
    let config = node.dir.join("relay.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    let short = "[link]\nprogress_timeout = \"5s\"\nhello_timeout = \"3s\"\n";
    let text = text.replace("[link]\n", short) + &Authority::new(AUTHORITY).serve(&node.dir, api);
    std::fs::write(&config, text).expect("a file that can be written");
    node
}

fn free_tcp_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    listener.local_addr().expect("a bound socket").port()
}

/// Until the honest pair's caches are filled and its session stands.
const WARM_UP: Duration = Duration::from_secs(5);
