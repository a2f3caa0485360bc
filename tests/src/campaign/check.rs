//! After a run: every message that was acknowledged is looked up at both ends, every receipt is
//! verified as a court would, and the events show what took effect twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use relay_proto::{
    card::Card,
    evidence::{self, Effect, Outcome, ReceiptLine, TrustAnchors},
    reason::Reason,
    receipt::Event,
    v1,
};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::{
    federation::Federation,
    load::{self, Records, Sent, Taken},
};
use crate::{
    client::{Client, PURPOSE},
    process::Process,
};

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Messages that were looked for.
    pub acknowledged: u64,
    /// Missing at an end, or without receipt.
    pub lost: u64,
    /// Took effect twice.
    pub doubled: u64,
    /// Receipts that contradict each other or do not verify.
    pub contradictory: u64,
    /// Messages that a desk was told are taken.
    pub taken: u64,
    /// In words.
    pub problems: Vec<String>,
}

/// What a federation's nodes have shown so far.
#[derive(Default)]
pub struct Seen {
    all: BTreeSet<Sent>,
    places: Vec<Place>,
    /// The message that each request became, by what the request said.
    requests: BTreeMap<String, String>,
}

#[derive(Default)]
struct Place {
    cursor: String,
    received: BTreeMap<String, u64>,
    /// What was received when a backup was made.
    kept: BTreeSet<String>,
}

impl Seen {
    /// A backup of a node is made.
    pub fn back_up(&mut self, place: usize) {
        if let Some(seen) = self.places.get_mut(place) {
            seen.kept = seen.received.keys().cloned().collect();
        }
    }

    /// A node's store was set back to its backup: what it had shown then is shown again. What came
    /// after it may come again only as what it is, flagged.
    pub fn set_back(&mut self, place: usize) {
        if let Some(seen) = self.places.get_mut(place) {
            seen.cursor.clear();
            seen.received.retain(|id, _| !seen.kept.contains(id));
        }
    }

    /// One request became one message.
    fn came_of(&mut self, message: &v1::Message, found: &mut Found) {
        let payload = message.payload.as_ref();
        let request = payload.map(|payload| payload.urgency_reason.clone()).unwrap_or_default();
        if !request.starts_with(load::REQUEST) {
            return;
        }
        let id = message.message_id.clone();
        let first = self.requests.entry(request).or_insert_with(|| id.clone());
        if *first != id {
            found.doubled += 1;
            found.problems.push(format!("{first} and {id} came of one request"));
        }
    }
}

/// How patient a check is, and what it does not mind.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Everything must have its end by then.
    pub within: Duration,
    /// Labels of alarms that the run raises on purpose.
    pub alarms: &'static [&'static str],
    /// Labels of refusals that it causes on purpose.
    pub refusals: &'static [&'static str],
    /// Clocks were not trusted: that a statement's date proves nothing is as it should be.
    pub undated: bool,
}

impl Terms {
    /// A minute, no alarm, right clocks.
    pub const USUAL: Self =
        Self { within: Duration::from_secs(60), alarms: &[], refusals: &[], undated: false };
}

