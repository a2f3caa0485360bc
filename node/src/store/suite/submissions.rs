//! Submissions and the outbox: what is stored, due, deferred, given up.

use tokio::task::JoinSet;

use super::*;
use crate::store::records::{BackoffRecord, EntryState};

on_each![
    a_request_has_one_effect,
    one_request_id_64_times_in_parallel,
    request_ids_of_two_callers_do_not_meet,
    a_message_id_is_taken_once,
    due_in_lanes_and_order,
    a_full_queue_counts_what_is_open,
    a_full_queue_counts_bytes,
    deferring_is_repeatable,
    expiry_ends_what_is_open,
    back_off_is_kept,
];

/// The same request again gives the same answer and nothing else; with other content it is refused.
async fn a_request_has_one_effect(place: Place) {
    let store = place.open();
    assert_eq!(submit(&store, submission(1)).await, SubmissionAnswer::Stored(ours(1)));
    let before = seq(&store);
    assert_eq!(submit(&store, submission(1)).await, SubmissionAnswer::Repeated(ours(1)));
    let mut other = submission(2);
    other.request_key = submission(1).request_key;
    other.content = Digest::of(b"another draft");
    assert_eq!(submit(&store, other).await, SubmissionAnswer::Conflict);
    assert_eq!(seq(&store), before);
    assert_eq!(store.message(&ours(2)).unwrap(), None);
    let request = store.request(&submission(1).request_key).unwrap().unwrap();
    assert_eq!(request.digest, ours(1).as_bytes().as_slice());
    assert_eq!(store.entries(&ours(1)).unwrap().len(), 1);
    assert_eq!(store.receipts(&ours(1)).unwrap()[0].statement, submission(1).statement);
    assert_sound(&store);
    assert_eq!(store.close().await, Ended::Clean);
}

/// A caller that loses its patience and asks again and again, all at once: one message, equal
/// answers.
async fn one_request_id_64_times_in_parallel(place: Place) {
    let store = place.open();
    let mut callers = JoinSet::new();
    for _ in 0..64 {
        let store = store.clone();
        callers.spawn(async move { submit(&store, submission(1)).await });
    }
    let answers = callers.join_all().await;
    let stored = answers.iter().filter(|a| **a == SubmissionAnswer::Stored(ours(1))).count();
    let repeated = answers.iter().filter(|a| **a == SubmissionAnswer::Repeated(ours(1))).count();
    assert_eq!((stored, repeated), (1, 63));
    assert_eq!(store.counter("transfers-made", &them()).unwrap(), 1);
    assert_eq!(store.list(&Filter::default(), None, 100).unwrap().messages.len(), 1);
    assert_sound(&store);
}

/// The key holds caller and verb: two callers with one id each have their message.
async fn request_ids_of_two_callers_do_not_meet(place: Place) {
    let store = place.open();
    let (mut one, mut other) = (submission(1), submission(2));
    one.request_key = *Digest::of_parts(&[b"caller a", b"id"]).as_bytes();
    other.request_key = *Digest::of_parts(&[b"caller b", b"id"]).as_bytes();
    assert_eq!(submit(&store, one).await, SubmissionAnswer::Stored(ours(1)));
    assert_eq!(submit(&store, other).await, SubmissionAnswer::Stored(ours(2)));
    assert_sound(&store);
}

/// A message that is stored is not queued a second time under another request.
async fn a_message_id_is_taken_once(place: Place) {
    let store = place.open();
    submit(&store, submission(1)).await;
    let mut again = submission(1);
    again.request_key = [8; 32];
    assert_eq!(submit(&store, again).await, SubmissionAnswer::Conflict);
    assert_eq!(store.claim_due(&them(), priority(1), 0, 9).unwrap().len(), 1);
    assert_sound(&store);
}

