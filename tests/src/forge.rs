//! Forgeries of an evidence bundle: what a verifier must refuse.

use std::collections::BTreeMap;

use bytes::Bytes;
use clap::ValueEnum;
use ed25519_dalek::{Signer as _, SigningKey};
use prost::Message as _;
use relay_proto::{
    ids::{Digest, LogOrigin},
    keys::PublicKey,
    receipt,
    signed::{Signable, Unsigned},
    tlog::{Checkpoint, MemoryTree, inclusion_proof},
    v1,
};

/// What is forged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Forgery {
    /// One bit of the header.
    Header,
    /// One bit of a statement.
    Statement,
    /// One bit of a hash of an inclusion proof.
    Inclusion,
    /// One bit of a checkpoint's signature.
    Checkpoint,
    /// Everything made anew and signed with other keys.
    OtherKeys,
    /// The proof of another message's receipt.
    OtherProof,
}

impl Forgery {
    /// Forges a bundle; `other` is of another message.
    pub fn apply(
        self,
        mut bundle: v1::EvidenceBundle,
        other: &v1::EvidenceBundle,
    ) -> v1::EvidenceBundle {
        match self {
            Self::Header => {
                let header = bundle.header.as_mut().expect("a bundle has a header");
                let mut bytes = header.bytes.to_vec();
                // Inside the message id: still a header that can be read.
                bytes.get_mut(MESSAGE_ID_BYTE).into_iter().for_each(|byte| *byte ^= 1);
                header.bytes = bytes.into();
            }
            Self::Statement => {
                let receipt = last(&mut bundle);
                receipt.statement = flip(&receipt.statement);
            }
            Self::Inclusion => {
                let receipt = bundle.receipts.iter_mut().rev().find(|one| !one.path.is_empty());
                let path = &mut receipt.expect("a log with more than one leaf").path;
                let hash = path.first_mut().expect("a path with a hash");
                *hash = flip(hash);
            }
            Self::Checkpoint => {
                let receipt = last(&mut bundle);
                receipt.checkpoint = flip_signature(&receipt.checkpoint);
            }
            Self::OtherKeys => return with_other_keys(&bundle),
            Self::OtherProof => {
                let proof = other.receipts.last().expect("the other bundle has a receipt").clone();
                let receipt = last(&mut bundle);
                receipt.index = proof.index;
                receipt.path = proof.path;
                receipt.checkpoint = proof.checkpoint;
            }
        }
        bundle
    }
}

fn last(bundle: &mut v1::EvidenceBundle) -> &mut v1::Receipt {
    bundle.receipts.last_mut().expect("a bundle has receipts")
}

/// Changes one bit in the middle.
fn flip(bytes: &Bytes) -> Bytes {
    let mut changed = bytes.to_vec();
    let middle = changed.len() / 2;
    if let Some(byte) = changed.get_mut(middle) {
        *byte ^= 1;
    }
    changed.into()
}

/// Changes one bit of the last signature line's base64, leaving it well-formed.
fn flip_signature(note: &str) -> String {
    let mut lines: Vec<String> = note.lines().map(str::to_owned).collect();
    let line = lines.last_mut().expect("a note has a signature");
    let (start, base64) = line.rsplit_once(' ').expect("a signature line has three parts");
    let mut raw = data_encoding::BASE64.decode(base64.as_bytes()).expect("base64");
    if let Some(byte) = raw.last_mut() {
        *byte ^= 1;
    }
    *line = format!("{start} {}", data_encoding::BASE64.encode(&raw));
    lines.join("\n") + "\n"
}

