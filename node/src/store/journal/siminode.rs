//! One file of the simulated disk, sector by sector, and the seeded choice of what a power cut
//! keeps. Enter through `Inode`. Uses nothing but memory.
//! Invariant: a sector is on the medium whole or not at all, or, where a cut garbles, with garbage
//! in the bytes that were to change; bytes that were not to change stay.

use std::collections::BTreeMap;
use std::ops::Range;

/// What a process sees, and what of it the medium does not have yet.
#[derive(Clone, Default)]
pub struct Inode {
    pub data: Vec<u8>,
    durable_len: usize,
    dirty: BTreeMap<usize, Dirty>,
    /// Bytes that the medium does not give, until they are written over.
    unread: Vec<Range<usize>>,
}

#[derive(Clone)]
struct Dirty {
    /// The sector on the medium; `None` for zeros.
    old: Option<Box<[u8; SECTOR]>>,
    /// A failed sync dropped it: only another write brings it to the medium.
    lost: bool,
}

impl Inode {
    /// From now on these bytes cannot be read.
    pub fn lose(&mut self, bytes: Range<usize>) {
        self.unread.push(bytes);
    }

    /// Whether some of these bytes cannot be read.
    pub fn is_lost(&self, bytes: &Range<usize>) -> bool {
        self.unread.iter().any(|lost| lost.start < bytes.end && bytes.start < lost.end)
    }

    pub fn write(&mut self, start: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = start + bytes.len();
        self.unread.retain(|lost| lost.start < start || lost.end > end);
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        for sector in start / SECTOR..=(end - 1) / SECTOR {
            match self.dirty.get_mut(&sector) {
                Some(dirty) => dirty.lost = false,
                None => {
                    let old = self.sector(sector);
                    self.dirty.insert(sector, Dirty { old, lost: false });
                }
            }
        }
        if let Some(place) = self.data.get_mut(start..end) {
            place.copy_from_slice(bytes);
        }
    }

    fn sector(&self, sector: usize) -> Option<Box<[u8; SECTOR]>> {
        let start = sector * SECTOR;
        let bytes = self.data.get(start..self.data.len().min(start + SECTOR))?;
        if bytes.iter().all(|byte| *byte == 0) {
            return None;
        }
        let mut old = Box::new([0; SECTOR]);
        old.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Some(old)
    }

    /// As on Linux: what was to be synced counts as clean, and is not on the medium.
    pub fn fail_sync(&mut self) {
        self.dirty.values_mut().for_each(|dirty| dirty.lost = true);
    }

    pub fn sync(&mut self) {
        self.dirty.retain(|_, dirty| dirty.lost);
        self.durable_len = self.data.len();
    }

    pub fn cut(&mut self, fate: Fate, random: &mut Random) {
        for (sector, dirty) in std::mem::take(&mut self.dirty) {
            let (kept, garbled) = match fate {
                Fate::NothingKept => (false, false),
                Fate::AllKept => (true, false),
                Fate::Mixed => (random.below(2) == 0, false),
                Fate::Garbled => (random.below(2) == 0, random.below(2) == 0),
            };
            if kept && !garbled && !dirty.lost {
                continue;
            }
            let start = sector * SECTOR;
            let end = self.data.len().min(start + SECTOR);
            let old = dirty.old.unwrap_or_else(|| Box::new([0; SECTOR]));
            let Some(place) = self.data.get_mut(start..end) else { continue };
            for (to, from) in place.iter_mut().zip(old.iter()).filter(|(to, from)| to != from) {
                *to = if garbled && !dirty.lost { random.next() as u8 } else { *from };
            }
        }
        let shrinks = fate == Fate::Mixed || fate == Fate::Garbled;
        if fate == Fate::NothingKept || (shrinks && random.below(2) == 0) {
            self.data.truncate(self.durable_len);
        }
        self.durable_len = self.data.len();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    NothingKept,
    AllKept,
    Mixed,
    /// As mixed, and every other sector has garbage in it.
    Garbled,
}

/// splitmix64: small, seeded, good enough to choose sectors.
#[derive(Clone, Default)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// The unit that a disk writes whole.
const SECTOR: usize = 512;
