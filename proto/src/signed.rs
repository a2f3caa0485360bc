//! Signed objects: the exact bytes that were signed, verified before their meaning is read.
//!
//! `signature = Sign(key, tag || 0x00 || SHA-256(bytes))`; the tag names the type, so a signature
//! of one type never verifies as another. Order of checks: size, signature over the received bytes,
//! strict decoding, then agreement of the signer inside with the key that verified. Invariant: a
//! [`Verified`] passed all of them.

use bytes::Bytes;
use prost::Message;

use crate::{
    ids::{Digest, UnitId},
    keys::{KeyError, KeyId, PublicKey},
    limits,
    reason::Reason,
    scan::{self, ScanError, Schema, schema},
    v1,
};

/// A message type that is signed under a tag of its own.
pub trait Signable: Message + Default {
    /// The domain tag, `relay/v1/…`.
    const TAG: &'static str;
    /// Longest encoding.
    const BYTES_MAX: usize;

    /// The table for the strict scan.
    fn schema() -> &'static Schema;

    /// The signer stated inside the bytes.
    fn signer(&self) -> Option<&v1::Signer>;
}

impl Signable for v1::Header {
    const TAG: &'static str = "relay/v1/envelope";
    const BYTES_MAX: usize = limits::HEADER_BYTES_MAX;

    fn schema() -> &'static Schema {
        &schema::HEADER
    }

    fn signer(&self) -> Option<&v1::Signer> {
        self.signer.as_ref()
    }
}

impl Signable for v1::Card {
    const TAG: &'static str = "relay/v1/card";
    const BYTES_MAX: usize = limits::CARD_BYTES_MAX;

    fn schema() -> &'static Schema {
        &schema::CARD
    }

    fn signer(&self) -> Option<&v1::Signer> {
        self.signer.as_ref()
    }
}

impl Signable for v1::Deferral {
    const TAG: &'static str = "relay/v1/deferral";
    const BYTES_MAX: usize = limits::STATEMENT_BYTES_MAX;

    fn schema() -> &'static Schema {
        &schema::DEFERRAL
    }

    fn signer(&self) -> Option<&v1::Signer> {
        self.signer.as_ref()
    }
}

/// An object whose signature verified and whose bytes are canonical.
#[derive(Debug, Clone)]
pub struct Verified<T> {
    value: T,
    signed: v1::Signed,
    unit: UnitId,
    key_id: KeyId,
}

impl<T> Verified<T> {
    /// What was signed.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The object as it travels, to be kept and passed on unchanged.
    pub fn signed(&self) -> &v1::Signed {
        &self.signed
    }

    /// SHA-256 of the signed bytes; of a header, the identity of the message.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.signed.bytes)
    }

    /// Whose key verified.
    pub fn unit(&self) -> &UnitId {
        &self.unit
    }

    /// Which key verified.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }
}

/// Bytes that wait for their signature.
#[derive(Debug, Clone)]
pub struct Unsigned {
    bytes: Bytes,
    key_id: KeyId,
    input: Vec<u8>,
}

impl Unsigned {
    /// Encodes an object that already states `key_id` inside.
    pub fn new<T: Signable>(value: &T, key_id: KeyId) -> Self {
        let bytes = Bytes::from(value.encode_to_vec());
        let input = signature_input(T::TAG, &bytes);
        Self { bytes, key_id, input }
    }

    /// What the key has to sign.
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    /// SHA-256 of the bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// Puts the Ed25519 signature to the bytes.
    pub fn signed(self, signature: [u8; 64]) -> v1::Signed {
        v1::Signed {
            key_id_hint: Bytes::copy_from_slice(self.key_id.as_bytes()),
            algorithm_hint: v1::Algorithm::Ed25519.into(),
            bytes: self.bytes,
            signature: Some(v1::signed::Signature::Ed25519(Bytes::copy_from_slice(&signature))),
            ml_dsa_44: Bytes::new(),
        }
    }
}

/// Why a signed object was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    /// No key of this id is known.
    #[error("no key with id {0} is known")]
    UnknownKey(String),
    /// A slot of the format that this version does not verify.
    #[error("signature algorithm is not supported by this version")]
    UnsupportedAlgorithm,
    /// The signature does not verify over the received bytes.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The bytes are too many or not canonical.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The signer inside is not the one whose key verified.
    #[error("the signer inside does not agree with the key that verified")]
    SignerMismatch,
}

