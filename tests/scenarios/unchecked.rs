//! A unit whose node does not check its cases, nor what it says about other messages: what it sends
//! is refused by the node that takes it.

use bytes::Bytes;
use prost::Message as _;
use relay_core::case::{Case, Delivery, Rules, State};
use relay_node::{init::Law, store::records::case::messages};
use relay_proto::{
    file::MessageFile,
    ids::{Digest, MessageId, Uuid},
    payload::{Place, clear_bytes},
    reason::Reason,
    v1,
};
use relay_tests::cluster::{Cluster, draft, submit};
use serde_json::{Value, json};

use crate::{
    casework::{ack, confirmation, refusing},
    hostile::Stage,
    refusals::take_over,
};

/// A unit whose node did not check: what it sends is refused with its reason, in a receipt; what
/// only overtook its sender's message before is taken, and stands in its place once that is here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_legal_is_not_taken() {
    let mut stage = Stage::new().await;
    let case = Uuid::random([5; 16]);
    let reply = MessageId::new(stage.now, [1; 10]).to_string();
    let now = stage.now;
    let file = |kind: &str, key: &str, content: Value| {
        let env = json!({"kind": kind, "profile": "budapest-247", "to": ["xb.ncu"],
                         "priority": "ROUTINE", "thread_id": case.to_string(),
                         "in_reply_to": reply, "language": "en", "sender_ref": "1"});
        MessageFile::parse(&json!({"env": env, key: content}).to_string(), now).unwrap()
    };
    let mut first = draft("preservation.json", &["xb.ncu"], now);
    first.payload.as_mut().unwrap().case_id = Bytes::copy_from_slice(case.as_bytes());
    let withdrawal =
        || file("WITHDRAWAL", "withdrawal", json!({"reason": "NOT_NEEDED", "note": "found"}));

    // An answer to a request that this unit never sent, and a withdrawal of none.
    let acked = stage.case_message(file("REQUEST_ACK", "ack", ack()), Place::default()).await;
    stage.is_refused(acked, Reason::UnknownCase).await;
    let alone = stage.case_message(withdrawal(), Place::default()).await;
    stage.is_refused(alone, Reason::UnknownCase).await;

    // The withdrawal overtakes its request.
    let request = stage.case_message(first.clone(), Place::default()).await;
    let digest = Digest::of(&request.header.as_ref().unwrap().bytes);
    let after = Place { follows: Some(digest), based_on: None };
    let overtaking = stage.case_message(withdrawal(), after).await;
    stage.is_taken(overtaking).await;
    stage.is_taken(request).await;
    let rows = stage.cluster.node(1).store().case_rows(&case, &stage.peer.unit).unwrap();
    let derived = Case::of(messages(&rows), Delivery::Delivered, &Rules::TREATY).unwrap();
    assert_eq!((derived.state, derived.steps.len()), (State::Withdrawn, 2));
    assert!(!derived.sync_conflict && derived.waiting.is_empty());

    // After it: a second request of the case, another withdrawal, the other side's move.
    let again = stage.case_message(first, Place::default()).await;
    stage.is_refused(again, Reason::IllegalTransition).await;
    let twice = Place {
        follows: rows.iter().find(|row| !row.is_first()).map(|row| row.digest()),
        based_on: None,
    };
    let second = stage.case_message(withdrawal(), twice).await;
    stage.is_refused(second, Reason::IllegalTransition).await;
    let confirming = file("PRESERVATION_CONFIRMATION", "confirmation", confirmation("@+90d"));
    let confirmed = stage.case_message(confirming, twice).await;
    stage.is_refused(confirmed, Reason::IllegalTransition).await;
    stage.honest_message_passes().await;
}

