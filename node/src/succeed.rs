//! The verb `log succeed`: a log that lost signed leaves ends, and the next generation begins.
//!
//! Enter through [`succeed`]. It may use keys, store, directory and the log, and no running node's
//! rooms. The node does not run meanwhile: the store's lock is taken. Order, so
//! that an attempt that was cut off is finished by the next: the new log's key, then the event in
//! the journal with the signed succession, then the receipts that move, then the card. Until the
//! card is there the node does not start. Invariant: the old log's key signs nothing but what it
//! has signed before.

use std::{fmt, path::PathBuf, sync::Arc};

use bytes::Bytes;
use prost::Message as _;
use relay_proto::{
    card::Card,
    ids::{LogOrigin, UnitId},
    limits,
    signed::Unsigned,
    succession::Succession,
    timestamp::Timestamp,
    tlog::{Checkpoint, empty_root, root_at},
    v1,
};

use crate::{
    config::Settings,
    directory::Directory,
    keys::{IDENTITY_FILE, Identity, KeyStore, KeyUse, open_log_of, read_card},
    store::{
        Backend, Hashes, LaterLog, NewSuccession, OpenStore, Store, StoreError,
        files::{self, FilesError},
        records::CheckpointRecord,
    },
    tlog::{AnchorFile, Hold, Tlog},
};

/// What the officers order.
#[derive(Debug, Clone)]
pub struct Order {
    /// Why; peers read it.
    pub reason: String,
    /// Two different officers.
    pub by: Vec<String>,
    /// Where the identity key is; nothing: in the directory of keys.
    pub identity: Option<PathBuf>,
    /// Also when nothing shows that the log lost leaves, or peers name a later one.
    pub anyway: bool,
}

/// What was done.
#[derive(Debug, Clone)]
pub struct Succeeded {
    old: Checkpoint,
    end: u64,
    new: LogOrigin,
    moved: usize,
    card: PathBuf,
    number: u64,
}

/// Why nothing, or not all, was done. Repeating the command is safe.
#[derive(Debug, thiserror::Error)]
pub enum SucceedError {
    /// The order is not complete.
    #[error("{0}")]
    Order(&'static str),
    /// No identity key.
    #[error(
        "the identity key is not at `{}`: bring it back for this command (--identity-key FILE), \
         and take it away again afterwards", .0.display()
    )]
    NoIdentity(PathBuf),
    /// Nothing is wrong with it.
    #[error(
        "{0} lost nothing that is known here, and signs: nothing was done. To end it all the same, \
         with a call to every peer after it: --anyway"
    )]
    Healthy(LogOrigin),
    /// Nothing is known to be wrong but a file that can be removed.
    #[error(
        "nothing shows that {origin} lost anything: its anchor `{}` is damaged. Remove that file \
         and start the node; what peers hold shows whether the log was set back. To end it all \
         the same, with a call to every peer after it: --anyway", .anchor.display()
    )]
    Anchor {
        /// The log.
        origin: LogOrigin,
        /// The file.
        anchor: PathBuf,
    },
    /// The log was ended before.
    #[error(
        "the card names {card}, but {} knows {}: put the newest card and the keys that came with \
         it in place, then repeat. If that is known to be false, suspend that peer (relay-cli peer \
         suspend) before the node is stopped, or: --anyway", .later.peer,
        .later.origin
    )]
    OldCard {
        /// The card's log.
        card: LogOrigin,
        /// The later one.
        later: LaterLog,
    },
    /// Somebody uses the store.
    #[error("the store is in use: stop the node first")]
    Running,
    /// Another identity key.
    #[error("this is not the identity key of the card")]
    OtherIdentity,
    /// Anything else, with its cause.
    #[error("{what}")]
    Failed {
        /// Where.
        what: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Ends the open log and begins the next one. `now` dates the succession and the new card.
pub fn succeed(
    settings: &Settings,
    order: &Order,
    now: Timestamp,
) -> Result<Succeeded, SucceedError> {
    check(order)?;
    let card = read_card(&settings.keys.card).map_err(|error| failed("card", error))?;
    let identity = identity(settings, order, &card)?;
    let old = open_log_of(&card).ok_or_else(|| failed("card", "it names no open log"))?;
    let old = old.origin.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| failed("runtime", error))?;
    let work = Work { settings, order, card: &card, identity: &identity, now };
    runtime.block_on(work.perform(&old))
}

