//! Why a node did not start or did not go on, and the exit status that says so.

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

    /// The process's exit status: 74 (EX_IOERR) asks service managers not to restart before a look
    /// at the disk.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Journal { .. } => 74,
            Self::Start { .. } | Self::Task { .. } => 1,
        }
    }
}
