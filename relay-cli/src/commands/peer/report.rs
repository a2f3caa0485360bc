//! What the verbs of `peer` show.

use relay_proto::{ids::UnitId, v1};
use serde::Serialize;

use crate::{
    commands::{count, or_more},
    exit::Exit,
    render::{Page, Table, time},
    report::Report,
    view::{LawView, PeerView},
};

/// `peer add`
#[derive(Debug, Clone, Serialize)]
pub struct AddReport {
    pub request_id: String,
    pub our_unit: Option<String>,
    pub peer: PeerView,
}

/// `peer list`
#[derive(Debug, Clone, Serialize)]
pub struct ListReport {
    pub peers: Vec<PeerView>,
}

/// `peer show`
#[derive(Debug, Clone, Serialize)]
pub struct PeerReport {
    /// Ours, as the other side types it; absent when the node does not tell.
    pub our_unit: Option<String>,
    pub peer: PeerView,
}

/// `peer verify --read`
#[derive(Debug, Clone, Serialize)]
pub struct ReadReport {
    pub our_unit: Option<String>,
    pub unit: String,
    pub trust: String,
    pub fingerprint: String,
    pub groups: Vec<String>,
}

/// `peer verify`
#[derive(Debug, Clone, Serialize)]
pub struct VerifyReport {
    pub request_id: String,
    pub our_unit: Option<String>,
    pub peer: PeerView,
    /// Groups that were not typed here: for the other side to ask for.
    pub rest: Vec<u32>,
}

/// `peer ping`
#[derive(Debug, Clone, Serialize)]
pub struct PingReport {
    pub unit: String,
    pub rtt_us: u32,
    pub key_exchange: String,
    pub clock_skew_ms: i64,
    pub software: String,
}

/// `peer suspend`
#[derive(Debug, Clone, Serialize)]
pub struct SuspendReport {
    pub request_id: String,
    pub peer: PeerView,
}

/// `peer rollback-accept`
#[derive(Debug, Clone, Serialize)]
pub struct RollbackReport {
    pub request_id: String,
    pub peer: PeerView,
}

/// `peer remove`
#[derive(Debug, Clone, Serialize)]
pub struct RemoveReport {
    pub request_id: String,
    pub unit: String,
    /// Messages of ours without its receipt.
    pub waiting: u64,
}

impl PingReport {
    /// From the node's answer.
    pub fn new(unit: &UnitId, answer: &v1::PingPeerResponse) -> Self {
        Self {
            unit: unit.to_string(),
            rtt_us: answer.rtt_us,
            key_exchange: answer.key_exchange.clone(),
            clock_skew_ms: answer.clock_skew_ms,
            software: answer.software.clone(),
        }
    }
}

impl Report for AddReport {
    const VERB: &'static str = "peer.add";

    fn people(&self, page: &mut Page) {
        let unit = &self.peer.unit;
        if let Some(log) = &self.peer.rollback {
            page.line(format!("WAITS: the card of {unit} says that its log lost receipts"));
            page.line(format!(
                "It goes on as {log}. Until you accept, its receipts settle nothing."
            ));
            page.line(format!(
                "Call it, then: relay-cli peer rollback-accept {unit} --by YOUR-NAME"
            ));
            if self.peer.is_verified() {
                return;
            }
        } else if self.peer.is_verified() {
            page.line(format!("RENEWED {unit}: a newer card under the known identity key"));
            return;
        }
        page.line(format!("IMPORTED {unit}: NOT trusted yet, nothing is exchanged"));
        who(page, &self.peer);
        page.gap();
        page.line("Telephone the desk on a number you ALREADY have (not from this file).");
        page.line(format!("They run:   relay-cli peer verify {} --read", us(&self.our_unit)));
        page.line(format!("You run:    relay-cli peer verify {unit} --by NAME"));
    }
}

impl Report for ListReport {
    const VERB: &'static str = "peer.list";