impl Federation {
    /// Waits until everything has its end, then looks at all that was acknowledged since the last
    /// check. All nodes run.
    pub async fn check(&mut self, terms: Terms) -> Found {
        let mut found = Found::default();
        let until = Instant::now() + terms.within;
        for place in 0..self.nodes.len() {
            let sent = persist(async || load::send_one(self, place).await).await;
            let why = sent.err().map(|status| format!("{place} takes nothing: {status}"));
            found.problems.extend(why);
        }
        for place in 0..self.nodes.len() {
            self.wait_for_ends(place, until, &mut found).await;
        }
        for place in 0..self.nodes.len() {
            let taken = persist(async || load::take_one(self, place).await).await;
            let why = taken.err().map(|status| format!("{place} hands nothing over: {status}"));
            found.problems.extend(why);
        }
        let mut records = self.ledger.drain();
        found.acknowledged = records.sent.len() as u64;
        found.taken = records.taken.len() as u64;
        found.problems.extend(records.wrong.iter().cloned());
        let mut refused = records.refused.iter().map(|(label, _)| label.as_str());
        if let Some(label) = refused.find(|label| !terms.refusals.contains(label)) {
            found.problems.push(format!("a client was refused with {label}"));
        }
        let clients: Vec<Client> = self.nodes.iter().map(Process::client).collect();
        if terms.undated {
            records.sent = self.without_false_dates(&clients, records.sent).await;
        }
        for sent in &records.sent {
            look_up(&clients, sent, &mut self.seen, &mut found).await;
        }
        let trust = trust_of(&self.nodes);
        self.verify(&clients, &records, &trust, (until, terms.undated), &mut found).await;
        for (place, client) in clients.iter().enumerate() {
            self.read_events(place, client, terms.alarms, &mut found).await;
            look_at_alarms(client, place, terms.alarms, &mut found).await;
        }
        self.seen.all.extend(records.sent);
        self.keep(&mut found);
        found
    }

    /// What was sent with a date that its recipient had to refuse for good is no loss: its sender
    /// was told so, by a receipt.
    async fn without_false_dates(&self, clients: &[Client], sent: Vec<Sent>) -> Vec<Sent> {
        let mut rest = Vec::with_capacity(sent.len());
        for one in sent {
            let Some(client) = clients.get(one.from) else { continue };
            let deliveries = full(client, &one.id).await.unwrap_or_default().deliveries;
            let is_refused = |delivery: &v1::Delivery| {
                let dates = [Reason::FutureDated, Reason::Expired].map(Reason::label);
                delivery.state() == v1::DeliveryState::Refused
                    && dates.contains(&delivery.reason.as_str())
            };
            if deliveries.is_empty() || !deliveries.iter().all(is_refused) {
                rest.push(one);
            }
        }
        rest
    }

    /// The last look: the lists of all nodes hold everything that was ever acknowledged.
    pub async fn check_all(&mut self) -> Found {
        let mut found = Found::default();
        let clients: Vec<Client> = self.nodes.iter().map(Process::client).collect();
        let mut held = Vec::new();
        for client in &clients {
            held.push((ids(client, "OUT").await, ids(client, "IN").await));
        }
        let acknowledged: BTreeSet<&String> = self.seen.all.iter().map(|sent| &sent.id).collect();
        let mut unanswered = Vec::new();
        for (place, (out, _)) in held.iter().enumerate() {
            let ids = out.iter().filter(|id| !acknowledged.contains(id));
            unanswered.extend(ids.map(|id| (place, id.clone())));
        }
        for Sent { from, to, id } in &self.seen.all {
            let out = held.get(*from).is_some_and(|(out, _)| out.contains(id));
            let arrived = held.get(*to).is_some_and(|(_, arrived)| arrived.contains(id));
            if !out || !arrived {
                found.lost += 1;
                found.problems.push(format!("{id} from {from} to {to}: out {out}, in {arrived}"));
            }
        }
        // What was stored and never answered may be a second message of one request.
        for (place, id) in unanswered {
            let message = match clients.get(place) {
                Some(client) => full(client, &id).await,
                None => continue,
            };
            match message {
                Ok(message) => self.seen.came_of(&message, &mut found),
                Err(status) => found.problems.push(format!("{id} at {place}: {status}")),
            }
        }
        self.keep(&mut found);
        found
    }

    /// Reads what a node has to tell by now.
    pub async fn read_on(&mut self, place: usize, terms: Terms) -> Found {
        let mut found = Found::default();
        if let Some(client) = self.nodes.get(place).map(Process::client) {
            self.read_events(place, &client, terms.alarms, &mut found).await;
        }
        found
    }

