//! The one map from what happened to the process's exit code.
//!
//! Enter through [`Exit::of_status`] and [`Exit::of_reason`]. Nothing else in this package names
//! an exit code. Invariant: every `Reason` has a code, checked by the compiler: the match has no
//! default.

use std::process::ExitCode;

use relay_proto::reason::Reason;
use tonic::Code;

/// How a command ended. The numbers are promised to scripts and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Done, healthy, verified.
    Done = 0,
    /// Something needs attention, or the answer is no.
    Attention = 1,
    /// The command was not understood; nothing was done.
    Usage = 2,
    /// The node does not answer.
    Unreachable = 10,
    /// The caller may not do this.
    Permission = 11,
    /// No such message, peer or file.
    NotFound = 12,
    /// Stored and safe, but the state that was waited for is not reached.
    StillOpen = 13,
    /// A signature, receipt or proof does not hold.
    Invalid = 14,
    /// The content has faults; nothing was sent.
    Faults = 15,
    /// A request id that was used otherwise, a file that exists.
    Conflict = 16,
    /// The peer is not verified, or suspended.
    PeerNotTrusted = 17,
    /// Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// All codes, for the help text and tests.
    pub const ALL: [Self; 12] = [
        Self::Done,
        Self::Attention,
        Self::Usage,
        Self::Unreachable,
        Self::Permission,
        Self::NotFound,
        Self::StillOpen,
        Self::Invalid,
        Self::Faults,
        Self::Conflict,
        Self::PeerNotTrusted,
        Self::Interrupted,
    ];

    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What the number means, for `--help`.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done, healthy, verified",
            Self::Attention => "attention needed, or the answer is no",
            Self::Usage => "usage error, nothing done",
            Self::Unreachable => "node not reachable",
            Self::Permission => "permission denied",
            Self::NotFound => "not found",
            Self::StillOpen => "stored and safe, but the state waited for is not reached",
            Self::Invalid => "signature, receipt or proof INVALID",
            Self::Faults => "content has faults (listed), nothing sent",
            Self::Conflict => "conflict: request id used with other content, file exists",
            Self::PeerNotTrusted => "peer not verified, or suspended, by us or by it",
            Self::Interrupted => "interrupted; says whether anything was stored",
        }
    }

    /// The code for an error of the node: by its reason where it states one that we know, else by
    /// its gRPC code.
    pub fn of_status(code: Code, reason: Option<&str>) -> Self {
        match reason.and_then(|label| label.parse::<Reason>().ok()) {
            Some(reason) => Self::of_reason(reason),
            None => Self::of_code(code),
        }
    }

    /// The code for a reason.
    pub fn of_reason(reason: Reason) -> Self {
        use Reason as R;
        match reason {
            R::PermissionDenied => Self::Permission,
            R::NotFound | R::UnknownMessage | R::UnknownRecipient => Self::NotFound,
            R::UnknownCase | R::UnknownReference => Self::NotFound,
            R::Ambiguous | R::BadCursor | R::BadFilter => Self::Usage,
            R::RequestIdMissing | R::PurposeMissing => Self::Usage,
            R::Conflict | R::RequestIdConflict | R::CaseChanged => Self::Conflict,
            R::PeerUnverified | R::PeerSuspended | R::NotVerifiedThere => Self::PeerNotTrusted,
            R::Stopping => Self::Unreachable,
            R::Malformed
            | R::TooLarge
            | R::InvalidContent
            | R::BadLifetime
            | R::Expired
            | R::FutureDated
            | R::UnknownProfile
            | R::KindNotAllowed
            | R::UnsupportedKind
            | R::UnsupportedVersion
            | R::UnsupportedExtension
            | R::UnsupportedSealing
            | R::IllegalTransition
            | R::UnfoundedRefusal
            | R::CaseFull => Self::Faults,
            R::AttachmentMissing | R::NotARecipient => Self::Faults,
            R::NotAParty | R::ExerciseNotTaken | R::ClassificationTooHigh => Self::Faults,
            R::PeriodTooShort | R::AudienceTooWide | R::NotReleased => Self::Faults,
            R::WrongReference | R::StaleRevision | R::UnknownPart => Self::Faults,
            R::OfferExpired | R::NotAccepted | R::ConditionsMissing => Self::Faults,
            R::MarkingLoosened | R::OriginMissing | R::OriginMismatch => Self::Faults,
            R::BadSignature
            | R::UnsupportedAlgorithm
            | R::UnknownSender
            | R::UnknownKey
            | R::KeyRevoked
            | R::WeakKey
            | R::SenderMismatch
            | R::PayloadMismatch
            | R::InnerMismatch
            | R::KeyNotPinned
            | R::DuplicateIdentity
            | R::FingerprintMismatch
            | R::BadCard
            | R::UnknownLog
            | R::BadInclusion
            | R::BadConsistency
            | R::WrongIssuer
            | R::Contradiction
            | R::PeerRolledBack
            | R::UnprovenExtension => Self::Invalid,
            R::AttachmentMismatch => Self::Invalid,
            R::QueueFull | R::Quota | R::Busy | R::StorageFull => Self::Attention,
            R::StoreStopped | R::ReferenceAwaited => Self::Attention,
            R::PeerUnreachable
            | R::HopLimit
            | R::StoreDamaged
            | R::SignerUnavailable
            | R::ClockUntrusted
            | R::ClockContradicted
            | R::ClockDiffers
            | R::FailedPrecondition
            | R::LateAfterFailure
            | R::JournalBehind => Self::Attention,
            R::LogHeld | R::AnchorMissing | R::NotifyFailed | R::Internal => Self::Attention,
        }
    }

    /// The code for an error without a reason: of a proxy, of the library, of a node newer than
    /// this program.
    fn of_code(code: Code) -> Self {
        match code {
            Code::Ok => Self::Done,
            Code::InvalidArgument | Code::OutOfRange => Self::Faults,
            Code::NotFound => Self::NotFound,
            Code::AlreadyExists | Code::Aborted => Self::Conflict,
            Code::PermissionDenied | Code::Unauthenticated => Self::Permission,
            Code::Unavailable | Code::DeadlineExceeded | Code::Unimplemented => Self::Unreachable,
            Code::Cancelled
            | Code::Unknown
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Internal
            | Code::DataLoss => Self::Attention,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documented numbers, and no other: a script may rely on them.
    #[test]
    fn the_codes_are_the_documented_ones() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 10, 11, 12, 13, 14, 15, 16, 17, 130]);
    }

    /// No refusal ends as success, as a wait or as an interruption; each label reaches the map by
    /// its text.
    #[test]
    fn every_reason_has_a_code_of_an_error() {
        for reason in Reason::ALL {
            let exit = Exit::of_status(Code::Ok, Some(reason.label()));
            assert!(Exit::ALL.contains(&exit), "{reason}");
            assert!(
                !matches!(exit, Exit::Done | Exit::StillOpen | Exit::Interrupted),
                "{reason} ends as {exit:?}"
            );
        }
    }

    /// The reason decides; without one, or with one of the future, the gRPC code does.
    #[test]
    fn reasons_win_over_codes() {
        let cases = [
            (Code::InvalidArgument, Some("REQUEST_ID_MISSING"), Exit::Usage),
            (Code::FailedPrecondition, Some("PEER_UNVERIFIED"), Exit::PeerNotTrusted),
            (Code::FailedPrecondition, Some("PEER_SUSPENDED"), Exit::PeerNotTrusted),
            (Code::AlreadyExists, Some("REQUEST_ID_CONFLICT"), Exit::Conflict),
            (Code::InvalidArgument, Some("INVALID_CONTENT"), Exit::Faults),
            (Code::Unavailable, Some("STOPPING"), Exit::Unreachable),
            (Code::Unavailable, Some("STORE_STOPPED"), Exit::Attention),
            (Code::NotFound, Some("OF_A_LATER_VERSION"), Exit::NotFound),
            (Code::NotFound, None, Exit::NotFound),
            (Code::Unavailable, None, Exit::Unreachable),
            (Code::PermissionDenied, None, Exit::Permission),
            (Code::AlreadyExists, None, Exit::Conflict),
            (Code::Internal, None, Exit::Attention),
        ];
        for (code, reason, expected) in cases {
            assert_eq!(Exit::of_status(code, reason), expected, "{code:?} {reason:?}");
        }
    }
}
