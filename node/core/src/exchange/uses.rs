//! What the markings of a message mean for whoever holds it.
//!
//! Enter through [`Uses::of`]. Only its originator lifts what a marking forbids.

use relay_proto::{ids::UnitId, v1};

use super::{Known, Says, needs_release};

/// What may be done with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uses {
    /// In judicial proceedings.
    pub evidence: bool,
    /// Passed on without a release.
    pub forward: bool,
    /// Copied where others than the persons named can read it.
    pub export: bool,
    /// Its indicators in whatever works by itself.
    pub automate: bool,
    /// Opened only after its conditions were confirmed.
    pub confirm_first: bool,
    /// To which units its originator released it.
    pub released_to: Vec<UnitId>,
}

impl Uses {
    /// By its markings and what is held of its originator's decisions about it.
    pub fn of(message: &Known, decisions: &[Known]) -> Self {
        let marks = &message.said.marks;
        let mut released_to = Vec::new();
        let mut evidence = !marks.has_h1();
        for decision in decisions.iter().filter(|one| one.from == message.from) {
            match &decision.said.says {
                Says::Release { object, wanted, recipients, granted: Some(true) }
                    if *object == message.id =>
                {
                    evidence |= *wanted == v1::WantedUse::JudicialProceedings;
                    if *wanted == v1::WantedUse::Dissemination {
                        released_to.extend(recipients.iter().cloned());
                    }
                }
                _ => {}
            }
        }
        released_to.sort_unstable();
        released_to.dedup();
        Self {
            evidence,
            forward: !needs_release(marks, message.said.onward()),
            export: !marks.is_red(),
            automate: !marks.is_passive(),
            confirm_first: marks.has_h3(),
            released_to,
        }
    }
}