/// A requested unit whose node did not check the grounds of its refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfounded_refusals_are_not_taken() {
    let mut stage = take_over(Cluster::start_by_law(&reserving()).await).await;
    let mut request = draft("preservation.json", &["xa.cyber-poc"], stage.now);
    let case = Uuid::random([6; 16]);
    let payload = request.payload.as_mut().unwrap();
    payload.from.clear();
    payload.case_id = Bytes::copy_from_slice(case.as_bytes());
    let sent = submit(stage.cluster.node(1), request, 1).await.unwrap();
    assert_eq!(stage.peer.next_transfer().await.number, 1);
    let now = stage.now;
    let file = |kind: &str, key: &str, content: Value| {
        let env = json!({"kind": kind, "profile": "budapest-247", "to": ["xb.ncu"],
                         "priority": "ROUTINE", "thread_id": case.to_string(),
                         "in_reply_to": sent.message_id.to_string(), "language": "en",
                         "sender_ref": "1"});
        MessageFile::parse(&json!({"env": env, key: content}).to_string(), now).unwrap()
    };
    let place = Place { follows: None, based_on: Some(sent.digest) };
    let acked = stage.case_message(file("REQUEST_ACK", "ack", ack()), place).await;
    let digest = Digest::of(&acked.header.as_ref().unwrap().bytes);
    stage.is_taken(acked).await;
    let place = Place { follows: Some(digest), based_on: Some(sent.digest) };
    let mut refusal = refusing("DUAL_CRIMINALITY_RESERVED", &["A"]);
    refusal["items"].as_array_mut().unwrap().pop();
    let draft = file("PRESERVATION_DECISION", "decision", refusal.clone());
    let unfounded = stage.case_message(draft, place).await;
    stage.is_refused(unfounded, Reason::UnfoundedRefusal).await;
    // The card of the unit that asks states no treaty.
    refusal["items"][0]["ground"] = json!("NO_TREATY_RELATION");
    let draft = file("PRESERVATION_DECISION", "decision", refusal);
    let founded = stage.case_message(draft, place).await;
    stage.is_taken(founded).await;
    let rows = stage.cluster.node(1).store().case_rows(&case, &stage.peer.unit).unwrap();
    let derived = Case::of(messages(&rows), Delivery::Delivered, &Rules::TREATY).unwrap();
    assert_eq!(derived.state, State::Refused);
}

/// The requested unit declares the reservation of Article 29(4), so that the offences decide.
fn reserving() -> [(&'static str, Law); 2] {
    let law = Law {
        parties: vec![v1::Treaty::Budapest],
        reservations: v1::Reservations { art29_4: true, ..Default::default() },
        ..Law::default()
    };
    [("xa.cyber-poc", law), ("xb.ncu", Law::default())]
}

/// A unit whose node did not check what it says about other messages: what it may not say is
/// refused with its reason, and what only overtook its own message before is awaited, not refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_said_is_not_taken() {
    use v1::payload::Body;
    let mut stage = Stage::new().await;
    let about = |id: MessageId, kind: v1::Kind, body: Body| {
        move |payload: &mut v1::Payload| {
            payload.in_reply_to = Bytes::copy_from_slice(id.as_bytes());
            payload.kind = kind.into();
            payload.body = Some(body);
        }
    };
    let nothing = MessageId::new(stage.now, [1; 10]);
    let feedback = v1::AlertFeedback {
        outcome: v1::FeedbackOutcome::NoHit.into(),
        text: "nothing".to_owned(),
        ..Default::default()
    };
    let change = about(nothing, v1::Kind::AlertFeedback, Body::AlertFeedback(feedback));
    let (_, unknown) = stage.said(change).await;
    stage.is_refused(unknown, Reason::UnknownReference).await;

    // An update overtakes its alert, and is taken once that is there; not twice in one revision.
    let mut body = None;
    let (id, first) = stage.said(|payload| body = payload.body.clone()).await;
    let Some(Body::Alert(mut alert)) = body else { unreachable!("an alert") };
    alert.revision = 2;
    alert.lifecycle = v1::Lifecycle::Update.into();
    let op = "replace".to_owned();
    alert.changes = vec![v1::AlertChange { path: "summary".into(), op, ..Default::default() }];
    let update = || about(id, v1::Kind::AlertUpdate, Body::AlertUpdate(alert.clone()));
    let (_, overtaking) = stage.said(update()).await;
    stage.is_awaited(overtaking.clone()).await;
    stage.is_taken(first).await;
    stage.is_taken(overtaking).await;
    let (_, twice) = stage.said(update()).await;
    stage.is_refused(twice, Reason::StaleRevision).await;

    // What it says that it passes on: with H2 it names a release, and no marking is looser.
    let handling = v1::Handling {
        tlp: v1::Tlp::Amber.into(),
        pap: v1::Pap::Green.into(),
        europol: vec![v1::EuropolCode::H2.into()],
        classification: v1::Classification::Bpl.into(),
        ..Default::default()
    };
    let origin = v1::Origin {
        unit: "xc.cyber-poc".to_owned(),
        message_id: Bytes::copy_from_slice(nothing.as_bytes()),
        header_digest: Bytes::from_static(&[7; 32]),
        handling: Some(handling.clone()),
        ..Default::default()
    };
    let passed = |release: Bytes, handling: v1::Handling| {
        let origin = v1::Origin { release, ..origin.clone() };
        move |payload: &mut v1::Payload| {
            payload.origin = Some(origin);
            payload.handling = Some(handling);
        }
    };
    let (_, unreleased) = stage.said(passed(Bytes::new(), handling.clone())).await;
    stage.is_refused(unreleased, Reason::NotReleased).await;
    let release = Bytes::copy_from_slice(id.as_bytes());
    let loose = v1::Handling { europol: vec![v1::EuropolCode::H1.into()], ..handling.clone() };
    let (_, loosened) = stage.said(passed(release.clone(), loose)).await;
    stage.is_refused(loosened, Reason::MarkingLoosened).await;
    let (_, released) = stage.said(passed(release, handling)).await;
    stage.is_taken(released).await;
    stage.honest_message_passes().await;
}

