//! Receipts of peers, receipts owed to peers, acknowledgements.

use super::*;
use crate::store::records::EntryState;

on_each![
    receipts_settle_by_digest_and_recipient,
    conflict_refusal_does_not_settle_the_first,
    a_flagged_receipt_is_kept_and_settles_nothing,
    contradictions_hide_no_other_receipt,
    an_entry_ends_once_in_a_group,
    a_receipt_that_lost_to_the_failure_is_late,
    the_same_group_again_changes_nothing,
    have_never_deletes_what_was_not_made,
    what_was_confirmed_is_had_again,
    owed_again_but_never_doubled,
    the_first_acknowledgement_makes_the_one_receipt,
    checkpoints_are_held_by_size,
];

/// However many contradictory receipts a unit makes about a message, in one group or many, some are
/// kept, and what others say of it is found among them.
async fn contradictions_hide_no_other_receipt(place: Place) {
    let store = place.open();
    let third = unit("xc.ncu");
    submit(&store, submission_to(1, &[them(), third.clone()])).await;
    let contradiction = |n: u64| NewReceipt {
        statement: Bytes::from(format!("another {n}")),
        index: n,
        flags: vec![Reason::Contradiction],
        ..receipt(1, Stated::ContentConsignment)
    };
    for round in 0..3 {
        let all = (0..50).map(|n| contradiction(round * 50 + n)).collect();
        store.record_receipts(group(round + 1, 0, all)).await.unwrap();
    }
    let other = NewReceipt {
        recipient: Some(third.clone()),
        statement: Bytes::from_static(b"taken"),
        ..receipt(1, Stated::ContentConsignment)
    };
    let origin = third.log_origin(1);
    let by_third = ReceiptsToRecord { peer: third, origin, ..group(9, 1, vec![other]) };
    assert_eq!(store.record_receipts(by_third).await.unwrap().len(), 1);
    let held = store.receipts(&ours(1)).unwrap();
    // Our own about the submission, eight contradictions, the other unit's.
    assert_eq!(held.len(), 10);
    assert!(held.iter().any(|one| one.statement == "taken" && one.flags.is_empty()));
    assert_sound(&store);
}

async fn receipts_settle_by_digest_and_recipient(place: Place) {
    let store = place.open();
    submit(&store, submission_to(1, &[them(), unit("xc.ncu")])).await;
    submit(&store, submission(2)).await;
    let group_of = vec![receipt(1, Stated::ContentConsignment), receipt(2, Stated::RelayRejection)];
    assert_eq!(store.record_receipts(group(8, 2, group_of)).await.unwrap(), [1, 2]);
    let states = |digest| -> Vec<(String, EntryState)> {
        let entries = store.entries(&digest).unwrap();
        entries.iter().map(|entry| (entry.recipient.clone(), entry.state())).collect()
    };
    let one = [("xb.ncu".into(), EntryState::Delivered), ("xc.ncu".into(), EntryState::Queued)];
    assert_eq!(states(ours(1)), one);
    assert_eq!(states(ours(2)), [("xb.ncu".into(), EntryState::Refused)]);
    assert_eq!(store.entries(&ours(2)).unwrap()[0].reason, "EXPIRED");
    assert_eq!(store.counter("receipts-have", &them()).unwrap(), 2);
    assert_sound(&store);
}

/// The peer refuses a second header with the id of ours, which it got from somebody else: that
/// receipt has another digest, and ours goes on waiting.
async fn conflict_refusal_does_not_settle_the_first(place: Place) {
    let store = place.open();
    submit(&store, submission(1)).await;
    let mut conflict = receipt(1, Stated::RelayRejection);
    conflict.digest = header(1, 1, &us(), &[]).digest;
    conflict.reason = "CONFLICT".to_owned();
    assert!(store.record_receipts(group(1, 1, vec![conflict])).await.unwrap().is_empty());
    let mut elsewhere = receipt(1, Stated::ContentConsignment);
    elsewhere.recipient = Some(unit("xc.ncu"));
    assert!(store.record_receipts(group(2, 2, vec![elsewhere])).await.unwrap().is_empty());
    assert_eq!(store.entries(&ours(1)).unwrap()[0].state(), EntryState::Queued);
    let settled = vec![receipt(1, Stated::ContentHandover)];
    assert_eq!(store.record_receipts(group(3, 3, settled)).await.unwrap(), [1]);
    assert_sound(&store);
}

