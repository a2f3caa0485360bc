//! The wires of a federation: a namespace for each node, one in the middle with the forwarder.
//!
//! Loss and cuts are rules of the receiving node's namespace, everything else is the forwarder's.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
    sync::Arc,
    time::Duration,
};

use quinn::{Runtime as _, TokioRuntime};
use relay_node::link::Wire;
use tokio::time::{Instant, sleep};

use crate::{
    campaign::federation::UNITS,
    forwarder::{End, Forwarder, Way},
    netns::{ALL, Namespace},
    process::Process,
};

/// The namespaces and what is done to packets between them.
pub struct Wires {
    forwarder: Forwarder,
    places: Vec<Namespace>,
    /// By recipient and sender: how many of a thousand packets are dropped.
    drops: BTreeMap<(usize, usize), u32>,
    /// Goes last.
    _middle: Namespace,
}

impl Wires {
    /// Wires between so many nodes.
    pub fn new(count: usize, seed: u64) -> Result<Self, String> {
        let middle = Namespace::new("middle")?;
        let (mut places, mut ends) = (Vec::new(), Vec::new());
        for place in 0..count {
            let namespace = Namespace::new(&format!("n{place}"))?;
            middle.add_address(*public(place).ip())?;
            let (own, other) = (*real(place).ip(), Ipv4Addr::new(10, 77, number(place), 1));
            namespace.connect((own, "wire"), &middle, (other, &format!("wire{place}")))?;
            ends.push(End { public: middle.bind(public(place))?, real: real(place).into() });
            places.push(namespace);
        }
        let forwarder = Forwarder::start(ends, seed).map_err(|error| error.to_string())?;
        Ok(Self { forwarder, places, drops: BTreeMap::new(), _middle: middle })
    }

    /// Makes the nodes, each in its namespace and its directory; `extra` goes to the end of their
    /// configuration, `link` to its section of the link.
    pub fn nodes(&self, dirs: &[impl AsRef<Path>], extra: &str, link: &str) -> Vec<Process> {
        let made = self.places.iter().zip(UNITS).zip(dirs).enumerate();
        let made = made.map(|(place, ((namespace, unit), dir))| {
            let (dir, address) = (dir.as_ref().join(unit), public(place).to_string());
            let mut node = Process::init_at(&dir, unit, &address, (unit, "+1-202-555-0100"), extra);
            // Known to others by its public address, it listens at its own.
            let config = dir.join("relay.toml");
            let text = std::fs::read_to_string(&config).expect("a configuration");
            let listen = |address: &str| format!("\nlisten = \"{address}\"\n");
            let (old, new) = (listen(&address), listen(&real(place).to_string()));
            assert!(text.contains(&old), "the configuration says where to listen");
            let text = text.replace(&old, &format!("{new}{link}"));
            std::fs::write(&config, text).expect("a configuration that can be written");
            node.wrapper = namespace.wrapper();
            node
        });
        made.collect()
    }

    /// A socket in the place of a node that does not run.
    pub fn socket(&self, place: usize) -> Wire {
        let namespace = self.places.get(place).expect("a place");
        let socket = namespace.bind(real(place)).expect("an address that nobody listens at");
        let socket = TokioRuntime.wrap_udp_socket(socket).expect("a socket");
        Wire { socket, runtime: Arc::new(TokioRuntime) }
    }

    /// Waits until nobody listens in the place of a node.
    pub async fn until_free(&self, place: usize) {
        let namespace = self.places.get(place).expect("a place");
        let until = Instant::now() + FREE_WITHIN;
        while let Err(error) = namespace.bind(real(place)) {
            assert!(Instant::now() < until, "{error}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The places at the ends.
    pub fn places(&self) -> std::ops::Range<usize> {
        0..self.places.len()
    }

    /// Every direction of every pair.
    pub fn ways(&self) -> Vec<(usize, usize)> {
        let from = self.places();
        let ways = from.flat_map(|from| self.places().map(move |to| (from, to)));
        ways.filter(|(from, to)| from != to).collect()
    }

    /// Both directions of every wire that ends at a place.
    pub fn ways_at(&self, place: usize) -> Vec<(usize, usize)> {
        self.ways().into_iter().filter(|(from, to)| *from == place || *to == place).collect()
    }

    /// Packets of `from` reach `to` in this way.
    pub fn shape(&self, (from, to): (usize, usize), way: Way) {
        self.forwarder.shape(from, to, way);
    }

    /// Packets are lost on these ways, so many of a thousand.
    pub fn lose(&mut self, ways: &[(usize, usize)], thousandths: u32) {
        for (from, to) in ways {
            self.drops.insert((*to, *from), thousandths);
        }
        for (to, namespace) in self.places.iter().enumerate() {
            if ways.iter().any(|(_, changed)| *changed == to) {
                let drops = self.drops.iter().filter(|((at, _), share)| *at == to && **share > 0);
                let drops = drops.map(|((_, from), share)| (*public(*from).ip(), *share));
                namespace.drop_from(drops).expect("rules that nft took before");
            }
        }
    }

    /// Nothing passes on these ways.
    pub fn cut(&mut self, ways: &[(usize, usize)]) {
        self.lose(ways, ALL);
    }

    /// Nothing is dropped on these ways any more.
    pub fn mend(&mut self, ways: &[(usize, usize)]) {
        self.lose(ways, 0);
    }

    /// All wires are as new.
    pub fn heal(&mut self) {
        let ways = self.ways();
        self.mend(&ways);
        for way in ways {
            self.shape(way, Way::default());
        }
    }
}

/// Where the others reach a node.
fn public(place: usize) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 78, 0, number(place)), PORT)
}

/// Where it listens.
fn real(place: usize) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 77, number(place), 2), PORT)
}

fn number(place: usize) -> u8 {
    u8::try_from(place + 1).expect("a few nodes")
}

/// A socket goes with the last task that has it.
const FREE_WITHIN: Duration = Duration::from_secs(10);
const PORT: u16 = 4433;
