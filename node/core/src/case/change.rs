//! What a legal message changes in its case.

use std::collections::BTreeMap;

use relay_proto::timestamp::Timestamp;

use super::{
    Case, State, Transition,
    item::{Item, ItemStatus},
    moves::{Closing, Found, ItemId, Message, Move, Request, RiskAnswer, Side, Verdict},
};

impl Case {
    /// Makes a transition that a message was found to make.
    pub(super) fn make(&mut self, transition: Transition, message: &Message) {
        if message.from == Side::Requested {
            self.state = self.at();
        }
        match &message.says {
            Move::Request(newer) | Move::InfoReply(newer) => self.revise(newer, transition),
            Move::Ack { rerouted: false } => self.state = State::Acknowledged,
            Move::InfoRequired { due } => {
                self.state = State::InfoRequired;
                self.answers_due = Some(*due);
            }
            Move::RiskNotice => self.state = State::RiskNotified,
            Move::RiskDecision(answer) => self.answer_risk(answer),
            Move::Decision { items, .. } => self.decide(items, transition),
            Move::Carries { carried, .. } => {
                self.undecided_revision = None;
                self.redeciding = !carried;
            }
            Move::Confirmation(items) => self.confirm(items, transition),
            Move::ExtensionRequest { .. } => self.extension_pending = true,
            Move::ExtensionDecision { until, items } => self.extend(*until, items),
            Move::MlaNotice => self.mla_announced = true,
            Move::MlaReceived => {
                self.state = State::MlaPending;
                // Nothing ends any more that could be extended.
                self.extension_pending = false;
            }
            Move::MlaDecision => self.mla_decided = true,
            Move::Withdrawal(items) => self.withdraw(items),
            Move::ExpiryWarning { until } => {
                let is_held = |item: &Item| item.preserved.is_some_and(|(_, end)| end == *until);
                match self.items.values().any(is_held) {
                    true => *self.warned.entry(*until).or_default() += 1,
                    false => self.sync_conflict = true,
                }
            }
            Move::Closure(closing) => self.close(*closing),
            Move::Ack { rerouted: true }
            | Move::TrafficDisclosure
            | Move::DisclosureWithheld
            | Move::Incident => {}
        }
    }

    fn revise(&mut self, newer: &Request, transition: Transition) {
        self.revision = newer.revision;
        self.priority = self.priority.max(newer.priority);
        if !newer.articles.is_empty() {
            self.articles.clone_from(&newer.articles);
        }
        if !newer.items.is_empty() {
            for (id, item) in &mut self.items {
                if item.status == ItemStatus::Pending && !newer.items.contains(id) {
                    item.status = ItemStatus::Withdrawn;
                }
            }
            for id in &newer.items {
                self.items.entry(id.clone()).or_insert(Item::NEW);
            }
        }
        match transition {
            Transition::T7 => {
                self.state = State::Acknowledged;
                self.answers_due = None;
            }
            // What was decided was decided about the revision before.
            _ if matches!(self.state, State::Accepted | State::Preserved | State::MlaPending) => {
                self.undecided_revision = Some(newer.revision);
            }
            _ => {}
        }
    }

    fn answer_risk(&mut self, answer: &RiskAnswer) {
        match answer {
            RiskAnswer::Proceed => self.state = State::Accepted,
            RiskAnswer::Change { revision, drop } => {
                self.revision = *revision;
                self.each(drop, |item| item.status = ItemStatus::Withdrawn);
                self.state = State::Acknowledged;
            }
            RiskAnswer::Abandon => self.withdraw(&[]),
        }
    }

    fn decide(&mut self, items: &[(ItemId, Verdict)], transition: Transition) {
        for (id, verdict) in items {
            if let (Some(item), Verdict::Refused(_)) = (self.items.get_mut(id), verdict) {
                item.status = ItemStatus::Refused;
            }
        }
        self.redeciding = false;
        // It is about the newest revision.
        self.undecided_revision = None;
        self.state = match transition {
            Transition::T14 => State::Refused,
            _ => State::Accepted,
        };
    }

    fn confirm(&mut self, items: &[(ItemId, Found)], transition: Transition) {
        for (id, found) in items {
            let Some(item) = self.items.get_mut(id) else { continue };
            match found {
                Found::Preserved { from, until, whole } => {
                    item.preserved = Some((*from, *until));
                    item.status = if *whole { ItemStatus::Preserved } else { ItemStatus::Partial };
                }
                Found::NotFound => item.status = ItemStatus::NotFound,
                Found::NotHeldHere => item.status = ItemStatus::NotHeldHere,
                Found::Withdrawn => {}
            }
        }
        self.state = match transition {
            Transition::T16 => State::NoData,
            _ => State::Preserved,
        };
    }

    fn extend(&mut self, until: Option<Timestamp>, ids: &[ItemId]) {
        self.extension_pending = false;
        let Some(until) = until else { return };
        let affected: Vec<ItemId> = self.extended(ids).map(|(id, _)| id.clone()).collect();
        self.each(&affected, |item| item.preserved = item.preserved.map(|(from, _)| (from, until)));
    }

    fn withdraw(&mut self, ids: &[ItemId]) {
        let all: Vec<ItemId> = match ids {
            [] => self.items.keys().cloned().collect(),
            some => some.to_vec(),
        };
        self.each(&all, |item| match item.status {
            ItemStatus::Pending => item.status = ItemStatus::Withdrawn,
            // Its custodian is told.
            _ => item.end(ItemStatus::Released),
        });
        if !self.items.values().any(Item::is_preserved) {
            // Nothing is left that could be extended.
            self.extension_pending = false;
        }
        if !self.items.values().any(Item::is_open) {
            self.state = State::Withdrawn;
        }
    }

    fn close(&mut self, closing: Closing) {
        let end = |items: &mut BTreeMap<ItemId, Item>, status| {
            items.values_mut().for_each(|item| item.end(status));
        };
        match closing {
            Closing::Lapsed | Closing::NotCompetent => self.state = State::Lapsed,
            Closing::Expired => {
                end(&mut self.items, ItemStatus::Expired);
                self.state = State::Expired;
            }
            Closing::Released => {
                end(&mut self.items, ItemStatus::Released);
                self.state = State::Released;
                self.release_confirmed = true;
            }
            Closing::Withdrawn => self.release_confirmed = true,
        }
        self.extension_pending = false;
    }

    fn each(&mut self, ids: &[ItemId], mut change: impl FnMut(&mut Item)) {
        for id in ids {
            if let Some(item) = self.items.get_mut(id) {
                change(item);
            }
        }
    }
}
