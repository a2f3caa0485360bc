//! What is due along a case, from whom, by whose rule; and how far a term has run.

use super::*;

fn targets() -> Targets {
    Targets::default()
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

/// The duty, side and term of each that is due.
fn due(case: &Case) -> Vec<(Duty, Side, Option<Timestamp>, Rule)> {
    let each = case.obligations(&targets());
    each.into_iter().map(|one| (one.duty, one.side, one.due, one.rule)).collect()
}

/// From the request to the release: each state has its one duty, and an end none.
#[test]
fn each_state_has_its_duty() {
    use {Rule::House, Rule::Law, Rule::Stated, Side::Requested, Side::Requesting};
    let alone = |delivery| Case::of(told(&[(5, first(&["1"]))]), delivery, &RULES).unwrap();
    for delivery in [Delivery::Waiting, Delivery::Delivered] {
        let until = Some(at_day(6));
        assert_eq!(due(&alone(delivery)), [(Duty::Acknowledge, Requested, until, House)]);
    }
    assert_eq!(due(&alone(Delivery::Rejected)), []);
    assert_eq!(due(&begun(&[])), [(Duty::Decide, Requested, Some(at_day(3)), House)]);
    let asked = (1, Move::InfoRequired { due: at_day(3) });
    assert_eq!(
        due(&begun(std::slice::from_ref(&asked))),
        [(Duty::Answer, Requesting, Some(at_day(3)), Stated)]
    );
    // The decision's clock begins anew with the answers.
    let answer = (2, Move::InfoReply(request(2, Priority::Routine, &[])));
    let until = Some(at_day(5));
    assert_eq!(due(&begun(&[asked, answer])), [(Duty::Decide, Requested, until, House)]);
    let risk = (1, Move::RiskNotice);
    assert_eq!(due(&begun(&[risk])), [(Duty::DecideRisk, Requesting, Some(at_day(2)), House)]);
    let accepted = [until_preserved()[0].clone()];
    assert_eq!(due(&begun(&accepted)), [(Duty::Confirm, Requested, None, Law)]);
    let end = Some(at_day(92));
    assert_eq!(due(&preserved_then(&[])), [(Duty::UseOrLose, Requesting, end, Law)]);
    let mla = [(80, Move::MlaNotice), (81, Move::MlaReceived)];
    assert_eq!(due(&preserved_then(&mla)), []);
    let decided = [&mla[..], &[(200, Move::MlaDecision)]].concat();
    let close = (Duty::Close, Requested, Some(at_day(203)), House);
    assert_eq!(due(&preserved_then(&decided)), [close]);
    let withdrawn = preserved_then(&[(10, Move::Withdrawal(vec![]))]);
    assert_eq!(due(&withdrawn), [(Duty::Close, Requested, Some(at_day(13)), House)]);
}

/// An extension is to be decided before the end, whatever the target says; what is due first comes
/// first.
#[test]
fn extensions_are_due_before_the_end() {
    let asked = |day| preserved_then(&[(day, Move::ExtensionRequest { until: at_day(180) })]);
    let first = |case: &Case| case.obligations(&targets()).remove(0);
    let early = first(&asked(80));
    assert_eq!((early.duty, early.due), (Duty::DecideExtension, Some(at_day(83))));
    assert_eq!(early.rule, Rule::House);
    let late = asked(91);
    let late = late.obligations(&targets());
    assert!(late.iter().all(|one| one.due == Some(at_day(92)) && one.rule == Rule::Law));
    assert_eq!(late.len(), 2);
    let announced = preserved_then(&[(80, Move::MlaNotice)]);
    assert_eq!(first(&announced).duty, Duty::ConfirmMla);
}

/// More urgent, shorter: also when a later revision makes it so.
#[test]
fn urgency_shortens() {
    let case = |priority| {
        let request = Move::Request(request(1, priority, &["1"]));
        Case::of(told(&[(0, request)]), Delivery::Delivered, &RULES).unwrap()
    };
    let until = |case: &Case| case.obligations(&targets())[0].due.unwrap();
    for (priority, length) in [
        (Priority::Emergency, Duration::from_secs(900)),
        (Priority::Urgent, hours(1)),
        (Priority::Routine, hours(24)),
    ] {
        assert_eq!(until(&case(priority)), at_day(0).after(length));
    }
    let raised = (1, Move::Request(request(2, Priority::Urgent, &[])));
    let raised = begun(&[raised]);
    assert_eq!(until(&raised), at_day(0).after(hours(24)), "the decision of an urgent one");
}

/// Half, four fifths and the whole of a term, to the millisecond.
#[test]
fn stages() {
    let one = begun(&[]).obligations(&targets()).remove(0);
    let [half, late, over] = one.warnings(&targets())[..] else { panic!() };
    assert_eq!(half, (Stage::Half, at_day(0).after(hours(36))));
    assert_eq!(late, (Stage::Late, at_day(0).after(hours(72) * 4 / 5)));
    assert_eq!(over, (Stage::Overdue, at_day(3)));
    let mut before = Stage::Running;
    for (stage, at) in [half, late, over] {
        let just = at.before(Duration::from_millis(1));
        assert_eq!((one.stage(just), one.stage(at)), (before, stage));
        before = stage;
    }
    assert_eq!(one.stage(at_day(900)), Stage::Overdue);
    let endless = Obligation { due: None, ..one };
    assert_eq!(
        (endless.stage(at_day(900)), endless.warnings(&targets())),
        (Stage::Running, vec![])
    );
    // A term that was over when it began.
    let nothing = Obligation { due: Some(at_day(0)), since: at_day(1), ..endless };
    assert_eq!(nothing.stage(at_day(0)), Stage::Overdue);
}

/// Of an end the network says when to warn; what would come before the period began is no warning.
#[test]
fn an_end_is_warned_of_by_the_profile() {
    let case = preserved_then(&[]);
    let one = case.obligations(&targets()).remove(0);
    let points = |one: &Obligation| one.warnings(&targets());
    let stages = [(Stage::Half, 62), (Stage::Late, 78), (Stage::Late, 85), (Stage::Late, 90)];
    let told = stages.map(|(stage, day)| (stage, at_day(day)));
    assert_eq!(points(&one)[..4], told);
    assert_eq!(points(&one)[4..], [(Stage::Overdue, at_day(92))]);
    let short = Obligation { since: at_day(80), ..one };
    assert_eq!(points(&short).len(), 3);
    // Items that end apart are warned of apart.
    let apart = Move::Confirmation(vec![preserved("1", 2, 92), preserved("2", 2, 120)]);
    let case = begun(&[until_preserved()[0].clone(), (2, apart)]);
    let ends: Vec<_> = case.obligations(&targets()).iter().map(|one| one.due).collect();
    assert_eq!(ends, [Some(at_day(92)), Some(at_day(120))]);
}

/// Nothing ends before both sides were warned twice, of the end that it has by then.
#[test]
fn nothing_lapses_without_two_warnings() {
    let warned = |day, end| (day, Move::ExpiryWarning { until: at_day(end) });
    let closed = |before: &[(u64, Move)], day| {
        let all = [before, &[(day, Move::Closure(Closing::Expired))]].concat();
        preserved_then(&all).state == State::Expired
    };
    assert!(!closed(&[], 99) && !closed(&[warned(62, 92)], 99));
    assert!(closed(&[warned(62, 92), warned(90, 92)], 99));
    let extended = [
        warned(62, 92),
        warned(78, 92),
        (80, Move::ExtensionRequest { until: at_day(180) }),
        (81, extended(180)),
    ];
    assert!(!closed(&extended, 190), "warned of another end");
    let again = [&extended[..], &[warned(150, 180), warned(190, 180)]].concat();
    assert!(closed(&again, 191));
}

/// An extension of what runs on is not overdue because something else ended before it was asked.
#[test]
fn an_end_that_had_passed_is_no_term_of_an_extension() {
    let apart = Move::Confirmation(vec![preserved("1", 2, 92), preserved("2", 2, 120)]);
    let asked = (95, Move::ExtensionRequest { until: at_day(180) });
    let case = begun(&[until_preserved()[0].clone(), (2, apart), asked]);
    let due = case.obligations(&targets());
    let decide = due.iter().find(|one| one.duty == Duty::DecideExtension).unwrap();
    assert_eq!((decide.due, decide.rule), (Some(at_day(98)), Rule::House));
}

/// All that was preserved is withdrawn while something waits: no extension stands, and that nothing
/// was found ends the case.
#[test]
fn what_waits_after_a_withdrawal_can_be_ended() {
    let some = Move::Confirmation(vec![preserved("1", 2, 92)]);
    let withdrawn = Move::Withdrawal(vec!["1".to_owned()]);
    let before = [
        until_preserved()[0].clone(),
        (2, some),
        (3, Move::ExtensionRequest { until: at_day(180) }),
        (4, withdrawn),
    ];
    let case = begun(&before);
    assert_eq!((case.state, case.extension_pending), (State::Preserved, false));
    let nothing = (5, Move::Confirmation(vec![("2".to_owned(), Found::NotFound)]));
    assert_eq!(begun(&[&before[..], &[nothing]].concat()).state, State::NoData);
}
