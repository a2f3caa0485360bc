//! A unit's newer cards, and what they do not take back: neither its own receipts nor another's.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::timestamp::Timestamp;

type Change = fn(&mut v1::Card);

/// A newer card of XB with a change.
fn newer(change: Change) -> Card {
    let mut card = raw_card("xb.ncu", 11);
    card.number = 2;
    change(&mut card);
    open_card(&card, 11)
}

/// The changes that an honest unit makes, and that would make its earlier receipts worthless: a
/// node with another name, a narrower window, another key of the log.
const CHANGES: [(Reason, Change); 4] = [
    (Reason::WrongIssuer, |card| card.nodes[0].name = "b".to_owned()),
    (Reason::UnknownKey, |card| card.logs[0].key.as_mut().unwrap().not_after_ms = BEFORE),
    (Reason::UnknownKey, |card| {
        (card.logs[0].key.as_mut().unwrap().not_before_ms, card.number) = (AFTER, 3);
    }),
    (Reason::UnknownLog, |card| card.logs[0].key = raw_card("xb.ncu", 61).logs[0].key.clone()),
];

const BEFORE: u64 = 1_772_438_000_000;
const AFTER: u64 = 1_800_000_000_000;

/// An older card that the same identity key signed stays what the unit said then, beside the newer
/// one that the verifier trusts. With the newer one alone nobody says so.
#[test]
fn a_newer_card_takes_no_receipt_back() {
    let w = world();
    for (reason, change) in CHANGES {
        let card = newer(change);
        for trust in [w.trust(), trust_cards(&[&w.xa.card, &card])] {
            let mut bundle = w.bundle.clone();
            bundle.cards.push(card.signed().clone());
            let verdict = verify(&bundle, &trust);
            assert_eq!((verdict.outcome, &verdict.problems[..]), (Outcome::Valid, &[][..]));
            bundle.cards.remove(1);
            let verdict = verify(&bundle, &trust);
            assert_eq!(verdict.outcome, Outcome::Invalid);
            assert!(reasons(&verdict).iter().all(|found| *found == reason), "{verdict:?}");
        }
    }
}

/// The older card counts under the identity key that is trusted, under no other.
#[test]
fn an_older_card_under_another_identity_key_helps_nobody() {
    let w = world();
    let card = newer(CHANGES[0].1);
    let mut older = raw_card("xb.ncu", 11);
    (older.identity_key, older.signer) =
        (raw_card("xb.ncu", 81).identity_key, raw_card("xb.ncu", 81).signer);
    let older = open_card(&older, 81);
    let mut bundle = w.bundle.clone();
    bundle.cards = [&w.xa.card, &card, &older].map(|card| card.signed().clone()).to_vec();
    let verdict = verify(&bundle, &trust_cards(&[&w.xa.card, &card]));
    assert_eq!(verdict.outcome, Outcome::Invalid);
    assert_eq!(reasons(&verdict), [Reason::BadCard, Reason::WrongIssuer, Reason::WrongIssuer]);
}

/// A sender cannot take a message back either: the older card's window counts for its header.
#[test]
fn a_newer_card_takes_no_header_back() {
    let w = world();
    let mut card = raw_card("xa.ncu", 1);
    (card.number, card.keys[0].not_after_ms) = (2, BEFORE);
    let card = open_card(&card, 1);
    let mut bundle = w.bundle.clone();
    bundle.cards.push(card.signed().clone());
    assert_eq!(verify(&bundle, &trust_cards(&[&card, &w.xb.card])).outcome, Outcome::Valid);
    bundle.cards.remove(0);
    let verdict = verify(&bundle, &trust_cards(&[&card, &w.xb.card]));
    assert_eq!((verdict.outcome, reasons(&verdict)), (Outcome::Invalid, vec![Reason::UnknownKey]));
}

/// What is wrong with one unit's receipts is told as this unit's and spoils no other's part; what
/// is wrong with the header spoils all.
#[test]
fn each_unit_answers_for_its_own_part() {
    let mut xa = Unit::new("xa.ncu", 1);
    let (mut xb, mut xe) = (Unit::new("xb.ncu", 11), Unit::new("xe.ncu", 21));
    let header = xa.header(&[&xb, &xe]);
    let submitted = xa.states(Event::SubmissionAcceptance, &header, &xb);
    let [good, bad] = [&xb, &xe].map(|unit| unit.states(Event::ContentConsignment, &header, unit));
    let mut renamed = raw_card("xe.ncu", 21);
    renamed.nodes[0].name = "b".to_owned();
    let renamed = open_card(&renamed, 21);
    let mut bundle = v1::EvidenceBundle {
        header: Some(header.signed.clone()),
        receipts: vec![xa.receipt(&submitted), xb.receipt(&good), xe.receipt(&bad)],
        cards: [&xa.card, &xb.card, &renamed].map(|card| card.signed().clone()).to_vec(),
        ..Default::default()
    };
    let ids = [&xa, &xb, &xe].map(|unit| unit.id.clone());
    let parts = |bundle: &v1::EvidenceBundle, trust: &[&Card]| {
        let verdict = verify(bundle, &trust_cards(trust));
        let parts = ids.each_ref().map(|unit| verdict.parts.get(unit).copied());
        (verdict.outcome, parts, verdict.problems)
    };
    use Outcome::{Consistent, Invalid, UnprovenTime, Valid};
    let (outcome, part, problems) = parts(&bundle, &[&xa.card, &xb.card, &renamed]);
    assert_eq!((outcome, part), (Invalid, [Some(Valid), Some(Valid), Some(Invalid)]));
    assert_eq!(problems.len(), 1);
    assert_eq!((&*problems[0].place, &problems[0].unit), ("receipt 3", &Some(xe.id.clone())));
    // Whoever has no anchor for the sender believes nobody's part.
    let (_, part, _) = parts(&bundle, &[&xb.card]);
    assert_eq!(part, [Some(Consistent), Some(Consistent), Some(Invalid)]);
    // A clock that proves nothing leaves the others as they are.
    let mut new = xe.new_statement(Event::ContentHandover, &header, &xe);
    (new.event_time, new.clock) = (Timestamp::from_millis(4_000_000_000_000), unsynced());
    let far = new.build().unwrap();
    bundle.receipts[2] = xe.receipt(&far);
    bundle.cards[2] = xe.card.signed().clone();
    let (outcome, part, _) = parts(&bundle, &[&xa.card, &xb.card, &xe.card]);
    assert_eq!((outcome, part), (UnprovenTime, [Some(Valid), Some(Valid), Some(UnprovenTime)]));
    // The header carries all parts.
    bundle.header.as_mut().unwrap().signature = Default::default();
    let (_, part, _) = parts(&bundle, &[&xa.card, &xb.card, &xe.card]);
    assert_eq!(part, [Some(Invalid); 3]);
}

fn unsynced() -> v1::Clock {
    let state = v1::ClockState::Unsynced.into();
    v1::Clock { state, source: v1::ClockSource::Kernel.into(), uncertainty_ms: 0 }
}
