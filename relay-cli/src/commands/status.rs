//! `status`: is all well, and what needs me?

use relay_proto::{timestamp::Timestamp, v1};
use serde::Serialize;

use super::{count, or_more, waits};
use crate::{
    context::Context,
    exit::Exit,
    failure::Failure,
    render::{Page, Table, bytes, time},
    report::Report,
    view::{MessageView, PeerView, ScrubView, hex, instant, stated, words},
};

/// The state of a node.
#[derive(Debug, Clone, Serialize)]
pub struct StatusReport {
    pub unit: String,
    pub node: String,
    pub display_name: Option<String>,
    pub software: String,
    pub now: Option<Timestamp>,
    pub started: Option<Timestamp>,
    pub healthy: bool,
    pub clock: String,
    /// Nothing while the clock is not synced.
    pub clock_uncertainty_ms: Option<u32>,
    pub store: String,
    pub store_bytes: u64,
    pub store_free_bytes: u64,
    /// What is taken while the disk has too little room.
    pub store_room: String,
    pub store_durable_seq: u64,
    pub store_indexed_seq: u64,
    pub sync_p50_us: u32,
    pub sync_p99_us: u32,
    /// Nothing was scrubbed yet.
    pub scrub: Option<ScrubView>,
    pub log_origin: String,
    pub log_size: u64,
    pub log_root: String,
    pub log_held: Option<String>,
    pub peers: Vec<PeerView>,
    pub outbox_open: u64,
    /// There are more than were counted.
    pub outbox_more: bool,
    pub oldest_outbox: Option<Timestamp>,
    pub inbox_unacknowledged: u64,
    /// Units whose messages are put off until some of theirs are taken.
    pub inbox_full: Vec<String>,
    pub needs_acknowledgement: Vec<MessageView>,
    pub verify_failures: u64,
    pub replays_answered: u64,
    pub alarms: Vec<String>,
    /// There are more than are shown.
    pub alarms_more: bool,
    pub working_keys_expire: Option<Timestamp>,
}

/// Asks the node.
pub async fn run(context: &Context) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let answer = node.node().get_status(node.request(v1::GetStatusRequest {})).await;
    let answer = answer.map_err(|status| node.failure(&status))?.into_inner();
    context.printer().report(&StatusReport::of(&answer, context.now()))
}

impl StatusReport {
    /// From the node's answer; `now` is only for a node that does not state its own time.
    pub fn of(status: &v1::NodeStatus, now: Timestamp) -> Self {
        let store = status.store.clone().unwrap_or_default();
        let log = status.log.clone().unwrap_or_default();
        let clock = words::clock(status.clock.as_ref());
        let uncertainty = status.clock.as_ref().map(|clock| clock.uncertainty_ms);
        let mut report = Self {
            unit: status.unit.clone(),
            node: status.node.clone(),
            display_name: stated(&status.display_name),
            software: status.software.clone(),
            now: instant(status.now.as_ref()).or(Some(now)),
            started: instant(status.start_time.as_ref()),
            healthy: false,
            clock_uncertainty_ms: uncertainty.filter(|_| clock.starts_with(SYNCED)),
            clock,
            store: store.state,
            store_bytes: store.bytes,
            store_free_bytes: store.free_bytes,
            store_room: store.room,
            store_durable_seq: store.durable_seq,
            store_indexed_seq: store.indexed_seq,
            sync_p50_us: store.sync_p50_us,
            sync_p99_us: store.sync_p99_us,
            scrub: store.scrub.as_ref().map(ScrubView::from),
            log_origin: log.origin,
            log_size: log.size,
            log_root: hex(&log.root),
            log_held: stated(&log.held),
            peers: status.peers.iter().map(PeerView::from).collect(),
            outbox_open: status.outbox_open,
            outbox_more: status.outbox_more,
            oldest_outbox: instant(status.oldest_outbox_time.as_ref()),
            inbox_unacknowledged: status.inbox_unacknowledged,
            inbox_full: status.inbox_full.clone(),
            needs_acknowledgement: status
                .needs_acknowledgement
                .iter()
                .map(MessageView::from)
                .collect(),
            verify_failures: status.verify_failures,
            replays_answered: status.replays_answered,
            alarms: status.alarms.clone(),
            alarms_more: status.alarms_more,
            working_keys_expire: instant(status.working_keys_expire_time.as_ref()),
        };
        report.healthy = report.concerns().is_empty();
        report
    }

