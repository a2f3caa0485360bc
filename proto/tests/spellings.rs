//! Every name, id, key, digest and time that is written as text: what is printed is read back as
//! the same value, and a text that is read is the one spelling of its value.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{fmt::Display, str::FromStr};

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use relay_proto::{
    ids::{Digest, LogOrigin, MessageId, NodeId, ShortId, UnitId, Uuid},
    keys::{KeyId, PublicKey},
    reason::Reason,
    timestamp::Timestamp,
    tlog::{Checkpoint, TlogProof, VerifierKey},
};

/// A change of a text as people and programs make them: a letter more, less, other, or twice.
#[derive(Debug, Clone)]
struct Slip {
    at: prop::sample::Index,
    kind: u8,
    letter: char,
}

fn slips() -> impl Strategy<Value = Slip> {
    let letters = "[a-zA-Z0-9 ./+=_:TZ\n\t\u{0}\u{e9}\u{202e}\u{ff0e}-]";
    (any::<prop::sample::Index>(), 0u8..5, letters).prop_map(|(at, kind, letter)| Slip {
        at,
        kind,
        letter: letter.chars().next().unwrap(),
    })
}

impl Slip {
    fn make(&self, text: &str) -> String {
        let mut letters: Vec<char> = text.chars().collect();
        if letters.is_empty() {
            return self.letter.to_string();
        }
        let at = self.at.index(letters.len());
        match self.kind {
            0 => letters.insert(at, self.letter),
            1 => drop(letters.remove(at)),
            2 => letters[at] = self.letter,
            3 => letters.insert(at, letters[at]),
            _ => letters[at] = letters[at].to_ascii_uppercase(),
        }
        letters.into_iter().collect()
    }
}

/// A value comes back from its text.
fn comes_back<T: Display + FromStr<Err: std::fmt::Debug> + PartialEq + std::fmt::Debug>(value: &T) {
    assert_eq!(value.to_string().parse::<T>().as_ref().unwrap(), value);
}

/// A text with a slip is refused, or is the spelling of what it is read as.
fn one_spelling<T: Display + FromStr>(text: &str, slip: &Slip) {
    let changed = slip.make(text);
    if let Ok(value) = changed.parse::<T>() {
        assert_eq!(value.to_string(), changed);
    }
}

const UNIT: &str = r"([a-z]{2}|int)\.[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?";
const SLUG: &str = "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?";

fn key(seed: [u8; 32]) -> PublicKey {
    PublicKey::from_bytes(SigningKey::from_bytes(&seed).verifying_key().as_bytes()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn units_nodes_and_logs(
        unit in UNIT,
        name in SLUG,
        generation in 1..=u32::MAX,
        slip in slips(),
    ) {
        let unit: UnitId = unit.parse().unwrap();
        comes_back(&unit);
        one_spelling::<UnitId>(unit.as_str(), &slip);
        let node = NodeId::new(unit.clone(), &name).unwrap();
        comes_back(&node);
        one_spelling::<NodeId>(&node.to_string(), &slip);
        let log = unit.log_origin(generation);
        comes_back(&log);
        one_spelling::<LogOrigin>(&log.to_string(), &slip);
        // One text is never two kinds of name.
        prop_assert!(node.to_string().parse::<LogOrigin>().is_err());
        prop_assert!(log.to_string().parse::<NodeId>().is_err());
    }

    #[test]
    fn ids_and_digests(
        bytes in any::<[u8; 32]>(),
        millis in 0..1u64 << 48,
        random in any::<[u8; 10]>(),
        slip in slips(),
    ) {
        let id = MessageId::new(Timestamp::from_millis(millis), random);
        comes_back(&id);
        prop_assert_eq!(MessageId::from_bytes(id.as_bytes()).unwrap(), id);
        one_spelling::<MessageId>(&id.to_string(), &slip);
        let uuid = Uuid::from_bytes(&bytes[..16]).unwrap();
        comes_back(&uuid);
        prop_assert_eq!(uuid.as_bytes().as_slice(), &bytes[..16]);
        one_spelling::<Uuid>(&uuid.to_string(), &slip);
        let at = Timestamp::from_millis(millis);
        prop_assert_eq!(Uuid::dated(at, random).made_at(), Some(at));
        prop_assert_eq!(Uuid::random(bytes[..16].try_into().unwrap()).made_at(), None);
        let digest = Digest::from_bytes(&bytes).unwrap();
        comes_back(&digest);
        one_spelling::<Digest>(&digest.to_string(), &slip);
        prop_assert!(Digest::from_bytes(&bytes[..31]).is_err());
        comes_back(&id.short());
        // People write it by hand: it is read in more spellings than it is printed in, but what it
        // is read as is the same each time.
        if let Ok(short) = slip.make(&id.short().to_string()).parse::<ShortId>() {
            comes_back(&short);
        }
    }

    #[test]
    fn keys(seed in any::<[u8; 32]>(), slip in slips(), name in UNIT) {
        let key = key(seed);
        prop_assert_eq!(PublicKey::from_bytes(key.as_bytes()).unwrap(), key);
        prop_assert_eq!(PublicKey::from_spki(&key.spki()).unwrap(), key);
        prop_assert_eq!(KeyId::from_bytes(key.id().as_bytes()).unwrap(), key.id());
        prop_assert!(KeyId::from_bytes(&key.as_bytes()[..15]).is_err());
        let verifier = VerifierKey::new(format!("{name}/log/1"), key).unwrap();
        let text = verifier.to_string();
        let back: VerifierKey = text.parse().unwrap();
        prop_assert_eq!(&back, &verifier);
        one_spelling::<VerifierKey>(&text, &slip);
    }

    #[test]
    fn times(millis in 0..=Timestamp::MAX.as_millis(), slip in slips()) {
        let at = Timestamp::from_millis(millis);
        comes_back(&at);
        // Offsets are read and become UTC: the value has one spelling, not the text.
        if let Ok(read) = slip.make(&at.to_string()).parse::<Timestamp>() {
            comes_back(&read);
        }
    }

    #[test]
    fn checkpoints_and_proofs(
        name in UNIT,
        size in 1..1u64 << 62,
        index in any::<u64>(),
        hashes in proptest::collection::vec(any::<[u8; 32]>(), 0..63),
        slip in slips(),
    ) {
        let origin = name.parse::<UnitId>().unwrap().log_origin(1);
        let root = Digest::of(&size.to_be_bytes());
        let checkpoint = Checkpoint { origin, size, root };
        prop_assert_eq!(&checkpoint.text().parse::<Checkpoint>().unwrap(), &checkpoint);
        let slipped = slip.make(&checkpoint.text());
        if let Ok(read) = slipped.parse::<Checkpoint>() {
            // Further lines are allowed and are no part of it.
            prop_assert!(slipped.starts_with(&read.text()));
        }
        let note = format!("{}\n\u{2014} {} AAAAAAAA\n", checkpoint.text(), checkpoint.origin);
        let path = hashes.into_iter().map(Digest::from_array).collect();
        let proof = TlogProof { extra: None, index, path, checkpoint: note.parse().unwrap() };
        comes_back(&proof);
        one_spelling::<TlogProof>(&proof.to_string(), &slip);
    }

    /// A label of a reason is one of ours or unknown; a slip never makes another one of it.
    #[test]
    fn reasons(which in 0..Reason::ALL.len(), slip in slips()) {
        let reason = Reason::ALL[which];
        prop_assert_eq!(reason.label().parse::<Reason>().unwrap(), reason);
        one_spelling::<Reason>(reason.label(), &slip);
    }
}
