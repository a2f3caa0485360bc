//! `evidence …`: proof that others can check, with or without this program.

pub mod export;
pub mod verify;

use crate::{args::EvidenceVerb, context::Context, exit::Exit, failure::Failure};

/// Runs a verb of the noun.
pub async fn run(context: &Context, verb: EvidenceVerb) -> Result<Exit, Failure> {
    match verb {
        EvidenceVerb::Export { id, to, payload } => export::run(context, &id, &to, payload).await,
        // No node is asked: this also runs where there is none.
        EvidenceVerb::Verify { file, trust, vkey, paper } => {
            verify::run(context, &file, &trust, &vkey, &paper)
        }
    }
}
