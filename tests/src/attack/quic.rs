//! A hacked peer whose packets break or strain QUIC itself: gaps in every stream, connection ids
//! and path challenges without end, acknowledgements of what was never sent, windows overrun.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    inject::{Injector, stream, varint},
    peer::{How, Session, closed, connect},
    report::Outcome,
    stage::Stage,
};

/// Every second byte of all four lanes' windows, so that nothing can be read and everything has to
/// be kept.
pub async fn gaps(stage: &Stage, until: Instant) -> Outcome {
    let (mut outcome, mut left) = (Outcome::default(), 0);
    while Instant::now() < until {
        let (injector, session) = strained(stage, &mut outcome).await;
        let Some(mut session) = session else { continue };
        let mut offset = FIRST_GAP;
        while offset < WINDOW && Instant::now() < until && is_open(&session) {
            let mut packet = Vec::new();
            while packet.len() < PACKET && offset < WINDOW {
                for id in LANES {
                    packet.extend(stream(id, offset, &[0x12]));
                    outcome.sent.add("byte behind a gap");
                }
                offset += 2;
            }
            injector.push(packet);
            drain(&mut session, &injector).await;
        }
        if is_open(&session) {
            outcome.answered.add("kept open");
        } else {
            outcome.answered.add(closed(&session.connection).await);
        }
        left += injector.left();
    }
    outcome.demand(left > 0, NOTHING_LEFT);
    outcome
}

/// Frames that QUIC forbids: each ends the connection with its code of RFC 9000, 20.1.
pub async fn forbidden(stage: &Stage, until: Instant) -> Outcome {
    let (mut outcome, mut left) = (Outcome::default(), 0);
    while Instant::now() < until {
        for (what, frames, codes) in broken() {
            let (injector, session) = strained(stage, &mut outcome).await;
            let Some(mut session) = session else { continue };
            outcome.sent.add(what);
            injector.push(frames);
            drain(&mut session, &injector).await;
            let answer = closed(&session.connection).await;
            outcome.ended(what, answer, codes);
            outcome.demand(injector.left() > 0, format!("{what}: {NOTHING_LEFT}"));
            left += injector.left();
        }
    }
    outcome.demand(left > 0, NOTHING_LEFT);
    outcome.demand_few_resets();
    outcome
}

/// New connection ids that retire all earlier ones, each of which wants an answer
/// (CVE-2024-22189).
pub async fn retirements(stage: &Stage, until: Instant) -> Outcome {
    repeat(stage, until, "NEW_CONNECTION_ID", |packet, number| {
        packet.push(0x18);
        packet.extend(varint(number + 1));
        packet.extend(varint(number + 1));
        packet.push(8);
        packet.extend(number.to_be_bytes());
        packet.extend([number.to_be_bytes(), [9; 8]].concat());
    })
    .await
}

/// Path challenges without end, each of which wants an answer (CVE-2023-49295).
pub async fn challenges(stage: &Stage, until: Instant) -> Outcome {
    repeat(stage, until, "PATH_CHALLENGE", |packet, number| {
        packet.push(0x1a);
        packet.extend(number.to_be_bytes());
    })
    .await
}

/// Handshake data behind gaps, long after the handshake.
pub async fn crypto_gaps(stage: &Stage, until: Instant) -> Outcome {
    repeat(stage, until, "CRYPTO behind a gap", |packet, number| {
        packet.push(0x06);
        packet.extend(varint(1 + number * 2 % 60_000));
        packet.extend([1, 0]);
    })
    .await
}

async fn repeat(
    stage: &Stage,
    until: Instant,
    what: &str,
    frame: impl Fn(&mut Vec<u8>, u64),
) -> Outcome {
    let (mut outcome, mut left) = (Outcome::default(), 0);
    while Instant::now() < until {
        let (injector, session) = strained(stage, &mut outcome).await;
        let Some(mut session) = session else { continue };
        let mut number = 0;
        while Instant::now() < until && is_open(&session) {
            let mut packet = Vec::new();
            while packet.len() < PACKET {
                frame(&mut packet, number);
                outcome.sent.add(what);
                number += 1;
            }
            injector.push(packet);
            drain(&mut session, &injector).await;
        }
        match is_open(&session) {
            true => outcome.answered.add("kept open"),
            false => outcome.answered.add(closed(&session.connection).await),
        }
        left += injector.left();
    }
    outcome.demand(left > 0, NOTHING_LEFT);
    outcome
}

