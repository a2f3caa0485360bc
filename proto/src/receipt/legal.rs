//! What a receipt changes, after the receipts that are already held for the same message and
//! recipient.
//!
//! Receipts travel on several lanes and may arrive in another order than they were issued, so the
//! rules do not depend on the order of arrival, save for the sender's own failure. Invariant: a
//! contradiction is kept as evidence and changes nothing.

use std::cmp::Ordering;

use crate::{
    ids::LogOrigin,
    receipt::{Event, Statement},
    v1,
};

/// A statement, and the log whose leaf it is.
#[derive(Debug, Clone)]
pub struct Logged {
    /// What is stated.
    pub statement: Statement,
    /// Nothing: not proven of any log.
    pub log: Option<LogOrigin>,
}

/// What to do with a receipt that passed all other checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Legality {
    /// News: keep it and act on it.
    Applied,
    /// The same leaf is held; proof and checkpoint may be newer.
    Repeats,
    /// A positive answer after the lifetime had ended: keep it, flag it, tell the operator.
    LateAfterFailure,
    /// Cannot be true together with one that is held: keep it, do not act on it, tell the operator.
    Contradiction,
}

/// Judges `new` after `held`; statements about another message or recipient are passed over.
pub fn legal_after(held: &[Logged], new: &Logged) -> Legality {
    let stated = &new.statement;
    let same_subject = |old: &&Logged| {
        let old = &old.statement;
        old.header_digest == stated.header_digest
            && (old.recipient == stated.recipient
                || old.recipient.is_none()
                || stated.recipient.is_none())
    };
    let related: Vec<&Logged> = held.iter().filter(same_subject).collect();
    if related.iter().any(|old| old.statement.bytes() == stated.bytes()) {
        return Legality::Repeats;
    }
    if related.iter().any(|old| contradict(old, new)) {
        return Legality::Contradiction;
    }
    let failed = related.iter().any(|old| old.statement.event == Event::RelayFailure);
    if failed && stated.event.is_positive() && !stated.event.is_submission() {
        return Legality::LateAfterFailure;
    }
    Legality::Applied
}

/// Whether two different leaves about one message cannot both be true.
fn contradict(old: &Logged, new: &Logged) -> bool {
    let (old_log, new_log) = (&old.log, &new.log);
    let (old, new) = (&old.statement, &new.statement);
    if old.event == new.event {
        return old.issuer == new.issuer && !is_again((old, old_log), (new, new_log));
    }
    // The sender states a failure only while neither answer of the recipient is there; a later
    // answer is late.
    let too_early = new.event == Event::RelayFailure
        && (old.event.implies_consignment() || refused_by_recipient(old));
    too_early || excludes(old, new) || excludes(new, old)
}

/// An event happens once. It is stated again only in a later log, when the one that held the first
/// statement was lost, and says so: once a log, for ever later ones an operator has to accept.
fn is_again(one: In<'_>, other: In<'_>) -> bool {
    let (Some(log), Some(other_log)) = (one.1, other.1) else { return false };
    let later = match log.generation.cmp(&other_log.generation) {
        Ordering::Less => other.0,
        Ordering::Equal => return false,
        Ordering::Greater => one.0,
    };
    later.has(v1::StatementFlag::Recovered)
}

type In<'a> = (&'a Statement, &'a Option<LogOrigin>);

/// Whether `one` being true rules out `other`, whichever came first.
fn excludes(one: &Statement, other: &Statement) -> bool {
    let same_issuer = one.issuer == other.issuer;
    match (one.event, other.event) {
        (Event::SubmissionAcceptance, Event::SubmissionRejection)
        | (Event::RelayAcceptance, Event::RelayRejection)
        | (Event::ContentHandover, Event::ContentHandoverFailure)
        | (Event::ConsignmentAcceptance, Event::ConsignmentRejection) => same_issuer,
        // What the recipient refused does not lie in its inbox. A hub's refusal leaves other ways
        // open.
        (Event::RelayRejection, event) => refused_by_recipient(one) && event.implies_consignment(),
        // "Nobody took it in time" is false after somebody did; taking it after that is late, not
        // false.
        (
            Event::ConsignmentAcceptance | Event::ConsignmentRejection,
            Event::AcceptanceRejectionExpiry,
        ) => same_issuer && one.event_time < other.event_time,
        // A draft that was refused here went nowhere.
        (Event::SubmissionRejection, event) => !event.is_submission(),
        _ => false,
    }
}

