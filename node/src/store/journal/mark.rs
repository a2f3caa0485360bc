//! The mark file: how far the journal was durable, written lazily, so that a rotted last batch is
//! told from a torn one. Enter through `MarkFile`. Invariant: two slots are written in turn, so a
//! torn write leaves the other one readable, and a mark never goes back.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::codec::{Block, Chain, Fields, SegmentId, checked};
use super::io::{Io, IoFile};

/// The open mark file and what it last said.
pub struct MarkFile {
    file: Arc<dyn IoFile>,
    current: Mark,
}

/// One slot's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    generation: u64,
    pub chain: Chain,
    /// Written by a stop in order, and not since undone by an open.
    pub clean: bool,
}

impl MarkFile {
    /// Creates the file with both slots filled; the caller syncs the directory.
    pub fn create(io: &dyn Io, dir: &Path) -> io::Result<Self> {
        let file = io.create(&dir.join(MARK_NAME))?;
        let mut mark = Self { file, current: Mark::default() };
        mark.fill()?;
        Ok(mark)
    }

    /// Opens the file. The second part is `None` if no slot can be read.
    pub fn open(io: &dyn Io, dir: &Path) -> io::Result<(Self, Option<Mark>)> {
        let file = io.open(&dir.join(MARK_NAME))?;
        let mut best: Option<Mark> = None;
        for slot in 0..SLOTS {
            let mut bytes = [0; SLOT_BYTES];
            match file.read_at(slot * SLOT_BYTES as u64, &mut bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
                Err(error) => return Err(error),
            }
            let mark = Mark::decode(&bytes);
            best = best.max_by_generation(mark);
        }
        Ok((Self { file, current: best.unwrap_or_default() }, best))
    }

    pub fn current(&self) -> &Mark {
        &self.current
    }

    /// Writes and syncs the next mark.
    pub fn write(&mut self, chain: Chain, clean: bool) -> io::Result<()> {
        let mark = Mark { generation: self.current.generation + 1, chain, clean };
        self.put(&mark)?;
        self.file.sync_data()?;
        self.current = mark;
        Ok(())
    }

    /// Writes and syncs both slots, for a new file or one that could not be read.
    fn fill(&mut self) -> io::Result<()> {
        for _ in 0..SLOTS {
            let mark = Mark { generation: self.current.generation + 1, ..self.current };
            self.put(&mark)?;
            self.current = mark;
        }
        self.file.sync_all()
    }

    fn put(&self, mark: &Mark) -> io::Result<()> {
        let slot = mark.generation % SLOTS;
        self.file.write_at(slot * SLOT_BYTES as u64, &mark.encode())
    }
}

impl Mark {
    fn encode(&self) -> Vec<u8> {
        let mut out = Block::new(MARK_MAGIC);
        out.u64(self.generation).chain(&self.chain).u32(u32::from(self.clean));
        out.finish(SLOT_BYTES, &MARK_SEED)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(checked(bytes, SLOT_BYTES, &MARK_SEED)?);
        fields.magic(MARK_MAGIC)?;
        let (generation, chain) = (fields.u64()?, fields.chain()?);
        Some(Self { generation, chain, clean: fields.u32()? == 1 })
    }
}

trait Newest {
    fn max_by_generation(self, other: Self) -> Self;
}

impl Newest for Option<Mark> {
    fn max_by_generation(self, other: Self) -> Self {
        match (self, other) {
            (Some(a), Some(b)) if b.generation > a.generation => Some(b),
            (None, b) => b,
            (a, _) => a,
        }
    }
}

pub const MARK_NAME: &str = "mark";
const MARK_MAGIC: &[u8; 8] = b"rlymarks";
/// The mark belongs to no segment.
const MARK_SEED: SegmentId = SegmentId([0; 16]);
/// One sector each, the unit that a disk writes whole.
const SLOT_BYTES: usize = 512;
const SLOTS: u64 = 2;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use super::super::SimDisk;
    use super::*;

    /// The newest slot wins; if it rots, the one before is still there; if both do, none is.
    #[test]
    fn a_rotted_slot_leaves_the_other() {
        let (disk, dir) = (SimDisk::new(3), Path::new("j"));
        let mut file = MarkFile::create(&disk, dir).unwrap();
        let chain = |seq| Chain { batch: seq, seq, hash: [seq as u8; 32] };
        file.write(chain(1), false).unwrap();
        file.write(chain(2), true).unwrap();
        let newest = MarkFile::open(&disk, dir).unwrap().1.unwrap();
        assert_eq!((newest.chain, newest.clean), (chain(2), true));
        // Generations 1 and 2 filled the file, 3 and 4 came after: 4 is in slot 0.
        disk.rot(&dir.join(MARK_NAME), 20, 1);
        assert_eq!(MarkFile::open(&disk, dir).unwrap().1.unwrap().chain, chain(1));
        disk.rot(&dir.join(MARK_NAME), 532, 1);
        assert_eq!(MarkFile::open(&disk, dir).unwrap().1, None);
    }
}
