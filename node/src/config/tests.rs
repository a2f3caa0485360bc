//! What a configuration may say and what it gets for everything else.
//!
//! The files that ship are read from `config/`: they hold exactly the defaults, and no section of
//! them takes a key that nobody knows.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use proptest::prelude::*;
use relay_core::{case::refusal::Grounds, profile::Condition};
use relay_proto::v1;

use super::*;

mod accounts;

const SHIPPED: &str = include_str!("../../../config/relay.toml");
const PROFILE: &str = include_str!("../../../config/profiles/budapest-247.toml");

/// A directory with a configuration of this text and the shipped profile.
struct Files(tempfile::TempDir);

impl Files {
    fn new(text: &str) -> Self {
        Self::with(text, PROFILE)
    }

    fn with(text: &str, profile: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("profiles")).unwrap();
        fs::write(dir.path().join("profiles/budapest-247.toml"), profile).unwrap();
        fs::write(dir.path().join("relay.toml"), text).unwrap();
        Self(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("relay.toml")
    }

    fn faults(&self) -> Vec<Fault> {
        load(&self.path()).unwrap_err().faults
    }
}

fn defaults() -> Settings {
    load(&Files::new("[node]\nunit = \"xa.example\"\n").path()).unwrap()
}

/// The shipped file says what the program does without it.
#[test]
fn shipped_file_is_the_defaults() {
    let mut shipped = load(&Files::new(SHIPPED).path()).unwrap();
    let defaults = defaults();
    // Profiles are read from two copies of one file.
    assert_eq!(shipped.profiles, defaults.profiles);
    shipped.profiles.clone_from(&defaults.profiles);
    assert_eq!(shipped, defaults);
    assert_eq!(defaults.link.listen, "[::]:7443".parse::<SocketAddr>().unwrap());
    assert_eq!(defaults.retry.max_emergency, Duration::from_secs(15));
}

/// Every default in the comments is the value below it, so that people and the program read the
/// same.
#[test]
fn comments_tell_the_values() {
    let mut comment = String::new();
    let mut checked = 0;
    for line in SHIPPED.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push_str(text);
        } else if line.is_empty() {
            comment.clear();
        } else if let Some((key, value)) = line.split_once(" = ") {
            let told = comment.contains(&format!("Default {value}")) || key == "unit";
            assert!(told, "{key}: the comment does not say `Default {value}`: {comment}");
            checked += 1;
        }
    }
    assert!(checked > 25, "only {checked} keys were seen");
}

/// The shipped profile is the network that its name says.
#[test]
fn shipped_profile() {
    let settings = defaults();
    let profile = settings.profile("budapest-247").unwrap();
    assert!(profile.allows(v1::Kind::Alert) && profile.allows(v1::Kind::PreservationRequest));
    assert!(!profile.allows(v1::Kind::Unspecified));
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    assert_eq!(profile.lifetimes.of(v1::Priority::Emergency), hours(4));
    assert_eq!(profile.lifetimes.of(v1::Priority::Urgent), hours(24));
    assert_eq!(profile.lifetimes.of(v1::Priority::Routine), hours(120));
    assert_eq!((profile.min_preservation_days, profile.requested_preservation_days), (60, 90));
    assert_eq!(profile.targets, relay_core::case::Targets::default());
    assert_eq!(profile.handling_default.tlp(), v1::Tlp::AmberStrict);
    assert_eq!(profile.handling_default.classification(), v1::Classification::Bpl);
    assert_eq!(profile.language_default(), "en");
    let basis = profile.legal_basis_default(v1::Kind::PreservationRequest);
    let first = v1::LegalBasis { instrument: "ETS185".into(), article: "29".into() };
    assert_eq!(basis.first(), Some(&first));
    assert!(settings.profile("g7-247").is_none());
    for kind in [v1::Kind::EmergencyRequest, v1::Kind::EmergencyReply] {
        let both = Condition::BothParties(v1::Treaty::SecondProtocol);
        assert!(profile.allows(kind) && profile.condition(kind) == Some(both));
    }
    assert_eq!(profile.condition(v1::Kind::Alert), None);
}

