//! A forwarder of UDP between nodes that delays, reorders, doubles and throttles, each direction of
//! each pair for itself, seeded.
//!
//! Each end has a public address, here, that the others send to, and a real one, where its node
//! listens; what comes from an end's real address is delivered to the other from its public one,
//! so that every node sees each peer at its public address alone. Enter through
//! [`Forwarder::start`]. Invariant: a way that nothing was asked of keeps the order of packets.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket as Socket},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{net::UdpSocket, task::JoinSet, time::Instant};

/// What happens to packets on the way from one end to another.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Way {
    /// Every packet is late by this.
    pub delay: Duration,
    /// The share of packets that are held back, so that later ones overtake them.
    pub held: f64,
    /// For how long at most they are held.
    pub hold: Duration,
    /// The share of packets that arrive twice.
    pub doubled: f64,
    /// One packet in so long arrives, and no other.
    pub every: Option<Duration>,
}

/// One end: the socket of its public address, and where its node listens.
#[derive(Debug)]
pub struct End {
    /// Bound to the public address.
    pub public: Socket,
    /// The node's own address.
    pub real: SocketAddr,
}

/// A forwarder at work; it ends with its value.
#[derive(Debug)]
pub struct Forwarder {
    ways: Ways,
    _tasks: JoinSet<()>,
}

type Ways = Arc<Mutex<BTreeMap<(usize, usize), Way>>>;

impl Forwarder {
    /// Forwards between these ends.
    pub fn start(ends: Vec<End>, seed: u64) -> std::io::Result<Self> {
        let real: Arc<[SocketAddr]> = ends.iter().map(|end| end.real).collect();
        let mut sockets = Vec::new();
        for End { public, .. } in ends {
            // A burst of a whole window is no loss that anybody asked for.
            // Who may not force it gets what the system allows.
            setsockopt(&public, sockopt::RcvBufForce, &BUFFER_BYTES)
                .or_else(|_| setsockopt(&public, sockopt::RcvBuf, &BUFFER_BYTES))?;
            public.set_nonblocking(true)?;
            sockets.push(UdpSocket::from_std(public)?);
        }
        let sockets: Arc<[UdpSocket]> = sockets.into();
        let (ways, mut tasks) = (Ways::default(), JoinSet::new());
        for to in 0..sockets.len() {
            let rng = StdRng::seed_from_u64(seed ^ to as u64);
            let (sockets, real, ways) = (Arc::clone(&sockets), Arc::clone(&real), ways.clone());
            let passed = BTreeMap::new();
            let queue = Queue { to, sockets, real, ways, rng, due: BTreeMap::new(), passed };
            tasks.spawn(queue.run());
        }
        Ok(Self { ways, _tasks: tasks })
    }

    /// From now on packets of the first end reach the second one so.
    pub fn shape(&self, from: usize, to: usize, way: Way) {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner).insert((from, to), way);
    }
}

/// What is on its way to one end.
struct Queue {
    to: usize,
    sockets: Arc<[UdpSocket]>,
    real: Arc<[SocketAddr]>,
    ways: Ways,
    rng: StdRng,
    /// In order of time, then of arrival.
    due: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    /// When the last packet of a throttled end passed.
    passed: BTreeMap<usize, Instant>,
}

impl Queue {
    async fn run(mut self) {
        let sockets = Arc::clone(&self.sockets);
        let Some(socket) = sockets.get(self.to) else { return };
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        for number in 0u64.. {
            let next = self.due.first_key_value().map(|((at, _), _)| *at);
            tokio::select! {
                biased;
                () = until(next) => {}
                received = socket.recv_from(&mut buffer) => {
                    // An error is another's: an end that does not listen now.
                    let Ok((length, source)) = received else { continue };
                    let from = self.real.iter().position(|real| *real == source);
                    if let (Some(from), Some(packet)) = (from, buffer.get(..length)) {
                        self.take(from, 2 * number, packet);
                    }
                }
            }
            self.deliver().await;
        }
    }

