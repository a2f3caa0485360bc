//! Signed notes and verifier keys, after C2SP signed-note: <https://c2sp.org/signed-note>.
//!
//! Only Ed25519 signatures of type 0x01 are verified; lines of other keys are carried and ignored.
//! Invariant: a [`Note`] prints exactly the text that it was read from.

use std::{fmt, str::FromStr};

use data_encoding::{BASE64, HEXLOWER};

use crate::{ids::Digest, keys::PublicKey, limits, reason::Reason, tlog::text::base64};

/// A text and the signatures under it. What it says counts only after [`Note::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// A text with its first signature; the text ends in a newline.
    pub fn new(text: String, signature: NoteSignature) -> Result<Self, NoteError> {
        check_text(&text)?;
        let note = Self { text, signatures: vec![signature] };
        check_sizes(&note.to_string(), 1)?;
        Ok(note)
    }

    /// The text, with its last newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signatures, in the order of their lines.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a line, such as a witness's cosignature.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        let mut next = self.clone();
        next.signatures.push(signature);
        check_sizes(&next.to_string(), next.signatures.len())?;
        *self = next;
        Ok(())
    }

    /// The text with this key's lines only: what others added costs its reader room and proves
    /// nothing that he asked for.
    pub fn only(&self, key: &VerifierKey) -> Self {
        let by_key =
            |line: &&NoteSignature| key.name == line.name && key.key_hash() == line.key_hash;
        let signatures = self.signatures.iter().filter(by_key).take(1).cloned().collect();
        Self { text: self.text.clone(), signatures }
    }

    /// One of the known keys signed, and no line of a known key fails.
    pub fn verify(&self, known: &[VerifierKey]) -> Result<(), NoteError> {
        let mut verified = false;
        for line in &self.signatures {
            let named =
                |key: &&VerifierKey| key.name == line.name && key.key_hash() == line.key_hash;
            // "Verifiers MUST ignore signatures from unknown keys, even if they share a name or
            // ID".
            let Some(key) = known.iter().find(named) else { continue };
            // "If a signature from a known key fails to verify, clients SHOULD reject the whole
            // note".
            key.key.verify(self.text.as_bytes(), &line.signature).map_err(|_| NoteError::Spoilt)?;
            verified = true;
        }
        if verified { Ok(()) } else { Err(NoteError::Unsigned) }
    }
}

impl FromStr for Note {
    type Err = NoteError;

