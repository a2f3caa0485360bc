//! TLS 1.3 with keys pinned on both sides. No name, date or issuer of a certificate is believed:
//! only its key.
//!
//! Enter through [`server`] and [`client`]. Invariant: a handshake completes only with a key that
//! the book (when accepting) or the dialled target's card (when dialling) names; resumption,
//! tickets and 0-RTT are off, so this check runs on every connection.

use std::{fmt, sync::Arc};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature},
    server::{
        NoServerSessionStorage, ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::SingleCertAndKey,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{
    LinkError, PeerBook, TransportIdentity,
    key_exchange::{self, KeyExchange, Observed},
};

/// The application protocol; one version of the link, one name (RFC 7301).
pub(super) const ALPN: &[u8] = b"relay/1";

/// What a client puts where a server's name goes; it is not sent, since no SNI leaves this node.
pub(super) const SERVER_NAME: &str = "relay.invalid";

/// For accepting: the client's key has to be in the book.
pub(super) fn server(
    identity: &TransportIdentity,
    policy: KeyExchange,
    book: Arc<dyn PeerBook>,
) -> Result<Arc<dyn quinn::crypto::ServerConfig>, LinkError> {
    let config = server_config(identity, policy, book)?;
    let config = QuicServerConfig::try_from(config)?;
    Ok(Arc::new(Observed(Arc::new(config))))
}

fn server_config(
    identity: &TransportIdentity,
    policy: KeyExchange,
    book: Arc<dyn PeerBook>,
) -> Result<rustls::ServerConfig, LinkError> {
    let provider = provider(policy);
    let verifier = Pinned::new(&provider, Pins::Book(book));
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    // The default ticketer issues nothing and no session is kept: there is nothing to resume.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// For dialling: the server's key has to be one of `pins`.
pub(super) fn client(
    identity: &TransportIdentity,
    policy: KeyExchange,
    pins: Vec<Vec<u8>>,
) -> Result<Arc<dyn quinn::crypto::ClientConfig>, LinkError> {
    let config = client_config(identity, provider(policy), Pins::Listed(pins))?;
    let config = QuicClientConfig::try_from(config)?;
    Ok(Arc::new(Observed(Arc::new(config))))
}

pub(super) fn client_config(
    identity: &TransportIdentity,
    provider: Arc<CryptoProvider>,
    pins: Pins,
) -> Result<rustls::ClientConfig, LinkError> {
    let verifier = Pinned::new(&provider, pins);
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_early_data = false;
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// aws-lc with TLS 1.3 suites and the groups of the policy.
fn provider(policy: KeyExchange) -> Arc<CryptoProvider> {
    provider_with(key_exchange::groups(policy))
}

pub(super) fn provider_with(
    kx_groups: Vec<&'static dyn rustls::crypto::SupportedKxGroup>,
) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    provider.kx_groups = kx_groups;
    Arc::new(provider)
}

/// Where the allowed keys are looked up.
pub(super) enum Pins {
    /// All verified peers; the answer may change while we run.
    Book(Arc<dyn PeerBook>),
    /// The keys of one node.
    Listed(Vec<Vec<u8>>),
}

/// The SubjectPublicKeyInfo of a certificate.
pub(super) fn spki_of(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, Error> {
    let certificate = ParsedCertificate::try_from(certificate)?;
    Ok(certificate.subject_public_key_info().to_vec())
}

struct Pinned {
    pins: Pins,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    fn new(provider: &CryptoProvider, pins: Pins) -> Self {
        Self { pins, algorithms: provider.signature_verification_algorithms }
    }

    fn check(&self, certificate: &CertificateDer<'_>, chain: usize) -> Result<(), Error> {
        let spki = spki_of(certificate)?;
        let known = match &self.pins {
            Pins::Book(book) => book.by_spki(&spki).is_some(),
            Pins::Listed(pins) => pins.contains(&spki),
        };
        // A self-signed certificate has no chain; a longer one is not from a relay.
        if known && chain == 0 {
            Ok(())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if dss.scheme != SignatureScheme::ED25519 {
            return Err(CertificateError::BadSignature.into());
        }
        verify_tls13_signature(message, certificate, dss, &self.algorithms)
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pinned")
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates.len())?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for Pinned {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates.len())?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use relay_proto::ids::UnitId;
    use rustls::NamedGroup;

    use super::{
        super::{DialTarget, LocalNode, PeerNode},
        *,
    };

    struct NoPeers;

    impl PeerBook for NoPeers {
        fn by_spki(&self, _spki: &[u8]) -> Option<PeerNode> {
            None
        }

        fn addresses(&self, _unit: &UnitId) -> Vec<DialTarget> {
            Vec::new()
        }

        fn unit_at(&self, _address: std::net::SocketAddr) -> Option<UnitId> {
            None
        }
    }

    fn identity() -> TransportIdentity {
        let node = "xa.ncu/a".parse().unwrap();
        let local = LocalNode { node, instance_id: [1; 16], boot_id: [1; 16] };
        TransportIdentity::from_secret(local, &[1; 32], &[1; 64]).unwrap()
    }

    /// What is off stays off, and what is mandatory is asked for, as the configurations say.
    #[test]
    fn nothing_is_resumed_or_optional() {
        let server = server_config(&identity(), KeyExchange::Prefer, Arc::new(NoPeers)).unwrap();
        assert_eq!((server.max_early_data_size, server.send_tls13_tickets), (0, 0));
        assert!(!server.ticketer.enabled() && !server.session_storage.can_cache());
        assert_eq!(server.alpn_protocols, [b"relay/1"]);
        let pinned = Pinned::new(&provider(KeyExchange::Prefer), Pins::Listed(Vec::new()));
        assert!(pinned.offer_client_auth() && pinned.client_auth_mandatory());
        let pins = Pins::Listed(vec![identity().spki().to_vec()]);
        let client = client_config(&identity(), provider(KeyExchange::Prefer), pins).unwrap();
        assert!(!client.enable_early_data && !client.enable_sni);
        assert_eq!(client.alpn_protocols, [b"relay/1"]);
    }

    /// The hybrid group is first, and alone where it is required; only TLS 1.3 suites are left.
    #[test]
    fn groups_follow_the_policy() {
        let names = |policy| -> Vec<_> {
            provider(policy).kx_groups.iter().map(|group| group.name()).collect()
        };
        assert_eq!(names(KeyExchange::Require), [NamedGroup::X25519MLKEM768]);
        let preferred = [NamedGroup::X25519MLKEM768, NamedGroup::X25519, NamedGroup::secp256r1];
        assert_eq!(names(KeyExchange::Prefer), preferred);
        let suites = &provider(KeyExchange::Prefer).cipher_suites;
        assert!(!suites.is_empty() && suites.iter().all(|suite| suite.tls13().is_some()));
    }
}
