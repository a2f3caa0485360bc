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

/// A case ends growing; what ends it still fits.
#[test]
fn a_full_case_takes_what_ends_it() {
    let base = told(&[begin(), until_preserved()].concat());
    let wide = |n: usize| {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        Digest::from_bytes(&bytes).unwrap()
    };
    let mut held = base.clone();
    while held.len() < MESSAGES_MAX {
        let before = if held.len() == base.len() { digest(3) } else { wide(held.len() - 1) };
        let incident = message(9, (None, Some(0)), 5, Move::Incident);
        held.push(Message { digest: wide(held.len()), follows: Some(before), ..incident });
    }
    let last = wide(held.len() - 1);
    let more = message(8, (None, Some(0)), 6, Move::Incident);
    let more = Message { follows: Some(last), ..more };
    assert_eq!(refused(&held, more), Reason::CaseFull);
    let withdrawal = message(8, (Some(0), None), 6, Move::Withdrawal(vec![]));
    let withdrawal = Message { based_on: Some(last), ..withdrawal };
    assert_eq!(asked(&held, withdrawal), Admission::Made(Transition::T24));
}
