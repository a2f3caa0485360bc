//! What is due in the cases, told in time: at half of a term, at four fifths, at its end.
//!
//! Each telling is an event of the journal, once, whoever watches; a restart does not repeat it,
//! and what was missed while the node was down is told when it is up. Where our unit preserves
//! data, the node itself warns the other side that the time ends, and not less than twice: nothing
//! lapses before. Only a clock that is trusted tells that a term has run.
//!
//! When a case is to be looked at next is kept in memory alone, an instant a case: it follows from
//! the journal.

mod agenda;
mod term;
mod warning;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use relay_core::{
    case::Stage,
    policy::{is_past, may_expire},
};
use relay_proto::{
    ids::{CaseId, UnitId},
    reason::Reason,
    timestamp::Timestamp,
};
use tracing::{info, warn};

use self::{agenda::Agenda, term::terms_of};
use super::Context;
use crate::{
    store::{
        StoreError,
        event::Fact,
        records::{CaseRow, EntryRecord, EntryState, MessageRecord},
    },
    telemetry::Counter,
};

type Name = (CaseId, UnitId);

/// Looks after all terms until the node stops.
pub(super) async fn run(ctx: Arc<Context>) {
    let stop = ctx.parts.tasks.stop_token();
    let mut terms = Terms {
        ctx: Arc::clone(&ctx),
        agenda: Agenda::default(),
        seq: None,
        after: Some(Vec::new()),
        owed: BTreeSet::new(),
    };
    let mut durable = ctx.parts.store.durable();
    loop {
        durable.borrow_and_update();
        let wait = match terms.pass().await {
            Ok(true) => PAUSE,
            Ok(false) => LOOK_EVERY,
            Err(error) => {
                // A disk that is full gets room again; a store that stopped ends the process.
                warn!(%error, "terms cannot be told now, tried again in a minute");
                LOOK_AGAIN
            }
        };
        let moved = async {
            // A store that ends wakes nobody here any more: the stop does.
            if durable.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = moved, if wait == LOOK_EVERY => {}
            () = tokio::time::sleep(wait) => continue,
        }
        // Many commits, one look.
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

struct Terms {
    ctx: Arc<Context>,
    agenda: Agenda,
    /// The newest event that was looked at; none before the first look.
    seq: Option<u64>,
    /// Where the first reading of all cases goes on; none once it is done.
    after: Option<Vec<u8>>,
    /// Warnings that could not be sent yet, by case and end.
    owed: BTreeSet<(Name, Timestamp)>,
}

impl Terms {
    /// One look; true: there is more at once.
    async fn pass(&mut self) -> Result<bool, StoreError> {
        let more_cases = self.load()?;
        let more_events = self.follow()?;
        let more_due = self.tell().await?;
        Ok(more_cases || more_events || more_due)
    }

    /// All cases, a page at a time; what happens meanwhile is followed from before that.
    fn load(&mut self) -> Result<bool, StoreError> {
        let Some(after) = self.after.clone() else { return Ok(false) };
        if self.seq.is_none() {
            self.seq = Some(self.ctx.parts.store.log_head().seq);
        }
        let page = self.ctx.parts.store.cases(&after, PAGE)?;
        let next = page.last().filter(|_| page.len() == PAGE).map(|(_, next)| next.clone());
        for (name, _) in page {
            self.plan(name, true);
        }
        self.after = next;
        Ok(self.after.is_some())
    }

    /// Cases that got a message since the last look.
    fn follow(&mut self) -> Result<bool, StoreError> {
        let seq = self.seq.unwrap_or_default();
        let events = self.ctx.parts.store.events_after(seq, EVENTS)?;
        let mut touched = BTreeSet::new();
        for (_, event) in &events {
            touched.extend(self.touched(event.fact.as_ref())?);
        }
        for name in touched {
            self.plan(name, false);
        }
        self.seq = events.last().map(|(seq, _)| *seq).or(self.seq);
        Ok(events.len() == EVENTS)
    }

    /// The cases that an event makes another.
    fn touched(&self, fact: Option<&Fact>) -> Result<Vec<Name>, StoreError> {
        let to = |record: &MessageRecord| record.to.first().cloned();
        Ok(match fact {
            Some(Fact::Submitted(fact)) => {
                named(fact.case.as_ref(), fact.record.as_ref(), to).into_iter().collect()
            }
            Some(Fact::Arrived(fact)) => {
                let from = |record: &MessageRecord| Some(record.from.clone());
                named(fact.case.as_ref(), fact.record.as_ref(), from).into_iter().collect()
            }
            // What the other side never had is no part of its case any more.
            Some(Fact::EntryExpired(fact)) => self.of_lost(fact.entry.iter())?,
            Some(Fact::ReceiptsRecorded(fact)) => {
                let entries = fact.receipts.iter().filter_map(|receipt| receipt.entry.as_ref());
                self.of_lost(entries.filter(|entry| entry.state() == EntryState::Refused))?
            }
            _ => Vec::new(),
        })
    }

    fn of_lost<'a>(
        &self,
        entries: impl Iterator<Item = &'a EntryRecord>,
    ) -> Result<Vec<Name>, StoreError> {
        let mut names = Vec::new();
        for entry in entries {
            let record = self.ctx.parts.store.message(&entry.digest())?;
            let case = record.and_then(|record| CaseId::from_bytes(&record.case_id).ok());
            names.extend(case.zip(entry.recipient.parse().ok()));
        }
        Ok(names)
    }

    /// When a case is to be looked at next. One that cannot be read holds up no other.
    fn plan(&mut self, name: Name, is_first: bool) {
        let next = self.next(&name, is_first).unwrap_or_else(|error| {
            warn!(case = %name.0, peer = %name.1, %error, "terms of a case cannot be read");
            Some(self.ctx.now().after(LOOK_LATER))
        });
        self.agenda.put(name, next);
    }

    fn next(&self, name: &Name, is_first: bool) -> Result<Option<Timestamp>, StoreError> {
        let held = self.ctx.case(&name.0, &name.1)?;
        let mut next = None;
        for term in held.iter().flat_map(|held| terms_of(held, name)) {
            let term = term.known(&self.ctx)?;
            next = earliest(next, term.next());
            if is_first {
                self.ctx.notices.put(&self.ctx, term.record);
            }
        }
        Ok(next)
    }

    /// Tells what has come; true: there may be more.
    async fn tell(&mut self) -> Result<bool, StoreError> {
        for _ in 0..PAGE {
            let Some((at, name)) = self.agenda.first().cloned() else { return Ok(false) };
            let clock = self.ctx.time().view();
            if !may_expire(at, clock) {
                if is_past(at, clock) {
                    self.ctx.witnesses.ask();
                }
                return Ok(false);
            }
            if let Err(error) = self.one(&name, clock.now).await {
                if error.reason() == Reason::StoreStopped || matches!(error, StoreError::Full) {
                    return Err(error);
                }
                warn!(case = %name.0, peer = %name.1, %error, "terms of a case cannot be told");
            }
            self.plan(name.clone(), false);
            let owes = self.owed.iter().any(|(of, _)| *of == name);
            let at = after_a_look(self.agenda.of(&name), owes, clock.now);
            self.agenda.put(name, at);
        }
        Ok(true)
    }

    /// Tells what has come in one case.
    async fn one(&mut self, name: &Name, now: Timestamp) -> Result<(), StoreError> {
        let held = self.ctx.case(&name.0, &name.1)?;
        let mut told = Vec::new();
        let obligations = held.iter().flat_map(|held| &held.obligations);
        let ends: BTreeSet<_> = obligations.filter_map(|one| one.due).collect();
        // What is not due any more is owed no more.
        self.owed.retain(|(of, end)| of != name || ends.contains(end));
        for term in held.iter().flat_map(|held| terms_of(held, name)) {
            let mut term = term.known(&self.ctx)?;
            let owed = (name.clone(), term.record.due());
            // Our own desk hears of it whether the other side can be warned or not.
            if term.wants_warning(now) || term.warns() && self.owed.contains(&owed) {
                match self.warn(&term, name, now).await {
                    true => self.owed.remove(&owed),
                    false => self.owed.insert(owed),
                };
            }
            if let Some(stage) = term.advance(now) {
                if stage == Stage::Overdue {
                    self.ctx.parts.counters.add(Counter::TermOverdue);
                    let ours = term.record.ours;
                    info!(case = %name.0, peer = %name.1, ours, "term is over");
                }
                told.push(term.record);
            }
        }
        if !told.is_empty() {
            self.ctx.parts.store.tell_terms(told.clone(), now).await?;
            told.into_iter().for_each(|term| self.ctx.notices.put(&self.ctx, term));
        }
        Ok(())
    }
}

/// The case that a message is of, with whom.
fn named(
    row: Option<&CaseRow>,
    record: Option<&MessageRecord>,
    peer: impl Fn(&MessageRecord) -> Option<String>,
) -> Option<Name> {
    let (_, record) = (row?, record?);
    let case = CaseId::from_bytes(&record.case_id).ok()?;
    Some((case, peer(record)?.parse().ok()?))
}

/// When a case is looked at after it was looked at: what was done is behind, what could not be done
/// waits, and a warning that is owed is tried again soon.
fn after_a_look(next: Option<Timestamp>, owes: bool, now: Timestamp) -> Option<Timestamp> {
    let next = next.map(|at| if at <= now { now.after(LOOK_LATER) } else { at });
    let soon = owes.then(|| now.after(LOOK_AGAIN));
    earliest(next, soon)
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// A term has run some time before anybody needs to hear of it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_secs(60);
const LOOK_LATER: Duration = Duration::from_secs(3600);
/// Between two looks while much happens.
const PAUSE: Duration = Duration::from_millis(100);
const PAGE: usize = 64;
const EVENTS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing is looked at twice at one instant; a warning that is owed does not wait for the next
    /// point, which may be weeks away.
    #[test]
    fn a_look_is_never_behind() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let (soon, later) = (now.after(LOOK_AGAIN), now.after(LOOK_LATER));
        let weeks = now.after(LOOK_LATER * 500);
        for (next, owes, at) in [
            (None, false, None),
            (None, true, Some(soon)),
            (Some(now), false, Some(later)),
            (Some(now), true, Some(soon)),
            (Some(weeks), false, Some(weeks)),
            (Some(weeks), true, Some(soon)),
            (Some(now.after(PAUSE)), true, Some(now.after(PAUSE))),
        ] {
            assert_eq!(after_a_look(next, owes, now), at, "{next:?}, {owes}");
        }
    }
}
