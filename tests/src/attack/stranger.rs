//! Peers that nobody knows: no certificate, a key that is not pinned, another protocol.

use std::time::Duration;

use relay_proto::v1::{self, frame::Kind};
use tokio::{net::UdpSocket, time::Instant};

use super::{
    peer::{How, connect, ended, frame},
    report::Outcome,
    stage::Stage,
    tls::Identity,
};

/// No certificate; with its last word of the handshake it sends all that a session begins with.
pub async fn unauthenticated(stage: &Stage, until: Instant) -> Outcome {
    let mut outcome = knock(stage, until, &Identity::Nobody, "handshake without certificate").await;
    outcome.demand_only(&[CERTIFICATE_REQUIRED]);
    outcome
}

/// The honest peer's name under a key that nobody pinned.
pub async fn wrong_key(stage: &Stage, until: Instant) -> Outcome {
    let identity = Identity::unpinned(&format!("{}/a", stage.honest.unit));
    let mut outcome = knock(stage, until, &identity, "handshake with another's name").await;
    outcome.demand_only(&[ACCESS_DENIED]);
    outcome
}

/// Other application protocols under the key of a verified peer, other versions of QUIC.
pub async fn downgrade(stage: &Stage, until: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    let good = How::like_a_node(&stage.hacked.identity);
    while Instant::now() < until {
        for alpn in [&b"relay/2"[..], b"relay", b"h3", b"relay/1x"] {
            let answer = attempt(stage, &How { alpn, ..good.clone() }, &mut outcome).await;
            outcome.sent.add("other ALPN");
            outcome.answered.add(answer);
        }
        for version in [0xff00_001d, 0xff00_0022] {
            let mut config = good.config();
            config.version(version);
            outcome.sent.add("QUIC draft");
            outcome.answered.add(dial(config, stage).await);
        }
        for version in [2, 0x6b33_43cf, 0xbaba_baba_u32] {
            outcome.sent.add("unknown QUIC version");
            outcome.answered.add(versions(stage, version).await);
        }
        tokio::time::sleep(PAUSE).await;
    }
    outcome.demand_only(&[NO_APPLICATION_PROTOCOL, NO_VERSION, "offered versions: 1"]);
    outcome
}

async fn knock(stage: &Stage, until: Instant, identity: &Identity, what: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let mut source = 0u8;
    while Instant::now() < until {
        source = source % SOURCES + 1;
        let how = How { from: [127, 0, 1, source], ..How::like_a_node(identity) };
        outcome.sent.add(what);
        let answer = attempt(stage, &how, &mut outcome).await;
        outcome.answered.add(answer);
        tokio::time::sleep(PAUSE).await;
    }
    outcome
}

/// Connects, says at once all that it has to say, and tells how the node ended it.
async fn attempt(stage: &Stage, how: &How, outcome: &mut Outcome) -> String {
    let peer = match connect(how, stage.address).await {
        Ok(peer) => peer,
        Err(refused) => return refused,
    };
    if let Ok(mut streams) = peer.open().await {
        let hello = frame(Kind::Hello(stage.hacked.hello()));
        let transfer = frame(Kind::Transfer(v1::Transfer { number: 1, ..Default::default() }));
        for ((send, _), bytes) in streams.iter_mut().zip([hello, transfer]) {
            // It may be refused before.
            let _ = send.write_all(&bytes).await;
        }
    }
    let ended = tokio::select! {
        biased;
        stream = peer.connection.accept_bi() => {
            outcome.demand(stream.is_err(), "the node opened a stream for a stranger");
            peer.closed().await
        }
        ended = peer.closed() => ended,
    };
    let stats = peer.connection.stats();
    let (to, back) = outcome.pre_auth.unwrap_or((0, 0));
    outcome.pre_auth = Some((to + stats.udp_tx.bytes, back + stats.udp_rx.bytes));
    ended
}

async fn dial(config: quinn::ClientConfig, stage: &Stage) -> String {
    let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a socket");
    let connecting = endpoint.connect_with(config, stage.address, "relay.invalid");
    match connecting.expect("a dial").await {
        Ok(_) => "a connection".to_owned(),
        Err(error) => ended(&error),
    }
}

/// What a first packet of another version is answered with (RFC 9000, 17.2.1).
async fn versions(stage: &Stage, version: u32) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let mut packet = vec![0xc3];
    packet.extend(version.to_be_bytes());
    packet.extend([8; 9]);
    packet.extend([8; 9]);
    packet.resize(1200, 0);
    socket.send_to(&packet, stage.address).await.expect("loopback takes it");
    let mut answer = [0; 1500];
    let received = tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut answer)).await;
    let Ok(Ok(length)) = received else { return "nothing".to_owned() };
    // Flags, version 0, two connection ids of eight bytes, then the list.
    let offered = answer.get(1 + 4 + 9 + 9..length).unwrap_or_default();
    let known = |raw: &[u8]| raw.try_into().map_or(0, u32::from_be_bytes);
    // Reserved versions keep clients honest about what they do not know (RFC 9000, 15).
    let offered =
        offered.chunks(4).map(known).filter(|version| version & 0x0f0f_0f0f != 0x0a0a_0a0a);
    let offered: Vec<_> = offered.map(|version| version.to_string()).collect();
    format!("offered versions: {}", offered.join(" "))
}

const CERTIFICATE_REQUIRED: &str = "TLS alert 116";
const ACCESS_DENIED: &str = "TLS alert 49";
const NO_APPLICATION_PROTOCOL: &str = "TLS alert 120";
const NO_VERSION: &str = "no common QUIC version";

/// Addresses of loopback that knock in turn.
const SOURCES: u8 = 8;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(5);
