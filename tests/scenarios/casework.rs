//! Cases between nodes: both derive the same state from what they hold, and what is not legal is
//! refused by the node that would send it; `unchecked` has the node that would take it.

use bytes::Bytes;
use relay_core::case::{Case, Delivery, Outcome, Rules, State};
use relay_node::{
    relay::submit::{SubmitError, Submitted},
    store::records::{
        EntryState,
        case::{etag, messages},
    },
};
use relay_proto::{
    file::MessageFile,
    ids::{CaseId, Digest, MessageId, Uuid},
    reason::Reason,
    v1,
};
use relay_tests::cluster::{Cluster, draft, entries_until, submit, submit_seen};
use serde_json::{Value, json};

use crate::rig::{Federation, demo_file, refused};

pub(crate) const XA: usize = 0;
pub(crate) const XB: usize = 1;

/// Two units and a case between them.
pub(crate) struct Desk {
    pub cluster: Cluster,
    pub case: CaseId,
    sent: u128,
    /// The message that answers name.
    request: MessageId,
}

impl Desk {
    /// XA asks XB to preserve two items.
    async fn open() -> Self {
        Self::open_in(Cluster::start(&["xa.cyber-poc", "xb.ncu"]).await).await
    }

    /// The same between the first two of a federation.
    pub async fn open_in(cluster: Cluster) -> Self {
        let case = Uuid::random(rand::random());
        let request = MessageId::new(cluster.node(XA).relay().clock().now(), rand::random());
        let mut desk = Self { cluster, case, sent: 0, request };
        let sent = desk.submit(XA, desk.first()).await.unwrap();
        desk.request = sent.message_id;
        desk.arrived(XA, &sent.digest).await;
        desk
    }

    fn first(&self) -> v1::Draft {
        let now = self.cluster.node(XA).relay().clock().now();
        let mut draft = draft("preservation.json", &["xb.ncu"], now);
        let payload = draft.payload.as_mut().unwrap();
        payload.case_id = Bytes::copy_from_slice(self.case.as_bytes());
        let Some(v1::payload::Body::PreservationRequest(request)) = &mut payload.body else {
            panic!()
        };
        let mut second = request.items[0].clone();
        second.item_id = "2".to_owned();
        request.items.push(second);
        draft
    }

    async fn submit(&mut self, from: usize, draft: v1::Draft) -> Result<Submitted, SubmitError> {
        self.sent += 1;
        submit(self.cluster.node(from), draft, self.sent).await
    }

    fn file(&self, from: usize, kind: &str, key: &str, content: Value) -> v1::Draft {
        let now = self.cluster.node(from).relay().clock().now();
        let to = self.cluster.members[1 - from].unit.as_str();
        let file = json!({
            "env": {
                "kind": kind, "profile": "budapest-247", "to": [to], "priority": "ROUTINE",
                "thread_id": self.case.to_string(), "in_reply_to": self.request.to_string(),
                "language": "en", "sender_ref": "1",
            },
            key: content,
        });
        MessageFile::parse(&file.to_string(), now).unwrap()
    }

    /// A message that is legal: it is taken at both ends.
    pub async fn says(&mut self, from: usize, kind: &str, key: &str, content: Value) {
        let draft = self.file(from, kind, key, content);
        let sent = self.submit(from, draft).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
        self.arrived(from, &sent.digest).await;
    }

    /// A message that is not: the node that would send it says so, in these words.
    pub async fn cannot(
        &mut self,
        from: usize,
        (kind, key, content): (&str, &str, Value),
        why: &str,
    ) {
        let draft = self.file(from, kind, key, content);
        match self.submit(from, draft).await {
            Err(SubmitError::Case(not_legal)) => assert_eq!(not_legal.to_string(), why, "{kind}"),
            other => panic!("{kind}: {other:?}"),
        }
    }

