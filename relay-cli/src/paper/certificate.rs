//! The certificate of an evidence bundle: what the message is, what was checked and by which keys,
//! who stated what and when, and what none of it proves; on one page, for a court.
//!
//! Enter through [`paper`]. Invariant: a bundle that does not verify has no certificate.

use std::path::Path;

use relay_proto::{
    envelope::Header,
    evidence::{Effect, Outcome, ReceiptLine, Verdict},
    ids::{Digest, UnitId},
    payload::{Language, open_clear, title},
    timestamp::Timestamp,
    v1,
};

use super::{Block, Fields, Paper, Phrase, Step, Table, Timeline};
use crate::{render::time, view::words};

/// A bundle and its judgement.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    pub file: &'a Path,
    pub digest: Digest,
    pub bundle: &'a v1::EvidenceBundle,
    pub verdict: &'a Verdict,
}

/// The certificate; none where anything did not verify.
pub fn paper(judged: &Judged<'_>, printed: Timestamp) -> Option<Paper> {
    let verdict = judged.verdict;
    if verdict.outcome == Outcome::Invalid {
        return None;
    }
    // Its signature verified, or the bundle were invalid.
    let header = Header::stored(judged.bundle.header.as_ref()?).ok()?;
    let payload = match verdict.payload_matches {
        true => open_clear(&judged.bundle.payload).ok(),
        false => None,
    };
    let mut paper = Paper {
        title: "Certificate of a message and its receipts".to_owned(),
        marks: marks(payload.as_ref(), &header),
        language: payload.as_ref().and_then(|one| Language::parse(&one.language).ok()),
        footer: Phrase::ours(format!("Certificate of message {}", header.message_id.short())),
        printed,
        one_page: true,
        blocks: Vec::new(),
    };
    paper.blocks.push(Block::Verdict {
        word: verdict.outcome.to_string(),
        meaning: meaning(verdict.outcome).to_owned(),
    });
    message(&mut paper, &header, payload.as_ref());
    checked(&mut paper, judged, &header);
    receipts(&mut paper, verdict);
    paper.section("Not proven by this file");
    paper.blocks.push(Block::List(verdict.not_proven.iter().map(Phrase::ours).collect()));
    Some(paper)
}

fn meaning(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Valid => {
            "All signatures, digests and log proofs in the file hold, by keys that whoever checked \
             it had trusted before. It was checked offline, on this computer."
        }
        Outcome::Consistent => {
            "All signatures, digests and log proofs in the file hold together, but by keys that \
             the file brought along itself: it proves nothing before they are compared with keys \
             known by another way. It was checked offline, on this computer."
        }
        Outcome::UnprovenTime => {
            "All signatures and digests hold, but when some of them were made is not proven: see \
             the findings. It was checked offline, on this computer."
        }
        Outcome::Invalid => "It does not hold.",
    }
}

fn marks(payload: Option<&v1::Payload>, header: &Header) -> Vec<Phrase> {
    let mut marks = Vec::new();
    if payload.is_some_and(|payload| payload.exercise) || header.from.is_demo() {
        marks.push(Phrase::ours("EXERCISE"));
    }
    if let Some(handling) = payload.and_then(|payload| payload.handling.as_ref()) {
        marks.extend(words::markings(handling).into_iter().map(Phrase::ours));
    }
    marks
}

fn message(paper: &mut Paper, header: &Header, payload: Option<&v1::Payload>) {
    paper.section("The message");
    let to: Vec<&str> = header.to.iter().map(UnitId::as_str).collect();
    let kind = match payload {
        None => "not shown by this file".to_owned(),
        Some(payload) => words::kind(payload.kind),
    };
    let id = header.message_id;
    let fields = Fields::default()
        .ours("Message id", format!("{}, {id}", id.short()))
        .ours("Kind", kind)
        .stated("Subject", payload.map_or("", title))
        .ours("From", header.from.as_str())
        .ours("To", to.join(", "))
        .stated("Network profile", &header.profile)
        .ours("Priority", header.priority.word())
        .ours("Made (UTC)", header.created_at.to_string())
        .ours("Delivery ends (UTC)", header.expires_at.to_string());
    paper.blocks.push(fields.end());
}

