//! Which key exchange a connection negotiated: TLS knows, but does not say it through QUIC's
//! interfaces.
//!
//! Enter through [`groups`] and the two configurations. Each key exchange group is wrapped so that
//! completing it leaves its name in a thread-local cell; the session that was just reading a
//! handshake message, in the same call on the same thread, takes it from there. Invariant: nothing
//! here changes a byte of the handshake.

use std::{any::Any, cell::Cell, sync::Arc};

use quinn::{
    ConnectError,
    crypto::{
        ClientConfig, ExportKeyingMaterialError, KeyPair, Keys, PacketKey, ServerConfig, Session,
        UnsupportedVersion,
    },
};
use quinn_proto::{
    ConnectionId, Side, TransportError, crypto::HeaderKey,
    transport_parameters::TransportParameters,
};
use rustls::{
    Error, NamedGroup,
    crypto::{
        ActiveKeyExchange, CompletedKeyExchange, SharedSecret, SupportedKxGroup,
        aws_lc_rs::kx_group,
    },
};

/// Whether a key exchange without ML-KEM is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum KeyExchange {
    /// X25519MLKEM768 where the peer has it, else a classical one.
    #[default]
    Prefer,
    /// X25519MLKEM768 or no connection.
    Require,
}

/// The name of a group in logs and answers.
pub(super) fn name(group: Option<NamedGroup>) -> &'static str {
    match group {
        Some(NamedGroup::X25519MLKEM768) => "X25519MLKEM768",
        Some(NamedGroup::X25519) => "X25519",
        Some(NamedGroup::secp256r1) => "secp256r1",
        _ => "unknown",
    }
}

/// The groups that a policy offers and takes, best first.
pub(super) fn groups(policy: KeyExchange) -> Vec<&'static dyn SupportedKxGroup> {
    match policy {
        KeyExchange::Require => vec![&HYBRID],
        KeyExchange::Prefer => vec![&HYBRID, &X25519, &P256],
    }
}

/// Only classical groups, as an older implementation has them.
#[cfg(test)]
pub(super) fn classical_groups() -> Vec<&'static dyn SupportedKxGroup> {
    vec![&X25519, &P256]
}

/// What [`quinn::Connection::handshake_data`] gives.
pub(super) struct HandshakeData {
    /// The group, once the key exchange is complete.
    pub(super) group: Option<NamedGroup>,
}

/// A client or server configuration whose sessions know their group.
pub(super) struct Observed<C>(pub(super) Arc<C>);

impl<C: ClientConfig> ClientConfig for Observed<C> {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let inner = self.0.clone().start_session(version, server_name, params)?;
        Ok(Box::new(ObservedSession { inner, group: None }))
    }
}

impl<C: ServerConfig> ServerConfig for Observed<C> {
    fn initial_keys(
        &self,
        version: u32,
        dst_cid: &ConnectionId,
    ) -> Result<Keys, UnsupportedVersion> {
        self.0.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.0.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        params: &TransportParameters,
    ) -> Box<dyn Session> {
        let inner = self.0.clone().start_session(version, params);
        Box::new(ObservedSession { inner, group: None })
    }
}

struct ObservedSession {
    inner: Box<dyn Session>,
    group: Option<NamedGroup>,
}

impl Session for ObservedSession {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.inner.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.inner.handshake_data()?;
        Some(Box::new(HandshakeData { group: self.group }))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.inner.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.inner.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.inner.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        COMPLETED.set(None);
        let read = self.inner.read_handshake(buf);
        self.group = COMPLETED.take().or(self.group);
        read
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.inner.transport_parameters()
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        self.inner.write_handshake(buf)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.inner.next_1rtt_keys()
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.inner.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.inner.export_keying_material(output, label, context)
    }
}

/// A group that leaves its name in [`COMPLETED`].
#[derive(Debug)]
struct ObservedGroup(&'static dyn SupportedKxGroup);

impl SupportedKxGroup for ObservedGroup {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(ObservedExchange(self.0.start()?)))
    }

    fn start_and_complete(&self, peer_pub_key: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let completed = self.0.start_and_complete(peer_pub_key)?;
        COMPLETED.set(Some(completed.group));
        Ok(completed)
    }

    fn name(&self) -> NamedGroup {
        self.0.name()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }

    fn usable_for_version(&self, version: rustls::ProtocolVersion) -> bool {
        self.0.usable_for_version(version)
    }
}

struct ObservedExchange(Box<dyn ActiveKeyExchange>);

impl ActiveKeyExchange for ObservedExchange {
    fn complete(self: Box<Self>, peer_pub_key: &[u8]) -> Result<SharedSecret, Error> {
        let group = self.0.group();
        let secret = self.0.complete(peer_pub_key)?;
        COMPLETED.set(Some(group));
        Ok(secret)
    }

    fn hybrid_component(&self) -> Option<(NamedGroup, &[u8])> {
        self.0.hybrid_component()
    }

    fn complete_hybrid_component(
        self: Box<Self>,
        peer_pub_key: &[u8],
    ) -> Result<SharedSecret, Error> {
        let group = self.0.hybrid_component().map(|(group, _)| group);
        let secret = self.0.complete_hybrid_component(peer_pub_key)?;
        COMPLETED.set(group);
        Ok(secret)
    }

    fn pub_key(&self) -> &[u8] {
        self.0.pub_key()
    }

    fn group(&self) -> NamedGroup {
        self.0.group()
    }
}

static HYBRID: ObservedGroup = ObservedGroup(kx_group::X25519MLKEM768);
static X25519: ObservedGroup = ObservedGroup(kx_group::X25519);
static P256: ObservedGroup = ObservedGroup(kx_group::SECP256R1);

thread_local! {
    static COMPLETED: Cell<Option<NamedGroup>> = const { Cell::new(None) };
}
