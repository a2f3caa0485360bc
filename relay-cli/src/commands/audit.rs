//! `audit …`: who read, sent and changed what at this node; as a list, as a file, and a file
//! checked without a node.
//!
//! A file has one entry a line: the fields for people and programs, and `record`, the bytes that
//! are hashed. Invariant: what is checked is `record`; fields that say anything else make the file
//! INVALID.

use std::path::Path;

use relay_proto::{
    audit::{Broken, Chain, from_bytes, hash, to_bytes},
    timestamp::Timestamp,
    v1,
};
use serde::{Deserialize, Serialize};

use super::count;
use crate::{
    args::{AuditVerb, SpanArgs},
    client::Node,
    context::Context,
    exit::Exit,
    failure::Failure,
    files,
    render::Page,
    report::Report,
    view::{hex, stated},
};

/// `audit list`
#[derive(Debug, Clone, Serialize)]
pub struct AuditReport {
    pub entries: Vec<EntryView>,
    /// Not all are listed.
    pub more: bool,
}

/// `audit export`
#[derive(Debug, Clone, Serialize)]
pub struct AuditExportReport {
    pub file: String,
    #[serde(flatten)]
    pub chain: ChainView,
}

/// `audit verify`
#[derive(Debug, Clone, Serialize)]
pub struct AuditVerifyReport {
    pub valid: bool,
    /// What is wrong, and in which line.
    pub fault: Option<String>,
    #[serde(flatten)]
    pub chain: ChainView,
}

/// Entries in a row.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ChainView {
    pub entries: usize,
    pub first: Option<u64>,
    pub last: Option<u64>,
    /// What the entry before the first must hash to; absent: it is the first of all.
    pub before: Option<String>,
    /// Of the last entry.
    pub hash: Option<String>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryView {
    pub number: u64,
    pub time: Option<String>,
    pub account: Option<String>,
    pub caller: String,
    pub call: String,
    pub object: Option<String>,
    pub units: Vec<String>,
    pub purpose: Option<String>,
    pub refused: Option<String>,
    pub header_digest: Option<String>,
    pub hash: String,
    /// The encoded `AuditRecord`, hexadecimal.
    pub record: String,
}

/// Runs a verb of the noun.
pub async fn run(context: &Context, verb: AuditVerb) -> Result<Exit, Failure> {
    match verb {
        AuditVerb::List { by, span, limit } => list(context, by, &span, limit).await,
        AuditVerb::Export { span, out } => export(context, &span, &out).await,
        AuditVerb::Verify { file } => verify(context, &file),
    }
}

async fn list(
    context: &Context,
    by: Option<String>,
    span: &SpanArgs,
    limit: u32,
) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut request = asked(context, span);
    (request.newest_first, request.account) = (true, by.unwrap_or_default());
    let (mut entries, mut more) = (Vec::new(), true);
    while more && entries.len() <= limit {
        let answer = page(&node, &request).await?;
        entries.extend(answer.records.iter().map(EntryView::from));
        more = !answer.next_page_token.is_empty();
        request.page_token = answer.next_page_token;
    }
    more |= entries.len() > limit;
    entries.truncate(limit);
    context.printer().report(&AuditReport { entries, more })
}

