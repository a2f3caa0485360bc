//! The tests that `tests/README.md` names: each exists, as a function of this name.

use std::collections::BTreeSet;

use super::source::{File, find_word};

/// Names in the tables of the document that no function has.
pub fn findings(document: &File, files: &[File]) -> Vec<String> {
    let rust = files.iter().filter(|file| file.path.ends_with(".rs"));
    let known: BTreeSet<&str> = rust.flat_map(|file| functions(&file.code)).collect();
    let mut found = Vec::new();
    for (number, line) in document.text.lines().enumerate() {
        for name in names(line).filter(|name| !known.contains(name)) {
            found.push(format!("{}:{}: no test is called `{name}`", document.path, number + 1));
        }
    }
    found
}

/// What stands in backticks in a row of a table and reads like a test: words with underscores, in
/// lower case. Paths, labels and commands do not.
fn names(line: &str) -> impl Iterator<Item = &str> {
    let spans = line.split('`').skip(1).step_by(2).filter(|_| line.starts_with('|'));
    spans.filter(|span| {
        span.contains('_')
            && span.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    })
}

fn functions(code: &str) -> impl Iterator<Item = &str> {
    find_word(code, "fn").into_iter().map(|at| {
        let rest = code[at + 2..].trim_start();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

/// A name in a table that no function has is told with its line; text outside of tables, paths and
/// labels are not names.
#[test]
fn missing_tests_are_told() {
    let code =
        File::sample("node/src/a.rs", "async fn a_real_test(x: u8) {}\n// fn in_a_comment()");
    let of =
        |text: &str| findings(&File::sample("tests/README.md", text), std::slice::from_ref(&code));
    assert!(of("| `a_real_test` | `NOT_A_NAME` | `tests/a_b.rs` | `cargo x_y` |").is_empty());
    assert!(of("see `a_missing_test`").is_empty());
    assert_eq!(
        of("| x |\n| `a_real_test`, `a_missing_test` |"),
        ["tests/README.md:2: no test is called `a_missing_test`"]
    );
    assert_eq!(of("| `in_a_comment` |").len(), 1);
}