    /// What an operator or officer has to look at, in a few words each.
    fn concerns(&self) -> Vec<String> {
        let mut concerns = Vec::new();
        let peers = |word: &str| {
            self.peers.iter().filter(|peer| peer.word().eq_ignore_ascii_case(word)).count()
        };
        if self.inbox_unacknowledged > 0 {
            concerns.push(format!("{} to acknowledge", self.inbox_unacknowledged));
        }
        if !self.inbox_full.is_empty() {
            concerns.push(format!("inbox full for {}", count(self.inbox_full.len(), "unit")));
        }
        for (word, text) in [
            ("down", "down"),
            ("refuses us", "not letting us in"),
            ("puts off", "putting us off"),
            ("never", "never reached"),
            ("unverified", "unverified"),
            ("suspended", "suspended"),
        ] {
            match peers(word) {
                0 => {}
                n => concerns.push(format!("{} {text}", count(n, "peer"))),
            }
        }
        // Those about peers are among them.
        if !self.alarms.is_empty() {
            let more = or_more(self.alarms_more);
            concerns.push(format!("{}{more}", count(self.alarms.len(), "alarm")));
        }
        if !self.store_is_well() {
            concerns.push(format!("store {}", self.store));
        }
        match self.scrub.as_ref().map_or(0, ScrubView::damages) {
            0 => {}
            n => concerns.push(count(usize::try_from(n).unwrap_or(usize::MAX), "damaged record")),
        }
        if self.log_held.is_some() {
            concerns.push("the log signs nothing, receipts wait".to_owned());
        }
        if let Some(refused) = self.refused_for_room() {
            concerns.push(format!("disk full, {refused}"));
        } else if self.disk_is_short() {
            concerns.push(format!("disk nearly full, {} free", bytes(self.store_free_bytes)));
        }
        if !self.clock.starts_with("synced") {
            concerns.push(format!("clock {}", self.clock));
        }
        if self.keys_end_soon() {
            concerns.push("working keys end soon".to_owned());
        }
        concerns
    }

    /// What waits for units that are not verified, or peers no longer.
    fn held(&self) -> usize {
        let verified = self.peers.iter().filter(|peer| peer.is_verified());
        let tried: u64 = verified.map(|peer| peer.outbox_messages).sum();
        usize::try_from(self.outbox_open.saturating_sub(tried)).unwrap_or(usize::MAX)
    }

    fn store_is_well(&self) -> bool {
        ["ok", "open", "serving"].iter().any(|well| self.store.eq_ignore_ascii_case(well))
    }

    /// What the node does not take while its disk is full.
    fn refused_for_room(&self) -> Option<&'static str> {
        Some(match self.store_room.as_str() {
            "NO_ROUTINE_SUBMISSIONS" => "our ROUTINE messages are refused",
            "NO_ROUTINE" => "ROUTINE messages are refused, those of peers put off",
            "EMERGENCY_ONLY" => "only EMERGENCY messages are taken",
            "RECEIPTS_ONLY" => "no message is taken",
            _ => return None,
        })
    }

    /// A node that says nothing of its disk has none of its own.
    fn disk_is_short(&self) -> bool {
        self.store_bytes > 0 && self.store_free_bytes < FREE_BYTES_WARNING
    }

    fn keys_end_soon(&self) -> bool {
        let (Some(end), Some(now)) = (self.working_keys_expire, self.now) else { return false };
        end.since(now) < KEYS_WARNING
    }

    /// Each line ends with the command that helps.
    fn needs_you(&self, page: &mut Page) {
        let mut table = Table::new(&["NEEDS YOU", "FROM", "SINCE", "DO THIS"], 1);
        for message in &self.needs_acknowledgement {
            let mark = if message.priority == "ROUTINE" { " " } else { "!" };
            table.row([
                format!("{mark} {}", message.kind_with_priority()),
                message.from.clone(),
                page.span(message.stored, ""),
                format!("relay-cli show {}", message.short_id),
            ]);
        }
        page.table(&table);
        let listed = u64::try_from(table.height()).unwrap_or(u64::MAX);
        if self.inbox_unacknowledged > listed {
            page.line(format!("  {} more: relay-cli inbox", self.inbox_unacknowledged - listed));
        }
        for unit in &self.inbox_full {
            page.line(format!(
                "INBOX     full for {unit}: what it sends is put off until some of its messages \
                 are taken -> relay-cli inbox --peer {unit}"
            ));
        }
        if let Some(held) = &self.log_held {
            page.line(format!("LOG       nothing is signed: {held}"));
        }
        for alarm in &self.alarms {
            page.line(format!("ALARM     {alarm}"));
        }
        if !self.alarms.is_empty() {
            let more = if self.alarms_more { "there are more; " } else { "" };
            page.line(format!(
                "          {more}each with its number, and how to end it: relay-cli alarm list"
            ));
        }
        for peer in &self.peers {
            let (unit, word) = (&peer.unit, peer.word());
            match word.as_str() {
                "UNVERIFIED" => page.line(format!(
                    "PEER      {unit} is not verified -> relay-cli peer verify {unit}"
                )),
                "up" | "idle" if peer.alarms.is_empty() => {}
                _ => page.line(format!("PEER      {unit} {word} -> relay-cli peer show {unit}")),
            }
        }
        page.gap();
    }
}

