//! Reading a file forwards through one bounded buffer. Enter through `Window::new`. Invariant:
//! never reads at or beyond the end it was given, so bytes not yet durable are never seen.

use std::io;
use std::sync::Arc;

use super::io::IoFile;

pub struct Window {
    file: Arc<dyn IoFile>,
    end: u64,
    start: u64,
    buffer: Vec<u8>,
}

impl Window {
    pub fn new(file: Arc<dyn IoFile>, end: u64) -> Self {
        Self { file, end, start: 0, buffer: Vec::new() }
    }

    /// The bytes at `offset`; `None` if they would reach beyond the end. The caller has checked
    /// `len` against a limit of the format.
    pub fn bytes(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        if offset.checked_add(len as u64).is_none_or(|last| last > self.end) {
            return Ok(None);
        }
        let inside =
            offset >= self.start && offset + len as u64 <= self.start + self.buffer.len() as u64;
        if !inside {
            let ahead = (self.end - offset).min(len.max(WINDOW_BYTES) as u64);
            self.buffer.resize(ahead as usize, 0);
            self.start = offset;
            let mut read = self.file.read_at(offset, &mut self.buffer);
            if read.is_err() && self.buffer.len() > len {
                // What lies ahead may be what the disk does not give.
                self.buffer.truncate(len);
                read = self.file.read_at(offset, &mut self.buffer);
            }
            if let Err(error) = read {
                self.buffer.clear();
                return Err(error);
            }
        }
        let from = (offset - self.start) as usize;
        Ok(self.buffer.get(from..from + len))
    }
}

/// Some dozens of typical events for one read.
const WINDOW_BYTES: usize = 64 << 10;
