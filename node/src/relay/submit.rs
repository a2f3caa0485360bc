//! Taking messages from case systems: checked, completed, signed, stored; then the caller is
//! answered.

use bytes::Bytes;
use prost::Message;
use relay_core::{
    case::Rules,
    policy::{self, kind_allowed},
    profile::Profile,
};
use relay_proto::{
    attachment::{self, Item},
    envelope::{Header, NewHeader, Priority},
    ids::{Digest, MessageId, UnitId, Uuid},
    limits,
    payload::{
        self, Attachment, Completion, Fault, Faults, NewIds, Payload, PayloadContext, Place,
        ProfileDefaults, UnitFacts,
    },
    reason::Reason,
    receipt::Event,
    timestamp::Timestamp,
    v1,
};

mod approval;
mod error;
mod request;

pub(super) use self::error::together;
pub use self::{
    approval::approval_name,
    error::SubmitError,
    request::{
        Granted, Principal, Submission, Submitted, message_name, priority_of, request_key,
        timestamp,
    },
};
use super::{Context, Relay, cases, own};
pub use super::{cases::NotLegal, exchange::NotFit};
use crate::{
    keys::KeyUse,
    store::{About, Among, NewHeld, NewSubmission, StoreError, SubmissionAnswer},
    telemetry::Counter,
};

impl Relay {
    /// Takes messages, all in one commit; each has its own answer. What is answered is durable.
    pub async fn submit(
        &self,
        submissions: Vec<Submission>,
    ) -> Vec<Result<Submitted, SubmitError>> {
        let mut answers = self.attempt(&submissions).await;
        for (answer, submission) in answers.iter_mut().zip(&submissions) {
            for _ in 0..CASE_ATTEMPTS {
                // Another message of its case came before: this one is made again, after it, unless
                // its caller has to look first.
                if !matches!(answer, Err(SubmitError::Refused(Reason::CaseChanged)))
                    || !submission.etag.is_empty()
                {
                    break;
                }
                let again = self.attempt(std::slice::from_ref(submission)).await.pop();
                *answer = again.unwrap_or(Err(SubmitError::Store(StoreError::Stopped)));
            }
        }
        answers
    }

    async fn attempt(&self, submissions: &[Submission]) -> Vec<Result<Submitted, SubmitError>> {
        let mut answers = Vec::with_capacity(submissions.len());
        let mut new = Vec::new();
        for submission in submissions {
            match self.ctx.prepare(submission).await {
                Ok(Prepared::Answer(answer)) => answers.push(Some(Ok(answer))),
                Ok(Prepared::Store(prepared)) => {
                    answers.push(None);
                    new.push(*prepared);
                }
                Ok(Prepared::Hold(held)) => answers.push(Some(self.ctx.hold(*held).await)),
                Err(error) => answers.push(Some(Err(error))),
            }
        }
        let ids: Vec<MessageId> = new.iter().map(|new| new.header.message_id).collect();
        let mut stored = self.ctx.store(new, ids).await.into_iter();
        let lost = || Err(SubmitError::Store(StoreError::Stopped));
        let each = answers.into_iter();
        each.map(|answer| answer.or_else(|| stored.next()).unwrap_or_else(lost)).collect()
    }
}

enum Prepared {
    Answer(Submitted),
    Store(Box<NewSubmission>),
    Hold(Box<NewHeld>),
}

