//! Keys and payloads that leave a doubt: revoked, out of their window, closed, another's payload.

use super::*;

/// Under a revoked key nothing is valid, nothing forged, whatever date it gives; an older card in
/// the bundle does not help.
#[test]
fn backdated_by_a_revoked_key_is_unproven() {
    let w = world();
    type Revoke = fn(&mut v1::Card);
    let changes: [(bool, Revoke); 3] = [
        (true, |c| c.keys[0].status = v1::KeyStatus::Revoked.into()),
        (false, |c| {
            c.logs[0].key.as_mut().unwrap().status = v1::KeyStatus::Revoked.into();
        }),
        (true, |c| c.keys[0].compromised_since_ms = 1_772_438_400_001),
    ];
    for (of_sender, revoke) in changes {
        let (unit, seed, other) =
            if of_sender { ("xa.ncu", 1, &w.xb.card) } else { ("xb.ncu", 11, &w.xa.card) };
        let mut newer = raw_card(unit, seed);
        newer.number = 2;
        revoke(&mut newer);
        let newer = open_card(&newer, seed);
        let verdict = verify(&w.bundle, &trust_cards(&[&newer, other]));
        assert_eq!(verdict.outcome, Outcome::UnprovenTime, "{:?}", verdict.problems);
        assert!(reasons(&verdict).iter().all(|reason| *reason == Reason::KeyRevoked));
        let mut bundle = w.bundle.clone();
        bundle.cards.push(newer.signed().clone());
        assert_eq!(verify(&bundle, &w.trust()).outcome, Outcome::UnprovenTime);
    }
    // A header dated outside the window of its key is invalid.
    let mut short = raw_card("xa.ncu", 1);
    short.keys[0].not_after_ms = 1_772_438_399_999;
    let mut bundle = w.bundle.clone();
    bundle.cards.remove(0);
    let verdict = verify(&bundle, &trust_cards(&[&open_card(&short, 1), &w.xb.card]));
    assert_eq!(verdict.outcome, Outcome::Invalid);
    assert_eq!(reasons(&verdict), [Reason::UnknownKey]);
}

/// XA's header before XB's payload, or one that is no payload: the digest is right and the bundle
/// is not.
#[test]
fn a_payload_with_another_inner_copy_is_invalid() {
    let w = world();
    type Make = fn(&World) -> Bytes;
    let table: [(Reason, Make); 4] = [
        (Reason::InnerMismatch, |w| payload(&w.xb.id, &w.header.to, &w.header.message_id)),
        (Reason::InnerMismatch, |w| {
            let to = std::slice::from_ref(&w.xa.id);
            payload(&w.xa.id, to, &w.header.message_id)
        }),
        (Reason::InnerMismatch, |w| {
            let other = w.xa.header_with(&[&w.xb], 9, 2);
            payload(&w.xa.id, &w.header.to, &other.message_id)
        }),
        (Reason::Malformed, |_| Bytes::from_static(&[0xff; 40])),
    ];
    for (reason, make) in table {
        let mut bundle = w.bundle.clone();
        bundle.payload = make(&w);
        let (signing, public) = key(2);
        let mut header = v1::Header::decode(w.header.signed.bytes.clone()).unwrap();
        header.payload_digest = Bytes::copy_from_slice(Digest::of(&bundle.payload).as_bytes());
        bundle.header = Some(sign(&header, &signing, &public));
        bundle.receipts.clear();
        let verdict = verify(&bundle, &w.trust());
        assert_eq!((verdict.outcome, reasons(&verdict)), (Outcome::Invalid, vec![reason]));
        assert!(!verdict.payload_matches);
        assert_eq!(verdict.problems[0].place, "payload");
    }
}

/// A statement that its issuer dates outside the window of the log's key: a synchronised clock
/// contradicts the card, another one proves nothing. What was made again in a newer log may be
/// older than its key.
#[test]
fn a_statement_outside_the_window_of_its_log_key_is_not_valid() {
    type Change = fn(&mut v1::PublicKey, u64);
    let window = |change: Change, state: v1::ClockState, flags: &[v1::StatementFlag]| {
        let mut xb = Unit::new("xb.ncu", 11);
        let xa = Unit::new("xa.ncu", 1);
        let header = xa.header(&[&xb]);
        let mut new = xb.new_statement(Event::ContentConsignment, &header, &xb);
        new.flags = flags;
        new.clock.state = state.into();
        if state != v1::ClockState::Synced {
            new.clock.uncertainty_ms = 0;
        }
        let statement = new.build().unwrap();
        let at = statement.event_time.as_millis();
        let mut card = raw_card("xb.ncu", 11);
        change(card.logs[0].key.as_mut().unwrap(), at);
        let card = open_card(&card, 11);
        let bundle = v1::EvidenceBundle {
            header: Some(header.signed.clone()),
            receipts: vec![xb.receipt(&statement)],
            cards: vec![xa.card.signed().clone(), card.signed().clone()],
            ..Default::default()
        };
        let verdict = verify(&bundle, &trust_cards(&[&xa.card, &card]));
        assert_eq!(verdict.ladder[0].verified, verdict.outcome == Outcome::Valid);
        (verdict.outcome, reasons(&verdict))
    };
    use v1::ClockState::{Synced, Unsynced};
    let (ends, begins): (Change, Change) =
        (|key, at| key.not_after_ms = at - 1, |key, at| key.not_before_ms = at + 1);
    for change in [ends, begins] {
        let invalid = (Outcome::Invalid, vec![Reason::UnknownKey]);
        assert_eq!(window(change, Synced, &[]), invalid);
        let unproven = (Outcome::UnprovenTime, vec![Reason::ClockUntrusted]);
        assert_eq!(window(change, Unsynced, &[]), unproven);
    }
    let recovered = &[v1::StatementFlag::Recovered];
    assert_eq!(window(begins, Synced, recovered), (Outcome::Valid, vec![]));
    assert_eq!(window(ends, Synced, recovered).0, Outcome::Invalid);
    let just: Change = |key, at| {
        (key.not_before_ms, key.not_after_ms) = (at, at);
    };
    assert_eq!(window(just, Synced, &[]), (Outcome::Valid, vec![]));
}

/// A log that its card closed: receipts up to the closed size count, a larger checkpoint does not.
#[test]
fn a_closed_log_counts_up_to_its_size() {
    let w = world();
    for (closed_size, outcome) in [(8, Outcome::Valid), (7, Outcome::Invalid)] {
        let mut newer = raw_card("xb.ncu", 11);
        newer.number = 2;
        newer.logs[0].state = v1::LogState::Closed.into();
        newer.logs[0].closed_size = closed_size;
        let verdict = verify(&w.bundle, &trust_cards(&[&w.xa.card, &open_card(&newer, 11)]));
        assert_eq!(verdict.outcome, outcome, "{:?}", verdict.problems);
    }
}
