//! Faults of a configuration: each says where, which key, what is wrong and what mends it.
//!
//! Enter through [`Report`]. Invariant: one printed fault is one line and its mend another; nothing
//! from a file is printed unescaped.

use std::{fmt, path::PathBuf};

/// Everything that was found wrong, in the order of files and lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The file that was checked.
    pub file: PathBuf,
    /// What was found.
    pub faults: Vec<Fault>,
}

impl Report {
    /// A node can run with it: there may be warnings.
    pub fn is_ok(&self) -> bool {
        self.errors() == 0
    }

    /// How many faults keep a node from running.
    pub fn errors(&self) -> usize {
        self.faults.iter().filter(|fault| fault.severity == Severity::Error).count()
    }

    /// How many do not.
    pub fn warnings(&self) -> usize {
        self.faults.len().saturating_sub(self.errors())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            writeln!(f, "{fault}")?;
        }
        let (errors, warnings) = (self.errors(), self.warnings());
        match (errors, warnings) {
            (0, 0) => write!(f, "{}: no faults", escaped(&self.file.to_string_lossy())),
            _ => write!(
                f,
                "{}, {} (nothing was changed)",
                counted(errors, "error"),
                counted(warnings, "warning")
            ),
        }
    }
}

impl std::error::Error for Report {}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file that it is in.
    pub file: PathBuf,
    /// Where; none when it is in what the file does not say.
    pub place: Option<Place>,
    /// Whether a node can run with it.
    pub severity: Severity,
    /// The kind of fault, for programs; it keeps its meaning.
    pub label: &'static str,
    /// The path of the key: `link.listen`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to write or to type.
    pub mend: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", escaped(&self.file.to_string_lossy()))?;
        if let Some(place) = self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        write!(f, "  {}  {}  ", self.severity, self.label)?;
        if !self.key.is_empty() {
            write!(f, "{}  ", escaped(&self.key))?;
        }
        write!(f, "{}\n        {}", escaped(&self.problem), escaped(&self.mend))
    }
}

/// A line and a column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column in characters.
    pub column: usize,
}

impl Place {
    /// The place of a byte in a text.
    pub(super) fn of(text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |at| at.saturating_add(1));
        let line = before.matches('\n').count().saturating_add(1);
        let column = before.get(start..).map_or(0, |rest| rest.chars().count());
        Self { line, column: column.saturating_add(1) }
    }
}

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The node does not run with it.
    Error,
    /// The node runs, but probably not as meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warn",
        })
    }
}

/// Whether a character may stand in a line for people: it moves no cursor, hides nothing, turns no
/// direction.
pub fn is_printable(character: char) -> bool {
    let shapes_others = matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}');
    !character.is_control() && !shapes_others
}

/// Text from a file as it may be printed: nothing that moves a cursor or turns the direction of
/// writing.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_printable(character) {
            out.push(character);
        } else {
            out.extend(character.escape_unicode());
        }
    }
    out
}

fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}
