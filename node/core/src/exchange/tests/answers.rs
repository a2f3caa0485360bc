//! Who may answer what, and about which parts of it.

use super::*;

/// Every answer names a message of its kind, of its side; what is not there is refused where it
/// would be there, and awaited where it may be on its way.
#[test]
fn answers_name_what_they_answer() {
    for (new, right, side) in answering() {
        let object = Some(known(1, A, alert(Kind::Alert, 1, None)));
        let held = |answered| Held { answered, object: object.clone(), ..Held::default() };
        assert_eq!(both(&new, &held(Some(right.clone()))), Ok(()), "{new:?}");
        assert_eq!(judged(End::Sending, &new, &held(None)), Err(Reason::UnknownReference));
        let missing = match side {
            Whose::Own => Reason::ReferenceAwaited,
            Whose::Theirs => Reason::UnknownReference,
        };
        assert_eq!(judged(End::Taking, &new, &held(None)), Err(missing), "{new:?}");
        let wrong = Err(Reason::WrongReference);
        let other = if right.from == unit(A) { B } else { A };
        let turned = Known { from: unit(other), ..right.clone() };
        assert_eq!(both(&new, &held(Some(turned))), wrong, "of the other side: {new:?}");
        let kind = Known { said: said(Kind::HandlingReport, None, Says::Other), ..right.clone() };
        assert_eq!(both(&new, &held(Some(kind))), wrong, "of another kind: {new:?}");
        let mut strict = right;
        strict.said.marks.tlp = 5;
        assert_eq!(both(&new, &held(Some(strict))), Err(Reason::MarkingLoosened), "{new:?}");
    }
}

/// An answer of each kind, with what it answers and whose that is.
fn answering() -> Vec<(Said, Known, Whose)> {
    let ids = || vec![Short::of("i1")];
    let offer = || {
        let conditions = vec![(Short::of("c1"), Short::of("keep it"))];
        Says::Offer { conditions, expires: at(200) }
    };
    let release = |granted| Says::Release {
        object: id(1),
        wanted: WantedUse::Dissemination,
        recipients: vec![],
        granted,
    };
    let check = |answers| Says::Check { nonce: Short::of("6f"), respond_by: None, answers };
    let request = || Says::Request { respond_by: None };
    let own_alert = || known(7, A, alert(Kind::Alert, 1, None));
    let their_alert = || known(7, B, alert(Kind::AlertUpdate, 2, None));
    vec![
        (alert(Kind::AlertUpdate, 2, Some(7)), own_alert(), Whose::Own),
        (
            said(Kind::AlertCancel, Some(7), Says::Cancel { scope: ids(), deletes: true }),
            own_alert(),
            Whose::Own,
        ),
        (
            said(Kind::AlertFeedback, Some(7), Says::Feedback { indicators: ids() }),
            their_alert(),
            Whose::Theirs,
        ),
        (
            said(
                Kind::ConditionReply,
                Some(7),
                Says::Answer { accepts: true, named: vec![Short::of("c1")] },
            ),
            known(7, B, said(Kind::ConditionalOffer, None, offer())),
            Whose::Theirs,
        ),
        (
            said(Kind::ConditionalOffer, Some(7), offer()),
            known(
                7,
                B,
                said(Kind::ConditionReply, None, Says::Answer { accepts: false, named: vec![] }),
            ),
            Whose::Theirs,
        ),
        (
            said(Kind::AssistanceReply, Some(7), Says::Other),
            known(7, B, said(Kind::AssistanceRequest, None, request())),
            Whose::Theirs,
        ),
        (
            said(Kind::EmergencyReply, Some(7), Says::Other),
            known(7, B, said(Kind::EmergencyRequest, None, request())),
            Whose::Theirs,
        ),
        (
            said(Kind::ContactCheck, Some(7), check(true)),
            known(7, B, said(Kind::ContactCheck, None, check(false))),
            Whose::Theirs,
        ),
        (
            said(Kind::HandlingRelease, Some(7), release(Some(true))),
            known(7, B, said(Kind::HandlingRelease, None, release(None))),
            Whose::Theirs,
        ),
    ]
}

/// An update is of the alert that it names, in a revision that is new; a later one may overtake it.
#[test]
fn revisions_grow() {
    let named = known(1, A, alert(Kind::Alert, 1, None));
    let held = |revisions: &[u32]| {
        let each = revisions.iter().map(|r| known(2, A, alert(Kind::AlertUpdate, *r, None)));
        Held { alerts: each.collect(), ..answered(named.clone()) }
    };
    let update = alert(Kind::AlertUpdate, 3, Some(1));
    assert_eq!(both(&update, &held(&[1, 2])), Ok(()));
    assert_eq!(both(&update, &held(&[1, 3])), Err(Reason::StaleRevision));
    assert_eq!(judged(End::Sending, &update, &held(&[4])), Err(Reason::StaleRevision));
    assert_eq!(judged(End::Taking, &update, &held(&[4])), Ok(()), "it was overtaken");
    let again = alert(Kind::Alert, 1, None);
    let once = Held { alerts: vec![named.clone()], ..Held::default() };
    assert_eq!(both(&again, &once), Err(Reason::StaleRevision));
    let mut other = update;
    if let Says::Alert { id, .. } = &mut other.says {
        *id = Uuid::random([8; 16]);
    }
    assert_eq!(both(&other, &held(&[])), Err(Reason::WrongReference), "another alert");
}

