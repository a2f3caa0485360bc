//! The events that a receipt may state, under their ETSI EN 319 522 names.
//!
//! The column "only after" of the table in PROTOCOL.md is what the names mean here. Pure tables.

use std::fmt;

use crate::v1;

/// What a receipt states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// Durable at the sender's own node.
    SubmissionAcceptance,
    /// The sender's own node refused the draft.
    SubmissionRejection,
    /// Durable at a hub.
    RelayAcceptance,
    /// A hub or the recipient's node refused.
    RelayRejection,
    /// The lifetime ended without an answer of the recipient's node.
    RelayFailure,
    /// Durable at the recipient's node and in the right inbox.
    ContentConsignment,
    /// The recipient's case system took it.
    ContentHandover,
    /// The recipient's case system did not take it.
    ContentHandoverFailure,
    /// A named duty officer took it.
    ConsignmentAcceptance,
    /// A duty officer would not take it.
    ConsignmentRejection,
    /// Nobody took it in time.
    AcceptanceRejectionExpiry,
}

/// Who may issue an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssuerRole {
    /// The message's sender.
    Sender,
    /// The recipient that the statement names.
    Recipient,
    /// That recipient, or a hub on the message's route.
    RecipientOrHub,
}

impl Event {
    /// All events, in the order of the wire.
    pub const ALL: [Self; 11] = [
        Self::SubmissionAcceptance,
        Self::SubmissionRejection,
        Self::RelayAcceptance,
        Self::RelayRejection,
        Self::RelayFailure,
        Self::ContentConsignment,
        Self::ContentHandover,
        Self::ContentHandoverFailure,
        Self::ConsignmentAcceptance,
        Self::ConsignmentRejection,
        Self::AcceptanceRejectionExpiry,
    ];

    /// From the wire.
    pub fn from_wire(event: v1::Event) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.to_wire() == event)
    }

    /// To the wire.
    pub fn to_wire(self) -> v1::Event {
        match self {
            Self::SubmissionAcceptance => v1::Event::SubmissionAcceptance,
            Self::SubmissionRejection => v1::Event::SubmissionRejection,
            Self::RelayAcceptance => v1::Event::RelayAcceptance,
            Self::RelayRejection => v1::Event::RelayRejection,
            Self::RelayFailure => v1::Event::RelayFailure,
            Self::ContentConsignment => v1::Event::ContentConsignment,
            Self::ContentHandover => v1::Event::ContentHandover,
            Self::ContentHandoverFailure => v1::Event::ContentHandoverFailure,
            Self::ConsignmentAcceptance => v1::Event::ConsignmentAcceptance,
            Self::ConsignmentRejection => v1::Event::ConsignmentRejection,
            Self::AcceptanceRejectionExpiry => v1::Event::AcceptanceRejectionExpiry,
        }
    }

    /// The name in ETSI spelling; also a part of file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::SubmissionAcceptance => "SubmissionAcceptance",
            Self::SubmissionRejection => "SubmissionRejection",
            Self::RelayAcceptance => "RelayAcceptance",
            Self::RelayRejection => "RelayRejection",
            Self::RelayFailure => "RelayFailure",
            Self::ContentConsignment => "ContentConsignment",
            Self::ContentHandover => "ContentHandover",
            Self::ContentHandoverFailure => "ContentHandoverFailure",
            Self::ConsignmentAcceptance => "ConsignmentAcceptance",
            Self::ConsignmentRejection => "ConsignmentRejection",
            Self::AcceptanceRejectionExpiry => "AcceptanceRejectionExpiry",
        }
    }

    /// Whether the message came a step further; a negative event has a reason.
    pub fn is_positive(self) -> bool {
        matches!(
            self,
            Self::SubmissionAcceptance
                | Self::RelayAcceptance
                | Self::ContentConsignment
                | Self::ContentHandover
                | Self::ConsignmentAcceptance
        )
    }

    /// Whether it is about the message as a whole and not about one recipient.
    pub fn is_submission(self) -> bool {
        matches!(self, Self::SubmissionAcceptance | Self::SubmissionRejection)
    }

    /// Whether it may commit to the name of a person or system that acted.
    pub fn names_actor(self) -> bool {
        matches!(self, Self::ContentHandover | Self::ConsignmentAcceptance)
    }

    /// Whether it says or implies that the message lay in the recipient's inbox.
    pub fn implies_consignment(self) -> bool {
        self.issuer() == IssuerRole::Recipient
    }

    /// Who may issue it.
    pub fn issuer(self) -> IssuerRole {
        match self {
            Self::SubmissionAcceptance | Self::SubmissionRejection | Self::RelayFailure => {
                IssuerRole::Sender
            }
            Self::RelayAcceptance | Self::RelayRejection => IssuerRole::RecipientOrHub,
            Self::ContentConsignment
            | Self::ContentHandover
            | Self::ContentHandoverFailure
            | Self::ConsignmentAcceptance
            | Self::ConsignmentRejection
            | Self::AcceptanceRejectionExpiry => IssuerRole::Recipient,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
