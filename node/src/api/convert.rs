//! Records of the store as messages of the API.
//!
//! Invariant: without the full view no content and no title leaves: they may name people.

use bytes::Bytes;
use relay_proto::{
    ids::{CaseId, UnitId},
    payload::{self, open_clear},
    reason::Reason,
    receipt::Statement,
    timestamp::Timestamp,
    v1,
};

use super::{Service, status::Problem};
use crate::store::records::{
    AckRecord, BackoffRecord, EntryRecord, EntryState, MessageRecord, ReceiptRecord,
};

impl Service {
    /// A message as a view shows it.
    pub(super) fn message(
        &self,
        record: &MessageRecord,
        view: v1::MessageView,
    ) -> Result<v1::Message, Problem> {
        let store = self.relay().store();
        let digest = record.digest();
        let mut message = self.basic(record)?;
        if view == v1::MessageView::Full {
            let content = store.content(record)?;
            if let Some(clear) = content.payload {
                // It was checked when it was stored.
                let payload = open_clear(&clear).map_err(Problem::internal)?;
                payload::title(&payload).clone_into(&mut message.title);
                message.payload = Some(payload);
            }
            message.signed_header = Some(content.header);
            message.receipts = self.receipts(&store.receipts(&digest)?);
        }
        Ok(message)
    }

    /// Receipts as the API shows them; one that cannot be read is left out and told in the log.
    /// While our log is held no checkpoint covers what is in it: those of ours prove nothing yet.
    pub(super) fn receipts(&self, records: &[ReceiptRecord]) -> Vec<v1::ReceiptView> {
        let tlog = self.relay().tlog();
        let held = tlog.hold().map(|_| tlog.origin().to_string());
        let mut views: Vec<_> = records.iter().filter_map(receipt).collect();
        for view in views.iter_mut().filter(|view| held.as_ref() == Some(&view.log_origin)) {
            view.verified = false;
            view.flags.push(Reason::LogHeld.label().to_owned());
        }
        views
    }

    fn basic(&self, record: &MessageRecord) -> Result<v1::Message, Problem> {
        let store = self.relay().store();
        let digest = record.digest();
        let id = record.message_id().ok_or_else(|| Problem::internal("a message without id"))?;
        let mut deliveries = Vec::new();
        if record.is_out() {
            deliveries.extend(store.entries(&digest)?.iter().map(|entry| self.delivery(entry)));
        }
        let acknowledgements = match record.is_out() {
            true => Vec::new(),
            false => store.acknowledgements(&digest)?.iter().map(acknowledgement).collect(),
        };
        Ok(v1::Message {
            name: format!("messages/{id}"),
            message_id: id.to_string(),
            short_id: id.short().to_string(),
            direction: match record.is_out() {
                true => v1::Direction::Out.into(),
                false => v1::Direction::In.into(),
            },
            from: record.from.clone(),
            to: record.to.clone(),
            profile: record.profile.clone(),
            priority: record.priority().to_wire().into(),
            kind: i32::try_from(record.kind).unwrap_or_default(),
            create_time: instant(record.created_at_ms),
            expire_time: instant(record.expires_at_ms),
            store_time: instant(record.stored_at_ms),
            header_digest: Bytes::copy_from_slice(digest.as_bytes()),
            deliveries,
            acknowledgements,
            recovered: record.recovered,
            exercise: record.exercise,
            case_id: case_id(&record.case_id),
            uses: self.uses(record)?,
            ..Default::default()
        })
    }

    /// Where an outbox entry stands. That it is in flight is known of the session, not kept.
    pub(super) fn delivery_state(&self, entry: &EntryRecord) -> v1::DeliveryState {
        match entry.state() {
            _ if self.held_back(entry).is_some() => v1::DeliveryState::Held,
            EntryState::Queued if self.put_off(entry).is_some() => v1::DeliveryState::Queued,
            EntryState::Queued if self.in_flight(&entry.next_hop) => v1::DeliveryState::InFlight,
            EntryState::Queued => v1::DeliveryState::Queued,
            EntryState::Deferred => v1::DeliveryState::Deferred,
            EntryState::Held => v1::DeliveryState::Held,
            EntryState::Delivered => v1::DeliveryState::Delivered,
            EntryState::Refused => v1::DeliveryState::Refused,
            EntryState::Expired => v1::DeliveryState::Expired,
        }
    }

    /// Why nothing is sent to an open entry's unit, however often it is tried: it is no peer that
    /// is trusted.
    pub(super) fn held_back(&self, entry: &EntryRecord) -> Option<Reason> {
        let unit = entry.next_hop.parse::<UnitId>().ok().filter(|_| entry.is_open())?;
        let snapshot = self.relay().directory().snapshot();
        let refusal = snapshot.peer(&unit).map(|peer| peer.trust.refusal());
        refusal.unwrap_or(Some(Reason::UnknownRecipient))
    }

