//! How long messages take, from the call that sends one to the news of its durable receipt.

use std::{collections::BTreeMap, time::Duration};

use relay_proto::v1;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;

use crate::{
    campaign::{federation::Federation, load::Sent},
    client::{Client, alert},
    process::request_id,
};

/// What was measured: one time a message; a message without receipt counts as the whole wait.
#[derive(Debug, Clone, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Takes those of another measurement.
    pub fn add(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Of a hundred messages 99 took at most this.
    pub fn p99(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let place = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
        sorted.get(place).copied().unwrap_or_default()
    }

    /// How many messages it were.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// What is to be measured.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// From which place to which.
    pub way: (usize, usize),
    /// Between two messages.
    pub gap: Duration,
    /// For how long messages are sent.
    pub length: Duration,
}

/// Sends messages and waits for their receipts.
pub async fn times(federation: &Federation, measure: Measure) -> Times {
    let Measure { way, gap, length } = measure;
    let (sender, recipient) = (node(federation, way.0), node(federation, way.1));
    let mut client = sender.client();
    let cursor = newest(&client).await;
    let request = v1::WatchEventsRequest { cursor };
    let events = client.messages.watch_events(request).await.expect("a watch");
    let mut events = events.into_inner();
    let (mut begun, mut times) = (BTreeMap::new(), Times::default());
    // News may come before the answer does.
    let mut early = BTreeMap::new();
    let (until, mut next) = (Instant::now() + length, Instant::now());
    let draft = alert(&recipient.unit);
    while Instant::now() < until || !begun.is_empty() {
        let sending = Instant::now() < until;
        if Instant::now() > until + PATIENCE {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep_until(next), if sending => {
                next += gap;
                let at = Instant::now();
                if let Some(id) = send(federation, &mut client, way, draft.clone()).await {
                    match early.remove(&id) {
                        Some(heard) => times.0.push(heard - at),
                        None => drop(begun.insert(id, at)),
                    }
                }
            }
            event = events.next() => {
                let Some(Ok(event)) = event else { break };
                if event.kind() == v1::UnitEventKind::ReceiptReceived
                    && event.receipt_event() == v1::Event::ContentConsignment
                {
                    match begun.remove(&event.message_id) {
                        Some(at) => times.0.push(at.elapsed()),
                        None => drop(early.insert(event.message_id, Instant::now())),
                    }
                }
            }
            () = tokio::time::sleep(gap), if !sending => {}
        }
    }
    times.0.extend(begun.into_values().map(|at| at.elapsed().max(PATIENCE)));
    times
}

/// Sends one message and records it; nothing when it was refused.
pub async fn send(
    federation: &Federation,
    client: &mut Client,
    (from, to): (usize, usize),
    draft: v1::Draft,
) -> Option<String> {
    let request = v1::SendMessageRequest {
        request_id: request_id(),
        draft: Some(draft),
        validate_only: false,
        etag: String::new(),
    };
    let answer = client.messages.send_message(request).await;
    let ledger = &federation.ledger;
    match answer.map(|answer| answer.into_inner().message) {
        Ok(message) => {
            let id = message?.message_id;
            ledger.note(|records| records.sent.push(Sent { from, to, id: id.clone() }));
            Some(id)
        }
        Err(status) => {
            ledger.note(|records| records.wrong.push(format!("send: {status}")));
            None
        }
    }
}

/// How one node sees another.
pub async fn peer(federation: &Federation, at: usize, of: usize) -> v1::Peer {
    let unit = node(federation, of).unit.clone();
    let mut client = node(federation, at).client().peers;
    client.get_peer(v1::GetPeerRequest { unit }).await.expect("a peer").into_inner()
}

/// One of the nodes.
pub fn node(federation: &Federation, place: usize) -> &crate::process::Process {
    federation.nodes.get(place).expect("a node at this place")
}

async fn newest(client: &Client) -> String {
    let mut cursor = String::new();
    loop {
        let request = v1::ListEventsRequest { cursor: cursor.clone(), page_size: 1000 };
        let page = client.messages.clone().list_events(request).await.expect("events");
        let page = page.into_inner();
        if page.next_cursor == cursor {
            return cursor;
        }
        cursor = page.next_cursor;
    }
}

/// For the last receipts.
const PATIENCE: Duration = Duration::from_secs(30);
