//! The directory as the link's peer book: pins and addresses of verified peers, nothing of anybody
//! else.

use std::net::{IpAddr, SocketAddr};

use relay_proto::{ids::UnitId, v1::KeyStatus};

use super::{DialTarget, KeyExchange, PeerBook, PeerNode};
use crate::directory::Directory;

impl PeerBook for Directory {
    fn by_spki(&self, spki: &[u8]) -> Option<PeerNode> {
        let node = self.snapshot().node_of(spki)?.clone();
        Some(PeerNode { node, key_exchange: KeyExchange::Prefer })
    }

    fn addresses(&self, unit: &UnitId) -> Vec<DialTarget> {
        let snapshot = self.snapshot();
        let Some(peer) = snapshot.verified(unit) else { return Vec::new() };
        let targets = peer.card.nodes().iter().flat_map(|node| {
            let active = node.transport_keys.iter().filter(|k| k.status == KeyStatus::Active);
            let pins: Vec<Vec<u8>> = active.map(|key| key.key.spki().to_vec()).collect();
            node.addresses.iter().map(move |address| DialTarget {
                node: node.id.clone(),
                address: address.clone(),
                spki_pins: pins.clone(),
                key_exchange: KeyExchange::Prefer,
            })
        });
        targets.collect()
    }

    fn unit_at(&self, address: SocketAddr) -> Option<UnitId> {
        let snapshot = self.snapshot();
        let units = snapshot.peers().map(|peer| peer.card.unit());
        let verified = units.filter_map(|unit| snapshot.verified(unit));
        let is_there = |text: &String| text.parse() == Ok(address);
        let mut at = verified.filter(|peer| {
            peer.card.nodes().iter().any(|node| node.addresses.iter().any(is_there))
        });
        at.next().map(|peer| peer.card.unit().clone())
    }

    fn names(&self, address: IpAddr) -> bool {
        let snapshot = self.snapshot();
        let cards = snapshot.peers().map(|peer| &peer.card);
        let verified = cards.filter(|card| snapshot.verified(card.unit()).is_some());
        let mut addresses =
            verified.flat_map(|card| card.nodes()).flat_map(|node| node.addresses.iter());
        addresses.any(|text| {
            let stated = text.parse::<SocketAddr>();
            stated.is_ok_and(|stated| stated.ip().to_canonical() == address.to_canonical())
        })
    }
}
