//! A peer that is no node: real keys, a real link, and whatever frames a test wants to send.

mod log;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use relay_node::{
    keys::{KeyStore, KeyUse},
    link::{
        DialTarget, HelloSource, Incoming, KeyExchange, Lane, Link, LinkEvent, LinkSettings,
        LocalNode, PeerBook, PeerNode, Session, TransportIdentity, Wire,
    },
    tasks::Tasks,
};
use relay_proto::{
    card::Card,
    envelope::{NewHeader, Priority},
    ids::{MessageId, NodeId, UnitId},
    signed::Unsigned,
    timestamp::Timestamp,
    v1::{self, frame::Kind},
};
use tokio::sync::mpsc;

pub use log::{Claim, HostileLog};

use crate::cluster::Member;

/// A peer under a test's control.
pub struct Hostile {
    /// Its working keys.
    pub keys: KeyStore,
    /// Its unit.
    pub unit: UnitId,
    /// The live session.
    pub session: Session,
    link: Link,
    tasks: Tasks,
    _events: mpsc::Receiver<LinkEvent>,
}

impl Hostile {
    /// Takes the place of a member whose node does not run, and dials another.
    pub async fn dial(member: &Member, target: &Member) -> Self {
        Self::dial_from(&member.dir, &member.unit, &target.card()).await
    }

    /// The same with another Hello.
    pub async fn dial_saying(
        member: &Member,
        target: &Member,
        change: impl Fn(&mut v1::Hello) + Send + Sync + 'static,
    ) -> Self {
        let hello = Hello(Box::new(change));
        Self::dial_with(&member.dir, &member.unit, &target.card(), hello).await
    }

    /// Takes the place of the node in `dir`, which does not run, and dials the one of a card.
    pub async fn dial_from(dir: &Path, unit: &UnitId, target: &Path) -> Self {
        Self::dial_with(dir, unit, target, Hello::having(0)).await
    }

    async fn dial_with(dir: &Path, unit: &UnitId, target: &Path, hello: Hello) -> Self {
        Self::dial_over(None, dir, unit, target, hello).await
    }

    /// As [`Hostile::dial_from`], over a socket of the test's. It says nothing by which the node in
    /// whose place it is would look as if it was set back.
    pub async fn dial_on(wire: Wire, dir: &Path, unit: &UnitId, target: &Path) -> Self {
        let made = |hello: &mut v1::Hello| {
            hello.heads.get_or_insert_default().receipts_made = MORE_THAN_ANY;
        };
        Self::dial_over(Some(wire), dir, unit, target, Hello(Box::new(made))).await
    }

    async fn dial_over(
        wire: Option<Wire>,
        dir: &Path,
        unit: &UnitId,
        target: &Path,
        hello: Hello,
    ) -> Self {
        let keys = KeyStore::open(&dir.join("keys"), 1).expect("the node's keys");
        let node = NodeId::new(unit.clone(), "a").expect("a node id");
        let local =
            LocalNode { node, instance_id: *keys.instance().as_bytes(), boot_id: rand::random() };
        let identity =
            TransportIdentity::from_pkcs8(local, &keys.transport().pkcs8_der(), &[7; 64]);
        let card = std::fs::read(target).expect("a card's file");
        let card = Card::from_file(&card).expect("a card");
        let target = card.unit().clone();
        let identity = identity.expect("a transport identity");
        let (book, hello) = (Arc::new(Book(card)), Arc::new(hello));
        let settings = LinkSettings { listen: None, ..LinkSettings::default() };
        let tasks = Tasks::new();
        let started = match wire {
            Some(wire) => Link::start_on(wire, settings, identity, book, hello, tasks.clone()),
            None => Link::start(settings, identity, book, hello, tasks.clone()),
        };
        let (link, mut events) = started.expect("a link");
        link.dial(&target);
        let session = first_session(&mut events).await;
        Self { keys, unit: unit.clone(), session, link, tasks, _events: events }
    }

    /// A header and payload of this peer's, to be broken by the test.
    pub async fn envelope(
        &self,
        to: &[UnitId],
        clear: Bytes,
        now: Timestamp,
        change: impl FnOnce(&mut v1::Header),
    ) -> v1::Envelope {
        self.envelope_of((&self.unit, &self.keys), to, clear, now, change).await
    }

    /// The same in another's name, under another's key.
    pub async fn envelope_of(
        &self,
        (from, keys): (&UnitId, &KeyStore),
        to: &[UnitId],
        clear: Bytes,
        now: Timestamp,
        change: impl FnOnce(&mut v1::Header),
    ) -> v1::Envelope {
        let signer = keys.signer();
        let key_id = signer.key_id(KeyUse::Envelope);
        let new = NewHeader {
            attachments: None,
            message_id: MessageId::new(now, rand::random()),
            from,
            to,
            profile: "budapest-247",
            priority: Priority::Routine,
            created_at: now,
            expires_at: now.after(Duration::from_secs(3600)),
            payload: &clear,
            key_id,
            epoch: 1,
        };
        let mut header = new.header();
        change(&mut header);
        let unsigned = Unsigned::new(&header, key_id);
        let signature = signer.sign(KeyUse::Envelope, unsigned.input()).await.expect("a signature");
        v1::Envelope {
            header: Some(unsigned.signed(signature)),
            payload: Some(v1::envelope::Payload::Clear(clear)),
            wraps: Vec::new(),
        }
    }

