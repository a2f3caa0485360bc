//! The rules of one network of units, as checked data: what may be sent in it, for how long, with
//! which marks.
//!
//! A profile is read from a file by the node's `config` room; here it is plain data that policy
//! decides by. Invariant: a `Profile` from that room has a lifetime within the wire's limits for
//! every priority, at least one allowed kind, and never asks for fewer days than its own minimum.

use std::time::Duration;

use relay_proto::v1;

use crate::case::{Targets, refusal::Grounds};

/// The rules of one network.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The name in every header: `budapest-247`.
    pub id: String,
    /// Who talks to whom.
    pub topology: Topology,
    /// The treaty that its requests rest on; none: a network of best effort, whose messages have no
    /// effect under any.
    pub treaty: Option<v1::Treaty>,
    /// Kinds of messages that may be sent and taken.
    pub kinds: Vec<KindRules>,
    /// The marks of a message whose sender gave none.
    pub handling_default: v1::Handling,
    /// How long a message is tried before its sender is told that it failed.
    pub lifetimes: Lifetimes,
    /// A request for fewer days of preservation is refused.
    pub min_preservation_days: u32,
    /// The days that a request asks for when it does not say.
    pub requested_preservation_days: u32,
    /// Most attachments of one message.
    pub attachments_max: usize,
    /// Bytes of the largest of them.
    pub attachment_bytes_max: u64,
    /// Languages of human text (BCP 47); the first is the default.
    pub languages: Vec<String>,
    /// On which grounds a request may be refused.
    pub refusal_grounds: Grounds,
    /// The network's own terms in a case.
    pub targets: Targets,
    /// Kinds that are sent only when a second officer agreed.
    pub two_officers: Vec<v1::Kind>,
}

impl Profile {
    /// Whether messages of this kind may be sent and taken.
    pub fn allows(&self, kind: v1::Kind) -> bool {
        self.rules(kind).is_some()
    }

    /// What a message of this kind rests on in law when its sender does not say; empty when not
    /// allowed.
    pub fn legal_basis_default(&self, kind: v1::Kind) -> &[v1::LegalBasis] {
        self.rules(kind).map_or(&[], |rules| &rules.legal_basis_default)
    }

    /// What two units have to be for a message of this kind to go between them.
    pub fn condition(&self, kind: v1::Kind) -> Option<Condition> {
        self.rules(kind).and_then(|rules| rules.condition)
    }

    /// The language of a message whose sender did not say.
    pub fn language_default(&self) -> &str {
        self.languages.first().map_or("en", String::as_str)
    }

    fn rules(&self, kind: v1::Kind) -> Option<&KindRules> {
        self.kinds.iter().find(|rules| rules.kind == kind)
    }
}

/// Who talks to whom in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// Every unit with every other.
    Mesh,
}

/// The rules for one kind of message.
#[derive(Debug, Clone, PartialEq)]
pub struct KindRules {
    /// The kind.
    pub kind: v1::Kind,
    /// What such a message rests on in law when its sender does not say.
    pub legal_basis_default: Vec<v1::LegalBasis>,
    /// What its two units have to be.
    pub condition: Option<Condition>,
}

/// What two units have to be for a message to go between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Both are party to this treaty, as their cards state it.
    BothParties(v1::Treaty),
}

/// A lifetime for each priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of EMERGENCY.
    pub emergency: Duration,
    /// Of URGENT.
    pub urgent: Duration,
    /// Of ROUTINE.
    pub routine: Duration,
}

impl Lifetimes {
    /// The lifetime of a priority; an unstated one is routine.
    pub fn of(&self, priority: v1::Priority) -> Duration {
        match priority {
            v1::Priority::Emergency => self.emergency,
            v1::Priority::Urgent => self.urgent,
            v1::Priority::Routine | v1::Priority::Unspecified => self.routine,
        }
    }
}
