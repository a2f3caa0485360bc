//! The verb `config check`: each thing that is wrong on this machine has its line and its mend.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    os::unix::net::UnixListener,
    path::Path,
};

use crate::node::{Node, chmod, out, relay_node};

/// What a configuration names is looked at: each thing that is wrong with it has its line and its
/// mend.
#[test]
fn check_looks_at_the_machine() {
    let node = Node::made(&["--clock", "assumed", "--listen", "127.0.0.1:0"]);
    fs::remove_file(node.dir.join("keys/identity.key")).unwrap();
    let faults = |wanted: &[&str]| {
        let (code, stdout, _) = node.check();
        assert_eq!(code, 1, "{stdout}");
        for text in wanted {
            assert!(stdout.contains(text), "`{text}` is not in {stdout}");
        }
        stdout
    };
    let key = node.dir.join("keys/log-1.key");
    chmod(&key, 0o640);
    faults(&["error  KEYS  keys.dir", "mode 0640", &format!("chmod 600 {}", key.display())]);
    chmod(&key, 0o600);
    chmod(&node.dir.join("keys"), 0o755);
    faults(&["error  KEYS  keys.dir", "mode 0755", "chmod 700"]);
    chmod(&node.dir.join("keys"), 0o700);
    let aside = node.dir.join("aside");
    fs::rename(&key, &aside).unwrap();
    faults(&["error  KEYS  keys.dir", "log-1.key` is missing", "put it back from its backup"]);
    fs::rename(&aside, &key).unwrap();
    chmod(&node.dir.join("data"), 0o755);
    faults(&["error  OPEN_TO_OTHERS  node.dir", "mode 0755", "chmod 700"]);
    chmod(&node.dir.join("data"), 0o700);
    assert_eq!(node.check().0, 0);

    node.edit("dir = \"data\"", "dir = \"date\"");
    faults(&[
        "relay.toml:11:7  error  STORE_MISSING  node.dir",
        "No such file",
        "`relay-node init` only",
    ]);
    node.edit("dir = \"date\"", "dir = \"data\"");
    node.edit("socket = \"api.sock\"", "socket = \"run/api.sock\"");
    faults(&["error  NO_DIRECTORY  api.socket", "is not a directory", "mkdir -m 750"]);
    node.edit("run/api.sock", "relay.toml");
    faults(&["error  CANNOT_BIND  api.socket", "is there and is no socket"]);
    node.edit("socket = \"relay.toml\"", "socket = \"api.sock\"");
    node.edit("dir = \"keys\"", "dir = 7");
    let stdout = faults(&["error  WRONG_VALUE  keys.dir  is of type integer"]);
    assert!(stdout.contains("1 error, 0 warnings"), "the default is not looked for: {stdout}");
    node.edit("dir = 7", "dir = \"keys\"");
    node.edit(
        "[clock]",
        "[api.tcp]\nlisten = \"127.0.0.1:1\"\ncertificate = \"c.pem\"\nkey = \"k\"\nclient_ca = \
         \"data\"\n\n[clock]",
    );
    let stdout = faults(&[
        "error  FILE_MISSING  api.tcp.certificate",
        "error  KEYS  api.tcp.key",
        "api.tcp.client_ca",
    ]);
    assert!(stdout.contains("3 errors, 0 warnings"), "{stdout}");
}

/// A node whose check is clean but for what a test does to it.
fn clean(more: &[&str]) -> Node {
    let base = ["--clock", "assumed", "--listen", "127.0.0.1:0"];
    let node = Node::made(&[&base, more].concat());
    fs::remove_file(node.dir.join("keys/identity.key")).unwrap();
    assert_eq!(node.check().0, 0, "{}", node.check().1);
    node
}

/// The faults that a check tells; all of them, and no other.
fn faults(node: &Node, wanted: &[&[&str]]) {
    let (code, stdout, _) = node.check();
    assert_eq!(code, 1, "{stdout}");
    for texts in wanted {
        assert!(stdout.lines().count() > 1, "{stdout}");
        for text in *texts {
            assert!(stdout.contains(text), "`{text}` is not in {stdout}");
        }
    }
    let counted = match wanted.len() {
        1 => "1 error, ".to_owned(),
        n => format!("{n} errors, "),
    };
    assert!(stdout.contains(&counted), "{stdout}");
}

fn swap(one: &Path, other: &Path) {
    let aside = one.with_extension("aside");
    fs::rename(one, &aside).unwrap();
    fs::rename(other, one).unwrap();
    fs::rename(&aside, other).unwrap();
}