impl Context {
    /// Checks, completes and signs one message.
    async fn prepare(&self, submission: &Submission) -> Result<Prepared, SubmitError> {
        let draft = &submission.draft;
        let content = Digest::of(&draft.encode_to_vec());
        let request_key =
            request_key(&submission.principal.account, "send", &submission.request_id);
        if let Some(known) =
            self.parts.store.request(&request_key)?.filter(|_| !submission.validate_only)
        {
            return match known.content == content.as_bytes().as_slice() {
                true => self.stored_answer(&known.digest).map(Prepared::Answer),
                false => Err(SubmitError::RequestConflict),
            };
        }
        if let Some(known) = self.waiting(submission, &request_key, &content)? {
            return Ok(Prepared::Answer(known));
        }
        let now = self.now();
        let priority = priority_of(draft);
        // Not held while the signer works: that may be slow, and is no work of this processor.
        let pass = self.gate.enter(self.unit(), priority).await;
        let checked = self.check(submission, now);
        drop(pass);
        let ready = checked?;
        let items: Vec<Item> = ready.payload.attachments.iter().map(Attachment::item).collect();
        let message_id = ready.message_id;
        if submission.validate_only {
            let digest = Digest::from_array([0; 32]);
            let (repeated, waits) = (false, None);
            return Ok(Prepared::Answer(Submitted { digest, message_id, repeated, waits }));
        }
        self.are_here(&items).await?;
        let is_alone = submission.granted.is_none() && !submission.principal.is_node();
        if ready.two_officers && is_alone {
            let held = approval::held(submission, &ready, request_key, content, now);
            return Ok(Prepared::Hold(Box::new(held)));
        }
        let asked = (request_key, content, now);
        self.signed(submission, (ready, items), asked)
            .await
            .map(|new| Prepared::Store(Box::new(new)))
    }

    /// Signs what was checked.
    async fn signed(
        &self,
        submission: &Submission,
        (ready, items): (Ready, Vec<Item>),
        (request_key, content, now): ([u8; 32], Digest, Timestamp),
    ) -> Result<NewSubmission, SubmitError> {
        let message_id = ready.message_id;
        let key_id = self.parts.signer.key_id(KeyUse::Envelope);
        let new = NewHeader {
            message_id,
            from: self.unit(),
            to: &ready.to,
            profile: &submission.draft.profile,
            priority: ready.priority,
            created_at: now,
            expires_at: ready.expires_at,
            payload: &ready.clear,
            attachments: attachment::digest(&ready.salt, &items),
            key_id,
            epoch: self.parts.signer.epoch(KeyUse::Envelope),
        };
        let unsigned = new.unsigned();
        let signature = self.parts.signer.sign(KeyUse::Envelope, unsigned.input()).await?;
        let header = header(&new, unsigned.digest(), unsigned.signed(signature));
        let statement = own(&self.statement(&header, Event::SubmissionAcceptance, now));
        let statement = statement.map_err(|_| SubmitError::Refused(Reason::Internal))?;
        let (approval, mut audit) = match &submission.granted {
            None => (None, submission.principal.audit("SendMessage", now)),
            Some(granted) => {
                let audit = granted.by.audit("GrantApproval", now);
                (Some(granted.decided(header.digest, now)), audit)
            }
        };
        audit.object = message_name(message_id);
        audit.units = ready.to.iter().map(UnitId::to_string).collect();
        audit.header_digest = Bytes::copy_from_slice(header.digest.as_bytes());
        Ok(NewSubmission {
            header,
            audit,
            approval,
            payload: ready.clear,
            about: About::of(&ready.payload, ready.priority, ready.rules)
                .seen(&submission.etag)
                .among(ready.among),
            request_key,
            content,
            statement: statement.bytes().clone(),
            queue_max: self.parts.limits.queue_max,
            now,
        })
    }

