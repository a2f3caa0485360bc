//! A preservation request as paper: sections 1 to 7 as the form T-CY(2018)11 orders them, then
//! what Article 29(2) of the Budapest Convention asks for, letter by letter.
//!
//! Enter through [`paper`]. What a request does not state is said to be missing where the form or
//! the article asks for it, and left out elsewhere.

use relay_proto::{ids::Uuid, payload::Language, timestamp::Timestamp, v1};

use super::{Block, Fields, NOT_STATED, Paper, Phrase, Table};
use crate::view::{hex, instant, words};

/// The document; none of a message that is no preservation request or whose content is not here.
pub fn paper(message: &v1::Message, printed: Timestamp) -> Option<Paper> {
    let payload = message.payload.as_ref()?;
    let Some(v1::payload::Body::PreservationRequest(request)) = &payload.body else { return None };
    let mut paper = Paper {
        title: "Data preservation request".to_owned(),
        marks: marks(message, payload),
        language: Language::parse(&payload.language).ok(),
        footer: Phrase::ours(format!("Preservation request, message {}", message.short_id)),
        printed,
        one_page: false,
        blocks: Vec::new(),
    };
    paper.note("under Articles 29 and 30 of the Budapest Convention on Cybercrime (ETS 185)");
    paper.note(ORDER);
    form(&mut paper, message, payload, request);
    let contacts = [
        ("4. Requested authority", "Unit", message.to.join(", "), &request.requested_authority),
        ("5. Requesting authority", "Unit", message.from.clone(), &request.requesting_authority),
        ("6. Contact for confirmation", "", String::new(), &request.confirmation_contact),
    ];
    for (title, label, unit, stated) in contacts {
        paper.section(title);
        let fields = match label {
            "" => Fields::default(),
            label => Fields::default().ours(label, unit),
        };
        paper.blocks.push(contact(fields, stated.as_ref()).end());
    }
    paper.section("7. Investigating authority");
    match &request.investigating_authority {
        None => paper.note("none stated beside the requesting authority"),
        other => paper.blocks.push(contact(Fields::default(), other.as_ref()).end()),
    }
    article_29(&mut paper, request);
    article_30(&mut paper, request);
    transport(&mut paper, message, payload);
    Some(paper)
}

/// Sections 1 to 3.
fn form(
    paper: &mut Paper,
    message: &v1::Message,
    payload: &v1::Payload,
    request: &v1::PreservationRequest,
) {
    let zone = request.requesting_authority.as_ref().map_or("", |by| by.time_zone.as_str());
    paper.section("1. Date of the request");
    let date = instant(message.create_time.as_ref()).map(|at| at.to_string());
    let date = Fields::default().ours("Date (UTC)", date.as_deref().unwrap_or(NOT_STATED));
    paper.blocks.push(date.stated("Time zone of the requesting authority", zone).end());

    paper.section("2. Reference");
    let mut fields = Fields::default().needed("Reference", &payload.sender_ref);
    for (label, id) in [("Case id", &payload.case_id), ("Request id", &request.request_id)] {
        if !id.is_empty() {
            let text = Uuid::from_bytes(id).map_or_else(|_| hex(id), |id| id.to_string());
            fields = fields.ours(label, text);
        }
    }
    if request.revision != 0 {
        fields = fields.ours("Revision", request.revision.to_string());
    }
    paper.blocks.push(fields.end());

    paper.section("3. Status of the request");
    let extension = request.status_of_request == i32::from(v1::RequestStatus::Extension);
    let status = match v1::RequestStatus::try_from(request.status_of_request) {
        Ok(v1::RequestStatus::New) => "new request".to_owned(),
        Ok(v1::RequestStatus::Extension) => "extension of a previous request".to_owned(),
        Ok(v1::RequestStatus::Unspecified) => NOT_STATED.to_owned(),
        Err(_) => unknown(request.status_of_request),
    };
    let fields = Fields::default().ours("Status", status);
    let previous = "Reference of the previous request";
    let fields = match extension {
        true => fields.needed(previous, &request.previous_reference),
        false => fields.stated(previous, &request.previous_reference),
    };
    paper.blocks.push(fields.end());
}

