//! Alerts between three real nodes: what is marked stays where its originator wants it, what is
//! said about an alert is said by whom it may, and what is expected back is listed until it is
//! there.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use relay_tests::process::{Process, request_id};
use serde_json::{Value, json};

use super::rig::{Federation, demo_json, refused, until};

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
const UNITS: [&str; 3] = ["xa.cyber-poc", "xb.ncu", "xc.cyber-poc"];

/// A code of `relay-cli` for content with faults.
const FAULTS: i32 = 15;

struct Wire {
    federation: Federation,
}

impl Wire {
    fn node(&self, at: usize) -> &Process {
        &self.federation.nodes[at]
    }

    /// A message file: what it says, to whom, with more in `env`.
    fn file(&self, (from, to): (usize, usize), kind: &str, more: Value, content: Value) -> String {
        let mut env = json!({"kind": kind, "profile": "budapest-247", "from": UNITS[from],
            "to": [UNITS[to]], "priority": "ROUTINE", "language": "en", "sender_ref": "1"});
        env.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut file = json!({"env": env});
        file.as_object_mut().unwrap().extend(content.as_object().unwrap().clone());
        let path = self.federation.write(&format!("{}.json", request_id()), &file.to_string());
        path.to_str().unwrap().to_owned()
    }

    /// Sends it and waits until it is there; its id.
    fn sends(&self, way: (usize, usize), kind: &str, more: Value, content: Value) -> String {
        let file = self.file(way, kind, more, content);
        let words = ["send", "message", "--file", &file, "--wait", "delivered", "--json"];
        let sent = self.node(way.0).cli(&words);
        assert_eq!(sent.code, Some(0), "{kind}: {sent:?}");
        sent.json()["message"]["message_id"].as_str().unwrap().to_owned()
    }

    /// Is not sent, for this reason.
    fn refuses(&self, label: &str, way: (usize, usize), kind: &str, more: Value, content: Value) {
        let file = self.file(way, kind, more, content);
        refused(self.node(way.0), &["send", "message", "--file", &file], FAULTS, label, &[]);
    }

    fn shown(&self, at: usize, id: &str) -> Value {
        let shown = self.node(at).cli(&["show", id, "--json"]);
        assert_eq!(shown.code, Some(0), "{shown:?}");
        shown.json()
    }

    /// What is due at a node: what, from whom, about which message.
    fn due(&self, at: usize) -> Vec<(String, String, String)> {
        let listed = self.node(at).cli(&["deadlines", "--json"]).json();
        let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
        let each = listed["obligations"].as_array().unwrap().iter();
        each.map(|one| {
            let id = text(one, "message").trim_start_matches("messages/").to_owned();
            (text(one, "duty"), text(one, "unit"), id)
        })
        .collect()
    }

    /// The same is due at both ends.
    fn is_due(&self, duty: &str, (by, to): (usize, usize), id: &str) -> bool {
        let wanted = (duty.to_owned(), UNITS[by].to_owned(), id.to_owned());
        let listed = [by, to].map(|at| self.due(at).contains(&wanted));
        assert_eq!(
            listed[0],
            listed[1],
            "{duty} of {}: {:?}",
            UNITS[by],
            [self.due(by), self.due(to)]
        );
        listed[0]
    }

    async fn is_done(&self, duty: &str, (by, to): (usize, usize), id: &str) {
        let wanted = (duty.to_owned(), UNITS[by].to_owned(), id.to_owned());
        until(&format!("{duty} is done"), || {
            [by, to].iter().all(|at| !self.due(*at).contains(&wanted))
        })
        .await;
    }
}

/// The demo's alert, with its marks.
fn alert(handling: &Value) -> Value {
    let mut alert = demo_json("alert.json")["alert"].clone();
    alert.as_object_mut().unwrap().remove("respond_by");
    json!({"alert": alert, "handling": handling})
}

/// What a message said, to be said again.
fn again(shown: &Value) -> Value {
    json!({"alert": shown["content"]["alert"], "handling": shown["content"]["handling"]})
}

