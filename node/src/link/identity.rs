//! What a node shows at the door: its Ed25519 transport key in a self-signed certificate, and its
//! names.
//!
//! The transport key is not the signing key. Invariant: key bytes are borrowed from the caller, who
//! wipes them; here they live only inside the TLS library's key object, and nothing prints them.

use std::{fmt, sync::Arc};

use aws_lc_rs::hmac;
use ed25519_dalek::{Signer as _, SigningKey, pkcs8::DecodePrivateKey as _};
use relay_proto::{ids::NodeId, keys::PublicKey};
use rustls::{crypto::aws_lc_rs::sign::any_eddsa_type, sign::CertifiedKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroizing;

use super::LinkError;

/// This node towards its peers.
#[derive(Clone)]
pub struct TransportIdentity {
    local: LocalNode,
    key: PublicKey,
    certified: Arc<CertifiedKey>,
    reset_key: Arc<hmac::Key>,
}

/// Names of this node and of its present run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalNode {
    /// The node's id.
    pub node: NodeId,
    /// Random, made by init, stored with the keys.
    pub instance_id: [u8; 16],
    /// Random at every start.
    pub boot_id: [u8; 16],
}

impl TransportIdentity {
    /// From the transport key as PKCS#8 version 1 in DER (RFC 8410), and the persisted key of
    /// stateless resets (RFC 9000, 10.3.2): with it a restarted node tells its peers at once that
    /// their connections are gone.
    pub fn from_pkcs8(
        local: LocalNode,
        der: &[u8],
        reset_key: &[u8; RESET_KEY_BYTES],
    ) -> Result<Self, LinkError> {
        let bad = |_| LinkError::Key("not an Ed25519 key in PKCS#8");
        let signing = SigningKey::from_pkcs8_der(der).map_err(|_| ()).map_err(bad)?;
        let key = PublicKey::from_bytes(signing.verifying_key().as_bytes());
        let key = key.map_err(|_| LinkError::Key("weak transport key"))?;
        let certificate = self_signed(&local.node, &signing)?;
        let private = any_eddsa_type(&PrivatePkcs8KeyDer::from(der)).map_err(LinkError::Tls)?;
        let certified = Arc::new(CertifiedKey::new(vec![certificate], private));
        let reset_key = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, reset_key));
        Ok(Self { local, key, certified, reset_key })
    }

    /// From the 32 secret bytes of the transport key.
    pub fn from_secret(
        local: LocalNode,
        secret: &[u8; 32],
        reset_key: &[u8; RESET_KEY_BYTES],
    ) -> Result<Self, LinkError> {
        let mut der = Zeroizing::new([0; PKCS8_PREFIX.len() + 32]);
        let (prefix, key) = der.split_at_mut(PKCS8_PREFIX.len());
        prefix.copy_from_slice(&PKCS8_PREFIX);
        key.copy_from_slice(secret);
        Self::from_pkcs8(local, der.as_slice(), reset_key)
    }

    /// The names.
    pub fn local(&self) -> &LocalNode {
        &self.local
    }

    /// The public transport key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// What peers pin: the SubjectPublicKeyInfo of the transport key.
    pub fn spki(&self) -> [u8; 44] {
        self.key.spki()
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }

    pub(super) fn reset_key(&self) -> Arc<hmac::Key> {
        self.reset_key.clone()
    }

    /// Marks connection ids as ours; the same after a restart.
    pub(super) fn cid_key(&self) -> u64 {
        let tag = hmac::sign(&self.reset_key, b"relay/v1/connection-id");
        tag.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

impl fmt::Debug for TransportIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportIdentity").field("node", &self.local.node).finish_non_exhaustive()
    }
}

/// Bytes of the key of stateless resets.
pub const RESET_KEY_BYTES: usize = 64;

fn self_signed(
    node: &NodeId,
    key: &SigningKey,
) -> Result<rustls_pki_types::CertificateDer<'static>, LinkError> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, node.to_string());
    // Peers pin the key; the card says how long it counts. So the certificate itself never ends
    // (RFC 5280, 4.1.2.5: 99991231235959Z).
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    params.extended_key_usages = vec![
        rcgen::ExtendedKeyUsagePurpose::ServerAuth,
        rcgen::ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let public = key.verifying_key().to_bytes();
    let signer = CertificateSigner { key, public };
    Ok(params.self_signed(&signer)?.der().clone())
}

/// Lets rcgen sign without a copy of the private key.
struct CertificateSigner<'a> {
    key: &'a SigningKey,
    public: [u8; 32],
}

impl rcgen::PublicKeyData for CertificateSigner<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for CertificateSigner<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.key.sign(message).to_bytes().to_vec())
    }
}

/// PKCS#8 version 1 of an Ed25519 key up to its 32 bytes (RFC 8410, 7).
const PKCS8_PREFIX: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rustls::server::ParsedCertificate;

    use super::*;

    fn local() -> LocalNode {
        LocalNode { node: "xa.ncu/a".parse().unwrap(), instance_id: [1; 16], boot_id: [2; 16] }
    }

    /// The certificate carries exactly the key that cards pin.
    #[test]
    fn the_certificate_carries_the_pinned_key() {
        let identity = TransportIdentity::from_secret(local(), &[7; 32], &[9; 64]).unwrap();
        let certified = identity.certified();
        let certificate =
            ParsedCertificate::try_from(certified.end_entity_cert().unwrap()).unwrap();
        assert_eq!(certificate.subject_public_key_info().as_ref(), identity.spki());
        certified.keys_match().unwrap();
    }

    /// Keys of another kind and cut files are refused; nothing of the key is printed.
    #[test]
    fn bad_keys_are_refused_and_none_is_printed() {
        assert!(TransportIdentity::from_pkcs8(local(), b"", &[9; 64]).is_err());
        assert!(TransportIdentity::from_pkcs8(local(), &PKCS8_PREFIX, &[9; 64]).is_err());
        let identity = TransportIdentity::from_secret(local(), &[7; 32], &[9; 64]).unwrap();
        let printed = format!("{identity:?}");
        assert_eq!(printed, "TransportIdentity { node: xa.ncu/a, .. }");
    }
}
