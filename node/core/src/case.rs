//! The life of a preservation request (Budapest Convention, Articles 29 and 30), derived from the
//! messages of its case.
//!
//! Enter through [`Case::of`]: what both units hold is put in one order, and each message then
//! makes its transition, is noted as overtaken, or is none that was legal. Nothing is decided by a
//! clock of this node or by the order of arrival. Invariants: the same messages make the same case,
//! however often and in whatever order they came; only the requested side sets or moves
//! `preserved_until`; a message that is not legal changes nothing.

mod admit;
mod change;
mod clock;
mod guard;
mod item;
mod moves;
mod order;
mod read;
pub mod refusal;
mod step;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use relay_proto::{envelope::Priority, ids::Digest, timestamp::Timestamp};

use self::refusal::Grounds;
pub use self::{
    admit::{Admission, MESSAGES_MAX, Refusal, admit, is_first},
    clock::{ByPriority, Duty, Obligation, Rule, Stage, Targets},
    item::{Item, ItemStatus},
    moves::{Closing, Found, ItemId, Message, Move, MoveKind, Request, RiskAnswer, Side, Verdict},
    step::{Outcome, Step, Transition},
};

/// Where a case stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Stored at the requesting node; the requested one has not receipted it.
    Submitted,
    /// The requested node refused the message: never a legal refusal of the request.
    Rejected,
    /// No receipt until the message expired.
    Undeliverable,
    /// At the requested node.
    Delivered,
    /// A desk has it.
    Acknowledged,
    /// The requested side asked; its decision waits.
    InfoRequired,
    /// The requested side warned (Article 29(6)); the requesting side decides.
    RiskNotified,
    /// Being executed.
    Accepted,
    /// At least one item is preserved.
    Preserved,
    /// The request for mutual assistance is there: the data stay until it is decided (29(7)).
    MlaPending,
    /// Decided; the custodian was told.
    Released,
    /// Preserved until its end.
    Expired,
    /// Refused on a ground of the closed list.
    Refused,
    /// There is nothing to preserve.
    NoData,
    /// The requesting side needs it no more.
    Withdrawn,
    /// Nobody answered, or the unit is not competent: no refusal.
    Lapsed,
}

impl State {
    /// All of them.
    pub const ALL: [State; 16] = [
        State::Submitted,
        State::Rejected,
        State::Undeliverable,
        State::Delivered,
        State::Acknowledged,
        State::InfoRequired,
        State::RiskNotified,
        State::Accepted,
        State::Preserved,
        State::MlaPending,
        State::Released,
        State::Expired,
        State::Refused,
        State::NoData,
        State::Withdrawn,
        State::Lapsed,
    ];

    /// As people and programs read it: `INFO_REQUIRED`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Submitted => "SUBMITTED",
            Self::Rejected => "REJECTED",
            Self::Undeliverable => "UNDELIVERABLE",
            Self::Delivered => "DELIVERED",
            Self::Acknowledged => "ACKNOWLEDGED",
            Self::InfoRequired => "INFO_REQUIRED",
            Self::RiskNotified => "RISK_NOTIFIED",
            Self::Accepted => "ACCEPTED",
            Self::Preserved => "PRESERVED",
            Self::MlaPending => "MLA_PENDING",
            Self::Released => "RELEASED",
            Self::Expired => "EXPIRED",
            Self::Refused => "REFUSED",
            Self::NoData => "NO_DATA",
            Self::Withdrawn => "WITHDRAWN",
            Self::Lapsed => "LAPSED",
        }
    }

    /// Whether nothing more can happen but a release that is confirmed, or a new request.
    pub fn is_end(self) -> bool {
        matches!(
            self,
            Self::Rejected
                | Self::Undeliverable
                | Self::Released
                | Self::Expired
                | Self::Refused
                | Self::NoData
                | Self::Withdrawn
                | Self::Lapsed
        )
    }
}

/// What became of the request's first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// No receipt yet.
    Waiting,
    /// The requested node has it.
    Delivered,
    /// It refused it.
    Rejected,
    /// It expired on the way.
    Expired,
}

/// What a network's rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Article 29(7): sixty days, or a profile's more.
    pub least_period: Duration,
    /// So long after its end a case does not expire, and an extension that was signed in time still
    /// counts: messages are on their way.
    pub grace: Duration,
    /// On which grounds a request may be refused.
    pub grounds: Grounds,
}

