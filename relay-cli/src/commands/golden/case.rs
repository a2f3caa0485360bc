//! What is shown of cases.

use relay_proto::v1;

use super::{
    golden,
    samples::{HOSTILE, ago, ahead},
};
use crate::{
    commands::{
        case::{CaseReport, CasesReport},
        deadlines::DeadlinesReport,
    },
    exit::Exit,
    report::Report,
    view::{CaseView, ObligationView},
};

/// A case of ours that is preserved, with a hostile item id.
pub fn case() -> v1::Case {
    let step = |kind: v1::Kind, from: &str, minutes, state: v1::CaseState| v1::CaseStep {
        message_id: "0193c8a0-1c00-7abc-8def-0123456789ab".into(),
        short_id: "4D2P-F2DB".into(),
        kind: kind.into(),
        from: from.into(),
        create_time: ago(minutes),
        outcome: v1::StepOutcome::Made.into(),
        state: state.into(),
    };
    let item = |id: &str, state: v1::ItemState| v1::CaseItem {
        item_id: id.into(),
        state: state.into(),
        ..Default::default()
    };
    let preserved = v1::CaseItem {
        preserved_from: ago(60),
        preserved_until: ahead(60 * 24 * 90),
        ..item("1", v1::ItemState::Preserved)
    };
    use v1::{CaseState as S, Kind as K};
    let (ours, theirs) = ("xa.cyber-poc", "xb.ncu");
    v1::Case {
        name: "cases/0192f1a0-0009-4000-8000-000000000009/xb.ncu".into(),
        case_id: "0192f1a0-0009-4000-8000-000000000009".into(),
        peer: theirs.into(),
        requesting_unit: ours.into(),
        requested_unit: theirs.into(),
        state: S::Preserved.into(),
        revision: 1,
        priority: v1::Priority::Urgent.into(),
        turn: ours.into(),
        legal: vec![K::ExtensionRequest.into(), K::MlaNotice.into(), K::Withdrawal.into()],
        preserved_until: ahead(60 * 24 * 90),
        mla_announced: true,
        items: vec![preserved, item(HOSTILE, v1::ItemState::NotFound)],
        steps: vec![
            step(K::PreservationRequest, ours, 300, S::Submitted),
            step(K::RequestAck, theirs, 240, S::Acknowledged),
            step(K::PreservationDecision, theirs, 120, S::Accepted),
            step(K::PreservationConfirmation, theirs, 60, S::Preserved),
            v1::CaseStep {
                outcome: v1::StepOutcome::Overtaken.into(),
                ..step(K::MlaNotice, ours, 30, S::Preserved)
            },
        ],
        etag: "5f".repeat(16),
        short_id: "4D2P-F2DB".into(),
        obligations: vec![
            term(v1::Duty::ConfirmMla, theirs, ago(90), v1::TermStage::Overdue),
            v1::Obligation {
                rule: v1::TermRule::Law.into(),
                basis: "Article 29(7)".into(),
                ..term(v1::Duty::UseOrLose, ours, ahead(60 * 24 * 90), v1::TermStage::Running)
            },
        ],
        ..Default::default()
    }
}

fn term(
    duty: v1::Duty,
    unit: &str,
    due_time: Option<prost_types::Timestamp>,
    stage: v1::TermStage,
) -> v1::Obligation {
    v1::Obligation {
        case: "cases/0192f1a0-0009-4000-8000-000000000009/xb.ncu".into(),
        duty: duty.into(),
        unit: unit.into(),
        begin_time: ago(300),
        due_time,
        rule: v1::TermRule::House.into(),
        basis: "the profile's follow_up_target".into(),
        short_id: "4D2P-F2DB".into(),
        stage: stage.into(),
        message: String::new(),
    }
}

/// What is due: something overdue, something without a term, nothing.
#[test]
fn deadlines_pages() {
    let mut obligations = case().obligations;
    obligations.push(term(v1::Duty::Confirm, "xb.ncu", None, v1::TermStage::Running));
    let shown: Vec<_> = obligations.iter().map(ObligationView::from).collect();
    let report = DeadlinesReport { of: None, obligations: shown.clone(), more: true };
    assert!(golden("deadlines", &report).starts_with("OVERDUE: 1 of 3 terms\n"));
    assert_eq!(report.exit(), Exit::Attention);
    let of = Some("xa.cyber-poc".to_owned());
    let report = DeadlinesReport { of: of.clone(), obligations: shown[1..2].to_vec(), more: false };
    golden("deadlines-of", &report);
    assert_eq!(report.exit(), Exit::Done);
    golden("deadlines-none", &DeadlinesReport { of, obligations: vec![], more: false });
}

/// A case, one whose request is missing, one about which the nodes do not agree; and their list.
#[test]
fn case_pages() {
    let case = case();
    let report = CaseReport { case: CaseView::from(&case) };
    let text = golden("case-show", &report);
    assert!(text.starts_with("PRESERVED  it is xa.cyber-poc's turn\n"));
    let conflict = v1::Case { sync_conflict: true, turn: String::new(), ..case.clone() };
    let report = CaseReport { case: CaseView::from(&conflict) };
    assert!(golden("case-show-conflict", &report).contains("SYNC_CONFLICT"));
    assert_eq!(report.exit(), Exit::Attention);
    let waiting = v1::Case {
        case_id: case.case_id.clone(),
        peer: case.peer.clone(),
        waiting: 1,
        ..Default::default()
    };
    let report = CaseReport { case: CaseView::from(&waiting) };
    assert!(golden("case-show-waiting", &report).starts_with("INCOMPLETE"));
    let cases = [&case, &conflict].map(CaseView::from).to_vec();
    golden("case-list", &CasesReport { cases, more: true, all: true });
    let report = CasesReport { cases: vec![], more: false, all: false };
    assert!(golden("case-list-none", &report).starts_with("No case is open"));
}
