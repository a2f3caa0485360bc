//! What a message has to say for a transition to be legal.

use std::collections::BTreeSet;

use relay_proto::timestamp::Timestamp;

use super::{
    Case, Rules, Transition, WARNINGS_MIN,
    item::{Item, ItemStatus},
    moves::{Closing, Found, ItemId, Message, Move, Request, RiskAnswer, Verdict},
};

impl Case {
    /// Whether a message says what a transition asks for.
    pub(super) fn fits(&self, transition: Transition, message: &Message, rules: &Rules) -> bool {
        use Transition as T;
        let sent_at = message.sent_at;
        match (&message.says, transition) {
            (Move::Ack { rerouted }, T::T5) => !rerouted,
            (Move::Ack { rerouted }, T::T27) => *rerouted,
            (Move::InfoReply(reply), T::T7) => self.revises(reply),
            (Move::Request(newer) | Move::InfoReply(newer), T::T29) => {
                self.revises(newer) && newer.priority > self.priority
            }
            (Move::RiskDecision(RiskAnswer::Proceed), T::T10) => true,
            (Move::RiskDecision(RiskAnswer::Change { revision, drop }), T::T11) => {
                let stays = |id: &ItemId, item: &Item| item.is_open() && !drop.contains(id);
                self.is_next(*revision)
                    && self.are_open(drop)
                    && self.items.iter().any(|(id, item)| stays(id, item))
            }
            (Move::RiskDecision(RiskAnswer::Abandon), T::T12) => true,
            (Move::Decision { revision, items, .. }, T::T13 | T::T14) => {
                *revision == self.revision
                    && self.unfounded(&message.says, rules).is_none()
                    && self.decides(items, transition == T::T14)
            }
            (Move::Carries { revision, .. }, T::Carried) => {
                self.undecided_revision == Some(*revision)
            }
            (Move::Confirmation(items), T::T15 | T::T16) => {
                self.confirms(items, transition == T::T15, sent_at, rules)
            }
            (Move::ExtensionRequest { until }, T::T18) => {
                self.last_end().is_some_and(|end| sent_at < end && *until > end)
            }
            (Move::ExtensionDecision { until, items }, T::T19) => {
                let end = self.last_end().unwrap_or(Timestamp::from_millis(0));
                let mut affected = self.extended(items).peekable();
                // A refusal changes nothing and clears the way: it is never too late.
                (until.is_none() || sent_at < end.after(rules.grace))
                    && items.iter().all(|id| self.items.get(id).is_some_and(Item::is_preserved))
                    && affected.peek().is_some()
                    && until.is_none_or(|until| {
                        affected.all(|(_, item)| item.runs_until() < Some(until))
                    })
            }
            (Move::MlaDecision, T::T22) => !self.mla_decided,
            (Move::Withdrawal(items), T::T24) => items.is_empty(),
            (Move::Withdrawal(items), T::T25) => !items.is_empty() && self.are_open(items),
            (Move::Closure(closing), _) => self.closes(*closing, transition, sent_at, rules),
            (Move::InfoRequired { due }, T::T6) => *due > sent_at,
            (
                Move::RiskNotice
                | Move::TrafficDisclosure
                | Move::DisclosureWithheld
                | Move::MlaNotice
                | Move::MlaReceived
                | Move::ExpiryWarning { .. }
                | Move::Incident,
                _,
            ) => true,
            _ => false,
        }
    }

    fn closes(
        &self,
        closing: Closing,
        transition: Transition,
        sent_at: Timestamp,
        rules: &Rules,
    ) -> bool {
        use Transition as T;
        match (closing, transition) {
            (Closing::Lapsed, T::T8) => self.answers_due.is_some_and(|due| sent_at > due),
            (Closing::NotCompetent, T::T28) => true,
            (Closing::Released, T::T22) => self.mla_decided,
            (Closing::Expired, T::T23) => {
                self.last_end().is_some_and(|end| sent_at >= end.after(rules.grace))
                    && self.ends().iter().all(|end| self.is_warned(end))
            }
            (Closing::Withdrawn, T::Confirmed) => true,
            _ => false,
        }
    }

    fn is_warned(&self, end: &Timestamp) -> bool {
        self.warned.get(end).is_some_and(|times| *times >= WARNINGS_MIN)
    }

