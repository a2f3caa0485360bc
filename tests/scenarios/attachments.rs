//! A file goes with a message, from node to node and into a file of the caller's choice, by the
//! real binaries; and what a hostile peer offers, by nodes of this process.

use std::{
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use relay_node::keys::KeyStore;
use relay_proto::{
    attachment::{self, Item},
    envelope::Priority,
    ids::{Digest, MessageId},
    payload::clear_bytes,
    reason::Reason,
    v1::{self, AttachmentState},
};
use relay_tests::{
    cluster::free_udp_port,
    forwarder::{End, Forwarder, Way},
    process::{Process, introduce},
};
use serde_json::json;

use crate::{
    hostile::{Stage, payload},
    rig::{Federation, assert_harmless, demo_json, refused, until},
};

/// A file of so many bytes that repeat nothing.
fn content(size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 32);
    let mut last = Digest::of(b"attachment");
    while bytes.len() < size {
        last = Digest::of(last.as_bytes());
        bytes.extend_from_slice(last.as_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn alert() -> serde_json::Value {
    let mut alert = demo_json("alert.json");
    alert["env"]["to"] = json!(["xb.ncu"]);
    alert["env"].as_object_mut().unwrap().remove("from");
    alert
}

/// Two nodes that know each other by addresses where a forwarder sits.
async fn over_a_wire(dir: &tempfile::TempDir) -> (Vec<Process>, Forwarder) {
    let (mut nodes, mut ends) = (Vec::new(), Vec::new());
    for unit in ["xa.cyber-poc", "xb.ncu"] {
        let public = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = public.local_addr().unwrap().to_string();
        let home = dir.path().join(unit);
        let node = Process::init_at(&home, unit, &address, (unit, "+1-202-555-0100"), "");
        let real: SocketAddr = format!("127.0.0.1:{}", free_udp_port()).parse().unwrap();
        let config = home.join("relay.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let listens = format!("\nlisten = \"{address}\"\n");
        assert!(text.contains(&listens), "{text}");
        std::fs::write(&config, text.replace(&listens, &format!("\nlisten = \"{real}\"\n")))
            .unwrap();
        ends.push(End { public, real });
        nodes.push(node);
    }
    let forwarder = Forwarder::start(ends, 1).unwrap();
    for node in &mut nodes {
        node.start().await;
    }
    introduce(&nodes).await;
    (nodes, forwarder)
}

/// What a node's log says of the attachments that it took.
fn taken(node: &Process) -> Vec<String> {
    let log = node.log();
    log.lines().filter(|line| line.contains("attachment taken")).map(str::to_owned).collect()
}

fn part(node: &Process, sha256: &Digest) -> PathBuf {
    node.dir.join("data/attachments/parts/xa.cyber-poc").join(sha256.to_string())
}

/// 8 MiB from node to node over a slow wire. The recipient is killed half way: the transfer goes on
/// with what was durable there, and does not begin again. The file is fetched to where the caller
/// says and is the same; nothing else is written, and nothing over another file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_crosses_a_wire_that_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (mut nodes, forwarder) = over_a_wire(&dir).await;
    let far = Way { delay: Duration::from_millis(60), ..Way::default() };
    for (from, to) in [(0, 1), (1, 0)] {
        forwarder.shape(from, to, far);
    }
    let bytes = content(8 << 20);
    let sha256 = Digest::of(&bytes);
    let (message, file) = (dir.path().join("alert.json"), dir.path().join("image of a disk.bin"));
    std::fs::write(&message, alert().to_string()).unwrap();
    std::fs::write(&file, &bytes).unwrap();
    let (message, file) = (message.to_str().unwrap(), file.to_str().unwrap());
    let typed = ["send", "alert", "--file", message, "--attach", file, "--json"];
    let sent = nodes[0].cli(&typed);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let id = sent.json()["message"]["short_id"].as_str().unwrap().to_owned();

    let came = |node: &Process| std::fs::metadata(part(node, &sha256)).map_or(0, |meta| meta.len());
    let b = &nodes[1];
    let half = async {
        while came(b) < 2 << 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), half).await.expect("half of it came");
    nodes[1].kill();
    let had = came(&nodes[1]);
    assert!(had >= 2 << 20 && had < bytes.len() as u64, "{had}");
    for (from, to) in [(0, 1), (1, 0)] {
        forwarder.shape(from, to, Way::default());
    }
    nodes[1].start().await;
    let [a, b] = nodes.as_slice() else { panic!("two nodes") };
    until("the message is delivered", || {
        let _ = a.cli(&["retry", &id]);
        let shown = a.cli(&["show", &id, "--no-content", "--json"]).json();
        shown["message"]["deliveries"][0]["state"] == "delivered"
    })
    .await;
    let taken = taken(b);
    let resumed = [format!("\"offset\":{had}"), format!("offset={had}")];
    assert_eq!(taken.len(), 1, "{taken:?}");
    assert!(resumed.iter().any(|offset| taken[0].contains(offset)), "{had}: {taken:?}");

    let listed = b.cli(&["attachment", "list", &id, "--json"]).json();
    assert_eq!(listed["attachments"][0]["name"], "image of a disk.bin", "{listed}");
    assert_eq!(listed["attachments"][0]["sha256"], sha256.to_string(), "{listed}");
    let out = dir.path().join("fetched");
    let out_text = out.to_str().unwrap();
    let get = ["attachment", "get", &id, "1", "--out", out_text];
    let fetched = b.cli(&get);
    assert_eq!(fetched.code, Some(0), "{fetched:?}");
    assert_eq!(std::fs::read(&out).unwrap(), bytes);
    std::fs::write(&out, "mine").unwrap();
    let kept = b.cli(&get);
    assert!(kept.code == Some(16) && kept.err.contains("--force"), "{kept:?}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "mine");
    let by_digest = ["attachment", "get", &id, &sha256.to_string(), "--out", out_text, "--force"];
    assert_eq!(b.cli(&by_digest).code, Some(0));
    assert_eq!(std::fs::read(&out).unwrap(), bytes);
}

/// A message that lists what is not at its node is refused at once. A name that would be a path or
/// turn the text is refused as well, and one that only looks odd is shown, never followed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_names_and_missing_files() {
    let federation = Federation::start(&["xa.cyber-poc", "xb.ncu"], "").await;
    let [a, b] = federation.nodes.as_slice() else { panic!("two nodes") };
    let listing = |name: &str, bytes: &[u8]| {
        let mut alert = alert();
        alert["env"]["attachments"] = json!([{
            "name": name, "media_type": "text/plain",
            "size": bytes.len(), "sha256": Digest::of(bytes).to_string(),
        }]);
        let file = federation.write("listing.json", &alert.to_string());
        file.to_str().unwrap().to_owned()
    };
    let file = listing("notes.txt", b"nowhere");
    let send = ["send", "alert", "--file", &file];
    refused(a, &send, 15, "ATTACHMENT_MISSING", &["env.attachments[0]", "upload"]);
    // Its bytes are brought under a name of our own; what the message calls it is another thing.
    let path = federation.write("bytes", "the bytes");
    let path = path.to_str().unwrap();
    let plain = federation.write("plain.json", &alert().to_string());
    let plain = plain.to_str().unwrap();
    let brought = a.cli(&["send", "alert", "--file", plain, "--attach", path]);
    assert_eq!(brought.code, Some(0), "{brought:?}");
    for hostile in
        ["../../etc/passwd", "/etc/passwd", ".bashrc", "a\\b", "a\u{202e}b", "a\u{1b}[2J"]
    {
        let file = listing(hostile, b"the bytes");
        let ended = a.cli(&["send", "alert", "--file", &file]);
        assert_eq!(ended.code, Some(15), "{hostile:?}: {ended:?}");
        assert_harmless(&ended.err);
    }
    let odd = "CON; rm -rf $HOME `id` %s.txt";
    let file = listing(odd, b"the bytes");
    let sent = a.cli(&["send", "alert", "--file", &file, "--wait", "delivered", "--json"]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let id = sent.json()["message"]["short_id"].as_str().unwrap().to_owned();
    let listed = b.cli(&["attachment", "list", &id]);
    assert!(listed.out.contains(odd), "{listed:?}");
    let empty = federation.dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let out = empty.join("out");
    let got = b.cli(&["attachment", "get", &id, "1", "--out", out.to_str().unwrap()]);
    assert_eq!(got.code, Some(0), "{got:?}");
    assert_eq!(std::fs::read(&out).unwrap(), b"the bytes");
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 1);
    federation.assert_calm();
}

const SALT: [u8; 32] = [7; 32];

fn item(bytes: &[u8]) -> Item {
    Item { sha256: Digest::of(bytes), size: bytes.len() as u64 }
}

fn fixed(items: &[Item]) -> Bytes {
    Bytes::copy_from_slice(attachment::digest(&SALT, items).unwrap().as_bytes())
}

fn offer(header: &v1::Signed, items: &[Item]) -> v1::AttachmentOffer {
    let list = items.iter().map(|item| v1::ListedAttachment {
        sha256: Bytes::copy_from_slice(item.sha256.as_bytes()),
        size: item.size,
    });
    let (header, salt) = (Some(header.clone()), Bytes::from_static(&SALT));
    v1::AttachmentOffer { header, salt, list: list.collect(), index: 0 }
}

/// What the node answers to an offer, and to the bytes where it wants them.
async fn offered(
    stage: &Stage,
    offer: v1::AttachmentOffer,
    bytes: &[u8],
) -> (AttachmentState, String) {
    let sender = stage.peer.session.attachments();
    let (mut bringing, answer) = sender.offer(offer, Priority::Routine).await.unwrap();
    if answer.state() != AttachmentState::Send {
        return (answer.state(), answer.reason);
    }
    bringing.chunk(Bytes::copy_from_slice(bytes)).await.unwrap();
    let answer = bringing.finish().await.unwrap();
    (answer.state(), answer.reason)
}

/// Offers that break a rule each, and what is answered.
async fn breaches(
    stage: &Stage,
    own: &v1::Signed,
    listed: [Item; 1],
) -> Vec<(v1::AttachmentOffer, AttachmentState, Reason)> {
    let header = |envelope: v1::Envelope| envelope.header.unwrap();
    let other = &stage.cluster.members[2];
    let keys = KeyStore::open(&other.dir.join("keys"), 1).unwrap();
    let to = std::slice::from_ref(&stage.to);
    let clear = Bytes::from_static(&[1; 40]);
    let change = |h: &mut v1::Header| h.attachments_digest = fixed(&listed);
    let by_other = (&other.unit, &keys);
    let others = stage.peer.envelope_of(by_other, to, clear, stage.now, change).await;
    let mut forged = own.clone();
    forged.signature = Some(v1::signed::Signature::Ed25519(vec![1; 64].into()));
    let elsewhere = stage.envelope(|h| {
        h.to = vec!["xc.cyber-poc".to_owned()];
        h.attachments_digest = fixed(&listed);
    });
    let elsewhere = header(elsewhere.await);
    let many: Vec<Item> = (0..17u8).map(|n| item(&[n + 1])).collect();
    let huge = [Item { size: (64 << 20) + 1, ..listed[0] }];
    let too_many = header(stage.envelope(|h| h.attachments_digest = fixed(&many)).await);
    let too_large = header(stage.envelope(|h| h.attachments_digest = fixed(&huge)).await);
    let unlisted = header(stage.envelope(|_| {}).await);
    let fault = AttachmentState::Fault;
    vec![
        (offer(&header(others), &listed), fault, Reason::SenderMismatch),
        (offer(&forged, &listed), fault, Reason::BadSignature),
        (offer(&elsewhere, &listed), fault, Reason::NotARecipient),
        (offer(own, &[item(b"another")]), fault, Reason::InnerMismatch),
        (offer(&unlisted, &listed), fault, Reason::InnerMismatch),
        (v1::AttachmentOffer { index: 1, ..offer(own, &listed) }, fault, Reason::Malformed),
        (offer(&too_many, &many), AttachmentState::Refused, Reason::TooLarge),
        (offer(&too_large, &huge), AttachmentState::Refused, Reason::TooLarge),
    ]
}

/// Another unit's header, a broken signature, a header to others, another list, too many and too
/// large ones, other bytes: each is answered by its name, nothing of it is kept, nothing becomes a
/// verdict. A message that comes without its attachment is a fault of its copy, and is taken once
/// the attachment was brought.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_headers_bring_nothing() {
    let mut stage = Stage::new().await;
    let before = stage.leaves();
    let good = b"these bytes".as_slice();
    let listed = [item(good)];
    let own = stage.envelope(|h| h.attachments_digest = fixed(&listed)).await.header.unwrap();
    for (offer, state, reason) in breaches(&stage, &own, listed).await {
        let answer = offered(&stage, offer, good).await;
        assert_eq!(answer, (state, reason.label().to_owned()));
    }
    let attachments = stage.cluster.members[1].dir.join("data/attachments");
    assert!(!attachments.exists(), "nothing was written");
    let fault = AttachmentState::Fault;
    let wrong = offered(&stage, offer(&own, &listed), b"other bytes").await;
    assert_eq!(wrong, (fault, Reason::AttachmentMismatch.label().to_owned()));
    assert_eq!(stage.leaves(), before);

    let to = std::slice::from_ref(&stage.to);
    let id = MessageId::new(stage.now, rand::random());
    let mut payload = payload(&stage.cluster, 0, &stage.to, id.as_bytes());
    payload.attachments = vec![v1::Attachment {
        name: "a.bin".to_owned(),
        media_type: "application/octet-stream".to_owned(),
        size: listed[0].size,
        sha256: Bytes::copy_from_slice(listed[0].sha256.as_bytes()),
        description: String::new(),
    }];
    let clear = clear_bytes(SALT, &payload);
    let change = |h: &mut v1::Header| {
        h.message_id = Bytes::copy_from_slice(id.as_bytes());
        h.attachments_digest = fixed(&listed);
    };
    let envelope = stage.peer.envelope(to, clear, stage.now, change).await;
    let signed = envelope.header.clone().unwrap();
    stage.send(envelope.clone()).await;
    assert_eq!(stage.peer.next_fault().await.reason, Reason::AttachmentMissing.label());
    assert_eq!(stage.leaves(), before);
    let whole = offered(&stage, offer(&signed, &listed), good).await;
    assert_eq!(whole, (AttachmentState::Whole, String::new()));
    let again = offered(&stage, offer(&signed, &listed), good).await;
    assert_eq!(again, (AttachmentState::Whole, String::new()));
    stage.send(envelope).await;
    assert_eq!(stage.peer.next_receipt().await.event(), v1::Event::ContentConsignment);
    // It has its verdict: nobody wants its attachments any more.
    let late = offered(&stage, offer(&signed, &listed), good).await;
    assert_eq!(late, (AttachmentState::Refused, String::new()));
    stage.honest_message_passes().await;
}
