//! A hacked peer in session that sends frames as no node would: lengths that promise gigabytes,
//! bombs in protobuf, bytes with two readings, frames in the wrong place, false greetings.

use std::time::Duration;

use relay_proto::{
    limits,
    v1::{self, frame::Kind},
};
use tokio::time::Instant;

use super::{
    honest::percentile,
    peer::{How, closed, connect, frame, raw_frame},
    report::Outcome,
    stage::Stage,
    streams::MALFORMED,
};

/// Lengths over the limit of their place, on every lane, and of nothing.
pub async fn giant_lengths(stage: &Stage, until: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    while Instant::now() < until {
        for lane in 0..4 {
            let max = if lane == 0 { limits::CONTROL_BYTES_MAX } else { limits::FRAME_BYTES_MAX };
            let over = u32::try_from(max).unwrap_or(0) + 1;
            for length in [u32::MAX, 1 << 31, 1 << 24, over] {
                let bytes = [&length.to_be_bytes()[..], &[0x12; 64]].concat();
                one(stage, "giant length", lane, &bytes, &[TOO_LARGE], &mut outcome).await;
            }
            one(stage, "empty frame", lane, &[0; 4], &[MALFORMED], &mut outcome).await;
        }
    }
    outcome.demand_few_resets();
    outcome
}

/// Small bytes that would become large memory or long work, and bytes that can be read in two ways.
pub async fn bombs(stage: &Stage, until: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    let mut latencies = Vec::new();
    while Instant::now() < until {
        for (what, lane, bytes) in bombs_of() {
            let expected = &[MALFORMED, TOO_LARGE];
            let took = one(stage, what, lane, &raw_frame(&bytes), expected, &mut outcome).await;
            latencies.extend(took);
        }
    }
    outcome.demand_few_resets();
    let median = percentile(latencies.into_iter(), 50);
    outcome.demand(median <= REJECTED_MS, format!("refused in {median:.1} ms (median)"));
    outcome
}

/// Good frames where they do not belong.
pub async fn misplaced(stage: &Stage, until: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    while Instant::now() < until {
        let transfer = Kind::Transfer(v1::Transfer { number: 1, ..Default::default() });
        let table = [
            ("a second Hello", 0, Kind::Hello(stage.hacked.hello())),
            ("a message on CONTROL", 0, transfer),
            ("receipts on a lane", 2, Kind::Receipts(v1::ReceiptGroup::default())),
            ("a second Open", 3, Kind::Open(v1::Open { lane: 4 })),
            ("an answer where questions go", 0, Kind::Have(v1::Have { receipts: 1 })),
            ("a Ping on a lane", 1, Kind::Ping(v1::Ping { nonce: 1 })),
        ];
        for (what, lane, kind) in table {
            one(stage, what, lane, &frame(kind), &[MALFORMED], &mut outcome).await;
        }
    }
    outcome.demand_few_resets();
    outcome
}

/// Greetings that do not fit the key, or nothing that a node would say.
pub async fn false_hellos(stage: &Stage, until: Instant) -> Outcome {
    type Change = fn(&mut v1::Hello);
    let table: [(&str, Change, &str); 9] = [
        ("another unit's name", |hello| hello.unit = "xb.honest".into(), "0x1007"),
        ("the node's own name", |hello| hello.unit = "xa.attacked".into(), "0x1007"),
        ("another node's name", |hello| hello.node = "b".into(), "0x1007"),
        ("no version in common", |hello| hello.versions = vec![2], "0x1008"),
        ("a thousand versions", |hello| hello.versions = vec![1; 1000], "0x1008"),
        ("a critical extension", |hello| hello.extensions = vec![critical()], "0x1009"),
        ("no instance", |hello| hello.instance_id.clear(), MALFORMED),
        ("control characters", |hello| hello.software = "a\u{1b}[2J\r\n".into(), MALFORMED),
        ("a note too long", |hello| hello.own_checkpoint = "x".repeat(20_000), MALFORMED),
    ];
    let mut outcome = Outcome::default();
    while Instant::now() < until {
        for (what, change, code) in table {
            let mut hello = stage.hacked.hello();
            change(&mut hello);
            outcome.sent.add(what);
            let answer =
                match connect(&How::like_a_node(&stage.hacked.identity), stage.address).await {
                    Ok(peer) => peer.greet(hello).await.err().unwrap_or("a session".to_owned()),
                    Err(refused) => refused,
                };
            outcome.demand(answer == code, format!("{what}: {answer}"));
            outcome.answered.add(answer);
        }
    }
    outcome
}

