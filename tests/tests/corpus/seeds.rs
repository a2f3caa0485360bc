//! What the fuzzer begins with: golden bytes, sample messages, shipped files.

use std::{collections::BTreeMap, fs, path::PathBuf};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use prost::Message as _;
use relay_node::store::{event, records};
use relay_proto::{
    envelope::bucket_of,
    file::MessageFile,
    ids::Digest,
    limits,
    v1::{self, frame::Kind},
};

use crate::targets::messages::{NOW, completed};

/// Target, name, bytes.
type Seed = (&'static str, String, Vec<u8>);

/// All seeds.
pub fn all() -> Vec<Seed> {
    let mut seeds = golden();
    seeds.extend(messages());
    seeds.extend(identifiers());
    seeds.extend(frames());
    seeds.extend(refused_hellos());
    seeds.extend(rows());
    seeds.extend(texts());
    seeds
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The fields of one file of vectors.
fn vector(name: &str) -> BTreeMap<String, Vec<u8>> {
    let path = root().join(format!("tests/vectors/{name}.hex"));
    let text = fs::read_to_string(path).unwrap();
    let fields = text.lines().map(|line| {
        let (name, hex) = line.split_once(": ").unwrap();
        (name.to_owned(), HEXLOWER.decode(hex.as_bytes()).unwrap())
    });
    fields.collect()
}

fn signed(name: &str) -> v1::Signed {
    v1::Signed::decode(vector(name)["signed"].as_slice()).unwrap()
}

fn golden() -> Vec<Seed> {
    let field = |target, file: &str, field: &str| {
        (target, format!("{file}-{field}"), vector(file)[field].clone())
    };
    let card = [b"relay-card/v1\n".as_slice(), &vector("card")["signed"]].concat();
    let receipt = {
        let bundle = vector("evidence")["file"].clone();
        let bundle = bundle.strip_prefix(b"relay-evidence/v1\n".as_slice()).unwrap();
        v1::EvidenceBundle::decode(bundle).unwrap().receipts[0].encode_to_vec()
    };
    vec![
        ("card", "file".to_owned(), card),
        field("card", "card", "bytes"),
        field("statement", "statement", "bytes"),
        field("checkpoint", "checkpoint", "note"),
        field("checkpoint", "checkpoint", "text"),
        field("proof", "tlog-proof", "file"),
        ("proof", "receipt".to_owned(), receipt),
        field("bundle", "evidence", "file"),
        field("succession", "succession", "bytes"),
        field("key", "key", "public_key"),
        field("key", "key", "key_id"),
        field("key", "key", "spki"),
        field("key", "checkpoint", "vkey"),
        ("journal", "untouched".to_owned(), Vec::new()),
        ("journal", "edits".to_owned(), [edit(1, 600, b"x"), edit(2, 0, &[0; 64])].concat()),
        ("journal", "resealed".to_owned(), [edit(2, 30, &[9]), vec![130, 0, 0, 64]].concat()),
    ]
}

fn edit(file: u8, offset: u16, bytes: &[u8]) -> Vec<u8> {
    let [high, low] = offset.to_be_bytes();
    [&[file, high, low, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

/// Files, drafts, payloads and envelopes of all sample messages, and each in the scan.
fn messages() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for folder in ["tests/vectors/samples", "config/demo"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            let draft = MessageFile::parse(&text, NOW).unwrap();
            seeds.push(("file", name.clone(), text.into_bytes()));
            seeds.push(("draft", name.clone(), draft.encode_to_vec()));
            let Some(payload) = completed(&draft) else { continue };
            let clear = payload.encode_to_vec();
            let salted = [vec![7; limits::PAYLOAD_SALT_BYTES], clear.clone()].concat();
            let mut header = v1::Header::decode(vector("header")["bytes"].as_slice()).unwrap();
            header.from.clone_from(&payload.from);
            header.to.clone_from(&payload.to);
            header.payload_bucket = u32::try_from(bucket_of(salted.len())).unwrap();
            header.message_id = payload.message_id.clone();
            header.payload_digest = Bytes::copy_from_slice(Digest::of(&salted).as_bytes());
            let header = v1::Signed { bytes: header.encode_to_vec().into(), ..signed("header") };
            let envelope = v1::Envelope {
                header: Some(header),
                payload: Some(v1::envelope::Payload::Clear(salted.into())),
                ..Default::default()
            };
            seeds.push(("envelope", name.clone(), envelope.encode_to_vec()));
            seeds.push(("scan", format!("envelope-{name}"), tagged(1, &envelope)));
            seeds.push(("scan", format!("payload-{name}"), tagged(3, &payload)));
            seeds.push(("payload", name, clear));
        }
    }
    let golden = |which, file: &str, field: &str| {
        let bytes = [&[which], vector(file)[field].as_slice()].concat();
        ("scan", format!("{file}-{field}"), bytes)
    };
    seeds.extend([
        golden(2, "header", "bytes"),
        golden(4, "statement", "bytes"),
        golden(5, "card", "bytes"),
        golden(7, "succession", "bytes"),
        golden(8, "deferral", "bytes"),
        golden(11, "card", "signed"),
        golden(11, "slots", "signed_batch"),
    ]);
    seeds
}

/// An alert with an indicator of every type, and one in which each value is of another form.
fn identifiers() -> Vec<Seed> {
    const TYPES: [(&str, &str, &str); 16] = [
        ("ipv4", "203.0.113.47", "203.0.113.470"),
        ("ipv6", "2001:db8:23::7", "2001:db8::23::7"),
        ("cidr", "192.0.2.0/24", "192.0.2.1/24"),
        ("asn", "AS64500", "64500"),
        ("domain", "parcel-fee.example.net", "parcel fee"),
        ("url", "https://example.net/a?b", "hxxps://example[.]net"),
        ("email", "name@example.com", "name@"),
        ("sha256", "0000000000000000000000000000000000000000000000000000000000000001", "00"),
        ("tls-fp", "t13d1516h2", "t13 d"),
        ("ja4", "t13d1516h2_8daaf6152771", "a b"),
        ("btc", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "bc1"),
        ("iban", "GB82WEST12345698765432", "GB83WEST12345698765432"),
        ("phone", "+1-202-555-0143", "110"),
        ("account", "platform-id 42", ""),
        ("name", "M. Valtonen", " M"),
        ("other", "anything", "a\u{202e}b"),
    ];
    let path = root().join("tests/vectors/samples/01-alert.json");
    let text = fs::read_to_string(path).unwrap();
    let whole = completed(&MessageFile::parse(&text, NOW).unwrap()).unwrap();
    let each = |pick: fn(&(&'static str, &'static str, &'static str)) -> &'static str| {
        let mut payload = whole.clone();
        let Some(v1::payload::Body::Alert(alert)) = &mut payload.body else { panic!() };
        let indicators = TYPES.iter().enumerate().map(|(n, one)| v1::Indicator {
            id: format!("i{n}"),
            r#type: one.0.to_owned(),
            value: pick(one).to_owned(),
            ..Default::default()
        });
        alert.indicators = indicators.collect();
        payload.encode_to_vec()
    };
    vec![
        ("payload", "identifiers".to_owned(), each(|one| one.1)),
        ("payload", "identifiers-wrong".to_owned(), each(|one| one.2)),
    ]
}

/// Hellos that are refused, each for another reason.
fn refused_hellos() -> Vec<Seed> {
    let wrong: [fn(&mut v1::Hello); 8] = [
        |hello| hello.versions = vec![2],
        |hello| hello.unit = "xc.ncu".to_owned(),
        |hello| hello.extensions = vec![v1::Extension { critical: true, ..Default::default() }],
        |hello| hello.software = "a\u{7}b".to_owned(),
        |hello| hello.revocations_digest = Bytes::from_static(&[1; 5]),
        |hello| hello.instance_id = Bytes::new(),
        |hello| hello.boot_id = Bytes::from_static(&[1; 17]),
        |hello| hello.limits = Some(v1::Limits { frame_bytes_max: 1, ..Default::default() }),
    ];
    let note = String::from_utf8(vector("checkpoint")["note"].clone()).unwrap();
    let seeds = wrong.iter().enumerate().map(|(n, change)| {
        let mut hello = hello(note.clone());
        change(&mut hello);
        let frame = v1::Frame { kind: Some(Kind::Hello(hello)) };
        ("frame", format!("hello-{n}"), tagged(0, &frame))
    });
    seeds.collect()
}

fn tagged(which: u8, message: &impl prost::Message) -> Vec<u8> {
    [vec![which], message.encode_to_vec()].concat()
}

/// A frame of each kind, where it may stand: lane, plus 4 for the reverse half, plus 8 once up.
fn frames() -> Vec<Seed> {
    let note = String::from_utf8(vector("checkpoint")["note"].clone()).unwrap();
    let digest = Bytes::from_static(&[1; 32]);
    let path = vec![digest.clone(), digest.clone()];
    let statement = Bytes::from(vector("statement")["bytes"].clone());
    let receipt = v1::NumberedReceipt {
        number: 1,
        statement,
        index: 3,
        path: path.clone(),
        ..Default::default()
    };
    let receipts = v1::ReceiptGroup {
        checkpoint: note.clone(),
        consistency_from: 4,
        consistency: path.clone(),
        receipts: vec![receipt],
        owed_after: 1,
    };
    let fault = v1::TransferFault {
        number: 1,
        header_digest: digest.clone(),
        reason: "BAD_SIGNATURE".to_owned(),
        ..Default::default()
    };
    let envelope = v1::Envelope { header: Some(signed("header")), ..Default::default() };
    let transfer = v1::Transfer { number: 1, envelope: Some(envelope), ..Default::default() };
    let (from, to) = (3, 7);
    let frames = [
        (0, Kind::Hello(hello(note))),
        (0, Kind::Open(v1::Open { lane: v1::Lane::Urgent.into() })),
        (8, Kind::Receipts(receipts)),
        (8, Kind::GetConsistency(v1::GetConsistency { from, to })),
        (8, Kind::GetInclusion(v1::GetInclusion { index: 3, size: 7 })),
        (8, Kind::Ping(v1::Ping { nonce: 1 })),
        (12, Kind::Pong(v1::Pong { nonce: 1 })),
        (12, Kind::Have(v1::Have { receipts: 1 })),
        (12, Kind::Consistency(v1::Consistency { from, to, path: path.clone() })),
        (12, Kind::Inclusion(v1::Inclusion { index: 3, size: 7, path })),
        (12, Kind::Deferral(signed("deferral"))),
        (9, Kind::Transfer(transfer)),
        (10, Kind::Void(v1::Void { number: 2, reason: "EXPIRED".to_owned() })),
        (11, Kind::Encapsulation(v1::Encapsulation { digest, bytes: Bytes::from_static(b"x") })),
        (13, Kind::Fault(fault)),
    ];
    let seeds = frames.into_iter().enumerate().map(|(n, (place, kind))| {
        ("frame", format!("{n:02}"), tagged(place, &v1::Frame { kind: Some(kind) }))
    });
    seeds.collect()
}

fn hello(note: String) -> v1::Hello {
    v1::Hello {
        versions: vec![1],
        unit: "xb.ncu".to_owned(),
        node: "a".to_owned(),
        software: "relay-node/0.1.0".to_owned(),
        instance_id: Bytes::from_static(&[1; 16]),
        boot_id: Bytes::from_static(&[2; 16]),
        card_number: 3,
        now_ms: NOW.as_millis(),
        own_checkpoint: note,
        heads: Some(v1::Heads { transfers_made: 7, ..Default::default() }),
        limits: Some(v1::Limits { frame_bytes_max: 512 << 10, ..Default::default() }),
        ..Default::default()
    }
}

/// A record of some kinds, and an event.
fn rows() -> Vec<Seed> {
    let message = records::MessageRecord {
        direction: 1,
        message_id: Bytes::from_static(&[1; 16]),
        from: "xa.ncu".to_owned(),
        to: vec!["xb.ncu".to_owned()],
        digest: Bytes::from_static(&[2; 32]),
        ..Default::default()
    };
    let arrived = event::Arrived {
        header: Bytes::from(vector("header")["signed"].clone()),
        record: Some(message.clone()),
        peer: "xa.ncu".to_owned(),
        number: 1,
        ..Default::default()
    };
    let event = event::Event { at_ms: NOW.as_millis(), fact: Some(event::Fact::Arrived(arrived)) };
    vec![
        ("record", "message".to_owned(), tagged(0, &message)),
        ("record", "event".to_owned(), tagged(13, &event)),
    ]
}

fn texts() -> Vec<Seed> {
    let file = |target, name: &str, path: &str| {
        (target, name.to_owned(), fs::read(root().join(path)).unwrap())
    };
    let mut seeds = vec![
        file("config", "shipped", "config/relay.toml"),
        file("profile", "shipped", "config/profiles/budapest-247.toml"),
    ];
    let lists: [(&str, &[&str]); 3] = [
        (
            "id",
            &[
                "xa.ncu",
                "int.hub/a",
                "xb.ncu/log/1",
                "7F3K-22QD",
                "BAD_SIGNATURE",
                "0193c8a0-1c00-7abc-8def-0123456789ab",
            ],
        ),
        ("address", &["relay.example.org:7443", "[::1]:7443", "192.0.2.1:1", "en-GB", "sr-Latn"]),
        (
            "time",
            &["2026-03-02T08:15:00Z", "2026-03-02T10:15:00.250+02:00", "9999-12-31T23:59:59Z"],
        ),
    ];
    for (target, texts) in lists {
        let texts = texts.iter().enumerate();
        seeds.extend(texts.map(|(n, text)| (target, n.to_string(), text.as_bytes().to_vec())));
    }
    seeds
}
