//! Envelopes: a signed header and the payload that it fixes by digest.
//!
//! Enter through [`Header::check`] with a verified header, then [`Envelope::open`]. Invariant: a
//! [`Header`] has well-formed names and times in order; whether they are acceptable now is for the
//! node's policy to say.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::{
    ids::{Digest, MessageId, UnitId},
    keys::{KeyId, PublicKey},
    limits,
    reason::Reason,
    signed::{self, SignedError, Unsigned, Verified},
    timestamp::Timestamp,
    v1,
};

/// How urgent a message is. Decides lanes, lifetimes and who is served first; ROUTINE is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Days.
    Routine,
    /// Hours.
    Urgent,
    /// Life at risk.
    Emergency,
}

impl Priority {
    /// All, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Emergency, Self::Urgent, Self::Routine];

    /// From the wire.
    pub fn from_wire(priority: v1::Priority) -> Option<Self> {
        match priority {
            v1::Priority::Unspecified => None,
            v1::Priority::Routine => Some(Self::Routine),
            v1::Priority::Urgent => Some(Self::Urgent),
            v1::Priority::Emergency => Some(Self::Emergency),
        }
    }

    /// To the wire.
    pub fn to_wire(self) -> v1::Priority {
        match self {
            Self::Routine => v1::Priority::Routine,
            Self::Urgent => v1::Priority::Urgent,
            Self::Emergency => v1::Priority::Emergency,
        }
    }

    /// The word that people and files use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Routine => "ROUTINE",
            Self::Urgent => "URGENT",
            Self::Emergency => "EMERGENCY",
        }
    }
}

/// A checked header.
#[derive(Debug, Clone)]
pub struct Header {
    /// SHA-256 of the header bytes: the identity of the message.
    pub digest: Digest,
    /// The message's id; with `from` the key between nodes.
    pub message_id: MessageId,
    /// The sending unit, which signed.
    pub from: UnitId,
    /// The receiving units: one or more, none twice.
    pub to: Vec<UnitId>,
    /// The network whose rules apply.
    pub profile: String,
    /// How urgent.
    pub priority: Priority,
    /// When the sender's node took it.
    pub created_at: Timestamp,
    /// When delivery is given up.
    pub expires_at: Timestamp,
    /// SHA-256 of the payload as it travels.
    pub payload_digest: Digest,
    /// Digest of the list of attachments ([`attachment::digest`](crate::attachment::digest));
    /// nothing without attachments.
    pub attachments: Option<Digest>,
    /// How many units may carry it.
    pub max_hops: u32,
    /// Which of the sender's keys signed.
    pub key_id: KeyId,
    /// The header as it travels.
    pub signed: v1::Signed,
}

impl Header {
    /// Reads a header whose signature verified. The reason says which rule it breaks.
    pub fn check(verified: &Verified<v1::Header>) -> Result<Self, Reason> {
        let header = verified.value();
        if header.version != 1 {
            return Err(Reason::UnsupportedVersion);
        }
        signed::check_extensions(&header.extensions)?;
        let from: UnitId = header.from.parse().map_err(|_| Reason::Malformed)?;
        if from != *verified.unit() {
            return Err(Reason::SenderMismatch);
        }
        let to = recipients(&header.to)?;
        let created_at = Timestamp::from_wire(header.created_at_ms).ok_or(Reason::Malformed)?;
        let expires_at = Timestamp::from_wire(header.expires_at_ms).ok_or(Reason::Malformed)?;
        if expires_at <= created_at || expires_at > created_at.after(limits::LIFETIME_MAX) {
            return Err(Reason::BadLifetime);
        }
        if header.max_hops == 0 || header.max_hops > limits::HOPS_MAX {
            return Err(Reason::HopLimit);
        }
        let bucket = usize::try_from(header.payload_bucket).map_err(|_| Reason::Malformed)?;
        if bucket >= limits::PAYLOAD_BUCKETS.len() || header.profile.is_empty() {
            return Err(Reason::Malformed);
        }
        let attachments = match header.attachments_digest.is_empty() {
            true => None,
            false => Some(Digest::from_bytes(&header.attachments_digest)),
        };
        let attachments = attachments.transpose().map_err(|_| Reason::Malformed)?;
        Ok(Self {
            digest: verified.digest(),
            message_id: MessageId::from_bytes(&header.message_id).map_err(|_| Reason::Malformed)?,
            from,
            to,
            profile: header.profile.clone(),
            priority: Priority::from_wire(header.priority()).ok_or(Reason::Malformed)?,
            created_at,
            expires_at,
            payload_digest: Digest::from_bytes(&header.payload_digest)
                .map_err(|_| Reason::Malformed)?,
            attachments,
            max_hops: header.max_hops,
            key_id: verified.key_id(),
            signed: verified.signed().clone(),
        })
    }