impl Rules {
    /// The treaty's sixty days, and a day of grace.
    pub const TREATY: Rules = Rules {
        least_period: Duration::from_secs(60 * DAY),
        grace: Duration::from_secs(DAY),
        grounds: Grounds::TREATY,
    };
}

/// A case as its messages tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Where it stands.
    pub state: State,
    /// The newest revision of the request.
    pub revision: u32,
    /// The highest that was asked for.
    pub priority: Priority,
    /// By their ids.
    pub items: BTreeMap<ItemId, Item>,
    /// An extension was asked for and not decided.
    pub extension_pending: bool,
    /// A request for mutual assistance was announced; that alone stops nothing.
    pub mla_announced: bool,
    /// The request for mutual assistance was decided.
    pub mla_decided: bool,
    /// The custodian was told.
    pub release_confirmed: bool,
    /// A revision that came while the one before was decided: the requested side says whether its
    /// decision carries over.
    pub undecided_revision: Option<u32>,
    /// The requested side decides the newest revision anew.
    pub redeciding: bool,
    /// When answers are due.
    pub answers_due: Option<Timestamp>,
    /// How often the requested node warned that the time ends, by the end that it told.
    pub warned: BTreeMap<Timestamp, u32>,
    /// The nodes disagree about this case: a message was not legal in any order, or states another
    /// end of preservation. Never mended silently.
    pub sync_conflict: bool,
    /// What each message did, in the case's order.
    pub steps: Vec<Step>,
    /// Messages that follow one which is not here.
    pub waiting: Vec<Digest>,
    /// Articles of the offences, for the grounds of refusal.
    articles: Vec<String>,
}

impl Case {
    /// The case that these messages make. None: the request itself is not among them.
    pub fn of(
        messages: impl IntoIterator<Item = Message>,
        delivery: Delivery,
        rules: &Rules,
    ) -> Option<Self> {
        let held: BTreeMap<Digest, Message> =
            messages.into_iter().map(|message| (message.digest, message)).collect();
        let (order, waiting) = order::order(&held);
        let mut case = step::replay(&order, rules, &mut |message| {
            // Not legal where it stands: was it where its sender stood?
            let seen = order::seen_by(&order, message);
            step::is_legal_after(&seen, message, rules)
        })?;
        case.waiting = waiting;
        case.settle(delivery);
        Some(case)
    }

    /// What the request's delivery says, as long as no message says more.
    fn settle(&mut self, delivery: Delivery) {
        if self.state == State::Submitted {
            self.state = match delivery {
                Delivery::Waiting => State::Submitted,
                Delivery::Delivered => State::Delivered,
                Delivery::Rejected => State::Rejected,
                Delivery::Expired => State::Undeliverable,
            };
        }
    }

    /// Whose turn it is; nobody's at an end.
    pub fn turn(&self) -> Option<Side> {
        match self.state {
            State::InfoRequired | State::RiskNotified => Some(Side::Requesting),
            State::Preserved if self.extension_pending => Some(Side::Requested),
            State::Preserved => Some(Side::Requesting),
            State::Submitted
            | State::Delivered
            | State::Acknowledged
            | State::Accepted
            | State::MlaPending => Some(Side::Requested),
            // The custodian is to be told.
            State::Withdrawn if !self.release_confirmed => Some(Side::Requested),
            _ => None,
        }
    }

    /// What a side may do now, whatever it then says in it.
    pub fn legal(&self, side: Side) -> Vec<MoveKind> {
        let may =
            |kind: &MoveKind| kind.by() == side && step::rows(*kind).any(|row| self.allows(row));
        MoveKind::ALL.into_iter().filter(may).collect()
    }

    /// The instants at which something that is preserved ends; none while a request for mutual
    /// assistance is pending.
    pub fn ends(&self) -> BTreeSet<Timestamp> {
        match self.state {
            State::Preserved => self.items.values().filter_map(Item::runs_until).collect(),
            _ => BTreeSet::new(),
        }
    }

    /// The first instant at which something that is preserved ends; nothing while mutual assistance
    /// is pending (Article 29(7)).
    pub fn preserved_until(&self) -> Option<Timestamp> {
        self.ends().first().copied()
    }
}

/// Nothing ends before both sides were warned so often.
pub const WARNINGS_MIN: u32 = 2;

const DAY: u64 = 24 * 3600;
