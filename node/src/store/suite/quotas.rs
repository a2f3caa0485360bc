//! A peer that does everything too often: the journal and the log stop growing, and what others
//! bring, and what it brings itself that is new, is taken as ever.

use relay_core::quota::{Budgets, Settings};

use super::*;

on_each![
    refusals_over_the_quota_leave_no_leaf,
    conflicts_over_the_quota_leave_no_leaf,
    replays_over_the_quota_are_put_off,
    contradictions_are_kept_up_to_the_quota,
    groups_without_anything_new_are_bounded,
    alarms_over_the_quota_are_summed_up,
    contradictions_hide_no_fork,
    of_two_checkpoints_of_one_size_one_wins,
    a_receipt_is_known_among_thousands,
    a_lower_lane_is_kept_with_the_message,
    emergency_is_found_in_a_backlog,
];

/// A hundred times each quota.
const FLOOD: u64 = 1_000;
const QUOTA: u32 = 10;

fn budgets() -> Budgets {
    Budgets::new(&Settings {
        emergency_per_hour: QUOTA,
        urgent_per_hour: QUOTA,
        refusals_per_hour: QUOTA,
        alarms_per_hour: QUOTA,
        notes_per_hour: QUOTA,
    })
}

fn hour(n: u64) -> Duration {
    Duration::from_secs(n * 3600)
}

fn metered(verdict: Verdict, budgets: &Budgets, now: Duration) -> Verdict {
    match verdict {
        Verdict::Accept(mut new) => {
            new.meter = budgets.at(now);
            Verdict::Accept(new)
        }
        Verdict::Refuse(mut new) => {
            new.meter = budgets.at(now);
            Verdict::Refuse(new)
        }
    }
}

/// A message of somebody else's.
fn of_another(n: u64) -> Verdict {
    let Verdict::Accept(mut new) = arrival(n, 0) else { unreachable!() };
    new.header = header(n, 0, &unit("xc.ncu"), &[us()]);
    new.peer = unit("xc.ncu");
    Verdict::Accept(new)
}

async fn refusals_over_the_quota_leave_no_leaf(place: Place) {
    let store = place.open();
    let budgets = budgets();
    let flood = |now| (0..FLOOD).map(|n| metered(refusal(n, 0), &budgets, now)).collect::<Vec<_>>();
    let first = store.accept_arrivals(Priority::Routine, flood(hour(0))).await.unwrap();
    let refused = ArrivalAnswer::Refused(Reason::KindNotAllowed);
    assert_eq!(first.iter().filter(|one| **one == refused).count(), 10);
    assert_eq!(
        first.iter().filter(|one| **one == ArrivalAnswer::Deferred(Reason::Quota)).count(),
        990
    );
    assert_eq!(store.log_head().size, 10);
    let before = seq(&store);
    // Its next flood writes nothing at all. What is new is taken, from it and from others.
    let again = store.accept_arrivals(Priority::Routine, flood(hour(0)));
    let other = arrive(&store, of_another(2_000));
    let (again, other) = tokio::join!(again, other);
    assert!(again.unwrap().iter().all(|one| *one != refused));
    assert_eq!(other, ArrivalAnswer::Stored);
    let good = metered(arrival(3_000, 0), &budgets, hour(0));
    assert_eq!(arrive(&store, good).await, ArrivalAnswer::Stored);
    assert_eq!((seq(&store), store.log_head().size), (before + 2, 12));
    // What was put off gets its verdict in a later hour.
    let later = store.accept_arrivals(Priority::Routine, flood(hour(1))).await.unwrap();
    assert_eq!(later.iter().filter(|one| **one == refused).count(), 10);
    assert_sound(&store);
}

