//! Health, reflection and the stop.

use std::{collections::BTreeSet, path::Path};

use data_encoding::HEXLOWER;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use relay_proto::{
    ids::Digest,
    reason::Reason,
    v1::{self, node_service_client::NodeServiceClient},
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{
    fixture::{Node, Setup},
    told,
};
use crate::config::{AccountSettings, ApiTcpSettings, Role};

/// Health and both versions of reflection answer without a description at hand.
#[tokio::test]
async fn tools_find_their_way() {
    let a = Node::start("xa.cyber-poc").await;
    for service in ["", "relay.v1.MessageService", "store"] {
        let check = HealthCheckRequest { service: service.to_owned() };
        let mut health = HealthClient::new(a.channel.clone());
        // The task that says so runs beside the server: wait for it, not for a time.
        let mut watch = health.watch(check).await.unwrap().into_inner();
        while watch.message().await.unwrap().unwrap().status != 1 {}
    }
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(a.channel.clone());
    let answers = client.server_reflection_info(tokio_stream::iter([ask])).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("no list of services");
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["relay.v1.MessageService", "relay.v1.PeerService", "relay.v1.NodeService"] {
        assert!(names.contains(&name), "{names:?}");
    }
    a.stop().await;
}

/// A stop ends watches with its reason, and the socket is gone afterwards.
#[tokio::test]
async fn a_stop_is_told() {
    let a = Node::start("xa.cyber-poc").await;
    let watch = v1::WatchEventsRequest::default();
    let mut events = a.messages().watch_events(watch).await.unwrap().into_inner();
    a.tasks.stop_token().cancel();
    let end = loop {
        match events.message().await {
            Ok(Some(_)) => {}
            end => break end.unwrap_err(),
        }
    };
    assert_eq!((end.code(), told(&end).1), (tonic::Code::Unavailable, Reason::Stopping));
    let socket = a.socket.clone();
    drop(events);
    a.stop().await;
    assert!(!socket.exists());
}

/// On TCP a client with a certificate of the authority is answered; one with none, or with another
/// authority's, or without TLS, is not.
#[tokio::test]
async fn tcp_needs_a_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, stranger) = (new_authority(), new_authority());
    let settings = tcp_settings(dir.path(), &authority);
    let (known, unknown) = (leaf(&authority, "case-system"), leaf(&authority, "another"));
    let account = AccountSettings {
        name: "case-system".to_owned(),
        users: BTreeSet::new(),
        certificates: BTreeSet::from([fingerprint(&known.0)]),
        roles: BTreeSet::from([Role::ReadOwn]),
        purpose: String::new(),
    };
    let a = Node::start_as(
        "xa.cyber-poc",
        Setup { tcp: Some(settings), accounts: vec![account], ..Setup::default() },
    )
    .await;
    let port = a.tcp.unwrap().port();
    let call = async |identity: Option<Identity>| {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(authority.pem()))
            .domain_name("localhost");
        if let Some(identity) = identity {
            tls = tls.identity(identity);
        }
        let address = format!("https://127.0.0.1:{port}");
        let endpoint = Endpoint::from_shared(address).unwrap().tls_config(tls).unwrap();
        let channel = endpoint.connect().await.ok()?;
        Some(NodeServiceClient::new(channel).get_status(v1::GetStatusRequest {}).await)
    };
    let identity = |authority| {
        let (certificate, key) = leaf(authority, "case-system");
        Identity::from_pem(certificate, key)
    };
    let of = |pair: &(String, String)| Identity::from_pem(&pair.0, &pair.1);
    let status = call(Some(of(&known))).await.unwrap().unwrap().into_inner();
    assert_eq!(status.unit, "xa.cyber-poc");
    // Of the same authority, but without an account: told who it is taken for.
    let refused = call(Some(of(&unknown))).await.unwrap().unwrap_err();
    assert_eq!(told(&refused).1, Reason::PermissionDenied);
    let fingerprint = HEXLOWER.encode(&fingerprint(&unknown.0));
    assert!(refused.message().contains(&format!("cert:{fingerprint} has no account")));
    assert!(call(None).await.is_none_or(|answer| answer.is_err()));
    assert!(call(Some(identity(&stranger))).await.is_none_or(|answer| answer.is_err()));
    let plain = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap().connect().await;
    if let Ok(channel) = plain {
        let asked = NodeServiceClient::new(channel).get_status(v1::GetStatusRequest {}).await;
        assert!(asked.is_err());
    }
    a.stop().await;
}

/// Of client and server certificates.
pub type Authority = CertifiedIssuer<'static, KeyPair>;

/// A listener for clients of an authority; its files in a directory.
pub fn tcp_settings(dir: &Path, authority: &Authority) -> ApiTcpSettings {
    let (certificate, key) = leaf(authority, "localhost");
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    ApiTcpSettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        certificate: file("cert", &certificate),
        key: file("key", &key),
        client_ca: file("ca", &authority.pem()),
    }
}

pub fn fingerprint(certificate: &str) -> [u8; 32] {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    *Digest::of(der.as_ref()).as_bytes()
}

pub fn new_authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub fn leaf(authority: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}
