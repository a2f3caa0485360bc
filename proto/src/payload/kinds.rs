//! The table of message kinds and what a message of each says.
//!
//! `kinds!` is the one list: a kind's name, its checked content, the function that describes its
//! fields in message files, its key there, its alternative in the `.proto`. [`Body`] and the
//! reading and writing of files are made from it.

use crate::{reason::Reason, v1};

use super::{
    Alert, AlertCancel, AlertFeedback, AssistanceReply, AssistanceRequest, Closure, ConditionReply,
    ConditionalOffer, ContactCheck, DisclosureWithheld, EmergencyReply, EmergencyRequest,
    ExpiryWarning, ExtensionDecision, ExtensionRequest, HandlingRelease, HandlingReport,
    IncidentNotice, InfoReply, InfoRequired, MlaNotice, MlaReceived, PayloadContext,
    PreservationConfirmation, PreservationDecision, PreservationRequest, RequestAck, RiskDecision,
    RiskNotice, TrafficDisclosure, Withdrawal,
    fault::{At, Collector},
    names::Named as _,
};

/// A kind, its key in message files, its alternative in the `.proto`.
type Row = (v1::Kind, &'static str, &'static str);

/// Gives the table of kinds to a macro, a row a kind: name, content, fields, key, alternative.
macro_rules! kinds {
    ($then:ident) => {
        $then! {
            Alert Alert alert "alert" "alert";
            AlertUpdate Alert alert "alert" "alert_update";
            AlertCancel AlertCancel alert_cancel "cancel" "alert_cancel";
            AlertFeedback AlertFeedback alert_feedback "feedback" "alert_feedback";
            ConditionalOffer ConditionalOffer conditional_offer "offer" "conditional_offer";
            ConditionReply ConditionReply condition_reply "reply" "condition_reply";
            PreservationRequest PreservationRequest request "request" "preservation_request";
            RequestAck RequestAck request_ack "ack" "request_ack";
            InfoRequired InfoRequired info_required "info_required" "info_required";
            InfoReply InfoReply info_reply "info_reply" "info_reply";
            RiskNotice RiskNotice risk_notice "risk" "risk_notice";
            RiskDecision RiskDecision risk_decision "decision" "risk_decision";
            PreservationDecision PreservationDecision decision "decision" "preservation_decision";
            PreservationConfirmation PreservationConfirmation confirmation "confirmation"
                "preservation_confirmation";
            TrafficDisclosure TrafficDisclosure disclosure "disclosure" "traffic_disclosure";
            DisclosureWithheld DisclosureWithheld withheld "withheld" "disclosure_withheld";
            ExtensionRequest ExtensionRequest extension "extension" "extension_request";
            ExtensionDecision ExtensionDecision extension_decision "extension_decision"
                "extension_decision";
            MlaNotice MlaNotice mla_notice "mla_notice" "mla_notice";
            MlaReceived MlaReceived mla_received "mla" "mla_received";
            Withdrawal Withdrawal withdrawal "withdrawal" "withdrawal";
            ExpiryWarning ExpiryWarning warning "warning" "expiry_warning";
            Closure Closure closure "closure" "closure";
            IncidentNotice IncidentNotice incident "incident" "incident_notice";
            EmergencyRequest EmergencyRequest emergency "emergency" "emergency_request";
            EmergencyReply EmergencyReply emergency_reply "reply" "emergency_reply";
            AssistanceRequest AssistanceRequest assistance "assistance" "assistance_request";
            AssistanceReply AssistanceReply assistance_reply "assistance_reply" "assistance_reply";
            HandlingRelease HandlingRelease handling_release "release" "handling_release";
            HandlingReport HandlingReport handling_report "report" "handling_report";
            ContactCheck ContactCheck contact_check "check" "contact_check";
        }
    };
}
pub(crate) use kinds;

macro_rules! body {
    ($($kind:ident $content:ident $fields:ident $key:literal $field:literal;)*) => {
        /// What a message says, by its kind.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)]
        pub enum Body {
            $($kind(Box<$content>),)*
        }

        impl Body {
            /// The number of its kind.
            pub fn kind(&self) -> v1::Kind {
                match self {
                    $(Self::$kind(_) => v1::Kind::$kind,)*
                }
            }

            fn read(c: &mut Collector, raw: &v1::payload::Body, whole: &Whole<'_>) -> Self {
                match raw {
                    $(v1::payload::Body::$kind(raw) => {
                        let at = At::content($key, $field);
                        Self::$kind(Box::new($content::parse(c, at, raw, whole)))
                    })*
                }
            }
        }

        /// The kind of a content that was not checked.
        pub fn kind_of(raw: &v1::payload::Body) -> v1::Kind {
            match raw {
                $(v1::payload::Body::$kind(_) => v1::Kind::$kind,)*
            }
        }

        /// Every kind with its key in message files and its alternative in the `.proto`.
        const ALL: &[Row] = &[$((v1::Kind::$kind, $key, $field),)*];
    };
}
kinds!(body);

