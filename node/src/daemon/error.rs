//! Why a node did not start or did not go on, what helps, and the exit status that says so.

use std::{error::Error, io};

use relay_proto::reason::Reason;

use crate::{
    keys::{CardFault, KeyStoreError},
    store::{StoreError, journal::JournalError},
};

/// Why a node did not start or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A room could not be started; nothing was sent or taken.
    #[error("cannot start: {what}")]
    Start {
        /// The room.
        what: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The journal could not be written or synced: what is on disk is not known, so nothing goes
    /// on.
    #[error("the journal could not be made durable")]
    Journal {
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The index is damaged or its disk failed. The journal is sound.
    #[error("the index failed: {why}")]
    Index {
        /// What was found.
        why: String,
    },
    /// A task of the process ended though nobody stopped it.
    #[error("task `{name}` ended: {why}")]
    Task {
        /// Its name.
        name: String,
        /// What is known of the cause.
        why: String,
    },
}

impl RunError {
    /// A room that could not be started.
    pub(super) fn start(
        what: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Start { what, source: source.into() }
    }

    /// The kind of fault, for programs: as `config check` and the API name it.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Start { source, .. } => label_of(source.as_ref()),
            Self::Journal { .. } => Reason::StoreStopped.label(),
            Self::Index { .. } => Reason::StoreDamaged.label(),
            Self::Task { .. } => Reason::Internal.label(),
        }
    }

    /// What helps, where the error does not say it itself.
    pub fn mend(&self) -> Option<&'static str> {
        match self {
            Self::Start { source, .. } => mend_of(source.as_ref()),
            Self::Journal { .. } => Some(
                "look at the disk and the system's log; then start the node again: what it had \
                 answered is checked and kept",
            ),
            Self::Index { .. } => Some(
                "start the node again, as its service does: it makes the index anew from the \
                 journal; nothing is lost. If it comes again, look at the disk",
            ),
            Self::Task { .. } => Some("this is a bug: start the node again, and report the log"),
        }
    }

    /// The process's exit status: 74 (EX_IOERR) asks service managers not to restart before a look
    /// at the disk.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Journal { .. } => 74,
            Self::Start { .. } | Self::Index { .. } | Self::Task { .. } => 1,
        }
    }
}

fn label_of(error: &(dyn Error + Send + Sync + 'static)) -> &'static str {
    if let Some(fault) = error.downcast_ref::<CardFault>() {
        return fault.label();
    }
    if error.is::<KeyStoreError>() {
        return "KEYS";
    }
    match error.downcast_ref::<StoreError>() {
        Some(StoreError::Files(error)) => return error.label(),
        Some(StoreError::Journal(JournalError::NewerFormat { .. })) => return "STORE_NEWER",
        Some(error) => return error.reason().label(),
        None => {}
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(one) = cause {
        let kind = one.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)) {
            return "CANNOT_BIND";
        }
        cause = one.source();
    }
    "START_FAILED"
}

fn mend_of(error: &(dyn Error + Send + Sync + 'static)) -> Option<&'static str> {
    if let Some(fault) = error.downcast_ref::<CardFault>() {
        return Some(fault.mend());
    }
    let error = match error.downcast_ref::<StoreError>()? {
        StoreError::Journal(error) => error,
        StoreError::Damaged { .. } | StoreError::IndexDamaged(_) | StoreError::Index(_) => {
            return Some("`relay-node repair --config FILE`");
        }
        _ => return None,
    };
    Some(match error {
        JournalError::NewerFormat { .. } => "run the newer version of this program",
        JournalError::Full(_) => "make room on the file system of `node.dir`",
        JournalError::Missing | JournalError::Damage { .. } => {
            "nothing was changed: keep a copy of `node.dir`, then `relay-node repair --config \
             FILE` puts right what can be and says what helps for the rest"
        }
        _ => "look at the disk of `node.dir` and the system's log",
    })
}