async fn a_flagged_receipt_is_kept_and_settles_nothing(place: Place) {
    let store = place.open();
    submit(&store, submission(1)).await;
    let mut wrong = receipt(1, Stated::ContentConsignment);
    wrong.flags = vec![Reason::BadInclusion];
    assert!(store.record_receipts(group(1, 1, vec![wrong])).await.unwrap().is_empty());
    assert_eq!(store.entries(&ours(1)).unwrap()[0].state(), EntryState::Queued);
    assert_eq!(store.receipts(&ours(1)).unwrap()[1].flags, ["BAD_INCLUSION"]);
    assert_eq!(store.alarms(9).unwrap()[0].reason, "BAD_INCLUSION");
    assert_eq!(store.counter("receipts-have", &them()).unwrap(), 1);
    assert_sound(&store);
}

/// A receipt was checked, the failure was stated, then the receipt came to its commit: kept,
/// flagged, no second end.
async fn a_receipt_that_lost_to_the_failure_is_late(place: Place) {
    let store = place.open();
    submit(&store, submission(1)).await;
    let failure = statement("failure", 1);
    let expired = NewExpiry { digest: ours(1), recipient: them(), failure, now: at(2) };
    assert_eq!(store.expire(vec![expired]).await.unwrap().len(), 1);
    let late = vec![receipt(1, Stated::RelayRejection)];
    assert!(store.record_receipts(group(3, 1, late)).await.unwrap().is_empty());
    assert_eq!(store.entries(&ours(1)).unwrap()[0].state(), EntryState::Expired);
    assert_eq!(store.receipts(&ours(1)).unwrap()[2].flags, ["LATE_AFTER_FAILURE"]);
    assert_sound(&store);
}

/// Consignment and handover in one group: the first ends the entry and is told once, both are kept.
async fn an_entry_ends_once_in_a_group(place: Place) {
    let store = place.open();
    submit(&store, submission(1)).await;
    let both = vec![receipt(1, Stated::ContentConsignment), receipt(1, Stated::ContentHandover)];
    assert_eq!(store.record_receipts(group(2, 2, both)).await.unwrap(), [1]);
    assert_eq!(store.entries(&ours(1)).unwrap()[0].state(), EntryState::Delivered);
    assert_eq!(store.receipts(&ours(1)).unwrap().len(), 3);
    assert_sound(&store);
}

/// Sent twice, and twice in one group: kept once. A repetition writes nothing, a newer checkpoint
/// does.
async fn the_same_group_again_changes_nothing(place: Place) {
    let store = place.open();
    submit(&store, submission(1)).await;
    let twice = || vec![receipt(1, Stated::ContentConsignment); 2];
    assert_eq!(store.record_receipts(group(4, 1, twice())).await.unwrap(), [1]);
    let before = seq(&store);
    assert!(store.record_receipts(group(4, 1, twice())).await.unwrap().is_empty());
    assert!(store.record_receipts(group(4, 0, vec![])).await.unwrap().is_empty());
    assert_eq!(seq(&store), before);
    assert_eq!(store.receipts(&ours(1)).unwrap().len(), 2);
    store.record_receipts(group(5, 1, vec![])).await.unwrap();
    assert_eq!(seq(&store), before + 1);
    assert_eq!(store.counter("receipts-have", &them()).unwrap(), 1);
    assert_sound(&store);
}

async fn have_never_deletes_what_was_not_made(place: Place) {
    let store = place.open();
    arrive(&store, arrival(1, 0)).await;
    arrive(&store, arrival(2, 0)).await;
    store.record_have(them(), u64::MAX, at(1)).await.unwrap();
    assert!(owed(&store).is_empty());
    assert_eq!(store.counter("receipts-confirmed", &them()).unwrap(), 2);
    // What is made afterwards is owed, whatever was claimed before; an older claim takes nothing
    // back.
    arrive(&store, arrival(3, 0)).await;
    store.record_have(them(), 1, at(2)).await.unwrap();
    assert_eq!(owed(&store), [(3, statement("consignment", 30))]);
    assert_eq!(store.counter("receipts-confirmed", &them()).unwrap(), 2);
    let before = seq(&store);
    store.record_have(them(), 2, at(2)).await.unwrap();
    store.record_have(unit("xc.ncu"), 5, at(2)).await.unwrap();
    assert_eq!(seq(&store), before);
    assert_sound(&store);
}

