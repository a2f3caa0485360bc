//! A peer: another unit as seen from here. The telephone number's digits are not part of it: the
//! side that types must not see them.

use relay_proto::{timestamp::Timestamp, v1};
use serde::Serialize;

use super::{LawView, instant, stated, words};

/// One peer.
#[derive(Debug, Clone, Serialize)]
pub struct PeerView {
    pub unit: String,
    pub display_name: Option<String>,
    pub trust: String,
    pub state: String,
    pub addresses: Vec<String>,
    pub phone_24x7: Option<String>,
    pub languages: Vec<String>,
    pub office_hours: Option<String>,
    pub time_zone: Option<String>,
    pub card_number: Option<u64>,
    pub law: Option<LawView>,
    pub last_contact: Option<Timestamp>,
    pub next_attempt: Option<Timestamp>,
    pub last_reason: Option<String>,
    pub rtt_us: Option<u32>,
    pub key_exchange: Option<String>,
    pub outbox_messages: u64,
    /// There are more than were counted.
    pub outbox_more: bool,
    pub oldest_outbox: Option<Timestamp>,
    pub received_24h: u64,
    pub clock_skew_ms: i64,
    pub software: Option<String>,
    pub verified_by: Option<String>,
    pub verified: Option<Timestamp>,
    pub suspended_by: Option<String>,
    pub suspended: Option<Timestamp>,
    pub suspend_reason: Option<String>,
    pub keys_expire: Option<Timestamp>,
    pub alarms: Vec<String>,
    pub rollback: Option<String>,
    pub rollback_accepted_by: Option<String>,
}

impl PeerView {
    /// Its card was compared by telephone and it was not suspended.
    pub fn is_verified(&self) -> bool {
        self.trust == "verified"
    }

    /// Its node is there and refuses ours: that unit has not verified this one's card.
    pub fn refuses_us(&self) -> bool {
        let reason = self.last_reason.as_deref();
        self.is_verified() && self.state != "up" && reason == Some(words::NOT_VERIFIED_THERE)
    }

    /// It is there and puts our messages off.
    pub fn puts_off(&self) -> bool {
        let is_told = self.last_reason.is_some() && self.next_attempt.is_some();
        self.is_verified() && self.state == "up" && is_told
    }

    /// There was nothing for it since the node started, so that it was not tried.
    pub fn is_idle(&self) -> bool {
        self.is_verified() && self.state == "idle" && !self.refuses_us()
    }

    /// One state word for lists: trust first, for an untrusted peer's contact does not matter.
    pub fn word(&self) -> String {
        match (self.trust.as_str(), self.state.as_str()) {
            _ if self.puts_off() => "PUTS OFF".to_owned(),
            ("verified", "up") => "up".to_owned(),
            _ if self.is_idle() => "idle".to_owned(),
            _ if self.refuses_us() => "REFUSES US".to_owned(),
            ("verified", state) => state.to_ascii_uppercase(),
            (trust, _) => trust.to_ascii_uppercase(),
        }
    }

    /// Whether an operator should look.
    pub fn needs_attention(&self) -> bool {
        !matches!(self.word().as_str(), "up" | "idle") || !self.alarms.is_empty()
    }
}

impl From<&v1::Peer> for PeerView {
    fn from(peer: &v1::Peer) -> Self {
        let card = peer.card.as_ref();
        let text = |field: fn(&v1::Card) -> &String| card.and_then(|card| stated(field(card)));
        let name = card.and_then(|card| card.names.first()).map(|name| name.name.clone());
        // The first working key that ends is the one to call about.
        let active = |key: &&v1::PublicKey| key.status() == v1::KeyStatus::Active;
        let ends = card.map(|card| card.keys.iter().filter(active).map(|key| key.not_after_ms));
        Self {
            unit: peer.unit.clone(),
            display_name: name,
            trust: words::trust(peer.trust),
            state: words::peer_state(peer.state),
            addresses: peer.addresses.clone(),
            phone_24x7: text(|card| &card.phone_24x7),
            languages: card.map(|card| card.languages.clone()).unwrap_or_default(),
            office_hours: text(|card| &card.office_hours),
            time_zone: text(|card| &card.time_zone),
            card_number: card.map(|card| card.number),
            law: card.map(LawView::from),
            last_contact: instant(peer.last_contact_time.as_ref()),
            next_attempt: instant(peer.next_attempt_time.as_ref()),
            last_reason: stated(&peer.last_reason),
            rtt_us: (peer.rtt_us > 0).then_some(peer.rtt_us),
            key_exchange: stated(&peer.key_exchange),
            outbox_messages: peer.outbox_messages,
            outbox_more: peer.outbox_more,
            oldest_outbox: instant(peer.oldest_outbox_time.as_ref()),
            received_24h: peer.received_24h,
            clock_skew_ms: peer.clock_skew_ms,
            software: stated(&peer.software),
            verified_by: stated(&peer.verified_by),
            verified: instant(peer.verified_time.as_ref()),
            suspended_by: stated(&peer.suspended_by),
            suspended: instant(peer.suspended_time.as_ref()),
            suspend_reason: stated(&peer.suspend_reason),
            keys_expire: ends.and_then(Iterator::min).and_then(Timestamp::from_wire),
            alarms: peer.alarms.clone(),
            rollback: stated(&peer.rollback),
            rollback_accepted_by: stated(&peer.rollback_accepted_by),
        }
    }
}