/// H2: B may not pass it on, nor pretend that it is its own, until A releases it to C; then its
/// marks go with it. Each step is refused or listed with its own name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marked_alert_goes_on_when_it_is_released() {
    let wire = Wire { federation: Federation::start(&UNITS, "").await };
    let marks = json!({"tlp": "AMBER", "pap": "GREEN", "europol": ["H1", "H2"],
                       "classification": "BPL"});
    let id = wire.sends((A, B), "ALERT", json!({}), alert(&marks));
    let shown = wire.shown(B, &id);
    let uses = &shown["message"]["uses"];
    assert_eq!((&uses["evidence_use"], &uses["may_forward"]), (&json!(false), &json!(false)));
    let page = wire.node(B).cli(&["show", &id]).out;
    assert!(page.contains("H1: NOT FOR COURT") && page.contains("NOT TO BE PASSED ON"), "{page}");
    assert!(wire.is_due("feedback", (B, A), &id));

    let content = again(&shown);
    wire.refuses("ORIGIN_MISSING", (B, C), "ALERT", json!({}), content.clone());
    let origin = |release: Option<&str>| match release {
        Some(release) => json!({"origin": {"message_id": id, "release": release}}),
        None => json!({"origin": {"message_id": id}}),
    };
    wire.refuses("NOT_RELEASED", (B, C), "ALERT", origin(None), content.clone());
    let ask = json!({"object": id, "wanted_use": "DISSEMINATION", "recipients": [UNITS[C]],
                     "text": "A hospital in XC is hit."});
    let asked = wire.sends((B, A), "HANDLING_RELEASE", json!({}), json!({"release": ask}));
    assert!(wire.is_due("decide release", (A, B), &asked));
    wire.refuses("NOT_RELEASED", (B, C), "ALERT", origin(Some(&asked)), content.clone());
    let mut granted = ask;
    granted["decision"] = json!("GRANTED");
    let env = json!({"in_reply_to": asked});
    let granted = wire.sends((A, B), "HANDLING_RELEASE", env, json!({"release": granted}));
    wire.is_done("decide release", (A, B), &asked).await;
    assert_eq!(wire.shown(B, &id)["message"]["uses"]["released_to"], json!([UNITS[C]]));

    let mut loose = content.clone();
    loose["handling"]["europol"] = json!(["H1"]);
    wire.refuses("MARKING_LOOSENED", (B, C), "ALERT", origin(Some(&granted)), loose);
    let passed = wire.sends((B, C), "ALERT", origin(Some(&granted)), content);
    let there = wire.shown(C, &passed);
    assert_eq!(there["content"]["handling"], shown["content"]["handling"]);
    assert_eq!(there["content"]["env"]["origin"]["unit"], UNITS[A]);
    assert_eq!(there["message"]["uses"]["may_forward"], false);

    // An update by A; none of it by B.
    let mut update = again(&shown);
    update["alert"]["lifecycle"] = json!("UPDATE");
    update["alert"]["revision"] = json!(2);
    update["alert"]["changes"] = json!([{"path": "summary", "op": "replace"}]);
    let env = || json!({"in_reply_to": id});
    wire.refuses("WRONG_REFERENCE", (B, A), "ALERT_UPDATE", env(), update.clone());
    let newer = wire.sends((A, B), "ALERT_UPDATE", env(), update.clone());
    wire.refuses("STALE_REVISION", (A, B), "ALERT_UPDATE", env(), update);
    assert!(wire.is_due("feedback", (B, A), &newer) && !wire.is_due("feedback", (B, A), &id));
    let feedback = json!({"feedback": {"outcome": "NO_HIT", "text": "Nothing seen."}});
    let env = json!({"in_reply_to": newer});
    wire.sends((B, A), "ALERT_FEEDBACK", env, feedback);
    wire.is_done("feedback", (B, A), &newer).await;

    // Taken back: the deletion is reported.
    let cancel = json!({"cancel": {"reason": "FALSE_POSITIVE", "delete_requested": true}});
    let cancel = wire.sends((A, B), "ALERT_CANCEL", json!({"in_reply_to": id}), cancel);
    assert!(wire.is_due("report deletion", (B, A), &cancel));
    let report = json!({"report": {"object": id, "done": "DELETED", "statement": "Deleted."}});
    wire.sends((B, A), "HANDLING_REPORT", json!({"in_reply_to": cancel}), report);
    wire.is_done("report deletion", (B, A), &cancel).await;
    wire.federation.assert_calm();
}

/// Article 26(2): what is offered goes to who accepted, under all conditions; answers name what
/// they answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_is_released_under_its_conditions() {
    let wire = Wire { federation: Federation::start(&UNITS[..2], "").await };
    let offer = json!({"offer": {"offer_id": "XA-1", "abstract": "Credentials of an operator.",
        "conditions": [{"id": "c1", "text": "keep confidential"}], "expires": "@+2h"}});
    let offered = wire.sends((A, B), "CONDITIONAL_OFFER", json!({}), offer);
    assert!(wire.is_due("answer offer", (B, A), &offered));
    let marks = json!({"tlp": "AMBER+STRICT", "pap": "AMBER", "europol": ["H1"],
                       "classification": "BPL"});
    let env = || json!({"in_reply_to": offered});
    wire.refuses("NOT_ACCEPTED", (A, B), "ALERT", env(), alert(&marks));
    let reply = |id: &str| json!({"reply": {"decision": "ACCEPT", "accepted_conditions": [id]}});
    wire.refuses("UNKNOWN_PART", (B, A), "CONDITION_REPLY", env(), reply("c2"));
    let accepted = wire.sends((B, A), "CONDITION_REPLY", env(), reply("c1"));
    wire.is_done("answer offer", (B, A), &offered).await;
    let env = || json!({"in_reply_to": accepted});
    wire.refuses("CONDITIONS_MISSING", (A, B), "ALERT", env(), alert(&marks));
    let mut bound = marks;
    bound["conditions"] = json!(["keep confidential"]);
    let released = wire.sends((A, B), "ALERT", env(), alert(&bound));
    let there = wire.shown(B, &released);
    assert_eq!(there["content"]["handling"]["conditions"], json!(["keep confidential"]));
    // What nobody sent is not answered.
    let unknown = json!({"in_reply_to": "0192f1a0-0002-7000-8000-000000000002"});
    let feedback = json!({"feedback": {"outcome": "NO_HIT", "text": "Nothing seen."}});
    let file = wire.file((B, A), "ALERT_FEEDBACK", unknown, feedback);
    refused(wire.node(B), &["send", "message", "--file", &file], 12, "UNKNOWN_REFERENCE", &[]);
    wire.federation.assert_calm();
}
