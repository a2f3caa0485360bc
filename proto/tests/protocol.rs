//! PROTOCOL.md against the code: its tables of labels and limits are complete and right, and what
//! it names exists.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::BTreeSet, fs, path::Path};

use relay_proto::{limits, reason::Reason, receipt::Event};

const PROTOCOL: &str = include_str!("../PROTOCOL.md");

/// Every label has its row with the meaning that the code gives, and there is no other row.
#[test]
fn labels_are_those_of_the_code() {
    let rows: BTreeSet<(String, String)> = rows("| label | meaning |");
    let code = Reason::ALL.iter().map(|r| (r.label().to_owned(), r.meaning().to_owned()));
    let code: BTreeSet<(String, String)> = code.collect();
    let missing: Vec<_> = code.difference(&rows).collect();
    let wrong: Vec<_> = rows.difference(&code).collect();
    assert!(missing.is_empty() && wrong.is_empty(), "missing: {missing:?}, wrong: {wrong:?}");
}

/// Every limit has its row with its value, and there is no other row; the list here is complete,
/// because it is compared with the source.
#[test]
fn limits_are_those_of_the_code() {
    let source = include_str!("../src/limits.rs");
    let names = source.lines().filter_map(|line| line.strip_prefix("pub const "));
    let names: BTreeSet<String> =
        names.map(|rest| rest.split(':').next().unwrap().to_owned()).collect();
    let rows = rows("| limit | value | of |");
    assert_eq!(rows.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>(), names);
    let code = values();
    assert_eq!(code.len(), names.len());
    for (name, value) in code {
        assert!(rows.contains(&(name.to_owned(), value.clone())), "{name} is {value}");
    }
}

/// Words in capitals are labels, limits or values of enumerations; all events are described.
#[test]
fn what_is_named_exists() {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("relay/v1");
    let files = fs::read_dir(proto).unwrap().map(|entry| entry.unwrap().path());
    let schema: String = files.map(|path| fs::read_to_string(path).unwrap()).collect();
    let in_schema: BTreeSet<&str> =
        schema.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let unknown = unknown(PROTOCOL, &in_schema);
    assert!(unknown.is_empty(), "{unknown:?}");
    for event in Event::ALL {
        let row = format!("| {} | {} |", event.name(), event.to_wire() as i32);
        assert!(PROTOCOL.contains(&row), "{row}");
    }
    // That the check can fail.
    assert_eq!(self::unknown("`FRAME_BYTES_MAX` `NO_SUCH_LABEL`", &in_schema), ["NO_SUCH_LABEL"]);
}

/// Names in backticks that are in capitals and are nothing.
fn unknown<'a>(text: &'a str, in_schema: &BTreeSet<&str>) -> Vec<&'a str> {
    let in_capitals = |word: &&str| {
        word.len() > 2
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    let is_limit = |word: &str| values().iter().any(|(name, _)| *name == word);
    let is_value = |word: &str| {
        in_schema.contains(word) || in_schema.iter().any(|v| v.ends_with(&format!("_{word}")))
    };
    let words = text.split('`').skip(1).step_by(2).filter(in_capitals);
    words.filter(|w| w.parse::<Reason>().is_err() && !is_limit(w) && !is_value(w)).collect()
}

/// First two cells of each row of a table; the first without its backticks.
fn rows(head: &str) -> BTreeSet<(String, String)> {
    let lines = PROTOCOL.lines().skip_while(|line| *line != head).skip(2);
    let rows = lines.take_while(|line| line.starts_with('|')).map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`').to_owned(), cells[2].to_owned())
    });
    let rows: Vec<_> = rows.collect();
    let set: BTreeSet<_> = rows.iter().cloned().collect();
    assert!(!rows.is_empty() && set.len() == rows.len(), "{head}: no rows, or one twice");
    set
}

/// All limits as the table writes them.
fn values() -> Vec<(&'static str, String)> {
    macro_rules! plain {
        ($($name:ident)*) => { vec![$((stringify!($name), limits::$name.to_string()),)*] };
    }
    macro_rules! bytes {
        ($($name:ident)*) => { vec![$((stringify!($name), size(limits::$name)),)*] };
    }
    let minutes = |duration: std::time::Duration| format!("{} min", duration.as_secs() / 60);
    let buckets = limits::PAYLOAD_BUCKETS.map(|bucket| (bucket >> 10).to_string());
    let mut all = bytes![
        FRAME_BYTES_MAX HEADER_BYTES_MAX PAYLOAD_BYTES_MAX CARD_BYTES_MAX STATEMENT_BYTES_MAX
        SUCCESSION_BYTES_MAX
        NOTE_BYTES_MAX CONTROL_BYTES_MAX BUNDLE_BYTES_MAX OFFER_BYTES_MAX CHUNK_BYTES_MAX
    ];
    all.extend(plain![
        NOTE_SIGNATURES_MAX PATH_HASHES_MAX CONSISTENCY_HASHES_MAX RECEIPTS_PER_GROUP_MAX
        RECIPIENTS_MAX HOPS_MAX DEPTH_MAX FIELDS_MAX BUNDLE_FIELDS_MAX EXTENSIONS_MAX
        PAYLOAD_SALT_BYTES STATEMENT_SALT_BYTES TITLE_CHARS_MAX TEXT_CHARS_MAX LINE_CHARS_MAX
        LIST_MAX ITEMS_MAX ITEM_ID_BYTES_MAX ACTOR_CHARS_MAX PURPOSE_CHARS_MAX
        SUCCESSION_CLAIMS_MAX CARD_NODES_MAX
        ATTACHMENTS_MAX
    ]);
    all.extend([
        ("ATTACHMENT_BYTES_MAX", format!("{} GiB", limits::ATTACHMENT_BYTES_MAX >> 30)),
        ("PAYLOAD_BUCKETS", format!("{} KiB", buckets.join(", "))),
        ("LIFETIME_MIN", minutes(limits::LIFETIME_MIN)),
        ("LIFETIME_MAX", format!("{} days", limits::LIFETIME_MAX.as_secs() / 86_400)),
        ("CLOCK_SKEW_MAX", minutes(limits::CLOCK_SKEW_MAX)),
    ]);
    all
}

fn size(bytes: usize) -> String {
    let mib = bytes >> 20;
    if mib << 20 == bytes { format!("{mib} MiB") } else { format!("{} KiB", bytes >> 10) }
}
