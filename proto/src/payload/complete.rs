//! What the node adds to a draft: sender, authority, markings, ids. Only what is absent is added.
//!
//! Enter through [`complete`]. Ids, time and the unit's facts are arguments. Invariant: what comes
//! out passed [`Payload::parse`] and fits on the wire.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;

use crate::{
    ids::{CaseId, Digest, MessageId, UnitId, Uuid},
    limits,
    reason::Reason,
    v1,
};

use super::{
    Fault, Faults, MINOR, Payload, PayloadContext, clear_bytes,
    common::unit_text,
    fault::{At, Collector},
    kind_of, open_clear,
};

/// Everything that a draft is completed from.
#[derive(Debug, Clone)]
pub struct Completion<'a> {
    /// The sending unit.
    pub from: &'a UnitId,
    /// Its card.
    pub own: &'a UnitFacts,
    /// The card of the recipient, if there is one only: the requested authority.
    pub recipient: Option<&'a UnitFacts>,
    /// The profile's.
    pub defaults: &'a ProfileDefaults,
    /// New ids for what has none.
    pub ids: NewIds,
    /// A drill, whatever the draft says: units of demos send nothing else.
    pub exercise: bool,
    /// Where the message stands in its case.
    pub place: Place,
}

/// What a message of a case is after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// The sender's own message before it.
    pub follows: Option<Digest>,
    /// The other side's last one that the sender has.
    pub based_on: Option<Digest>,
}

/// What a unit's card says of it.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct UnitFacts {
    /// The unit's name.
    pub organisation: String,
    /// `xa.cyber-poc`
    pub unit: String,
    pub role: String,
    pub phone: String,
    pub email: String,
    /// Preferred first; empty: the profile's.
    pub languages: Vec<String>,
    pub office_hours: String,
    pub time_zone: String,
}

/// What a profile says where a draft is silent.
#[derive(Debug, Clone, Default)]
pub struct ProfileDefaults {
    /// Markings, each added alone.
    pub handling: v1::Handling,
    /// For units whose card names none.
    pub languages: Vec<String>,
    /// Of the draft's kind: Article 26(1) of alerts, Article 29 of preservation requests.
    pub legal_basis: Vec<v1::LegalBasis>,
    /// For preservation: 90 days.
    pub period_days: u32,
}

/// New ids; those that the draft brought are kept.
#[derive(Debug, Clone, Copy)]
pub struct NewIds {
    /// Always used: a message is sent once under one id.
    pub message_id: MessageId,
    /// Used where the draft names no case.
    pub case_id: CaseId,
    /// Used for an alert or request without an id.
    pub body_id: Uuid,
}

impl Completion<'_> {
    fn languages(&self) -> &[String] {
        let own = &self.own.languages;
        if own.is_empty() { &self.defaults.languages } else { own }
    }
}

impl From<&v1::Card> for UnitFacts {
    fn from(card: &v1::Card) -> Self {
        Self {
            organisation: card.names.first().map_or_else(String::new, |name| name.name.clone()),
            unit: card.unit.clone(),
            role: card.role.clone(),
            phone: card.phone_24x7.clone(),
            email: card.email.clone(),
            languages: card.languages.clone(),
            office_hours: card.office_hours.clone(),
            time_zone: card.time_zone.clone(),
        }
    }
}

/// Completes a draft and checks it; all faults are reported together.
pub fn complete(
    draft: &v1::Draft,
    completion: &Completion<'_>,
    context: &PayloadContext<'_>,
) -> Result<(v1::Payload, Payload), Faults> {
    let mut c = Collector::default();
    let env = At::root("env");
    let mut payload = draft.payload.clone().unwrap_or_default();
    own_fields(&mut c, env, &payload, completion);
    payload.minor = MINOR;
    payload.from = completion.from.to_string();
    payload.to = draft.to.clone();
    payload.message_id = Bytes::copy_from_slice(completion.ids.message_id.as_bytes());
    payload.exercise |= completion.exercise;
    fill_bytes(&mut payload.case_id, completion.ids.case_id);
    payload.follows = bytes_of(completion.place.follows);
    payload.based_on = bytes_of(completion.place.based_on);
    fill(&mut payload.language, completion.languages().first().map_or("", String::as_str));
    fill_handling(payload.handling.get_or_insert_default(), &completion.defaults.handling);
    fill_authority(payload.authority.get_or_insert_default(), completion.own);
    let kind = payload.body.as_ref().map(kind_of).unwrap_or_default();
    if let Some(body) = &mut payload.body {
        fill_body(body, completion);
    }
    if payload.kind == 0 {
        payload.kind = kind as i32;
    }
    if payload.legal_basis.is_empty() {
        payload.legal_basis.clone_from(&completion.defaults.legal_basis);
    }
    let parsed = Payload::parse(&payload, context);
    match (parsed, c.is_clean()) {
        (Ok(parsed), true) => {
            fits(&payload)?;
            Ok((payload, parsed))
        }
        (Ok(_), false) => c.result(()).and(Err(Faults::one(Fault::new("*", "incomplete")))),
        (Err(faults), _) => {
            c.extend(faults);
            c.result(()).and(Err(Faults::one(Fault::new("*", "incomplete"))))
        }
    }
}

