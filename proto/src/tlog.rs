//! The append-only log of receipts: RFC 6962 hashing and the C2SP text formats, unchanged.
//!
//! `tree` makes roots and proofs, `verify` checks them, `note` and `checkpoint` are the signed
//! texts, `proof` is the file that a stranger's verifier reads. Nothing here stores or signs:
//! interior hashes come from a [`HashReader`], signatures from the caller. Invariant: one tree has
//! one root, one proof of exactly one length, one printed form.

mod checkpoint;
mod note;
mod proof;
mod text;
mod tree;
mod verify;

pub use checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
pub use note::{Note, NoteError, NoteSignature, VerifierKey};
pub use proof::{ProofFileError, TlogProof};
pub use tree::{
    Frontier, HashReader, MemoryTree, Position, TREE_SIZE_MAX, TreeError, consistency_proof,
    empty_root, inclusion_proof, leaf_hash, node_hash, root_at,
};
pub use verify::{ProofError, path_from_wire, path_to_wire, verify_consistency, verify_inclusion};