    fn from_str(whole: &str) -> Result<Self, NoteError> {
        check_sizes(whole, 0)?;
        let malformed = NoteError::Malformed;
        // "the text is separated from the signatures by the last empty line in the note"
        let split = whole.rfind("\n\n").ok_or(malformed("no empty line before the signatures"))?;
        let (text, rest) = whole.split_at(split + 1);
        check_text(text)?;
        let lines = rest.strip_prefix('\n').and_then(|rest| rest.strip_suffix('\n'));
        let lines = lines.ok_or(malformed("the last line has no newline"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == limits::NOTE_SIGNATURES_MAX {
                return Err(NoteError::TooLarge);
            }
            signatures.push(line.parse()?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    key_hash: [u8; 4],
    signature: Vec<u8>,
}

impl NoteSignature {
    /// The line of an Ed25519 key over a text that the caller had signed.
    pub fn new(key: &VerifierKey, signature: [u8; 64]) -> Self {
        let (name, key_hash) = (key.name.clone(), key.key_hash());
        Self { name, key_hash, signature: signature.to_vec() }
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for NoteSignature {
    type Err = NoteError;

    fn from_str(line: &str) -> Result<Self, NoteError> {
        let malformed = NoteError::Malformed;
        let rest = line.strip_prefix("\u{2014} ").ok_or(malformed("not a signature line"))?;
        let (name, bytes) = rest.split_once(' ').ok_or(malformed("not a signature line"))?;
        check_name(name)?;
        let bytes = base64(bytes).ok_or(malformed("not base64"))?;
        match bytes.split_first_chunk() {
            Some((key_hash, signature)) if !signature.is_empty() => Ok(Self {
                name: name.to_owned(),
                key_hash: *key_hash,
                signature: signature.to_vec(),
            }),
            _ => Err(malformed("a signature is too short")),
        }
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.key_hash[..], &self.signature].concat();
        write!(f, "\u{2014} {} {}", self.name, BASE64.encode(&bytes))
    }
}

/// A named Ed25519 key as text: `name+0123abcd+base64(0x01 || key)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: String,
    key: PublicKey,
}

impl VerifierKey {
    /// A key under a name; our names are origins of logs.
    pub fn new(name: String, key: PublicKey) -> Result<Self, NoteError> {
        check_name(&name)?;
        // These prefixes are message headers of C2SP cosignatures: a key so named could be talked
        // into one.
        if RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(NoteError::Malformed("the key name begins with a reserved word"));
        }
        Ok(Self { name, key })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The "key ID" of signed-note: the first four bytes of SHA-256(name || 0x0A || 0x01 || key).
    pub fn key_hash(&self) -> [u8; 4] {
        let parts: [&[u8]; 4] = [self.name.as_bytes(), b"\n", &[TYPE_ED25519], self.key.as_bytes()];
        let digest = Digest::of_parts(&parts);
        let [a, b, c, d, ..] = *digest.as_bytes();
        [a, b, c, d]
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let malformed = NoteError::Malformed;
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(hash), Some(bytes)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed("expected name+id+key"));
        };
        let bytes = base64(bytes).ok_or(malformed("not base64"))?;
        let Some((&TYPE_ED25519, key)) = bytes.split_first() else {
            return Err(malformed("not an Ed25519 key of type 0x01"));
        };
        let key = PublicKey::from_bytes(key).map_err(|_| malformed("not a good Ed25519 key"))?;
        let verifier = Self::new(name.to_owned(), key)?;
        if HEXLOWER.encode(&verifier.key_hash()) != hash {
            return Err(malformed("the id is not that of this name and key"));
        }
        Ok(verifier)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[TYPE_ED25519][..], self.key.as_bytes()].concat();
        let (hash, key) = (HEXLOWER.encode(&self.key_hash()), BASE64.encode(&key));
        write!(f, "{}+{hash}+{key}", self.name)
    }
}

/// Why a note or key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not the form of signed-note.
    #[error("note is not well-formed: {0}")]
    Malformed(&'static str),
    /// Too many bytes or lines.
    #[error("note is too large or has too many signatures")]
    TooLarge,
    /// No line is of a known key.
    #[error("no known key signed the note")]
    Unsigned,
    /// A line of a known key does not verify.
    #[error("the signature of a known key does not verify")]
    Spoilt,
}

impl NoteError {
    /// The label that leaves the machine.
    pub fn reason(self) -> Reason {
        match self {
            Self::Malformed(_) => Reason::Malformed,
            Self::TooLarge => Reason::TooLarge,
            Self::Unsigned => Reason::UnknownLog,
            Self::Spoilt => Reason::BadSignature,
        }
    }
}

fn check_sizes(whole: &str, signatures: usize) -> Result<(), NoteError> {
    if whole.len() > limits::NOTE_BYTES_MAX || signatures > limits::NOTE_SIGNATURES_MAX {
        return Err(NoteError::TooLarge);
    }
    Ok(())
}

/// "MUST NOT contain any ASCII control characters (those below U+0020) other than newline."
fn check_text(text: &str) -> Result<(), NoteError> {
    if text.bytes().any(|b| b < 0x20 && b != b'\n') {
        return Err(NoteError::Malformed("a control character"));
    }
    if !text.ends_with('\n') {
        return Err(NoteError::Malformed("the text does not end in a newline"));
    }
    Ok(())
}

/// "Key names MUST be non-empty and MUST NOT contain any Unicode spaces or plus (U+002B)
/// characters."
fn check_name(name: &str) -> Result<(), NoteError> {
    let bad = |c: char| c.is_whitespace() || c.is_ascii_control() || c == '+';
    if name.is_empty() || name.contains(bad) {
        return Err(NoteError::Malformed("not a key name"));
    }
    Ok(())
}

/// Signature type of signed-note: Ed25519 over the note text itself.
const TYPE_ED25519: u8 = 0x01;

/// First lines of C2SP tlog-cosignature messages.
const RESERVED_PREFIXES: [&str; 2] = ["cosignature/", "subtree/"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use ed25519_dalek::Signer as _;
    use proptest::prelude::*;

    use super::*;
    use crate::signed::tests::key;

    /// Key and note of the tests of golang.org/x/mod/sumdb/note, where the format comes from.
    const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSN\
        XgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn verifier(name: &str, seed: u8) -> VerifierKey {
        VerifierKey::new(name.to_owned(), key(seed).1).unwrap()
    }

    fn line(name: &str, seed: u8, text: &str) -> NoteSignature {
        NoteSignature::new(&verifier(name, seed), key(seed).0.sign(text.as_bytes()).to_bytes())
    }

    fn note(lines: &[NoteSignature]) -> Note {
        let mut note = Note::new("text\n".to_owned(), lines[0].clone()).unwrap();
        lines[1..].iter().for_each(|line| note.add(line.clone()).unwrap());
        note
    }

    /// A note and key that another implementation made; each changed character is noticed.
    #[test]
    fn the_go_vector() {
        let known: VerifierKey = GO_KEY.parse().unwrap();
        assert_eq!(known.to_string(), GO_KEY);
        let note: Note = GO_NOTE.parse().unwrap();
        assert_eq!(note.to_string(), GO_NOTE);
        let known = [known];
        assert_eq!(note.verify(&known), Ok(()));
        for position in 0..GO_NOTE.len() {
            let mut bytes = GO_NOTE.as_bytes().to_vec();
            bytes[position] ^= 1;
            let Ok(text) = String::from_utf8(bytes) else { continue };
            let taken = text.parse::<Note>().is_ok_and(|n| n.verify(&known).is_ok());
            assert!(!taken, "byte {position} may be changed");
        }
        for position in 0..GO_KEY.len() {
            let mut bytes = GO_KEY.as_bytes().to_vec();
            bytes[position] ^= 1;
            assert!(String::from_utf8(bytes).unwrap().parse::<VerifierKey>().is_err());
        }
    }

    /// Lines of unknown keys are ignored, also under a known name; a bad line of a known key spoils
    /// the note.
    #[test]
    fn known_lines_count_and_spoil() {
        let known = [verifier("xa.ncu/log/1", 3)];
        let good = line("xa.ncu/log/1", 3, "text\n");
        let same_name = line("xa.ncu/log/1", 4, "text\n");
        let same_key = line("xb.ncu/log/1", 3, "text\n");
        let bad = line("xa.ncu/log/1", 3, "other\n");
        assert_eq!(note(std::slice::from_ref(&good)).verify(&known), Ok(()));
        let others = [same_name.clone(), good.clone(), same_key.clone()];
        assert_eq!(note(&others).verify(&known), Ok(()));
        assert_eq!(note(&[same_name, same_key]).verify(&known), Err(NoteError::Unsigned));
        assert_eq!(note(&[good.clone(), bad.clone()]).verify(&known), Err(NoteError::Spoilt));
        assert_eq!(note(&[bad, good.clone()]).verify(&known), Err(NoteError::Spoilt));
        assert_eq!(note(&[good]).verify(&[]), Err(NoteError::Unsigned));
    }

    /// Sixteen lines are read, the seventeenth is one too many; so is a byte over the size.
    #[test]
    fn lines_and_bytes_are_bounded() {
        let good = line("xa.ncu/log/1", 3, "text\n");
        let mut full = note(&vec![good.clone(); 16]);
        assert_eq!(full.to_string().parse::<Note>().unwrap(), full);
        assert_eq!(full.add(good.clone()), Err(NoteError::TooLarge));
        let longer = format!("{full}{good}\n");
        assert_eq!(longer.parse::<Note>(), Err(NoteError::TooLarge));
        let long = format!("{}\n", "x".repeat(limits::NOTE_BYTES_MAX));
        assert_eq!(Note::new(long, good), Err(NoteError::TooLarge));
    }

    #[test]
    fn malformed_notes_are_refused() {
        let good = note(&[line("xa.ncu/log/1", 3, "text\n")]).to_string();
        assert!(good.parse::<Note>().is_ok());
        let bad = [
            String::new(),
            "text\n".to_owned(),
            "text\n\n".to_owned(),
            good.trim_end().to_owned(),
            good.replace("\n\n", "\n"),
            good.replace('\n', "\r\n"),
            good.replace('\u{2014}', "-"),
            good.replace("log/1 ", "log/1  "),
            good.replace("log/1", "log\u{2003}1"),
            good.replace("log/1", "log+1"),
            good.replace("text", "te\txt"),
            good.replace("=\n", "\n"),
            format!("{good}trailing"),
            format!("{good}\n"),
            "text\n\n\u{2014} name AAAA\n".to_owned(),
        ];
        for bad in bad {
            assert!(bad.parse::<Note>().is_err(), "{bad:?} was accepted");
        }
    }

    /// Names that C2SP cosignatures use as message headers cannot name a key.
    #[test]
    fn reserved_names_are_refused() {
        for name in ["cosignature/v1", "subtree/v1", "", "a b", "a+b", "a\u{a0}b", "a\nb"] {
            assert!(VerifierKey::new(name.to_owned(), key(3).1).is_err(), "{name:?} was accepted");
        }
    }

    proptest! {
        /// Any text is refused or printed back as it was.
        #[test]
        fn notes_have_one_spelling(
            text in "(\u{2014}|[a+ =\n\t]|AAAAAAAA){0,30}\n\n\u{2014} a (AAAA){1,3}\n?",
        ) {
            if let Ok(note) = text.parse::<Note>() {
                prop_assert_eq!(note.to_string(), text);
            }
        }
    }
}
