//! Requests to preserve stored data: every field of kind 7, checked (Budapest Convention, Article
//! 29).
//!
//! Each of the six contents that Article 29(2) demands has a fault of its own that names its
//! paragraph.

use crate::{ids::Uuid, reason::Reason, timestamp::Timestamp, v1};

use super::{
    PayloadContext,
    alert::revision,
    common::{convention_articles, optional_email},
    fault::{At, Collector},
    item::{Custodian, PreservationItem, SystemLocation, custodian, items, system_location},
    kinds::Whole,
    text::{Language, Name, Text},
};

/// Asks another state to have stored data preserved.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct PreservationRequest {
    pub request_id: Uuid,
    pub revision: u32,
    pub status_of_request: v1::RequestStatus,
    /// Always there with EXTENSION.
    pub previous_reference: Option<Text>,
    pub requested_authority: Contact,
    /// Article 29(2)(a)
    pub requesting_authority: Contact,
    /// Whom to call back to verify the request.
    pub confirmation_contact: Contact,
    pub investigating_authority: Option<Contact>,
    pub judicial_authorisation: Option<JudicialAuthorisation>,
    /// Article 29(2)(b)
    pub proceeding_stage: v1::ProceedingStage,
    /// Article 29(2)(b), at least one.
    pub offences: Vec<Offence>,
    /// Article 29(2)(b)
    pub facts: Text,
    /// Article 29(2)(c), at least one.
    pub items: Vec<PreservationItem>,
    /// Article 29(2)(d): this, the next, or an item's provider.
    pub custodian: Option<Custodian>,
    pub system_location: Option<SystemLocation>,
    /// Article 29(2)(e)
    pub necessity: Necessity,
    pub loss_expected_at: Option<Timestamp>,
    /// Article 29(2)(f), at least one; the intention itself is always there.
    pub mla_measures: Vec<v1::MlaMeasure>,
    pub mla_intended_by: Timestamp,
    /// Whether disclosure under Article 30(1) is asked for.
    pub traffic_data_art30: bool,
    pub confidentiality: Confidentiality,
    pub may_close_account: bool,
    pub dual_criminality_note: Option<Text>,
    pub requested_period_days: u32,
    /// At least one.
    pub reply_language: Vec<Language>,
    pub parallel_channels: Vec<ParallelChannel>,
}

/// An authority or person, as in sections 4 to 7 of the T-CY form.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Contact {
    pub organisation: Option<Text>,
    pub name: Option<Text>,
    pub function: Option<Text>,
    pub address: Option<Text>,
    pub phone: Option<Name>,
    pub email: Option<Name>,
    pub fax: Option<Name>,
    pub office_hours: Option<Text>,
    pub time_zone: Option<Name>,
    pub reply_means: Option<Text>,
}

/// An order of a court, where one is needed.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct JudicialAuthorisation {
    pub court: Option<Text>,
    pub number: Option<Text>,
    pub date: Option<Timestamp>,
    pub required: Option<bool>,
}

/// What is investigated.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Offence {
    pub title: Text,
    pub provision: Text,
    pub max_penalty: Option<Text>,
    /// `2` to `11` of the Budapest Convention, or `other`.
    pub convention_articles: Vec<Name>,
}

/// Why it cannot wait.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Necessity {
    pub code: v1::NecessityCode,
    pub text: Text,
}

/// What the custodian may not tell.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Confidentiality {
    pub keep_secret: bool,
    pub do_not_notify_user: bool,
    /// Always there where one of the two is asked for.
    pub reason: Option<Text>,
}

/// The same request by another way.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct ParallelChannel {
    pub channel: Text,
    pub reference: Option<Text>,
    pub date: Option<Timestamp>,
}