/// The informal networks that ship: no treaty and no ground that rests on one, the kinds of each,
/// and nothing but its own defaults where a file is silent.
#[test]
fn informal_profiles_ship() {
    let read = |text| {
        let (profile, faults) = read_profile(&PathBuf::from("shipped.toml"), text);
        assert!(faults.is_empty(), "{faults:#?}");
        profile.unwrap()
    };
    let networks = [
        ("g7-247", read(include_str!("../../../config/profiles/g7-247.toml")), 19),
        ("interpol-i247", read(include_str!("../../../config/profiles/interpol-i247.toml")), 27),
    ];
    for (id, profile, kinds) in networks {
        assert_eq!((profile.id.as_str(), profile.kinds.len()), (id, kinds));
        assert_eq!((profile.treaty, profile.refusal_grounds), (None, Grounds::BEST_EFFORT));
        assert_eq!(profile.targets, relay_core::case::Targets::default());
        assert_eq!(profile.allows(v1::Kind::Alert), id == "interpol-i247");
        for outside in [v1::Kind::EmergencyRequest, v1::Kind::TrafficDisclosure] {
            assert!(!profile.allows(outside), "{id}: {outside:?}");
        }
        for kind in &profile.kinds {
            assert!(!kind.legal_basis_default.is_empty(), "{id}: {:?}", kind.kind);
        }
    }
}

/// What rests on a treaty needs one; a kind is free or conditional, not both.
#[test]
fn treaties_and_conditions_are_checked() {
    let told = |from: &str, to: &str| {
        assert!(PROFILE.contains(from), "{from}");
        let faults = Files::with(SHIPPED, &PROFILE.replacen(from, to, 1)).faults();
        faults.into_iter().map(|fault| fault.key).collect::<Vec<_>>()
    };
    let treaty = "treaty = \"budapest\"";
    assert_eq!(told(treaty, "treaty = \"rome\""), ["treaty"]);
    // One fault for each ground that rests on it.
    let grounds = ["refusal_grounds", "refusal_grounds"];
    assert_eq!(told(treaty, "treaty = \"none\""), grounds);
    let ground = "\"NO_TREATY_RELATION\",\n";
    assert_eq!(told(ground, "\"DOMESTIC_LAW_LIMIT\",\n"), ["refusal_grounds"]);
    let condition = "EMERGENCY_REQUEST = \"both.parties.2ap\"";
    let key = "kinds_conditional.EMERGENCY_REQUEST";
    assert_eq!(told(condition, "EMERGENCY_REQUEST = \"both.parties.rome\""), [key]);
    assert_eq!(told(condition, "EMERGENCY_REQUEST = \"parties\""), [key]);
    assert_eq!(told(condition, "ALERT = \"both.parties.unc\""), ["kinds_conditional.ALERT"]);
}

/// A bogus key in any section of any shipped file is told, at its own line and under its own
/// section.
#[test]
fn bogus_keys_are_told_everywhere() {
    let mut planted = 0;
    for (shipped, is_profile) in [(SHIPPED, false), (PROFILE, true)] {
        let lines: Vec<_> = shipped.lines().collect();
        let heads = lines.iter().enumerate().filter(|(_, line)| line.starts_with('['));
        let places = heads.map(|(at, line)| (at + 1, line.trim_matches(['[', ']'])));
        for (at, section) in places.chain([(0, "")]) {
            let mut text = lines.clone();
            text.insert(at, "bogus_key = 1");
            let text = text.join("\n");
            let files = match is_profile {
                true => Files::with(SHIPPED, &text),
                false => Files::new(&text),
            };
            let faults = files.faults();
            let [fault] = faults.as_slice() else { panic!("{section}: {faults:#?}") };
            let key =
                if section.is_empty() { "bogus_key" } else { &format!("{section}.bogus_key") };
            assert_eq!(fault.key, key);
            assert_eq!(fault.place, Some(Place { line: at + 1, column: 1 }), "{section}");
            assert_eq!(fault.file.ends_with("profiles/budapest-247.toml"), is_profile);
            planted += 1;
        }
    }
    assert!(planted >= 15, "only {planted} sections were seen");
}

