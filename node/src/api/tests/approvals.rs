//! Two officers: what the profile names is sent only when another account agreed.

use std::collections::BTreeSet;

use nix::unistd::Uid;
use relay_proto::{
    reason::Reason,
    v1::{
        self, ApprovalState as State, Kind, approval_service_client::ApprovalServiceClient,
        message_service_client::MessageServiceClient,
    },
};
use tonic::{
    Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{
    fixture::{Node, Setup, id, request},
    serving::{fingerprint, leaf, new_authority, tcp_settings},
    told,
};
use crate::config::{AccountSettings, Role};

/// A node at which alerts need two officers: the first calls over the socket, the second over TCP.
struct Desk {
    node: Node,
    peer: Node,
    second: Channel,
    _dir: tempfile::TempDir,
}

impl Desk {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = new_authority();
        let (certificate, key) = leaf(&authority, "second");
        let account = |name: &str, users: &[u32], certificates: &[[u8; 32]]| AccountSettings {
            name: name.to_owned(),
            users: users.iter().copied().collect(),
            certificates: certificates.iter().copied().collect(),
            roles: BTreeSet::from([Role::Submit, Role::ReadAll, Role::Audit]),
            purpose: "a test".to_owned(),
        };
        let setup = Setup {
            tcp: Some(tcp_settings(dir.path(), &authority)),
            accounts: vec![
                account("first", &[Uid::effective().as_raw()], &[]),
                account("second", &[], &[fingerprint(&certificate)]),
            ],
            two_officers: vec![Kind::Alert],
            ..Setup::default()
        };
        let (node, peer) =
            (Node::start_as("xa.cyber-poc", setup).await, Node::start("xb.ncu").await);
        node.trust(&peer).await;
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(authority.pem()))
            .identity(Identity::from_pem(certificate, key))
            .domain_name("localhost");
        let address = format!("https://127.0.0.1:{}", node.tcp.unwrap().port());
        let endpoint = Endpoint::from_shared(address).unwrap().tls_config(tls).unwrap();
        let second = endpoint.connect().await.unwrap();
        Self { node, peer, second, _dir: dir }
    }

    async fn ask(&self, n: u32) -> v1::SendMessageResponse {
        self.node.messages().send_message(request(n, &["xb.ncu"])).await.unwrap().into_inner()
    }

    async fn grant(&self, name: &str) -> Result<v1::SendMessageResponse, Status> {
        let grant = v1::GrantApprovalRequest { request_id: id(90), name: name.to_owned() };
        let mut second = ApprovalServiceClient::new(self.second.clone());
        second.grant_approval(grant).await.map(tonic::Response::into_inner)
    }

    async fn listed(&self, include_decided: bool) -> Vec<v1::Approval> {
        let list = v1::ListApprovalsRequest { include_decided, ..Default::default() };
        self.node.approvals().list_approvals(list).await.unwrap().into_inner().approvals
    }

    async fn sent(&self) -> usize {
        let list = v1::ListMessagesRequest::default();
        self.node.messages().list_messages(list).await.unwrap().into_inner().messages.len()
    }

    async fn stop(self) {
        drop(self.second);
        self.node.stop().await;
        self.peer.stop().await;
    }
}

