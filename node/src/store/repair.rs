//! The repair of a store that no node has open: what can be made anew is, what cannot is named.
//!
//! Enter through [`repair`]. Order: the journal is read to its end; what the chain proves is
//! written back; then the store is opened as a node opens it, which makes mark, index and prepared
//! segments anew and cuts off a torn tail; then index and journal are compared in full. Invariants:
//! no event is changed or removed; before a byte of a segment, a snapshot or a mark changes, a copy
//! of its file lies below `repair-N` in the store's directory, and an index that is made anew lies
//! beside the new one; a journal that lost events is left as it is, and so is its index, which may
//! be all that remembers them; one lock is held from the first look to the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use prost::Message as _;
use relay_proto::ids::{LogOrigin, UnitId};

use crate::store::{
    Backend, OpenStore, Store, StoreError,
    event::Event,
    files::{self, FilesError, Lock, StoreId},
    journal::{
        BodyState, Damage, Found, IoFile, MARK_NAME, RealIo, Sectors, Seen, Survey, segment_name,
        survey,
    },
    records::{DamageRecord, MessageRecord},
    scrubber::{BODY, message_of},
    sled::set_aside,
    snapshot,
};

/// What is to be repaired.
pub struct RepairOrder {
    /// Where and how.
    pub backend: Backend,
    /// Whose.
    pub unit: UnitId,
    /// The open log.
    pub origin: LogOrigin,
    /// Look only.
    pub dry_run: bool,
}

/// What was found and done.
#[derive(Debug, Default)]
pub struct Repaired {
    /// Look only: nothing was changed.
    pub dry_run: bool,
    /// Segments, bytes and events of the journal.
    pub journal: (u64, u64, u64),
    /// What was made anew, or would be.
    pub mended: Vec<String>,
    /// Where the former bytes lie.
    pub kept: Vec<PathBuf>,
    /// What is damaged for good.
    pub remains: Vec<DamageRecord>,
    /// Why the index was not looked at.
    pub not_looked: Option<&'static str>,
    /// Our own unit, to tell who has another copy.
    pub unit: String,
    /// What ended the repair after the above.
    pub failed: Option<StoreError>,
}

impl Repaired {
    /// Nothing is wrong any more; in a dry run: nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.failed.is_none()
            && self.remains.is_empty()
            && (self.mended.is_empty() || !self.dry_run)
    }
}

/// Repairs a store, or looks only. An error is one after which nothing was changed; a later one is
/// told with what was done. Call within a runtime.
pub async fn repair(order: &RepairOrder) -> Result<Repaired, StoreError> {
    let Backend::Embedded { dir, .. } = &order.backend else {
        return Err(FilesError::NotThere(PathBuf::new()).into());
    };
    let lock = Lock::take(dir)?;
    StoreId::open(dir, &order.unit)?;
    let mut work =
        Work { order, dir, lock, done: Repaired::default(), at_opening: Vec::new(), aside: None };
    work.done.dry_run = order.dry_run;
    work.done.unit = order.unit.to_string();
    match work.run().await {
        Err(error) if work.done.mended.is_empty() && work.done.kept.is_empty() => Err(error),
        ended => {
            work.done.failed = ended.err();
            Ok(work.done)
        }
    }
}

struct Work<'a> {
    order: &'a RepairOrder,
    dir: &'a Path,
    lock: Lock,
    done: Repaired,
    /// What an opening does by itself.
    at_opening: Vec<String>,
    /// Where copies go; made when the first one is.
    aside: Option<PathBuf>,
}

