//! Which messages may join a case, and why others may not.

use relay_proto::reason::Reason;

use super::*;
use crate::case::refusal::{Ground, Grounds, Unfounded};

fn asked(held: &[Message], new: Message) -> Admission {
    admit(held.to_vec(), &new, Delivery::Delivered, &RULES)
}

fn refused(held: &[Message], new: Message) -> Reason {
    match asked(held, new) {
        Admission::Refused(refusal) => refusal.reason,
        other => panic!("{other:?}"),
    }
}

/// A message that names what is not here waits; one that names nothing is of no case.
#[test]
fn what_cannot_be_judged_waits() {
    let held = told(&begin());
    let info = |place| message(9, place, 1, Move::InfoRequired { due: at_day(3) });
    let made = Admission::Made(Transition::T6);
    assert_eq!(asked(&held, info((Some(1), Some(0)))), made);
    assert_eq!(asked(&held, info((Some(7), Some(0)))), Admission::Waits);
    assert_eq!(asked(&held, info((Some(1), Some(7)))), Admission::Waits);
    assert_eq!(refused(&held, info((Some(1), None))), Reason::UnknownCase);
    assert_eq!(refused(&[], info((None, Some(0)))), Reason::UnknownCase);
    let withdrawal = |place| message(9, place, 1, Move::Withdrawal(vec![]));
    assert_eq!(asked(&[], withdrawal((Some(0), None))), Admission::Waits);
    assert_eq!(refused(&[], withdrawal((None, None))), Reason::UnknownCase);
}

/// One request a case; each kind by its side.
#[test]
fn one_request_and_each_side_its_own() {
    let first = |number| message(number, (None, None), 0, first(&["1"]));
    assert_eq!(asked(&[], first(0)), Admission::Made(Transition::T1));
    assert_eq!(refused(&[first(0)], first(9)), Reason::IllegalTransition);
    let mut foreign = message(9, (Some(0), None), 1, Move::Ack { rerouted: false });
    foreign.from = Side::Requesting;
    let Admission::Refused(refusal) = asked(&[first(0)], foreign) else { panic!() };
    assert_eq!((refusal.state, refusal.turn), (Some(State::Delivered), Some(Side::Requested)));
    assert!(refusal.legal.contains(&MoveKind::Withdrawal));
}

/// What crossed is judged where its sender stood, not by what came in between.
#[test]
fn what_crossed_is_judged_where_its_sender_stood() {
    let mut held = told(&begin());
    held.push(message(5, (Some(0), Some(1)), 1, Move::Withdrawal(vec![])));
    let decision = verdicts(&[("1", Verdict::Accepted)]);
    let crossed = message(6, (Some(1), Some(0)), 1, decision.clone());
    assert_eq!(asked(&held, crossed), Admission::Made(Transition::T13));
    let knowing = message(6, (Some(1), Some(5)), 1, decision);
    assert_eq!(refused(&held, knowing), Reason::IllegalTransition);
}

/// A ground holds or has its own reason: the profile's list, Article 29(4), two officers.
#[test]
fn grounds_that_do_not_hold_are_told() {
    let of = |articles: &[&str]| {
        let articles = articles.iter().map(|article| (*article).to_owned()).collect();
        let request = Request { articles, ..request(1, Priority::Routine, &["1"]) };
        told(&[(0, Move::Request(request)), (0, Move::Ack { rerouted: false })])
    };
    let refusal = |ground, signers| {
        let items = vec![("1".to_owned(), Verdict::Refused(ground))];
        message(9, (Some(1), Some(0)), 1, Move::Decision { revision: 1, items, signers })
    };
    let why = |articles: &[&str], ground, signers, rules: &Rules| {
        let held = of(articles);
        match admit(held, &refusal(ground, signers), Delivery::Delivered, rules) {
            Admission::Made(transition) => {
                assert_eq!(transition, Transition::T14);
                None
            }
            Admission::Refused(refusal) => {
                assert_eq!(refusal.reason, Reason::UnfoundedRefusal);
                refusal.unfounded
            }
            Admission::Waits => panic!(),
        }
    };
    use Ground as G;
    assert_eq!(why(&["8"], G::DualCriminalityReserved, 1, &RULES), Some(Unfounded::Covered));
    assert_eq!(why(&["8", "other"], G::DualCriminalityReserved, 1, &RULES), None);
    assert_eq!(why(&["8"], G::EssentialInterests, 1, &RULES), Some(Unfounded::OneSigner));
    assert_eq!(why(&["8"], G::EssentialInterests, 2, &RULES), None);
    assert_eq!(why(&["8"], G::DomesticLawLimit, 2, &RULES), Some(Unfounded::NotOffered));
    let best_effort = Rules { grounds: Grounds::of(&[G::DomesticLawLimit]), ..RULES };
    assert_eq!(why(&["8"], G::DomesticLawLimit, 1, &best_effort), None);
    assert_eq!(why(&["8"], G::PoliticalOffence, 1, &best_effort), Some(Unfounded::NotOffered));
}

