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
use tonic::Code;

use super::{
    federation::Federation,
    load::{Records, Sent, Taken},
};
use crate::{client::Client, process::Process};

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
    /// In words.
    pub problems: Vec<String>,
}

/// What a federation's nodes have shown so far.
#[derive(Default)]
pub struct Seen {
    all: BTreeSet<Sent>,
    places: Vec<Place>,
}

#[derive(Default)]
struct Place {
    cursor: String,
    received: BTreeMap<String, u64>,
}

impl Seen {
    /// A node's store was set back: what it showed is shown again.
    pub fn forget(&mut self, place: usize) {
        if let Some(seen) = self.places.get_mut(place) {
            *seen = Place::default();
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
    /// Clocks were not trusted: that a statement's date proves nothing is as it should be.
    pub undated: bool,
}

impl Terms {
    /// A minute, no alarm, right clocks.
    pub const USUAL: Self = Self { within: Duration::from_secs(60), alarms: &[], undated: false };
}

impl Federation {
    /// Waits until everything has its end, then looks at all that was acknowledged since the last
    /// check. All nodes run.
    pub async fn check(&mut self, terms: Terms) -> Found {
        let mut found = Found::default();
        let until = Instant::now() + terms.within;
        for place in 0..self.nodes.len() {
            self.wait_for_ends(place, until, &mut found).await;
        }
        let records = self.ledger.drain();
        found.acknowledged = records.sent.len() as u64;
        found.problems.extend(records.wrong.iter().cloned());
        let clients: Vec<Client> = self.nodes.iter().map(Process::client).collect();
        for sent in &records.sent {
            look_up(&clients, sent, &mut found).await;
        }
        let trust = trust_of(&self.nodes);
        self.verify(&clients, &records, &trust, (until, terms.undated), &mut found).await;
        for (place, client) in clients.iter().enumerate() {
            self.read_events(place, client, terms.alarms, &mut found).await;
            look_at_alarms(client, place, terms.alarms, &mut found).await;
        }
        self.seen.all.extend(records.sent);
        found
    }

    /// The last look: the lists of all nodes hold everything that was ever acknowledged.
    pub async fn check_all(&mut self) -> Found {
        let mut found = Found::default();
        let clients: Vec<Client> = self.nodes.iter().map(Process::client).collect();
        let mut held = Vec::new();
        for client in &clients {
            held.push((ids(client, "OUT").await, ids(client, "IN").await));
        }
        for Sent { from, to, id } in &self.seen.all {
            let out = held.get(*from).is_some_and(|(out, _)| out.contains(id));
            let arrived = held.get(*to).is_some_and(|(_, arrived)| arrived.contains(id));
            if !out || !arrived {
                found.lost += 1;
                found.problems.push(format!("{id} from {from} to {to}: out {out}, in {arrived}"));
            }
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

/// A message must be there at both ends, readable, and the same bytes.
async fn look_up(clients: &[Client], sent: &Sent, found: &mut Found) {
    let mut digests = Vec::new();
    for place in [sent.from, sent.to] {
        let Some(client) = clients.get(place) else { continue };
        let request =
            v1::GetMessageRequest { name: sent.id.clone(), view: v1::MessageView::Full.into() };
        match client.messages.clone().get_message(request).await {
            Ok(message) => digests.push(message.into_inner().header_digest),
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

/// Verifies one message's evidence. Returns what is not there yet.
async fn verify_one(
    client: &Client,
    sent: &Sent,
    (taken, undated): (bool, bool),
    trust: &TrustAnchors,
    found: &mut Found,
) -> Option<String> {
    let request = v1::ExportEvidenceRequest { name: sent.id.clone(), include_payload: true };
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

/// Between two looks at what takes its time.
const LOOK_EVERY: Duration = Duration::from_millis(20);
