//! Who calls: the user of the Unix socket's other end, or the client certificate's fingerprint.
//!
//! Invariant: the kernel or the TLS handshake says it; nothing in a request does.

use data_encoding::HEXLOWER;
use relay_proto::{ids::Digest, reason::Reason};
use tonic::{
    Extensions,
    transport::server::{TcpConnectInfo, TlsConnectInfo, UdsConnectInfo},
};

use super::status::Problem;
use crate::relay::submit::Principal;

/// `uid:1000` or `cert:<sha256 of the leaf certificate>`.
pub(super) fn principal(extensions: &Extensions) -> Result<Principal, Problem> {
    if let Some(unix) = extensions.get::<UdsConnectInfo>() {
        let user = unix.peer_cred.map(|credentials| format!("uid:{}", credentials.uid()));
        return user.ok_or_else(unknown);
    }
    let certificates =
        extensions.get::<TlsConnectInfo<TcpConnectInfo>>().and_then(TlsConnectInfo::peer_certs);
    let leaf = certificates.as_ref().and_then(|chain| chain.first()).ok_or_else(unknown)?;
    Ok(format!("cert:{}", HEXLOWER.encode(Digest::of(leaf.as_ref()).as_bytes())))
}

fn unknown() -> Problem {
    Problem::text(Reason::PermissionDenied, "the caller could not be identified")
}
