//! The relay daemon's rooms. Enter through the room that you need; `daemon` builds them all.
//! README.md beside this folder has the map and the table of who may use whom.
#![forbid(unsafe_code)]

pub mod api;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod directory;
pub mod faults;
pub mod init;
pub mod keys;
pub mod link;
pub mod relay;
pub mod repair;
pub mod store;
pub mod succeed;
pub mod tasks;
pub mod telemetry;
pub mod tlog;
