//! Command line of the relay. Reads the arguments, runs one verb, ends with its code.
//!
//! Rooms: `args` (what can be typed), `commands` (one file per noun), `client` (the node), `view`
//! (its answers), `render` and `report` (what is printed), `paper` (documents), `typed` (the
//! command, to repeat it), `form` and `terminal` (a person who is asked), `drafts` (what is not
//! sent yet), `seen` (what was shown of a case), `failure` and `exit` (what went wrong). Uses
//! relay-proto alone of ours.
#![forbid(unsafe_code)]

mod args;
mod client;
mod commands;
mod context;
mod drafts;
mod exit;
mod failure;
mod files;
mod form;
mod message_file;
mod paper;
mod render;
mod report;
mod seen;
mod terminal;
mod typed;
mod view;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{args::Cli, context::Context, exit::Exit};

fn main() -> ExitCode {
    // clap ends with 0 for --help and with 2 for what it does not understand, as the table of
    // codes has it.
    let cli = Cli::parse();
    let context = Context::new(cli.global);
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(context.run(cli.verb)).into(),
        Err(error) => {
            context.printer().say(&format!("relay-cli: no runtime: {error}."));
            Exit::Attention.into()
        }
    }
}
