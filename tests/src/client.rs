//! A case system's side of the local API: what scenarios, the demo and benchmarks call nodes with.

use std::{path::Path, time::Duration};

use hyper_util::rt::TokioIo;
use relay_proto::v1::{
    message_service_client::MessageServiceClient, node_service_client::NodeServiceClient,
    peer_service_client::PeerServiceClient,
};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

/// Clients of all services over one connection.
#[derive(Clone)]
pub struct Client {
    /// Messages.
    pub messages: MessageServiceClient<Channel>,
    /// Peers.
    pub peers: PeerServiceClient<Channel>,
    /// The node.
    pub node: NodeServiceClient<Channel>,
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
            node: NodeServiceClient::new(channel),
        }
    }
}
