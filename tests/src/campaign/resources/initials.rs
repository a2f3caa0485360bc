//! 10,000 Initial packets a second, real ones that were caught and are replayed from many ports:
//! the nodes on one core, the attacker on another. An honest pair goes on as before, the node grows
//! little, and what it answers is no more than it got.

use std::{
    net::{SocketAddr, UdpSocket},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use relay_node::{
    keys::KeyStore,
    link::{
        DialTarget, KeyExchange, Link, LinkSettings, LocalNode, PeerBook, PeerNode,
        TransportIdentity,
    },
    tasks::Tasks,
};
use relay_proto::{
    card::Card,
    ids::{NodeId, UnitId},
    v1,
};
use tokio::task::JoinSet;

use super::super::{Campaign, federation::Federation, load::Sent};
use crate::{
    bench::Usage,
    client::{Client, alert},
    hostile::Hello,
    process::{Process, request_id},
};

/// One flood.
pub(super) async fn one(campaign: &mut Campaign, federation: &mut Federation) -> &'static str {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 {
        return "floods not tried: one core only";
    }
    for place in 0..federation.nodes.len() {
        let node = federation.node(place);
        node.kill();
        node.wrapper = ["taskset", "-c", "0"].map(str::to_owned).to_vec();
        let took = federation.restart(place, campaign.orders("")).await;
        campaign.row.recovered(took);
    }
    let target: SocketAddr = link_address(federation.node(1)).parse().expect("an address");
    let caught = catch(&federation.node(0).dir.join("keys")).await;
    let quiet = exchange(campaign, federation).await;
    let before = Usage::of(federation.node(1).pid());
    let flood = Flood::start(target, caught);
    let flooded = exchange(campaign, federation).await;
    let after = Usage::of(federation.node(1).pid());
    let told = flood.stop();
    // The machine's own pace changes: the honest pair is measured on both sides of the flood.
    let quiet = quiet.max(exchange(campaign, federation).await);
    let grown = after.rss_bytes.saturating_sub(before.rss_bytes);
    if flooded > (quiet * 2).max(P99_FLOOR) {
        let what = format!("p99 of an honest pair: {quiet:?} before, {flooded:?} while flooded");
        campaign.too_slow(what);
    }
    if told.packets < told.wanted * 9 / 10 {
        campaign.too_slow(format!("{} packets of {} were sent", told.packets, told.wanted));
    }
    let row = &mut campaign.row;
    if grown > GROWN_MAX {
        row.fail(format!("{grown} bytes more memory"));
    }
    if told.answered > told.sent * AMPLIFIED_MAX {
        row.fail(format!("{} bytes answered to {}", told.answered, told.sent));
    }
    row.notes.push(format!(
        "flood of {} packets ({} KiB) in {:?}: p99 {quiet:?} without, {flooded:?} with it; \
         {} KiB more memory; {} KiB answered",
        told.packets,
        told.sent / 1024,
        told.took,
        grown / 1024,
        told.answered / 1024
    ));
    "floods of Initial packets"
}

