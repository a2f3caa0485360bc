//! Which case is to be looked at when: an instant a case.

use std::collections::{BTreeMap, BTreeSet};

use relay_proto::timestamp::Timestamp;

use super::Name;

/// Which case is to be looked at when.
#[derive(Default)]
pub(super) struct Agenda {
    at: BTreeMap<Name, Timestamp>,
    order: BTreeSet<(Timestamp, Name)>,
}

impl Agenda {
    /// At this instant, and at no other; none: not at all.
    pub(super) fn put(&mut self, name: Name, at: Option<Timestamp>) {
        if let Some(before) = self.at.remove(&name) {
            self.order.remove(&(before, name.clone()));
        }
        if let Some(at) = at {
            self.order.insert((at, name.clone()));
            self.at.insert(name, at);
        }
    }

    /// The first of all.
    pub(super) fn first(&self) -> Option<&(Timestamp, Name)> {
        self.order.first()
    }

    /// When a case is to be looked at.
    pub(super) fn of(&self, name: &Name) -> Option<Timestamp> {
        self.at.get(name).copied()
    }
}