impl Report for StatusReport {
    const VERB: &'static str = "status";

    fn people(&self, page: &mut Page) {
        let concerns = self.concerns();
        match concerns.is_empty() {
            true => page.line("OK: nothing needs you"),
            false => page.line(format!("ACTION NEEDED: {}", concerns.join(", "))),
        }
        let name = self.display_name.as_ref().map(|name| format!("  {name}")).unwrap_or_default();
        let now = self.now.map(|now| now.to_string()).unwrap_or_default();
        page.line(format!("{}{name}  {now}", self.unit));
        page.gap();
        self.needs_you(page);
        let up = self.peers.iter().filter(|peer| peer.state == "up" && peer.is_verified());
        let idle = match self.peers.iter().filter(|peer| peer.is_idle()).count() {
            0 => String::new(),
            n => format!(", {n} idle: nothing was to be sent since the start"),
        };
        page.fact("PEERS", format!("{}/{} up{idle}", up.count(), self.peers.len()));
        match self.outbox_open {
            0 => page.fact("OUT", "nothing is waiting"),
            n => page.fact(
                "OUT",
                format!(
                    "{n}{} without the peer's receipt, oldest {}. {}: relay-cli outbox",
                    or_more(self.outbox_more),
                    page.distance(self.oldest_outbox),
                    waits(self.held(), usize::try_from(n).unwrap_or(usize::MAX))
                ),
            ),
        }
        page.fact(
            "IN",
            format!(
                "{} nobody took yet. {} bad signatures. {} replays answered",
                self.inbox_unacknowledged, self.verify_failures, self.replays_answered
            ),
        );
        page.fact(
            "STORE",
            format!(
                "{}. sync p99 {}. {} used, {} free",
                self.store,
                time::micros(self.sync_p99_us.into()),
                bytes(self.store_bytes),
                bytes(self.store_free_bytes)
            ),
        );
        if let Some(scrub) = &self.scrub {
            page.fact("SCRUB", scrub.text(page));
        }
        page.fact("LOG", format!("{}  {} receipts", self.log_origin, self.log_size));
        page.fact("KEYS", format!("ours end {}", page.when(self.working_keys_expire)));
        page.fact(
            "CLOCK",
            match self.clock_uncertainty_ms {
                Some(ms) => format!("{}, +-{ms} ms", self.clock),
                None => format!("{}; nothing expires by it: run a time service", self.clock),
            },
        );
        page.fact(
            "NODE",
            format!("{} {}, up since {}", self.node, self.software, page.when(self.started)),
        );
        if page.verbose() {
            page.fact("ROOT", &self.log_root);
            let (durable, indexed) = (self.store_durable_seq, self.store_indexed_seq);
            page.fact("SEQ", format!("durable {durable}, indexed {indexed}"));
        }
    }

    fn exit(&self) -> Exit {
        if self.healthy { Exit::Done } else { Exit::Attention }
    }
}

/// When the operator is told that the disk gets full: some fifteen journal segments.
const FREE_BYTES_WARNING: u64 = 1_000_000_000;

/// When the operator is told that keys end.
const KEYS_WARNING: std::time::Duration = std::time::Duration::from_secs(21 * 86_400);

/// How a clock that is trusted is told.
const SYNCED: &str = "synced";
