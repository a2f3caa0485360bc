//! The verbs `init` and `config check` of the real program: what they make, what they refuse, how
//! they say it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use relay_node::{
    clock::Clock,
    config::{self, ClockSource},
    init::{InitError, InitOptions, People, init},
    keys::{KeyStore, KeyUse},
};
use relay_proto::{card::Card, v1};

fn relay_node(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_relay-node")).args(arguments).output().unwrap()
}

fn out(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

struct Node {
    parent: tempfile::TempDir,
    dir: PathBuf,
}

impl Node {
    fn made(more: &[&str]) -> Self {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("node");
        let node = Self { parent, dir };
        let (code, stdout, stderr) = node.init(more);
        assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
        node
    }

    fn init(&self, more: &[&str]) -> (i32, String, String) {
        let dir = self.dir.to_str().unwrap();
        let base = ["init", "--unit", "xa.cyber-poc", "--dir", dir];
        out(&relay_node(&[&base, more].concat()))
    }

    fn config(&self) -> PathBuf {
        self.dir.join("relay.toml")
    }

    fn check(&self) -> (i32, String, String) {
        out(&relay_node(&["config", "check", self.config().to_str().unwrap()]))
    }

    fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(self.config(), text.replacen(from, to, 1)).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// `init` makes what it says, with the right modes, and tells what to do next.
#[test]
fn init_makes_a_node() {
    let node = Node::made(&["--listen", "127.0.0.1:0", "--clock", "assumed"]);
    assert_eq!(
        node.names(),
        ["anchor", "data", "keys", "profiles", "relay.toml", "xa.cyber-poc.relaycard"]
    );
    for name in ["anchor", "data", "keys"] {
        assert_eq!(mode(&node.dir.join(name)), 0o700, "{name}");
    }
    for entry in fs::read_dir(node.dir.join("keys")).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    let left: Vec<_> = fs::read_dir(node.parent.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing else is left beside it");

    let other = Node { parent: tempfile::tempdir().unwrap(), dir: node.dir.with_file_name("b") };
    let (code, stdout, _) = other.init(&[]);
    assert_eq!(code, 0);
    assert!(stdout.starts_with("Made node xa.cyber-poc/a in "), "{stdout}");
    for said in [
        "two copies",
        "identity.key offline",
        "no telephone number",
        "relay-node run --config",
        "relay-cli peer add",
    ] {
        assert!(stdout.contains(said), "`{said}` is not in {stdout}");
    }
    assert!(stdout.lines().all(|line| line.len() <= 80 + node.dir.as_os_str().len()), "{stdout}");
}

/// The configuration that `init` writes is clean, and says what the flags said.
#[test]
fn the_made_configuration_is_clean() {
    let node = Node::made(&[
        "--node",
        "b",
        "--listen",
        "127.0.0.1:7443",
        "--advertise",
        "relay.example.org:7443",
        "--advertise",
        "192.0.2.1:7443",
        "--clock",
        "assumed",
    ]);
    let (code, stdout, stderr) = node.check();
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    // The identity key is still there: the one thing that is left to do.
    assert!(stdout.contains("identity.key` is still on this machine"), "{stdout}");
    assert!(stdout.ends_with("0 errors, 1 warning (nothing was changed)\n"), "{stdout}");
    fs::remove_file(node.dir.join("keys/identity.key")).unwrap();
    let (code, stdout, _) = node.check();
    assert_eq!((code, stdout), (0, format!("{}: no faults\n", node.config().display())));
    let file = node.config();
    let quiet = ["config", "check", "--quiet", file.to_str().unwrap()];
    assert_eq!(out(&relay_node(&quiet)), (0, String::new(), String::new()));

    let settings = config::load(&node.config()).unwrap();
    assert_eq!(settings.node.id.to_string(), "xa.cyber-poc/b");
    assert_eq!(settings.link.advertise, ["relay.example.org:7443", "192.0.2.1:7443"]);
    assert_eq!(settings.clock.source, ClockSource::Assumed);
    assert_eq!(settings.keys.dir, node.dir.join("keys"));
    assert!(settings.profile("budapest-247").is_some());
}

/// The card is complete, names the keys that the node signs with, and opens under its own identity
/// key.
#[tokio::test]
async fn the_card_fits_the_keys() {
    let node = Node::made(&[
        "--name",
        "Cyber PoC of XA",
        "--phone",
        "+999 1 234",
        "--email",
        "poc@example.org",
        "--language",
        "fr",
        "--hours",
        "Mon-Fri 08:00-16:00",
        "--time-zone",
        "Europe/Paris",
        "--advertise",
        "relay.example.org:7443",
    ]);
    let file = fs::read(node.dir.join("xa.cyber-poc.relaycard")).unwrap();
    assert!(file.starts_with(b"relay-card/v1\n"));
    let card = Card::from_file(&file).unwrap();
    let value = card.value();
    assert_eq!((card.unit().as_str(), card.number()), ("xa.cyber-poc", 1));
    assert_eq!(value.names.first().map(|name| name.name.as_str()), Some("Cyber PoC of XA"));
    assert_eq!(
        (value.phone_24x7.as_str(), value.email.as_str()),
        ("+999 1 234", "poc@example.org")
    );
    assert_eq!((value.time_zone.as_str(), value.payload_minor), ("Europe/Paris", 1));
    assert_eq!(value.languages, ["fr"]);
    assert_eq!(value.capabilities, ["alert", "preservation_request"]);

    let keys = KeyStore::open(&node.dir.join("keys"), 1).unwrap();
    let signer = keys.signer();
    let signing = card.key(v1::KeyKind::Signing, signer.key_id(KeyUse::Envelope)).unwrap();
    let signature = signer.sign(KeyUse::Envelope, b"x").await.unwrap();
    signing.key.verify(b"x", &signature).unwrap();
    assert!(card.key(v1::KeyKind::Witness, signer.key_id(KeyUse::Cosignature)).is_some());
    let log = card.log(&"xa.cyber-poc/log/1".parse().unwrap()).unwrap();
    assert_eq!(log.key.key, signer.public(KeyUse::Checkpoint));
    let [carded] = card.nodes() else { panic!("one node was made") };
    assert_eq!(carded.id.to_string(), "xa.cyber-poc/a");
    assert_eq!(carded.addresses, ["relay.example.org:7443"]);
    let transport: Vec<_> = carded.transport_keys.iter().map(|key| key.key).collect();
    assert_eq!(transport, [keys.transport().public()]);
    let (now, day) = (Clock::new(&config::ClockSettings::default()).now(), 24 * 3600);
    let later = |days: u64| now.after(std::time::Duration::from_secs(days * day));
    assert!(signing.check_at(now).is_ok() && signing.check_at(later(700)).is_ok());
    assert!(signing.check_at(later(740)).is_err());
}

/// What is there stays as it is: a second `init`, a directory with something in it, a file, a
/// cut-off attempt.
#[test]
fn nothing_is_overwritten() {
    let node = Node::made(&[]);
    let before = fs::read(node.dir.join("keys/instance.id")).unwrap();
    let (code, stdout, stderr) = node.init(&[]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(
        stderr.contains("holds a node already") && stderr.contains("choose another"),
        "{stderr}"
    );
    fs::remove_file(node.config()).unwrap();
    let (code, _, stderr) = node.init(&[]);
    assert!(code == 1 && stderr.contains("holds a node already"), "{stderr}");
    assert_eq!(fs::read(node.dir.join("keys/instance.id")).unwrap(), before);

    let parent = tempfile::tempdir().unwrap();
    let other = Node { dir: parent.path().join("x"), parent };
    fs::write(&other.dir, "a file").unwrap();
    assert!(other.init(&[]).2.contains("not an empty directory"));
    fs::remove_file(&other.dir).unwrap();
    fs::create_dir(&other.dir).unwrap();
    fs::write(other.dir.join("notes"), "").unwrap();
    assert!(other.init(&[]).2.contains("not an empty directory"));
    fs::remove_file(other.dir.join("notes")).unwrap();
    let cut_off = other.parent.path().join(".x.init");
    fs::create_dir(&cut_off).unwrap();
    assert!(other.init(&[]).2.contains("was cut off"));
    assert!(cut_off.exists() && other.names().is_empty());
    fs::remove_dir(&cut_off).unwrap();
    assert_eq!(other.init(&[]).0, 0, "an empty directory is taken");
}

/// When the store cannot be made there is no node and no trace of one.
#[test]
fn a_failed_init_leaves_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let options = InitOptions {
        unit: "xa.cyber-poc".parse().unwrap(),
        node: "a".into(),
        dir: parent.path().join("deep/node"),
        listen: "[::]:7443".parse().unwrap(),
        advertise: Vec::new(),
        clock: ClockSource::Kernel,
        people: People {
            name: None,
            phone: None,
            email: None,
            language: "en".into(),
            hours: None,
            time_zone: None,
        },
    };
    let now = "2026-03-02T08:15:00Z".parse().unwrap();
    let error = init(&options, now, &|dir, node, _, at| {
        assert!(dir.is_dir() && at == now && node.to_string() == "xa.cyber-poc/a");
        Err("no space".into())
    });
    assert!(matches!(error.unwrap_err(), InitError::Store(_)));
    assert_eq!(fs::read_dir(parent.path().join("deep")).unwrap().count(), 0);

    let mut bad = options.clone();
    bad.people.name = Some("a\u{202e}b".into());
    let error = init(&bad, now, &|_, _, _, _| Ok(())).unwrap_err();
    assert!(error.to_string().contains("--name has characters"), "{error}");
    bad.people.name = Some(" ".into());
    assert!(init(&bad, now, &|_, _, _, _| Ok(())).is_err());
    let mut long = options;
    long.dir = parent.path().join("x".repeat(100));
    assert!(matches!(init(&long, now, &|_, _, _, _| Ok(())).unwrap_err(), InitError::TooLong(_)));
}

/// Wrong usage does nothing and says so with status 2.
#[test]
fn usage_errors() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("node");
    let dir = dir.to_str().unwrap();
    for arguments in [
        &[][..],
        &["start"],
        &["init", "--dir", dir],
        &["init", "--dir", dir, "--unit", "XA"],
        &["init", "--dir", dir, "--unit", "xa.ncu", "--advertise", "nowhere"],
        &["init", "--dir", dir, "--unit", "xa.ncu", "--listen", "localhost"],
        &["run"],
        &["config", "check"],
    ] {
        let (code, stdout, _) = out(&relay_node(arguments));
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
    }
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

/// What a configuration names is looked at: each thing that is wrong with it has its line and its
/// mend.
#[test]
fn check_looks_at_the_machine() {
    let node = Node::made(&["--clock", "assumed"]);
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
    faults(&["error  keys.dir", "mode 0640", &format!("chmod 600 {}", key.display())]);
    chmod(&key, 0o600);
    chmod(&node.dir.join("keys"), 0o755);
    faults(&["error  keys.dir", "mode 0755", "chmod 700"]);
    chmod(&node.dir.join("keys"), 0o700);
    let aside = node.dir.join("aside");
    fs::rename(&key, &aside).unwrap();
    faults(&["error  keys.dir", "log-1.key` is missing", "put it back from its backup"]);
    fs::rename(&aside, &key).unwrap();
    chmod(&node.dir.join("data"), 0o755);
    faults(&["error  node.dir", "mode 0755", "chmod 700"]);
    chmod(&node.dir.join("data"), 0o700);
    assert_eq!(node.check().0, 0);

    node.edit("dir = \"data\"", "dir = \"date\"");
    faults(&["relay.toml:11:7  error  node.dir", "No such file", "`relay-node init` only"]);
    node.edit("dir = \"date\"", "dir = \"data\"");
    node.edit("socket = \"api.sock\"", "socket = \"run/api.sock\"");
    faults(&["error  api.socket", "is not a directory", "mkdir -m 750"]);
    node.edit("run/api.sock", "relay.toml");
    faults(&["error  api.socket", "is there and is no socket"]);
    node.edit("socket = \"relay.toml\"", "socket = \"api.sock\"");
    node.edit("dir = \"keys\"", "dir = 7");
    let stdout = faults(&["error  keys.dir  is of type integer"]);
    assert!(stdout.contains("1 error, 0 warnings"), "the default is not looked for: {stdout}");
    node.edit("dir = 7", "dir = \"keys\"");
    node.edit(
        "[clock]",
        "[api.tcp]\nlisten = \"127.0.0.1:1\"\ncertificate = \"c.pem\"\nkey = \"k\"\nclient_ca = \
         \"data\"\n\n[clock]",
    );
    let stdout = faults(&["error  api.tcp.certificate", "error  api.tcp.key", "api.tcp.client_ca"]);
    assert!(stdout.contains("3 errors, 0 warnings"), "{stdout}");
}

/// The files that ship are checked as files on any machine, also where nothing that they name
/// exists.
#[test]
fn shipped_files_are_clean() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/relay.toml");
    let (code, stdout, stderr) = out(&relay_node(&["config", "check", "--file-only", file]));
    assert_eq!((code, stdout, stderr), (0, format!("{file}: no faults\n"), String::new()));
}

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
