//! A part: an attachment that still comes.
//!
//! Enter through [`begin`]. Invariant: one writes a part at a time; it becomes whole by its digest
//! alone.

use std::{io, sync::Arc};

use bytes::Bytes;
use relay_proto::{
    attachment::{Hash, Item},
    envelope::Priority,
    ids::Digest,
};
use tokio::time::Instant;

use super::{Begun, BlobError, Blobs, Listed, Owner, PARTS, PIECE_BYTES, WHOLE, run};
use crate::store::journal::IoFile;

/// An attachment that is being taken. Dropped, it stays as it is, to be gone on with.
pub struct Part {
    place: Place,
    item: Item,
    priority: Priority,
    file: Arc<dyn IoFile>,
    hash: Hash,
    /// Bytes written.
    written: u64,
    /// Of these, durable.
    synced: u64,
}

/// The one place of whoever writes a part.
struct Place {
    blobs: Blobs,
    key: (Owner, Digest),
    /// It is no part any more.
    gone: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.blobs.files.state();
        state.open.remove(&self.key);
        let used = (Some(self.key.0.clone()), self.key.1);
        match self.gone {
            true => state.used.remove(&used),
            false => state.used.insert(used, Instant::now()),
        };
    }
}

/// See [`Blobs::begin`].
pub(super) fn begin(
    blobs: &Blobs,
    owner: Owner,
    item: Item,
    priority: Priority,
) -> Result<Begun, BlobError> {
    let files = &blobs.files;
    let whole = files.size(&files.whole(&item.sha256))?;
    if whole.is_some_and(|size| size != item.size) {
        return Err(BlobError::Mismatch);
    }
    if blobs.holds(&item)? {
        return Ok(Begun::Whole);
    }
    let place = Place::take(blobs, &owner, &item)?;
    make_room(blobs, &owner, &item)?;
    let path = files.part(&owner, &item.sha256);
    let mut file = match files.io.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        opened => Some(opened?),
    };
    if let Some(longer) = &file
        && longer.size()? > item.size
    {
        // Of another claim about this digest: one of the two was wrong.
        files.io.remove(&path)?;
        file = None;
    }
    let had = file.as_ref().map_or(Ok(0), |file| file.size())?;
    if !blobs.shared.space.has_room_for(item.size.saturating_sub(had), priority) {
        return Err(BlobError::Full);
    }
    let file = match file {
        Some(file) => file,
        None => {
            // Parents first, each durable in its own.
            for dir in [files.dir.clone(), files.dir.join(WHOLE), files.dir.join(PARTS)] {
                files.io.create_dir(&dir)?;
            }
            files.io.create_dir(&files.parts(&owner))?;
            let file = files.io.create(&path)?;
            files.io.sync_dir(&files.parts(&owner))?;
            file
        }
    };
    // What an earlier run wrote may be in memory alone.
    file.sync_data()?;
    let mut hash = Hash::default();
    read(&*file, 0..had, |piece| hash.update(piece))?;
    files.state().open.insert(place.key.clone(), had);
    let part = Part { place, item, priority, file, hash, written: had, synced: had };
    Ok(Begun::Part(Box::new(part)))
}

impl Place {
    fn take(blobs: &Blobs, owner: &Owner, item: &Item) -> Result<Self, BlobError> {
        let key = (owner.clone(), item.sha256);
        let mut state = blobs.files.state();
        if state.open.contains_key(&key) {
            return Err(BlobError::Busy);
        }
        state.open.insert(key.clone(), 0);
        drop(state);
        Ok(Self { blobs: blobs.clone(), key, gone: false })
    }
}