/// An authority or a person.
fn contact(fields: Fields, contact: Option<&v1::Contact>) -> Fields {
    let Some(contact) = contact else { return fields };
    fields
        .stated("Organisation", &contact.organisation)
        .stated("Person", &contact.name)
        .stated("Function", &contact.function)
        .stated("Address", &contact.address)
        .stated("Telephone", &contact.phone)
        .stated("E-mail", &contact.email)
        .stated("Fax", &contact.fax)
        .stated("Office hours", &contact.office_hours)
        .stated("Time zone", &contact.time_zone)
        .stated("Preferred means of reply", &contact.reply_means)
}

/// What the request shall specify, by the letters of Article 29(2).
fn article_29(paper: &mut Paper, request: &v1::PreservationRequest) {
    paper.section("Article 29(2)(a): authority seeking the preservation");
    paper.note("as stated in sections 5 and 7");
    if let Some(court) = &request.judicial_authorisation {
        let fields = Fields::default()
            .stated("Judicial authorisation by", &court.court)
            .stated("Number", &court.number);
        let fields = time(fields, "Date (UTC)", court.date_ms);
        paper.blocks.push(answer(fields, "Required by our law", court.required).end());
    }

    paper.section("Article 29(2)(b): offence and brief summary of the facts");
    let stage = words::stage(request.proceeding_stage);
    let fields = Fields::default().ours("Stage of the proceedings", stage);
    paper.blocks.push(fields.needed("Facts", &request.facts).end());
    offences(paper, &request.offences);
    let note = Fields::default().stated("On dual criminality", &request.dual_criminality_note);
    paper.blocks.extend(Some(note.end()).filter(|_| !request.dual_criminality_note.is_empty()));

    paper.section("Article 29(2)(c): stored data to be preserved, related to the offence");
    if request.items.is_empty() {
        paper.note(NOT_STATED);
    }
    for (position, one) in request.items.iter().enumerate() {
        paper.blocks.push(Block::Part(format!("Data {} of {}", position + 1, request.items.len())));
        paper.blocks.push(item(one));
    }

    paper.section("Article 29(2)(d): custodian, location of the computer system");
    paper.blocks.push(custodian(request));

    paper.section("Article 29(2)(e): necessity of the preservation");
    let (code, text) =
        request.necessity.as_ref().map_or((0, ""), |why| (why.code, why.text.as_str()));
    let fields = Fields::default().ours("Ground", words::necessity(code));
    let fields = fields.needed("Explanation", text);
    paper.blocks.push(time(fields, "Loss expected (UTC)", request.loss_expected_at_ms).end());

    paper.section("Article 29(2)(f): intention to submit a request for mutual assistance");
    let fields = answer(Fields::default(), "A request will follow", request.mla_intent);
    let measures: Vec<Phrase> =
        request.mla_measures.iter().map(|one| Phrase::ours(words::mla_measure(*one))).collect();
    let fields = fields.put("Measures to be asked for", measures);
    paper.blocks.push(time(fields, "Intended by (UTC)", request.mla_intended_by_ms).end());
}

fn offences(paper: &mut Paper, offences: &[v1::Offence]) {
    if offences.is_empty() {
        return paper.blocks.push(Fields::default().needed("Offence", "").end());
    }
    let row = |one: &v1::Offence| {
        vec![
            Phrase::theirs(&one.title),
            Phrase::theirs(&one.provision),
            Phrase::theirs(or_dash(&one.max_penalty)),
            Phrase::theirs(or_dash(&one.convention_articles.join(", "))),
        ]
    };
    paper.blocks.push(Block::Table(Table {
        caption: "Offences",
        heads: vec!["Offence", "Provision", "Highest penalty", "Articles of the Convention"],
        rows: offences.iter().map(row).collect(),
    }));
}

