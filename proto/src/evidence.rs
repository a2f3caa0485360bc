//! Evidence: one file that shows, without a network and years later, who confirmed what about a
//! message.
//!
//! [`parse`] and [`to_bytes`] are the file, [`verify`] is the judgement, `files` are the same facts
//! for verifiers that others wrote. Nothing here reads a clock: a bundle verifies after its keys
//! expired. Invariant: keys that a bundle brings along prove nothing by themselves; VALID needs an
//! anchor that the verifier had before.

mod anchors;
mod files;
mod verdict;
mod verify;

use bytes::Bytes;
use prost::Message as _;

use crate::{
    limits,
    reason::Reason,
    scan::{self, ScanError, schema},
    v1,
};

pub use anchors::{AnchorConflict, TrustAnchors};
pub use files::{
    leaf_file, receipt_file_stem, tlog_proof_file, vkey_file, vkey_file_name, vkey_line,
};
pub use verdict::{Bounds, Effect, NOT_PROVEN, Outcome, Problem, ReceiptLine, Verdict};
pub use verify::verify;

/// Reads a bundle's file; nothing in it is verified yet.
pub fn parse(file: &[u8]) -> Result<v1::EvidenceBundle, BundleError> {
    let bytes = file.strip_prefix(FILE_HEAD).ok_or(BundleError::NotABundle)?;
    let bytes = Bytes::copy_from_slice(bytes);
    let (bytes_max, fields_max) = (limits::BUNDLE_BYTES_MAX, limits::BUNDLE_FIELDS_MAX);
    let bundle: v1::EvidenceBundle =
        scan::decode_with(&bytes, &schema::EVIDENCE_BUNDLE, bytes_max, fields_max)?;
    if !bundle.directory.is_empty() {
        return Err(BundleError::Reserved);
    }
    Ok(bundle)
}

/// The bytes of a bundle's file: a line that says what it is, then the canonical encoding.
pub fn to_bytes(bundle: &v1::EvidenceBundle) -> Vec<u8> {
    [FILE_HEAD, &bundle.encode_to_vec()].concat()
}

/// Why a file is not a bundle that this version reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Another file.
    #[error("not an evidence bundle: the first line is not `relay-evidence/v1`")]
    NotABundle,
    /// Too long or not canonical.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A part that only a later version can judge.
    #[error("the bundle holds a signed directory, which this version does not verify")]
    Reserved,
}

impl BundleError {
    /// The label that leaves the machine.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotABundle => Reason::Malformed,
            Self::Scan(error) => error.reason(),
            Self::Reserved => Reason::UnsupportedExtension,
        }
    }
}

const FILE_HEAD: &[u8] = b"relay-evidence/v1\n";
