//! `evidence verify`: the judgement of a bundle, offline. Whose keys are trusted is the caller's
//! word.

use std::path::{Path, PathBuf};

use relay_proto::{
    evidence::{self, BundleError, Effect, Outcome, TrustAnchors, Verdict},
    ids::{Digest, UnitId},
    limits,
    timestamp::Timestamp,
    tlog::VerifierKey,
    v1,
};
use serde::Serialize;

use crate::{
    args::PaperArgs,
    commands::{
        paper::{Subject, deliver},
        peer::read_card,
    },
    context::Context,
    exit::Exit,
    failure::Failure,
    files,
    paper::certificate::{self, Judged},
    render::Page,
    report::Report,
    view::words,
};

/// The judgement.
#[derive(Debug, Clone, Serialize)]
pub struct VerifyReport {
    /// `VALID`, `CONSISTENT`, `UNPROVEN-TIME`, `INVALID`.
    pub verdict: String,
    pub anchored_by: Vec<String>,
    /// Units whose keys came with the file only.
    pub not_anchored: Vec<Unanchored>,
    pub message_id: Option<String>,
    pub short_id: Option<String>,
    pub header_digest: Option<String>,
    pub from: Option<String>,
    pub to: Vec<String>,
    pub payload_matches: bool,
    pub receipts: Vec<ReceiptLine>,
    /// The same judgement of what each unit states.
    pub parts: Vec<Part>,
    pub problems: Vec<Problem>,
    pub not_proven: Vec<&'static str>,
    #[serde(skip)]
    pub exit: Exit,
}

/// A unit whose key has to be compared before it proves anything.
#[derive(Debug, Clone, Serialize)]
pub struct Unanchored {
    pub unit: String,
    pub identity_key: Option<String>,
}

/// One receipt of the bundle.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiptLine {
    pub number: usize,
    pub event: &'static str,
    pub issuer: String,
    pub recipient: Option<String>,
    pub time: Timestamp,
    pub clock: String,
    pub reason: Option<String>,
    pub actor: Option<String>,
    pub flags: Vec<String>,
    pub log: Option<String>,
    pub index: u64,
    pub size: Option<u64>,
    pub verified: bool,
}

/// What one unit states.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    pub unit: String,
    pub verdict: String,
}

/// One finding.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    pub effect: &'static str,
    pub reason: &'static str,
    pub place: String,
    /// Whose card or receipt it is; none: what all parts rest on.
    pub unit: Option<String>,
    pub text: String,
}

/// Reads bundle and anchors, judges; with a format the judgement is a certificate, where there is
/// one.
pub fn run(
    context: &Context,
    file: &Path,
    trust: &[PathBuf],
    vkeys: &[String],
    paper: &PaperArgs,
) -> Result<Exit, Failure> {
    let max = u64::try_from(limits::BUNDLE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1024);
    let bytes = files::read(file, max)?;
    let anchors = anchors(trust, vkeys)?;
    let bundle = match evidence::parse(&bytes) {
        Ok(bundle) => bundle,
        Err(error) => {
            if paper.format.is_some() {
                context.printer().say(NO_CERTIFICATE);
            }
            return context.printer().report(&VerifyReport::unreadable(&error));
        }
    };
    let verdict = evidence::verify(&bundle, &anchors);
    let report = VerifyReport::of(&verdict);
    let digest = Digest::of(&bytes);
    let judged = Judged { file, digest, bundle: &bundle, verdict: &verdict };
    let Some(format) = paper.format else { return context.printer().report(&report) };
    let Some(certificate) = certificate::paper(&judged, context.printer().look.now) else {
        context.printer().say(NO_CERTIFICATE);
        return context.printer().report(&report);
    };
    let subject = Subject {
        paper: "certificate",
        short_id: report.short_id.unwrap_or_default(),
        verdict: Some(report.verdict),
        exit: report.exit,
    };
    deliver(context, &certificate, format, paper, subject)
}