async fn conflicts_over_the_quota_leave_no_leaf(place: Place) {
    let store = place.open();
    let budgets = budgets();
    arrive(&store, arrival(1, 0)).await;
    let flood = (1..=FLOOD).map(|version| metered(arrival(1, version), &budgets, hour(0)));
    let answers = store.accept_arrivals(Priority::Routine, flood.collect()).await.unwrap();
    let conflict = ArrivalAnswer::Refused(Reason::Conflict);
    assert_eq!(answers.iter().filter(|one| **one == conflict).count(), 10);
    assert_eq!(store.log_head().size, 11);
    assert_eq!(store.by_sender(&them(), &id(1)).unwrap(), Some(theirs(1)));
    // Ten, and one that says that there were more: each came under a number used before, too.
    assert_eq!(store.alarms(99).unwrap().len(), 11);
    assert_sound(&store);
}

/// The peer confirms a receipt and sends the message again, without end.
async fn replays_over_the_quota_are_put_off(place: Place) {
    let store = place.open();
    let budgets = budgets();
    arrive(&store, arrival(1, 0)).await;
    let replay = |now| metered(arrival(1, 0), &budgets, now);
    let mut put_off = 0;
    for _ in 0..FLOOD / 10 {
        store.record_have(them(), u64::MAX, at(2)).await.unwrap();
        put_off += u64::from(
            arrive(&store, replay(hour(0))).await == ArrivalAnswer::Deferred(Reason::Quota),
        );
    }
    assert_eq!(put_off, 90);
    let before = seq(&store);
    assert_eq!(arrive(&store, replay(hour(0))).await, ArrivalAnswer::Deferred(Reason::Quota));
    assert_eq!(seq(&store), before);
    // Later it gets the same leaf, once more.
    assert_eq!(arrive(&store, replay(hour(1))).await, ArrivalAnswer::Duplicate);
    assert_eq!(owed(&store), [(12, statement("consignment", 10))]);
    assert_eq!(store.log_head().size, 1);
    assert_sound(&store);
}

fn contradiction(n: u64) -> NewReceipt {
    // About two messages, for of each only some are kept.
    let mut receipt = receipt(1 + n % 2, Stated::RelayRejection);
    receipt.statement = statement("contradiction", n);
    receipt.flags = vec![Reason::Contradiction];
    receipt
}

async fn contradictions_are_kept_up_to_the_quota(place: Place) {
    let store = place.open();
    let budgets = budgets();
    submit(&store, submission(1)).await;
    submit(&store, submission(2)).await;
    let metered = |size, receipts| ReceiptsToRecord {
        meter: budgets.at(hour(0)),
        ..group(size, size, receipts)
    };
    let first = vec![receipt(1, Stated::ContentConsignment)];
    store.record_receipts(metered(1, first)).await.unwrap();
    let flood: Vec<NewReceipt> = (0..FLOOD).map(contradiction).collect();
    assert!(store.record_receipts(metered(2, flood)).await.unwrap().is_empty());
    let held = [ours(1), ours(2)].map(|digest| store.receipts(&digest).unwrap()).concat();
    assert_eq!(held.iter().filter(|one| !one.flags.is_empty()).count(), 10);
    // Ten alarms, and one that says that there were more.
    let alarms = store.alarms(99).unwrap();
    assert_eq!(alarms.len(), 11);
    assert_eq!((alarms[0].reason.as_str(), alarms[1].reason.as_str()), ("QUOTA", "CONTRADICTION"));
    // A receipt that says something new still settles, also beside more of the flood.
    let mixed = vec![contradiction(FLOOD + 1), receipt(2, Stated::ContentConsignment)];
    assert_eq!(store.record_receipts(metered(3, mixed)).await.unwrap(), [2]);
    assert_sound(&store);
}

/// One known receipt under ever new numbers and checkpoints.
async fn groups_without_anything_new_are_bounded(place: Place) {
    let store = place.open();
    let budgets = budgets();
    submit(&store, submission(1)).await;
    let metered = |size, now| ReceiptsToRecord {
        meter: budgets.at(now),
        ..group(size, size, vec![receipt(1, Stated::ContentConsignment)])
    };
    store.record_receipts(metered(1, hour(0))).await.unwrap();
    for size in 2..=11 {
        store.record_receipts(metered(size, hour(0))).await.unwrap();
    }
    let before = seq(&store);
    for size in 12..FLOOD / 10 {
        let refused = store.record_receipts(metered(size, hour(0))).await.unwrap_err();
        assert_eq!(refused.reason(), Reason::Quota);
    }
    assert_eq!(seq(&store), before);
    assert_eq!(store.counter("receipts-have", &them()).unwrap(), 11);
    store.record_receipts(metered(12, hour(1))).await.unwrap();
    assert_eq!(store.counter("receipts-have", &them()).unwrap(), 12);
    assert_sound(&store);
}

