//! Who may say what about which message.
//!
//! Enter through [`judge`], for one sender and one recipient. A message may answer what was
//! exchanged between these two alone.

use relay_proto::{ids::UnitId, reason::Reason, timestamp::Timestamp, v1};

use super::{End, Known, Objection, Said, Says, Short, not_looser};

/// A message between two units.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// What it says.
    pub new: &'a Said,
    /// Its sender.
    pub from: &'a UnitId,
    /// The recipient for whom it is judged.
    pub to: &'a UnitId,
    /// When it was signed.
    pub sent_at: Timestamp,
    /// Where it is judged.
    pub end: End,
}

/// What is held of what was exchanged between the two; nothing that never arrived.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// The message that it answers.
    pub answered: Option<Known>,
    /// The message whose use it is about.
    pub object: Option<Known>,
    /// Its sender's alerts and updates of the alert that it is or changes.
    pub alerts: Vec<Known>,
    /// Of an offer that it answers or releases: the offer.
    pub offer: Option<Known>,
    /// Answers to that offer.
    pub answers: Vec<Known>,
}

/// Whose message another one is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Its own sender's.
    Own,
    /// Its recipient's.
    Theirs,
}

/// What a message has to answer: messages of these kinds, of that side. None: what it names is not
/// judged.
pub fn whose(new: &Said) -> Option<(&'static [v1::Kind], Whose)> {
    use v1::Kind as K;
    let alerts = &[K::Alert, K::AlertUpdate][..];
    Some(match (new.kind, &new.says) {
        (K::AlertUpdate | K::AlertCancel, _) => (alerts, Whose::Own),
        (K::AlertFeedback, _) => (alerts, Whose::Theirs),
        (K::ConditionReply, _) => (&[K::ConditionalOffer], Whose::Theirs),
        (K::EmergencyReply, _) => (&[K::EmergencyRequest], Whose::Theirs),
        (K::AssistanceReply, _) => (&[K::AssistanceRequest], Whose::Theirs),
        (_, Says::Release { granted: Some(_), .. }) => (&[K::HandlingRelease], Whose::Theirs),
        (_, Says::Check { answers: true, .. }) => (&[K::ContactCheck], Whose::Theirs),
        // These may also begin something.
        _ if new.in_reply_to.is_none() => return None,
        (K::ConditionalOffer, _) => (&[K::ConditionReply], Whose::Theirs),
        (K::HandlingReport, _) => (&[K::AlertCancel, K::HandlingRelease], Whose::Theirs),
        _ => return None,
    })
}

/// For which reasons a message may be refused by what is held of others.
pub fn refusals(new: &Said) -> &'static [Reason] {
    let stands_alone = whose(new).is_none()
        && new.in_reply_to.is_none()
        && new.origin.is_none()
        && new.object().is_none();
    match (stands_alone, &new.says) {
        (true, Says::Alert { .. }) => &[Reason::StaleRevision],
        (true, _) => &[],
        (false, _) => &REFUSALS,
    }
}

/// Whether a message may be sent, or taken.
pub fn judge(exchange: &Exchange<'_>, held: &Held) -> Result<(), Objection> {
    let new = exchange.new;
    if let Some((kinds, side)) = whose(new) {
        let answered = exchange.find(held.answered.as_ref(), side)?;
        if !kinds.contains(&answered.said.kind) || exchange.sender(side) != &answered.from {
            return Err(Objection::because(Reason::WrongReference));
        }
        not_looser(&new.marks, &answered.said.marks)?;
    }
    match &new.says {
        Says::Alert { .. } => exchange.alert(held)?,
        Says::Cancel { scope, .. } => has_parts(held.answered.as_ref(), scope)?,
        Says::Feedback { indicators } => has_parts(held.answered.as_ref(), indicators)?,
        Says::Answer { named, .. } => exchange.answer(held, named)?,
        Says::Release { .. } => exchange.release(held)?,
        Says::Report { .. } => {
            exchange.object(held, Whose::Theirs)?;
        }
        Says::Check { nonce, answers: true, .. } => {
            let asked = held.answered.as_ref().map(|known| &known.said.says);
            let fits = matches!(asked, Some(Says::Check { nonce: of, answers: false, .. })
                if of == nonce);
            if !fits {
                return Err(Objection::because(Reason::WrongReference));
            }
        }
        Says::Offer { .. } | Says::Request { .. } | Says::Check { .. } | Says::Other => {}
    }
    Ok(())
}

