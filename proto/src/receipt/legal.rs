//! What a receipt changes, after the receipts that are already held for the same message and recipient.
//!
//! Receipts travel on several lanes and may arrive in another order than they were issued, so the rules do not
//! depend on the order of arrival, save for the sender's own failure. Invariant: a contradiction is kept as
//! evidence and changes nothing.

use crate::{
    receipt::{Event, Statement},
    v1,
};

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
pub fn legal_after(held: &[Statement], new: &Statement) -> Legality {
    let same_subject = |old: &&Statement| {
        old.header_digest == new.header_digest
            && (old.recipient == new.recipient
                || old.recipient.is_none()
                || new.recipient.is_none())
    };
    let related: Vec<&Statement> = held.iter().filter(same_subject).collect();
    if related.iter().any(|old| old.bytes() == new.bytes()) {
        return Legality::Repeats;
    }
    if related.iter().any(|old| contradict(old, new)) {
        return Legality::Contradiction;
    }
    let failed = related.iter().any(|old| old.event == Event::RelayFailure);
    if failed && new.event.is_positive() && !new.event.is_submission() {
        return Legality::LateAfterFailure;
    }
    Legality::Applied
}

/// Whether two different leaves about one message cannot both be true.
fn contradict(old: &Statement, new: &Statement) -> bool {
    let recovered = |one: &Statement| one.has(v1::StatementFlag::Recovered);
    if old.event == new.event {
        // An event happens once; it is stated again only when the log that held the first one was lost.
        return old.issuer == new.issuer && !recovered(old) && !recovered(new);
    }
    // The sender states a failure only while neither answer of the recipient is there; a later answer is late.
    if new.event == Event::RelayFailure {
        return old.event.implies_consignment() || refused_by_recipient(old);
    }
    excludes(old, new) || excludes(new, old)
}

/// Whether `one` being true rules out `other`, whichever came first.
fn excludes(one: &Statement, other: &Statement) -> bool {
    let same_issuer = one.issuer == other.issuer;
    match (one.event, other.event) {
        (Event::SubmissionAcceptance, Event::SubmissionRejection)
        | (Event::RelayAcceptance, Event::RelayRejection)
        | (Event::ContentHandover, Event::ContentHandoverFailure)
        | (Event::ConsignmentAcceptance, Event::ConsignmentRejection) => same_issuer,
        // What the recipient refused does not lie in its inbox. A hub's refusal leaves other ways open.
        (Event::RelayRejection, event) => refused_by_recipient(one) && event.implies_consignment(),
        // "Nobody took it in time" is false after somebody did; taking it after that is late, not false.
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
