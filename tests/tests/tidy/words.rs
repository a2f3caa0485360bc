//! Words that may stand in some places only: other people's crates in their rooms, no clock and no
//! chance in what is pure, threads and tasks in one file, no unsafe code, no promises.

use super::source::{File, find_word, line_of};

/// All rules over all files.
pub fn findings(files: &[File]) -> Vec<String> {
    let mut found: Vec<String> = files.iter().flat_map(|file| of_file(file, EXCEPTIONS)).collect();
    // An exception that is needed no more goes.
    for (path, reason) in EXCEPTIONS {
        let file = files.iter().find(|file| file.path == *path);
        if file.is_none_or(|file| of_file(file, &[]).is_empty()) {
            found.push(format!("{path}: the exception is not needed any more ({reason})"));
        }
    }
    for root in CRATE_ROOTS {
        let file = files.iter().find(|file| file.path == *root);
        if !file.is_some_and(|file| file.code.contains("#![forbid(unsafe_code)]")) {
            found.push(format!("{root}: lacks #![forbid(unsafe_code)]"));
        }
    }
    found
}

fn of_file(file: &File, exceptions: &[(&str, &str)]) -> Vec<String> {
    let mut found = promises(file);
    if !file.path.ends_with(".rs") {
        return found;
    }
    let mut tell = |code: &str, at: usize, what: &str| {
        found.push(format!("{}:{}: {what}", file.path, line_of(code, at)));
    };
    let code = file.program();
    for rule in RULES {
        if !rule.inside.iter().any(|place| file.path.starts_with(place))
            || rule.except.iter().any(|place| file.path.starts_with(place))
        {
            continue;
        }
        for word in rule.words {
            for at in find_word(code, word) {
                if rule.spawns && exceptions.iter().any(|(path, _)| *path == file.path) {
                    continue;
                }
                tell(code, at, &format!("{word}: {}", rule.why));
            }
        }
    }
    if file.path.starts_with("node/src/") && !file.path.starts_with("node/src/store/sled/") {
        for at in names_sled(code, file.path.starts_with("node/src/store/")) {
            tell(code, at, "sled: named in node/src/store/sled only");
        }
    }
    for lint in ["unwrap_used", "indexing_slicing", "panic", "todo", "unimplemented"] {
        for at in find_word(code, lint).into_iter().filter(|at| code[..*at].ends_with("clippy::")) {
            tell(code, at, "the lint is switched off outside of tests");
        }
    }
    found
}

/// Notes about work that is left belong into an issue.
fn promises(file: &File) -> Vec<String> {
    if ![".rs", ".md", ".toml", ".proto", ".py", ".sh"].iter().any(|e| file.path.ends_with(e)) {
        return Vec::new();
    }
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
    let places = words.iter().flat_map(|word| find_word(&file.text, word));
    places.map(|at| format!("{}:{}: unfinished", file.path, line_of(&file.text, at))).collect()
}

/// The crate, not the module of that name in the store's room.
fn names_sled(code: &str, in_store: bool) -> Vec<usize> {
    let mut places = find_word(code, "sled");
    places.retain(|at| {
        let (before, after) = (code[..*at].trim_end(), &code[at + 4..]);
        let statement = &code[code[..*at].rfind(';').map_or(0, |i| i + 1)..*at];
        let module = before.ends_with("mod")
            || before.ends_with("store::")
            || before.ends_with("super::")
            || before.ends_with("self::")
            // Inside the braces of a `use` of the store's modules.
            || statement.contains("use crate::");
        !(in_store && module) && (after.starts_with("::") || !in_store || before.ends_with("use"))
    });
    places
}

struct Rule {
    words: &'static [&'static str],
    inside: &'static [&'static str],
    except: &'static [&'static str],
    why: &'static str,
    spawns: bool,
}

