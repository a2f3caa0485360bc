//! A unit with two nodes in a test's hand: keys from fixed seeds, a card, a log of its own, and a
//! session from each node whenever a test wants one.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey};
use relay_node::{
    daemon::Node,
    directory::Heard,
    link::{Incoming, Link, LinkEvent, LinkSettings, LocalNode, Session, TransportIdentity},
    tasks::Tasks,
};
use relay_proto::{
    card::Card,
    envelope::Header,
    ids::{NodeId, UnitId},
    receipt::{Event, NewStatement, Statement},
    timestamp::Timestamp,
    tlog::{Checkpoint, MemoryTree, inclusion_proof},
    v1::{self, frame::Kind},
};
use tokio::sync::mpsc;

use crate::{
    cluster::{Member, PATIENCE},
    forge::{public, sign, signer},
    hostile::{Book, Hello, first_session},
};

/// The unit.
pub struct Twin {
    /// Its id.
    pub unit: UnitId,
    /// Its card: nodes `a` and `b`, neither of which listens.
    pub card: Card,
    signing: SigningKey,
    log: SigningKey,
}

/// A session of one of its nodes.
pub struct Side {
    /// The live session.
    pub session: Session,
    link: Link,
    events: mpsc::Receiver<LinkEvent>,
}

/// A log, or a fork of one: the statements in their order.
#[derive(Default)]
pub struct Log {
    tree: MemoryTree,
    leaves: Vec<Statement>,
}

impl Twin {
    /// A unit with keys that nobody else has.
    pub fn new(unit: &str, now: Timestamp) -> Self {
        let unit: UnitId = unit.parse().expect("a unit id");
        let [identity, signing, log] = [1, 2, 3].map(secret);
        let key = |kind: v1::KeyKind, key: &SigningKey| v1::PublicKey {
            kind: kind.into(),
            algorithm: v1::Algorithm::Ed25519.into(),
            epoch: 1,
            public_key: Bytes::copy_from_slice(key.verifying_key().as_bytes()),
            not_before_ms: now.before(DAY).as_millis(),
            not_after_ms: now.after(DAY).as_millis(),
            status: v1::KeyStatus::Active.into(),
            ..Default::default()
        };
        let node = |name: &str, seed| v1::CardNode {
            name: name.to_owned(),
            addresses: Vec::new(),
            transport_keys: vec![key(v1::KeyKind::Transport, &secret(seed))],
        };
        let card = v1::Card {
            version: 1,
            unit: unit.to_string(),
            number: 1,
            issued_at_ms: now.as_millis(),
            names: vec![v1::CardName { language: "en".into(), name: unit.to_string() }],
            phone_24x7: "+1-202-555-0143".to_owned(),
            identity_key: Some(key(v1::KeyKind::Identity, &identity)),
            keys: vec![key(v1::KeyKind::Signing, &signing)],
            logs: vec![v1::CardLog {
                origin: unit.log_origin(1).to_string(),
                key: Some(key(v1::KeyKind::Log, &log)),
                state: v1::LogState::Open.into(),
                ..Default::default()
            }],
            nodes: vec![node("a", SEED_A), node("b", SEED_B)],
            signer: Some(signer(unit.as_str(), &identity)),
            ..Default::default()
        };
        let card = Card::open(&sign(&card, &identity)).expect("a good card");
        Self { unit, card, signing, log }
    }

    /// A node takes the unit on as a verified peer.
    pub async fn introduce(&self, node: &Node) {
        let (directory, now) = (node.relay().directory(), node.relay().clock().now());
        let file = Card::to_file(self.card.signed());
        let peer = directory.add(&file, now).await.expect("a valid card");
        let heard = Heard::All(directory.fingerprint(&peer).concat());
        directory.verify(&self.unit, &heard, "test", now).await.expect("equal digits");
        node.relay().directory_changed();
    }

    /// A session of one of the unit's nodes, `a` or `b`, which says that the unit has so many
    /// receipts.
    pub async fn dial(&self, name: &str, target: &Member, receipts_have: u64) -> Side {
        self.dial_as(name, target, Hello::having(receipts_have)).await
    }

    /// A session that shows a checkpoint of the target's log.
    pub async fn dial_holding(&self, name: &str, target: &Member, note: String) -> Side {
        self.dial_as(name, target, Hello::holding(note)).await
    }