impl Work<'_> {
    async fn run(&mut self) -> Result<(), StoreError> {
        let found = self.journal()?;
        self.snapshots()?;
        if self.order.dry_run {
            self.done.mended.append(&mut self.at_opening);
            self.done.not_looked = Some("a dry run does not open it");
        } else if found.refused || self.lacks_events() {
            self.done.not_looked =
                Some("it was left as it is: it cannot be made anew from a damaged journal");
        } else {
            self.keep_what_opening_changes(&found)?;
            self.index().await?;
            self.drop_idle_copies()?;
        }
        Ok(())
    }

    /// Reads the journal and writes back what is proven.
    fn journal(&mut self) -> Result<Survey, StoreError> {
        let mut events = Events::default();
        let floor = files::read_index_mark(self.dir);
        let found =
            survey(&RealIo, &self.dir.join("journal"), floor, &mut |seen| events.see(seen))?;
        self.done.journal = (found.segments, found.bytes, events.count);
        for mend in &found.mends {
            if !self.order.dry_run {
                self.keep_copy(&mend.path)?;
                let failed = |source| FilesError::Io { path: mend.path.clone(), source };
                mend.write(&RealIo).map_err(failed)?;
            }
            let text = format!("{}, segment {}: written back", mend.what, mend.segment);
            self.done.mended.push(text);
        }
        self.note_opening(&found);
        let orders = &events.orders;
        let unordered = events.broken.iter().filter(|damage| !orders.contains(&damage.seq));
        self.done.remains.extend(unordered.cloned());
        for one in &found.found {
            self.done.remains.extend(events.named(one));
        }
        Ok(found)
    }

    fn note_opening(&mut self, found: &Survey) {
        if found.refused {
            return;
        }
        if let Some(tail) = &found.tail {
            let (bytes, segment, offset) = (tail.bytes, tail.segment, tail.offset);
            self.at_opening.push(format!(
                "tail of an interrupted write, {bytes} bytes that nobody was answered for (segment \
                 {segment}, offset {offset}): cut off"
            ));
        }
        if !found.marked {
            self.at_opening.push("the journal's mark: made anew".to_owned());
        }
        if !self.order.dry_run && files::read_index_mark(self.dir) == 0 {
            let text = "the index's mark: made anew, all events were replayed";
            self.at_opening.push(text.to_owned());
        }
    }

    /// An opening zeros a tail and writes both marks.
    fn keep_what_opening_changes(&mut self, found: &Survey) -> Result<(), StoreError> {
        if found.tail.is_some() {
            self.keep_copy(&self.dir.join("journal").join(segment_name(found.segments)))?;
        }
        for mark in self.marks() {
            if mark.exists() {
                self.keep_copy(&mark)?;
            }
        }
        Ok(())
    }

    fn marks(&self) -> [PathBuf; 2] {
        [self.dir.join("journal").join(MARK_NAME), self.dir.join(files::MARK_FILE)]
    }

    /// Where nothing was mended, marks moved on as they always do: their copies serve nobody.
    fn drop_idle_copies(&mut self) -> Result<(), StoreError> {
        let Some(aside) = self.aside.take_if(|_| self.done.mended.is_empty()) else {
            return Ok(());
        };
        let failed = |source| FilesError::Io { path: aside.clone(), source };
        fs::remove_dir_all(&aside).map_err(failed)?;
        self.done.kept.retain(|kept| *kept != aside);
        Ok(())
    }

    fn lacks_events(&self) -> bool {
        let unread = Damage::Unread.to_string();
        self.done.remains.iter().any(|damage| {
            damage.what == unread || (damage.what != BODY && damage.seq <= damage.last_seq)
        })
    }

    /// Damaged ones are set aside; a rebuild begins at the newest good one.
    fn snapshots(&mut self) -> Result<(), StoreError> {
        for path in snapshot::unsound(&self.dir.join(snapshot::DIR)) {
            let text = format!("damaged snapshot `{}`: set aside", path.display());
            if !self.order.dry_run {
                self.keep_copy(&path)?;
                fs::remove_file(&path).map_err(|source| FilesError::Io { path, source })?;
            }
            self.done.mended.push(text);
        }
        Ok(())
    }

    /// Opens the store, which makes the index anew when it is damaged, and compares it in full.
    async fn index(&mut self) -> Result<(), StoreError> {
        let before = self.damaged_indexes();
        let store = self.open()?;
        self.done.mended.append(&mut self.at_opening);
        let compared = store.scrub();
        store.close().await;
        let sound = match compared {
            Ok(report) => report.index_is_sound(),
            // It cannot be read.
            Err(StoreError::Index(_) | StoreError::IndexDamaged(_)) => false,
            Err(error) => return Err(error),
        };
        if !sound {
            let index = self.dir.join("index");
            files::write_index_mark(self.dir, 0)?;
            set_aside(&index).map_err(|source| FilesError::Io { path: index, source })?;
            let store = self.open()?;
            let again = store.scrub();
            store.close().await;
            if !again?.index_is_sound() {
                return Err(StoreError::IndexDamaged("rebuilt"));
            }
        }
        let new: Vec<PathBuf> = self.damaged_indexes().difference(&before).cloned().collect();
        if !new.is_empty() {
            self.done.mended.push("the index: made anew from the journal".to_owned());
        }
        self.done.kept.extend(new);
        Ok(())
    }

    fn open(&self) -> Result<Store, StoreError> {
        let (backend, unit) = (self.order.backend.clone(), self.order.unit.clone());
        OpenStore { backend, unit, origin: self.order.origin.clone() }
            .open_under(Some(self.lock.share()?))
    }

    fn damaged_indexes(&self) -> BTreeSet<PathBuf> {
        let entries = fs::read_dir(self.dir).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        let is_one = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("index.damaged-"))
        };
        paths.filter(is_one).collect()
    }

    /// Copies a file below `repair-N` before it is changed.
    fn keep_copy(&mut self, path: &Path) -> Result<(), StoreError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| FilesError::Io { path, source }
        };
        let aside = match &self.aside {
            Some(aside) => aside.clone(),
            None => {
                let aside = (1..=ASIDE_MAX).map(|n| self.dir.join(format!("repair-{n}")));
                let aside = aside.into_iter().find(|path| !path.exists());
                let aside = aside.unwrap_or_else(|| self.dir.join("repair-last"));
                files::create_private_dir(&aside).map_err(failed(&aside))?;
                self.done.kept.push(aside.clone());
                self.aside.insert(aside).clone()
            }
        };
        let name = path.file_name().unwrap_or_default();
        let copy = aside.join(name);
        if !copy.exists() {
            copy_readable(path, &copy).map_err(failed(&copy))?;
        }
        Ok(())
    }
}

