//! Cases as their messages tell them: legal ways, what is not legal, races.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod admission;
mod clocks;
mod illegal;
mod pair;

use super::*;

const START_MS: u64 = 1_772_000_000_000;
const DAY_MS: u64 = DAY * 1000;
const RULES: Rules = Rules::TREATY;
const REFUSED: Verdict = Verdict::Refused(refusal::Ground::PoliticalOffence);

fn digest(number: u8) -> Digest {
    Digest::from_bytes(&[number; 32]).unwrap()
}

/// A message by its number, what its sender said before it and had seen of the other side.
fn message(
    number: u8,
    (follows, based_on): (Option<u8>, Option<u8>),
    day: u64,
    says: Move,
) -> Message {
    let (from, follows, based_on) = (says.kind().by(), follows.map(digest), based_on.map(digest));
    Message { digest: digest(number), from, sent_at: at_day(day), follows, based_on, says }
}

fn at_day(day: u64) -> Timestamp {
    Timestamp::from_millis(START_MS + day * DAY_MS)
}

fn request(revision: u32, priority: Priority, items: &[&str]) -> Request {
    let items = items.iter().map(|id| (*id).to_owned()).collect();
    Request { revision, priority, items, articles: vec!["2".to_owned()] }
}

fn first(items: &[&str]) -> Move {
    Move::Request(request(1, Priority::Routine, items))
}

fn preserved(id: &str, from: u64, until: u64) -> (ItemId, Found) {
    let (from, until) = (at_day(from), at_day(until));
    (id.to_owned(), Found::Preserved { from, until, whole: true })
}

fn verdicts(of: &[(&str, Verdict)]) -> Move {
    let items = of.iter().map(|(id, verdict)| ((*id).to_owned(), *verdict)).collect();
    Move::Decision { revision: 1, items, signers: 1 }
}

fn extended(until: u64) -> Move {
    Move::ExtensionDecision { until: Some(at_day(until)), items: vec![] }
}

/// The two sides by turns, each having seen all: the number of a message is its place.
fn told(moves: &[(u64, Move)]) -> Vec<Message> {
    let last = |n: usize, of: Side| {
        (0..n).rev().find(|before| moves[*before].1.kind().by() == of).map(|before| before as u8)
    };
    let each = moves.iter().enumerate().map(|(n, (day, says))| {
        let (own, other) = match says.kind().by() {
            Side::Requesting => (Side::Requesting, Side::Requested),
            Side::Requested => (Side::Requested, Side::Requesting),
        };
        message(n as u8, (last(n, own), last(n, other)), *day, says.clone())
    });
    each.collect()
}

fn derived(messages: impl IntoIterator<Item = Message>) -> Case {
    Case::of(messages, Delivery::Delivered, &RULES).unwrap()
}

fn begin() -> Vec<(u64, Move)> {
    vec![(0, first(&["1", "2"])), (0, Move::Ack { rerouted: false })]
}

fn until_preserved() -> Vec<(u64, Move)> {
    vec![
        (1, verdicts(&[("1", Verdict::Accepted), ("2", Verdict::Accepted)])),
        (2, Move::Confirmation(vec![preserved("1", 2, 92), preserved("2", 2, 92)])),
    ]
}

/// Both sides were warned twice of the end of that day.
fn warned_twice(end: u64) -> [(u64, Move); 2] {
    [30, 2].map(|before| (end - before, Move::ExpiryWarning { until: at_day(end) }))
}

fn begun(more: &[(u64, Move)]) -> Case {
    derived(told(&[&begin(), more].concat()))
}

fn preserved_then(more: &[(u64, Move)]) -> Case {
    begun(&[&until_preserved(), more].concat())
}

fn made(case: &Case) -> Vec<Transition> {
    let each = case.steps.iter().map(|step| match step.outcome {
        Outcome::Made(transition) => transition,
        other => panic!("{other:?} at {step:?}"),
    });
    each.collect()
}

/// From the request to mutual assistance, with an extension between.
#[test]
fn a_plain_case() {
    use Transition as T;
    let case = preserved_then(&[
        (80, Move::ExtensionRequest { until: at_day(180) }),
        (82, extended(180)),
        (100, Move::MlaNotice),
        (120, Move::MlaReceived),
        (300, Move::MlaDecision),
        (301, Move::Closure(Closing::Released)),
    ]);
    let begin = [T::T1, T::T5, T::T13, T::T15];
    let rest = [T::T18, T::T19, T::T20, T::T21, T::T22, T::T22];
    assert_eq!(made(&case), [&begin[..], &rest].concat());
    assert_eq!((case.state, case.turn()), (State::Released, None));
    assert!(case.items.values().all(|item| item.status == ItemStatus::Released));
}

/// A question, its answer, a warning, one item given up, the other preserved.
#[test]
fn a_question_and_a_risk() {
    use Transition as T;
    let change = RiskAnswer::Change { revision: 3, drop: vec!["1".to_owned()] };
    let case = begun(&[
        (1, Move::InfoRequired { due: at_day(3) }),
        (2, Move::InfoReply(request(2, Priority::Routine, &["1", "2"]))),
        (3, Move::RiskNotice),
        (3, Move::RiskDecision(change)),
        (4, Move::Confirmation(vec![("1".to_owned(), Found::Withdrawn), preserved("2", 4, 94)])),
    ]);
    assert_eq!(made(&case), [T::T1, T::T5, T::T6, T::T7, T::T9, T::T11, T::T15]);
    assert_eq!((case.revision, case.state), (3, State::Preserved));
    assert_eq!(case.items["1"].status, ItemStatus::Withdrawn);
    assert_eq!(case.preserved_until(), Some(at_day(94)));
}