    /// Reads a header of our own store: it verified when it was stored, and nobody else can write
    /// there.
    pub fn stored(signed: &v1::Signed) -> Result<Self, HeaderError> {
        let verified = signed::danger_unverified::<v1::Header>(signed)?;
        Self::check(&verified).map_err(HeaderError::Rule)
    }

    /// Verifies and reads a header; `find` gives the unit and key of a key id.
    pub fn open(
        signed: &v1::Signed,
        find: impl FnOnce(KeyId) -> Option<(UnitId, PublicKey)>,
    ) -> Result<Self, HeaderError> {
        let verified = signed::open::<v1::Header>(signed, find)?;
        Self::check(&verified).map_err(HeaderError::Rule)
    }
}

/// Why a header was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It proves nothing about its sender: a fault of this copy, never a verdict.
    #[error(transparent)]
    Signed(#[from] SignedError),
    /// The sender did sign it, and it breaks a rule.
    #[error("{0}")]
    Rule(Reason),
}

/// What a new header states.
#[derive(Debug, Clone)]
pub struct NewHeader<'a> {
    /// The message's id.
    pub message_id: MessageId,
    /// The sending unit.
    pub from: &'a UnitId,
    /// The receiving units.
    pub to: &'a [UnitId],
    /// The network.
    pub profile: &'a str,
    /// How urgent.
    pub priority: Priority,
    /// Now.
    pub created_at: Timestamp,
    /// When delivery is given up.
    pub expires_at: Timestamp,
    /// The payload as it travels.
    pub payload: &'a [u8],
    /// Digest of its list of attachments.
    pub attachments: Option<Digest>,
    /// The signing key.
    pub key_id: KeyId,
    /// Its epoch.
    pub epoch: u32,
}

impl NewHeader<'_> {
    /// The bytes to sign.
    pub fn unsigned(&self) -> Unsigned {
        Unsigned::new(&self.header(), self.key_id)
    }

    /// The header itself.
    pub fn header(&self) -> v1::Header {
        let bucket = bucket_of(self.payload.len());
        v1::Header {
            version: 1,
            message_id: Bytes::copy_from_slice(self.message_id.as_bytes()),
            from: self.from.to_string(),
            to: self.to.iter().map(UnitId::to_string).collect(),
            profile: self.profile.to_owned(),
            priority: self.priority.to_wire().into(),
            created_at_ms: self.created_at.as_millis(),
            expires_at_ms: self.expires_at.as_millis(),
            payload_digest: Bytes::copy_from_slice(Digest::of(self.payload).as_bytes()),
            payload_bucket: u32::try_from(bucket).unwrap_or(u32::MAX),
            attachments_digest: self
                .attachments
                .map_or_else(Bytes::new, |digest| Bytes::copy_from_slice(digest.as_bytes())),
            max_hops: DIRECT_HOPS,
            signer: Some(v1::Signer {
                unit: self.from.to_string(),
                key_id: Bytes::copy_from_slice(self.key_id.as_bytes()),
                algorithm: v1::Algorithm::Ed25519.into(),
                epoch: self.epoch,
            }),
            ..Default::default()
        }
    }
}

/// Index of the smallest size bucket that holds `size` bytes.
pub fn bucket_of(size: usize) -> usize {
    limits::PAYLOAD_BUCKETS.iter().position(|bucket| size <= *bucket).unwrap_or(usize::MAX)
}

/// The clear payload of an envelope, when it is the one that the header fixes.
///
/// Every failure is a fault of this copy (somebody may have swapped it on the way), not a verdict
/// about the message.
pub fn clear_payload<'a>(envelope: &'a v1::Envelope, header: &Header) -> Result<&'a Bytes, Reason> {
    let payload = match &envelope.payload {
        Some(v1::envelope::Payload::Clear(payload)) => payload,
        Some(v1::envelope::Payload::Sealed(_)) => return Err(Reason::UnsupportedSealing),
        None => return Err(Reason::PayloadMismatch),
    };
    if payload.len() > limits::PAYLOAD_BYTES_MAX {
        return Err(Reason::TooLarge);
    }
    if Digest::of(payload) != header.payload_digest {
        return Err(Reason::PayloadMismatch);
    }
    Ok(payload)
}

fn recipients(to: &[String]) -> Result<Vec<UnitId>, Reason> {
    if to.len() > limits::RECIPIENTS_MAX {
        return Err(Reason::TooLarge);
    }
    let units: Vec<UnitId> = to
        .iter()
        .map(|unit| unit.parse())
        .collect::<Result<_, _>>()
        .map_err(|_| Reason::Malformed)?;
    let mut seen = BTreeSet::new();
    if units.is_empty() || !units.iter().all(|unit| seen.insert(unit)) {
        return Err(Reason::Malformed);
    }
    Ok(units)
}

