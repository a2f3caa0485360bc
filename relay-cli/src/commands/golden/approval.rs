//! Pages of what waits for a second officer.

use relay_proto::v1;
use serde_json::{Value, json};

use super::{
    golden,
    samples::{HOSTILE, ago, incoming},
};
use crate::{
    commands::approval::{ApprovalReport, ApprovalView, ApprovalsReport, GrantReport},
    view::MessageView,
};

fn waiting() -> v1::Approval {
    v1::Approval {
        name: "approvals/0d9a1f4e-6c1b-4c55-9d52-2f7c1c9f5a10".to_owned(),
        account: "records".to_owned(),
        ask_time: ago(600),
        kind: v1::Kind::Withdrawal.into(),
        profile: "budapest-247".to_owned(),
        to: vec!["xb.ncu".to_owned()],
        priority: v1::Priority::Routine.into(),
        state: v1::ApprovalState::Waiting.into(),
        ..Default::default()
    }
}

#[test]
fn approval_pages() {
    let dropped = v1::Approval {
        state: v1::ApprovalState::Dropped.into(),
        decided_by: "desk-2".to_owned(),
        decide_time: ago(60),
        reason: HOSTILE.to_owned(),
        ..waiting()
    };
    let approvals: Vec<_> = [waiting(), dropped.clone()].iter().map(ApprovalView::from).collect();
    let text = golden("approval-list", &ApprovalsReport { approvals });
    assert!(text.starts_with("ACTION NEEDED: 1 message waits for a second officer\n"));
    let none = golden("approval-list-none", &ApprovalsReport { approvals: vec![] });
    assert!(none.starts_with("Nothing waits for a second officer\n"));
    let content = json!({"env": {"kind": "WITHDRAWAL"}, "withdrawal": {"reason": "\u{202e}dlrow"}});
    golden("approval-show", &ApprovalReport { approval: (&waiting()).into(), content });
    let approval = ApprovalView::from(&dropped);
    golden("approval-drop", &ApprovalReport { approval, content: Value::Null });
    let request_id = "0d9a1f4e-6c1b-4c55-9d52-2f7c1c9f5a11".to_owned();
    let message = MessageView::from(&incoming());
    golden("approval-grant", &GrantReport { request_id, repeated_request: false, message });
}