/// The digests, the key that signed, and why it is believed.
fn checked(paper: &mut Paper, judged: &Judged<'_>, header: &Header) {
    let verdict = judged.verdict;
    paper.section("What was checked");
    let content = match verdict.payload_matches {
        true => "the content is in the file, and is the one that was signed",
        false => "the content is not shown by this file",
    };
    let name = judged.file.file_name().unwrap_or_default().to_string_lossy();
    let fields = Fields::default()
        .stated("File", &name)
        .ours("SHA-256 of the file", judged.digest.to_string())
        .ours("SHA-256 of the signed header", header.digest.to_string())
        .put(
            "SHA-256 of the content",
            [&header.payload_digest.to_string(), content].map(Phrase::ours).to_vec(),
        )
        .ours("Signed by", format!("{}, Ed25519 key {}", header.from, header.key_id));
    let anchors = verdict.anchored_by.iter().map(Phrase::ours).collect();
    let mut fields = fields.put("Trusted before", anchors);
    let compare = verdict.unanchored.iter().map(|(unit, key)| {
        let key = key.map_or_else(|| "no card in the file".to_owned(), |key| key.to_string());
        Phrase::ours(format!("{unit}: {key}"))
    });
    fields = fields.put("Not trusted: compare these identity keys", compare.collect());
    // What one unit did says nothing of what another one signed.
    if verdict.parts.values().any(|part| *part != verdict.outcome) {
        let parts = verdict.parts.iter().map(|(unit, part)| format!("{unit}: {part}"));
        fields = fields.put("By unit", parts.map(Phrase::ours).collect());
    }
    let findings = verdict.problems.iter().map(|problem| {
        let effect = match problem.effect {
            Effect::Remark => "remark",
            Effect::UnprovenTime => "time not proven",
            Effect::Invalid => "invalid",
        };
        Phrase::theirs(format!("{effect}: {problem}"))
    });
    paper.blocks.push(fields.put("Findings", findings.collect()).end());
}

/// The ladder as a drawing, and as a table what others wrote: names and reasons.
fn receipts(paper: &mut Paper, verdict: &Verdict) {
    paper.section("Receipts: who stated what, and when");
    if verdict.ladder.is_empty() {
        return paper.note("The file holds no receipt.");
    }
    let mut before = None;
    let steps = verdict.ladder.iter().map(|receipt| {
        let gap = before.map(|before| gap(before, receipt.event_time));
        before = Some(receipt.event_time);
        step(receipt, gap)
    });
    let title = format!("Timeline of {} receipts", verdict.ladder.len());
    paper.blocks.push(Block::Timeline(Timeline { title, steps: steps.collect() }));
    let mut rows = Vec::new();
    for receipt in &verdict.ladder {
        let said = [&receipt.actor, &receipt.reason];
        let said = said.into_iter().flatten();
        rows.extend(
            said.map(|words| vec![Phrase::ours(receipt.number.to_string()), Phrase::theirs(words)]),
        );
    }
    if !rows.is_empty() {
        let heads = vec!["Receipt", "Who acted, or the reason"];
        paper.blocks.push(Block::Table(Table { caption: "Also stated", heads, rows }));
    }
}

fn step(receipt: &ReceiptLine, gap: Option<String>) -> Step {
    let (event, issuer) = (receipt.event.name(), &receipt.issuer);
    let mark = if receipt.verified { "" } else { " (not fully verified: see the findings)" };
    let about = match &receipt.recipient {
        Some(unit) if unit != issuer => format!(" (recipient: {unit})"),
        _ => String::new(),
    };
    let log = receipt
        .log
        .as_ref()
        .map_or_else(|| "log unreadable".to_owned(), |log| format!("log {log}"));
    let tree = receipt.size.map(|size| format!(" of a tree of {size}")).unwrap_or_default();
    let flags: Vec<&str> = receipt.flags.iter().map(|flag| words::statement_flag(*flag)).collect();
    let flags = match flags.is_empty() {
        true => String::new(),
        false => format!("; flagged {}", flags.join(", ")),
    };
    let meaning = words::event_meaning(receipt.event.to_wire().into());
    Step {
        number: receipt.number,
        at: receipt.event_time,
        clock: words::clock(Some(&receipt.clock)),
        what: format!("{event} by {issuer}{mark}"),
        meaning: format!("{meaning}{about}"),
        place: format!("{log}, index {}{tree}{flags}", receipt.index),
        gap,
    }
}

/// The time between two statements, which two clocks may have told.
fn gap(before: Timestamp, at: Timestamp) -> String {
    let (later, earlier) = (at.since(before), before.since(at));
    match earlier.is_zero() {
        true if later.as_secs() < 60 => {
            format!("+ {}.{:03} s", later.as_secs(), later.subsec_millis())
        }
        true => format!("+ {}", time::span(later)),
        false => format!("- {}.{:03} s", earlier.as_secs(), earlier.subsec_millis()),
    }
}
