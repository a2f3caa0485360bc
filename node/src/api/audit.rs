//! What callers may see, and what is written down of it: whose a message is, who read what for
//! which purpose, and the audit log itself.
//!
//! Invariant: content leaves only after the entry about it is durable.

use relay_proto::{
    ids::{CaseId, UnitId},
    reason::Reason,
    v1::{self, audit_service_server::AuditService},
};
use tonic::{Request, Response, Status};

use super::{Service, access::Caller, args, status::Problem, token};
use crate::{
    config::Role,
    relay::submit::{message_name, timestamp},
    store::records::MessageRecord,
};

#[tonic::async_trait]
impl AuditService for Service {
    async fn list_audit(
        &self,
        request: Request<v1::ListAuditRequest>,
    ) -> Result<Response<v1::ListAuditResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let now = self.relay().clock().now();
        let record = caller.principal.audit("ListAudit", now);
        let listed = self.blocking(move |service| service.list_audit_page(&request)).await?;
        // After it was read: a log that is read to its end would otherwise never end.
        let noted = self.relay().store().audit_reading(record, now).await;
        noted.map_err(Problem::from)?;
        Ok(Response::new(listed))
    }
}

impl Service {
    fn list_audit_page(
        &self,
        request: &v1::ListAuditRequest,
    ) -> Result<v1::ListAuditResponse, Problem> {
        let size = args::page_size(request.page_size)?;
        let reverse = request.newest_first;
        let query = if reverse { NEWEST_QUERY } else { OLDEST_QUERY };
        let place = token::read(query, &request.page_token)?;
        let place = place.and_then(|place| <[u8; 8]>::try_from(place.as_slice()).ok());
        let mut place = place.map_or(if reverse { u64::MAX } else { 0 }, u64::from_be_bytes);
        let from = bound("from_time", request.from_time.as_ref())?.unwrap_or(0);
        let until = bound("until_time", request.until_time.as_ref())?.unwrap_or(u64::MAX);
        let wanted = |record: &v1::AuditRecord| {
            (from..until).contains(&record.at_ms)
                && (request.account.is_empty() || request.account == record.account)
        };
        let mut response = v1::ListAuditResponse::default();
        for _ in 0..ROUNDS_MAX {
            let page = self.relay().store().audited(place, PAGE, reverse)?;
            let is_last = page.len() < PAGE;
            for record in page {
                if response.records.len() >= size {
                    response.next_page_token = token::write(query, &place.to_be_bytes());
                    return Ok(response);
                }
                place = record.number;
                if wanted(&record) {
                    response.records.push(record);
                }
            }
            if is_last {
                return Ok(response);
            }
        }
        response.next_page_token = token::write(query, &place.to_be_bytes());
        Ok(response)
    }

    /// The message of a name, if this caller may know of it: otherwise there is none for him.
    pub(super) fn seen(&self, caller: &Caller, name: &str) -> Result<MessageRecord, Problem> {
        let record = args::message(self.relay().store(), name)?;
        match self.sees(caller, &record)? {
            true => Ok(record),
            false => Err(args::no_message(name)),
        }
    }

    /// Whether a caller may know of a message: he reads all, or his account sent or took it or
    /// another of the same matter.
    pub(super) fn sees(&self, caller: &Caller, record: &MessageRecord) -> Result<bool, Problem> {
        if caller.has(Role::ReadAll) {
            return Ok(true);
        }
        if !caller.has(Role::ReadOwn) {
            return Ok(false);
        }
        if self.is_own(caller, record)? {
            return Ok(true);
        }
        let Ok(case) = CaseId::from_bytes(&record.case_id) else { return Ok(false) };
        let peers =
            if record.is_out() { record.to.as_slice() } else { std::slice::from_ref(&record.from) };
        for peer in peers.iter().filter_map(|peer| peer.parse().ok()) {
            if self.sees_case(caller, &case, &peer)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a caller may know of a case.
    pub(super) fn sees_case(
        &self,
        caller: &Caller,
        case: &CaseId,
        peer: &UnitId,
    ) -> Result<bool, Problem> {
        if caller.has(Role::ReadAll) {
            return Ok(true);
        }
        let store = self.relay().store();
        for row in store.case_rows(case, peer)? {
            if let Some(record) = store.message(&row.digest())?
                && self.is_own(caller, &record)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_own(&self, caller: &Caller, record: &MessageRecord) -> Result<bool, Problem> {
        let account = &caller.principal.account;
        if record.is_out() {
            return Ok(record.account == *account);
        }
        let acks = self.relay().store().acknowledgements(&record.digest())?;
        Ok(acks.iter().any(|ack| ack.principal == *account))
    }

    /// Writes down that the content of a message is read; durable when it returns.
    pub(super) async fn note_reading(
        &self,
        caller: &Caller,
        call: &str,
        record: &MessageRecord,
        purpose: String,
    ) -> Result<(), Problem> {
        let now = self.relay().clock().now();
        let mut entry = caller.principal.audit(call, now);
        entry.object = record.message_id().map(message_name).unwrap_or_default();
        entry.units = if record.is_out() { record.to.clone() } else { vec![record.from.clone()] };
        entry.header_digest = record.digest.clone();
        entry.purpose = purpose;
        Ok(self.relay().store().audit_reading(entry, now).await?)
    }

    /// Writes down that something is about to be changed; durable when it returns.
    pub(super) async fn note_change(
        &self,
        caller: &Caller,
        call: &str,
        object: String,
    ) -> Result<(), Problem> {
        let now = self.relay().clock().now();
        let mut entry = caller.principal.audit(call, now);
        entry.units = object.strip_prefix("peers/").map(str::to_owned).into_iter().collect();
        entry.object = object;
        Ok(self.relay().store().audit(entry, now).await?)
    }
}

fn bound(
    path: &'static str,
    time: Option<&prost_types::Timestamp>,
) -> Result<Option<u64>, Problem> {
    let Some(time) = time else { return Ok(None) };
    let at = timestamp(time).ok_or_else(|| {
        Problem::field(Reason::InvalidContent, path, "is no instant after the year 2000")
    })?;
    Ok(Some(at.as_millis()))
}

const OLDEST_QUERY: &str = "audit";
const NEWEST_QUERY: &str = "audit, newest first";

/// Entries that are read at once, and how often for one page.
const PAGE: usize = 512;
const ROUNDS_MAX: usize = 64;
