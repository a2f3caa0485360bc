//! What can be typed to send a message: from a file, from a draft, step by step; and the templates
//! of such files.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use relay_proto::ids::UnitId;

use super::RepeatArgs;

/// `send …`
#[derive(Debug, Subcommand)]
pub enum SendVerb {
    /// Warn or inform other units
    #[command(after_help = "Example:\n  relay-cli send alert --file alert.json --wait delivered")]
    Alert(SendArgs),
    /// Ask a unit to preserve stored computer data (Budapest Convention, Article 29)
    #[command(
        after_help = "Examples:\n  relay-cli send preservation --file request.json --dry-run\n  \
                            relay-cli send preservation --to xb.ncu --interactive"
    )]
    Preservation(PreservationArgs),
    /// Any other kind: what the file says it is
    #[command(after_help = "Example:\n  relay-cli send message --file info-required.json")]
    Message(SendArgs),
}

/// What all kinds of sending take.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The message as JSON; times may be offsets from when the request id was made, as in "@+28d"
    #[arg(long, value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub post: SendPost,
}

/// `send preservation`
#[derive(Debug, Args)]
pub struct PreservationArgs {
    /// The request as JSON; times may be offsets from when the request id was made, as in "@+28d"
    #[arg(long, value_name = "FILE", required_unless_present = "interactive")]
    pub file: Option<PathBuf>,
    /// Step by step on this terminal: the six parts of Article 29(2)
    #[arg(long, requires = "to", conflicts_with_all = ["file", "dry_run", "request_id"])]
    pub interactive: bool,
    /// With --interactive: the unit that is asked
    #[arg(long, value_name = "UNIT", requires = "interactive", conflicts_with = "file")]
    pub to: Option<UnitId>,
    #[command(flatten)]
    pub post: SendPost,
}

/// How it is sent.
#[derive(Debug, Clone, Args)]
pub struct SendPost {
    /// A file that goes with it, and its media type [default: by the ending of its name]
    #[arg(long, value_name = "FILE[=TYPE]", value_parser = attach)]
    pub attach: Vec<Attach>,
    #[command(flatten)]
    pub repeat: RepeatArgs,
    /// Check everything, store and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Return when every recipient has got so far, or at --timeout
    #[arg(long, value_name = "STATE", conflicts_with = "dry_run")]
    pub wait: Option<WaitFor>,
}

/// `--attach`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    pub file: PathBuf,
    /// As in application/pdf, where it is stated.
    pub media_type: Option<String>,
}

/// How far a message has to get before `send` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum WaitFor {
    /// It is durable at the peer
    Delivered,
    /// A case system or an officer there took it
    Handover,
    /// A named officer there took it
    #[value(alias = "human-ack")]
    Ack,
}

/// `draft …`
#[derive(Debug, Subcommand)]
pub enum DraftVerb {
    /// Keep a message file as a draft
    #[command(after_help = "Example:\n  relay-cli draft save xb-mailbox --file request.json")]
    Save {
        /// Its name: small letters, digits, dots and dashes
        #[arg(value_name = "NAME", value_parser = draft_name)]
        name: String,
        /// The message as JSON, finished or not
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// All of this account
    #[command(after_help = "Example:\n  relay-cli draft list")]
    List,
    /// One of them
    #[command(after_help = "Example:\n  relay-cli draft show xb-mailbox")]
    Show {
        /// Its name
        #[arg(value_name = "NAME", value_parser = draft_name)]
        name: String,
    },
    /// Edit it with the program that VISUAL or EDITOR names
    #[command(after_help = "Example:\n  relay-cli draft edit xb-mailbox")]
    Edit {
        /// Its name
        #[arg(value_name = "NAME", value_parser = draft_name)]
        name: String,
    },
    /// Send it; again is safe: it has one request id from its first try on
    #[command(after_help = "Example:\n  relay-cli draft submit xb-mailbox --wait delivered")]
    Submit {
        /// Its name
        #[arg(value_name = "NAME", value_parser = draft_name)]
        name: String,
        /// Check everything, store and send nothing
        #[arg(long)]
        dry_run: bool,
        /// Return when every recipient has got so far, or at --timeout
        #[arg(long, value_name = "STATE", conflicts_with = "dry_run")]
        wait: Option<WaitFor>,
    },
    /// Throw it away
    #[command(after_help = "Example:\n  relay-cli draft remove xb-mailbox")]
    Remove {
        /// Its name
        #[arg(value_name = "NAME", value_parser = draft_name)]
        name: String,
    },
}

/// `template …`
#[derive(Debug, Subcommand)]
pub enum TemplateVerb {
    /// All of them
    #[command(after_help = "Example:\n  relay-cli template list")]
    List,
    /// One of them, to be saved, filled in and sent
    #[command(after_help = "Example:\n  relay-cli template show art29 > request.json")]
    Show {
        /// As in art29, alert, risk-notice
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// `FILE` or `FILE=TYPE`: what is behind the last `=` is a type when there is a `/` in it and no
/// file of the whole name.
fn attach(text: &str) -> Result<Attach, String> {
    let whole = Attach { file: text.into(), media_type: None };
    let Some((file, media_type)) = text.rsplit_once('=').filter(|_| !whole.file.exists()) else {
        return Ok(whole);
    };
    let token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    match media_type.split_once('/') {
        Some((kind, sort)) if token(kind) && token(sort) && !file.is_empty() => {
            Ok(Attach { file: file.into(), media_type: Some(media_type.to_owned()) })
        }
        _ => Err("expected FILE or FILE=TYPE, as in notes.pdf=application/pdf".to_owned()),
    }
}

/// The name of a file in one folder, and nothing else.
fn draft_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    let sound = (1..=DRAFT_NAME_MAX).contains(&text.len())
        && text.chars().all(plain)
        && !text.starts_with(['.', '-']);
    if sound {
        Ok(text.to_owned())
    } else {
        Err(format!("expected 1 to {DRAFT_NAME_MAX} of a-z, 0-9, - and ."))
    }
}

/// It is a file's name.
const DRAFT_NAME_MAX: usize = 64;
