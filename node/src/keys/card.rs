//! This unit's own card as the node needs it: of its unit, naming its keys and its open log.
//!
//! Enter through [`read_card`] and [`log_of`]. Pure but for reading the file. Each fault says what
//! is wrong; [`CardFault::mend`] says what helps.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use relay_proto::{
    card::{Card, CardError, CardLog},
    ids::{LogOrigin, NodeId, UnitId},
    limits, v1,
};

use super::{KeyStore, KeyUse};

/// Reads a card file.
pub fn read_card(path: &Path) -> Result<Card, CardFault> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(limits::CARD_BYTES_MAX).unwrap_or(u64::MAX).saturating_mul(2);
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|source| CardFault::Unreadable { path: path.into(), source })?;
    Card::from_file(&bytes).map_err(|source| CardFault::Invalid { path: path.into(), source })
}

/// Whether a card is of this unit.
pub fn check_unit(card: &Card, node: &NodeId) -> Result<(), CardFault> {
    if card.unit() == node.unit() {
        return Ok(());
    }
    Err(CardFault::OtherUnit { found: card.unit().clone(), expected: node.unit().clone() })
}

/// The unit's open log, when the card names this node with the keys that it has.
pub fn log_of(card: &Card, keys: &KeyStore, node: &NodeId) -> Result<LogOrigin, CardFault> {
    check_unit(card, node)?;
    let signer = keys.signer();
    if card.key(v1::KeyKind::Signing, signer.key_id(KeyUse::Envelope)).is_none() {
        return Err(CardFault::Lacks("the signing key"));
    }
    let transport = keys.transport().public();
    let named = card.nodes().iter().find(|named| named.id == *node);
    if !named.is_some_and(|named| named.transport_keys.iter().any(|key| key.key == transport)) {
        return Err(CardFault::Lacks("this node with its transport key"));
    }
    match open_log_of(card) {
        Some(log) if log.key.key == signer.public(KeyUse::Checkpoint) => Ok(log.origin.clone()),
        _ => Err(CardFault::Lacks("an open log with the log key")),
    }
}

/// The log of a card that goes on.
pub fn open_log_of(card: &Card) -> Option<&CardLog> {
    card.logs().iter().find(|log| log.state == v1::LogState::Open)
}

/// Why a card is not this node's.
#[derive(Debug, thiserror::Error)]
pub enum CardFault {
    /// It cannot be read.
    #[error("`{}` cannot be read", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is no valid card.
    #[error("`{}` is no valid card", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: CardError,
    },
    /// It is another unit's.
    #[error("the card is of {found}, and `node.unit` is {expected}")]
    OtherUnit {
        /// Whose it is.
        found: UnitId,
        /// Who was expected.
        expected: UnitId,
    },
    /// It does not name what the node has.
    #[error("the card does not name {0} that lies in `keys.dir`")]
    Lacks(&'static str),
}

impl CardFault {
    /// The kind of fault, for programs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "CARD_MISSING",
            Self::Invalid { .. } => "BAD_CARD",
            Self::OtherUnit { .. } | Self::Lacks(_) => "CARD_OF_ANOTHER",
        }
    }

    /// What helps.
    pub fn mend(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => {
                "name the card that `init` made, and let the node's user read it"
            }
            Self::Invalid { .. } => "put the card that `init` made back from its backup",
            Self::OtherUnit { .. } => "correct `node.unit`, or name the card of this unit",
            Self::Lacks(_) => {
                "name card, keys and node that were made together: those of one `init`, or a card \
                 that was signed anew for these keys"
            }
        }
    }
}
