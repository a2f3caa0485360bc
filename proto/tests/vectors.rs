//! Golden vectors: every signed object from fixed seeds, byte for byte as it stands in
//! `tests/vectors`.
//!
//! A difference is a change of the wire format, which needs a new version. `RELAY_WRITE_VECTORS=1`
//! writes the files anew. Another implementation can check itself against them: each line is `name:
//! hex`. `tests/foreign` does so with the three files of `foreign/`, apart from this test, which
//! needs nothing but Rust.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use ed25519_dalek::{Signer as _, SigningKey};
use prost::Message as _;

use relay_proto::{
    card::Card,
    envelope::{Header, NewHeader, Priority},
    evidence::{self, Outcome, TrustAnchors},
    ids::{Digest, MessageId, NodeId, UnitId},
    keys::PublicKey,
    payload::clear_bytes,
    receipt::{Event, NewStatement, Statement},
    signed::{self, Signable, SignedError, Unsigned},
    succession::Succession,
    timestamp::Timestamp,
    tlog::{
        Checkpoint, MemoryTree, SignedCheckpoint, TlogProof, VerifierKey, inclusion_proof,
        leaf_hash,
    },
    v1,
};

/// Sender XA has identity key 1, signing key 2, log key 3, transport key 4; recipient XB has 11 to
/// 14.
const XA: (&str, u8) = ("xa.ncu", 1);
const XB: (&str, u8) = ("xb.ncu", 11);
const AT: u64 = 1_772_438_400_000;

/// The files as they are now equal those that this code makes.
#[test]
fn vectors_have_not_drifted() {
    let made = all();
    let folder = folder();
    if env::var_os("RELAY_WRITE_VECTORS").is_some() {
        fs::create_dir_all(folder.join("foreign")).unwrap();
        for (name, content) in &made {
            fs::write(folder.join(name), content).unwrap();
        }
    }
    for (name, content) in &made {
        let stored = fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(stored == *content, "{name} differs: the format changed");
    }
    let stored = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    for name in stored.map(|name| name.into_string().unwrap()).filter(|n| n.ends_with(".hex")) {
        assert!(made.contains_key(&name), "{name} is made by nothing");
    }
}

/// What the files hold opens; the slots for later algorithms are read and refused.
#[test]
fn stored_vectors_open() {
    let (signing, key) = pair(XA.1 + 1);
    let find = |_| Some((XA.0.parse::<UnitId>().unwrap(), key));
    let signed = |name: &str| v1::Signed::decode(field(name, "signed")).unwrap();

    let header = Header::open(&signed("header.hex"), find).unwrap();
    assert_eq!(header.digest.as_bytes()[..], field("header.hex", "digest")[..]);
    assert_eq!(header.payload_digest, Digest::of(&field("header.hex", "payload")));
    let input = field("header.hex", "input");
    assert_eq!(signing.sign(&input).to_bytes()[..], field("header.hex", "signature")[..]);

    assert_eq!(Card::open(&signed("card.hex")).unwrap().unit().as_str(), XB.0);
    assert!(
        signed::open::<v1::Deferral>(&signed("deferral.hex"), |_| {
            Some((XB.0.parse().unwrap(), pair(XB.1 + 1).1))
        })
        .is_ok()
    );

    let key = |_| Some((XB.0.parse().unwrap(), pair(XB.1 + 1).1));
    let succession = Succession::open(&signed("succession.hex"), key).unwrap();
    assert_eq!(succession.leaf()[..], field("succession.hex", "leaf")[..]);
    assert_eq!((succession.old.size, succession.end()), (100, 120));

    let statement = Statement::from_bytes(&field("statement.hex", "bytes")).unwrap();
    assert_eq!(statement.leaf()[..], field("statement.hex", "leaf")[..]);
    assert_eq!(statement.leaf_hash().as_bytes()[..], field("statement.hex", "leaf_hash")[..]);
    assert!(statement.is_actor("A. Officer"));

    let log_key = pair(XB.1 + 2).1;
    let note = String::from_utf8(field("checkpoint.hex", "note").to_vec()).unwrap();
    SignedCheckpoint::open(&note, |_| Some(log_key)).unwrap();
    let proof = String::from_utf8(field("tlog-proof.hex", "file").to_vec()).unwrap();
    let proof: TlogProof = proof.parse().unwrap();
    assert_eq!(proof.checkpoint.to_string(), note);

    for slot in ["signed_batch", "signed_with_ml_dsa_44"] {
        let reserved = v1::Signed::decode(field("slots.hex", slot)).unwrap();
        let refused = signed::open::<v1::Header>(&reserved, find).unwrap_err();
        assert_eq!(refused, SignedError::UnsupportedAlgorithm, "{slot}");
    }

    let bundle = evidence::parse(&field("evidence.hex", "file")).unwrap();
    let mut trust = TrustAnchors::default();
    for (unit, seed) in [XA, XB] {
        trust.add_identity(unit.parse().unwrap(), pair(seed).1.id()).unwrap();
    }
    let verdict = evidence::verify(&bundle, &trust);
    assert_eq!((verdict.outcome, verdict.problems.len()), (Outcome::Valid, 0));
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors")
}

