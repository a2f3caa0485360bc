//! Why a message of a case system is not taken.

use relay_core::policy::Unfit;
use relay_proto::{
    payload::{Fault, Faults},
    reason::Reason,
};

use super::{NotFit, NotLegal, TO};
use crate::{keys::SignError, store::StoreError};

/// Why a message was not taken. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Fields are missing or wrong; all of them.
    #[error("{} fault(s) in the message", .0.len())]
    Content(Faults),
    /// The request id stands for other content.
    #[error("this request id was used with other content: use a new one for a new message")]
    RequestConflict,
    /// One recipient cannot be sent to.
    #[error("{unit}: {}", reason.meaning())]
    Recipient {
        /// Which.
        unit: String,
        /// Why.
        reason: Reason,
    },
    /// It may not join its case.
    #[error("{0}")]
    Case(Box<NotLegal>),
    /// It waited for a second officer, and was dropped.
    #[error("{by} dropped it before a second officer agreed: {reason}")]
    Dropped {
        /// Whose account.
        by: String,
        /// In his words.
        reason: String,
    },
    /// Another officer agreed already.
    #[error("{by} granted it already, and it was sent")]
    Granted {
        /// Whose account.
        by: String,
    },
    /// Whoever asked cannot be the second officer.
    #[error("the account that asked cannot grant it: another officer must, with another account")]
    SameOfficer,
    /// The card of one of the two units does not allow it.
    #[error("{0}")]
    Cards(Box<Unfit>),
    /// It may not say this about another message, or not pass that on.
    #[error("{0}")]
    Exchange(Box<NotFit>),
    /// Something about the message as a whole.
    #[error("{}", .0.meaning())]
    Refused(Reason),
    /// No signature, no acceptance.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SubmitError {
    /// The label that leaves the machine.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Content(faults) => faults.reason(),
            Self::RequestConflict => Reason::RequestIdConflict,
            Self::Dropped { .. } | Self::Granted { .. } => Reason::FailedPrecondition,
            Self::SameOfficer => Reason::PermissionDenied,
            Self::Case(not_legal) => not_legal.reason,
            Self::Cards(unfit) => unfit.reason,
            Self::Exchange(not_fit) => not_fit.reason,
            Self::Recipient { reason, .. } | Self::Refused(reason) => *reason,
            Self::Sign(_) => Reason::SignerUnavailable,
            Self::Store(error) => error.reason(),
        }
    }
}

/// The only fault as it is; several as faults of fields.
pub(in crate::relay) fn together(mut errors: Vec<SubmitError>) -> SubmitError {
    if errors.len() == 1
        && let Some(only) = errors.pop()
    {
        return only;
    }
    let each = errors.into_iter().flat_map(|error| match error {
        SubmitError::Content(faults) => faults.into_iter().collect(),
        SubmitError::Recipient { unit, reason } => {
            let text = match reason {
                Reason::InvalidContent => format!("{unit} is named twice"),
                reason => format!("{unit}: {}", reason.meaning()),
            };
            vec![Fault::new(TO, text).because(reason)]
        }
        SubmitError::Cards(unfit) => {
            vec![Fault::new(unfit.path, unfit.to_string()).because(unfit.reason)]
        }
        error => {
            let path = match error.reason() {
                Reason::UnknownProfile => "env.profile",
                Reason::BadLifetime | Reason::Expired => "env.expires_at",
                _ => "*",
            };
            vec![Fault::new(path, error.to_string()).because(error.reason())]
        }
    });
    let faults = Faults::all(each.collect());
    faults.map_or(SubmitError::Refused(Reason::Internal), SubmitError::Content)
}
