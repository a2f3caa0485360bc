//! SendMessage and SendMessages.

use std::collections::BTreeMap;

use prost::Message as _;
use relay_proto::{
    reason::Reason,
    v1::{self, send_messages_response::Outcome},
};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{
    fixture::{Node, QUEUE_MAX, id, now, request},
    told,
};

/// Nothing goes to a unit that is unknown, was not compared, or was suspended; each says which unit
/// and why.
#[tokio::test]
async fn only_verified_units_are_sent_to() {
    let (a, b) = (Node::start("xa.cyber-poc").await, Node::start("xb.ncu").await);
    let mut client = a.messages();
    let error = client.send_message(request(1, &["xb.ncu"])).await.unwrap_err();
    let to = || vec!["draft.to".to_owned()];
    assert_eq!(told(&error), (Code::NotFound, Reason::UnknownRecipient, to()));
    assert_eq!(error.get_error_details().error_info().unwrap().metadata["unit"], "xb.ncu");

    a.relay.directory().add(&b.card, now()).await.unwrap();
    let error = client.send_message(request(1, &["xb.ncu"])).await.unwrap_err();
    assert_eq!(told(&error), (Code::FailedPrecondition, Reason::PeerUnverified, to()));

    a.trust(&b).await;
    let sent = client.send_message(request(1, &["xb.ncu"])).await.unwrap().into_inner();
    assert!(!sent.repeated_request);
    let message = sent.message.unwrap();
    assert_eq!(message.name, format!("messages/{}", message.message_id));
    assert_eq!((message.from.as_str(), message.title.as_str()), ("xa.cyber-poc", ""));
    assert_eq!(message.payload, None);
    let [delivery] = message.deliveries.as_slice() else { panic!("one delivery") };
    assert_eq!(
        (delivery.recipient.as_str(), delivery.state()),
        ("xb.ncu", v1::DeliveryState::Queued)
    );

    for (units, text) in
        [(&["xb.ncu", "xb.ncu"][..], "xb.ncu is named twice"), (&[], "no recipient is stated")]
    {
        let error = client.send_message(request(2, units)).await.unwrap_err();
        assert_eq!(told(&error), (Code::InvalidArgument, Reason::InvalidContent, to()));
        let details = error.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].description, text);
    }
    a.relay.directory().suspend(&"xb.ncu".parse().unwrap(), "Desk 1", "test", now()).await.unwrap();
    let error = client.send_message(request(2, &["xb.ncu"])).await.unwrap_err();
    assert_eq!(told(&error), (Code::FailedPrecondition, Reason::PeerSuspended, to()));
    a.stop().await;
    b.stop().await;
}

/// A request id is mandatory; with the same content it gets the stored answer, with other content
/// none.
#[tokio::test]
async fn request_ids_make_sending_repeatable() {
    let (a, b) = (Node::start("xa.cyber-poc").await, Node::start("xb.ncu").await);
    a.trust(&b).await;
    let mut client = a.messages();
    let mut without = request(1, &["xb.ncu"]);
    without.request_id = String::new();
    let error = client.send_message(without).await.unwrap_err();
    let field = || vec!["request_id".to_owned()];
    assert_eq!(told(&error), (Code::InvalidArgument, Reason::RequestIdMissing, field()));

    let mut check = request(1, &["xb.ncu"]);
    check.validate_only = true;
    let checked = client.send_message(check.clone()).await.unwrap().into_inner();
    assert_eq!(checked.message.unwrap().message_id, "");
    assert_eq!(a.relay.store().list(&Default::default(), None, 9).unwrap().messages.len(), 0);

    let first = client.send_message(request(1, &["xb.ncu"])).await.unwrap().into_inner();
    let again = client.send_message(request(1, &["xb.ncu"])).await.unwrap().into_inner();
    assert!(again.repeated_request && !first.repeated_request);
    assert_eq!(again.message.unwrap().message_id, first.message.unwrap().message_id);

    let mut other = request(2, &["xb.ncu"]);
    other.request_id = id(1);
    let error = client.send_message(other).await.unwrap_err();
    assert_eq!(told(&error), (Code::AlreadyExists, Reason::RequestIdConflict, Vec::new()));
    assert_eq!(a.relay.store().list(&Default::default(), None, 9).unwrap().messages.len(), 1);
    a.stop().await;
    b.stop().await;
}

