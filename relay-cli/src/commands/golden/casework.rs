//! What is shown after a message in a case.

use relay_proto::v1;

use super::{
    case::case,
    golden,
    samples::{ahead, outgoing},
};
use crate::{
    commands::{casework::CaseworkReport, sending::SendReport},
    exit::Exit,
    report::Report,
    view::{CaseView, MessageView},
};

fn sent() -> SendReport {
    let message = v1::Message {
        to: vec!["xb.ncu".into()],
        kind: v1::Kind::MlaNotice.into(),
        deliveries: outgoing().deliveries.into_iter().take(1).collect(),
        ..outgoing()
    };
    SendReport {
        request_id: "3f0c0000-0000-4000-8000-000000000001".into(),
        stored: true,
        repeated_request: false,
        message: MessageView::from(&message),
        approval: None,
        receipts: Vec::new(),
        waited_for: None,
        reached: None,
    }
}

/// What is promised comes first, then where the case stands and what is awaited from whom.
#[test]
fn casework_pages() {
    let report = CaseworkReport { sent: sent(), case: CaseView::from(&case()) };
    let text = golden("casework", &report);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.first().is_some_and(|line| line.starts_with("STORED")), "{text}");
    assert!(text.contains("is PRESERVED; it is xa.cyber-poc's turn"), "{text}");
    assert!(text.contains("confirm mla") && text.contains("use or lose"), "{text}");
    let checked = SendReport { stored: false, ..sent() };
    let report = CaseworkReport { sent: checked, ..report };
    assert!(!golden("casework-checked", &report).contains("STORED"));
    let open = SendReport { waited_for: Some("ack"), reached: Some(false), ..sent() };
    let ended = v1::Case {
        state: v1::CaseState::Released.into(),
        turn: String::new(),
        obligations: Vec::new(),
        preserved_until: ahead(0),
        ..case()
    };
    let report = CaseworkReport { sent: open, case: CaseView::from(&ended) };
    assert!(golden("casework-open", &report).contains("nobody's turn"));
    assert_eq!(report.exit(), Exit::StillOpen);
}
