//! The clients of a campaign: they send, repeat under the same request id what was not answered,
//! take some of what arrives, and record every acknowledgement that they got.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use relay_proto::v1;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::federation::Federation;
use crate::{
    client::{Client, alert},
    process::request_id,
};

/// A message that a client was told is stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    /// The place of its sender.
    pub from: usize,
    /// The place of its recipient.
    pub to: usize,
    /// Its id.
    pub id: String,
}

/// A message that a case system was told is taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taken {
    /// The place of its recipient.
    pub at: usize,
    /// Its id.
    pub id: String,
}

/// Every acknowledgement that clients got.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Records>>);

/// What a ledger holds.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Messages that were acknowledged.
    pub sent: Vec<Sent>,
    /// Messages that were taken.
    pub taken: Vec<Taken>,
    /// Calls that were refused for a while: by which label, and what it was.
    pub refused: Vec<(String, Status)>,
    /// What no client should be told.
    pub wrong: Vec<String>,
}

impl Ledger {
    /// Takes out what came since the last time.
    pub fn drain(&self) -> Records {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The labels of refusals since the last time.
    pub fn refused(&self) -> Vec<String> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.refused.iter().map(|(label, _)| label.clone()).collect()
    }

    /// What was acknowledged so far, which stays.
    pub fn sent(&self) -> Vec<Sent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sent.clone()
    }

    /// Another client was told that a message is stored.
    pub fn acknowledged(&self, sent: Sent) {
        self.note(|records| records.sent.push(sent));
    }

    /// Records something.
    pub(super) fn note(&self, change: impl FnOnce(&mut Records)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Clients at work.
pub struct Load {
    stop: CancellationToken,
    clients: JoinSet<()>,
}

impl Load {
    /// Clients of every node, each writing to the others in turn, and a desk of each that takes
    /// some of what arrives.
    pub fn start(federation: &Federation) -> Self {
        let places: Vec<usize> = (0..federation.nodes.len()).collect();
        Self::start_at(federation, &places)
    }

    /// The same at some of the nodes.
    pub fn start_at(federation: &Federation, places: &[usize]) -> Self {
        Self::paced(federation, places, PAUSE)
    }

    /// The same with another pause between two messages of a client.
    pub fn paced(federation: &Federation, places: &[usize], pause: Duration) -> Self {
        let mut load = Self { stop: CancellationToken::new(), clients: JoinSet::new() };
        for place in places {
            load.add_senders(federation, *place, pause);
            let desk = Desk::of(federation, *place).take(load.stop.clone());
            load.clients.spawn(desk);
        }
        load
    }

    /// The sending clients of one node only.
    pub fn senders(federation: &Federation, place: usize) -> Self {
        let mut load = Self { stop: CancellationToken::new(), clients: JoinSet::new() };
        load.add_senders(federation, place, PAUSE);
        load
    }

    fn add_senders(&mut self, federation: &Federation, place: usize, pause: Duration) {
        for lane in 0..LANES {
            let desk = Desk { pause, ..Desk::of(federation, place) };
            self.clients.spawn(desk.send(lane, self.stop.clone()));
        }
    }

    /// Begins nothing new and waits for the answers to what was begun.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.clients.join_next().await.is_some() {}
    }
}

struct Desk {
    client: Client,
    place: usize,
    peers: Vec<(usize, v1::Draft)>,
    ledger: Ledger,
    pause: Duration,
}

impl Desk {
    fn of(federation: &Federation, place: usize) -> Self {
        let nodes = federation.nodes.iter().enumerate();
        let peers = nodes.filter(|(other, _)| *other != place);
        let client = federation.nodes.get(place).expect("a node at this place").client();
        Self {
            client,
            place,
            peers: peers.map(|(place, node)| (place, alert(&node.unit))).collect(),
            ledger: federation.ledger.clone(),
            pause: PAUSE,
        }
    }

    async fn send(mut self, lane: usize, stop: CancellationToken) {
        for number in lane.. {
            if stop.is_cancelled() {
                return;
            }
            let Some((to, draft)) = self.peers.get(number % self.peers.len().max(1)) else {
                return;
            };
            let to = *to;
            let request = request(draft.clone(), number);
            if let Some(id) = self.answered(request, &stop).await {
                let sent = Sent { from: self.place, to, id };
                self.ledger.note(|records| records.sent.push(sent));
            }
            tokio::time::sleep(self.pause).await;
        }
    }