fn refused_by_recipient(statement: &Statement) -> bool {
    statement.event == Event::RelayRejection
        && statement.recipient.as_ref() == Some(&statement.issuer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::cloned_ref_to_slice_refs)]
    use super::{legal_after as legal_after_logged, *};
    use crate::{
        envelope::Header,
        receipt::fixture::{SENT_AT, Unit},
        timestamp::Timestamp,
    };

    fn logged(statement: &Statement, generation: u32) -> Logged {
        let log = Some(statement.issuer.log_origin(generation));
        Logged { statement: statement.clone(), log }
    }

    /// All in the first log of their issuer.
    fn legal_after(held: &[Statement], new: &Statement) -> Legality {
        let held: Vec<_> = held.iter().map(|one| logged(one, 1)).collect();
        legal_after_logged(&held, &logged(new, 1))
    }

    struct World {
        xa: Unit,
        xb: Unit,
        xc: Unit,
        hub: Unit,
        header: Header,
    }

    fn world() -> World {
        let [xa, xb, xc, hub] = [("xa.ncu", 1), ("xb.ncu", 11), ("xc.ncu", 21), ("xh.hub", 31)]
            .map(|(name, seed)| Unit::new(name, seed));
        let header = xa.header(&[&xb, &xc]);
        World { xa, xb, xc, hub, header }
    }

    impl World {
        /// By whoever issues such an event, about XB.
        fn usual(&self, event: Event) -> Statement {
            let issuer = match event {
                Event::SubmissionAcceptance | Event::SubmissionRejection | Event::RelayFailure => {
                    &self.xa
                }
                Event::RelayAcceptance => &self.hub,
                _ => &self.xb,
            };
            issuer.states(event, &self.header, &self.xb)
        }
    }

    /// Every pair of events, the first held and the second new, against the table.
    #[test]
    fn all_pairs() {
        use Event::{
            ConsignmentAcceptance as Accepted, ConsignmentRejection as Refused,
            ContentHandover as Handed, ContentHandoverFailure as NotHanded, RelayFailure as Failed,
            RelayRejection as Rejected, SubmissionAcceptance as Submitted,
            SubmissionRejection as NotSubmitted,
        };
        let w = world();
        for old in Event::ALL {
            for new in Event::ALL {
                let got = legal_after(&[w.usual(old)], &w.usual(new));
                let pair = |a, b| (old == a && new == b) || (old == b && new == a);
                let consigned = |event: Event| event.implies_consignment();
                let want = if old == new {
                    Legality::Repeats
                } else if pair(Submitted, NotSubmitted)
                    || pair(Handed, NotHanded)
                    || pair(Accepted, Refused)
                    || (old == Rejected && consigned(new))
                    || (new == Rejected && consigned(old))
                    || (new == Failed && (consigned(old) || old == Rejected))
                    || (old == NotSubmitted && !new.is_submission())
                    || (new == NotSubmitted && !old.is_submission())
                {
                    Legality::Contradiction
                } else if old == Failed && new.is_positive() && !new.is_submission() {
                    Legality::LateAfterFailure
                } else {
                    Legality::Applied
                };
                assert_eq!(got, want, "{new} after {old}");
            }
        }
    }

    /// One event happens once for one issuer; stated again after a lost log it is no contradiction.
    #[test]
    fn the_same_event_twice() {
        let w = world();
        let first = w.usual(Event::ContentConsignment);
        let mut again = w.xb.new_statement(Event::ContentConsignment, &w.header, &w.xb);
        again.salt = [200; 16];
        let plain = again.build().unwrap();
        again.flags = &[v1::StatementFlag::Recovered];
        let flagged = again.build().unwrap();
        // Log of the first, the second, its log, and whether both may be.
        let cases = [
            (1, &plain, 1, false),
            (1, &plain, 2, false),
            (1, &flagged, 1, false),
            (1, &flagged, 2, true),
            (2, &flagged, 1, false),
        ];
        for (log, second, second_log, may_be) in cases {
            let (one, other) = (logged(&first, log), logged(second, second_log));
            let want = if may_be { Legality::Applied } else { Legality::Contradiction };
            let held = std::slice::from_ref(&one);
            assert_eq!(legal_after_logged(held, &other), want, "{log} {second_log}");
            let held = std::slice::from_ref(&other);
            assert_eq!(legal_after_logged(held, &one), want, "{second_log} {log}");
            let unproven = Logged { log: None, ..other };
            assert_eq!(legal_after_logged(&[one], &unproven), Legality::Contradiction);
        }
        // Two hubs may both carry; a hub's refusal leaves the other way open.
        let one = w.hub.states(Event::RelayAcceptance, &w.header, &w.xb);
        let other = w.xc.states(Event::RelayAcceptance, &w.header, &w.xb);
        assert_eq!(legal_after(&[one.clone()], &other), Legality::Applied);
        let refused = w.hub.states(Event::RelayRejection, &w.header, &w.xb);
        let consigned = w.usual(Event::ContentConsignment);
        assert_eq!(legal_after(&[refused.clone()], &consigned), Legality::Applied);
        assert_eq!(legal_after(&[one], &refused), Legality::Contradiction);
    }

    /// What concerns another recipient or another message of the same id does not count.
    #[test]
    fn other_subjects_are_passed_over() {
        let w = world();
        let rejected = w.xc.states(Event::RelayRejection, &w.header, &w.xc);
        let consigned = w.usual(Event::ContentConsignment);
        assert_eq!(legal_after(&[rejected], &consigned), Legality::Applied);
        let second = w.xa.header(&[&w.xb]);
        assert_eq!(second.message_id, w.header.message_id);
        let conflict = w.xb.states(Event::RelayRejection, &second, &w.xb);
        assert_eq!(legal_after(&[conflict], &consigned), Legality::Applied);
    }

    /// "Nobody took it in time" is false when somebody had; taking it later is not.
    #[test]
    fn expiry_and_acceptance_go_by_their_times() {
        let w = world();
        let at = |event, seconds: u64| {
            let mut new = w.xb.new_statement(event, &w.header, &w.xb);
            new.event_time = Timestamp::from_millis(SENT_AT.as_millis() + seconds * 1000);
            new.build().unwrap()
        };
        let expiry = at(Event::AcceptanceRejectionExpiry, 60);
        for event in [Event::ConsignmentAcceptance, Event::ConsignmentRejection] {
            let (before, after) = (at(event, 30), at(event, 90));
            assert_eq!(legal_after(&[expiry.clone()], &after), Legality::Applied);
            assert_eq!(legal_after(&[after], &expiry), Legality::Applied);
            assert_eq!(legal_after(&[expiry.clone()], &before), Legality::Contradiction);
            assert_eq!(legal_after(&[before], &expiry), Legality::Contradiction);
        }
    }
}
