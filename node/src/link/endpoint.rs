//! The QUIC endpoint: one UDP socket for dialling and accepting, with every limit set.
//!
//! Invariant: no connection is made with the library's own defaults where those are open-ended.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
};

use quinn::{
    ClientConfig, Endpoint, EndpointConfig, IdleTimeout, Runtime as _, ServerConfig, TokioRuntime,
    TransportConfig, ValidationTokenConfig, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;

use super::{DialTarget, LinkError, LinkSettings, PeerBook, Shared, TransportIdentity, Wire};
use super::{settings, tls};

/// Binds the socket: where to listen, or any port for a node that only dials.
pub(super) fn open(listen: Option<SocketAddr>) -> Result<Wire, LinkError> {
    let socket = match listen {
        Some(address) => {
            UdpSocket::bind(address).map_err(|error| LinkError::Listen(address, error))?
        }
        // An IPv6 socket reaches IPv4 as well; a host without IPv6 has the other.
        None => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))
            .or_else(|_| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?,
    };
    let socket = TokioRuntime.wrap_udp_socket(socket)?;
    Ok(Wire { socket, runtime: Arc::new(TokioRuntime) })
}

/// The endpoint over a socket; it answers handshakes only when there is an address to listen on.
pub(super) fn start(
    wire: Wire,
    settings: &LinkSettings,
    identity: &TransportIdentity,
    book: &Arc<dyn PeerBook>,
) -> Result<Endpoint, LinkError> {
    let mut config = EndpointConfig::new(identity.reset_key());
    // Connection ids have to be recognised after a restart too, else no reset is sent for them.
    let cid_key = identity.cid_key();
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(cid_key)));
    // QUIC version 1 only (RFC 9000): nothing to negotiate, nothing to downgrade.
    config.supported_versions(vec![1]);
    config.rng_seed(settings.seed);
    let server = match settings.listen {
        Some(_) => Some(server_config(settings, identity, book.clone())?),
        None => None,
    };
    Ok(Endpoint::new_with_abstract_socket(config, server, wire.socket, wire.runtime)?)
}

/// For one dial: only the target's keys are taken.
pub(super) fn client_config(
    shared: &Shared,
    target: &DialTarget,
) -> Result<ClientConfig, LinkError> {
    let policy = shared.settings.key_exchange.max(target.key_exchange);
    let crypto = tls::client(&shared.identity, policy, target.spki_pins.clone())?;
    let mut config = ClientConfig::new(crypto);
    config.transport_config(transport(&shared.settings)?);
    config.version(1);
    Ok(config)
}

pub(super) fn server_config(
    settings: &LinkSettings,
    identity: &TransportIdentity,
    book: Arc<dyn PeerBook>,
) -> Result<ServerConfig, LinkError> {
    let crypto = tls::server(identity, settings.key_exchange, book)?;
    let mut config = ServerConfig::with_crypto(crypto);
    config.transport_config(transport(settings)?);
    config.max_incoming(settings::INCOMING_MAX);
    config.incoming_buffer_size(settings::INCOMING_BYTES_MAX);
    config.incoming_buffer_size_total(settings::INCOMING_TOTAL_BYTES_MAX);
    // A session does not follow its peer to another path; peers have fixed addresses.
    config.migration(false);
    // No tokens for later connections (RFC 9000, 8.1.3): nothing links one to the next.
    let mut tokens = ValidationTokenConfig::default();
    tokens.sent(0);
    config.validation_token_config(tokens);
    Ok(config)
}

pub(super) fn transport(settings: &LinkSettings) -> Result<Arc<TransportConfig>, LinkError> {
    let idle = IdleTimeout::try_from(settings.idle).map_err(|_| LinkError::Setting("idle"))?;
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(settings::PEER_STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(settings::STREAM_WINDOW))
        .receive_window(VarInt::from_u32(settings::CONNECTION_WINDOW))
        // As large as the peer's window: what limits a lane is its own stream, never another lane.
        .send_window(settings::CONNECTION_WINDOW.into())
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(settings.keep_alive))
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        .allow_spin(false)
        .pad_to_mtu(settings.pad_packets);
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Each limit is in the configuration that the library gets; only its debug form shows them.
    #[test]
    fn every_limit_is_set() {
        let shown = format!("{:?}", transport(&LinkSettings::default()).unwrap());
        for field in [
            "max_concurrent_bidi_streams: 8,",
            "max_concurrent_uni_streams: 0,",
            "stream_receive_window: 1048576,",
            "receive_window: 13631488,",
            "send_window: 13631488,",
            "max_idle_timeout: Some(30000),",
            "keep_alive_interval: Some(10s),",
            "datagram_receive_buffer_size: None,",
            "allow_spin: false,",
        ] {
            assert!(shown.contains(field), "{field} is not in {shown}");
        }
    }
}