    /// What a message lists has to be durable before the message is.
    async fn are_here(&self, items: &[Item]) -> Result<(), SubmitError> {
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

    async fn store(
        &self,
        new: Vec<NewSubmission>,
        ids: Vec<MessageId>,
    ) -> Vec<Result<Submitted, SubmitError>> {
        if new.is_empty() {
            return Vec::new();
        }
        let count = new.len();
        let full = || SubmitError::Refused(Reason::StorageFull);
        let answers = match self.parts.store.accept_submissions(new).await {
            Ok(answers) => answers,
            Err(StoreError::Full) => return (0..count).map(|_| Err(full())).collect(),
            Err(error) => {
                tracing::warn!(%error, "messages not stored");
                return Vec::new();
            }
        };
        let mut results = Vec::with_capacity(answers.len());
        for (answer, message_id) in answers.into_iter().zip(ids) {
            results.push(match answer {
                SubmissionAnswer::Stored(digest) => {
                    self.parts.counters.add(Counter::Submitted);
                    Ok(Submitted { digest, message_id, repeated: false, waits: None })
                }
                SubmissionAnswer::Repeated(digest) => self.stored_answer(digest.as_bytes()),
                SubmissionAnswer::Conflict => Err(SubmitError::RequestConflict),
                SubmissionAnswer::StorageFull => Err(full()),
                SubmissionAnswer::CaseChanged => Err(SubmitError::Refused(Reason::CaseChanged)),
                SubmissionAnswer::QueueFull(unit) => Err(SubmitError::Recipient {
                    unit: unit.to_string(),
                    reason: Reason::QueueFull,
                }),
            });
        }
        results
    }

    fn stored_answer(&self, digest: &[u8]) -> Result<Submitted, SubmitError> {
        let digest =
            Digest::from_bytes(digest).map_err(|_| SubmitError::Refused(Reason::Internal))?;
        let record = self.parts.store.message(&digest)?;
        let message_id = record.and_then(|record| record.message_id());
        let message_id = message_id.ok_or(SubmitError::Refused(Reason::Internal))?;
        Ok(Submitted { digest, message_id, repeated: true, waits: None })
    }

    /// Everything that would be refused at the other end is refused here, with all faults together.
    fn check(&self, submission: &Submission, now: Timestamp) -> Result<Ready, SubmitError> {
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
        let expires_at = match &draft.expire_time {
            Some(time) => timestamp(time).ok_or(Reason::BadLifetime),
            None => Ok(policy::default_expiry(profile, priority, now)),
        };
        let expires_at = expires_at.and_then(|at| policy::lifetime(now, at).map(|()| at));
        let expires_at = expires_at.unwrap_or_else(|reason| {
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
        let (payload, parsed) = match allowed {
            Ok(completed) if faults.is_empty() => completed,
            Ok(_) => return Err(together(faults)),
            Err(SubmitError::Content(content)) if !faults.is_empty() => {
                // What is wrong with the recipients was told by those that were looked up.
                let rest = content.into_iter().filter(|fault| !fault.path.starts_with(TO));
                faults.extend(Faults::all(rest.collect()).map(SubmitError::Content));
                return Err(together(faults));
            }
            Err(error) => {
                faults.push(error);
                return Err(together(faults));
            }
        };
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
        let two_officers = profile.two_officers.contains(&parsed.kind());
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

/// How often a message is made again when its case goes on meanwhile.
const CASE_ATTEMPTS: usize = 4;

/// Where recipients are named.
const TO: &str = "env.to";

struct Ready {
    message_id: MessageId,
    to: Vec<UnitId>,
    priority: Priority,
    expires_at: Timestamp,
    /// The first bytes of `clear`.
    salt: [u8; limits::PAYLOAD_SALT_BYTES],
    clear: Bytes,
    payload: Payload,
    rules: Rules,
    two_officers: bool,
    among: Among,
}

/// The checked form of a header that was just made.
fn header(new: &NewHeader<'_>, digest: Digest, signed: v1::Signed) -> Header {
    Header {
        digest,
        message_id: new.message_id,
        from: new.from.clone(),
        to: new.to.to_vec(),
        profile: new.profile.to_owned(),
        priority: new.priority,
        created_at: new.created_at,
        expires_at: new.expires_at,
        payload_digest: Digest::of(new.payload),
        attachments: new.attachments,
        max_hops: 1,
        key_id: new.key_id,
        signed,
    }
}

/// The kinds that a profile takes.
pub(super) fn kinds(profile: &Profile) -> Vec<v1::Kind> {
    profile.kinds.iter().map(|rules| rules.kind).collect()
}

/// What a payload is checked against, at both ends.
pub(super) fn payload_context<'a>(
    profile: &Profile,
    priority: Priority,
    kinds: &'a [v1::Kind],
) -> PayloadContext<'a> {
    let mut context = PayloadContext::new(priority.to_wire(), kinds);
    context.minimum_preservation_days = profile.min_preservation_days;
    context.has_treaty = profile.treaty.is_some();
    context.attachments_max = profile.attachments_max;
    context.attachment_bytes_max = profile.attachment_bytes_max;
    context
}