/// Noise does not hide a proof: forks have a quota of their own.
async fn alarms_over_the_quota_are_summed_up(place: Place) {
    let store = place.open();
    let budgets = budgets();
    let alarm = |evidence: &'static [u8]| NewAlarm {
        reason: Reason::BadInclusion,
        peer: them().to_string(),
        detail: "receipt".to_owned(),
        evidence: Bytes::from_static(evidence),
        now: at(1),
    };
    for _ in 0..FLOOD / 10 {
        store.alarm(alarm(b""), budgets.at(hour(0))).await.unwrap();
    }
    assert_eq!(store.alarms(99).unwrap().len(), 11);
    store.alarm(alarm(b"two notes"), budgets.at(hour(0))).await.unwrap();
    assert_eq!(store.alarms(1).unwrap()[0].evidence, "two notes");
    for _ in 0..FLOOD / 10 {
        store.alarm(alarm(b"two notes"), budgets.at(hour(0))).await.unwrap();
    }
    assert_eq!(store.alarms(99).unwrap().len(), 21);
    store.alarm(alarm(b""), budgets.at(hour(1))).await.unwrap();
    let newest = store.alarms(2).unwrap();
    assert_eq!(newest[0].reason, "BAD_INCLUSION");
    assert!(newest[1].detail.starts_with("181 alarms"), "{}", newest[1].detail);
    assert_sound(&store);
}

/// Contradicting receipts without end leave a fork's two notes their place, and forks of one log
/// those of another.
async fn contradictions_hide_no_fork(place: Place) {
    let store = place.open();
    let budgets = budgets();
    submit(&store, submission(1)).await;
    let metered = |size, receipts| ReceiptsToRecord {
        meter: budgets.at(hour(0)),
        ..group(size, size, receipts)
    };
    let first = vec![receipt(1, Stated::ContentConsignment)];
    store.record_receipts(metered(1, first)).await.unwrap();
    let flood: Vec<NewReceipt> = (0..FLOOD).map(contradiction).collect();
    store.record_receipts(metered(2, flood)).await.unwrap();
    let kept = || {
        let alarms = store.alarms(99).unwrap();
        let evidence = alarms.into_iter().map(|alarm| alarm.evidence);
        evidence.filter(|evidence| !evidence.is_empty()).collect::<Vec<Bytes>>()
    };
    assert!(kept().is_empty());
    let fork = |log: u32, n: u64| {
        let note = format!("xb.ncu/log/{log}\n{n}\n");
        let evidence = Bytes::from(note.repeat(2));
        let (reason, peer) = (Reason::PeerRolledBack, them().to_string());
        let new = NewAlarm { reason, peer, detail: "fork".into(), evidence, now: at(1) };
        store.alarm(new, budgets.at(hour(0)))
    };
    for n in 0..FLOOD / 10 {
        fork(1, n).await.unwrap();
    }
    assert_eq!(kept().len(), QUOTA as usize);
    for _ in 0..2 {
        fork(2, 1).await.unwrap();
    }
    assert_eq!(kept().len(), QUOTA as usize + 1);
    assert!(kept()[0].starts_with(b"xb.ncu/log/2"));
    assert_sound(&store);
}

