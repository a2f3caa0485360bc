//! `audit …`: who read, sent and changed what at this node.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::When;

/// `audit …`
#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// Who did what, the newest first
    #[command(after_help = "Example:\n  relay-cli audit list --by case-system --limit 20")]
    List {
        /// Only what this account did
        #[arg(long, value_name = "ACCOUNT")]
        by: Option<String>,
        #[command(flatten)]
        span: SpanArgs,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50,
              value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// Write entries into a file, one a line, for whoever supervises the unit
    #[command(
        after_help = "Example:\n  relay-cli audit export --from 2026-11-01 --out audit.jsonl"
    )]
    Export {
        #[command(flatten)]
        span: SpanArgs,
        /// A file that is not there yet
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Check such a file without a node: whether an entry was changed, left out or put in
    #[command(after_help = "Example:\n  relay-cli audit verify audit.jsonl\n\n\
        What was cut off before the first or behind the last entry is not seen: compare\n\
        their hashes with those of the export before, and of the next.")]
    Verify {
        /// What `audit export` wrote
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// A span of time.
#[derive(Debug, Clone, Args)]
pub struct SpanArgs {
    /// From then on, as in 2026-11-01 or @-7d
    #[arg(long, value_name = "TIME", value_parser = When::read)]
    pub from: Option<When>,
    /// Before then
    #[arg(long, value_name = "TIME", value_parser = When::read)]
    pub until: Option<When>,
}
