//! Pairs of one tree of which neighbours share a row. sled keeps at most 16 values in a page and
//! some hundred bytes in memory for each page that it has: with a value for each pair, memory would
//! grow with all that was ever stored.
//!
//! A row is found by the lowest key that it may hold, and holds all pairs from there to the next
//! row. Invariants: no key stands in two rows, for a row is divided in one batch; so applying the
//! same changes again ends in the same pairs. Many rows are divided in one batch: before each, sled
//! writes all that it has buffered.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

use ::sled::{Batch, Db, IVec};
use bytes::Bytes;
use prost::Message as _;

use super::row::Row;
use super::{directed, each, failed};
use crate::store::index::{APPLIED_KEY, IndexError, Pair};

/// A tree of sled with rows of pairs.
#[derive(Debug)]
pub(super) struct Runs {
    rows: ::sled::Tree,
    /// So many pairs are in a row at most.
    pairs_max: usize,
}

/// What becomes of the pairs of some keys; nothing: deleted.
pub(super) type Changes<'a> = BTreeMap<&'a [u8], Option<&'a [u8]>>;

impl Runs {
    pub(super) fn open(db: &Db, name: &str, pairs_max: usize) -> Result<Self, IndexError> {
        Ok(Self { rows: db.open_tree(name).map_err(failed("open tree"))?, pairs_max })
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let Some((_, row)) = self.row_for(key)? else { return Ok(None) };
        Ok(Row::read(&row)?.take(key))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.iter().keys().take(2).all(|key| key.is_ok_and(|key| key == APPLIED_KEY))
    }

