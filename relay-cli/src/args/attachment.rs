//! What can be typed about the files that go with messages.

use std::path::PathBuf;

use clap::Subcommand;
use relay_proto::ids::Digest;

use super::message_ref;

/// `attachment …`
#[derive(Debug, Subcommand)]
pub enum AttachmentVerb {
    /// Those of a message: name, type, size, digest
    #[command(after_help = "Example:\n  relay-cli attachment list 7F3K-22QD")]
    List {
        /// Eight characters, as in 7F3K-22QD, or the whole id
        #[arg(value_name = "ID", value_parser = message_ref)]
        id: String,
    },
    /// Write one to a file of your choice; the sender's name for it decides nothing
    #[command(after_help = "Example:\n  relay-cli attachment get 7F3K-22QD 1 --out notes.pdf")]
    Get {
        /// Eight characters, as in 7F3K-22QD, or the whole id
        #[arg(value_name = "ID", value_parser = message_ref)]
        id: String,
        /// Its number in the list, from 1, or its SHA-256
        #[arg(value_name = "N|SHA256", value_parser = which)]
        which: Which,
        /// Where it is written; nothing is written anywhere else
        #[arg(long, value_name = "PATH")]
        out: PathBuf,
        /// Replace what is there
        #[arg(long)]
        force: bool,
    },
}

/// Which attachment of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// By its place, from 1.
    Number(usize),
    /// By its digest.
    Sha256(Digest),
}

fn which(text: &str) -> Result<Which, String> {
    if let Ok(digest) = text.parse() {
        return Ok(Which::Sha256(digest));
    }
    match text.parse() {
        Ok(number) if number > 0 => Ok(Which::Number(number)),
        _ => Err("expected a number from 1, or 64 hexadecimal digits".to_owned()),
    }
}
