//! Bundles of a small test federation, whole and broken.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod cards;
mod doubt;

use bytes::Bytes;
use prost::Message as _;

use super::*;
use crate::{
    card::Card,
    evidence::{BundleError, leaf_file, parse, receipt_file_stem, tlog_proof_file, to_bytes},
    evidence::{vkey_file, vkey_line},
    receipt::{
        Event,
        fixture::{Unit, open_card, payload, raw_card, sign_checkpoint},
    },
    signed::tests::{key, sign},
    tlog::{MemoryTree, TlogProof, VerifierKey, inclusion_proof, leaf_hash, path_to_wire},
};

struct World {
    xa: Unit,
    xb: Unit,
    header: Header,
    bundle: v1::EvidenceBundle,
}

/// XA wrote to XB, whose node took it and whose officer confirmed; other leaves stand between.
fn world() -> World {
    world_with("xa.ncu", 1, "xb.ncu", 11)
}

fn world_with(sender: &str, sender_seed: u8, recipient: &str, recipient_seed: u8) -> World {
    let mut xa = Unit::new(sender, sender_seed);
    let mut xb = Unit::new(recipient, recipient_seed);
    let header = xa.header(&[&xb]);
    let submitted = xa.states(Event::SubmissionAcceptance, &header, &xb);
    let consigned = xb.states(Event::ContentConsignment, &header, &xb);
    let mut accepted = xb.new_statement(Event::ConsignmentAcceptance, &header, &xb);
    accepted.actor = Some("A. Officer");
    let accepted = accepted.build().unwrap();
    let mut receipts = vec![xa.receipt(&submitted)];
    for n in 0..5u8 {
        xb.log.append(leaf_hash(&[n]));
    }
    receipts.push(xb.receipt(&consigned));
    xb.log.append(leaf_hash(b"another"));
    let mut receipt = xb.receipt(&accepted);
    receipt.actor = "A. Officer".to_owned();
    receipts.push(receipt);
    let bundle = v1::EvidenceBundle {
        header: Some(header.signed.clone()),
        payload: payload(&header.from, &header.to, &header.message_id),
        receipts,
        cards: vec![xa.card.signed().clone(), xb.card.signed().clone()],
        directory: Bytes::new(),
        exported_at_ms: 0,
    };
    World { xa, xb, header, bundle }
}

impl World {
    fn trust(&self) -> TrustAnchors {
        let mut trust = TrustAnchors::default();
        trust.add_identity(self.xa.id.clone(), self.xa.card.identity().id()).unwrap();
        trust.add_identity(self.xb.id.clone(), self.xb.card.identity().id()).unwrap();
        trust
    }
}

fn reasons(verdict: &Verdict) -> Vec<Reason> {
    verdict.problems.iter().map(|problem| problem.reason).collect()
}

fn trust_cards(cards: &[&Card]) -> TrustAnchors {
    let mut trust = TrustAnchors::default();
    cards.iter().for_each(|card| trust.add_card((*card).clone()).unwrap());
    trust
}

/// VALID with both units anchored, and everything that a person wants to know is in the verdict.
#[test]
fn a_whole_bundle_is_valid() {
    let w = world();
    let verdict = verify(&w.bundle, &w.trust());
    assert_eq!(verdict.problems, []);
    assert_eq!(verdict.outcome, Outcome::Valid);
    assert_eq!(verdict.message_id, Some(w.header.message_id));
    assert_eq!(verdict.header_digest, Some(w.header.digest));
    assert_eq!((verdict.from.as_ref(), &verdict.to[..]), (Some(&w.xa.id), &[w.xb.id.clone()][..]));
    assert!(verdict.payload_matches && verdict.unanchored.is_empty());
    assert_eq!(verdict.anchored_by.len(), 2);
    let ladder: Vec<_> = verdict.ladder.iter().map(|line| (line.event, line.index)).collect();
    let want = [
        (Event::SubmissionAcceptance, 0),
        (Event::ContentConsignment, 5),
        (Event::ConsignmentAcceptance, 7),
    ];
    assert_eq!(ladder, want);
    assert_eq!(verdict.ladder[2].actor.as_deref(), Some("A. Officer"));
    assert_eq!(verdict.ladder[2].size, Some(8));
    assert!(verdict.ladder.iter().all(|line| line.verified));

    // After the name and the payload were erased it is as valid as before.
    let mut erased = w.bundle.clone();
    erased.receipts[2].actor.clear();
    erased.payload = Bytes::new();
    let verdict = verify(&erased, &w.trust());
    assert_eq!(verdict.outcome, Outcome::Valid);
    assert!(!verdict.payload_matches && verdict.ladder[2].actor.is_none());
    // Cards that the verifier holds itself need not be in the bundle.
    erased.cards.clear();
    assert_eq!(verify(&erased, &w.trust()).outcome, Outcome::Invalid);
    let cards = trust_cards(&[&w.xa.card, &w.xb.card]);
    assert_eq!(verify(&erased, &cards).outcome, Outcome::Valid);
}