/// What a peer confirmed is still there by its number, in order, for a peer that was set back: also
/// after a restart, and in an index that was made anew. It waits no more.
async fn what_was_confirmed_is_had_again(place: Place) {
    let store = place.open();
    for n in 1..=70 {
        arrive(&store, arrival(n, 0)).await;
    }
    store.record_have(them(), 66, at(1)).await.unwrap();
    let all: Vec<(u64, Bytes)> = (1..=70).map(|n| (n, statement("consignment", n * 10))).collect();
    let had = |store: &Store, after, limit| -> Vec<(u64, Bytes)> {
        let receipts = store.owed_receipts(&them(), after, limit).unwrap();
        receipts.into_iter().map(|(number, receipt)| (number, receipt.statement)).collect()
    };
    let check = |store: &Store| {
        assert_eq!(owed(store), all[66..]);
        assert_eq!(had(store, 0, 100), all);
        assert_eq!(had(store, 31, 3), all[31..34]);
        assert_eq!(had(store, 66, 100), all[66..]);
        let (ahead, looked) = store.owed_ahead(&them(), 3, Priority::Emergency, 100).unwrap();
        let urgent = |n: &u64| priority(*n) == Priority::Emergency;
        let numbers: Vec<u64> = ahead.into_iter().map(|(number, _)| number).collect();
        assert_eq!((numbers, looked), ((4..=70).filter(urgent).collect(), 70));
    };
    check(&store);
    assert_sound(&store);
    store.close().await;
    drop(store);
    let store = place.open();
    check(&store);
    store.close().await;
    drop(store);
    if place.dir.is_some() {
        std::fs::remove_dir_all(place.path().join("index")).unwrap();
    }
    let store = place.open();
    check(&store);
    assert_sound(&store);
}

/// A log ends: what its peer did not confirm moves to the next one under new numbers, what it did
/// stays where it was; by that log's numbers the rest is told apart. The same with the log after.
#[tokio::test(start_paused = true)]
async fn only_what_waits_moves_to_the_next_log() {
    let place = Place::memory(1);
    let store = place.open();
    for n in 1..=5 {
        arrive(&store, arrival(n, 0)).await;
    }
    store.record_have(them(), 3, at(1)).await.unwrap();
    let numbers = |store: &Store| -> Vec<u64> {
        let owed = store.owed_receipts(&them(), 0, 100).unwrap();
        owed.into_iter().map(|(number, _)| number).collect()
    };
    let (second, third) = (1 << 40, 2 << 40);
    let store = end_log(&place, store, 1).await;
    assert_eq!(store.move_leaves(&us().log_origin(1), 5, at(2)).await.unwrap(), 2);
    assert_eq!(store.move_leaves(&us().log_origin(1), 5, at(2)).await.unwrap(), 0);
    assert_eq!(numbers(&store), [1, 2, 3, second + 1, second + 2]);
    let waiting =
        [(second + 1, statement("consignment", 40)), (second + 2, statement("consignment", 50))];
    assert_eq!(owed(&store), waiting);
    let open = store.owed_receipts(&them(), second, 9).unwrap();
    assert!(open.iter().all(|(_, receipt)| receipt.origin == "xa.ncu/log/2"));
    let from = |store: &Store| store.counter("receipts-from", &them()).unwrap();
    assert_eq!((from(&store), store.receipts_confirmed(&them()).unwrap()), (second, second));
    // An old number of its confirms nothing new.
    store.record_have(them(), 5, at(3)).await.unwrap();
    assert_eq!(owed(&store), waiting);
    store.record_have(them(), second + 1, at(3)).await.unwrap();
    assert_eq!(owed(&store), waiting[1..]);

    let store = end_log(&place, store, 2).await;
    assert_eq!(store.move_leaves(&us().log_origin(2), 3, at(4)).await.unwrap(), 1);
    assert_eq!(numbers(&store), [1, 2, 3, second + 1, third + 1]);
    assert_eq!(owed(&store), [(third + 1, statement("consignment", 50))]);
    assert_eq!((from(&store), store.receipts_confirmed(&them()).unwrap()), (third, third));
}

