//! The verb `init`: what it makes, what it refuses, how it says it.

use std::{fs, net::UdpSocket, time::Duration};

use relay_node::{
    clock::Clock,
    config::{self, ClockSource},
    init::{InitError, InitOptions, People, init},
    keys::{KeyStore, KeyUse},
};
use relay_proto::{card::Card, payload, v1};

use crate::node::{Node, mode, out, relay_node};

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
    for said in
        ["two copies", "identity.key offline", "relay-node run --config", "relay-cli peer add"]
    {
        assert!(stdout.contains(said), "`{said}` is not in {stdout}");
    }
    assert!(stdout.lines().all(|line| line.len() <= 80 + node.dir.as_os_str().len()), "{stdout}");
}

/// The configuration that `init` writes is clean, and says what the flags said.
#[test]
fn the_made_configuration_is_clean() {
    let free = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap().to_string();
    drop(free);
    let node = Node::made(&[
        "--node",
        "b",
        "--listen",
        &listen,
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

/// A peer writes payloads of the minor version that a card announces: no higher one than is read.
#[test]
fn a_card_announces_what_its_node_reads() {
    let node = Node::made(&[]);
    let file = fs::read(node.dir.join("xa.cyber-poc.relaycard")).unwrap();
    assert_eq!(Card::from_file(&file).unwrap().value().payload_minor, payload::MINOR);
}

/// The card is complete, names the keys that the node signs with, and opens under its own identity
/// key.
#[tokio::test]
async fn the_card_fits_the_keys() {
    let node = Node::made(&[
        "--name",
        "Cyber PoC of XA",
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
    assert_eq!(value.time_zone, "Europe/Paris");
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
    let later = |days: u64| now.after(Duration::from_secs(days * day));
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
            phone: "+999 1 234".into(),
            email: None,
            language: "en".into(),
            hours: None,
            time_zone: None,
        },
        law: Default::default(),
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
    // What would make every message of this unit faulty does not get onto its card.
    bad = options.clone();
    for (phone, email, flag) in [("call us", None, "--phone"), ("+999 1 234", Some("x"), "--email")]
    {
        (bad.people.phone, bad.people.email) = (phone.into(), email.map(str::to_owned));
        let error = init(&bad, now, &|_, _, _, _| Ok(())).unwrap_err();
        assert!(error.to_string().starts_with(flag), "{error}");
    }
    let mut long = options;
    long.dir = parent.path().join("x".repeat(100));
    assert!(matches!(init(&long, now, &|_, _, _, _| Ok(())).unwrap_err(), InitError::TooLong(_)));
}

/// What the flags say of the unit's law is on the card, and nothing that they do not say; what
/// contradicts itself makes no node.
#[test]
fn the_card_states_the_law() {
    let card = |node: &Node| {
        let file = fs::read(node.dir.join("xa.cyber-poc.relaycard")).unwrap();
        Card::from_file(&file).unwrap().value().clone()
    };
    let silent = card(&Node::made(&[]));
    assert!(silent.parties.is_empty() && silent.reservations.is_none());
    assert!(silent.preservation_days.is_none() && !silent.takes_exercises);
    assert_eq!(silent.max_classification(), v1::Classification::Bpl);
    let stated = card(&Node::made(&[
        "--party",
        "2ap",
        "--party",
        "budapest",
        "--reserve",
        "art29-4",
        "--reserve",
        "art9-followup",
        "--preservation-days",
        "60,90,180",
        "--max-classification",
        "unclassified",
        "--takes-exercises",
    ]));
    assert_eq!(stated.parties, [1, 2]);
    let reserved =
        v1::Reservations { art29_4: true, art9_subscriber_only: false, followup_required: true };
    assert_eq!(stated.reservations, Some(reserved));
    let days = v1::PreservationDays { min: 60, usual: 90, max: 180 };
    assert_eq!(stated.preservation_days, Some(days));
    assert_eq!(stated.max_classification(), v1::Classification::Unclassified);
    assert!(stated.takes_exercises);

    let none = Node { parent: tempfile::tempdir().unwrap(), dir: "".into() };
    let none = Node { dir: none.parent.path().join("x"), ..none };
    for (flags, status, said) in [
        (["--party", "2ap"], 1, "parties to the Convention alone"),
        (["--reserve", "art29-4"], 1, "a reservation to a treaty that it does not state"),
        (["--preservation-days", "90,60,30"], 1, "not in order"),
        (["--party", "rome"], 2, "expected budapest, 2ap or unc"),
        (["--preservation-days", "60"], 2, "expected three numbers"),
        (["--max-classification", "confidential"], 2, "invalid value"),
    ] {
        let (code, stdout, stderr) = none.init(&flags);
        assert_eq!((code, stdout.as_str()), (status, ""), "{flags:?}");
        assert!(stderr.contains(said) && !none.dir.exists(), "{flags:?}: {stderr}");
    }
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
        &["init", "--dir", dir, "--phone", "+999 1 234"],
        &["init", "--dir", dir, "--unit", "xa.ncu"],
        &["init", "--dir", dir, "--phone", "+999 1 234", "--unit", "XA"],
        &["init", "--dir", dir, "--phone", "+9 1", "--unit", "xa.ncu", "--advertise", "nowhere"],
        &["init", "--dir", dir, "--phone", "+9 1", "--unit", "xa.ncu", "--listen", "localhost"],
        &["run"],
        &["config", "check"],
    ] {
        let (code, stdout, _) = out(&relay_node(arguments));
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
    }
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}
