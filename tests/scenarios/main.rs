//! Scenarios: one binary, a module per theme. Nodes in this process unless a module says that it
//! runs the real binaries.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod accounts;
mod again;
mod alerts;
mod attachments;
mod cards;
mod casework;
mod clocks;
mod contents;
mod copies;
mod delivery;
mod desk;
mod disk;
mod display;
mod exchange;
mod hostile;
mod impostors;
mod lines;
mod nothing;
mod quotas;
mod refusals;
mod rig;
mod rollback;
mod rot;
mod samples;
mod secrets;
mod standing;
mod starting;
mod succession;
mod tail;
mod terms;
mod twins;
mod unchecked;
