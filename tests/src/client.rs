//! A case system's side of the local API: what scenarios, the demo and benchmarks call nodes with.

use std::{path::Path, time::Duration};

use hyper_util::rt::TokioIo;
use relay_proto::{
    file::MessageFile,
    timestamp::Timestamp,
    v1::{
        self, message_service_client::MessageServiceClient, node_service_client::NodeServiceClient,
        peer_service_client::PeerServiceClient,
    },
};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::health_client::HealthClient;

/// For what tests read content.
pub const PURPOSE: &str = "a test of the relay";

/// Clients of all services over one connection.
#[derive(Clone)]
pub struct Client {
    /// Messages.
    pub messages: MessageServiceClient<Channel>,
    /// Peers.
    pub peers: PeerServiceClient<Channel>,
    /// The node.
    pub node: NodeServiceClient<Channel>,
    /// Whether it serves.
    pub health: HealthClient<Channel>,
}

impl Client {
    /// A client of the node behind a Unix socket; it connects when it is first used, and again when
    /// the node was away.
    pub fn over(socket: &Path) -> Self {
        let socket = socket.to_owned();
        // The authority must be a name: a socket's path is none.
        let channel = Endpoint::from_static("http://localhost")
            .connect_timeout(Duration::from_secs(5))
            .connect_with_connector_lazy(tower::service_fn(move |_| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            }));
        Self {
            messages: MessageServiceClient::new(channel.clone()),
            peers: PeerServiceClient::new(channel.clone()),
            node: NodeServiceClient::new(channel.clone()),
            health: HealthClient::new(channel),
        }
    }
}

/// The alert of the demo, for one unit.
pub fn alert(to: &str) -> v1::Draft {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/demo/alert.json");
    let text = std::fs::read_to_string(path).expect("a message file");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap_or(Duration::ZERO).as_millis();
    let now = Timestamp::from_millis(u64::try_from(now).unwrap_or(0));
    let mut draft = MessageFile::parse(&text, now).expect("a good message file");
    draft.to = vec![to.to_owned()];
    if let Some(payload) = &mut draft.payload {
        // The file's own sender; the node fills in its unit.
        payload.from.clear();
    }
    draft
}
