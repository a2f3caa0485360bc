//! The daemon's rooms. `main` and `tests` enter through the daemon; a room never calls one above
//! it.
#![forbid(unsafe_code)]

pub mod link;
pub mod tasks;
