//! The real daemon, started with something wrong: it says what, where and what to do, ends with its
//! status, touches nothing, and starts as if nothing had been once the thing is mended.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use relay_tests::process::{Ended, Process};

use crate::rig::{assert_harmless, demo_file};

/// A node that was made, holds one message, and does not run.
struct Stage {
    dir: tempfile::TempDir,
    node: Process,
    before: BTreeMap<PathBuf, Vec<u8>>,
}

impl Stage {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut node = Process::init(dir.path(), "xa.cyber-poc", "");
        let other = Process::init(dir.path(), "xb.ncu", "");
        node.start().await;
        relay_tests::process::add(&node, &other).await;
        relay_tests::process::verify(&node, &other).await;
        let alert = dir.path().join("alert.json");
        let text = fs::read_to_string(demo_file("alert.json")).unwrap();
        fs::write(&alert, text.replace(", \"xc.cyber-poc\"", "")).unwrap();
        let sent = node.cli(&["send", "alert", "--file", alert.to_str().unwrap()]);
        assert_eq!(sent.code, Some(0), "{sent:?}");
        assert_eq!(node.terminate(), Some(0));
        let before = files(&node.dir);
        Self { dir, node, before }
    }

    /// The start is refused with these words in it, and nothing that was there is changed.
    fn refused(&self, said: &[&str]) {
        let ended = self.node.run_refused();
        refusal(&ended, said);
        let mut now = files(&self.node.dir);
        now.retain(|path, _| self.before.contains_key(path));
        // The lock's file names whoever took the lock last, for people.
        let kept = self.before.iter().filter(|(path, _)| !path.ends_with("lock"));
        for (path, content) in kept {
            assert!(now.get(path) == Some(content), "{} was changed", path.display());
        }
    }

    /// Breaks the configuration, looks, mends it.
    fn with_config(&self, from: &str, to: &str, said: &[&str]) {
        let path = self.node.dir.join("relay.toml");
        let good = fs::read_to_string(&path).unwrap();
        assert!(good.contains(from), "{from} is not in {good}");
        fs::write(&path, good.replacen(from, to, 1)).unwrap();
        let ended = self.node.run_refused();
        refusal(&ended, said);
        fs::write(&path, good).unwrap();
    }

    /// Changes one file, looks, puts it back.
    fn with_file(&self, name: &str, content: Option<&[u8]>, said: &[&str]) {
        let path = self.node.dir.join(name);
        let good = fs::read(&path).unwrap();
        match content {
            Some(content) => fs::write(&path, content).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let ended = self.node.run_refused();
        refusal(&ended, said);
        fs::write(&path, good).unwrap();
        mode(&path, 0o600);
    }

    fn data(&self) -> String {
        self.node.dir.join("data").display().to_string()
    }
}

