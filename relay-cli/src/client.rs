//! The connection to the node: a Unix socket by default, TCP with a client certificate.
//!
//! Enter through [`Node::connect`]. Every call has a deadline. Errors become [`Failure`] here or in
//! [`Failure::of_status`], so that commands deal with neither tonic's nor the system's errors.

use std::{
    io,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use relay_proto::{
    limits,
    v1::{
        approval_service_client::ApprovalServiceClient,
        attachment_service_client::AttachmentServiceClient,
        audit_service_client::AuditServiceClient, case_service_client::CaseServiceClient,
        message_service_client::MessageServiceClient, node_service_client::NodeServiceClient,
        peer_service_client::PeerServiceClient,
    },
};
use tokio::net::UnixStream;
use tonic::{
    Request, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri},
};

use crate::{
    args::Global,
    exit::Exit,
    failure::{Failure, answer_lost},
};

/// A node that answers.
#[derive(Debug, Clone)]
pub struct Node {
    channel: Channel,
    target: Target,
    timeout: Duration,
}

/// Where the node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Path of a Unix socket.
    Socket(PathBuf),
    /// `https://host:port`.
    Url(String),
}

impl Target {
    /// From `--node` or RELAY_NODE: what looks like a URL is one, anything else is a path.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Socket(path.strip_prefix("//").unwrap_or(path).into()));
        }
        if text.starts_with("https://") {
            return Ok(Self::Url(text.to_owned()));
        }
        if text.contains("://") {
            let what = format!("--node {text}: only https:// and Unix sockets are spoken.");
            return Err(Failure::new(Exit::Usage, what)
                .with_remedy("--node https://HOST:PORT with --tls-ca, --tls-cert, --tls-key"));
        }
        Ok(Self::Socket(text.into()))
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
        }
    }
}

impl Node {
    /// Connects to the node that the flags, or the environment's RELAY_NODE, name.
    pub async fn connect(global: &Global, environment: Option<String>) -> Result<Self, Failure> {
        let text = global.node.clone().or(environment).unwrap_or_else(|| DEFAULT_NODE.to_owned());
        let target = Target::parse(&text)?;
        let timeout = global.timeout.unwrap_or(CALL_TIMEOUT).min(CALL_TIMEOUT);
        let channel = match &target {
            Target::Socket(path) => over_socket(path, timeout).await?,
            Target::Url(url) => over_tls(url, global, timeout).await?,
        };
        Ok(Self { channel, target, timeout })
    }