impl SignedError {
    /// The label that leaves the machine.
    pub fn reason(&self) -> Reason {
        match self {
            Self::UnknownKey(_) => Reason::UnknownKey,
            Self::UnsupportedAlgorithm => Reason::UnsupportedAlgorithm,
            Self::Key(error) => error.reason(),
            Self::Scan(error) => error.reason(),
            Self::SignerMismatch => Reason::BadSignature,
        }
    }
}

/// `tag || 0x00 || SHA-256(bytes)`.
pub fn signature_input(tag: &str, bytes: &[u8]) -> Vec<u8> {
    let digest = Digest::of(bytes);
    let mut input = Vec::with_capacity(tag.len() + 1 + digest.as_bytes().len());
    input.extend_from_slice(tag.as_bytes());
    input.push(0);
    input.extend_from_slice(digest.as_bytes());
    input
}

/// Verifies and reads a signed object. `find` gives the unit and key of a key id, or nothing.
pub fn open<T: Signable>(
    signed: &v1::Signed,
    find: impl FnOnce(KeyId) -> Option<(UnitId, PublicKey)>,
) -> Result<Verified<T>, SignedError> {
    if signed.bytes.len() > T::BYTES_MAX {
        let (message, got) = (T::schema().name, signed.bytes.len());
        return Err(ScanError::TooLarge { message, got, max: T::BYTES_MAX }.into());
    }
    let Some(v1::signed::Signature::Ed25519(signature)) = &signed.signature else {
        return Err(SignedError::UnsupportedAlgorithm);
    };
    if signed.algorithm_hint() != v1::Algorithm::Ed25519 || !signed.ml_dsa_44.is_empty() {
        return Err(SignedError::UnsupportedAlgorithm);
    }
    let key_id = KeyId::from_bytes(&signed.key_id_hint)?;
    let (unit, key) = find(key_id).ok_or_else(|| SignedError::UnknownKey(key_id.to_string()))?;
    key.verify(&signature_input(T::TAG, &signed.bytes), signature)?;
    let value: T = scan::decode(&signed.bytes, T::schema(), T::BYTES_MAX)?;
    let agrees = value.signer().is_some_and(|signer| {
        signer.unit == unit.as_str()
            && signer.key_id == key_id.as_bytes().as_slice()
            && signer.algorithm() == v1::Algorithm::Ed25519
    });
    if !agrees || key.id() != key_id {
        return Err(SignedError::SignerMismatch);
    }
    Ok(Verified { value, signed: signed.clone(), unit, key_id })
}

/// Reads a signed object without its signature. Only for bytes out of our own store, which verified
/// before they were stored; the key may be out of the directory by now.
pub(crate) fn danger_unverified<T: Signable>(
    signed: &v1::Signed,
) -> Result<Verified<T>, SignedError> {
    let value: T = scan::decode(&signed.bytes, T::schema(), T::BYTES_MAX)?;
    let signer = value.signer().ok_or(SignedError::SignerMismatch)?;
    let unit: UnitId = signer.unit.parse().map_err(|_| SignedError::SignerMismatch)?;
    let key_id = KeyId::from_bytes(&signer.key_id)?;
    Ok(Verified { value, signed: signed.clone(), unit, key_id })
}

