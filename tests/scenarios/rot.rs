//! A byte of a running node's journal rots: the scrub finds and names it, the desk is not shown the
//! message, everything else goes on; `relay-node repair` says the same. The real binaries run.

use std::{fs, os::unix::fs::FileExt as _, path::PathBuf, process::Command};

use relay_tests::process::{Binaries, Ended, Process};
use serde_json::Value;

use super::rig::{Federation, demo_json, refused, until};

fn send(federation: &Federation, title: &str) -> String {
    let mut message = demo_json("alert.json");
    message["env"]["to"] = serde_json::json!(["xb.ncu"]);
    message["alert"]["title"] = title.into();
    let file = federation.write("message.json", &message.to_string());
    let file = file.to_str().unwrap();
    let wait = ["--wait", "delivered", "--timeout", "20s", "--json"];
    let sent = federation.nodes[0].cli(&[&["send", "alert", "--file", file], &wait[..]].concat());
    assert_eq!(sent.code, Some(0), "{sent:?}");
    sent.json()["message"]["short_id"].as_str().unwrap().to_owned()
}

/// The place of a text in a node's journal.
fn place_of(node: &Process, text: &str) -> (PathBuf, u64) {
    let entries = fs::read_dir(node.dir.join("data/journal")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_str().unwrap().contains("/segment-"));
    let found = paths.into_iter().find_map(|path| {
        let bytes = fs::read(&path).unwrap();
        let at = bytes.windows(text.len()).position(|window| window == text.as_bytes())?;
        Some((path, at as u64))
    });
    found.unwrap()
}

fn flip((path, offset): &(PathBuf, u64)) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, *offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], *offset).unwrap();
}

fn repair(node: &Process, more: &[&str]) -> Ended {
    let mut command = Command::new(&Binaries::built().node);
    command.args(["repair", "--config"]).arg(node.dir.join("relay.toml")).args(more);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn status(node: &Process) -> Value {
    node.cli(&["status", "--json"]).json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotted_message_is_found_named_and_not_served() {
    // The first line goes on with the section that the harness ended with.
    let config = "scrub_interval = \"1s\"\n";
    let mut federation = Federation::start(&["xa.cyber-poc", "xb.ncu"], config).await;
    let rotten = send(&federation, "Rotten wave 4711");
    let sound = send(&federation, "Sound wave 4712");
    // What is shown then comes from the disk.
    assert_eq!(federation.nodes[1].terminate(), Some(0));
    federation.nodes[1].start().await;
    let node = &federation.nodes[1];
    let round = |node: &Process| status(node)["scrub"]["last"].clone();
    until("a sound round", || {
        let last = round(node);
        last["complete"] == true && last["damages_total"] == 0 && last["records"].as_u64() > Some(4)
    })
    .await;

    let place = place_of(node, "Rotten wave 4711");
    flip(&place);
    until("the damage in the status", || round(node)["damages_total"] == 1).await;
    let told = status(node);
    let damage = &told["scrub"]["last"]["damages"][0];
    assert_eq!((&damage["segment"], &damage["from"]), (&1.into(), &"xa.cyber-poc".into()));
    let offset = damage["offset"].as_u64().unwrap();
    assert!(offset < place.1 && place.1 - offset < 4096, "{damage}");
    let alarms = told["alarms"].as_array().unwrap();
    assert_eq!(alarms.len(), 1, "{told}");
    let alarm = alarms[0].as_str().unwrap();
    for text in ["STORE_DAMAGED", &format!("offset {offset}"), &rotten, "relay-node repair"] {
        assert!(alarm.contains(text), "`{text}` in {alarm}");
    }
    let page = node.cli(&["status"]);
    assert!(page.code == Some(1) && page.out.contains("1 damaged record"), "{page:?}");
    assert!(page.out.contains("SCRUB     1 DAMAGE in "), "{page:?}");

    cleared_and_raised_again(node).await;

    // It is not shown as sound, the other one is, and new ones come.
    refused(node, &["show", &rotten], 1, "STORE_DAMAGED", &["damaged"]);
    // Nobody takes what nobody can read; the sender is told nothing of the kind.
    refused(node, &["ack", &rotten, "--by", "R. Pillai"], 1, "STORE_DAMAGED", &["damaged"]);
    let receipts = federation.nodes[0].cli(&["receipts", &rotten]);
    assert!(receipts.code == Some(0) && !receipts.out.contains("Pillai"), "{receipts:?}");
    assert_eq!(node.cli(&["show", &sound]).code, Some(0));
    assert_eq!(node.cli(&["ack", &sound, "--by", "R. Pillai"]).code, Some(0));
    let newer = send(&federation, "Newer wave 4713");
    assert_eq!(federation.nodes[1].cli(&["show", &newer]).code, Some(0));

    let running = repair(&federation.nodes[1], &[]);
    assert!(running.code == Some(1) && running.err.contains("stop the node first"), "{running:?}");
    assert_eq!(federation.nodes[1].terminate(), Some(0));
    for more in [&["--dry-run"][..], &[]] {
        let told = repair(&federation.nodes[1], more);
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(told.out.starts_with("DAMAGED: 1 cannot be made anew here\n"), "{told:?}");
        for text in [&*rotten, "xa.cyber-poc has its content", "README.md, \"Backups\""] {
            assert!(told.out.contains(text), "`{text}` in {}", told.out);
        }
    }
    flip(&place);
    let mended = repair(&federation.nodes[1], &[]);
    assert_eq!(
        (mended.code, mended.out.lines().next()),
        (Some(0), Some("SOUND: nothing to repair"))
    );
    federation.assert_calm();
}

/// An operator ends the alarm; the cause is still there, and raises it again.
async fn cleared_and_raised_again(node: &Process) {
    let listed = |more: &[&str]| node.cli(&[&["alarm", "list", "--json"], more].concat()).json();
    let id = listed(&[])["alarms"][0]["id"].to_string();
    let word = ["--by", "K. Novak", "--reason", "disk looked at"];
    let cleared = node.cli(&[&["alarm", "clear", &id], &word[..]].concat());
    assert!(cleared.code == Some(0) && cleared.out.starts_with("ENDED"), "{cleared:?}");
    until("the alarm again", || listed(&[])["alarms"].as_array().unwrap().len() == 1).await;
    let all = listed(&["--all"])["alarms"].clone();
    assert_ne!(all[0]["id"].to_string(), id);
    let ended = (&all[1]["id"].to_string(), &all[1]["cleared_by"], &all[1]["cleared_reason"]);
    assert_eq!(ended, (&id, &"K. Novak".into(), &"disk looked at".into()));
}