/// Keeps what an owner has here within its bounds: the parts that were left alone for longest go;
/// what came whole and is listed by no message stays, and nothing more is taken.
fn make_room(blobs: &Blobs, owner: &Owner, item: &Item) -> Result<(), BlobError> {
    let files = &blobs.files;
    let mine = |state: &super::State| -> Vec<Digest> {
        let of = state.unlisted.iter().filter(|(_, (whose, _))| whose == owner);
        of.map(|(sha256, _)| *sha256).collect()
    };
    let waiting = mine(&files.state());
    for sha256 in waiting {
        if blobs.listed(&sha256)? == Listed::Yes {
            files.state().unlisted.remove(&sha256);
        }
    }
    let unlisted: u64 = {
        let state = files.state();
        let of = state.unlisted.values().filter(|(whose, _)| whose == owner);
        of.map(|(_, size)| *size).sum()
    };
    if unlisted.saturating_add(item.size) > UNLISTED_BYTES_MAX {
        return Err(BlobError::Quota);
    }
    let mut parts = Vec::new();
    for sha256 in files.list(&files.parts(owner))? {
        let size = files.size(&files.part(owner, &sha256))?.unwrap_or_default();
        let state = files.state();
        let is_open = state.open.contains_key(&(owner.clone(), sha256));
        // Of an earlier run, if this one does not know it: the oldest.
        let used = state.used.get(&(Some(owner.clone()), sha256)).copied();
        if sha256 != item.sha256 {
            parts.push((is_open, used, sha256, size));
        }
    }
    parts.sort_unstable_by_key(|(is_open, used, ..)| (*is_open, *used));
    let mut bytes = parts.iter().map(|(.., size)| *size).sum::<u64>().saturating_add(item.size);
    let mut number = parts.len() + 1;
    for (is_open, _, sha256, size) in parts {
        if number <= PARTS_MAX && bytes <= PART_BYTES_MAX {
            break;
        }
        if is_open {
            return Err(BlobError::Quota);
        }
        files.io.remove(&files.part(owner, &sha256))?;
        (number, bytes) = (number - 1, bytes.saturating_sub(size));
    }
    Ok(())
}

impl Part {
    /// From where bytes are wanted: what is before it is durable.
    pub fn offset(&self) -> u64 {
        self.written
    }

    /// How many bytes are still wanted.
    pub fn left(&self) -> u64 {
        self.item.size.saturating_sub(self.written)
    }

    /// Takes the bytes that come next. More than there are left drop the part.
    pub async fn write(self, bytes: Bytes) -> Result<Self, BlobError> {
        run(move || self.append(&bytes)).await
    }

    /// Compares the digest and makes it whole; another digest drops the part.
    pub async fn finish(self) -> Result<(), BlobError> {
        run(move || self.complete()).await
    }

    fn append(mut self, bytes: &[u8]) -> Result<Self, BlobError> {
        if bytes.len() as u64 > self.left() {
            self.remove()?;
            return Err(BlobError::Mismatch);
        }
        self.file.write_at(self.written, bytes)?;
        self.hash.update(bytes);
        self.written += bytes.len() as u64;
        if self.written - self.synced >= SYNC_BYTES {
            self.file.sync_data()?;
            self.synced = self.written;
            let blobs = &self.place.blobs;
            blobs.files.state().open.insert(self.place.key.clone(), self.synced);
            if !blobs.shared.space.has_room_for(self.left(), self.priority) {
                return Err(BlobError::Full);
            }
        }
        Ok(self)
    }

    fn complete(mut self) -> Result<(), BlobError> {
        let found = std::mem::take(&mut self.hash).finish();
        if self.left() > 0 || found != self.item.sha256 {
            self.remove()?;
            return Err(BlobError::Mismatch);
        }
        let files = &self.place.blobs.files;
        let (owner, sha256) = &self.place.key;
        self.file.sync_all()?;
        // Under the lock: whoever looks for it, or sweeps, sees it before or after.
        let mut state = files.state();
        files.io.rename(&files.part(owner, sha256), &files.whole(sha256))?;
        if let Err(error) = files.io.sync_dir(&files.dir.join(WHOLE)) {
            // It would count as here, and might be gone after a power cut.
            files.io.remove(&files.whole(sha256))?;
            return Err(error.into());
        }
        state.used.insert((None, *sha256), Instant::now());
        state.unlisted.insert(*sha256, (owner.clone(), self.item.size));
        drop(state);
        self.place.gone = true;
        Ok(files.io.sync_dir(&files.parts(owner))?)
    }

    fn remove(&mut self) -> Result<(), BlobError> {
        let files = &self.place.blobs.files;
        files.io.remove(&files.part(&self.place.key.0, &self.place.key.1))?;
        self.place.gone = true;
        Ok(())
    }
}

/// Reads a range of a file in pieces.
pub(super) fn read(
    file: &dyn IoFile,
    range: std::ops::Range<u64>,
    mut take: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut at = range.start;
    while at < range.end {
        let wanted = usize::try_from(range.end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let piece = buffer.get_mut(..wanted).unwrap_or_default();
        file.read_at(at, piece)?;
        take(piece);
        at += wanted as u64;
    }
    Ok(())
}

/// Bytes between two syncs of a part: what a power cut may cost.
const SYNC_BYTES: u64 = 1 << 20;
/// Parts of one owner: the attachments of a message.
const PARTS_MAX: usize = 16;
/// Their bytes.
const PART_BYTES_MAX: u64 = 2 << 30;
/// Bytes that one owner brought and that no message lists: a message of the largest profile, twice.
const UNLISTED_BYTES_MAX: u64 = 4 << 30;
