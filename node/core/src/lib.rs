//! Decisions of a relay node: pure state machines.
//!
//! Time and randomness are arguments; there is no I/O and no task here. Each room takes an input and gives the
//! actions that follow from it.
#![forbid(unsafe_code)]

pub mod profile;
