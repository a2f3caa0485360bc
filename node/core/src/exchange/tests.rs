#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use relay_proto::{
    envelope::Priority,
    ids::{Digest, MessageId, UnitId, Uuid},
    reason::Reason,
    timestamp::Timestamp,
    v1::{Kind, WantedUse},
};

use super::*;
use crate::case::{Duty, Rule};

fn unit(name: &str) -> UnitId {
    name.parse().unwrap()
}

fn at(minutes: u64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + minutes * 60_000)
}

fn id(number: u8) -> MessageId {
    MessageId::new(at(0), [number; 10])
}

/// TLP AMBER, PAP GREEN, no code, BPL.
fn marks() -> Marks {
    Marks { tlp: 3, pap: 2, europol: 0, classification: 2, conditions: [].into(), delete_by: None }
}

fn said(kind: Kind, in_reply_to: Option<u8>, says: Says) -> Said {
    let in_reply_to = in_reply_to.map(id);
    Said { kind, marks: marks(), in_reply_to, files: vec![], origin: None, says }
}

fn alert(kind: Kind, revision: u32, in_reply_to: Option<u8>) -> Said {
    said(
        kind,
        in_reply_to,
        Says::Alert {
            id: Uuid::random([9; 16]),
            revision,
            indicators: ["i1", "i2"].map(Short::of).to_vec(),
            onward: true,
            asks: true,
            respond_by: None,
        },
    )
}

fn known(number: u8, from: &str, said: Said) -> Known {
    let digest = Digest::of(&[number]);
    Known { digest, id: id(number), from: unit(from), sent_at: at(number.into()), said }
}

/// A judgement at one end, of a message from A to B.
fn judged(end: End, new: &Said, held: &Held) -> Result<(), Reason> {
    let (from, to) = (unit(A), unit(B));
    let sent_at = at(100);
    let exchange = Exchange { new, from: &from, to: &to, sent_at, end };
    judge(&exchange, held).map_err(Objection::reason)
}

/// The same at both ends.
fn both(new: &Said, held: &Held) -> Result<(), Reason> {
    let sending = judged(End::Sending, new, held);
    assert_eq!(sending, judged(End::Taking, new, held), "{new:?}");
    sending
}

fn answered(known: Known) -> Held {
    Held { answered: Some(known), ..Held::default() }
}

const A: &str = "xa.ncu";
const B: &str = "xb.ncu";
const C: &str = "xc.ncu";