    async fn arrived(&self, from: usize, digest: &Digest) {
        let delivered = |entry: &_| state_of(entry) == EntryState::Delivered;
        entries_until(self.cluster.node(from), digest, delivered).await;
    }

    /// The case as both derive it.
    pub fn both(&self) -> Case {
        let of = |at: usize| {
            let peer = &self.cluster.members[1 - at].unit;
            let rows = self.cluster.node(at).store().case_rows(&self.case, peer).unwrap();
            Case::of(messages(&rows), Delivery::Delivered, &Rules::TREATY).unwrap()
        };
        let (ours, theirs) = (of(XA), of(XB));
        assert_eq!(ours, theirs);
        assert!(!ours.sync_conflict && ours.waiting.is_empty(), "{ours:?}");
        assert!(ours.steps.iter().all(|step| matches!(step.outcome, Outcome::Made(_))));
        ours
    }
}

fn state_of(entry: &relay_node::store::records::EntryRecord) -> EntryState {
    EntryState::try_from(entry.state).unwrap()
}

pub(crate) fn ack() -> Value {
    json!({"q_reference": "XB-1", "desk": "night desk", "next_update_by": "@+6h"})
}

pub(crate) fn decision(verdict: &str) -> Value {
    let items: Vec<_> =
        ["1", "2"].iter().map(|id| json!({"item_id": id, "decision": verdict})).collect();
    json!({"revision": 1, "items": items})
}

pub(crate) fn refusing(ground: &str, signers: &[&str]) -> Value {
    let item = |id: &str| json!({"item_id": id, "decision": "REFUSED", "ground": ground});
    json!({"revision": 1, "items": [item("1"), item("2")], "reasons": "so", "signers": signers})
}

pub(crate) fn confirmation(days: &str) -> Value {
    let item = |id: &str| {
        json!({"item_id": id, "status": "PRESERVED", "preserved_from": "@now",
               "preserved_until": days})
    };
    json!({"q_reference": "XB-1", "items": [item("1"), item("2")]})
}

/// Who answers a case that has gone on since he looked is told so and nothing is sent; a message of
/// no case has no etag.
#[tokio::test]
async fn an_answer_to_a_case_that_went_on_is_refused() {
    let mut desk = Desk::open().await;
    let seen = |desk: &Desk| {
        let case = desk.cluster.node(XB).relay().case(&desk.case, &desk.cluster.members[XA].unit);
        etag(&case.unwrap().unwrap().rows)
    };
    let stale = seen(&desk);
    desk.says(XB, "REQUEST_ACK", "ack", ack()).await;
    let taken = desk.file(XB, "PRESERVATION_DECISION", "decision", decision("ACCEPTED"));
    let node = desk.cluster.node(XB);
    let answer = submit_seen(node, taken.clone(), &stale, 77).await;
    assert!(matches!(answer, Err(SubmitError::Refused(Reason::CaseChanged))), "{answer:?}");
    let sent = submit_seen(node, taken, &seen(&desk), 77).await.unwrap();
    desk.arrived(XB, &sent.digest).await;

    let alert = draft("alert.json", &["xa.cyber-poc"], node.relay().clock().now());
    let answer = submit_seen(node, alert, &stale, 78).await;
    assert!(matches!(answer, Err(SubmitError::Refused(Reason::UnknownCase))), "{answer:?}");
}

