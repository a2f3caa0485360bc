//! The verb `run`: why a node does not start; each told once, with its place and its mend.

use std::{
    fs,
    net::UdpSocket,
    os::unix::net::UnixListener,
    process::{Child, Command, Stdio},
};

use crate::node::{Node, chmod, out, relay_node};

/// `run` by a configuration with faults starts nothing and tells all of them.
#[test]
fn run_refuses_faults() {
    let node = Node::made(&[]);
    node.edit("[link]", "[link]\nidle_timout = \"30s\"");
    let (code, stdout, stderr) =
        out(&relay_node(&["run", "--config", node.config().to_str().unwrap()]));
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("link.idle_timout") && stderr.contains("did you mean"), "{stderr}");
    let (code, _, stderr) = out(&relay_node(&["run", "--config", "/nowhere/relay.toml"]));
    assert!(code == 1 && stderr.contains("relay-node init"), "{stderr}");
}

fn node() -> Node {
    Node::made(&["--clock", "assumed", "--listen", "127.0.0.1:0"])
}

/// Runs a node that must not start; what it said on stderr.
fn refused(node: &Node, code: i32) -> String {
    let config = node.config();
    let (found, stdout, stderr) = out(&relay_node(&["run", "--config", config.to_str().unwrap()]));
    assert_eq!((found, stdout.as_str()), (code, ""), "{stderr}");
    // Beside the log's records, which are JSON, only this is said.
    let said: Vec<&str> = stderr.lines().filter(|line| !line.starts_with('{')).collect();
    assert!(!stderr.contains("\"ERROR\""), "told in the log as well: {stderr}");
    said.join("\n")
}

/// What it said names all of these, each once.
fn told_once(stderr: &str, wanted: &[&str]) {
    for text in wanted {
        assert_eq!(stderr.matches(text).count(), 1, "`{text}` in {stderr}");
    }
    assert!(stderr.lines().count() <= 3, "{stderr}");
    assert!(stderr.starts_with("relay-node: cannot start: "), "{stderr}");
}

/// A running node, ended with its value.
struct Running(Child);

impl Running {
    fn start(node: &Node) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_relay-node"))
            .args(["run", "--config"])
            .arg(node.config())
            .stderr(Stdio::null())
            .spawn();
        let running = Self(child.unwrap());
        let socket = node.dir.join("api.sock");
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            std::thread::yield_now();
        }
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The store: absent, another unit's, of a newer format, open already.
#[test]
fn a_store_that_is_not_ours_is_not_opened() {
    let node = node();
    let check = format!("try:  relay-node config check {}", node.config().display());
    let id = node.dir.join("data/store.id");
    let text = fs::read_to_string(&id).unwrap();
    let data = format!("{}", node.dir.join("data").display());
    let newer = text.replace("relay-store 1", "relay-store 2");
    let other = "is of unit xb.ncu, the configuration says";
    for (bad, reason, told) in [
        (text.replace("xa.cyber-poc", "xb.ncu"), "reason: STORE_OF_ANOTHER", other),
        (newer, "reason: STORE_NEWER", "format 2, newer than this program: run"),
    ] {
        fs::write(&id, bad).unwrap();
        told_once(&refused(&node, 1), &["start: store: ", &data, told, reason, &check]);
    }
    fs::remove_file(&id).unwrap();
    told_once(
        &refused(&node, 1),
        &["start: store: ", "holds no store: correct `node.dir`", "reason: STORE_MISSING", &check],
    );
    fs::write(&id, &text).unwrap();
    node.edit("dir = \"data\"", "dir = \"date\"");
    told_once(&refused(&node, 1), &["/date` holds no store", "only `relay-node init` makes"]);
    node.edit("dir = \"date\"", "dir = \"data\"");

    let running = Running::start(&node);
    let stderr = refused(&node, 1);
    told_once(&stderr, &["start: store: ", "is open in process ", "reason: STORE_IN_USE"]);
    // A check of the running node is no alarm: its addresses are its own.
    let (code, stdout, _) = node.check();
    assert!(code == 0 && stdout.contains("a node runs by this store"), "{stdout}");
    drop(running);
    assert!(!node.check().1.contains("a node runs by this store"));
}

/// Keys and card: missing, readable by others, of another node.
#[test]
fn keys_that_are_not_ours_are_not_used() {
    let node = node();
    let key = node.dir.join("keys/signing-1.key");
    let path = key.display().to_string();
    chmod(&key, 0o644);
    let stderr = refused(&node, 1);
    let mend = format!("run `chmod 600 {path}`");
    told_once(&stderr, &["start: keys: ", "has mode 0644", &mend, "reason: KEYS"]);
    chmod(&key, 0o600);
    let aside = node.dir.join("aside");
    fs::rename(&key, &aside).unwrap();
    told_once(&refused(&node, 1), &["start: keys: ", "signing-1.key` is missing: put it back"]);
    fs::rename(&aside, &key).unwrap();
    let card = node.dir.join("xa.cyber-poc.relaycard");
    fs::rename(&card, &aside).unwrap();
    let stderr = refused(&node, 1);
    told_once(
        &stderr,
        &[
            "start: card: ",
            "relaycard` cannot be read",
            "reason: CARD_MISSING",
            "try:  name the card that `init`",
        ],
    );
    fs::rename(&aside, &card).unwrap();
    fs::copy(node.dir.join("keys/witness-1.key"), &key).unwrap();
    told_once(
        &refused(&node, 1),
        &["start: card: ", "does not name the signing key", "try:  name card"],
    );
}

/// Address and socket: in use.
#[test]
fn addresses_in_use_are_named() {
    let node = node();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    node.edit("listen = \"127.0.0.1:0\"", &format!("listen = \"{address}\""));
    let stderr = refused(&node, 1);
    told_once(&stderr, &["link: cannot listen on UDP ", &address, "`link.listen`", "in use"]);
    drop(taken);
    let socket = UnixListener::bind(node.dir.join("api.sock")).unwrap();
    let stderr = refused(&node, 1);
    told_once(
        &stderr,
        &["start: api: ", "api.sock` is in use, another node answers", "`api.socket`"],
    );
    drop(socket);
}
