//! The one map from errors to gRPC: a reason decides the code, and whether and when to come back.
//!
//! Enter through [`Problem`]; every room's error becomes one, and a `Status` is made of nothing
//! else. Invariants: each carries ErrorInfo with the reason's label; the text of an internal error
//! stays in the log.

use std::{collections::HashMap, time::Duration};

use relay_proto::{
    payload::{Fault, Faults},
    reason::Reason,
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::{
    directory::DirectoryError,
    relay::{evidence::EvidenceError, submit::SubmitError},
    store::{BlobError, StoreError},
    tlog::TlogError,
};

/// Why a call is not answered as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    reason: Reason,
    message: String,
    metadata: Vec<(&'static str, String)>,
    fields: Vec<Field>,
}

/// What is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    path: String,
    text: String,
    label: &'static str,
}

impl Problem {
    /// A problem that the reason says all about.
    pub fn new(reason: Reason) -> Self {
        Self::text(reason, reason.meaning())
    }

    /// A problem in words of its own: what is wrong and what to do.
    pub fn text(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), metadata: Vec::new(), fields: Vec::new() }
    }

    /// A fault of one field of the request.
    pub fn field(reason: Reason, path: &str, text: impl Into<String>) -> Self {
        let text = text.into();
        let mut problem = Self::text(reason, format!("{path}: {text}"));
        problem.fields.push(Field { path: path.to_owned(), text, label: reason.label() });
        problem
    }

    /// A bug or damage: said in the log, not to the caller.
    pub fn internal(text: impl std::fmt::Display) -> Self {
        tracing::error!(%text, "api call failed");
        Self::new(Reason::Internal)
    }

    /// With a fact for programs.
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.metadata.push((key, value.into()));
        self
    }

    /// The stable label.
    #[cfg(test)]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    fn of(reason: Reason, error: &dyn std::fmt::Display) -> Self {
        match reason {
            Reason::Internal => Self::internal(error),
            Reason::StoreStopped => Self::new(reason),
            Reason::StoreDamaged => {
                tracing::error!(%error, "api call failed");
                Self::text(reason, error.to_string())
            }
            _ => Self::text(reason, error.to_string()),
        }
    }
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        let reason = problem.reason;
        let mut metadata: HashMap<String, String> = HashMap::new();
        metadata.extend(problem.metadata.into_iter().map(|(key, value)| (key.into(), value)));
        let mut details = ErrorDetails::new();
        let total = problem.fields.len();
        let mut room = DETAILS_BYTES_MAX;
        let mut violations = Vec::new();
        for Field { path, text, label } in problem.fields {
            let Some(left) = room.checked_sub(path.len() + text.len() + label.len()) else {
                metadata.insert("faults".to_owned(), total.to_string());
                break;
            };
            room = left;
            let (description, reason) = (text, label.to_owned());
            violations.push(FieldViolation {
                field: path,
                description,
                reason,
                localized_message: None,
            });
        }
        if !violations.is_empty() {
            details.set_bad_request(violations);
        }
        details.set_error_info(reason.label(), DOMAIN, metadata);
        if let Some(wait) = wait_of(reason) {
            details.set_retry_info(Some(wait));
        }
        let message: String = problem.message.chars().take(MESSAGE_CHARS_MAX).collect();
        Status::with_error_details(code_of(reason), message, details)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Refused(reason) => Self::new(*reason),
            StoreError::Erased => Self::text(Reason::NotFound, error.to_string()),
            _ => Self::of(error.reason(), &error),
        }
    }
}

impl From<BlobError> for Problem {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Store(error) => error.into(),
            error => Self::of(error.reason(), &error),
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Content(faults) => of_faults(&faults),
            SubmitError::RequestConflict => {
                Self::text(Reason::RequestIdConflict, SubmitError::RequestConflict.to_string())
            }
            SubmitError::Recipient { unit, reason } => {
                let text = match reason {
                    Reason::InvalidContent => format!("{unit} is named twice"),
                    _ => format!("{unit}: {}", reason.meaning()),
                };
                Self::field(reason, "draft.to", text).with("unit", unit)
            }
            SubmitError::Refused(reason) => match field_of(reason) {
                Some(path) => Self::field(reason, path, reason.meaning()),
                None => Self::new(reason),
            },
            SubmitError::Cards(unfit) => {
                let fault = Fault::new(unfit.path, "");
                Self::field(unfit.reason, &fault.api_path(), unfit.to_string())
                    .with("unit", unfit.unit.to_string())
                    .with("card", unfit.card.to_string())
            }
            SubmitError::Case(not_legal) => {
                let mut problem = Self::text(not_legal.reason, not_legal.to_string());
                let legal = not_legal.legal.join(",");
                problem = problem.with("legal", legal);
                if let Some(state) = not_legal.state {
                    problem = problem.with("state", state);
                }
                match not_legal.turn {
                    Some(unit) => problem.with("turn", unit.to_string()),
                    None => problem,
                }
            }
            error @ (SubmitError::Dropped { .. }
            | SubmitError::Granted { .. }
            | SubmitError::SameOfficer) => Self::text(error.reason(), error.to_string()),
            SubmitError::Exchange(not_fit) => {
                let problem = Self::text(not_fit.reason, not_fit.to_string());
                let problem = problem.with("unit", not_fit.unit.clone());
                match not_fit.scheme {
                    Some(scheme) => problem.with("scheme", scheme.to_string()),
                    None => problem,
                }
            }
            SubmitError::Sign(_) => Self::new(Reason::SignerUnavailable),
            SubmitError::Store(error) => error.into(),
        }
    }
}

