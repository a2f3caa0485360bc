//! Receipts: statements about one message, which are leaves of their issuer's log.
//!
//! [`Statement`] is the checked form of a leaf's bytes; [`NewStatement`] makes one. `check` holds the rules of a
//! receiver of receipts, `legal` what may follow what. Invariant: a [`Statement`] keeps the exact bytes that are
//! in the log and obeys every rule that can be judged from these bytes alone.

mod check;
mod event;
mod legal;
mod new;

use bytes::Bytes;

use crate::{
    ids::{Digest, IdError, MessageId, NodeId, UnitId},
    limits,
    reason::Reason,
    scan::{self, ScanError, schema},
    signed,
    timestamp::Timestamp,
    tlog, v1,
};

pub use check::{
    CheckpointAdvance, ConsistencyPath, Expected, ReceiptError, Received, advance, check_group,
    check_message, check_receipt,
};
pub use event::{Event, IssuerRole};
pub use legal::{Legality, legal_after};
pub use new::NewStatement;

/// A checked statement and its exact bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What happened.
    pub event: Event,
    /// To which message.
    pub message_id: MessageId,
    /// SHA-256 of its header bytes: the message's identity.
    pub header_digest: Digest,
    /// Whose log it is a leaf of.
    pub issuer: UnitId,
    /// The issuer's node that made it.
    pub node: NodeId,
    /// Who sent the message.
    pub sender: UnitId,
    /// For whom; none with the two submission events, which are about the message as a whole.
    pub recipient: Option<UnitId>,
    /// When, by the issuer's clock.
    pub event_time: Timestamp,
    /// How far that clock may be trusted.
    pub clock: v1::Clock,
    /// The header's time of making.
    pub submitted_at: Timestamp,
    /// Label of the reason of a negative event; perhaps one that this version does not know.
    pub reason: Option<String>,
    /// Commitment to the name of the person who acted.
    pub actor_commitment: Option<Digest>,
    /// What the issuer ran.
    pub software: String,
    /// Ascending, none twice.
    pub flags: Vec<v1::StatementFlag>,
    salt: [u8; limits::STATEMENT_SALT_BYTES],
    bytes: Bytes,
}

impl Statement {
    /// Reads the bytes of a leaf, without its tag.
    pub fn from_bytes(bytes: &Bytes) -> Result<Self, StatementError> {
        let raw: v1::Statement =
            scan::decode(bytes, &schema::STATEMENT, limits::STATEMENT_BYTES_MAX)?;
        if raw.version != 1 {
            return Err(StatementError::Version(raw.version));
        }
        signed::check_extensions(&raw.extensions).map_err(StatementError::Extension)?;
        let missing = StatementError::Missing;
        let event = Event::from_wire(raw.event()).ok_or(missing("event"))?;
        let issuer: UnitId = raw.issuer_unit.parse()?;
        let node: NodeId = raw.issuer_node.parse()?;
        // A node speaks for its own unit only.
        if *node.unit() != issuer {
            return Err(StatementError::ForeignNode);
        }
        let statement = Self {
            event,
            message_id: MessageId::from_bytes(&raw.message_id)?,
            header_digest: Digest::from_bytes(&raw.header_digest)?,
            issuer,
            node,
            sender: raw.sender.parse()?,
            recipient: match raw.recipient.as_str() {
                "" => None,
                unit => Some(unit.parse()?),
            },
            event_time: Timestamp::from_wire(raw.event_time_ms).ok_or(missing("event_time"))?,
            clock: raw.clock.ok_or(missing("clock"))?,
            submitted_at: Timestamp::from_wire(raw.submitted_at_ms)
                .ok_or(missing("submitted_at"))?,
            reason: (!raw.reason.is_empty()).then(|| raw.reason.clone()),
            actor_commitment: match raw.actor_commitment.as_ref() {
                [] => None,
                bytes => Some(Digest::from_bytes(bytes)?),
            },
            software: raw.software.clone(),
            flags: flags(&raw.flags)?,
            salt: raw.salt.as_ref().try_into().map_err(|_| missing("salt"))?,
            bytes: bytes.clone(),
        };
        statement.check()?;
        Ok(statement)
    }

    /// The exact bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What stands in the log: the tag, then the bytes.
    pub fn leaf(&self) -> Vec<u8> {
        leaf_bytes(&self.bytes)
    }

    /// The hash of the leaf in the log.
    pub fn leaf_hash(&self) -> Digest {
        leaf_hash(&self.bytes)
    }

    /// The reason, if this version knows its label.
    pub fn known_reason(&self) -> Option<Reason> {
        self.reason.as_ref().and_then(|label| label.parse().ok())
    }

    /// Whether this flag is set.
    pub fn has(&self, flag: v1::StatementFlag) -> bool {
        self.flags.contains(&flag)
    }

