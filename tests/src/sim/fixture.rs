//! What all seeds share: five units made by `init`, their stores with the others verified, drafts
//! to send.
//!
//! Making keys and comparing cards is slow and draws true random numbers, so it is done once; each
//! seed begins on a copy of the disks.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use ed25519_dalek::{
    Signer as _, SigningKey,
    pkcs8::{EncodePrivateKey as _, KeypairBytes, spki::der::pem::LineEnding},
};
use relay_node::{
    clock::{Clock, FollowingClock},
    config::{self, ClockSource, Settings},
    daemon::NodeParts,
    directory::{Directory, Heard},
    init::{InitOptions, People, init},
    link::Wire,
    store::{self, Backend, OpenStore, journal::SimDisk, space::ReserveSettings},
};
use relay_proto::{
    card::Card, file::MessageFile, ids::UnitId, keys::PublicKey, signed::Unsigned,
    timestamp::Timestamp, v1,
};

use super::{net::Net, rng::Rng};

/// Five units, ready to be started on copies of their disks.
pub struct Fixture {
    /// The units, by place.
    pub units: Vec<Unit>,
    /// An alert.
    pub alert: v1::Draft,
    /// A preservation request.
    pub request: v1::Draft,
    _dir: tempfile::TempDir,
}

/// One unit.
pub struct Unit {
    /// Its id.
    pub id: UnitId,
    /// Its card.
    pub card: Card,
    settings: Settings,
    /// By how many units know each other, from the first one on.
    disks: BTreeMap<usize, SimDisk>,
}

impl Fixture {
    /// Makes it. Within no runtime.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory for keys");
        let made = UNITS.iter().enumerate().map(|(place, unit)| make(dir.path(), place, unit));
        let mut units: Vec<Unit> = made.collect();
        let cards: Vec<Vec<u8>> =
            units.iter().map(|unit| Card::to_file(unit.card.signed())).collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            for (place, unit) in units.iter_mut().enumerate() {
                unit.introduce(place, &cards).await;
            }
        });
        let (alert, request) = (draft("alert.json"), draft("preservation.json"));
        Self { units, alert, request, _dir: dir }
    }
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new()
    }
}

impl Unit {
    /// A copy of its disk as `init` and the comparison of cards left it, of so many units.
    pub fn disk(&self, units: usize) -> SimDisk {
        self.disks.get(&units).expect("a number of units that the fixture has").fork()
    }

    /// What a node of this unit is started from.
    pub fn parts(
        &self,
        disk: &SimDisk,
        store: StoreFacts,
        clock: Clock,
        wire: Wire,
        seed: u64,
    ) -> NodeParts {
        let settings = self.settings.clone();
        let mut parts = NodeParts::from_settings(settings, clock).expect("keys and card of init");
        let sync_time = Duration::from_millis(store.sync_ms);
        let reserve = ReserveSettings { percent: 0, bytes_min: store.reserve };
        parts.backend = Backend::Memory { disk: disk.clone(), sync_time, reserve };
        parts.api = None;
        parts.anchors = None;
        parts.wire = Some(wire);
        let rng = Arc::new(std::sync::Mutex::new(Rng::new(seed, 7)));
        let mut link_seed = [0; 32];
        Rng::new(seed, 8).fill(&mut link_seed);
        parts.link.seed = Some(link_seed);
        parts.random = Arc::new(move |bytes| {
            rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner).fill(bytes);
        });
        parts
    }

    /// Makes its store, and disks on which it knows ever more others.
    async fn introduce(&mut self, place: usize, cards: &[Vec<u8>]) {
        let disk = SimDisk::new(place as u64);
        let (sync_time, reserve) = (Duration::from_millis(1), ReserveSettings::NONE);
        let backend = Backend::Memory { disk: disk.clone(), sync_time, reserve };
        store::create(&backend, &self.id, [1; 16], START).expect("an empty disk");
        let mut known = 0;
        for units in (UNITS_MIN..=cards.len()).filter(|units| *units > place) {
            let origin = self.card.logs().first().expect("a log").origin.clone();
            let open = OpenStore { backend: backend.clone(), unit: self.id.clone(), origin };
            let store = open.open().expect("a store that was just made");
            let directory = Directory::load(store.clone(), self.card.clone()).expect("good cards");
            let new = cards.iter().enumerate().take(units).skip(known);
            for (_, card) in new.filter(|(other, _)| *other != place) {
                let peer = directory.add(card, START).await.expect("a valid card");
                let heard = Heard::All(directory.fingerprint(&peer).concat());
                let unit = peer.card.unit().clone();
                directory.verify(&unit, &heard, "test", START).await.expect("equal digits");
            }
            store.close().await;
            self.disks.insert(units, disk.fork());
            known = units;
        }
    }
}

