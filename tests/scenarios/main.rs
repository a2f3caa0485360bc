//! Scenarios: one binary, a module per theme. Nodes in this process unless a module says that it
//! runs the real binaries.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod delivery;
mod hostile;
mod rollback;