/// Ends the log of a generation, and opens the store with the next.
async fn end_log(place: &Place, store: Store, generation: u32) -> Store {
    let head = store.log_head();
    let (size, root) = (head.size, Bytes::copy_from_slice(head.root.as_bytes()));
    let origin = us().log_origin(generation + 1);
    let new = NewSuccession {
        closing: records::CheckpointRecord { note: String::new(), root, size },
        origin: origin.clone(),
        succession: Bytes::from_static(b"succession"),
        leaf_hash: Digest::of(b"leaf"),
        by: vec!["A. Ito".to_owned(), "B. Cruz".to_owned()],
    };
    store.succeed_log(new, at(2)).await.unwrap();
    store.close().await;
    drop(store);
    OpenStore { backend: place.backend.clone(), unit: us(), origin }.open().unwrap()
}

/// All receipts of a message are owed again under new numbers, those that wait are not doubled, and
/// a peer that never takes any cannot make the store grow by sending duplicates.
async fn owed_again_but_never_doubled(place: Place) {
    let store = place.open();
    arrive(&store, arrival(1, 0)).await;
    store.record_have(them(), 1, at(1)).await.unwrap();
    store.acknowledge(ack(1, 1, 1)).await.unwrap();
    assert_eq!(owed(&store), [(2, statement("handover", 11))]);
    arrive(&store, arrival(1, 0)).await;
    let both = [(2, statement("handover", 11)), (3, statement("consignment", 10))];
    assert_eq!(owed(&store), both);
    arrive(&store, arrival(1, 0)).await;
    assert_eq!(owed(&store), both);
    assert_eq!(store.owed_receipts(&them(), 2, 9).unwrap().len(), 1);
    // However many wait, none is doubled.
    let many = (10..1100).map(|n| arrival(n, 0)).collect();
    store.accept_arrivals(Priority::Routine, many).await.unwrap();
    let before = seq(&store);
    for n in [1, 1099, 1099, 500] {
        assert_eq!(arrive(&store, arrival(n, 0)).await, ArrivalAnswer::Duplicate);
    }
    assert_eq!(seq(&store), before);
    assert_sound(&store);
}

async fn the_first_acknowledgement_makes_the_one_receipt(place: Place) {
    let store = place.open();
    arrive(&store, arrival(1, 0)).await;
    submit(&store, submission(1)).await;
    let missing = store.acknowledge(ack(9, 9, 1)).await.unwrap_err();
    assert_eq!(missing.reason(), Reason::NotFound);
    let mut own = ack(1, 8, 1);
    own.digest = ours(1);
    assert_eq!(store.acknowledge(own).await.unwrap_err().reason(), Reason::FailedPrecondition);
    assert_eq!(store.acknowledge(ack(1, 1, 1)).await.unwrap(), AckAnswer::First);
    assert_eq!(store.acknowledge(ack(1, 1, 1)).await.unwrap(), AckAnswer::Repeated);
    assert_eq!(store.acknowledge(ack(1, 2, 1)).await.unwrap(), AckAnswer::Later);
    assert_eq!(store.acknowledge(ack(1, 3, 2)).await.unwrap(), AckAnswer::First);
    let other = NewAck { content: Digest::of(b"other"), ..ack(1, 1, 2) };
    assert_eq!(store.acknowledge(other).await.unwrap(), AckAnswer::Conflict);
    assert_eq!(store.receipts(&theirs(1)).unwrap().len(), 3);
    assert_eq!(store.acknowledgements(&theirs(1)).unwrap().len(), 2);
    assert!(store.unacknowledged(9).unwrap().is_empty());
    let owed: Vec<Bytes> = owed(&store).into_iter().map(|(_, statement)| statement).collect();
    let wanted = [("consignment", 10), ("handover", 11), ("handover", 32)];
    assert_eq!(owed, wanted.map(|(what, n)| statement(what, n)));
    assert_sound(&store);
}

async fn checkpoints_are_held_by_size(place: Place) {
    let store = place.open();
    let origin = them().log_origin(1);
    assert_eq!(store.held_checkpoint(&origin).unwrap(), None);
    for size in [300, 20, 256] {
        store.record_receipts(group(size, 0, vec![])).await.unwrap();
    }
    assert_eq!(store.held_checkpoint(&origin).unwrap().unwrap().size, 300);
    assert_eq!(store.held_checkpoint(&them().log_origin(2)).unwrap(), None);
    let note = store.checkpoint(&origin.to_string(), 20).unwrap().unwrap().note;
    assert_eq!(note, "note 20");
    assert_sound(&store);
}