    /// Sends an envelope on the ROUTINE lane.
    pub async fn transfer(&self, number: u64, envelope: v1::Envelope) {
        self.transfer_on(Lane::Routine, number, envelope).await;
    }

    /// Sends an envelope on a lane.
    pub async fn transfer_on(&self, lane: Lane, number: u64, envelope: v1::Envelope) {
        let transfer =
            v1::Transfer { number, passed: vec![], envelope: Some(envelope), recovered: false };
        self.session.sender().send(lane, Kind::Transfer(transfer)).await.expect("a live session");
    }

    /// The next frame from the node.
    pub async fn next(&mut self) -> Incoming {
        let next = tokio::time::timeout(Duration::from_secs(10), self.session.arrivals.recv());
        next.await.expect("an answer in time").expect("a live session")
    }

    /// The next TransferFault; other frames are passed over.
    pub async fn next_fault(&mut self) -> v1::TransferFault {
        loop {
            if let Kind::Fault(fault) = self.next().await.kind {
                return fault;
            }
        }
    }

    /// The next receipt about something that this peer sent; its statement.
    pub async fn next_receipt(&mut self) -> v1::Statement {
        loop {
            if let Kind::Receipts(group) = self.next().await.kind {
                let receipt = group.receipts.into_iter().next_back().expect("a group is not empty");
                return prost::Message::decode(receipt.statement).expect("a statement");
            }
        }
    }

    /// The next message that the node sends, past receipts.
    pub async fn next_transfer(&mut self) -> v1::Transfer {
        loop {
            if let Kind::Transfer(transfer) = self.next().await.kind {
                return transfer;
            }
        }
    }

    /// Answers on the lane of control.
    pub async fn say(&self, kind: Kind) {
        self.session.sender().send(Lane::Control, kind).await.expect("a live session");
    }

    /// Answers a message on the lane that it came on.
    pub async fn reply(&self, lane: Lane, kind: Kind) {
        self.session.sender().reply(lane, kind).await.expect("a live session");
    }

    /// Ends the session with words of its own, and the link.
    pub async fn close_with(self, text: &str) {
        self.session.close(relay_node::link::CloseCode::Stopping, text);
        self.session.ended().cancelled().await;
        self.link.shutdown().await;
    }

    /// Ends the session, the link and its tasks: nothing holds the socket any more soon after.
    pub async fn close(self) {
        self.link.shutdown().await;
        self.tasks.shutdown(GRACE).await;
    }
}

/// Receipts that no node has made yet.
const MORE_THAN_ANY: u64 = 1 << 40;

/// For the tasks of a link that was shut down.
const GRACE: Duration = Duration::from_secs(5);

/// The session that a dial brings.
pub(crate) async fn first_session(events: &mut mpsc::Receiver<LinkEvent>) -> Session {
    loop {
        match tokio::time::timeout(Duration::from_secs(10), events.recv()).await {
            Ok(Some(LinkEvent::Up(session))) => return *session,
            Ok(Some(LinkEvent::DialFailed { text, .. })) => unreachable!("dial failed: {text}"),
            Ok(Some(_)) => {}
            other => unreachable!("no session: {other:?}"),
        }
    }
}

/// Knows one card.
pub(crate) struct Book(pub Card);

impl PeerBook for Book {
    fn by_spki(&self, spki: &[u8]) -> Option<PeerNode> {
        let node =
            self.0.nodes().iter().find(|node| {
                node.transport_keys.iter().any(|key| key.key.spki().as_slice() == spki)
            })?;
        Some(PeerNode { node: node.id.clone(), key_exchange: KeyExchange::Prefer })
    }

    fn addresses(&self, unit: &UnitId) -> Vec<DialTarget> {
        if unit != self.0.unit() {
            return Vec::new();
        }
        let target = |node: &relay_proto::card::CardNode| DialTarget {
            node: node.id.clone(),
            address: node.addresses.first().cloned().unwrap_or_default(),
            spki_pins: node.transport_keys.iter().map(|key| key.key.spki().to_vec()).collect(),
            key_exchange: KeyExchange::Prefer,
        };
        self.0.nodes().iter().map(target).collect()
    }

    fn unit_at(&self, _: SocketAddr) -> Option<UnitId> {
        None
    }
}

/// Says the least that a Hello may say, and what a test adds.
pub(crate) struct Hello(Box<dyn Fn(&mut v1::Hello) + Send + Sync>);

impl Hello {
    /// Says how many receipts it has.
    pub fn having(receipts: u64) -> Self {
        Self(Box::new(move |hello| {
            hello.heads.get_or_insert_default().receipts_have = receipts;
        }))
    }

    /// Shows a checkpoint of the other's log.
    pub fn holding(note: String) -> Self {
        Self(Box::new(move |hello| hello.held_checkpoint.clone_from(&note)))
    }
}

impl HelloSource for Hello {
    fn hello_for(&self, _peer: &UnitId) -> v1::Hello {
        let mut hello = v1::Hello {
            software: "hostile/1".to_owned(),
            now_ms: 1,
            clock: Some(v1::Clock {
                state: v1::ClockState::Unsynced.into(),
                source: v1::ClockSource::Assumed.into(),
                uncertainty_ms: 0,
            }),
            heads: Some(v1::Heads::default()),
            limits: Some(v1::Limits::default()),
            card_number: 1,
            ..Default::default()
        };
        (self.0)(&mut hello);
        hello
    }
}
