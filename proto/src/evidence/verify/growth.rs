//! Tests: bundles of a whole network, and bundles older than their keys.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::Bytes;

use super::*;
use crate::{
    card::{Card, tests::public},
    evidence::{parse, to_bytes},
    receipt::{
        Event,
        fixture::{Unit, open_card, raw_card},
    },
};

/// A bundle for as many recipients as a message may have, each with a whole ladder over deep logs,
/// is written, read back and judged; the budget of a wire message would not do.
#[test]
fn the_largest_network_fits() {
    let mut xa = Unit::new("xa.ncu", 1);
    let mut others: Vec<Unit> =
        (0..limits::RECIPIENTS_MAX).map(|n| Unit::new(&format!("xb.n{n}"), 11)).collect();
    let header = xa.header(&others.iter().collect::<Vec<_>>());
    let mut trust = TrustAnchors::default();
    trust.add_card(xa.card.clone()).unwrap();
    let (mut receipts, mut cards) = (Vec::new(), vec![xa.card.signed().clone()]);
    let submitted = xa.states(Event::SubmissionAcceptance, &header, &others[0]);
    receipts.push(xa.receipt(&submitted));
    let ladder = [
        Event::RelayAcceptance,
        Event::ContentConsignment,
        Event::ContentHandover,
        Event::ConsignmentAcceptance,
    ];
    for unit in &mut others {
        trust.add_identity(unit.id.clone(), unit.card.identity().id()).unwrap();
        cards.push(unit.card.signed().clone());
        let itself = Unit::new(unit.id.as_str(), 11);
        // Leaves whose numbers are all ones have the longest paths.
        (0..252u8).for_each(|n| assert_eq!(unit.log.append(Digest::of(&[n])), u64::from(n)));
        for event in ladder {
            let statement = unit.states(event, &header, &itself);
            receipts.push(unit.receipt(&statement));
        }
    }
    let hashes: usize = receipts.iter().map(|receipt| receipt.path.len()).sum();
    assert!(receipts.len() == 1 + 4 * 256 && hashes > 7_000, "{hashes}");
    let bundle = v1::EvidenceBundle {
        header: Some(header.signed.clone()),
        payload: Bytes::new(),
        receipts,
        cards,
        directory: Bytes::new(),
        exported_at_ms: 1,
    };
    let file = to_bytes(&bundle);
    assert!(parse(&file).unwrap() == bundle);
    let body = Bytes::copy_from_slice(&file[b"relay-evidence/v1\n".len()..]);
    let as_message = scan::decode::<v1::EvidenceBundle>(
        &body,
        &schema::EVIDENCE_BUNDLE,
        limits::BUNDLE_BYTES_MAX,
    );
    assert_eq!(as_message.err().map(|error| error.reason()), Some(Reason::TooLarge));
    let verdict = verify(&bundle, &trust);
    assert_eq!((verdict.outcome, verdict.problems), (Outcome::Valid, vec![]));
}

/// A rotation drops keys from the card. What they signed in their window stays valid if an older
/// card under the same identity key names them, and not beyond the window that this card stated.
#[test]
fn a_key_that_a_newer_card_dropped_counts_for_its_window() {
    let mut xa = Unit::new("xa.ncu", 1);
    let xb = Unit::new("xb.ncu", 11);
    let header = xa.header(&[&xb]);
    let statement = xa.states(Event::SubmissionAcceptance, &header, &xb);
    let receipts = vec![xa.receipt(&statement)];
    // The newer card has another signing key, another log and no word of the old ones.
    let mut newer = raw_card("xa.ncu", 1);
    newer.number = 2;
    newer.keys = vec![public(v1::KeyKind::Signing, 72)];
    newer.logs[0].origin = "xa.ncu/log/2".to_owned();
    newer.logs[0].key = Some(public(v1::KeyKind::Log, 73));
    let newer = open_card(&newer, 1);
    let judge = |cards: &[&Card], trusted: &Card| {
        let bundle = v1::EvidenceBundle {
            header: Some(header.signed.clone()),
            receipts: receipts.clone(),
            cards: cards.iter().map(|card| card.signed().clone()).collect(),
            ..Default::default()
        };
        let mut trust = TrustAnchors::default();
        trust.add_card(trusted.clone()).unwrap();
        let verdict = verify(&bundle, &trust);
        (verdict.outcome, verdict.problems.iter().map(|one| one.reason).collect::<Vec<_>>())
    };
    assert_eq!(judge(&[&xa.card], &newer), (Outcome::Valid, vec![]));
    // Nothing but the newer card: nobody says whose key it was.
    assert_eq!(judge(&[], &newer).0, Outcome::Invalid);
    // The older card closes the window before the message.
    let mut closed = raw_card("xa.ncu", 1);
    closed.keys[0].not_after_ms = header.created_at.as_millis() - 1;
    let closed = open_card(&closed, 1);
    assert_eq!(judge(&[&closed], &newer), (Outcome::Invalid, vec![Reason::UnknownKey]));
    // An older card under another identity key helps nobody.
    let stranger = open_card(&raw_card("xa.ncu", 81), 81);
    assert_eq!(judge(&[&stranger], &newer).0, Outcome::Invalid);
}
