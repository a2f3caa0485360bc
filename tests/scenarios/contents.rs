//! Requests that lack what Article 29(2) of the Budapest Convention asks for, through the real
//! programs: all faults together, each with its path and its own label, and nothing is stored.

use relay_tests::process::Process;
use serde_json::{Value, json};

use crate::rig::{Federation, count, demo_json, refused};

/// What is taken out of a good request, under which label it is missed, and where.
const CONTENTS: [(&str, &str, &str); 6] = [
    ("requesting_authority", "ARTICLE_29_2_A", "request.requesting_authority"),
    ("offences", "ARTICLE_29_2_B", "request.offences"),
    ("items", "ARTICLE_29_2_C", "request.items"),
    ("custodian", "ARTICLE_29_2_D", "request.custodian"),
    ("necessity", "ARTICLE_29_2_E", "request.necessity"),
    ("mla_measures", "ARTICLE_29_2_F", "request.mla_measures"),
];

fn good() -> Value {
    demo_json("preservation.json")
}

/// Takes one of the contents away; items name their provider, which is content (d).
fn take(request: &mut Value, content: &str) {
    let request = request["request"].as_object_mut().unwrap();
    match content {
        "custodian" => {
            for item in
                request.get_mut("items").into_iter().flat_map(|i| i.as_array_mut()).flatten()
            {
                item.as_object_mut().unwrap().remove("provider");
            }
        }
        // Without items nothing names the provider any more: the other way to it stands in.
        "items" => {
            request.remove("items");
            request.insert("custodian".to_owned(), json!({"name": "Mail Provider Ltd"}));
        }
        other => drop(request.remove(other)),
    }
}

/// The faults that a file is refused with: label, path, text.
fn faults(federation: &Federation, node: &Process, file: &Value) -> Vec<(String, String, String)> {
    let path = federation.write("request.json", &file.to_string());
    let send = ["send", "preservation", "--file", path.to_str().unwrap()];
    let document = refused(node, &send, 15, "INVALID_CONTENT", &["nothing was sent"]);
    let text = |fault: &Value, name: &str| fault[name].as_str().unwrap_or_default().to_owned();
    let faults = document["faults"].as_array().unwrap();
    faults.iter().map(|f| (text(f, "reason"), text(f, "path"), text(f, "what"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contents_of_article_29_are_missed_by_name() {
    let federation = Federation::start(&["xa.cyber-poc", "xb.ncu"], "").await;
    let node = &federation.nodes[0];
    let ends = |path: &str, field: &str| path.ends_with(field.trim_start_matches("request."));
    for (content, label, field) in CONTENTS {
        let mut request = good();
        take(&mut request, content);
        let found = faults(&federation, node, &request);
        assert!(found.iter().all(|(reason, ..)| reason == label), "{content}: {found:?}");
        assert!(found.iter().any(|(_, path, _)| ends(path, field)), "{content}: {found:?}");
        assert!(found.iter().all(|(.., what)| !what.is_empty()), "{content}: {found:?}");
    }

    let mut bare = good();
    bare["request"] = json!({"status_of_request": "NEW"});
    bare["env"].as_object_mut().unwrap().remove("sender_ref");
    let found = faults(&federation, node, &bare);
    for (content, label, _) in CONTENTS {
        assert!(found.iter().any(|(reason, ..)| reason == label), "{content}: {found:?}");
    }
    assert!(found.iter().any(|(_, path, _)| ends(path, "sender_ref")), "{found:?}");

    let mut no = good();
    no["request"]["mla_intent"] = json!(false);
    let found = faults(&federation, node, &no);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "ARTICLE_29_2_F");
    assert!(ends(&found[0].1, "mla_intent") && found[0].2.starts_with("false:"), "{found:?}");

    let mut reversed = good();
    reversed["request"]["items"][0]["time_from"] = json!("@-1d");
    reversed["request"]["items"][0]["time_to"] = json!("@-39d");
    let found = faults(&federation, node, &reversed);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "ARTICLE_29_2_C");
    assert!(ends(&found[0].1, "items[0].time_to"), "{found:?}");

    assert_eq!(count(node, "OUT").await, 0, "something of a faulty request was stored");
    let path = federation.write("request.json", &good().to_string());
    let send = ["send", "preservation", "--file", path.to_str().unwrap(), "--wait", "delivered"];
    let sent = node.cli(&send);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    federation.assert_calm();
}
