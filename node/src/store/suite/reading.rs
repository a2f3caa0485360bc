//! Lists, lookups, events, peers, alarms.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use super::*;
use crate::store::records::{EntryRecord, EntryState, MessageRecord, PeerRecord};

on_each![
    lists_page_completely_and_newest_first,
    what_waits_is_listed_from_what_waits,
    short_ids_find_all_and_hide_none,
    events_are_seen_with_their_effects,
    leaves_are_seen_below_the_head,
    peers_change_and_go,
    alarms_newest_first,
    waiting_messages_by_urgency,
    an_empty_payload_is_content,
    reopened_in_order_it_is_the_same,
];

async fn fill(store: &Store) {
    for n in 1..=12 {
        submit(store, submission(n)).await;
        arrive(store, arrival(n, 0)).await;
    }
}

async fn lists_page_completely_and_newest_first(place: Place) {
    let store = place.open();
    fill(&store).await;
    store.acknowledge(ack(4, 1, 1)).await.unwrap();
    let all = |filter: &Filter, page: usize| -> Vec<u64> {
        let (mut place, mut found) = (None, Vec::new());
        loop {
            let listed = store.list(filter, place.as_deref(), page).unwrap();
            assert!(listed.messages.len() <= page);
            found.extend(listed.messages.iter().map(|message| message.seq));
            match listed.next {
                Some(next) => place = Some(next),
                None => return found,
            }
        }
    };
    let whole = all(&Filter::default(), 100);
    assert!(whole.len() == 24 && whole.is_sorted_by(|one, next| one > next));
    for page in [1, 5, 23, 24] {
        assert_eq!(all(&Filter::default(), page), whole);
    }
    let count = |filter: Filter| all(&filter, 5).len();
    let out = Some(MessageRecord::OUT);
    assert_eq!(count(Filter { direction: out, ..Default::default() }), 12);
    assert_eq!(count(Filter { kind: Some(2), ..Default::default() }), 12);
    assert_eq!(count(Filter { priority: Some(3), ..Default::default() }), 8);
    assert_eq!(count(Filter { peer: Some("xb.ncu".into()), ..Default::default() }), 24);
    assert_eq!(count(Filter { peer: Some("xc.ncu".into()), ..Default::default() }), 0);
    assert_eq!(count(Filter { acknowledged: Some(true), ..Default::default() }), 1);
    assert_eq!(count(Filter { acknowledged: Some(false), ..Default::default() }), 11);
    let entry: Option<fn(&EntryRecord) -> bool> = Some(|entry| entry.number > 10);
    assert_eq!(count(Filter { entry, ..Default::default() }), 2);
    assert_sound(&store);
}

/// What is open or untaken is listed once, in its order, over pages; what ended is not among it.
async fn what_waits_is_listed_from_what_waits(place: Place) {
    let store = place.open();
    fill(&store).await;
    let third = unit("xc.ncu");
    submit(&store, submission_to(13, &[third.clone(), them()])).await;
    let ended = (1..=12).filter(|n| n % 4 != 0).map(|n| receipt(n, Stated::ContentConsignment));
    store.record_receipts(group(1, 12, ended.collect())).await.unwrap();
    store.acknowledge(ack(6, 1, 1)).await.unwrap();
    let all = |filter: &Filter, page: usize| -> Vec<Digest> {
        let (mut place, mut found) = (None, Vec::new());
        loop {
            let listed = store.list(filter, place.as_deref(), page).unwrap();
            found.extend(listed.messages.iter().map(MessageRecord::digest));
            place = listed.next;
            if place.is_none() {
                return found;
            }
        }
    };
    // By recipient, EMERGENCY first; what waits for two is there once.
    let open = Filter { open: true, direction: Some(MessageRecord::OUT), ..Filter::default() };
    let to_third = Filter { peer: Some(third.to_string()), ..open.clone() };
    let held = Filter { entry: Some(|entry| entry.state() == EntryState::Held), ..open.clone() };
    let untaken = Filter { acknowledged: Some(false), ..Filter::default() };
    for page in [1, 2, 3, 100] {
        assert_eq!(all(&open, page), [13, 12, 4, 8].map(ours));
        assert_eq!(all(&to_third, page), [ours(13)]);
        assert_eq!(all(&held, page), [] as [Digest; 0]);
        assert_eq!(all(&untaken, page), [3, 9, 12, 1, 4, 7, 10, 2, 5, 8, 11].map(theirs));
    }
    // Ours is not found among what came.
    let came = Filter { direction: Some(MessageRecord::IN), ..open };
    assert!(all(&came, 2).is_empty());
    // Delivered to the first of two, it is listed with the other.
    store
        .record_receipts(group(2, 13, vec![receipt(13, Stated::ContentConsignment)]))
        .await
        .unwrap();
    assert_eq!(all(&to_third, 9), [ours(13)]);
    assert_sound(&store);
}

/// Ids that a peer made to look alike do not hide the one that is looked for.
async fn short_ids_find_all_and_hide_none(place: Place) {
    let store = place.open();
    submit(&store, submission(1)).await;
    let mut alike = Vec::new();
    for n in 0..150u64 {
        let Verdict::Accept(mut new) = arrival(n + 10, 0) else { unreachable!() };
        // The sender sorts before ours; the short id is in the last bytes of the id.
        new.header.from = unit("aa.ncu");
        let mut bytes = *id(1).as_bytes();
        bytes[..6].copy_from_slice(&(1_000 + n).to_be_bytes()[2..]);
        new.header.message_id = MessageId::from_bytes(&bytes).unwrap();
        assert_eq!(new.header.message_id.short(), id(1).short());
        alike.push(Verdict::Accept(new));
    }
    store.accept_arrivals(Priority::Routine, alike).await.unwrap();
    assert_eq!(store.by_id(&id(1)).unwrap(), [ours(1)]);
    assert_eq!(store.by_sender(&us(), &id(1)).unwrap(), Some(ours(1)));
    assert!(store.by_short_id(&id(1).short()).unwrap().len() > 1);
    assert!(store.by_short_id(&id(2).short()).unwrap().is_empty());
}

