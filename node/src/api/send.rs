//! Taking messages one by one: SendMessage.

use relay_proto::{
    ids::{CaseId, MessageId, UnitId},
    payload::kind_of_draft,
    reason::Reason,
    v1,
};

use super::{Service, access::Caller, args, status::Problem};
use crate::relay::submit::{Submission, Submitted, approval_name, priority_of};

impl Service {
    /// Takes one message; durable when it returns.
    pub(super) async fn send(
        &self,
        caller: Caller,
        request: v1::SendMessageRequest,
    ) -> Result<v1::SendMessageResponse, Problem> {
        let submission = self.submission(&caller, request).await?;
        // Refused rather than queued: the caller can wait better than the node.
        let place = self.shared.submissions.try_enter(priority_of(&submission.draft));
        let _place = place.ok_or_else(|| Problem::new(Reason::Busy))?;
        let (draft, check_only) = (submission.draft.clone(), submission.validate_only);
        let answer = self.relay().submit(vec![submission]).await.pop();
        let answer = answer.ok_or_else(|| Problem::internal("a submission without answer"))??;
        let approval = answer.waits.as_ref().map(approval_name).unwrap_or_default();
        let message = match check_only || answer.waits.is_some() {
            true => self.checked(&draft),
            false => {
                let record = self.relay().store().message(&answer.digest)?;
                let record = record.ok_or_else(|| Problem::internal("a message is not there"))?;
                self.message(&record, v1::MessageView::Basic)?
            }
        };
        let repeated_request = answer.repeated;
        Ok(v1::SendMessageResponse { message: Some(message), repeated_request, approval })
    }

    /// A request as the relay takes it.
    pub(super) async fn submission(
        &self,
        caller: &Caller,
        request: v1::SendMessageRequest,
    ) -> Result<Submission, Problem> {
        if self.shared.stop.is_cancelled() {
            return Err(Problem::new(Reason::Stopping));
        }
        let request_id = args::request_id(&request.request_id)?;
        let wanted = "is missing: state profile, recipients and payload";
        let draft = request.draft;
        let draft = draft.ok_or_else(|| Problem::field(Reason::InvalidContent, "draft", wanted))?;
        let (validate_only, etag) = (request.validate_only, request.etag);
        if let Err(denied) = caller.may_send(kind_of_draft(&draft)) {
            let reason = Reason::PermissionDenied;
            self.note_refused(&caller.principal, "SendMessage", reason).await;
            return Err(denied);
        }
        if !self.joins(caller, &draft)? {
            let reason = Reason::UnknownCase;
            self.note_refused(&caller.principal, "SendMessage", reason).await;
            return Err(Problem::new(reason));
        }
        let principal = caller.principal.clone();
        let granted = None;
        Ok(Submission { principal, request_id, draft, validate_only, etag, granted })
    }

    /// Whether a caller may say anything in the case of a draft: whoever does so sees all of it
    /// from then on, so he has to see it already, unless he begins it.
    fn joins(&self, caller: &Caller, draft: &v1::Draft) -> Result<bool, Problem> {
        let payload = draft.payload.as_ref();
        let case = payload.and_then(|payload| CaseId::from_bytes(&payload.case_id).ok());
        let Some(case) = case else { return Ok(true) };
        for peer in draft.to.iter().filter_map(|peer| peer.parse::<UnitId>().ok()) {
            let is_there = !self.relay().store().case_rows(&case, &peer)?.is_empty();
            if is_there && !self.sees_case(caller, &case, &peer)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What a message that would be taken looks like; it has no id yet.
    fn checked(&self, draft: &v1::Draft) -> v1::Message {
        let payload = draft.payload.as_ref();
        let unit = self.relay().node().unit();
        v1::Message {
            kind: kind_of_draft(draft).into(),
            exercise: unit.is_demo() || payload.is_some_and(|payload| payload.exercise),
            direction: v1::Direction::Out.into(),
            from: unit.to_string(),
            to: draft.to.clone(),
            profile: draft.profile.clone(),
            priority: priority_of(draft).to_wire().into(),
            expire_time: draft.expire_time,
            ..Default::default()
        }
    }
}

/// The short answer of bulk sending.
pub(super) fn sent(submitted: &Submitted) -> v1::Sent {
    if let Some(approval) = &submitted.waits {
        return v1::Sent {
            repeated_request: submitted.repeated,
            approval: approval_name(approval),
            ..v1::Sent::default()
        };
    }
    let id: MessageId = submitted.message_id;
    v1::Sent {
        message_id: id.to_string(),
        short_id: id.short().to_string(),
        header_digest: bytes::Bytes::copy_from_slice(submitted.digest.as_bytes()),
        repeated_request: submitted.repeated,
        approval: String::new(),
    }
}
