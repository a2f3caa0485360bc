//! The unit's log of receipts: checkpoints and proofs over durable leaves.
//!
//! Enter through [`Tlog`]. It may use the keys and the store. Invariants: a checkpoint is signed
//! only over leaves that a power cut leaves; one signature serves all receipts of a batch; no
//! checkpoint contradicts one that was signed before, as far as the journal, the anchor file and
//! the peers know: else nothing is signed at all ([`Hold`]).

mod anchor;
mod hold;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex as SyncMutex, PoisonError},
};

use relay_proto::{
    ids::{Digest, LogOrigin, UnitId},
    reason::Reason,
    tlog::{
        Checkpoint, CheckpointError, Note, SignedCheckpoint, TreeError, consistency_proof,
        inclusion_proof, root_at,
    },
};
use tokio::sync::{Mutex, watch};
use tracing::{info, warn};

pub use self::{
    anchor::{AnchorError, AnchorFile},
    hold::{Doubt, Hold, Witness},
};
use crate::{
    faults::{self, Point},
    keys::{KeyUse, SignError, Signer},
    store::{Hashes, LogHead, NewClaim, Store, StoreError},
    tasks::Tasks,
};

/// A checkpoint that this unit signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCheckpoint {
    /// Leaves.
    pub size: u64,
    /// Root.
    pub root: Digest,
    /// The signed note.
    pub note: Arc<str>,
}

/// The unit's log. Clones share it.
#[derive(Clone)]
pub struct Tlog {
    store: Store,
    signer: Arc<Signer>,
    /// The newest checkpoint; held while a newer one is signed, so that one size is signed once.
    newest: Arc<Mutex<Option<OwnCheckpoint>>>,
    /// The newest note, for whoever cannot wait.
    shown: Arc<SyncMutex<Arc<str>>>,
    /// Why nothing is signed.
    hold: Arc<watch::Sender<Option<Hold>>>,
    /// What was signed last, for the anchor file.
    signed: Arc<watch::Sender<Option<(u64, Digest)>>>,
    anchor: Option<AnchorFile>,
}

/// An opened log, and what an operator must be told of it.
pub struct Opened {
    /// The log.
    pub tlog: Tlog,
    /// Alarms: label and text.
    pub alarms: Vec<(Reason, String)>,
}

impl Tlog {
    /// The log of the open store; `anchors` is the directory of anchor files. It signs nothing when
    /// anything shows that the store was set back.
    pub fn open(
        store: Store,
        signer: Arc<Signer>,
        anchors: Option<&Path>,
    ) -> Result<Opened, TlogError> {
        let anchor = anchors.map(|dir| AnchorFile::of(dir, store.origin()));
        let mut alarms = Vec::new();
        let mut hold = None;
        let noted = store.anchor()?;
        if let Some((size, root)) = noted {
            hold = behind(&store, Witness::Journal, size, root);
        }
        let mut unreadable = None;
        if let Some(anchor) = &anchor {
            match judge(&store, anchor, noted.is_some(), &mut alarms) {
                // The word of whoever can be read comes first.
                Some(judged @ Hold::Unreadable(_)) => unreadable = Some(judged),
                judged => hold = hold.or(judged),
            }
        }
        for claim in store.claims()? {
            let witness = Witness::Peer(claim.peer);
            hold = hold.or_else(|| behind(&store, witness, claim.size, claim.root));
        }
        if store.origin().generation > 1 && store.log_head().size == 0 {
            hold = Some(Hold::OtherGeneration(store.origin().clone()));
        }
        hold = hold.or(unreadable);
        // Asked for also when there is another hold: whom it waits for is noted now.
        let restored = store.restored()?;
        hold = hold.or(restored.map(|awaited| Hold::Restored {
            awaited,
            heard: BTreeSet::new(),
            doubts: BTreeMap::new(),
        }));
        if let Some(hold) = &hold {
            warn!(%hold, "log signs nothing");
            alarms.push((Reason::LogHeld, hold.to_string()));
        }
        let tlog = Self {
            store,
            signer,
            newest: Arc::default(),
            shown: Arc::new(SyncMutex::new(Arc::from(""))),
            hold: Arc::new(watch::Sender::new(hold)),
            signed: Arc::default(),
            anchor,
        };
        Ok(Opened { tlog, alarms })
    }