impl Exchange<'_> {
    fn sender(&self, side: Whose) -> &UnitId {
        match side {
            Whose::Own => self.from,
            Whose::Theirs => self.to,
        }
    }

    /// What it is about. What its recipient sent is there or never was; what its sender sent before
    /// may still be on its way.
    fn find<'h>(&self, known: Option<&'h Known>, side: Whose) -> Result<&'h Known, Objection> {
        known.ok_or(match (self.end, side) {
            (End::Taking, Whose::Own) => Objection::Awaited,
            _ => Objection::because(Reason::UnknownReference),
        })
    }

    /// The message whose use it is about.
    fn object<'h>(&self, held: &'h Held, side: Whose) -> Result<&'h Known, Objection> {
        let object = self.find(held.object.as_ref(), side)?;
        if object.from != *self.sender(side) {
            return Err(Objection::because(Reason::WrongReference));
        }
        not_looser(&self.new.marks, &object.said.marks)?;
        Ok(object)
    }

    fn alert(&self, held: &Held) -> Result<(), Objection> {
        let Says::Alert { id, revision, .. } = &self.new.says else { return Ok(()) };
        if self.new.kind == v1::Kind::AlertUpdate {
            let of = held.answered.as_ref().and_then(|known| known.said.alert_id());
            if of != Some(*id) {
                return Err(Objection::because(Reason::WrongReference));
            }
        } else {
            self.released(held)?;
        }
        // A later revision may overtake an earlier one; one revision has one content.
        let is_stale = |known: &Known| match (&known.said.says, self.end) {
            (Says::Alert { revision: held, .. }, End::Sending) => held >= revision,
            (Says::Alert { revision: held, .. }, End::Taking) => held == revision,
            _ => false,
        };
        if held.alerts.iter().any(is_stale) {
            return Err(Objection::because(Reason::StaleRevision));
        }
        Ok(())
    }

    /// An alert that answers an offer, or the answer to one, releases what was offered: only after
    /// all conditions were accepted, and under all of them.
    fn released(&self, held: &Held) -> Result<(), Objection> {
        if self.new.in_reply_to.is_none() {
            return Ok(());
        }
        // Who accepted holds the offer and its own answer.
        let unknown = Objection::because(Reason::UnknownReference);
        let answered = held.answered.as_ref().ok_or(unknown)?;
        let is_offer = answered.said.kind == v1::Kind::ConditionalOffer;
        let is_answer = answered.said.kind == v1::Kind::ConditionReply;
        let side = if is_offer { Whose::Own } else { Whose::Theirs };
        if !(is_offer || is_answer) || answered.from != *self.sender(side) {
            return Err(Objection::because(Reason::WrongReference));
        }
        let offer = held.offer.as_ref().ok_or(unknown)?;
        let Says::Offer { conditions, .. } = &offer.said.says else {
            return Err(Objection::because(Reason::WrongReference));
        };
        let accepts = |known: &Known| matches!(known.said.says, Says::Answer { accepts: true, .. });
        // An answer that crosses this message takes nothing back from its sender.
        let accepted = match self.end {
            End::Sending => {
                held.answers.iter().max_by_key(|known| known.sent_at).is_some_and(accepts)
            }
            End::Taking => held.answers.iter().any(accepts),
        };
        if !accepted {
            return Err(Objection::because(Reason::NotAccepted));
        }
        if conditions.iter().any(|(_, text)| !self.new.marks.conditions.contains(text)) {
            return Err(Objection::because(Reason::ConditionsMissing));
        }
        not_looser(&self.new.marks, &offer.said.marks)
    }

    fn answer(&self, held: &Held, named: &[Short]) -> Result<(), Objection> {
        let offer = held.answered.as_ref().map(|known| &known.said.says);
        let Some(Says::Offer { conditions, expires }) = offer else {
            return Err(Objection::because(Reason::WrongReference));
        };
        if self.sent_at > *expires {
            return Err(Objection::because(Reason::OfferExpired));
        }
        let is_one = |id: &Short| conditions.iter().any(|(of, _)| of == id);
        if !named.iter().all(is_one) {
            return Err(Objection::because(Reason::UnknownPart));
        }
        Ok(())
    }

    /// Asked of the originator about what it sent; decided by it, about what was asked.
    fn release(&self, held: &Held) -> Result<(), Objection> {
        let Says::Release { object, wanted, granted, .. } = &self.new.says else { return Ok(()) };
        if granted.is_none() {
            return self.object(held, Whose::Theirs).map(drop);
        }
        let asked = held.answered.as_ref().map(|known| &known.said.says);
        let fits = match asked {
            Some(Says::Release { object: of, wanted: use_of, granted: None, .. }) => {
                of == object && use_of == wanted
            }
            _ => false,
        };
        if !fits {
            return Err(Objection::because(Reason::WrongReference));
        }
        self.object(held, Whose::Own).map(drop)
    }
}

/// The indicators that a message names are those of the alert that it answers.
fn has_parts(answered: Option<&Known>, named: &[Short]) -> Result<(), Objection> {
    let of = answered.map(|known| &known.said.says);
    let Some(Says::Alert { indicators, .. }) = of else {
        return Err(Objection::because(Reason::WrongReference));
    };
    match named.iter().all(|id| indicators.contains(id)) {
        true => Ok(()),
        false => Err(Objection::because(Reason::UnknownPart)),
    }
}

const REFUSALS: [Reason; 10] = [
    Reason::UnknownReference,
    Reason::WrongReference,
    Reason::StaleRevision,
    Reason::UnknownPart,
    Reason::OfferExpired,
    Reason::NotAccepted,
    Reason::ConditionsMissing,
    Reason::MarkingLoosened,
    Reason::OriginMismatch,
    Reason::NotReleased,
];
