//! What must not be exchanged, at both ends: the sender's node refuses to send it, and the
//! receiver's node refuses to take it from a unit whose node did not check.

use std::path::Path;

use bytes::Bytes;
use relay_node::init::Law;
use relay_proto::{
    card::Card,
    file::MessageFile,
    ids::{Digest, MessageId, Uuid},
    payload::{Place, clear_bytes},
    reason::Reason,
    v1::{self, payload::Body},
};
use relay_tests::{
    cluster::{Cluster, completed, draft, submit},
    hostile::Hostile,
};
use serde_json::{Value, json};

use crate::{
    cards::next_card,
    casework::{ack, confirmation, decision, refusing},
    hostile::Stage,
};

/// Who sends: a party to the Convention and its Second Additional Protocol, with no reservation.
const SENDER: &str = "qm.cyber-poc";

/// Who receives: no party to the Protocol, takes no drills and nothing that is classified.
const RECEIVER: &str = "qn.ncu";

/// A good message that a row of the table breaks.
#[derive(Clone, Copy)]
enum Base {
    Alert,
    Request,
    Confirmation,
    Decision,
    Emergency,
}

struct Row {
    case: &'static str,
    reason: Reason,
    base: Base,
    change: fn(&mut v1::Draft),
}

fn row(case: &'static str, reason: Reason, base: Base, change: fn(&mut v1::Draft)) -> Row {
    Row { case, reason, base, change }
}

fn payload(draft: &mut v1::Draft) -> &mut v1::Payload {
    draft.payload.as_mut().unwrap()
}

