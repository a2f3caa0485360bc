//! Floods of datagrams before anybody is known: first packets of handshakes that nobody finishes,
//! the same with bits changed, and noise.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::Instant;

use super::{peer::How, report::Outcome, stage::Stage, tls::Identity};

/// 10,000 first packets a second of handshakes that never go on, from many addresses.
pub async fn handshakes(stage: &Stage, until: Instant) -> Outcome {
    let pool = first_flights(stage.address);
    flood(stage, until, "Initial", move |_, next| pool.get(next % pool.len()).cloned()).await
}

/// The same packets with bits changed, cut off, or glued together.
pub async fn mutated(stage: &Stage, until: Instant) -> Outcome {
    let pool = first_flights(stage.address);
    flood(stage, until, "mutated Initial", move |rng, next| {
        let mut packet = pool.get(next % pool.len())?.clone();
        for _ in 0..rng.random_range(1..8) {
            let place = rng.random_range(0..packet.len());
            // The first bytes decide what a packet is read as.
            let place = if rng.random() { place % 48 } else { place };
            *packet.get_mut(place)? ^= 1 << rng.random_range(0..8);
        }
        if rng.random_range(0..4) == 0 {
            packet.truncate(rng.random_range(1..packet.len()));
        }
        Some(packet)
    })
    .await
}

/// Bytes of no meaning, some of them dressed as first packets.
pub async fn noise(stage: &Stage, until: Instant) -> Outcome {
    flood(stage, until, "noise", |rng, next| {
        let mut packet = vec![0; rng.random_range(1..1452)];
        rng.fill_bytes(&mut packet);
        if next % 3 == 0 {
            packet.resize(1200, 0);
            packet.splice(..5, [0xc3, 0, 0, 0, 1]);
        }
        Some(packet)
    })
    .await
}

async fn flood(
    stage: &Stage,
    until: Instant,
    what: &str,
    mut make: impl FnMut(&mut StdRng, usize) -> Option<Vec<u8>>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut rng = StdRng::seed_from_u64(stage.seed);
    let sockets: Vec<UdpSocket> = (1..=SOURCES).map(socket).collect();
    let (mut sent, mut to, mut back) = (0, 0, 0);
    let mut tick = tokio::time::interval(TICK);
    while Instant::now() < until {
        tick.tick().await;
        for _ in 0..A_TICK {
            let Some(packet) = make(&mut rng, sent) else { continue };
            let Some(socket) = sockets.get(sent % sockets.len()) else { continue };
            sent += 1;
            // A full buffer of the system loses a packet, as a network would.
            if socket.send_to(&packet, stage.address).is_ok() {
                outcome.sent.add(what);
                to += packet.len();
            }
        }
        let mut answer = [0; 2048];
        for socket in &sockets {
            while let Ok(length) = socket.recv(&mut answer) {
                back += length;
                outcome.answered.add(kind(answer.first().copied().unwrap_or(0)));
            }
        }
    }
    let bytes = |count| u64::try_from(count).unwrap_or(0);
    outcome.pre_auth = Some((bytes(to), bytes(back)));
    outcome
}

/// What an answer is, by its first byte (RFC 9000, 17.2).
fn kind(first: u8) -> &'static str {
    match first & 0xf0 {
        0xc0 => "Initial",
        0xe0 => "Handshake",
        0xf0 => "Retry",
        long if long & 0x80 != 0 => "Version Negotiation",
        _ => "short or reset",
    }
}

fn socket(source: u8) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 2, source), 0)).expect("a socket");
    socket.set_nonblocking(true).expect("a socket that does not block");
    socket
}

/// First packets of handshakes that are all different.
fn first_flights(to: SocketAddr) -> Vec<Vec<u8>> {
    let how = How::like_a_node(&Identity::Nobody);
    let config = Arc::new(quinn_proto::EndpointConfig::default());
    let mut endpoint = quinn_proto::Endpoint::new(config, None, true, None);
    let mut pool = Vec::new();
    let now = std::time::Instant::now();
    for _ in 0..HANDSHAKES {
        let dialled = endpoint.connect(now, how.config(), to, "relay.invalid");
        let (_, mut connection) = dialled.expect("a dial");
        let mut packet = Vec::new();
        while connection.poll_transmit(now, 1, &mut packet).is_some() {
            pool.push(std::mem::take(&mut packet));
        }
    }
    pool
}

/// Different handshakes; after the last one the first comes again.
const HANDSHAKES: usize = 2_000;

/// Addresses of loopback, each with a socket.
const SOURCES: u8 = 64;

/// With [`A_TICK`]: 10,000 packets a second.
const TICK: Duration = Duration::from_millis(5);

/// Packets a tick.
const A_TICK: usize = 50;