/// What a node's store is like.
#[derive(Debug, Clone, Copy)]
pub struct StoreFacts {
    /// Virtual milliseconds of a write and sync.
    pub sync_ms: u64,
    /// Bytes that are kept for a full disk.
    pub reserve: u64,
}

/// A clock that is right at the start of every run.
pub fn clock() -> (Clock, FollowingClock) {
    Clock::following(START)
}

fn make(base: &std::path::Path, place: usize, unit: &str) -> Unit {
    let dir = base.join(unit);
    let options = InitOptions {
        unit: unit.parse().expect("a unit id"),
        node: "a".to_owned(),
        dir: dir.clone(),
        listen: Net::address(place),
        advertise: vec![Net::address(place).to_string()],
        clock: ClockSource::Assumed,
        people: People {
            name: Some(format!("Unit {unit}")),
            phone: "+1-202-555-0100".to_owned(),
            email: Some(format!("poc@{unit}.example.org")),
            language: "en".to_owned(),
            hours: None,
            time_zone: Some("Europe/Paris".to_owned()),
        },
        law: Default::default(),
    };
    let made = init(&options, START, &|_, _, _, _| Ok(())).expect("a new node");
    let settings = config::load(&made.config()).expect("a good configuration");
    let keys = SeededKeys::write(&settings.keys.dir, place as u64);
    let card = std::fs::read(made.card()).expect("a card");
    let card = keys.card(Card::from_file(&card).expect("a valid card").value().clone());
    std::fs::write(made.card(), Card::to_file(card.signed())).expect("a card's file");
    Unit { id: card.unit().clone(), card, settings, disks: BTreeMap::new() }
}

/// Keys that follow from the unit's place: a seed gives the same digests, so the same order, in
/// every process.
struct SeededKeys {
    identity: SigningKey,
    signing: SigningKey,
    log: SigningKey,
    witness: SigningKey,
    transport: SigningKey,
}

impl SeededKeys {
    /// In place of those that `init` made.
    fn write(dir: &std::path::Path, place: u64) -> Self {
        let mut rng = Rng::new(place, 9);
        let file = |name: &str, text: &str| {
            std::fs::write(dir.join(name), text).expect("a key's file");
        };
        let mut key = |name: &str| {
            let mut secret_key = [0; 32];
            rng.fill(&mut secret_key);
            let pair = KeypairBytes { secret_key, public_key: None };
            let pem = pair.to_pkcs8_pem(LineEnding::LF).expect("a key fits PKCS#8");
            file(name, &pem);
            SigningKey::from_bytes(&secret_key)
        };
        let keys = Self {
            identity: key("identity.key"),
            signing: key("signing-1.key"),
            log: key("log-1.key"),
            witness: key("witness-1.key"),
            transport: key("transport-1.key"),
        };
        file("instance.id", &format!("{place:032x}\n"));
        file("quic-reset.key", &format!("{place:064x}"));
        keys
    }

    /// The card that `init` made, with these keys.
    fn card(&self, mut card: v1::Card) -> Card {
        let identity = PublicKey::from_bytes(self.identity.verifying_key().as_bytes());
        let identity = identity.expect("a key that is not weak").id();
        let put = |key: &mut v1::PublicKey, new: &SigningKey| {
            key.public_key = new.verifying_key().to_bytes().to_vec().into();
        };
        card.identity_key.iter_mut().for_each(|key| put(key, &self.identity));
        for key in &mut card.keys {
            let signs = key.kind() == v1::KeyKind::Signing;
            put(key, if signs { &self.signing } else { &self.witness });
        }
        card.logs.iter_mut().flat_map(|log| &mut log.key).for_each(|key| put(key, &self.log));
        let nodes = card.nodes.iter_mut().flat_map(|node| &mut node.transport_keys);
        nodes.for_each(|key| put(key, &self.transport));
        if let Some(signer) = &mut card.signer {
            signer.key_id = identity.as_bytes().to_vec().into();
        }
        let unsigned = Unsigned::new(&card, identity);
        let signature = self.identity.sign(unsigned.input()).to_bytes();
        Card::open(&unsigned.signed(signature)).expect("a card as init makes it")
    }
}

fn draft(name: &str) -> v1::Draft {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../config/demo").join(name);
    let text = std::fs::read_to_string(path).expect("a message file");
    let mut draft = MessageFile::parse(&text, START).expect("a good message file");
    // Any unit sends it to any other: what names one of them is left to the node.
    if let Some(payload) = &mut draft.payload {
        payload.from = String::new();
        payload.to = Vec::new();
    }
    draft
}

const UNITS: [&str; 5] = ["xa.cyber-poc", "xb.ncu", "xc.cyber-poc", "xd.cyber-poc", "xe.ncu"];

/// The fewest units that know each other.
pub const UNITS_MIN: usize = 3;

/// When every run begins: the 2nd of March 2026, 08:00 UTC.
pub const START: Timestamp = Timestamp::from_millis(1_772_438_400_000);