/// From the request to the release; after each message both sides stand at the same place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_goes_from_request_to_release() {
    let mut desk = Desk::open().await;
    assert_eq!(desk.both().state, State::Delivered);
    desk.says(XB, "REQUEST_ACK", "ack", ack()).await;
    let questions = json!({"questions": [{"field": "items[0].description", "text": "which?"}],
                           "due": "@+2d"});
    desk.says(XB, "INFO_REQUIRED", "info_required", questions).await;
    assert_eq!(desk.both().state, State::InfoRequired);
    let answers = json!({"revision": 2, "answers": [{"field": "items[0]", "text": "both"}]});
    desk.says(XA, "INFO_REPLY", "info_reply", answers).await;
    assert_eq!(desk.both().state, State::Acknowledged);
    let risk = json!({"type": "CONFIDENTIALITY", "explanation": "the reseller may tell"});
    desk.says(XB, "RISK_NOTICE", "risk", risk).await;
    let change = json!({"value": "CHANGE", "new_revision": 3, "drop_items": ["2"]});
    desk.says(XA, "RISK_DECISION", "decision", change).await;
    let accepted = json!({"revision": 3, "items": [{"item_id": "1", "decision": "ACCEPTED"}]});
    desk.says(XB, "PRESERVATION_DECISION", "decision", accepted).await;
    let preserved = json!({"q_reference": "XB-1", "items": [
        {"item_id": "1", "status": "PRESERVED", "preserved_from": "@now",
         "preserved_until": "@+90d"},
        {"item_id": "2", "status": "WITHDRAWN"},
    ]});
    desk.says(XB, "PRESERVATION_CONFIRMATION", "confirmation", preserved).await;
    let case = desk.both();
    assert_eq!((case.state, case.revision), (State::Preserved, 3));
    assert!(case.preserved_until().is_some());
    let extension = json!({"requested_until": "@+120d", "reason": "slow", "mla_status": "DRAFTED"});
    desk.says(XA, "EXTENSION_REQUEST", "extension", extension).await;
    let granted = json!({"granted": true, "preserved_until": "@+120d"});
    desk.says(XB, "EXTENSION_DECISION", "extension_decision", granted).await;
    let notice = json!({"mla_reference": "M-1", "status": "SENT", "channel": "post",
                        "central_authority": "MoJ XB", "date": "2026-08-14"});
    desk.says(XA, "MLA_NOTICE", "mla_notice", notice).await;
    let received = json!({"q_mla_reference": "MOJ-1", "received_on": "2026-08-19"});
    desk.says(XB, "MLA_RECEIVED", "mla", received.clone()).await;
    assert_eq!((desk.both().state, desk.both().preserved_until()), (State::MlaPending, None));
    let mut decided = received;
    decided["outcome"] = json!("EXECUTED");
    desk.says(XB, "MLA_RECEIVED", "mla", decided).await;
    let released = json!({"final_state": "RELEASED", "at": "@now"});
    desk.says(XB, "CLOSURE", "closure", released).await;
    let case = desk.both();
    assert_eq!((case.state, case.steps.len()), (State::Released, 14));
    let late = ("WITHDRAWAL", "withdrawal", json!({"reason": "NOT_NEEDED"}));
    desk.cannot(XA, late, "WITHDRAWAL is not possible now: the case is RELEASED").await;
}

