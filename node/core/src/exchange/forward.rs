//! Whether what another unit sent may be passed on.
//!
//! Enter through [`pass_on`], for one sender and one recipient. What forbids it: H2, a
//! dissemination that is not to go on, TLP AMBER+STRICT and RED. Only the originator's
//! HandlingRelease lifts that, and no marking is loosened by it.

use relay_proto::{ids::UnitId, reason::Reason, v1};

use super::{End, Known, Marks, Objection, OriginSaid, Said, Says, not_looser};

/// A message that may pass on what another unit sent.
#[derive(Debug, Clone, Copy)]
pub struct Passing<'a> {
    /// What it says.
    pub new: &'a Said,
    /// Its sender.
    pub from: &'a UnitId,
    /// The recipient for whom it is judged.
    pub to: &'a UnitId,
    /// Where it is judged.
    pub end: End,
    /// The message that it names as its origin, if that is held.
    pub original: Option<&'a Known>,
    /// At the sender's end: what other units sent of the same alert or with the same files, and was
    /// not first sent by this one.
    pub alike: &'a [Known],
    /// At the sender's end: the release that it names.
    pub release: Option<&'a Known>,
}

/// Whether markings keep a message with those who have it.
pub fn needs_release(marks: &Marks, onward: Option<bool>) -> bool {
    marks.has_h2() || marks.is_strict() || onward == Some(false)
}

/// Whether a message may be sent, or taken, as far as it passes on another one.
pub fn pass_on(passing: &Passing<'_>) -> Result<(), Objection> {
    // Back to whom it came from is not on.
    let alike = || passing.alike.iter().filter(|known| known.from != *passing.to);
    let Some(stated) = &passing.new.origin else {
        return match alike().next() {
            Some(_) => Err(Objection::because(Reason::OriginMissing)),
            None => Ok(()),
        };
    };
    if stated.unit == *passing.from {
        // What is one's own is passed on from nobody.
        return Err(Objection::because(Reason::OriginMismatch));
    }
    passing.compare(stated)?;
    not_looser(&passing.new.marks, &stated.marks)?;
    passing.allowed(stated)?;
    for other in alike().filter(|known| known.digest != stated.digest) {
        not_looser(&passing.new.marks, &other.said.marks)?;
        let same = passing.original.is_some_and(|original| is_of_one(original, other));
        if !same && needs_release(&other.said.marks, other.said.onward()) {
            return Err(Objection::because(Reason::NotReleased));
        }
    }
    Ok(())
}

impl Passing<'_> {
    /// What is stated, with what is held.
    fn compare(&self, stated: &OriginSaid) -> Result<(), Objection> {
        let Some(original) = self.original else {
            return match self.end {
                End::Sending => Err(Objection::because(Reason::UnknownReference)),
                // It would be here: it was sent by this very unit.
                End::Taking if stated.unit == *self.to => {
                    Err(Objection::because(Reason::OriginMismatch))
                }
                End::Taking => Ok(()),
            };
        };
        let is_other = original.digest != stated.digest && stated.unit != *self.to;
        if self.end == End::Taking && is_other {
            // Its originator signed two under one id: whoever passes the other on says the truth.
            return Ok(());
        }
        let said = &original.said;
        let is_so = original.digest == stated.digest && original.from == stated.unit;
        if !is_so
            || stated.marks.looser_than(&said.marks).is_some()
            || stated.onward != said.onward()
        {
            return Err(Objection::because(Reason::OriginMismatch));
        }
        Ok(())
    }

    fn allowed(&self, stated: &OriginSaid) -> Result<(), Objection> {
        if *self.to == stated.unit || !needs_release(&stated.marks, stated.onward) {
            return Ok(());
        }
        let refused = Err(Objection::because(Reason::NotReleased));
        if stated.release.is_none() {
            return refused;
        }
        if self.end == End::Taking {
            // The release went from the originator to the sender alone.
            return Ok(());
        }
        // Whoever passed it on first cannot release it.
        let is_first = self.original.is_some_and(|original| original.said.origin.is_none());
        let releases = self.release.is_some_and(|release| {
            let Says::Release { object, wanted, recipients, granted } = &release.said.says else {
                return false;
            };
            release.from == stated.unit
                && *object == stated.id
                && *wanted == v1::WantedUse::Dissemination
                && *granted == Some(true)
                && recipients.contains(self.to)
        });
        if is_first && releases { Ok(()) } else { refused }
    }
}

/// Whether two messages are revisions of one alert.
fn is_of_one(one: &Known, other: &Known) -> bool {
    let id = one.said.alert_id();
    id.is_some() && id == other.said.alert_id() && one.from == other.from
}
