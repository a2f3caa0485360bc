//! Composition root: builds every room from checked settings, starts and stops them in order.
//!
//! Enter through [`run`]. Only `main` and tests may use this module.

use std::{error::Error, path::Path};

use relay_proto::{ids::NodeId, timestamp::Timestamp};

use crate::{config::Settings, keys::InstanceId};

/// Runs a node until it is told to stop.
pub fn run(_settings: Settings) -> Result<(), RunError> {
    Err(RunError::Start { what: "daemon", source: "this build has no rooms to start".into() })
}

/// Makes an empty store in an empty directory; only `init` calls this.
pub fn create_store(
    _dir: &Path,
    _node: &NodeId,
    _instance: InstanceId,
    _now: Timestamp,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    Ok(())
}

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
    /// The process's exit status: 74 (EX_IOERR) asks service managers not to restart before a look
    /// at the disk.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Journal { .. } => 74,
            Self::Start { .. } | Self::Task { .. } => 1,
        }
    }
}