/// Cards and log keys that the caller trusts.
fn anchors(cards: &[PathBuf], vkeys: &[String]) -> Result<TrustAnchors, Failure> {
    let mut anchors = TrustAnchors::default();
    let conflict = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Usage, format!("{error}."))
            .safe("nothing was judged")
            .with_remedy("give one card of each unit")
    };
    for path in cards {
        anchors.add_card(read_card(path)?.0).map_err(|error| conflict(&error))?;
    }
    for text in vkeys {
        // A verifier key has plus signs and slashes in fixed places; whatever exists as a file is
        // one.
        let content = match Path::new(text).is_file() {
            true => files::read_text(Path::new(text), VKEY_BYTES_MAX)?,
            false => text.clone(),
        };
        for line in content.lines().filter(|line| !line.trim().is_empty()) {
            let key: VerifierKey = line.trim().parse().map_err(|error| {
                Failure::new(Exit::Usage, format!("--vkey {text}: {error}."))
                    .safe("nothing was judged")
                    .with_remedy("NAME+HASH+KEY as in a .vkey file of `evidence export`")
            })?;
            anchors.add_log(&key).map_err(|error| conflict(&error))?;
        }
    }
    Ok(anchors)
}

impl VerifyReport {
    /// From the judgement.
    pub fn of(verdict: &Verdict) -> Self {
        let exit = match verdict.outcome {
            Outcome::Valid => Exit::Done,
            Outcome::Consistent | Outcome::UnprovenTime => Exit::Attention,
            Outcome::Invalid => Exit::Invalid,
        };
        let unanchored = verdict.unanchored.iter().map(|(unit, key)| Unanchored {
            unit: unit.to_string(),
            identity_key: key.map(|key| key.to_string()),
        });
        let part = |(unit, outcome): (&UnitId, &Outcome)| {
            let (unit, verdict) = (unit.to_string(), outcome.to_string());
            Part { unit, verdict }
        };
        let problem = |problem: &evidence::Problem| Problem {
            effect: match problem.effect {
                Effect::Remark => "remark",
                Effect::UnprovenTime => "unproven-time",
                Effect::Invalid => "invalid",
            },
            reason: problem.reason.label(),
            place: problem.place.clone(),
            unit: problem.unit.as_ref().map(ToString::to_string),
            text: problem.text.clone(),
        };
        Self {
            verdict: verdict.outcome.to_string(),
            anchored_by: verdict.anchored_by.iter().cloned().collect(),
            not_anchored: unanchored.collect(),
            message_id: verdict.message_id.map(|id| id.to_string()),
            short_id: verdict.message_id.map(|id| id.short().to_string()),
            header_digest: verdict.header_digest.map(|digest| digest.to_string()),
            from: verdict.from.as_ref().map(ToString::to_string),
            to: verdict.to.iter().map(ToString::to_string).collect(),
            payload_matches: verdict.payload_matches,
            receipts: verdict.ladder.iter().map(ReceiptLine::of).collect(),
            parts: verdict.parts.iter().map(part).collect(),
            problems: verdict.problems.iter().map(problem).collect(),
            not_proven: verdict.not_proven.to_vec(),
            exit,
        }
    }

    /// Of a file that is no bundle, or not a canonical one: a changed byte may well end here.
    fn unreadable(error: &BundleError) -> Self {
        Self {
            verdict: Outcome::Invalid.to_string(),
            anchored_by: Vec::new(),
            not_anchored: Vec::new(),
            message_id: None,
            short_id: None,
            header_digest: None,
            from: None,
            to: Vec::new(),
            payload_matches: false,
            receipts: Vec::new(),
            parts: Vec::new(),
            problems: vec![Problem {
                effect: "invalid",
                reason: error.reason().label(),
                place: "file".to_owned(),
                unit: None,
                text: error.to_string(),
            }],
            not_proven: evidence::NOT_PROVEN.to_vec(),
            exit: Exit::Invalid,
        }
    }