    /// Waits until a node has nothing open.
    pub async fn wait_for_ends(&self, place: usize, until: Instant, found: &mut Found) {
        let Some(node) = self.nodes.get(place) else { return };
        let mut client = node.client().messages;
        loop {
            let request = v1::ListMessagesRequest {
                page_size: 1,
                page_token: String::new(),
                filter: "open = yes".to_owned(),
            };
            let open = match client.list_messages(request).await {
                Ok(page) => match page.into_inner().messages.into_iter().next() {
                    Some(message) => format!("{:?}", message.deliveries),
                    None => return,
                },
                Err(status) => status.to_string(),
            };
            if Instant::now() > until {
                found.problems.push(format!("{} has not drained: {open}", node.unit));
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Exports and verifies the evidence of each message.
    async fn verify(
        &self,
        clients: &[Client],
        records: &Records,
        trust: &TrustAnchors,
        (until, undated): (Instant, bool),
        found: &mut Found,
    ) {
        let taken: BTreeSet<&Taken> = records.taken.iter().collect();
        for sent in &records.sent {
            let Some(client) = clients.get(sent.from) else { continue };
            let taken = taken.contains(&Taken { at: sent.to, id: sent.id.clone() });
            // The receipt of the desk is on its way.
            while let Some(missing) = verify_one(client, sent, (taken, undated), trust, found).await
            {
                if Instant::now() > until {
                    found.lost += 1;
                    found.problems.push(missing);
                    break;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    /// A message that is received twice took effect twice, as a case system sees it.
    async fn read_events(
        &mut self,
        place: usize,
        client: &Client,
        alarms: &[&str],
        found: &mut Found,
    ) {
        if self.seen.places.len() <= place {
            self.seen.places.resize_with(place + 1, Place::default);
        }
        let Some(seen) = self.seen.places.get_mut(place) else { return };
        loop {
            let request = v1::ListEventsRequest { cursor: seen.cursor.clone(), page_size: 1000 };
            let page = match client.messages.clone().list_events(request).await {
                Ok(page) => page.into_inner(),
                Err(status) => return found.problems.push(format!("events of {place}: {status}")),
            };
            for event in &page.events {
                match event.kind() {
                    v1::UnitEventKind::MessageReceived if !event.recovered => {
                        let times = seen.received.entry(event.message_id.clone()).or_default();
                        *times += 1;
                        if *times > 1 {
                            found.doubled += 1;
                            let id = &event.message_id;
                            found.problems.push(format!("{id} was received twice at {place}"));
                        }
                    }
                    v1::UnitEventKind::Contradiction if !alarms.contains(&&*event.reason) => {
                        found.contradictory += 1;
                        found.problems.push(format!("contradiction at {place}: {event:?}"));
                    }
                    _ => {}
                }
            }
            if page.next_cursor == seen.cursor {
                return;
            }
            seen.cursor = page.next_cursor;
        }
    }
}

/// Repeats a call that is refused.
async fn persist(mut call: impl AsyncFnMut() -> Result<(), Status>) -> Result<(), Status> {
    let until = Instant::now() + TAKES_WITHIN;
    loop {
        match call().await {
            Err(_) if Instant::now() < until => tokio::time::sleep(LOOK_EVERY).await,
            done => return done,
        }
    }
}

/// A message must be there at both ends, readable, and the same bytes.
async fn look_up(clients: &[Client], sent: &Sent, seen: &mut Seen, found: &mut Found) {
    let mut digests = Vec::new();
    for place in [sent.from, sent.to] {
        let Some(client) = clients.get(place) else { continue };
        match full(client, &sent.id).await {
            Ok(message) => {
                if place == sent.from {
                    seen.came_of(&message, found);
                }
                digests.push(message.header_digest);
            }
            Err(status) => {
                found.lost += u64::from(status.code() == Code::NotFound);
                found.problems.push(format!("{} at {place}: {status}", sent.id));
            }
        }
    }
    if let [out, arrived] = digests.as_slice()
        && out != arrived
    {
        found.problems.push(format!("{} is not the same at both ends", sent.id));
    }
}

async fn full(client: &Client, id: &str) -> Result<v1::Message, Status> {
    let view = v1::MessageView::Full.into();
    let request = v1::GetMessageRequest { name: id.to_owned(), view, purpose: PURPOSE.to_owned() };
    client.messages.clone().get_message(request).await.map(tonic::Response::into_inner)
}

/// Verifies one message's evidence. Returns what is not there yet.
async fn verify_one(
    client: &Client,
    sent: &Sent,
    (taken, undated): (bool, bool),
    trust: &TrustAnchors,
    found: &mut Found,
) -> Option<String> {
    let request = v1::ExportEvidenceRequest {
        name: sent.id.clone(),
        include_payload: true,
        purpose: PURPOSE.to_owned(),
    };
    let bundle = match client.messages.clone().export_evidence(request).await {
        Ok(answer) => answer.into_inner().bundle.unwrap_or_default(),
        Err(status) => return Some(format!("no evidence of {}: {status}", sent.id)),
    };
    let verdict = evidence::verify(&bundle, trust);
    // What was stated again after a log was lost says nothing new.
    let again = |line: &&ReceiptLine| line.flags.contains(&v1::StatementFlag::Recovered);
    let first: Vec<&ReceiptLine> = verdict.ladder.iter().filter(|line| !again(line)).collect();
    let count = |event| first.iter().filter(|line| line.event == event).count();
    let wanted = [(Event::ContentConsignment, true), (Event::ContentHandover, taken)];
    if let Some((event, _)) = wanted.iter().find(|(event, is)| *is && count(*event) == 0) {
        return Some(format!("{}: no {event:?}", sent.id));
    }
    let ends = [Event::ContentConsignment, Event::RelayRejection, Event::RelayFailure];
    let ends: usize = ends.into_iter().map(count).sum();
    let mut doubts = verdict.problems.iter().filter(|p| p.effect == Effect::UnprovenTime);
    let proves = match verdict.outcome {
        Outcome::Valid => true,
        Outcome::UnprovenTime => undated && doubts.all(|p| p.reason == Reason::ClockUntrusted),
        Outcome::Consistent | Outcome::Invalid => false,
    };
    if !proves || ends != 1 {
        found.contradictory += 1;
        let (outcome, problems) = (verdict.outcome, &verdict.problems);
        found.problems.push(format!("{}: {outcome}, {ends} ends, {problems:?}", sent.id));
    }
    None
}

async fn look_at_alarms(client: &Client, place: usize, allowed: &[&str], found: &mut Found) {
    match client.node.clone().get_status(v1::GetStatusRequest {}).await {
        Ok(status) => {
            let status = status.into_inner();
            let new = |alarm: &&String| !allowed.iter().any(|label| alarm.contains(label));
            for alarm in status.alarms.iter().filter(new) {
                found.problems.push(format!("alarm at {place}: {alarm}"));
            }
        }
        Err(status) => found.problems.push(format!("status of {place}: {status}")),
    }
}

/// All ids that a node lists.
async fn ids(client: &Client, direction: &str) -> BTreeSet<String> {
    let (mut ids, mut page_token) = (BTreeSet::new(), String::new());
    loop {
        let filter = format!("direction = {direction}");
        let request = v1::ListMessagesRequest { page_size: 1000, page_token, filter };
        let Ok(page) = client.messages.clone().list_messages(request).await else { return ids };
        let page = page.into_inner();
        ids.extend(page.messages.into_iter().map(|message| message.message_id));
        if page.next_page_token.is_empty() {
            return ids;
        }
        page_token = page.next_page_token;
    }
}

/// What a court would trust: the cards of all units.
pub(super) fn trust_of(nodes: &[Process]) -> TrustAnchors {
    let mut trust = TrustAnchors::default();
    for node in nodes {
        let card = std::fs::read(node.card()).expect("a card");
        let card = Card::from_file(&card).expect("a good card");
        trust.add_card(card).expect("one key a unit");
    }
    trust
}

/// A node that was at its limits tells when to come back.
const TAKES_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks at what takes its time.
const LOOK_EVERY: Duration = Duration::from_millis(20);