fn check(order: &Order) -> Result<(), SucceedError> {
    let officers: std::collections::BTreeSet<String> =
        order.by.iter().map(|by| by.trim().to_lowercase()).collect();
    if officers.len() < 2 || officers.iter().any(|by| by.is_empty()) {
        return Err(SucceedError::Order("two different officers order this: --by NAME --by NAME"));
    }
    let long = order.by.iter().any(|by| by.chars().count() > limits::ACTOR_CHARS_MAX);
    if long || order.by.len() > OFFICERS_MAX {
        return Err(SucceedError::Order("the names of the officers are too long or too many"));
    }
    let reason = order.reason.trim();
    let length = (1..=limits::LINE_CHARS_MAX).contains(&reason.chars().count());
    if !length || reason.chars().any(char::is_control) {
        return Err(SucceedError::Order("--reason is one line that peers will read"));
    }
    Ok(())
}

fn identity(settings: &Settings, order: &Order, card: &Card) -> Result<Identity, SucceedError> {
    let path = order.identity.clone().unwrap_or_else(|| settings.keys.dir.join(IDENTITY_FILE));
    if !path.exists() {
        return Err(SucceedError::NoIdentity(path));
    }
    let identity = Identity::open(path).map_err(|error| failed("identity key", error))?;
    if identity.public() != *card.identity() {
        return Err(SucceedError::OtherIdentity);
    }
    Ok(identity)
}

fn open(settings: &Settings, card: &Card, origin: &LogOrigin) -> Result<Store, SucceedError> {
    let (backend, unit) = (Backend::of(settings), card.unit().clone());
    let open = OpenStore { backend, unit, origin: origin.clone() };
    open.open().map_err(|error| match error {
        StoreError::Files(FilesError::InUse { .. }) => SucceedError::Running,
        error => failed("store", error),
    })
}

struct Work<'a> {
    settings: &'a Settings,
    order: &'a Order,
    card: &'a Card,
    identity: &'a Identity,
    now: Timestamp,
}