    /// Starts keeping the anchor file, and signs what there is, so that the first Hello shows it.
    /// Call within a runtime.
    pub async fn start(&self, tasks: &Tasks) -> Result<(), TlogError> {
        if let Some(file) = self.anchor.clone() {
            let (runtime, stop) = (tokio::runtime::Handle::current(), tasks.stop_token());
            let keep = anchor::keep(file, self.signed.subscribe(), stop);
            let started = tasks.thread("log-anchor", move || runtime.block_on(keep));
            started.map_err(StoreError::Thread)?;
        }
        if self.hold().is_none() && self.store.log_head().size > 0 {
            self.checkpoint().await?;
        }
        Ok(())
    }

    /// The origin of the log.
    pub fn origin(&self) -> &LogOrigin {
        self.store.origin()
    }

    /// Why nothing is signed, if so.
    pub fn hold(&self) -> Option<Hold> {
        self.hold.borrow().clone()
    }

    /// Says at any time why it signs nothing, if it does not.
    pub fn held(&self) -> impl Fn() -> Option<String> + Clone + Send + 'static {
        let hold = Arc::clone(&self.hold);
        move || hold.borrow().as_ref().map(ToString::to_string)
    }

    /// The same, for whoever waits for a change.
    pub fn holds(&self) -> watch::Receiver<Option<Hold>> {
        self.hold.subscribe()
    }

    /// A checkpoint of all leaves that are durable now; signed once per size.
    pub async fn checkpoint(&self) -> Result<OwnCheckpoint, TlogError> {
        let mut newest = self.newest.lock().await;
        if let Some(hold) = self.hold() {
            return Err(TlogError::Held(hold));
        }
        let LogHead { size, root, .. } = self.store.log_head();
        if let Some(known) = newest.as_ref().filter(|known| known.size == size) {
            return Ok(known.clone());
        }
        let checkpoint = Checkpoint { origin: self.origin().clone(), size, root };
        faults::at(Point::Sign);
        let signature = self.signer.sign(KeyUse::Checkpoint, checkpoint.text().as_bytes()).await?;
        faults::at(Point::Signed);
        let signed = checkpoint.finish(self.signer.public(KeyUse::Checkpoint), signature)?;
        let note: Arc<str> = signed.note().to_string().into();
        // A key may take its time: what was heard meanwhile counts, and this checkpoint stays here.
        // Nothing new is heard before it is shown.
        let hold = self.hold.borrow();
        if let Some(hold) = hold.as_ref() {
            return Err(TlogError::Held(hold.clone()));
        }
        self.store.note_signed(size, root);
        self.signed.send_replace(Some((size, root)));
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&note);
        let own = OwnCheckpoint { size, root, note };
        *newest = Some(own.clone());
        Ok(own)
    }

    /// The newest checkpoint that was signed in this run; empty before the first.
    pub fn newest_note(&self) -> String {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).to_string()
    }

    /// Hears what a peer holds of this log. Only a note with our own valid signature counts as a
    /// claim; one that the store does not bear out stops all signing, and is returned to be kept
    /// and told.
    pub fn hear(&self, peer: &UnitId, note: &str) -> Option<NewClaim> {
        let key = |origin: &LogOrigin| {
            (origin == self.origin()).then(|| self.signer.public(KeyUse::Checkpoint))
        };
        let claim = SignedCheckpoint::open(note, key).ok()?;
        let Checkpoint { size, root, .. } = *claim.checkpoint();
        let found = behind(&self.store, Witness::Peer(peer.to_string()), size, root)?;
        self.hold.send_modify(|hold| {
            if matches!(hold, None | Some(Hold::Restored { .. } | Hold::Unreadable(_))) {
                *hold = Some(found);
            }
        });
        let note = claim.own_note().to_string();
        Some(NewClaim { peer: peer.to_string(), size, root, note })
    }

    /// A restored store: notes that a unit was heard, and signs again once all were that it knew
    /// when it was put in place, and those that are verified by now. The arguments are what it
    /// holds of the unit's logs, and whether it has receipts, by its word, that were never made.
    /// Returns whether that made it sign again.
    pub fn heard(
        &self,
        unit: &UnitId,
        note: &str,
        more_receipts: bool,
        verified: &[UnitId],
    ) -> bool {
        let receipts = more_receipts.then_some(Doubt::Receipts);
        let doubt = self.later(note).map(Doubt::Later).or(receipts);
        let mut released = false;
        self.hold.send_if_modified(|hold| {
            released = hold.as_mut().is_some_and(|hold| hold.heard(unit, doubt, verified));
            if released {
                *hold = None;
            }
            released
        });
        if released {
            info!("every peer was heard: the restored log signs again");
            if let Err(error) = self.store.clear_restored() {
                warn!(%error, "the mark of the restored store stays");
            }
        }
        released
    }

    /// The log that a note names, if it is a later generation of this one. The key of such a log
    /// may be one that this store never saw, so that nothing is verified.
    pub fn later(&self, note: &str) -> Option<LogOrigin> {
        let named: Checkpoint = note.parse::<Note>().ok()?.text().parse().ok()?;
        let (theirs, ours) = (named.origin, self.origin());
        (theirs.unit == ours.unit && theirs.generation > ours.generation).then_some(theirs)
    }

    /// The path of a leaf under the tree of that size.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Digest>, TlogError> {
        self.check_size(size)?;
        Ok(self
            .store
            .read(|view| inclusion_proof(index, size, &Hashes::of(view, self.origin())))?)
    }

    /// The path of a leaf of a log that ended, under its last checkpoint, with that checkpoint.
    pub fn ended(&self, origin: &str, index: u64) -> Result<(Vec<Digest>, String), TlogError> {
        let none = || TlogError::Store(StoreError::IndexDamaged("checkpoints"));
        let ended: LogOrigin = origin.parse().map_err(|_| none())?;
        let succession = self.store.succession(&ended)?.ok_or_else(none)?;
        let closing = succession.closing.ok_or_else(none)?;
        let path = self
            .store
            .read(|view| inclusion_proof(index, closing.size, &Hashes::of(view, &ended)))?;
        Ok((path, closing.note))
    }

    /// That the tree of size `from` is a prefix of the one of size `to`.
    pub fn consistency(&self, from: u64, to: u64) -> Result<Vec<Digest>, TlogError> {
        self.check_size(to)?;
        Ok(self.store.read(|view| consistency_proof(from, to, &Hashes::of(view, self.origin())))?)
    }

    fn check_size(&self, size: u64) -> Result<(), TlogError> {
        let held = self.store.log_head().size;
        if size > held { Err(TlogError::Beyond { asked: size, held }) } else { Ok(()) }
    }
}

