//! What is due in the cases, told in time: at half of a term, at four fifths, at its end.
//!
//! Each telling is an event of the journal, once, whoever watches; a restart does not repeat it,
//! and what was missed while the node was down is told when it is up. Where our unit preserves
//! data, the node itself warns the other side that the time ends, and not less than twice: nothing
//! lapses before. Only a clock that is trusted tells that a term has run.
//!
//! When a case is to be looked at next is kept in memory alone, an instant a case: it follows from
//! the journal.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use relay_core::{
    case::{Duty, MoveKind, Obligation, Side, Stage, WARNINGS_MIN},
    policy::{is_past, may_expire},
};
use relay_proto::{
    envelope::Priority,
    ids::{CaseId, Digest, UnitId, Uuid},
    limits::LIFETIME_MAX,
    reason::Reason,
    timestamp::Timestamp,
    v1,
};
use tracing::{info, warn};

use super::{
    Context, Relay,
    cases::Held,
    submit::{BY_ITSELF, Submission, SubmitError},
};
use crate::{
    store::{
        StoreError,
        event::Fact,
        records::{CaseRow, EntryRecord, EntryState, MessageRecord, TermRecord},
    },
    telemetry::Counter,
};

type Name = (CaseId, UnitId);

/// Which case is to be looked at when.
#[derive(Default)]
struct Agenda {
    at: BTreeMap<Name, Timestamp>,
    order: BTreeSet<(Timestamp, Name)>,
}

impl Agenda {
    fn put(&mut self, name: Name, at: Option<Timestamp>) {
        if let Some(before) = self.at.remove(&name) {
            self.order.remove(&(before, name.clone()));
        }
        if let Some(at) = at {
            self.order.insert((at, name.clone()));
            self.at.insert(name, at);
        }
    }

