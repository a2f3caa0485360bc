//! The clocks of a case: what is due, from whom, by when, and by whose rule.
//!
//! Enter through [`Case::obligations`]. Nothing here reads a clock: an obligation says since when
//! and until when it runs, [`Obligation::stage`] how far a given instant is. The treaty states few
//! terms in numbers: what is ours is told apart from what is law.

use std::time::Duration;

use relay_proto::{envelope::Priority, timestamp::Timestamp};

use crate::exchange::Replies;

use super::{Case, State, moves::Side, step::Outcome};

/// What a side owes the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Duty {
    /// That a desk has the request.
    Acknowledge,
    /// To accept or refuse.
    Decide,
    /// To answer questions.
    Answer,
    /// To say whether to execute nevertheless (Article 29(6)).
    DecideRisk,
    /// To say what was preserved.
    Confirm,
    /// To ask for mutual assistance, extend or withdraw before the end (Article 29(7)).
    UseOrLose,
    /// To grant or refuse an extension.
    DecideExtension,
    /// To say that the request for mutual assistance arrived.
    ConfirmMla,
    /// To release the data and say so.
    Close,
    /// To say what came of an alert.
    Feedback,
    /// To say that a message was deleted.
    ReportDeletion,
    /// To say which conditions of an offer can be kept.
    AnswerOffer,
    /// To grant or refuse a use that markings forbid.
    DecideRelease,
    /// To answer a request for assistance, one in an emergency, or a drill.
    Reply,
}

/// Whose rule a term is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The treaty's.
    Law,
    /// What a side stated in this case.
    Stated,
    /// This network's own target; no authority behind it.
    House,
}

/// Something that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obligation {
    /// What.
    pub duty: Duty,
    /// From whom.
    pub side: Side,
    /// Since when.
    pub since: Timestamp,
    /// Until when; none: "expeditiously", without a number.
    pub due: Option<Timestamp>,
    /// By whose rule.
    pub rule: Rule,
    /// Where that rule is.
    pub basis: &'static str,
}

/// How far an obligation's time has run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Less than half of it, or no term.
    Running,
    /// Half of it.
    Half,
    /// Four fifths of it.
    Late,
    /// All of it.
    Overdue,
}

/// A network's own targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// Until a desk has the request.
    pub acknowledge: ByPriority,
    /// Until it is decided.
    pub decide: ByPriority,
    /// Until a warning is answered.
    pub decide_risk: ByPriority,
    /// Until an extension is decided, mutual assistance confirmed, data released.
    pub follow_up: Duration,
    /// So long before the end both sides are warned; the longest first.
    pub expiry_warnings: Vec<Duration>,
    /// Replies outside of cases.
    pub replies: Replies,
}

/// A length of time for each priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByPriority {
    /// Of EMERGENCY.
    pub emergency: Duration,
    /// Of URGENT.
    pub urgent: Duration,
    /// Of ROUTINE.
    pub routine: Duration,
}

impl ByPriority {
    /// That of a priority.
    pub fn of(&self, priority: Priority) -> Duration {
        match priority {
            Priority::Emergency => self.emergency,
            Priority::Urgent => self.urgent,
            Priority::Routine => self.routine,
        }
    }
}

impl Default for Targets {
    /// This project's own; the treaty says "expeditiously" and "promptly".
    fn default() -> Self {
        let by = |emergency, urgent, routine| ByPriority {
            emergency: Duration::from_secs(emergency * MINUTE),
            urgent: Duration::from_secs(urgent * MINUTE),
            routine: Duration::from_secs(routine * MINUTE),
        };
        let days = |days: u64| Duration::from_secs(days * 24 * 60 * MINUTE);
        Self {
            acknowledge: by(15, 60, 24 * 60),
            decide: by(2 * 60, 24 * 60, 72 * 60),
            decide_risk: by(60, 4 * 60, 24 * 60),
            follow_up: days(3),
            expiry_warnings: vec![days(30), days(14), days(7), days(2)],
            replies: Replies::default(),
        }
    }
}

impl Obligation {
    /// How far it has run at an instant.
    pub fn stage(&self, now: Timestamp) -> Stage {
        let Some(due) = self.due else { return Stage::Running };
        let (since, due, now) = (self.since.as_millis(), due.as_millis(), now.as_millis());
        let (whole, run) = (due.saturating_sub(since), now.saturating_sub(since));
        match run {
            _ if now >= due => Stage::Overdue,
            run if run.saturating_mul(5) >= whole.saturating_mul(4) => Stage::Late,
            run if run.saturating_mul(2) >= whole => Stage::Half,
            _ => Stage::Running,
        }
    }