    /// The next revision leaves something that can be preserved, and gives up nothing that is: that
    /// is a withdrawal's.
    fn revises(&self, newer: &Request) -> bool {
        let named = |id: &ItemId| newer.items.is_empty() || newer.items.contains(id);
        let is_new = |id: &ItemId| !self.items.contains_key(id);
        self.is_next(newer.revision)
            && are_distinct(newer.items.iter())
            && self.items.iter().all(|(id, item)| named(id) || !item.is_preserved())
            && (newer.items.iter().any(is_new)
                || self.items.iter().any(|(id, item)| named(id) && item.is_open()))
    }

    fn is_next(&self, revision: u32) -> bool {
        self.revision.checked_add(1) == Some(revision)
    }

    /// Items of this case, none twice, of each of which something can still become.
    fn are_open(&self, ids: &[ItemId]) -> bool {
        are_distinct(ids.iter())
            && ids.iter().all(|id| self.items.get(id).is_some_and(Item::is_open))
    }

    /// The last instant until which anything is preserved.
    fn last_end(&self) -> Option<Timestamp> {
        self.items.values().filter_map(Item::runs_until).max()
    }

    /// The items that a decision about an extension is about.
    pub(super) fn extended<'a>(
        &'a self,
        ids: &'a [ItemId],
    ) -> impl Iterator<Item = (&'a ItemId, &'a Item)> {
        let named = move |id: &ItemId| ids.is_empty() || ids.contains(id);
        self.items.iter().filter(move |(id, item)| item.is_preserved() && named(id))
    }

    /// A decision names items that wait for one. After a refusal nothing is open any more; else at
    /// least one is accepted.
    fn decides(&self, items: &[(ItemId, Verdict)], refuses: bool) -> bool {
        let is_pending =
            |id| self.items.get(id).is_some_and(|item| item.status == ItemStatus::Pending);
        let verdict =
            |id: &ItemId| items.iter().find(|(of, _)| of == id).map(|(_, verdict)| *verdict);
        let is_refused = |id: &ItemId| matches!(verdict(id), Some(Verdict::Refused(_)));
        let stays_open = |(id, item): (&ItemId, &Item)| item.is_open() && !is_refused(id);
        let accepts = items.iter().any(|(_, verdict)| *verdict == Verdict::Accepted);
        let any_open = self.items.iter().any(stays_open);
        are_distinct(items.iter().map(|(id, _)| id))
            && items.iter().all(|(id, _)| is_pending(id))
            && if refuses { !items.is_empty() && !any_open } else { accepts }
    }

    /// A confirmation speaks of items that wait for one. At least one is preserved then, for the
    /// least period or longer; or nothing is left that could be.
    fn confirms(
        &self,
        items: &[(ItemId, Found)],
        preserves: bool,
        sent_at: Timestamp,
        rules: &Rules,
    ) -> bool {
        let speaks = |(id, found): &(ItemId, Found)| {
            let Some(item) = self.items.get(id) else { return false };
            match found {
                Found::Withdrawn => item.status == ItemStatus::Withdrawn,
                Found::Preserved { from, until, .. } => {
                    item.status == ItemStatus::Pending
                        && *until >= from.after(rules.least_period)
                        && *until > sent_at
                }
                Found::NotFound | Found::NotHeldHere => item.status == ItemStatus::Pending,
            }
        };
        let found = |id: &ItemId| items.iter().find(|(of, _)| of == id).map(|(_, found)| *found);
        let is_preserved = |(id, item): (&ItemId, &Item)| {
            item.is_preserved() || matches!(found(id), Some(Found::Preserved { .. }))
        };
        let is_left = |(id, item): (&ItemId, &Item)| item.is_open() && found(id).is_none();
        let any_preserved = self.items.iter().any(is_preserved);
        !items.is_empty()
            && are_distinct(items.iter().map(|(id, _)| id))
            && items.iter().all(speaks)
            && if preserves {
                any_preserved
            } else {
                !any_preserved && !self.items.iter().any(is_left)
            }
    }
}

fn are_distinct<'a>(ids: impl Iterator<Item = &'a ItemId>) -> bool {
    let mut seen = BTreeSet::new();
    ids.into_iter().all(|id| seen.insert(id))
}
