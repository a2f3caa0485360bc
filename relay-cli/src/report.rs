//! The one printer: results to stdout, talk and failures to stderr, text or JSON.
//!
//! Enter through [`Printer`]. A command hands over a [`Report`]; nothing else in this package
//! writes to stdout. Invariant: a reader that goes away (a broken pipe) is no error, and ends the
//! program quietly.

use std::io::{self, IsTerminal as _, Write};

use relay_proto::ids::RequestId;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    exit::Exit,
    failure::Failure,
    render::{Look, Page, is_unsafe},
    typed::Command,
};

/// The result of a verb: fields for programs, a page for people.
pub trait Report: Serialize {
    /// The verb as it stands in the schema's name: `peer.list`.
    const VERB: &'static str;
    /// Grows when a field changes its meaning or goes away; never for one that is added.
    const VERSION: u32 = 1;

    /// Verdict first, then what needs you, then facts.
    fn people(&self, page: &mut Page);

    /// How the process ends with this result.
    fn exit(&self) -> Exit {
        Exit::Done
    }
}

/// Where results go, and how.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    /// JSON instead of pages.
    pub json: bool,
    /// Each document on one line.
    pub jsonl: bool,
    /// The page's looks.
    pub look: Look,
    /// The first line stands out.
    pub bold: bool,
}

impl Printer {
    /// Prints a result; the code says how the process ends.
    pub fn report<R: Report>(&self, report: &R) -> Result<Exit, Failure> {
        let text = match self.json {
            true if self.jsonl => format!("{}\n", line_document(report)),
            true => format!("{}\n", document(report)),
            false => {
                let mut page = Page::new(self.look);
                report.people(&mut page);
                self.emphasised(page.finish())
            }
        };
        self.out(&text).map(|()| report.exit())
    }

    /// Prints one record of a stream on one line.
    pub fn record<R: Report>(&self, report: &R) -> Result<(), Failure> {
        let text = match self.json {
            true => format!("{}\n", line_document(report)),
            false => {
                let mut page = Page::new(Look { plain: true, ..self.look });
                report.people(&mut page);
                page.finish()
            }
        };
        self.out(&text)
    }

    /// Says something about what goes on, on stderr; not with `--quiet`.
    pub fn say(&self, text: &str) {
        if !self.look.quiet {
            let mut page = Page::new(self.look);
            page.line(text);
            // Talk is not a result: when nobody can hear it, the work goes on.
            let _ = io::stderr().write_all(page.finish().as_bytes());
        }
    }

    /// Says which command repeats this one safely; before it is sent, so that it is known whatever
    /// happens next.
    pub fn say_request(&self, id: RequestId, again: &Command) {
        if !self.look.quiet {
            let mut page = Page::new(self.look);
            page.line(format!("REQUEST   {id}"));
            page.command("  repeat: ", again.words());
            let _ = io::stderr().write_all(page.finish().as_bytes());
        }
    }

    /// Prints a failure: the page on stderr, and with `--json` the document on stdout.
    pub fn failure(&self, failure: &Failure) -> Exit {
        let mut page = Page::new(Look { quiet: false, ..self.look });
        failure.people(&mut page);
        let _ = io::stderr().write_all(page.finish().as_bytes());
        if self.json && self.out(&format!("{}\n", failure_document(failure))).is_err() {
            return failure.exit;
        }
        failure.exit
    }

    /// Puts the bytes of a file on stdout; nothing that is no text, where a person would see it.
    pub fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        if io::stdout().is_terminal() && std::str::from_utf8(bytes).is_err() {
            let what = "The result is a file, and stdout is a terminal.";
            return Err(Failure::new(Exit::Usage, what)
                .safe("nothing was written")
                .with_remedy("add --out FILE"));
        }
        self.bytes(bytes)
    }

    fn out(&self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| {
            match error.kind() {
                // Whoever reads has seen enough, as `head` does.
                io::ErrorKind::BrokenPipe => Failure::new(Exit::Done, BROKEN_PIPE),
                _ => Failure::new(Exit::Attention, format!("Cannot write the result: {error}.")),
            }
        })
    }

    fn emphasised(&self, text: String) -> String {
        match text.split_once('\n') {
            Some((first, rest)) if self.bold => format!("\u{1b}[1m{first}\u{1b}[0m\n{rest}"),
            _ => text,
        }
    }
}

/// Whether a failure is only that the reader went away.
pub fn is_broken_pipe(failure: &Failure) -> bool {
    failure.what == BROKEN_PIPE
}

/// Whether the terminal can show emphasis and nobody forbade it.
pub fn emphasis_wanted(no_color: bool, plain: bool) -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    !no_color && !plain && !forbidden && !dumb && io::stdout().is_terminal()
}

/// The JSON document of a report, indented.
pub fn document<R: Report>(report: &R) -> String {
    let value = with_schema(R::VERB, R::VERSION, report);
    escaped(&serde_json::to_string_pretty(&value).unwrap_or_default())
}

/// The JSON document of a report on one line.
pub fn line_document<R: Report>(report: &R) -> String {
    escaped(&with_schema(R::VERB, R::VERSION, report).to_string())
}

/// The JSON document of a failure.
pub fn failure_document(failure: &Failure) -> String {
    let value = with_schema("error", 1, failure);
    escaped(&serde_json::to_string_pretty(&value).unwrap_or_default())
}

fn with_schema(verb: &str, version: u32, report: &impl Serialize) -> Value {
    let mut document = Map::new();
    document.insert("schema".into(), format!("relay.cli.{verb}/{version}").into());
    match serde_json::to_value(report) {
        Ok(Value::Object(fields)) => document.extend(fields),
        Ok(other) => drop(document.insert("result".into(), other)),
        Err(error) => drop(document.insert("error".into(), error.to_string().into())),
    }
    Value::Object(document)
}

/// Outside of its strings JSON is ASCII, so what is unsafe on a terminal can be escaped in the
/// finished text.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_unsafe(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

const BROKEN_PIPE: &str = "the reader of stdout went away";
