//! The real program against a scripted node over a Unix socket: what it asks, prints, and ends
//! with.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod casework;
mod desk;
mod drafts;
mod fake;
mod papers;
mod peers;
mod sending;