impl Stage {
    /// An envelope of the peer with the demo's alert, changed; and its id.
    async fn said(&self, change: impl FnOnce(&mut v1::Payload)) -> (MessageId, v1::Envelope) {
        let id = MessageId::new(self.now, rand::random());
        let mut payload = crate::hostile::payload(&self.cluster, 0, &self.to, id.as_bytes());
        change(&mut payload);
        let clear = clear_bytes(rand::random(), &payload);
        let envelope = self
            .peer
            .envelope(std::slice::from_ref(&self.to), clear, self.now, |header| {
                header.message_id = Bytes::copy_from_slice(id.as_bytes());
            })
            .await;
        (id, envelope)
    }

    /// A deferral says to come back, and nothing of it is stored.
    async fn is_awaited(&mut self, envelope: v1::Envelope) {
        let digest = self.send(envelope).await;
        let deferral = loop {
            if let v1::frame::Kind::Deferral(signed) = self.peer.next().await.kind {
                break v1::Deferral::decode(signed.bytes.clone()).unwrap();
            }
        };
        assert_eq!(deferral.reason, Reason::ReferenceAwaited.label());
        let store = self.cluster.node(1).store();
        assert!(store.message(&digest).unwrap().is_none());
        assert!(store.refused(&digest).unwrap().is_none());
    }
}

impl Stage {
    /// An envelope of the peer with what a draft says, completed as an honest node does and not
    /// judged.
    async fn case_message(&self, draft: v1::Draft, place: Place) -> v1::Envelope {
        let id = MessageId::new(self.now, rand::random());
        let frame = crate::hostile::payload(&self.cluster, 0, &self.to, id.as_bytes());
        let bytes = |digest: Option<Digest>| {
            digest.map(|digest| Bytes::copy_from_slice(digest.as_bytes())).unwrap_or_default()
        };
        let stated = draft.payload.unwrap();
        let mut payload = v1::Payload {
            kind: stated.kind,
            case_id: stated.case_id,
            in_reply_to: stated.in_reply_to,
            urgency_reason: stated.urgency_reason,
            follows: bytes(place.follows),
            based_on: bytes(place.based_on),
            body: stated.body,
            ..frame
        };
        if let Some(v1::payload::Body::PreservationRequest(request)) = &mut payload.body {
            request.request_id = Bytes::from_static(&[7; 16]);
            request.revision = 1;
        }
        if payload.kind() == v1::Kind::PreservationRequest {
            payload.in_reply_to.clear();
        }
        let clear = clear_bytes(rand::random(), &payload);
        self.peer
            .envelope(std::slice::from_ref(&self.to), clear, self.now, |header| {
                header.message_id = Bytes::copy_from_slice(id.as_bytes());
                header.priority = draft.priority;
            })
            .await
    }

    async fn answer(&mut self, envelope: v1::Envelope) -> v1::Statement {
        let digest = self.send(envelope).await;
        loop {
            let receipt = self.peer.next_receipt().await;
            if receipt.header_digest == digest.as_bytes().as_slice() {
                return receipt;
            }
        }
    }

    pub async fn is_refused(&mut self, envelope: v1::Envelope, reason: Reason) {
        let receipt = self.answer(envelope).await;
        let said = (receipt.event(), receipt.reason.as_str());
        assert_eq!(said, (v1::Event::RelayRejection, reason.label()));
    }

    pub async fn is_taken(&mut self, envelope: v1::Envelope) {
        let receipt = self.answer(envelope).await;
        assert_eq!(receipt.event(), v1::Event::ContentConsignment, "{}", receipt.reason);
    }
}
