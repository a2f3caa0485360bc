//! What is expected back of a message outside of cases: what, by when, by whose rule; and what
//! fulfils it.
//!
//! Enter through [`expected`], [`fulfils`] and [`closes`]. The targets are a network's own: no
//! treaty text names a number.

use std::time::Duration;

use relay_proto::{envelope::Priority, timestamp::Timestamp, v1};

use super::{Said, Says};
use crate::case::{ByPriority, Duty, Obligation, Rule, Side};

/// A network's own targets for replies outside of cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replies {
    /// To an alert that asks for an action and does not say by when.
    pub alert: ByPriority,
    /// Until a deletion that was asked for is reported.
    pub deletion: Duration,
    /// To an offer; not after it expires.
    pub offer: Duration,
    /// Until the originator decides about a use.
    pub release: Duration,
    /// To a request for assistance that does not say by when.
    pub assistance: ByPriority,
    /// To a request in an emergency.
    pub emergency: Duration,
}

impl Default for Replies {
    /// This project's own; those for assistance are the European Union's (Directive 2023/977).
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let by = |emergency, urgent, routine| ByPriority {
            emergency: hours(emergency),
            urgent: hours(urgent),
            routine: hours(routine),
        };
        Self {
            alert: by(2, 2, 24),
            deletion: hours(7 * 24),
            offer: hours(24),
            release: hours(72),
            assistance: by(8, 3 * 24, 7 * 24),
            emergency: hours(2),
        }
    }
}

/// What whoever gets a message owes its sender; the recipient is the requested side.
pub fn expected(
    said: &Said,
    priority: Priority,
    sent_at: Timestamp,
    replies: &Replies,
) -> Option<Obligation> {
    let house = |duty, after: Duration, basis| Obligation {
        duty,
        side: Side::Requested,
        since: sent_at,
        due: Some(sent_at.after(after)),
        rule: Rule::House,
        basis,
    };
    let or_stated = |house: Obligation, by: Option<Timestamp>| match by {
        Some(due) => {
            let basis = "the sender's respond_by";
            Obligation { due: Some(due.max(sent_at)), rule: Rule::Stated, basis, ..house }
        }
        None => house,
    };
    Some(match (&said.says, said.kind) {
        (Says::Alert { asks: true, respond_by, .. }, _) => {
            let target = replies.alert.of(priority);
            let basis = "the profile's reply_target.ALERT";
            or_stated(house(Duty::Feedback, target, basis), *respond_by)
        }
        (Says::Cancel { deletes: true, .. }, _) => {
            let basis = "the profile's reply_target.ALERT_CANCEL";
            house(Duty::ReportDeletion, replies.deletion, basis)
        }
        (Says::Offer { expires, .. }, _) => {
            let basis = "the profile's reply_target.CONDITIONAL_OFFER";
            let target = house(Duty::AnswerOffer, replies.offer, basis);
            match target.due {
                Some(due) if due > *expires => {
                    let (due, basis) = (Some((*expires).max(sent_at)), "the offer's expires");
                    Obligation { due, rule: Rule::Stated, basis, ..target }
                }
                _ => target,
            }
        }
        (Says::Release { granted: None, .. }, _) => {
            let basis = "the profile's reply_target.HANDLING_RELEASE";
            house(Duty::DecideRelease, replies.release, basis)
        }
        (Says::Request { .. }, v1::Kind::EmergencyRequest) => {
            let basis = "the profile's reply_target.EMERGENCY_REQUEST";
            house(Duty::Reply, replies.emergency, basis)
        }
        (Says::Request { respond_by }, _) => {
            let target = replies.assistance.of(priority);
            let basis = "the profile's reply_target.ASSISTANCE_REQUEST";
            or_stated(house(Duty::Reply, target, basis), *respond_by)
        }
        (Says::Check { answers: false, respond_by, .. }, _) => {
            let target = house(Duty::Reply, CONTACT_CHECK, "thirty minutes for a drill");
            or_stated(target, *respond_by)
        }
        _ => return None,
    })
}

/// Whether something is expected back.
pub fn expects(said: &Said) -> bool {
    let at = Timestamp::default();
    expected(said, Priority::Routine, at, &Replies::default()).is_some()
}

/// Whether a message is what another one, which it answers, expects.
pub fn fulfils(reply: &Said, of: &Said) -> bool {
    use v1::Kind as K;
    match &of.says {
        Says::Alert { asks: true, .. } => reply.kind == K::AlertFeedback,
        Says::Cancel { deletes: true, .. } => reply.kind == K::HandlingReport,
        Says::Offer { .. } => reply.kind == K::ConditionReply,
        Says::Release { granted: None, .. } => {
            matches!(reply.says, Says::Release { granted: Some(_), .. })
        }
        Says::Request { .. } => matches!(reply.kind, K::AssistanceReply | K::EmergencyReply),
        Says::Check { answers: false, .. } => {
            matches!(reply.says, Says::Check { answers: true, .. })
        }
        _ => false,
    }
}

/// Whether a message of the same sender takes back what another one of an alert expects: a later
/// revision asks anew, and what is cancelled as a whole asks for nothing.
pub fn closes(later: &Said, earlier: &Said) -> bool {
    let Says::Alert { revision: before, .. } = &earlier.says else { return false };
    match &later.says {
        Says::Alert { revision, .. } => revision > before,
        Says::Cancel { scope, .. } => scope.is_empty(),
        _ => false,
    }
}

/// Where a drill does not say by when.
const CONTACT_CHECK: Duration = Duration::from_secs(30 * 60);
