//! That a message was taken: by a case system (ContentHandover), or by a named officer
//! (ConsignmentAcceptance).

use bytes::Bytes;
use relay_proto::{
    envelope::Header,
    ids::{Digest, RequestId},
    limits,
    reason::Reason,
    receipt::Event,
    v1,
};

use super::{
    Relay,
    alarms::unreadable,
    own,
    submit::{Principal, message_name, request_key},
};
use crate::store::{
    AckAnswer, NewAck, StoreError,
    records::{AckRecord, MessageRecord},
};

/// In which capacity a message was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capacity {
    /// By a case system: says nothing about a human.
    Handover,
    /// By a named officer or desk.
    Desk,
}

impl Capacity {
    /// As in the store and on the API.
    pub fn number(self) -> u32 {
        match self {
            Self::Handover => 1,
            Self::Desk => 2,
        }
    }

    fn event(self) -> Event {
        match self {
            Self::Handover => Event::ContentHandover,
            Self::Desk => Event::ConsignmentAcceptance,
        }
    }
}

/// An acknowledgement.
#[derive(Debug, Clone)]
pub struct Acknowledge {
    /// The caller.
    pub principal: Principal,
    /// His key for safe repetition.
    pub request_id: RequestId,
    /// The message.
    pub digest: Digest,
    /// In which capacity.
    pub capacity: Capacity,
    /// The officer or desk.
    pub by: String,
}

impl Relay {
    /// Records that a message was taken; the first in each capacity makes the receipt for its
    /// sender.
    pub async fn acknowledge(&self, ack: Acknowledge) -> Result<AckAnswer, StoreError> {
        let ctx = &self.ctx;
        let by = ack.by.trim();
        let named = !by.is_empty() && by.chars().count() <= limits::ACTOR_CHARS_MAX;
        if (ack.capacity == Capacity::Desk || !by.is_empty()) && !named {
            return Err(StoreError::Refused(Reason::InvalidContent));
        }
        let record = ctx.parts.store.message(&ack.digest)?;
        let record = record.ok_or(StoreError::Refused(Reason::NotFound))?;
        if record.is_out() {
            return Err(StoreError::Refused(Reason::FailedPrecondition));
        }
        let header = match self.readable(&record) {
            Err(error) if error.reason() == Reason::StoreDamaged => {
                unreadable(ctx, &record, &error).await?;
                return Err(error);
            }
            header => header?,
        };
        let now = ctx.now();
        let mut statement = ctx.statement(&header, ack.capacity.event(), now);
        statement.recipient = Some(ctx.unit());
        // Before a log lost its end the message may have been taken already; nobody here knows.
        let tlog = &ctx.parts.tlog;
        let began = ctx.log_began().is_some_and(|at| record.stored_at_ms <= at.as_millis());
        if record.recovered || began || tlog.hold().is_some() {
            statement.flags = &[v1::StatementFlag::Recovered];
        }
        statement.actor = (!by.is_empty()).then_some(by);
        let statement = own(&statement).map_err(|_| StoreError::Refused(Reason::Internal))?;
        let waited = ctx.parts.store.acknowledgements(&ack.digest)?.is_empty();
        let capacity = ack.capacity.number();
        let content =
            Digest::of_parts(&[ack.digest.as_bytes(), &capacity.to_be_bytes(), by.as_bytes()]);
        let mut audit = ack.principal.audit("AcknowledgeMessage", now);
        audit.object = message_name(header.message_id);
        audit.units = vec![record.from.clone()];
        audit.header_digest = record.digest.clone();
        let answer = ctx
            .parts
            .store
            .acknowledge(NewAck {
                digest: ack.digest,
                ack: AckRecord {
                    capacity,
                    by: by.to_owned(),
                    at_ms: now.as_millis(),
                    principal: ack.principal.account.clone(),
                },
                statement: Bytes::clone(statement.bytes()),
                request_key: request_key(&ack.principal.account, "acknowledge", &ack.request_id),
                content,
                audit,
                now,
            })
            .await?;
        if answer == AckAnswer::First && waited {
            ctx.inbox.taken(&record.from, u64::from(record.wire_bytes));
        }
        Ok(answer)
    }

    /// The header of a message whose content is here as its sender signed it, unless it was erased
    /// by order: nobody took what nobody can read.
    fn readable(&self, record: &MessageRecord) -> Result<Header, StoreError> {
        let damaged = || StoreError::Damaged { seq: record.seq };
        let content = self.ctx.parts.store.content(record)?;
        let header = self.header(&content.header)?;
        let fits = |payload| Digest::of(payload) == header.payload_digest;
        if header.digest != record.digest() || !content.payload.as_deref().is_none_or(fits) {
            return Err(damaged());
        }
        Ok(header)
    }

    /// The header of a stored message.
    pub(super) fn header(&self, signed: &v1::Signed) -> Result<Header, StoreError> {
        // It verified when it was stored. Its sender may be out of the directory by now, so it is
        // read as it is.
        Header::stored(signed).map_err(|_| StoreError::IndexDamaged("messages"))
    }
}
