//! Scenarios over real QUIC on the loopback.
