//! Reading messages, content and events.

use std::{
    ops::Bound::{Excluded, Included, Unbounded},
    sync::{Arc, PoisonError},
};

use bytes::Bytes;
use prost::Message;
use relay_proto::{
    ids::{Digest, MessageId, ShortId, UnitId},
    v1,
};

use crate::store::{
    Store, StoreError,
    event::{Event, Fact},
    index::Tree,
    journal::{Body, Position, StoredEvent},
    recent::Recent,
    records::{EntryRecord, MessageRecord, RefusedRecord, digest_of, key},
    verbs::list,
};

/// A message's header and payload out of the journal.
#[derive(Debug, Clone)]
pub struct Content {
    /// The signed header.
    pub header: v1::Signed,
    /// The payload as it travels; nothing once it was erased.
    pub payload: Option<Bytes>,
}

impl Store {
    /// The record of a message.
    pub fn message(&self, digest: &Digest) -> Result<Option<MessageRecord>, StoreError> {
        self.read(|view| view.message(digest))
    }

    /// All messages with this id; more than one when several senders used it.
    pub fn by_id(&self, id: &MessageId) -> Result<Vec<Digest>, StoreError> {
        let prefix = key::short(&id.short());
        let end = key::after_prefix(&prefix);
        let upper = end.as_deref().map_or(Unbounded, Excluded);
        let mut after = Included(prefix);
        let mut found = Vec::new();
        // Whoever makes ids with the same eight characters must not hide another's: all are looked
        // at, in pages.
        loop {
            let lower = after.as_ref().map(Vec::as_slice);
            let page = self.read(|view| {
                let page = view.range(Tree::ById, lower, upper, SAME_SHORT_MAX, false)?;
                for (_, digest) in &page {
                    let digest = digest_of(digest);
                    let record = view.message(&digest)?;
                    let is_it = record.is_some_and(|record| record.message_id() == Some(*id));
                    found.extend(is_it.then_some(digest));
                }
                Ok::<_, StoreError>(page)
            })?;
            match page.last() {
                Some((last, _)) if page.len() >= SAME_SHORT_MAX => after = Excluded(last.clone()),
                _ => return Ok(found),
            }
        }
    }

    /// All messages that people name by these eight characters.
    pub fn by_short_id(&self, id: &ShortId) -> Result<Vec<Digest>, StoreError> {
        let prefix = key::short(id);
        let pairs = self.read(|view| view.prefix(Tree::ById, &prefix, SAME_SHORT_MAX))?;
        Ok(pairs.iter().map(|(_, digest)| digest_of(digest)).collect())
    }

    /// The message of a sender with this id.
    pub fn by_sender(&self, from: &UnitId, id: &MessageId) -> Result<Option<Digest>, StoreError> {
        let found = self.read(|view| view.get(Tree::ById, &key::by_id(from, id)))?;
        Ok(found.map(|digest| digest_of(&digest)))
    }

    /// The outbox entries of a message, one per recipient.
    pub fn entries(&self, digest: &Digest) -> Result<Vec<EntryRecord>, StoreError> {
        self.read(|view| list::entries(&view, digest))
    }

    /// Header and payload of a message.
    pub fn content(&self, record: &MessageRecord) -> Result<Content, StoreError> {
        if let Some((event, payload)) = self.recent(|recent| recent.get(record.seq)) {
            let header = header_of(&event).ok_or(StoreError::Damaged { seq: record.seq })?;
            // The order counts, not whether the body left memory yet.
            let erased = self.read(|view| view.get(Tree::Erased, &record.digest))?.is_some();
            return Ok(Content { header, payload: (!erased).then_some(payload) });
        }
        let stored = self.journal_record(record)?;
        let damaged = || StoreError::Damaged { seq: stored.seq };
        let event = Event::decode(stored.meta).map_err(|_| damaged())?;
        let header = header_of(&event).ok_or_else(damaged)?;
        let erased =
            || self.read(|view| view.get(Tree::Erased, &record.digest)).map(|e| e.is_some());
        // The order counts, not what is left of the bytes; without an order, zeros are damage.
        let payload = match stored.body {
            _ if erased()? => None,
            Body::Present(payload) => Some(payload),
            Body::Empty => Some(Bytes::new()),
            Body::Erased | Body::Damaged => return Err(damaged()),
        };
        Ok(Content { header, payload })
    }

