//! Flags of the verbs that make a paper.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// As which file, and where.
#[derive(Debug, Args)]
pub struct PaperArgs {
    /// A document to print, sign and file instead of a page for the screen
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<PaperFormat>,
    /// Where to write it [default: stdout]; a file that is there is left alone
    #[arg(long, value_name = "FILE", requires = "format")]
    pub out: Option<PathBuf>,
}

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PaperFormat {
    /// One file for browsers and screen readers, without script
    Html,
    /// A4, with its fonts inside, for archives and screen readers (PDF/A-2a, PDF/UA-1)
    Pdf,
}

impl PaperFormat {
    /// The word that is typed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Pdf => "pdf",
        }
    }
}