    /// Messages, receipts, events.
    pub fn messages(&self) -> MessageServiceClient<Channel> {
        MessageServiceClient::new(self.channel.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
            .max_encoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Files that go with messages.
    pub fn attachments(&self) -> AttachmentServiceClient<Channel> {
        AttachmentServiceClient::new(self.channel.clone())
    }

    /// Cases.
    pub fn cases(&self) -> CaseServiceClient<Channel> {
        CaseServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Peers.
    pub fn peers(&self) -> PeerServiceClient<Channel> {
        PeerServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// What a second officer has to agree to.
    pub fn approvals(&self) -> ApprovalServiceClient<Channel> {
        ApprovalServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Who did what.
    pub fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// The node itself.
    pub fn node(&self) -> NodeServiceClient<Channel> {
        NodeServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// A request with its deadline.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    /// An error of a call: the node's own, or that it went away.
    pub fn failure(&self, status: &Status) -> Failure {
        if answer_lost(status) {
            let what = format!("The connection to the node at {} was lost.", self.target);
            return Failure::new(Exit::Unreachable, what).with_remedy("relay-cli status");
        }
        Failure::of_status(status)
    }
}

async fn over_socket(path: &Path, timeout: Duration) -> Result<Channel, Failure> {
    // The first dial is our own, for its error says what to do; later ones are tonic's, for
    // reconnecting.
    let first = tokio::time::timeout(timeout, UnixStream::connect(path)).await;
    first.unwrap_or(Err(io::ErrorKind::TimedOut.into())).map_err(|e| no_socket(path, &e))?;
    let path = path.to_owned();
    let dial = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // HTTP/2 wants an authority also where there is no host.
    let endpoint = Endpoint::from_static("http://localhost").connect_timeout(timeout);
    Ok(endpoint.connect_with_connector_lazy(dial))
}

async fn over_tls(url: &str, global: &Global, timeout: Duration) -> Result<Channel, Failure> {
    let (Some(ca), Some(cert), Some(key)) = (&global.tls_ca, &global.tls_cert, &global.tls_key)
    else {
        let what = format!("{url} needs --tls-ca, --tls-cert and --tls-key.");
        return Err(Failure::new(Exit::Usage, what)
            .with_remedy("the node's operator gives out client certificates"));
    };
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(pem(ca)?))
        .identity(Identity::from_pem(pem(cert)?, pem(key)?));
    let endpoint = Endpoint::from_shared(url.to_owned())
        .and_then(|endpoint| endpoint.connect_timeout(timeout).tls_config(tls))
        .map_err(|error| Failure::new(Exit::Usage, format!("{url}: {}.", causes(&error))))?;
    endpoint.connect().await.map_err(|error| {
        let what = format!("The node at {url} is not reachable: {}.", causes(&error));
        Failure::new(Exit::Unreachable, what)
            .with_remedy("is the address right, does it admit this client certificate?")
    })
}

fn pem(path: &Path) -> Result<Vec<u8>, Failure> {
    crate::files::read(path, PEM_BYTES_MAX)
}

fn no_socket(path: &Path, error: &io::Error) -> Failure {
    let is_other = std::fs::metadata(path).is_ok_and(|found| !found.file_type().is_socket());
    let path = path.display();
    if is_other {
        return Failure::new(Exit::Usage, format!("{path} is not the socket of a node."))
            .with_remedy("--node or RELAY_NODE with the socket: api.socket in its relay.toml");
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Failure::new(Exit::Permission, format!("This account may not use {path}."))
                .with_remedy("ask the node's operator to admit this account (group of the socket)")
        }
        io::ErrorKind::NotFound => {
            Failure::new(Exit::Unreachable, format!("No node listens at {path}: no such socket."))
                .with_remedy("--node SOCKET or RELAY_NODE; systemctl status relay-node")
        }
        io::ErrorKind::ConnectionRefused => {
            Failure::new(Exit::Unreachable, format!("The node at {path} is not running."))
                .safe("what it stored is kept; it goes on when it starts")
                .with_remedy("systemctl start relay-node")
        }
        _ => Failure::new(Exit::Unreachable, format!("No node answers at {path}: {error}."))
            .with_remedy("systemctl status relay-node"),
    }
}

/// An error with its causes; transport errors say nothing by themselves.
fn causes(error: &dyn std::error::Error) -> String {
    let (mut text, mut next) = (error.to_string(), error.source());
    for _ in 0..CAUSES_MAX {
        let Some(cause) = next else { break };
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

/// Where the packaged service listens.
const DEFAULT_NODE: &str = "/run/relay/api.sock";

/// The node answers no call later than this.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer is an exported bundle.
const ANSWER_BYTES_MAX: usize = limits::BUNDLE_BYTES_MAX + 64 * 1024;

/// A chain of certificates is some kilobytes.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// Deeper chains of causes say nothing new.
const CAUSES_MAX: usize = 6;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// One reading of `--node`: what would travel in the clear over a network is refused.
    #[test]
    fn a_node_is_a_socket_or_https() {
        let socket = Target::Socket("/run/relay/api.sock".into());
        assert_eq!(Target::parse("/run/relay/api.sock").unwrap(), socket);
        assert_eq!(
            Target::parse("unix:///run/relay/api.sock").unwrap().to_string(),
            "/run/relay/api.sock"
        );
        assert_eq!(Target::parse("unix:/run/relay/api.sock").unwrap(), socket);
        let url = Target::Url("https://relay.example:7444".into());
        assert_eq!(Target::parse("https://relay.example:7444").unwrap(), url);
        for bad in ["http://relay.example", "tcp://relay.example:1"] {
            assert_eq!(Target::parse(bad).unwrap_err().exit, Exit::Usage);
        }
    }
}