/// A payload and what it is checked against, for contents that depend on more than themselves.
pub(super) struct Whole<'a> {
    pub payload: &'a v1::Payload,
    pub context: &'a PayloadContext<'a>,
}

impl Body {
    /// Kind and content must say the same, and the profile must allow it.
    pub(super) fn parse(c: &mut Collector, whole: &Whole<'_>) -> Option<Self> {
        let (raw, context) = (whole.payload, whole.context);
        let at = At::root("env");
        let kind = v1::Kind::known(raw.kind);
        match kind {
            None => {
                let text = format!("kind {} is not read here: {}", raw.kind, v1::Kind::names());
                c.labelled(at.field("kind"), Reason::UnsupportedKind, text);
            }
            Some(kind) if !context.kinds_allowed.contains(&kind) => {
                let text = format!("the profile does not allow {}", kind.name());
                c.labelled(at.field("kind"), Reason::KindNotAllowed, text);
            }
            Some(_) => {}
        }
        let Some(body) = raw.body.as_ref() else {
            c.fault(At::root("*"), format!("no content: state one of {}", keys()));
            return None;
        };
        let of = kind_of(body);
        if kind.is_some_and(|kind| kind != of) {
            c.fault(at.field("kind"), format!("the content is of kind {}", of.name()));
        }
        if is_of_two(of) && raw.to.len() > 1 {
            let text = format!("{} goes to one unit: send several messages", of.name());
            c.fault(at.field("to"), text);
        }
        if is_answer(of) && raw.in_reply_to.is_empty() {
            let text = format!("missing: {} answers a message, state its id", of.name());
            c.fault(at.field("in_reply_to"), text);
        }
        Some(Self::read(c, body, whole))
    }
}

/// The kind of a draft's content; unspecified where there is none.
pub fn kind_of_draft(draft: &v1::Draft) -> v1::Kind {
    let body = draft.payload.as_ref().and_then(|payload| payload.body.as_ref());
    body.map(kind_of).unwrap_or_default()
}

/// A kind as files and profiles write it: `PRESERVATION_REQUEST`.
pub fn kind_name(kind: v1::Kind) -> &'static str {
    kind.name()
}

/// All kinds that are payloads, by number.
pub fn all_kinds() -> impl Iterator<Item = v1::Kind> {
    ALL.iter().map(|(kind, ..)| *kind)
}

/// Whether a message of this kind is about another one and names it.
pub fn is_answer(kind: v1::Kind) -> bool {
    use v1::Kind as K;
    !matches!(
        kind,
        K::Unspecified
            | K::Alert
            | K::ConditionalOffer
            | K::PreservationRequest
            | K::EmergencyRequest
            | K::AssistanceRequest
            | K::HandlingRelease
            | K::HandlingReport
            | K::ContactCheck
    )
}

/// Whether a message of this kind belongs to a request for preservation and makes its case go on.
pub fn is_casework(kind: v1::Kind) -> bool {
    (v1::Kind::PreservationRequest as i32..=v1::Kind::IncidentNotice as i32)
        .contains(&(kind as i32))
}

/// Whether it has exactly one recipient: what a unit decides, it decides for itself.
fn is_of_two(kind: v1::Kind) -> bool {
    is_casework(kind) || matches!(kind, v1::Kind::EmergencyRequest | v1::Kind::EmergencyReply)
}

/// A kind's key in message files.
pub(crate) fn key(kind: v1::Kind) -> Option<&'static str> {
    ALL.iter().find(|(of, ..)| *of == kind).map(|(_, key, _)| *key)
}

/// The kinds that a key of a message file can stand for; the first is meant where none is stated.
pub(crate) fn by_key(key: &str) -> impl Iterator<Item = v1::Kind> {
    ALL.iter().filter(move |(_, of, _)| *of == key).map(|(kind, ..)| *kind)
}

/// The key of an alternative of the `.proto`.
pub(super) fn key_of_field(field: &str) -> Option<&'static str> {
    ALL.iter().find(|(.., of)| *of == field).map(|(_, key, _)| *key)
}

/// The first alternative of the `.proto` that a key stands for.
pub(super) fn field_of_key(key: &str) -> Option<&'static str> {
    ALL.iter().find(|(_, of, _)| *of == key).map(|(.., field)| *field)
}

/// Whether a key is stated by several kinds, so that a file has to name its kind.
pub(crate) fn is_shared(key: &str) -> bool {
    by_key(key).nth(1).is_some()
}

/// All keys, each once.
pub(crate) fn all_keys() -> impl Iterator<Item = &'static str> {
    let is_first =
        |(i, (_, key, _)): &(usize, &Row)| !ALL.iter().take(*i).any(|(_, before, _)| before == key);
    ALL.iter().enumerate().filter(is_first).map(|(_, (_, key, _))| *key)
}

/// The same, for a fault's text.
pub(crate) fn keys() -> String {
    all_keys().collect::<Vec<_>>().join(", ")
}