/// Without an anchor for every unit that speaks, the answer is not VALID and names the keys to
/// compare.
#[test]
fn without_anchors_it_is_only_consistent() {
    let w = world();
    let verdict = verify(&w.bundle, &TrustAnchors::default());
    assert_eq!(verdict.outcome, Outcome::Consistent);
    assert_eq!(verdict.problems, []);
    assert!(verdict.anchored_by.is_empty());
    assert_eq!(verdict.unanchored.get(&w.xb.id), Some(&Some(key(11).1.id())));
    for (known, unknown) in [(&w.xa, &w.xb), (&w.xb, &w.xa)] {
        let verdict = verify(&w.bundle, &trust_cards(&[&known.card]));
        assert_eq!(verdict.outcome, Outcome::Consistent);
        assert_eq!(verdict.unanchored.keys().collect::<Vec<_>>(), [&unknown.id]);
    }
    // Trust in somebody else altogether does not help.
    let stranger = Unit::new("xz.ncu", 51);
    let verdict = verify(&w.bundle, &trust_cards(&[&stranger.card]));
    assert_eq!(verdict.outcome, Outcome::Consistent);
}

/// Somebody makes all keys anew under the same names: consistent in itself, invalid to whoever
/// knows better.
#[test]
fn bundle_with_own_keys_is_not_valid() {
    let (real, forged) = (world(), world_with("xa.ncu", 101, "xb.ncu", 111));
    let blind = verify(&forged.bundle, &TrustAnchors::default());
    assert_eq!(blind.outcome, Outcome::Consistent);
    let verdict = verify(&forged.bundle, &real.trust());
    assert_eq!(verdict.outcome, Outcome::Invalid);
    assert!(reasons(&verdict).contains(&Reason::BadCard));
    assert!(verdict.ladder.iter().all(|line| !line.verified));
    // Nor with the real cards beside the forged ones, or in their place.
    let mut mixed = forged.bundle.clone();
    mixed.cards.extend(real.bundle.cards.clone());
    assert_eq!(verify(&mixed, &real.trust()).outcome, Outcome::Invalid);
    assert_eq!(verify(&mixed, &TrustAnchors::default()).outcome, Outcome::Invalid);
    mixed.cards = real.bundle.cards.clone();
    assert_eq!(verify(&mixed, &real.trust()).outcome, Outcome::Invalid);
    let cards = trust_cards(&[&real.xa.card, &real.xb.card]);
    assert_eq!(verify(&forged.bundle, &cards).outcome, Outcome::Invalid);
}

/// An anchored unit signs a card in another unit's name: its key is an anchor for itself only.
#[test]
fn an_anchor_speaks_for_its_own_unit_only() {
    let w = world();
    // A card that says "xb.ncu", all keys XA's own, signed by XA's identity key.
    let mut smuggled = raw_card("xb.ncu", 1);
    smuggled.keys.clear();
    smuggled.logs[0].key = raw_card("xb.ncu", 61).logs[0].key.clone();
    let smuggled = open_card(&smuggled, 1);
    let mut bundle = w.bundle.clone();
    let mut fake = Unit::new("xb.ncu", 61);
    bundle.receipts[1] = fake.receipt(&fake.states(Event::ContentConsignment, &w.header, &w.xb));
    bundle.receipts.truncate(2);
    bundle.cards = vec![w.xa.card.signed().clone(), smuggled.signed().clone()];
    let verdict = verify(&bundle, &trust_cards(&[&w.xa.card]));
    assert_eq!(verdict.outcome, Outcome::Consistent);
    assert!(verdict.unanchored.contains_key(&w.xb.id));
    let verdict = verify(&bundle, &w.trust());
    assert_eq!(verdict.outcome, Outcome::Invalid);
    assert!(reasons(&verdict).contains(&Reason::BadCard));
}

