//! Receipts: statements about one message, which are leaves of their issuer's log.
//!
//! [`Statement`] is the checked form of a leaf's bytes; [`NewStatement`] makes one. `check` holds
//! the rules of a receiver of receipts, `legal` what may follow what. Invariant: a [`Statement`]
//! keeps the exact bytes that are in the log and obeys every rule that can be judged from these
//! bytes alone.

mod check;
mod event;
#[cfg(test)]
pub(crate) mod fixture;
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
    check_message, check_receipt, is_outside,
};
pub use event::{Event, IssuerRole};
pub use legal::{Legality, Logged, legal_after};
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
        let length = (1..=SOFTWARE_MAX).contains(&self.software.len());
        rule(length && printable, "the software is not a short name")?;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use prost::Message as _;

    use super::*;
    use crate::receipt::fixture::{Unit, synced};

    fn good(event: Event) -> Statement {
        let (xa, xb) = (Unit::new("xa.ncu", 1), Unit::new("xb.ncu", 11));
        let header = xa.header(&[&xb]);
        xb.states(event, &header, &xb)
    }

    fn raw(statement: &Statement) -> v1::Statement {
        v1::Statement::decode(statement.bytes().clone()).unwrap()
    }

    fn read(raw: &v1::Statement) -> Result<Statement, StatementError> {
        Statement::from_bytes(&Bytes::from(raw.encode_to_vec()))
    }

    /// All events survive the wire; the leaf has its tag and the exact bytes.
    #[test]
    fn statements_round_trip() {
        for event in Event::ALL {
            let statement = good(event);
            assert_eq!(Statement::from_bytes(statement.bytes()).unwrap(), statement);
            assert_eq!(statement.event, event);
            assert_eq!(Event::from_wire(event.to_wire()), Some(event));
            let tagged = [b"relay/v1/receipt\0", &statement.bytes()[..]].concat();
            assert_eq!(statement.leaf(), tagged);
            assert_eq!(statement.leaf_hash(), Digest::of_parts(&[&[0], &tagged]));
            assert_eq!(statement.reason.is_some(), !event.is_positive());
        }
        assert_eq!(Event::from_wire(v1::Event::Unspecified), None);
    }

    type Break = fn(&mut v1::Statement);

    /// Each field, absent or broken, is refused under its own reason.
    #[test]
    fn each_rule_has_its_reason() {
        use Reason::{Malformed, UnsupportedExtension, UnsupportedVersion, WrongIssuer};
        let table: [(Reason, Break); 31] = [
            (UnsupportedVersion, |s| s.version = 0),
            (UnsupportedVersion, |s| s.version = 2),
            (Malformed, |s| s.salt = Bytes::new()),
            (Malformed, |s| s.salt = Bytes::from_static(&[1; 15])),
            (Malformed, |s| s.salt = Bytes::from_static(&[1; 17])),
            (Malformed, |s| s.event = 0),
            (Malformed, |s| s.event = 12),
            (Malformed, |s| s.message_id = Bytes::from_static(&[1; 16])),
            (Malformed, |s| s.header_digest = Bytes::from_static(&[1; 31])),
            (Malformed, |s| s.issuer_unit = "XB".into()),
            (WrongIssuer, |s| s.issuer_unit = "xc.ncu".into()),
            (WrongIssuer, |s| s.issuer_node = "xa.ncu/a".into()),
            (Malformed, |s| s.issuer_node = "a".into()),
            (Malformed, |s| s.sender = String::new()),
            (Malformed, |s| s.recipient = String::new()),
            (Malformed, |s| s.recipient = "xb".into()),
            (Malformed, |s| s.event_time_ms = 0),
            (Malformed, |s| s.event_time_ms = u64::MAX),
            (Malformed, |s| s.clock = None),
            (Malformed, |s| s.clock.as_mut().unwrap().state = 0),
            (Malformed, |s| s.clock.as_mut().unwrap().state = 9),
            (Malformed, |s| s.clock.as_mut().unwrap().source = 0),
            (Malformed, |s| s.clock.as_mut().unwrap().state = 2),
            (Malformed, |s| s.submitted_at_ms = 0),
            (Malformed, |s| s.reason = "BUSY".into()),
            (Malformed, |s| s.actor_commitment = Bytes::from_static(&[1; 32])),
            (Malformed, |s| s.software = "x".repeat(65)),
            (Malformed, |s| s.software = String::new()),
            (Malformed, |s| s.flags = vec![2, 1]),
            (Malformed, |s| s.flags = vec![9]),
            (UnsupportedExtension, |s| {
                let bytes = Bytes::from_static(b"x");
                s.extensions = vec![v1::Extension { r#type: 1, critical: true, bytes }];
            }),
        ];
        for (number, (want, break_it)) in table.into_iter().enumerate() {
            let mut statement = raw(&good(Event::ContentConsignment));
            break_it(&mut statement);
            assert_eq!(read(&statement).unwrap_err().reason(), want, "row {number}");
        }
    }

    /// A reason comes with every negative event and with no positive one; a submission has no
    /// recipient.
    #[test]
    fn reasons_and_recipients_follow_the_event() {
        for event in Event::ALL {
            let mut statement = raw(&good(event));
            statement.reason = if event.is_positive() { "BUSY".to_owned() } else { String::new() };
            assert_eq!(read(&statement).unwrap_err().reason(), Reason::Malformed, "{event}");
            let mut statement = raw(&good(event));
            statement.recipient =
                if event.is_submission() { "xb.ncu".to_owned() } else { String::new() };
            assert_eq!(read(&statement).unwrap_err().reason(), Reason::Malformed, "{event}");
        }
        let mut statement = raw(&good(Event::RelayRejection));
        statement.reason = "A_REASON_OF_LATER".to_owned();
        let later = read(&statement).unwrap();
        assert_eq!(
            (later.reason.as_deref(), later.known_reason()),
            (Some("A_REASON_OF_LATER"), None)
        );
        statement.reason = "not a label".to_owned();
        assert!(read(&statement).is_err());
    }

    /// A verdict that rests on time needs a clock that is synchronised; others do not.
    #[test]
    fn verdicts_about_time_need_a_clock() {
        let unsynced = v1::Clock {
            state: v1::ClockState::Unsynced.into(),
            source: v1::ClockSource::Kernel.into(),
            uncertainty_ms: 0,
        };
        for event in Event::ALL {
            let mut statement = raw(&good(event));
            statement.clock = Some(unsynced);
            let by_time = matches!(event, Event::RelayFailure | Event::AcceptanceRejectionExpiry);
            assert_eq!(read(&statement).is_err(), by_time, "{event}");
        }
        let mut expired = raw(&good(Event::RelayRejection));
        expired.reason = "EXPIRED".to_owned();
        assert!(read(&expired).is_ok());
        expired.clock = Some(unsynced);
        assert_eq!(read(&expired).unwrap_err(), StatementError::ClockUntrusted);
        assert_eq!(synced().uncertainty_ms, 20);
    }

    /// The name is committed to with the salt; another name or salt does not fit.
    #[test]
    fn actors_are_committed_to() {
        let (xa, xb) = (Unit::new("xa.ncu", 1), Unit::new("xb.ncu", 11));
        let header = xa.header(&[&xb]);
        for event in Event::ALL {
            let mut new = xb.new_statement(event, &header, &xb);
            new.actor = Some("A. Officer");
            match new.build() {
                Ok(statement) => {
                    assert!(event.names_actor());
                    assert!(statement.is_actor("A. Officer") && !statement.is_actor("B. Officer"));
                    assert!(!statement.bytes().windows(7).any(|part| part == b"Officer"));
                    new.salt = [9; 16];
                    let other = new.build().unwrap();
                    assert_ne!(other.actor_commitment, statement.actor_commitment);
                }
                Err(error) => {
                    assert!(!event.names_actor());
                    assert_eq!(error.reason(), Reason::Malformed);
                }
            }
        }
    }

    /// Any single byte changed, cut or added: refused, or another leaf; never the same leaf.
    #[test]
    fn no_two_readings_of_one_leaf() {
        let statement = good(Event::ContentConsignment);
        for position in 0..statement.bytes().len() {
            for bit in 0..8 {
                let mut bytes = statement.bytes().to_vec();
                bytes[position] ^= 1 << bit;
                if let Ok(other) = Statement::from_bytes(&Bytes::from(bytes)) {
                    assert_ne!(other.leaf_hash(), statement.leaf_hash());
                    assert_ne!(other, statement);
                }
            }
            let cut = statement.bytes().slice(..position);
            assert!(Statement::from_bytes(&cut).is_err(), "cut at {position}");
        }
        let long = Bytes::from(vec![0; limits::STATEMENT_BYTES_MAX + 1]);
        assert_eq!(Statement::from_bytes(&long).unwrap_err().reason(), Reason::TooLarge);
    }
}
