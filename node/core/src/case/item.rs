//! One item of a request: what became of it.

use relay_proto::timestamp::Timestamp;

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ItemStatus {
    /// Nothing was said of it, or that it will be preserved.
    Pending,
    /// Preserved.
    Preserved,
    /// Preserved in part.
    Partial,
    /// There is no such thing.
    NotFound,
    /// Another has it.
    NotHeldHere,
    /// Refused on a ground of the closed list.
    Refused,
    /// Preserved until its end.
    Expired,
    /// Was preserved; the custodian was told.
    Released,
    /// Given up by the requesting side.
    Withdrawn,
}

/// An item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Where it stands.
    pub status: ItemStatus,
    /// From when and until when it is preserved, as the requested side said.
    pub preserved: Option<(Timestamp, Timestamp)>,
}

impl Item {
    /// One of which nothing was said.
    pub(super) const NEW: Item = Item { status: ItemStatus::Pending, preserved: None };

    /// Whether it is preserved now.
    pub fn is_preserved(&self) -> bool {
        matches!(self.status, ItemStatus::Preserved | ItemStatus::Partial)
    }

    /// Until when it is preserved, if it is.
    pub fn runs_until(&self) -> Option<Timestamp> {
        self.preserved.filter(|_| self.is_preserved()).map(|(_, until)| until)
    }

    /// Whether something can still become of it.
    pub fn is_open(&self) -> bool {
        self.status == ItemStatus::Pending || self.is_preserved()
    }

    /// Preserved ones end so; others stay what they are.
    pub(super) fn end(&mut self, status: ItemStatus) {
        if self.is_preserved() {
            self.status = status;
        }
    }
}