async fn export(context: &Context, span: &SpanArgs, out: &Path) -> Result<Exit, Failure> {
    let node = context.node().await?;
    let (now, mut request) = (context.now(), v1::ListAuditRequest::default());
    request.page_size = PAGE;
    let from = span.from.as_ref().map_or(0, |from| from.since(now).as_millis());
    let until = span.until.as_ref().map_or(u64::MAX, |until| until.since(now).as_millis());
    let mut row = Row::of(from, until);
    loop {
        let answer = page(&node, &request).await?;
        for record in &answer.records {
            row.add(record).map_err(|broken| {
                let what = format!("The node's audit log does not hold together: {broken}.");
                Failure::new(Exit::Invalid, what).safe("no file was written")
            })?;
        }
        request.page_token = answer.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let (text, chain) = row.finish();
    files::write_new(out, text.as_bytes())?;
    let file = out.display().to_string();
    context.printer().report(&AuditExportReport { file, chain })
}

/// The entries from the first to the last of a span of time, all that lie between with them: a
/// clock that was set back, or two calls at once, must not tear the row apart.
struct Row {
    from: u64,
    until: u64,
    chain: Chain,
    text: String,
    /// What was added, and how far it goes without what is behind the span.
    seen: ChainView,
    kept: (usize, ChainView),
}

impl Row {
    fn of(from: u64, until: u64) -> Self {
        let (chain, seen) = (Chain::default(), ChainView::default());
        Self { from, until, chain, text: String::new(), seen, kept: (0, ChainView::default()) }
    }

    fn add(&mut self, record: &v1::AuditRecord) -> Result<(), Broken> {
        self.chain.next(record)?;
        let is_in = (self.from..self.until).contains(&record.at_ms);
        if !is_in && self.seen.entries == 0 {
            return Ok(());
        }
        self.seen.add(record);
        // Texts and numbers alone: nothing in it cannot be written.
        self.text.push_str(&serde_json::to_string(&EntryView::from(record)).unwrap_or_default());
        self.text.push('\n');
        if is_in {
            self.kept = (self.text.len(), self.seen.clone());
        }
        Ok(())
    }

    fn finish(mut self) -> (String, ChainView) {
        self.text.truncate(self.kept.0);
        (self.text, self.kept.1)
    }
}

fn verify(context: &Context, file: &Path) -> Result<Exit, Failure> {
    let text = files::read_text(file, FILE_BYTES_MAX)?;
    let (chain, fault) = checked(&text);
    context.printer().report(&AuditVerifyReport { valid: fault.is_none(), fault, chain })
}

/// What holds of a file's entries, up to the first fault.
fn checked(text: &str) -> (ChainView, Option<String>) {
    let (mut chain, mut seen) = (Chain::default(), ChainView::default());
    for (line, entry) in (1..).zip(text.lines()) {
        match follows(&mut chain, entry) {
            Ok(record) => seen.add(&record),
            Err(fault) => return (seen, Some(format!("line {line}: {fault}"))),
        }
    }
    let fault = (seen.entries == 0).then(|| "there is no entry in it".to_owned());
    (seen, fault)
}

fn follows(chain: &mut Chain, line: &str) -> Result<v1::AuditRecord, String> {
    let stated: EntryView = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let bytes = unhex(&stated.record).ok_or("`record` is not hexadecimal")?;
    let record = from_bytes(&bytes).ok_or("`record` is no entry of an audit log")?;
    if EntryView::from(&record) != stated {
        return Err("its fields say something else than its `record`".to_owned());
    }
    chain.next(&record).map_err(|broken| broken.to_string())?;
    Ok(record)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let pair = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'))?;
        u8::from_str_radix(pair, 16).ok()
    };
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(pair).collect()).flatten()
}

fn asked(context: &Context, span: &SpanArgs) -> v1::ListAuditRequest {
    let time = |at: Timestamp| {
        let millis = at.as_millis();
        prost_types::Timestamp {
            seconds: i64::try_from(millis / 1000).unwrap_or(i64::MAX),
            nanos: i32::try_from(millis % 1000).unwrap_or_default() * 1_000_000,
        }
    };
    let now = context.now();
    v1::ListAuditRequest {
        page_size: PAGE,
        from_time: span.from.as_ref().map(|from| time(from.since(now))),
        until_time: span.until.as_ref().map(|until| time(until.since(now))),
        ..v1::ListAuditRequest::default()
    }
}

async fn page(
    node: &Node,
    request: &v1::ListAuditRequest,
) -> Result<v1::ListAuditResponse, Failure> {
    let answer = node.audit().list_audit(node.request(request.clone())).await;
    Ok(answer.map_err(|status| node.failure(&status))?.into_inner())
}

impl From<&v1::AuditRecord> for EntryView {
    fn from(record: &v1::AuditRecord) -> Self {
        Self {
            number: record.number,
            time: Timestamp::from_wire(record.at_ms).map(|at| at.to_string()),
            account: stated(&record.account),
            caller: record.caller.clone(),
            call: record.call.clone(),
            object: stated(&record.object),
            units: record.units.clone(),
            purpose: stated(&record.purpose),
            refused: stated(&record.refused),
            header_digest: stated(&hex(&record.header_digest)),
            hash: hex(hash(record).as_bytes()),
            record: hex(&to_bytes(record)),
        }
    }
}

impl ChainView {
    pub(super) fn add(&mut self, record: &v1::AuditRecord) {
        if self.entries == 0 {
            self.first = Some(record.number);
            self.before = stated(&hex(&record.previous));
        }
        self.entries += 1;
        self.last = Some(record.number);
        self.hash = Some(hex(hash(record).as_bytes()));
    }

    fn show(&self, page: &mut Page) {
        let (Some(first), Some(last)) = (self.first, self.last) else { return };
        page.fact("ENTRIES", format!("{first} to {last}"));
        if let Some(before) = &self.before {
            page.fact("BEFORE", before);
        }
        page.fact("LAST", self.hash.as_deref().unwrap_or_default());
    }
}

impl EntryView {
    fn show(&self, page: &mut Page) {
        let at = self.time.as_deref().unwrap_or("-");
        let who = self.account.as_deref().unwrap_or("no account");
        let word = if self.refused.is_some() { "REFUSED " } else { "" };
        let (number, call, caller) = (self.number, &self.call, &self.caller);
        page.line(format!("{number}  {at}  {who} ({caller})  {word}{call}"));
        let units = self.units.join(", ");
        let of: Vec<&str> =
            self.object.iter().map(String::as_str).chain([units.as_str()]).collect();
        let of = of.join("  ");
        if !of.trim().is_empty() {
            page.quote(of.trim(), 2);
        }
        if let Some(purpose) = &self.purpose {
            page.quote(&format!("for: {purpose}"), 2);
        }
    }
}