/// What needs two officers waits and is nowhere sent; whoever asked cannot grant it, another can,
/// once; from then on the first request has the answer of a sent message.
#[tokio::test]
async fn a_second_officer_sends_what_waits() {
    let desk = Desk::open().await;
    let asked = desk.ask(1).await;
    assert!(asked.approval.starts_with("approvals/") && !asked.repeated_request);
    assert_eq!(asked.message.unwrap().message_id, "");
    let again = desk.ask(1).await;
    assert_eq!((&again.approval, again.repeated_request), (&asked.approval, true));
    let mut other = request(1, &["xb.ncu"]);
    other.draft.as_mut().unwrap().priority = v1::Priority::Urgent.into();
    let draft = other.draft.as_mut().unwrap();
    draft.payload.as_mut().unwrap().urgency_reason = "it spreads".to_owned();
    let conflict = desk.node.messages().send_message(other).await.unwrap_err();
    assert_eq!(told(&conflict).1, Reason::RequestIdConflict);
    assert_eq!(desk.sent().await, 0);

    let [waiting] = desk.listed(false).await.try_into().unwrap();
    assert_eq!((waiting.account.as_str(), waiting.kind()), ("first", Kind::Alert));
    assert!(waiting.draft.is_none() && waiting.state() == State::Waiting);
    let get = v1::GetApprovalRequest { name: asked.approval.clone(), purpose: String::new() };
    let read = desk.node.approvals().get_approval(get).await.unwrap().into_inner();
    assert_eq!(read.draft, request(1, &["xb.ncu"]).draft);

    let own = v1::GrantApprovalRequest { request_id: id(80), name: asked.approval.clone() };
    let own = desk.node.approvals().grant_approval(own).await.unwrap_err();
    assert_eq!(told(&own).1, Reason::PermissionDenied);
    assert!(own.message().contains("another officer"), "{}", own.message());
    assert_eq!(desk.sent().await, 0);

    let granted = desk.grant(&asked.approval).await.unwrap();
    let message = granted.message.unwrap();
    assert_eq!((message.kind(), granted.repeated_request), (Kind::Alert, false));
    let twice = desk.grant(&asked.approval).await.unwrap();
    assert_eq!(
        (twice.message.unwrap().message_id, twice.repeated_request),
        (message.message_id.clone(), true)
    );
    let first = desk.ask(1).await;
    assert_eq!((first.approval.as_str(), first.repeated_request), ("", true));
    assert_eq!(first.message.unwrap().message_id, message.message_id);
    assert_eq!((desk.sent().await, desk.listed(false).await.len()), (1, 0));
    let [decided] = desk.listed(true).await.try_into().unwrap();
    assert_eq!((decided.state(), decided.decided_by.as_str()), (State::Granted, "second"));
    assert_eq!(decided.message_id, message.message_id);

    let audit = v1::ListAuditRequest { page_size: 100, ..Default::default() };
    let audit = desk.node.audit().list_audit(audit).await.unwrap().into_inner().records;
    let told: Vec<_> = audit
        .iter()
        .map(|one| (one.call.as_str(), one.account.as_str(), one.object.starts_with("approvals/")))
        .collect();
    let expected = [
        ("SendMessage", "first", true),
        ("GetApproval", "first", true),
        // Refused: whoever asked is no second officer.
        ("GrantApproval", "first", false),
        ("GrantApproval", "second", false),
    ];
    assert_eq!(told, expected);
    desk.stop().await;
}

/// What is dropped is never sent, and whoever asked is told by whom and why.
#[tokio::test]
async fn what_is_dropped_is_never_sent() {
    let desk = Desk::open().await;
    let asked = desk.ask(1).await;
    let drop = v1::DropApprovalRequest {
        request_id: id(81),
        name: asked.approval.clone(),
        reason: "not ours to warn of".to_owned(),
    };
    let mut second = ApprovalServiceClient::new(desk.second.clone());
    let dropped = second.drop_approval(drop.clone()).await.unwrap().into_inner();
    assert_eq!((dropped.state(), dropped.decided_by.as_str()), (State::Dropped, "second"));
    assert_eq!(second.drop_approval(drop).await.unwrap().into_inner(), dropped);
    let granted = desk.grant(&asked.approval).await.unwrap_err();
    let again = desk.node.messages().send_message(request(1, &["xb.ncu"])).await.unwrap_err();
    for refused in [granted, again] {
        assert_eq!(told(&refused).1, Reason::FailedPrecondition);
        assert!(refused.message().contains("second dropped it"), "{}", refused.message());
        assert!(refused.message().contains("not ours to warn of"), "{}", refused.message());
    }
    // In bulk the same waits, beside what needs nobody.
    let mut messages = MessageServiceClient::new(desk.second.clone());
    let stream = tokio_stream::iter([request(2, &["xb.ncu"])]);
    let answers = messages.send_messages(stream).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let Some(v1::send_messages_response::Outcome::Sent(sent)) = answer.outcome else {
        panic!("not taken")
    };
    assert!(sent.approval.starts_with("approvals/") && sent.message_id.is_empty());
    assert_eq!((desk.sent().await, desk.listed(false).await.len()), (0, 1));
    desk.stop().await;
}
