//! Papers on their way out: to a file that was not there, or to stdout.
//!
//! Enter through [`request`] and [`deliver`].

use std::path::PathBuf;

use relay_proto::v1;
use serde::Serialize;

use crate::{
    args::{PaperArgs, PaperFormat},
    context::Context,
    exit::Exit,
    failure::Failure,
    files,
    paper::{self, Paper},
    render::Page,
    report::Report,
};

/// What was written of what.
#[derive(Debug, Clone, Serialize)]
pub struct PaperReport {
    /// `preservation-request` or `certificate`.
    pub paper: &'static str,
    pub short_id: String,
    /// Of a certificate: the judgement.
    pub verdict: Option<String>,
    pub format: &'static str,
    pub file: PathBuf,
    /// What the paper lacks, and why.
    pub notices: Vec<String>,
    #[serde(skip)]
    pub exit: Exit,
}

/// Of what a paper is made.
#[derive(Debug)]
pub struct Subject {
    pub paper: &'static str,
    pub short_id: String,
    pub verdict: Option<String>,
    pub exit: Exit,
}

/// A preservation request as the form orders it.
pub fn request(
    context: &Context,
    message: &v1::Message,
    format: PaperFormat,
    args: &PaperArgs,
) -> Result<Exit, Failure> {
    let printed = context.printer().look.now;
    let Some(paper) = paper::request::paper(message, printed) else {
        let what = format!("{} is no preservation request that is kept here.", message.short_id);
        return Err(Failure::new(Exit::Usage, what)
            .safe("nothing was written")
            .with_remedy(format!("relay-cli show {}    (without --format)", message.short_id)));
    };
    let subject = Subject {
        paper: "preservation-request",
        short_id: message.short_id.clone(),
        verdict: None,
        exit: Exit::Done,
    };
    deliver(context, &paper, format, args, subject)
}

/// Writes a paper where it was asked for.
pub fn deliver(
    context: &Context,
    paper: &Paper,
    format: PaperFormat,
    args: &PaperArgs,
    of: Subject,
) -> Result<Exit, Failure> {
    let printer = context.printer();
    if args.out.is_none() && printer.json {
        let what = "A paper and a JSON document do not both fit on stdout.";
        return Err(Failure::new(Exit::Usage, what)
            .safe("nothing was written")
            .with_remedy("add --out FILE"));
    }
    let written = paper::write(paper, format)?;
    for notice in &written.notices {
        printer.say(notice);
    }
    let Some(file) = &args.out else { return printer.raw(&written.bytes).map(|()| of.exit) };
    files::write_new(file, &written.bytes).map_err(|failure| match failure.exit {
        Exit::Conflict => failure.only_remedy("choose another file with --out"),
        _ => failure,
    })?;
    printer.report(&PaperReport {
        paper: of.paper,
        short_id: of.short_id,
        verdict: of.verdict,
        format: format.word(),
        file: file.clone(),
        notices: written.notices,
        exit: of.exit,
    })
}

impl Report for PaperReport {
    const VERB: &'static str = "paper";

    fn people(&self, page: &mut Page) {
        let verdict = self.verdict.as_ref().map(|word| format!("{word}  ")).unwrap_or_default();
        let (paper, short, format) = (self.paper, &self.short_id, self.format);
        page.line(format!("{verdict}WRITTEN {paper} of {short} as {format}"));
        page.line(format!("  {}", self.file.display()));
    }

    fn exit(&self) -> Exit {
        self.exit
    }
}
