//! Taking messages from case systems: checked, completed, signed, stored; then the caller is
//! answered.

use bytes::Bytes;
use prost::Message;
use relay_core::profile::Profile;
use relay_proto::{
    attachment::{self, Item},
    envelope::{Header, NewHeader, Priority},
    ids::{Digest, MessageId, UnitId},
    payload::{Attachment, PayloadContext},
    reason::Reason,
    receipt::Event,
    timestamp::Timestamp,
    v1,
};

mod approval;
mod check;
mod error;
mod request;

use self::check::Ready;
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
    store::{About, NewHeld, NewSubmission, StoreError, SubmissionAnswer},
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
        self.stix_is_sound(&ready.payload).await?;
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
}

/// How often a message is made again when its case goes on meanwhile.
const CASE_ATTEMPTS: usize = 4;

/// Where recipients are named.
const TO: &str = "env.to";

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