/// All faults of a draft come together, each under its path; nothing is stored.
#[tokio::test]
async fn faults_name_their_fields() {
    let (a, b) = (Node::start("xa.cyber-poc").await, Node::start("xb.ncu").await);
    a.trust(&b).await;
    let mut client = a.messages();
    let mut bad = request(1, &["xb.ncu"]);
    let payload = bad.draft.as_mut().unwrap().payload.as_mut().unwrap();
    let Some(v1::payload::Body::Alert(alert)) = &mut payload.body else { panic!("an alert") };
    alert.title = "two\u{202e}ways".to_owned();
    alert.observed_from_ms = 0;
    let error = client.send_message(bad).await.unwrap_err();
    let (code, reason, fields) = told(&error);
    assert_eq!((code, reason), (Code::InvalidArgument, Reason::InvalidContent));
    for path in ["draft.payload.alert.title", "draft.payload.alert.observed_from"] {
        assert!(fields.iter().any(|field| field == path), "{path} is not in {fields:?}");
    }
    // Whatever they are about: network, recipients, lifetime, content.
    let mut all = request(1, &["xb.ncu", "xz.nobody", "xb.ncu", "xz.none"]);
    let draft = all.draft.as_mut().unwrap();
    draft.profile = "moon".to_owned();
    draft.expire_time = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    let payload = draft.payload.as_mut().unwrap();
    let Some(v1::payload::Body::Alert(alert)) = &mut payload.body else { panic!("an alert") };
    alert.title.clear();
    let (_, _, fields) = told(&client.send_message(all).await.unwrap_err());
    let many = ["draft.profile", "draft.to", "draft.to", "draft.to", "draft.expire_time"];
    assert_eq!(fields[..5], many, "{fields:?}");
    assert!(fields[5..].iter().any(|field| field == "draft.payload.alert.title"), "{fields:?}");
    let mut empty = request(1, &["xb.ncu"]);
    empty.draft = None;
    let error = client.send_message(empty).await.unwrap_err();
    assert_eq!(told(&error).2, ["draft"]);
    let mut elsewhere = request(1, &["xb.ncu"]);
    elsewhere.draft.as_mut().unwrap().profile = "moon".to_owned();
    let error = client.send_message(elsewhere).await.unwrap_err();
    let field = vec!["draft.profile".to_owned()];
    assert_eq!(told(&error), (Code::InvalidArgument, Reason::UnknownProfile, field));
    a.stop().await;
    b.stop().await;
}

