//! Who may call what, over a real socket: every method of every service with every role, whose
//! messages are seen, and what is written down of it.

use std::collections::BTreeSet;

use nix::unistd::Uid;
use prost::Message as _;
use relay_proto::{
    DESCRIPTOR_SET,
    audit::Chain,
    reason::Reason,
    v1::{self, MessageView, message_service_client::MessageServiceClient},
};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codegen::{Bytes, http::uri::PathAndQuery},
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};
use tonic_prost::ProstCodec;

use super::{
    fixture::{Node, Setup, id, now, request},
    serving::{fingerprint, leaf, new_authority, tcp_settings},
    told,
};
use crate::{
    api::access::{NEEDS, Needs},
    config::{AccountSettings, Role},
};

fn account(name: &str, user: u32, roles: &[Role]) -> AccountSettings {
    AccountSettings {
        name: name.to_owned(),
        users: BTreeSet::from([user]),
        certificates: BTreeSet::new(),
        roles: roles.iter().copied().collect(),
        purpose: String::new(),
    }
}

async fn node_for(roles: &[Role]) -> Node {
    let user = Uid::effective().as_raw();
    Node::start_for("xa.cyber-poc", vec![account("tested", user, roles)]).await
}

/// Calls a method with an empty request, whatever its messages are.
async fn call(node: &Node, service: &str, method: &str) -> Result<(), Status> {
    let mut grpc = Grpc::new(node.channel.clone());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::try_from(format!("/{service}/{method}")).unwrap();
    let codec = ProstCodec::<(), ()>::default();
    // All kinds of calls are one on the wire: this sends one message and ends.
    let mut request = Request::new(tokio_stream::iter([()]));
    request.set_timeout(std::time::Duration::from_secs(2));
    grpc.streaming(request, path, codec).await.map(drop)
}

/// All methods of this relay's services, as their description says.
fn methods() -> Vec<(String, String)> {
    let set = prost_types::FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap();
    let services = set.file.iter().flat_map(|file| {
        file.service
            .iter()
            .map(move |service| (format!("{}.{}", file.package(), service.name()), service))
    });
    let each = services.flat_map(|(name, service)| {
        service.method.iter().map(move |method| (name.clone(), method.name().to_owned()))
    });
    each.collect()
}

/// The table names every method and no other; so a new one is open to nobody until it is decided
/// who may call it.
#[test]
fn every_method_is_decided() {
    let listed = NEEDS.iter().flat_map(|(service, calls)| {
        calls.iter().map(move |(call, _)| ((*service).to_owned(), (*call).to_owned()))
    });
    let ours: BTreeSet<_> = listed.filter(|(service, _)| service.starts_with("relay.")).collect();
    assert_eq!(ours, methods().into_iter().collect());
}

/// The matrix: each method is open to the roles of the table and to no other. What is let through
/// fails later, for its request is empty, but never for its caller.
#[tokio::test]
async fn each_role_opens_what_it_is_for() {
    for (word, role) in Role::ALL {
        let node = node_for(&[role]).await;
        for (service, calls) in NEEDS {
            for (method, needs) in *calls {
                let open = match needs {
                    Needs::Nothing | Needs::Account => true,
                    Needs::OneOf(roles) => roles.contains(&role),
                };
                let denied = matches!(
                    call(&node, service, method).await,
                    Err(status) if status.code() == Code::PermissionDenied
                );
                assert_eq!(!denied, open, "{service}/{method} as {word}");
            }
        }
        node.stop().await;
    }
}

/// Whoever has no account may ask whether the node is well and nothing else; he is told who he is
/// taken for. What nobody knows nobody may call.
#[tokio::test]
async fn strangers_are_denied() {
    let user = Uid::effective().as_raw();
    let all = Role::ALL.map(|(_, role)| role);
    let node = Node::start_for("xa.cyber-poc", vec![account("other", user + 1, &all)]).await;
    for (service, calls) in NEEDS {
        for (method, needs) in *calls {
            let answer = call(&node, service, method).await;
            match needs {
                Needs::Nothing => assert!(!is_denied(&answer), "{method}"),
                _ => {
                    let status = answer.unwrap_err();
                    assert_eq!(told(&status).1, Reason::PermissionDenied, "{method}");
                    let expected = format!("uid:{user} has no account at this node");
                    assert!(status.message().starts_with(&expected), "{}", status.message());
                }
            }
        }
    }
    node.stop().await;
    let node = node_for(&all).await;
    for (service, method) in [
        ("relay.v1.MessageService", "Other"),
        ("relay.v2.X", "Y"),
        ("", ""),
        ("grpc.health.v1", ""),
    ] {
        assert!(is_denied(&call(&node, service, method).await), "{service}/{method}");
    }
    node.stop().await;
}

