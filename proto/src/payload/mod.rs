//! What a message says, as checked types.
//!
//! Enter through [`Payload::parse`] for a payload that arrived or is about to leave, through
//! [`complete`] for a draft, through [`clear_bytes`] and [`open_clear`] for its bytes. Nothing here
//! reads a clock or makes an id. Invariant: a [`Payload`] has every mandatory field of its kind,
//! known enumerations and texts within their limits; whoever holds one need not check it again.

mod alert;
mod assistance;
mod check;
mod clear;
mod closing;
mod common;
mod complete;
mod decision;
mod desk;
mod emergency;
mod extension;
mod fault;
mod feedback;
mod indicator;
mod inherit;
mod item;
pub(crate) mod kinds;
pub(crate) mod names;
mod offer;
mod origin;
mod preservation;
mod stix;
mod text;
mod title;
mod traffic;
mod value;

use crate::{
    ids::{CaseId, Digest, MessageId, UnitId},
    signed::check_extensions,
    v1,
};

pub use alert::{
    Alert, AlertOffence, AttachmentRef, Detection, Dissemination, Evaluation, Related,
};
pub use assistance::{
    AssistanceReply, AssistanceRequest, ContactAnswer, ContactCheck, HandlingRelease,
    HandlingReport,
};
pub use clear::{bucket, check_inner, clear_bytes, open_clear};
pub use closing::{Closure, ExpiryWarning, IncidentNotice, Withdrawal};
pub(crate) use common::unit_text;
pub use common::{Attachment, Authority, Handling, LegalBasis};
pub use complete::{Completion, NewIds, Place, ProfileDefaults, UnitFacts, complete, lifetime};
pub use decision::{ConfirmedItem, DecidedItem, PreservationConfirmation, PreservationDecision};
pub use desk::{InfoReply, InfoRequired, Question, RequestAck, RiskDecision, RiskNotice};
pub use emergency::{DisclosedRecord, EmergencyReply, EmergencyRequest, Provider};
pub use extension::{ExtensionDecision, ExtensionRequest, MlaNotice, MlaReceived};
pub(crate) use fault::Collector as FaultCollector;
use fault::{At, Collector};
pub use fault::{FAULTS_MAX, Fault, Faults, file_path};
pub use feedback::{AlertCancel, AlertChange, AlertFeedback};
pub use indicator::{Indicator, Subject, Victims};
pub use inherit::inherit;
pub use item::{Custodian, PreservationItem, SystemLocation};
use kinds::Whole;
pub use kinds::{Body, all_kinds, is_answer, is_casework, kind_name, kind_of, kind_of_draft};
pub use offer::{CannotComply, Condition, ConditionReply, ConditionalOffer};
pub use origin::Origin;
pub use preservation::{
    Confidentiality, Contact, JudicialAuthorisation, Necessity, Offence, ParallelChannel,
    PreservationRequest,
};
pub use stix::{STIX_BYTES_MAX, StixFault, check as check_stix};
pub(crate) use text::is_invisible;
pub use text::{Country, Date, Language, Name, Text, check_phone};
pub use title::title;
pub use traffic::{DisclosedProvider, DisclosureWithheld, TrafficDisclosure, TrafficRecord};
pub use value::{Identifier, IdentifierType, is_email};

/// A message's content, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    /// The sender.
    pub from: UnitId,
    /// The recipients, none twice.
    pub to: Vec<UnitId>,
    /// The message's id.
    pub message_id: MessageId,
    /// The case that it belongs to.
    pub case_id: CaseId,
    /// The message that it answers.
    pub in_reply_to: Option<MessageId>,
    /// Header digest of the other side's last message of the case that the sender had seen.
    pub based_on: Option<Digest>,
    /// Header digest of the sender's own message before it in the case.
    pub follows: Option<Digest>,
    /// Header digest of the message that it replaces.
    pub supersedes: Option<Digest>,
    /// Its markings.
    pub handling: Handling,
    /// The law that it is sent under, at least one entry.
    pub legal_basis: Vec<LegalBasis>,
    /// Of the human text.
    pub language: Language,
    /// Whom to call.
    pub authority: Authority,
    /// The sender's own case number.
    pub sender_ref: Text,
    /// A drill.
    pub exercise: bool,
    /// Why it is URGENT or an EMERGENCY.
    pub urgency_reason: Option<Text>,
    /// Described files.
    pub attachments: Vec<Attachment>,
    /// Whose message it passes on.
    pub origin: Option<Origin>,
    /// What it says.
    pub body: Body,
}

