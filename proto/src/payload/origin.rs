//! Whose message another one passes on, as its sender states it.
//!
//! Parsed with the payload. Whether it is so, and whether it may be, is decided by a node that
//! holds the messages; here is only what can be told from the statement itself.

use crate::{
    ids::{Digest, MessageId, UnitId},
    v1,
};

use super::{
    PayloadContext,
    common::{Handling, handling, unit},
    fault::{At, Collector},
};

/// The message of another unit whose content is passed on.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// Who sent it; none only while faults are told.
    pub unit: Option<UnitId>,
    /// Its id.
    pub message_id: Option<MessageId>,
    /// Its header digest.
    pub header_digest: Digest,
    /// Its markings.
    pub handling: Handling,
    /// Whether it lets its recipients pass it on; none: it does not say.
    pub onward: Option<bool>,
    /// The message by which its sender allows it.
    pub release: Option<MessageId>,
}

impl Origin {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::Origin,
        context: &PayloadContext<'_>,
    ) -> Self {
        if raw.message_id.is_empty() {
            c.fault(at.field("message_id"), "missing: state the id of what is passed on");
        }
        let onward = c.optional_known::<v1::Answer>(at.field("onward"), raw.onward);
        Self {
            unit: unit(c, at.field("unit"), &raw.unit),
            message_id: c.optional_message_id(at.field("message_id"), &raw.message_id),
            header_digest: c.digest(at.field("header_digest"), &raw.header_digest),
            handling: handling(c, at.field("handling"), raw.handling.as_ref(), context),
            onward: onward.map(|answer| answer == v1::Answer::Yes),
            release: c.optional_message_id(at.field("release"), &raw.release),
        }
    }
}
