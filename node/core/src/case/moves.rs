//! What the two sides say to each other in a case, as far as its state depends on it.

use relay_proto::{envelope::Priority, ids::Digest, timestamp::Timestamp};

use super::refusal::Ground;

/// An item's id in its request.
pub type ItemId = String;

/// The two units of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Whose law the data are kept under. First in the order of messages that cross.
    Requested,
    /// Who asks.
    Requesting,
}

/// A message of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Of its header.
    pub digest: Digest,
    /// Who sent it.
    pub from: Side,
    /// When it was signed, by its sender's clock.
    pub sent_at: Timestamp,
    /// Its sender's message before it in the case; none: the first.
    pub follows: Option<Digest>,
    /// The last message of the other side that its sender had seen.
    pub based_on: Option<Digest>,
    /// What it says.
    pub says: Move,
}

impl Message {
    /// The messages that it names as before it.
    pub(super) fn before(&self) -> impl Iterator<Item = Digest> + use<> {
        self.follows.into_iter().chain(self.based_on)
    }
}

/// A request, or a new revision of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// 1 for the first.
    pub revision: u32,
    /// How urgent it is.
    pub priority: Priority,
    /// What is to be preserved; a new revision that names none leaves them as they are.
    pub items: Vec<ItemId>,
    /// Of its offences: `2` to `11`, or `other`.
    pub articles: Vec<String>,
}

/// What a message says. Numbers are those of the kinds of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// 7
    Request(Request),
    /// 8
    Ack {
        /// Another desk has it now.
        rerouted: bool,
    },
    /// 9
    InfoRequired {
        /// When answers are due.
        due: Timestamp,
    },
    /// 10
    InfoReply(Request),
    /// 11
    RiskNotice,
    /// 12
    RiskDecision(RiskAnswer),
    /// 13, for a revision.
    Decision {
        /// The revision that it decides.
        revision: u32,
        /// By item; those that are not named stay as they are.
        items: Vec<(ItemId, Verdict)>,
        /// How many officers sign it.
        signers: u32,
    },
    /// 13, when a newer revision crossed the decision of the one before.
    Carries {
        /// The newer one.
        revision: u32,
        /// The decision stands for it as well; else it is decided anew.
        carried: bool,
    },
    /// 14
    Confirmation(Vec<(ItemId, Found)>),
    /// 15
    TrafficDisclosure,
    /// 16
    DisclosureWithheld,
    /// 17
    ExtensionRequest {
        /// What it asks for.
        until: Timestamp,
    },
    /// 18
    ExtensionDecision {
        /// The new end; none: refused.
        until: Option<Timestamp>,
        /// Which items; empty: all that are preserved.
        items: Vec<ItemId>,
    },
    /// 19
    MlaNotice,
    /// 20
    MlaReceived,
    /// 20, with an outcome.
    MlaDecision,
    /// 21; empty: all items.
    Withdrawal(Vec<ItemId>),
    /// 22, made by the requested node: what it holds for the first end.
    ExpiryWarning {
        /// That end.
        until: Timestamp,
    },
    /// 23
    Closure(Closing),
    /// 24
    Incident,
}

/// The answer to a warning under Article 29(6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RiskAnswer {
    /// Execute nevertheless.
    Proceed,
    /// Execute otherwise.
    Change {
        /// The newer revision.
        revision: u32,
        /// What is given up.
        drop: Vec<ItemId>,
    },
    /// Do not execute.
    Abandon,
}

/// A decision about an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It will be preserved.
    Accepted,
    /// It will not, on this ground.
    Refused(Ground),
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is preserved; in part only, where `whole` is false.
    Preserved {
        /// Since when.
        from: Timestamp,
        /// Until when at least.
        until: Timestamp,
        /// All that was asked for.
        whole: bool,
    },
    /// There is no such thing.
    NotFound,
    /// Another has it.
    NotHeldHere,
    /// The requesting side gave it up.
    Withdrawn,
}

/// Why a case is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// No answers came.
    Lapsed,
    /// The unit is not competent.
    NotCompetent,
    /// The time is over.
    Expired,
    /// Mutual assistance was decided.
    Released,
    /// What was withdrawn is released.
    Withdrawn,
}

/// A move without what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum MoveKind {
    Request,
    Ack,
    InfoRequired,
    InfoReply,
    RiskNotice,
    RiskDecision,
    Decision,
    Confirmation,
    TrafficDisclosure,
    DisclosureWithheld,
    ExtensionRequest,
    ExtensionDecision,
    MlaNotice,
    MlaReceived,
    MlaDecision,
    Withdrawal,
    ExpiryWarning,
    Closure,
    Incident,
}

impl MoveKind {
    /// All of them.
    pub const ALL: [MoveKind; 19] = [
        MoveKind::Request,
        MoveKind::Ack,
        MoveKind::InfoRequired,
        MoveKind::InfoReply,
        MoveKind::RiskNotice,
        MoveKind::RiskDecision,
        MoveKind::Decision,
        MoveKind::Confirmation,
        MoveKind::TrafficDisclosure,
        MoveKind::DisclosureWithheld,
        MoveKind::ExtensionRequest,
        MoveKind::ExtensionDecision,
        MoveKind::MlaNotice,
        MoveKind::MlaReceived,
        MoveKind::MlaDecision,
        MoveKind::Withdrawal,
        MoveKind::ExpiryWarning,
        MoveKind::Closure,
        MoveKind::Incident,
    ];

    /// Whose it is.
    pub fn by(self) -> Side {
        match self {
            Self::Request
            | Self::InfoReply
            | Self::RiskDecision
            | Self::ExtensionRequest
            | Self::MlaNotice
            | Self::Withdrawal => Side::Requesting,
            _ => Side::Requested,
        }
    }
}

impl Move {
    /// Of which kind it is.
    pub fn kind(&self) -> MoveKind {
        match self {
            Self::Request(_) => MoveKind::Request,
            Self::Ack { .. } => MoveKind::Ack,
            Self::InfoRequired { .. } => MoveKind::InfoRequired,
            Self::InfoReply(_) => MoveKind::InfoReply,
            Self::RiskNotice => MoveKind::RiskNotice,
            Self::RiskDecision(_) => MoveKind::RiskDecision,
            Self::Decision { .. } | Self::Carries { .. } => MoveKind::Decision,
            Self::Confirmation(_) => MoveKind::Confirmation,
            Self::TrafficDisclosure => MoveKind::TrafficDisclosure,
            Self::DisclosureWithheld => MoveKind::DisclosureWithheld,
            Self::ExtensionRequest { .. } => MoveKind::ExtensionRequest,
            Self::ExtensionDecision { .. } => MoveKind::ExtensionDecision,
            Self::MlaNotice => MoveKind::MlaNotice,
            Self::MlaReceived => MoveKind::MlaReceived,
            Self::MlaDecision => MoveKind::MlaDecision,
            Self::Withdrawal(_) => MoveKind::Withdrawal,
            Self::ExpiryWarning { .. } => MoveKind::ExpiryWarning,
            Self::Closure(_) => MoveKind::Closure,
            Self::Incident => MoveKind::Incident,
        }
    }
}
