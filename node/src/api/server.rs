//! Listening and serving: limits, health, reflection, and the stop.
//!
//! Both listeners serve the same services. Invariant: on a stop health says so first, then nothing
//! new is taken, then what runs is answered, for a bounded time.

use std::{
    fs, net::TcpListener as StdTcpListener, path::Path, sync::atomic::Ordering, time::Duration,
};

use relay_proto::{
    DESCRIPTOR_SET, limits,
    v1::{
        approval_service_server::ApprovalServiceServer,
        attachment_service_server::AttachmentServiceServer,
        audit_service_server::AuditServiceServer, case_service_server::CaseServiceServer,
        message_service_server::MessageServiceServer, node_service_server::NodeServiceServer,
        peer_service_server::PeerServiceServer,
    },
};
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{
    service::Routes,
    transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming},
};
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{
    Api, ApiError, Service,
    access::GateLayer,
    crowd::{Admitted, Limits},
    socket::Socket,
};
use crate::{config::ApiSettings, config::ApiTcpSettings, tasks::TaskKind};

/// Binds, then serves in tasks.
pub(super) fn start(settings: &ApiSettings, service: Service) -> Result<Api, ApiError> {
    let path = settings.socket.clone();
    let (socket, listener) = Socket::bind(&path, settings.socket_mode)?;
    let unix = UnixListener::from_std(listener)
        .map_err(|source| ApiError::Socket { path: path.clone(), source })?;
    let tcp = settings.tcp.as_ref().map(listen_tcp).transpose()?;
    let tcp_address = tcp.as_ref().and_then(|(listener, _)| listener.local_addr().ok());
    let (health, routes) = routes(&service)?;
    let tasks = service.shared.tasks.clone();
    tasks.spawn("api-health", TaskKind::Process, watch_health(service.clone(), health.clone()));

    let stop = stopping(service.clone(), health.clone());
    let gate = GateLayer(service.clone());
    let router = server().layer(gate.clone()).add_routes(routes.clone());
    let callers = Admitted::new(UnixListenerStream::new(unix), Limits::default());
    let serve = router.serve_with_incoming_shutdown(callers, stop);
    let shared = service.shared.clone();
    tasks.spawn("api-unix", TaskKind::Process, async move {
        ended("unix", bounded(&shared.stop, serve).await);
        drop(socket);
    });
    if let Some((listener, tls)) = tcp {
        let stop = stopping(service.clone(), health);
        let server = server().tls_config(tls).map_err(ApiError::Tls)?;
        let router = server.layer(gate).add_routes(routes);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let callers = Admitted::new(incoming, Limits::default());
        let serve = router.serve_with_incoming_shutdown(callers, stop);
        let shared = service.shared.clone();
        tasks.spawn("api-tcp", TaskKind::Process, async move {
            ended("tcp", bounded(&shared.stop, serve).await);
        });
    }
    Ok(Api { socket: path, tcp: tcp_address })
}

fn server() -> Server {
    Server::builder()
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
        // Of a call until its answer begins; streams go on.
        .timeout(CALL_MAX)
}

fn routes(service: &Service) -> Result<(HealthReporter, Routes), ApiError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let described = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // Some clients speak only the older of the two.
    let v1 = described().build_v1().map_err(ApiError::Reflection)?;
    let v1alpha = described().build_v1alpha().map_err(ApiError::Reflection)?;
    let messages = MessageServiceServer::new(service.clone());
    let attachments = AttachmentServiceServer::new(service.clone());
    let cases = CaseServiceServer::new(service.clone());
    let peers = PeerServiceServer::new(service.clone());
    let nodes = NodeServiceServer::new(service.clone());
    let audit = AuditServiceServer::new(service.clone());
    let approvals = ApprovalServiceServer::new(service.clone());
    let mut routes = Routes::default();
    routes = routes
        .add_service(
            messages.max_decoding_message_size(DECODE_MAX).max_encoding_message_size(ENCODE_MAX),
        )
        .add_service(attachments.max_decoding_message_size(DECODE_MAX))
        .add_service(
            cases.max_decoding_message_size(DECODE_MAX).max_encoding_message_size(ENCODE_MAX),
        )
        .add_service(
            peers.max_decoding_message_size(DECODE_MAX).max_encoding_message_size(ENCODE_MAX),
        )
        .add_service(
            nodes.max_decoding_message_size(DECODE_MAX).max_encoding_message_size(ENCODE_MAX),
        )
        .add_service(
            audit.max_decoding_message_size(DECODE_MAX).max_encoding_message_size(ENCODE_MAX),
        )
        .add_service(
            approvals.max_decoding_message_size(DECODE_MAX).max_encoding_message_size(ENCODE_MAX),
        )
        .add_service(health_service)
        .add_service(v1)
        .add_service(v1alpha);
    Ok((health, routes))
}

