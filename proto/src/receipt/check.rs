//! What a receiver of receipts checks before it believes one.
//!
//! [`check_group`] judges the checkpoint and spoils all receipts under it; [`check_receipt`] judges one receipt
//! and spoils only that; [`advance`] compares the checkpoint with the one that is held. Pure: keys, header and
//! routes are arguments, nothing is stored. Invariant: outbox entries are meant by header digest and recipient,
//! never by message id, else the refusal of a second header would settle the first.

use crate::{
    card::Card,
    envelope::Header,
    ids::{Digest, LogOrigin, UnitId},
    reason::Reason,
    receipt::{IssuerRole, Statement, StatementError},
    tlog::{
        Checkpoint, CheckpointError, ProofError, SignedCheckpoint, verify_consistency,
        verify_inclusion,
    },
    v1,
};

/// A receipt as it came, its statement read.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The leaf.
    pub statement: &'a Statement,
    /// Its number in the log.
    pub index: u64,
    /// From the leaf's sibling up to the root's child.
    pub path: &'a [Digest],
}

/// What a receipt is held against.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The header that we hold under the statement's header digest.
    pub header: &'a Header,
    /// The issuer's card.
    pub issuer: &'a Card,
    /// Units that may carry this message between its ends.
    pub hubs: &'a [UnitId],
}

/// Why a receipt, or a group of them, was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The statement breaks a rule.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The checkpoint breaks a rule: the whole group is spoiled.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The log's key was revoked, and no one else proves when the checkpoint was signed.
    #[error("the key of log {0} was revoked")]
    LogKeyRevoked(LogOrigin),
    /// A closed log does not grow.
    #[error("log {0} was closed at a smaller size")]
    LogClosed(LogOrigin),
    /// The log is not one of the statement's issuer.
    #[error("the receipt lies in a log of another unit than its issuer")]
    ForeignLog,
    /// The leaf is not where the receipt says.
    #[error("inclusion proof: {0}")]
    Inclusion(ProofError),
    /// The node is not on the issuer's card.
    #[error("the issuer's card does not name the issuing node")]
    UnknownNode,
    /// This unit may not state this event about this message.
    #[error("this unit may not issue this event")]
    WrongRole,
    /// Digest, id, sender, recipient or time differ from the header that is held.
    #[error("the receipt is about another message: {0} differs")]
    OtherMessage(&'static str),
}

impl ReceiptError {
    /// The label that leaves the machine.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Statement(error) => error.reason(),
            Self::Checkpoint(error) => error.reason(),
            Self::LogKeyRevoked(_) => Reason::KeyRevoked,
            Self::LogClosed(_) => Reason::PeerRolledBack,
            Self::ForeignLog => Reason::UnknownLog,
            Self::Inclusion(error) => error.reason(),
            Self::UnknownNode | Self::WrongRole => Reason::WrongIssuer,
            Self::OtherMessage(_) => Reason::UnknownMessage,
        }
    }
}

/// Opens the checkpoint of a group under a log of the issuer's card.
pub fn check_group(note: &str, issuer: &Card) -> Result<SignedCheckpoint, ReceiptError> {
    let find = |origin: &LogOrigin| issuer.log(origin).map(|log| log.key.key);
    let signed = SignedCheckpoint::open(note, find)?;
    let checkpoint = signed.checkpoint();
    let origin = checkpoint.origin.clone();
    if issuer.log(&origin).is_some_and(|log| log.key.status == v1::KeyStatus::Revoked) {
        return Err(ReceiptError::LogKeyRevoked(origin));
    }
    let name = origin.to_string();
    let closed = issuer.value().logs.iter().find(|log| log.origin == name);
    let closed = closed.filter(|log| log.state() == v1::LogState::Closed);
    if closed.is_some_and(|log| checkpoint.size > log.closed_size) {
        return Err(ReceiptError::LogClosed(origin));
    }
    Ok(signed)
}

/// Whether the receipt is in that log, by somebody who may say so, about the message that we hold.
///
/// Whether the checkpoint goes on from the one that is held ([`advance`]) and what the receipt changes
/// ([`crate::receipt::legal_after`]) are questions of their own.
pub fn check_receipt(
    received: Received<'_>,
    checkpoint: &Checkpoint,
    expected: Expected<'_>,
) -> Result<(), ReceiptError> {
    let Received { statement, index, path } = received;
    if checkpoint.origin.unit != statement.issuer || *expected.issuer.unit() != statement.issuer {
        return Err(ReceiptError::ForeignLog);
    }
    let (size, root) = (checkpoint.size, &checkpoint.root);
    verify_inclusion(index, size, &statement.leaf_hash(), path, root)
        .map_err(ReceiptError::Inclusion)?;
    if !expected.issuer.has_node(&statement.node) {
        return Err(ReceiptError::UnknownNode);
    }
    check_message(statement, expected.header, expected.hubs)
}

