//! What is said too early, too late, for too short, of another item: it changes nothing.

use super::*;

/// A case so far, and what is not legal next, each with its day.
type Row = (&'static str, Vec<(u64, Move)>, (u64, Move));

fn assert_not_legal(table: Vec<Row>) {
    for (what, before, last) in table {
        let moves = [begin(), before, vec![last]].concat();
        let before = derived(told(&moves[..moves.len() - 1]));
        let after = derived(told(&moves));
        assert!(!before.sync_conflict, "{what}: {:?}", before.steps);
        assert_eq!(after.steps.last().unwrap().outcome, Outcome::NotLegal, "{what}");
        assert!(after.sync_conflict, "{what}");
        let steps = before.steps.clone();
        assert_eq!(Case { sync_conflict: false, steps, ..after }, before, "{what}");
    }
}

fn none() -> Vec<(u64, Move)> {
    vec![]
}

#[test]
fn before_anything_is_preserved() {
    let reply = Move::InfoReply(request(2, Priority::Routine, &[]));
    let newer = Move::Request(request(2, Priority::Routine, &[]));
    let other = Move::Decision {
        revision: 2,
        items: vec![("1".to_owned(), Verdict::Accepted)],
        signers: 1,
    };
    let nothing = ["1", "2"].map(|id| (id.to_owned(), Found::NotFound)).to_vec();
    // The first item is given up, then the reply names no other.
    let drop = RiskAnswer::Change { revision: 2, drop: vec!["1".to_owned()] };
    let dropped = vec![
        (1, Move::RiskNotice),
        (1, Move::RiskDecision(drop)),
        (2, Move::InfoRequired { due: at_day(5) }),
    ];
    let leaves_nothing = Move::InfoReply(request(3, Priority::Routine, &["1"]));
    let twice = verdicts(&[("1", Verdict::Accepted), ("1", REFUSED)]);
    let half = verdicts(&[("1", REFUSED)]);
    let asked = vec![(1, Move::InfoRequired { due: at_day(3) })];
    assert_not_legal(vec![
        ("59 days", none(), (1, Move::Confirmation(vec![preserved("1", 1, 60)]))),
        ("an unknown item", none(), (1, Move::Confirmation(vec![preserved("9", 1, 90)]))),
        ("an item twice", none(), (1, twice)),
        ("one item refused, nothing said of the other", none(), (1, half)),
        ("a decision of another revision", none(), (1, other)),
        ("nothing found, not accepted", none(), (1, Move::Confirmation(nothing))),
        ("a reply without a question", none(), (1, reply)),
        ("a reply that leaves nothing", dropped, (4, leaves_nothing)),
        ("a revision that is no more urgent", none(), (1, newer)),
        ("some items withdrawn", none(), (1, Move::Withdrawal(vec!["1".to_owned()]))),
        ("closed before the answer was due", asked, (2, Move::Closure(Closing::Lapsed))),
        ("a second request", none(), (1, first(&["3"]))),
    ]);
}

#[test]
fn once_something_is_preserved() {
    let then = |more: &[(u64, Move)]| [&until_preserved(), more].concat();
    let request = |until| Move::ExtensionRequest { until: at_day(until) };
    let (expired, released) = (Move::Closure(Closing::Expired), Move::Closure(Closing::Released));
    let warned = |more: &[(u64, Move)]| then(&[&warned_twice(92), more].concat());
    let dropped = Move::Request(super::request(2, Priority::Urgent, &["1", "3"]));
    let moved = Move::Confirmation(vec![preserved("1", 2, 180)]);
    assert_not_legal(vec![
        ("a revision that gives up what is preserved", then(&[]), (3, dropped)),
        ("extension after the end", then(&[]), (92, request(180))),
        ("extension to the end that is", then(&[]), (80, request(92))),
        ("a decision that nobody asked for", then(&[]), (80, extended(180))),
        ("the end moved by a confirmation", then(&[]), (80, moved)),
        ("expired before its end", warned(&[]), (92, expired.clone())),
        ("expired, nobody was warned", then(&[]), (99, expired.clone())),
        ("released without a decision", then(&[(80, Move::MlaReceived)]), (90, released)),
        ("expired, extension undecided", warned(&[(91, request(180))]), (99, expired.clone())),
        ("an end that is earlier", then(&[(80, request(180))]), (82, extended(70))),
        ("anything after the end", warned(&[(93, expired)]), (94, Move::MlaReceived)),
    ]);
}
