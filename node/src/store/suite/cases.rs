//! What is kept of cases: what of ours never reached the other side is no part of them.

use relay_core::case::{Move, Request, Rules};
use relay_proto::{ids::Uuid, payload};

use super::*;
use crate::store::InCase;

on_each!(what_expired_is_no_part_of_its_case, places_are_taken_once);

const CASE: [u8; 16] = [3; 16];

fn case() -> Uuid {
    Uuid::random(CASE)
}

/// A submission of a case: what it says, and after which message of ours.
fn said(n: u64, says: Move, follows: Option<u64>) -> NewSubmission {
    let place = payload::Place { follows: follows.map(ours), based_on: None };
    let id = case();
    let about = About {
        case_id: Bytes::copy_from_slice(id.as_bytes()),
        case: Some(InCase { says, place, rules: Rules::TREATY, seen: String::new() }),
        ..About::default()
    };
    NewSubmission { about, ..submission(n) }
}

fn request() -> Move {
    let (priority, items) = (Priority::Routine, vec!["1".to_owned()]);
    Move::Request(Request { revision: 1, priority, items, articles: vec!["8".to_owned()] })
}

async fn answer(store: &Store, new: NewSubmission) -> SubmissionAnswer {
    store.accept_submissions(vec![new]).await.unwrap().remove(0)
}

/// A withdrawal that expired is gone from the case, and its place is free again; so it is after a
/// restart.
async fn what_expired_is_no_part_of_its_case(place: Place) {
    let store = place.open();
    answer(&store, said(1, request(), None)).await;
    answer(&store, said(2, Move::Withdrawal(vec![]), Some(1))).await;
    let rows = |store: &Store| store.case_rows(&case(), &them()).unwrap().len();
    assert_eq!(rows(&store), 2);
    let failure = statement("failure", 2);
    let expiry = NewExpiry { digest: ours(2), recipient: them(), failure, now: at(4_000_000) };
    assert_eq!(store.expire(vec![expiry]).await.unwrap().len(), 1);
    assert_eq!(rows(&store), 1);
    let again = said(3, Move::Withdrawal(vec![]), Some(1));
    assert_eq!(answer(&store, again).await, SubmissionAnswer::Stored(ours(3)));
    assert_eq!(rows(&store), 2);
    assert_sound(&store);
}

/// One message of ours after another, and one request a case.
async fn places_are_taken_once(place: Place) {
    let store = place.open();
    assert_eq!(answer(&store, said(1, request(), None)).await, SubmissionAnswer::Stored(ours(1)));
    assert_eq!(answer(&store, said(2, request(), None)).await, SubmissionAnswer::CaseChanged);
    let notice = |n, follows| said(n, Move::MlaNotice, Some(follows));
    assert_eq!(answer(&store, notice(3, 1)).await, SubmissionAnswer::Stored(ours(3)));
    assert_eq!(answer(&store, notice(4, 1)).await, SubmissionAnswer::CaseChanged);
    assert_eq!(answer(&store, notice(5, 3)).await, SubmissionAnswer::Stored(ours(5)));
    let listed = store.cases(&[], 10).unwrap();
    assert_eq!((listed.len(), &listed[0].0), (1, &(case(), them())));
    assert_eq!(store.case_peers(&case()).unwrap(), [them()]);
    assert_sound(&store);
}