    fn take(&mut self, from: usize, number: u64, packet: &[u8]) {
        let ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        let way = ways.get(&(from, self.to)).copied().unwrap_or_default();
        drop(ways);
        let now = Instant::now();
        if let Some(every) = way.every {
            if self.passed.get(&from).is_some_and(|passed| now - *passed < every) {
                return;
            }
            self.passed.insert(from, now);
        }
        let copies = if self.rng.random_bool(way.doubled) { 2 } else { 1 };
        for copy in 0..copies {
            if self.due.len() >= PACKETS_MAX {
                return;
            }
            let held = self.rng.random_bool(way.held);
            let hold = if held { way.hold.mul_f64(self.rng.random()) } else { Duration::ZERO };
            self.due.insert((now + way.delay + hold, number + copy), (from, packet.to_vec()));
        }
    }

    /// Sends what is due.
    async fn deliver(&mut self) {
        let Some(real) = self.real.get(self.to).copied() else { return };
        while let Some(first) = self.due.first_entry()
            && first.key().0 <= Instant::now()
        {
            let (from, packet) = first.remove();
            if let Some(socket) = self.sockets.get(from) {
                let _ = socket.send_to(&packet, real).await;
            }
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// No UDP packet is longer.
const PACKET_BYTES_MAX: usize = 65_536;
/// What waits for one end, as in the buffer of a router; more is dropped.
const PACKETS_MAX: usize = 20_000;
/// What the system keeps of one socket.
const BUFFER_BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Rig {
        forwarder: Forwarder,
        nodes: [UdpSocket; 2],
        public: [SocketAddr; 2],
    }

    async fn rig() -> Rig {
        let local = "127.0.0.1:0";
        let nodes = [UdpSocket::bind(local).await.unwrap(), UdpSocket::bind(local).await.unwrap()];
        let ends = nodes.each_ref().map(|node| {
            let real = node.local_addr().unwrap();
            End { public: Socket::bind(local).unwrap(), real }
        });
        let public = ends.each_ref().map(|end| end.public.local_addr().unwrap());
        Rig { forwarder: Forwarder::start(ends.into(), 1).unwrap(), nodes, public }
    }

    impl Rig {
        /// What of these packets arrives until there is silence.
        async fn send(&self, count: u8) -> Vec<u8> {
            for number in 0..count {
                self.nodes[0].send_to(&[number], self.public[1]).await.unwrap();
            }
            let (mut arrived, mut buffer) = (Vec::new(), [0; 8]);
            let silence = Duration::from_millis(300);
            while let Ok(received) =
                tokio::time::timeout(silence, self.nodes[1].recv_from(&mut buffer)).await
            {
                assert_eq!(received.unwrap().1, self.public[0]);
                arrived.push(buffer[0]);
            }
            arrived
        }
    }

    /// Untouched, all arrive in order, from the address that the sender is known by.
    #[tokio::test]
    async fn an_untouched_way_keeps_the_order() {
        let rig = rig().await;
        assert_eq!(rig.send(50).await, Vec::from_iter(0..50));
    }

    /// Doubled, every packet comes twice; held back, some overtake others; throttled, one comes.
    #[tokio::test]
    async fn ways_do_what_is_asked() {
        let rig = rig().await;
        rig.forwarder.shape(0, 1, Way { doubled: 1.0, ..Way::default() });
        let doubled = rig.send(50).await;
        assert_eq!(doubled.len(), 100);
        rig.forwarder.shape(
            0,
            1,
            Way { held: 0.5, hold: Duration::from_millis(50), ..Way::default() },
        );
        let mut held = rig.send(50).await;
        assert!(!held.is_sorted());
        held.sort_unstable();
        assert_eq!(held, Vec::from_iter(0..50));
        let every = Some(Duration::from_secs(60));
        rig.forwarder.shape(0, 1, Way { every, ..Way::default() });
        assert_eq!(rig.send(50).await, [0]);
    }
}
