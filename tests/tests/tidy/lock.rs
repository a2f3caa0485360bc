//! What is built from others: no version below the one that mended a known fault, and no crate that
//! was left for another.

/// What is wrong with the lock file.
pub fn findings(lock: &str) -> Vec<String> {
    let mut found = Vec::new();
    let packages: Vec<Package<'_>> = lock.split("[[package]]").skip(1).map(Package::read).collect();
    for (name, floor) in FLOORS {
        for package in packages.iter().filter(|package| package.name == *name) {
            if version(package.version) < version(floor) {
                found.push(format!("{name} {} is below {floor}", package.version));
            }
        }
    }
    for package in &packages {
        if LEFT.contains(&package.name) {
            found.push(format!("{} is in the tree", package.name));
        }
        // The lock file lists optional dependencies that nobody switched on, too.
        if package.dependencies.contains(&"ring") && !RING_IS_OPTIONAL.contains(&package.name) {
            found.push(format!("{} brings ring", package.name));
        }
    }
    found
}

struct Package<'a> {
    name: &'a str,
    version: &'a str,
    dependencies: Vec<&'a str>,
}

impl<'a> Package<'a> {
    fn read(text: &'a str) -> Self {
        let field = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key));
            value.unwrap_or("").trim_matches(['"', ' ', '='])
        };
        let dependencies = text.lines().filter_map(|line| line.strip_prefix(" \""));
        let dependencies =
            dependencies.map(|line| line.split(['"', ' ']).next().unwrap_or("")).collect();
        Self { name: field("name = "), version: field("version = "), dependencies }
    }
}

fn version(text: &str) -> Vec<u64> {
    let release = text.split(['-', '+']).next().unwrap_or("");
    release.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// The versions from which on known faults are mended.
const FLOORS: &[(&str, &str)] = &[
    ("quinn-proto", "0.11.18"),
    ("rustls", "0.23.18"),
    ("rustls-webpki", "0.103.13"),
    ("h2", "0.4.16"),
    ("tokio", "1.44.2"),
    ("bytes", "1.11.1"),
    ("tracing-subscriber", "0.3.20"),
    ("curve25519-dalek", "4.1.3"),
    ("prost", "0.8.0"),
    ("aws-lc-sys", "0.39.0"),
    ("tonic", "0.12.3"),
];

/// Unmaintained, or a second implementation of what we have.
const LEFT: &[&str] = &["openssl-sys", "bincode", "serde_yml", "rustls-pemfile", "atty"];

/// Crates that offer ring beside aws-lc-rs, which we chose; none of them may have it switched on.
const RING_IS_OPTIONAL: &[&str] =
    &["quinn-proto", "rcgen", "rustls", "rustls-webpki", "tokio-rustls", "tonic", "x509-parser"];

/// Old versions, abandoned crates and a hard dependency on ring are told; the floor itself is not.
#[test]
fn bad_locks_are_told() {
    let package = |name: &str, version: &str, dependencies: &str| {
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n\
             dependencies = [\n{dependencies}]\n"
        )
    };
    for (name, floor) in FLOORS {
        assert!(findings(&package(name, floor, "")).is_empty());
        assert_eq!(findings(&package(name, "0.0.9", "")).len(), 1, "{name}");
    }
    assert_eq!(findings(&package("h2", "0.4.9", "")), ["h2 0.4.9 is below 0.4.16"]);
    for name in LEFT {
        assert_eq!(findings(&package(name, "99.0.0", "")).len(), 1);
    }
    assert_eq!(findings(&package("a", "1.0.0", " \"ring 0.17.1\",\n")), ["a brings ring"]);
    assert!(findings(&package("rustls", "1.0.0", " \"ring\",\n")).is_empty());
}
