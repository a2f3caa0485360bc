//! `alarm …`: what an operator must look at.

use clap::Subcommand;

use super::{RepeatArgs, stated};

/// `alarm …`
#[derive(Debug, Subcommand)]
pub enum AlarmVerb {
    /// Those that stand, the newest first
    #[command(after_help = "Example:\n  relay-cli alarm list --all\n\nEnds with 1 if one stands.")]
    List {
        /// Also those that ended: who ended them, why and when
        #[arg(long)]
        all: bool,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50,
              value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// State that an alarm is done with; a cause that is still there raises it again
    #[command(after_help = "Example:\n  relay-cli alarm clear 4711 --by 'K. Novak' \\\n      \
                            --reason 'disk replaced, backup in place'")]
    Clear {
        /// The number that `alarm list` shows
        #[arg(value_name = "ID")]
        id: u64,
        /// Who; stored with the time, shown by `alarm list --all`
        #[arg(long, value_name = "NAME", value_parser = stated)]
        by: String,
        /// Why; stored and shown as well
        #[arg(long, value_name = "TEXT", value_parser = stated)]
        reason: String,
        #[command(flatten)]
        repeat: RepeatArgs,
    },
}
