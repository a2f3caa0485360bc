//! Why an attachment is not taken or not given.

use std::io;

use relay_proto::{ids::Digest, reason::Reason};

use crate::store::{StoreError, journal::is_full};

/// Why an attachment is not taken or not given.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Somebody writes this part at the moment.
    #[error("this attachment is being brought already")]
    Busy,
    /// Its owner has as much here that no message lists as he may.
    #[error("too many attachments are here that no message lists")]
    Quota,
    /// No room on the disk.
    #[error("no room for this attachment")]
    Full,
    /// The bytes have another digest or size; what came of them was dropped.
    #[error("the bytes are not those of the digest and size")]
    Mismatch,
    /// It is not here.
    #[error("attachment {0} is not here")]
    Missing(Digest),
    /// It is not what was written.
    #[error("attachment {0} is damaged")]
    Damaged(Digest),
    /// The index failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk failed.
    #[error("attachment could not be read or written")]
    Io(#[source] io::Error),
    /// A bug.
    #[error("work on an attachment panicked")]
    Panicked,
}

impl BlobError {
    /// The label that leaves the machine.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Busy => Reason::Busy,
            Self::Quota => Reason::Quota,
            Self::Full => Reason::StorageFull,
            Self::Mismatch => Reason::AttachmentMismatch,
            Self::Missing(_) => Reason::AttachmentMissing,
            Self::Damaged(_) => Reason::StoreDamaged,
            Self::Store(error) => error.reason(),
            Self::Io(_) | Self::Panicked => Reason::Internal,
        }
    }
}

impl From<io::Error> for BlobError {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::Full } else { Self::Io(error) }
    }
}
