//! Pages of the audit log.

use relay_proto::{audit::hash, v1};

use super::{
    golden,
    samples::{HOSTILE, now},
};
use crate::commands::audit::{
    AuditExportReport, AuditReport, AuditVerifyReport, ChainView, EntryView,
};

fn records() -> Vec<v1::AuditRecord> {
    let at_ms = now().as_millis();
    let mut records = vec![
        v1::AuditRecord {
            number: 1,
            account: "records".to_owned(),
            caller: "uid:1001".to_owned(),
            call: "SendMessage".to_owned(),
            object: "messages/019a0d2c-0001-7000-8000-00007f3k22qd".to_owned(),
            units: vec!["xb.ncu".to_owned(), "xc.cyber-poc".to_owned()],
            ..Default::default()
        },
        v1::AuditRecord {
            number: 2,
            account: "records".to_owned(),
            caller: "uid:1001".to_owned(),
            call: "GetMessage".to_owned(),
            object: "messages/019a0d2c-0001-7000-8000-00007f3k22qd".to_owned(),
            units: vec!["xb.ncu".to_owned()],
            purpose: HOSTILE.chars().take(200).collect(),
            ..Default::default()
        },
        v1::AuditRecord {
            number: 3,
            caller: format!("cert:{}", "9f".repeat(32)),
            call: "ListCases".to_owned(),
            refused: "PERMISSION_DENIED".to_owned(),
            ..Default::default()
        },
    ];
    let mut previous = Vec::new();
    for record in &mut records {
        (record.at_ms, record.previous) = (at_ms, previous.into());
        previous = hash(record).as_bytes().to_vec();
    }
    records
}

#[test]
fn audit_pages() {
    let entries: Vec<EntryView> = records().iter().rev().map(EntryView::from).collect();
    let text = golden("audit-list", &AuditReport { entries, more: true });
    assert!(text.starts_with("3 entries, the newest first; 1 REFUSED\n"));
    let none = AuditReport { entries: vec![], more: false };
    assert!(golden("audit-list-none", &none).starts_with("Nothing is in the audit log for that\n"));
    let mut chain = ChainView::default();
    records().iter().for_each(|record| chain.add(record));
    golden(
        "audit-export",
        &AuditExportReport { file: "audit.jsonl".to_owned(), chain: chain.clone() },
    );
    let valid = AuditVerifyReport { valid: true, fault: None, chain: chain.clone() };
    assert!(golden("audit-verify", &valid).starts_with("VALID  3 entries"));
    let fault = Some("line 4: entry 5 follows entry 3: entries are missing".to_owned());
    golden("audit-verify-invalid", &AuditVerifyReport { valid: false, fault, chain });
}