impl Work<'_> {
    async fn perform(&self, old: &LogOrigin) -> Result<Succeeded, SucceedError> {
        let store = open(self.settings, self.card, old)?;
        let succession = self.ended(&store, old).await;
        // What was answered is durable; the rest of closing changes nothing.
        store.close().await;
        let succession = succession?;
        // With the new log open, receipts become leaves of that.
        let store = open(self.settings, self.card, &succession.new)?;
        let moved = store.move_leaves(old, succession.old.size, self.now).await;
        let cleared = store.clear_restored();
        store.close().await;
        let moved = moved.map_err(|error| failed("store", error))?;
        let number = self.write_card(&succession)?;
        cleared.map_err(|error| failed("store", error))?;
        Ok(Succeeded {
            end: succession.end(),
            old: succession.old,
            new: succession.new,
            moved,
            card: self.settings.keys.card.clone(),
            number,
        })
    }

    /// The succession of the old log: that of an attempt that was cut off, or a new one.
    async fn ended(&self, store: &Store, old: &LogOrigin) -> Result<Succession, SucceedError> {
        let in_store = |error: StoreError| failed("store", error);
        if store.succession(old).map_err(in_store)?.is_none() {
            self.is_needed(store, old)?;
            self.begin(store, old).await?;
        }
        let ended = store.succession(old).map_err(in_store)?;
        let ended = ended.ok_or_else(|| failed("store", "the succession is not there"))?;
        let signed = v1::Signed::decode(ended.succession);
        let signed = signed.map_err(|error| failed("store", error))?;
        let find = |id| {
            let key = self.card.key(v1::KeyKind::Signing, id)?;
            Some((self.card.unit().clone(), key.key))
        };
        Succession::open(&signed, find).map_err(|error| failed("succession", error))
    }

    /// A log that signs is not ended by mistake, and one that ended is not ended twice: two
    /// accounts of one log's end make every peer refuse both.
    fn is_needed(&self, store: &Store, old: &LogOrigin) -> Result<(), SucceedError> {
        if self.order.anyway {
            return Ok(());
        }
        let anchors = &self.settings.node.anchor_dir;
        let in_anchor = AnchorFile::of(anchors, old).later_generation();
        let in_anchor = in_anchor.map(|generation| LaterLog {
            peer: "the anchor".to_owned(),
            origin: LogOrigin { unit: old.unit.clone(), generation }.to_string(),
        });
        let mut by_peers = store.later_logs().map_err(|error| failed("store", error))?;
        let directory = Directory::load(store.clone(), self.card.clone());
        let peers = directory.map_err(|error| failed("directory", error))?.snapshot();
        // The word of a unit that an operator suspended or removed since stands in nobody's way.
        by_peers.retain(|later| {
            later.peer.parse().is_ok_and(|unit: UnitId| peers.verified(&unit).is_some())
        });
        if let Some(later) = in_anchor.into_iter().chain(by_peers).next() {
            return Err(SucceedError::OldCard { card: old.clone(), later });
        }
        let keys = KeyStore::open(&self.settings.keys.dir, old.generation);
        let signer = Arc::new(keys.map_err(|error| failed("keys", error))?.signer().clone());
        let opened = Tlog::open(store.clone(), signer, Some(anchors));
        let opened = opened.map_err(|error| failed("log", error))?;
        match opened.tlog.hold() {
            Some(Hold::Unreadable(anchor)) => {
                Err(SucceedError::Anchor { origin: old.clone(), anchor })
            }
            Some(_) => Ok(()),
            None => Err(SucceedError::Healthy(old.clone())),
        }
    }

    /// The new log's key, the signed succession, the event.
    async fn begin(&self, store: &Store, old: &LogOrigin) -> Result<(), SucceedError> {
        let in_keys = |error| failed("keys", error);
        let dir = &self.settings.keys.dir;
        let keys = KeyStore::open(dir, old.generation).map_err(in_keys)?;
        let anchor = AnchorFile::of(&self.settings.node.anchor_dir, old);
        let later = anchor.later_generation().unwrap_or(0).max(old.generation);
        let new = LogOrigin { unit: old.unit.clone(), generation: later + 1 };
        let new_key = KeyStore::make_log_key(dir, new.generation).map_err(in_keys)?;
        let closing = closing(store, old)?;
        let claims = claims(store, &anchor, &closing, &old.unit)?;
        let signer = keys.signer();
        let key_id = signer.key_id(KeyUse::Succession);
        let raw = v1::LogSuccession {
            version: 1,
            old_origin: old.to_string(),
            old_size: closing.size,
            old_root: Bytes::copy_from_slice(closing.root.as_bytes()),
            claims,
            new_origin: new.to_string(),
            new_key_id: Bytes::copy_from_slice(new_key.public().id().as_bytes()),
            reason: self.order.reason.trim().to_owned(),
            at_ms: self.now.as_millis(),
            signer: Some(v1::Signer {
                unit: old.unit.to_string(),
                key_id: Bytes::copy_from_slice(key_id.as_bytes()),
                algorithm: v1::Algorithm::Ed25519.into(),
                epoch: signer.epoch(KeyUse::Succession),
            }),
            extensions: Vec::new(),
        };
        let unsigned = Unsigned::new(&raw, key_id);
        let signature = signer.sign(KeyUse::Succession, unsigned.input()).await;
        let signed = unsigned.signed(signature.map_err(|error| failed("keys", error))?);
        let key = signer.public(KeyUse::Succession);
        let checked = Succession::open(&signed, |_| Some((old.unit.clone(), key)));
        let checked = checked.map_err(|error| failed("succession", error))?;
        // The same size and root were signed before: this signature says nothing new.
        let text = closing.text();
        let signature = signer.sign(KeyUse::Checkpoint, text.as_bytes()).await;
        let signature = signature.map_err(|error| failed("keys", error))?;
        let (size, root) = (closing.size, closing.root);
        let note = closing.finish(signer.public(KeyUse::Checkpoint), signature);
        let note = note.map_err(|error| failed("keys", error))?.to_string();
        let root = Bytes::copy_from_slice(root.as_bytes());
        let succession = NewSuccession {
            closing: CheckpointRecord { note, root, size },
            origin: new,
            succession: signed.encode_to_vec().into(),
            leaf_hash: checked.leaf_hash(),
            by: self.order.by.iter().map(|by| by.trim().to_owned()).collect(),
        };
        let stored = store.succeed_log(succession, self.now).await;
        stored.map_err(|error| failed("store", error))
    }

    /// The card with the old log closed and the new one open.
    fn write_card(&self, succession: &Succession) -> Result<u64, SucceedError> {
        let mut card = self.card.value().clone();
        card.number += 1;
        card.issued_at_ms = self.now.as_millis();
        let mut key = None;
        let old = succession.old.origin.to_string();
        for log in card.logs.iter_mut().filter(|log| log.origin == old) {
            log.state = v1::LogState::Closed.into();
            log.closed_size = succession.end();
            key.clone_from(&log.key);
        }
        let generation = succession.new.generation;
        let public = KeyStore::make_log_key(&self.settings.keys.dir, generation)
            .map_err(|error| failed("keys", error))?
            .public();
        let key = key.map(|old| v1::PublicKey {
            epoch: generation,
            public_key: Bytes::copy_from_slice(public.as_bytes()),
            ..old
        });
        card.logs.push(v1::CardLog {
            origin: succession.new.to_string(),
            key,
            state: v1::LogState::Open.into(),
            closed_size: 0,
            succession: Some(succession.signed().clone()),
        });
        let unsigned = Unsigned::new(&card, self.identity.public().id());
        let signature = self.identity.sign(unsigned.input());
        let signed = unsigned.signed(signature);
        // What is written is what a peer will read.
        let checked = Card::open(&signed).map_err(|error| failed("card", error))?;
        let path = &self.settings.keys.card;
        files::replace(path, &Card::to_file(&signed), CARD_MODE)
            .map_err(|error| failed("card", error))?;
        Ok(checked.number())
    }
}

