//! A peer that is no node: real keys, a real link, and whatever frames a test wants to send.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use relay_node::{
    keys::{KeyStore, KeyUse},
    link::{
        DialTarget, HelloSource, Incoming, KeyExchange, Lane, Link, LinkEvent, LinkSettings,
        LocalNode, PeerBook, PeerNode, Session, TransportIdentity,
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
    _events: mpsc::Receiver<LinkEvent>,
}

impl Hostile {
    /// Takes the place of a member whose node does not run, and dials another.
    pub async fn dial(member: &Member, target: &Member) -> Self {
        Self::dial_saying(member, target, |_| {}).await
    }

    /// The same with another Hello.
    pub async fn dial_saying(
        member: &Member,
        target: &Member,
        change: impl Fn(&mut v1::Hello) + Send + Sync + 'static,
    ) -> Self {
        let keys = KeyStore::open(&member.dir.join("keys"), 1).expect("the member's keys");
        let node = NodeId::new(member.unit.clone(), "a").expect("a node id");
        let local =
            LocalNode { node, instance_id: *keys.instance().as_bytes(), boot_id: rand::random() };
        let identity =
            TransportIdentity::from_pkcs8(local, &keys.transport().pkcs8_der(), &[7; 64]);
        let book = Arc::new(Book(
            Card::from_file(&std::fs::read(target.card()).expect("a card")).expect("a card"),
        ));
        let (link, mut events) = Link::start(
            LinkSettings { listen: None, ..LinkSettings::default() },
            identity.expect("a transport identity"),
            book,
            Arc::new(Hello(Box::new(change))),
            Tasks::new(),
        )
        .expect("a link");
        link.dial(&target.unit);
        let session = loop {
            match tokio::time::timeout(Duration::from_secs(10), events.recv()).await {
                Ok(Some(LinkEvent::Up(session))) => break *session,
                Ok(Some(LinkEvent::DialFailed { text, .. })) => unreachable!("dial failed: {text}"),
                Ok(Some(_)) => {}
                other => unreachable!("no session: {other:?}"),
            }
        };
        Self { keys, unit: member.unit.clone(), session, link, _events: events }
    }

    /// A header and payload of this peer's, to be broken by the test.
    pub async fn envelope(
        &self,
        to: &[UnitId],
        clear: Bytes,
        now: Timestamp,
        change: impl FnOnce(&mut v1::Header),
    ) -> v1::Envelope {
        let signer = self.keys.signer();
        let key_id = signer.key_id(KeyUse::Envelope);
        let new = NewHeader {
            message_id: MessageId::new(now, rand::random()),
            from: &self.unit,
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
        let transfer =
            v1::Transfer { number, passed: vec![], envelope: Some(envelope), recovered: false };
        self.session
            .sender()
            .send(Lane::Routine, Kind::Transfer(transfer))
            .await
            .expect("a live session");
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

    /// Ends the session and the link.
    pub async fn close(self) {
        self.link.shutdown().await;
    }
}

/// Knows one card.
struct Book(Card);

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
}

/// Says the least that a Hello may say, and what a test adds.
struct Hello(Box<dyn Fn(&mut v1::Hello) + Send + Sync>);

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