/// Card, keys and store are read: one of another unit, or of another `init`, is told, each with
/// the key of the configuration that leads to it; all together.
#[test]
fn check_compares_card_keys_and_store() {
    let (node, other) = (clean(&[]), clean(&[]));
    let card = "xa.cyber-poc.relaycard";
    // The same unit, made twice: only the keys tell.
    swap(&node.dir.join(card), &other.dir.join(card));
    faults(
        &node,
        &[&["error  CARD_OF_ANOTHER  keys.card", "does not name the signing key", "made together"]],
    );
    swap(&node.dir.join(card), &other.dir.join(card));

    let key = node.dir.join("keys/log-1.key");
    let good = fs::read(&key).unwrap();
    fs::write(&key, "no key").unwrap();
    faults(&node, &[&["error  KEYS  keys.dir", "log-1.key` is not an Ed25519 key"]]);
    fs::write(&key, good).unwrap();

    fs::write(node.dir.join(card), "junk").unwrap();
    faults(&node, &[&["error  BAD_CARD  keys.card", "is no valid card", "from its backup"]]);
    fs::remove_file(node.dir.join(card)).unwrap();
    faults(&node, &[&["error  CARD_MISSING  keys.card", "cannot be read: No such file"]]);
    fs::copy(other.dir.join(card), node.dir.join(card)).unwrap();

    let id = node.dir.join("data/store.id");
    let text = fs::read_to_string(&id).unwrap();
    let card_of_other: &[&str] = &["error  CARD_OF_ANOTHER  keys.card"];
    let newer = text.replace("relay-store 1", "relay-store 2");
    for (bad, label, told) in [
        (text.replace("xa.cyber-poc", "xb.ncu"), "STORE_OF_ANOTHER", "is of unit xb.ncu"),
        (newer, "STORE_NEWER", "format 2, newer than this program"),
        ("junk".to_owned(), "NOT_A_STORE", "is not the file of a relay store"),
    ] {
        fs::write(&id, bad).unwrap();
        faults(&node, &[card_of_other, &[&format!("error  {label}  node.dir"), told]]);
    }
    fs::remove_file(&id).unwrap();
    faults(
        &node,
        &[
            card_of_other,
            &["error  STORE_MISSING  node.dir", "holds no store", "`relay-node init`"],
        ],
    );
    // Another unit's configuration: card and store both say so.
    let node = clean(&[]);
    node.edit("unit = \"xa.cyber-poc\"", "unit = \"xb.ncu\"");
    faults(
        &node,
        &[
            &[
                "error  CARD_OF_ANOTHER  keys.card  the card is of xa.cyber-poc",
                "correct `node.unit`",
            ],
            &["error  STORE_OF_ANOTHER  node.dir  the store in", "is of unit xa.cyber-poc"],
        ],
    );
}

/// Addresses and the socket's path are tried, and let go again.
#[test]
fn check_tries_the_addresses() {
    let node = clean(&[]);
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    node.edit("listen = \"127.0.0.1:0\"", &format!("listen = \"127.0.0.1:{port}\""));
    let stop = format!("ss -ulpn sport = :{port}");
    faults(&node, &[&["error  CANNOT_BIND  link.listen  UDP", "cannot be bound: Address", &stop]]);
    drop(taken);
    assert_eq!(node.check().0, 0);
    assert_eq!(node.check().0, 0, "the first check let it go");

    node.edit(&format!("listen = \"127.0.0.1:{port}\""), "listen = \"192.0.2.1:7443\"");
    faults(&node, &[&["error  CANNOT_BIND  link.listen", "an address of this machine"]]);
    node.edit("listen = \"192.0.2.1:7443\"", "listen = \"127.0.0.1:0\"");

    let socket = UnixListener::bind(node.dir.join("api.sock")).unwrap();
    faults(&node, &[&["error  CANNOT_BIND  api.socket", "another process answers on", "stop it"]]);
    drop(socket);
    // A socket that a killed node left is taken over by the next one.
    assert_eq!(node.check().0, 0);

    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let pem = "certificate = \"xa.cyber-poc.relaycard\"\nkey = \"keys/log-1.key\"\n\
               client_ca = \"xa.cyber-poc.relaycard\"";
    let listen = format!("listen = \"{}\"", tcp.local_addr().unwrap());
    node.edit("[clock]", &format!("[api.tcp]\n{listen}\n{pem}\n\n[clock]"));
    faults(&node, &[&["error  CANNOT_BIND  api.tcp.listen  TCP 127.0.0.1", "ss -tlpn"]]);
}

/// A path that the system would not take is told from the file, before anything is tried.
#[test]
fn long_socket_paths_are_told() {
    let node = clean(&[]);
    let dir = node.dir.as_os_str().len();
    let long = format!("{}/s", "d".repeat(100_usize.saturating_sub(dir)));
    node.edit("socket = \"api.sock\"", &format!("socket = \"{long}\""));
    faults(
        &node,
        &[&["error  WRONG_VALUE  api.socket", "the system allows 107", "choose a shorter one"]],
    );
}

/// The files that ship are checked as files on any machine, also where nothing that they name
/// exists.
#[test]
fn shipped_files_are_clean() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/relay.toml");
    let (code, stdout, stderr) = out(&relay_node(&["config", "check", "--file-only", file]));
    assert_eq!((code, stdout, stderr), (0, format!("{file}: no faults\n"), String::new()));
}