/// How long the node tries to deliver, where the sender does not say.
pub fn lifetime(priority: v1::Priority) -> Duration {
    match priority {
        v1::Priority::Emergency => Duration::from_secs(4 * 3600),
        v1::Priority::Urgent => Duration::from_secs(24 * 3600),
        v1::Priority::Routine | v1::Priority::Unspecified => Duration::from_secs(5 * 24 * 3600),
    }
}

/// A draft may repeat what the node fills, but not differ from it.
fn own_fields(c: &mut Collector, env: At<'_>, payload: &v1::Payload, completion: &Completion<'_>) {
    if !payload.from.is_empty() && payload.from != completion.from.as_str() {
        let text = match payload.from.parse::<UnitId>() {
            Ok(_) => format!("this node sends for {}: correct it or leave it out", completion.from),
            Err(error) => unit_text(&payload.from, &error),
        };
        c.fault(env.field("from"), text);
    }
    if !payload.message_id.is_empty() {
        c.fault(env.field("message_id"), "the node makes it: leave it out");
    }
    for (name, stated) in [("follows", &payload.follows), ("based_on", &payload.based_on)] {
        if !stated.is_empty() {
            c.fault(env.field(name), "the node makes it: leave it out");
        }
    }
    if !payload.to.is_empty() {
        c.fault(env.field("to"), "state recipients once, beside the payload");
    }
}

/// The recipients' strict scan must take it: it counts fields and bytes.
fn fits(payload: &v1::Payload) -> Result<(), Faults> {
    let (got, max) =
        (payload.encoded_len() + limits::PAYLOAD_SALT_BYTES, limits::PAYLOAD_BYTES_MAX);
    let large = |text| Faults::one(Fault::new("*", text).because(Reason::TooLarge));
    if got > max {
        return Err(large(format!("{got} bytes of {max}: shorten it or attach a file")));
    }
    open_clear(&clear_bytes([0; limits::PAYLOAD_SALT_BYTES], payload))
        .map(drop)
        .map_err(|error| large(format!("{error}: send several messages")))
}

fn bytes_of(digest: Option<Digest>) -> Bytes {
    digest.map(|digest| Bytes::copy_from_slice(digest.as_bytes())).unwrap_or_default()
}

fn fill(field: &mut String, with: &str) {
    if field.is_empty() {
        with.clone_into(field);
    }
}

fn fill_bytes(field: &mut Bytes, with: Uuid) {
    if field.is_empty() {
        *field = Bytes::copy_from_slice(with.as_bytes());
    }
}

/// Scheme by scheme: a draft that states only its TLP still gets the rest.
fn fill_handling(handling: &mut v1::Handling, defaults: &v1::Handling) {
    for (field, default) in [
        (&mut handling.tlp, defaults.tlp),
        (&mut handling.pap, defaults.pap),
        (&mut handling.classification, defaults.classification),
    ] {
        if *field == 0 {
            *field = default;
        }
    }
    if handling.europol.is_empty() {
        handling.europol.clone_from(&defaults.europol);
    }
}

fn fill_authority(authority: &mut v1::Authority, own: &UnitFacts) {
    fill(&mut authority.organisation, &own.organisation);
    fill(&mut authority.unit, &own.unit);
    fill(&mut authority.role, &own.role);
    fill(&mut authority.phone, &own.phone);
    fill(&mut authority.email, &own.email);
    fill(&mut authority.office_hours, &own.office_hours);
    fill(&mut authority.time_zone, &own.time_zone);
}

fn fill_body(body: &mut v1::payload::Body, completion: &Completion<'_>) {
    use v1::payload::Body as B;
    match body {
        B::Alert(alert) | B::AlertUpdate(alert) => fill_alert(alert, completion),
        B::PreservationRequest(request) => fill_request(request, completion),
        B::InfoReply(reply) => {
            if let Some(request) = &mut reply.request {
                fill_request(request, completion);
            }
        }
        B::PreservationDecision(decision) => decision.revision = decision.revision.max(1),
        _ => {}
    }
}

fn fill_alert(alert: &mut v1::Alert, completion: &Completion<'_>) {
    fill_bytes(&mut alert.alert_id, completion.ids.body_id);
    if alert.lifecycle == v1::Lifecycle::New as i32 && alert.revision == 0 {
        alert.revision = 1;
    }
}

fn fill_request(request: &mut v1::PreservationRequest, completion: &Completion<'_>) {
    fill_bytes(&mut request.request_id, completion.ids.body_id);
    if request.status_of_request == v1::RequestStatus::New as i32 && request.revision == 0 {
        request.revision = 1;
    }
    // Named in part, it is completed; not named at all, Article 29(2)(a) is not met.
    if let Some(requesting) = &mut request.requesting_authority {
        fill_contact(requesting, completion.own);
    }
    if let Some(recipient) = completion.recipient {
        fill_contact(request.requested_authority.get_or_insert_default(), recipient);
    }
    if request.requested_period_days == 0 {
        request.requested_period_days = completion.defaults.period_days;
    }
    if request.reply_language.is_empty() {
        request.reply_language = completion.languages().to_vec();
    }
}

fn fill_contact(contact: &mut v1::Contact, facts: &UnitFacts) {
    fill(&mut contact.organisation, &facts.organisation);
    fill(&mut contact.phone, &facts.phone);
    fill(&mut contact.email, &facts.email);
    fill(&mut contact.office_hours, &facts.office_hours);
    fill(&mut contact.time_zone, &facts.time_zone);
}