/// Copies a file durably; what the disk does not give of it is zeros in the copy.
fn copy_readable(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (fs::File::open(from)?, fs::File::create_new(to)?);
    to.set_permissions(from.metadata()?.permissions())?;
    let (mut sectors, bytes) = (Sectors::default(), from.metadata()?.len());
    let mut piece = vec![0; COPY_BYTES];
    for offset in (0..bytes).step_by(COPY_BYTES) {
        let length = (bytes - offset).min(COPY_BYTES as u64) as usize;
        let piece = piece.get_mut(..length).unwrap_or_default();
        sectors.read(&from, offset, piece)?;
        IoFile::write_at(&to, offset, piece)?;
    }
    fs::File::sync_all(&to)
}

/// What the journal's events say while they are read.
#[derive(Default)]
struct Events {
    count: u64,
    broken: Vec<DamageRecord>,
    /// Whose bodies are to be gone.
    orders: BTreeSet<u64>,
    /// The last damage that was shown.
    within: Option<RangeInclusive<u64>>,
    /// Messages whose events can be read in a damaged batch.
    messages: BTreeMap<u64, MessageRecord>,
}

impl Events {
    fn see(&mut self, seen: Seen<'_>) {
        let (segment, seq, offset, meta, body) = match seen {
            Seen::Event { segment, seq, offset, meta, body } => (segment, seq, offset, meta, body),
            Seen::Damage(found) => {
                // What can be read of a damaged batch is shown next.
                if found.what != Damage::Unread {
                    self.within = Some(found.seq..=found.last_seq);
                }
                return;
            }
        };
        self.count += 1;
        let damage = |what: &str| DamageRecord {
            what: what.to_owned(),
            segment,
            offset,
            seq,
            last_seq: seq,
            ..DamageRecord::default()
        };
        let Ok(event) = Event::decode(meta) else {
            return self.broken.push(damage("event unreadable"));
        };
        self.orders.extend(event.erases());
        let message = message_of(&event);
        if body != BodyState::Sound {
            let mut damage = damage(BODY);
            if let Some(message) = message {
                damage.name(message);
            }
            self.broken.push(damage);
        }
        if let Some(message) = message
            && self.within.as_ref().is_some_and(|within| within.contains(&seq))
        {
            self.messages.insert(seq, message.clone());
        }
    }

    /// A damage, once for each message that is known to be in it.
    fn named(&self, found: &Found) -> Vec<DamageRecord> {
        let whole = DamageRecord::of(found);
        if found.seq > found.last_seq {
            return vec![whole];
        }
        let each = self.messages.range(found.seq..=found.last_seq).map(|(seq, message)| {
            let mut damage = DamageRecord { seq: *seq, last_seq: *seq, ..whole.clone() };
            damage.name(message);
            damage
        });
        let named: Vec<DamageRecord> = each.collect();
        if named.is_empty() { vec![whole] } else { named }
    }
}

/// What is copied at once.
const COPY_BYTES: usize = 1 << 20;
/// Copies of former repairs that are kept.
const ASIDE_MAX: u32 = 1000;
