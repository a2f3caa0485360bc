//! The rules of this repository that a machine can check, in one place.
//!
//! Each rule is a function from text to findings, in a module of its own with self-tests that show
//! that it can fail. The tests here feed them all files below the root, `target` excepted. May not
//! run other programs or use the network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/lock.rs"]
mod lock;
#[path = "tidy/manifests.rs"]
mod manifests;
#[path = "tidy/named.rs"]
mod named;
#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/words.rs"]
mod words;

use source::{File, repository};

/// Fails with all findings of a rule at once.
fn none(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

fn rust(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.path.ends_with(".rs"))
}

#[test]
fn files_functions_and_lines_are_short() {
    let files = repository();
    none("shape", rust(&files).flat_map(shape::findings).collect());
}

#[test]
fn rooms_use_only_whom_the_table_allows() {
    let files = repository();
    let readme = files.iter().find(|file| file.path == "node/README.md").expect("the table");
    let table = rooms::parse(&readme.text);
    none("table", rooms::faults_of(&table));
    // A room's tests may stand on rooms above it.
    let programs = rust(&files).filter(|file| !file.is_test);
    none("rooms", programs.flat_map(|file| rooms::findings(&table, file)).collect());
    none("rooms", rooms::missing(&table, &files));
}

#[test]
fn words_stay_where_they_belong() {
    let files = repository();
    none("words", words::findings(&files));
}

#[test]
fn manifests_hold_the_lints_and_the_layers() {
    let files = repository();
    none("manifests", manifests::findings(&files));
}

#[test]
fn dependencies_are_above_their_floors() {
    let files = repository();
    let lock = files.iter().find(|file| file.path == "Cargo.lock").expect("the lock file");
    none("Cargo.lock", lock::findings(&lock.text));
}

#[test]
fn documents_name_files_that_exist() {
    let files = repository();
    none("documents", docs::findings(&files));
}

#[test]
fn named_tests_exist() {
    let files = repository();
    let document = files.iter().find(|file| file.path == "tests/README.md").expect("the tables");
    none("named tests", named::findings(document, &files));
}
