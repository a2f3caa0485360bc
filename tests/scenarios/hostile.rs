//! A verified peer that breaks the rules: each breach has its reason, nothing of it is stored or
//! signed as a verdict that it must not be, and an honest message is still taken afterwards.

use bytes::Bytes;
use prost::Message as _;
use relay_proto::{
    ids::{Digest, UnitId},
    payload::clear_bytes,
    reason::Reason,
    timestamp::Timestamp,
    v1,
};
use relay_tests::{
    cluster::{Cluster, submit_draft_payload},
    hostile::Hostile,
};

/// A payload that the recipient takes, made by completing the demo's alert as `from`.
pub(crate) fn payload(cluster: &Cluster, from: usize, to: &UnitId, id: &[u8]) -> v1::Payload {
    let mut payload = submit_draft_payload(cluster, from, to);
    payload.message_id = Bytes::copy_from_slice(id);
    payload
}

pub(crate) struct Stage {
    pub cluster: Cluster,
    pub peer: Hostile,
    pub to: UnitId,
    pub now: Timestamp,
    pub number: u64,
}

impl Stage {
    pub async fn new() -> Self {
        Self::with("").await
    }

    /// With further sections in the nodes' configuration.
    pub async fn with(sections: &str) -> Self {
        let units = ["xa.cyber-poc", "xb.ncu", "xc.cyber-poc"];
        let mut cluster = Cluster::start_with(&units, sections).await;
        cluster.members[0].stop().await;
        let peer = Hostile::dial(&cluster.members[0], &cluster.members[1]).await;
        let to = cluster.members[1].unit.clone();
        let now = cluster.node(1).relay().clock().now();
        Self { cluster, peer, to, now, number: 0 }
    }

    /// An envelope with a good payload whose inner copy fits the header; `change` breaks the header
    /// before it is signed.
    pub async fn envelope(&self, change: impl FnOnce(&mut v1::Header)) -> v1::Envelope {
        let id = relay_proto::ids::MessageId::new(self.now, rand::random());
        let payload = payload(&self.cluster, 0, &self.to, id.as_bytes());
        let clear = clear_bytes(rand::random(), &payload);
        self.peer
            .envelope(std::slice::from_ref(&self.to), clear, self.now, |header| {
                header.message_id = Bytes::copy_from_slice(id.as_bytes());
                change(header);
            })
            .await
    }

    pub async fn send(&mut self, envelope: v1::Envelope) -> Digest {
        self.number += 1;
        let digest = Digest::of(&envelope.header.as_ref().unwrap().bytes);
        self.peer.transfer(self.number, envelope).await;
        digest
    }

    pub fn leaves(&self) -> u64 {
        self.cluster.node(1).store().log_head().size
    }

    /// The node takes an honest message: nothing that came before has hurt it.
    pub async fn honest_message_passes(&mut self) {
        let envelope = self.envelope(|_| {}).await;
        let digest = self.send(envelope).await;
        // What was not confirmed may come once more before it.
        let receipt = loop {
            let receipt = self.peer.next_receipt().await;
            if receipt.header_digest == digest.as_bytes().as_slice() {
                break receipt;
            }
        };
        assert_eq!(receipt.event(), v1::Event::ContentConsignment);
    }
}

/// A good header over another payload: anybody on the way may have put it there, so it is a fault
/// of the copy, and the good copy is taken afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swapped_payload_is_a_transfer_fault_not_a_rejection() {
    let mut stage = Stage::new().await;
    let before = stage.leaves();
    let good = stage.envelope(|_| {}).await;
    let mut swapped = good.clone();
    swapped.payload = Some(v1::envelope::Payload::Clear(Bytes::from_static(&[1; 100])));
    let digest = stage.send(swapped).await;
    let fault = stage.peer.next_fault().await;
    assert_eq!(fault.reason, Reason::PayloadMismatch.label());
    assert_eq!(fault.header_digest, digest.as_bytes().as_slice());
    assert_eq!(fault.payload_digest, Digest::of(&[1; 100]).as_bytes().as_slice());
    let store = stage.cluster.node(1).store();
    assert!(store.refused(&digest).unwrap().is_none() && stage.leaves() == before);
    stage.send(good).await;
    let receipt = stage.peer.next_receipt().await;
    assert_eq!(receipt.event(), v1::Event::ContentConsignment);
    assert_eq!(receipt.header_digest, digest.as_bytes().as_slice());
}