    /// When whoever owes it is to be told, and how far it has run by then: at half, at four fifths
    /// and at its end; of what ends by law so long before as the network says. None without a term.
    pub fn warnings(&self, targets: &Targets) -> Vec<(Stage, Timestamp)> {
        let Some(due) = self.due else { return Vec::new() };
        let whole = due.as_millis().saturating_sub(self.since.as_millis());
        let at = |part: u64| {
            let millis = u128::from(whole) * u128::from(part);
            let millis = u64::try_from(millis.div_ceil(PARTS)).unwrap_or(u64::MAX);
            Timestamp::from_millis(self.since.as_millis().saturating_add(millis))
        };
        let mut points: Vec<_> = match self.duty {
            // A short period is over soon after it began: only what comes after that is a warning.
            Duty::UseOrLose => {
                let before = targets.expiry_warnings.iter().map(|before| due.before(*before));
                let before = before.filter(|at| *at > self.since);
                before.map(|at| (self.stage(at), at)).collect()
            }
            _ => vec![(Stage::Half, at(5)), (Stage::Late, at(8))],
        };
        points.push((Stage::Overdue, due));
        points
    }
}

impl Case {
    /// What is due in a case, the most pressing first.
    pub fn obligations(&self, targets: &Targets) -> Vec<Obligation> {
        let mut due: Vec<Obligation> = self.main_obligation(targets).into_iter().collect();
        due.extend(self.ends().into_iter().map(|end| self.use_or_lose(end)));
        if self.extension_pending {
            due.push(self.extension_decision(targets));
        }
        if self.mla_announced && self.state == State::Preserved {
            let since = self.last(super::MoveKind::MlaNotice);
            let until = since.after(targets.follow_up);
            let basis = "the profile's follow_up_target";
            due.push(house(Duty::ConfirmMla, Side::Requested, since, until, basis));
        }
        due.sort_by_key(|one| (one.due.is_none(), one.due, one.duty));
        due
    }

    fn main_obligation(&self, targets: &Targets) -> Option<Obligation> {
        use {Side::Requested, Side::Requesting};
        let since = self.since();
        let by = |target: &ByPriority| since.after(target.of(self.priority));
        Some(match self.state {
            State::Submitted | State::Delivered => {
                let until = by(&targets.acknowledge);
                house(Duty::Acknowledge, Requested, since, until, "the profile's ack_target")
            }
            State::Acknowledged => {
                let until = by(&targets.decide);
                house(Duty::Decide, Requested, since, until, "the profile's decision_target")
            }
            State::InfoRequired => Obligation {
                rule: Rule::Stated,
                due: self.answers_due,
                ..house(Duty::Answer, Requesting, since, since, "the requested side's due")
            },
            State::RiskNotified => {
                let until = by(&targets.decide_risk);
                house(Duty::DecideRisk, Requesting, since, until, "the profile's risk_target")
            }
            State::Accepted => Obligation {
                rule: Rule::Law,
                due: None,
                ..house(Duty::Confirm, Requested, since, since, "Article 29(3): expeditiously")
            },
            State::MlaPending if self.mla_decided => {
                let since = self.last(super::MoveKind::MlaDecision);
                let until = since.after(targets.follow_up);
                house(Duty::Close, Requested, since, until, "the profile's follow_up_target")
            }
            State::Withdrawn if !self.release_confirmed => {
                let until = since.after(targets.follow_up);
                house(Duty::Close, Requested, since, until, "the profile's follow_up_target")
            }
            _ => return None,
        })
    }

    /// Each end of its own: not all items end together.
    fn use_or_lose(&self, end: Timestamp) -> Obligation {
        let basis = "Article 29(7)";
        let rule = Rule::Law;
        Obligation { rule, ..house(Duty::UseOrLose, Side::Requesting, self.since(), end, basis) }
    }

    /// Before the end, whatever the target says: silence is no grant.
    fn extension_decision(&self, targets: &Targets) -> Obligation {
        let since = self.last(super::MoveKind::ExtensionRequest);
        let target = since.after(targets.follow_up);
        let basis = "the profile's follow_up_target";
        let decision = house(Duty::DecideExtension, Side::Requested, since, target, basis);
        // An end that had passed when it was asked for is not what is to be extended.
        match self.ends().into_iter().find(|end| *end > since) {
            Some(end) if end < target => {
                Obligation { due: Some(end), rule: Rule::Law, basis: "Article 29(7)", ..decision }
            }
            _ => decision,
        }
    }

    /// Since when the case stands where it stands.
    fn since(&self) -> Timestamp {
        let made = self.steps.iter().rev().filter(|step| matches!(step.outcome, Outcome::Made(_)));
        let same = made.take_while(|step| stands(step.state) == stands(self.state));
        same.last().map_or(Timestamp::default(), |step| step.at)
    }

    /// When the last message of a kind was sent that did something.
    fn last(&self, kind: super::MoveKind) -> Timestamp {
        let is_it =
            |step: &&super::Step| step.kind == kind && matches!(step.outcome, Outcome::Made(_));
        self.steps.iter().rfind(is_it).map_or(Timestamp::default(), |step| step.at)
    }
}

/// The receipt of a request is no message of the case: its clock runs from the request.
fn stands(state: State) -> State {
    if state == State::Delivered { State::Submitted } else { state }
}

fn house(
    duty: Duty,
    side: Side,
    since: Timestamp,
    due: Timestamp,
    basis: &'static str,
) -> Obligation {
    Obligation { duty, side, since, due: Some(due), rule: Rule::House, basis }
}

const MINUTE: u64 = 60;

/// Warnings are told in tenths.
const PARTS: u128 = 10;