/// All faults of a file and its profile come at once, in the order of their lines.
#[test]
fn all_faults_together() {
    let text = "[node]\nunit = \"XA\"\nnam = \"a\"\n[link]\nlisten = 1\n[stop]\ngrace = \"9h\"\n";
    let files = Files::with(text, &PROFILE.replace("\"mesh\"", "\"star\""));
    let faults = files.faults();
    let keys: Vec<_> = faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["node.unit", "node.nam", "link.listen", "stop.grace", "topology"]);
    let lines: Vec<_> = faults.iter().map(|fault| fault.place.unwrap().line).collect();
    assert_eq!(lines.get(..4), Some(&[2, 3, 5, 7][..]));
    let report = load(&files.path()).unwrap_err();
    assert!(report.to_string().ends_with("5 errors, 0 warnings (nothing was changed)"), "{report}");
}

/// Line, key, what is wrong, what mends it: for each broken text its own.
#[test]
fn broken_configurations() {
    for (text, line, key, problem, mend) in BROKEN {
        let faults = Files::new(&format!("[node]\nunit = \"xa.ncu\"\n{text}\n")).faults();
        let fault = faults.first().unwrap();
        assert!(faults.len() == 1 || key.is_empty(), "{text}: {faults:#?}");
        assert_eq!(fault.place.unwrap().line, *line, "{text}: {fault}");
        assert_eq!(fault.key, *key, "{text}");
        assert!(fault.problem.contains(problem), "{text}: {fault}");
        assert!(fault.mend.contains(mend), "{text}: {fault}");
    }
}

/// A clock is put wrong on purpose at demo units alone; any other unit is refused, at the line.
#[test]
fn only_demo_units_shift_their_clocks() {
    let text = |unit: &str| format!("[node]\nunit = \"{unit}\"\n[clock]\nshift_file = \"shift\"\n");
    let demo = Files::new(&text("xz.ncu"));
    let settings = load(&demo.path()).unwrap();
    assert_eq!(settings.clock.shift_file, Some(demo.0.path().join("shift")));
    let faults = Files::new(&text("de.bka")).faults();
    let [fault] = faults.as_slice() else { panic!("{faults:#?}") };
    assert_eq!((fault.label, fault.key.as_str()), ("WRONG_VALUE", "clock.shift_file"));
    assert_eq!(fault.place.unwrap().line, 4);
    assert!(fault.problem.contains("only demo units") && fault.mend.contains("remove"), "{fault}");
}

/// What is wrong with a profile is told with the profile's own file.
#[test]
fn broken_profiles() {
    for (from, to, key, problem, mend) in BROKEN_PROFILES {
        assert!(PROFILE.contains(from), "{from}");
        let files = Files::with("[node]\nunit = \"xa.ncu\"\n", &PROFILE.replacen(from, to, 1));
        let faults = files.faults();
        let fault = faults.iter().find(|fault| fault.key == *key);
        let fault = fault.unwrap_or_else(|| panic!("{to}: {faults:#?}"));
        assert!(fault.file.ends_with("profiles/budapest-247.toml"));
        assert!(fault.problem.contains(problem), "{to}: {fault}");
        assert!(fault.mend.contains(mend), "{to}: {fault}");
    }
}

/// Profiles that are not there, doubled, or none at all.
#[test]
fn lists_of_profiles() {
    let node = "[node]\nunit = \"xa.ncu\"\n";
    let twice = "\"profiles/budapest-247.toml\", \"profiles/budapest-247.toml\"";
    for (list, problem) in [
        ("\"nowhere.toml\"", "cannot be read"),
        ("", "can send nothing"),
        (twice, "named by two files"),
    ] {
        let faults = Files::new(&format!("profiles = [{list}]\n{node}")).faults();
        let [fault] = faults.as_slice() else { panic!("{list}: {faults:#?}") };
        assert_eq!((fault.key.as_str(), fault.place.unwrap().line), ("profiles", 1));
        assert!(fault.problem.contains(problem), "{fault}");
    }
}

