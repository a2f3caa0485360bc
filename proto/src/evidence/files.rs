//! The facts of a bundle as plain files for verifiers that others wrote: leaf, C2SP tlog-proof,
//! verifier key.
//!
//! Invariant: whoever follows the C2SP texts and knows nothing of ours can check a leaf with these
//! three.

use crate::{
    card::Card,
    ids::{LogOrigin, UnitId},
    limits,
    receipt::{Event, leaf_bytes},
    tlog::{Note, NoteError, TlogProof, VerifierKey, path_from_wire},
    v1,
};

/// `NN-EVENT`; with `.leaf` and `.tlog-proof` the names of a receipt's files. Numbers start at 1.
pub fn receipt_file_stem(number: usize, event: Event) -> String {
    format!("{number:02}-{}", event.name())
}

/// `UNIT.vkey`
pub fn vkey_file_name(unit: &UnitId) -> String {
    format!("{unit}.vkey")
}

/// The bytes of `NN-EVENT.leaf`: exactly what is in the log.
pub fn leaf_file(receipt: &v1::Receipt) -> Vec<u8> {
    leaf_bytes(&receipt.statement)
}

/// The text of `NN-EVENT.tlog-proof`; refused when path or checkpoint are not well-formed.
pub fn tlog_proof_file(receipt: &v1::Receipt) -> Result<String, NoteError> {
    let path = path_from_wire(&receipt.path, limits::PATH_HASHES_MAX)
        .map_err(|_| NoteError::Malformed("the path is too long or a hash is not 32 bytes"))?;
    let checkpoint: Note = receipt.checkpoint.parse()?;
    Ok(TlogProof { extra: None, index: receipt.index, path, checkpoint }.to_string())
}

/// The verifier key of one log of a card, if the card names that log.
pub fn vkey_line(card: &Card, origin: &LogOrigin) -> Option<String> {
    let log = card.log(origin)?;
    Some(VerifierKey::new(origin.to_string(), log.key.key).ok()?.to_string())
}

/// The text of `UNIT.vkey`: one line for each log of the card.
pub fn vkey_file(card: &Card) -> String {
    let lines = card.logs().iter().filter_map(|log| vkey_line(card, &log.origin));
    lines.map(|line| line + "\n").collect()
}
