//! The relay daemon's rooms. Enter through the room that you need; `daemon` builds them all.
//! No room may use a room above it; the store knows nothing of the network.
#![forbid(unsafe_code)]

pub mod store;