/// One value of a stored file.
fn field(file: &str, name: &str) -> Bytes {
    let text = fs::read_to_string(folder().join(file)).unwrap();
    let prefix = format!("{name}: ");
    let hex = text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap();
    HEXLOWER.decode(hex.as_bytes()).unwrap().into()
}

fn all() -> BTreeMap<String, Vec<u8>> {
    let (header, payload) = header();
    let card = card(XB);
    let statement = statement(&header);
    let (index, path, checkpoint) = logged(&statement);
    let receipt = v1::Receipt {
        statement: statement.bytes().clone(),
        index,
        path: path.iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect(),
        checkpoint: checkpoint.to_string(),
        actor: "A. Officer".to_owned(),
    };
    let bundle = v1::EvidenceBundle {
        header: Some(header.signed.clone()),
        payload: self::payload(),
        receipts: vec![receipt.clone()],
        cards: vec![self::card(XA).signed().clone(), card.signed().clone()],
        directory: Bytes::new(),
        exported_at_ms: AT + 60_000,
    };
    let vkey = VerifierKey::new(format!("{}/log/1", XB.0), pair(XB.1 + 2).1).unwrap();
    let proof = evidence::tlog_proof_file(&receipt).unwrap();
    let key = PublicKey::from_bytes(pair(XA.1 + 1).1.as_bytes()).unwrap();
    let text = |checkpoint: &SignedCheckpoint| checkpoint.checkpoint().text().into_bytes();
    let hex = [
        ("header.hex", [signed_object::<v1::Header>(&header.signed, XA.1 + 1), payload].concat()),
        ("card.hex", signed_object::<v1::Card>(card.signed(), XB.1)),
        ("succession.hex", succession()),
        ("deferral.hex", signed_object::<v1::Deferral>(&deferral(&header), XB.1 + 1)),
        (
            "statement.hex",
            vec![
                ("bytes", statement.bytes().to_vec()),
                ("leaf", statement.leaf()),
                ("leaf_hash", statement.leaf_hash().as_bytes().to_vec()),
                ("actor", receipt.actor.clone().into_bytes()),
            ],
        ),
        (
            "checkpoint.hex",
            vec![
                ("seed", vec![XB.1 + 2; 32]),
                ("vkey", vkey.to_string().into_bytes()),
                ("text", text(&checkpoint)),
                ("note", checkpoint.to_string().into_bytes()),
            ],
        ),
        ("tlog-proof.hex", vec![("file", proof.clone().into_bytes())]),
        ("slots.hex", slots(&header.signed)),
        ("evidence.hex", vec![("file", evidence::to_bytes(&bundle))]),
        (
            "key.hex",
            vec![
                ("seed", vec![XA.1 + 1; 32]),
                ("public_key", key.as_bytes().to_vec()),
                ("key_id", key.id().as_bytes().to_vec()),
                ("spki", key.spki().to_vec()),
            ],
        ),
    ];
    let mut files: BTreeMap<String, Vec<u8>> =
        hex.into_iter().map(|(name, fields)| (name.to_owned(), lines(&fields))).collect();
    let stem = format!("foreign/{}", evidence::receipt_file_stem(2, statement.event));
    files.insert(format!("{stem}.leaf"), evidence::leaf_file(&receipt));
    files.insert(format!("{stem}.tlog-proof"), proof.into_bytes());
    files.insert("foreign/xb.ncu.vkey".to_owned(), evidence::vkey_file(&card).into_bytes());
    files
}

