//! `peer …`: the units that we exchange messages with.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use relay_proto::ids::UnitId;

use super::{RepeatArgs, stated};

/// `peer …`
#[derive(Debug, Subcommand)]
pub enum PeerVerb {
    /// Import a unit's card; nothing is exchanged before it is verified
    #[command(after_help = "Example:\n  relay-cli peer add xb.ncu.relaycard")]
    Add {
        /// The file that the unit's operator sent
        #[arg(value_name = "CARD")]
        card: PathBuf,
        #[command(flatten)]
        repeat: RepeatArgs,
    },
    /// Compare the 60 digits by telephone, then trust the unit
    #[command(after_help = HELP_VERIFY)]
    Verify(VerifyArgs),
    /// All peers, one per line
    #[command(after_help = "Example:\n  relay-cli peer list\n\nEnds with 1 if one needs you.")]
    List,
    /// One peer: contact, trust, keys, alarms
    #[command(after_help = "Example:\n  relay-cli peer show xb.ncu")]
    Show {
        /// As in xb.ncu
        #[arg(value_name = "UNIT")]
        unit: UnitId,
    },
    /// Is the peer's node there? How far, with which key exchange?
    #[command(after_help = "Example:\n  relay-cli peer ping xb.ncu")]
    Ping {
        /// As in xb.ncu
        #[arg(value_name = "UNIT")]
        unit: UnitId,
    },
    /// Exchange nothing with this unit until it is verified again
    #[command(after_help = "Example:\n  relay-cli peer suspend xb.ncu --by 'K. Novak' \\\n      \
                            --reason 'key may be lost'")]
    Suspend {
        /// As in xb.ncu
        #[arg(value_name = "UNIT")]
        unit: UnitId,
        /// Who suspends; stored with the time, shown with the peer
        #[arg(long, value_name = "NAME", value_parser = stated)]
        by: String,
        /// Why; stored and shown as well
        #[arg(long, value_name = "TEXT", value_parser = stated)]
        reason: String,
        #[command(flatten)]
        repeat: RepeatArgs,
    },
    /// Accept that this unit's log lost receipts and goes on as the next one
    #[command(after_help = "Example:\n  relay-cli peer rollback-accept xb.ncu --by 'K. Novak'\n\n\
        After a call with the unit. What its log lost is sent again; nothing happens twice.")]
    RollbackAccept {
        /// As in xb.ncu
        #[arg(value_name = "UNIT")]
        unit: UnitId,
        /// Who accepts it
        #[arg(long, value_name = "NAME")]
        by: String,
        #[command(flatten)]
        repeat: RepeatArgs,
    },
    /// Forget this unit: its card and its trust; messages and receipts stay
    #[command(after_help = "Example:\n  relay-cli peer remove xb.ncu")]
    Remove {
        /// As in xb.ncu
        #[arg(value_name = "UNIT")]
        unit: UnitId,
        /// Do not ask for the unit's name again
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        repeat: RepeatArgs,
    },
}

/// `peer verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// As in xb.ncu
    #[arg(value_name = "UNIT")]
    pub unit: UnitId,
    /// All sixty digits, from a script that has them by a safe way
    #[arg(long, value_name = "DIGITS", conflicts_with_all = ["read", "groups"])]
    pub fingerprint: Option<String>,
    /// Print the groups, to be read to the other side
    #[arg(long, conflicts_with = "groups")]
    pub read: bool,
    /// Ask for these groups (the other side took the rest), as in 1,2,5,6,9,10
    #[arg(long, value_name = "LIST", value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(1..=12))]
    pub groups: Vec<u32>,
    /// Who compares; stored with the time [default: the account's name]
    #[arg(long, value_name = "NAME", value_parser = stated)]
    pub by: Option<String>,
    #[command(flatten)]
    pub repeat: RepeatArgs,
}

const HELP_VERIFY: &str = "\
Telephone the unit's desk on a number that you ALREADY have, not from its card.
Examples:
  relay-cli peer verify xb.ncu --read            they type, you read
  relay-cli peer verify xb.ncu --by 'K. Novak'   they read, you type
  relay-cli peer verify xb.ncu --by script --fingerprint \"$DIGITS\"";
