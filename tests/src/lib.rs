//! What scenarios, benchmarks and campaigns share: clusters of nodes in this process and of real
//! binaries.

pub mod attack;
pub mod bench;
pub mod campaign;
pub mod client;
pub mod cluster;
pub mod forge;
pub mod forwarder;
pub mod hostile;
pub mod netns;
pub mod process;
pub mod sim;
pub mod twin;