impl Report for AuditReport {
    const VERB: &'static str = "audit.list";

    fn people(&self, page: &mut Page) {
        let refused = self.entries.iter().filter(|entry| entry.refused.is_some()).count();
        page.line(match (self.entries.len(), refused) {
            (0, _) => "Nothing is in the audit log for that".to_owned(),
            (n, 0) => format!("{}, the newest first", entries(n)),
            (n, refused) => format!("{}, the newest first; {refused} REFUSED", entries(n)),
        });
        page.gap();
        for entry in &self.entries {
            entry.show(page);
        }
        if self.more {
            page.line("There are more: --limit N, or all: relay-cli audit export --out FILE");
        }
    }
}

impl Report for AuditExportReport {
    const VERB: &'static str = "audit.export";

    fn people(&self, page: &mut Page) {
        page.line(format!("WRITTEN {} to {}", entries(self.chain.entries), self.file));
        self.chain.show(page);
        page.line("Keep the last hash apart from the file: it shows later what was cut off.");
    }
}

impl Report for AuditVerifyReport {
    const VERB: &'static str = "audit.verify";

    fn people(&self, page: &mut Page) {
        match &self.fault {
            None => page.line(format!(
                "VALID  {}, each bound to the one before",
                entries(self.chain.entries)
            )),
            Some(fault) => {
                page.line("INVALID");
                page.quote(fault, 2);
            }
        }
        self.chain.show(page);
    }

    fn exit(&self) -> Exit {
        if self.valid { Exit::Done } else { Exit::Invalid }
    }
}

fn entries(number: usize) -> String {
    match number {
        1 => "1 entry".to_owned(),
        n => count(n, "entrie"),
    }
}

/// The node gives out at most so many a page.
const PAGE: i32 = 1000;

/// Years of a busy unit.
const FILE_BYTES_MAX: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn file(count: u64) -> Vec<String> {
        let (mut lines, mut previous) = (Vec::new(), Vec::new());
        for number in 1..=count {
            let record = v1::AuditRecord {
                number,
                previous: previous.clone().into(),
                at_ms: 1_790_000_000_000 + number,
                account: "desk".to_owned(),
                caller: "uid:1000".to_owned(),
                call: "GetMessage".to_owned(),
                purpose: "casework".to_owned(),
                ..Default::default()
            };
            previous = hash(&record).as_bytes().to_vec();
            lines.push(serde_json::to_string(&EntryView::from(&record)).unwrap());
        }
        lines
    }

    fn fault(lines: &[String]) -> Option<String> {
        checked(&lines.join("\n")).1
    }

    /// Of a span of time the whole row, also where the clock went back between two entries.
    #[test]
    fn a_span_is_a_row() {
        let times = [10, 20, 35, 19, 22, 40, 50];
        let (mut row, mut previous) = (Row::of(20, 40), Vec::new());
        for (number, at_ms) in (1..).zip(times) {
            let previous_hash = previous.clone().into();
            let record =
                v1::AuditRecord { number, at_ms, previous: previous_hash, ..Default::default() };
            previous = hash(&record).as_bytes().to_vec();
            row.add(&record).unwrap();
        }
        let (text, chain) = row.finish();
        assert_eq!((chain.first, chain.last, chain.entries), (Some(2), Some(5), 4));
        let (checked, fault) = checked(&text);
        assert_eq!((checked.hash, fault), (chain.hash, None));
        assert_eq!(Row::of(1, 2).finish().0, "");
    }

    /// A file is believed as it was written, and not after any change of it.
    #[test]
    fn a_changed_file_is_invalid() {
        let sound = file(4);
        let (chain, none) = checked(&sound.join("\n"));
        assert_eq!((chain.entries, chain.first, chain.last, none), (4, Some(1), Some(4), None));
        assert_eq!(fault(&sound[1..]), None, "a later part is a file of its own");
        let mut shown = sound.clone();
        shown[1] = shown[1].replace("\"casework\"", "\"none\"");
        assert!(fault(&shown).unwrap().starts_with("line 2: its fields say something else"));
        let mut gone = sound.clone();
        gone.remove(1);
        assert!(fault(&gone).unwrap().starts_with("line 2: entry 3 follows entry 1"));
        let mut made = sound.clone();
        let record = v1::AuditRecord { number: 2, ..Default::default() };
        made[1] = serde_json::to_string(&EntryView::from(&record)).unwrap();
        assert!(fault(&made).unwrap().starts_with("line 2: entry 2 does not name the hash"));
        assert!(fault(&["{}".to_owned()]).is_some() && fault(&[]).is_some());
        assert_eq!((unhex("0aff"), unhex("0"), unhex("+1")), (Some(vec![10, 255]), None, None));
    }
}
