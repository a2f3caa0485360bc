//! Alarms end by an operator's word, or when what they ask for is done.

use super::*;

on_each![
    an_alarm_ends_and_comes_again,
    an_alarm_stands_however_many_come_after_it,
    a_cause_that_comes_back_is_told,
    a_peer_names_one_later_log,
];

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
    let gone = Gone {
        reason: Reason::StoreDamaged,
        why: "the disk is another",
        through: store.log_head().seq,
        cause: || None,
    };
    store.end_alarms(&us(), gone, at(7)).await.unwrap();
    assert!(standing(&store).is_empty());
    let store = reopened(&place, store).await;
    assert!(standing(&store).is_empty());
    assert_eq!(store.all_alarms(u64::MAX, 9).unwrap().len(), 3);
    assert_sound(&store);
}

/// One that stands is shown, told once and ended, also behind more alarms that were raised and
/// ended than anybody reads.
async fn an_alarm_stands_however_many_come_after_it(place: Place) {
    let store = place.open();
    let raise = |peer: UnitId, n: u64| NewAlarm {
        reason: Reason::PeerRolledBack,
        peer: peer.to_string(),
        detail: format!("alarm {n}"),
        evidence: Bytes::new(),
        now: at(n),
    };
    store.alarm_once(raise(them(), 1), Meter::unlimited()).await.unwrap();
    for n in 1..=5 {
        store
            .commit(Priority::Routine, move |txn| {
                for nth in 0..1000 {
                    let ended = records::AlarmRecord {
                        reason: Reason::PeerRolledBack.label().to_owned(),
                        peer: us().to_string(),
                        detail: format!("{n} {nth}"),
                        cleared_by: "K. Novak".to_owned(),
                        ..Default::default()
                    };
                    txn.push(at(n), event::Fact::Alarmed(ended), Bytes::new());
                }
                Ok(())
            })
            .await
            .unwrap();
    }
    let shown = |store: &Store| -> Vec<String> {
        store.alarms(9).unwrap().into_iter().map(|alarm| alarm.detail).collect()
    };
    assert_eq!(shown(&store), ["alarm 1"]);
    assert_eq!(store.alarms_about(&them(), 9).unwrap().len(), 1);
    assert!(store.alarms_about(&us(), 9).unwrap().is_empty());
    let seq = store.log_head().seq;
    store.alarm_once(raise(them(), 1), Meter::unlimited()).await.unwrap();
    assert_eq!(store.log_head().seq, seq, "it stands");
    store.alarm_once(raise(them(), 2), Meter::unlimited()).await.unwrap();
    store.alarm_once(raise(us(), 3), Meter::unlimited()).await.unwrap();
    assert_eq!(shown(&store), ["alarm 3", "alarm 2", "alarm 1"], "the newest first");
    let store = reopened(&place, store).await;
    let cause = || None;
    let (reason, why, through) = (Reason::PeerRolledBack, "taken", seq);
    let gone = Gone { reason, why, through, cause };
    store.end_alarms(&them(), gone.clone(), at(9)).await.unwrap();
    assert_eq!(shown(&store), ["alarm 3", "alarm 2"], "what came later is about something else");
    store.end_alarms(&them(), Gone { through: u64::MAX, ..gone }, at(9)).await.unwrap();
    assert_eq!(shown(&store), ["alarm 3"]);
    assert_sound(&store);
}

/// The cause comes back while its alarm is ended: whoever tells of it then finds the old alarm
/// still standing, so that it stands in the end all the same.
async fn a_cause_that_comes_back_is_told(place: Place) {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };
    let store = place.open();
    let held = |detail: &str| NewAlarm {
        reason: Reason::LogHeld,
        peer: us().to_string(),
        detail: detail.to_owned(),
        evidence: Bytes::new(),
        now: at(1),
    };
    store.alarm_once(held("waits for xb.ncu"), Meter::unlimited()).await.unwrap();
    // Back before the commit, after it, and not at all.
    for (from, standing) in [(0, 1), (1, 1), (9, 0)] {
        let asked = Arc::new(AtomicU32::new(0));
        let cause = move || {
            let is_back = asked.fetch_add(1, Ordering::Relaxed) >= from;
            is_back.then(|| "waits for xb.ncu".to_owned())
        };
        let (reason, through) = (Reason::LogHeld, store.log_head().seq);
        let gone = Gone { reason, why: "the log signs", through, cause };
        store.end_alarms(&us(), gone, at(2)).await.unwrap();
        assert_eq!(store.alarms(9).unwrap().len(), standing, "{from}");
    }
    assert_sound(&store);
}

/// A peer that showed forks without end, each with two long notes, keeps no operator from accepting
/// its rollback: what was raised before ends, in commits that fit. The same request again ends what
/// a crash left of them, and nothing that was raised since.
#[tokio::test(start_paused = true)]
async fn forks_without_end_keep_no_rollback_from_being_accepted() {
    let store = Place::memory(1).open();
    let fork = |n: u64| records::AlarmRecord {
        reason: Reason::PeerRolledBack.label().to_owned(),
        peer: them().to_string(),
        detail: format!("log xb.ncu/log/1 has two roots at size {n}"),
        at_ms: at(1).as_millis(),
        evidence: vec![7; 32 << 10].into(),
        ..Default::default()
    };
    for hundred in 0..21 {
        let alarms: Vec<_> = (0..100).map(|n| fork(hundred * 100 + n)).collect();
        let raise = move |txn: &mut Txn<'_>| {
            for alarm in alarms {
                txn.push(at(1), event::Fact::Alarmed(alarm), Bytes::new());
            }
            Ok(())
        };
        store.commit(Priority::Routine, raise).await.unwrap();
    }
    let raise = |detail: &str, n| {
        let (reason, peer) = (Reason::PeerRolledBack, them().to_string());
        let (detail, evidence) = (detail.to_owned(), Bytes::new());
        store.alarm(NewAlarm { reason, peer, detail, evidence, now: at(n) }, Meter::unlimited())
    };
    let accept = || {
        let request = PeerRequest { key: [5; 32], content: Digest::of(b"accept") };
        store.accept_rollback(them(), request, at(5), |_| {
            let (unit, rollback_by) = (them().to_string(), "K. Novak".to_owned());
            Ok(records::PeerRecord { unit, rollback_by, ..Default::default() })
        })
    };
    accept().await.unwrap();
    assert!(store.alarms(9).unwrap().is_empty());
    let (_, ended) = store.all_alarms(u64::MAX, 1).unwrap().remove(0);
    let told = (ended.cleared_by.as_str(), ended.cleared_why.as_str(), ended.evidence.len());
    assert_eq!(told, ("K. Novak", "the rollback was accepted", 32 << 10));
    raise("left by a crash", 4).await.unwrap();
    raise("raised since", 6).await.unwrap();
    accept().await.unwrap();
    let stands: Vec<String> = store.alarms(9).unwrap().into_iter().map(|one| one.detail).collect();
    assert_eq!(stands, ["raised since"]);
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
