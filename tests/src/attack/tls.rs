//! The hostile client's TLS: it takes any server, and shows whatever key it wants, or none.

use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ED25519};
use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    version::TLS13,
};

use super::tcp;

/// What the client shows at the door.
#[derive(Clone)]
pub enum Identity {
    /// No certificate.
    Nobody,
    /// A key with a certificate in somebody's name.
    Key(Arc<(CertificateDer<'static>, Vec<u8>)>),
}

impl Identity {
    /// A key that nobody pinned, in the name of another.
    pub fn unpinned(name: &str) -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        Self::of(name, &key.serialize_der())
    }

    /// A transport key as PKCS#8.
    pub fn of(name: &str, pkcs8: &[u8]) -> Self {
        let der = PrivatePkcs8KeyDer::from(pkcs8.to_vec());
        let key =
            KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519).expect("an Ed25519 key");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).expect("a certificate");
        Self::Key(Arc::new((certificate.der().clone(), pkcs8.to_vec())))
    }
}

/// The configuration of one connection.
pub fn client(identity: &Identity, alpn: &[u8]) -> Arc<QuicClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = match identity {
        Identity::Nobody => config.with_no_client_auth(),
        Identity::Key(pair) => {
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.1.clone()));
            config.with_client_auth_cert(vec![pair.0.clone()], key).expect("a key that signs")
        }
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    // Whatever the server would give for a next time is kept, and used.
    config.enable_early_data = true;
    Arc::new(QuicClientConfig::try_from(config).expect("a suite for QUIC"))
}

/// The same for the API's TCP port, with a certificate or without.
pub fn tcp_client(certificate: Option<tcp::Issued>) -> rustls::ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = match certificate.map(tcp::pair) {
        None => config.with_no_client_auth(),
        Some((chain, key)) => config.with_client_auth_cert(chain, key).expect("a key that signs"),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// The relay's own protocol.
pub const ALPN: &[u8] = b"relay/1";

/// Believes everybody.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
