//! The node's private keys: made once, kept in files that only the node's user may read, never
//! printed.
//!
//! Enter through [`KeyStore`]: [`KeyStore::create`] for `init`, [`KeyStore::open`] for a running
//! node, then [`KeyStore::signer`] for whoever signs; [`log_of`] holds the unit's card to
//! them. May use `proto` and `config` only.
//!
//! Invariants: a key file is created with its mode and never overwritten; a file or directory that
//! others could read or change is refused; the identity key is not read by a running node, so it
//! can be taken offline.

mod card;
mod file;
mod signer;
mod store;

use std::{io, path::PathBuf};

pub use self::{
    card::{CardFault, check_unit, log_of, open_log_of, read_card},
    file::{check_dir, check_file},
    signer::{KeyUse, SignError, Signer},
    store::{
        IDENTITY_FILE, Identity, InstanceId, KeyStore, REQUIRED_FILES, ResetKey, SecretKey,
        log_file,
    },
};

/// Why keys were not made or not taken.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// There is something where a key should be made.
    #[error("`{}` exists, and keys are never overwritten: choose another directory", .0.display())]
    Exists(PathBuf),
    /// A file that a running node needs is not there.
    #[error(
        "`{}` is missing: put it back from its backup; without one, make a new node with \
         `relay-node init` and have its card verified again by all peers", .0.display()
    )]
    Missing(PathBuf),
    /// Others than the owner could read or change it.
    #[error(
        "`{}` has mode {mode:04o}, so others can use it: run `chmod {wanted:o} {}` and consider \
         who may have read it", .path.display(), .path.display()
    )]
    Permissions {
        /// File or directory.
        path: PathBuf,
        /// What it has.
        mode: u32,
        /// What it should have.
        wanted: u32,
    },
    /// It belongs to another user.
    #[error(
        "`{}` belongs to user {owner}, the node runs as user {us}: run `chown {us} {}`",
        .path.display(), .path.display()
    )]
    Owner {
        /// File or directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// Not what it should be: a directory, a device, a link, other bytes.
    #[error("`{}` is not {wanted}: put the right one in its place", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What should be there.
        wanted: &'static str,
    },
    /// The system refused.
    #[error("cannot {verb} `{}`", .path.display())]
    Io {
        /// Create, read, …
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The system has no randomness to give.
    #[error("the system gave no random bytes")]
    Random(#[source] io::Error),
}