/// A header in another unit's name, under the peer's own key: nothing about that unit is stated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_from_yields_no_leaf() {
    let mut stage = Stage::new().await;
    let before = stage.leaves();
    let forged = stage.envelope(|header| header.from = "xc.cyber-poc".into()).await;
    let digest = stage.send(forged).await;
    assert_eq!(stage.peer.next_fault().await.reason, Reason::SenderMismatch.label());
    assert_eq!(stage.leaves(), before, "a fault became a leaf");
    let store = stage.cluster.node(1).store();
    assert!(store.message(&digest).unwrap().is_none() && store.refused(&digest).unwrap().is_none());
    stage.honest_message_passes().await;
}

/// A copy that proves nothing about its sender gets an unsigned fault with its reason and leaves no
/// leaf.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_a_copy_leave_no_leaf() {
    let mut stage = Stage::new().await;
    let before = stage.leaves();

    let mut unsigned = stage.envelope(|_| {}).await;
    let header = unsigned.header.as_mut().unwrap();
    header.signature = Some(v1::signed::Signature::Ed25519(Bytes::from_static(&[0; 64])));
    stage.send(unsigned).await;
    assert_eq!(stage.peer.next_fault().await.reason, Reason::BadSignature.label());

    let mut other_key = stage.envelope(|_| {}).await;
    other_key.header.as_mut().unwrap().key_id_hint = Bytes::from_static(&[9; 16]);
    stage.send(other_key).await;
    assert_eq!(stage.peer.next_fault().await.reason, Reason::UnknownKey.label());

    let other = stage.envelope(|header| header.to = vec!["xc.cyber-poc".into()]).await;
    stage.send(other).await;
    assert_eq!(stage.peer.next_fault().await.reason, Reason::NotARecipient.label());

    let mut sealed = stage.envelope(|_| {}).await;
    sealed.payload = Some(v1::envelope::Payload::Sealed(Bytes::from_static(&[1; 100])));
    stage.send(sealed).await;
    assert_eq!(stage.peer.next_fault().await.reason, Reason::UnsupportedSealing.label());

    let mut second_reading = stage.envelope(|_| {}).await;
    let header = second_reading.header.as_mut().unwrap();
    header.bytes = [&header.bytes[..], &[0xf8, 0x07, 1]].concat().into();
    stage.send(second_reading).await;
    assert_eq!(stage.peer.next_fault().await.reason, Reason::BadSignature.label());

    assert_eq!(stage.leaves(), before, "a fault became a leaf");
    stage.honest_message_passes().await;
}

/// Verdicts about verified headers are receipts with their reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verdicts_carry_their_reason() {
    let mut stage = Stage::new().await;
    let now = stage.now.as_millis();
    let hour = 3_600_000;
    type Change = Box<dyn Fn(&mut v1::Header)>;
    let table: Vec<(Reason, Change)> = vec![
        (
            Reason::Expired,
            Box::new(move |header| {
                header.created_at_ms = now - 2 * hour;
                header.expires_at_ms = now - hour;
            }),
        ),
        (
            Reason::FutureDated,
            Box::new(move |header| {
                header.created_at_ms = now + hour;
                header.expires_at_ms = now + 2 * hour;
            }),
        ),
        (Reason::UnknownProfile, Box::new(|header| header.profile = "no-such-net".into())),
        (
            Reason::BadLifetime,
            Box::new(|header| header.expires_at_ms = header.created_at_ms + 1000),
        ),
    ];
    for (reason, change) in table {
        let envelope = stage.envelope(change).await;
        let digest = stage.send(envelope).await;
        let receipt = stage.peer.next_receipt().await;
        assert_eq!(receipt.event(), v1::Event::RelayRejection, "{reason}");
        assert_eq!(receipt.reason, reason.label());
        assert_eq!(receipt.header_digest, digest.as_bytes().as_slice());
        let stored = stage.cluster.node(1).store().message(&digest).unwrap();
        assert!(stored.is_none(), "{reason}: refused and yet stored");
    }
    stage.honest_message_passes().await;
}

