//! Accounts, purposes and the audit log, through the real programs: what an operator is told who
//! may not do something, what is written down, and the file for whoever supervises the unit.

use relay_tests::process::Process;
use serde_json::Value;

use crate::rig::{Federation, demo_json, refused};

fn account(name: &str, user: u32, roles: &str) -> String {
    format!("\n[api.accounts.{name}]\nusers = [\"{user}\"]\nroles = [{roles}]\n")
}

/// An alert to the other unit; its short name.
fn sent(federation: &Federation) -> String {
    let mut alert = demo_json("alert.json");
    alert["env"]["to"] = serde_json::json!(["xb.ncu"]);
    let file = federation.write("alert.json", &alert.to_string());
    let send = ["--json", "send", "alert", "--file", file.to_str().unwrap()];
    let sent = json(&federation.nodes[0], &send);
    sent["message"]["short_id"].as_str().unwrap().to_owned()
}

fn json(node: &Process, arguments: &[&str]) -> Value {
    let ended = node.cli(arguments);
    assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    serde_json::from_str(&ended.out).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_may_do_what_its_roles_say() {
    let user = nix::unistd::Uid::effective().as_raw();
    let desk = account("desk", user, "\"read-all\", \"submit\", \"administer\"");
    let federation = Federation::start(&["xa.cyber-poc", "xb.ncu"], &desk).await;
    let node = &federation.nodes[0];
    let id = sent(&federation);

    for (arguments, role) in
        [(vec!["audit", "list"], "audit"), (vec!["ack", &id, "--by", "Novak"], "acknowledge")]
    {
        let told = refused(node, &arguments, 11, "PERMISSION_DENIED", &[]);
        let text = told.to_string();
        assert!(text.contains("the account desk may not") && text.contains(role), "{text}");
    }
    federation.assert_calm();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_is_read_for_a_purpose_and_it_is_written_down() {
    let federation = Federation::start(&["xa.cyber-poc", "xb.ncu"], "").await;
    let node = &federation.nodes[0];
    let id = sent(&federation);
    // The programs of these tests have a purpose in their environment; an empty one is none.
    let none = node.cli_for("", &["--no-input", "show", &id]);
    assert_eq!(none.code, Some(2), "{none:?}");
    assert!(none.err.contains("--purpose TEXT"), "{none:?}");
    assert_eq!(node.cli(&["show", &id, "--no-content"]).code, Some(0));
    assert_eq!(node.cli(&["show", &id, "--purpose", "casework 7"]).code, Some(0));

    let file = federation.dir.path().join("audit.jsonl");
    let path = file.to_str().unwrap();
    let written = json(node, &["--json", "audit", "export", "--out", path]);
    let text = std::fs::read_to_string(&file).unwrap();
    let entries: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(written["entries"], entries.len());
    let read: Vec<_> = entries.iter().filter(|entry| entry["call"] == "GetMessage").collect();
    let [read] = read.as_slice() else { panic!("one reading: {text}") };
    assert_eq!((&read["purpose"], &read["account"]), (&"casework 7".into(), &"operator".into()));
    let calls: Vec<_> = entries.iter().map(|entry| entry["call"].as_str().unwrap()).collect();
    assert!(calls.contains(&"SendMessage") && calls.contains(&"VerifyPeer"), "{calls:?}");

    let valid = node.cli(&["audit", "verify", path]);
    assert_eq!((valid.code, valid.out.starts_with("VALID")), (Some(0), true), "{valid:?}");
    let changed = federation.write("changed.jsonl", &text.replace("casework 7", "none"));
    let invalid = node.cli(&["audit", "verify", changed.to_str().unwrap()]);
    assert_eq!((invalid.code, invalid.out.starts_with("INVALID")), (Some(14), true));

    // It goes on over a restart, and still holds together.
    let mut federation = federation;
    federation.nodes[0].terminate();
    federation.nodes[0].start().await;
    let node = &federation.nodes[0];
    let again = federation.dir.path().join("again.jsonl");
    let again = again.to_str().unwrap();
    let written = json(node, &["--json", "audit", "export", "--out", again]);
    assert!(written["entries"].as_u64().unwrap() > entries.len() as u64);
    assert_eq!(node.cli(&["audit", "verify", again]).code, Some(0));
    assert!(std::fs::read_to_string(again).unwrap().starts_with(&text));
    federation.assert_calm();
}