impl PreservationRequest {
    pub(super) fn parse(
        c: &mut Collector,
        at: At<'_>,
        raw: &v1::PreservationRequest,
        whole: &Whole<'_>,
    ) -> Self {
        let (a, b, d) = (at.article("29(2)(a)"), at.article("29(2)(b)"), at.article("29(2)(d)"));
        intent(c, at, raw);
        Self {
            request_id: c.uuid(at.field("request_id"), &raw.request_id),
            revision: revision(c, at, raw.revision),
            status_of_request: c.known(at.field("status_of_request"), raw.status_of_request),
            previous_reference: previous_reference(c, at, raw),
            requested_authority: contact(
                c,
                at.field("requested_authority"),
                raw.requested_authority.as_ref(),
                &[Need::Organisation],
            ),
            requesting_authority: contact(
                c,
                a.field("requesting_authority"),
                raw.requesting_authority.as_ref(),
                &[Need::Organisation, Need::Person, Need::Phone],
            ),
            confirmation_contact: contact(
                c,
                at.field("confirmation_contact"),
                raw.confirmation_contact.as_ref(),
                &[Need::Name, Need::Phone],
            ),
            investigating_authority: raw.investigating_authority.as_ref().map(|other| {
                contact(c, at.field("investigating_authority"), Some(other), &[Need::Organisation])
            }),
            judicial_authorisation: judicial(c, at, raw.judicial_authorisation.as_ref()),
            proceeding_stage: c.known(b.field("proceeding_stage"), raw.proceeding_stage),
            offences: offences(c, b, &raw.offences, "max_penalty"),
            facts: c.prose(b.field("facts"), &raw.facts, "a brief summary of the facts"),
            items: items(c, at.article("29(2)(c)"), &raw.items),
            custodian: custodian(c, d, raw),
            system_location: system_location(c, d, raw.system_location.as_ref()),
            necessity: necessity(c, at.article("29(2)(e)"), raw.necessity.as_ref()),
            loss_expected_at: c
                .optional_time(at.field("loss_expected_at"), raw.loss_expected_at_ms),
            mla_measures: measures(c, at.article("29(2)(f)"), &raw.mla_measures),
            mla_intended_by: c.time(
                at.field("mla_intended_by"),
                raw.mla_intended_by_ms,
                "by when the request for mutual assistance will come",
            ),
            traffic_data_art30: c.answer(at.field("traffic_data_art30"), raw.traffic_data_art30),
            confidentiality: confidentiality(c, at, raw.confidentiality.as_ref()),
            may_close_account: c.answer(at.field("may_close_account"), raw.may_close_account),
            dual_criminality_note: dual_criminality_note(c, at, raw),
            requested_period_days: period(c, at, raw.requested_period_days, whole.context),
            reply_language: reply_language(c, at.field("reply_language"), &raw.reply_language),
            parallel_channels: c.list(
                at.field("parallel_channels"),
                &raw.parallel_channels,
                parallel_channel,
            ),
        }
    }
}

/// Which fields of a contact must be there. The requesting authority's person is called so in
/// files.
#[derive(Clone, Copy, PartialEq)]
enum Need {
    Organisation,
    Name,
    Person,
    Phone,
}

/// Article 29(2)(f): without the intention to ask for mutual assistance there is no right to ask.
fn intent(c: &mut Collector, at: At<'_>, raw: &v1::PreservationRequest) {
    let f = at.article("29(2)(f)");
    let at = f.field("mla_intent");
    match v1::Answer::try_from(raw.mla_intent) {
        Ok(v1::Answer::Yes) => {}
        Ok(v1::Answer::No) => c.fault(
            at,
            "false: without the intention to request mutual assistance no preservation can be \
             requested; send an alert instead",
        ),
        Ok(v1::Answer::Unspecified) => {
            c.fault(at, "missing: state true if a request for mutual assistance will follow")
        }
        Err(_) => c.fault(at, "unknown value: state true or false"),
    }
}

fn measures(c: &mut Collector, at: At<'_>, raw: &[i32]) -> Vec<v1::MlaMeasure> {
    let at = at.field("mla_measures");
    c.not_empty(at, raw, "SEARCH_ACCESS, SEIZE_SECURE or DISCLOSE");
    c.knowns(at, raw)
}

fn previous_reference(
    c: &mut Collector,
    at: At<'_>,
    raw: &v1::PreservationRequest,
) -> Option<Text> {
    let at = at.field("previous_reference");
    if raw.status_of_request == v1::RequestStatus::Extension as i32 {
        return Some(c.line(at, &raw.previous_reference, "the reference that is to be extended"));
    }
    c.optional_line(at, &raw.previous_reference)
}

fn contact(c: &mut Collector, at: At<'_>, raw: Option<&v1::Contact>, needs: &[Need]) -> Contact {
    let Some(raw) = raw else {
        c.fault(at, "missing: state whom to contact");
        return Contact::default();
    };
    let person = if needs.contains(&Need::Person) { "person" } else { "name" };
    let mut line = |need: Need, name, text: &str, what| {
        let needed = needs.contains(&need) || (need == Need::Name && person == "person");
        match needed {
            true => Some(c.line(at.field(name), text, what)),
            false => c.optional_line(at.field(name), text),
        }
    };
    let organisation = line(Need::Organisation, "organisation", &raw.organisation, "it");
    let name = line(Need::Name, person, &raw.name, "a person to ask for");
    let phone = match needs.contains(&Need::Phone) || !raw.phone.is_empty() {
        true => Some(c.phone(at.field("phone"), &raw.phone)),
        false => None,
    };
    Contact {
        organisation,
        name,
        phone,
        function: c.optional_line(at.field("function"), &raw.function),
        address: c.optional_prose(at.field("address"), &raw.address),
        email: optional_email(c, at.field("email"), &raw.email),
        fax: c.optional_name(at.field("fax"), &raw.fax),
        office_hours: c.optional_line(at.field("office_hours"), &raw.office_hours),
        time_zone: c.optional_name(at.field("time_zone"), &raw.time_zone),
        reply_means: c.optional_line(at.field("reply_means"), &raw.reply_means),
    }
}