fn is_denied(answer: &Result<(), Status>) -> bool {
    matches!(answer, Err(status) if status.code() == Code::PermissionDenied)
}

/// Sending is submitting or responding, by the kind of what is sent: an account may have one and
/// not the other.
#[tokio::test]
async fn a_kind_belongs_to_a_role() {
    let reply = |n: u32| {
        let mut reply = request(n, &["xb.ncu"]);
        let payload = reply.draft.as_mut().unwrap().payload.as_mut().unwrap();
        payload.body = Some(v1::payload::Body::AlertFeedback(v1::AlertFeedback::default()));
        payload.in_reply_to = Bytes::from_static(&[1; 16]);
        reply
    };
    for (role, alert_denied, reply_denied) in
        [(Role::Submit, false, true), (Role::Respond, true, false)]
    {
        let node = node_for(&[role]).await;
        for (request, denied) in [(request(1, &["xb.ncu"]), alert_denied), (reply(2), reply_denied)]
        {
            // Nobody is verified here, so that what passes is refused for that.
            let status = node.messages().send_message(request.clone()).await.unwrap_err();
            assert_eq!(status.code() == Code::PermissionDenied, denied, "{role:?}: {status}");
            let stream = tokio_stream::iter([request]);
            let answers = node.messages().send_messages(stream).await.unwrap();
            let answer = answers.into_inner().message().await.unwrap().unwrap();
            let Some(v1::send_messages_response::Outcome::Status(details)) = answer.outcome else {
                panic!("sent")
            };
            let details = tonic_types::pb::Status::decode(details).unwrap();
            assert_eq!(details.code == Code::PermissionDenied as i32, denied, "{role:?}");
        }
        node.stop().await;
    }
}

/// Who reads his own only sees what his account sent or took: by name, in lists and in events;
/// whoever reads everything sees the rest.
#[tokio::test]
async fn own_messages_are_seen_and_no_others() {
    let user = Uid::effective().as_raw();
    let all = Role::ALL.map(|(_, role)| role);
    let own = [Role::ReadOwn, Role::Submit, Role::Acknowledge, Role::Administer];
    let (a, b) =
        (node_for(&own).await, Node::start_for("xb.ncu", vec![account("desk", user, &all)]).await);
    a.trust(&b).await;
    b.trust(&a).await;
    let mut from_b = request(9, &["xa.cyber-poc"]);
    let payload = from_b.draft.as_mut().unwrap().payload.as_mut().unwrap();
    payload.sender_ref = "B-1".to_owned();
    let theirs = b.messages().send_message(from_b).await.unwrap().into_inner().message.unwrap();
    a.receive(&b, &theirs.message_id).await;
    let ours = a.messages().send_message(request(1, &["xb.ncu"])).await.unwrap();
    let ours = ours.into_inner().message.unwrap();

    let seen = async |node: &Node| {
        let list = v1::ListMessagesRequest::default();
        let listed = node.messages().list_messages(list).await.unwrap().into_inner().messages;
        let events = v1::ListEventsRequest { page_size: 1000, ..Default::default() };
        let events = node.messages().list_events(events).await.unwrap().into_inner().events;
        let listed: BTreeSet<_> = listed.into_iter().map(|message| message.message_id).collect();
        let told: BTreeSet<_> = events.into_iter().map(|event| event.message_id).collect();
        (listed, told)
    };
    let only = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
    let get = |name: &str| v1::GetMessageRequest { name: name.to_owned(), ..Default::default() };
    let mine = only(&[&ours.message_id]);
    assert_eq!(seen(&a).await, (mine.clone(), mine));
    let hidden = a.messages().get_message(get(&theirs.name)).await.unwrap_err();
    let missing = a.messages().get_message(get("0000-0000")).await.unwrap_err();
    assert_eq!((told(&hidden).1, hidden.message()), (Reason::NotFound, missing.message()));
    for denied in [
        a.messages()
            .list_receipts(v1::ListReceiptsRequest { name: theirs.name.clone() })
            .await
            .err(),
        a.messages()
            .export_evidence(v1::ExportEvidenceRequest {
                name: theirs.name.clone(),
                ..Default::default()
            })
            .await
            .err(),
    ] {
        assert_eq!(told(&denied.unwrap()).1, Reason::NotFound);
    }
    // Taken, it is the account's own.
    let ack = v1::AcknowledgeMessageRequest {
        request_id: id(2),
        name: theirs.name.clone(),
        capacity: v1::AckCapacity::Handover.into(),
        by: String::new(),
    };
    a.messages().acknowledge_message(ack).await.unwrap();
    let both = only(&[&ours.message_id, &theirs.message_id]);
    assert_eq!(seen(&a).await, (both.clone(), both));
    a.messages().get_message(get(&theirs.name)).await.unwrap();
    a.stop().await;
    b.stop().await;
}

