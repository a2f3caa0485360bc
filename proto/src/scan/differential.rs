//! The scan against the library's own encoder: two readers that were written apart have to agree on
//! every mutation of the golden vectors.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use prost::Message;

use super::{ScanError, Schema, scan, schema};
use crate::{limits, v1};

/// A small generator (xorshift64*), so that a seed is a case.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(value).unwrap() % below.max(1)
    }
}

/// One change: of a bit, a byte, a length; something repeated, moved, cut off, of another vector.
fn mutate(bytes: &mut Vec<u8>, others: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.roll(bytes.len());
    let length = dice.roll(24).min(bytes.len() - at);
    let piece = bytes[at..at + length].to_vec();
    let to = dice.roll(bytes.len() + 1);
    match dice.roll(9) {
        0 => bytes[at] ^= 1 << dice.roll(8),
        1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][dice.roll(5)],
        2 => bytes.insert(to, u8::try_from(dice.roll(256)).unwrap()),
        3 => drop(bytes.remove(at)),
        4 => bytes.truncate(at + 1),
        5 => drop(bytes.splice(to..to, piece)),
        6 => {
            bytes.drain(at..at + length);
            let to = to.min(bytes.len());
            bytes.splice(to..to, piece);
        }
        // A varint in a longer form, where there is one.
        7 if bytes[at] < 0x80 => drop(bytes.splice(at..=at, [bytes[at] | 0x80, 0])),
        _ => {
            let other = &others[dice.roll(others.len())];
            let from = dice.roll(other.len());
            let end = (from + dice.roll(40)).min(other.len());
            bytes.splice(to..to, other[from..end].iter().copied());
        }
    }
    if bytes.is_empty() {
        bytes.push(0);
    }
}

/// What the scan takes is what the encoder emits of what the decoder read; what it refuses although
/// the encoder would emit it is over a limit. Tells whether it was taken.
fn compare<M: Message + Default>(bytes: &[u8], schema: &'static Schema) -> bool {
    let taken = scan(bytes, schema, limits::FIELDS_MAX);
    let again = M::decode(Bytes::copy_from_slice(bytes)).map(|message| message.encode_to_vec());
    let same = again.is_ok_and(|again| again == bytes);
    match &taken {
        Ok(()) => assert!(same, "{} takes a second reading: {bytes:02x?}", schema.name),
        Err(ScanError::NotCanonical { why, .. }) => {
            // Of enums the library keeps numbers that ours never have.
            let limit = *why == "an enum value over 31 bits";
            assert!(!same || limit, "{} refuses its own: {why}: {bytes:02x?}", schema.name);
        }
        Err(_) => {}
    }
    taken.is_ok()
}

/// A stored value and how it is read.
struct Golden {
    name: &'static str,
    bytes: Vec<u8>,
    compare: fn(&[u8], &'static Schema) -> bool,
    schema: &'static Schema,
}

fn golden(
    name: &'static str,
    field: &str,
    compare: fn(&[u8], &'static Schema) -> bool,
    schema: &'static Schema,
) -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let prefix = format!("{field}: ");
    let hex = text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap();
    let mut bytes = HEXLOWER.decode(hex.as_bytes()).unwrap();
    if field == "file" {
        // Before the bundle stands a line that says what it is.
        let line = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        bytes.drain(..=line);
    }
    Golden { name, bytes, compare, schema }
}

fn goldens() -> [Golden; 8] {
    let signed = compare::<v1::Signed>;
    [
        golden("header.hex", "bytes", compare::<v1::Header>, &schema::HEADER),
        golden("header.hex", "signed", signed, &schema::SIGNED),
        golden("card.hex", "bytes", compare::<v1::Card>, &schema::CARD),
        golden("deferral.hex", "bytes", compare::<v1::Deferral>, &schema::DEFERRAL),
        golden("statement.hex", "bytes", compare::<v1::Statement>, &schema::STATEMENT),
        golden("slots.hex", "signed_batch", signed, &schema::SIGNED),
        golden("slots.hex", "signed_with_ml_dsa_44", signed, &schema::SIGNED),
        golden("evidence.hex", "file", compare::<v1::EvidenceBundle>, &schema::EVIDENCE_BUNDLE),
    ]
}

/// Some 20,000 mutations from a fixed seed, up to six in a row; enough of them are still taken that
/// the comparison has something to say.
#[test]
fn the_scan_agrees_with_the_encoder() {
    let goldens = goldens();
    let all: Vec<Vec<u8>> = goldens.iter().map(|golden| golden.bytes.clone()).collect();
    let mut dice = Dice(0x5eed_0001);
    for golden in &goldens {
        assert!((golden.compare)(&golden.bytes, golden.schema), "{} is refused", golden.name);
        let mut taken = 0;
        for _ in 0..2_500 {
            let mut bytes = golden.bytes.clone();
            for _ in 0..=dice.roll(6) {
                mutate(&mut bytes, &all, &mut dice);
                taken += u32::from((golden.compare)(&bytes, golden.schema));
            }
        }
        assert!(taken > 100, "{}: only {taken} mutations were taken", golden.name);
    }
}