/// Cancels and feedback name indicators that the alert has.
#[test]
fn indicators_are_those_of_the_alert() {
    let named = |id| vec![Short::of("i1"), Short::of(id)];
    for (id, expected) in [("i2", Ok(())), ("i3", Err(Reason::UnknownPart))] {
        let says = Says::Cancel { scope: named(id), deletes: false };
        let cancel = said(Kind::AlertCancel, Some(1), says);
        let own = answered(known(1, A, alert(Kind::Alert, 1, None)));
        assert_eq!(both(&cancel, &own), expected);
        let says = Says::Feedback { indicators: named(id) };
        let feedback = said(Kind::AlertFeedback, Some(1), says);
        let theirs = answered(known(1, B, alert(Kind::Alert, 1, None)));
        assert_eq!(both(&feedback, &theirs), expected);
    }
}

/// An offer is answered in time, about its own conditions; what was offered goes only to who
/// accepted, and under all conditions.
#[test]
fn offers_are_accepted_before_they_are_released() {
    let conditions =
        vec![(Short::of("c1"), Short::of("keep it")), (Short::of("c2"), Short::of("not in court"))];
    let offer = |from| {
        let says = Says::Offer { conditions: conditions.clone(), expires: at(100) };
        known(1, from, said(Kind::ConditionalOffer, None, says))
    };
    let reply = |named: &str| {
        let named = vec![Short::of(named)];
        said(Kind::ConditionReply, Some(1), Says::Answer { accepts: true, named })
    };
    assert_eq!(both(&reply("c2"), &answered(offer(B))), Ok(()), "at the last instant");
    assert_eq!(both(&reply("c3"), &answered(offer(B))), Err(Reason::UnknownPart));
    let mut over = offer(B);
    over.said.says = Says::Offer { conditions: conditions.clone(), expires: at(99) };
    assert_eq!(both(&reply("c1"), &answered(over)), Err(Reason::OfferExpired));

    let answer = |number, accepts| {
        let says = Says::Answer { accepts, named: vec![] };
        known(number, B, said(Kind::ConditionReply, Some(1), says))
    };
    let mut released = alert(Kind::Alert, 1, Some(2));
    released.marks.conditions = conditions.iter().map(|(_, text)| *text).collect();
    let held = |named: Known, answers: &[Known]| Held {
        offer: Some(offer(A)),
        answers: answers.to_vec(),
        ..answered(named)
    };
    let accepted = [answer(2, true)];
    assert_eq!(both(&released, &held(answer(2, true), &accepted)), Ok(()));
    assert_eq!(both(&released, &held(offer(A), &accepted)), Ok(()), "the offer is named");
    let declined = Err(Reason::NotAccepted);
    assert_eq!(both(&released, &held(answer(2, false), &[answer(2, false)])), declined);
    assert_eq!(both(&released, &held(offer(A), &[])), declined);
    let taken_back = [answer(2, true), answer(3, false)];
    let crossing = held(answer(2, true), &taken_back);
    assert_eq!(judged(End::Sending, &released, &crossing), declined);
    assert_eq!(judged(End::Taking, &released, &crossing), Ok(()), "it may have crossed that");
    let mut without = released.clone();
    without.marks.conditions.pop_last();
    let held_now = held(answer(2, true), &accepted);
    assert_eq!(both(&without, &held_now), Err(Reason::ConditionsMissing));
    assert_eq!(both(&released, &Held::default()), Err(Reason::UnknownReference));
    let feedback = known(2, B, said(Kind::AlertFeedback, None, Says::Other));
    assert_eq!(both(&released, &held(feedback, &accepted)), Err(Reason::WrongReference));
}

/// A use is asked of who sent the object, decided by it about what was asked; a report goes to it.
#[test]
fn uses_are_released_by_the_originator() {
    let ask =
        |granted, object, wanted| Says::Release { object, wanted, recipients: vec![], granted };
    let wanted = WantedUse::Dissemination;
    let of = |from| Some(known(1, from, alert(Kind::Alert, 1, None)));
    let asks = said(Kind::HandlingRelease, None, ask(None, id(1), wanted));
    let report = said(Kind::HandlingReport, None, Says::Report { object: id(1) });
    for new in [&asks, &report] {
        let held = |object| Held { object, ..Held::default() };
        assert_eq!(both(new, &held(of(B))), Ok(()));
        assert_eq!(both(new, &held(of(A))), Err(Reason::WrongReference), "its own");
        assert_eq!(both(new, &held(None)), Err(Reason::UnknownReference));
    }
    let decides = said(Kind::HandlingRelease, Some(2), ask(Some(true), id(1), wanted));
    let asked = |says| Some(known(2, B, said(Kind::HandlingRelease, None, says)));
    let held = |answered, object| Held { answered, object, ..Held::default() };
    assert_eq!(both(&decides, &held(asked(ask(None, id(1), wanted)), of(A))), Ok(()));
    let wrong = Err(Reason::WrongReference);
    for says in [
        ask(None, id(3), wanted),
        ask(None, id(1), WantedUse::JudicialProceedings),
        ask(Some(true), id(1), wanted),
    ] {
        assert_eq!(both(&decides, &held(asked(says), of(A))), wrong);
    }
    let theirs = held(asked(ask(None, id(1), wanted)), of(B));
    assert_eq!(both(&decides, &theirs), wrong, "not its originator");
}