impl From<DirectoryError> for Problem {
    fn from(error: DirectoryError) -> Self {
        let reason = error.reason();
        match error {
            DirectoryError::Store(error) => error.into(),
            DirectoryError::NotFound => Self::text(reason, error.to_string()),
            DirectoryError::FingerprintMismatch => {
                Self::field(reason, "fingerprint", error.to_string())
            }
            error => Self::field(reason, "card", error.to_string()),
        }
    }
}

impl From<EvidenceError> for Problem {
    fn from(error: EvidenceError) -> Self {
        match error {
            EvidenceError::NotFound => Self::text(Reason::NotFound, "no such message"),
            EvidenceError::Tlog(error) => error.into(),
            EvidenceError::Store(error) => error.into(),
        }
    }
}

impl From<TlogError> for Problem {
    fn from(error: TlogError) -> Self {
        match error {
            TlogError::Store(error) => error.into(),
            TlogError::Sign(_) => Self::new(Reason::SignerUnavailable),
            TlogError::Held(_) => Self::text(Reason::LogHeld, error.to_string()),
            // The log is behind what was signed, or a hash is missing: nothing that a caller could
            // put right.
            error => Self::internal(error),
        }
    }
}

fn of_faults(faults: &Faults) -> Problem {
    let first = faults.iter().next().map_or_else(String::new, ToString::to_string);
    let text = match faults.len() {
        1 => first,
        many => format!("{many} faults in the message; the first: {first}"),
    };
    let mut problem = Problem::text(faults.reason(), text);
    for fault in faults {
        let text = match fault.article {
            Some(article) => {
                format!("{} (Article {article} of the Budapest Convention)", fault.text)
            }
            None => fault.text.clone(),
        };
        problem.fields.push(Field { path: fault.api_path(), text, label: fault.label() });
    }
    problem
}

/// The field that a refusal of the whole draft is about.
fn field_of(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::UnknownProfile => Some("draft.profile"),
        Reason::BadLifetime => Some("draft.expire_time"),
        Reason::KindNotAllowed => Some("draft.payload"),
        _ => None,
    }
}

/// The code of a reason. No `_`: whoever adds a reason decides here.
fn code_of(reason: Reason) -> Code {
    match reason {
        Reason::Malformed
        | Reason::TooLarge
        | Reason::BadSignature
        | Reason::UnsupportedAlgorithm
        | Reason::UnsupportedVersion
        | Reason::UnsupportedExtension
        | Reason::UnsupportedKind
        | Reason::UnsupportedSealing
        | Reason::WeakKey
        | Reason::PayloadMismatch
        | Reason::InnerMismatch
        | Reason::AttachmentMismatch
        | Reason::FutureDated
        | Reason::BadLifetime
        | Reason::UnknownProfile
        | Reason::InvalidContent => Code::InvalidArgument,
        Reason::RequestIdMissing | Reason::BadCard => Code::InvalidArgument,
        Reason::BadCursor | Reason::BadFilter | Reason::PurposeMissing => Code::InvalidArgument,
        Reason::KindNotAllowed | Reason::ClassificationTooHigh => Code::InvalidArgument,
        Reason::PeriodTooShort | Reason::AudienceTooWide => Code::InvalidArgument,
        Reason::UnknownSender | Reason::UnknownRecipient => Code::NotFound,
        Reason::UnknownMessage | Reason::UnknownKey | Reason::UnknownLog => Code::NotFound,
        Reason::UnknownCase | Reason::UnknownReference | Reason::NotFound => Code::NotFound,
        Reason::WrongReference | Reason::StaleRevision => Code::FailedPrecondition,
        Reason::UnknownPart | Reason::OfferExpired => Code::FailedPrecondition,
        Reason::NotAccepted | Reason::ConditionsMissing => Code::FailedPrecondition,
        Reason::MarkingLoosened | Reason::OriginMissing => Code::FailedPrecondition,
        Reason::OriginMismatch | Reason::NotReleased => Code::FailedPrecondition,
        Reason::ReferenceAwaited => Code::Unavailable,
        Reason::CaseChanged => Code::Aborted,
        Reason::Conflict | Reason::RequestIdConflict => Code::AlreadyExists,
        Reason::PermissionDenied => Code::PermissionDenied,
        Reason::QueueFull | Reason::Quota | Reason::StorageFull | Reason::CaseFull => {
            Code::ResourceExhausted
        }
        Reason::PeerUnreachable
        | Reason::Busy
        | Reason::Stopping
        | Reason::StoreStopped
        | Reason::SignerUnavailable => Code::Unavailable,
        Reason::KeyRevoked
        | Reason::SenderMismatch
        | Reason::NotARecipient
        | Reason::Expired
        | Reason::PeerUnverified
        | Reason::PeerSuspended
        | Reason::KeyNotPinned
        | Reason::NotVerifiedThere
        | Reason::DuplicateIdentity
        | Reason::ClockUntrusted
        | Reason::ClockContradicted
        | Reason::ClockDiffers
        | Reason::JournalBehind
        | Reason::FingerprintMismatch
        | Reason::Contradiction
        | Reason::LateAfterFailure
        | Reason::PeerRolledBack
        | Reason::UnprovenExtension => Code::FailedPrecondition,
        Reason::Ambiguous | Reason::FailedPrecondition => Code::FailedPrecondition,
        Reason::LogHeld | Reason::AnchorMissing => Code::FailedPrecondition,
        Reason::BadInclusion | Reason::WrongIssuer | Reason::HopLimit => Code::FailedPrecondition,
        Reason::BadConsistency | Reason::AttachmentMissing => Code::FailedPrecondition,
        Reason::UnfoundedRefusal | Reason::IllegalTransition => Code::FailedPrecondition,
        Reason::NotAParty | Reason::ExerciseNotTaken => Code::FailedPrecondition,
        Reason::StoreDamaged => Code::DataLoss,
        Reason::NotifyFailed | Reason::Internal => Code::Internal,
    }
}

