//! A message with one text in every field that holds a text.

use relay_proto::v1;

use super::samples;

/// A request with this text in every field that holds one.
pub fn everywhere(text: &str) -> v1::Message {
    let words = || text.to_owned();
    let payload = v1::Payload {
        language: "ar".to_owned(),
        sender_ref: words(),
        urgency_reason: words(),
        legal_basis: vec![v1::LegalBasis { instrument: words(), article: words() }],
        handling: Some(v1::Handling { tlp: 4711, conditions: vec![words()], ..Default::default() }),
        authority: Some(v1::Authority { organisation: words(), ..Default::default() }),
        attachments: vec![v1::Attachment {
            name: words(),
            description: words(),
            ..Default::default()
        }],
        body: Some(v1::payload::Body::PreservationRequest(request(text))),
        ..Default::default()
    };
    v1::Message {
        from: words(),
        to: vec![words()],
        profile: words(),
        message_id: words(),
        short_id: words(),
        payload: Some(payload),
        ..samples::incoming()
    }
}

fn request(text: &str) -> v1::PreservationRequest {
    let words = || text.to_owned();
    let contact = contact(text);
    let court = v1::JudicialAuthorisation { court: words(), number: words(), ..Default::default() };
    let channel = v1::ParallelChannel { channel: words(), reference: words(), date_ms: 0 };
    v1::PreservationRequest {
        status_of_request: v1::RequestStatus::Extension.into(),
        previous_reference: words(),
        requested_authority: Some(contact.clone()),
        requesting_authority: Some(contact.clone()),
        confirmation_contact: Some(contact.clone()),
        investigating_authority: Some(contact),
        judicial_authorisation: Some(court),
        offences: vec![offence(text)],
        facts: words(),
        items: vec![item(text)],
        custodian: Some(custodian(text)),
        system_location: Some(place(text)),
        necessity: Some(v1::Necessity { code: 4711, text: words() }),
        confidentiality: Some(v1::Confidentiality { reason: words(), ..Default::default() }),
        dual_criminality_note: words(),
        reply_language: vec![words()],
        parallel_channels: vec![channel],
        ..Default::default()
    }
}

fn contact(text: &str) -> v1::Contact {
    let words = || text.to_owned();
    v1::Contact {
        organisation: words(),
        name: words(),
        function: words(),
        address: words(),
        phone: words(),
        email: words(),
        fax: words(),
        office_hours: words(),
        time_zone: words(),
        reply_means: words(),
    }
}

fn offence(text: &str) -> v1::Offence {
    let words = || text.to_owned();
    v1::Offence {
        title: words(),
        provision: words(),
        max_penalty: words(),
        convention_articles: vec![words()],
    }
}

fn item(text: &str) -> v1::PreservationItem {
    let words = || text.to_owned();
    v1::PreservationItem {
        item_id: words(),
        provider: words(),
        identifier: Some(v1::Identifier { r#type: words(), value: words() }),
        description: words(),
        time_zone: words(),
        retention_risk: words(),
        relationship: words(),
        ..Default::default()
    }
}

fn custodian(text: &str) -> v1::Custodian {
    let words = || text.to_owned();
    v1::Custodian {
        name: words(),
        address: words(),
        country: words(),
        le_portal_ref: words(),
        is_hosting_reseller: 0,
    }
}

fn place(text: &str) -> v1::SystemLocation {
    let words = || text.to_owned();
    v1::SystemLocation {
        ip: words(),
        asn: words(),
        hostname: words(),
        datacentre: words(),
        cloud_region: words(),
    }
}
