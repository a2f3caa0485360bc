//! Reading where a disk may give no bytes: what it does not give is zeros, and its places are told.
//! Enter through [`Sectors::read`]. Invariant: an error of the process, not of the disk, is an
//! error, and says nothing about the bytes.

use std::collections::BTreeSet;
use std::io;

use super::io::{IoFile, is_short};

/// The sectors of one file that could not be read.
#[derive(Default)]
pub struct Sectors {
    lost: BTreeSet<u64>,
}

impl Sectors {
    /// Fills the buffer. Returns where what the disk does not give begins, each run of sectors
    /// once.
    pub fn read(
        &mut self,
        file: &dyn IoFile,
        offset: u64,
        buffer: &mut [u8],
    ) -> io::Result<Vec<u64>> {
        match file.read_at(offset, buffer) {
            Err(error) if is_short(&error) => return Err(error),
            Err(_) => {}
            Ok(()) => return Ok(Vec::new()),
        }
        let (mut begun, mut place, mut rest) = (Vec::new(), offset, buffer);
        while !rest.is_empty() {
            let sector = place / SECTOR_BYTES;
            let length = ((sector + 1) * SECTOR_BYTES - place).min(rest.len() as u64);
            let (piece, after) = rest.split_at_mut(length as usize);
            // A disk that gives nothing any more is not asked sector by sector.
            let read = match self.lost.len() < SECTORS_MAX {
                true => file.read_at(place, piece),
                false => Err(io::ErrorKind::Other.into()),
            };
            match read {
                Ok(()) => {}
                Err(error) if is_short(&error) => return Err(error),
                Err(_) => {
                    piece.fill(0);
                    let follows = sector.checked_sub(1).is_some_and(|last| self.is_lost(last));
                    if self.lost.insert(sector) && !follows {
                        begun.push(place);
                    }
                }
            }
            (place, rest) = (place + length, after);
        }
        Ok(begun)
    }

    fn is_lost(&self, sector: u64) -> bool {
        self.lost.contains(&sector)
    }
}

/// What a disk loses at once.
const SECTOR_BYTES: u64 = 4096;
/// Sectors of a file that are tried by themselves.
const SECTORS_MAX: usize = 256;
