//! The real binaries and a peer whose every string is made for a terminal: what the desk and the
//! logs show obeys nothing of it.

use std::path::Path;

use bytes::Bytes;
use relay_node::{
    keys::{Identity, KeyUse},
    link::Lane,
};
use relay_proto::{
    card::Card,
    ids::{MessageId, UnitId},
    payload::clear_bytes,
    reason::Reason,
    receipt::Event,
    signed::Unsigned,
    timestamp::Timestamp,
    v1::{self, frame::Kind},
};
use relay_tests::{
    cluster::draft_payload,
    hostile::{Claim, Hostile, HostileLog},
    process::{Ended, Process, offline_cli, verify},
};
use serde_json::json;

use crate::rig::{Federation, assert_harmless, assert_plain, demo_json, until};

/// Clears the screen, forges a line, colours, turns the direction, hides.
const EVIL: &str =
    "a\u{1b}[2Jb\r\nOK: well\u{9b}31m\u{202e}dlrow\u{2066}\u{7f}\u{200b}\u{8}\u{7}x\tyz";

/// A card with such a string wherever a card has one, under the unit's own identity key.
fn evil_card(node: &Process, address: Option<&str>) -> std::path::PathBuf {
    let file = std::fs::read(node.card()).unwrap();
    let mut card = Card::from_file(&file).unwrap().value().clone();
    card.number += 1;
    for name in &mut card.names {
        name.name = EVIL.to_owned();
    }
    for text in [
        &mut card.phone_24x7,
        &mut card.office_hours,
        &mut card.time_zone,
        &mut card.email,
        &mut card.role,
    ] {
        *text = EVIL.to_owned();
    }
    card.languages = vec![EVIL.to_owned()];
    card.capabilities = vec![EVIL.to_owned()];
    for node in &mut card.nodes {
        node.addresses.extend(address.map(str::to_owned));
    }
    let identity = Identity::open(node.dir.join("keys/identity.key")).unwrap();
    let unsigned = Unsigned::new(&card, identity.public().id());
    let signature = identity.sign(unsigned.input());
    let path = node.dir.join("evil.relaycard");
    std::fs::write(&path, Card::to_file(&unsigned.signed(signature))).unwrap();
    path
}

/// A deferral with such a reason.
async fn evil_deferral(peer: &Hostile, victim: &UnitId, digest: Bytes, now: Timestamp) -> Kind {
    let signer = peer.keys.signer();
    let key_id = signer.key_id(KeyUse::Deferral);
    let deferral = v1::Deferral {
        unit: peer.unit.to_string(),
        peer: victim.to_string(),
        header_digest: digest,
        reason: EVIL.to_owned(),
        issued_at_ms: now.as_millis(),
        not_before_ms: now.as_millis() + 60_000,
        signer: Some(v1::Signer {
            unit: peer.unit.to_string(),
            key_id: Bytes::copy_from_slice(key_id.as_bytes()),
            algorithm: v1::Algorithm::Ed25519.into(),
            epoch: 1,
        }),
    };
    let unsigned = Unsigned::new(&deferral, key_id);
    let signature = signer.sign(KeyUse::Deferral, unsigned.input()).await.unwrap();
    Kind::Deferral(unsigned.signed(signature))
}

/// An envelope from the peer, with strings of its choice.
async fn evil_envelope(
    peer: &Hostile,
    dir: &Path,
    to: &UnitId,
    now: Timestamp,
    change: impl Fn(&mut v1::Payload, &mut v1::Header),
) -> v1::Envelope {
    let id = MessageId::new(now, rand::random());
    let mut payload = draft_payload(dir, &peer.unit, to);
    payload.message_id = Bytes::copy_from_slice(id.as_bytes());
    change(&mut payload, &mut v1::Header::default());
    let clear = clear_bytes(rand::random(), &payload);
    let change = |header: &mut v1::Header| {
        header.message_id = Bytes::copy_from_slice(id.as_bytes());
        change(&mut v1::Payload::default(), header);
    };
    peer.envelope(std::slice::from_ref(to), clear, now, change).await
}