/// Every answer names a message of its kind, of its side; what is not there is refused where it
/// would be there, and awaited where it may be on its way.
#[test]
fn answers_name_what_they_answer() {
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
    let rows = [
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
    ];
    for (new, right, side) in rows {
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

/// Every scheme has its own order; what is not known is the strictest.
#[test]
fn the_stricter_marking_is_told_by_scheme() {
    let (loose, key) = (marks(), Short::of("keep it"));
    let cases: [(fn(&mut Marks), Scheme); 6] = [
        (|m| m.tlp = 4, Scheme::Tlp),
        (|m| m.pap = 3, Scheme::Pap),
        (|m| m.europol = 2, Scheme::Europol),
        (|m| m.classification = 3, Scheme::Classification),
        (|m| m.conditions = [Short::of("keep it")].into(), Scheme::Conditions),
        (|m| m.delete_by = Some(at(5)), Scheme::DeleteBy),
    ];
    for (make, scheme) in cases {
        let mut strict = loose.clone();
        make(&mut strict);
        assert_eq!(loose.looser_than(&strict), Some(scheme));
        assert_eq!(strict.looser_than(&loose), None, "{scheme}");
        assert_eq!(strict.looser_than(&strict), None, "{scheme}");
    }
    let mut later = loose.clone();
    later.delete_by = Some(at(6));
    let sooner = Marks { delete_by: Some(at(5)), ..loose.clone() };
    assert_eq!(later.looser_than(&sooner), Some(Scheme::DeleteBy));
    assert_eq!(Marks::default().looser_than(&loose), None, "nothing known");
    let unmarked = relay_proto::payload::Handling::default();
    let of = Marks::of(&unmarked);
    assert_eq!((of.tlp, of.pap, of.classification), (5, 4, 4));
    assert!(of.is_red() && of.is_passive() && !of.conditions.contains(&key));
}

fn origin(of: &Known, release: Option<u8>) -> OriginSaid {
    OriginSaid {
        unit: of.from.clone(),
        id: of.id,
        digest: of.digest,
        marks: of.said.marks.clone(),
        onward: of.said.onward(),
        release: release.map(id),
    }
}

/// What A passes on to C of what B sent.
struct Case {
    new: Said,
    original: Option<Known>,
    alike: Vec<Known>,
    release: Option<Known>,
}

impl Case {
    /// With H2, released to C.
    fn new() -> Self {
        let mut original = known(1, B, alert(Kind::Alert, 1, None));
        original.said.marks.europol = 2;
        let mut new = alert(Kind::Alert, 1, None);
        new.marks.europol = 2;
        new.origin = Some(origin(&original, Some(5)));
        let says = Says::Release {
            object: id(1),
            wanted: WantedUse::Dissemination,
            recipients: vec![unit(C)],
            granted: Some(true),
        };
        let release = Some(known(5, B, said(Kind::HandlingRelease, Some(4), says)));
        Self { new, alike: vec![original.clone()], original: Some(original), release }
    }

    fn to(&self, to: &str, end: End) -> Result<(), Reason> {
        let (from, to) = (unit(A), unit(to));
        let passing = Passing {
            new: &self.new,
            from: &from,
            to: &to,
            end,
            original: self.original.as_ref(),
            alike: if end == End::Sending { &self.alike } else { &[] },
            release: self.release.as_ref(),
        };
        pass_on(&passing).map_err(Objection::reason)
    }

    fn sent(&self) -> Result<(), Reason> {
        self.to(C, End::Sending)
    }

    fn stated(&mut self) -> &mut OriginSaid {
        self.new.origin.as_mut().unwrap()
    }
}

/// What another unit sent is passed on only where that is stated.
#[test]
fn a_forward_states_its_origin() {
    let mut case = Case::new();
    assert_eq!((case.sent(), case.to(C, End::Taking)), (Ok(()), Ok(())));
    case.new.origin = None;
    assert_eq!(case.sent(), Err(Reason::OriginMissing));
    assert_eq!(case.to(B, End::Sending), Ok(()), "back to whom it came from");
    assert_eq!(case.to(C, End::Taking), Ok(()), "who was first cannot be told there");
    case.alike.clear();
    assert_eq!(case.sent(), Ok(()));
}

/// H2, a dissemination that ends, TLP AMBER+STRICT and RED: each needs the originator's release, of
/// this message, for this unit.
#[test]
fn a_forward_needs_a_release() {
    let forbids: [fn(&mut Known); 4] = [
        |known| known.said.marks.europol = 2,
        |known| known.said.marks.tlp = 4,
        |known| known.said.marks.tlp = 5,
        |known| {
            if let Says::Alert { onward, .. } = &mut known.said.says {
                *onward = false;
            }
        },
    ];
    for forbid in forbids {
        let mut case = Case::new();
        let mut original = known(1, B, alert(Kind::Alert, 1, None));
        forbid(&mut original);
        case.new.marks = original.said.marks.clone();
        case.new.origin = Some(origin(&original, Some(5)));
        (case.original, case.alike) = (Some(original.clone()), vec![original]);
        assert_eq!((case.sent(), case.to(C, End::Taking)), (Ok(()), Ok(())));
        assert_eq!(case.to("xd.ncu", End::Sending), Err(Reason::NotReleased), "another unit");
        case.stated().release = None;
        case.release = None;
        let refused = Err(Reason::NotReleased);
        assert_eq!((case.sent(), case.to(C, End::Taking)), (refused, refused));
        assert_eq!(case.to(B, End::Sending), Ok(()), "back to whom it came from");
    }
    let spoils: [fn(&mut Known); 5] = [
        |release| release.from = unit(C),
        |release| release.said.says = Says::Other,
        |release| change(release, |object, _, _| *object = id(9)),
        |release| change(release, |_, wanted, _| *wanted = WantedUse::JudicialProceedings),
        |release| change(release, |_, _, granted| *granted = Some(false)),
    ];
    for spoil in spoils {
        let mut case = Case::new();
        spoil(case.release.as_mut().unwrap());
        assert_eq!(case.sent(), Err(Reason::NotReleased));
    }
    // What was passed on already is not released by whoever did.
    let mut case = Case::new();
    let first = known(8, "xd.ncu", alert(Kind::Alert, 1, None));
    case.original.as_mut().unwrap().said.origin = Some(origin(&first, None));
    assert_eq!(case.sent(), Err(Reason::NotReleased));
    // Free of all that, none is needed.
    let mut case = Case::new();
    let free = known(1, B, alert(Kind::Alert, 1, None));
    case.new.origin = Some(origin(&free, None));
    (case.original, case.alike, case.release) = (Some(free.clone()), vec![free], None);
    assert_eq!((case.sent(), case.to(C, End::Taking)), (Ok(()), Ok(())));
}

fn change(
    release: &mut Known,
    how: impl FnOnce(&mut MessageId, &mut WantedUse, &mut Option<bool>),
) {
    if let Says::Release { object, wanted, granted, .. } = &mut release.said.says {
        how(object, wanted, granted);
    }
}

/// What is stated of the origin is what is held of it, and no marking is looser.
#[test]
fn a_forward_is_what_it_says() {
    let spoils: [fn(&mut OriginSaid); 4] = [
        |stated| stated.digest = Digest::of(b"other"),
        |stated| stated.unit = unit("xd.ncu"),
        |stated| stated.marks.europol = 0,
        |stated| stated.onward = None,
    ];
    for spoil in spoils {
        let mut case = Case::new();
        spoil(case.stated());
        let mismatch = Err(Reason::OriginMismatch);
        assert_eq!((case.sent(), case.to(C, End::Taking)), (mismatch, mismatch));
    }
    let mut case = Case::new();
    case.original = None;
    assert_eq!(case.sent(), Err(Reason::UnknownReference));
    assert_eq!(case.to(C, End::Taking), Ok(()), "it went to others");
    assert_eq!(case.to(B, End::Taking), Err(Reason::OriginMismatch), "it never sent that");
    let mut case = Case::new();
    case.stated().unit = unit(A);
    assert_eq!(case.sent(), Err(Reason::OriginMismatch), "its own");
    let mut case = Case::new();
    case.new.marks.europol = 0;
    let loosened = Err(Reason::MarkingLoosened);
    assert_eq!((case.sent(), case.to(C, End::Taking)), (loosened, loosened));
    // What else has the same file binds as well; a revision of the same alert is no other.
    let mut case = Case::new();
    let mut other = known(6, "xd.ncu", alert(Kind::Alert, 1, None));
    other.said.marks.pap = 3;
    case.alike.push(other.clone());
    assert_eq!(case.sent(), loosened);
    other.said.marks = Marks { europol: 2, ..marks() };
    case.alike = vec![other];
    assert_eq!(case.sent(), Err(Reason::NotReleased));
    let mut revision = known(6, B, alert(Kind::AlertUpdate, 2, None));
    revision.said.marks.europol = 2;
    case.alike = vec![revision];
    assert_eq!(case.sent(), Ok(()));
}

/// What is expected of whom, by when, by whose rule; what fulfils it; what takes it back.
#[test]
fn replies_are_expected_in_time() {
    let replies = Replies::default();
    let hour = |hours: u64| at(0).after(Duration::from_secs(hours * 3600));
    let due = |said: &Said, priority| {
        let one = expected(said, priority, at(0), &replies);
        one.map(|one| (one.duty, one.due.unwrap(), one.rule))
    };
    let (routine, urgent) = (Priority::Routine, Priority::Urgent);
    let asks = |by| {
        let mut asks = alert(Kind::Alert, 1, None);
        if let Says::Alert { respond_by, .. } = &mut asks.says {
            *respond_by = by;
        }
        asks
    };
    let offer =
        |expires| said(Kind::ConditionalOffer, None, Says::Offer { conditions: vec![], expires });
    let request = |kind, respond_by| said(kind, None, Says::Request { respond_by });
    let cancel =
        |deletes| said(Kind::AlertCancel, Some(1), Says::Cancel { scope: vec![], deletes });
    let release = |granted| {
        let object = id(1);
        let says =
            Says::Release { object, wanted: WantedUse::OtherPurpose, recipients: vec![], granted };
        said(Kind::HandlingRelease, None, says)
    };
    let check = |answers| {
        let says = Says::Check { nonce: Short::of("6f"), respond_by: Some(at(30)), answers };
        said(Kind::ContactCheck, None, says)
    };
    let feedback = said(Kind::AlertFeedback, Some(1), Says::Feedback { indicators: vec![] });
    let report = said(Kind::HandlingReport, Some(1), Says::Report { object: id(1) });
    let answer =
        said(Kind::ConditionReply, Some(1), Says::Answer { accepts: false, named: vec![] });
    let assists = said(Kind::AssistanceReply, Some(1), Says::Other);
    let discloses = said(Kind::EmergencyReply, Some(1), Says::Other);
    let (house, stated) = (Rule::House, Rule::Stated);
    let day = 24;
    let rows = [
        (asks(None), routine, Duty::Feedback, hour(day), house, &feedback),
        (asks(None), urgent, Duty::Feedback, hour(2), house, &feedback),
        (asks(Some(at(7))), urgent, Duty::Feedback, at(7), stated, &feedback),
        (cancel(true), routine, Duty::ReportDeletion, hour(7 * day), house, &report),
        (offer(hour(48)), routine, Duty::AnswerOffer, hour(day), house, &answer),
        (offer(hour(3)), routine, Duty::AnswerOffer, hour(3), stated, &answer),
        (release(None), routine, Duty::DecideRelease, hour(72), house, &release(Some(false))),
        (
            request(Kind::AssistanceRequest, None),
            Priority::Emergency,
            Duty::Reply,
            hour(8),
            house,
            &assists,
        ),
        (request(Kind::AssistanceRequest, None), urgent, Duty::Reply, hour(72), house, &assists),
        (
            request(Kind::AssistanceRequest, None),
            routine,
            Duty::Reply,
            hour(7 * day),
            house,
            &assists,
        ),
        (
            request(Kind::AssistanceRequest, Some(at(9))),
            routine,
            Duty::Reply,
            at(9),
            stated,
            &assists,
        ),
        (request(Kind::EmergencyRequest, None), urgent, Duty::Reply, hour(2), house, &discloses),
        (check(false), routine, Duty::Reply, at(30), stated, &check(true)),
    ];
    for (question, priority, duty, until, rule, reply) in &rows {
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
