//! Papers: what a person files or lays before a court, made of one model by two writers.
//!
//! `request` and `certificate` make a [`Paper`], [`write()`] turns it into HTML or PDF. Invariant:
//! text reaches a paper only as a [`Phrase`], in which every control, invisible and reordering
//! character is shown as `\u{..}`, and which knows whether a sender wrote it; the writers give each
//! phrase a place of its own, so that no words of others turn or continue words of ours.

pub mod certificate;
mod html;
pub mod pdf;
pub mod request;

use std::path::Path;

use relay_proto::{payload::Language, timestamp::Timestamp, untrusted::Untrusted};

use crate::{args::PaperFormat, failure::Failure};

/// A document, independent of how it is written.
#[derive(Debug, Clone, Default)]
pub struct Paper {
    pub title: String,
    /// What must be seen before anything is read, on every page: markings, a drill.
    pub marks: Vec<Phrase>,
    /// Of what the sender wrote.
    pub language: Option<Language>,
    /// Which document a page belongs to.
    pub footer: Phrase,
    /// By this computer's clock.
    pub printed: Timestamp,
    /// It is set smaller before it takes a second page.
    pub one_page: bool,
    pub blocks: Vec<Block>,
}

/// A part of a document, from top to bottom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    Section(String),
    /// Of a section.
    Part(String),
    Note(Phrase),
    /// The one word that counts, and what it means.
    Verdict {
        word: String,
        meaning: String,
    },
    Fields(Vec<Field>),
    Table(Table),
    List(Vec<Phrase>),
    Timeline(Timeline),
}

/// A label with what stands under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub label: &'static str,
    pub values: Vec<Phrase>,
}

/// Rows under heads; as many cells in a row as there are heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub caption: &'static str,
    pub heads: Vec<&'static str>,
    pub rows: Vec<Vec<Phrase>>,
}

/// Steps in their order, drawn as a ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    pub title: String,
    pub steps: Vec<Step>,
}

/// One step: only checked names and words of ours, which fit a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub number: usize,
    pub at: Timestamp,
    pub clock: String,
    /// What happened, by whom.
    pub what: String,
    /// What that says, and about whom.
    pub meaning: String,
    /// Where it is recorded.
    pub place: String,
    /// How long after the step before it.
    pub gap: Option<String>,
}

/// A text and whose it is; several lines stay several lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Phrase {
    text: String,
    theirs: bool,
}

/// A finished document.
#[derive(Debug)]
pub struct Written {
    pub bytes: Vec<u8>,
    /// What whoever prints it has to know.
    pub notices: Vec<String>,
}

impl Phrase {
    /// Words of this program, or a value of a checked type.
    pub fn ours(text: impl AsRef<str>) -> Self {
        Self { text: harmless(text.as_ref()), theirs: false }
    }

    /// Words of a sender: of any language, in any direction.
    pub fn theirs(text: impl AsRef<str>) -> Self {
        Self { text: harmless(text.as_ref()), theirs: true }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn is_theirs(&self) -> bool {
        self.theirs
    }
}

/// Writes a document.
pub fn write(paper: &Paper, format: PaperFormat) -> Result<Written, Failure> {
    Ok(match format {
        PaperFormat::Html => {
            Written { bytes: html::write(paper).into_bytes(), notices: Vec::new() }
        }
        PaperFormat::Pdf => pdf::write(paper, &pdf::FOLDERS.map(Path::new))?,
    })
}

impl Paper {
    /// Beside each other, none torn apart by the end of a line.
    fn marks_in_a_line(&self) -> String {
        let marks = self.marks.iter().map(|mark| mark.text().replace(' ', "\u{a0}"));
        marks.collect::<Vec<_>>().join("   ")
    }

    fn section(&mut self, title: impl Into<String>) {
        self.blocks.push(Block::Section(title.into()));
    }

    fn note(&mut self, text: &str) {
        self.blocks.push(Block::Note(Phrase::ours(text)));
    }
}

/// Fields in the order in which they are added; what is not stated leaves none.
#[derive(Debug, Default)]
struct Fields(Vec<Field>);

impl Fields {
    fn put(mut self, label: &'static str, values: Vec<Phrase>) -> Self {
        if !values.is_empty() {
            self.0.push(Field { label, values });
        }
        self
    }

    /// A value of ours.
    fn ours(self, label: &'static str, text: impl AsRef<str>) -> Self {
        self.put(label, vec![Phrase::ours(text)])
    }

    /// What the sender wrote, if anything.
    fn stated(self, label: &'static str, text: &str) -> Self {
        let values = (!text.is_empty()).then(|| Phrase::theirs(text));
        self.put(label, values.into_iter().collect())
    }

    /// What the sender had to write: where it is missing, that is said.
    fn needed(self, label: &'static str, text: &str) -> Self {
        match text {
            "" => self.ours(label, NOT_STATED),
            text => self.stated(label, text),
        }
    }

    fn end(self) -> Block {
        match self.0.is_empty() {
            true => Block::Note(Phrase::ours(NOT_STATED)),
            false => Block::Fields(self.0),
        }
    }
}

/// Line feeds stay, since people write paragraphs; a tab becomes a blank, since its width is
/// nobody's word.
fn harmless(text: &str) -> String {
    Untrusted(text).lines().to_string().replace('\t', " ")
}

const NOT_STATED: &str = "not stated";
