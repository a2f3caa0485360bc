//! The store: a journal is the truth, an index is its projection. Enter through the journal for
//! facts and through the index for look-ups; nothing outside `sled/` may name the crate of that
//! name. Invariant: the index never holds what the journal has not made durable.

pub mod index;
pub mod journal;
pub mod sled;
