//! Public keys and their ids; verification of Ed25519 signatures (RFC 8032), always strict.
//!
//! Private keys live elsewhere. Invariant: a [`PublicKey`] is a valid curve point that is not of
//! small order, so nothing verifies under a weak key.

use std::fmt;

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha512};

use crate::{ids::Digest, reason::Reason, v1};

/// An Ed25519 public key that is not weak.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// From 32 bytes; a point of small order or no point at all is refused (`WEAK_KEY`).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| KeyError::Length)?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPoint)?;
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        Ok(Self(key))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// What names this key in headers, statements and cards.
    pub fn id(&self) -> KeyId {
        let digest = Digest::of_parts(&[b"relay/v1/key\0ed25519\0", self.as_bytes()]);
        let (id, _) = digest.as_bytes().split_at(KeyId::LEN);
        KeyId(id.try_into().expect("a digest is longer than a key id"))
    }

    /// Verifies with cofactor-less, strict rules: no malleable, no small-order signature passes.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        let signature = Signature::from_slice(signature).map_err(|_| KeyError::BadSignature)?;
        self.0.verify_strict(message, &signature).map_err(|_| KeyError::BadSignature)
    }

    /// The X.509 SubjectPublicKeyInfo of an Ed25519 key (RFC 8410): what a TLS certificate is
    /// pinned by.
    pub fn spki(&self) -> [u8; 44] {
        let mut der = [0; 44];
        let (prefix, key) = der.split_at_mut(SPKI_PREFIX.len());
        prefix.copy_from_slice(&SPKI_PREFIX);
        key.copy_from_slice(self.as_bytes());
        der
    }

    /// The key of a SubjectPublicKeyInfo in DER; anything but Ed25519 is refused.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        Self::from_bytes(der.strip_prefix(&SPKI_PREFIX).ok_or(KeyError::Length)?)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

/// The first 16 bytes of SHA-256(`relay/v1/key` 0x00 `ed25519` 0x00 || key).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; Self::LEN]);

impl KeyId {
    /// Bytes of a key id.
    pub const LEN: usize = 16;

    /// From the wire.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        Ok(Self(bytes.try_into().map_err(|_| KeyError::Length)?))
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a key or a signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 32 bytes.
    #[error("not the bytes of an Ed25519 public key")]
    Length,
    /// 32 bytes that are no point of the curve.
    #[error("not a point of the curve")]
    NotAPoint,
    /// A point of small order: anybody can sign under it.
    #[error("weak key: of small order")]
    Weak,
    /// The signature does not verify.
    #[error("signature does not verify")]
    BadSignature,
}

impl KeyError {
    /// The label that leaves the machine.
    pub fn reason(self) -> Reason {
        match self {
            Self::Length | Self::NotAPoint => Reason::UnknownKey,
            Self::Weak => Reason::WeakKey,
            Self::BadSignature => Reason::BadSignature,
        }
    }
}

/// The key of a card's entry, when its algorithm is known.
impl TryFrom<&v1::PublicKey> for PublicKey {
    type Error = KeyError;

    fn try_from(key: &v1::PublicKey) -> Result<Self, KeyError> {
        match key.algorithm() {
            v1::Algorithm::Ed25519 => Self::from_bytes(&key.public_key),
            _ => Err(KeyError::Length),
        }
    }
}

/// The sixty digits that two units compare by telephone: twelve groups of five.
///
/// It covers both identity keys in ascending order and nothing else, and costs 100,000 rounds of
/// SHA-512 to compute, so that grinding keys for a likeness is dear.
pub fn fingerprint(one: &PublicKey, other: &PublicKey) -> [String; 12] {
    let (low, high) = if one.as_bytes() <= other.as_bytes() { (one, other) } else { (other, one) };
    let mut hash = Sha512::new();
    hash.update(b"relay/v1/fingerprint\0");
    hash.update(low.as_bytes());
    hash.update(high.as_bytes());
    let mut digest = hash.finalize();
    for _ in 1..FINGERPRINT_ROUNDS {
        digest = Sha512::digest(digest);
    }
    // Five bytes a group: 2^40 modulo 10^5 is off from uniform by less than one in ten million.
    let mut groups = digest.chunks_exact(5).map(|chunk| {
        let number = chunk.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
        format!("{:05}", number % 100_000)
    });
    std::array::from_fn(|_| groups.next().expect("64 bytes hold twelve chunks of five"))
}

const FINGERPRINT_ROUNDS: u32 = 100_000;

/// RFC 8410: SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING (0 unused bits, 32 bytes) }.
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    /// The encodings of the eight points of small order cannot become a key.
    #[test]
    fn weak_keys_are_refused() {
        let mut identity = [0u8; 32];
        if let Some(first) = identity.first_mut() {
            *first = 1;
        }
        assert_eq!(PublicKey::from_bytes(&identity), Err(KeyError::Weak));
        assert_eq!(PublicKey::from_bytes(&[0; 32]), Err(KeyError::Weak));
        assert_eq!(PublicKey::from_bytes(&[1; 31]), Err(KeyError::Length));
    }

    /// Wycheproof: whatever strict verification takes is valid there; what is valid there is taken.
    #[test]
    fn wycheproof_ed25519() {
        let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
        let mut checked = 0;
        for group in set.test_groups {
            let Ok(key) = PublicKey::from_bytes(&group.key.pk) else { continue };
            for test in group.tests {
                let taken = key.verify(&test.msg, &test.sig).is_ok();
                assert_eq!(
                    taken,
                    test.result != wycheproof::TestResult::Invalid,
                    "case {}",
                    test.tc_id
                );
                checked += 1;
            }
        }
        assert!(checked > 100, "only {checked} cases ran");
    }

    /// The number is the same on both sides of the line and changes with either key.
    #[test]
    fn fingerprints_are_symmetric() {
        let key = |seed| PublicKey(SigningKey::from_bytes(&[seed; 32]).verifying_key());
        let (a, b, c) = (key(1), key(2), key(3));
        assert_eq!(fingerprint(&a, &b), fingerprint(&b, &a));
        assert_ne!(fingerprint(&a, &b), fingerprint(&a, &c));
        assert!(fingerprint(&a, &b).iter().all(|group| group.len() == 5));
    }

    #[test]
    fn spki_round_trips() {
        let signing = SigningKey::from_bytes(&[9; 32]);
        let key = PublicKey(signing.verifying_key());
        assert_eq!(PublicKey::from_spki(&key.spki()).unwrap(), key);
        assert!(PublicKey::from_spki(&[0; 44]).is_err());
        key.verify(b"x", &signing.sign(b"x").to_bytes()).unwrap();
        assert_eq!(key.verify(b"y", &signing.sign(b"x").to_bytes()), Err(KeyError::BadSignature));
    }
}