/// What the header and the profile say that a payload is checked against.
#[derive(Debug, Clone)]
pub struct PayloadContext<'a> {
    /// The header's priority.
    pub priority: v1::Priority,
    /// The profile's kinds.
    pub kinds_allowed: &'a [v1::Kind],
    /// The profile's least period of preservation.
    pub minimum_preservation_days: u32,
    /// Whether the profile demands a 4x4 evaluation of alerts.
    pub evaluation_required: bool,
    /// Above it nothing is taken.
    pub classification_max: v1::Classification,
    /// Whether requests of the profile rest on a treaty.
    pub has_treaty: bool,
    /// Most attachments of one message.
    pub attachments_max: usize,
    /// Bytes of the largest of them.
    pub attachment_bytes_max: u64,
}

impl<'a> PayloadContext<'a> {
    /// The treaty's own rules: sixty days (Article 29(7)), nothing above the basic protection
    /// level.
    pub fn new(priority: v1::Priority, kinds_allowed: &'a [v1::Kind]) -> Self {
        Self {
            priority,
            kinds_allowed,
            minimum_preservation_days: TREATY_DAYS_MIN,
            evaluation_required: false,
            classification_max: v1::Classification::Bpl,
            has_treaty: true,
            attachments_max: ATTACHMENTS_MAX,
            attachment_bytes_max: ATTACHMENT_BYTES_MAX,
        }
    }
}

impl Payload {
    /// Checks every field; all faults are reported together.
    pub fn parse(raw: &v1::Payload, context: &PayloadContext<'_>) -> Result<Self, Faults> {
        let mut c = Collector::default();
        let env = At::root("env");
        if raw.minor > MINOR {
            let text = format!("payload version 1.{} is newer than 1.{MINOR}", raw.minor);
            c.labelled(env.field("minor"), crate::reason::Reason::UnsupportedVersion, text);
        }
        let message_id = common::message_id(&mut c, env, raw);
        let from = common::unit(&mut c, env.field("from"), &raw.from);
        let to = common::recipients(&mut c, env.field("to"), &raw.to);
        if check_extensions(&raw.extensions).is_err() {
            c.fault(env.field("extensions"), "critical, unsorted or too many: leave them out");
        }
        let urgency_reason = common::urgency_reason(&mut c, env, raw, context.priority);
        let at = At::root("handling");
        let handling = common::handling(&mut c, at, raw.handling.as_ref(), context);
        let origin = raw.origin.as_ref();
        let origin = origin.map(|raw| Origin::parse(&mut c, env.field("origin"), raw, context));
        let body = Body::parse(&mut c, &Whole { payload: raw, context });
        common::no_treaty_effect(&mut c, env, raw, context);
        let rest = common::Rest::parse(&mut c, env, raw, context);
        let whole =
            from.zip(to).zip(message_id).zip(body).map(|(((from, to), message_id), body)| Self {
                from,
                to,
                message_id,
                case_id: rest.case_id,
                in_reply_to: rest.in_reply_to,
                based_on: rest.based_on,
                follows: rest.follows,
                supersedes: rest.supersedes,
                handling,
                legal_basis: rest.legal_basis,
                language: rest.language,
                authority: rest.authority,
                sender_ref: rest.sender_ref,
                exercise: raw.exercise,
                urgency_reason,
                attachments: rest.attachments,
                origin,
                body,
            });
        c.result(whole)?.ok_or_else(|| Faults::one(Fault::new("*", "incomplete")))
    }

    /// The number of its kind.
    pub fn kind(&self) -> v1::Kind {
        self.body.kind()
    }
}

/// The minor version of payloads that this version writes and reads.
pub const MINOR: u32 = 0;

/// Attachments of a message, where a profile does not say.
pub const ATTACHMENTS_MAX: usize = 16;

/// Bytes of an attachment, where a profile does not say.
pub const ATTACHMENT_BYTES_MAX: u64 = 64 << 20;

/// Budapest Convention, Article 29(7): "not less than sixty days".
pub const TREATY_DAYS_MIN: u32 = 60;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
