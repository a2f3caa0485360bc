//! Lists of messages through a filter, in pages.

use std::ops::Bound::{Excluded, Unbounded};

use relay_proto::ids::Digest;

use crate::store::{
    Store, StoreError,
    index::Tree,
    records::{EntryRecord, MessageRecord, digest_of},
    verbs::outbox::due_of,
    view::{Pairs, View, decode},
};

/// What a list asks for; every part that is set must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Sent or received.
    pub direction: Option<u32>,
    /// The other unit.
    pub peer: Option<String>,
    /// As on the wire.
    pub kind: Option<u32>,
    /// As in the records.
    pub priority: Option<u32>,
    /// Whether somebody took it; received messages only.
    pub acknowledged: Option<bool>,
    /// Whether a delivery of it waits for its end.
    pub open: bool,
    /// A test of the outbox entries; with `open` of those that are open.
    pub entry: Option<fn(&EntryRecord) -> bool>,
    /// Stored at or after this; milliseconds since the epoch.
    pub since_ms: u64,
}

/// A page of a list.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    /// The messages.
    pub messages: Vec<MessageRecord>,
    /// Where the next page begins; nothing: that was all.
    pub next: Option<Vec<u8>>,
}

/// What a list walks along. What waits is found among what waits, however much is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// All messages, the newest first.
    All,
    /// Open deliveries: by recipient, the most urgent first, then the newest.
    Open,
    /// What nobody took yet: the most urgent first, then the oldest.
    Untaken,
}

impl Store {
    /// Messages that pass a filter, from the place on that the last page named; in the order of
    /// what the filter makes the list walk along. Work is bounded, for the writer waits meanwhile:
    /// a page may be short, or empty, and still name where to go on.
    pub fn list(
        &self,
        filter: &Filter,
        place: Option<&[u8]>,
        max: usize,
    ) -> Result<Listed, StoreError> {
        self.read(|view| {
            let walk = Walk::of(filter);
            let pairs = walk.pairs(&view, place)?;
            let complete = pairs.len() < LIST_WORK_MAX;
            let mut listed = Listed::default();
            for (key, value) in pairs {
                if let Some(record) = walk.message(&view, filter, &value)? {
                    if walk == Walk::All && record.stored_at_ms < filter.since_ms {
                        listed.next = None;
                        return Ok(listed);
                    }
                    if passes(&view, filter, &record)? {
                        listed.messages.push(record);
                    }
                }
                listed.next = Some(key);
                if listed.messages.len() >= max {
                    return Ok(listed);
                }
            }
            if complete {
                listed.next = None;
            }
            Ok(listed)
        })
    }
}

impl Walk {
    fn of(filter: &Filter) -> Self {
        match filter {
            Filter { open: true, .. } => Self::Open,
            Filter { acknowledged: Some(false), .. } => Self::Untaken,
            _ => Self::All,
        }
    }

    fn pairs(self, view: &View<'_>, place: Option<&[u8]>) -> Result<Pairs, StoreError> {
        let (tree, reverse) = match self {
            Self::All => (Tree::Timeline, true),
            Self::Open => (Tree::Due, true),
            Self::Untaken => (Tree::Unacknowledged, false),
        };
        let place = place.map_or(Unbounded, Excluded);
        let (lower, upper) = if reverse { (Unbounded, place) } else { (place, Unbounded) };
        view.range(tree, lower, upper, LIST_WORK_MAX, reverse)
    }

    /// The message that a value is about; nothing when it is listed at another place.
    fn message(
        self,
        view: &View<'_>,
        filter: &Filter,
        value: &[u8],
    ) -> Result<Option<MessageRecord>, StoreError> {
        let at = match self {
            Self::All | Self::Untaken => value.get(..DIGEST_BYTES).map(|digest| (digest, None)),
            Self::Open => {
                let entry = due_of(value)?.1.split_at_checked(DIGEST_BYTES);
                entry.map(|(digest, recipient)| (digest, Some(recipient)))
            }
        };
        let (digest, recipient) = at.ok_or(StoreError::IndexDamaged("list"))?;
        let digest = digest_of(digest);
        if let Some(recipient) = recipient {
            // A message that waits for several is listed with the first of them.
            let open = entries(view, &digest)?.into_iter().filter(|entry| filter.wants(entry));
            let first = open.max_by(|one, next| one.next_hop.cmp(&next.next_hop));
            if first.is_none_or(|first| first.recipient.as_bytes() != recipient) {
                return Ok(None);
            }
        }
        let record = view.message(&digest)?;
        record.map(Some).ok_or(StoreError::IndexDamaged("list"))
    }
}

impl Filter {
    /// Whether this delivery is one of those that are asked for.
    fn wants(&self, entry: &EntryRecord) -> bool {
        (!self.open || entry.is_open()) && self.entry.is_none_or(|test| test(entry))
    }
}

fn passes(view: &View<'_>, filter: &Filter, record: &MessageRecord) -> Result<bool, StoreError> {
    if filter.direction.is_some_and(|direction| direction != record.direction)
        || filter.kind.is_some_and(|kind| kind != record.kind)
        || filter.priority.is_some_and(|priority| priority != record.priority)
        || filter.peer.as_ref().is_some_and(|p| record.from != *p && !record.to.contains(p))
        || record.stored_at_ms < filter.since_ms
    {
        return Ok(false);
    }
    if let Some(wanted) = filter.acknowledged {
        let acks = view.prefix(Tree::Acks, &record.digest, 1)?;
        if record.is_out() || acks.is_empty() == wanted {
            return Ok(false);
        }
    }
    if filter.entry.is_some() {
        return Ok(entries(view, &record.digest())?.iter().any(|entry| filter.wants(entry)));
    }
    Ok(true)
}

/// The deliveries of a message, one per recipient.
pub(super) fn entries(view: &View<'_>, digest: &Digest) -> Result<Vec<EntryRecord>, StoreError> {
    let pairs = view.about(Tree::Outbox, digest.as_bytes(), RECIPIENTS)?;
    pairs.iter().map(|(_, value)| decode(Tree::Outbox, value)).collect()
}

const RECIPIENTS: usize = relay_proto::limits::RECIPIENTS_MAX;
const DIGEST_BYTES: usize = 32;
/// What one page looks at.
const LIST_WORK_MAX: usize = 500;
