//! A message and how far it has got.

use relay_proto::{timestamp::Timestamp, v1};
use serde::Serialize;

use super::{hex, instant, stated, words};

/// A message without its content.
#[derive(Debug, Clone, Serialize)]
pub struct MessageView {
    pub message_id: String,
    pub short_id: String,
    pub direction: String,
    pub from: String,
    pub to: Vec<String>,
    pub profile: String,
    pub kind: String,
    pub priority: String,
    pub created: Option<Timestamp>,
    pub expires: Option<Timestamp>,
    pub stored: Option<Timestamp>,
    pub header_digest: String,
    pub deliveries: Vec<DeliveryView>,
    pub acknowledgements: Vec<AckView>,
    pub recovered: bool,
    pub exercise: bool,
    /// What its markings allow; null of what this unit sent.
    pub uses: Option<UsesView>,
}

/// What the markings of a received message allow.
#[derive(Debug, Clone, Serialize)]
pub struct UsesView {
    pub evidence_use: bool,
    pub may_forward: bool,
    pub may_export: bool,
    pub may_automate: bool,
    pub confirm_first: bool,
    pub named_persons_only: bool,
    pub released_to: Vec<String>,
}

/// The way of a message to one recipient.
#[derive(Debug, Clone, Serialize)]
pub struct DeliveryView {
    pub recipient: String,
    pub state: String,
    pub attempts: u32,
    pub next_attempt: Option<Timestamp>,
    pub reason: Option<String>,
    pub queued: Option<Timestamp>,
    pub settled: Option<Timestamp>,
    #[serde(skip)]
    wire: i32,
}

/// Who took a message here.
#[derive(Debug, Clone, Serialize)]
pub struct AckView {
    pub capacity: String,
    pub by: String,
    pub time: Option<Timestamp>,
}

impl MessageView {
    /// Whether this message came from another unit.
    pub fn is_incoming(&self) -> bool {
        self.direction == "in"
    }

    /// `EMERGENCY alert`; a routine message is only its kind, a drill says so first.
    pub fn kind_with_priority(&self) -> String {
        // The word of `relay-cli send`.
        let kind = self.kind.strip_suffix("-request").unwrap_or(&self.kind);
        let kind = match self.priority.as_str() {
            "ROUTINE" => kind.to_owned(),
            _ => format!("{} {kind}", self.priority),
        };
        if self.exercise { format!("EXERCISE {kind}") } else { kind }
    }

    /// How many recipients have it.
    pub fn delivered(&self) -> usize {
        self.deliveries.iter().filter(|delivery| delivery.is_delivered()).count()
    }
}

impl DeliveryView {
    /// The recipient's receipt is here.
    pub fn is_delivered(&self) -> bool {
        self.wire == v1::DeliveryState::Delivered as i32
    }

    /// It will not be delivered any more.
    pub fn is_lost(&self) -> bool {
        self.wire == v1::DeliveryState::Refused as i32
            || self.wire == v1::DeliveryState::Expired as i32
    }

    /// The recipient's node refuses ours: waiting does not help.
    pub fn is_refused_us(&self) -> bool {
        self.is_open() && self.reason.as_deref() == Some(words::NOT_VERIFIED_THERE)
    }

    /// The recipient's inbox is full of ours: somebody there has to take them.
    pub fn is_put_off(&self) -> bool {
        self.is_open() && self.reason.as_deref() == Some(words::QUEUE_FULL)
    }

    /// Nothing is sent to its unit, which is no peer that is trusted: waiting does not help.
    pub fn is_held(&self) -> bool {
        self.wire == v1::DeliveryState::Held as i32
    }

    /// Neither of both yet.
    pub fn is_open(&self) -> bool {
        !self.is_delivered() && !self.is_lost()
    }
}

impl From<&v1::Message> for MessageView {
    fn from(message: &v1::Message) -> Self {
        Self {
            message_id: message.message_id.clone(),
            short_id: message.short_id.clone(),
            direction: words::direction(message.direction),
            from: message.from.clone(),
            to: message.to.clone(),
            profile: message.profile.clone(),
            kind: words::kind(message.kind),
            priority: words::priority(message.priority),
            created: instant(message.create_time.as_ref()),
            expires: instant(message.expire_time.as_ref()),
            stored: instant(message.store_time.as_ref()),
            header_digest: hex(&message.header_digest),
            deliveries: message.deliveries.iter().map(DeliveryView::from).collect(),
            acknowledgements: message.acknowledgements.iter().map(AckView::from).collect(),
            recovered: message.recovered,
            exercise: message.exercise,
            uses: message.uses.as_ref().map(UsesView::from),
        }
    }
}

impl UsesView {
    /// What its reader has to know before its content, a line each.
    pub fn banner(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.named_persons_only {
            lines.push("TLP:RED: for the persons whom it was sent to, and nobody else".to_owned());
        }
        if !self.evidence_use {
            let text =
                "H1: NOT FOR COURT: no use in judicial proceedings without its sender's leave";
            lines.push(text.to_owned());
        }
        if !self.may_forward {
            let to = self.released_to.join(", ");
            lines.push(match to.is_empty() {
                true => "NOT TO BE PASSED ON without its sender's release".to_owned(),
                false => format!("NOT TO BE PASSED ON but to {to}, to whom its sender released it"),
            });
        }
        if self.confirm_first {
            lines.push("H3: its sender's conditions bind whoever reads it".to_owned());
        }
        if !self.may_automate {
            lines.push(
                "PAP:RED: no block list, no look-up, nothing that works by itself".to_owned(),
            );
        }
        lines
    }
}

impl From<&v1::Uses> for UsesView {
    fn from(uses: &v1::Uses) -> Self {
        Self {
            evidence_use: uses.evidence_use,
            may_forward: uses.may_forward,
            may_export: uses.may_export,
            may_automate: uses.may_automate,
            confirm_first: uses.confirm_first,
            named_persons_only: uses.named_persons_only,
            released_to: uses.released_to.clone(),
        }
    }
}

impl From<&v1::Delivery> for DeliveryView {
    fn from(delivery: &v1::Delivery) -> Self {
        Self {
            recipient: delivery.recipient.clone(),
            state: words::delivery(delivery.state),
            attempts: delivery.attempts,
            next_attempt: instant(delivery.next_attempt_time.as_ref()),
            reason: stated(&delivery.reason),
            queued: instant(delivery.queued_time.as_ref()),
            settled: instant(delivery.settled_time.as_ref()),
            wire: delivery.state,
        }
    }
}

impl From<&v1::Acknowledgement> for AckView {
    fn from(ack: &v1::Acknowledgement) -> Self {
        Self {
            capacity: words::capacity(ack.capacity),
            by: ack.by.clone(),
            time: instant(ack.time.as_ref()),
        }
    }
}
