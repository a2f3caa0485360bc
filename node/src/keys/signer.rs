//! Who signs for the unit: today keys in memory that came from files, later a hardware module.
//!
//! Enter through [`Signer::sign`]. It is async and may fail because a module may be slow or away;
//! no signature means no acceptance, never an unsigned one. Invariant: a signature is given under
//! the key of its use only.

use std::{fmt, sync::Arc};

use ed25519_dalek::Signer as _;
use relay_proto::keys::{KeyId, PublicKey};

use super::store::SecretKey;

/// Signs under the unit's working keys; clones sign with the same keys.
#[derive(Clone)]
pub enum Signer {
    /// Keys in this process's memory.
    File(Arc<FileSigner>),
    /// The same, but each signature waits for a permit.
    #[cfg(test)]
    Slow(Arc<FileSigner>, Arc<tokio::sync::Semaphore>),
}

/// What is signed, which decides the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyUse {
    /// Headers of envelopes: the signing key.
    Envelope,
    /// Checkpoints of the unit's log: the log key.
    Checkpoint,
    /// Temporary refusals: the signing key.
    Deferral,
    /// The succession of a log: the signing key.
    Succession,
    /// Cosignatures on other units' checkpoints: the witness key.
    Cosignature,
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The keys cannot be reached at the moment; nothing was signed.
    #[error("the signing keys cannot be reached: {0}")]
    SignerUnavailable(String),
}

impl Signer {
    /// Signs `input`, which has its domain tag in it already (Ed25519, RFC 8032).
    pub async fn sign(&self, key: KeyUse, input: &[u8]) -> Result<[u8; 64], SignError> {
        match self {
            // Some 20 microseconds: not worth a thread of its own.
            Self::File(keys) => Ok(keys.of(key).dalek().sign(input).to_bytes()),
            #[cfg(test)]
            Self::Slow(keys, gate) => {
                let away = |_| SignError::SignerUnavailable("closed".to_owned());
                gate.acquire().await.map_err(away)?.forget();
                Ok(keys.of(key).dalek().sign(input).to_bytes())
            }
        }
    }

    /// One whose signatures wait for permits.
    #[cfg(test)]
    pub fn slow(self) -> (Self, Arc<tokio::sync::Semaphore>) {
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let (Self::File(keys) | Self::Slow(keys, _)) = self;
        (Self::Slow(keys, Arc::clone(&gate)), gate)
    }

    fn keys(&self) -> &FileSigner {
        match self {
            Self::File(keys) => keys,
            #[cfg(test)]
            Self::Slow(keys, _) => keys,
        }
    }

    /// The public key that verifies what [`Signer::sign`] gives for this use.
    pub fn public(&self, key: KeyUse) -> PublicKey {
        self.keys().of(key).public()
    }

    /// The id of [`Signer::public`].
    pub fn key_id(&self, key: KeyUse) -> KeyId {
        self.public(key).id()
    }

    /// The epoch of the key, as in `Signer.epoch` on the wire.
    pub fn epoch(&self, key: KeyUse) -> u32 {
        self.keys().of(key).epoch()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File(_) => "Signer::File(..)",
            #[cfg(test)]
            Self::Slow(..) => "Signer::Slow(..)",
        })
    }
}

/// The unit's working keys that sign.
pub struct FileSigner {
    pub(super) signing: SecretKey,
    pub(super) log: SecretKey,
    pub(super) witness: SecretKey,
}

impl FileSigner {
    fn of(&self, key: KeyUse) -> &SecretKey {
        match key {
            KeyUse::Envelope | KeyUse::Deferral | KeyUse::Succession => &self.signing,
            KeyUse::Checkpoint => &self.log,
            KeyUse::Cosignature => &self.witness,
        }
    }
}