/// Two sessions of one unit bring two roots of one size at once: one is held, the other is told to
/// be a fork and takes nothing back.
async fn of_two_checkpoints_of_one_size_one_wins(place: Place) {
    let store = place.open();
    submit(&store, submission(1)).await;
    submit(&store, submission(2)).await;
    let with_root = |n: u64| ReceiptsToRecord {
        root: Digest::of(&[n as u8]),
        note: format!("note {n}"),
        ..group(7, n, vec![receipt(n, Stated::ContentConsignment)])
    };
    let (one, two) =
        tokio::join!(store.record_receipts(with_root(1)), store.record_receipts(with_root(2)));
    let (won, lost) = if one.is_ok() { (1, two) } else { (2, one) };
    assert_eq!(lost.unwrap_err().reason(), Reason::PeerRolledBack);
    let origin = them().log_origin(1);
    assert_eq!(store.held_checkpoint(&origin).unwrap().unwrap().note, format!("note {won}"));
    let open = |n| store.entries(&ours(n)).unwrap()[0].is_open();
    assert!(!open(won) && open(3 - won));
    assert_sound(&store);
}

/// However many receipts there are about a message, one of them is known by one look-up.
async fn a_receipt_is_known_among_thousands(place: Place) {
    let store = place.open();
    submit(&store, submission(1)).await;
    let another = |n| {
        let statement = statement("another", n);
        NewReceipt { statement, ..receipt(1, Stated::ContentConsignment) }
    };
    let many: Vec<NewReceipt> = (0..3_000).map(another).collect();
    store.record_receipts(group(1, 1, many)).await.unwrap();
    let before = seq(&store);
    for n in [0, 1_500, 2_999] {
        store.record_receipts(group(1, 1, vec![another(n)])).await.unwrap();
    }
    assert_eq!(seq(&store), before);
    assert_sound(&store);
}

/// What is carried lower waits at the desk, and its receipt on its way, with the lower ones; what
/// its sender called it stays on record.
async fn a_lower_lane_is_kept_with_the_message(place: Place) {
    let store = place.open();
    let emergency = |n, carried| {
        let Verdict::Accept(mut new) = arrival(n, 0) else { unreachable!() };
        new.header.priority = Priority::Emergency;
        new.carried = carried;
        Verdict::Accept(new)
    };
    arrive(&store, emergency(1, Priority::Routine)).await;
    arrive(&store, emergency(2, Priority::Urgent)).await;
    arrive(&store, emergency(3, Priority::Emergency)).await;
    assert_eq!(store.unacknowledged(9).unwrap(), [theirs(3), theirs(2), theirs(1)]);
    let record = store.message(&theirs(1)).unwrap().unwrap();
    assert_eq!((record.priority(), record.lane()), (Priority::Emergency, Priority::Routine));
    let ahead = |lane| store.owed_ahead(&them(), 0, lane, 9).unwrap().0;
    assert_eq!(ahead(Priority::Emergency).len(), 1);
    assert_eq!(ahead(Priority::Routine)[0].1.statement, statement("consignment", 10));
    store.acknowledge(ack(1, 1, 1)).await.unwrap();
    assert_eq!(store.unacknowledged(9).unwrap(), [theirs(3), theirs(2)]);
    assert_sound(&store);
}

/// Receipts about EMERGENCY are found behind a thousand others, a bounded piece at a time.
async fn emergency_is_found_in_a_backlog(place: Place) {
    let store = place.open();
    let of = |n, priority: Priority| {
        let Verdict::Accept(mut new) = arrival(n, 0) else { unreachable!() };
        new.header.priority = priority;
        new.carried = priority;
        Verdict::Accept(new)
    };
    let backlog = (1..=1_500).map(|n| of(n, Priority::Routine)).collect();
    store.accept_arrivals(Priority::Routine, backlog).await.unwrap();
    arrive(&store, of(2_000, Priority::Emergency)).await;
    let look = |after| store.owed_ahead(&them(), after, Priority::Emergency, 9).unwrap();
    let (none, looked) = look(128);
    assert!(none.is_empty());
    assert_eq!(looked, 128 + 1024);
    let (found, looked) = look(looked);
    assert_eq!((found.len(), found[0].0, looked), (1, 1_501, 1_501));
    assert_eq!(look(looked), (vec![], 1_501));
    assert_sound(&store);
}
