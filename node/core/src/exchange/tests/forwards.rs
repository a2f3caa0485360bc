//! What may be passed on, and how it is marked.

use super::*;

/// What makes markings stricter, in which scheme.
type Change = (fn(&mut Marks), Scheme);

/// Every scheme has its own order; what is not known is the strictest.
#[test]
fn the_stricter_marking_is_told_by_scheme() {
    let (loose, key) = (marks(), Short::of("keep it"));
    let cases: [Change; 6] = [
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
    let spoils: [fn(&mut OriginSaid); 3] = [
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
    // Two messages of its originator under one id: the other one is not known here.
    let mut case = Case::new();
    case.stated().digest = Digest::of(b"other");
    assert_eq!(case.sent(), Err(Reason::OriginMismatch));
    assert_eq!(case.to(C, End::Taking), Ok(()));
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
