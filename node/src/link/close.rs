//! Why a connection ends: the codes of QUIC's CONNECTION_CLOSE (RFC 9000, 19.19) that nodes give
//! each other.
//!
//! Pure. Invariant: a code never changes its meaning; text from a peer is made printable and short
//! here.

use quinn::{ConnectionError, VarInt};
use relay_proto::reason::Reason;
use rustls::AlertDescription;

macro_rules! codes {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident = $code:literal, $reason:ident, $text:literal;
    )*) => {
        /// What one side tells the other when it closes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum CloseCode { $($(#[doc = $doc])+ $variant,)* }

        impl CloseCode {
            /// All codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// On the wire.
            pub fn number(self) -> u32 {
                match self { $(Self::$variant => $code,)* }
            }

            /// The stable label.
            pub fn reason(self) -> Reason {
                match self { $(Self::$variant => Reason::$reason,)* }
            }

            /// The words that are sent along.
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

codes! {
    /// The node stops.
    Stopping = 0x1000, Stopping, "node is stopping";
    /// The peer or its key is no longer in the book.
    Removed = 0x1001, KeyNotPinned, "key is not among the verified peers";
    /// The operator suspended the peer.
    Suspended = 0x1002, PeerSuspended, "peer is suspended";
    /// Bytes that are no canonical frame, a cut frame, or a frame in the wrong place.
    Malformed = 0x1003, Malformed, "malformed frame";
    /// A frame over its limit.
    TooLarge = 0x1004, TooLarge, "frame too large";
    /// A half-received frame made no progress.
    Slow = 0x1005, PeerUnreachable, "half a frame without progress";
    /// Hello or the streams did not come in time.
    HelloTimeout = 0x1006, PeerUnreachable, "no hello in time";
    /// Hello names another unit or node than the pinned key.
    WrongName = 0x1007, SenderMismatch, "hello names another node";
    /// No common version of the protocol.
    Version = 0x1008, UnsupportedVersion, "no common version";
    /// A critical extension that is not known here.
    Extension = 0x1009, UnsupportedExtension, "unknown critical extension";
    /// The same key with another instance id is in session.
    DuplicateIdentity = 0x100a, DuplicateIdentity, "another instance uses the same key";
    /// Both sides dialled; the other connection stays.
    Crossed = 0x100b, Busy, "the crossing connection stays";
    /// A newer connection of the same peer took over.
    Superseded = 0x100c, Busy, "a newer connection took over";
    /// The key exchange is not what the policy requires.
    KeyExchange = 0x100d, UnsupportedAlgorithm, "post-quantum key exchange is required";
    /// Too many half-made connections of this peer.
    Busy = 0x100e, Busy, "too many connections at once";
    /// The relay gave up the session.
    Unwanted = 0x100f, Busy, "session is no longer wanted";
    /// A bug here.
    Internal = 0x1010, Internal, "internal error";
    /// Not sent: the path failed, or the other side closed without one of these codes.
    Lost = 0x10ff, PeerUnreachable, "connection lost";
}

impl CloseCode {
    /// The code of a number from the wire.
    pub fn from_number(number: u64) -> Option<Self> {
        let known = Self::ALL.iter().copied();
        known.filter(|code| *code != Self::Lost).find(|code| u64::from(code.number()) == number)
    }

    pub(super) fn close(self, connection: &quinn::Connection, text: &str) {
        let text = if text.is_empty() { self.text() } else { text };
        connection.close(VarInt::from_u32(self.number()), printable(text).as_bytes());
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Why.
    pub code: CloseCode,
    /// Whether the other side said so.
    pub by_peer: bool,
    /// Printable, for the operator.
    pub text: String,
}

impl Closed {
    pub(super) fn by_us(code: CloseCode, text: impl Into<String>) -> Self {
        Self { code, by_peer: false, text: printable(&text.into()) }
    }

    /// The label that leaves the machine. That a key is not in the book means another thing, and
    /// another mend, when it is the peer's book.
    pub fn reason(&self) -> Reason {
        match self.code {
            CloseCode::Removed | CloseCode::Suspended if self.by_peer => Reason::NotVerifiedThere,
            code => code.reason(),
        }
    }
}

impl From<ConnectionError> for Closed {
    fn from(error: ConnectionError) -> Self {
        if let ConnectionError::ApplicationClosed(close) = &error {
            let code = CloseCode::from_number(close.error_code.into_inner());
            let text = String::from_utf8_lossy(&close.reason);
            let code = code.unwrap_or(CloseCode::Lost);
            return Self { code, by_peer: true, text: printable(&text) };
        }
        let (by_peer, transport) = match &error {
            ConnectionError::ConnectionClosed(close) => (true, Some(close.error_code)),
            ConnectionError::TransportError(ours) => (false, Some(ours.code)),
            other => (matches!(other, ConnectionError::Reset), None),
        };
        let code = transport.map_or(CloseCode::Lost, |code| of_alert(code.into()));
        Self { code, by_peer, text: printable(&error.to_string()) }
    }
}

/// What a failed TLS handshake means; QUIC carries its alert as 0x100 + the alert's number (RFC
/// 9001, 4.8).
fn of_alert(code: u64) -> CloseCode {
    let alert = code.checked_sub(0x100).and_then(|alert| u8::try_from(alert).ok());
    match alert.map(AlertDescription::from) {
        // Unknown key on either side, or none shown.
        Some(AlertDescription::AccessDenied | AlertDescription::CertificateRequired) => {
            CloseCode::Removed
        }
        Some(AlertDescription::HandshakeFailure) => CloseCode::KeyExchange,
        Some(AlertDescription::NoApplicationProtocol | AlertDescription::ProtocolVersion) => {
            CloseCode::Version
        }
        _ => CloseCode::Lost,
    }
}

/// Text of a peer as it may be shown and logged: printable ASCII, short.
pub(super) fn printable(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().take(TEXT_CHARS_MAX).map(safe).collect()
}

/// A close reason has to fit one packet, and one line of a log.
const TEXT_CHARS_MAX: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes are distinct and parse back; `Lost` is never taken from the wire.
    #[test]
    fn codes_are_distinct() {
        let mut seen = std::collections::BTreeSet::new();
        for code in CloseCode::ALL {
            assert!(seen.insert(code.number()));
            let back = CloseCode::from_number(code.number().into());
            assert_eq!(back, (*code != CloseCode::Lost).then_some(*code));
        }
    }

    /// Whose book lacks the key tells who has to do something.
    #[test]
    fn a_refused_key_is_ours_or_theirs() {
        for code in [CloseCode::Removed, CloseCode::Suspended] {
            let ours = Closed::by_us(code, "");
            let theirs = Closed { by_peer: true, ..ours.clone() };
            assert_eq!(ours.reason(), code.reason());
            assert_eq!(theirs.reason(), Reason::NotVerifiedThere);
        }
        let busy = Closed { by_peer: true, ..Closed::by_us(CloseCode::Busy, "") };
        assert_eq!(busy.reason(), Reason::Busy);
    }

    /// Each alert that refuses us has its code; one that says nothing about us is a lost path.
    #[test]
    fn alerts_have_their_codes() {
        use AlertDescription as Alert;
        let cases = [
            (Alert::HandshakeFailure, CloseCode::KeyExchange),
            (Alert::AccessDenied, CloseCode::Removed),
            (Alert::CertificateRequired, CloseCode::Removed),
            (Alert::NoApplicationProtocol, CloseCode::Version),
            (Alert::ProtocolVersion, CloseCode::Version),
            (Alert::InternalError, CloseCode::Lost),
        ];
        for (alert, code) in cases {
            assert_eq!(of_alert(0x100 + u64::from(u8::from(alert))), code, "{alert:?}");
        }
        assert_eq!(of_alert(0), CloseCode::Lost);
    }

    /// No escape sequence, line break or flood of a peer's text gets through.
    #[test]
    fn text_of_a_peer_is_one_printable_line() {
        assert_eq!(printable("a\x1b[2J\r\nb\u{202e}"), "a?[2J??b?");
        assert_eq!(printable(&"x".repeat(10_000)).len(), TEXT_CHARS_MAX);
    }
}
