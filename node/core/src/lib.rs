//! Decisions of a relay node: what to do next, as pure functions and state machines.
//!
//! Enter through [`outbox`] (what a peer is owed), [`inbox`] (what an arrival becomes), [`policy`]
//! (who may send what to whom), [`quota`] (how much one peer may cause), [`share`] (who comes
//! first), [`case`] (where a preservation request stands), [`exchange`] (who may say what about
//! which other message, and pass what on), [`route`] and [`retry`]. Time and
//! randomness are arguments; nothing here knows disks, wires or clocks, so one driver performs the
//! actions in the daemon and in the seeded simulator alike.
#![forbid(unsafe_code)]

pub mod case;
pub mod exchange;
pub mod inbox;
pub mod outbox;
pub mod policy;
pub mod profile;
pub mod quota;
pub mod retry;
pub mod route;
pub mod share;