    fn headline(&self) -> String {
        let short = self.short_id.as_deref().unwrap_or("?");
        match self.problems.iter().find(|problem| problem.effect == "invalid") {
            Some(first) if self.exit == Exit::Invalid => {
                format!("INVALID  message {short}: {} in {}", first.reason, first.place)
            }
            _ => format!(
                "{}  message {short} from {}",
                self.verdict,
                self.from.as_deref().unwrap_or("?")
            ),
        }
    }
}

impl ReceiptLine {
    fn of(line: &evidence::ReceiptLine) -> Self {
        let flag = |flag: &v1::StatementFlag| words::statement_flag(*flag).to_owned();
        Self {
            number: line.number,
            event: line.event.name(),
            issuer: line.issuer.to_string(),
            recipient: line.recipient.as_ref().map(ToString::to_string),
            time: line.event_time,
            clock: words::clock(Some(&line.clock)),
            reason: line.reason.clone(),
            actor: line.actor.clone(),
            flags: line.flags.iter().map(flag).collect(),
            log: line.log.as_ref().map(ToString::to_string),
            index: line.index,
            size: line.size,
            verified: line.verified,
        }
    }
}

impl Report for VerifyReport {
    const VERB: &'static str = "evidence.verify";

    fn people(&self, page: &mut Page) {
        page.line(self.headline());
        if self.verdict == "CONSISTENT" {
            page.line("All holds together, but only by keys that the file itself brought along.");
            page.line("Compare these identity keys by a way of your own, or give --trust CARD:");
        }
        for unit in &self.not_anchored {
            let key = unit.identity_key.as_deref().unwrap_or("no card in the file");
            page.line(format!("  not trusted: {}  {key}", unit.unit));
        }
        for problem in &self.problems {
            let (place, reason, text) = (&problem.place, problem.reason, &problem.text);
            page.hanging(&format!("  {place}: {reason}: {text}"), 4);
        }
        // What one unit did says nothing of what another one signed.
        if self.parts.iter().any(|part| part.verdict != self.verdict) {
            page.line("What each unit states, by itself:");
            for part in &self.parts {
                page.line(format!("  {:<16} {}", part.unit, part.verdict));
            }
        }
        page.gap();
        for line in &self.receipts {
            let mark = if line.verified { ' ' } else { '!' };
            let (number, event, issuer, time) = (line.number, line.event, &line.issuer, line.time);
            page.line(format!("{mark}{number:>2} {event:<22} {issuer:<16} {time}"));
            let log = line.log.as_deref().unwrap_or("log unreadable");
            let mut facts = format!("    {log} index {}, clock {}", line.index, line.clock);
            for text in [&line.reason, &line.actor].into_iter().flatten() {
                facts.push_str(&format!(", {text}"));
            }
            for flag in &line.flags {
                facts.push_str(&format!(", {flag}"));
            }
            page.hanging(&facts, 2);
        }
        if self.header_digest.is_none() {
            return;
        }
        page.gap();
        page.fact("MESSAGE", self.message_id.as_deref().unwrap_or("-"));
        page.fact("SHA-256", self.header_digest.as_deref().unwrap_or("-"));
        page.fact("TO", self.to.join(", "));
        page.fact(
            "CONTENT",
            match self.payload_matches {
                true => "in the file, and the one that was signed",
                false => "not shown by this file",
            },
        );
        for anchor in &self.anchored_by {
            page.fact("TRUSTED", anchor);
        }
        page.gap();
        page.line("Not proven by this file:");
        for text in &self.not_proven {
            page.hanging(&format!("  - {text}"), 4);
        }
    }

    fn exit(&self) -> Exit {
        self.exit
    }
}

/// A key is some hundred characters; a unit has few logs.
const VKEY_BYTES_MAX: u64 = 64 * 1024;

const NO_CERTIFICATE: &str = "No certificate was made: the file does not verify.";
