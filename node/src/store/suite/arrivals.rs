//! Arrivals: taken once, refused once, both verdicts stand.

use super::*;

on_each![
    an_arrival_is_stored_once,
    duplicate_in_same_batch_waits_for_flush,
    a_conflict_keeps_both_and_alarms,
    a_refusal_stands,
    one_number_with_two_messages_alarms,
    gaps_are_remembered,
    another_sender_may_use_the_same_id,
];

async fn an_arrival_is_stored_once(place: Place) {
    let store = place.open();
    assert_eq!(arrive(&store, arrival(1, 0)).await, ArrivalAnswer::Stored);
    let before = seq(&store);
    // Its receipt still waits: nothing new is owed, nothing is written.
    assert_eq!(arrive(&store, arrival(1, 0)).await, ArrivalAnswer::Duplicate);
    assert_eq!(seq(&store), before);
    assert_eq!(owed(&store), [(1, statement("consignment", 10))]);
    let record = store.message(&theirs(1)).unwrap().unwrap();
    assert_eq!(store.content(&record).unwrap().payload, Some(payload(1)));
    assert_eq!(store.unacknowledged(9).unwrap(), [theirs(1)]);
    // Once the peer has taken it, a duplicate owes the same leaf again, under a new number.
    store.record_have(them(), 1, at(2)).await.unwrap();
    assert!(owed(&store).is_empty());
    for _ in 0..3 {
        assert_eq!(arrive(&store, arrival(1, 0)).await, ArrivalAnswer::Duplicate);
        assert_eq!(owed(&store), [(2, statement("consignment", 10))]);
    }
    assert_eq!(store.log_head().size, 1);
    assert_sound(&store);
}

/// Copies of one message in one commit and in commits of one batch: the first is stored, the answer
/// to the others rests on it and is true once it is given.
async fn duplicate_in_same_batch_waits_for_flush(place: Place) {
    let store = place.open();
    let both = vec![arrival(1, 0), arrival(1, 0)];
    let (one, other) = tokio::join!(store.accept_arrivals(Priority::Emergency, both), async {
        let answer = arrive(&store, arrival(1, 0)).await;
        // Whatever the order, when this answer is there the message outlives a power cut.
        for seed in 0..8 {
            let after = place.cut(seed);
            let again = after.open();
            assert!(again.message(&theirs(1)).unwrap().is_some(), "seed {seed}");
            assert_eq!(owed(&again).len(), 1);
        }
        answer
    });
    let mut answers = one.unwrap();
    answers.push(other);
    assert_eq!(answers.iter().filter(|a| **a == ArrivalAnswer::Stored).count(), 1);
    assert_eq!(answers.iter().filter(|a| **a == ArrivalAnswer::Duplicate).count(), 2);
    assert_eq!(owed(&store).len(), 1);
    assert_sound(&store);
}

/// Another header with the same sender and id is refused, kept and alarmed; the first stays what it
/// was, and each digest has its own receipt.
async fn a_conflict_keeps_both_and_alarms(place: Place) {
    let store = place.open();
    arrive(&store, arrival(1, 0)).await;
    let conflict = ArrivalAnswer::Refused(Reason::Conflict);
    assert_eq!(arrive(&store, arrival(1, 1)).await, conflict);
    let second = header(1, 1, &them(), &[]).digest;
    let kept = store.refused(&second).unwrap().unwrap();
    assert_eq!(
        (kept.reason.as_str(), kept.message_id.as_ref()),
        ("CONFLICT", &id(1).as_bytes()[..])
    );
    let alarm = &store.alarms(9).unwrap()[0];
    assert_eq!((alarm.reason.as_str(), alarm.peer.as_str()), ("CONFLICT", "xb.ncu"));
    assert_eq!(store.message(&second).unwrap(), None);
    assert_eq!(store.by_sender(&them(), &id(1)).unwrap(), Some(theirs(1)));
    assert_eq!(store.receipts(&theirs(1)).unwrap().len(), 1);
    assert_eq!(store.receipts(&second).unwrap()[0].statement, statement("conflict", 11));
    // Again: the verdict that it has.
    let before = store.log_head().size;
    assert_eq!(arrive(&store, arrival(1, 1)).await, ArrivalAnswer::Duplicate);
    assert_eq!(store.log_head().size, before);
    assert_sound(&store);
}

/// A refused header stays refused when policy has changed since, and a stored one stays stored.
async fn a_refusal_stands(place: Place) {
    let store = place.open();
    let refused = ArrivalAnswer::Refused(Reason::KindNotAllowed);
    assert_eq!(arrive(&store, refusal(1, 0)).await, refused);
    assert_eq!(arrive(&store, refusal(1, 0)).await, ArrivalAnswer::Duplicate);
    assert_eq!(arrive(&store, arrival(1, 0)).await, ArrivalAnswer::Duplicate);
    assert_eq!(store.message(&theirs(1)).unwrap(), None);
    assert_eq!(arrive(&store, arrival(2, 0)).await, ArrivalAnswer::Stored);
    assert_eq!(arrive(&store, refusal(2, 0)).await, ArrivalAnswer::Duplicate);
    assert_eq!(store.refused(&theirs(2)).unwrap(), None);
    assert_eq!(store.log_head().size, 2);
    assert_sound(&store);
}

async fn one_number_with_two_messages_alarms(place: Place) {
    let store = place.open();
    arrive(&store, arrival(1, 0)).await;
    let Verdict::Accept(mut other) = arrival(2, 0) else { unreachable!() };
    other.number = 1;
    assert_eq!(arrive(&store, Verdict::Accept(other)).await, ArrivalAnswer::Stored);
    assert_eq!(store.alarms(9).unwrap()[0].reason, "PEER_ROLLED_BACK");
    assert_sound(&store);
}

async fn gaps_are_remembered(place: Place) {
    let store = place.open();
    for n in [1, 2, 5, 7, 6] {
        arrive(&store, arrival(n, 0)).await;
    }
    let numbers = store.transfers_in(&them()).unwrap();
    assert_eq!((numbers.contiguous, numbers.ranges), (2, vec![5, 7]));
    assert_sound(&store);
}

async fn another_sender_may_use_the_same_id(place: Place) {
    let store = place.open();
    submit(&store, submission(1)).await;
    assert_eq!(arrive(&store, arrival(1, 0)).await, ArrivalAnswer::Stored);
    let mut found = store.by_id(&id(1)).unwrap();
    found.sort();
    let mut wanted = [ours(1), theirs(1)];
    wanted.sort();
    assert_eq!(found, wanted);
    assert_sound(&store);
}