fn judicial(
    c: &mut Collector,
    at: At<'_>,
    raw: Option<&v1::JudicialAuthorisation>,
) -> Option<JudicialAuthorisation> {
    let (at, raw) = (at.field("judicial_authorisation"), raw?);
    Some(JudicialAuthorisation {
        court: c.optional_line(at.field("court"), &raw.court),
        number: c.optional_line(at.field("number"), &raw.number),
        date: c.optional_time(at.field("date"), raw.date_ms),
        required: c.optional_answer(at.field("required"), raw.required),
    })
}

/// `penalty` is the name of the penalty's field.
pub(super) fn offences(
    c: &mut Collector,
    at: At<'_>,
    raw: &[v1::Offence],
    penalty: &str,
) -> Vec<Offence> {
    let at = at.field("offences");
    c.not_empty(at, raw, "the offence under investigation");
    c.list(at, raw, |c, at, offence| Offence {
        title: c.line(at.field("title"), &offence.title, "the offence"),
        provision: c.line(at.field("provision"), &offence.provision, "the provision of your law"),
        max_penalty: c.optional_line(at.field(penalty), &offence.max_penalty),
        convention_articles: convention_articles(c, at, &offence.convention_articles),
    })
}

fn necessity(c: &mut Collector, at: At<'_>, raw: Option<&v1::Necessity>) -> Necessity {
    let at = at.field("necessity");
    let Some(raw) = raw else {
        c.fault(at, "missing: state why the data must be preserved now, as code and text");
        return Necessity::default();
    };
    Necessity {
        code: c.known(at.field("code"), raw.code),
        text: c.prose(at.field("text"), &raw.text, "why the data must be preserved now"),
    }
}

fn confidentiality(
    c: &mut Collector,
    at: At<'_>,
    raw: Option<&v1::Confidentiality>,
) -> Confidentiality {
    let at = at.field("confidentiality");
    let Some(raw) = raw else {
        c.fault(at, "missing: state keep_secret and do_not_notify_user");
        return Confidentiality::default();
    };
    let keep_secret = c.answer(at.field("keep_secret"), raw.keep_secret);
    let do_not_notify_user = c.answer(at.field("do_not_notify_user"), raw.do_not_notify_user);
    let reason = match keep_secret || do_not_notify_user {
        true => Some(c.line(at.field("reason"), &raw.reason, "why it must be kept secret")),
        false => c.optional_line(at.field("reason"), &raw.reason),
    };
    Confidentiality { keep_secret, do_not_notify_user, reason }
}

/// Article 29(4): dual criminality can matter only for offences outside Articles 2 to 11.
fn dual_criminality_note(
    c: &mut Collector,
    at: At<'_>,
    raw: &v1::PreservationRequest,
) -> Option<Text> {
    let at = at.field("dual_criminality_note");
    let outside = |offence: &v1::Offence| offence.convention_articles.iter().any(|a| a == "other");
    if raw.offences.iter().any(outside) {
        let what = "how the offence outside Articles 2 to 11 is punishable on both sides";
        return Some(c.prose(at, &raw.dual_criminality_note, what));
    }
    c.optional_prose(at, &raw.dual_criminality_note)
}

fn period(c: &mut Collector, at: At<'_>, days: u32, context: &PayloadContext<'_>) -> u32 {
    let at = at.field("requested_period_days");
    let minimum = context.minimum_preservation_days;
    if days == 0 {
        c.fault(at, format!("missing: state at least {minimum} days"));
    } else if days < minimum {
        let text = format!("{days} days: the profile's minimum is {minimum}");
        c.labelled(at, Reason::PeriodTooShort, text);
    } else if days > PERIOD_DAYS_MAX {
        c.fault(at, format!("over {PERIOD_DAYS_MAX} days: ask for less and extend later"));
    }
    days
}

fn reply_language(c: &mut Collector, at: At<'_>, raw: &[String]) -> Vec<Language> {
    c.not_empty(at, raw, "a language that you read: `en`");
    c.list(at, raw, |c, at, text| c.language(at, text, "a language that you read: `en`"))
}

fn parallel_channel(c: &mut Collector, at: At<'_>, raw: &v1::ParallelChannel) -> ParallelChannel {
    ParallelChannel {
        channel: c.line(at.field("channel"), &raw.channel, "the other channel"),
        reference: c.optional_line(at.field("reference"), &raw.reference),
        date: c.optional_time(at.field("date"), raw.date_ms),
    }
}

/// Sixteen bits, as the field is specified: 179 years.
const PERIOD_DAYS_MAX: u32 = u16::MAX as u32;