    fn people(&self, page: &mut Page) {
        let wrong: Vec<&PeerView> = self.peers.iter().filter(|p| p.needs_attention()).collect();
        let number = count(self.peers.len(), "peer");
        match (self.peers.len(), wrong.len()) {
            (0, _) => page.line("No peers yet: relay-cli peer add CARD"),
            (_, 0) if self.peers.iter().any(PeerView::is_idle) => {
                page.line(format!("{number}, all well; idle: not tried since the start"));
            }
            (_, 0) => page.line(format!("{number}, all up")),
            (_, n) => page
                .line(format!("{n} of {number} {}", if n == 1 { "needs you" } else { "need you" })),
        }
        page.gap();
        let header = ["PEER", "STATE", "RTT", "CONTACT", "OUT", "IN/24H", "VERIFIED"];
        let mut table = Table::new(&header, 6);
        for peer in &self.peers {
            let rtt = peer.rtt_us.map(|us| time::micros(us.into()));
            let verified = match (&peer.verified, &peer.verified_by) {
                _ if peer.trust == "suspended" => format!("relay-cli peer show {}", peer.unit),
                _ if !peer.is_verified() => format!("relay-cli peer verify {}", peer.unit),
                (Some(at), by) => {
                    let day: String = at.to_string().chars().take(10).collect();
                    by.as_ref().map(|by| format!("{day} by {by}")).unwrap_or(day)
                }
                (None, by) => by.clone().unwrap_or_default(),
            };
            let contact = peer.last_contact.map(|at| page.distance(Some(at)));
            table.row([
                peer.unit.clone(),
                peer.word(),
                rtt.unwrap_or_default(),
                contact.unwrap_or_else(|| "never".to_owned()),
                format!("{}{}", peer.outbox_messages, if peer.outbox_more { "+" } else { "" }),
                peer.received_24h.to_string(),
                verified,
            ]);
        }
        page.table(&table);
        for peer in wrong {
            for alarm in &peer.alarms {
                page.line(format!("ALARM {}: {alarm}", peer.unit));
            }
            let unit = &peer.unit;
            if peer.refuses_us() {
                page.line(format!(
                    "{unit} has not verified us: telephone them -> relay-cli peer show {unit}"
                ));
            } else if peer.is_verified() {
                page.line(format!("{unit} -> relay-cli peer show {unit}"));
            }
        }
    }

    fn exit(&self) -> Exit {
        attention(self.peers.iter().any(PeerView::needs_attention))
    }
}

impl Report for PeerReport {
    const VERB: &'static str = "peer.show";

    fn people(&self, page: &mut Page) {
        let peer = &self.peer;
        let unit = &peer.unit;
        let helps = match peer.word().as_str() {
            "up" => String::new(),
            "idle" => format!(": not tried since the start. Try it: relay-cli peer ping {unit}"),
            "PUTS OFF" => ": it is up, and takes none of our messages for now".to_owned(),
            "UNVERIFIED" => format!(": relay-cli peer verify {unit}"),
            "SUSPENDED" => format!(": nothing is exchanged. Resume: relay-cli peer verify {unit}"),
            "REFUSES US" => ": it has not verified us".to_owned(),
            _ => format!(": relay-cli peer ping {unit}, then telephone"),
        };
        page.line(format!("{unit} {}{helps}", peer.word()));
        if peer.refuses_us() {
            let us = us(&self.our_unit);
            page.line(format!("Telephone them; they run: relay-cli peer verify {us} --by NAME"));
        }
        if let Some(log) = &peer.rollback {
            page.line(format!(
                "WAITS     its log lost receipts and goes on as {log}: call it, then"
            ));
            page.line(format!("          relay-cli peer rollback-accept {unit} --by YOUR-NAME"));
        }
        for alarm in &peer.alarms {
            page.line(format!("ALARM     {alarm}"));
        }
        suspension(page, peer);
        page.gap();
        who(page, peer);
        let contact = match peer.last_contact {
            Some(_) => page.when(peer.last_contact),
            None => "never".to_owned(),
        };
        page.fact("CONTACT", contact);
        if peer.puts_off() {
            let why = peer.last_reason.clone().unwrap_or_default();
            let next = page.distance(peer.next_attempt);
            page.fact("", format!("puts our messages off: {why}; they go again {next}"));
        } else if peer.state != "up" && !peer.is_idle() {
            let why = peer.last_reason.clone().unwrap_or_else(|| "-".to_owned());
            let next = page.distance(peer.next_attempt);
            page.fact("", format!("last reason {why}, next try {next}"));
        }
        if let Some(us) = peer.rtt_us {
            let exchange = peer.key_exchange.as_deref().unwrap_or("-");
            page.fact("PATH", format!("{}, {exchange}", time::micros(us.into())));
        }
        page.fact("ADDRESS", list(&peer.addresses, "none: this peer only dials"));
        page.fact("OUT", waiting(page, peer));
        page.fact("IN", format!("{} in 24 h", peer.received_24h));
        let by = peer.verified_by.as_ref().map(|by| format!("by {by}, ")).unwrap_or_default();
        page.fact("TRUST", format!("{}, {by}{}", peer.trust, page.when(peer.verified)));
        if let Some(by) = &peer.rollback_accepted_by {
            page.fact("LOG", format!("lost receipts once; {by} accepted the next one"));
        }
        if peer.keys_expire.is_some() {
            page.fact("KEYS", format!("first ends {}", page.when(peer.keys_expire)));
        }
        // Known of a peer that was heard in this run.
        if peer.last_contact.is_some() {
            page.fact("CLOCK", format!("differs by {} ms", peer.clock_skew_ms));
        }
        page.fact("SOFTWARE", peer.software.as_deref().unwrap_or("-"));
    }

    fn exit(&self) -> Exit {
        attention(self.peer.needs_attention())
    }
}

fn waiting(page: &Page, peer: &PeerView) -> String {
    let oldest = peer.oldest_outbox.map(|at| page.distance(Some(at)));
    let oldest = oldest.map(|at| format!(", oldest {at}")).unwrap_or_default();
    let more = or_more(peer.outbox_more);
    format!("{}{more} without its receipt{oldest}", peer.outbox_messages)
}

