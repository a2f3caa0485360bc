//! Tests of the API over a Unix socket.
