//! The result of checking a bundle: everything that was found, not only the first problem.
//!
//! Plain data. Invariant: the outcomes follow from the problems and from what was anchored, nowhere
//! else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    ids::{Digest, LogOrigin, MessageId, UnitId},
    keys::KeyId,
    reason::Reason,
    receipt::Event,
    timestamp::Timestamp,
    v1,
};

/// The judgement in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// All verifies under keys that the verifier had trusted before.
    Valid,
    /// All verifies under keys that the bundle brought along: compare them before believing
    /// anything.
    Consistent,
    /// A revoked key signed, or an untrusted clock dates a receipt outside the window of its key,
    /// and nobody else proves when it was: neither valid nor forged.
    UnprovenTime,
    /// Something does not verify.
    Invalid,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "VALID",
            Self::Consistent => "CONSISTENT",
            Self::UnprovenTime => "UNPROVEN-TIME",
            Self::Invalid => "INVALID",
        })
    }
}

/// Everything that was found in a bundle.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The judgement.
    pub outcome: Outcome,
    /// Which anchors carried it, one line each.
    pub anchored_by: BTreeSet<String>,
    /// Units whose keys came with the bundle only, with the identity key to compare (none without a
    /// card).
    pub unanchored: BTreeMap<UnitId, Option<KeyId>>,
    /// The message, when its header could be read.
    pub message_id: Option<MessageId>,
    /// SHA-256 of the header bytes.
    pub header_digest: Option<Digest>,
    /// The sender, when the header verified.
    pub from: Option<UnitId>,
    /// The recipients, when the header verified.
    pub to: Vec<UnitId>,
    /// Whether the payload is in the bundle and is the one that the header fixes.
    pub payload_matches: bool,
    /// The receipts whose statements could be read, in the order of the bundle.
    pub ladder: Vec<ReceiptLine>,
    /// The same judgement of what each unit states, the sender and all issuers: header and payload,
    /// its own cards and receipts, nothing of another one. What one unit did does not make another
    /// one's word worthless.
    pub parts: BTreeMap<UnitId, Outcome>,
    /// What was found wrong or noteworthy.
    pub problems: Vec<Problem>,
    /// What even a VALID bundle does not show.
    pub not_proven: &'static [&'static str],
}

/// One receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptLine {
    /// Its number in the bundle, from 1; also the number in the names of its files.
    pub number: usize,
    /// What it states.
    pub event: Event,
    /// Whose statement it is.
    pub issuer: UnitId,
    /// About which recipient.
    pub recipient: Option<UnitId>,
    /// The stated time.
    pub event_time: Timestamp,
    /// How far the issuer trusted its clock.
    pub clock: v1::Clock,
    /// Label of the reason.
    pub reason: Option<String>,
    /// Who acted, when the name is kept and is the one committed to.
    pub actor: Option<String>,
    /// What the statement is flagged with.
    pub flags: Vec<v1::StatementFlag>,
    /// Where the leaf stands.
    pub index: u64,
    /// In which log; none when the checkpoint could not be read.
    pub log: Option<LogOrigin>,
    /// Size of the tree that covers it.
    pub size: Option<u64>,
    /// What others prove about the time.
    pub bounds: Bounds,
    /// Whether everything about this receipt verified.
    pub verified: bool,
}

/// Bounds of a leaf's time that come from the cosignatures of others. This version verifies none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Not before: the newest cosignature of a tree without the leaf.
    pub earliest: Option<Timestamp>,
    /// Not after: the first cosignature of a tree with the leaf.
    pub latest: Option<Timestamp>,
}

/// What a problem does to the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Told only.
    Remark,
    /// The time is not proven.
    UnprovenTime,
    /// The bundle does not verify.
    Invalid,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it does to the outcome.
    pub effect: Effect,
    /// The stable label.
    pub reason: Reason,
    /// Which part of the bundle: `header`, `payload`, `card 2`, `receipt 3`.
    pub place: String,
    /// Whose card or receipt it is; none: it spoils what all units contribute.
    pub unit: Option<UnitId>,
    /// One sentence for people.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.reason, self.text)
    }
}

/// What even a VALID bundle does not show.
pub const NOT_PROVEN: &[&str] = &[
    "that a person read the message: a receipt says what its event says and no more",
    "that a receipt which is not here does not exist",
    "the instants: each is stated by its issuer; no cosignature of a third unit bounds them",
    "that the issuer shows everybody the same log: that is for its peers to compare",
    "that data were preserved: only a message of the recipient says that",
];
