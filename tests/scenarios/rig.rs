//! What the scenarios with real binaries share: federations, waits, and what holds of every
//! refusal.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use relay_tests::process::{Ended, Process, introduce};
use serde_json::Value;

/// Nodes that run and know each other.
pub struct Federation {
    pub dir: tempfile::TempDir,
    pub nodes: Vec<Process>,
}

impl Federation {
    /// Makes and starts a node for each unit; nobody knows anybody.
    pub async fn strangers(units: &[&str], config: &str) -> Self {
        Self::run(units, |dir, unit| Process::init(dir, unit, config)).await
    }

    /// Nodes that know each other, made with further flags of `relay-node init`.
    pub async fn lawful(units: &[&str], flags: &[&str]) -> Self {
        let made = Self::run(units, |dir, unit| Process::init_with(dir, unit, flags)).await;
        introduce(&made.nodes).await;
        made
    }

    async fn run(units: &[&str], make: impl Fn(&Path, &str) -> Process) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut nodes: Vec<Process> = units.iter().map(|unit| make(dir.path(), unit)).collect();
        for node in &mut nodes {
            node.start().await;
        }
        Self { dir, nodes }
    }

    /// The same, introduced to each other.
    pub async fn start(units: &[&str], config: &str) -> Self {
        let federation = Self::strangers(units, config).await;
        introduce(&federation.nodes).await;
        federation
    }

    /// A file beside the nodes.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// No node of it has panicked.
    pub fn assert_calm(&self) {
        for node in &self.nodes {
            let log = node.log();
            assert!(!log.contains("panicked"), "{}: {log}", node.unit);
        }
    }
}

/// A file of `config/demo`.
pub fn demo_file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/demo").join(name);
    path.to_str().unwrap().to_owned()
}

/// The same as a value, to be changed.
pub fn demo_json(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(demo_file(name)).unwrap()).unwrap()
}

/// Waits for a condition.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), wait).await;
    assert!(in_time.is_ok(), "never: {what}");
}

/// What every refusal of `relay-cli` has: its exit code and label, a sentence that names what is
/// wrong and where, what to do, nothing on stdout but the document, and no panic.
pub fn refused(node: &Process, arguments: &[&str], code: i32, label: &str, said: &[&str]) -> Value {
    let ended = node.cli(&[arguments, &["--json"]].concat());
    assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
    let document = ended.json();
    assert_eq!(document["schema"], "relay.cli.error/1", "{ended:?}");
    assert_eq!(document["reason"], label, "{ended:?}");
    for text in said {
        assert!(ended.err.contains(text), "`{text}` is not in {}", ended.err);
    }
    assert_plain(&ended);
    document
}

/// Nobody panicked and nothing is raw.
pub fn assert_plain(ended: &Ended) {
    assert!(!ended.err.contains("panicked"), "{ended:?}");
    for text in [&ended.out, &ended.err] {
        assert_harmless(text);
    }
}

/// Nothing in it moves a cursor, ends a line before its time, hides, or turns the direction.
pub fn assert_harmless(text: &str) {
    let harmful = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let found: Vec<char> = text.chars().filter(|c| harmful(*c)).collect();
    assert!(found.is_empty(), "{found:?} in {text:?}");
}

/// How many messages a node holds in one direction.
pub async fn count(node: &Process, direction: &str) -> usize {
    let mut page_token = String::new();
    let mut count = 0;
    loop {
        let request = relay_proto::v1::ListMessagesRequest {
            page_size: 1000,
            page_token,
            filter: format!("direction = {direction}"),
        };
        let page = node.client().messages.list_messages(request).await.unwrap().into_inner();
        count += page.messages.len();
        if page.next_page_token.is_empty() {
            return count;
        }
        page_token = page.next_page_token;
    }
}
