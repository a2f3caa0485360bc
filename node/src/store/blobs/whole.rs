//! A whole attachment, for reading.

use std::{io, sync::Arc};

use bytes::Bytes;
use relay_proto::attachment::{Hash, Item};

use super::{BlobError, Files, PIECE_BYTES, part::read, run};
use crate::store::journal::IoFile;

/// An attachment that is here and was read and found sound.
pub struct Whole {
    file: Arc<dyn IoFile>,
    item: Item,
}

/// See [`Blobs::open`](super::Blobs::open).
pub(super) fn open(files: &Files, item: Item) -> Result<Whole, BlobError> {
    let file = match files.io.open(&files.whole(&item.sha256)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BlobError::Missing(item.sha256));
        }
        opened => opened?,
    };
    let damaged = || BlobError::Damaged(item.sha256);
    if file.size()? != item.size {
        return Err(damaged());
    }
    let mut hash = Hash::default();
    // What the disk does not give is damage of this one file.
    read(&*file, 0..item.size, |piece| hash.update(piece)).map_err(|_| damaged())?;
    if hash.finish() == item.sha256 { Ok(Whole { file, item }) } else { Err(damaged()) }
}

impl Whole {
    /// Its bytes from an offset on, as many as go at once; none at its end.
    pub async fn piece(&self, offset: u64) -> Result<Bytes, BlobError> {
        let (file, item) = (Arc::clone(&self.file), self.item);
        run(move || {
            let left = item.size.saturating_sub(offset);
            let wanted = usize::try_from(left).unwrap_or(PIECE_BYTES).min(CHUNK_BYTES);
            let mut bytes = vec![0; wanted];
            file.read_at(offset, &mut bytes)?;
            Ok(bytes.into())
        })
        .await
    }
}

/// Given at once: with what is around it, it fits a frame and an answer of the API.
const CHUNK_BYTES: usize = 128 << 10;
