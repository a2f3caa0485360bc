//! The tests that `tests/README.md` names: each exists, as a test of this name.

use std::collections::BTreeSet;

use super::source::{File, find_word};

/// Names in the tables of the document that no test has.
pub fn findings(document: &File, files: &[File]) -> Vec<String> {
    let rust = files.iter().filter(|file| file.path.ends_with(".rs"));
    let known: BTreeSet<&str> = rust.flat_map(|file| tests(&file.code)).collect();
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

/// Functions that run as tests: with an attribute whose path ends with `test`, in a `proptest!`
/// block, or listed in an `on_each!`, which runs each on every store.
fn tests(code: &str) -> impl Iterator<Item = &str> {
    let listed = blocks(code, "on_each!")
        .into_iter()
        .flat_map(|list| list.split(|c: char| !is_name(c)).filter(|name| !name.is_empty()));
    let properties =
        blocks(code, "proptest!").into_iter().flat_map(functions).map(|(_, name)| name);
    let marked = functions(code).filter(|(at, _)| is_marked(&code[..*at])).map(|(_, name)| name);
    listed.chain(properties).chain(marked)
}

/// Each function's name and where it is declared.
fn functions(code: &str) -> impl Iterator<Item = (usize, &str)> {
    find_word(code, "fn").into_iter().map(move |at| {
        let rest = code[at + 2..].trim_start();
        (at, &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())])
    })
}

/// Whether what stands before a function ends with an attribute of a test, perhaps among others.
fn is_marked(before: &str) -> bool {
    let lines = before.trim_end_matches(|c: char| c != '\n').lines().rev();
    let attributes =
        lines.map(str::trim).take_while(|line| line.is_empty() || line.starts_with("#["));
    attributes.into_iter().any(|line| {
        let path = line.trim_start_matches("#[").split(['(', ']']).next().unwrap_or("");
        path.rsplit("::").next() == Some("test")
    })
}

/// What stands between the brackets of each call of a macro.
fn blocks<'a>(code: &'a str, call: &str) -> Vec<&'a str> {
    let inside = |after: &'a str| {
        let mut depth = 0usize;
        for (at, c) in after.char_indices() {
            match c {
                '{' | '[' | '(' => depth += 1,
                '}' | ']' | ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && !c.is_whitespace() {
                return &after[..at];
            }
        }
        after
    };
    code.match_indices(call).map(|(at, _)| inside(&code[at + call.len()..])).collect()
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A name in a table that no test has is told with its line; text outside of tables, paths and
/// labels are not names.
#[test]
fn missing_tests_are_told() {
    let code = "#[tokio::test(start_paused = true)]\nasync fn a_real_test(x: u8) {}\n\
                // fn in_a_comment()\nfn a_helper() {}\non_each![on_all, on_one];\n\
                proptest! {\n    #[test]\n    fn a_property(x in 1..2) { ok() }\n}\n\
                #[test]\n#[should_panic]\nfn two_marks() {}\n\
                #[derive(Debug)]\nstruct A;\nimpl A { fn a_method() {} }";
    let code = File::sample("node/src/a.rs", code);
    let of =
        |text: &str| findings(&File::sample("tests/README.md", text), std::slice::from_ref(&code));
    assert!(of("| `a_real_test` | `NOT_A_NAME` | `tests/a_b.rs` | `cargo x_y` |").is_empty());
    assert!(of("see `a_missing_test`").is_empty());
    assert_eq!(
        of("| x |\n| `a_real_test`, `a_missing_test` |"),
        ["tests/README.md:2: no test is called `a_missing_test`"]
    );
    assert!(of("| `on_all`, `on_one`, `a_property`, `two_marks` |").is_empty());
    for no_test in ["in_a_comment", "a_helper", "a_method"] {
        assert_eq!(of(&format!("| `{no_test}` |")).len(), 1, "{no_test}");
    }
}