/// Files that are no text, too long, or absent.
#[test]
fn unreadable_files() {
    let files = Files::new("");
    let faults = files.faults();
    let [fault] = faults.as_slice() else { panic!("{faults:#?}") };
    assert_eq!(fault.key, "node.unit");
    assert!(fault.mend.contains("below `[node]`"), "{fault}");

    let bytes = [&[0xff, 0xfe][..], &vec![b'#'; (1 << 20) + 1]];
    for (bytes, problem) in bytes.into_iter().zip(["not UTF-8", "longer than 1 MiB"]) {
        fs::write(files.path(), bytes).unwrap();
        assert!(files.faults().first().unwrap().problem.contains(problem));
    }
    fs::remove_file(files.path()).unwrap();
    let fault = files.faults().remove(0);
    assert!(fault.problem.contains("cannot be read") && fault.mend.contains("init"), "{fault}");
}

/// A fault prints in the form `file:line:column  error  key  problem`, its mend below, escaped.
#[test]
fn faults_print() {
    let files = Files::new("[node]\nunit = \"xa.ncu\"\n[log]\n\tlevel = \"\u{202e}x\"\n");
    let printed = files.faults().remove(0).to_string();
    let path = files.path().display().to_string();
    let expected = format!(
        "{path}:4:10  error  WRONG_VALUE  log.level  `\\u{{202e}}x`: is not known\n        \
         write it as in `level = \"error\" or \"warn\" or \"info\" or \"debug\" or \"trace\"`"
    );
    assert_eq!(printed, expected);
}

/// Paths count from the file's directory.
#[test]
fn paths_are_relative_to_the_file() {
    let text = "[node]\nunit = \"xa.ncu\"\ndir = \"data\"\n[api]\nsocket = \"/run/x.sock\"\n";
    let files = Files::new(text);
    let settings = load(&files.path()).unwrap();
    assert_eq!(settings.node.dir, files.0.path().join("data"));
    assert_eq!(settings.api.socket, PathBuf::from("/run/x.sock"));
    assert_eq!(settings.node.id.to_string(), "xa.ncu/a");

    let long = format!("[node]\nunit = \"xa.ncu\"\n[api]\nsocket = \"/{}\"\n", "x".repeat(107));
    let fault = Files::new(&long).faults().remove(0);
    assert!(fault.problem.contains("the system allows 107"), "{fault}");
}

proptest! {
    /// Whatever bytes are put anywhere into the shipped file, reading ends with settings or with
    /// faults.
    #[test]
    fn no_text_panics(at in 0..SHIPPED.len(), noise in "\\PC{0,20}|[\\[\\]={}\"'.,#\\n]{0,20}") {
        let at = (0..=at).rev().find(|at| SHIPPED.is_char_boundary(*at)).unwrap_or(0);
        let (before, after) = SHIPPED.split_at(at);
        let files = Files::new(&format!("{before}{noise}{after}"));
        if let Err(report) = load(&files.path()) {
            prop_assert!(!report.is_ok());
            prop_assert!(report.to_string().lines().all(|line| line.chars().all(is_printable)));
        }
    }
}

/// What others may dial.
#[test]
fn hosts_and_ports() {
    for good in ["relay.example.org:7443", "192.0.2.1:1", "[2001:db8::1]:65535", "localhost:9"] {
        assert_eq!(host_and_port(good).as_deref(), Ok(good));
    }
    for bad in
        ["", ":1", "x:", "x:65536", "x:+1", "-x:1", "x..y:1", "[::]:1", "2001:db8::1:1", "x y:1"]
    {
        assert!(host_and_port(bad).is_err(), "{bad} was taken");
    }
}