/// How long to wait before the same call may do.
fn wait_of(reason: Reason) -> Option<Duration> {
    let seconds = match reason {
        Reason::Busy => 1,
        Reason::Stopping | Reason::SignerUnavailable => 5,
        Reason::QueueFull | Reason::Quota => 30,
        Reason::StorageFull => 60,
        _ => return None,
    };
    Some(Duration::from_secs(seconds))
}

/// Whose labels the reasons are.
pub(super) const DOMAIN: &str = "relay.v1";

/// Some gRPC implementations take 8 KiB of trailers, and details travel in base64.
const DETAILS_BYTES_MAX: usize = 3500;
const MESSAGE_CHARS_MAX: usize = 400;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Each reason has a code that is not OK and its own label; only what passes by itself names a
    /// wait.
    #[test]
    fn every_reason_is_told() {
        for reason in Reason::ALL {
            let status = Status::from(Problem::new(*reason));
            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason.label(), "relay.v1"));
            assert!(!matches!(status.code(), Code::Ok | Code::Unknown), "{reason}");
            assert_eq!(status.message(), reason.meaning());
            let waits = [
                Reason::QueueFull,
                Reason::Quota,
                Reason::Busy,
                Reason::Stopping,
                Reason::StorageFull,
                Reason::SignerUnavailable,
            ];
            assert_eq!(details.retry_info().is_some(), waits.contains(reason), "{reason}");
        }
        // Clients repeat UNAVAILABLE by themselves: only what a repetition may help.
        let code = |reason| Status::from(Problem::new(reason)).code();
        assert_eq!(code(Reason::RequestIdConflict), Code::AlreadyExists);
        assert_eq!(code(Reason::UnknownRecipient), Code::NotFound);
        assert_eq!(code(Reason::PeerUnverified), Code::FailedPrecondition);
        assert_eq!(code(Reason::QueueFull), Code::ResourceExhausted);
        assert_eq!(code(Reason::StoreStopped), Code::Unavailable);
        assert_eq!(code(Reason::StoreDamaged), Code::DataLoss);
        assert_eq!(code(Reason::Internal), Code::Internal);
    }

    /// What went wrong inside is not told to callers.
    #[test]
    fn internal_texts_stay_inside() {
        let status = Status::from(Problem::from(StoreError::LogFull));
        assert_eq!((status.code(), status.message()), (Code::Internal, Reason::Internal.meaning()));
    }

    /// All faults are named by the path of the API while there is room, and counted when there is
    /// not.
    #[test]
    fn faults_become_field_violations() {
        let faults = Faults::one(Fault::new("request.items[0].relationship", "is missing"));
        let status = Status::from(Problem::from(SubmitError::Content(faults)));
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        let violation = &details.bad_request().unwrap().field_violations;
        let path = "draft.payload.preservation_request.items[0].relationship";
        assert_eq!((violation.len(), violation.first().unwrap().field.as_str()), (1, path));

        let mut many = Problem::new(Reason::InvalidContent);
        let (path, text) = ("a".repeat(40), "b".repeat(40));
        many.fields = vec![Field { path, text, label: "LABEL_OF_20_LETTERS_" }; 100];
        let status = Status::from(many);
        assert!(status.details().len() < 5000);
        let details = status.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations.len(), 35);
        assert_eq!(details.error_info().unwrap().metadata.get("faults").unwrap(), "100");
    }
}
