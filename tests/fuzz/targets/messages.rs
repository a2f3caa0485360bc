//! What a message says: the strict scan, payloads, message files, drafts over gRPC.

use std::sync::LazyLock;

use bytes::Bytes;
use prost::Message;
use relay_proto::{
    file::{HeaderFacts, MessageFile, to_file},
    ids::{MessageId, UnitId, Uuid},
    limits,
    payload::{
        Completion, NewIds, Payload, PayloadContext, ProfileDefaults, UnitFacts, all_kinds,
        clear_bytes, complete, open_clear,
    },
    scan::{self, ScanError, Schema, schema},
    timestamp::Timestamp,
    v1,
};

static KINDS: LazyLock<Vec<v1::Kind>> = LazyLock::new(|| all_kinds().collect());

/// When it is, for the files.
pub const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

/// One message type. What our encoder emits of what prost reads is taken, unless it is too much of
/// it or the number of an enumeration is none.
fn one<M: Message + Default>(bytes: &Bytes, schema: &'static Schema) -> bool {
    let strict: Result<M, ScanError> = scan::decode(bytes, schema, limits::FRAME_BYTES_MAX);
    match strict {
        Ok(message) => {
            assert_eq!(message.encode_to_vec(), **bytes, "canonical");
            true
        }
        Err(error) => {
            let emitted = M::decode(bytes.clone()).is_ok_and(|m| m.encode_to_vec() == **bytes);
            let excused = match &error {
                ScanError::NotCanonical { why, .. } => why.contains("enum value"),
                _ => true,
            };
            assert!(!emitted || excused, "{error}: our own encoding is refused");
            false
        }
    }
}

/// The first byte says which message type the rest is read as.
pub fn scan(bytes: &[u8]) -> bool {
    let Some((which, rest)) = bytes.split_first() else { return false };
    let rest = &Bytes::copy_from_slice(rest);
    match which % 12 {
        0 => one::<v1::Frame>(rest, &schema::FRAME),
        1 => one::<v1::Envelope>(rest, &schema::ENVELOPE),
        2 => one::<v1::Header>(rest, &schema::HEADER),
        3 => one::<v1::Payload>(rest, &schema::PAYLOAD),
        4 => one::<v1::Statement>(rest, &schema::STATEMENT),
        5 => one::<v1::Card>(rest, &schema::CARD),
        6 => one::<v1::EvidenceBundle>(rest, &schema::EVIDENCE_BUNDLE),
        7 => one::<v1::LogSuccession>(rest, &schema::LOG_SUCCESSION),
        8 => one::<v1::Deferral>(rest, &schema::DEFERRAL),
        9 => one::<v1::Hello>(rest, &schema::HELLO),
        10 => one::<v1::ReceiptGroup>(rest, &schema::RECEIPT_GROUP),
        _ => one::<v1::Signed>(rest, &schema::SIGNED),
    }
}

fn context(raw: &v1::Payload) -> PayloadContext<'static> {
    let stated = raw.urgency_reason.is_empty();
    let priority = if stated { v1::Priority::Routine } else { v1::Priority::Urgent };
    PayloadContext::new(priority, &KINDS)
}

/// A payload as it travels; what passes can be shown.
pub fn payload(bytes: &[u8]) -> bool {
    let salted = [&[7; limits::PAYLOAD_SALT_BYTES], bytes].concat();
    let Ok(raw) = open_clear(&Bytes::from(salted)) else { return false };
    let context = context(&raw);
    if Payload::parse(&raw, &context).is_err() {
        return false;
    }
    let header = HeaderFacts { priority: context.priority.into(), ..HeaderFacts::default() };
    assert!(!to_file(&raw, &header).to_string().is_empty());
    true
}

/// A message file, and what a node makes of the draft in it.
pub fn file(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    match MessageFile::parse(text, NOW) {
        Ok(draft) => {
            let _ = completed(&draft);
            true
        }
        Err(faults) => {
            assert!(!faults.is_empty() && !faults.to_string().is_empty(), "a refusal says why");
            false
        }
    }
}

/// A draft as gRPC reads it: not canonical, and from whoever may use the socket.
pub fn draft(bytes: &[u8]) -> bool {
    v1::Draft::decode(bytes).is_ok_and(|draft| completed(&draft).is_some())
}

/// Completes a draft as a node does. What comes out is a payload that a recipient takes.
pub fn completed(draft: &v1::Draft) -> Option<v1::Payload> {
    // Of whoever the draft says that it is.
    let stated = draft.payload.as_ref().and_then(|payload| payload.from.parse().ok());
    let from: UnitId = stated.unwrap_or_else(|| "xa.ncu".parse().expect("a unit"));
    let own = UnitFacts {
        organisation: "Cyber PoC of XA".to_owned(),
        phone: "+1-202-555-0100".to_owned(),
        ..UnitFacts::default()
    };
    let defaults = ProfileDefaults {
        handling: v1::Handling {
            tlp: v1::Tlp::AmberStrict.into(),
            classification: v1::Classification::Bpl.into(),
            ..v1::Handling::default()
        },
        languages: vec!["en".to_owned()],
        legal_basis: vec![basis("29")],
        period_days: 90,
    };
    let id = Uuid::random([9; 16]);
    let ids = NewIds { message_id: MessageId::new(NOW, [1; 10]), case_id: id, body_id: id };
    let completion = Completion {
        from: &from,
        own: &own,
        recipient: Some(&own),
        defaults: &defaults,
        ids,
        exercise: true,
        place: Default::default(),
    };
    let context = context(&draft.payload.clone().unwrap_or_default());
    match complete(draft, &completion, &context) {
        Ok((raw, _)) => {
            let clear = clear_bytes([3; limits::PAYLOAD_SALT_BYTES], &raw);
            assert!(clear.len() <= limits::PAYLOAD_BYTES_MAX, "fits the wire");
            let read = open_clear(&clear).expect("our own payload is canonical");
            assert!(Payload::parse(&read, &context).is_ok(), "a recipient takes it");
            Some(raw)
        }
        Err(faults) => {
            assert!(!faults.is_empty(), "a refusal says why");
            None
        }
    }
}

fn basis(article: &str) -> v1::LegalBasis {
    v1::LegalBasis { instrument: "ETS185".to_owned(), article: article.to_owned() }
}
