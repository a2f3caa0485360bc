//! The relay daemon's rooms. `daemon` puts them together; `main` only starts it.
#![forbid(unsafe_code)]

pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod init;
pub mod keys;
pub mod telemetry;