/// Text below `[node] unit`, line, key, part of the problem, part of the mend.
#[rustfmt::skip]
const BROKEN: &[(&str, usize, &str, &str, &str)] = &[
    ("nmae = \"a\"", 3, "node.nmae", "not a known key", "did you mean `name`?"),
    ("colour = 1", 3, "node.colour", "not a known key", "known here: unit, name, dir"),
    ("name = \"A b\"", 3, "node.name", "not well-formed", "name = \"a\""),
    ("name = 1", 3, "node.name", "of type integer, not a text", "name = \"a\""),
    ("dir = \"\"", 3, "node.dir", "is empty", "/var/lib/relay/data"),
    ("dir = \"a\\u0007b\"", 3, "node.dir", "control character", "/var/lib/relay/data"),
    ("[keys]\ndir = \"/var/lib/relay/data/keys\"", 4, "keys.dir",
        "lie in `node.dir`", "beside"),
    ("anchor_dir = \"/var/lib/relay/data/anchor\"", 3, "node.anchor_dir",
        "lies in `node.dir`", "beside"),
    ("[link]\nlisten = \"localhost:1\"", 4, "link.listen",
        "name is not looked up", "[::]:7443"),
    ("[link]\nlisten = \"1.2.3.4\"", 4, "link.listen",
        "not an address and a port", "[::]:7443"),
    ("[link]\nadvertise = \"x:1\"", 4, "link.advertise",
        "not a list", "relay.example.org:7443"),
    ("[link]\nadvertise = [\"x:1\", \"x\"]", 4, "link.advertise", "has no port", "example.org"),
    ("[link]\nadvertise = [\"0.0.0.0:1\"]", 4, "link.advertise", "nobody can dial", "example"),
    ("[link]\nadvertise = [\"a_b:1\"]", 4, "link.advertise", "not a host name", "example"),
    ("[link]\nadvertise = [\"x:0\"]", 4, "link.advertise", "1 to 65535", "example"),
    ("[link]\nkey_exchange = \"prefr\"", 4, "link.key_exchange",
        "did you mean \"prefer\"", "or"),
    ("[link]\nidle_timeout = 30", 4, "link.idle_timeout", "integer, not a text", "\"30s\""),
    ("[link]\nidle_timeout = \"30 s\"", 4, "link.idle_timeout",
        "not a duration", "ault is `\"30s\""),
    ("[link]\nidle_timeout = \"1h\"", 4, "link.idle_timeout",
        "out of its limits", "\"5s\" to \"10m\""),
    ("[link]\nkeep_alive = \"20s\"", 4, "link.keep_alive", "three signs of life", "a third of"),
    ("[link]\npad_packets = \"yes\"", 4, "link.pad_packets", "not true or false", "`false`"),
    ("[inbox]\nqueue_messages_max = -1", 4, "inbox.queue_messages_max", "-1 is out", "is 10000"),
    ("[inbox]\nqueue_messages_max = \"x\"", 4, "inbox.queue_messages_max",
        "not a number", "from 100"),
    ("[api]\nsocket_mode = \"0666\"", 4, "api.socket_mode", "lets every user", "0660"),
    ("[api]\nsocket_mode = \"rw\"", 4, "api.socket_mode", "not a mode", "0660"),
    (
        "[api.tcp]\nlisten = \"127.0.0.1:1\"\ncertificate = \"c\"\nkey = \"k\"",
        3, "api.tcp.client_ca",
        "missing and has no default", "add `client_ca = \"clients.pem\"` below `[api.tcp]`"),
    ("[api]\ntcp = true", 4, "api.tcp", "not a section", "[api.tcp]"),
    ("[clock]\nsource = \"gps\"", 4, "clock.source",
        "is not known", "\"kernel\" or \"assumed\""),
    ("[clock]\nshift_file = \"\"", 4, "clock.shift_file", "empty", "clock.shift"),
    ("[clock]\nassumed_uncertainty = \"0s\"", 4, "clock.assumed_uncertainty", "limits", "1ms"),
    ("[store]\nsegment_bytes = \"1MB\"", 4, "store.segment_bytes", "not a size", "64MiB"),
    ("[store]\nsegment_bytes = \"1KiB\"", 4, "store.segment_bytes",
        "limits", "\"4MiB\" to \"1GiB\""),
    ("[store]\nsegment_bytes = \"128MiB\"", 3, "store.reserve_bytes_min",
        "four journal files", "four times"),
    ("[store]\nreserve_percent = 0\nreserve_bytes_min = \"255MiB\"", 5,
        "store.reserve_bytes_min", "four journal files", "reserve_percent = 0"),
    ("[store]\nreserve_percent = 51", 4, "store.reserve_percent", "limits", "0 to 50"),
    ("[outbox]\nqueue_messages_max = 100\nwindow_messages = 200", 5, "outbox.window_messages",
        "could never fill", "lower it"),
    ("[outbox]\nwindow_bytes = \"64KiB\"", 4, "outbox.window_bytes", "limits", "512KiB"),
    ("[inbox]\nqueue_messages_max = 1.5", 4, "inbox.queue_messages_max", "float", "10000"),
    ("[retry]\nfirst = \"30s\"", 3, "retry.max_emergency",
        "shorter than `retry.first`", "least"),
    ("[retry]\nmax_urgent = \"10m\"", 3, "retry.max_routine",
        "shorter than", "retry.max_urgent"),
    ("[notify]\nfrom = \"soon\"", 4, "notify.from", "is not known", "\"half\" or \"late\""),
    ("[notify]\ncommand = [\"page\"]", 4, "notify.command", "not absolute", "whole path"),
    ("[log]\nlevel = \"verbose\"", 4, "log.level", "is not known", "\"debug\""),
    ("[log]\nformat = \"xml\"", 4, "log.format", "is not known", "\"json\" or \"text\""),
    ("[stop]\ngrace = \"0s\"", 4, "stop.grace", "limits", "\"1s\" to \"5m\""),
    ("[logs]\nlevel = \"info\"", 3, "logs", "not a known key", "did you mean `log`?"),
    ("name = \"a\"\nname = \"b\"", 4, "", "duplicate key", "toml.io"),
    ("name = a", 3, "", "string", "toml.io"),
    ("[link", 3, "", "unclosed table", "toml.io"),
];

