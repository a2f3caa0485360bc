//! What the cards of two units allow between them: conditional kinds, drills, classification, and
//! the grounds of refusal that rest on what a unit declared.
//!
//! Enter through [`by_cards`]: the sender's node asks for each recipient, by its own card and the
//! newest that it holds of the recipient; the receiver's node by its own and the newest that it
//! holds of the sender. Invariant: it is asked when a message is sent and when it arrives, and
//! never while a case is derived, for the two nodes may hold different cards and must derive the
//! same case.

use std::fmt;

use relay_proto::{
    card::{Card, treaty_name},
    ids::UnitId,
    payload::{Body, Payload, kind_name},
    reason::Reason,
    v1,
};

use crate::profile::{Condition, Profile};

/// The cards of a message's two ends.
#[derive(Debug, Clone, Copy)]
pub struct Ends<'a> {
    /// Of the unit that sends.
    pub sender: &'a Card,
    /// Of a unit that it is sent to.
    pub recipient: &'a Card,
}

/// Why a message does not suit the cards of its two ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// The label.
    pub reason: Reason,
    /// By whose card.
    pub unit: UnitId,
    /// The number of that card.
    pub card: u64,
    /// Where in the message, as files name it.
    pub path: &'static str,
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    NoParty(v1::Kind, v1::Treaty),
    NoExercises,
    Above { stated: v1::Classification, max: v1::Classification },
    NotReserved,
    IsParty(v1::Treaty),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, card) = (&self.unit, self.card);
        match &self.why {
            Why::NoParty(kind, treaty) => write!(
                f,
                "{} goes between parties to `{treaty}` alone, and card {card} of {unit} does not \
                 state it: ask for preservation and mutual assistance; if it is a party, it issues \
                 a card that says so",
                kind_name(*kind),
                treaty = treaty_name(*treaty),
            ),
            Why::NoExercises => write!(
                f,
                "a drill, and card {card} of {unit} takes none: agree on it with its desk, which \
                 issues a card that says so, or leave `exercise` out"
            ),
            Why::Above { stated, max } => write!(
                f,
                "{}, and by card {card} {unit} takes nothing above {}: leave out what is \
                 classified, or send it as your rules for it say",
                class(*stated),
                class(*max),
            ),
            Why::NotReserved => write!(
                f,
                "a ground of refusal does not hold: card {card} of {unit} declares no reservation \
                 under Article 29(4), so dual criminality is none"
            ),
            Why::IsParty(treaty) => write!(
                f,
                "a ground of refusal does not hold: by card {card} {unit} is party to `{}`",
                treaty_name(*treaty),
            ),
        }
    }
}

/// Whether the cards of both ends allow a message between them.
pub fn by_cards(profile: &Profile, message: &Payload, ends: Ends<'_>) -> Result<(), Unfit> {
    let kind = message.kind();
    if let Some(Condition::BothParties(treaty)) = profile.condition(kind) {
        for card in [ends.sender, ends.recipient] {
            if !card.is_party(treaty) {
                let why = Why::NoParty(kind, treaty);
                return Err(unfit(Reason::NotAParty, card, "env.kind", why));
            }
        }
    }
    let to = ends.recipient;
    if message.exercise && !to.takes_exercises() {
        return Err(unfit(Reason::ExerciseNotTaken, to, "env.exercise", Why::NoExercises));
    }
    let (stated, max) = (message.handling.classification, to.classification_max());
    if stated as i32 > max as i32 {
        let why = Why::Above { stated, max };
        return Err(unfit(Reason::ClassificationTooHigh, to, "handling.classification", why));
    }
    grounds(profile, message, ends)
}

/// The grounds of a refusal that cards can disprove.
fn grounds(profile: &Profile, message: &Payload, ends: Ends<'_>) -> Result<(), Unfit> {
    let Body::PreservationDecision(decision) = &message.body else { return Ok(()) };
    let states = |ground| decision.items.iter().any(|item| item.ground == Some(ground));
    let reserved = ends.sender.reservations().art29_4;
    if states(v1::RefusalGround::DualCriminalityReserved) && !reserved {
        let why = Why::NotReserved;
        return Err(unfit(Reason::UnfoundedRefusal, ends.sender, "*", why));
    }
    if states(v1::RefusalGround::NoTreatyRelation)
        && let Some(treaty) = profile.treaty.filter(|treaty| ends.recipient.is_party(*treaty))
    {
        let why = Why::IsParty(treaty);
        return Err(unfit(Reason::UnfoundedRefusal, ends.recipient, "*", why));
    }
    Ok(())
}

fn unfit(reason: Reason, card: &Card, path: &'static str, why: Why) -> Unfit {
    Unfit { reason, unit: card.unit().clone(), card: card.number(), path, why }
}

fn class(classification: v1::Classification) -> &'static str {
    let name = classification.as_str_name();
    name.strip_prefix("CLASSIFICATION_").unwrap_or(name)
}
