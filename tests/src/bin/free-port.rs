//! Prints a UDP port of loopback that nobody uses now; for scripts that start nodes.
#![forbid(unsafe_code)]

fn main() {
    println!("{}", relay_tests::cluster::free_udp_port());
}
