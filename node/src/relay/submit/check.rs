//! What is asked of a message before it is signed: all that the other end would refuse it for.

use bytes::Bytes;
use relay_core::{
    case::Rules,
    policy::{self, kind_allowed},
    profile::Profile,
};
use relay_proto::{
    attachment::Item,
    envelope::Priority,
    ids::{MessageId, UnitId, Uuid},
    limits,
    payload::{
        self, Attachment, Body, Completion, Fault, Faults, NewIds, Payload, Place, ProfileDefaults,
        STIX_BYTES_MAX, UnitFacts, check_stix,
    },
    reason::Reason,
    timestamp::Timestamp,
    v1,
};

use super::{
    Submission, SubmitError, TO, cases, kinds, payload_context, priority_of, timestamp, together,
};
use crate::{
    keys::KeyUse,
    relay::Context,
    store::{Among, BlobError},
};

/// A message that may be signed.
pub(super) struct Ready {
    pub message_id: MessageId,
    pub to: Vec<UnitId>,
    pub priority: Priority,
    pub expires_at: Timestamp,
    /// The first bytes of `clear`.
    pub salt: [u8; limits::PAYLOAD_SALT_BYTES],
    pub clear: Bytes,
    pub payload: Payload,
    pub rules: Rules,
    pub two_officers: bool,
    pub among: Among,
}

impl Context {
    /// What a message lists has to be durable before the message is.
    pub(super) async fn are_here(&self, items: &[Item]) -> Result<(), SubmitError> {
        if items.is_empty() {
            return Ok(());
        }
        let missing = self.parts.store.blobs().missing(items.to_vec()).await;
        let Some(index) = missing.map_err(|error| SubmitError::Refused(error.reason()))? else {
            return Ok(());
        };
        let path = format!("env.attachments[{index}]");
        let fault = Fault::new(path, "its bytes are not at this node: upload them first");
        Err(SubmitError::Content(Faults::one(fault.because(Reason::AttachmentMissing))))
    }

    /// A STIX bundle is what it says that it is, and marked no more strictly than its alert. It is
    /// only read.
    pub(super) async fn stix_is_sound(&self, content: &Payload) -> Result<(), SubmitError> {
        let (Body::Alert(alert) | Body::AlertUpdate(alert)) = &content.body else { return Ok(()) };
        let Some(bundle) = &alert.stix_bundle else { return Ok(()) };
        let listed = content.attachments.iter().map(Attachment::item);
        let Some(item) = listed.into_iter().find(|item| item.sha256 == bundle.sha256) else {
            return Ok(());
        };
        let unsound =
            |text: String| SubmitError::Content(Faults::one(Fault::new("alert.stix_bundle", text)));
        if item.size > STIX_BYTES_MAX as u64 {
            return Err(unsound(format!("{} bytes, at most {STIX_BYTES_MAX} are read", item.size)));
        }
        let lost = |error: BlobError| SubmitError::Refused(error.reason());
        let whole = self.parts.store.blobs().open(item).await.map_err(lost)?;
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < item.size {
            bytes.extend_from_slice(&whole.piece(bytes.len() as u64).await.map_err(lost)?);
        }
        let tlp = content.handling.tlp;
        check_stix(&bytes, tlp).map_err(|fault| unsound(fault.to_string()))
    }

    /// Everything that would be refused at the other end is refused here, with all faults together.
    pub(super) fn check(
        &self,
        submission: &Submission,
        now: Timestamp,
    ) -> Result<Ready, SubmitError> {
        let draft = &submission.draft;
        self.may_sign(now)?;
        let mut faults = Vec::new();
        let known = self.profile(&draft.profile);
        if known.is_none() {
            faults.push(SubmitError::Refused(Reason::UnknownProfile));
        }
        let is_warning = payload::kind_of_draft(draft) == v1::Kind::ExpiryWarning;
        if is_warning && !submission.principal.is_node() {
            let why = "the node of the requested side sends it by itself: leave it to it";
            faults.push(SubmitError::Content(Faults::one(Fault::new("env.kind", why))));
        }
        // What does not hang on the profile is checked all the same.
        let profile = known.or(self.parts.profiles.first());
        let profile = profile.ok_or(SubmitError::Refused(Reason::UnknownProfile))?;
        let priority = priority_of(draft);
        let to = self.recipients(&draft.to, &mut faults);
        let expires_at = expiry(draft, profile, now).unwrap_or_else(|reason| {
            faults.push(SubmitError::Refused(reason));
            now
        });
        let message_id = MessageId::new(now, self.random());
        let rules = cases::rules(profile);
        let standing = self.standing(draft, &submission.etag, &to, &rules)?;
        let place = standing.as_ref().map(|standing| standing.place).unwrap_or_default();
        let inheriting = self.inheriting(draft, profile, &to)?;
        let completed = self.complete(&inheriting, profile, priority, &to, (message_id, place));
        let allowed = completed.and_then(|(payload, parsed)| {
            let allowed = kind_allowed(profile, parsed.kind()).map_err(SubmitError::Refused);
            allowed.map(|()| (payload, parsed))
        });
        let (payload, parsed) = all_told(allowed, faults)?;
        if let Some(standing) = standing {
            standing.admits((&parsed, priority), &rules, now, self.unit())?;
        }
        self.suits(profile, &parsed)?;
        let among = self.among(&parsed, &to, now)?;
        let salt = self.random();
        let clear = payload::clear_bytes(salt, &payload);
        if clear.len() > limits::PAYLOAD_BYTES_MAX {
            return Err(SubmitError::Refused(Reason::TooLarge));
        }
        // Whichever network it is sent in: else one officer would choose one that asks for none.
        let kind = parsed.kind();
        let two_officers = self.parts.profiles.iter().any(|one| one.two_officers.contains(&kind));
        let payload = parsed;
        Ok(Ready {
            message_id,
            to,
            priority,
            expires_at,
            salt,
            clear,
            payload,
            rules,
            two_officers,
            among,
        })
    }