/// Whoever reads a receipt of ours and then asks for the log gets one that holds it, at whatever
/// moment of a commit; else there would be no proof for it yet.
async fn leaves_are_seen_below_the_head(place: Place) {
    let store = place.open();
    let (reader, done) = (store.clone(), Arc::new(AtomicBool::new(false)));
    let stop = Arc::clone(&done);
    let reading = std::thread::spawn(move || {
        let mut looks = 0;
        while !stop.load(Ordering::Acquire) || looks == 0 {
            let owed = reader.waiting_receipts(&them(), 1000).unwrap();
            let size = reader.log_head().size;
            assert!(owed.iter().all(|(_, receipt)| receipt.index < size), "{size}");
            looks += 1;
        }
    });
    for n in 1..=200 {
        arrive(&store, arrival(n, 0)).await;
    }
    done.store(true, Ordering::Release);
    reading.join().unwrap();
    assert_eq!(store.log_head().size, 200);
    assert_eq!(*store.durable().borrow(), store.log_head().seq);
}

/// Whoever is shown an event finds what it did, also while the writer is at work.
async fn events_are_seen_with_their_effects(place: Place) {
    let store = place.open();
    let mut writers = JoinSet::new();
    for n in 1..=40 {
        let store = store.clone();
        writers.spawn(async move { submit(&store, submission(n)).await });
    }
    let (mut seen, mut messages) = (0, 0);
    let mut durable = store.durable();
    while messages < 40 {
        for (seq, event) in store.events_after(seen, 3).unwrap() {
            assert_eq!(seq, seen + 1);
            seen = seq;
            if let Some(event::Fact::Submitted(fact)) = &event.fact {
                messages += 1;
                let record = fact.record.as_ref().unwrap();
                assert!(store.message(&record.digest()).unwrap().is_some());
            }
        }
        if store.events_after(seen, 1).unwrap().is_empty() && messages < 40 {
            durable.changed().await.unwrap();
        }
    }
    writers.join_all().await;
    assert!(store.events_after(seen, 9).unwrap().is_empty());
    assert!(store.events_after(u64::MAX, 9).unwrap().is_empty());
    assert_sound(&store);
}

async fn peers_change_and_go(place: Place) {
    let store = place.open();
    let peer = PeerRecord { unit: "xb.ncu".into(), trust: 1, ..Default::default() };
    let change = |trust| {
        let peer = PeerRecord { trust, ..peer.clone() };
        store.change_peer(them(), at(1), move |_| Ok(peer))
    };
    change(1).await.unwrap();
    change(2).await.unwrap();
    let before = seq(&store);
    change(2).await.unwrap();
    let refused = store.change_peer(them(), at(2), |stored| {
        assert_eq!(stored.unwrap().trust, 2);
        Err(Reason::FingerprintMismatch)
    });
    assert_eq!(refused.await.unwrap_err().reason(), Reason::FingerprintMismatch);
    assert_eq!(seq(&store), before);
    assert_eq!(store.peers().unwrap()[0].trust, 2);
    store.remove_peer(them(), at(3)).await.unwrap();
    assert_eq!(store.remove_peer(them(), at(3)).await.unwrap_err().reason(), Reason::NotFound);
    assert!(store.peers().unwrap().is_empty());
    assert_sound(&store);
}

async fn alarms_newest_first(place: Place) {
    let store = place.open();
    for n in 0..3 {
        alarm(&store, Reason::PeerRolledBack, them(), &n.to_string()).await.unwrap();
    }
    let details: Vec<String> = store.alarms(2).unwrap().into_iter().map(|a| a.detail).collect();
    assert_eq!(details, ["2", "1"]);
    assert_sound(&store);
}

/// EMERGENCY first, then age.
async fn waiting_messages_by_urgency(place: Place) {
    let store = place.open();
    for n in [1, 2, 3, 4, 5, 6] {
        arrive(&store, arrival(n, 0)).await;
    }
    assert_eq!(store.unacknowledged(4).unwrap(), [3, 6, 1, 4].map(theirs));
}

async fn an_empty_payload_is_content(place: Place) {
    let store = place.open();
    submit(&store, NewSubmission { payload: Bytes::new(), ..submission(1) }).await;
    let record = store.message(&ours(1)).unwrap().unwrap();
    assert_eq!(store.content(&record).unwrap().payload, Some(Bytes::new()));
}

async fn reopened_in_order_it_is_the_same(place: Place) {
    let store = place.open();
    fill(&store).await;
    let (before, head) = (sound::dump(&store), store.log_head());
    assert_eq!(store.close().await, Ended::Clean);
    assert!(matches!(alarm(&store, Reason::Busy, us(), "").await, Err(StoreError::Stopped)));
    // The handle holds the index open.
    drop(store);
    let store = place.open();
    assert_eq!(sound::dump(&store), before);
    let again = store.log_head();
    assert_eq!((again.size, again.root), (head.size, head.root));
    assert_sound(&store);
}
