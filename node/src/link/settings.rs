//! Settings of the link, and every limit that the QUIC library would leave open, each with its
//! reason.

use std::{net::SocketAddr, time::Duration};

use relay_proto::limits;

use super::KeyExchange;
use crate::config;

/// How this node listens and dials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSettings {
    /// Where to listen; without it the node only dials.
    pub listen: Option<SocketAddr>,
    /// The least that is taken of any peer; a peer's own entry may require more.
    pub key_exchange: KeyExchange,
    /// A connection is lost after so long without a packet.
    pub idle: Duration,
    /// How often an idle connection is probed; below a third of `idle`, so that two lost probes are
    /// no end.
    pub keep_alive: Duration,
    /// For one address to answer and finish TLS.
    pub handshake: Duration,
    /// From the end of TLS to a session that both sides have taken.
    pub hello: Duration,
    /// For 16 KiB of a half-received frame, or its end, to come.
    pub frame_progress: Duration,
    /// Pads every packet to full size, so that sizes tell nothing; for a profile of high
    /// protection.
    pub pad_packets: bool,
    /// Fixes the QUIC library's choices in simulations; never set in a daemon.
    pub seed: Option<[u8; 32]>,
}

impl From<&config::LinkSettings> for LinkSettings {
    fn from(settings: &config::LinkSettings) -> Self {
        Self {
            listen: Some(settings.listen),
            key_exchange: match settings.key_exchange {
                config::KeyExchange::Prefer => KeyExchange::Prefer,
                config::KeyExchange::Require => KeyExchange::Require,
            },
            idle: settings.idle_timeout,
            keep_alive: settings.keep_alive,
            handshake: settings.handshake_timeout,
            hello: settings.hello_timeout,
            frame_progress: settings.progress_timeout,
            pad_packets: settings.pad_packets,
            seed: None,
        }
    }
}

/// The configuration's defaults, for a node that only dials.
impl Default for LinkSettings {
    fn default() -> Self {
        Self { listen: None, ..Self::from(&config::LinkSettings::default()) }
    }
}

/// Window of one stream: two frames of the largest size, so that reading one and sending the next
/// overlap.
pub(super) const STREAM_WINDOW: u32 = 1 << 20;

/// Window of a connection: twelve stream windows (control and three lanes both ways, four for
/// attachments) and 1 MiB to spare, so that streams that nobody reads cannot take the credit of
/// EMERGENCY.
pub(super) const CONNECTION_WINDOW: u32 = 13 << 20;

/// Streams that a peer may open: four lanes, four for attachments.
pub(super) const PEER_STREAMS_MAX: u32 = 8;

/// Streams of attachments that this side opens at once: one less than a peer allows, for the QUIC
/// library gives the credit of ended streams back by twos.
pub(super) const ATTACHMENT_STREAMS_MAX: usize = 3;

/// What the system is asked to buffer of a socket in each direction: a third of the connection
/// window, some thousand packets.
pub(super) const SOCKET_BYTES: usize = 4 << 20;

/// Handshakes that wait for us to look at them; more are refused by the library.
pub(super) const INCOMING_MAX: usize = 128;

/// Bytes that are kept for one waiting handshake, and for all of them.
pub(super) const INCOMING_BYTES_MAX: u64 = 64 << 10;
/// See [`INCOMING_BYTES_MAX`].
pub(super) const INCOMING_TOTAL_BYTES_MAX: u64 = 2 << 20;

/// Handshakes in work from which on a source has to prove its address first (RFC 9000, 8.1.2).
pub(super) const RETRY_FROM: usize = 16;

/// Handshakes in work at once; beyond, new ones are refused.
pub(super) const HANDSHAKES_MAX: usize = 128;

/// Of these, those that are kept for addresses where a verified peer was met or that its card
/// names: a flood from many places leaves peers their way in.
pub(super) const HANDSHAKES_KEPT: usize = 32;

/// For a handshake while more than [`RETRY_FROM`] are in work: some round trips of the slowest
/// path.
pub(super) const CROWDED_HANDSHAKE: Duration = Duration::from_secs(3);

/// Handshakes in work of one source; a unit has a few nodes behind one address at most.
pub(super) const HANDSHAKES_PER_SOURCE_MAX: usize = 8;

/// Connections of one node that are past TLS and no session yet: two crossing ones and their
/// retries.
pub(super) const UNSETTLED_PER_NODE_MAX: usize = 4;

/// Connections of one unit that are past TLS, sessions and others together: one for each node that
/// a card may name and two more, so that its last node's crossing dials both come in. Half a frame
/// on each lane of all of them is 16 MiB.
pub(super) const CONNECTIONS_PER_UNIT_MAX: usize = limits::CARD_NODES_MAX + 2;

/// Addresses that one dial tries: a unit's nodes and their addresses.
pub(super) const DIAL_ADDRESSES_MAX: usize = 16;

/// Events that wait for the relay; a session that cannot report waits, and nothing else does.
pub(super) const EVENTS_MAX: usize = 64;

/// Encoded frames that wait on an envelope lane, each up to 512 KiB.
pub(super) const LANE_QUEUE: usize = 4;

/// Encoded frames that wait on the control lane, each up to 256 KiB.
pub(super) const CONTROL_QUEUE: usize = 8;

/// Encoded answers that wait on the reverse side of a lane; small, except on control.
pub(super) const REVERSE_QUEUE: usize = 16;

/// Pings of our own without an answer.
pub(super) const PINGS_MAX: usize = 16;

/// How long a ping waits for its answer.
pub(super) const PING_WAIT: Duration = Duration::from_secs(10);

/// How long [`Link::shutdown`](super::Link::shutdown) waits for the peers to see the close.
pub(super) const CLOSE_WAIT: Duration = Duration::from_secs(3);

// Twelve streams that nobody reads leave 1 MiB to the rest; a stream holds two longest frames.
const _: () = assert!(12 * STREAM_WINDOW + (1 << 20) <= CONNECTION_WINDOW);
const _: () = assert!(2 * limits::FRAME_BYTES_MAX <= STREAM_WINDOW as usize);
