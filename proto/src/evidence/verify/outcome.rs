//! From what was found to one word, of the whole bundle and of each unit's part.

use std::collections::BTreeSet;

use crate::{
    evidence::verdict::{Effect, Outcome, Verdict},
    ids::UnitId,
};

/// Judges the whole, and for each unit what rests on it: a unit that spoils its own part must not
/// spoil what another one signed.
pub(super) fn judge(verdict: &mut Verdict) {
    verdict.outcome = outcome(verdict, None);
    let units = verdict.from.iter().chain(verdict.ladder.iter().map(|line| &line.issuer));
    let units: BTreeSet<UnitId> = units.cloned().collect();
    let part = |unit: UnitId| (unit.clone(), outcome(verdict, Some(&unit)));
    verdict.parts = units.into_iter().map(part).collect();
}

/// Of the whole, or of what one unit states. The sender's keys carry the header, so they are
/// wanted for each part.
fn outcome(verdict: &Verdict, part: Option<&UnitId>) -> Outcome {
    let counts = |unit: &UnitId| part.is_none_or(|part| part == unit);
    let problems = verdict.problems.iter();
    let problems = problems.filter(|problem| problem.unit.as_ref().is_none_or(counts));
    let sender = verdict.from.as_ref();
    let mut unanchored = verdict.unanchored.keys();
    match problems.map(|problem| problem.effect).max() {
        Some(Effect::Invalid) => Outcome::Invalid,
        Some(Effect::UnprovenTime) => Outcome::UnprovenTime,
        _ if verdict.anchored_by.is_empty() => Outcome::Consistent,
        _ if unanchored.any(|unit| counts(unit) || Some(unit) == sender) => Outcome::Consistent,
        _ => Outcome::Valid,
    }
}
