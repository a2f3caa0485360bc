//! ApprovalService: messages that a second officer has to agree to before they are sent.

use relay_proto::{
    ids::Uuid,
    reason::Reason,
    v1::{self, Kind, approval_service_server::ApprovalService},
};
use tonic::{Request, Response, Status};

use super::{Service, access::Caller, args, convert::instant, status::Problem, token};
use crate::{
    config::Role,
    relay::submit::SubmitError,
    store::records::{ApprovalRecord, digest_of},
};

#[tonic::async_trait]
impl ApprovalService for Service {
    async fn list_approvals(
        &self,
        request: Request<v1::ListApprovalsRequest>,
    ) -> Result<Response<v1::ListApprovalsResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let listed = self.blocking(move |service| service.approvals(&caller, &request));
        Ok(Response::new(listed.await?))
    }

    async fn get_approval(
        &self,
        request: Request<v1::GetApprovalRequest>,
    ) -> Result<Response<v1::Approval>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let record = self.approval(&caller, &request.name)?;
        let mut shown = self.shown_approval(&record)?;
        if record.waits() {
            let purpose = caller.purpose(&request.purpose)?;
            let now = self.relay().clock().now();
            let mut entry = caller.principal.audit("GetApproval", now);
            entry.object.clone_from(&shown.name);
            (entry.units, entry.purpose) = (record.to.clone(), purpose);
            self.relay().store().audit_reading(entry, now).await.map_err(Problem::from)?;
            let draft = self.relay().held_draft(&record).map_err(Problem::from)?;
            shown.draft = Some(draft);
        }
        Ok(Response::new(shown))
    }

    async fn grant_approval(
        &self,
        request: Request<v1::GrantApprovalRequest>,
    ) -> Result<Response<v1::SendMessageResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        args::request_id(&request.request_id)?;
        let record = self.approval(&caller, &request.name)?;
        self.may_decide(&caller, &record, "GrantApproval").await?;
        let granted = match self.relay().grant(record, caller.principal.clone()).await {
            Err(error @ SubmitError::SameOfficer) => {
                self.note_refused(&caller.principal, "GrantApproval", error.reason()).await;
                return Err(Problem::from(error).into());
            }
            granted => granted.map_err(Problem::from)?,
        };
        let message = self.relay().store().message(&granted.digest).map_err(Problem::from)?;
        let message = message.ok_or_else(|| Problem::internal("a message is not there"))?;
        Ok(Response::new(v1::SendMessageResponse {
            message: Some(self.message(&message, v1::MessageView::Basic)?),
            repeated_request: granted.repeated,
            approval: String::new(),
        }))
    }

    async fn drop_approval(
        &self,
        request: Request<v1::DropApprovalRequest>,
    ) -> Result<Response<v1::Approval>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        args::request_id(&request.request_id)?;
        let reason = args::person("reason", &request.reason)?;
        let record = self.approval(&caller, &request.name)?;
        self.may_decide(&caller, &record, "DropApproval").await?;
        let now = self.relay().clock().now();
        let mut entry = caller.principal.audit("DropApproval", now);
        (entry.object, entry.units) = (approval_name(&record), record.to.clone());
        let store = self.relay().store();
        let dropped = store.drop_approval(record.id, reason, entry, now).await;
        let dropped = dropped.map_err(Problem::from)?;
        if dropped.state == ApprovalRecord::GRANTED {
            let text = "it was granted and sent: withdraw what was sent instead";
            return Err(Problem::text(Reason::FailedPrecondition, text).into());
        }
        Ok(Response::new(self.shown_approval(&dropped)?))
    }
}

impl Service {
    async fn may_decide(
        &self,
        caller: &Caller,
        record: &ApprovalRecord,
        call: &str,
    ) -> Result<(), Problem> {
        let may = caller.may_send(kind(record));
        if may.is_err() {
            self.note_refused(&caller.principal, call, Reason::PermissionDenied).await;
        }
        may
    }