/// The file with any one bit changed, cut anywhere or lengthened: it does not open, or it is not
/// VALID.
#[test]
fn no_bit_may_change() {
    let w = world();
    let trust = w.trust();
    let file = to_bytes(&w.bundle);
    assert_eq!(parse(&file).unwrap(), w.bundle);
    for position in 0..file.len() {
        let mut changed = file.clone();
        changed[position] ^= 1 << (position % 8);
        let valid = parse(&changed).is_ok_and(|b| verify(&b, &trust).outcome == Outcome::Valid);
        assert!(!valid, "byte {position} may be changed");
    }
    for cut in (0..file.len()).step_by(7) {
        let valid = parse(&file[..cut]).is_ok_and(|b| verify(&b, &trust).outcome == Outcome::Valid);
        assert!(!valid, "may be cut at {cut}");
    }
    assert!(parse(&[&file[..], b"\0"].concat()).is_err());
    assert_eq!(parse(b"relay-card/v1\n").unwrap_err(), BundleError::NotABundle);
    let reserved = v1::EvidenceBundle { directory: Bytes::from_static(b"x"), ..w.bundle };
    assert_eq!(parse(&to_bytes(&reserved)).unwrap_err(), BundleError::Reserved);
}

type Break = fn(&World, &mut v1::EvidenceBundle);

fn flip(bytes: &Bytes, position: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[position] ^= 1;
    bytes.into()
}

/// What was changed is named with its reason and place.
#[test]
fn each_break_is_named() {
    let table: [(Reason, &str, Break); 12] = [
        (Reason::Malformed, "header", |_, b| b.header = None),
        (Reason::BadSignature, "header", |_, b| {
            let header = b.header.as_mut().unwrap();
            header.bytes = flip(&header.bytes, 10);
        }),
        (Reason::UnknownKey, "header", |w, b| {
            // The same header under a key of nobody.
            b.header = Some(w.xa.header_with(&[&w.xb], 1, 77).signed);
        }),
        (Reason::UnknownSender, "header", |_, b| drop(b.cards.remove(0))),
        (Reason::PayloadMismatch, "payload", |_, b| b.payload = flip(&b.payload, 3)),
        (Reason::BadInclusion, "receipt 2", |_, b| {
            b.receipts[1].path[1] = flip(&b.receipts[1].path[1], 0);
        }),
        (Reason::BadInclusion, "receipt 2", |_, b| b.receipts[1].index = 4),
        (Reason::BadInclusion, "receipt 2", |_, b| {
            let statement = v1::Statement::decode(b.receipts[1].statement.clone()).unwrap();
            let later = v1::Statement { event_time_ms: statement.event_time_ms + 1, ..statement };
            b.receipts[1].statement = later.encode_to_vec().into();
        }),
        (Reason::BadSignature, "receipt 3", |_, b| {
            b.receipts[2].checkpoint = b.receipts[2].checkpoint.replacen("\n8\n", "\n9\n", 1);
        }),
        (Reason::UnknownLog, "receipt 2", |w, b| {
            // The checkpoint re-signed with a key that is not the log's.
            let checkpoint = w.xb.checkpoint_at(6).checkpoint().clone();
            b.receipts[1].checkpoint = sign_checkpoint(checkpoint, 99).to_string();
        }),
        (Reason::InvalidContent, "receipt 3", |_, b| b.receipts[2].actor = "B. Officer".into()),
        (Reason::InvalidContent, "receipt 2", |_, b| b.receipts[1].actor = "B. Officer".into()),
    ];
    for (number, (reason, place, break_it)) in table.into_iter().enumerate() {
        let w = world();
        let mut bundle = w.bundle.clone();
        break_it(&w, &mut bundle);
        let verdict = verify(&bundle, &w.trust());
        assert_eq!(verdict.outcome, Outcome::Invalid, "row {number}");
        let named = |p: &Problem| p.reason == reason && p.place == place;
        assert!(verdict.problems.iter().any(named), "row {number}: {:?}", verdict.problems);
    }
}