/// Compares the anchor file with the store.
fn judge(
    store: &Store,
    anchor: &AnchorFile,
    has_signed: bool,
    alarms: &mut Vec<(Reason, String)>,
) -> Option<Hold> {
    if let Some(generation) = anchor.later_generation() {
        let unit = store.origin().unit.clone();
        return Some(Hold::OtherGeneration(LogOrigin { unit, generation }));
    }
    match anchor.read() {
        Ok(Some((size, root))) => {
            behind(store, Witness::Anchor(anchor.path().to_owned()), size, root)
        }
        Ok(None) => {
            if has_signed {
                let text = format!(
                    "the anchor `{}` is missing: it will be written anew, but until peers are \
                     heard nothing tells whether the store was set back",
                    anchor.path().display()
                );
                warn!(text, "anchor missing");
                alarms.push((Reason::AnchorMissing, text));
            }
            None
        }
        Err(error) => {
            warn!(%error, "anchor not read");
            Some(Hold::Unreadable(anchor.path().to_owned()))
        }
    }
}

/// Whether the store lacks a checkpoint that was signed.
fn behind(store: &Store, witness: Witness, signed: u64, root: Digest) -> Option<Hold> {
    let here = store.log_head().size;
    let origin = store.origin();
    let intact = signed <= here
        && store.read(|view| root_at(signed, &Hashes::of(view, origin))).ok() == Some(root);
    (!intact).then_some(Hold::Behind { witness, signed, here })
}