    fn approvals(
        &self,
        caller: &Caller,
        request: &v1::ListApprovalsRequest,
    ) -> Result<v1::ListApprovalsResponse, Problem> {
        let size = args::page_size(request.page_size)?;
        let query = if request.include_decided { ALL_QUERY } else { WAITING_QUERY };
        let mut after = token::read(query, &request.page_token)?.unwrap_or_default();
        let mut response = v1::ListApprovalsResponse::default();
        loop {
            let page = self.relay().store().approvals(&after, PAGE)?;
            let is_last = page.len() < PAGE;
            for record in page {
                if response.approvals.len() >= size {
                    response.next_page_token = token::write(query, &after);
                    return Ok(response);
                }
                after = record.id.to_vec();
                let wanted = request.include_decided || record.waits();
                if wanted && may_know(caller, &record) {
                    response.approvals.push(self.shown_approval(&record)?);
                }
            }
            if is_last {
                response.approvals.sort_by_key(|one| {
                    one.ask_time.map(|at| (at.seconds, at.nanos)).unwrap_or_default()
                });
                return Ok(response);
            }
        }
    }

    /// What waits under a name, if this caller may know of it.
    fn approval(&self, caller: &Caller, name: &str) -> Result<ApprovalRecord, Problem> {
        let text = name.strip_prefix("approvals/").unwrap_or(name);
        let wanted = "expected `approvals/` and a UUID, as SendMessage answered it";
        let id: Uuid =
            text.parse().map_err(|_| Problem::field(Reason::Malformed, "name", wanted))?;
        let found = self.relay().store().approval(id.as_bytes())?;
        let found = found.filter(|record| may_know(caller, record));
        found.ok_or_else(|| Problem::text(Reason::NotFound, "nothing of this name waits"))
    }

    fn shown_approval(&self, record: &ApprovalRecord) -> Result<v1::Approval, Problem> {
        let sent = match record.digest.is_empty() {
            true => None,
            false => self.relay().store().message(&digest_of(&record.digest))?,
        };
        let state = match record.state {
            ApprovalRecord::WAITING => v1::ApprovalState::Waiting,
            ApprovalRecord::GRANTED => v1::ApprovalState::Granted,
            ApprovalRecord::DROPPED => v1::ApprovalState::Dropped,
            _ => v1::ApprovalState::Unspecified,
        };
        Ok(v1::Approval {
            name: approval_name(record),
            account: record.account.clone(),
            ask_time: instant(record.asked_at_ms),
            kind: kind(record).into(),
            profile: record.profile.clone(),
            to: record.to.clone(),
            priority: i32::try_from(record.priority).unwrap_or_default(),
            state: state.into(),
            decided_by: record.decided_by.clone(),
            decide_time: instant(record.decided_at_ms),
            reason: record.reason.clone(),
            message_id: sent
                .and_then(|sent| sent.message_id())
                .map(|id| id.to_string())
                .unwrap_or_default(),
            draft: None,
        })
    }
}

/// Whoever reads all, who asked, who decided; and as long as it waits, whoever could decide.
fn may_know(caller: &Caller, record: &ApprovalRecord) -> bool {
    let account = &caller.principal.account;
    caller.has(Role::ReadAll)
        || *account == record.account
        || *account == record.decided_by
        || (record.waits() && caller.may_send(kind(record)).is_ok())
}

fn kind(record: &ApprovalRecord) -> Kind {
    i32::try_from(record.kind).ok().and_then(|kind| Kind::try_from(kind).ok()).unwrap_or_default()
}

fn approval_name(record: &ApprovalRecord) -> String {
    Uuid::from_bytes(&record.id)
        .map(|id| crate::relay::submit::approval_name(&id))
        .unwrap_or_default()
}

const ALL_QUERY: &str = "approvals";
const WAITING_QUERY: &str = "approvals that wait";

/// Rows that are read at once.
const PAGE: usize = 256;