    async fn dial_as(&self, name: &str, target: &Member, hello: Hello) -> Side {
        let seed = if name == "a" { SEED_A } else { SEED_B };
        let node = NodeId::new(self.unit.clone(), name).expect("a node id");
        let local = LocalNode { node, instance_id: [seed; 16], boot_id: rand::random() };
        let identity = TransportIdentity::from_secret(local, secret(seed).as_bytes(), &[seed; 64]);
        let (link, mut events) = Link::start(
            LinkSettings { listen: None, ..LinkSettings::default() },
            identity.expect("a transport identity"),
            Arc::new(Book(card_of(&target.card()))),
            Arc::new(hello),
            Tasks::new(),
        )
        .expect("a link");
        link.dial(&target.unit);
        let session = first_session(&mut events).await;
        Side { session, link, events }
    }

    /// A signed header of this unit's with its payload.
    pub fn envelope(&self, mut header: v1::Header, clear: Bytes) -> v1::Envelope {
        header.from = self.unit.to_string();
        header.signer = Some(signer(self.unit.as_str(), &self.signing));
        v1::Envelope {
            header: Some(sign(&header, &self.signing)),
            payload: Some(v1::envelope::Payload::Clear(clear)),
            wraps: Vec::new(),
        }
    }

    /// What one of its nodes states about a message that came to it.
    pub fn states(&self, event: Event, header: &Header, now: Timestamp) -> Statement {
        let node = NodeId::new(self.unit.clone(), "a").expect("a node id");
        let clock = v1::Clock {
            state: v1::ClockState::Synced.into(),
            source: v1::ClockSource::Assumed.into(),
            uncertainty_ms: 20,
        };
        let mut new = NewStatement::about(header, event, &node, now, clock, rand::random());
        new.recipient = Some(&self.unit);
        new.build().expect("a good statement")
    }

    /// The last receipt of a log as a group under its newest checkpoint, with this number.
    pub fn group(&self, log: &Log, number: u64) -> Kind {
        let size = log.tree.size();
        let origin = self.unit.log_origin(1);
        let checkpoint = Checkpoint { origin, size, root: log.tree.root() };
        let signature = self.log.sign(checkpoint.text().as_bytes()).to_bytes();
        let signed = checkpoint.finish(public(&self.log), signature).expect("own signature");
        let path = inclusion_proof(size - 1, size, &log.tree).expect("a leaf of the tree");
        Kind::Receipts(v1::ReceiptGroup {
            checkpoint: signed.note().to_string(),
            receipts: vec![v1::NumberedReceipt {
                number,
                statement: log.leaves.last().expect("a leaf").bytes().clone(),
                index: size - 1,
                path: path.iter().map(|one| Bytes::copy_from_slice(one.as_bytes())).collect(),
                actor: String::new(),
            }],
            ..Default::default()
        })
    }
}

impl Log {
    /// With one more statement.
    pub fn with(mut self, statement: Statement) -> Self {
        self.tree.append(statement.leaf_hash());
        self.leaves.push(statement);
        self
    }
}

impl Side {
    /// The next frame from the node.
    pub async fn next(&mut self) -> Incoming {
        let next = tokio::time::timeout(PATIENCE, self.session.arrivals.recv());
        next.await.expect("a frame in time").expect("a live session")
    }

    /// The header of the next message; other frames are passed over.
    pub async fn next_header(&mut self) -> Header {
        loop {
            if let Kind::Transfer(transfer) = self.next().await.kind {
                let signed = transfer.envelope.and_then(|envelope| envelope.header);
                return Header::stored(&signed.expect("a header")).expect("a good header");
            }
        }
    }

    /// The next group of receipts; other frames are passed over.
    pub async fn next_receipts(&mut self) -> v1::ReceiptGroup {
        loop {
            if let Kind::Receipts(group) = self.next().await.kind {
                return group;
            }
        }
    }

    /// Up to which number the node says that it has receipts; other frames are passed over.
    pub async fn next_have(&mut self) -> u64 {
        loop {
            if let Kind::Have(have) = self.next().await.kind {
                return have.receipts;
            }
        }
    }

    /// Ends the session and the link, and returns when the other side was told.
    pub async fn close(mut self) {
        self.link.shutdown().await;
        while self.events.recv().await.is_some_and(|event| !matches!(event, LinkEvent::Down { .. }))
        {
        }
    }
}

fn secret(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[200 + seed; 32])
}

fn card_of(path: &Path) -> Card {
    Card::from_file(&std::fs::read(path).expect("a card")).expect("a card")
}

const DAY: Duration = Duration::from_secs(86_400);
const SEED_A: u8 = 4;
const SEED_B: u8 = 5;
