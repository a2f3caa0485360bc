//! A term of a case: what was told of it, what comes next, and whether our node has to warn.

use std::time::Duration;

use relay_core::case::{Duty, MoveKind, Obligation, Side, Stage, Step, WARNINGS_MIN};
use relay_proto::timestamp::Timestamp;

use super::{Name, earliest};
use crate::{
    relay::{Context, cases::Held},
    store::{
        StoreError,
        records::{MessageRecord, TermRecord},
    },
};

/// Something due, with what was told of it.
pub(super) struct Term<'a> {
    pub(super) record: TermRecord,
    held: &'a Held,
    points: Vec<(Stage, Timestamp)>,
}

/// What of a case has a term.
pub(super) fn terms_of<'a>(held: &'a Held, name: &'a Name) -> impl Iterator<Item = Term<'a>> {
    held.obligations.iter().filter_map(move |one: &Obligation| {
        let ours = held.side == Some(one.side);
        let record = TermRecord::of(name.0.as_bytes(), name.1.as_str(), one, ours)?;
        Some(Term { record, held, points: one.warnings(&held.targets) })
    })
}

impl Term<'_> {
    /// With what was told of it before.
    pub(super) fn known(mut self, ctx: &Context) -> Result<Self, StoreError> {
        self.record = ctx.parts.store.term(self.record)?;
        Ok(self)
    }

    /// Notes what has come by now; none: nothing new.
    pub(super) fn advance(&mut self, now: Timestamp) -> Option<Stage> {
        let (stage, at) = *self.points.iter().rfind(|(_, at)| *at <= now)?;
        if at <= self.record.told() {
            return None;
        }
        self.record.tell(at, stage);
        if let Some(first) = self.held.rows.iter().find(|row| row.is_first()) {
            self.record.digest = first.digest.clone();
        }
        Some(stage)
    }

    /// When it has to be looked at next.
    pub(super) fn next(&self) -> Option<Timestamp> {
        earliest(self.next_point(), self.next_warning())
    }

    /// The first point that was not told.
    fn next_point(&self) -> Option<Timestamp> {
        let told = self.record.told();
        self.points.iter().map(|(_, at)| *at).find(|at| *at > told)
    }

    /// What a warning now is about: the last point that came, or the last whole day after the end.
    /// A warning is sent once for each.
    pub(super) fn occasion(&self, now: Timestamp) -> Timestamp {
        let end = self.record.due();
        if now >= end {
            let days = u32::try_from(now.since(end).as_secs() / DAY).unwrap_or(u32::MAX);
            return end.after(APART.saturating_mul(days));
        }
        let come = self.points.iter().rfind(|(_, at)| *at <= now);
        come.map_or(Timestamp::default(), |(_, at)| *at)
    }

    /// Whether our node has to warn now.
    pub(super) fn wants_warning(&self, now: Timestamp) -> bool {
        self.next_warning().is_some_and(|at| at <= now)
    }

    /// Whether our node warns of this end at all.
    pub(super) fn warns(&self) -> bool {
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
        let end = self.record.due();
        let next = self.next_point().filter(|at| *at < end);
        let warned = case.warned.get(&end).copied().unwrap_or_default();
        if next.is_some() || warned >= WARNINGS_MIN {
            return next;
        }
        let is_warning = |step: &&Step| step.kind == MoveKind::ExpiryWarning;
        let last = case.steps.iter().rfind(is_warning).map(|step| step.at.after(APART));
        Some(last.filter(|_| warned > 0).map_or(end, |at| at.max(end)))
    }

    /// The record of its request.
    pub(super) fn request(&self, ctx: &Context) -> Option<MessageRecord> {
        let first = self.held.rows.iter().find(|row| row.is_first())?;
        ctx.parts.store.message(&first.digest()).ok().flatten()
    }
}

/// Warnings after the end, one from the other.
const APART: Duration = Duration::from_secs(DAY);
pub(super) const DAY: u64 = 24 * 3600;