/// All problems are told, not only the first.
#[test]
fn every_problem_is_told() {
    let w = world();
    let mut bundle = w.bundle.clone();
    bundle.payload = Bytes::from_static(b"other");
    bundle.receipts[0].index = 9;
    bundle.receipts[1].statement = Bytes::from_static(b"x");
    bundle.receipts[2].checkpoint = "no note".to_owned();
    let got = reasons(&verify(&bundle, &w.trust()));
    let want =
        [Reason::PayloadMismatch, Reason::BadInclusion, Reason::Malformed, Reason::Malformed];
    assert_eq!(got, want);
}

/// A receipt with a good proof about another message, or by a unit that may not say it, is refused.
#[test]
fn receipts_of_other_messages_and_wrong_roles() {
    let mut w = world();
    let other = w.xa.header_with(&[&w.xb], 2, 2);
    let statement = w.xb.states(Event::ContentConsignment, &other, &w.xb);
    let mut bundle = w.bundle.clone();
    bundle.receipts = vec![w.xb.receipt(&statement)];
    let verdict = verify(&bundle, &w.trust());
    assert_eq!(reasons(&verdict), [Reason::UnknownMessage]);
    assert_eq!(verdict.outcome, Outcome::Invalid);

    // The proof and checkpoint of another leaf of the same log.
    let mut bundle = w.bundle.clone();
    let (first, second) = (bundle.receipts[1].clone(), bundle.receipts[2].clone());
    bundle.receipts[1] = v1::Receipt { statement: first.statement, actor: String::new(), ..second };
    assert!(reasons(&verify(&bundle, &w.trust())).contains(&Reason::BadInclusion));

    for event in Event::ALL {
        for sender in [true, false] {
            let unit = if sender { &mut w.xa } else { &mut w.xb };
            let recipient = Unit::new("xb.ncu", 11);
            let statement = unit.states(event, &w.header, &recipient);
            let mut bundle = w.bundle.clone();
            bundle.receipts = vec![unit.receipt(&statement)];
            let verdict = verify(&bundle, &w.trust());
            let by_sender = event.issuer() == crate::receipt::IssuerRole::Sender;
            if sender == by_sender {
                assert_eq!(verdict.outcome, Outcome::Valid, "{event}");
            } else {
                assert_eq!(reasons(&verdict), [Reason::WrongIssuer], "{event}");
            }
        }
    }
}

/// The key of a log may be the anchor of its unit's receipts, and must be the key that signed.
#[test]
fn verifier_keys_are_anchors() {
    let w = world();
    let line: VerifierKey = vkey_line(&w.xb.card, &w.xb.origin()).unwrap().parse().unwrap();
    let mut trust = trust_cards(&[&w.xa.card]);
    trust.add_log(&line).unwrap();
    let verdict = verify(&w.bundle, &trust);
    assert_eq!(verdict.outcome, Outcome::Valid);
    assert!(verdict.anchored_by.contains("verifier key of xb.ncu/log/1"));
    let wrong = VerifierKey::new("xb.ncu/log/1".to_owned(), key(99).1).unwrap();
    assert!(trust.add_log(&wrong).is_err());
    let mut trust = trust_cards(&[&w.xa.card]);
    trust.add_log(&wrong).unwrap();
    assert_eq!(verify(&w.bundle, &trust).outcome, Outcome::Invalid);
    // It anchors no header.
    let mut trust = TrustAnchors::default();
    trust.add_log(&line).unwrap();
    assert_eq!(verify(&w.bundle, &trust).outcome, Outcome::Consistent);
    assert!(trust.add_identity(w.xa.id.clone(), key(1).1.id()).is_ok());
    assert!(trust.add_identity(w.xa.id.clone(), key(2).1.id()).is_err());
}

