//! The unit's log of receipts: checkpoints and proofs over durable leaves.
//!
//! Enter through [`Tlog`]. It may use the keys and the store. Invariants: a checkpoint is signed
//! only over leaves that a power cut leaves; one signature serves all receipts of a batch; no
//! checkpoint contradicts one that was signed before, else the node does not sign at all.

use std::sync::Arc;

use relay_proto::{
    ids::{Digest, LogOrigin},
    reason::Reason,
    tlog::{Checkpoint, CheckpointError, TreeError, consistency_proof, inclusion_proof, root_at},
};
use tokio::sync::Mutex;

use crate::{
    keys::{KeyUse, SignError, Signer},
    store::{Hashes, LogHead, Store, StoreError},
};

/// A checkpoint that this unit signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCheckpoint {
    /// Leaves.
    pub size: u64,
    /// Root.
    pub root: Digest,
    /// The signed note.
    pub note: Arc<str>,
}

/// The unit's log. Clones share it.
#[derive(Clone)]
pub struct Tlog {
    store: Store,
    signer: Arc<Signer>,
    /// The newest checkpoint; held while a newer one is signed, so that one size is signed once.
    newest: Arc<Mutex<Option<OwnCheckpoint>>>,
}

impl Tlog {
    /// The log of the open store. Refused when the store has fewer or other leaves than were
    /// signed.
    pub fn open(store: Store, signer: Arc<Signer>) -> Result<Self, TlogError> {
        if let Some((size, root)) = store.anchor()? {
            let head = *store.head().borrow();
            let intact = size <= head.size
                && store.read(|view| root_at(size, &Hashes::of(view, store.origin()))).ok()
                    == Some(root);
            if !intact {
                return Err(TlogError::Behind { signed: size, held: head.size });
            }
        }
        Ok(Self { store, signer, newest: Arc::default() })
    }

    /// The origin of the log.
    pub fn origin(&self) -> &LogOrigin {
        self.store.origin()
    }

    /// A checkpoint of all leaves that are durable now; signed once per size.
    pub async fn checkpoint(&self) -> Result<OwnCheckpoint, TlogError> {
        let mut newest = self.newest.lock().await;
        let LogHead { size, root, .. } = *self.store.head().borrow();
        if let Some(known) = newest.as_ref().filter(|known| known.size == size) {
            return Ok(known.clone());
        }
        let checkpoint = Checkpoint { origin: self.origin().clone(), size, root };
        let signature = self.signer.sign(KeyUse::Checkpoint, checkpoint.text().as_bytes()).await?;
        let key = self.signer.public(KeyUse::Checkpoint);
        let signed = match self.signer.is_own_memory() && !cfg!(debug_assertions) {
            true => checkpoint.finish_unchecked(key, signature)?,
            false => checkpoint.finish(key, signature)?,
        };
        let note: Arc<str> = signed.note().to_string().into();
        self.store.note_signed(size, root);
        let own = OwnCheckpoint { size, root, note };
        *newest = Some(own.clone());
        Ok(own)
    }

    /// The newest checkpoint that was signed in this run; empty before the first.
    pub fn newest_note(&self) -> String {
        let newest = self.newest.try_lock().ok();
        let note = newest.and_then(|newest| newest.as_ref().map(|own| own.note.to_string()));
        note.unwrap_or_default()
    }

    /// The path of a leaf under the tree of that size.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Digest>, TlogError> {
        self.check_size(size)?;
        Ok(self
            .store
            .read(|view| inclusion_proof(index, size, &Hashes::of(view, self.origin())))?)
    }

    /// That the tree of size `from` is a prefix of the one of size `to`.
    pub fn consistency(&self, from: u64, to: u64) -> Result<Vec<Digest>, TlogError> {
        self.check_size(to)?;
        Ok(self.store.read(|view| consistency_proof(from, to, &Hashes::of(view, self.origin())))?)
    }

    fn check_size(&self, size: u64) -> Result<(), TlogError> {
        let held = self.store.head().borrow().size;
        if size > held { Err(TlogError::Behind { signed: size, held }) } else { Ok(()) }
    }
}

/// Why there is no checkpoint or proof.
#[derive(Debug, thiserror::Error)]
pub enum TlogError {
    /// More leaves were signed than the store holds: it was set back.
    #[error("the log was signed at size {signed} and the store holds {held}: nothing is signed")]
    Behind {
        /// What was signed or asked for.
        signed: u64,
        /// What is there.
        held: u64,
    },
    /// The key gives no signature now.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The signature does not verify under our own key.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The sizes asked for do not fit, or a hash is missing.
    #[error("no proof for these sizes")]
    Proof(#[from] TreeError<StoreError>),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TlogError {
    /// The label that leaves the machine.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Sign(_) => Reason::SignerUnavailable,
            Self::Store(error) => error.reason(),
            Self::Behind { .. } | Self::Proof(_) => Reason::NotFound,
            Self::Checkpoint(_) => Reason::Internal,
        }
    }
}
