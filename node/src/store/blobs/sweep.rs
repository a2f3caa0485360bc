//! What goes: parts that nobody finishes, what no message lists, what was ordered to be erased; and
//! what the scrub reads.
//!
//! Invariant: age is counted by this run's steady clock alone, and what a stored message lists
//! stays.

use std::{io, ops::Bound, time::Duration};

use relay_proto::{attachment::Item, ids::Digest};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{BlobError, Blobs, Listed, Owner, WHOLE, run, whole};
use crate::{
    store::{Store, index::Tree},
    tasks::{TaskKind, Tasks},
};

impl Store {
    /// Has the attachments swept, if they are files.
    pub fn keep_swept(&self, tasks: &Tasks) {
        if self.dir.is_some() {
            let work = self.blobs().keep_swept(tasks.stop_token());
            tasks.spawn("attachments-sweep", TaskKind::Process, work);
        }
    }
}

impl Blobs {
    async fn keep_swept(self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.sweep(UNUSED_MAX).await {
                warn!(%error, "attachments not swept");
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(SWEEP_EVERY) => {}
            }
        }
    }

    /// Removes what nobody used for so long, as far as no message lists it, and at once what was
    /// ordered to be erased before this run. Returns how many files went.
    pub async fn sweep(&self, unused: Duration) -> Result<u64, BlobError> {
        let blobs = self.clone();
        run(move || {
            let gone = blobs.sweep_parts(unused)? + blobs.sweep_whole(unused)?;
            if gone > 0 {
                info!(gone, "attachments removed that no message lists");
            }
            Ok(gone)
        })
        .await
    }

    /// Removes those of a message that was erased, as far as no other lists them.
    pub async fn erase(&self, digests: Vec<Digest>) -> Result<(), BlobError> {
        let blobs = self.clone();
        run(move || {
            for sha256 in digests {
                if blobs.listed(&sha256)? != Listed::Yes {
                    blobs.remove_whole(&sha256)?;
                }
            }
            Ok(())
        })
        .await
    }

    fn sweep_parts(&self, unused: Duration) -> Result<u64, BlobError> {
        let mut gone = 0;
        for owner in self.owners()? {
            for sha256 in self.files.list(&self.files.parts(&owner))? {
                let mut state = self.files.state();
                let is_open = state.open.contains_key(&(owner.clone(), sha256));
                let key = (Some(owner.clone()), sha256);
                let since = *state.used.entry(key.clone()).or_insert_with(Instant::now);
                if !is_open && since.elapsed() >= unused {
                    self.files.io.remove(&self.files.part(&owner, &sha256))?;
                    state.used.remove(&key);
                    gone += 1;
                }
            }
        }
        Ok(gone)
    }

    fn sweep_whole(&self, unused: Duration) -> Result<u64, BlobError> {
        let mut gone = 0;
        for sha256 in self.files.list(&self.files.dir.join(WHOLE))? {
            let listed = self.listed(&sha256)?;
            let mut state = self.files.state();
            let key = (None::<Owner>, sha256);
            let goes = match (listed, state.used.get(&key)) {
                (Listed::Yes, _) => {
                    state.unlisted.remove(&sha256);
                    state.used.remove(&key);
                    false
                }
                (_, Some(since)) => since.elapsed() >= unused,
                // The order was given in an earlier run, and nobody brought it again in this one.
                (Listed::Erased, None) => true,
                (Listed::No, None) => {
                    state.used.insert(key.clone(), Instant::now());
                    false
                }
            };
            if goes {
                // Under the lock: whoever looks for it now finds it gone, and brings it again.
                self.files.io.remove(&self.files.whole(&sha256))?;
                state.used.remove(&key);
                state.unlisted.remove(&sha256);
                gone += 1;
            }
        }
        Ok(gone)
    }

    fn remove_whole(&self, sha256: &Digest) -> Result<(), BlobError> {
        let mut state = self.files.state();
        match self.files.io.remove(&self.files.whole(sha256)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
        state.used.remove(&(None, *sha256));
        state.unlisted.remove(sha256);
        drop(state);
        Ok(self.files.io.sync_dir(&self.files.dir.join(WHOLE))?)
    }

    /// Reads all that stored messages list, away from the tasks that serve; `pace` is told of each
    /// one's bytes and may end it. Gives those that are not what was written, or not there.
    pub fn check(&self, pace: &mut dyn FnMut(u64) -> bool) -> Result<Option<Checked>, BlobError> {
        let mut checked = Checked::default();
        let mut after: Vec<u8> = Vec::new();
        loop {
            let from = Bound::Excluded(after.as_slice());
            let read = |view: crate::store::View<'_>| {
                view.range(Tree::Attachments, from, Bound::Unbounded, PAGE, false)
            };
            let page = self.shared.read(read)?;
            let Some((last, _)) = page.last() else { return Ok(Some(checked)) };
            let next = last.clone();
            for (key, value) in &page {
                let sha256 = key.get(..32).and_then(|bytes| Digest::from_bytes(bytes).ok());
                let size = value.as_slice().try_into().map(u64::from_be_bytes);
                let (Some(sha256), Ok(size)) = (sha256, size) else { continue };
                // Several messages list it: one look is enough.
                if after.get(..32) == Some(sha256.as_bytes().as_slice()) {
                    continue;
                }
                after.clone_from(key);
                match whole::open(&self.files, Item { sha256, size }) {
                    Ok(_) => {}
                    Err(BlobError::Damaged(_) | BlobError::Missing(_)) => {
                        checked.damaged.push(sha256);
                    }
                    Err(error) => return Err(error),
                }
                checked.bytes += size;
                if !pace(size) {
                    return Ok(None);
                }
            }
            after = next;
        }
    }
}

/// What a look at all attachments found.
#[derive(Debug, Default)]
pub struct Checked {
    /// Bytes read.
    pub bytes: u64,
    /// Those that are not as they were written.
    pub damaged: Vec<Digest>,
}

/// Nobody comes back to a transfer after so long.
const UNUSED_MAX: Duration = Duration::from_secs(24 * 3600);
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
const PAGE: usize = 256;