/// The extensions of a closed message: sorted, no doubles, none critical that this version does not
/// know.
pub fn check_extensions(extensions: &[v1::Extension]) -> Result<(), Reason> {
    if extensions.len() > limits::EXTENSIONS_MAX {
        return Err(Reason::TooLarge);
    }
    let ascending = extensions.is_sorted_by(|one, next| one.r#type < next.r#type);
    if !ascending {
        return Err(Reason::Malformed);
    }
    if extensions.iter().any(|extension| extension.critical) {
        return Err(Reason::UnsupportedExtension);
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    pub(crate) fn key(seed: u8) -> (SigningKey, PublicKey) {
        let signing = SigningKey::from_bytes(&[seed; 32]);
        let public = PublicKey::from_bytes(signing.verifying_key().as_bytes()).unwrap();
        (signing, public)
    }

    pub(crate) fn signer(unit: &str, key: &PublicKey) -> v1::Signer {
        v1::Signer {
            unit: unit.to_owned(),
            key_id: Bytes::copy_from_slice(key.id().as_bytes()),
            algorithm: v1::Algorithm::Ed25519.into(),
            epoch: 1,
        }
    }

    pub(crate) fn sign<T: Signable>(
        value: &T,
        signing: &SigningKey,
        public: &PublicKey,
    ) -> v1::Signed {
        let unsigned = Unsigned::new(value, public.id());
        let signature = signing.sign(unsigned.input()).to_bytes();
        unsigned.signed(signature)
    }

    fn unit() -> UnitId {
        "xa.ncu".parse().unwrap()
    }

    /// Taken whole; refused after any change of bytes, signature, hint, tag or stated signer.
    #[test]
    fn only_the_signed_bytes_are_read() {
        let (signing, public) = key(1);
        let header = v1::Header {
            version: 1,
            signer: Some(signer("xa.ncu", &public)),
            ..Default::default()
        };
        let good = sign(&header, &signing, &public);
        let find = |_| Some((unit(), public));
        assert_eq!(open::<v1::Header>(&good, find).unwrap().value(), &header);

        let mut flipped = good.clone();
        let mut bytes = flipped.bytes.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        flipped.bytes = bytes.into();
        assert_eq!(open::<v1::Header>(&flipped, find).unwrap_err(), KeyError::BadSignature.into());

        let mut hybrid = good.clone();
        hybrid.ml_dsa_44 = Bytes::from_static(b"x");
        assert_eq!(
            open::<v1::Header>(&hybrid, find).unwrap_err(),
            SignedError::UnsupportedAlgorithm
        );

        let mut batch = good.clone();
        batch.signature = Some(v1::signed::Signature::Batch(v1::BatchSignature::default()));
        assert_eq!(
            open::<v1::Header>(&batch, find).unwrap_err(),
            SignedError::UnsupportedAlgorithm
        );

        let unknown = open::<v1::Header>(&good, |_| None).unwrap_err();
        assert_eq!(unknown.reason(), Reason::UnknownKey);

        let other = |_| Some(("xb.ncu".parse().unwrap(), public));
        assert_eq!(open::<v1::Header>(&good, other).unwrap_err(), SignedError::SignerMismatch);
    }

    /// A signature of one type never verifies as another: all pairs of tags differ in what is
    /// signed.
    #[test]
    fn tags_separate_the_types() {
        let (signing, public) = key(1);
        let card =
            v1::Card { version: 1, signer: Some(signer("xa.ncu", &public)), ..Default::default() };
        let signed = sign(&card, &signing, &public);
        let find = |_| Some((unit(), public));
        assert!(open::<v1::Card>(&signed, find).is_ok());
        assert_eq!(open::<v1::Header>(&signed, find).unwrap_err(), KeyError::BadSignature.into());
        assert_eq!(open::<v1::Deferral>(&signed, find).unwrap_err(), KeyError::BadSignature.into());
    }

    /// Bytes that verify and yet have a second reading are refused: the signer is not trusted to be
    /// canonical.
    #[test]
    fn signed_but_not_canonical() {
        let (signing, public) = key(1);
        let header = v1::Header {
            version: 1,
            signer: Some(signer("xa.ncu", &public)),
            ..Default::default()
        };
        let mut bytes = header.encode_to_vec();
        bytes.extend_from_slice(&[0xf8, 0x07, 1]);
        let signature = signing.sign(&signature_input(v1::Header::TAG, &bytes)).to_bytes();
        let mut signed = sign(&header, &signing, &public);
        signed.bytes = bytes.into();
        signed.signature = Some(v1::signed::Signature::Ed25519(Bytes::copy_from_slice(&signature)));
        let error = open::<v1::Header>(&signed, |_| Some((unit(), public))).unwrap_err();
        assert_eq!(error.reason(), Reason::Malformed);
    }

    #[test]
    fn extensions_are_sorted_and_not_critical() {
        let extension = |r#type, critical| v1::Extension { r#type, critical, bytes: Bytes::new() };
        assert_eq!(check_extensions(&[extension(1, false), extension(2, false)]), Ok(()));
        assert_eq!(
            check_extensions(&[extension(2, false), extension(2, false)]),
            Err(Reason::Malformed)
        );
        assert_eq!(check_extensions(&[extension(3, true)]), Err(Reason::UnsupportedExtension));
    }
}