    /// The pairs between two keys, in their order or from the top.
    pub(super) fn range<'a>(
        &'a self,
        lower: Bound<&'a [u8]>,
        upper: Bound<&'a [u8]>,
        reverse: bool,
    ) -> Result<impl Iterator<Item = Result<Pair, IndexError>> + 'a, IndexError> {
        let from = match lower {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(key) | Bound::Excluded(key) => {
                Bound::Included(match self.row_for(key)? {
                    Some((start, _)) => start,
                    None => IVec::from(key),
                })
            }
        };
        let upto = upper.map(IVec::from);
        let rows = directed(self.rows.range::<IVec, _>((from, upto)), reverse);
        // A row that is divided meanwhile would show pairs twice.
        let mut edge: Option<Bytes> = None;
        Ok(rows.flat_map(move |row| {
            let read = match row {
                Ok((start, _)) if start == APPLIED_KEY => Ok(Row::default()),
                Ok((_, row)) => Row::read(&row),
                Err(error) => Err(failed("range")(error)),
            };
            each(read.map(|Row { mut slots }| {
                if reverse {
                    slots.reverse();
                }
                slots.retain(|slot| {
                    let is_beyond = edge.as_ref().is_none_or(|edge| match reverse {
                        false => slot.name > *edge,
                        true => slot.name < *edge,
                    });
                    is_beyond && RangeBounds::<[u8]>::contains(&(lower, upper), &slot.name[..])
                });
                edge = slots.last().map(|slot| slot.name.clone()).or(edge.take());
                let pairs = slots.into_iter();
                pairs.map(|slot| (slot.name.to_vec(), slot.value.to_vec())).collect()
            }))
        }))
    }

    pub(super) fn apply(&self, changes: &Changes<'_>) -> Result<(), IndexError> {
        let mut changes = changes.iter().peekable();
        let mut divided = Divided::default();
        // Changes come in the order of the keys: no row is met twice.
        while let Some((first, _)) = changes.peek() {
            let (start, mut row) = match self.row_for(first)? {
                Some((start, row)) => (Some(start), Row::read(&row)?),
                None => (None, Row::default()),
            };
            let last = row.slots.last().map(|slot| slot.name.clone());
            let is_appended = last.is_none_or(|last| &last[..] < **first);
            let end = self.start_after(first)?;
            let mut is_changed = false;
            while let Some((key, value)) =
                changes.next_if(|(key, _)| end.as_ref().is_none_or(|end| **key < &end[..]))
            {
                match value {
                    Some(value) => row.put(key, value),
                    None if !row.remove(key) => continue,
                    None => {}
                }
                is_changed = true;
            }
            if is_changed {
                self.write(start, row, is_appended, &mut divided)?;
            }
            if divided.bytes > BATCH_BYTES {
                self.write_divided(std::mem::take(&mut divided))?;
            }
        }
        self.write_divided(divided)
    }

    /// Up to where the content of this tree reaches; 0: nothing is here.
    pub(super) fn applied(&self) -> Result<u64, IndexError> {
        let value = self.rows.get(APPLIED_KEY).map_err(failed("applied"))?;
        let Some(value) = value else { return Ok(0) };
        let bytes = <[u8; 8]>::try_from(value.as_ref()).map_err(|_| IndexError::Damaged {
            detail: "the applied sequence of a tree is not a number".to_owned(),
        })?;
        Ok(u64::from_be_bytes(bytes))
    }

    pub(super) fn set_applied(&self, through_seq: u64) -> Result<(), IndexError> {
        let value = through_seq.to_be_bytes();
        self.rows.insert(APPLIED_KEY, &value).map(drop).map_err(failed("applied"))
    }

    /// Writes what became of the row that began there; nothing: of none. Its parts, if it has to
    /// be divided, are left to be written.
    fn write(
        &self,
        start: Option<IVec>,
        row: Row,
        is_appended: bool,
        divided: &mut Divided,
    ) -> Result<(), IndexError> {
        let pairs = row.slots.len();
        // What comes in the order of the keys leaves full rows behind.
        let most = match is_appended {
            true => self.pairs_max,
            false => pairs.div_ceil(pairs.div_ceil(self.pairs_max).max(1)),
        };
        let mut pieces = row.split(most).into_iter().filter_map(|row| {
            let first = row.slots.first()?.name.clone();
            Some((IVec::from(&first[..]), row.encode_to_vec()))
        });
        let Some((first, row)) = pieces.next() else {
            let removed = start.map(|start| self.rows.remove(start)).transpose();
            return removed.map(drop).map_err(failed("apply"));
        };
        let start = start.unwrap_or(first);
        let mut rest = pieces.peekable();
        if rest.peek().is_none() {
            return self.rows.insert(start, row).map(drop).map_err(failed("apply"));
        }
        // In one: a crash, or a reader, finds either the row or its parts.
        divided.insert(start, row);
        rest.for_each(|(start, row)| divided.insert(start, row));
        Ok(())
    }

    fn write_divided(&self, divided: Divided) -> Result<(), IndexError> {
        match divided.bytes {
            0 => Ok(()),
            _ => self.rows.apply_batch(divided.batch).map_err(failed("apply")),
        }
    }

    /// The row that holds a key, if any does, with its start.
    fn row_for(&self, key: &[u8]) -> Result<Option<(IVec, IVec)>, IndexError> {
        let below = self.rows.range::<&[u8], _>(..=key).rev();
        for row in below.take(2) {
            let (start, row) = row.map_err(failed("get"))?;
            if start != APPLIED_KEY {
                return Ok(Some((start, row)));
            }
        }
        Ok(None)
    }

    /// Where the next row begins.
    fn start_after(&self, key: &[u8]) -> Result<Option<IVec>, IndexError> {
        let above = self.rows.range::<&[u8], _>((Bound::Excluded(key), Bound::Unbounded));
        for row in above.take(2) {
            let (start, _) = row.map_err(failed("get"))?;
            if start != APPLIED_KEY {
                return Ok(Some(start));
            }
        }
        Ok(None)
    }
}

/// Rows that came of the division of others.
#[derive(Default)]
struct Divided {
    batch: Batch,
    bytes: usize,
}

impl Divided {
    fn insert(&mut self, start: IVec, row: Vec<u8>) {
        self.bytes += start.len() + row.len();
        self.batch.insert(start, row);
    }
}

/// Readers wait while a batch is written.
const BATCH_BYTES: usize = 256 << 10;