    /// Whether this is the name that the statement commits to.
    pub fn is_actor(&self, name: &str) -> bool {
        self.actor_commitment == Some(actor_commitment(&self.salt, name))
    }

    /// The rules between fields.
    fn check(&self) -> Result<(), StatementError> {
        let rule = |holds: bool, text| if holds { Ok(()) } else { Err(StatementError::Rule(text)) };
        rule(
            self.event.is_positive() == self.reason.is_none(),
            "a reason comes with a negative event, and only then",
        )?;
        rule(self.reason.as_deref().is_none_or(is_label), "the reason is not a label")?;
        rule(
            self.actor_commitment.is_none() || self.event.names_actor(),
            "only a handover or an acceptance names an actor",
        )?;
        rule(
            self.recipient.is_none() == self.event.is_submission(),
            "a recipient is stated except with a submission",
        )?;
        let (state, source) = (self.clock.state(), self.clock.source());
        rule(
            state != v1::ClockState::Unspecified && source != v1::ClockSource::Unspecified,
            "the clock is not stated",
        )?;
        let synced = state == v1::ClockState::Synced;
        rule(synced || self.clock.uncertainty_ms == 0, "a bound of a clock that has none")?;
        let printable = self.software.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        rule(self.software.len() <= SOFTWARE_MAX && printable, "the software is not a short name")?;
        // Only a synchronised clock may give a verdict that rests on time.
        if !synced && self.rests_on_time() {
            return Err(StatementError::ClockUntrusted);
        }
        Ok(())
    }

    fn rests_on_time(&self) -> bool {
        let by_reason = matches!(self.known_reason(), Some(Reason::Expired | Reason::FutureDated));
        matches!(self.event, Event::RelayFailure | Event::AcceptanceRejectionExpiry)
            || (self.event == Event::RelayRejection && by_reason)
    }
}

/// Why bytes are not a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Too long or not canonical.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A version that this node does not speak.
    #[error("statement version {0} is not supported")]
    Version(u32),
    /// A critical or misplaced extension.
    #[error("extension: {0}")]
    Extension(Reason),
    /// A mandatory field is absent or of the wrong length.
    #[error("the statement lacks {0}")]
    Missing(&'static str),
    /// A name or digest is not well-formed.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The node is not one of the issuer.
    #[error("the issuing node belongs to another unit")]
    ForeignNode,
    /// Two fields do not go together.
    #[error("{0}")]
    Rule(&'static str),
    /// A verdict about time from a clock that is not synchronised.
    #[error("a verdict about time needs a synchronised clock")]
    ClockUntrusted,
}

impl StatementError {
    /// The label that leaves the machine.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Scan(error) => error.reason(),
            Self::Version(_) => Reason::UnsupportedVersion,
            Self::Extension(reason) => *reason,
            Self::ForeignNode => Reason::WrongIssuer,
            Self::ClockUntrusted => Reason::ClockUntrusted,
            Self::Missing(_) | Self::Id(_) | Self::Rule(_) => Reason::Malformed,
        }
    }
}

/// `relay/v1/receipt` 0x00 || statement: the tag keeps other kinds of leaves apart from receipts.
pub fn leaf_bytes(statement: &[u8]) -> Vec<u8> {
    [LEAF_TAG, statement].concat()
}

/// The RFC 6962 hash of the leaf of a statement.
pub fn leaf_hash(statement: &[u8]) -> Digest {
    tlog::leaf_hash(&leaf_bytes(statement))
}

/// SHA-256(`relay/v1/actor` 0x00 || salt || name): the name can be erased, the leaf stays.
pub fn actor_commitment(salt: &[u8; limits::STATEMENT_SALT_BYTES], name: &str) -> Digest {
    Digest::of_parts(&[ACTOR_TAG, salt, name.as_bytes()])
}

fn flags(raw: &[i32]) -> Result<Vec<v1::StatementFlag>, StatementError> {
    let wrong = StatementError::Rule("a flag is unknown or out of order");
    if !raw.is_sorted_by(|one, next| one < next) {
        return Err(wrong);
    }
    let known = |flag: &i32| match v1::StatementFlag::try_from(*flag) {
        Ok(v1::StatementFlag::Unspecified) | Err(_) => Err(wrong.clone()),
        Ok(flag) => Ok(flag),
    };
    raw.iter().map(known).collect()
}

/// UPPER_SNAKE of at most 63 characters; labels of newer versions are shown, not interpreted.
fn is_label(text: &str) -> bool {
    text.len() <= 63 && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

const LEAF_TAG: &[u8] = b"relay/v1/receipt\0";
const ACTOR_TAG: &[u8] = b"relay/v1/actor\0";

/// Longest `software`, bytes: a name and a version.
const SOFTWARE_MAX: usize = 64;
