//! The manifests: lints that every member inherits, and which of our crates may stand on which.

use super::source::File;

/// What is wrong with the manifests.
pub fn findings(files: &[File]) -> Vec<String> {
    let text = |path: &str| {
        files.iter().find(|file| file.path == path).map_or("", |file| file.text.as_str())
    };
    let mut found = Vec::new();
    let lints = section(text("Cargo.toml"), "[workspace.lints.clippy]");
    for lint in ["unwrap_used", "indexing_slicing", "panic", "todo", "unimplemented", "dbg_macro"] {
        if !lints.contains(&format!("{lint} = \"deny\"").as_str()) {
            found.push(format!("Cargo.toml: the lint {lint} is not denied"));
        }
    }
    for (member, ours) in MEMBERS {
        let path = format!("{member}/Cargo.toml");
        let manifest = text(&path);
        if !section(manifest, "[lints]").contains(&"workspace = true") {
            found.push(format!("{path}: does not inherit the lints"));
        }
        for line in section(manifest, "[dependencies]") {
            let name = line.split(['.', ' ', '=']).next().unwrap_or("");
            if name.starts_with("relay-") && !ours.contains(&name) {
                found.push(format!("{path}: may not use {name}"));
            }
            let is_pure = ["proto", "node/core"].contains(member);
            if is_pure && IMPURE.contains(&name) && !line.contains("optional = true") {
                found.push(format!("{path}: {name} does I/O, tells time or draws lots"));
            }
        }
    }
    found
}

/// The lines of one section.
fn section<'a>(manifest: &'a str, head: &str) -> Vec<&'a str> {
    let lines = manifest.lines().skip_while(|line| *line != head).skip(1);
    lines.take_while(|line| !line.starts_with('[')).collect()
}

/// Each member and the crates of ours that it may stand on.
const MEMBERS: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("node/core", &["relay-proto"]),
    ("node", &["relay-proto", "relay-core"]),
    ("relay-cli", &["relay-proto"]),
    ("tests", &["relay-proto", "relay-core", "relay-node"]),
];

const IMPURE: &[&str] =
    &["tokio", "tonic", "tonic-prost", "rand", "getrandom", "quinn", "nix", "mio", "hyper-util"];

/// A lint that is gone, a layer that is pierced and a runtime in a pure crate are told.
#[test]
fn bad_manifests_are_told() {
    let lints = ["unwrap_used", "indexing_slicing", "panic", "todo", "unimplemented", "dbg_macro"];
    let lints = lints.map(|lint| format!("{lint} = \"deny\"\n")).concat();
    let of = |core: &str, lints: &str| {
        let mut files: Vec<File> = ["proto", "node", "relay-cli", "tests"]
            .map(|m| File::sample(&format!("{m}/Cargo.toml"), "[lints]\nworkspace = true\n"))
            .into();
        files.push(File::sample("node/core/Cargo.toml", core));
        files.push(File::sample("Cargo.toml", &format!("[workspace.lints.clippy]\n{lints}")));
        findings(&files)
    };
    let core = |line: &str| format!("[dependencies]\n{line}\n\n[lints]\nworkspace = true\n");
    assert!(of(&core("relay-proto.workspace = true"), &lints).is_empty());
    assert_eq!(of(&core("relay-node.workspace = true"), &lints).len(), 1);
    assert_eq!(of(&core("tokio.workspace = true"), &lints).len(), 1);
    assert!(of(&core("tonic = { workspace = true, optional = true }"), &lints).is_empty());
    assert_eq!(of("[dependencies]\n", &lints).len(), 1);
    assert_eq!(of(&core(""), &lints.replace("todo", "x")).len(), 1);
}