/// A direct message passes nobody; one hop is its delivery.
const DIRECT_HOPS: u32 = 1;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::signed::tests::{key, sign, signer};

    fn sample(payload: &[u8]) -> v1::Header {
        let (_, public) = key(2);
        v1::Header {
            version: 1,
            message_id: Bytes::copy_from_slice(
                MessageId::new(Timestamp::from_millis(1_772_438_400_000), [1; 10]).as_bytes(),
            ),
            from: "xa.ncu".into(),
            to: vec!["xb.ncu".into(), "xc.ncu".into()],
            profile: "budapest-247".into(),
            priority: v1::Priority::Urgent.into(),
            created_at_ms: 1_772_438_400_000,
            expires_at_ms: 1_772_438_400_000 + 3_600_000,
            payload_digest: Bytes::copy_from_slice(Digest::of(payload).as_bytes()),
            max_hops: 1,
            signer: Some(signer("xa.ncu", &public)),
            ..Default::default()
        }
    }

    fn open(header: &v1::Header) -> Result<Header, HeaderError> {
        let (signing, public) = key(2);
        let signed = sign(header, &signing, &public);
        Header::open(&signed, |id| (id == public.id()).then(|| ("xa.ncu".parse().unwrap(), public)))
    }

    type Break = fn(&mut v1::Header);

    /// Signed by its sender and yet breaking a rule: each rule has its own reason.
    #[test]
    fn each_rule_has_its_reason() {
        assert_eq!(open(&sample(b"x")).unwrap().priority, Priority::Urgent);
        let table: [(Reason, Break); 13] = [
            (Reason::UnsupportedVersion, |h| h.version = 2),
            (Reason::SenderMismatch, |h| h.from = "xb.ncu".into()),
            (Reason::Malformed, |h| h.to.clear()),
            (Reason::Malformed, |h| h.to = vec!["xb.ncu".into(), "xb.ncu".into()]),
            (Reason::TooLarge, |h| h.to = (0..257).map(|n| format!("xb.u{n}")).collect()),
            (Reason::Malformed, |h| h.message_id = Bytes::from_static(&[1; 16])),
            (Reason::Malformed, |h| h.priority = 9),
            (Reason::BadLifetime, |h| h.expires_at_ms = h.created_at_ms),
            (Reason::BadLifetime, |h| h.expires_at_ms = h.created_at_ms + 31 * 86_400_000),
            (Reason::HopLimit, |h| h.max_hops = 0),
            (Reason::Malformed, |h| h.payload_bucket = 8),
            (Reason::Malformed, |h| h.attachments_digest = Bytes::from_static(&[1; 31])),
            (Reason::UnsupportedExtension, |h| {
                let bytes = Bytes::from_static(b"x");
                h.extensions = vec![v1::Extension { r#type: 1, critical: true, bytes }];
            }),
        ];
        for (want, break_it) in table {
            let mut header = sample(b"x");
            break_it(&mut header);
            assert_eq!(open(&header).unwrap_err(), HeaderError::Rule(want));
        }
    }

    /// A header made here opens, and its payload is held to its digest.
    #[test]
    fn a_new_header_opens_and_fixes_the_payload() {
        let (signing, public) = key(2);
        let payload = vec![7u8; 1500];
        let new = NewHeader {
            message_id: MessageId::new(Timestamp::from_millis(1_772_438_400_000), [3; 10]),
            from: &"xa.ncu".parse().unwrap(),
            to: &["xb.ncu".parse().unwrap()],
            profile: "budapest-247",
            priority: Priority::Routine,
            created_at: Timestamp::from_millis(1_772_438_400_000),
            expires_at: Timestamp::from_millis(1_772_442_000_000),
            payload: &payload,
            attachments: Some(Digest::of(b"list")),
            key_id: public.id(),
            epoch: 1,
        };
        let unsigned = new.unsigned();
        let signature = ed25519_dalek::Signer::sign(&signing, unsigned.input()).to_bytes();
        let digest = unsigned.digest();
        let signed = unsigned.signed(signature);
        let header = Header::open(&signed, |_| Some(("xa.ncu".parse().unwrap(), public))).unwrap();
        assert_eq!(header.digest, digest);
        assert_eq!(header.attachments, Some(Digest::of(b"list")));

        let envelope = |bytes: &[u8]| v1::Envelope {
            header: Some(signed.clone()),
            payload: Some(v1::envelope::Payload::Clear(Bytes::copy_from_slice(bytes))),
            wraps: vec![],
        };
        assert!(clear_payload(&envelope(&payload), &header).is_ok());
        assert_eq!(clear_payload(&envelope(b"other"), &header), Err(Reason::PayloadMismatch));
        let mut sealed = envelope(&payload);
        sealed.payload = Some(v1::envelope::Payload::Sealed(Bytes::from_static(b"x")));
        assert_eq!(clear_payload(&sealed, &header), Err(Reason::UnsupportedSealing));
    }

    #[test]
    fn buckets_hold_what_they_say() {
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(1024), 0);
        assert_eq!(bucket_of(1025), 1);
        assert_eq!(bucket_of(limits::PAYLOAD_BYTES_MAX), 7);
    }
}