    /// Repeats a request until it has an answer; none when it was refused, or the load stops first.
    async fn answered(
        &mut self,
        request: v1::SendMessageRequest,
        stop: &CancellationToken,
    ) -> Option<String> {
        loop {
            match self.client.messages.send_message(request.clone()).await {
                Ok(answer) => return Some(answer.into_inner().message?.message_id),
                Err(status) if is_away(&status) && !stop.is_cancelled() => {}
                Err(status) if is_away(&status) => return None,
                Err(status) => {
                    self.refused("send", status);
                    return None;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Takes what arrived, some at a time, as a case system.
    async fn take(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            for id in self.untaken().await.unwrap_or_default() {
                match self.acknowledge(id).await {
                    Ok(()) => {}
                    Err(status) if is_away(&status) => {}
                    Err(status) => self.refused("acknowledge", status),
                }
            }
            tokio::time::sleep(10 * PAUSE).await;
        }
    }

    /// Some refusals pass; whether a run may cause them is for its check to say.
    fn refused(&self, what: &str, status: Status) {
        let passes = [Code::ResourceExhausted, Code::FailedPrecondition].contains(&status.code());
        self.ledger.note(|records| match passes {
            true => records.refused.push((label_of(&status), status)),
            false => records.wrong.push(format!("{what}: {status}")),
        });
    }

    async fn acknowledge(&mut self, id: String) -> Result<(), Status> {
        let request = v1::AcknowledgeMessageRequest {
            request_id: request_id(),
            name: id.clone(),
            capacity: v1::AckCapacity::Handover.into(),
            by: String::new(),
        };
        self.client.messages.acknowledge_message(request).await?;
        self.ledger.note(|records| records.taken.push(Taken { at: self.place, id }));
        Ok(())
    }

    async fn untaken(&mut self) -> Result<Vec<String>, Status> {
        let request = v1::ListMessagesRequest {
            page_size: TAKEN_AT_ONCE,
            page_token: String::new(),
            filter: "direction = IN AND acknowledged = no".to_owned(),
        };
        let page = self.client.messages.list_messages(request).await?.into_inner();
        Ok(page.messages.into_iter().map(|message| message.message_id).collect())
    }
}

/// A request, the same for each repetition; its message shows which one it came of.
fn request(mut draft: v1::Draft, number: usize) -> v1::SendMessageRequest {
    let request_id = request_id();
    draft.priority = i32::try_from(number % 3).unwrap_or(0) + 1;
    if let Some(payload) = &mut draft.payload {
        payload.urgency_reason = format!("{REQUEST}{request_id}");
    }
    v1::SendMessageRequest {
        request_id,
        draft: Some(draft),
        validate_only: false,
        etag: String::new(),
    }
}

/// Sends one message from a node to the next one, and records it.
pub async fn send_one(federation: &Federation, place: usize) -> Result<(), Status> {
    let desk = Desk::of(federation, place);
    let Some((to, draft)) = desk.peers.first() else { return Ok(()) };
    let answer = desk.client.messages.clone().send_message(request(draft.clone(), 0)).await?;
    if let Some(message) = answer.into_inner().message {
        federation.ledger.acknowledged(Sent { from: place, to: *to, id: message.message_id });
    }
    Ok(())
}

/// Takes one message at a node, if there is any.
pub async fn take_one(federation: &Federation, place: usize) -> Result<(), Status> {
    let mut desk = Desk::of(federation, place);
    match desk.untaken().await?.into_iter().next() {
        Some(id) => desk.acknowledge(id).await,
        None => Ok(()),
    }
}

/// The node was away: nobody knows what became of the call.
fn is_away(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Aborted)
}

/// The label of a refusal.
pub fn label_of(status: &Status) -> String {
    use tonic_types::StatusExt as _;
    let reason = status.get_details_error_info().map(|info| info.reason);
    reason.unwrap_or_else(|| status.code().to_string())
}

/// How a message says which request it came of.
pub const REQUEST: &str = "a campaign, request ";
/// Clients of one node that send.
const LANES: usize = 6;
/// Between two messages of a client.
const PAUSE: Duration = Duration::from_millis(10);
/// So that most messages wait for a desk at some time.
const TAKEN_AT_ONCE: i32 = 5;