    /// A clock that is years off, or a key that is out of its time, would make a header that nobody
    /// takes.
    fn may_sign(&self, now: Timestamp) -> Result<(), SubmitError> {
        let key_id = self.parts.signer.key_id(KeyUse::Envelope);
        let key = self.parts.directory.own().key(v1::KeyKind::Signing, key_id);
        let usable = key.ok_or(Reason::UnknownKey).and_then(|key| key.check_at(now));
        usable.map_err(|reason| match self.time().state.state() == v1::ClockState::Synced {
            true => SubmitError::Refused(reason),
            false => SubmitError::Refused(Reason::ClockUntrusted),
        })
    }

    /// Those who can be sent to; what is wrong with the others is added to the faults.
    fn recipients(&self, to: &[String], faults: &mut Vec<SubmitError>) -> Vec<UnitId> {
        if to.is_empty() {
            let none = Fault::new(TO, "no recipient is stated");
            faults.push(SubmitError::Content(Faults::one(none)));
            return Vec::new();
        }
        if to.len() > limits::RECIPIENTS_MAX {
            faults.push(SubmitError::Refused(Reason::TooLarge));
            return Vec::new();
        }
        let snapshot = self.parts.directory.snapshot();
        let mut units = Vec::with_capacity(to.len());
        for text in to {
            let unit = text.parse::<UnitId>().ok();
            let peer = unit.as_ref().and_then(|unit| snapshot.peer(unit));
            let reason = match (unit, peer.map(|peer| peer.trust.refusal())) {
                (Some(unit), Some(None)) if units.contains(&unit) => Reason::InvalidContent,
                (Some(unit), Some(None)) => {
                    units.push(unit);
                    continue;
                }
                (_, Some(Some(refusal))) => refusal,
                _ => Reason::UnknownRecipient,
            };
            faults.push(SubmitError::Recipient { unit: text.clone(), reason });
        }
        units
    }

    fn complete(
        &self,
        draft: &v1::Draft,
        profile: &Profile,
        priority: Priority,
        to: &[UnitId],
        (message_id, place): (MessageId, Place),
    ) -> Result<(v1::Payload, Payload), SubmitError> {
        let own_facts = UnitFacts::from(self.parts.directory.own().value());
        let snapshot = self.parts.directory.snapshot();
        let recipient = match to {
            [only] => snapshot.peer(only).map(|peer| UnitFacts::from(peer.card.value())),
            _ => None,
        };
        let defaults = ProfileDefaults {
            handling: profile.handling_default.clone(),
            languages: profile.languages.clone(),
            legal_basis: profile.legal_basis_default(payload::kind_of_draft(draft)).to_vec(),
            period_days: profile.requested_preservation_days,
        };
        let ids = NewIds {
            message_id,
            case_id: Uuid::random(self.random()),
            body_id: Uuid::random(self.random()),
        };
        let completion = Completion {
            from: self.unit(),
            own: &own_facts,
            recipient: recipient.as_ref(),
            defaults: &defaults,
            ids,
            // Units of demos and tests never send anything else.
            exercise: self.unit().is_demo(),
            place,
        };
        let kinds = kinds(profile);
        let context = payload_context(profile, priority, &kinds);
        payload::complete(draft, &completion, &context).map_err(SubmitError::Content)
    }
}

/// When delivery is given up: as the draft says, or the profile.
fn expiry(draft: &v1::Draft, profile: &Profile, now: Timestamp) -> Result<Timestamp, Reason> {
    let expires_at = match &draft.expire_time {
        Some(time) => timestamp(time).ok_or(Reason::BadLifetime)?,
        None => policy::default_expiry(profile, priority_of(draft), now),
    };
    policy::lifetime(now, expires_at).map(|()| expires_at)
}

/// What was completed, or all that is wrong with it and with what was asked beside.
fn all_told<T>(
    completed: Result<T, SubmitError>,
    mut faults: Vec<SubmitError>,
) -> Result<T, SubmitError> {
    match completed {
        Ok(completed) if faults.is_empty() => return Ok(completed),
        Ok(_) => {}
        Err(SubmitError::Content(content)) if !faults.is_empty() => {
            // What is wrong with the recipients was told by those that were looked up.
            let rest = content.into_iter().filter(|fault| !fault.path.starts_with(TO));
            faults.extend(Faults::all(rest.collect()).map(SubmitError::Content));
        }
        Err(error) => faults.push(error),
    }
    Err(together(faults))
}
