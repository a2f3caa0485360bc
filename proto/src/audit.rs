//! The audit log: who read, sent or changed what at a node, each entry bound to the one before.
//!
//! Whoever has entries in a row checks them with [`Chain`]; the first that was changed, left out or
//! put in is named. The format is of this relay ([`v1::AuditRecord`] in `api.proto`).

use prost::Message as _;

use crate::{ids::Digest, v1};

/// Begins what is hashed of an entry.
const TAG: &[u8] = b"relay/v1/audit\0";

/// The hash of an entry: SHA-256 of `relay/v1/audit` 0x00 and its encoding.
pub fn hash(record: &v1::AuditRecord) -> Digest {
    Digest::of_parts(&[TAG, &to_bytes(record)])
}

/// The bytes that are hashed after the tag.
pub fn to_bytes(record: &v1::AuditRecord) -> Vec<u8> {
    record.encode_to_vec()
}

/// The entry of such bytes; none: they are not what [`to_bytes`] makes of any.
pub fn from_bytes(bytes: &[u8]) -> Option<v1::AuditRecord> {
    let record = v1::AuditRecord::decode(bytes).ok()?;
    (to_bytes(&record) == bytes).then_some(record)
}

/// Entries that follow each other.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    last: Option<(u64, Digest)>,
}

/// An entry that does not follow the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A number is missing or comes again.
    #[error("entry {got} follows entry {last}: entries are missing or out of order")]
    Number {
        /// The last that was sound.
        last: u64,
        /// What came instead of the next.
        got: u64,
    },
    /// It names another entry as the one before it.
    #[error("entry {0} does not name the hash of the entry before it: one of the two was changed")]
    Previous(u64),
}

impl Chain {
    /// Checks the next entry. The first may be any: those before it are not here.
    pub fn next(&mut self, record: &v1::AuditRecord) -> Result<Digest, Broken> {
        if let Some((last, hash)) = &self.last {
            if record.number != last.saturating_add(1) {
                return Err(Broken::Number { last: *last, got: record.number });
            }
            if record.previous != hash.as_bytes().as_slice() {
                return Err(Broken::Previous(record.number));
            }
        }
        let hash = hash(record);
        self.last = Some((record.number, hash));
        Ok(hash)
    }

    /// The last entry that was sound, and its hash.
    pub fn last(&self) -> Option<(u64, Digest)> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use bytes::Bytes;

    use super::*;

    fn chained(count: u64) -> Vec<v1::AuditRecord> {
        let mut records: Vec<v1::AuditRecord> = Vec::new();
        for number in 1..=count {
            let previous = records.last().map(|last| hash(last).as_bytes().to_vec());
            let account = "desk".to_owned();
            let previous = Bytes::from(previous.unwrap_or_default());
            records.push(v1::AuditRecord { number, previous, account, ..Default::default() });
        }
        records
    }

    fn checked(records: &[v1::AuditRecord]) -> Result<(), Broken> {
        let mut chain = Chain::default();
        records.iter().try_for_each(|record| chain.next(record).map(drop))
    }

    /// Any entry that is changed, left out, put in or moved is noticed, save at the two ends.
    #[test]
    fn a_changed_entry_is_named() {
        let sound = chained(5);
        assert_eq!(checked(&sound), Ok(()));
        assert_eq!(checked(&sound[2..]), Ok(()));
        let mut changed = sound.clone();
        changed[2].purpose = "none".to_owned();
        assert_eq!(checked(&changed), Err(Broken::Previous(4)));
        let mut short = sound.clone();
        short.remove(2);
        assert_eq!(checked(&short), Err(Broken::Number { last: 2, got: 4 }));
        let mut moved = sound.clone();
        moved.swap(2, 3);
        assert!(checked(&moved).is_err());
        let mut renumbered = sound;
        renumbered.remove(2);
        renumbered[2].number = 3;
        assert_eq!(checked(&renumbered), Err(Broken::Previous(3)));
    }
}
