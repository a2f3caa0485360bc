//! Whether a message may join a case: the one question of the node that sends it and of the node
//! that takes it.
//!
//! Enter through [`admit`]. A message is judged where its sender stood: after those messages that
//! it names and those before them. Whoever holds not all of these cannot judge, and takes it.

use std::collections::BTreeMap;

use relay_proto::{ids::Digest, reason::Reason};

use super::{
    Case, Delivery, Rules, State,
    moves::{Message, Move, MoveKind, Side, Verdict},
    order,
    refusal::{Known, Unfounded},
    step::{self, Transition},
};

/// What may become of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It makes this transition where its sender stood.
    Made(Transition),
    /// Not all that is before it is here.
    Waits,
    /// It is legal nowhere.
    Refused(Box<Refusal>),
}

/// Why a message may not join its case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `ILLEGAL_TRANSITION`, `UNFOUNDED_REFUSAL`, `UNKNOWN_CASE` or `CASE_FULL`.
    pub reason: Reason,
    /// Where the case stands; none: there is no case.
    pub state: Option<State>,
    /// Whose turn it is.
    pub turn: Option<Side>,
    /// What the sender could say instead.
    pub legal: Vec<MoveKind>,
    /// Why a ground of refusal does not hold.
    pub unfounded: Option<Unfounded>,
}

/// Judges a message against those that are held of its case; `delivery` is that of its request.
pub fn admit(held: Vec<Message>, new: &Message, delivery: Delivery, rules: &Rules) -> Admission {
    let held: BTreeMap<Digest, Message> =
        held.into_iter().map(|message| (message.digest, message)).collect();
    let (order, waiting) = order::order(&held);
    let of_sender = |digest: &Digest| held.get(digest).is_some_and(|one| one.from == new.from);
    let sent = held.keys().filter(|digest| of_sender(digest)).count();
    let waits = waiting.iter().filter(|digest| of_sender(digest)).count();
    let room = match new.says {
        Move::Withdrawal(_) | Move::Closure(_) | Move::MlaReceived | Move::MlaDecision => ENDINGS,
        _ => 0,
    };
    // Each side has its own room: neither can fill the other's.
    if sent >= MESSAGES_MAX + room || waits >= WAITING_MAX {
        return refused(Reason::CaseFull, None, new.from);
    }
    let replay = |order: &[&Message]| {
        let mut case = step::replay(order, rules, &mut |_| true)?;
        case.settle(delivery);
        Some(case)
    };
    let case = replay(&order);
    if new.says.kind().by() != new.from {
        return refused(Reason::IllegalTransition, case.as_ref(), new.from);
    }
    if is_first(new) {
        // A case has one request; what follows is a new revision of it.
        return match case {
            None => Admission::Made(Transition::T1),
            Some(case) => refused(Reason::IllegalTransition, Some(&case), new.from),
        };
    }
    let names = match new.from {
        Side::Requesting => new.follows,
        Side::Requested => new.based_on,
    };
    // The requested side answers what it has; so does the requesting one hold its own request.
    let begun = case.is_some() || new.from == Side::Requesting;
    if names.is_none() || !begun {
        return refused(Reason::UnknownCase, case.as_ref(), new.from);
    }
    // A side says one thing after the other: who says two things after one message, or speaks in
    // the other's name, could choose afterwards which of them it had said.
    let is_taken = |one: &Message| one.from == new.from && one.follows == new.follows;
    let forks = held.values().any(|one| is_taken(one) && !is_first(one));
    if forks || !order::names_rightly(&held, new) {
        return refused(Reason::IllegalTransition, case.as_ref(), new.from);
    }
    if new.before().any(|digest| !order.iter().any(|message| message.digest == digest)) {
        return Admission::Waits;
    }
    let seen = order::seen_by(&order, new);
    let Some(stood) = replay(&seen) else {
        return refused(Reason::UnknownCase, case.as_ref(), new.from);
    };
    if let Some(unfounded) = stood.unfounded(&new.says, rules) {
        let refusal = Refusal {
            reason: Reason::UnfoundedRefusal,
            unfounded: Some(unfounded),
            ..Refusal::of(Reason::UnfoundedRefusal, Some(&stood), new.from)
        };
        return Admission::Refused(Box::new(refusal));
    }
    match stood.transition(new, rules) {
        Some(transition) => Admission::Made(transition),
        None => refused(Reason::IllegalTransition, Some(&stood), new.from),
    }
}

/// Whether it is the request that a case begins with.
pub fn is_first(message: &Message) -> bool {
    matches!(&message.says, Move::Request(request) if request.revision == 1)
        && message.before().next().is_none()
}

fn refused(reason: Reason, case: Option<&Case>, side: Side) -> Admission {
    Admission::Refused(Box::new(Refusal::of(reason, case, side)))
}

impl Refusal {
    fn of(reason: Reason, case: Option<&Case>, side: Side) -> Self {
        Self {
            reason,
            state: case.map(|case| case.state),
            turn: case.and_then(Case::turn),
            legal: case.map(|case| case.legal(side)).unwrap_or_default(),
            unfounded: None,
        }
    }
}

impl Case {
    /// Why a ground that a decision states does not hold. That its reasons are stated is a rule of
    /// its content; what the units' cards declare is no matter of the case.
    pub(super) fn unfounded(&self, says: &Move, rules: &Rules) -> Option<Unfounded> {
        let Move::Decision { items, signers, .. } = says else { return None };
        let known = Known {
            offered: rules.grounds,
            covered: self.is_covered(),
            reasons: true,
            signers: *signers,
        };
        items.iter().find_map(|(_, verdict)| match verdict {
            Verdict::Refused(ground) => ground.check(&known).err(),
            Verdict::Accepted => None,
        })
    }
}

/// Messages of one side in a case: deriving it costs by their number, and a peer may send what it
/// likes.
pub const MESSAGES_MAX: usize = 256;

/// So many more that end it always fit.
const ENDINGS: usize = 16;

/// Messages of one side whose place is not known yet.
const WAITING_MAX: usize = 32;
