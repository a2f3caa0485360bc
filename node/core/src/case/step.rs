//! The transitions of a case, and what a message makes of it.
//!
//! The table is `rows` (which transitions a kind can make), `Case::allows` (from where) and
//! `Case::fits` (what the message has to say). What none of them takes changes nothing.

use relay_proto::{ids::Digest, timestamp::Timestamp};

use std::collections::BTreeMap;

use super::{
    Case, Rules, State,
    item::Item,
    moves::{Message, Move, MoveKind, Request, Side},
};

/// What a message did in its case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The message.
    pub digest: Digest,
    /// What it was.
    pub kind: MoveKind,
    /// What it did.
    pub outcome: Outcome,
    /// Where the case stands after it.
    pub state: State,
    /// When it was signed, by its sender's clock.
    pub at: Timestamp,
}

/// What came of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It made a transition, or an event within a state.
    Made(Transition),
    /// It was legal where its sender stood, and a message that crossed it came first.
    Overtaken,
    /// It was legal nowhere: one of the two nodes is wrong.
    NotLegal,
}

/// The legal transitions. T2 to T4 are the request's delivery, T5x and the warnings are clocks, T30
/// is a new case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transition {
    /// The request.
    T1,
    /// A desk has it.
    T5,
    /// The requested side asks.
    T6,
    /// The requesting side answers.
    T7,
    /// No answers came.
    T8,
    /// A warning under Article 29(6).
    T9,
    /// Execute nevertheless.
    T10,
    /// Execute otherwise.
    T11,
    /// Do not execute.
    T12,
    /// Accepted, all or some items.
    T13,
    /// Refused.
    T14,
    /// Preserved, at least one item.
    T15,
    /// Nothing was found.
    T16,
    /// Traffic data under Article 30, or why they are withheld.
    T17,
    /// An extension is asked for.
    T18,
    /// It is decided.
    T19,
    /// Mutual assistance is announced.
    T20,
    /// The request for it is there.
    T21,
    /// It is decided, and the data are released.
    T22,
    /// The time is over.
    T23,
    /// All is withdrawn.
    T24,
    /// Some items are withdrawn.
    T25,
    /// An incident.
    T26,
    /// Another desk of the same country.
    T27,
    /// Not competent.
    T28,
    /// A newer revision, more urgent.
    T29,
    /// The release of what was withdrawn is confirmed.
    Confirmed,
    /// A decision crossed a newer revision: whether it carries over.
    Carried,
    /// The requested node warns that the time ends.
    Warned,
}

/// The transitions that a kind of message can make.
pub(super) fn rows(kind: MoveKind) -> impl Iterator<Item = Transition> {
    use Transition as T;
    let rows: &[T] = match kind {
        MoveKind::Request => &[T::T29],
        MoveKind::Ack => &[T::T5, T::T27],
        MoveKind::InfoRequired => &[T::T6],
        MoveKind::InfoReply => &[T::T7, T::T29],
        MoveKind::RiskNotice => &[T::T9],
        MoveKind::RiskDecision => &[T::T10, T::T11, T::T12],
        MoveKind::Decision => &[T::T13, T::T14, T::Carried],
        MoveKind::Confirmation => &[T::T15, T::T16],
        MoveKind::TrafficDisclosure | MoveKind::DisclosureWithheld => &[T::T17],
        MoveKind::ExtensionRequest => &[T::T18],
        MoveKind::ExtensionDecision => &[T::T19],
        MoveKind::MlaNotice => &[T::T20],
        MoveKind::MlaReceived => &[T::T21],
        MoveKind::MlaDecision => &[T::T22],
        MoveKind::Withdrawal => &[T::T24, T::T25],
        MoveKind::ExpiryWarning => &[T::Warned],
        MoveKind::Closure => &[T::T8, T::T22, T::T23, T::T28, T::Confirmed],
        MoveKind::Incident => &[T::T26],
    };
    rows.iter().copied()
}

/// Plays messages in their order. `as_seen` says whether a message that is not legal where it
/// stands was legal where its sender stood. None: the request is not among them.
pub(super) fn replay(
    order: &[&Message],
    rules: &Rules,
    as_seen: &mut dyn FnMut(&Message) -> bool,
) -> Option<Case> {
    let (root, request) = order.iter().find_map(|message| match &message.says {
        Move::Request(request) if request.revision == 1 && message.from == Side::Requesting => {
            Some((*message, request))
        }
        _ => None,
    })?;
    let mut case = Case::begun(request);
    let others = order.iter().filter(|message| message.digest != root.digest);
    case.step(root, Outcome::Made(Transition::T1));
    for message in others {
        let outcome = match case.transition(message, rules) {
            Some(transition) => {
                case.make(transition, message);
                Outcome::Made(transition)
            }
            None if as_seen(message) => Outcome::Overtaken,
            None => {
                case.sync_conflict = true;
                Outcome::NotLegal
            }
        };
        case.step(message, outcome);
    }
    Some(case)
}

