//! Attachments between units: brought before the message that lists them (`bring`), taken from a
//! peer that shows its signed header (`take`).
//!
//! Invariant: a message leaves only when its recipient says that all of its attachments are there,
//! or that the message itself decides.

mod bring;
mod take;

pub(super) use bring::{Brought, LATER, bring};
pub(super) use take::{are_here, run};