/// The same desk through the real programs: an officer of each side sees the case, whose turn it is
/// and what may be sent; what may not is told with all of it, and nothing is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn officers_see_the_case() {
    let federation = Federation::start(&["xa.cyber-poc", "xb.ncu"], "").await;
    let [xa, xb] = federation.nodes.as_slice() else { panic!() };
    let request = demo_file("preservation.json");
    let sent =
        xa.cli(&["send", "preservation", "--file", &request, "--wait", "delivered", "--json"]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let id = sent.json()["message"]["message_id"].as_str().unwrap().to_owned();
    let short = sent.json()["message"]["short_id"].as_str().unwrap().to_owned();
    let shown = xb.cli(&["case", "show", &short, "--json"]);
    let case = shown.json()["case"].clone();
    assert_eq!(
        (&case["state"], &case["turn"], &case["peer"]),
        (&json!("DELIVERED"), &json!("xb.ncu"), &json!("xa.cyber-poc")),
    );
    let case_id = case["case_id"].as_str().unwrap();
    let file = |kind: &str, key: &str, content: Value| {
        let to = if kind == "WITHDRAWAL" { "xb.ncu" } else { "xa.cyber-poc" };
        let env = json!({"kind": kind, "profile": "budapest-247", "to": [to], "language": "en",
                         "priority": "ROUTINE", "thread_id": case_id, "in_reply_to": id,
                         "sender_ref": "XB-1"});
        let path = federation
            .write(&format!("{key}.json"), &json!({"env": env, key: content}).to_string());
        path.to_str().unwrap().to_owned()
    };
    let early = file("PRESERVATION_CONFIRMATION", "confirmation", confirmation("@+90d"));
    let send = ["send", "message", "--file", &early];
    let said = ["the case is DELIVERED", "xb.ncu's turn", "REQUEST_ACK, CLOSURE"];
    refused(xb, &send, 15, "ILLEGAL_TRANSITION", &said);
    let ack = file("REQUEST_ACK", "ack", ack());
    let sent = xb.cli(&["send", "message", "--file", &ack, "--wait", "delivered"]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    for (node, name) in [(xa, case_id), (xb, short.as_str())] {
        let shown = node.cli(&["case", "show", name]);
        assert_eq!(shown.code, Some(0), "{shown:?}");
        assert!(shown.out.starts_with("ACKNOWLEDGED  it is xb.ncu's turn\n"), "{}", shown.out);
        let listed = node.cli(&["case", "list"]);
        assert!(listed.out.starts_with("1 open case\n") && listed.out.contains(&short));
    }
    let due = xa.cli(&["deadlines", "--of", "xb.ncu"]);
    assert!(due.out.starts_with("1 term from xb.ncu, none overdue\n"), "{}", due.out);
    assert!(due.out.contains("decide") && due.out.contains("HOUSE"), "{}", due.out);
    let none = xb.cli(&["deadlines", "--of", "xa.cyber-poc"]);
    assert!(none.out.starts_with("Nothing is due from xa.cyber-poc"), "{}", none.out);
    let etags = [xa, xb].map(|node| node.cli(&["case", "show", &short, "--json"]).json());
    assert_eq!(etags[0]["case"]["etag"], etags[1]["case"]["etag"]);
    let withdrawal = file("WITHDRAWAL", "withdrawal", json!({"reason": "NOT_NEEDED"}));
    let sent = xa.cli(&["send", "message", "--file", &withdrawal, "--wait", "delivered"]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let listed = xa.cli(&["case", "list"]);
    assert!(listed.out.starts_with("No case is open"), "{}", listed.out);
    let all = xa.cli(&["case", "list", "--all", "--json"]).json();
    assert_eq!(all["cases"][0]["state"], "WITHDRAWN");
    let none = "0192f1a0-0009-4000-8000-000000000009";
    refused(xa, &["case", "show", none], 12, "UNKNOWN_CASE", &["relay-cli case list"]);
    federation.assert_calm();
}

/// What is not legal now names the state, whose turn it is and what would be legal; nothing of it
/// is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_legal_is_not_sent() {
    let mut desk = Desk::open().await;
    let early = ("PRESERVATION_CONFIRMATION", "confirmation", confirmation("@+90d"));
    let why = "PRESERVATION_CONFIRMATION is not possible now: the case is DELIVERED; it is \
               xb.ncu's turn; what you may send now: REQUEST_ACK, CLOSURE";
    desk.cannot(XB, early, why).await;
    let own = ("REQUEST_ACK", "ack", ack());
    let why = "REQUEST_ACK is not possible now: the case is DELIVERED; it is xb.ncu's turn; what \
               you may send now: PRESERVATION_REQUEST, INFO_REPLY, WITHDRAWAL";
    desk.cannot(XA, own, why).await;
    // What the node does by itself.
    let warning = json!({"preserved_until": "@+90d", "days_left": 7, "mla_seen": false});
    let warning = desk.file(XB, "EXPIRY_WARNING", "warning", warning);
    let Err(SubmitError::Content(faults)) = desk.submit(XB, warning).await else { panic!() };
    assert!(faults.to_string().starts_with("env.kind: the node"), "{faults}");
    // A second request of one case.
    let again = desk.submit(XA, desk.first()).await;
    assert!(matches!(again, Err(SubmitError::Case(not)) if not.state == Some("DELIVERED")));
    desk.says(XB, "REQUEST_ACK", "ack", ack()).await;
    for (ground, signers, why) in [
        (
            "DUAL_CRIMINALITY_RESERVED",
            &["A"][..],
            "dual criminality is no ground for offences of \
            Articles 2 to 11 (Article 29(4))",
        ),
        ("ESSENTIAL_INTERESTS", &["A"], "refusing for essential interests takes two officers"),
        ("DOMESTIC_LAW_LIMIT", &["A", "B"], "the profile does not offer this ground"),
    ] {
        let refusal = ("PRESERVATION_DECISION", "decision", refusing(ground, signers));
        desk.cannot(XB, refusal, &format!("a ground of refusal does not hold: {why}")).await;
    }
    desk.says(XB, "PRESERVATION_DECISION", "decision", decision("ACCEPTED")).await;
    let unknown = json!({"q_reference": "XB-1", "items": [
        {"item_id": "7", "status": "PRESERVED", "preserved_from": "@now",
         "preserved_until": "@+90d"}]});
    let foreign = ("PRESERVATION_CONFIRMATION", "confirmation", unknown);
    let why = "PRESERVATION_CONFIRMATION does not fit the case as it stands: the case is ACCEPTED, \
               compare its revision, items and times with `case show`; it is xb.ncu's turn; what \
               you may send now: RISK_NOTICE, PRESERVATION_CONFIRMATION, \
               TRAFFIC_DISCLOSURE, DISCLOSURE_WITHHELD, INCIDENT_NOTICE";
    desk.cannot(XB, foreign, why).await;
    desk.says(XB, "PRESERVATION_CONFIRMATION", "confirmation", confirmation("@+90d")).await;
    // Its time is not over.
    let expired = json!({"final_state": "EXPIRED", "at": "@now"});
    desk.cannot(
        XB,
        ("CLOSURE", "closure", expired),
        "CLOSURE does not fit the case as it stands: the case is PRESERVED, compare its revision, \
         items and times with `case show`; it is xa.cyber-poc's turn; what you may send now: \
         PRESERVATION_CONFIRMATION, TRAFFIC_DISCLOSURE, DISCLOSURE_WITHHELD, MLA_RECEIVED, \
         CLOSURE, INCIDENT_NOTICE",
    )
    .await;
    // A case that there is not.
    desk.case = Uuid::random([9; 16]);
    let why = "No request of this case was exchanged with this unit";
    desk.cannot(XB, ("REQUEST_ACK", "ack", ack()), why).await;
    desk.cannot(XA, ("WITHDRAWAL", "withdrawal", json!({"reason": "NOT_NEEDED"})), why).await;
}

/// Two messages of one side at once come one after the other; both name what was before them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_at_once_come_one_after_the_other() {
    let mut desk = Desk::open().await;
    desk.says(XB, "REQUEST_ACK", "ack", ack()).await;
    desk.says(XB, "PRESERVATION_DECISION", "decision", decision("ACCEPTED")).await;
    desk.says(XB, "PRESERVATION_CONFIRMATION", "confirmation", confirmation("@+90d")).await;
    let incident = json!({"what": "DATA_LOST", "at": "@now", "text": "a disk failed"});
    let node = desk.cluster.node(XB);
    let one = |n| submit(node, desk.file(XB, "INCIDENT_NOTICE", "incident", incident.clone()), n);
    let (a, b, c, d) = tokio::join!(one(100), one(101), one(102), one(103));
    for sent in [a, b, c, d] {
        desk.arrived(XB, &sent.unwrap().digest).await;
    }
    assert_eq!(desk.both().steps.len(), 8);
}
