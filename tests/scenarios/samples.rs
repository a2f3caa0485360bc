//! The samples of every kind, sent by `relay-cli` from one node to another: what `show --json` says
//! there is what the file said, field by field.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{collections::BTreeSet, path::Path};

use relay_proto::timestamp::Timestamp;
use relay_tests::process::{Process, request_id};
use serde_json::{Map, Value, json};

use super::{
    casework::{ack, confirmation},
    rig::Federation,
};

const REQUESTING: usize = 0;
const REQUESTED: usize = 1;
const UNITS: [&str; 2] = ["xa.cyber-poc", "xd.cyber-poc"];

/// A sample by its number.
fn sample(number: u32) -> Value {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/samples");
    let mut files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let begins = |path: &Path| {
        path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{number:02}-"))
    };
    let file = files.find(|path| begins(path)).unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    moved(serde_json::from_str(&text).unwrap())
}

/// All its instants as if the day of the samples were today.
fn moved(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(match text.parse::<Timestamp>() {
            Ok(at) => {
                let day: Timestamp = "2026-03-16T09:00:00Z".parse().unwrap();
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                let now = now.unwrap().as_secs() * 1000;
                Timestamp::from_millis(at.as_millis() + now - day.as_millis()).to_string()
            }
            Err(_) => text,
        }),
        Value::Array(list) => list.into_iter().map(moved).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, moved(value))).collect(),
        other => other,
    }
}

/// All of `part` is in `whole`.
fn contains(whole: &Value, part: &Value, path: &str) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (key, part) in part {
                let inner = whole.get(key).unwrap_or_else(|| panic!("{path}.{key} is lost"));
                contains(inner, part, &format!("{path}.{key}"));
            }
        }
        (Value::Array(whole), Value::Array(part)) => {
            assert_eq!(whole.len(), part.len(), "{path}");
            for (i, (whole, part)) in whole.iter().zip(part).enumerate() {
                contains(whole, part, &format!("{path}[{i}]"));
            }
        }
        // What stands before a sample counts its times from now.
        (_, Value::String(part)) if part.starts_with('@') => {}
        _ => assert_eq!(whole, part, "{path}"),
    }
}

/// Two nodes, and the case that the next messages are of.
struct Wire {
    federation: Federation,
    case: String,
    request: Option<String>,
    /// The last message of each side.
    last: [Option<String>; 2],
    seen: BTreeSet<String>,
}

impl Wire {
    async fn start() -> Self {
        // Both are parties to CETS 224, and one may refuse for want of dual criminality.
        let law = ["--party", "budapest", "--party", "2ap", "--reserve", "art29-4"];
        let federation = Federation::lawful(&UNITS, &law).await;
        let (case, seen) = (request_id(), BTreeSet::new());
        Self { federation, case, request: None, last: [None, None], seen }
    }

    /// The messages that follow are of another case.
    fn begin(&mut self) {
        (self.case, self.request, self.last) = (request_id(), None, [None, None]);
    }

    /// Sends a sample and compares what arrives.
    fn sends(&mut self, from: usize, number: u32) {
        self.send(from, sample(number));
    }

    /// What a sample needs before it.
    fn says(&mut self, from: usize, kind: &str, key: &str, content: Value) {
        let env = json!({"kind": kind, "sender_ref": "1", "language": "en", "in_reply_to": "",
                         "priority": "ROUTINE"});
        self.send(from, json!({"env": env, key: content}));
    }

    /// All that belongs to no request.
    fn outside_of_cases(&mut self) {
        let (ask, answer) = (REQUESTING, REQUESTED);
        // Each begins something; what follows it in its line is about it.
        for matter in [
            &[(ask, 1), (ask, 6), (answer, 37)][..],
            &[(ask, 2), (ask, 3), (answer, 26), (answer, 36)],
            &[(ask, 4)],
            &[(ask, 5)],
            &[(ask, 34), (answer, 35)],
            &[(ask, 25), (answer, 38)],
            &[(ask, 22), (answer, 23)],
        ] {
            self.begin();
            for (from, number) in matter {
                self.sends(*from, *number);
            }
        }
        // An offer that still stands.
        self.begin();
        let mut offer = sample(7);
        offer["offer"]["expires"] = json!("@+2d");
        self.send(ask, offer);
        self.sends(answer, 8);
    }

