//! Messages outside of cases: who may say what about which of them, what may be passed on, and what
//! is expected back.
//!
//! Enter through [`Said::of`] (what is kept of a message), [`judge`] (whether one may answer
//! another), [`pass_on`] (whether another unit's may be passed on), [`expected`] and [`fulfils`]
//! (replies). Both ends ask the same functions; what they hold is an argument. Invariant: a message
//! is refused only for what later arrivals cannot change; what may still be on its way is awaited.

mod due;
mod forward;
mod judge;
mod marks;
mod said;
#[cfg(test)]
mod tests;
mod uses;

use relay_proto::{
    ids::{Digest, MessageId, UnitId},
    reason::Reason,
    timestamp::Timestamp,
};

pub use due::{Replies, closes, expected, expects, fulfils};
pub use forward::{Passing, needs_release, pass_on};
pub use judge::{Exchange, Held, Whose, judge, refusals, whose};
pub use marks::{Marks, Scheme, Short};
pub use said::{OriginSaid, Said, Says};
pub use uses::Uses;

/// A message that is held, as far as others are judged by it.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Header digest.
    pub digest: Digest,
    /// Its id.
    pub id: MessageId,
    /// Who sent it.
    pub from: UnitId,
    /// When it was signed.
    pub sent_at: Timestamp,
    /// What it says.
    pub said: Said,
}

/// At which end a message is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its sender's: all that it names is held there.
    Sending,
    /// Its recipient's: what its sender sent before may still be on its way.
    Taking,
}

/// Why a message is not taken, or not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objection {
    /// For good.
    Refused {
        /// Why.
        reason: Reason,
        /// The scheme of the marking that it is about.
        scheme: Option<Scheme>,
    },
    /// Not now: what it is about is to come from its sender.
    Awaited,
}

impl Objection {
    fn because(reason: Reason) -> Self {
        Self::Refused { reason, scheme: None }
    }

    /// The label that leaves the machine.
    pub fn reason(self) -> Reason {
        match self {
            Self::Refused { reason, .. } => reason,
            Self::Awaited => Reason::ReferenceAwaited,
        }
    }
}

/// No marking is looser than these.
fn not_looser(new: &Marks, than: &Marks) -> Result<(), Objection> {
    match new.looser_than(than) {
        Some(scheme) => {
            let reason = Reason::MarkingLoosened;
            Err(Objection::Refused { reason, scheme: Some(scheme) })
        }
        None => Ok(()),
    }
}
