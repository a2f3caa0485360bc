//! What is expected back, and what markings mean.

use super::*;

fn release(granted: Option<bool>) -> Said {
    let object = id(1);
    let says =
        Says::Release { object, wanted: WantedUse::OtherPurpose, recipients: vec![], granted };
    said(Kind::HandlingRelease, None, says)
}

fn check(answers: bool) -> Said {
    let says = Says::Check { nonce: Short::of("6f"), respond_by: Some(at(30)), answers };
    said(Kind::ContactCheck, None, says)
}

fn cancel(deletes: bool) -> Said {
    said(Kind::AlertCancel, Some(1), Says::Cancel { scope: vec![], deletes })
}

fn asks(by: Option<Timestamp>) -> Said {
    let mut asks = alert(Kind::Alert, 1, None);
    if let Says::Alert { respond_by, .. } = &mut asks.says {
        *respond_by = by;
    }
    asks
}

fn hour(hours: u64) -> Timestamp {
    at(0).after(Duration::from_secs(hours * 3600))
}

/// A question, its priority, what is owed by when by whose rule, and the answer.
type Row = (Said, Priority, Duty, Timestamp, Rule, Said);

fn rows() -> Vec<Row> {
    let (house, stated, day) = (Rule::House, Rule::Stated, 24);
    let (routine, urgent) = (Priority::Routine, Priority::Urgent);
    let offer =
        |expires| said(Kind::ConditionalOffer, None, Says::Offer { conditions: vec![], expires });
    let assist = |respond_by| said(Kind::AssistanceRequest, None, Says::Request { respond_by });
    let emergency = said(Kind::EmergencyRequest, None, Says::Request { respond_by: None });
    let feedback = || said(Kind::AlertFeedback, Some(1), Says::Feedback { indicators: vec![] });
    let report = said(Kind::HandlingReport, Some(1), Says::Report { object: id(1) });
    let answer =
        || said(Kind::ConditionReply, Some(1), Says::Answer { accepts: false, named: vec![] });
    let assists = || said(Kind::AssistanceReply, Some(1), Says::Other);
    let discloses = said(Kind::EmergencyReply, Some(1), Says::Other);
    let reply = Duty::Reply;
    vec![
        (asks(None), routine, Duty::Feedback, hour(day), house, feedback()),
        (asks(None), urgent, Duty::Feedback, hour(2), house, feedback()),
        (asks(Some(at(7))), urgent, Duty::Feedback, at(7), stated, feedback()),
        (cancel(true), routine, Duty::ReportDeletion, hour(7 * day), house, report),
        (offer(hour(48)), routine, Duty::AnswerOffer, hour(day), house, answer()),
        (offer(hour(3)), routine, Duty::AnswerOffer, hour(3), stated, answer()),
        (release(None), routine, Duty::DecideRelease, hour(72), house, release(Some(false))),
        (assist(None), Priority::Emergency, reply, hour(8), house, assists()),
        (assist(None), urgent, reply, hour(72), house, assists()),
        (assist(None), routine, reply, hour(7 * day), house, assists()),
        (assist(Some(at(9))), routine, reply, at(9), stated, assists()),
        (emergency, urgent, reply, hour(2), house, discloses),
        (check(false), routine, reply, at(30), stated, check(true)),
    ]
}

/// What is expected of whom, by when, by whose rule; what fulfils it; what takes it back.
#[test]
fn replies_are_expected_in_time() {
    let replies = Replies::default();
    let due = |said: &Said, priority| {
        let one = expected(said, priority, at(0), &replies);
        one.map(|one| (one.duty, one.due.unwrap(), one.rule))
    };
    for (question, priority, duty, until, rule, reply) in &rows() {
        assert_eq!(due(question, *priority), Some((*duty, *until, *rule)), "{question:?}");
        assert!(expects(question) && fulfils(reply, question), "{question:?}");
        assert!(!expects(reply) && !fulfils(question, question), "{reply:?}");
    }
    let mut informs = alert(Kind::Alert, 1, None);
    if let Says::Alert { asks, .. } = &mut informs.says {
        *asks = false;
    }
    assert!(!expects(&informs) && !expects(&cancel(false)));
    let (first, second) = (alert(Kind::Alert, 1, None), alert(Kind::AlertUpdate, 2, Some(1)));
    assert!(closes(&second, &first) && !closes(&first, &second) && closes(&cancel(false), &first));
    let part = said(
        Kind::AlertCancel,
        Some(1),
        Says::Cancel { scope: vec![Short::of("i1")], deletes: true },
    );
    assert!(!closes(&part, &first));
}

/// What markings forbid, and what their originator's release lifts of it.
#[test]
fn markings_have_a_meaning() {
    let mut held = known(1, B, alert(Kind::Alert, 1, None));
    let free = Uses {
        evidence: true,
        forward: true,
        export: true,
        automate: true,
        confirm_first: false,
        released_to: vec![],
    };
    assert_eq!(Uses::of(&held, &[]), free);
    held.said.marks = Marks { tlp: 5, pap: 4, europol: 7, ..marks() };
    let bound = Uses {
        evidence: false,
        forward: false,
        export: false,
        automate: false,
        confirm_first: true,
        released_to: vec![],
    };
    assert_eq!(Uses::of(&held, &[]), bound);
    let decision = |from, object, wanted, granted| {
        let recipients = vec![unit(C)];
        let says = Says::Release { object, wanted, recipients, granted };
        known(5, from, said(Kind::HandlingRelease, None, says))
    };
    let (court, onward) = (WantedUse::JudicialProceedings, WantedUse::Dissemination);
    let granted = decision(B, id(1), court, Some(true));
    assert_eq!(Uses::of(&held, &[granted]), Uses { evidence: true, ..bound.clone() });
    let granted = decision(B, id(1), onward, Some(true));
    let to = vec![unit(C)];
    assert_eq!(Uses::of(&held, &[granted]), Uses { released_to: to, ..bound.clone() });
    for not in [
        decision(C, id(1), court, Some(true)),
        decision(B, id(2), court, Some(true)),
        decision(B, id(1), court, Some(false)),
        decision(B, id(1), court, None),
        decision(B, id(1), WantedUse::OtherPurpose, Some(true)),
    ] {
        assert_eq!(Uses::of(&held, &[not]), bound);
    }
}
