//! What is shown of evidence.

use relay_proto::{
    evidence::{self, Outcome, TrustAnchors},
    v1,
};

use super::{golden, samples};
use crate::{
    commands::evidence::{export::ExportReport, verify::VerifyReport},
    exit::Exit,
    report::Report,
};

#[test]
fn evidence_pages() {
    let report = ExportReport {
        message_id: "0193c8a0-1c00-7abc-8def-0123456789ab".into(),
        short_id: "4D2P-F2DB".into(),
        bundle: "court/4D2P-F2DB.relayev".into(),
        files: vec!["court/4D2P-F2DB.relayev".into(), "court/xb.ncu.vkey".into()],
        receipts: 2,
        with_payload: false,
    };
    golden("evidence-export", &report);
    let verdict = evidence::verify(&v1::EvidenceBundle::default(), &TrustAnchors::default());
    let report = VerifyReport::of(&verdict);
    assert!(golden("evidence-verify-empty", &report).starts_with("INVALID"));
    assert_eq!(report.exit(), Exit::Invalid);
}

/// The three judgements: what carried a VALID one, what to compare before a CONSISTENT one counts,
/// and what broke an INVALID one. Only the first ends with 0.
#[test]
fn judgements() {
    let valid = samples::verdict(Outcome::Valid);
    let report = VerifyReport::of(&valid);
    assert!(golden("evidence-verify-valid", &report).starts_with("VALID  message 4D2P-F2DB"));
    assert_eq!(report.exit(), Exit::Done);
    let report = VerifyReport::of(&samples::verdict(Outcome::Consistent));
    assert!(golden("evidence-verify-consistent", &report).starts_with("CONSISTENT  "));
    assert_eq!(report.exit(), Exit::Attention);
    let report = VerifyReport::of(&samples::verdict(Outcome::UnprovenTime));
    assert_eq!(report.exit(), Exit::Attention);
    let report = VerifyReport::of(&samples::verdict(Outcome::Invalid));
    let text = golden("evidence-verify-invalid", &report);
    assert!(text.starts_with("INVALID  message 4D2P-F2DB: BAD_INCLUSION in receipt 1\n"));
    assert_eq!(report.exit(), Exit::Invalid);
}