impl Report for ReadReport {
    const VERB: &'static str = "peer.verify.read";

    fn people(&self, page: &mut Page) {
        page.line(format!("READ the groups that {} asks for, one by one", self.unit));
        page.gap();
        for (row, groups) in self.groups.chunks(4).enumerate() {
            let cells = groups.iter().enumerate();
            let cells = cells.map(|(i, group)| format!("{:>2}: {group}", row * 4 + i + 1));
            page.line(format!("  {}", cells.collect::<Vec<_>>().join("    ")));
        }
        page.gap();
        page.line(format!(
            "They run:  relay-cli peer verify {} --by NAME    (it hides the digits)",
            us(&self.our_unit)
        ));
        page.line(format!("Your turn: relay-cli peer verify {} --by NAME", self.unit));
    }
}

impl Report for VerifyReport {
    const VERB: &'static str = "peer.verify";

    fn people(&self, page: &mut Page) {
        let unit = &self.peer.unit;
        let by = self.peer.verified_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        page.line(format!("VERIFIED {unit}: the digits match. Stored{by} with the time"));
        if !self.rest.is_empty() {
            let rest: Vec<String> = self.rest.iter().map(u32::to_string).collect();
            page.line(format!("Now you read (relay-cli peer verify {unit} --read), they type:"));
            let us = us(&self.our_unit);
            page.line(format!("  relay-cli peer verify {us} --groups {}", rest.join(",")));
        }
    }
}

impl Report for PingReport {
    const VERB: &'static str = "peer.ping";

    fn people(&self, page: &mut Page) {
        let rtt = time::micros(self.rtt_us.into());
        page.line(format!("{} answers in {rtt}", self.unit));
        let (skew, software) = (self.clock_skew_ms, &self.software);
        page.line(format!("{}, clock differs by {skew} ms, {software}", self.key_exchange));
    }
}

impl Report for SuspendReport {
    const VERB: &'static str = "peer.suspend";

    fn people(&self, page: &mut Page) {
        let unit = &self.peer.unit;
        page.line(format!("SUSPENDED {unit}: nothing is exchanged with it"));
        suspension(page, &self.peer);
        let (waiting, more) = (self.peer.outbox_messages, or_more(self.peer.outbox_more));
        page.line(format!("{}{more} for it wait, safe on disk", count_u64(waiting)));
        page.line(format!("Resume after a call: relay-cli peer verify {unit}"));
    }
}

impl Report for RollbackReport {
    const VERB: &'static str = "peer.rollback-accept";

    fn people(&self, page: &mut Page) {
        let unit = &self.peer.unit;
        page.line(format!("ACCEPTED: {unit} goes on with its next log"));
        page.line("What its old log lost is sent again; a message that is there has no second");
        page.line("effect. The receipts that you hold stay evidence.");
    }
}

impl Report for RemoveReport {
    const VERB: &'static str = "peer.remove";

    fn people(&self, page: &mut Page) {
        page.line(format!("REMOVED {}: its card and the trust in it", self.unit));
        page.line("Messages and receipts stay, and can be shown and exported.");
        if self.waiting > 0 {
            let number = count_u64(self.waiting);
            page.line(format!(
                "{number} for it without its receipt: HELD, not sent (relay-cli outbox)"
            ));
            page.line("They go out when it is added and verified again, or expire.");
        }
    }
}

/// Our unit, as the other side types it.
fn us(unit: &Option<String>) -> &str {
    unit.as_deref().unwrap_or("OUR-UNIT")
}

/// Who suspended it, when, and why.
fn suspension(page: &mut Page, peer: &PeerView) {
    if peer.trust == "suspended" {
        let by = peer.suspended_by.as_deref().unwrap_or("-");
        page.fact("BY", format!("{by}, {}", page.when(peer.suspended)));
        page.fact("WHY", peer.suspend_reason.as_deref().unwrap_or("-"));
    }
}

/// Whom to call.
fn who(page: &mut Page, peer: &PeerView) {
    page.fact("NAME", peer.display_name.as_deref().unwrap_or("-"));
    let languages = list(&peer.languages, "languages not stated");
    page.fact("PHONE", format!("{} 24/7, {languages}", peer.phone_24x7.as_deref().unwrap_or("-")));
    if let Some(hours) = &peer.office_hours {
        page.fact("HOURS", format!("{hours} {}", peer.time_zone.as_deref().unwrap_or_default()));
    }
    if let Some(number) = peer.card_number {
        page.fact("CARD", format!("number {number}"));
    }
    for (label, text) in peer.law.iter().flat_map(LawView::lines) {
        page.fact(label, text);
    }
}

fn list(items: &[String], none: &str) -> String {
    if items.is_empty() { none.to_owned() } else { items.join(", ") }
}

fn count_u64(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "message")
}

fn attention(needed: bool) -> Exit {
    if needed { Exit::Attention } else { Exit::Done }
}