/// Neither side can say two things after one message, nor speak in the other's name: it would
/// choose afterwards which of them it had said. Also where what it names comes later.
#[test]
fn forks_are_refused() {
    let held = told(&[begin(), until_preserved()].concat());
    let asked_for = Move::ExtensionRequest { until: at_day(180) };
    let extension = message(5, (Some(0), Some(3)), 80, asked_for);
    let held = [&held[..], &[extension]].concat();
    let early = Move::Withdrawal(vec!["1".to_owned()]);
    let backdated = message(6, (Some(0), Some(3)), 3, early.clone());
    assert_eq!(refused(&held, backdated.clone()), Reason::IllegalTransition);
    let fork_of_what_waits = message(7, (Some(0), Some(9)), 3, early.clone());
    assert_eq!(refused(&held, fork_of_what_waits), Reason::IllegalTransition);
    for place in [(Some(3), Some(3)), (Some(5), Some(0))] {
        let other_side = message(8, place, 81, early.clone());
        assert_eq!(refused(&held, other_side), Reason::IllegalTransition);
    }
    assert_eq!(asked(&held, message(8, (Some(5), Some(3)), 81, early)), {
        Admission::Made(Transition::T25)
    });
    // One that came before what it names of the wrong side never acts.
    let mut wrong = backdated;
    wrong.follows = Some(digest(3));
    let case = derived([&held[..], &[wrong]].concat());
    assert_eq!((case.waiting.len(), case.extension_pending), (1, true));
}

/// What waited is judged like everything else once its place is known.
#[test]
fn what_waited_is_judged() {
    let request =
        Request { articles: vec!["8".to_owned()], ..request(1, Priority::Routine, &["1"]) };
    let held = told(&[(0, Move::Request(request)), (0, Move::Ack { rerouted: false })]);
    let ground = Ground::DualCriminalityReserved;
    let items = vec![("1".to_owned(), Verdict::Refused(ground))];
    let refusal = Move::Decision { revision: 1, items, signers: 1 };
    let unfounded = message(9, (Some(1), Some(0)), 1, refusal);
    assert_eq!(asked(&held[..1], unfounded.clone()), Admission::Waits);
    let case = derived(held.into_iter().chain([unfounded]));
    assert_eq!(case.state, State::Acknowledged);
    assert!(case.sync_conflict);
}

/// Each side has its own room in a case, and what ends it still fits; little may wait.
#[test]
fn a_full_case_takes_what_ends_it() {
    let base = told(&[begin(), until_preserved()].concat());
    let wide = |n: usize| {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        Digest::from_bytes(&bytes).unwrap()
    };
    let incident = |n: usize, follows| {
        let incident = message(9, (None, Some(0)), 5, Move::Incident);
        Message { digest: wide(n), follows: Some(follows), ..incident }
    };
    let mut held = base.clone();
    // Three of the requested side are there.
    for n in 3..MESSAGES_MAX {
        held.push(incident(n, if n == 3 { digest(3) } else { wide(n - 1) }));
    }
    let last = wide(MESSAGES_MAX - 1);
    assert_eq!(refused(&held, incident(999, last)), Reason::CaseFull);
    let received = Message { says: Move::MlaReceived, ..incident(999, last) };
    assert_eq!(asked(&held, received), Admission::Made(Transition::T21));
    let withdrawal = message(8, (Some(0), None), 6, Move::Withdrawal(vec![]));
    let withdrawal = Message { based_on: Some(last), ..withdrawal };
    assert_eq!(asked(&held, withdrawal), Admission::Made(Transition::T24));
    // Of what names nothing that is here.
    let mut waiting = base;
    for n in 0..32 {
        let one = incident(n, wide(n + 5000));
        assert_eq!(asked(&waiting, one.clone()), Admission::Waits);
        waiting.push(one);
    }
    assert_eq!(refused(&waiting, incident(32, wide(9000))), Reason::CaseFull);
    let own = message(8, (Some(0), Some(3)), 6, Move::Withdrawal(vec![]));
    assert_eq!(asked(&waiting, own), Admission::Made(Transition::T24));
}

/// A refusal of an extension is never too late, and clears the way to the end; one who warned
/// before it decided still decides; mutual assistance leaves no extension open.
#[test]
fn no_message_blocks_the_requested_side() {
    let [first, second] = warned_twice(92);
    let late = [
        first,
        second,
        (91, Move::ExtensionRequest { until: at_day(180) }),
        (99, Move::ExtensionDecision { until: None, items: vec![] }),
        (99, Move::Closure(Closing::Expired)),
    ];
    assert_eq!(preserved_then(&late).state, State::Expired);
    let warned = [
        (1, Move::RiskNotice),
        (2, Move::RiskDecision(RiskAnswer::Proceed)),
        (3, verdicts(&[("1", REFUSED), ("2", REFUSED)])),
    ];
    assert_eq!(begun(&warned).state, State::Refused);
    let mla = [(80, Move::ExtensionRequest { until: at_day(180) }), (81, Move::MlaReceived)];
    let case = preserved_then(&mla);
    assert!(!case.extension_pending && case.obligations(&Targets::default()).is_empty());
    let past = Move::Confirmation(vec![preserved("1", 0, 60)]);
    let answered = until_preserved()[0].clone();
    let case = begun(&[answered, (70, past)]);
    assert_eq!(case.steps.last().unwrap().outcome, Outcome::NotLegal, "it is over already");
    let due = begun(&[(5, Move::InfoRequired { due: at_day(5) })]);
    assert_eq!(due.state, State::Acknowledged);
}
