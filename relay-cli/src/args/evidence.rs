//! `evidence …`: proof for others.

use std::path::PathBuf;

use clap::Subcommand;

use super::{PaperArgs, message_ref};

/// `evidence …`
#[derive(Debug, Subcommand)]
pub enum EvidenceVerb {
    /// Write header, receipts, proofs and keys of a message into a folder
    #[command(after_help = "Example:\n  relay-cli evidence export 7F3K-22QD --to court")]
    Export {
        /// Eight characters, as in 7F3K-22QD, or the whole id
        #[arg(value_name = "ID", value_parser = message_ref)]
        id: String,
        /// Made if it is not there; no file in it is overwritten
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// Also the content; without it the bundle shows none
        #[arg(long)]
        payload: bool,
    },
    /// Check a bundle offline, against what you trust already
    #[command(after_help = HELP_EVIDENCE)]
    Verify {
        /// A .relayev file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Cards of units whose identity you have by a way of your own
        #[arg(long, value_name = "CARD", num_args = 1.., value_delimiter = ',')]
        trust: Vec<PathBuf>,
        /// Verifier keys of logs (C2SP signed-note), as text or file
        #[arg(long, value_name = "VKEY", num_args = 1..)]
        vkey: Vec<String>,
        #[command(flatten)]
        paper: PaperArgs,
    },
}

const HELP_EVIDENCE: &str = "\
Examples:
  relay-cli evidence verify court/7F3K-22QD.relayev --trust xa.relaycard xb.relaycard
  relay-cli evidence verify court/7F3K-22QD.relayev
  relay-cli evidence verify court/7F3K-22QD.relayev --trust xa.relaycard xb.relaycard \\
      --format pdf --out certificate.pdf

VALID (0): all holds and the keys are those that you trust.
CONSISTENT (1): all holds, but the file vouches for its own keys.
INVALID (14): something does not hold; the reason is named. It has no certificate.";
