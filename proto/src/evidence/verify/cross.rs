//! The receipts of a bundle against each other: contradictions, and forks of a log.
//!
//! Two sizes of one log cannot be compared without a consistency proof, which a bundle does not
//! hold.

use std::collections::BTreeMap;

use crate::{
    evidence::{
        verdict::{Effect, Verdict},
        verify::Checked,
    },
    ids::{Digest, LogOrigin},
    reason::Reason,
    receipt::{Event, Legality, Logged, legal_after},
};

/// Notes what cannot be true together.
pub(super) fn cross_check(checked: &[Checked], verdict: &mut Verdict) {
    let mut held: Vec<Logged> = Vec::new();
    let mut roots: BTreeMap<(LogOrigin, u64), Digest> = BTreeMap::new();
    let mut leaves: BTreeMap<(LogOrigin, u64), Digest> = BTreeMap::new();
    // Nothing here shows which came first at the sender, so its failures are read first: an answer
    // is then late, as the sender's own node would have it, and not a contradiction.
    let (failures, others): (Vec<_>, Vec<_>) =
        checked.iter().partition(|one| one.statement.event == Event::RelayFailure);
    for one in failures.into_iter().chain(others) {
        let (place, issuer) = (format!("receipt {}", one.number), Some(&one.statement.issuer));
        if let Some(checkpoint) = &one.checkpoint {
            let log = &checkpoint.origin;
            let root = roots.entry((log.clone(), checkpoint.size)).or_insert(checkpoint.root);
            if *root != checkpoint.root {
                let text = "the log's key signed two roots of one size: the log was forked";
                verdict.problem(Effect::Invalid, &place, issuer, Reason::PeerRolledBack, text);
            }
            let hash = one.statement.leaf_hash();
            let leaf = leaves.entry((log.clone(), one.index)).or_insert(hash);
            if *leaf != hash {
                let text = "the log has two leaves with one number: the log was forked";
                verdict.problem(Effect::Invalid, &place, issuer, Reason::PeerRolledBack, text);
            }
        }
        let log = one.checkpoint.as_ref().map(|checkpoint| checkpoint.origin.clone());
        let logged = Logged { statement: one.statement.clone(), log };
        match legal_after(&held, &logged) {
            Legality::Applied | Legality::Repeats => {}
            Legality::LateAfterFailure => {
                let text = "the answer came after the sender had stated the failure";
                verdict.problem(Effect::Remark, &place, issuer, Reason::LateAfterFailure, text);
            }
            Legality::Contradiction => {
                let text = "the receipt and an earlier one here cannot both be true";
                verdict.problem(Effect::Invalid, &place, issuer, Reason::Contradiction, text);
            }
        }
        held.push(logged);
    }
}