    fn first(&self) -> Option<&(Timestamp, Name)> {
        self.order.first()
    }
}

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
            // What was done is behind; what could not be done waits.
            if self.agenda.at.get(&name).is_some_and(|at| *at <= clock.now) {
                let owes = self.owed.iter().any(|(of, _)| *of == name);
                let wait = if owes { LOOK_AGAIN } else { LOOK_LATER };
                self.agenda.put(name, Some(clock.now.after(wait)));
            }
        }
        Ok(true)
    }

    /// Tells what has come in one case.
    async fn one(&mut self, name: &Name, now: Timestamp) -> Result<(), StoreError> {
        let held = self.ctx.case(&name.0, &name.1)?;
        let mut told = Vec::new();
        let before = std::mem::take(&mut self.owed);
        let (ours, others) = before.into_iter().partition(|(of, _)| of == name);
        let (ours, others): (BTreeSet<_>, BTreeSet<_>) = (ours, others);
        self.owed = others;
        for term in held.iter().flat_map(|held| terms_of(held, name)) {
            let mut term = term.known(&self.ctx)?;
            let owed = (name.clone(), term.record.due());
            let wants = term.wants_warning(now) || term.warns() && ours.contains(&owed);
            // Our own desk hears of it whether the other side can be warned or not.
            if wants && !self.warn(&term, name, now).await {
                self.owed.insert(owed);
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

    /// Warns the other side that the time ends; false: not now.
    async fn warn(&self, term: &Term<'_>, name: &Name, now: Timestamp) -> bool {
        let Some(record) = term.request(&self.ctx) else { return false };
        let relay = Relay { ctx: Arc::clone(&self.ctx) };
        let end = term.record.due();
        // One warning a point before the end, and one a day after it: if the node dies now, or the
        // case is looked at again, the same is not sent twice.
        let point = match now < end {
            true => term.points.iter().take_while(|(_, at)| *at <= now).count() as u64,
            false => AFTER_THE_END + now.since(end).as_secs() / DAY,
        };
        let peer = name.1.as_str().as_bytes();
        let (due, point) = (end.as_millis().to_be_bytes(), point.to_be_bytes());
        let digest = Digest::of_parts(&[name.0.as_bytes(), peer, &due, &point]);
        let mut id = [0; 16];
        id.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
        let submission = Submission {
            principal: BY_ITSELF.to_owned(),
            request_id: Uuid::random(id),
            draft: warning(&record, name, end, now),
            validate_only: false,
            etag: String::new(),
        };
        match relay.submit(vec![submission]).await.pop() {
            // It was sent, with the days that were left then.
            Some(Ok(_) | Err(SubmitError::RequestConflict)) => true,
            Some(Err(error)) => {
                warn!(case = %name.0, peer = %name.1, %error, "end of preservation not warned of");
                false
            }
            None => false,
        }
    }
}

/// Something due, with what was told of it.
struct Term<'a> {
    record: TermRecord,
    held: &'a Held,
    points: Vec<(Stage, Timestamp)>,
}

/// What of a case has a term.
fn terms_of<'a>(held: &'a Held, name: &'a Name) -> impl Iterator<Item = Term<'a>> {
    held.obligations.iter().filter_map(move |one: &Obligation| {
        let ours = held.side == Some(one.side);
        let record = TermRecord::of(name.0.as_bytes(), name.1.as_str(), one, ours)?;
        Some(Term { record, held, points: one.warnings(&held.targets) })
    })
}

impl Term<'_> {
    /// With what was told of it before.
    fn known(mut self, ctx: &Context) -> Result<Self, StoreError> {
        self.record = ctx.parts.store.term(self.record)?;
        Ok(self)
    }

    /// Notes what has come by now; none: nothing new.
    fn advance(&mut self, now: Timestamp) -> Option<Stage> {
        let come = self.points.iter().take_while(|(_, at)| *at <= now).count();
        let told = usize::try_from(self.record.told).unwrap_or(usize::MAX);
        let (stage, _) = come.checked_sub(1).and_then(|last| self.points.get(last))?;
        (come > told).then(|| {
            self.record.tell(come, *stage);
            if let Some(first) = self.held.rows.iter().find(|row| row.is_first()) {
                self.record.digest = first.digest.clone();
            }
            *stage
        })
    }

    /// When it has to be looked at next.
    fn next(&self) -> Option<Timestamp> {
        let told = usize::try_from(self.record.told).unwrap_or(usize::MAX);
        let point = self.points.get(told).map(|(_, at)| *at);
        earliest(point, self.next_warning())
    }

    /// Whether our node has to warn now.
    fn wants_warning(&self, now: Timestamp) -> bool {
        self.next_warning().is_some_and(|at| at <= now)
    }

    /// Whether our node warns of this end at all.
    fn warns(&self) -> bool {
        let is_ours = self.held.side == Some(Side::Requested);
        is_ours && self.record.duty() == Some(Duty::UseOrLose)
    }

    /// When our node warns next that the time ends: at each point of the profile, of several that
    /// were missed once; and after the end, a day apart, until it did so often enough.
    fn next_warning(&self) -> Option<Timestamp> {
        let case = self.held.case.as_ref()?;
        if !self.warns() {
            return None;
        }
        let told = usize::try_from(self.record.told).unwrap_or(usize::MAX);
        let end = self.record.due();
        let next = self.points.get(told).map(|(_, at)| *at).filter(|at| *at < end);
        let warned = case.warned.get(&end).copied().unwrap_or_default();
        if next.is_some() || warned >= WARNINGS_MIN {
            return next;
        }
        let is_warning = |step: &&relay_core::case::Step| step.kind == MoveKind::ExpiryWarning;
        let last = case.steps.iter().rfind(is_warning).map(|step| step.at.after(APART));
        Some(last.filter(|_| warned > 0).map_or(end, |at| at.max(end)))
    }

    /// The record of its request.
    fn request(&self, ctx: &Context) -> Option<MessageRecord> {
        let first = self.held.rows.iter().find(|row| row.is_first())?;
        ctx.parts.store.message(&first.digest()).ok().flatten()
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

/// What our node says by itself.
fn warning(record: &MessageRecord, name: &Name, end: Timestamp, now: Timestamp) -> v1::Draft {
    let id = record.message_id();
    let reference = id.map(|id| id.short().to_string()).unwrap_or_default();
    let days_left = end.since(now).as_secs() / DAY;
    let body = v1::ExpiryWarning {
        q_reference: String::new(),
        preserved_until_ms: end.as_millis(),
        days_left: u32::try_from(days_left).unwrap_or(u32::MAX),
        // Else nothing would end.
        mla_seen: v1::Answer::No.into(),
    };
    v1::Draft {
        profile: record.profile.clone(),
        to: vec![name.1.to_string()],
        priority: Priority::Routine.to_wire().into(),
        // A side that cannot be reached for weeks is to have it all the same.
        expire_time: instant(now.after(LIFETIME_MAX)),
        payload: Some(v1::Payload {
            case_id: name.0.as_bytes().to_vec().into(),
            in_reply_to: id.map(|id| id.as_bytes().to_vec().into()).unwrap_or_default(),
            sender_ref: reference,
            body: Some(v1::payload::Body::ExpiryWarning(body)),
            ..v1::Payload::default()
        }),
    }
}

fn instant(at: Timestamp) -> Option<prost_types::Timestamp> {
    let seconds = i64::try_from(at.as_millis() / 1000).ok()?;
    Some(prost_types::Timestamp { seconds, nanos: 0 })
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
/// A profile has fewer warnings before it.
const AFTER_THE_END: u64 = 1 << 32;
/// Between two looks while much happens.
const PAUSE: Duration = Duration::from_millis(100);
/// Warnings after the end, one from the other.
const APART: Duration = Duration::from_secs(DAY);
const DAY: u64 = 24 * 3600;
const PAGE: usize = 64;
const EVENTS: usize = 1024;