fn item(item: &v1::PreservationItem) -> Block {
    let mut fields = Fields::default()
        .needed("Item", &item.item_id)
        .stated("Provider", &item.provider)
        .needed("Relationship to the offence", &item.relationship);
    if let Some(identifier) = &item.identifier {
        let value = vec![Phrase::theirs(&identifier.r#type), Phrase::theirs(&identifier.value)];
        fields = fields.put("Identifier", value);
    }
    if item.source_port != 0 {
        fields = fields.ours("Source port", item.source_port.to_string());
    }
    if item.behind_cgnat != 0 {
        fields = answer(fields, "Behind a carrier's NAT", item.behind_cgnat);
    }
    let classes: Vec<String> = item.data_class.iter().map(|one| words::data_class(*one)).collect();
    let classes = if classes.is_empty() { NOT_STATED.to_owned() } else { classes.join(", ") };
    let fields = fields.ours("Classes of data", classes).stated("Description", &item.description);
    let fields = time(fields, "From (UTC)", item.time_from_ms);
    let fields = time(fields, "To (UTC)", item.time_to_ms);
    let fields = fields.stated("Time zone of the data", &item.time_zone);
    fields.stated("Risk of loss", &item.retention_risk).end()
}

/// Any one of these is enough, and an item's provider is one, too.
fn custodian(request: &v1::PreservationRequest) -> Block {
    let mut fields = Fields::default();
    if let Some(who) = &request.custodian {
        fields = fields
            .stated("Custodian", &who.name)
            .stated("Address", &who.address)
            .stated("Country", &who.country)
            .stated("Reference in its portal", &who.le_portal_ref);
        fields = answer(fields, "Reseller of hosting", who.is_hosting_reseller);
    }
    if let Some(place) = &request.system_location {
        fields = fields
            .stated("Address of the system (IP)", &place.ip)
            .stated("Autonomous system", &place.asn)
            .stated("Name of the host", &place.hostname)
            .stated("Data centre", &place.datacentre)
            .stated("Cloud region", &place.cloud_region);
    }
    let providers = request.items.iter().filter(|item| !item.provider.is_empty());
    let mut named: Vec<Phrase> = Vec::new();
    for provider in providers.map(|item| Phrase::theirs(&item.provider)) {
        if !named.contains(&provider) {
            named.push(provider);
        }
    }
    fields.put("Providers of the data", named).end()
}

/// Disclosure of traffic data, secrecy, how long, how to answer.
fn article_30(paper: &mut Paper, request: &v1::PreservationRequest) {
    paper.section("Article 30: expedited disclosure of preserved traffic data");
    let asked = "Asked for, if another provider took part";
    paper.blocks.push(answer(Fields::default(), asked, request.traffic_data_art30).end());

    paper.section("Confidentiality");
    let secret = request.confidentiality.clone().unwrap_or_default();
    let fields = answer(Fields::default(), "Keep the request secret", secret.keep_secret);
    let fields = answer(fields, "Do not notify the user", secret.do_not_notify_user);
    let fields = fields.stated("Reason", &secret.reason);
    let closing = "The account may be closed";
    paper.blocks.push(answer(fields, closing, request.may_close_account).end());

    paper.section("Period asked for");
    let days = match request.requested_period_days {
        0 => NOT_STATED.to_owned(),
        days => format!("{days} days of 24 hours"),
    };
    let languages = request.reply_language.join(", ");
    let fields = Fields::default().ours("Period", days);
    paper.blocks.push(fields.stated("Languages of the reply", &languages).end());
    if !request.parallel_channels.is_empty() {
        let row = |one: &v1::ParallelChannel| {
            vec![
                Phrase::theirs(&one.channel),
                Phrase::theirs(or_dash(&one.reference)),
                Phrase::ours(at(one.date_ms).unwrap_or_else(|| "-".to_owned())),
            ]
        };
        paper.blocks.push(Block::Table(Table {
            caption: "Also sent by",
            heads: vec!["Channel", "Reference", "Date (UTC)"],
            rows: request.parallel_channels.iter().map(row).collect(),
        }));
    }
}

/// Which message it is, under which law and markings.
fn transport(paper: &mut Paper, message: &v1::Message, payload: &v1::Payload) {
    paper.section("The message that carried this request");
    let when = |at: Option<&prost_types::Timestamp>| {
        instant(at).map_or_else(|| NOT_STATED.to_owned(), |at| at.to_string())
    };
    let priority = words::priority(message.priority);
    let mut fields = Fields::default()
        .ours("Message id", format!("{}, {}", message.short_id, message.message_id))
        .ours("SHA-256 of its header", hex(&message.header_digest))
        .stated("Network profile", &message.profile)
        .ours("Priority", priority)
        .stated("Reason of the urgency", &payload.urgency_reason)
        .ours("Stored here (UTC)", when(message.store_time.as_ref()))
        .ours("Delivery ends (UTC)", when(message.expire_time.as_ref()))
        .stated("Language", &payload.language);
    let law = payload.legal_basis.iter().map(|one| {
        let article = if one.article.is_empty() { "" } else { ", Article " };
        Phrase::theirs(format!("{}{article}{}", one.instrument, one.article))
    });
    fields = fields.put("Legal basis", law.collect());
    if let Some(handling) = &payload.handling {
        let conditions = handling.conditions.iter().map(Phrase::theirs).collect();
        fields = fields.put("Conditions of use", conditions);
        fields = time(fields, "Delete by (UTC)", handling.delete_by_ms);
    }
    paper.blocks.push(fields.end());
    if let Some(by) = &payload.authority {
        paper.blocks.push(Block::Part("Authority that sent the message".to_owned()));
        paper.blocks.push(authority(by));
    }
    if !payload.attachments.is_empty() {
        let row = |one: &v1::Attachment| {
            vec![
                Phrase::theirs(&one.name),
                Phrase::theirs(or_dash(&one.description)),
                Phrase::ours(one.size.to_string()),
                Phrase::ours(hex(&one.sha256)),
            ]
        };
        paper.blocks.push(Block::Table(Table {
            caption: "Files that the message describes",
            heads: vec!["Name", "Description", "Bytes", "SHA-256"],
            rows: payload.attachments.iter().map(row).collect(),
        }));
    }
    paper.note(
        "This paper shows a message; it is not the signed message. Its proof is a bundle of \
         evidence (relay-cli evidence export).",
    );
}

fn authority(by: &v1::Authority) -> Block {
    let fields = Fields::default()
        .stated("Organisation", &by.organisation)
        .stated("Unit", &by.unit)
        .stated("Person", &by.person)
        .stated("Role", &by.role)
        .stated("Address", &by.address)
        .stated("Telephone", &by.phone)
        .stated("E-mail", &by.email)
        .stated("Fax", &by.fax)
        .stated("Office hours", &by.office_hours)
        .stated("Time zone", &by.time_zone);
    fields.stated("Preferred means of reply", &by.reply_means).end()
}

/// Markings and whatever else changes how a page may be used.
fn marks(message: &v1::Message, payload: &v1::Payload) -> Vec<Phrase> {
    let mut marks = Vec::new();
    if message.exercise || payload.exercise {
        marks.push(Phrase::ours("EXERCISE: nothing of it may reach a provider"));
    }
    if let Some(handling) = &payload.handling {
        marks.extend(words::markings(handling).into_iter().map(Phrase::ours));
    }
    marks
}

fn time(fields: Fields, label: &'static str, millis: u64) -> Fields {
    match at(millis) {
        Some(at) => fields.ours(label, at),
        None => fields,
    }
}

fn at(millis: u64) -> Option<String> {
    Timestamp::from_wire(millis).map(|at| at.to_string())
}

fn answer(fields: Fields, label: &'static str, answer: i32) -> Fields {
    let word = match v1::Answer::try_from(answer) {
        Ok(v1::Answer::Yes) => "yes".to_owned(),
        Ok(v1::Answer::No) => "no".to_owned(),
        Ok(v1::Answer::Unspecified) => NOT_STATED.to_owned(),
        Err(_) => unknown(answer),
    };
    fields.ours(label, word)
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// What a newer version sent is shown, not hidden.
fn unknown(number: i32) -> String {
    format!("value {number} of a newer version")
}

/// Nothing of the form after section 7 could be read when this was written.
const ORDER: &str = "Only sections 1 to 7 follow the order of the form T-CY(2018)11, Data \
    Preservation Request under Articles 29 and 30. What comes after them follows Article 29(2), \
    letters (a) to (f), and is not laid out as in the form.";
