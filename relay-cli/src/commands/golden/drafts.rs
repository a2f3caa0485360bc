//! What is shown of drafts and templates.

use super::{golden, samples::HOSTILE};
use crate::{
    commands::{
        draft::{DraftReport, DraftView, DraftsReport},
        template,
    },
    failure::Fault,
};

fn draft(name: &str, faults: usize, tried: bool) -> DraftView {
    let fault = Fault {
        path: format!("request.{HOSTILE}"),
        reason: Some("INVALID_CONTENT".into()),
        article: None,
        what: "unknown key".into(),
    };
    DraftView {
        name: name.into(),
        kind: (faults == 0).then(|| "preservation-request".into()),
        to: if faults == 0 { vec!["xb.ncu".into()] } else { vec![] },
        faults: vec![fault; faults],
        tried,
    }
}

/// What can be submitted, what is to be mended, what the node may have already.
#[test]
fn draft_pages() {
    let drafts = vec![draft("a", 0, false), draft("b", 2, false), draft("c", 0, true)];
    let text = golden("draft-list", &DraftsReport { drafts });
    assert!(text.starts_with("3 drafts\n") && text.contains("2 places to mend"), "{text}");
    assert!(golden("draft-list-none", &DraftsReport { drafts: vec![] }).starts_with("No draft\n"));
    let saved = DraftReport { draft: draft("b", 2, false), done: "saved" };
    assert!(golden("draft-saved", &saved).starts_with("SAVED     draft b; nothing was sent\n"));
    let removed = DraftReport { draft: draft("c", 0, true), done: "removed" };
    assert!(golden("draft-removed", &removed).contains("relay-cli outbox --all"));
}

#[test]
fn template_pages() {
    golden("template-list", &template::all());
}