/// Whether a message was legal after those that its sender had seen.
pub(super) fn is_legal_after(seen: &[&Message], message: &Message, rules: &Rules) -> bool {
    let case = replay(seen, rules, &mut |_| true);
    case.is_some_and(|case| case.transition(message, rules).is_some())
}

impl Case {
    fn begun(request: &Request) -> Self {
        Self {
            state: State::Submitted,
            revision: request.revision,
            priority: request.priority,
            items: request.items.iter().map(|id| (id.clone(), Item::NEW)).collect(),
            extension_pending: false,
            mla_announced: false,
            mla_decided: false,
            release_confirmed: false,
            undecided_revision: None,
            redeciding: false,
            answers_due: None,
            warned: BTreeMap::new(),
            sync_conflict: false,
            steps: Vec::new(),
            waiting: Vec::new(),
            articles: request.articles.clone(),
        }
    }

    fn step(&mut self, message: &Message, outcome: Outcome) {
        let (digest, kind, at) = (message.digest, message.says.kind(), message.sent_at);
        self.steps.push(Step { digest, kind, outcome, state: self.state, at });
    }

    /// Whether every offence of the newest revision is one of Articles 2 to 11.
    pub fn is_covered(&self) -> bool {
        !self.articles.iter().any(|article| article == "other")
    }

    fn is_decided(&self) -> bool {
        self.steps.iter().any(|step| step.outcome == Outcome::Made(Transition::T13))
    }

    /// The transition that a message makes now, if it is legal.
    pub(super) fn transition(&self, message: &Message, rules: &Rules) -> Option<Transition> {
        let kind = message.says.kind();
        let is_its = kind.by() == message.from;
        rows(kind).find(|row| is_its && self.allows(*row) && self.fits(*row, message, rules))
    }

    /// Where the case stands for a message of the requested side: whoever answers has it.
    pub(super) fn at(&self) -> State {
        if self.state == State::Submitted { State::Delivered } else { self.state }
    }

    /// Whether a transition begins here, whatever is said in it.
    pub(super) fn allows(&self, transition: Transition) -> bool {
        use State as S;
        use Transition as T;
        let is_executed = matches!(self.state, S::Accepted | S::Preserved | S::MlaPending);
        match transition {
            T::T1 => false,
            T::T5 => self.at() == S::Delivered,
            T::T6 => self.state == S::Acknowledged,
            T::T7 | T::T8 => self.state == S::InfoRequired,
            T::T9 => matches!(self.state, S::Acknowledged | S::Accepted),
            T::T10 | T::T11 | T::T12 => self.state == S::RiskNotified,
            T::T13 | T::T14 => {
                // Whoever warned before it decided still decides, after the answer.
                let accepted = self.state == S::Accepted;
                self.state == S::Acknowledged || accepted && (self.redeciding || !self.is_decided())
            }
            T::T15 => matches!(self.state, S::Acknowledged | S::Accepted | S::Preserved),
            // After the withdrawal of all that was preserved what is left may be nowhere.
            T::T16 => {
                let bare = self.state == S::Preserved && self.ends().is_empty();
                self.state == S::Accepted || bare
            }
            T::T17 | T::T26 => is_executed,
            T::T18 => self.state == S::Preserved && !self.extension_pending,
            T::T19 => self.state == S::Preserved && self.extension_pending,
            T::T20 | T::T21 | T::Warned => self.state == S::Preserved,
            T::T22 => self.state == S::MlaPending,
            T::T23 => self.state == S::Preserved && !self.extension_pending,
            T::T24 | T::T29 => !self.state.is_end(),
            T::Confirmed => self.state == S::Withdrawn && !self.release_confirmed,
            T::T25 => matches!(self.state, S::Preserved | S::MlaPending),
            T::T27 | T::T28 => matches!(self.at(), S::Delivered | S::Acknowledged),
            T::Carried => self.undecided_revision.is_some() && is_executed,
        }
    }
}
