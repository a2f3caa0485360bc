//! Erasure: the order first, then the bytes; nothing else goes, and zeros without an order are
//! damage.

use super::*;
use crate::store::journal::{Body, Position};

on_each![an_order_erases_content_and_nothing_else, an_order_in_the_batch_of_its_message];

/// What is left of a message's body in the journal.
fn body(store: &Store, digest: &Digest) -> Body {
    let record = store.message(digest).unwrap().unwrap();
    let position = Position::from_bytes(record.position.as_ref().try_into().unwrap());
    store.shared.reader.read(position).unwrap().body
}

async fn erase(store: &Store, digest: Digest) -> Result<bool, StoreError> {
    store.erase(digest, "order 7".into(), "officer".into(), at(9)).await
}

async fn an_order_erases_content_and_nothing_else(place: Place) {
    let store = place.open();
    arrive(&store, arrival(1, 0)).await;
    submit(&store, submission(1)).await;
    assert_eq!(erase(&store, theirs(5)).await.unwrap_err().reason(), Reason::NotFound);
    let waits = erase(&store, ours(1)).await.unwrap_err();
    assert_eq!(waits.reason(), Reason::FailedPrecondition);
    assert!(erase(&store, theirs(1)).await.unwrap());
    let before = seq(&store);
    assert!(!erase(&store, theirs(1)).await.unwrap());
    assert_eq!(seq(&store), before);
    assert_eq!(body(&store, &theirs(1)), Body::Erased);
    assert!(matches!(body(&store, &ours(1)), Body::Present(_)));
    let content = store.content(&store.message(&theirs(1)).unwrap().unwrap()).unwrap();
    assert_eq!(content.payload, None);
    assert_eq!(content.header, header(1, 0, &them(), &[]).signed);
    assert_eq!(store.receipts(&theirs(1)).unwrap().len(), 1);
    assert_eq!(store.erased(&theirs(1)).unwrap().unwrap().rule, "order 7");
    // A duplicate does not bring it back.
    assert_eq!(arrive(&store, arrival(1, 0)).await, ArrivalAnswer::Duplicate);
    assert_eq!(body(&store, &theirs(1)), Body::Erased);
    assert_sound(&store);
    store.close().await;
    assert_sound(&place.open());
}

/// The journal erases no body of its newest batch: the writer makes that batch an older one first.
async fn an_order_in_the_batch_of_its_message(place: Place) {
    let store = place.open();
    let (one, two) =
        tokio::join!(arrive(&store, arrival(1, 0)), async { erase(&store, theirs(1)).await });
    assert_eq!(one, ArrivalAnswer::Stored);
    assert!(two.unwrap());
    assert_eq!(body(&store, &theirs(1)), Body::Erased);
    assert_sound(&store);
}

/// Whenever the machine stops: either nothing was ordered and the content is there, or after the
/// next opening the bytes are gone. Evidence stays.
#[tokio::test(start_paused = true)]
async fn erase_crash_at_every_step() {
    let (mut orders, mut untouched) = (0, 0);
    for n in 1.. {
        let place = Place::memory(1);
        let store = place.open();
        arrive(&store, arrival(1, 0)).await;
        place.disk().crash_at_nth_op(n);
        let told = erase(&store, theirs(1)).await;
        if !place.disk().crashed() {
            assert!(told.unwrap());
            break;
        }
        for seed in 0..6 {
            let disk = place.disk().fork();
            disk.power_cut(seed);
            let store = Place::on(disk).open();
            let content = store.content(&store.message(&theirs(1)).unwrap().unwrap()).unwrap();
            match store.erased(&theirs(1)).unwrap() {
                Some(_) => {
                    assert_eq!((content.payload, body(&store, &theirs(1))), (None, Body::Erased));
                    orders += 1;
                }
                None => {
                    assert!(told.is_err());
                    assert_eq!(content.payload, Some(payload(1)));
                    untouched += 1;
                }
            }
            assert_eq!(content.header.bytes, header(1, 0, &them(), &[]).signed.bytes);
            assert_eq!(store.receipts(&theirs(1)).unwrap().len(), 1);
            assert_sound(&store);
        }
    }
    assert!(orders > 0 && untouched > 0);
}

#[tokio::test(start_paused = true)]
async fn zeros_without_an_order_are_damage() {
    let place = Place::memory(1);
    let store = place.open();
    arrive(&store, arrival(1, 0)).await;
    arrive(&store, arrival(2, 0)).await;
    let path = Path::new("/journal/segment-0000000001");
    let file = place.disk().content(path).unwrap();
    let wanted = payload(1);
    let start = file.windows(wanted.len()).rposition(|window| window == wanted).unwrap();
    for offset in start..start + wanted.len() {
        place.disk().rot(path, offset as u64, wanted[0]);
    }
    assert_eq!(body(&store, &theirs(1)), Body::Erased);
    // What was written just now is served from memory; another run has only the disk.
    store.close().await;
    let store = place.open();
    let content = store.content(&store.message(&theirs(1)).unwrap().unwrap());
    assert!(matches!(content, Err(StoreError::Damaged { .. })));
}
