//! What is signed: headers, cards, statements, checkpoints, successions, bundles.
//!
//! Random bytes never have a good signature, so what is inside is signed anew by a key of the
//! target: the parsers behind the signature are reached, too.

use std::sync::LazyLock;

use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey};
use prost::Message as _;
use relay_proto::{
    card::Card,
    envelope::{Header, clear_payload},
    evidence::{self, TrustAnchors},
    ids::{LogOrigin, UnitId},
    keys::PublicKey,
    limits, payload,
    receipt::{self, Statement},
    scan::{self, schema},
    signed::{Signable, Unsigned},
    succession::Succession,
    tlog::{
        Checkpoint, Note, SignedCheckpoint, TlogProof, VerifierKey, path_from_wire,
        verify_consistency, verify_inclusion,
    },
    v1,
};

/// The key that signs what random bytes cannot.
static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_bytes(&[2; 32]));

fn public() -> PublicKey {
    PublicKey::from_bytes(KEY.verifying_key().as_bytes()).expect("a good key")
}

fn signer(unit: &str) -> v1::Signer {
    let key_id = Bytes::copy_from_slice(public().id().as_bytes());
    v1::Signer { unit: unit.to_owned(), key_id, algorithm: v1::Algorithm::Ed25519.into(), epoch: 1 }
}

fn signed<T: Signable>(value: &T) -> v1::Signed {
    let unsigned = Unsigned::new(value, public().id());
    let signature = KEY.sign(unsigned.input()).to_bytes();
    unsigned.signed(signature)
}

/// A header and its payload: as they came, and with the header signed anew.
pub fn envelope(bytes: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(bytes);
    let taken: Result<v1::Envelope, _> =
        scan::decode(&bytes, &schema::ENVELOPE, limits::FRAME_BYTES_MAX);
    if let Ok(v1::Envelope { header: Some(header), .. }) = &taken {
        let _ = Header::stored(header);
    }
    let Ok(mut envelope) = v1::Envelope::decode(bytes) else { return false };
    let Some(inside) = &envelope.header else { return false };
    let Ok(mut header) = v1::Header::decode(inside.bytes.clone()) else { return false };
    header.signer = Some(signer(&header.from));
    if let Some(v1::envelope::Payload::Clear(clear)) = &envelope.payload {
        let digest = relay_proto::ids::Digest::of(clear);
        header.payload_digest = Bytes::copy_from_slice(digest.as_bytes());
    }
    envelope.header = Some(signed(&header));
    let find = |id| {
        let unit: UnitId = header.from.parse().ok()?;
        (id == public().id()).then_some((unit, public()))
    };
    let Some(signed) = &envelope.header else { return false };
    let Ok(opened) = Header::open(signed, find) else { return false };
    assert!(!opened.to.is_empty() && opened.to.len() <= limits::RECIPIENTS_MAX);
    assert!(opened.expires_at > opened.created_at);
    let Ok(clear) = clear_payload(&envelope, &opened) else { return false };
    let Ok(payload) = payload::open_clear(clear) else { return false };
    payload::check_inner(clear, &payload, &opened).is_ok()
}

/// A card's file: as it came, and signed anew under its own identity key.
pub fn card(bytes: &[u8]) -> bool {
    if let Ok(card) = Card::from_file(bytes) {
        assert_eq!(Card::to_file(card.signed()), bytes, "one spelling");
        return true;
    }
    let Ok(mut card) = v1::Card::decode(bytes) else { return false };
    card.identity_key.get_or_insert_default().public_key =
        Bytes::copy_from_slice(public().as_bytes());
    card.signer = Some(signer(&card.unit));
    let file = Card::to_file(&signed(&card));
    Card::from_file(&file).is_ok_and(|card| {
        assert!(card.nodes().iter().all(|node| node.id.unit() == card.unit()));
        assert!(card.logs().iter().all(|log| log.origin.unit == *card.unit()));
        true
    })
}

