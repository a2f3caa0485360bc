//! The documents: a file that one names in backticks exists.

use std::collections::BTreeSet;

use super::source::File;

/// Names of files that are not there.
pub fn findings(files: &[File]) -> Vec<String> {
    let mut known = BTreeSet::new();
    for file in files {
        for (at, _) in file.path.match_indices('/') {
            known.insert(&file.path[..at]);
        }
        known.insert(file.path.as_str());
    }
    let roots: BTreeSet<&str> = known.iter().filter_map(|path| path.split('/').next()).collect();
    let documents = files.iter().filter(|file| file.path.ends_with(".md"));
    let mut found = Vec::new();
    for file in documents {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (line, name) in names(&file.text) {
            if is_path(name, &roots) && !exists(name, folder, &known) {
                found.push(format!("{}:{line}: `{name}` is not there", file.path));
            }
        }
    }
    found
}

/// What stands in single backticks, outside of blocks of code.
fn names(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            let spans = line.split('`').skip(1).step_by(2);
            found.extend(spans.map(|span| (number + 1, span)));
        }
    }
    found
}

/// Not every name with a stroke is a path: `relay/v1/card` is a tag, `/etc/x` of another machine.
fn is_path(name: &str, roots: &BTreeSet<&str>) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if name.is_empty() || !name.chars().all(plain) || name.starts_with(['/', '.', '-']) {
        return false;
    }
    let ends = |extensions: &[&str]| {
        name.rsplit_once('.')
            .is_some_and(|(stem, end)| !stem.is_empty() && extensions.contains(&end))
    };
    match name.split_once('/') {
        Some((first, _)) => roots.contains(first) || ends(&["rs", "md", "proto", "py", "hex"]),
        None => ends(&["rs", "md", "proto", "py"]),
    }
}

/// From the root, from the document's folder or a `src` in it, or (a bare name) anywhere.
fn exists(name: &str, folder: &str, known: &BTreeSet<&str>) -> bool {
    let name = name.trim_end_matches('/');
    let beside = |middle: &str| format!("{folder}/{middle}{name}");
    known.contains(name)
        || known.contains(beside("").trim_start_matches('/'))
        || known.contains(beside("src/").trim_start_matches('/'))
        || !name.contains('/')
            && known.iter().any(|path| path.rsplit('/').next().is_some_and(|last| last == name))
}

/// Missing files are told with their line; tags, commands and blocks of code are no files.
#[test]
fn missing_files_are_told() {
    let of = |text: &str| {
        findings(&[
            File::sample("node/README.md", text),
            File::sample("node/src/link/frame.rs", "x"),
            File::sample("tests/vectors/a.hex", "x"),
        ])
    };
    assert_eq!(
        of("see `node/src/gone.rs`\n"),
        ["node/README.md:1: `node/src/gone.rs` is not there"]
    );
    assert_eq!(of("a\n`gone.rs` `node/gone`").len(), 2);
    assert!(
        of("`link/frame.rs` `frame.rs` `src/link` `tests/vectors/` `node/src/link/`").is_empty()
    );
    assert!(of("`relay/v1/card` `/etc/relay/x.rs` `a b.rs` `xa.ncu/log/1` `*.rs`").is_empty());
    assert!(of("```\n`gone.rs`\n```\n").is_empty());
}