fn body(payload: &mut v1::Payload) -> Option<&mut v1::Alert> {
    match &mut payload.body {
        Some(v1::payload::Body::Alert(alert)) => Some(alert),
        _ => None,
    }
}

/// What the peer sends: refused content, a refused profile, and content that is taken and shows
/// joiners and line feeds.
async fn send_strings(peer: &mut Hostile, dir: &Path, to: &UnitId, now: Timestamp) {
    type Change = fn(&mut v1::Payload, &mut v1::Header);
    let cases: [(Change, v1::Event, &str); 4] = [
        (
            |_, header| header.profile = EVIL.to_owned(),
            v1::Event::RelayRejection,
            "UNKNOWN_PROFILE",
        ),
        (
            |payload, _| payload.sender_ref = EVIL.to_owned(),
            v1::Event::RelayRejection,
            "INVALID_CONTENT",
        ),
        (
            |payload, _| {
                body(payload).into_iter().for_each(|alert| alert.title = EVIL.to_owned());
            },
            v1::Event::RelayRejection,
            "INVALID_CONTENT",
        ),
        (
            |payload, _| {
                let summary = "line\nline\u{200d} \u{634}".to_owned();
                body(payload).into_iter().for_each(|alert| alert.summary = summary.clone());
            },
            v1::Event::ContentConsignment,
            "",
        ),
    ];
    for (number, (change, event, reason)) in (1..).zip(cases) {
        let envelope = evil_envelope(peer, dir, to, now, change).await;
        peer.transfer(number, envelope).await;
        let receipt = peer.next_receipt().await;
        assert_eq!((receipt.event(), receipt.reason.as_str()), (event, reason), "{number}");
    }
}

/// Answers the victim's message with words of every kind, and lastly with receipts.
async fn answer(peer: &mut Hostile, victim: &UnitId, now: Timestamp) {
    let transfer = peer.next_transfer().await;
    let header = transfer.envelope.unwrap().header.unwrap();
    let digest = relay_proto::ids::Digest::of(&header.bytes);
    let digest = Bytes::copy_from_slice(digest.as_bytes());
    let fault = v1::TransferFault {
        number: transfer.number,
        header_digest: digest.clone(),
        payload_digest: Bytes::new(),
        reason: EVIL.to_owned(),
        detail: EVIL.to_owned(),
    };
    peer.reply(Lane::Routine, Kind::Fault(fault)).await;
    let deferral = evil_deferral(peer, victim, digest, now).await;
    peer.reply(Lane::Routine, deferral).await;
    let mut log = HostileLog::new(&peer.unit);
    let claim = |event, actor| Claim { event, reason: None, actor, at: now };
    let claims = [(Event::ContentConsignment, None), (Event::ConsignmentAcceptance, Some(EVIL))];
    for (number, (event, actor)) in (1..).zip(claims) {
        let statement = log.statement(&header, claim(event, actor));
        let actor = actor.unwrap_or_default();
        let group = log.group(&peer.keys, number, statement.bytes(), actor).await;
        peer.say(Kind::Receipts(group)).await;
    }
    // A contradiction is kept and alarmed.
    let reason = Some(Reason::InvalidContent);
    let refused = Claim { event: Event::RelayRejection, reason, actor: None, at: now };
    let statement = log.statement(&header, refused);
    let group = log.group(&peer.keys, 3, statement.bytes(), "").await;
    peer.say(Kind::Receipts(group)).await;
}