/// A receipt's statement.
pub fn statement(bytes: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(bytes);
    Statement::from_bytes(&bytes).is_ok_and(|statement| {
        assert_eq!(statement.bytes(), &bytes);
        let _ = (statement.known_reason(), statement.is_actor("A. Officer"), statement.leaf());
        true
    })
}

/// A note: as it came, and its text signed anew.
pub fn checkpoint(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let find = |_: &LogOrigin| Some(public());
    if let Ok(note) = text.parse::<Note>() {
        assert_eq!(note.to_string(), text, "one spelling");
    }
    let _ = SignedCheckpoint::open(text, find);
    let head = text.split_once("\n\n").map_or(text, |(head, _)| head).to_owned() + "\n";
    let Ok(checkpoint) = head.parse::<Checkpoint>() else { return false };
    let signature = KEY.sign(checkpoint.text().as_bytes()).to_bytes();
    let Ok(own) = checkpoint.finish(public(), signature) else { return false };
    let note = own.note().to_string();
    assert_eq!(SignedCheckpoint::open(&note, find).as_ref(), Ok(&own), "what we sign is taken");
    true
}

/// A receipt with its path, and a proof file.
pub fn proof(bytes: &[u8]) -> bool {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(proof) = text.parse::<TlogProof>()
    {
        assert_eq!(proof.to_string(), text, "one spelling");
        return true;
    }
    let bytes = Bytes::copy_from_slice(bytes);
    let one: Result<v1::Receipt, _> =
        scan::decode(&bytes, &schema::RECEIPT, limits::BUNDLE_BYTES_MAX);
    let Ok(one) = one else { return false };
    let Ok(path) = path_from_wire(&one.path, limits::CONSISTENCY_HASHES_MAX) else { return false };
    let leaf = receipt::leaf_hash(&one.statement);
    let text = one.checkpoint.split_once("\n\n").map_or("", |(head, _)| head).to_owned() + "\n";
    let Ok(checkpoint) = text.parse::<Checkpoint>() else { return false };
    let old = checkpoint.size / 2;
    let _ = verify_consistency(old, checkpoint.size, &path, &leaf, &checkpoint.root);
    verify_inclusion(one.index, checkpoint.size, &leaf, &path, &checkpoint.root).is_ok()
}

/// Where a log was given up and the next one began.
pub fn succession(bytes: &[u8]) -> bool {
    let Ok(mut raw) = v1::LogSuccession::decode(bytes) else { return false };
    let Ok(origin) = raw.old_origin.parse::<LogOrigin>() else { return false };
    raw.signer = Some(signer(origin.unit.as_str()));
    let find = |id| (id == public().id()).then_some((origin.unit.clone(), public()));
    Succession::open(&signed(&raw), find).is_ok_and(|one| {
        assert!(one.end() >= one.old.size, "claims only lengthen a log");
        let _ = (one.leaf_hash(), one.denies(one.old.size, &one.old.root));
        true
    })
}

/// An evidence bundle: read and verified, with nothing trusted and with its own cards trusted.
pub fn bundle(bytes: &[u8]) -> bool {
    let Ok(bundle) = evidence::parse(bytes) else { return false };
    assert_eq!(evidence::to_bytes(&bundle), bytes, "one spelling");
    let stranger = evidence::verify(&bundle, &TrustAnchors::default());
    assert_ne!(stranger.outcome, evidence::Outcome::Valid, "keys that come along prove nothing");
    let mut anchors = TrustAnchors::default();
    for card in bundle.cards.iter().filter_map(|signed| Card::open(signed).ok()) {
        for line in evidence::vkey_file(&card).lines() {
            let _ = line.parse::<VerifierKey>().map(|key| anchors.add_log(&key));
        }
        let _ = anchors.add_card(card);
    }
    let known = evidence::verify(&bundle, &anchors);
    for receipt in &bundle.receipts {
        let _ = evidence::tlog_proof_file(receipt);
    }
    known.outcome == evidence::Outcome::Valid
}