/// The 99th percentile of the time from a message to its receipt, one at a time.
async fn exchange(campaign: &mut Campaign, federation: &Federation) -> Duration {
    let [from, to] = federation.nodes.as_slice() else { return Duration::ZERO };
    let (client, draft) = (from.client(), alert(&to.unit));
    let (mut times, until) = (Vec::new(), Instant::now() + MEASURED);
    while Instant::now() < until {
        let begun = Instant::now();
        match deliver(&client, &draft).await {
            Ok(id) => federation.ledger.acknowledged(Sent { from: 0, to: 1, id }),
            Err(problem) => {
                campaign.row.fail(problem);
                return Duration::MAX / 4;
            }
        }
        times.push(begun.elapsed());
    }
    times.sort();
    let place = times.len() * 99 / 100;
    times.get(place.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Sends a message and waits for its receipt.
async fn deliver(client: &Client, draft: &v1::Draft) -> Result<String, String> {
    let request = v1::SendMessageRequest {
        request_id: request_id(),
        draft: Some(draft.clone()),
        validate_only: false,
        etag: String::new(),
    };
    let mut messages = client.messages.clone();
    let sent = messages.send_message(request).await.map_err(|status| status.to_string())?;
    let id = sent.into_inner().message.unwrap_or_default().message_id;
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let request = v1::GetMessageRequest {
            name: id.clone(),
            view: v1::MessageView::Basic.into(),
            ..Default::default()
        };
        let message = messages.get_message(request).await.map_err(|status| status.to_string())?;
        let deliveries = message.into_inner().deliveries;
        if deliveries.iter().all(|one| one.state() == v1::DeliveryState::Delivered) {
            return Ok(id);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Err(format!("{id} is not delivered after {PATIENCE:?}"))
}

/// Datagrams of real dials, towards a socket that never answers.
async fn catch(keys: &Path) -> Vec<Vec<u8>> {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let address = socket.local_addr().expect("an address").to_string();
    let mut dials = JoinSet::new();
    for _ in 0..DIALS {
        let (keys, address) = (keys.to_owned(), address.clone());
        dials.spawn(async move { dial(&keys, &address, CAUGHT_WITHIN).await });
    }
    let (mut caught, mut buffer) = (Vec::new(), [0; 2048]);
    let until = tokio::time::Instant::now() + CAUGHT_WITHIN;
    while let Ok(Ok(length)) = tokio::time::timeout_at(until, socket.recv(&mut buffer)).await {
        caught.extend(buffer.get(..length).map(<[u8]>::to_vec));
    }
    dials.join_all().await;
    assert!(caught.len() > DIALS, "a dial sends more than one packet");
    caught
}

/// Dials an address as a node with these keys, and hangs up after a while.
pub(super) async fn dial(keys: &Path, address: &str, hold: Duration) {
    let keys = KeyStore::open(keys, 1).expect("a node's keys");
    let node: NodeId = "xz.campaign/a".parse().expect("a node id");
    let instance_id = *keys.instance().as_bytes();
    let local = LocalNode { node: node.clone(), instance_id, boot_id: rand::random() };
    let identity = TransportIdentity::from_pkcs8(local, &keys.transport().pkcs8_der(), &[7; 64]);
    let (link, _events) = Link::start(
        LinkSettings { listen: None, ..LinkSettings::default() },
        identity.expect("a transport identity"),
        Arc::new(Toward { node: node.clone(), address: address.to_owned() }),
        Arc::new(Hello::having(0)),
        Tasks::new(),
    )
    .expect("a link");
    link.dial(node.unit());
    tokio::time::sleep(hold).await;
    link.shutdown().await;
}

/// Where the node listens.
pub(super) fn link_address(node: &Process) -> String {
    let card = std::fs::read(node.card()).expect("a card");
    let card = Card::from_file(&card).expect("a good card");
    let mut addresses = card.nodes().iter().flat_map(|node| &node.addresses);
    addresses.next().expect("a node that listens").clone()
}

/// Knows one address, and no key.
struct Toward {
    node: NodeId,
    address: String,
}

impl PeerBook for Toward {
    fn by_spki(&self, _spki: &[u8]) -> Option<PeerNode> {
        None
    }

    fn unit_at(&self, _address: SocketAddr) -> Option<UnitId> {
        None
    }

    fn addresses(&self, _unit: &UnitId) -> Vec<DialTarget> {
        vec![DialTarget {
            node: self.node.clone(),
            address: self.address.clone(),
            spki_pins: vec![vec![0; 44]],
            key_exchange: KeyExchange::Prefer,
        }]
    }
}

/// The attacker at work, on the last core.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Told>,
}

/// What went to and fro.
struct Told {
    wanted: u64,
    packets: u64,
    sent: u64,
    answered: u64,
    took: Duration,
}

impl Flood {
    fn start(target: SocketAddr, caught: Vec<Vec<u8>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || attack(target, &caught, &seen));
        Self { stop, thread }
    }

    fn stop(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the attacker does not panic")
    }
}

fn attack(target: SocketAddr, caught: &[Vec<u8>], stop: &AtomicBool) -> Told {
    let mut cores = CpuSet::new();
    let last = std::thread::available_parallelism().map_or(1, usize::from) - 1;
    cores.set(last).expect("a core's number");
    sched_setaffinity(Pid::from_raw(0), &cores).expect("the last core");
    let sockets: Vec<UdpSocket> = (0..PORTS)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            socket.set_nonblocking(true).expect("a socket that does not wait");
            socket
        })
        .collect();
    let begun = Instant::now();
    let mut told = Told { wanted: 0, packets: 0, sent: 0, answered: 0, took: Duration::ZERO };
    let mut turns = sockets.iter().cycle().zip(caught.iter().cycle());
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        told.wanted = u64::try_from(begun.elapsed().as_millis()).unwrap_or(0) * RATE / 1000;
        for _ in told.packets..told.wanted {
            let Some((socket, packet)) = turns.next() else { break };
            told.packets += 1;
            told.sent += socket.send_to(packet, target).unwrap_or(0) as u64;
            while let Ok((length, _)) = socket.recv_from(&mut buffer) {
                told.answered += length as u64;
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    told.took = begun.elapsed();
    for socket in &sockets {
        while let Ok((length, _)) = socket.recv_from(&mut buffer) {
            told.answered += length as u64;
        }
    }
    told
}

/// Packets a second.
const RATE: u64 = 10_000;
/// A prime, so that each packet comes from every port in turn.
const PORTS: usize = 211;
const DIALS: usize = 100;
const CAUGHT_WITHIN: Duration = Duration::from_secs(2);
/// How long the honest pair is measured each time.
const MEASURED: Duration = Duration::from_secs(5);
/// Faster than that is good enough for anybody.
const P99_FLOOR: Duration = Duration::from_millis(100);
const GROWN_MAX: u64 = 64 << 20;
/// RFC 9000, 8.1.
const AMPLIFIED_MAX: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(20);
