//! Commits that fail, are too large, panic or come too late: nothing of them is kept, nobody waits
//! for ever.

use super::*;
use crate::store::{event::Fact, index::VALUE_BYTES_MAX, journal::OpKind};

on_each![
    a_failed_commit_leaves_nothing,
    too_large_a_record_fails_its_commit_only,
    large_groups_are_split_over_batches,
];

/// A commit that fails after it made leaves and events takes them back; its neighbours in the batch
/// stay.
async fn a_failed_commit_leaves_nothing(place: Place) {
    let store = place.open();
    let failing = store.commit(Priority::Emergency, |txn| -> Result<(), StoreError> {
        let leaf = NewLeaf {
            statement: statement("lost", 1),
            digest: ours(7),
            owed_to: Some(them().to_string()),
            priority: Priority::Routine,
            actor: String::new(),
        };
        let leaf = Some(txn.leaf(leaf)?);
        txn.push(
            at(1),
            Fact::EntryExpired(event::EntryChanged { entry: None, leaf }),
            Bytes::new(),
        );
        Err(StoreError::Refused(Reason::Busy))
    });
    let (one, failed, other) = tokio::join!(
        submit(&store, submission(1)),
        failing,
        store.accept_arrivals(Priority::Routine, vec![arrival(1, 0)]),
    );
    assert_eq!(failed.unwrap_err().reason(), Reason::Busy);
    assert_eq!(
        (one, other.unwrap()[0]),
        (SubmissionAnswer::Stored(ours(1)), ArrivalAnswer::Stored)
    );
    assert_eq!(store.log_head().size, 2);
    assert_eq!(owed(&store), [(1, statement("consignment", 10))]);
    assert_sound(&store);
}

/// What the index could never hold would end the store now and at each opening; it is refused
/// instead.
async fn too_large_a_record_fails_its_commit_only(place: Place) {
    let store = place.open();
    let before = seq(&store);
    let long = "x".repeat(VALUE_BYTES_MAX + 1);
    let long = alarm(&store, Reason::Busy, them(), &long).await.unwrap_err();
    assert_eq!(long.reason(), Reason::TooLarge);
    let body = NewSubmission { payload: vec![1; (16 << 20) + 1].into(), ..submission(1) };
    let body = store.accept_submissions(vec![body]).await.unwrap_err();
    assert_eq!(body.reason(), Reason::TooLarge);
    assert_eq!(seq(&store), before);
    assert_eq!(submit(&store, submission(1)).await, SubmissionAnswer::Stored(ours(1)));
    assert_sound(&store);
}

/// More than a batch of the journal holds, queued at once: several batches, all answered.
async fn large_groups_are_split_over_batches(place: Place) {
    let store = place.open();
    let mut callers = tokio::task::JoinSet::new();
    for n in 1..=9 {
        let store = store.clone();
        let payload = Bytes::from(vec![n as u8; 8 << 20]);
        callers
            .spawn(async move { submit(&store, NewSubmission { payload, ..submission(n) }).await });
    }
    for answer in callers.join_all().await {
        assert!(matches!(answer, SubmissionAnswer::Stored(_)));
    }
    assert_sound(&store);
    assert_eq!(store.close().await, Ended::Clean);
}

/// The sync fails: whoever is in the batch, waits in the queue or comes later is told, and the end
/// says why.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_store_that_ended() {
    let place = Place::memory(1);
    let store = place.open();
    place.disk().fail_nth(OpKind::Sync, 1, 5);
    let mut callers = tokio::task::JoinSet::new();
    // More than one batch takes, so that some still wait in the queue when the store ends.
    for n in 1..=3000 {
        let store = store.clone();
        callers.spawn(async move { store.accept_submissions(vec![submission(n)]).await });
    }
    for answer in callers.join_all().await {
        assert!(matches!(answer, Err(StoreError::Stopped)));
    }
    assert!(matches!(store.ended().await, Ended::Failed(why) if why.contains("sync")));
    assert!(matches!(store.close().await, Ended::Failed(_)));
}

/// A commit that panics ends the store: queued callers are told.
#[tokio::test]
async fn a_panic_of_the_writer_ends_the_store() {
    let place = Place::embedded();
    let store = place.open();
    let bad = store.commit(Priority::Emergency, |_| -> Result<(), StoreError> { panic!("bug") });
    let (bad, other) = tokio::join!(bad, store.accept_submissions(vec![submission(1)]));
    assert!(matches!(bad, Err(StoreError::Stopped)));
    assert!(matches!(other, Err(StoreError::Stopped)));
    assert!(matches!(store.ended().await, Ended::Failed(_)));
    // The lock went with the writer, and nothing of either is there.
    let store = place.open();
    assert_eq!(store.message(&ours(1)).unwrap(), None);
    assert_sound(&store);
}