/// A session whose packets can be replaced.
async fn strained(stage: &Stage, outcome: &mut Outcome) -> (Injector, Option<Session>) {
    let injector = Injector::default();
    let identity = &stage.hacked.identity;
    let how = How { injector: Some(injector.clone()), ..How::like_a_node(identity) };
    let session = match connect(&how, stage.address).await {
        Ok(peer) => peer.greet(stage.hacked.hello()).await,
        Err(refused) => Err(refused),
    };
    let session = session.map_err(|refused| outcome.answered.add(format!("no session: {refused}")));
    (injector, session.ok())
}

/// Makes packets until ours are sent: a byte in each, on a stream that nobody reads yet.
async fn drain(session: &mut Session, injector: &Injector) {
    let started = Instant::now();
    while injector.waiting() > 0 && is_open(session) && started.elapsed() < STUCK {
        let [answers, ..] = &mut session.reverse;
        let write = tokio::time::timeout(STUCK, answers.write_all(&[0]));
        if !matches!(write.await, Ok(Ok(()))) {
            return;
        }
        tokio::time::sleep(Duration::from_micros(50)).await;
    }
}

fn is_open(session: &Session) -> bool {
    session.connection.close_reason().is_none()
}

/// What is sent, its frames, and the codes that are right for it.
fn broken() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let far = 1 << 40;
    let number = |first: u8, value: u64| [&[first][..], &varint(value)].concat();
    let acknowledged = [number(0x02, far), vec![0, 0, 0]].concat();
    let reset = [number(0x04, 0), vec![0, 0]].concat();
    vec![
        ("data beyond the stream's window", stream(0, 2 << 20, &[1]), &["QUIC 0x3"]),
        (
            "data at the end of offsets",
            stream(0, (1 << 62) - 2, &[1; 2]),
            &["QUIC 0x3", "QUIC 0x7"],
        ),
        ("the 100th stream", stream(400, 0, &[1]), &["QUIC 0x4"]),
        ("a unidirectional stream", stream(2, 0, &[1]), &["QUIC 0x4"]),
        ("data on a stream of the node's to be", stream(401, 0, &[1]), &["QUIC 0x5"]),
        ("a final size below what came", reset, &["QUIC 0x6"]),
        ("an unknown frame", vec![0x3f; 4], &["QUIC 0x7"]),
        ("a frame cut short", vec![0x0e, 0, 0, 0x7f, 0xff], &["QUIC 0x7"]),
        ("a stream limit over 2^60", number(0x12, (1 << 60) + 1), &["QUIC 0x7"]),
        ("an acknowledgement of nothing", acknowledged, &["QUIC 0xa"]),
        ("HANDSHAKE_DONE by a client", vec![0x1e], &["QUIC 0xa"]),
        ("a token by a client", vec![0x07, 1, 1], &["QUIC 0xa"]),
        ("an empty token", vec![0x07, 0], &["QUIC 0x7", "QUIC 0xa"]),
        ("a datagram", vec![0x31, 1, 1], &["QUIC 0xa", "QUIC 0x7"]),
        ("a connection id too short", vec![0x18, 1, 0, 0], &["QUIC 0x7"]),
        ("an id retired that is not yet", number(0x19, 99), &["QUIC 0xa"]),
        ("handshake data far ahead", [number(0x06, 1 << 30), vec![1, 0]].concat(), &["QUIC 0xd"]),
    ]
}

/// The attack was none.
const NOTHING_LEFT: &str = "none of its packets was sent";

/// Stream ids of the client's four lanes.
const LANES: [u64; 4] = [0, 4, 8, 12];

/// Behind what the lanes have said so far.
const FIRST_GAP: u64 = 4096;

/// Of one stream of the node.
const WINDOW: u64 = 1 << 20;

/// Bytes of frames that fit the smallest packet.
const PACKET: usize = 1000;

/// A packet that is not sent by then will not be.
const STUCK: Duration = Duration::from_secs(2);
