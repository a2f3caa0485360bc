//! What is shown of attachments: their sender's words, made harmless.

use super::{golden, samples::incoming};
use crate::{
    commands::attachment::{AttachmentView, GetReport, ListReport},
    view::MessageView,
};

fn one(number: usize, name: &str) -> AttachmentView {
    AttachmentView {
        number,
        name: name.into(),
        media_type: "application/pdf".into(),
        size: 8 << 20,
        sha256: "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03".into(),
        description: (number == 1).then(|| "The mails, as they came.".into()),
    }
}

/// Name and type are shown escaped; the file is named by its digest and where it was written.
#[test]
fn attachment_pages() {
    let message = MessageView::from(&incoming());
    let attachments = vec![one(1, "mails of March.pdf"), one(2, "\u{202e}fdp.exe")];
    let text = golden("attachment-list", &ListReport { message: message.clone(), attachments });
    assert!(text.contains("\\u{202e}fdp.exe"), "{text}");
    let none = ListReport { message: message.clone(), attachments: Vec::new() };
    assert!(golden("attachment-list-none", &none).contains("has 0 attachments"));
    let attachment = one(1, "../../mails.pdf");
    let path = "evidence/mails.pdf".into();
    let report = GetReport { message_id: message.message_id, attachment, path };
    assert!(golden("attachment-get", &report).starts_with("WRITTEN"));
}