/// Text of the shipped profile, what stands in its place, key, part of the problem and of the mend.
#[rustfmt::skip]
const BROKEN_PROFILES: &[(&str, &str, &str, &str, &str)] = &[
    ("\"budapest-247\"", "\"Budapest\"", "id", "lower-case", "budapest-247"),
    ("id = ", "idd = ", "id", "missing", "add `id"),
    ("y = \"mesh\"", "y = \"star\"", "topology", "not known", "\"mesh\""),
    ("\"ALERT\", \"PRESE", "\"ALRT\", \"PRESE", "kinds_allowed",
        "did you mean \"ALERT\"?", "PRES"),
    ("kinds_allowed = [", "kinds_forbidden = [", "kinds_allowed",
        "nothing can be sent", "name"),
    ("_days = 60", "_days = 100", "requested_preservation_days",
        "every request", "100 or more"),
    ("s = [\"en\"]", "s = []", "languages", "is empty", "\"en\""),
    ("s = [\"en\"]", "s = [\"English!\"]", "languages", "BCP 47", "\"en\""),
    ("\"4h\"", "\"4m\"", "lifetimes.EMERGENCY", "limits", "\"5m\" to \"30d\""),
    ("\"AMBER+STRICT\"", "\"AMBER+STRICTER\"", "handling_default.tlp", "did you mean", "RED"),
    ("[\"H1\"]", "[\"H9\"]", "handling_default.europol", "not H0", "\"H1\""),
    ("\"15m\"", "\"15s\"", "ack_target.EMERGENCY", "limits", "\"1m\" to \"365d\""),
    ("[\"30d\", \"14d\", \"7d\", \"2d\"]\n\n", "[\"30d\"]\n\n", "expiry_warnings",
        "two warnings", "two or more"),
    ("ALERT = [\"ETS185 26\"", "ALERT = [\"ETS185\"", "legal_basis_default.ALERT",
        "article", "29"),
];