/// One line or a list of faults on stderr, the status of a refusal, no panic, nothing raw.
fn refusal(ended: &Ended, said: &[&str]) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.out, "");
    assert!(!ended.err.contains("panicked"), "{ended:?}");
    assert_harmless(&ended.err);
    for text in said {
        assert!(ended.err.contains(text), "`{text}` is not in {}", ended.err);
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Every file below a directory but logs and the inside of the store, which each opening tidies:
/// that is judged by what the node shows of it in the end.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            if !path.ends_with("index") && !path.ends_with("journal") {
                found.extend(files(&path));
            }
        } else if kind.is_file() && !path.ends_with("node.log") && !path.ends_with("index.mark") {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// The configuration: unknown keys, typing errors, wrong values, a file that is not there.
fn wrong_configuration(stage: &Stage) {
    let file = "relay.toml:";
    let idle = ["UNKNOWN_KEY", "link.idle_timout", file, "did you mean", "idle_timeout"];
    stage.with_config("[link]", "[link]\nidle_timout = \"30s\"", &idle);
    stage.with_config("[link]", "[lnk]", &["UNKNOWN_KEY", "lnk", file, "did you mean"]);
    stage.with_config(
        "[clock]",
        "[clock]\nfavourite_colour = 7",
        &["UNKNOWN_KEY", "clock.favourite_colour", file],
    );
    stage.with_config(
        "source = \"assumed\"",
        "source = \"asumed\"",
        &["WRONG_VALUE", "clock.source", file],
    );
    let two = ["clock.source", "link.listen"];
    stage.with_config("listen = \"", "listen = \"x", &two[1..]);
    stage.with_config(
        "budapest-247.toml",
        "budapest-274.toml",
        &["FILE_MISSING", "budapest-274.toml"],
    );
}

/// Keys and card: missing, open to others, damaged, of others.
fn wrong_keys(stage: &Stage) {
    let keys = stage.node.dir.join("keys");
    stage.with_file("keys/log-1.key", None, &["reason: KEYS", "log-1.key", "missing"]);
    stage.with_file("keys/signing-1.key", Some(b"junk"), &["reason: KEYS", "signing-1.key"]);
    let key = keys.join("transport-1.key");
    mode(&key, 0o644);
    stage.refused(&["reason: KEYS", "transport-1.key", "0644", "chmod 600"]);
    mode(&key, 0o600);
    mode(&keys, 0o755);
    stage.refused(&["reason: KEYS", "0755", "chmod 700"]);
    mode(&keys, 0o700);
    let card = "xa.cyber-poc.relaycard";
    stage.with_file(card, None, &["reason: CARD_MISSING", card]);
    stage.with_file(card, Some(b"relay-card/v1\njunk"), &["reason: BAD_CARD", card]);
    let other = fs::read(stage.dir.path().join("xb.ncu/xb.ncu.relaycard")).unwrap();
    stage.with_file(card, Some(&other), &["reason: CARD_OF_ANOTHER", "node.unit"]);
}

/// The store: another unit's, not there, of a newer format, no store at all, open elsewhere.
fn wrong_store(stage: &Stage) {
    let other = stage.dir.path().join("xb.ncu/data");
    let path = format!("dir = \"{}\"", other.display());
    stage.with_config("dir = \"data\"", &path, &["STORE_OF_ANOTHER", "xb.ncu", "xa.cyber-poc"]);
    stage.with_config(
        "dir = \"data\"",
        "dir = \"date\"",
        &["STORE_MISSING", "date", "relay-node init"],
    );
    assert!(!stage.node.dir.join("date").exists(), "a store was made at a wrong path");
    let id = fs::read_to_string(stage.node.dir.join("data/store.id")).unwrap();
    let newer = id.replacen("relay-store 1", "relay-store 2", 1);
    stage.with_file("data/store.id", Some(newer.as_bytes()), &["STORE_NEWER", "format 2", "newer"]);
    stage.with_file("data/store.id", Some(b"\x1b[2J\xff"), &["NOT_A_STORE", "store.id"]);
    stage.with_file("data/store.id", None, &["STORE_MISSING", &stage.data(), "relay-node init"]);
}

/// Addresses: the UDP port of another program, a file in the place of the socket.
fn wrong_places(stage: &Stage) {
    let config = fs::read_to_string(stage.node.dir.join("relay.toml")).unwrap();
    let listen = config.lines().find_map(|line| line.strip_prefix("listen = ")).unwrap();
    let address: std::net::SocketAddr = listen.trim_matches('"').parse().unwrap();
    let held = std::net::UdpSocket::bind(address).unwrap();
    stage.refused(&["reason: CANNOT_BIND", "link", "in use"]);
    drop(held);
    let socket = stage.node.socket();
    fs::write(&socket, "a file").unwrap();
    stage.refused(&["api.sock", "not a socket"]);
    assert_eq!(fs::read(&socket).unwrap(), b"a file");
    fs::remove_file(&socket).unwrap();
}

/// Everything that can be wrong at a start is refused by name; what was stored before is there when
/// it is mended, and a second process beside the running one is refused without disturbing it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_start_names_what_is_wrong() {
    let mut stage = Stage::new().await;
    wrong_configuration(&stage);
    wrong_keys(&stage);
    wrong_store(&stage);
    wrong_places(&stage);

    stage.node.start().await;
    let second = stage.node.run_refused();
    refusal(&second, &["STORE_IN_USE", &stage.data(), "is open in process "]);
    let outbox = stage.node.cli(&["outbox", "--json"]);
    assert_eq!(outbox.code, Some(0), "the first process was disturbed: {outbox:?}");
    assert_eq!(outbox.json()["messages"].as_array().unwrap().len(), 1, "{outbox:?}");
    assert_eq!(stage.node.terminate(), Some(0));
    assert!(!stage.node.log().contains("panicked"));
}