/// Each lane by number, above a number, at most so many; the other peer's are not among them; what
/// is settled is due no more.
async fn due_in_lanes_and_order(place: Place) {
    let store = place.open();
    let all = (1..=9).map(|n| submission_to(n, &[them(), unit("xc.ncu")])).collect();
    store.accept_submissions(all).await.unwrap();
    let numbers = |lane, after, max| -> Vec<u64> {
        let due = store.claim_due(&them(), lane, after, max).unwrap();
        due.iter()
            .map(|(entry, record)| {
                assert_eq!(entry.number, record.number);
                entry.number
            })
            .collect()
    };
    assert_eq!(numbers(priority(1), 0, 9), [1, 4, 7]);
    assert_eq!(numbers(priority(1), 1, 1), [4]);
    assert_eq!(numbers(priority(2), 0, 9), [2, 5, 8]);
    assert_eq!(store.waiting_units(1).unwrap(), [them()]);
    assert_eq!(store.waiting_units(9).unwrap(), [them(), unit("xc.ncu")]);
    let queue = store.peer_queue(&them(), 100).unwrap();
    assert!(!queue.more && store.peer_queue(&them(), 1).unwrap().more);
    assert_eq!((queue.open, queue.oldest), (9, Some(at(1))));
    assert_eq!(queue.most_urgent, Some(Priority::Emergency));
    let settled = store
        .record_receipts(group(5, 1, vec![receipt(4, Stated::ContentConsignment)]))
        .await
        .unwrap();
    assert_eq!(settled, [4]);
    assert_eq!(numbers(priority(1), 0, 9), [1, 7]);
    assert_eq!(store.claim_due(&unit("xc.ncu"), priority(1), 0, 9).unwrap().len(), 3);
    assert_sound(&store);
}

/// Two open entries fill a queue of two. One old entry that waits does not fill the queue of a peer
/// that took all others: what counts is open, not how far the numbers reach.
async fn a_full_queue_counts_what_is_open(place: Place) {
    let store = place.open();
    let limited = |n| {
        let queue_max = QueueMax { messages: 2, bytes: 1 << 30 };
        let mut new = NewSubmission { queue_max, ..submission(n) };
        new.header.priority = Priority::Routine;
        new
    };
    assert_eq!(submit(&store, limited(1)).await, SubmissionAnswer::Stored(ours(1)));
    assert_eq!(submit(&store, limited(2)).await, SubmissionAnswer::Stored(ours(2)));
    assert_eq!(submit(&store, limited(3)).await, SubmissionAnswer::QueueFull(them()));
    // Each lane counts for itself.
    for (n, priority) in [(51, Priority::Emergency), (52, Priority::Urgent)] {
        let mut new = limited(n);
        new.header.priority = priority;
        assert_eq!(submit(&store, new).await, SubmissionAnswer::Stored(ours(n)));
    }
    for n in 3..9 {
        let settled = receipt(n - 1, Stated::ContentConsignment);
        store.record_receipts(group(n, n, vec![settled])).await.unwrap();
        assert_eq!(submit(&store, limited(n)).await, SubmissionAnswer::Stored(ours(n)), "{n}");
        assert_eq!(submit(&store, limited(99)).await, SubmissionAnswer::QueueFull(them()), "{n}");
    }
    assert_sound(&store);
}

/// A queue is full by its bytes as well: the message that would go beyond them is refused, a
/// shorter one is taken, a refusal costs nothing, and what ended makes room. What was there before
/// a start counts.
async fn a_full_queue_counts_bytes(place: Place) {
    let size = u64::from(wire_bytes(&submission(1).header, &Bytes::from_static(&[7; 200])));
    let limited = |n, longer: usize| {
        let queue_max = QueueMax { messages: 1000, bytes: 3 * size + 50 };
        let payload = Bytes::from(vec![7; 200 + longer]);
        let mut new = NewSubmission { queue_max, payload, ..submission(n) };
        new.header.priority = Priority::Routine;
        new
    };
    let store = place.open();
    for n in 1..3 {
        assert_eq!(submit(&store, limited(n, 0)).await, SubmissionAnswer::Stored(ours(n)));
    }
    for n in 90..93 {
        assert_eq!(submit(&store, limited(n, 51)).await, SubmissionAnswer::QueueFull(them()));
    }
    assert_eq!(submit(&store, limited(3, 50)).await, SubmissionAnswer::Stored(ours(3)));
    assert_eq!(submit(&store, limited(90, 0)).await, SubmissionAnswer::QueueFull(them()));
    let mut urgent = limited(51, 0);
    urgent.header.priority = Priority::Urgent;
    assert_eq!(submit(&store, urgent).await, SubmissionAnswer::Stored(ours(51)));
    assert_eq!(store.close().await, Ended::Clean);
    drop(store);

    let store = place.open();
    assert_eq!(submit(&store, limited(90, 0)).await, SubmissionAnswer::QueueFull(them()));
    let settled = receipt(3, Stated::ContentConsignment);
    store.record_receipts(group(1, 1, vec![settled])).await.unwrap();
    assert_eq!(submit(&store, limited(4, 50)).await, SubmissionAnswer::Stored(ours(4)));
    assert_eq!(submit(&store, limited(90, 0)).await, SubmissionAnswer::QueueFull(them()));
    assert_sound(&store);
}

