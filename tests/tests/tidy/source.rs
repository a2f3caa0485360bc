//! The files of the repository, and Rust text without its comments and strings.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// One text file.
pub struct File {
    /// From the root, with `/`.
    pub path: String,
    /// As it stands on disk.
    pub text: String,
    /// Of a Rust file: comments are blanks, the insides of literals are `_`; lines are kept.
    pub code: String,
    /// Whether the file is compiled for tests only.
    pub is_test: bool,
}

impl File {
    /// A file that a self-test makes up.
    pub fn sample(path: &str, text: &str) -> Self {
        let is_test = is_test_path(path);
        Self { path: path.to_owned(), text: text.to_owned(), code: strip(text), is_test }
    }

    /// The code before the unit tests at the foot of the file.
    pub fn code_before_tests(&self) -> &str {
        let mut start = 0;
        for line in self.code.split_inclusive('\n') {
            let rest = &self.code[start + line.len()..];
            let next = rest.lines().find(|line| !line.starts_with("#[")).unwrap_or("");
            if line.trim_end() == "#[cfg(test)]" && next.contains("mod ") && next.ends_with('{') {
                return &self.code[..start];
            }
            start += line.len();
        }
        &self.code
    }

    /// The code that runs in the program: nothing of a test file, else the code before the tests.
    pub fn program(&self) -> &str {
        if self.is_test { "" } else { self.code_before_tests() }
    }
}

/// All text files below the root.
pub fn repository() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).expect("a folder of the repository") {
            let entry = entry.expect("an entry");
            let path = folder.join(entry.file_name());
            let name = path.to_string_lossy().into_owned();
            if entry.file_type().expect("a type").is_dir() {
                if !["target", ".git"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if let Ok(text) = fs::read_to_string(entry.path()) {
                let code = if name.ends_with(".rs") { strip(&text) } else { String::new() };
                files.push(File { is_test: is_test_path(&name), path: name, text, code });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let only_for_tests: Vec<String> = files.iter().flat_map(test_modules).collect();
    for file in &mut files {
        let stem = file.path.trim_end_matches(".rs");
        file.is_test |= only_for_tests.iter().any(|module| {
            stem.strip_prefix(module.as_str()).is_some_and(|s| s.is_empty() || s.starts_with('/'))
        });
    }
    assert!(files.len() > 100, "the repository was not found at {}", root.display());
    files
}

fn is_test_path(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// The modules that a file declares under `#[cfg(test)]`, as paths without `.rs`.
fn test_modules(file: &File) -> Vec<String> {
    let stem = file.path.trim_end_matches(".rs");
    let folder = match stem.rsplit_once('/') {
        Some((folder, "mod" | "lib" | "main")) => folder,
        _ => stem,
    };
    let lines: Vec<&str> = file.code.lines().map(str::trim).collect();
    let declared = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]").filter_map(|pair| {
        let (_, name) = pair[1].rsplit_once("mod ")?;
        name.strip_suffix(';')
    });
    declared.map(|name| format!("{folder}/{name}")).collect()
}

/// Blanks comments, fills literals; every line stays where it is.
pub fn strip(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let (end, fill) = match chars[i] {
            '/' if at(i + 1) == '/' => (line_end(&chars, i), ' '),
            '/' if at(i + 1) == '*' => (block_end(&chars, i), ' '),
            '"' => (string_end(&chars, i), '_'),
            'r' if !is_word(at(i.wrapping_sub(1))) || at(i.wrapping_sub(1)) == 'b' => {
                (raw_end(&chars, i), '_')
            }
            '\'' if at(i + 1) == '\\' => (quote_end(&chars, i + 3), '_'),
            '\'' if at(i + 2) == '\'' => (i + 3, '_'),
            _ => (i, ' '),
        };
        if end <= i {
            out.push(chars[i]);
            i += 1;
            continue;
        }
        for c in &chars[i..end.min(chars.len())] {
            out.push(if *c == '\n' { '\n' } else { fill });
        }
        i = end;
    }
    out
}

/// Whether a character belongs to a word.
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where a word stands in code, as whole word.
pub fn find_word(code: &str, word: &str) -> Vec<usize> {
    let ends = |at: usize| {
        !code[..at].chars().next_back().is_some_and(is_word)
            && !code[at + word.len()..].chars().next().is_some_and(is_word)
    };
    code.match_indices(word).map(|(at, _)| at).filter(|at| ends(*at)).collect()
}

/// The number of the line at a place.
pub fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

fn line_end(chars: &[char], from: usize) -> usize {
    (from..chars.len()).find(|i| chars[*i] == '\n').unwrap_or(chars.len())
}

fn block_end(chars: &[char], from: usize) -> usize {
    let (mut depth, mut i) = (0, from);
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 1),
            ('*', '/') => (depth, i) = (depth - 1, i + 1),
            _ => {}
        }
        i += 1;
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], from: usize) -> usize {
    let mut i = from + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn quote_end(chars: &[char], from: usize) -> usize {
    (from..chars.len()).find(|i| chars[*i] == '\'').map_or(chars.len(), |i| i + 1)
}

/// The end of `r"…"` or `r#"…"#`; `from` if none begins here.
fn raw_end(chars: &[char], from: usize) -> usize {
    let hashes = chars[from + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(from + 1 + hashes) != Some(&'"') {
        return from;
    }
    let begin = from + 2 + hashes;
    let closes = |i: &usize| {
        chars[*i] == '"'
            && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    };
    (begin..chars.len()).find(closes).map_or(chars.len(), |i| i + 1 + hashes)
}

/// Comments and literals of every kind vanish; lifetimes and the code around them stay.
#[test]
fn strips_what_is_no_code() {
    let text = "let a = \"quinn // \\\" x\"; // rand\n\
                b('\"', '\\'', 'x') /* a /* b */ c */ d::<'a>();\n\
                r#\"raw \" quinn\"# e br\"f\"";
    let code = strip(text);
    assert_eq!(code.lines().count(), 3);
    assert!(!code.contains("quinn") && !code.contains("rand") && !code.contains('c'));
    assert!(code.contains("d::<'a>();") && code.contains(" e "));
}

/// Tests at the foot are cut off; declarations of test modules are not such a foot.
#[test]
fn finds_the_tests() {
    let file = File::sample("a/b.rs", "#[cfg(test)]\nmod c;\nx\n#[cfg(test)]\nmod tests {\ny\n}\n");
    assert!(file.code_before_tests().contains('x') && !file.code_before_tests().contains('y'));
    assert_eq!(test_modules(&file), ["a/b/c"]);
    assert_eq!(File::sample("tests/src/a.rs", "x").program(), "");
}