/// Role and subject of a statement: its issuer may say this, and says it of this header.
pub fn check_message(
    statement: &Statement,
    header: &Header,
    hubs: &[UnitId],
) -> Result<(), ReceiptError> {
    let same = |holds, what| if holds { Ok(()) } else { Err(ReceiptError::OtherMessage(what)) };
    same(statement.header_digest == header.digest, "the header digest")?;
    same(statement.message_id == header.message_id, "the message id")?;
    same(statement.sender == header.from, "the sender")?;
    same(statement.submitted_at == header.created_at, "the time of submission")?;
    same(statement.recipient.iter().all(|unit| header.to.contains(unit)), "the recipient")?;
    let issuer = &statement.issuer;
    let is_recipient = statement.recipient.as_ref() == Some(issuer);
    let allowed = match statement.event.issuer() {
        IssuerRole::Sender => *issuer == header.from,
        IssuerRole::Recipient => is_recipient,
        IssuerRole::RecipientOrHub => is_recipient || hubs.contains(issuer),
    };
    if allowed { Ok(()) } else { Err(ReceiptError::WrongRole) }
}

/// How a peer's checkpoint stands to the one of the same log that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointAdvance {
    /// Goes on from the held one, or is the first: hold this one.
    Newer,
    /// The held one.
    Same,
    /// Proven to lie before the held one: its receipts count, the held one stays.
    Older,
    /// Nothing is known until the issuer proves these sizes consistent: its receipts settle nothing yet.
    NeedProof {
        /// The smaller size.
        from: u64,
        /// The larger size.
        to: u64,
    },
    /// A proof of exactly these sizes was given and is wrong: ask for a checkpoint at the held size.
    BadProof {
        /// The smaller size.
        from: u64,
        /// The larger size.
        to: u64,
    },
    /// Two signed roots of one size: the portable proof that the log was forked.
    Fork,
}

impl CheckpointAdvance {
    /// The label of what keeps the receipts from counting; none when they count.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Newer | Self::Same | Self::Older => None,
            Self::NeedProof { .. } => Some(Reason::UnprovenExtension),
            Self::BadProof { .. } => Some(Reason::BadConsistency),
            Self::Fork => Some(Reason::PeerRolledBack),
        }
    }
}

/// A consistency proof as it came, of a group or in answer to a question.
#[derive(Debug, Clone, Copy)]
pub struct ConsistencyPath<'a> {
    /// The smaller size.
    pub from: u64,
    /// The larger size.
    pub to: u64,
    /// The hashes.
    pub path: &'a [Digest],
}

/// Compares a verified checkpoint with the (size, root) that is held of the same log.
///
/// A smaller checkpoint may be of a fork just as well as a larger one, so it needs its proof, too.
pub fn advance(
    held: Option<(u64, Digest)>,
    incoming: &Checkpoint,
    proof: Option<ConsistencyPath<'_>>,
) -> CheckpointAdvance {
    let Some((held_size, held_root)) = held.filter(|(size, _)| *size > 0) else {
        return CheckpointAdvance::Newer;
    };
    if incoming.size == held_size {
        let same = incoming.root == held_root;
        return if same { CheckpointAdvance::Same } else { CheckpointAdvance::Fork };
    }
    if incoming.size == 0 {
        // Every log began empty.
        return CheckpointAdvance::Older;
    }
    let newer = incoming.size > held_size;
    let (from, to) = if newer { (held_size, incoming.size) } else { (incoming.size, held_size) };
    let Some(proof) = proof.filter(|proof| (proof.from, proof.to) == (from, to)) else {
        return CheckpointAdvance::NeedProof { from, to };
    };
    let (root1, root2) =
        if newer { (&held_root, &incoming.root) } else { (&incoming.root, &held_root) };
    match verify_consistency(from, to, proof.path, root1, root2) {
        Ok(()) if newer => CheckpointAdvance::Newer,
        Ok(()) => CheckpointAdvance::Older,
        Err(_) => CheckpointAdvance::BadProof { from, to },
    }
}