/// Receipts that cannot both be true, and two trees of one size, are told although each verifies
/// alone.
#[test]
fn contradictions_and_forks_are_told() {
    let mut w = world();
    let rejected = w.xb.states(Event::RelayRejection, &w.header, &w.xb);
    let mut bundle = w.bundle.clone();
    bundle.receipts.push(w.xb.receipt(&rejected));
    let verdict = verify(&bundle, &w.trust());
    assert_eq!(reasons(&verdict), [Reason::Contradiction]);
    assert_eq!(verdict.outcome, Outcome::Invalid);

    // A late answer is remarked and counts.
    let failed = w.xa.states(Event::RelayFailure, &w.header, &w.xb);
    let mut bundle = w.bundle.clone();
    bundle.receipts.push(w.xa.receipt(&failed));
    let verdict = verify(&bundle, &w.trust());
    assert_eq!(verdict.outcome, Outcome::Valid);
    assert_eq!(reasons(&verdict), [Reason::LateAfterFailure, Reason::LateAfterFailure]);

    // XB's log key also signed another tree of eight leaves.
    let handed = w.xb.states(Event::ContentHandover, &w.header, &w.xb);
    let mut fork = MemoryTree::new();
    (0..7u8).for_each(|n| assert_eq!(fork.append(leaf_hash(&[n, n])), u64::from(n)));
    let index = fork.append(handed.leaf_hash());
    let checkpoint = Checkpoint { origin: w.xb.origin(), size: 8, root: fork.root() };
    let mut bundle = w.bundle.clone();
    bundle.receipts.push(v1::Receipt {
        statement: handed.bytes().clone(),
        index,
        path: path_to_wire(&inclusion_proof(index, 8, &fork).unwrap()),
        checkpoint: sign_checkpoint(checkpoint, 13).to_string(),
        actor: String::new(),
    });
    let verdict = verify(&bundle, &w.trust());
    assert_eq!(reasons(&verdict), [Reason::PeerRolledBack, Reason::PeerRolledBack]);
}

/// A card that does not open, and two cards of one unit under different keys, are told.
#[test]
fn bad_cards_are_told() {
    let w = world();
    let mut bundle = w.bundle.clone();
    bundle.cards[1].bytes = flip(&bundle.cards[1].bytes, 20);
    assert!(reasons(&verify(&bundle, &w.trust())).contains(&Reason::BadCard));
    let (signing, public) = key(71);
    let mut second = raw_card("xb.ncu", 71);
    second.number = 9;
    let mut bundle = w.bundle.clone();
    bundle.cards.push(sign(&second, &signing, &public));
    for trust in [w.trust(), TrustAnchors::default()] {
        let verdict = verify(&bundle, &trust);
        assert_eq!(verdict.outcome, Outcome::Invalid);
        assert_eq!(verdict.problems[0].place, "card 3");
    }
}

/// The files for other verifiers hold exactly the facts of the bundle.
#[test]
fn files_for_other_verifiers() {
    let w = world();
    let receipt = &w.bundle.receipts[1];
    assert_eq!(receipt_file_stem(2, Event::ContentConsignment), "02-ContentConsignment");
    let text = tlog_proof_file(receipt).unwrap();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 5\n"));
    assert!(text.ends_with(&receipt.checkpoint));
    let proof: TlogProof = text.parse().unwrap();
    let known: VerifierKey = vkey_file(&w.xb.card).trim_end().parse().unwrap();
    assert_eq!(proof.checkpoint.verify(&[known]), Ok(()));
    let checkpoint: Checkpoint = proof.checkpoint.text().parse().unwrap();
    let leaf = leaf_hash(&leaf_file(receipt));
    let included =
        verify_inclusion(proof.index, checkpoint.size, &leaf, &proof.path, &checkpoint.root);
    assert_eq!(included, Ok(()));
    let broken = v1::Receipt { path: vec![Bytes::from_static(b"x")], ..receipt.clone() };
    assert!(tlog_proof_file(&broken).is_err());
}