type Fields = Vec<(&'static str, Vec<u8>)>;

fn lines(fields: &Fields) -> Vec<u8> {
    let mut text = String::new();
    for (name, value) in fields {
        writeln!(text, "{name}: {}", HEXLOWER.encode(value)).unwrap();
    }
    text.into_bytes()
}

fn pair(seed: u8) -> (SigningKey, PublicKey) {
    let signing = SigningKey::from_bytes(&[seed; 32]);
    let public = PublicKey::from_bytes(signing.verifying_key().as_bytes()).unwrap();
    (signing, public)
}

fn sign(unsigned: Unsigned, seed: u8) -> v1::Signed {
    let signature = pair(seed).0.sign(unsigned.input()).to_bytes();
    unsigned.signed(signature)
}

fn signed_object<T: Signable>(signed: &v1::Signed, seed: u8) -> Fields {
    let Some(v1::signed::Signature::Ed25519(signature)) = &signed.signature else {
        panic!("not signed with Ed25519");
    };
    vec![
        ("seed", vec![seed; 32]),
        ("tag", T::TAG.as_bytes().to_vec()),
        ("bytes", signed.bytes.to_vec()),
        ("digest", Digest::of(&signed.bytes).as_bytes().to_vec()),
        ("input", signed::signature_input(T::TAG, &signed.bytes)),
        ("signature", signature.to_vec()),
        ("signed", signed.encode_to_vec()),
    ]
}

fn message_id() -> MessageId {
    MessageId::new(Timestamp::from_millis(AT), [7; 10])
}

/// The payload as it travels. Its inner copy is the header's; content it has none.
fn payload() -> Bytes {
    let payload = v1::Payload {
        from: XA.0.to_owned(),
        to: vec![XB.0.to_owned(), "xc.ncu".to_owned()],
        message_id: Bytes::copy_from_slice(message_id().as_bytes()),
        ..Default::default()
    };
    clear_bytes([8; 32], &payload)
}

fn header() -> (Header, Fields) {
    let (from, key) = (XA.0.parse().unwrap(), pair(XA.1 + 1).1);
    let unsigned = NewHeader {
        attachments: None,
        message_id: message_id(),
        from: &from,
        to: &[XB.0.parse().unwrap(), "xc.ncu".parse().unwrap()],
        profile: "budapest-247",
        priority: Priority::Urgent,
        created_at: Timestamp::from_millis(AT),
        expires_at: Timestamp::from_millis(AT + 3_600_000),
        payload: &payload(),
        key_id: key.id(),
        epoch: 1,
    }
    .unsigned();
    let signed = sign(unsigned, XA.1 + 1);
    let header = Header::open(&signed, |_| Some((from.clone(), key))).unwrap();
    (header, vec![("payload", payload().to_vec())])
}

fn signer(unit: &str, seed: u8) -> v1::Signer {
    v1::Signer {
        unit: unit.to_owned(),
        key_id: Bytes::copy_from_slice(pair(seed).1.id().as_bytes()),
        algorithm: v1::Algorithm::Ed25519.into(),
        epoch: 1,
    }
}

fn card((unit, seed): (&str, u8)) -> Card {
    let key = |kind: v1::KeyKind, seed: u8| v1::PublicKey {
        kind: kind.into(),
        algorithm: v1::Algorithm::Ed25519.into(),
        epoch: 1,
        public_key: Bytes::copy_from_slice(pair(seed).1.as_bytes()),
        not_before_ms: AT - 86_400_000,
        not_after_ms: AT + 365 * 86_400_000,
        status: v1::KeyStatus::Active.into(),
        ..Default::default()
    };
    let card = v1::Card {
        version: 1,
        unit: unit.to_owned(),
        number: 3,
        issued_at_ms: AT - 3_600_000,
        names: vec![v1::CardName { language: "en".into(), name: format!("Unit {unit}") }],
        phone_24x7: "+1-202-555-0143".into(),
        languages: vec!["en".into(), "fr".into()],
        office_hours: "Mon-Fri 08:00-16:00".into(),
        time_zone: "Europe/Bucharest".into(),
        identity_key: Some(key(v1::KeyKind::Identity, seed)),
        keys: vec![key(v1::KeyKind::Signing, seed + 1)],
        logs: vec![v1::CardLog {
            origin: format!("{unit}/log/1"),
            key: Some(key(v1::KeyKind::Log, seed + 2)),
            state: v1::LogState::Open.into(),
            ..Default::default()
        }],
        nodes: vec![v1::CardNode {
            name: "a".into(),
            addresses: vec!["relay.example:7443".into()],
            transport_keys: vec![key(v1::KeyKind::Transport, seed + 3)],
        }],
        payload_minor: 1,
        signer: Some(signer(unit, seed)),
        parties: vec![v1::Treaty::Budapest.into(), v1::Treaty::SecondProtocol.into()],
        reservations: Some(v1::Reservations { art29_4: true, ..Default::default() }),
        preservation_days: Some(v1::PreservationDays { min: 60, usual: 90, max: 180 }),
        max_classification: v1::Classification::Bpl.into(),
        takes_exercises: true,
        ..Default::default()
    };
    Card::open(&sign(Unsigned::new(&card, pair(seed).1.id()), seed)).unwrap()
}

fn deferral(header: &Header) -> v1::Signed {
    let deferral = v1::Deferral {
        unit: XB.0.into(),
        peer: XA.0.into(),
        header_digest: Bytes::copy_from_slice(header.digest.as_bytes()),
        reason: "QUOTA".into(),
        issued_at_ms: AT + 500,
        not_before_ms: AT + 60_500,
        signer: Some(signer(XB.0, XB.1 + 1)),
    };
    sign(Unsigned::new(&deferral, pair(XB.1 + 1).1.id()), XB.1 + 1)
}

fn statement(header: &Header) -> Statement {
    let unit: UnitId = XB.0.parse().unwrap();
    let node = NodeId::new(unit.clone(), "a").unwrap();
    let clock = v1::Clock {
        state: v1::ClockState::Synced.into(),
        source: v1::ClockSource::Kernel.into(),
        uncertainty_ms: 20,
    };
    let at = Timestamp::from_millis(AT + 250);
    let mut new = NewStatement::about(header, Event::ContentHandover, &node, at, clock, [0x5a; 16]);
    new.recipient = Some(&unit);
    new.actor = Some("A. Officer");
    new.software = "relay/0.1.0";
    new.flags = &[v1::StatementFlag::DirectoryStale];
    new.build().unwrap()
}

/// The statement as leaf 5 of a log of 7; the other leaves are single bytes.
fn logged(statement: &Statement) -> (u64, Vec<Digest>, SignedCheckpoint) {
    let mut tree = MemoryTree::new();
    for n in 0..5u8 {
        tree.append(leaf_hash(&[n]));
    }
    let index = tree.append(statement.leaf_hash());
    tree.append(leaf_hash(&[6]));
    let path = inclusion_proof(index, tree.size(), &tree).unwrap();
    let origin = statement.issuer.log_origin(1);
    let checkpoint = Checkpoint { origin, size: tree.size(), root: tree.root() };
    let (signing, key) = pair(XB.1 + 2);
    let signature = signing.sign(checkpoint.text().as_bytes()).to_bytes();
    (index, path, checkpoint.finish(key, signature).unwrap())
}

/// The succession of XB's log 1, and the first leaf of log 2.
fn succession() -> Fields {
    let raw = v1::LogSuccession {
        version: 1,
        old_origin: format!("{}/log/1", XB.0),
        old_size: 100,
        old_root: Bytes::from_static(&[0x11; 32]),
        claims: vec![v1::LogClaim {
            peer: XA.0.into(),
            size: 120,
            root: Bytes::from_static(&[0x22; 32]),
        }],
        new_origin: format!("{}/log/2", XB.0),
        new_key_id: Bytes::copy_from_slice(pair(XB.1 + 4).1.id().as_bytes()),
        reason: "restored from the backup of the night".into(),
        at_ms: AT + 3_600_000,
        signer: Some(signer(XB.0, XB.1 + 1)),
        extensions: Vec::new(),
    };
    let signed = sign(Unsigned::new(&raw, pair(XB.1 + 1).1.id()), XB.1 + 1);
    let key = pair(XB.1 + 1).1;
    let checked = Succession::open(&signed, |_| Some((XB.0.parse().unwrap(), key))).unwrap();
    let mut fields = signed_object::<v1::LogSuccession>(&signed, XB.1 + 1);
    fields.push(("leaf", checked.leaf()));
    fields.push(("leaf_hash", checked.leaf_hash().as_bytes().to_vec()));
    fields
}

/// Reserved places of `Signed`: how they are written, although no version 1 node takes them.
fn slots(header: &v1::Signed) -> Fields {
    let batch = v1::BatchSignature {
        root: Bytes::from_static(&[0xaa; 32]),
        tree_size: 4,
        index: 2,
        path: vec![Bytes::from_static(&[0xbb; 32]), Bytes::from_static(&[0xcc; 32])],
        ed25519: Bytes::from_static(&[0xdd; 64]),
    };
    let batched = v1::Signed {
        signature: Some(v1::signed::Signature::Batch(batch.clone())),
        ..header.clone()
    };
    let beside = v1::Signed { ml_dsa_44: Bytes::from_static(&[0xee; 2420]), ..header.clone() };
    vec![
        ("batch", batch.encode_to_vec()),
        ("signed_batch", batched.encode_to_vec()),
        ("signed_with_ml_dsa_44", beside.encode_to_vec()),
    ]
}