const RULES: &[Rule] = &[
    Rule {
        words: &["SystemTime", "Instant", "now_utc", "now_local", "now_v7"],
        inside: &["proto/src/", "node/core/"],
        except: &[],
        why: "time is an argument here",
        spawns: false,
    },
    Rule {
        words: &["rand", "getrandom", "OsRng", "new_v4", "thread_rng", "RandomState"],
        inside: &["proto/src/", "node/core/"],
        except: &[],
        why: "randomness is an argument here",
        spawns: false,
    },
    Rule {
        words: &["tokio", "std::net", "std::fs", "fs::read", "fs::write", "File::open"],
        inside: &["proto/src/", "node/core/"],
        except: &[],
        why: "nothing here does I/O",
        spawns: false,
    },
    Rule {
        words: &["quinn", "quinn_proto"],
        inside: &["proto/", "node/", "relay-cli/"],
        except: &["node/src/link/"],
        why: "named in node/src/link only",
        spawns: false,
    },
    Rule {
        words: &["tonic", "tonic_types", "tonic_health", "tonic_reflection"],
        inside: &["proto/src/", "node/"],
        except: &["node/src/api/"],
        why: "named in node/src/api only",
        spawns: false,
    },
    Rule {
        words: &[
            "tokio::spawn",
            "thread::spawn",
            "thread::Builder",
            "thread::scope",
            "task::spawn",
            "spawn_blocking",
            "spawn_local",
            "JoinSet",
            "TaskTracker",
        ],
        inside: &["proto/", "node/", "relay-cli/"],
        except: &["node/src/tasks.rs"],
        why: "only node/src/tasks.rs spawns",
        spawns: true,
    },
    Rule {
        words: &["unsafe"],
        inside: &["proto/", "node/", "relay-cli/"],
        except: &[],
        why: "no unsafe code",
        spawns: false,
    },
];

/// Who else may start a thread, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "node/src/api/mod.rs",
        "a call that reads much ends with its answer, and a panic in it ends that call alone",
    ),
    ("node/src/faults.rs", "a write that nobody waits for, in a node that is broken on purpose"),
    (
        "node/src/store/open.rs",
        "the writer must outlive the stop token and is joined by Store::close",
    ),
    (
        "node/src/store/writer.rs",
        "applier and segment preparation are the writer's own, inside its life",
    ),
    (
        "relay-cli/src/terminal.rs",
        "reading the terminal blocks, and Ctrl-C has to be heard meanwhile",
    ),
];

const CRATE_ROOTS: &[&str] = &[
    "proto/src/lib.rs",
    "node/core/src/lib.rs",
    "node/src/lib.rs",
    "node/src/main.rs",
    "relay-cli/src/main.rs",
];

/// Every rule tells a bad sample in its place and is silent elsewhere, in tests, and about strings.
#[test]
fn each_rule_can_fail() {
    let told = |path: &str, text: &str| of_file(&File::sample(path, text), EXCEPTIONS).len();
    for rule in RULES {
        for word in rule.words {
            let code = format!("use {word};\n");
            for place in rule.inside {
                let path = format!("{place}zz.rs");
                assert!(told(&path, &code) > 0, "{path}: {word}");
                assert_eq!(told(&path, &format!("// {word}\nf(\"{word}\");\n")), 0, "{word}");
                let test = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
                assert_eq!(told(&path, &test), 0, "{path}: {word}");
            }
            for place in rule.except {
                assert_eq!(told(place, &code), 0, "{place}: {word}");
            }
            assert_eq!(told("tests/src/zz.rs", &code), 0);
        }
    }
    assert_eq!(told("node/src/store/open.rs", "thread::spawn(f)"), 0);
    assert_eq!(told("node/src/store/open.rs", "quinn::a()"), 1);
    assert_eq!(told("node/src/a.rs", "#![allow(clippy::unwrap_used)]"), 1);
    assert_eq!(told("node/src/a/tests.rs", "#![allow(clippy::unwrap_used)]"), 0);
    assert_eq!(told("a.md", concat!("x TO", "DO y")), 1);
    assert_eq!(findings(&[]).len(), EXCEPTIONS.len() + CRATE_ROOTS.len());
}

/// The crate sled and the module of that name are told apart.
#[test]
fn sled_stays_in_its_room() {
    let told = |path: &str, text: &str| of_file(&File::sample(path, text), &[]).len();
    assert_eq!(told("node/src/link/a.rs", "use sled::Db;"), 1);
    assert_eq!(told("node/src/store/a.rs", "use sled::Db;"), 1);
    assert_eq!(told("node/src/store/a.rs", "fn a() { sled::open() }"), 1);
    assert_eq!(told("node/src/store/sled/mod.rs", "use sled::Db;"), 0);
    assert_eq!(told("node/src/store/a.rs", "pub mod sled; use crate::store::sled::A;"), 0);
    assert_eq!(told("node/src/store/a.rs", "use crate::store::{b::{C}, sled::{A, B}};"), 0);
}
