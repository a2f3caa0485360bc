//! Every Rust file says what it is, and is short: the file, its functions, its lines.

use super::source::{File, find_word, line_of};

/// What is wrong with one file.
pub fn findings(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    if !file.text.starts_with("//!") {
        found.push(format!("{}: does not begin with `//!`", file.path));
    }
    let code = file.code_before_tests();
    let lines = code.lines().filter(|line| !line.trim().is_empty()).count();
    if lines > FILE_LINES_MAX {
        found.push(format!("{}: {lines} lines of code", file.path));
    }
    for (number, line) in file.text.lines().enumerate() {
        if line.chars().count() > LINE_CHARS_MAX {
            found.push(format!("{}:{}: long line", file.path, number + 1));
        }
    }
    for (line, length) in functions(&file.code) {
        if length > FUNCTION_LINES_MAX {
            found.push(format!("{}:{line}: a function of {length} lines", file.path));
        }
    }
    found
}

/// The first line and the length of every function with a body.
fn functions(code: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for at in find_word(code, "fn") {
        let named =
            code[at + 2..].trim_start().starts_with(|c: char| c.is_alphabetic() || c == '_');
        let mut depth = 0usize;
        let mut brackets = 0isize;
        for (offset, c) in code[at..].char_indices().filter(|_| named) {
            match c {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets -= 1,
                ';' if depth == 0 && brackets == 0 => break,
                '{' => depth += 1,
                '}' if depth <= 1 => {
                    let lines = code[at..at + offset].matches('\n').count() + 1;
                    found.push((line_of(code, at), lines));
                    break;
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
    }
    found
}

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARS_MAX: usize = 100;

/// Each limit is met exactly and refused one beyond it; tests and comments count for no file.
#[test]
fn limits_hold() {
    let file = |lines: usize, tail: &str| {
        File::sample(
            "a.rs",
            &format!("//! x\n\n// y\n{}{tail}", "const A: u8 = 1;\n".repeat(lines)),
        )
    };
    assert!(findings(&file(FILE_LINES_MAX, "")).is_empty());
    assert_eq!(findings(&file(FILE_LINES_MAX + 1, "")), ["a.rs: 401 lines of code"]);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "const B: u8 = 1;\n".repeat(500));
    assert!(findings(&file(FILE_LINES_MAX, &tests)).is_empty());

    let function = |lines: usize| {
        format!(
            "//! x\nimpl A {{\nfn a(b: [u8; 2]) -> u8 {{\n{}}}\n}}\n",
            "b();\n".repeat(lines - 2)
        )
    };
    assert!(findings(&File::sample("a.rs", &function(70))).is_empty());
    assert_eq!(findings(&File::sample("a.rs", &function(71))), ["a.rs:3: a function of 71 lines"]);
    assert_eq!(functions("trait A { fn a(&self); fn b() { 1 } }"), [(1, 1)]);

    assert_eq!(findings(&File::sample("a.rs", "use a;\n")).len(), 1);
    let long = format!("//! {}\n", "x".repeat(97));
    assert_eq!(findings(&File::sample("a.rs", &long)), ["a.rs:1: long line"]);
    assert!(findings(&File::sample("a.rs", &long.replacen('x', "", 1))).is_empty());
}
