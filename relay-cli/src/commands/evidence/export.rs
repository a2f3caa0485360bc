//! `evidence export`: header, receipts, proofs and keys of a message as files for verifiers that
//! others wrote.
//!
//! Invariant: file names are made of checked ids and of our own words, never of a peer's strings;
//! a file that is there is left alone, and nothing is written when one is.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use relay_proto::{
    card::Card,
    evidence,
    ids::{MessageId, UnitId},
    receipt::Statement,
    v1,
};
use serde::Serialize;

use crate::{
    client::Node, commands::count, context::Context, exit::Exit, failure::Failure, files,
    render::Page, report::Report,
};

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct ExportReport {
    pub message_id: String,
    pub short_id: String,
    /// The `.relayev` file.
    pub bundle: PathBuf,
    /// All files, the bundle first.
    pub files: Vec<PathBuf>,
    pub receipts: usize,
    pub with_payload: bool,
}

/// A file that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NewFile {
    name: String,
    bytes: Vec<u8>,
}

/// Asks the node, then writes all files or none.
pub async fn run(context: &Context, id: &str, to: &Path, payload: bool) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let answer = exported(context, &node, id, payload).await?;
    let message: MessageId =
        answer.message_id.parse().map_err(|error| unusable(&format!("its message id: {error}")))?;
    let bundle = answer.bundle.ok_or_else(|| unusable("it is empty"))?;
    let new = plan(message, &bundle)?;
    let files = write(to, &new)?;
    context.printer().report(&ExportReport {
        message_id: message.to_string(),
        short_id: message.short().to_string(),
        bundle: files.first().cloned().unwrap_or_default(),
        files,
        receipts: bundle.receipts.len(),
        with_payload: !bundle.payload.is_empty(),
    })
}

/// The bundle; with the payload, for a purpose.
async fn exported(
    context: &Context,
    node: &Node,
    id: &str,
    include_payload: bool,
) -> Result<v1::ExportEvidenceResponse, Failure> {
    let mut purpose = context.purpose();
    loop {
        let request = v1::ExportEvidenceRequest {
            name: id.to_owned(),
            include_payload,
            purpose: purpose.clone(),
        };
        let answer = node.messages().export_evidence(node.request(request)).await;
        let failure = match answer {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => node.failure(&status),
        };
        purpose = context.other_purpose(failure, &purpose).await?;
    }
}

/// The files of a bundle: itself, two of each receipt, one of each issuer.
fn plan(message: MessageId, bundle: &v1::EvidenceBundle) -> Result<Vec<NewFile>, Failure> {
    let name = format!("{}.relayev", message.short());
    let mut files = vec![NewFile { name, bytes: evidence::to_bytes(bundle) }];
    let mut issuers: BTreeMap<UnitId, BTreeSet<String>> = BTreeMap::new();
    for (position, receipt) in bundle.receipts.iter().enumerate() {
        let number = position + 1;
        let bad = |error: &dyn std::fmt::Display| unusable(&format!("receipt {number}: {error}"));
        let statement = Statement::from_bytes(&receipt.statement).map_err(|error| bad(&error))?;
        let stem = evidence::receipt_file_stem(number, statement.event);
        let proof = evidence::tlog_proof_file(receipt).map_err(|error| bad(&error))?;
        let leaf = evidence::leaf_file(receipt);
        files.push(NewFile { name: format!("{stem}.leaf"), bytes: leaf });
        files.push(NewFile { name: format!("{stem}.tlog-proof"), bytes: proof.into_bytes() });
        issuers.entry(statement.issuer).or_default();
    }
    for signed in &bundle.cards {
        let card = Card::open(signed).map_err(|error| unusable(&format!("a card: {error}")))?;
        // An older card may name a log that the newest one does not.
        if let Some(lines) = issuers.get_mut(card.unit()) {
            lines.extend(evidence::vkey_file(&card).lines().map(|line| format!("{line}\n")));
        }
    }
    for (unit, lines) in issuers {
        if lines.is_empty() {
            return Err(unusable(&format!("no card of {unit}, whose receipts it holds")));
        }
        let (name, text) = (evidence::vkey_file_name(&unit), lines.into_iter().collect::<String>());
        files.push(NewFile { name, bytes: text.into_bytes() });
    }
    Ok(files)
}

/// Writes all files, or none where one exists.
fn write(folder: &Path, new: &[NewFile]) -> Result<Vec<PathBuf>, Failure> {
    let paths: Vec<PathBuf> = new.iter().map(|file| folder.join(&file.name)).collect();
    // A dangling link is something as well, so the link itself is looked at.
    if let Some(path) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(files::exists(path));
    }
    files::make_folder(folder)?;
    for (path, file) in paths.iter().zip(new) {
        files::write_new(path, &file.bytes)?;
    }
    Ok(paths)
}

fn unusable(what: &str) -> Failure {
    Failure::new(Exit::Invalid, format!("The node's evidence cannot be written: {what}."))
        .safe("no file was written")
        .with_remedy("relay-cli status    (what the node says of itself)")
}

impl Report for ExportReport {
    const VERB: &'static str = "evidence.export";

    fn people(&self, page: &mut Page) {
        let number = count(self.files.len(), "file");
        page.line(format!(
            "EXPORTED {}: {number}, {}",
            self.short_id,
            count(self.receipts, "receipt")
        ));
        for file in &self.files {
            page.line(format!("  {}", file.display()));
        }
        if !self.with_payload {
            page.line("Without the content: add --payload where it may be shown.");
        }
        page.gap();
        page.line("To check it on another machine, with cards that it has by a way of its own:");
        page.line(format!("  relay-cli evidence verify {} --trust CARD...", self.bundle.display()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// All or nothing: with one name taken no other file appears, and the taken one stays as it
    /// was.
    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("court");
        let file = |name: &str| NewFile { name: name.to_owned(), bytes: b"new".to_vec() };
        let written = write(&folder, &[file("a"), file("b")]).unwrap();
        assert_eq!(written.len(), 2);
        std::fs::remove_file(folder.join("a")).unwrap();
        std::fs::write(folder.join("b"), "old").unwrap();
        let failure = write(&folder, &[file("a"), file("b")]).unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict);
        assert!(!folder.join("a").exists());
        assert_eq!(std::fs::read(folder.join("b")).unwrap(), b"old");
    }

    /// What the node sends is checked before a name is made of it.
    #[test]
    fn a_statement_that_does_not_parse_makes_no_file() {
        let id: MessageId = "01947a4e-7c00-7000-8000-0123456789ab".parse().unwrap();
        let receipt = v1::Receipt { statement: "../../x".into(), ..Default::default() };
        let bundle = v1::EvidenceBundle { receipts: vec![receipt], ..Default::default() };
        assert_eq!(plan(id, &bundle).unwrap_err().exit, Exit::Invalid);
        let empty = plan(id, &v1::EvidenceBundle::default()).unwrap();
        assert_eq!(empty.len(), 1);
        assert!(empty.iter().all(|file| file.name == "4D2P-F2DB.relayev"), "{empty:?}");
    }
}