/// The payload's inner copy is held to the header, and its content to the rules.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_is_refused_with_its_reason() {
    let mut stage = Stage::new().await;
    let id = relay_proto::ids::MessageId::new(stage.now, rand::random());
    let good = payload(&stage.cluster, 0, &stage.to, id.as_bytes());
    type Change = fn(&mut v1::Payload);
    let table: [(Reason, Change); 3] = [
        (Reason::InnerMismatch, |payload| payload.from = "xc.cyber-poc".into()),
        (Reason::InvalidContent, |payload| payload.language.clear()),
        (Reason::UnsupportedKind, |payload| {
            payload.kind = 0;
            payload.body = None;
        }),
    ];
    for (reason, change) in table {
        let id = relay_proto::ids::MessageId::new(stage.now, rand::random());
        let mut payload = good.clone();
        payload.message_id = Bytes::copy_from_slice(id.as_bytes());
        change(&mut payload);
        let clear = clear_bytes(rand::random(), &payload);
        let to = [stage.to.clone()];
        let envelope = stage
            .peer
            .envelope(&to, clear, stage.now, |header| {
                header.message_id = Bytes::copy_from_slice(id.as_bytes());
            })
            .await;
        stage.send(envelope).await;
        let receipt = stage.peer.next_receipt().await;
        assert_eq!(receipt.event(), v1::Event::RelayRejection, "{reason}");
        assert_eq!(receipt.reason, reason.label());
    }
    stage.honest_message_passes().await;
}

/// The same id with other bytes is a conflict: both are kept, the first stands, and an alarm is
/// raised. The same bytes again are a duplicate: nothing happens twice and the same leaf comes
/// back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replays_and_conflicts() {
    let mut stage = Stage::new().await;
    let first = stage.envelope(|_| {}).await;
    let digest = stage.send(first.clone()).await;
    let receipt = stage.peer.next_receipt().await;
    assert_eq!(receipt.event(), v1::Event::ContentConsignment);
    let before = stage.leaves();

    for _ in 0..REPLAYS {
        stage.send(first.clone()).await;
    }
    assert_eq!(stage.peer.next_receipt().await.encode_to_vec(), receipt.encode_to_vec());
    // What was sent after them on the same lane is answered after them.
    stage.honest_message_passes().await;
    assert_eq!(stage.leaves(), before + 1, "a replay became a leaf");
    let listed = stage.cluster.node(1).store().list(&Default::default(), None, 100).unwrap();
    assert_eq!(listed.messages.len(), 2, "a replay had an effect");

    let id = v1::Header::decode(first.header.as_ref().unwrap().bytes.clone()).unwrap().message_id;
    let mut payload = payload(&stage.cluster, 0, &stage.to, &id);
    payload.sender_ref = "other".to_owned();
    let clear = clear_bytes(rand::random(), &payload);
    let to = [stage.to.clone()];
    let conflicting =
        stage.peer.envelope(&to, clear, stage.now, |header| header.message_id = id).await;
    let other = stage.send(conflicting).await;
    let verdict = loop {
        let receipt = stage.peer.next_receipt().await;
        if receipt.header_digest == other.as_bytes().as_slice() {
            break receipt;
        }
    };
    assert_eq!((verdict.event(), verdict.reason.as_str()), (v1::Event::RelayRejection, "CONFLICT"));
    let store = stage.cluster.node(1).store();
    assert!(store.message(&digest).unwrap().is_some(), "the first stands");
    assert!(store.refused(&other).unwrap().is_some(), "the second is kept as evidence");
    assert!(store.alarms(10).unwrap().iter().any(|alarm| alarm.reason == "CONFLICT"));
    stage.honest_message_passes().await;
}

/// Copies of one envelope; each is verified whole before the stored receipt is given again.
const REPLAYS: usize = 2_000;
