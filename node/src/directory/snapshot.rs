//! One state of the directory: peers by unit, keys by id, nodes by transport key.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use prost::Message;
use relay_proto::{
    card::{Card, WorkingKey},
    ids::{NodeId, UnitId},
    keys::KeyId,
    reason::Reason,
    timestamp::Timestamp,
    v1,
};

use crate::store::records::PeerRecord;

/// How far a peer is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The card was imported, not compared.
    Unverified,
    /// Compared by telephone.
    Verified,
    /// Stopped by the operator.
    Suspended,
}

impl Trust {
    /// As in the store and on the API.
    pub fn number(self) -> u32 {
        match self {
            Self::Unverified => 1,
            Self::Verified => 2,
            Self::Suspended => 3,
        }
    }

    /// Out of a record; what is not known there is not trusted.
    pub fn from_number(number: u32) -> Self {
        match number {
            2 => Self::Verified,
            3 => Self::Suspended,
            _ => Self::Unverified,
        }
    }

    /// Why nothing is exchanged with a unit of this trust.
    pub fn refusal(self) -> Option<Reason> {
        match self {
            Self::Verified => None,
            Self::Unverified => Some(Reason::PeerUnverified),
            Self::Suspended => Some(Reason::PeerSuspended),
        }
    }
}

/// A unit of the directory.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its card.
    pub card: Arc<Card>,
    /// Cards under the same identity key that were counted on before: what was stated under them
    /// still counts.
    pub earlier: Arc<[Card]>,
    /// Whether it is trusted.
    pub trust: Trust,
    /// Who compared the number.
    pub verified_by: String,
    /// When.
    pub verified_at: Option<Timestamp>,
    /// While it is suspended.
    pub suspended: Option<Suspension>,
    /// A newer card that says that the unit's log lost leaves; it waits for an operator's word.
    pub next_card: Option<Arc<Card>>,
    /// Who accepted the last such card.
    pub rollback_by: String,
    /// Messages that its log lost are not all queued again yet.
    pub has_lost: bool,
}

/// Who stopped the exchange with a unit, when, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// Who.
    pub by: String,
    /// When.
    pub at: Option<Timestamp>,
    /// Why.
    pub why: String,
}

/// One state of the directory.
#[derive(Debug, Default)]
pub struct Snapshot {
    peers: BTreeMap<UnitId, Peer>,
    signing: BTreeMap<KeyId, (UnitId, WorkingKey)>,
    transport: BTreeMap<[u8; 44], NodeId>,
}

impl Snapshot {
    /// From the store's records, and the cards of each unit that were ever counted on. A record
    /// that does not verify any more is left out: it was damaged.
    pub(super) fn build<E>(
        own: &Card,
        records: &[PeerRecord],
        held: impl Fn(&UnitId) -> Result<Vec<Bytes>, E>,
    ) -> Result<Self, E> {
        let mut snapshot = Self::default();
        snapshot.take_signing_keys(own);
        for record in records {
            let Some(card) = card_of(record) else {
                tracing::error!("a card of the directory does not verify; its unit is left out");
                continue;
            };
            let trust = Trust::from_number(record.trust);
            // Keys of units that are not verified do not exist for anybody else.
            if trust == Trust::Verified {
                snapshot.take_signing_keys(&card);
                for node in card.nodes() {
                    // A key that was revoked or retired opens no session.
                    let active = |key: &&WorkingKey| key.status == v1::KeyStatus::Active;
                    for key in node.transport_keys.iter().filter(active) {
                        snapshot.transport.insert(key.key.spki(), node.id.clone());
                    }
                }
            }
            let peer = Peer {
                trust,
                verified_by: record.verified_by.clone(),
                verified_at: Timestamp::from_wire(record.verified_at_ms),
                suspended: (trust == Trust::Suspended).then(|| Suspension {
                    by: record.suspended_by.clone(),
                    at: Timestamp::from_wire(record.suspended_at_ms),
                    why: record.suspended_why.clone(),
                }),
                next_card: card_in(&record.next_card).map(Arc::new),
                rollback_by: record.rollback_by.clone(),
                has_lost: !record.lost.is_empty(),
                earlier: earlier(&card, &held(card.unit())?),
                card: Arc::new(card),
            };
            snapshot.peers.insert(peer.card.unit().clone(), peer);
        }
        Ok(snapshot)
    }

    /// All peers, by unit.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values()
    }

    /// One peer.
    pub fn peer(&self, unit: &UnitId) -> Option<&Peer> {
        self.peers.get(unit)
    }

    /// One peer, if it is verified.
    pub fn verified(&self, unit: &UnitId) -> Option<&Peer> {
        self.peers.get(unit).filter(|peer| peer.trust == Trust::Verified)
    }

    /// The signing key of a key id: our own or a verified peer's.
    pub fn signing_key(&self, id: KeyId) -> Option<&(UnitId, WorkingKey)> {
        self.signing.get(&id)
    }

    /// The verified peer's node of a transport key.
    pub fn node_of(&self, spki: &[u8]) -> Option<&NodeId> {
        self.transport.get(<&[u8; 44]>::try_from(spki).ok()?)
    }

    fn take_signing_keys(&mut self, card: &Card) {
        for key in card.keys().iter().filter(|key| key.kind == v1::KeyKind::Signing) {
            self.signing.insert(key.key.id(), (card.unit().clone(), *key));
        }
    }
}

/// Those of the cards held of a unit that its present one replaced.
fn earlier(card: &Card, held: &[Bytes]) -> Arc<[Card]> {
    let held = held.iter().filter_map(card_in);
    let replaced = |old: &Card| old.identity() == card.identity() && old.number() < card.number();
    held.filter(replaced).collect()
}

/// The card of a record, when it verifies.
pub(super) fn card_of(record: &PeerRecord) -> Option<Card> {
    card_in(&record.card)
}

/// The same of its bytes.
pub(super) fn card_in(bytes: &Bytes) -> Option<Card> {
    let signed = v1::Signed::decode(bytes.clone()).ok()?;
    Card::open(&signed).ok()
}
