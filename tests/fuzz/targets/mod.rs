//! What is done to each parser of outside bytes: a function from bytes to whether they were taken.
//!
//! Enter through [`ALL`]; `run.sh` feeds them by libFuzzer, `tests/tests/corpus.rs` feeds them the
//! committed corpus on every run of the tests. Invariant: no bytes make a target panic; one that
//! takes bytes also checks what the parser promises of what it takes.

mod link;
pub mod messages;
mod signed;
mod store;
mod texts;

/// One target.
pub struct Target {
    /// Name of its folder in the corpus.
    pub name: &'static str,
    /// Longest input that is worth trying.
    pub bytes_max: usize,
    /// Gives the bytes to the parser; whether it took them.
    pub run: fn(&[u8]) -> bool,
}

/// All targets, by name.
pub const ALL: &[Target] = &[
    target("address", 320, texts::address),
    target("bundle", 16 << 10, signed::bundle),
    target("card", 4 << 10, signed::card),
    target("checkpoint", 2 << 10, signed::checkpoint),
    target("config", 16 << 10, store::config),
    target("draft", 8 << 10, messages::draft),
    target("envelope", 8 << 10, signed::envelope),
    target("file", 8 << 10, messages::file),
    target("frame", 8 << 10, link::frame),
    target("id", 256, texts::id),
    target("journal", 4 << 10, store::journal),
    target("key", 256, texts::key),
    target("payload", 8 << 10, messages::payload),
    target("profile", 8 << 10, store::profile),
    target("proof", 4 << 10, signed::proof),
    target("record", 4 << 10, store::record),
    target("scan", 8 << 10, messages::scan),
    target("statement", 2 << 10, signed::statement),
    target("succession", 4 << 10, signed::succession),
    target("time", 64, texts::time),
];

const fn target(name: &'static str, bytes_max: usize, run: fn(&[u8]) -> bool) -> Target {
    Target { name, bytes_max, run }
}

/// The target of that name.
pub fn by_name(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}
