//! `evidence …`: proof that others can check, with or without this program.

use crate::{args::EvidenceVerb, context::Context, exit::Exit, failure::Failure};

/// Runs a verb of the noun.
pub async fn run(_context: &Context, _verb: EvidenceVerb) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Usage, "not yet"))
}
