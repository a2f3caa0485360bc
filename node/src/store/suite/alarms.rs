//! Alarms end by an operator's word, or when what they ask for is done.

use super::*;

on_each![an_alarm_ends_and_comes_again, a_peer_names_one_later_log];

/// An operator's word ends an alarm, once for each request, and the same one that comes after it
/// stands anew; what ended is kept with who, why and when.
async fn an_alarm_ends_and_comes_again(place: Place) {
    let store = place.open();
    let raise = |detail: &str, n| NewAlarm {
        reason: Reason::StoreDamaged,
        peer: us().to_string(),
        detail: detail.to_owned(),
        evidence: Bytes::new(),
        now: at(n),
    };
    for n in [1, 2] {
        store.alarm_once(raise("one", n), Meter::unlimited()).await.unwrap();
    }
    store.alarm_once(raise("two", 3), Meter::unlimited()).await.unwrap();
    assert_eq!(store.alarms(9).unwrap().len(), 2, "the same one is told once");
    let (seq, first) = store.all_alarms(u64::MAX, 9).unwrap().pop().unwrap();
    let clear = |seq, why: &str| ClearAlarm {
        seq,
        by: "K. Novak".to_owned(),
        why: why.to_owned(),
        request: PeerRequest { key: [5; 32], content: Digest::of(why.as_bytes()) },
    };
    for _ in 0..2 {
        let ended = store.clear_alarm(clear(seq, "disk replaced"), at(4)).await.unwrap();
        let told = (ended.cleared_by.as_str(), ended.cleared_why.as_str(), ended.cleared_at_ms);
        assert_eq!(told, ("K. Novak", "disk replaced", at(4).as_millis()));
        assert_eq!((ended.detail, ended.at_ms), (first.detail.clone(), first.at_ms));
    }
    let other = store.clear_alarm(clear(seq, "another reason"), at(5)).await.unwrap_err();
    assert!(matches!(other, StoreError::Refused(Reason::RequestIdConflict)), "{other}");
    let mut unknown = clear(seq + 1000, "disk replaced");
    unknown.request.key = [6; 32];
    let unknown = store.clear_alarm(unknown, at(5)).await.unwrap_err();
    assert!(matches!(unknown, StoreError::Refused(Reason::NotFound)), "{unknown}");
    let standing = |store: &Store| -> Vec<String> {
        store.alarms(9).unwrap().into_iter().map(|alarm| alarm.detail).collect()
    };
    assert_eq!(standing(&store), ["two"]);
    store.alarm_once(raise("one", 6), Meter::unlimited()).await.unwrap();
    assert_eq!(standing(&store), ["one", "two"]);
    assert_eq!(store.all_alarms(u64::MAX, 9).unwrap().len(), 3);
    // What asks for the same ends together.
    let why = "the log signs";
    store.end_alarms(&us(), &[Reason::StoreDamaged], why, at(7)).await.unwrap();
    assert!(standing(&store).is_empty());
    let store = reopened(&place, store).await;
    assert!(standing(&store).is_empty());
    assert_eq!(store.all_alarms(u64::MAX, 9).unwrap().len(), 3);
    assert_sound(&store);
}

async fn reopened(place: &Place, store: Store) -> Store {
    store.close().await;
    drop(store);
    place.open()
}

/// A peer's word that there is a later log of ours is kept, once, whatever it names next; that of
/// another peer is kept as well.
async fn a_peer_names_one_later_log(place: Place) {
    let store = place.open();
    let peers: [UnitId; 2] = ["xb.ncu", "xc.ncu"].map(|unit| unit.parse().unwrap());
    for generation in 2..20 {
        store.keep_later(&peers[0], &us().log_origin(generation), at(1)).await.unwrap();
    }
    store.keep_later(&peers[1], &us().log_origin(5), at(1)).await.unwrap();
    let later: Vec<(String, String)> =
        store.later_logs().unwrap().into_iter().map(|one| (one.peer, one.origin)).collect();
    let wanted = [(2, "xb.ncu"), (5, "xc.ncu")];
    let wanted = wanted.map(|(n, peer)| (peer.to_owned(), us().log_origin(n).to_string()));
    assert_eq!(later, wanted);
}
