//! Checkpoints: a log's size and root as a signed note, after C2SP tlog-checkpoint:
//! <https://c2sp.org/tlog-checkpoint>.
//!
//! Invariant: a [`SignedCheckpoint`] verified under the key of the log that its first line names.

use std::{fmt, str::FromStr};

use data_encoding::BASE64;

use crate::{
    ids::{Digest, LogOrigin},
    keys::PublicKey,
    limits,
    reason::Reason,
    tlog::{
        note::{Note, NoteError, NoteSignature, VerifierKey},
        text::{base64, decimal},
        tree::{TREE_SIZE_MAX, empty_root},
    },
};

/// What a log says about itself: its first `size` leaves hash to `root`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// Whose log, and which generation.
    pub origin: LogOrigin,
    /// Leaves.
    pub size: u64,
    /// RFC 6962 root of these leaves.
    pub root: Digest,
}

impl Checkpoint {
    /// The note text: what the log key signs, as it is, without a tag of ours.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root.as_bytes()))
    }

    /// Puts the log key's signature under the text; a signature that does not verify is refused.
    pub fn finish(
        self,
        key: PublicKey,
        signature: [u8; 64],
    ) -> Result<SignedCheckpoint, CheckpointError> {
        let key = VerifierKey::new(self.origin.to_string(), key)?;
        let note = Note::new(self.text(), NoteSignature::new(&key, signature))?;
        note.verify(&[key])?;
        Ok(SignedCheckpoint { checkpoint: self, own: note.clone(), note })
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    /// Reads a note text. Further non-empty lines are allowed and ignored, as tlog-checkpoint says.
    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let malformed = CheckpointError::Malformed;
        let body = text.strip_suffix('\n').ok_or(malformed("no newline at the end"))?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(malformed("fewer than three lines"));
        };
        if lines.any(str::is_empty) {
            return Err(malformed("an empty line"));
        }
        let origin = origin.parse().map_err(|_| malformed("the origin is not unit/log/number"))?;
        let root = base64(root).and_then(|bytes| Digest::from_bytes(&bytes).ok());
        let root = root.ok_or(malformed("the root is not 32 bytes in base64"))?;
        let size = decimal(size).filter(|size| *size <= TREE_SIZE_MAX);
        let size = size.ok_or(malformed("the size is not a plain number"))?;
        if size == 0 && root != empty_root() {
            return Err(malformed("an empty tree with the root of another"));
        }
        Ok(Self { origin, size, root })
    }
}

/// A checkpoint whose log signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
    own: Note,
}

impl SignedCheckpoint {
    /// Verifies a note under the key of the log that it names; `find` gives a log's key, or
    /// nothing.
    pub fn open(
        note: &str,
        find: impl FnOnce(&LogOrigin) -> Option<PublicKey>,
    ) -> Result<Self, CheckpointError> {
        let note: Note = note.parse()?;
        let checkpoint: Checkpoint = note.text().parse()?;
        let unknown = || CheckpointError::UnknownLog(checkpoint.origin.clone());
        let key = find(&checkpoint.origin).ok_or_else(unknown)?;
        let key = VerifierKey::new(checkpoint.origin.to_string(), key)?;
        note.verify(std::slice::from_ref(&key))?;
        let own = note.only(&key);
        Ok(Self { checkpoint, note, own })
    }

    /// What the log said.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note with the log's own line alone: what is kept of a peer's.
    pub fn own_note(&self) -> &Note {
        &self.own
    }

    /// The note with all its lines, also those of others.
    pub fn note(&self) -> &Note {
        &self.note
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}

/// Why a checkpoint was refused; a bad checkpoint spoils all receipts that came with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not the form of tlog-checkpoint.
    #[error("checkpoint is not well-formed: {0}")]
    Malformed(&'static str),
    /// The origin is not a log of the unit.
    #[error("no key of log {0} is known")]
    UnknownLog(LogOrigin),
    /// The note around it was refused.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl CheckpointError {
    /// The label that leaves the machine.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Malformed(_) => Reason::Malformed,
            Self::UnknownLog(_) => Reason::UnknownLog,
            Self::Note(error) => error.reason(),
        }
    }
}

const _: () =
    assert!(limits::NOTE_SIGNATURES_MAX >= 16, "signed-note: at least up to 16 signatures");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ed25519_dalek::Signer as _;

    use super::*;
    use crate::signed::tests::key;

    fn checkpoint() -> Checkpoint {
        let root = Digest::of(b"root");
        Checkpoint { origin: "xa.ncu/log/1".parse().unwrap(), size: 7, root }
    }

    /// The log key signs the text itself; the note opens under this key and log only.
    #[test]
    fn signed_checkpoints_open_under_their_log() {
        let (signing, public) = key(3);
        let text = checkpoint().text();
        assert_eq!(text.parse::<Checkpoint>().unwrap(), checkpoint());
        let signature = signing.sign(text.as_bytes()).to_bytes();
        let signed = checkpoint().finish(public, signature).unwrap();
        let note = signed.to_string();
        assert!(note.starts_with("xa.ncu/log/1\n7\n"));
        let find = |origin: &LogOrigin| (origin.generation == 1).then_some(public);
        assert_eq!(SignedCheckpoint::open(&note, find).unwrap(), signed);

        let unknown = SignedCheckpoint::open(&note, |_| None).unwrap_err();
        assert_eq!(unknown.reason(), Reason::UnknownLog);
        let other = SignedCheckpoint::open(&note, |_| Some(key(4).1)).unwrap_err();
        assert_eq!(other, CheckpointError::Note(NoteError::Unsigned));
        // The line of another log's key does not open this log, although the key is the same.
        let moved = note.replacen("log/1", "log/2", 1);
        assert!(SignedCheckpoint::open(&moved, |_| Some(public)).is_err());
        let grown = note.replacen("\n7\n", "\n8\n", 1);
        let refused = SignedCheckpoint::open(&grown, find).unwrap_err();
        assert_eq!(refused.reason(), Reason::BadSignature);

        // A signature with our own domain tag in front is not one over the note.
        let input = crate::signed::signature_input("relay/v1/envelope", text.as_bytes());
        let tagged = signing.sign(&input).to_bytes();
        assert!(checkpoint().finish(public, tagged).is_err());
    }

    /// One spelling; further lines are allowed unless empty.
    #[test]
    fn checkpoint_texts() {
        let text = checkpoint().text();
        let extended = format!("{text}more\n");
        assert_eq!(extended.parse::<Checkpoint>().unwrap(), checkpoint());
        let bad = [
            text.trim_end().to_owned(),
            text.replace("\n7\n", "\n07\n"),
            text.replace("\n7\n", "\n+7\n"),
            text.replace("\n7\n", "\n-7\n"),
            text.replace("\n7\n", "\n\n"),
            text.replace("\n7\n", "\n18446744073709551615\n"),
            text.replace("\n7\n", "\n0\n"),
            text.replace("xa.ncu/log/1", "example.com/log"),
            text.replace("=\n", "\n"),
            text.replace("=\n", "==\n"),
            format!("{text}\n"),
            format!("{text}\nmore\n"),
            "xa.ncu/log/1\n7\n".to_owned(),
        ];
        for bad in bad {
            assert!(bad.parse::<Checkpoint>().is_err(), "{bad:?} was accepted");
        }
        let empty = Checkpoint { size: 0, root: empty_root(), ..checkpoint() };
        assert_eq!(empty.text().parse::<Checkpoint>().unwrap(), empty);
    }
}