async fn deferring_is_repeatable(place: Place) {
    let store = place.open();
    submit(&store, submission(1)).await;
    let defer = || store.defer(ours(1), them().to_string(), Reason::Busy, at(500), 3, at(9));
    defer().await.unwrap();
    let before = seq(&store);
    defer().await.unwrap();
    assert_eq!(seq(&store), before);
    let (entry, record) = store.claim_due(&them(), priority(1), 0, 9).unwrap().remove(0);
    assert_eq!((entry.not_before, entry.attempts), (at(500), 3));
    assert_eq!(record.wait(), Duration::from_millis(500 - 9));
    assert_eq!((record.state(), record.reason.as_str()), (EntryState::Deferred, "BUSY"));
    // Neither an unknown entry nor a settled one is touched.
    store.defer(ours(2), them().to_string(), Reason::Busy, at(1), 1, at(1)).await.unwrap();
    let settled = vec![receipt(1, Stated::ContentConsignment)];
    store.record_receipts(group(1, 1, settled)).await.unwrap();
    defer().await.unwrap();
    assert_eq!(store.entries(&ours(1)).unwrap()[0].state(), EntryState::Delivered);
    assert_sound(&store);
}

/// One RelayFailure for each that is open, none for what was settled meanwhile, none a second time.
async fn expiry_ends_what_is_open(place: Place) {
    let store = place.open();
    for n in 1..=2 {
        submit(&store, submission(n)).await;
    }
    assert_eq!(store.expiring(9).unwrap()[0].expires_at_ms, at(1 + 3_600_000).as_millis());
    let settled = vec![receipt(2, Stated::ContentConsignment)];
    store.record_receipts(group(1, 1, settled)).await.unwrap();
    let expiry = |n| NewExpiry {
        digest: ours(n),
        recipient: them(),
        failure: statement("failure", n),
        now: at(4_000_000),
    };
    let expired =
        store.expire(vec![expiry(1), expiry(1), expiry(2), expiry(3)]).await.unwrap().len();
    assert_eq!(expired, 1);
    assert!(store.expire(vec![expiry(1)]).await.unwrap().is_empty());
    assert_eq!(store.entries(&ours(1)).unwrap()[0].state(), EntryState::Expired);
    assert_eq!(store.receipts(&ours(1)).unwrap()[1].statement, statement("failure", 1));
    // Our own statement about our own message: no peer is owed it.
    assert!(owed(&store).is_empty());
    assert!(store.expiring(9).unwrap().is_empty());
    // A receipt that comes too late is kept and settles nothing.
    let late = store.record_receipts(group(2, 2, vec![receipt(1, Stated::ContentConsignment)]));
    assert_eq!(late.await.unwrap(), Vec::<u64>::new());
    assert_eq!(store.entries(&ours(1)).unwrap()[0].state(), EntryState::Expired);
    assert_eq!(store.receipts(&ours(1)).unwrap().len(), 3);
    assert_sound(&store);
}

async fn back_off_is_kept(place: Place) {
    let store = place.open();
    let backoff = BackoffRecord { attempts: 2, next_try_ms: 77, ..Default::default() };
    store.save_backoff(them(), Some(backoff.clone()), at(1)).await.unwrap();
    let before = seq(&store);
    store.save_backoff(them(), Some(backoff.clone()), at(2)).await.unwrap();
    assert_eq!(seq(&store), before);
    assert_eq!(store.backoff(&them()).unwrap(), Some(backoff));
    store.save_backoff(them(), None, at(3)).await.unwrap();
    assert_eq!(store.backoff(&them()).unwrap(), None);
    assert_sound(&store);
}
