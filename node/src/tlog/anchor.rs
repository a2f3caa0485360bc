//! The anchor of a log: the last checkpoint that was signed, kept outside of the data directory.
//!
//! A store that is set back takes its own memory of what it signed with it; this file stays. Text:
//! the line `relay-anchor/v1`, the three lines of a checkpoint, and a last line `sha256 HEX` over
//! all before it: a file that rotted is told as damaged, and is no witness of a rollback.
//! Invariant: a reader finds the old or the new file whole, never a part of one.
//!
//! [`keep`] writes at most once in [`WRITE_EVERY`], so that no batch pays a sync. The file may
//! therefore lack what was signed within the last second before a crash. That is safe: a crash
//! loses no durable leaf, and a checkpoint is signed over durable leaves only, so the journal is
//! then ahead of the anchor and nothing is wrong. What the anchor is for, a store that was set
//! back, goes back further than a second, or is seen by the peers' claims.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use relay_proto::{
    ids::{Digest, LogOrigin},
    tlog::Checkpoint,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::store::files;

/// Where the anchors of a unit's logs are.
#[derive(Debug, Clone)]
pub struct AnchorFile {
    path: PathBuf,
    origin: LogOrigin,
}

impl AnchorFile {
    /// The file of a log below the directory of anchors: `<unit>/log/<generation>`.
    pub fn of(dir: &Path, origin: &LogOrigin) -> Self {
        Self { path: dir.join(origin.to_string()), origin: origin.clone() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last signed size and root; nothing when there is no file.
    pub fn read(&self) -> Result<Option<(u64, Digest)>, AnchorError> {
        let mut text = String::new();
        let opened = File::open(&self.path)
            .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
        match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(AnchorError::Io { path: self.path.clone(), source }),
            Ok(_) => {}
        }
        let read = checked(&text).and_then(|text| text.parse::<Checkpoint>().ok());
        match read.filter(|read| read.origin == self.origin) {
            Some(read) => Ok(Some((read.size, read.root))),
            None => Err(AnchorError::Unreadable(self.path.clone())),
        }
    }

    /// Replaces the file, durably.
    pub fn write(&self, size: u64, root: Digest) -> Result<(), AnchorError> {
        let failed = |source| AnchorError::Io { path: self.path.clone(), source };
        let dir = self.path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        let text = Checkpoint { origin: self.origin.clone(), size, root }.text();
        let text = [FILE_HEAD, &text].concat();
        let text = format!("{text}{CHECK}{}\n", Digest::of(text.as_bytes()));
        files::replace(&self.path, text.as_bytes(), 0o600).map_err(failed)
    }

    /// A later generation that has an anchor: this log was closed, and what runs here is of before.
    pub fn later_generation(&self) -> Option<u32> {
        let entries = fs::read_dir(self.path.parent()?).ok()?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let generations = names.filter_map(|name| name.parse::<u32>().ok());
        generations.filter(|generation| *generation > self.origin.generation).max()
    }
}

/// The checkpoint in an anchor's text, if its last line says that all of it is as it was written.
fn checked(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(FILE_HEAD)?;
    let (checkpoint, check) = rest.split_at_checked(rest.rfind(CHECK)?)?;
    let covered = text.get(..FILE_HEAD.len() + checkpoint.len())?;
    let is_it = check == format!("{CHECK}{}\n", Digest::of(covered.as_bytes()));
    is_it.then_some(checkpoint)
}

/// Why an anchor could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// Not an anchor of this log, or not as it was written.
    #[error("`{}` is damaged, or is not the anchor of this log", .0.display())]
    Unreadable(PathBuf),
    /// The disk.
    #[error("`{}`: {source}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Writes what was signed last until the stop, the very last one then. Blocks: for a thread of its
/// own.
pub(super) async fn keep(
    file: AnchorFile,
    mut signed: watch::Receiver<Option<(u64, Digest)>>,
    stop: CancellationToken,
) {
    let mut failing = false;
    loop {
        let stopping = tokio::select! {
            biased;
            changed = signed.changed() => changed.is_err(),
            () = stop.cancelled() => true,
        };
        let newest = *signed.borrow_and_update();
        if let Some((size, root)) = newest {
            let written = file.write(size, root);
            if let (Err(error), false) = (&written, failing) {
                warn!(%error, "anchor of the log not written");
            }
            failing = written.is_err();
        }
        if stopping {
            // A log that is gone is one whose node did not start: the stop is on its way.
            return stop.cancelled().await;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = tokio::time::sleep(WRITE_EVERY) => {}
        }
    }
}

/// How often the file is written at most.
const WRITE_EVERY: Duration = Duration::from_secs(1);

const FILE_HEAD: &str = "relay-anchor/v1\n";
const CHECK: &str = "sha256 ";
const FILE_BYTES_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn anchor(dir: &Path, generation: u32) -> AnchorFile {
        AnchorFile::of(dir, &LogOrigin { unit: "xa.ncu".parse().unwrap(), generation })
    }

    /// What was written is read; other bytes, another log's file and a cut one are refused, and a
    /// file that is not there is none of these.
    #[test]
    fn an_anchor_is_read_whole_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (anchor(dir.path(), 1), anchor(dir.path(), 2));
        assert_eq!(first.read().unwrap(), None);
        assert_eq!(first.later_generation(), None);
        let root = Digest::from_array([7; 32]);
        first.write(7, root).unwrap();
        first.write(9, root).unwrap();
        assert_eq!(first.read().unwrap(), Some((9, root)));
        let text = fs::read(first.path()).unwrap();
        fs::write(second.path(), &text).unwrap();
        assert!(matches!(second.read(), Err(AnchorError::Unreadable(_))));
        assert_eq!(first.later_generation(), Some(2));
        for cut in [0, 5, text.len() - 2, text.len() - 1] {
            fs::write(first.path(), text.get(..cut).unwrap()).unwrap();
            assert!(matches!(first.read(), Err(AnchorError::Unreadable(_))), "{cut}");
        }
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut rotten = text.clone();
                *rotten.get_mut(at).unwrap() ^= 1 << bit;
                fs::write(first.path(), rotten).unwrap();
                assert!(first.read().is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    /// However often a checkpoint is signed, the file is written at once, then once a second, and
    /// with the last one when the node stops.
    #[tokio::test(start_paused = true)]
    async fn the_last_one_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = anchor(dir.path(), 1);
        let (sender, receiver) = watch::channel(None);
        let stop = CancellationToken::new();
        let keeping = keep(file.clone(), receiver, stop.clone());
        let root = Digest::from_array([7; 32]);
        let signing = async {
            for size in 1..=50 {
                sender.send_replace(Some((size, root)));
                tokio::time::sleep(Duration::from_millis(100)).await;
                let kept = file.read().unwrap().unwrap().0;
                assert!(kept >= 1 && kept + 10 >= size, "{kept} of {size}");
            }
            sender.send_replace(Some((51, root)));
            stop.cancel();
        };
        tokio::join!(keeping, signing);
        assert_eq!(file.read().unwrap(), Some((51, root)));
    }
}