/// All items refused ends a case; one of two does not, once the other is accepted.
#[test]
fn refused_in_whole_and_in_part() {
    let whole = begun(&[(1, verdicts(&[("1", REFUSED), ("2", REFUSED)]))]);
    assert_eq!((whole.state, whole.turn()), (State::Refused, None));
    let part = begun(&[
        (1, verdicts(&[("1", REFUSED), ("2", Verdict::Accepted)])),
        (2, Move::Confirmation(vec![("2".to_owned(), Found::NotHeldHere)])),
    ]);
    assert_eq!(part.state, State::NoData);
    assert_eq!(part.items["1"].status, ItemStatus::Refused);
    assert!(part.is_covered());
}

/// A withdrawal that crosses the confirmation ends the case, and the custodian is told.
#[test]
fn a_withdrawal_that_crosses_wins() {
    let mut messages = told(&begin());
    let both = vec![preserved("1", 2, 92), preserved("2", 2, 92)];
    messages.push(message(5, (Some(0), Some(1)), 2, Move::Withdrawal(vec![])));
    messages.push(message(6, (Some(1), Some(0)), 2, Move::Confirmation(both)));
    let case = derived(messages.clone());
    assert_eq!((case.state, case.turn()), (State::Withdrawn, Some(Side::Requested)));
    assert_eq!(case.items["1"].status, ItemStatus::Released);
    assert!(!case.sync_conflict);
    assert_eq!(case.legal(Side::Requesting), []);
    assert_eq!(case.legal(Side::Requested), [MoveKind::Closure]);
    let closed = Move::Closure(Closing::Withdrawn);
    messages.push(message(7, (Some(6), Some(5)), 3, closed));
    let case = derived(messages);
    assert_eq!((case.turn(), case.release_confirmed), (None, true));
}

/// Signed in time and decided within a day of the end still counts; a day after it does not.
#[test]
fn an_extension_in_flight_counts_for_a_day() {
    let asked = (91, Move::ExtensionRequest { until: at_day(180) });
    let in_time = preserved_then(&[asked.clone(), (92, extended(180))]);
    assert_eq!(in_time.preserved_until(), Some(at_day(180)));
    let late = preserved_then(&[asked, (93, extended(180))]);
    assert_eq!(late.steps.last().unwrap().outcome, Outcome::NotLegal);
}

/// A decision that crosses a newer revision stands for the older one, and the requested side says
/// whether it carries over.
#[test]
fn a_decision_that_crosses_a_revision() {
    let mut crossed = told(&[(0, first(&["1"])), (0, Move::Ack { rerouted: false })]);
    let newer = Move::Request(request(2, Priority::Urgent, &["1", "2"]));
    let accepted = verdicts(&[("1", Verdict::Accepted)]);
    crossed.push(message(5, (Some(0), Some(1)), 1, newer));
    crossed.push(message(6, (Some(1), Some(0)), 1, accepted));
    let case = derived(crossed.clone());
    assert_eq!((case.state, case.undecided_revision), (State::Accepted, Some(2)));
    for carried in [true, false] {
        let mut messages = crossed.clone();
        let says = Move::Carries { revision: 2, carried };
        messages.push(message(7, (Some(6), Some(5)), 2, says));
        let case = derived(messages.clone());
        assert_eq!((case.undecided_revision, case.redeciding), (None, !carried));
        let items = vec![("1".to_owned(), REFUSED), ("2".to_owned(), REFUSED)];
        let again = Move::Decision { revision: 2, items, signers: 1 };
        messages.push(message(8, (Some(7), Some(5)), 3, again));
        let case = derived(messages);
        assert_eq!(case.sync_conflict, carried);
        assert_eq!(case.state, if carried { State::Accepted } else { State::Refused });
    }
}

/// What follows a message that is not here waits; another end than the case's is a conflict.
#[test]
fn gaps_wait_and_other_ends_are_told() {
    let whole = told(&[begin(), until_preserved(), vec![(80, Move::MlaNotice)]].concat());
    let case = derived(whole.iter().filter(|one| one.digest != digest(3)).cloned());
    assert_eq!((case.state, case.waiting.len()), (State::Accepted, 1));
    let warned = |until| preserved_then(&[(85, Move::ExpiryWarning { until: at_day(until) })]);
    assert!(!warned(92).sync_conflict && warned(91).sync_conflict);
    assert_eq!(Case::of(whole.into_iter().skip(1), Delivery::Delivered, &RULES), None);
}

/// The request's own way: no receipt, a refusal of the message, its end; an answer says more than
/// all of them.
#[test]
fn delivery_is_the_first_layer() {
    let table = [
        (Delivery::Waiting, State::Submitted),
        (Delivery::Delivered, State::Delivered),
        (Delivery::Rejected, State::Rejected),
        (Delivery::Expired, State::Undeliverable),
    ];
    for (delivery, state) in table {
        let alone = told(&[(0, first(&["1"]))]);
        assert_eq!(Case::of(alone, delivery, &RULES).unwrap().state, state);
        let answered = told(&[(0, first(&["1"])), (1, Move::Ack { rerouted: true })]);
        assert_eq!(Case::of(answered, delivery, &RULES).unwrap().state, State::Delivered);
    }
}
