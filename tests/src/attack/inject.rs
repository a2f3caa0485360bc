//! A QUIC client whose packets carry frames of our own making: the crypto layer is the last that
//! sees a packet in the clear, so there the library's frames are replaced before they are sealed.
//!
//! Invariant: only packets of the established connection are touched, and never their length; what
//! is left of a packet is PADDING (RFC 9000, 19.1).

use std::{
    any::Any,
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::BytesMut;
use quinn::crypto::{
    ClientConfig, CryptoError, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey,
    Session,
};
use quinn_proto::{
    ConnectError, ConnectionId, Side, TransportError, transport_parameters::TransportParameters,
};

/// Frames that wait for a packet; a clone is the same queue.
#[derive(Clone, Default)]
pub struct Injector(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Vec<u8>>,
    left: u64,
}

impl Injector {
    /// The frames of one more packet.
    pub fn push(&self, frames: Vec<u8>) {
        self.queue().waiting.push_back(frames);
    }

    /// Packets that are not sent yet.
    pub fn waiting(&self) -> usize {
        self.queue().waiting.len()
    }

    /// Packets that were.
    pub fn left(&self) -> u64 {
        self.queue().left
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, room: usize) -> Option<Vec<u8>> {
        let mut queue = self.queue();
        let fits = queue.waiting.front().is_some_and(|frames| frames.len() <= room);
        queue.left += u64::from(fits);
        if fits { queue.waiting.pop_front() } else { None }
    }
}

/// A configuration whose sessions send what the injector holds.
pub struct Injecting<C>(pub Arc<C>, pub Injector);

impl<C: ClientConfig> ClientConfig for Injecting<C> {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let inner = self.0.clone().start_session(version, server_name, params)?;
        Ok(Box::new(Wrapped { inner, injector: self.1.clone() }))
    }
}

struct Wrapped {
    inner: Box<dyn Session>,
    injector: Injector,
}

impl Wrapped {
    fn wrap(&self, packet: KeyPair<Box<dyn PacketKey>>) -> KeyPair<Box<dyn PacketKey>> {
        let local = Box::new(Key { inner: packet.local, injector: self.injector.clone() });
        KeyPair { local, remote: packet.remote }
    }
}

impl Session for Wrapped {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.inner.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.inner.handshake_data()
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
        self.inner.read_handshake(buf)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.inner.transport_parameters()
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let keys = self.inner.write_handshake(buf)?;
        Some(Keys { header: keys.header, packet: self.wrap(keys.packet) })
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let keys = self.inner.next_1rtt_keys()?;
        Some(self.wrap(keys))
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

struct Key {
    inner: Box<dyn PacketKey>,
    injector: Injector,
}

impl PacketKey for Key {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        let end = buf.len().saturating_sub(self.inner.tag_len());
        // A short header: a packet of the established connection (RFC 9000, 17.3).
        let established = buf.first().is_some_and(|first| first & 0x80 == 0);
        if established
            && let Some(payload) = buf.get_mut(header_len..end)
            && let Some(frames) = self.injector.next(payload.len())
        {
            payload.fill(0);
            payload.iter_mut().zip(frames).for_each(|(byte, ours)| *byte = ours);
        }
        self.inner.encrypt(packet, buf, header_len);
    }

    fn decrypt(
        &self,
        packet: u64,
        header: &[u8],
        payload: &mut BytesMut,
    ) -> Result<(), CryptoError> {
        self.inner.decrypt(packet, header, payload)
    }

    fn tag_len(&self) -> usize {
        self.inner.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.inner.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.inner.integrity_limit()
    }
}

/// QUIC's variable-length number (RFC 9000, 16).
pub fn varint(value: u64) -> Vec<u8> {
    match value {
        0..0x40 => vec![u8::try_from(value).unwrap_or(0)],
        0x40..0x4000 => u16::try_from(value | 0x4000).unwrap_or(0).to_be_bytes().to_vec(),
        0x4000..0x4000_0000 => {
            u32::try_from(value | 0x8000_0000).unwrap_or(0).to_be_bytes().to_vec()
        }
        _ => (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
    }
}

/// A STREAM frame with offset and length (RFC 9000, 19.8).
pub fn stream(id: u64, offset: u64, data: &[u8]) -> Vec<u8> {
    let length = u64::try_from(data.len()).unwrap_or(0);
    [&[0x0e][..], &varint(id), &varint(offset), &varint(length), data].concat()
}
