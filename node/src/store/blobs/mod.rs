//! Attachments: files beside the journal, by digest, each whole or a part of one that still comes.
//!
//! Enter through [`Store::blobs`]; [`Part`] takes bytes, [`Whole`] gives them. Uses the disk
//! through the journal's `Io`, off the tasks that serve. Invariants: under a digest in `whole` lie
//! bytes that had that digest when they were renamed to it, and they are durable; a name below here
//! is made of digests and units, never of a sender's words; what a stored message lists is removed
//! only by an order of erasure.
//!
//! Life of one: 1. [`Blobs::begin`] opens or makes `parts/<owner>/<digest>`. 2. Bytes are appended;
//! every few megabytes they are synced, and only that is told to whoever resumes. 3. At the end the
//! digest is compared; another one drops the part. 4. Sync of the file, rename to `whole/<digest>`,
//! sync of both directories; only then it is here. 5. A message that lists it is stored. 6. What no
//! message lists and nobody used for a day goes ([`Blobs::sweep`]).

mod error;
mod part;
mod sweep;
mod whole;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use relay_proto::{
    attachment::Item,
    envelope::Priority,
    ids::{Digest, UnitId},
};
use tokio::time::Instant;

pub use self::{error::BlobError, part::Part, whole::Whole};
use crate::{
    store::{Store, StoreError, engine::Shared, index::Tree, journal::Io},
    tasks,
};

/// The attachments of a store. Clones share them.
#[derive(Clone)]
pub struct Blobs {
    shared: Arc<Shared>,
    files: Arc<Files>,
}

/// Who brings a part: what one brings cannot spoil what another does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner(String);

impl Owner {
    /// A case system of our own.
    pub fn local() -> Self {
        // No unit is called so: their ids have a dot.
        Self("local".to_owned())
    }

    /// A peer.
    pub fn peer(unit: &UnitId) -> Self {
        Self(unit.to_string())
    }
}

/// What [`Blobs::begin`] found.
pub enum Begun {
    /// It is here.
    Whole,
    /// Bytes are wanted from [`Part::offset`] on.
    Part(Box<Part>),
}

/// Where the files are, and what of them is in use.
pub struct Files {
    io: Arc<dyn Io>,
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Parts that somebody writes, and how much of each is durable.
    open: BTreeMap<(Owner, Digest), u64>,
    /// When a part was last written, or a whole one last looked for. Of this run alone: no clock
    /// that may be wrong decides what goes.
    used: BTreeMap<(Option<Owner>, Digest), Instant>,
    /// What came whole in this run and is listed by no message yet.
    unlisted: BTreeMap<Digest, (Owner, u64)>,
}

/// What the stored messages say of an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listed {
    /// One lists it.
    Yes,
    /// Those that listed it were erased.
    Erased,
    /// None does.
    No,
}

impl Files {
    /// The attachments of a store whose files are in `dir`; nothing is made before the first comes.
    pub fn new(io: Arc<dyn Io>, dir: &Path) -> Self {
        Self { io, dir: dir.join(DIR), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn whole(&self, sha256: &Digest) -> PathBuf {
        self.dir.join(WHOLE).join(sha256.to_string())
    }

    fn parts(&self, owner: &Owner) -> PathBuf {
        self.dir.join(PARTS).join(&owner.0)
    }

    fn part(&self, owner: &Owner, sha256: &Digest) -> PathBuf {
        self.parts(owner).join(sha256.to_string())
    }

    /// Bytes of a file; nothing when it is not there.
    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        match self.io.open(path) {
            Ok(file) => file.size().map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Digests that name files of a directory; other names are nobody's.
    fn list(&self, dir: &Path) -> io::Result<Vec<Digest>> {
        let names = match self.io.list(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names?,
        };
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }
}

impl Store {
    /// The attachments.
    pub fn blobs(&self) -> Blobs {
        Blobs { shared: Arc::clone(&self.shared), files: Arc::clone(&self.files) }
    }
}

impl Blobs {
    /// Whether an attachment is here whole. Whoever asks means to use it: it stays for a day.
    pub fn holds(&self, item: &Item) -> Result<bool, BlobError> {
        let mut state = self.files.state();
        if self.files.size(&self.files.whole(&item.sha256))? != Some(item.size) {
            return Ok(false);
        }
        state.used.insert((None, item.sha256), Instant::now());
        Ok(true)
    }

    /// The first of a list that is not here whole.
    pub async fn missing(&self, items: Vec<Item>) -> Result<Option<usize>, BlobError> {
        let blobs = self.clone();
        let look = move || {
            for (index, item) in items.iter().enumerate() {
                if !blobs.holds(item)? {
                    return Ok(Some(index));
                }
            }
            Ok(None)
        };
        run(look).await
    }

    /// How many bytes are durable here.
    pub async fn durable(&self, owner: Owner, item: Item) -> Result<u64, BlobError> {
        let blobs = self.clone();
        run(move || {
            if blobs.holds(&item)? {
                return Ok(item.size);
            }
            let key = (owner, item.sha256);
            if let Some(synced) = blobs.files.state().open.get(&key) {
                return Ok(*synced);
            }
            let opened = blobs.files.io.open(&blobs.files.part(&key.0, &item.sha256));
            match opened {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
                Err(error) => Err(error.into()),
                Ok(file) => {
                    // What an earlier run wrote may be in memory alone.
                    file.sync_data()?;
                    Ok(Some(file.size()?).filter(|size| *size <= item.size).unwrap_or_default())
                }
            }
        })
        .await
    }

    /// Begins to take an attachment, or goes on where it was cut off; `priority` is that of the
    /// message that will list it.
    pub async fn begin(
        &self,
        owner: Owner,
        item: Item,
        priority: Priority,
    ) -> Result<Begun, BlobError> {
        let blobs = self.clone();
        run(move || part::begin(&blobs, owner, item, priority)).await
    }

    /// Opens an attachment for reading, once all of it was read and compared with its digest.
    pub async fn open(&self, item: Item) -> Result<Whole, BlobError> {
        let blobs = self.clone();
        run(move || whole::open(&blobs.files, item)).await
    }

    fn listed(&self, sha256: &Digest) -> Result<Listed, StoreError> {
        let rows =
            self.shared.read(|view| view.prefix(Tree::Attachments, sha256.as_bytes(), ROWS_MAX))?;
        Ok(match rows.iter().any(|(_, size)| !size.is_empty()) {
            true => Listed::Yes,
            // More rows than are looked at are more messages than were ever erased.
            false if rows.len() >= ROWS_MAX => Listed::Yes,
            false if rows.is_empty() => Listed::No,
            false => Listed::Erased,
        })
    }

    /// Owners whose parts are here.
    fn owners(&self) -> io::Result<BTreeSet<Owner>> {
        let names = match self.files.io.list(&self.files.dir.join(PARTS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            names => names?,
        };
        Ok(names.into_iter().map(Owner).collect())
    }
}

/// Runs work on files away from the tasks that serve.
async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tasks::blocking(work).await.unwrap_or(Err(BlobError::Panicked))
}

/// Below the store's directory.
const DIR: &str = "attachments";
/// Below that.
const WHOLE: &str = "whole";
/// Below that, a directory an owner.
const PARTS: &str = "parts";
/// Messages that list one attachment, of which the first that was not erased decides.
const ROWS_MAX: usize = 4096;
/// Read and written at once.
const PIECE_BYTES: usize = 256 << 10;
