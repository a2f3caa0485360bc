//! Who may use whom inside the node: the table of `node/README.md` is read, so it cannot differ.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{File, find_word, is_word, line_of};

/// Room to the rooms that it may use.
pub type Table = BTreeMap<String, BTreeSet<String>>;

/// Reads the rows of the first table whose head is `| room | may use |`.
pub fn parse(readme: &str) -> Table {
    let rows = readme.lines().skip_while(|line| !line.starts_with("| room | may use |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let names = |cell: &str| -> BTreeSet<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    rows.flat_map(|row| {
        let mut cells = row.split('|').skip(1);
        let rooms = names(cells.next().unwrap_or(""));
        let used = names(cells.next().unwrap_or(""));
        rooms.into_iter().map(move |room| (room, used.clone()))
    })
    .collect()
}

/// Rows that name no room, and cycles.
pub fn faults_of(table: &Table) -> Vec<String> {
    let mut found = Vec::new();
    if table.is_empty() {
        found.push("there is no table of rooms".to_owned());
    }
    for (room, used) in table {
        for other in used.iter().filter(|other| !table.contains_key(*other)) {
            found.push(format!("the row of {room} names {other}, which has no row"));
        }
    }
    // Rooms leave when all that they use left; what stays is in a cycle or above one.
    let mut left = table.clone();
    while let Some(free) =
        left.iter().find(|(_, used)| !used.iter().any(|u| left.contains_key(u))).map(|(r, _)| r)
    {
        let free = free.clone();
        left.remove(&free);
    }
    if !left.is_empty() {
        found.push(format!("a cycle among {:?}", left.keys().collect::<Vec<_>>()));
    }
    found
}

/// Rooms of the table without a file, and rooms without a row.
pub fn missing(table: &Table, files: &[File]) -> Vec<String> {
    let rooms: BTreeSet<String> = files.iter().filter_map(|file| room_of(&file.path)).collect();
    let rows: BTreeSet<String> = table.keys().cloned().collect();
    rooms.symmetric_difference(&rows).map(|room| format!("{room}: no such row or room")).collect()
}

/// Uses that the table does not allow, unit tests included.
pub fn findings(table: &Table, file: &File) -> Vec<String> {
    let Some(room) = room_of(&file.path) else { return Vec::new() };
    let none = BTreeSet::new();
    let allowed = table.get(&room).unwrap_or(&none);
    let mut found = Vec::new();
    for (line, other) in uses(file, &room) {
        if other != room && table.contains_key(&other) && !allowed.contains(&other) {
            found.push(format!("{}:{line}: {room} uses {other}", file.path));
        }
    }
    found
}

fn room_of(path: &str) -> Option<String> {
    let first = path.strip_prefix("node/src/")?.split('/').next()?;
    let room = first.trim_end_matches(".rs");
    (room != "lib").then(|| room.to_owned())
}

/// The rooms that a file names, each with its line.
fn uses(file: &File, room: &str) -> Vec<(usize, String)> {
    let code = &file.code;
    let own = [format!("node/src/{room}.rs"), format!("node/src/{room}/mod.rs")];
    let mut roots = vec!["crate::", "relay_node::"];
    if own.contains(&file.path) {
        // From the head of a room this is the crate, too.
        roots.push("super::");
    }
    let mut found = Vec::new();
    for root in roots {
        for at in find_word(code, root.trim_end_matches(':')) {
            let Some(rest) = code[at..].strip_prefix(root) else { continue };
            found.extend(first_names(rest).into_iter().map(|name| (line_of(code, at), name)));
        }
    }
    found
}

/// `a::b` names `a`; `{a::{b, c}, d}` names `a` and `d`.
fn first_names(path: &str) -> Vec<String> {
    let word = |text: &str| text.trim_start().chars().take_while(|c| is_word(*c)).collect();
    let Some(group) = path.strip_prefix('{') else { return vec![word(path)] };
    let mut names: Vec<String> = vec![word(group)];
    let mut depth = 1;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => names.push(word(&group[at + 1..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

/// Rows are read; a use outside of them is told however it is written; cycles are told.
#[test]
fn the_table_binds() {
    let table = parse(
        "x\n| room | may use |\n|---|---|\n| `a` | nothing |\n| `b`, `c` | `a` (types) |\n\n\
         | `d` | `a` |\n",
    );
    assert_eq!(table.len(), 3);
    assert!(faults_of(&table).is_empty());
    let told = |path: &str, code: &str| findings(&table, &File::sample(path, code));
    assert!(told("node/src/b/x.rs", "use crate::a::X; use crate::{b::{c, d}, a};").is_empty());
    assert_eq!(told("node/src/a.rs", "\nuse crate::b::X;"), ["node/src/a.rs:2: a uses b"]);
    assert_eq!(told("node/src/a/x.rs", "use crate::{\n  a::{b, Y},\n  c::Z,\n};").len(), 1);
    assert_eq!(told("node/src/a/mod.rs", "fn f() { super::b::g() }").len(), 1);
    assert!(told("node/src/a/x.rs", "// crate::b\nsuper::b::g()").is_empty());
    assert!(told("proto/src/a.rs", "use crate::b;").is_empty());
    assert_eq!(missing(&table, &[File::sample("node/src/e.rs", "")]).len(), 4);
    let cycle = parse("| room | may use |\n|---|---|\n| `a` | `b` |\n| `b` | `a`, `z` |\n");
    assert_eq!(faults_of(&cycle).len(), 2);
    assert_eq!(faults_of(&parse("")).len(), 1);
}