/// Content is read for a purpose, which is in the audit log before the content leaves; so is what
/// was sent, taken, changed and refused, each entry bound to the one before.
#[tokio::test]
async fn what_is_done_is_written_down() {
    let all = Role::ALL.map(|(_, role)| role);
    let (a, b) = (node_for(&all).await, Node::start("xb.ncu").await);
    a.trust(&b).await;
    let sent = a.messages().send_message(request(1, &["xb.ncu"])).await.unwrap();
    let sent = sent.into_inner().message.unwrap();
    let full = |purpose: &str| v1::GetMessageRequest {
        name: sent.name.clone(),
        view: MessageView::Full.into(),
        purpose: purpose.to_owned(),
    };
    for missing in ["", "  "] {
        let refused = a.messages().get_message(full(missing)).await.unwrap_err();
        assert_eq!(
            told(&refused),
            (Code::InvalidArgument, Reason::PurposeMissing, vec!["purpose".to_owned()])
        );
    }
    for bad in ["two\nlines".to_owned(), "x".repeat(201)] {
        let refused = a.messages().get_message(full(&bad)).await.unwrap_err();
        assert_eq!(told(&refused).1, Reason::InvalidContent);
    }
    a.messages().get_message(full("casework 7")).await.unwrap();
    let export = v1::ExportEvidenceRequest {
        name: sent.name.clone(),
        include_payload: true,
        purpose: String::new(),
    };
    let refused = a.messages().export_evidence(export.clone()).await.unwrap_err();
    assert_eq!(told(&refused).1, Reason::PurposeMissing);
    let export = v1::ExportEvidenceRequest { purpose: "for the court".to_owned(), ..export };
    a.messages().export_evidence(export).await.unwrap();
    let suspend = v1::SuspendPeerRequest {
        request_id: id(3),
        unit: "xb.ncu".to_owned(),
        reason: "key may be lost".to_owned(),
        by: "Novak".to_owned(),
    };
    a.peers().suspend_peer(suspend).await.unwrap();
    assert!(is_denied(&call(&a, "relay.v1.MessageService", "Other").await));

    let records = audited(&a).await;
    let told: Vec<_> = records
        .iter()
        .map(|one| (one.call.as_str(), one.purpose.as_str(), one.refused.as_str()))
        .take(6)
        .collect();
    let expected = [
        ("SendMessage", "", ""),
        ("GetMessage", "casework 7", ""),
        ("ExportEvidence", "for the court", ""),
        ("SuspendPeer", "", ""),
        ("an unknown call", "", "PERMISSION_DENIED"),
        ("ListAudit", "", ""),
    ];
    assert_eq!(told, expected);
    assert!(records.iter().all(|one| one.account == "tested" && one.caller.starts_with("uid:")));
    let objects: Vec<_> = records.iter().take(4).map(|one| one.object.as_str()).collect();
    assert_eq!(objects, [&*sent.name, &*sent.name, &*sent.name, "peers/xb.ncu"]);
    assert_eq!(records[0].units, ["xb.ncu"]);
    assert_eq!((records[0].number, records[0].previous.len()), (1, 0));
    a.stop().await;
    b.stop().await;
}

/// What is in the audit log, in pages of two; it holds together.
async fn audited(node: &Node) -> Vec<v1::AuditRecord> {
    let list = v1::ListAuditRequest { page_size: 2, ..Default::default() };
    let (mut records, mut token, mut chain) = (Vec::new(), String::new(), Chain::default());
    loop {
        let list = v1::ListAuditRequest { page_token: token, ..list.clone() };
        let page = node.audit().list_audit(list).await.unwrap().into_inner();
        for record in &page.records {
            chain.next(record).unwrap();
        }
        records.extend(page.records);
        token = page.next_page_token;
        // Each look at the log is one more entry of it.
        if token.is_empty() || records.len() > 7 {
            return records;
        }
    }
}

