//! The file that proves to a stranger that a leaf is in a log, after C2SP tlog-proof:
//! <https://c2sp.org/tlog-proof>.
//!
//! Invariant: a [`TlogProof`] prints exactly the text that it was read from. Nothing is verified
//! here.

use std::{fmt, str::FromStr};

use data_encoding::BASE64;

use crate::{
    ids::Digest,
    limits,
    reason::Reason,
    tlog::{
        note::Note,
        text::{base64, decimal},
    },
};

/// Index, audit path and the signed checkpoint that they lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Unauthenticated bytes of the application; ours writes none.
    pub extra: Option<Vec<u8>>,
    /// The leaf's number, from 0.
    pub index: u64,
    /// From the leaf's sibling up to the root's child.
    pub path: Vec<Digest>,
    /// The signed note, with all its lines.
    pub checkpoint: Note,
}

impl FromStr for TlogProof {
    type Err = ProofFileError;

    fn from_str(text: &str) -> Result<Self, ProofFileError> {
        if text.len() > FILE_BYTES_MAX {
            return Err(ProofFileError::TooLarge);
        }
        let malformed = ProofFileError::Malformed;
        let (head, checkpoint) =
            text.split_once("\n\n").ok_or(malformed("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(FIRST_LINE) {
            return Err(malformed("the first line is another"));
        }
        let extra = lines.next_if(|line| line.starts_with(EXTRA));
        let extra = match extra.and_then(|line| line.strip_prefix(EXTRA)) {
            None => None,
            Some(bytes) => Some(base64(bytes).ok_or(malformed("extra is not base64"))?),
        };
        let index = lines.next().and_then(|line| line.strip_prefix(INDEX)).and_then(decimal);
        let index = index.ok_or(malformed("no index line"))?;
        let mut path = Vec::new();
        for line in lines {
            if path.len() == limits::PATH_HASHES_MAX {
                return Err(ProofFileError::TooLarge);
            }
            let hash = base64(line).and_then(|bytes| Digest::from_bytes(&bytes).ok());
            path.push(hash.ok_or(malformed("a hash is not 32 bytes in base64"))?);
        }
        let checkpoint: Note =
            checkpoint.parse().map_err(|_| malformed("the checkpoint is no note"))?;
        // A checkpoint is "a sequence of [...] non-empty lines".
        if checkpoint.text().starts_with('\n') || checkpoint.text().contains("\n\n") {
            return Err(malformed("the checkpoint has an empty line"));
        }
        Ok(Self { extra, index, path, checkpoint })
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "{EXTRA}{}", BASE64.encode(extra))?;
        }
        writeln!(f, "{INDEX}{}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", BASE64.encode(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Why a file was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileError {
    /// Not the form of tlog-proof.
    #[error("proof file is not well-formed: {0}")]
    Malformed(&'static str),
    /// Too many bytes or hashes.
    #[error("proof file is too large")]
    TooLarge,
}

impl ProofFileError {
    /// The label that leaves the machine.
    pub fn reason(self) -> Reason {
        match self {
            Self::Malformed(_) => Reason::Malformed,
            Self::TooLarge => Reason::TooLarge,
        }
    }
}

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
const EXTRA: &str = "extra ";
const INDEX: &str = "index ";

/// A note, the longest path in base64 and as much of extra data again.
const FILE_BYTES_MAX: usize = 2 * limits::NOTE_BYTES_MAX;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sample() -> TlogProof {
        let text = "text\n\n\u{2014} xa.ncu/log/1 AAAAAAAA\n";
        let path = vec![Digest::of(b"1"), Digest::of(b"2")];
        TlogProof { extra: None, index: 5, path, checkpoint: text.parse().unwrap() }
    }

    /// The form of tlog-proof, and back.
    #[test]
    fn files_have_one_spelling() {
        let plain = sample();
        let text = plain.to_string();
        assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 5\na4ayc/80/OGda4BO/1o/V0etp"));
        assert!(text.contains("=\n\ntext\n\n\u{2014} xa.ncu"));
        assert_eq!(text.parse::<TlogProof>().unwrap(), plain);
        let extra = TlogProof { extra: Some(b"more".to_vec()), ..sample() };
        assert!(extra.to_string().starts_with("c2sp.org/tlog-proof@v1\nextra bW9yZQ==\nindex 5\n"));
        assert_eq!(extra.to_string().parse::<TlogProof>().unwrap(), extra);
        let short = TlogProof { path: vec![], ..sample() };
        assert_eq!(short.to_string().parse::<TlogProof>().unwrap(), short);

        let many = TlogProof { path: vec![Digest::of(b"1"); 64], ..sample() };
        assert_eq!(many.to_string().parse::<TlogProof>(), Err(ProofFileError::TooLarge));
        let bad = [
            text.replace("@v1", "@v2"),
            text.replace("index 5", "index 05"),
            text.replace("index 5", "index +5"),
            text.replace("index 5\n", ""),
            text.replace("index 5\n", "index 5\nindex 5\n"),
            text.replace("index 5\n", "index 5\nextra AAAA\n"),
            text.replace("index 5\n", "index 5\nAAAA\n"),
            text.replace("index 5\n", "index 5\n\n"),
            text.replace('\n', "\r\n"),
            text.trim_end().to_owned(),
        ];
        for bad in bad {
            assert!(bad.parse::<TlogProof>().is_err(), "{bad:?} was accepted");
        }
    }
}
