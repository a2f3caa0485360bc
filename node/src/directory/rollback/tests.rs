//! Which newer cards of a peer are taken, wait for an operator's word, or are refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey};
use prost::Message as _;
use relay_proto::{
    card::Card,
    ids::{Digest, UnitId},
    keys::{KeyId, PublicKey},
    reason::Reason,
    signed::{Signable, Unsigned},
    timestamp::Timestamp,
    v1,
};

use crate::{
    directory::{Directory, DirectoryError, Heard, Peer, Trust},
    store::{
        Backend, OpenStore, PeerRequest, Store, create, journal::SimDisk, records::PeerRecord,
        space::ReserveSettings,
    },
};

fn now() -> Timestamp {
    "2026-03-02T08:15:00Z".parse().unwrap()
}

fn secret(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn id(seed: u8) -> KeyId {
    PublicKey::from_bytes(secret(seed).verifying_key().as_bytes()).unwrap().id()
}

fn public(kind: v1::KeyKind, seed: u8) -> v1::PublicKey {
    v1::PublicKey {
        kind: kind.into(),
        algorithm: v1::Algorithm::Ed25519.into(),
        epoch: 1,
        public_key: Bytes::copy_from_slice(secret(seed).verifying_key().as_bytes()),
        not_before_ms: 1_700_000_000_000,
        not_after_ms: 1_900_000_000_000,
        status: v1::KeyStatus::Active.into(),
        ..Default::default()
    }
}

fn signer(unit: &str, seed: u8) -> Option<v1::Signer> {
    Some(v1::Signer {
        unit: unit.to_owned(),
        key_id: Bytes::copy_from_slice(id(seed).as_bytes()),
        algorithm: v1::Algorithm::Ed25519.into(),
        epoch: 1,
    })
}

fn sign(value: &impl Signable, seed: u8) -> v1::Signed {
    let unsigned = Unsigned::new(value, id(seed));
    let signature = secret(seed).sign(unsigned.input()).to_bytes();
    unsigned.signed(signature)
}

/// A unit of the tests: its keys are made of seeds from `base` on: identity, signing, transport,
/// then one of each log.
#[derive(Clone, Copy)]
struct Unit {
    name: &'static str,
    base: u8,
}

const OURS: Unit = Unit { name: "xa.ncu", base: 10 };
const THEIRS: Unit = Unit { name: "xb.ncu", base: 40 };
const OTHER: Unit = Unit { name: "xc.ncu", base: 70 };

impl Unit {
    fn id(self) -> UnitId {
        self.name.parse().unwrap()
    }

    fn log_seed(self, generation: u8) -> u8 {
        self.base + 3 + generation
    }

    /// A log of a generation that goes on.
    fn open(self, generation: u8) -> v1::CardLog {
        v1::CardLog {
            origin: format!("{}/log/{generation}", self.name),
            key: Some(public(v1::KeyKind::Log, self.log_seed(generation))),
            state: v1::LogState::Open.into(),
            closed_size: 0,
            succession: None,
        }
    }

    fn closed(self, generation: u8, closed_size: u64) -> v1::CardLog {
        let state = v1::LogState::Closed.into();
        v1::CardLog { state, closed_size, ..self.open(generation) }
    }

    /// One that goes on after another, which ended at this size.
    fn after(self, old: u8, old_size: u64, new: u8) -> v1::CardLog {
        let succession = v1::LogSuccession {
            version: 1,
            old_origin: format!("{}/log/{old}", self.name),
            old_size,
            old_root: Bytes::from_static(&[6; 32]),
            claims: Vec::new(),
            new_origin: format!("{}/log/{new}", self.name),
            new_key_id: Bytes::copy_from_slice(id(self.log_seed(new)).as_bytes()),
            reason: "the backup of the night".to_owned(),
            at_ms: now().as_millis(),
            signer: signer(self.name, self.base + 1),
            extensions: Vec::new(),
        };
        let succession = Some(sign(&succession, self.base + 1));
        v1::CardLog { succession, ..self.open(new) }
    }

    fn card(self, number: u64, logs: &[v1::CardLog]) -> Card {
        self.card_with(number, logs, |_| {})
    }

    fn card_with(
        self,
        number: u64,
        logs: &[v1::CardLog],
        change: impl FnOnce(&mut v1::Card),
    ) -> Card {
        let mut card = v1::Card {
            version: 1,
            unit: self.name.to_owned(),
            number,
            issued_at_ms: now().as_millis(),
            names: vec![v1::CardName { language: "en".into(), name: self.name.into() }],
            phone_24x7: "+1-202-555-0143".to_owned(),
            identity_key: Some(public(v1::KeyKind::Identity, self.base)),
            keys: vec![public(v1::KeyKind::Signing, self.base + 1)],
            logs: logs.to_vec(),
            nodes: vec![v1::CardNode {
                name: "a".to_owned(),
                addresses: Vec::new(),
                transport_keys: vec![public(v1::KeyKind::Transport, self.base + 2)],
            }],
            signer: signer(self.name, self.base),
            ..Default::default()
        };
        change(&mut card);
        Card::open(&sign(&card, self.base)).unwrap()
    }
}

fn request(n: u64) -> PeerRequest {
    let key = *Digest::of(&n.to_be_bytes()).as_bytes();
    PeerRequest { key, content: Digest::of(b"accept") }
}

/// A directory on a store of its own.
struct Desk {
    directory: Directory,
    store: Store,
}

impl Desk {
    fn new() -> Self {
        let (disk, reserve) = (SimDisk::new(1), ReserveSettings::NONE);
        let backend = Backend::Memory { disk, sync_time: Duration::from_millis(1), reserve };
        let unit = OURS.id();
        create(&backend, &unit, [7; 16], now()).unwrap();
        let origin = unit.log_origin(1);
        let store = OpenStore { backend, unit, origin }.open().unwrap();
        let own = OURS.card(1, &[OURS.open(1)]);
        Self { directory: Directory::load(store.clone(), own).unwrap(), store }
    }

    async fn add(&self, card: &Card) -> Result<Peer, DirectoryError> {
        self.directory.add(&Card::to_file(card.signed()), now()).await
    }

    /// Adds a card and compares it.
    async fn trust(&self, card: &Card) -> Peer {
        let peer = self.add(card).await.unwrap();
        let heard = Heard::All(self.directory.fingerprint(&peer).concat());
        self.directory.verify(card.unit(), &heard, "Desk 1", now()).await.unwrap()
    }

    /// A request of its own.
    async fn accept(&self, unit: Unit) -> Result<Peer, DirectoryError> {
        let request = request(self.store.log_head().seq);
        self.directory.accept_rollback(&unit.id(), "Desk 1", request, now()).await
    }

    async fn stop(self) {
        self.store.close().await;
    }
}

/// Without the unit's signed account of how the open log ended no newer card brings another log:
/// neither in its place, nor beside it, nor beside a succession, nor by opening one again that
/// ended. What it has stays.
#[tokio::test(start_paused = true)]
async fn no_card_moves_to_another_log_by_itself() {
    let unit = THEIRS;
    let (one, two, three) = (unit.open(1), unit.open(2), unit.open(3));
    let ended = || unit.closed(1, 100);
    let next = || unit.after(1, 100, 2);
    // The same log under another key.
    let other_key = || Some(public(v1::KeyKind::Log, unit.log_seed(9)));
    let from_one: [&[v1::CardLog]; 10] = [
        &[v1::CardLog { key: other_key(), ..unit.open(1) }],
        // In its place.
        &[ended(), two.clone()],
        std::slice::from_ref(&two),
        // Beside it, open or ended.
        &[one.clone(), two.clone()],
        &[two.clone(), one.clone()],
        &[one.clone(), unit.closed(2, 1000)],
        // Beside the succession: without a word, or as a second heir.
        &[ended(), next(), three.clone()],
        &[ended(), next(), unit.after(1, 100, 3)],
        // It ends, and nothing follows.
        &[ended()],
        &[],
    ];
    let then_two = [unit.closed(1, 100), unit.after(1, 100, 2)];
    let from_two: [&[v1::CardLog]; 7] = [
        // The one that ended is not told any more, or under another key.
        &[next()],
        &[v1::CardLog { key: other_key(), ..ended() }, next()],
        // The one that ended goes on, or ended elsewhere.
        &[one.clone(), two.clone()],
        &[unit.closed(1, 1000), two.clone()],
        &[one, unit.closed(2, 5), unit.after(2, 5, 3)],
        // A second heir of the one that ended.
        &[ended(), two.clone(), unit.after(1, 100, 3)],
        &[ended(), two.clone(), three],
    ];
    for (known, table) in [(&[unit.open(1)][..], &from_one[..]), (&then_two[..], &from_two[..])] {
        for (row, logs) in table.iter().enumerate() {
            let desk = Desk::new();
            let before = desk.trust(&unit.card(1, known)).await;
            for suspended in [false, true] {
                if suspended {
                    desk.directory.suspend(&unit.id(), "Desk 1", "lost", now()).await.unwrap();
                }
                let refused = desk.add(&unit.card(2, logs)).await.unwrap_err();
                assert!(matches!(refused, DirectoryError::NoSuccession), "row {row}: {refused}");
                assert_eq!(refused.reason(), Reason::BadCard);
                let peer = desk.directory.snapshot().peer(&unit.id()).cloned().unwrap();
                assert_eq!(peer.card.signed(), before.card.signed(), "row {row}");
                assert!(peer.next_card.is_none(), "row {row}");
            }
            desk.stop().await;
        }
    }
}

/// With it the card waits for the operator's word; so do two successions at once, of which each
/// begins where the last one ended. All else of a card changes without a word.
#[tokio::test(start_paused = true)]
async fn a_succession_waits_for_a_word() {
    let unit = THEIRS;
    let one_step = [unit.closed(1, 100), unit.after(1, 100, 2)];
    let two_steps = [unit.closed(1, 100), unit.after(1, 100, 2), unit.after(2, 7, 3)];
    let [first, second, third] = two_steps;
    let second = v1::CardLog { state: v1::LogState::Closed.into(), closed_size: 7, ..second };
    for (logs, lost) in [(&one_step[..], 1), (&[first, second, third][..], 2)] {
        let desk = Desk::new();
        desk.trust(&unit.card(1, &[unit.open(1)])).await;
        assert!(matches!(desk.accept(unit).await, Err(DirectoryError::NoRollback)));
        let other_phone = |card: &mut v1::Card| card.phone_24x7 = "+1-202-555-0199".to_owned();
        let taken = desk.add(&unit.card_with(2, &[unit.open(1)], other_phone)).await.unwrap();
        assert_eq!((taken.card.number(), taken.next_card.is_none()), (2, true));
        let waits = desk.add(&unit.card(3, logs)).await.unwrap();
        assert_eq!((waits.card.number(), waits.next_card.unwrap().number()), (2, 3));
        let accepted = desk.accept(unit).await.unwrap();
        assert_eq!((accepted.card.number(), accepted.next_card.is_none()), (3, true));
        assert_eq!(desk.directory.lost(&unit.id()).unwrap().len(), lost);
        desk.stop().await;
    }
}

/// What nobody compared yet may bring any card; it is compared with that.
#[tokio::test(start_paused = true)]
async fn an_unverified_card_is_replaced() {
    let (desk, unit) = (Desk::new(), THEIRS);
    desk.add(&unit.card(1, &[unit.open(1)])).await.unwrap();
    let taken = desk.add(&unit.card(2, &[unit.open(1), unit.open(2)])).await.unwrap();
    assert_eq!((taken.card.number(), taken.next_card.is_none()), (2, true));
    // From then on both go on, and no third one comes.
    desk.trust(&unit.card(2, &[unit.open(1), unit.open(2)])).await;
    let third = unit.card(3, &[unit.open(1), unit.open(2), unit.open(3)]);
    assert!(matches!(desk.add(&third).await, Err(DirectoryError::NoSuccession)));
    desk.stop().await;
}

/// What is done is taken off; a second loss that was accepted meanwhile stays to be done.
#[tokio::test(start_paused = true)]
async fn only_what_was_done_is_done() {
    let (desk, unit) = (Desk::new(), THEIRS);
    let first = [unit.closed(1, 100), unit.after(1, 100, 2)];
    let second = [unit.closed(1, 100), unit.closed(2, 7), unit.after(2, 7, 3)];
    desk.trust(&unit.card(1, &[unit.open(1)])).await;
    desk.add(&unit.card(2, &first)).await.unwrap();
    desk.accept(unit).await.unwrap();
    let done = desk.directory.lost(&unit.id()).unwrap();
    desk.add(&unit.card(3, &second)).await.unwrap();
    desk.accept(unit).await.unwrap();
    assert_eq!(desk.directory.lost(&unit.id()).unwrap().len(), 2);
    desk.directory.lost_is_done(&unit.id(), done, now()).await.unwrap();
    let left = desk.directory.lost(&unit.id()).unwrap();
    let left: Vec<(&str, u64)> =
        left.iter().map(|lost| (lost.old_origin.as_str(), lost.from)).collect();
    assert_eq!(left, [("xb.ncu/log/2", 7)]);
    assert!(desk.directory.snapshot().peer(&unit.id()).unwrap().has_lost);
    desk.stop().await;
}

/// A card with a key of another unit's, which is its working key `seed`.
fn claiming(unit: Unit, number: u64, logs: &[v1::CardLog], seed: u8) -> Card {
    let claim = public(v1::KeyKind::Transport, seed);
    unit.card_with(number, logs, |card| card.nodes[0].transport_keys.push(claim))
}

/// Every card that was counted on stays, also when its peer was removed, our own as well: what was
/// stated under it outlives it. One that nobody compared does not.
#[tokio::test(start_paused = true)]
async fn cards_that_were_counted_on_are_kept() {
    let (desk, unit) = (Desk::new(), THEIRS);
    let logs = [unit.open(1)];
    let renamed = |number| unit.card_with(number, &logs, |card| card.nodes[0].name = "b".into());
    let numbers = |cards: &[Card]| cards.iter().map(Card::number).collect::<Vec<_>>();
    desk.add(&unit.card(1, &logs)).await.unwrap();
    desk.add(&unit.card(2, &logs)).await.unwrap();
    assert_eq!(numbers(&desk.directory.cards(&unit.id()).unwrap()), [2]);
    let peer = desk.trust(&unit.card(2, &logs)).await;
    assert!(peer.earlier.is_empty());
    let peer = desk.add(&renamed(3)).await.unwrap();
    assert_eq!((peer.card.number(), numbers(&peer.earlier)), (3, vec![2]));
    assert_eq!(numbers(&desk.directory.cards(&unit.id()).unwrap()), [3, 2]);
    desk.directory.remove(&unit.id(), now()).await.unwrap();
    assert_eq!(numbers(&desk.directory.cards(&unit.id()).unwrap()), [3, 2]);

    // Of our own the same; once each, and whatever the directory is loaded with.
    for _ in 0..2 {
        desk.directory.keep_own(now()).await.unwrap();
    }
    let seq = desk.store.log_head().seq;
    desk.directory.keep_own(now()).await.unwrap();
    assert_eq!(desk.store.log_head().seq, seq);
    let own = OURS.card(2, &[OURS.open(1)]);
    let directory = Directory::load(desk.store.clone(), own).unwrap();
    directory.keep_own(now()).await.unwrap();
    assert_eq!(numbers(&directory.cards(&OURS.id()).unwrap()), [2, 1]);
    desk.stop().await;
}

/// A card that waits has its keys: nobody else may name them; and when another unit has one of them
/// by the time that the operator accepts, it is not taken.
#[tokio::test(start_paused = true)]
async fn a_waiting_card_claims_its_keys() {
    let (desk, unit) = (Desk::new(), THEIRS);
    let next = [unit.closed(1, 100), unit.after(1, 100, 2)];
    desk.trust(&unit.card(1, &[unit.open(1)])).await;
    desk.add(&claiming(unit, 2, &next, 99)).await.unwrap();
    for seed in [99, unit.log_seed(2)] {
        let thief = claiming(OTHER, 1, &[OTHER.open(1)], seed);
        let refused = desk.add(&thief).await.unwrap_err();
        assert!(matches!(&refused, DirectoryError::ForeignKey(of) if of == unit.name), "{refused}");
    }
    // In a directory of before such a card may stand all the same.
    let thief = claiming(OTHER, 1, &[OTHER.open(1)], 99);
    let record = PeerRecord {
        card: thief.signed().encode_to_vec().into(),
        trust: Trust::Verified.number(),
        unit: OTHER.name.to_owned(),
        ..Default::default()
    };
    desk.store.change_peer(OTHER.id(), now(), |_| Ok(record)).await.unwrap();
    let own = OURS.card(1, &[OURS.open(1)]);
    let directory = Directory::load(desk.store.clone(), own).unwrap();
    let accepted = directory.accept_rollback(&unit.id(), "Desk 1", request(1), now()).await;
    let refused = accepted.unwrap_err();
    assert!(matches!(&refused, DirectoryError::ForeignKey(of) if of == OTHER.name), "{refused}");
    let peer = directory.snapshot().peer(&unit.id()).cloned().unwrap();
    assert_eq!((peer.card.number(), peer.next_card.unwrap().number()), (1, 2));
    desk.stop().await;
}

/// Numbers only grow, also beyond a card that waits: nothing older takes its place, nor the known
/// one once more.
#[tokio::test(start_paused = true)]
async fn nothing_older_than_a_waiting_card_is_taken() {
    let (desk, unit) = (Desk::new(), THEIRS);
    let next = [unit.closed(1, 100), unit.after(1, 100, 2)];
    let known = unit.card(1, &[unit.open(1)]);
    desk.trust(&known).await;
    desk.add(&unit.card(3, &next)).await.unwrap();
    for older in [known, unit.card(2, &[unit.open(1)]), unit.card(3, &[unit.open(1)])] {
        let refused = desk.add(&older).await.unwrap_err();
        assert!(matches!(refused, DirectoryError::OlderCard), "{refused}");
    }
    // The same again, or a newer one, is taken.
    for number in [3, 4] {
        let waits = desk.add(&unit.card(number, &next)).await.unwrap();
        assert_eq!(waits.next_card.unwrap().number(), number);
    }
    assert_eq!(desk.accept(unit).await.unwrap().card.number(), 4);
    desk.stop().await;
}

/// A request has its effect once: again it changes nothing, also when another card waits by then;
/// with other content, or anew while nothing waits, it is refused.
#[tokio::test(start_paused = true)]
async fn a_word_is_given_once() {
    let (desk, unit) = (Desk::new(), THEIRS);
    let first = [unit.closed(1, 100), unit.after(1, 100, 2)];
    let second = [unit.closed(1, 100), unit.closed(2, 7), unit.after(2, 7, 3)];
    let accept = |by: &'static str, request| {
        let directory = desk.directory.clone();
        async move { directory.accept_rollback(&unit.id(), by, request, now()).await }
    };
    desk.trust(&unit.card(1, &[unit.open(1)])).await;
    assert!(matches!(accept("Desk 1", request(1)).await, Err(DirectoryError::NoRollback)));
    desk.add(&unit.card(2, &first)).await.unwrap();
    let taken = accept("Desk 1", request(1)).await.unwrap();
    assert_eq!((taken.card.number(), &*taken.rollback_by), (2, "Desk 1"));
    let seq = desk.store.log_head().seq;
    let again = accept("Desk 1", request(1)).await.unwrap();
    assert_eq!(again.card.number(), 2);
    assert_eq!(desk.store.log_head().seq, seq);
    let other = PeerRequest { content: Digest::of(b"other"), ..request(1) };
    let refused = accept("Desk 2", other).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::RequestIdConflict);
    assert!(matches!(accept("Desk 1", request(2)).await, Err(DirectoryError::NoRollback)));

    desk.add(&unit.card(3, &second)).await.unwrap();
    let again = accept("Desk 1", request(1)).await.unwrap();
    assert_eq!((again.card.number(), again.next_card.unwrap().number()), (2, 3));
    let taken = accept("Desk 2", request(2)).await.unwrap();
    assert_eq!((taken.card.number(), &*taken.rollback_by), (3, "Desk 2"));
    desk.stop().await;
}
