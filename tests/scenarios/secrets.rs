//! The real binaries, logging all they can: what a message says, who wrote it, whom it is about and
//! every key stay out of the logs.

use std::path::Path;

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use relay_tests::{
    cluster::free_udp_port,
    process::{Process, introduce},
};
use serde_json::json;

use crate::rig::{Federation, demo_json, until};

/// Stands in every field that is personal or content.
const MARK: &str = "Zqvx7Planted";
/// As it stands in names of hosts and mailboxes.
const MARK_LOWER: &str = "zqvx7planted";
const CARD_PHONE: &str = "+1-202-555-0187";
const PERSON_PHONE: &str = "+1-202-555-0166";

fn mark(what: &str) -> String {
    format!("{MARK} {what}")
}

fn alert(to: &str) -> serde_json::Value {
    let mut alert = demo_json("alert.json");
    alert["env"]["to"] = json!([to]);
    alert["env"]["sender_ref"] = json!(format!("{MARK}-REF"));
    alert["alert"]["title"] = json!(mark("title"));
    alert["alert"]["summary"] = json!(mark("summary"));
    alert["alert"]["indicators"][0]["value"] = json!(format!("{MARK_LOWER}.example.net"));
    alert
}

fn request(to: &str) -> serde_json::Value {
    let mut file = demo_json("preservation.json");
    file["env"]["to"] = json!([to]);
    let request = &mut file["request"];
    request["requesting_authority"]["person"] = json!(mark("inspector"));
    request["requesting_authority"]["phone"] = json!(PERSON_PHONE);
    request["requesting_authority"]["email"] = json!(format!("{MARK_LOWER}@example.org"));
    request["confirmation_contact"]["name"] = json!(mark("prosecutor"));
    request["confirmation_contact"]["phone"] = json!(PERSON_PHONE);
    request["facts"] = json!(mark("facts"));
    request["items"][0]["identifier"]["value"] = json!(format!("{MARK_LOWER}@example.com"));
    request["items"][0]["relationship"] = json!(mark("suspect"));
    request["necessity"]["text"] = json!(mark("necessity"));
    file
}

/// All ways in which a library might print bytes.
fn spellings(bytes: &[u8]) -> Vec<String> {
    let list = format!("{bytes:?}");
    let list = list.trim_matches(['[', ']']).to_owned();
    vec![
        HEXLOWER.encode(bytes),
        BASE64.encode(bytes).trim_end_matches('=').to_lowercase(),
        BASE64URL_NOPAD.encode(bytes).to_lowercase(),
        list,
    ]
}

/// The secrets of a node's key files, in every spelling.
fn secrets(keys: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(keys).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".key") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("---") && !line.is_empty());
        let body: String = lines.collect();
        let raw = BASE64.decode(body.as_bytes()).ok();
        let raw = raw.or_else(|| HEXLOWER.decode(body.trim().as_bytes()).ok()).unwrap_or_default();
        // The seed is the end of the DER form.
        let seed = &raw[raw.len().saturating_sub(32)..];
        assert_eq!(seed.len(), 32, "{name}");
        found.extend(spellings(seed).into_iter().map(|text| (name.clone(), text)));
        found.push((name, body.to_lowercase()));
    }
    assert!(found.len() >= 25, "{found:?}");
    found
}

/// Two units exchange, refuse, acknowledge, suspend and restart; one logs at its own lowest level,
/// the other lets every library log all it has.
async fn exchange(federation: &mut Federation) {
    introduce(&federation.nodes).await;
    let files = [
        ("alert", alert("xb.ncu"), 0),
        ("preservation", request("xb.ncu"), 0),
        // Faults quote what is wrong.
        (
            "alert",
            {
                let mut bad = alert("xb.ncu");
                bad["alert"]["category"] = json!(mark("category"));
                bad["alert"]["title"] = json!(format!("{MARK}\u{202e}"));
                bad
            },
            15,
        ),
        (
            "preservation",
            {
                let mut bad = request("xb.ncu");
                bad["request"]["items"][0]["identifier"]["value"] = json!(mark("no address"));
                bad
            },
            15,
        ),
        ("alert", alert("xz.nobody"), 12),
    ];
    for (verb, content, code) in files {
        let file = federation.write("message.json", &content.to_string());
        let file = file.to_str().unwrap();
        let wait = ["send", verb, "--file", file, "--wait", "delivered"];
        let sent = federation.nodes[0].cli(&wait);
        assert_eq!(sent.code, Some(code), "{sent:?}");
    }
    let [a, b] = federation.nodes.as_slice() else { panic!("two nodes") };
    let inbox = b.cli(&["inbox", "--json"]).json();
    for message in inbox["messages"].as_array().unwrap() {
        let id = message["message_id"].as_str().unwrap();
        let shown = b.cli(&["show", id]);
        assert!(shown.out.contains(MARK), "it was exchanged: {shown:?}");
        assert_eq!(b.cli(&["ack", id, "--by", &mark("officer")]).code, Some(0));
        let acknowledged = || a.cli(&["receipts", id]).out.contains("ConsignmentAcceptance");
        until("the acknowledgement", acknowledged).await;
        assert!(a.cli(&["receipts", id]).out.contains(&mark("officer")));
    }
    let why = mark("reason");
    let suspend = ["peer", "suspend", "xb.ncu", "--by", &mark("officer"), "--reason", &why];
    assert_eq!(a.cli(&suspend).code, Some(0));
    assert!(a.cli(&["peer", "list", "--json"]).out.contains("suspended"));
    for node in &mut federation.nodes {
        assert_eq!(node.terminate(), Some(0));
        node.start().await;
        assert_eq!(node.terminate(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_or_personal_in_logs() {
    let dir = tempfile::tempdir().unwrap();
    let config = "\n[log]\nlevel = \"trace\"\n";
    let mut nodes = Vec::new();
    for unit in ["xa.cyber-poc", "xb.ncu"] {
        let address = format!("127.0.0.1:{}", free_udp_port());
        let people = (mark("unit"), CARD_PHONE);
        let people = (people.0.as_str(), people.1);
        nodes.push(Process::init_at(&dir.path().join(unit), unit, &address, people, config));
    }
    nodes[1].log_filter = Some("trace");
    for node in &mut nodes {
        node.start().await;
    }
    let mut federation = Federation { dir, nodes };
    exchange(&mut federation).await;

    let mut planted = vec![MARK_LOWER.to_owned()];
    planted.extend(spellings(MARK.as_bytes()));
    planted.extend(spellings(MARK_LOWER.as_bytes()));
    for phone in [CARD_PHONE, PERSON_PHONE] {
        planted.push(phone.to_owned());
        planted.push(phone.replace('-', ""));
    }
    for node in &federation.nodes {
        let log = node.log().to_lowercase();
        for record in ["message taken", "transfer sent", "session up"] {
            let heard = federation.nodes.iter().any(|node| node.log().contains(record));
            assert!(heard, "the logs tell little: no `{record}`");
        }
        for text in &planted {
            let line = log.lines().find(|line| line.contains(text.as_str()));
            assert!(line.is_none(), "{}: `{text}` in {line:?}", node.unit);
        }
        for (name, text) in secrets(&node.dir.join("keys")) {
            assert!(!log.contains(&text), "{}: {name} is in the log", node.unit);
        }
    }
    federation.assert_calm();
}
