//! Whether addresses and a socket's path could be taken: bound, and let go at once.
//!
//! Enter through [`udp`], [`tcp`] and [`socket`]. Invariant: nothing is left behind, and no packet
//! is sent or read.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
};

/// Why something cannot be bound, and what helps.
pub(super) struct Taken {
    pub(super) problem: String,
    pub(super) mend: String,
}

/// The address of the link.
pub(super) fn udp(address: SocketAddr) -> Option<Taken> {
    UdpSocket::bind(address).err().map(|error| taken("UDP", "ulpn", address, &error))
}

/// The address of the API.
pub(super) fn tcp(address: SocketAddr) -> Option<Taken> {
    TcpListener::bind(address).err().map(|error| taken("TCP", "tlpn", address, &error))
}

/// The path of the API's socket: whether somebody answers there, and whether the directory's file
/// system takes sockets.
pub(super) fn socket(path: &Path, dir: &Path) -> Option<Taken> {
    let shown = path.display();
    if UnixStream::connect(path).is_ok() {
        return Some(Taken {
            problem: format!("another process answers on `{shown}`"),
            mend: "stop it, or choose another path".into(),
        });
    }
    // Not at the path itself: a node that starts at this moment must find it free.
    let trial = dir.join(format!(".{}", std::process::id()));
    let bound = UnixListener::bind(&trial);
    let _ = fs::remove_file(&trial);
    bound.err().map(|error| Taken {
        problem: format!("no socket can be made beside `{shown}`: {error}"),
        mend: "choose a path on a local file system, as in `/run/relay/api.sock`".into(),
    })
}

fn taken(kind: &str, options: &str, address: SocketAddr, error: &io::Error) -> Taken {
    let port = address.port();
    let mend = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("stop who has it (`ss -{options} sport = :{port}`), or choose another port")
        }
        io::ErrorKind::AddrNotAvailable => {
            "write an address of this machine, or `[::]` for all of them".into()
        }
        io::ErrorKind::PermissionDenied => "choose a port above 1023".into(),
        _ => "choose another address".into(),
    };
    Taken { problem: format!("{kind} {address} cannot be bound: {error}"), mend }
}
