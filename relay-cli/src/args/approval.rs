//! `approval …`: messages that a second officer has to agree to.

use clap::Subcommand;

use super::{RepeatArgs, stated};

/// `approval …`
#[derive(Debug, Subcommand)]
pub enum ApprovalVerb {
    /// Those that wait for a second officer
    #[command(after_help = "Example:\n  relay-cli approval list --all")]
    List {
        /// Also those that were decided
        #[arg(long)]
        all: bool,
    },
    /// What would be sent
    #[command(after_help = "Example:\n  relay-cli approval show ID")]
    Show {
        /// As `approval list` shows it
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Send it: as the second officer, with another account than the one that asked
    #[command(after_help = "Example:\n  relay-cli approval grant ID")]
    Grant {
        /// As `approval list` shows it
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        repeat: RepeatArgs,
    },
    /// Never send it
    #[command(after_help = "Example:\n  relay-cli approval drop ID --reason 'wrong unit'")]
    Drop {
        /// As `approval list` shows it
        #[arg(value_name = "ID")]
        id: String,
        /// Why; whoever asked reads it
        #[arg(long, value_name = "TEXT", value_parser = stated)]
        reason: String,
        #[command(flatten)]
        repeat: RepeatArgs,
    },
}