    /// The signed header of a message, whatever became of its payload.
    pub fn header(&self, record: &MessageRecord) -> Result<v1::Signed, StoreError> {
        let damaged = || StoreError::Damaged { seq: record.seq };
        if let Some(event) = self.recent(|recent| recent.event(record.seq)) {
            return header_of(&event).ok_or_else(damaged);
        }
        let event = Event::decode(self.journal_record(record)?.meta).map_err(|_| damaged())?;
        header_of(&event).ok_or_else(damaged)
    }

    fn journal_record(&self, record: &MessageRecord) -> Result<StoredEvent, StoreError> {
        let position = <[u8; 16]>::try_from(record.position.as_ref())
            .map_err(|_| StoreError::IndexDamaged("messages"))?;
        Ok(self.shared.reader.read(Position::from_bytes(position))?)
    }

    /// A header that was refused.
    pub fn refused(&self, digest: &Digest) -> Result<Option<RefusedRecord>, StoreError> {
        self.read(|view| view.record(Tree::Refused, digest.as_bytes()))
    }

    /// Durable events above a sequence, at most `max`.
    pub fn events_after(&self, seq: u64, max: usize) -> Result<Vec<(u64, Arc<Event>)>, StoreError> {
        // Not further than what the other reads show: an event is seen only together with its
        // effects.
        let shown = self.log_head().seq;
        if let Some(mut recent) = self.recent(|recent| recent.from(seq.saturating_add(1), max)) {
            recent.retain(|(seq, _)| *seq <= shown);
            return Ok(recent);
        }
        // A damaged event is told by the scrub, not by whoever waits for those behind it.
        let reader = &self.shared.reader;
        let past = &mut |_| Ok(());
        let stored = reader.scan_past(seq.saturating_add(1), max, EVENTS_BYTES_MAX, past)?;
        let each =
            stored.into_iter().filter(|(seq, _, _)| *seq <= shown).map(|(seq, _, stored)| {
                let event = Event::decode(stored.meta).map_err(|_| StoreError::Damaged { seq })?;
                Ok((seq, Arc::new(event)))
            });
        each.collect()
    }

    /// Whether events from this sequence on are in memory.
    pub fn is_recent(&self, seq: u64) -> bool {
        self.recent(|recent| recent.from(seq, 0)).is_some()
    }

    /// A counter: `transfers-made`, `receipts-made`, `receipts-have`; `receipts-confirmed`, by the
    /// peer; `receipts-from`, above which all are of the open log.
    pub fn counter(&self, name: &str, peer: &UnitId) -> Result<u64, StoreError> {
        self.read(|view| view.counter(name, peer.as_str()))
    }

    /// The transfers of a peer that arrived.
    pub fn transfers_in(
        &self,
        peer: &UnitId,
    ) -> Result<crate::store::records::NumbersRecord, StoreError> {
        let key = key::counter("transfers-in", peer.as_str());
        Ok(self.read(|view| view.record(Tree::Counters, &key))?.unwrap_or_default())
    }

    fn recent<R>(&self, read: impl FnOnce(&Recent) -> R) -> R {
        read(&self.shared.recent.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The signed header that an event stored.
fn header_of(event: &Event) -> Option<v1::Signed> {
    let header = match &event.fact {
        Some(Fact::Submitted(fact)) => &fact.header,
        Some(Fact::Arrived(fact)) => &fact.header,
        _ => return None,
    };
    v1::Signed::decode(header.clone()).ok()
}

/// Messages whose ids end in the same 40 bits.
const SAME_SHORT_MAX: usize = 64;
const EVENTS_BYTES_MAX: usize = 8 << 20;