/// A stream answers each request by its id, also the faulty and the repeated one, and those for
/// which the queue had no room; it does not end before the caller ends it.
#[tokio::test]
async fn bulk_sending_answers_each() {
    let (a, b) = (Node::start("xa.cyber-poc").await, Node::start("xb.ncu").await);
    a.trust(&b).await;
    let count = u32::try_from(QUEUE_MAX).unwrap() + 10;
    let mut requests: Vec<_> = (1..=count).map(|n| request(n, &["xb.ncu"])).collect();
    requests[3].draft.as_mut().unwrap().to = vec!["xz.nobody".to_owned()];
    let mut answers =
        a.messages().send_messages(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let (mut sent, mut refused) = (0, BTreeMap::<String, Vec<String>>::new());
    let mut seen = std::collections::BTreeSet::new();
    while let Some(answer) = answers.message().await.unwrap() {
        assert!(seen.insert(answer.request_id.clone()));
        match answer.outcome.unwrap() {
            Outcome::Sent(message) => {
                assert_eq!((message.short_id.len(), message.header_digest.len()), (9, 32));
                sent += 1;
            }
            Outcome::Status(bytes) => {
                let status = tonic_types::Status::decode(bytes).unwrap();
                let status = tonic::Status::with_details(
                    status.code.into(),
                    status.message.clone(),
                    status.encode_to_vec().into(),
                );
                let label = told(&status).1.label().to_owned();
                let waits = status.get_error_details().retry_info().is_some();
                assert_eq!(waits, label == "QUEUE_FULL");
                refused.entry(label).or_default().push(answer.request_id);
            }
        }
    }
    assert_eq!(seen.len(), count as usize);
    assert_eq!(refused["UNKNOWN_RECIPIENT"], [id(4)]);
    assert_eq!((sent, refused["QUEUE_FULL"].len()), (QUEUE_MAX, 9));
    let page = a.relay.store().list(&Default::default(), None, 1000).unwrap();
    assert_eq!(page.messages.len() as u64, QUEUE_MAX);
    a.stop().await;
    b.stop().await;
}

/// Callers that send in bulk and read none of their answers wait for themselves alone.
#[tokio::test]
async fn a_caller_that_does_not_read_holds_up_nobody() {
    let a = Node::start("xa.cyber-poc").await;
    let bulk = |from: u32, count: u32| {
        tokio_stream::iter((from..from + count).map(|n| request(n, &["xz.nobody"])))
    };
    let mut unread = Vec::new();
    for from in [0, 10_000, 20_000] {
        let answers = a.messages().send_messages(bulk(from, 4_000)).await.unwrap();
        let mut answers = answers.into_inner();
        // It is under way.
        answers.message().await.unwrap().unwrap();
        unread.push(answers);
    }
    for round in 0..20 {
        let answers = a.messages().send_messages(bulk(100_000 + round * 100, 100)).await.unwrap();
        let mut answers = answers.into_inner();
        let all = async {
            let mut count = 0;
            while answers.message().await.unwrap().is_some() {
                count += 1;
            }
            count
        };
        let count = tokio::time::timeout(std::time::Duration::from_secs(20), all).await;
        assert_eq!(count.expect("answers, whoever reads none"), 100);
    }
    drop(unread);
    a.stop().await;
}

/// A full disk refuses messages with a wait, by call and by stream, and nothing else.
#[tokio::test]
async fn a_full_disk_is_told_with_a_wait() {
    let (a, b) = (Node::start_full("xa.cyber-poc").await, Node::start("xb.ncu").await);
    // Peers are changed all the same.
    a.trust(&b).await;
    let mut client = a.messages();
    for priority in [v1::Priority::Routine, v1::Priority::Urgent, v1::Priority::Emergency] {
        let mut asked = request(1, &["xb.ncu"]);
        let draft = asked.draft.as_mut().unwrap();
        draft.priority = priority.into();
        if priority != v1::Priority::Routine {
            draft.payload.as_mut().unwrap().urgency_reason = "evidence is at risk".to_owned();
        }
        let error = client.send_message(asked).await.unwrap_err();
        assert_eq!(told(&error), (Code::ResourceExhausted, Reason::StorageFull, Vec::new()));
        let wait = error.get_error_details().retry_info().and_then(|info| info.retry_delay);
        assert_eq!(wait, Some(std::time::Duration::from_secs(60)));
    }
    let status = a.node().get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.store.unwrap().room, "RECEIPTS_ONLY");
    let requests = vec![request(2, &["xb.ncu"]), request(3, &["xz.nobody"])];
    let answers = client.send_messages(tokio_stream::iter(requests)).await.unwrap();
    let (mut answers, mut labels) = (answers.into_inner(), Vec::new());
    while let Some(answer) = answers.message().await.unwrap() {
        let Some(Outcome::Status(bytes)) = answer.outcome else { panic!("taken") };
        let status = tonic_types::Status::decode(bytes).unwrap();
        let details = status.encode_to_vec().into();
        let status = tonic::Status::with_details(status.code.into(), status.message, details);
        labels.push((answer.request_id, told(&status).1));
    }
    labels.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [(id(2), Reason::StorageFull), (id(3), Reason::UnknownRecipient)];
    assert_eq!(labels, expected);
    assert_eq!(a.relay.store().list(&Default::default(), None, 9).unwrap().messages.len(), 0);
    a.stop().await;
    b.stop().await;
}