/// The newest first; of one account alone.
#[tokio::test]
async fn the_audit_log_is_searched() {
    let a = node_for(&Role::ALL.map(|(_, role)| role)).await;
    assert!(is_denied(&call(&a, "relay.v1.MessageService", "Other").await));
    let newest = v1::ListAuditRequest {
        newest_first: true,
        page_size: 1,
        account: "tested".to_owned(),
        ..Default::default()
    };
    assert_eq!(audited(&a).await[0].call, "an unknown call");
    let newest = a.audit().list_audit(newest).await.unwrap().into_inner();
    assert_eq!(newest.records[0].call, "ListAudit");
    let none = v1::ListAuditRequest { account: "nobody".to_owned(), ..Default::default() };
    assert!(a.audit().list_audit(none).await.unwrap().into_inner().records.is_empty());
    a.stop().await;
}

/// Who is refused again and again fills no disk: of each caller an hour's refusals are kept up to
/// a bound.
#[tokio::test]
async fn refusals_are_kept_up_to_a_bound() {
    let node = node_for(&[Role::Audit]).await;
    for _ in 0..80 {
        assert!(is_denied(&call(&node, "relay.v1.CaseService", "ListCases").await));
    }
    let all = v1::ListAuditRequest { page_size: 1000, ..Default::default() };
    let kept = node.audit().list_audit(all).await.unwrap().into_inner().records;
    assert_eq!((kept.len(), kept[0].call.as_str()), (60, "ListCases"));
    node.stop().await;
}

/// Whoever says something in a case sees all of it: so nobody joins one that he does not see.
#[tokio::test]
async fn nobody_joins_a_case_that_he_does_not_see() {
    let dir = tempfile::tempdir().unwrap();
    let authority = new_authority();
    let (certificate, key) = leaf(&authority, "other");
    let own = [Role::Submit, Role::ReadOwn];
    let mut other = account("other", 0, &own);
    (other.users, other.certificates) = (BTreeSet::new(), [fingerprint(&certificate)].into());
    let setup = Setup {
        tcp: Some(tcp_settings(dir.path(), &authority)),
        accounts: vec![account("tested", Uid::effective().as_raw(), &own), other],
        ..Setup::default()
    };
    let (a, b) = (Node::start_as("xa.cyber-poc", setup).await, Node::start("xb.ncu").await);
    a.trust(&b).await;
    let text = include_str!("../../../../config/demo/preservation.json");
    let mut draft = relay_proto::file::MessageFile::parse(text, now()).unwrap();
    draft.to = vec!["xb.ncu".to_owned()];
    let first = v1::SendMessageRequest { request_id: id(1), draft: Some(draft), ..request(1, &[]) };
    let sent = a.messages().send_message(first).await.unwrap().into_inner().message.unwrap();
    let case: relay_proto::ids::CaseId = sent.case_id.parse().unwrap();

    let mut joining = request(2, &["xb.ncu"]);
    let payload = joining.draft.as_mut().unwrap().payload.as_mut().unwrap();
    payload.case_id = Bytes::copy_from_slice(case.as_bytes());
    payload.in_reply_to = Bytes::from_static(&[1; 16]);
    payload.body = Some(v1::payload::Body::Withdrawal(v1::Withdrawal::default()));
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority.pem()))
        .identity(Identity::from_pem(certificate, key))
        .domain_name("localhost");
    let address = format!("https://127.0.0.1:{}", a.tcp.unwrap().port());
    let channel = Endpoint::from_shared(address).unwrap().tls_config(tls).unwrap().connect().await;
    let mut others = MessageServiceClient::new(channel.unwrap());
    let refused = others.send_message(joining.clone()).await.unwrap_err();
    assert_eq!(told(&refused).1, Reason::UnknownCase);
    let check = v1::SendMessageRequest { validate_only: true, ..joining.clone() };
    assert_eq!(told(&others.send_message(check).await.unwrap_err()).1, Reason::UnknownCase);
    // Whoever began it is told what is wrong with his message instead.
    let own = a.messages().send_message(joining).await.unwrap_err();
    assert_ne!(told(&own).1, Reason::UnknownCase);
    drop(others);
    a.stop().await;
    b.stop().await;
}
