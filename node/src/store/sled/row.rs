//! One value of sled that holds several pairs.

use bytes::Bytes;
use prost::Message;

use crate::store::index::IndexError;

/// Pairs that are stored as one value, ordered by their names.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Row {
    #[prost(message, repeated, tag = "1")]
    pub slots: Vec<Slot>,
}

/// A pair in a row. The name is its key, or what tells it from the others there.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Slot {
    #[prost(bytes = "bytes", tag = "1")]
    pub name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

impl Row {
    pub(super) fn read(stored: &[u8]) -> Result<Self, IndexError> {
        let row = Self::decode(Bytes::copy_from_slice(stored));
        row.map_err(|_| IndexError::Damaged { detail: "a row cannot be read".to_owned() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.find(name).is_ok()
    }

    /// The value by that name.
    pub(super) fn take(self, name: &[u8]) -> Option<Vec<u8>> {
        let at = self.find(name).ok()?;
        self.slots.get(at).map(|slot| slot.value.to_vec())
    }

    /// Whether one more pair keeps the row within its bound.
    pub(super) fn has_room(&self, name: &[u8], value: &[u8]) -> bool {
        self.encoded_len() + name.len() + value.len() + SLOT_BYTES <= ROW_BYTES_MAX
    }

    /// Puts a pair here, in the place of an older one.
    pub(super) fn put(&mut self, name: &[u8], value: &[u8]) {
        let slot =
            Slot { name: Bytes::copy_from_slice(name), value: Bytes::copy_from_slice(value) };
        match self.find(name) {
            Ok(at) => self.slots.splice(at..=at, [slot]).for_each(drop),
            Err(at) => self.slots.insert(at, slot),
        }
    }

    /// Whether it was here.
    pub(super) fn remove(&mut self, name: &[u8]) -> bool {
        self.find(name).map(|at| self.slots.remove(at)).is_ok()
    }

    /// Rows of up to `pairs` pairs each that keep within the bound, or hold a single pair.
    pub(super) fn split(self, pairs: usize) -> Vec<Row> {
        let mut rows = vec![Row::default()];
        let mut bytes = 0;
        for slot in self.slots {
            let size = slot.name.len() + slot.value.len() + SLOT_BYTES;
            bytes += size;
            if let Some(row) = rows.last_mut()
                && (row.is_empty() || row.slots.len() < pairs && bytes <= ROW_BYTES_MAX)
            {
                row.slots.push(slot);
                continue;
            }
            bytes = size;
            rows.push(Row { slots: vec![slot] });
        }
        rows
    }

    fn find(&self, name: &[u8]) -> Result<usize, usize> {
        self.slots.binary_search_by(|slot| slot.name[..].cmp(name))
    }
}

/// sled holds up to 16 values in a page; far larger pages would become files of their own.
const ROW_BYTES_MAX: usize = 4096;
/// What a pair takes besides its name and value, at most.
const SLOT_BYTES: usize = 12;
