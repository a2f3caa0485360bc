//! The making of a statement. Time, salt and names are arguments.
//!
//! Invariant: what is built passes every check that a receiver makes on the statement alone.

use bytes::Bytes;
use prost::Message as _;

use crate::{
    envelope::Header,
    ids::{Digest, MessageId, NodeId, UnitId},
    limits,
    reason::Reason,
    receipt::{Event, Statement, StatementError, actor_commitment},
    timestamp::Timestamp,
    v1,
};

/// What a new statement says.
#[derive(Debug, Clone)]
pub struct NewStatement<'a> {
    /// Random.
    pub salt: [u8; limits::STATEMENT_SALT_BYTES],
    /// What happened.
    pub event: Event,
    /// To which message.
    pub message_id: MessageId,
    /// SHA-256 of its header bytes.
    pub header_digest: Digest,
    /// The node that states it; its unit is the issuer.
    pub node: &'a NodeId,
    /// Who sent the message.
    pub sender: &'a UnitId,
    /// For whom; none with a submission.
    pub recipient: Option<&'a UnitId>,
    /// Now.
    pub event_time: Timestamp,
    /// How far the clock may be trusted.
    pub clock: v1::Clock,
    /// The header's time of making.
    pub submitted_at: Timestamp,
    /// Of a negative event.
    pub reason: Option<Reason>,
    /// Who acted; only a commitment goes into the statement.
    pub actor: Option<&'a str>,
    /// What this node runs.
    pub software: &'a str,
    /// In any order.
    pub flags: &'a [v1::StatementFlag],
}

impl<'a> NewStatement<'a> {
    /// A plain statement about a message; set what else it says on the result.
    pub fn about(
        header: &'a Header,
        event: Event,
        node: &'a NodeId,
        event_time: Timestamp,
        clock: v1::Clock,
        salt: [u8; limits::STATEMENT_SALT_BYTES],
    ) -> Self {
        Self {
            salt,
            event,
            message_id: header.message_id,
            header_digest: header.digest,
            node,
            sender: &header.from,
            recipient: None,
            event_time,
            clock,
            submitted_at: header.created_at,
            reason: None,
            actor: None,
            software: concat!("relay/", env!("CARGO_PKG_VERSION")),
            flags: &[],
        }
    }

    /// Encodes and checks it; an error is a fault of the caller.
    pub fn build(&self) -> Result<Statement, StatementError> {
        let mut flags: Vec<i32> = self.flags.iter().map(|flag| i32::from(*flag)).collect();
        flags.sort_unstable();
        flags.dedup();
        let commitment = self.actor.map(|name| actor_commitment(&self.salt, name));
        let statement = v1::Statement {
            version: 1,
            salt: Bytes::copy_from_slice(&self.salt),
            event: self.event.to_wire().into(),
            message_id: Bytes::copy_from_slice(self.message_id.as_bytes()),
            header_digest: Bytes::copy_from_slice(self.header_digest.as_bytes()),
            issuer_unit: self.node.unit().to_string(),
            issuer_node: self.node.to_string(),
            sender: self.sender.to_string(),
            recipient: self.recipient.map(UnitId::to_string).unwrap_or_default(),
            event_time_ms: self.event_time.as_millis(),
            clock: Some(self.clock),
            submitted_at_ms: self.submitted_at.as_millis(),
            reason: self.reason.map(|reason| reason.label().to_owned()).unwrap_or_default(),
            actor_commitment: commitment
                .map(|digest| Bytes::copy_from_slice(digest.as_bytes()))
                .unwrap_or_default(),
            software: self.software.to_owned(),
            flags,
            extensions: Vec::new(),
        };
        Statement::from_bytes(&Bytes::from(statement.encode_to_vec()))
    }
}
