//! Strangers at the API's TCP port: connections that say nothing or nonsense, TLS without a
//! certificate or with one of another authority.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream as StdTcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use rustls::{
    ClientConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{net::TcpStream, time::Instant};

use super::{report::Outcome, stage::Stage, tls};

/// Each stranger, again and again: first alone, then beside a crowd that says nothing and takes all
/// places that one caller may have.
pub async fn strangers(stage: &Stage, until: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    let certificates = [
        ("TLS without certificate", None),
        ("certificate of another authority", Some(Authority::new("other").issue("mallory"))),
        ("certificate of a false authority", Some(Authority::new(AUTHORITY).issue("mallory"))),
    ];
    let crowded = Instant::now() + until.saturating_duration_since(Instant::now()) / 2;
    let mut silent = Vec::new();
    while Instant::now() < until {
        if silent.is_empty() && Instant::now() >= crowded {
            outcome.demand_only(&["CertificateRequired", "UnknownCA", "DecryptError", CLOSED]);
            let refused = outcome.answered.of("CertificateRequired");
            outcome.demand(refused > 0, format!("{refused} callers without certificate refused"));
            for _ in 0..SILENT {
                silent.push(TcpStream::connect(stage.tcp).await.expect("a listener that accepts"));
            }
            outcome.sent.add_many("silent connection", SILENT);
        }
        for (what, certificate) in &certificates {
            outcome.sent.add(*what);
            outcome.answered.add(knock(stage.tcp, certificate.clone()).await);
        }
        outcome.sent.add("plain HTTP/2");
        outcome.answered.add(plain(stage.tcp).await);
        tokio::time::sleep(PAUSE).await;
    }
    outcome.demand(!silent.is_empty(), "the strangers took so long that no crowd came");
    outcome.demand_only(&["CertificateRequired", "UnknownCA", "DecryptError", CLOSED]);
    outcome
}

/// A chain of one and its key.
pub type Issued = (Vec<u8>, Vec<u8>);

/// An authority of client and server certificates.
pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
}

impl Authority {
    /// With a key of its own.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { params, key: KeyPair::generate().expect("a key") }
    }

    /// A certificate for a name, in DER.
    fn issue(&self, name: &str) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let issuer = Issuer::from_params(&self.params, &self.key);
        let issued = params.signed_by(&key, &issuer).expect("a certificate");
        (issued.der().to_vec(), key.serialize_der())
    }

    /// Puts a server's files into a node's directory, and gives the section that names them.
    pub fn serve(&self, dir: &Path, address: SocketAddr) -> String {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let issuer = Issuer::from_params(&self.params, &self.key);
        let server = params.signed_by(&key, &issuer).expect("a certificate");
        let own = self.params.self_signed(&self.key).expect("a certificate");
        let files = [
            ("api.pem", server.pem()),
            ("api.key", key.serialize_pem()),
            ("clients.pem", own.pem()),
        ];
        for (name, text) in files {
            let path = dir.join(name);
            std::fs::write(&path, text).expect("a file that can be written");
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&path, private).expect("an own file");
        }
        format!(
            "\n[api.tcp]\nlisten = \"{address}\"\ncertificate = \"api.pem\"\nkey = \"api.key\"\n\
             client_ca = \"clients.pem\"\n"
        )
    }
}

/// TLS, then the preface of HTTP/2; how the server ended it.
async fn knock(to: SocketAddr, certificate: Option<Issued>) -> String {
    let end = tokio::task::spawn_blocking(move || {
        let config = Arc::new(tls::tcp_client(certificate));
        let name = "localhost".try_into().expect("a name");
        let connection = ClientConnection::new(config, name).map_err(|e| e.to_string())?;
        let stream = StdTcpStream::connect(to).map_err(|e| e.to_string())?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|e| e.to_string())?;
        let mut tls = StreamOwned::new(connection, stream);
        tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").map_err(told)?;
        let mut answer = [0; 64];
        let length = tls.read(&mut answer).map_err(told)?;
        Err::<(), _>(format!("{length} bytes of an answer"))
    });
    end.await.expect("a call that returns").err().unwrap_or_default()
}

/// The alert, without the words around it.
fn told(error: std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::AlertReceived(alert)) => format!("{alert:?}"),
        None if is_end(&error) => CLOSED.to_owned(),
        _ => error.to_string(),
    }
}

/// The node ended it: with words of ours unread, or in the middle of TLS.
fn is_end(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(error.kind(), Kind::ConnectionReset | Kind::UnexpectedEof | Kind::BrokenPipe)
}

async fn plain(to: SocketAddr) -> String {
    let end = tokio::task::spawn_blocking(move || {
        let mut stream = StdTcpStream::connect(to)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    });
    match end.await.expect("a call that returns") {
        // A TLS alert is seven bytes, and no word of HTTP/2.
        Ok(answer) if answer.first().is_none_or(|kind| *kind == 0x15) => CLOSED.to_owned(),
        Ok(answer) => format!("{} bytes of an answer", answer.len()),
        Err(error) if is_end(&error) => CLOSED.to_owned(),
        Err(error) => error.to_string(),
    }
}

/// For the library: a chain and its key.
pub fn pair(issued: Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(issued.1));
    (vec![CertificateDer::from(issued.0)], key)
}

/// The name of the authority that nodes trust.
pub const AUTHORITY: &str = "case systems";

const CLOSED: &str = "closed without a word";
const SILENT: u64 = 200;
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(5);
