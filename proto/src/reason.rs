//! The stable labels of refusals and errors. They leave the machine in receipts, faults, deferrals
//! and gRPC errors; a label never changes its meaning and is never reused.

use std::{fmt, str::FromStr};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $label:literal;)*) => {
        /// Why something was refused, deferred or failed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl Reason {
            /// All reasons, for documents and tests.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The label, UPPER_SNAKE.
            pub fn label(self) -> &'static str {
                match self { $(Reason::$variant => $label,)* }
            }

            /// One sentence for people.
            pub fn meaning(self) -> &'static str {
                match self { $(Reason::$variant => concat!($($doc),+).trim_ascii(),)* }
            }
        }

        impl FromStr for Reason {
            type Err = UnknownReason;
            fn from_str(text: &str) -> Result<Self, UnknownReason> {
                match text { $($label => Ok(Reason::$variant),)* _ => Err(UnknownReason) }
            }
        }
    };
}

/// A label that this version does not know. It may come from a newer node: show it, do not
/// interpret it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown reason label")]
pub struct UnknownReason;

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

reasons! {
    /// The bytes are not the canonical encoding of the message they should be.
    Malformed = "MALFORMED";
    /// Over a size, depth or count limit.
    TooLarge = "TOO_LARGE";
    /// The signature does not verify under the key that it names.
    BadSignature = "BAD_SIGNATURE";
    /// A signature algorithm that this version does not verify.
    UnsupportedAlgorithm = "UNSUPPORTED_ALGORITHM";
    /// A format version that this node does not speak.
    UnsupportedVersion = "UNSUPPORTED_VERSION";
    /// A critical extension that this version does not know.
    UnsupportedExtension = "UNSUPPORTED_EXTENSION";
    /// A message kind that this node does not take.
    UnsupportedKind = "UNSUPPORTED_KIND";
    /// A sealed payload where only clear ones are taken.
    UnsupportedSealing = "UNSUPPORTED_SEALING";
    /// The unit is not in the local directory.
    UnknownSender = "UNKNOWN_SENDER";
    /// The key is not among the sender's keys, or not valid at the stated time.
    UnknownKey = "UNKNOWN_KEY";
    /// The key was revoked.
    KeyRevoked = "KEY_REVOKED";
    /// A weak public key: of small order.
    WeakKey = "WEAK_KEY";
    /// The session's peer may not carry for the envelope's sender.
    SenderMismatch = "SENDER_MISMATCH";
    /// This unit is not among the recipients.
    NotARecipient = "NOT_A_RECIPIENT";
    /// The payload's digest is not the header's.
    PayloadMismatch = "PAYLOAD_MISMATCH";
    /// The payload's own copy of sender, recipients or id differs from the header.
    InnerMismatch = "INNER_MISMATCH";
    /// The same sender and message id with another header.
    Conflict = "CONFLICT";
    /// The message was past its expiry when it arrived.
    Expired = "EXPIRED";
    /// The message is dated further ahead than clocks may differ.
    FutureDated = "FUTURE_DATED";
    /// The lifetime is shorter or longer than allowed.
    BadLifetime = "BAD_LIFETIME";
    /// The profile is not known here, or one of the units is not a member.
    UnknownProfile = "UNKNOWN_PROFILE";
    /// The profile does not allow this kind.
    KindNotAllowed = "KIND_NOT_ALLOWED";
    /// Such a message goes between parties to a treaty alone, and a unit's card does not state it.
    NotAParty = "NOT_A_PARTY";
    /// A drill for a unit whose card takes none.
    ExerciseNotTaken = "EXERCISE_NOT_TAKEN";
    /// Classified above what this way of sending, or the recipient's card, allows.
    ClassificationTooHigh = "CLASSIFICATION_TOO_HIGH";
    /// Preservation for fewer days than the network's minimum.
    PeriodTooShort = "PERIOD_TOO_SHORT";
    /// An alert for a wider audience than its markings allow.
    AudienceTooWide = "AUDIENCE_TOO_WIDE";
    /// A field is missing or breaks a rule; details name it.
    InvalidContent = "INVALID_CONTENT";
    /// The recipient is not a peer of this node.
    UnknownRecipient = "UNKNOWN_RECIPIENT";
    /// The peer's card was imported, but not compared by telephone.
    PeerUnverified = "PEER_UNVERIFIED";
    /// The peer was suspended by the operator.
    PeerSuspended = "PEER_SUSPENDED";
    /// The peer cannot be reached.
    PeerUnreachable = "PEER_UNREACHABLE";
    /// The peer's key is not the one that was pinned.
    KeyNotPinned = "KEY_NOT_PINNED";
    /// The peer's node refuses this node's key: that unit has not verified our card, or no longer.
    NotVerifiedThere = "NOT_VERIFIED_THERE";
    /// Two nodes, or two processes of one, use the same key.
    DuplicateIdentity = "DUPLICATE_IDENTITY";
    /// A hop limit was reached.
    HopLimit = "HOP_LIMIT";
    /// A queue or quota is full; come back later.
    QueueFull = "QUEUE_FULL";
    /// Over the quota of this peer; come back later.
    Quota = "QUOTA";
    /// The receiver is busy; come back later.
    Busy = "BUSY";
    /// The node is stopping.
    Stopping = "STOPPING";
    /// The disk is full.
    StorageFull = "STORAGE_FULL";
    /// The store stopped; nothing is accepted.
    StoreStopped = "STORE_STOPPED";
    /// A stored record is not as it was written; the rest is served.
    StoreDamaged = "STORE_DAMAGED";
    /// The signing key gives no signature now.
    SignerUnavailable = "SIGNER_UNAVAILABLE";
    /// The local clock is not trusted; no verdict about times is given.
    ClockUntrusted = "CLOCK_UNTRUSTED";
    /// Peers' clocks contradict the local clock; it gives no verdict about times.
    ClockContradicted = "CLOCK_CONTRADICTED";
    /// A peer's clock and the local clock differ by more than they may.
    ClockDiffers = "CLOCK_DIFFERS";
    /// The request id is missing or not a UUID.
    RequestIdMissing = "REQUEST_ID_MISSING";
    /// The request id was used with other content.
    RequestIdConflict = "REQUEST_ID_CONFLICT";
    /// No such message, peer or receipt.
    NotFound = "NOT_FOUND";
    /// Eight characters that fit several messages.
    Ambiguous = "AMBIGUOUS";
    /// The caller may not do this.
    PermissionDenied = "PERMISSION_DENIED";
    /// Content is read without saying for what.
    PurposeMissing = "PURPOSE_MISSING";
    /// Not possible in the present state.
    FailedPrecondition = "FAILED_PRECONDITION";
    /// The message makes no legal transition of its case.
    IllegalTransition = "ILLEGAL_TRANSITION";
    /// A refusal states a ground that does not hold, or that the profile does not offer.
    UnfoundedRefusal = "UNFOUNDED_REFUSAL";
    /// No request of this case was exchanged with this unit.
    UnknownCase = "UNKNOWN_CASE";
    /// The case has as many messages as a case may have.
    CaseFull = "CASE_FULL";
    /// The case went on in the meantime; look at it and try again.
    CaseChanged = "CASE_CHANGED";
    /// The message that it answers or is about was not exchanged with this unit.
    UnknownReference = "UNKNOWN_REFERENCE";
    /// What it answers or is about is not such that its sender may say this about it.
    WrongReference = "WRONG_REFERENCE";
    /// The message that it is about is to come from its sender and is not here yet.
    ReferenceAwaited = "REFERENCE_AWAITED";
    /// The alert is here in this revision, or was sent in this or a later one.
    StaleRevision = "STALE_REVISION";
    /// It names an indicator, or a condition, that what it answers does not have.
    UnknownPart = "UNKNOWN_PART";
    /// The offer had expired when it was answered.
    OfferExpired = "OFFER_EXPIRED";
    /// The offer was not accepted by whom it is released to.
    NotAccepted = "NOT_ACCEPTED";
    /// Conditions that were accepted are not among its markings.
    ConditionsMissing = "CONDITIONS_MISSING";
    /// A marking is looser than that of what it answers or passes on.
    MarkingLoosened = "MARKING_LOOSENED";
    /// It passes on what another unit sent and does not say so.
    OriginMissing = "ORIGIN_MISSING";
    /// What it says of the origin of what it passes on is not so.
    OriginMismatch = "ORIGIN_MISMATCH";
    /// What it passes on is marked against that, and its originator did not release it.
    NotReleased = "NOT_RELEASED";
    /// The command that tells what is due failed; it is run again.
    NotifyFailed = "NOTIFY_FAILED";
    /// The digits that were read do not match.
    FingerprintMismatch = "FINGERPRINT_MISMATCH";
    /// The card is not valid, or its identity key is not the known one.
    BadCard = "BAD_CARD";
    /// A cursor or page token that this node did not give out.
    BadCursor = "BAD_CURSOR";
    /// A filter that does not parse.
    BadFilter = "BAD_FILTER";
    /// The receipt's log is not one of its issuer's.
    UnknownLog = "UNKNOWN_LOG";
    /// The inclusion proof does not lead to the checkpoint's root.
    BadInclusion = "BAD_INCLUSION";
    /// The checkpoint is not consistent with one that is held.
    BadConsistency = "BAD_CONSISTENCY";
    /// The issuer may not issue this event.
    WrongIssuer = "WRONG_ISSUER";
    /// The receipt is about a header that is not held here.
    UnknownMessage = "UNKNOWN_MESSAGE";
    /// The receipt contradicts one that is held.
    Contradiction = "CONTRADICTION";
    /// A positive receipt that arrived after the failure was stated.
    LateAfterFailure = "LATE_AFTER_FAILURE";
    /// The peer's log shrank, forked or reused a number.
    PeerRolledBack = "PEER_ROLLED_BACK";
    /// The peer cannot prove that its log only grew.
    UnprovenExtension = "UNPROVEN_EXTENSION";
    /// Something says that the journal was set back: the index, which knows of events that it does
    /// not have, or a peer that has receipts, or names a log of ours, that it never had.
    JournalBehind = "JOURNAL_BEHIND";
    /// The log signs nothing for now: leaves that it signed may be lost.
    LogHeld = "LOG_HELD";
    /// The file that shows what the log signed last is missing.
    AnchorMissing = "ANCHOR_MISSING";
    /// An attachment that the message lists is not here: bring it first.
    AttachmentMissing = "ATTACHMENT_MISSING";
    /// The bytes of an attachment are not those of its digest and size.
    AttachmentMismatch = "ATTACHMENT_MISMATCH";
    /// A bug: the node kept its store and said so.
    Internal = "INTERNAL";
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Labels parse back, are UPPER_SNAKE, unique and at most 63 characters (the limit of
    /// ErrorInfo.reason).
    #[test]
    fn labels_are_stable_identifiers() {
        let mut seen = std::collections::BTreeSet::new();
        for reason in Reason::ALL {
            let label = reason.label();
            assert_eq!(label.parse::<Reason>().unwrap(), *reason);
            assert!(label.len() <= 63 && seen.insert(label), "{label}");
            assert!(label.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{label}");
            assert!(reason.meaning().ends_with('.'), "{label}: {}", reason.meaning());
        }
    }
}