    fn send(&mut self, from: usize, mut file: Value) {
        let (sender, peer) = (&self.federation.nodes[from], &self.federation.nodes[1 - from]);
        for about in ["release", "report"] {
            // Both are about the first message of their matter.
            if let (Some(said), Some(id)) = (file.get_mut(about), &self.request) {
                said["object"] = json!(id);
            }
        }
        let env = file["env"].as_object_mut().unwrap();
        self.place(from, env);
        let kind = env["kind"].as_str().unwrap().to_owned();
        let path = self.federation.write("sample.json", &file.to_string());
        let sent = sender.cli(&[
            "send",
            "message",
            "--file",
            path.to_str().unwrap(),
            "--wait",
            "delivered",
            "--json",
        ]);
        assert_eq!(sent.code, Some(0), "{kind}: {sent:?}");
        let id = sent.json()["message"]["message_id"].as_str().unwrap().to_owned();
        let shown = shown(peer, &id);
        let wanted = file.as_object().unwrap().clone();
        contains(&shown, &Value::Object(wanted), &kind);
        self.request.get_or_insert_with(|| id.clone());
        self.last[from] = Some(id);
        self.seen.insert(kind);
    }

    /// Puts a message where it stands here: between these units, in this case.
    fn place(&self, from: usize, env: &mut Map<String, Value>) {
        env.insert("profile".to_owned(), json!("budapest-247"));
        env.insert("from".to_owned(), json!(UNITS[from]));
        env.insert("to".to_owned(), json!([UNITS[1 - from]]));
        env.insert("thread_id".to_owned(), json!(self.case));
        if env.contains_key("in_reply_to") {
            // The answer to a warning names the warning; all others name the request.
            let answered = match env["kind"].as_str() {
                Some("RISK_DECISION" | "EXTENSION_DECISION" | "INFO_REPLY" | "HANDLING_REPORT") => {
                    &self.last[1 - from]
                }
                _ => &self.request,
            };
            match answered {
                Some(id) => env.insert("in_reply_to".to_owned(), json!(id)),
                None => env.get("in_reply_to").cloned(),
            };
        }
    }
}

/// A message's content as the recipient's program shows it.
fn shown(node: &Process, id: &str) -> Value {
    let shown = node.cli(&["show", id, "--json"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    shown.json()["content"].clone()
}

/// Every kind that people send, all samples: what was said is what is shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sample_arrives_as_it_was_sent() {
    let mut wire = Wire::start().await;
    wire.outside_of_cases();
    let accepted = |revision: u32, items: &[&str]| {
        let items = items.iter().map(|id| json!({"item_id": id, "decision": "ACCEPTED"}));
        json!({"revision": revision, "items": items.collect::<Vec<_>>()})
    };
    // Answers that were missing.
    wire.begin();
    wire.sends(REQUESTING, 12);
    wire.says(REQUESTED, "REQUEST_ACK", "ack", ack());
    wire.sends(REQUESTED, 11);
    wire.sends(REQUESTING, 27);
    // A risk, an item dropped, an extension, mutual assistance.
    wire.begin();
    wire.sends(REQUESTING, 12);
    wire.sends(REQUESTED, 10);
    wire.sends(REQUESTED, 13);
    wire.sends(REQUESTING, 14);
    wire.says(REQUESTED, "PRESERVATION_DECISION", "decision", accepted(2, &["2"]));
    for number in [15, 16, 28, 33] {
        wire.sends(REQUESTED, number);
    }
    wire.sends(REQUESTING, 18);
    wire.sends(REQUESTED, 19);
    wire.sends(REQUESTING, 29);
    wire.sends(REQUESTED, 21);
    wire.sends(REQUESTED, 30);
    // Obtained otherwise.
    wire.begin();
    wire.sends(REQUESTING, 9);
    wire.sends(REQUESTED, 10);
    wire.says(REQUESTED, "PRESERVATION_DECISION", "decision", accepted(1, &["1"]));
    let mut found = confirmation("@+90d");
    found["items"].as_array_mut().unwrap().truncate(1);
    wire.says(REQUESTED, "PRESERVATION_CONFIRMATION", "confirmation", found);
    wire.sends(REQUESTING, 31);
    // The wrong country.
    wire.begin();
    wire.sends(REQUESTING, 9);
    wire.sends(REQUESTED, 32);
    // Refused, for an offence outside of Articles 2 to 11.
    wire.begin();
    let mut request = sample(17);
    let offence = &mut request["request"]["offences"][0];
    offence["title"] = json!("Insult of an official");
    offence["convention_articles"] = json!(["other"]);
    request["request"]["dual_criminality_note"] = json!("An offence in both countries.");
    wire.send(REQUESTING, request);
    wire.sends(REQUESTED, 10);
    wire.sends(REQUESTED, 20);
    // All but what the node says by itself.
    assert_eq!(wire.seen.len(), 30, "{:?}", wire.seen);
    wire.federation.assert_calm();
}