fn critical() -> v1::Extension {
    v1::Extension { r#type: 77, critical: true, ..Default::default() }
}

/// One session, these bytes on a lane, and the end that they bring; how long it took, in ms.
async fn one(
    stage: &Stage,
    what: &str,
    lane: usize,
    bytes: &[u8],
    expected: &[&str],
    outcome: &mut Outcome,
) -> Option<f64> {
    let mut session = match stage.session().await {
        Ok(session) => session,
        Err(refused) => {
            outcome.demand(false, format!("no session: {refused}"));
            return None;
        }
    };
    outcome.sent.add(what);
    // A long frame may be refused while it is written.
    let _ = session.send_bytes(lane, bytes).await;
    let sent = Instant::now();
    let answer = closed(&session.connection).await;
    let took: Duration = sent.elapsed();
    outcome.ended(what, answer, expected);
    Some(took.as_secs_f64() * 1e3)
}

/// Name, lane and bytes of a `Frame`.
fn bombs_of() -> Vec<(&'static str, usize, Vec<u8>)> {
    let field = |tag: u8, inside: &[u8]| {
        [&[tag][..], &super::protobuf_varint(inside.len()), inside].concat()
    };
    let transfer = |inside: &[u8]| field(0x12, inside);
    let mut deep = vec![0x7a, 0];
    for _ in 0..4_000 {
        deep = field(0x7a, &deep);
    }
    let groups = [[0x1b].repeat(4_000), [0x1c].repeat(4_000)].concat();
    let room = limits::FRAME_BYTES_MAX - 16;
    let control = limits::CONTROL_BYTES_MAX - 16;
    vec![
        ("nesting of 4,000 levels", 1, transfer(&deep)),
        ("4,000 groups in each other", 1, transfer(&groups)),
        ("260,000 empty texts", 1, transfer(&[0x12, 0].repeat(room / 2))),
        ("130,000 empty receipts", 0, field(0x2a, &[0x22, 0].repeat(control / 2))),
        ("130,000 empty hashes", 0, field(0x2a, &[0x1a, 0].repeat(control / 2))),
        ("a text that promises 2 GiB", 1, transfer(&[0x12, 0xff, 0xff, 0xff, 0xff, 0x07])),
        ("a text of half a megabyte", 1, transfer(&field(0x12, &vec![0xff; room - 8]))),
        ("a number of eleven bytes", 1, transfer(&[&[0x08][..], &[0xff; 10], &[1]].concat())),
        ("a number not in its shortest form", 1, transfer(&[0x08, 0x81, 0x00])),
        ("a default that is written", 1, transfer(&[0x08, 0x00])),
        ("a field twice", 1, transfer(&[0x08, 1, 0x08, 2])),
        ("fields out of order", 1, transfer(&[0x1a, 0, 0x08, 1])),
        ("an unknown field", 1, transfer(&[0x08, 1, 0xf8, 0x07, 1])),
        ("250,000 unknown fields", 1, transfer(&[0x78, 1].repeat(room / 2))),
        ("another wire type", 1, transfer(&[0x09, 1, 2, 3, 4, 5, 6, 7, 8])),
        ("a group", 1, transfer(&[0x0b, 0x0c])),
        ("two kinds in one frame", 1, [transfer(&[0x08, 1]), field(0x5a, &[0x08, 1])].concat()),
        ("text that is no UTF-8", 1, transfer(&field(0x12, &[0xc3, 0x28]))),
        ("no kind", 1, vec![0x00]),
    ]
}

const TOO_LARGE: &str = "0x1004";

/// What a bomb may take from its last byte to the node's close.
const REJECTED_MS: f64 = 5.0;