/// Why there is no checkpoint or proof.
#[derive(Debug, thiserror::Error)]
pub enum TlogError {
    /// Nothing is signed for now.
    #[error("the log signs nothing: {0}")]
    Held(Hold),
    /// A proof was asked for about more leaves than there are.
    #[error("a proof for size {asked} was asked for, the log has {held}")]
    Beyond {
        /// What was asked for.
        asked: u64,
        /// What is there.
        held: u64,
    },
    /// The key gives no signature now.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The signature does not verify under our own key.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The sizes asked for do not fit, or a hash is missing.
    #[error("no proof for these sizes")]
    Proof(#[from] TreeError<StoreError>),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TlogError {
    /// The label that leaves the machine.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Sign(_) => Reason::SignerUnavailable,
            Self::Store(error) => error.reason(),
            Self::Held(_) => Reason::LogHeld,
            Self::Beyond { .. } | Self::Proof(_) => Reason::NotFound,
            Self::Checkpoint(_) => Reason::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::{
        keys::KeyStore,
        store::{Backend, OpenStore, create, journal::SimDisk, space::ReserveSettings},
    };

    /// A peer's claim that comes while the key signs counts: the checkpoint does not leave.
    #[tokio::test(start_paused = true)]
    async fn a_hold_that_comes_while_the_key_signs_counts() {
        let dir = tempfile::tempdir().unwrap();
        let signer = KeyStore::create(&dir.path().join("keys")).unwrap().0.signer().clone();
        let (disk, reserve) = (SimDisk::new(1), ReserveSettings::NONE);
        let backend = Backend::Memory { disk, sync_time: Duration::from_millis(1), reserve };
        let unit: UnitId = "xa.ncu".parse().unwrap();
        let origin = unit.log_origin(1);
        create(&backend, &unit, [7; 16], "2026-03-02T08:15:00Z".parse().unwrap()).unwrap();
        let store = OpenStore { backend, unit, origin: origin.clone() }.open().unwrap();
        let (slow, gate) = signer.clone().slow();
        let tlog = Tlog::open(store.clone(), Arc::new(slow), None).unwrap().tlog;
        let ahead = Checkpoint { origin, size: 7, root: Digest::from_array([9; 32]) };
        let signature = signer.sign(KeyUse::Checkpoint, ahead.text().as_bytes()).await.unwrap();
        let ahead = ahead.finish(signer.public(KeyUse::Checkpoint), signature).unwrap();

        let signing = tlog.checkpoint();
        let meanwhile = async {
            // The first one waits for its key by now.
            tokio::task::yield_now().await;
            assert!(tlog.hear(&"xb.ncu".parse().unwrap(), &ahead.note().to_string()).is_some());
            gate.add_permits(1);
        };
        let (signed, ()) = tokio::join!(signing, meanwhile);
        assert!(matches!(signed, Err(TlogError::Held(Hold::Behind { .. }))), "{signed:?}");
        assert_eq!(tlog.newest_note(), "");
        assert_eq!(*tlog.signed.borrow(), None);
        store.close().await;
    }
}
