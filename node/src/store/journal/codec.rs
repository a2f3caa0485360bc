//! Fields, checksums and digests: what the blocks of the format are made of. Enter through `Block`
//! to write one, `checked` and `Fields` to read one. Pure.
//! Invariant: reading beyond the end is `None`, never a panic.

use sha2::{Digest, Sha256};

/// Random name of a segment; seeds every checksum in it, so that a stray copy of another
/// segment's bytes is never read as this one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentId(pub [u8; 16]);

impl SegmentId {
    pub fn crc(&self, bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.0);
        hasher.update(bytes);
        hasher.finalize()
    }
}

/// The end of the chain of batches at some point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chain {
    /// Number of the last batch, 0 before the first.
    pub batch: u64,
    /// Last sequence number in it, 0 before the first.
    pub seq: u64,
    pub hash: [u8; 32],
}

/// Writes fields one after the other, then zeros and a checksum up to a fixed length.
pub struct Block(Vec<u8>);

impl Block {
    pub fn new(magic: &[u8; 8]) -> Self {
        Self(magic.to_vec())
    }

    /// Without a magic: headers that are many, and found from others.
    pub fn bare() -> Self {
        Self(Vec::new())
    }

    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.array(&value.to_le_bytes())
    }

    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.array(&value.to_le_bytes())
    }

    pub fn array<const N: usize>(&mut self, value: &[u8; N]) -> &mut Self {
        self.0.extend_from_slice(value);
        self
    }

    pub fn chain(&mut self, chain: &Chain) -> &mut Self {
        self.u64(chain.batch).u64(chain.seq).array(&chain.hash)
    }

    pub fn finish(mut self, total: usize, id: &SegmentId) -> Vec<u8> {
        self.0.resize(total - CRC_BYTES, 0);
        let crc = id.crc(&self.0);
        self.u32(crc);
        self.0
    }
}

/// Reads fields one after the other; `None` at the end, never a panic.
pub struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn chain(&mut self) -> Option<Chain> {
        let chain = Chain { batch: self.u64()?, seq: self.u64()?, hash: self.array()? };
        (chain.batch <= NUMBER_MAX && chain.seq <= NUMBER_MAX).then_some(chain)
    }

    pub fn magic(&mut self, magic: &[u8; 8]) -> Option<()> {
        (self.array::<8>()? == *magic).then_some(())
    }
}

/// The first `total` bytes without their checksum, if it holds.
pub fn checked<'a>(bytes: &'a [u8], total: usize, id: &SegmentId) -> Option<&'a [u8]> {
    let (fields, crc) = bytes.get(..total)?.split_last_chunk::<CRC_BYTES>()?;
    (id.crc(fields) == u32::from_le_bytes(*crc)).then_some(fields)
}

pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

pub fn is_zero(bytes: &[u8]) -> bool {
    // Folding whole chunks lets the compiler use wide registers: this runs over every free byte
    // of a segment on each open.
    bytes.chunks(4096).all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
}

/// Never reached; believed no further, so that adding to a stored number cannot overflow.
pub const NUMBER_MAX: u64 = 1 << 62;
const CRC_BYTES: usize = 4;
