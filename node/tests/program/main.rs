//! The real program `relay-node`: its verbs, what they refuse, and how they say it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod check;
mod init;
mod node;
mod start;