/// Health: all well, until the store ends or the node stops.
async fn watch_health(service: Service, health: HealthReporter) {
    set(&health, ServingStatus::Serving).await;
    let stop = &service.shared.stop;
    tokio::select! {
        () = stop.cancelled() => {}
        _ = service.relay().store().ended() => {
            service.shared.store_ended.store(true, Ordering::Relaxed);
            set(&health, ServingStatus::NotServing).await;
        }
    }
    stop.cancelled().await;
    set(&health, ServingStatus::NotServing).await;
}

/// Resolves when the server is to take nothing more; health says so first.
async fn stopping(service: Service, health: HealthReporter) {
    service.shared.stop.cancelled().await;
    set(&health, ServingStatus::NotServing).await;
}

async fn set(health: &HealthReporter, status: ServingStatus) {
    for name in HEALTH_NAMES {
        health.set_service_status(name, status).await;
    }
}

/// A server's end, but no longer than the drain after a stop: a caller may hold a stream open for
/// ever.
async fn bounded<E>(
    stop: &tokio_util::sync::CancellationToken,
    serve: impl Future<Output = Result<(), E>>,
) -> Option<Result<(), E>> {
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN_MAX).await;
    };
    tokio::select! {
        end = serve => Some(end),
        () = late => None,
    }
}

fn ended<E: std::fmt::Display>(listener: &str, end: Option<Result<(), E>>) {
    match end {
        Some(Ok(())) => tracing::info!(listener, "api stopped"),
        Some(Err(error)) => tracing::error!(listener, %error, "api ended"),
        None => tracing::warn!(listener, "api stopped with calls still open"),
    }
}

fn listen_tcp(settings: &ApiTcpSettings) -> Result<(TcpListener, ServerTlsConfig), ApiError> {
    let identity = Identity::from_pem(pem(&settings.certificate)?, pem(&settings.key)?);
    // A client without a certificate of this authority is refused in the handshake.
    let authority = Certificate::from_pem(pem(&settings.client_ca)?);
    let tls = ServerTlsConfig::new().identity(identity).client_ca_root(authority);
    let tls = tls.timeout(HANDSHAKE_MAX);
    let address = settings.listen;
    let fault = |source| ApiError::Tcp { address, source };
    let listener = StdTcpListener::bind(address).map_err(fault)?;
    listener.set_nonblocking(true).map_err(fault)?;
    Ok((TcpListener::from_std(listener).map_err(fault)?, tls))
}

fn pem(path: &Path) -> Result<Vec<u8>, ApiError> {
    fs::read(path).map_err(|source| ApiError::Pem { path: path.to_owned(), source })
}

/// The node, its messages, its store.
const HEALTH_NAMES: [&str; 3] = ["", "relay.v1.MessageService", "store"];

/// Largest request: a payload has 256 KiB at most.
const DECODE_MAX: usize = 1 << 20;
/// The largest evidence with what is around it.
const ENCODE_MAX: usize = limits::BUNDLE_BYTES_MAX + 64 * 1024;
/// Calls of one connection that are worked on at once; more wait.
const CALLS_PER_CONNECTION: usize = 64;
const STREAMS_PER_CONNECTION: u32 = 1024;
const HEADER_BYTES_MAX: u32 = 8 * 1024;
const CALL_MAX: Duration = Duration::from_secs(30);
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// After a stop.
const DRAIN_MAX: Duration = Duration::from_secs(10);
