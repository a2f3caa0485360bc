//! A small federation for tests: units with cards, keys from fixed seeds, and logs.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use ed25519_dalek::Signer as _;

use crate::{
    card::{Card, tests::public},
    envelope::{Header, NewHeader, Priority},
    ids::{Digest, LogOrigin, MessageId, NodeId, UnitId},
    payload::clear_bytes,
    reason::Reason,
    receipt::{Event, NewStatement, Statement},
    signed::tests::{key, sign, signer},
    timestamp::Timestamp,
    tlog::{Checkpoint, MemoryTree, SignedCheckpoint, inclusion_proof, path_to_wire, root_at},
    v1,
};

pub(crate) const SENT_AT: Timestamp = Timestamp::from_millis(1_772_438_400_000);

/// Identity key `seed`, signing key `seed + 1`, log key `seed + 2`, transport key `seed + 3`.
pub(crate) struct Unit {
    pub(crate) id: UnitId,
    pub(crate) node: NodeId,
    pub(crate) card: Card,
    pub(crate) log: MemoryTree,
    seed: u8,
}

impl Unit {
    pub(crate) fn new(name: &str, seed: u8) -> Self {
        let id: UnitId = name.parse().unwrap();
        let card = open_card(&raw_card(name, seed), seed);
        Self { node: NodeId::new(id.clone(), "a").unwrap(), id, card, log: MemoryTree::new(), seed }
    }

    pub(crate) fn origin(&self) -> LogOrigin {
        self.id.log_origin(1)
    }

    pub(crate) fn header(&self, to: &[&Unit]) -> Header {
        self.header_with(to, 1, self.seed + 1)
    }

    pub(crate) fn header_with(&self, to: &[&Unit], nonce: u8, seed: u8) -> Header {
        let to: Vec<UnitId> = to.iter().map(|unit| unit.id.clone()).collect();
        let (signing, public) = key(seed);
        let message_id = MessageId::new(SENT_AT, [nonce; 10]);
        let unsigned = NewHeader {
            message_id,
            from: &self.id,
            to: &to,
            profile: "budapest-247",
            priority: Priority::Urgent,
            created_at: SENT_AT,
            expires_at: Timestamp::from_millis(SENT_AT.as_millis() + 3_600_000),
            payload: &payload(&self.id, &to, &message_id),
            attachments: None,
            key_id: public.id(),
            epoch: 1,
        }
        .unsigned();
        let signature = signing.sign(unsigned.input()).to_bytes();
        Header::open(&unsigned.signed(signature), |_| Some((self.id.clone(), public))).unwrap()
    }

    /// A statement of this unit about a message; negative events get a reason.
    pub(crate) fn states(&self, event: Event, header: &Header, recipient: &Unit) -> Statement {
        self.new_statement(event, header, recipient).build().unwrap()
    }

    pub(crate) fn new_statement<'a>(
        &'a self,
        event: Event,
        header: &'a Header,
        recipient: &'a Unit,
    ) -> NewStatement<'a> {
        let at = Timestamp::from_millis(SENT_AT.as_millis() + 250);
        let salt = [self.seed; 16];
        let mut new = NewStatement::about(header, event, &self.node, at, synced(), salt);
        new.recipient = (!event.is_submission()).then_some(&recipient.id);
        new.reason = (!event.is_positive()).then_some(Reason::Busy);
        new.software = "relay/0.1.0";
        new
    }

    pub(crate) fn append(&mut self, statement: &Statement) -> u64 {
        self.log.append(statement.leaf_hash())
    }

    /// The checkpoint over the first `size` leaves.
    pub(crate) fn checkpoint_at(&self, size: u64) -> SignedCheckpoint {
        let root = root_at(size, &self.log).unwrap();
        sign_checkpoint(Checkpoint { origin: self.origin(), size, root }, self.seed + 2)
    }

    pub(crate) fn checkpoint(&self) -> SignedCheckpoint {
        self.checkpoint_at(self.log.size())
    }

    pub(crate) fn path(&self, index: u64) -> Vec<Digest> {
        inclusion_proof(index, self.log.size(), &self.log).unwrap()
    }

    /// Appends the statement; the receipt under the checkpoint of that moment.
    pub(crate) fn receipt(&mut self, statement: &Statement) -> v1::Receipt {
        let index = self.append(statement);
        v1::Receipt {
            statement: statement.bytes().clone(),
            index,
            path: path_to_wire(&self.path(index)),
            checkpoint: self.checkpoint().to_string(),
            actor: String::new(),
        }
    }
}

/// The payload of a message of this federation, as it travels.
pub(crate) fn payload(from: &UnitId, to: &[UnitId], message_id: &MessageId) -> Bytes {
    let payload = v1::Payload {
        from: from.to_string(),
        to: to.iter().map(UnitId::to_string).collect(),
        message_id: Bytes::copy_from_slice(message_id.as_bytes()),
        ..Default::default()
    };
    clear_bytes([5; 32], &payload)
}

pub(crate) fn synced() -> v1::Clock {
    v1::Clock {
        state: v1::ClockState::Synced.into(),
        source: v1::ClockSource::Kernel.into(),
        uncertainty_ms: 20,
    }
}

pub(crate) fn raw_card(name: &str, seed: u8) -> v1::Card {
    v1::Card {
        version: 1,
        unit: name.to_owned(),
        number: 1,
        issued_at_ms: SENT_AT.as_millis() - 1,
        names: vec![v1::CardName { language: "en".into(), name: name.to_owned() }],
        phone_24x7: "+1-202-555-0143".to_owned(),
        identity_key: Some(public(v1::KeyKind::Identity, seed)),
        keys: vec![public(v1::KeyKind::Signing, seed + 1)],
        logs: vec![v1::CardLog {
            origin: format!("{name}/log/1"),
            key: Some(public(v1::KeyKind::Log, seed + 2)),
            state: v1::LogState::Open.into(),
            ..Default::default()
        }],
        nodes: vec![v1::CardNode {
            name: "a".into(),
            addresses: vec![],
            transport_keys: vec![public(v1::KeyKind::Transport, seed + 3)],
        }],
        signer: Some(signer(name, &key(seed).1)),
        ..Default::default()
    }
}

pub(crate) fn open_card(card: &v1::Card, seed: u8) -> Card {
    let (signing, public) = key(seed);
    Card::open(&sign(card, &signing, &public)).unwrap()
}

pub(crate) fn sign_checkpoint(checkpoint: Checkpoint, seed: u8) -> SignedCheckpoint {
    let (signing, public) = key(seed);
    let signature = signing.sign(checkpoint.text().as_bytes()).to_bytes();
    checkpoint.finish(public, signature).unwrap()
}