/// Every verb that shows something of the peer, in every form.
fn look(victim: &Process, sent: &str, received: &str) {
    let pages = [
        vec!["status"],
        vec!["peer", "list"],
        vec!["peer", "show", "xb.ncu"],
        vec!["inbox", "--all"],
        vec!["outbox", "--all"],
        vec!["show", sent],
        vec!["show", received],
        vec!["receipts", sent],
        vec!["receipts", received],
        vec!["watch", "--once"],
        vec!["retry", sent],
        vec!["peer", "ping", "xb.ncu"],
    ];
    for page in &pages {
        for form in ["--verbose", "--json", "--plain", "--jsonl"] {
            let ended = victim.cli(&[&page[..], &[form]].concat());
            assert!(ended.code.is_some_and(|code| code < 20), "{page:?}: {ended:?}");
            // Columns of plain tables are set apart by tabs, of ours alone.
            assert!(!ended.out.contains("x\ty"), "{page:?}: {ended:?}");
            let out = ended.out.replace('\t', if form == "--plain" { " " } else { "\t" });
            assert_plain(&Ended { out, ..ended });
        }
    }
    let shown = victim.cli(&["receipts", sent, "--json"]).json();
    let actor = shown["receipts"].as_array().unwrap().iter().find_map(|r| r["actor"].as_str());
    assert_eq!(actor, Some(EVIL), "JSON has the very string, escaped");
    let shown = victim.cli(&["peer", "show", "xb.ncu", "--json"]).json();
    assert_eq!(shown["peer"]["display_name"], EVIL);
}

/// Card, fault, deferral, receipt, actor, profile, content and the words of a close.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_string_of_a_peer_is_obeyed() {
    let units = ["xa.cyber-poc"];
    let config = "\n[log]\nlevel = \"trace\"\nformat = \"text\"\n";
    let federation = Federation::strangers(&units, config).await;
    let victim = &federation.nodes[0];
    let hostile = Process::init(federation.dir.path(), "xb.ncu", "");
    let address = evil_card(&hostile, Some("a\u{1b}[2J\u{202e}b:1"));
    let refused = victim.cli(&["peer", "add", address.to_str().unwrap()]);
    assert_eq!(refused.code, Some(14), "an address is no text: {refused:?}");
    assert_plain(&refused);
    let card = evil_card(&hostile, None);
    let added = victim.cli(&["peer", "add", card.to_str().unwrap(), "--verbose"]);
    assert_eq!(added.code, Some(0), "{added:?}");
    assert_plain(&added);
    let read = victim.cli(&["peer", "verify", "xb.ncu", "--read", "--verbose"]);
    assert_plain(&read);
    verify(victim, &hostile).await;

    let (unit, own): (UnitId, UnitId) = ("xb.ncu".parse().unwrap(), victim.unit.parse().unwrap());
    let now = relay_node::clock::Clock::new(&Default::default()).now();
    let mut peer = Hostile::dial_from(&hostile.dir, &unit, &victim.card()).await;
    let mut alert = demo_json("alert.json");
    alert["env"]["to"] = json!(["xb.ncu"]);
    let file = federation.write("alert.json", &alert.to_string());
    let sent = victim.cli(&["send", "alert", "--file", file.to_str().unwrap(), "--json"]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let sent = sent.json()["message"]["message_id"].as_str().unwrap().to_owned();
    answer(&mut peer, &own, now).await;
    send_strings(&mut peer, &hostile.dir, &own, now).await;
    let alarms = || victim.cli(&["peer", "show", "xb.ncu", "--json"]).json();
    until("the contradiction is alarmed", || {
        alarms()["peer"]["alarms"].to_string().contains("CONTRADICTION")
    })
    .await;
    let inbox = victim.cli(&["inbox", "--json"]).json();
    let received = inbox["messages"][0]["message_id"].as_str().unwrap().to_owned();
    look(victim, &sent, &received);
    peer.close_with(EVIL).await;
    until("the close is logged", || victim.log().contains("session down")).await;
    look(victim, &sent, &received);

    let dir = federation.dir.path();
    let court = dir.join("court");
    let export = ["evidence", "export", &sent, "--to", court.to_str().unwrap(), "--json"];
    let exported = victim.cli(&export);
    assert_plain(&exported);
    let bundle = exported.json()["bundle"].as_str().unwrap().to_owned();
    for form in ["--verbose", "--json", "--plain"] {
        let trust = victim.card();
        let trust = trust.to_str().unwrap();
        let trust = ["evidence", "verify", &bundle, form, "--trust", trust, card.to_str().unwrap()];
        let verified = offline_cli(dir, &trust);
        assert!(verified.code.is_some(), "{verified:?}");
        assert_plain(&verified);
    }
    let log = victim.log();
    assert_harmless(&log);
    assert!(log.contains("copy called faulty") && log.contains("message refused"), "{log}");
    federation.assert_calm();
}