/// The largest checkpoint that this store knows to have signed and still bears out.
fn closing(store: &Store, origin: &LogOrigin) -> Result<Checkpoint, SucceedError> {
    let anchor = store.anchor().map_err(|error| failed("store", error))?;
    let intact = anchor.filter(|(size, root)| {
        let here = store.read(|view| root_at(*size, &Hashes::of(view, origin)));
        here.ok() == Some(*root)
    });
    let (size, root) = intact.unwrap_or((0, empty_root()));
    Ok(Checkpoint { origin: origin.clone(), size, root })
}

/// What others hold beyond that, the largest first; and our own anchor, when it is ahead as well.
fn claims(
    store: &Store,
    anchor: &AnchorFile,
    closing: &Checkpoint,
    unit: &UnitId,
) -> Result<Vec<v1::LogClaim>, SucceedError> {
    let kept = store.claims().map_err(|error| failed("store", error))?;
    let mut claims: Vec<(u64, relay_proto::ids::Digest, String)> =
        kept.into_iter().map(|claim| (claim.size, claim.root, claim.peer)).collect();
    // One that cannot be read says nothing.
    if let Ok(Some((size, root))) = anchor.read()
        && (size, root) != (closing.size, closing.root)
    {
        claims.push((size, root, unit.to_string()));
    }
    claims.sort_by_key(|claim| std::cmp::Reverse(claim.0));
    claims.truncate(limits::SUCCESSION_CLAIMS_MAX);
    let each = claims.into_iter().map(|(size, root, peer)| v1::LogClaim {
        peer,
        size,
        root: Bytes::copy_from_slice(root.as_bytes()),
    });
    Ok(each.collect())
}

impl fmt::Display for Succeeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (old, new, card) = (&self.old.origin, &self.new, self.card.display());
        writeln!(f, "{old} ended: {} receipts of it are left here", self.old.size)?;
        if self.end > self.old.size {
            writeln!(f, "  others hold what it signed up to {}", self.end)?;
        }
        writeln!(f, "{new} begins with {} receipts stated again", self.moved)?;
        writeln!(f, "  card {} is in {card}", self.number)?;
        writeln!(f)?;
        writeln!(
            f,
            "Take the identity key away again. Start the node. Then send the card to every"
        )?;
        writeln!(f, "peer and telephone: each runs")?;
        writeln!(f, "      relay-cli peer add {}.relaycard", old.unit)?;
        write!(f, "      relay-cli peer rollback-accept {} --by NAME", old.unit)
    }
}

fn failed(
    what: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> SucceedError {
    SucceedError::Failed { what, source: source.into() }
}

const OFFICERS_MAX: usize = 8;

/// A card is for everybody.
const CARD_MODE: u32 = 0o644;