    fn in_flight(&self, next_hop: &str) -> bool {
        let status = next_hop.parse::<UnitId>().map(|unit| self.relay().peer_status(&unit));
        status.is_ok_and(|status| status.up && status.in_flight > 0)
    }

    /// Why and until when the peer of an open entry puts off what it is sent.
    fn put_off(&self, entry: &EntryRecord) -> Option<(Reason, Timestamp)> {
        let unit = entry.next_hop.parse::<UnitId>().ok().filter(|_| entry.is_open())?;
        self.relay().peer_status(&unit).put_off(self.relay().clock().now())
    }

    /// What keeps an entry back that has no reason of its own: why its peer cannot be reached, or
    /// that it puts everything off.
    fn obstacle(&self, entry: &EntryRecord) -> Option<BackoffRecord> {
        if !entry.is_open() || !entry.reason.is_empty() {
            return None;
        }
        let unit = entry.next_hop.parse::<UnitId>().ok()?;
        if let Some((reason, until)) = self.put_off(entry) {
            let (reason, next_try_ms) = (reason.label().to_owned(), until.as_millis());
            return Some(BackoffRecord { reason, next_try_ms, ..BackoffRecord::default() });
        }
        let up = self.relay().peer_status(&unit).up;
        // It only explains: that it cannot be read must not hide the message.
        (!up).then(|| self.relay().store().backoff(&unit).ok().flatten()).flatten()
    }

    fn delivery(&self, entry: &EntryRecord) -> v1::Delivery {
        let held = self.held_back(entry);
        let obstacle = self.obstacle(entry).filter(|_| held.is_none()).unwrap_or_default();
        v1::Delivery {
            recipient: entry.recipient.clone(),
            state: self.delivery_state(entry).into(),
            // What was never sent has at least been tried to be: its peer was dialled.
            attempts: entry.attempts.max(obstacle.attempts),
            next_attempt_time: match entry.state() {
                _ if held.is_some() => None,
                EntryState::Deferred => self.upcoming(entry.not_before_ms),
                _ => self.upcoming(obstacle.next_try_ms),
            },
            reason: match held {
                Some(reason) => reason.label().to_owned(),
                None if entry.reason.is_empty() => obstacle.reason,
                None => entry.reason.clone(),
            },
            queued_time: instant(entry.queued_at_ms),
            settled_time: instant(entry.settled_at_ms),
        }
    }

    /// When something is tried next; what was due before is tried now. 0 is none.
    pub(super) fn upcoming(&self, millis: u64) -> Option<prost_types::Timestamp> {
        let now = self.relay().clock().now().as_millis();
        instant(millis).and_then(|_| instant(millis.max(now)))
    }
}

/// The name of a matter; empty where there is none.
pub(super) fn case_id(bytes: &[u8]) -> String {
    CaseId::from_bytes(bytes).map(|id| id.to_string()).unwrap_or_default()
}

/// An instant; 0 is none.
pub(super) fn instant(millis: u64) -> Option<prost_types::Timestamp> {
    Timestamp::from_wire(millis).map(|at| {
        let millis = at.as_millis();
        prost_types::Timestamp {
            seconds: i64::try_from(millis / 1000).unwrap_or(i64::MAX),
            nanos: i32::try_from(millis % 1000).unwrap_or_default() * 1_000_000,
        }
    })
}

fn receipt(record: &ReceiptRecord) -> Option<v1::ReceiptView> {
    let statement = Statement::from_bytes(&record.statement)
        .inspect_err(|error| tracing::error!(%error, "a stored receipt cannot be read"))
        .ok()?;
    Some(v1::ReceiptView {
        event: statement.event.to_wire().into(),
        issuer_unit: statement.issuer.to_string(),
        issuer_node: statement.node.to_string(),
        recipient: statement.recipient.as_ref().map(ToString::to_string).unwrap_or_default(),
        event_time: instant(statement.event_time.as_millis()),
        clock: Some(statement.clock),
        reason: statement.reason.clone().unwrap_or_default(),
        actor: record.actor.clone(),
        log_origin: record.origin.clone(),
        log_index: record.index,
        leaf_hash: Bytes::copy_from_slice(statement.leaf_hash().as_bytes()),
        verified: record.counts(),
        flags: record.flags.clone(),
    })
}

fn acknowledgement(record: &AckRecord) -> v1::Acknowledgement {
    v1::Acknowledgement {
        capacity: i32::try_from(record.capacity).unwrap_or_default(),
        by: record.by.clone(),
        time: instant(record.at_ms),
    }
}
