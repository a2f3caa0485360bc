//! Wire formats and evidence of the relay: what can be proven.
//!
//! Enter through [`envelope`] and [`attachment`] for what travels, [`receipt`] and [`tlog`] for
//! what is confirmed, and [`evidence`] for an offline check. Nothing here reads a file, a socket or
//! a clock: bytes, keys and times are arguments. `proto/PROTOCOL.md` is the normative text.
#![forbid(unsafe_code)]

pub mod attachment;
pub mod audit;
pub mod card;
pub mod envelope;
pub mod evidence;
pub mod file;
pub mod ids;
pub mod keys;
pub mod limits;
pub mod payload;
pub mod reason;
pub mod receipt;
pub mod scan;
pub mod signed;
pub mod succession;
pub mod timestamp;
pub mod tlog;
pub mod untrusted;

/// Messages generated from `relay/v1/*.proto`; with feature `grpc` also the stubs of the local API.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/relay.v1.rs"));
}

/// The encoded descriptor set of all `.proto` files, for gRPC reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/relay_v1.bin"));