fn request(draft: &mut v1::Draft) -> &mut v1::PreservationRequest {
    match &mut payload(draft).body {
        Some(Body::PreservationRequest(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn alert(draft: &mut v1::Draft) -> &mut v1::Alert {
    match &mut payload(draft).body {
        Some(Body::Alert(alert)) => alert,
        other => panic!("{other:?}"),
    }
}

fn classified(draft: &mut v1::Draft, as_what: v1::Classification) {
    payload(draft).handling.as_mut().unwrap().classification = as_what.into();
}

/// Of another network than the Convention's, under a law of the police.
fn informal(draft: &mut v1::Draft, profile: &str) {
    draft.profile = profile.to_owned();
    let law = v1::LegalBasis { instrument: "POLICE-ACT".to_owned(), article: "1".to_owned() };
    payload(draft).legal_basis = vec![law];
}

/// The rules of a request's content.
fn requests() -> Vec<Row> {
    use Base::Request;
    use Reason::InvalidContent;
    vec![
        row("no necessity, 29(2)(e)", InvalidContent, Request, |d| request(d).necessity = None),
        row("no intention of mutual assistance, 29(2)(f)", InvalidContent, Request, |d| {
            request(d).mla_intent = v1::Answer::No.into();
        }),
        row("a period under the minimum", Reason::PeriodTooShort, Request, |d| {
            request(d).requested_period_days = 59;
        }),
        row("an address behind CGNAT without its port", InvalidContent, Request, |d| {
            let item = &mut request(d).items[0];
            let (r#type, value) = ("ipv4".to_owned(), "203.0.113.9".to_owned());
            item.identifier = Some(v1::Identifier { r#type, value });
            item.behind_cgnat = v1::Answer::Yes.into();
            item.source_port = 0;
        }),
        row("times the wrong way round", InvalidContent, Request, |d| {
            let item = &mut request(d).items[0];
            (item.time_from_ms, item.time_to_ms) = (1_700_000_001_000, 1_700_000_000_000);
        }),
        row("an unknown profile", Reason::UnknownProfile, Request, |d| {
            d.profile = "no-such-net".to_owned();
        }),
        row("a treaty's request in an informal network", InvalidContent, Request, |d| {
            informal(d, "interpol-i247");
            payload(d).legal_basis[0].instrument = "ETS185".to_owned();
        }),
    ]
}

/// The rules of the other kinds, of cards and of profiles.
fn others() -> Vec<Row> {
    use Base::{Alert, Confirmation, Decision, Emergency};
    use Reason::{ClassificationTooHigh, InvalidContent};
    vec![
        row("preserved for 59 days", Reason::PeriodTooShort, Confirmation, |d| {
            let Some(Body::PreservationConfirmation(confirmation)) = &mut payload(d).body else {
                panic!()
            };
            let item = &mut confirmation.items[0];
            item.preserved_until_ms = item.preserved_from_ms + 59 * 24 * 3_600_000;
        }),
        row("a ground that nobody knows", InvalidContent, Decision, |d| {
            let Some(Body::PreservationDecision(decision)) = &mut payload(d).body else { panic!() };
            decision.items[0].ground = 77;
        }),
        row("a decision by a unit that was not asked", Reason::UnknownCase, Decision, |_| {}),
        row("AMBER+STRICT to an audience", Reason::AudienceTooWide, Alert, |d| {
            payload(d).handling.as_mut().unwrap().tlp = v1::Tlp::AmberStrict.into();
            alert(d).dissemination.as_mut().unwrap().audience = v1::Audience::NationalLe.into();
        }),
        row("an indicator from before the alert", InvalidContent, Alert, |d| {
            let alert = alert(d);
            alert.indicators[0].first_seen_ms = alert.observed_from_ms - 1;
        }),
        row("above what any unit takes", ClassificationTooHigh, Alert, |d| {
            classified(d, v1::Classification::Restricted);
        }),
        row("above what its card takes", ClassificationTooHigh, Alert, |d| {
            classified(d, v1::Classification::Bpl);
        }),
        row("a drill for an executing desk", Reason::ExerciseNotTaken, Alert, |d| {
            payload(d).exercise = true;
        }),
        row("Article 9 to a non-party", Reason::NotAParty, Emergency, |_| {}),
        row("an alert in the G7 network", Reason::KindNotAllowed, Alert, |d| {
            informal(d, "g7-247");
        }),
        row("an emergency in INTERPOL's network", Reason::KindNotAllowed, Emergency, |d| {
            informal(d, "interpol-i247");
        }),
    ]
}

fn sample(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/samples").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

async fn cluster() -> Cluster {
    let sender =
        Law { parties: vec![v1::Treaty::SecondProtocol, v1::Treaty::Budapest], ..Law::default() };
    let receiver = Law {
        parties: vec![v1::Treaty::Budapest],
        classification_max: v1::Classification::Unclassified,
        ..Law::default()
    };
    Cluster::start_by_law(&[(SENDER, sender), (RECEIVER, receiver)]).await
}

/// A message of a file from one member to the other, unclassified, of no case that there is.
fn of_file(cluster: &Cluster, from: usize, mut file: Value) -> v1::Draft {
    let env = file["env"].as_object_mut().unwrap();
    env.remove("from");
    env.insert("to".to_owned(), json!([cluster.members[1 - from].unit.to_string()]));
    let now = cluster.node(1).relay().clock().now();
    let mut draft = MessageFile::parse(&file.to_string(), now).unwrap();
    payload(&mut draft).handling.get_or_insert_default();
    classified(&mut draft, v1::Classification::Unclassified);
    draft
}

/// The same of a kind's content.
fn answering(
    cluster: &Cluster,
    from: usize,
    place: (&str, &str),
    (kind, key, content): (&str, &str, Value),
) -> v1::Draft {
    let (case, answered) = place;
    let env = json!({"kind": kind, "profile": "budapest-247", "priority": "ROUTINE",
                     "thread_id": case, "in_reply_to": answered, "language": "en",
                     "sender_ref": "1"});
    of_file(cluster, from, json!({"env": env, key: content}))
}

fn good(cluster: &Cluster, base: Base) -> v1::Draft {
    let now = cluster.node(1).relay().clock().now();
    let case = Uuid::random(rand::random()).to_string();
    let answered = MessageId::new(now, rand::random()).to_string();
    let place = (case.as_str(), answered.as_str());
    match base {
        Base::Alert | Base::Request => {
            let name = if matches!(base, Base::Alert) { "alert.json" } else { "preservation.json" };
            let mut draft = draft(name, &[RECEIVER], now);
            payload(&mut draft).from.clear();
            classified(&mut draft, v1::Classification::Unclassified);
            draft
        }
        Base::Confirmation => {
            let content = confirmation("@+90d");
            let said = ("PRESERVATION_CONFIRMATION", "confirmation", content);
            answering(cluster, 0, place, said)
        }
        Base::Decision => {
            let said = ("PRESERVATION_DECISION", "decision", refusing("POLITICAL_OFFENCE", &["A"]));
            answering(cluster, 0, place, said)
        }
        Base::Emergency => of_file(cluster, 0, sample("22-emergency-request.json")),
    }
}

/// A stage whose peer is the first member, whose node does not run any more.
pub(crate) async fn take_over(mut cluster: Cluster) -> Stage {
    cluster.members[0].stop().await;
    let peer = Hostile::dial(&cluster.members[0], &cluster.members[1]).await;
    let to = cluster.members[1].unit.clone();
    let now = cluster.node(1).relay().clock().now();
    Stage { cluster, peer, to, now, number: 0 }
}

/// An envelope of what a draft says, its payload whole, as a node makes it that checks nothing.
async fn unchecked(
    stage: &Stage,
    draft: v1::Draft,
    made: impl Fn(&mut v1::Header),
) -> v1::Envelope {
    let payload = draft.payload.unwrap();
    let clear = clear_bytes(rand::random(), &payload);
    stage
        .peer
        .envelope(std::slice::from_ref(&stage.to), clear, stage.now, |header| {
            header.message_id = payload.message_id.clone();
            header.priority = draft.priority;
            header.profile = draft.profile.clone();
            made(header);
        })
        .await
}

/// A good draft, completed as the sender's node does.
fn whole(stage: &Stage, draft: v1::Draft, place: Place) -> v1::Draft {
    let [sender, receiver, ..] = stage.cluster.members.as_slice() else { panic!() };
    let mut payload = completed(&sender.dir, &sender.unit, draft.clone(), Some(&receiver.card()));
    let bytes = |digest: Option<Digest>| {
        digest.map(|digest| Bytes::copy_from_slice(digest.as_bytes())).unwrap_or_default()
    };
    (payload.follows, payload.based_on) = (bytes(place.follows), bytes(place.based_on));
    v1::Draft { payload: Some(payload), ..draft }
}

/// Each case with its own reason: from the node that would send it, then in a receipt of the node
/// that would take it. What is not broken is sent and taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_be_refused_is_refused_at_both_ends() {
    let cluster = cluster().await;
    let rows: Vec<Row> = requests().into_iter().chain(others()).collect();
    for (n, row) in rows.iter().enumerate() {
        let mut broken = good(&cluster, row.base);
        (row.change)(&mut broken);
        let error = submit(cluster.node(0), broken, 1000 + n as u128).await.unwrap_err();
        assert_eq!(error.reason(), row.reason, "{}: {error}", row.case);
        if matches!(row.reason, Reason::NotAParty | Reason::ExerciseNotTaken) {
            assert!(error.to_string().contains("card 1 of qn.ncu"), "{error}");
        }
    }
    for (n, base) in [Base::Alert, Base::Request].into_iter().enumerate() {
        submit(cluster.node(0), good(&cluster, base), n as u128).await.unwrap();
    }
    let mut police = good(&cluster, Base::Request);
    informal(&mut police, "interpol-i247");
    submit(cluster.node(0), police, 2).await.unwrap();

    let mut stage = take_over(cluster).await;
    for row in &rows {
        let mut broken = whole(&stage, good(&stage.cluster, row.base), Place::default());
        (row.change)(&mut broken);
        let envelope = unchecked(&stage, broken, |_| {}).await;
        eprintln!("{}", row.case);
        stage.is_refused(envelope, row.reason).await;
    }
    for base in [Base::Alert, Base::Request] {
        let sound = whole(&stage, good(&stage.cluster, base), Place::default());
        let envelope = unchecked(&stage, sound, |_| {}).await;
        stage.is_taken(envelope).await;
    }
}

/// Grounds of refusal that rest on cards: no reservation is declared, the asking unit is a party.
/// Once a newer card declares it, the receiver takes what it refused before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grounds_that_cards_disprove_hold_at_neither_end() {
    let cluster = cluster().await;
    let now = cluster.node(1).relay().clock().now();
    let case = Uuid::random([3; 16]);
    let mut asked = draft("preservation.json", &[SENDER], now);
    let stated = payload(&mut asked);
    stated.from.clear();
    stated.case_id = Bytes::copy_from_slice(case.as_bytes());
    request(&mut asked).offences[0].convention_articles = vec!["other".to_owned()];
    request(&mut asked).dual_criminality_note = "an offence on both sides".to_owned();
    let sent = submit(cluster.node(1), asked, 1).await.unwrap();
    relay_tests::cluster::until_stored(cluster.node(0).store(), "the request", |store| {
        store.message(&sent.digest).unwrap()
    })
    .await;
    let (case, answered) = (case.to_string(), sent.message_id.to_string());
    let place = (case.as_str(), answered.as_str());
    let taken = answering(&cluster, 0, place, ("REQUEST_ACK", "ack", ack()));
    submit(cluster.node(0), taken, 2).await.unwrap();
    let refusal = |cluster: &Cluster, ground: &str, signers: &[&str]| {
        let mut content = refusing(ground, signers);
        content["items"].as_array_mut().unwrap().pop();
        answering(cluster, 0, place, ("PRESERVATION_DECISION", "decision", content))
    };
    let grounds = [
        ("DUAL_CRIMINALITY_RESERVED", "card 1 of qm.cyber-poc declares no reservation"),
        ("NO_TREATY_RELATION", "by card 1 qn.ncu is party to `budapest`"),
        ("DOMESTIC_LAW_LIMIT", "the profile does not offer this ground"),
        ("ESSENTIAL_INTERESTS", "takes two officers"),
    ];
    for (n, (ground, why)) in grounds.into_iter().enumerate() {
        let error = submit(cluster.node(0), refusal(&cluster, ground, &["A"]), 10 + n as u128);
        let error = error.await.unwrap_err();
        assert_eq!(error.reason(), Reason::UnfoundedRefusal, "{ground}");
        assert!(error.to_string().contains(why), "{error}");
    }
    let rows = cluster.node(0).store().case_rows(&case.parse().unwrap(), &cluster.members[1].unit);
    let acked = rows.unwrap().iter().find(|row| row.out).unwrap().digest();
    relay_tests::cluster::until_stored(cluster.node(1).store(), "the answer", |store| {
        store.message(&acked).unwrap()
    })
    .await;
    let mut stage = take_over(cluster).await;
    let after = Place { follows: Some(acked), based_on: Some(sent.digest) };
    for (ground, _) in grounds {
        let unfounded = whole(&stage, refusal(&stage.cluster, ground, &["A"]), after);
        let envelope = unchecked(&stage, unfounded, |_| {}).await;
        stage.is_refused(envelope, Reason::UnfoundedRefusal).await;
    }
    // The newest card that is held of the sender declares the reservation.
    let newer = next_card(&stage.cluster.members[0], |card| {
        card.reservations = Some(v1::Reservations { art29_4: true, ..Default::default() });
    });
    let directory = stage.cluster.node(1).relay().directory();
    directory.add(&Card::to_file(newer.signed()), stage.now).await.unwrap();
    let founded = whole(&stage, refusal(&stage.cluster, grounds[0].0, &["A"]), after);
    let envelope = unchecked(&stage, founded, |_| {}).await;
    stage.is_taken(envelope).await;
}

/// The end of what is preserved, in milliseconds, put into a confirmation.
fn ending(mut draft: v1::Draft, until_ms: u64) -> v1::Draft {
    let Some(Body::PreservationConfirmation(confirmation)) = &mut payload(&mut draft).body else {
        panic!()
    };
    confirmation.items.truncate(1);
    let item = &mut confirmation.items[0];
    item.preserved_from_ms = until_ms - 61 * 24 * 3_600_000;
    item.preserved_until_ms = until_ms;
    draft
}

/// What the requested side says until data are preserved, up to an end.
fn until_preserved(
    cluster: &Cluster,
    from: usize,
    place: (&str, &str),
    end: u64,
) -> [v1::Draft; 3] {
    let mut accepted = decision("ACCEPTED");
    accepted["items"].as_array_mut().unwrap().pop();
    let confirming = ("PRESERVATION_CONFIRMATION", "confirmation", confirmation("@+90d"));
    [
        answering(cluster, from, place, ("REQUEST_ACK", "ack", ack())),
        answering(cluster, from, place, ("PRESERVATION_DECISION", "decision", accepted)),
        ending(answering(cluster, from, place, confirming), end),
    ]
}

fn extension(cluster: &Cluster, from: usize, place: (&str, &str)) -> v1::Draft {
    let content = json!({"requested_until": "@+120d", "reason": "slow", "mla_status": "DRAFTED"});
    answering(cluster, from, place, ("EXTENSION_REQUEST", "extension", content))
}

/// An extension that is signed after the end is not sent, and one that is signed a second after it
/// is not taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_after_the_end_is_too_late() {
    let mut stage = take_over(cluster().await).await;
    let now_ms = stage.now.as_millis();
    let asked = Uuid::random([4; 16]);
    let mut first = draft("preservation.json", &[SENDER], stage.now);
    payload(&mut first).from.clear();
    payload(&mut first).case_id = Bytes::copy_from_slice(asked.as_bytes());
    let sent = submit(stage.cluster.node(1), first, 1).await.unwrap();
    assert_eq!(stage.peer.next_transfer().await.number, 1);
    // The peer said all this ten minutes ago, and the end was five minutes ago.
    let (case, answered) = (asked.to_string(), sent.message_id.to_string());
    let place = (case.as_str(), answered.as_str());
    let mut after = Place { follows: None, based_on: Some(sent.digest) };
    for draft in until_preserved(&stage.cluster, 0, place, now_ms - 300_000) {
        let draft = whole(&stage, draft, after);
        let envelope = unchecked(&stage, draft, |header| header.created_at_ms -= 600_000).await;
        after.follows = Some(Digest::of(&envelope.header.as_ref().unwrap().bytes));
        stage.is_taken(envelope).await;
    }
    let late = submit(stage.cluster.node(1), extension(&stage.cluster, 1, place), 2).await;
    assert_eq!(late.unwrap_err().reason(), Reason::IllegalTransition);

    // The same the other way round: the peer asks, and its clock is ahead within its bounds.
    let begins = whole(&stage, good(&stage.cluster, Base::Request), Place::default());
    let begun = begins.payload.clone().unwrap();
    let case = Uuid::from_bytes(&begun.case_id).unwrap().to_string();
    let answered = MessageId::from_bytes(&begun.message_id).unwrap().to_string();
    let place = (case.as_str(), answered.as_str());
    let envelope = unchecked(&stage, begins, |_| {}).await;
    let request = Digest::of(&envelope.header.as_ref().unwrap().bytes);
    stage.is_taken(envelope).await;
    let end = stage.cluster.node(1).relay().clock().now().as_millis() + 120_000;
    let mut confirmed = None;
    for (n, draft) in until_preserved(&stage.cluster, 1, place, end).into_iter().enumerate() {
        let sent = submit(stage.cluster.node(1), draft, 10 + n as u128).await.unwrap();
        confirmed = Some(sent.digest);
    }
    let after = Place { follows: Some(request), based_on: confirmed };
    for (at, is_late) in [(end + 1000, true), (end - 1000, false)] {
        let draft = whole(&stage, extension(&stage.cluster, 0, place), after);
        let envelope = unchecked(&stage, draft, |header| header.created_at_ms = at).await;
        match is_late {
            true => stage.is_refused(envelope, Reason::IllegalTransition).await,
            false => stage.is_taken(envelope).await,
        }
    }
}