/// Anybody can make keys, cards, receipts and a bundle: all of it verifies, under keys that nobody
/// knows.
fn with_other_keys(bundle: &v1::EvidenceBundle) -> v1::EvidenceBundle {
    let mut units = BTreeMap::new();
    let mut cards = Vec::new();
    for (number, signed) in (1u8..).zip(&bundle.cards) {
        let card = v1::Card::decode(signed.bytes.clone()).expect("a card");
        let keys = Keys::new(number);
        cards.push(keys.card(card.clone()));
        units.insert(card.unit.clone(), keys);
    }
    let signed = bundle.header.as_ref().expect("a bundle has a header");
    let mut header = v1::Header::decode(signed.bytes.clone()).expect("a header");
    let sender = units.get(&header.from).expect("the sender's card");
    header.signer = Some(signer(&header.from, &sender.signing));
    let header = sign(&header, &sender.signing);
    let digest = Digest::of(&header.bytes);
    let mut logs: BTreeMap<String, Vec<Bytes>> = BTreeMap::new();
    let mut places = Vec::new();
    for receipt in &bundle.receipts {
        let mut statement = v1::Statement::decode(receipt.statement.clone()).expect("a statement");
        statement.header_digest = Bytes::copy_from_slice(digest.as_bytes());
        let leaves = logs.entry(statement.issuer_unit.clone()).or_default();
        places.push((statement.issuer_unit.clone(), leaves.len(), receipt.actor.clone()));
        leaves.push(statement.encode_to_vec().into());
    }
    let receipts = places.into_iter().map(|(unit, index, actor)| {
        let keys = units.get(&unit).expect("the issuer's card");
        keys.receipt(&unit, logs.get(&unit).expect("the issuer's leaves"), index, actor)
    });
    v1::EvidenceBundle {
        header: Some(header),
        receipts: receipts.collect(),
        cards,
        ..bundle.clone()
    }
}

struct Keys {
    identity: SigningKey,
    signing: SigningKey,
    log: SigningKey,
    transport: SigningKey,
}

impl Keys {
    fn new(number: u8) -> Self {
        let key = |kind: u8| SigningKey::from_bytes(&[number.wrapping_mul(16) + kind; 32]);
        Self { identity: key(1), signing: key(2), log: key(3), transport: key(4) }
    }

    fn card(&self, mut card: v1::Card) -> v1::Signed {
        let set = |key: &mut v1::PublicKey, with: &SigningKey| {
            key.public_key = Bytes::copy_from_slice(with.verifying_key().as_bytes());
        };
        card.identity_key.iter_mut().for_each(|key| set(key, &self.identity));
        card.keys.retain(|key| key.kind() == v1::KeyKind::Signing);
        card.keys.iter_mut().for_each(|key| set(key, &self.signing));
        card.logs.iter_mut().flat_map(|log| &mut log.key).for_each(|key| set(key, &self.log));
        let nodes = card.nodes.iter_mut().flat_map(|node| &mut node.transport_keys);
        nodes.for_each(|key| set(key, &self.transport));
        card.signer = Some(signer(&card.unit, &self.identity));
        sign(&card, &self.identity)
    }

    fn receipt(&self, unit: &str, leaves: &[Bytes], index: usize, actor: String) -> v1::Receipt {
        let mut tree = MemoryTree::new();
        for leaf in leaves {
            tree.append(receipt::leaf_hash(leaf));
        }
        let origin: LogOrigin = format!("{unit}/log/1").parse().expect("an origin");
        let checkpoint = Checkpoint { origin, size: tree.size(), root: tree.root() };
        let signature = self.log.sign(checkpoint.text().as_bytes()).to_bytes();
        let size = checkpoint.size;
        let signed = checkpoint.finish(public(&self.log), signature).expect("own signature");
        let place = u64::try_from(index).expect("a small index");
        let path = inclusion_proof(place, size, &tree).expect("a leaf of the tree");
        v1::Receipt {
            statement: leaves.get(index).expect("a leaf of the list").clone(),
            index: place,
            path: path.iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect(),
            checkpoint: signed.note().to_string(),
            actor,
        }
    }
}

pub(crate) fn public(key: &SigningKey) -> PublicKey {
    PublicKey::from_bytes(key.verifying_key().as_bytes()).expect("a good key")
}

pub(crate) fn signer(unit: &str, key: &SigningKey) -> v1::Signer {
    v1::Signer {
        unit: unit.to_owned(),
        key_id: Bytes::copy_from_slice(public(key).id().as_bytes()),
        algorithm: v1::Algorithm::Ed25519.into(),
        epoch: 1,
    }
}

pub(crate) fn sign<T: Signable>(value: &T, key: &SigningKey) -> v1::Signed {
    let unsigned = Unsigned::new(value, public(key).id());
    let signature = key.sign(unsigned.input()).to_bytes();
    unsigned.signed(signature)
}

/// Version (two bytes), tag and length of the message id, then its bytes.
const MESSAGE_ID_BYTE: usize = 16;
