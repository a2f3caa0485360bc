//! MessageService: one method a call; the work is in the files of this room.

use std::pin::Pin;

use relay_proto::{
    ids::UnitId,
    reason::Reason,
    v1::{self, message_service_server::MessageService},
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::{Service, access::Caller, args, peers::not_trusted, status::Problem};
use crate::{
    config::Role,
    relay::{
        acknowledge::{Acknowledge, Capacity},
        submit::Principal,
    },
    store::AckAnswer,
    tasks::TaskKind,
};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl MessageService for Service {
    type SendMessagesStream = Answers<v1::SendMessagesResponse>;
    type WatchEventsStream = Answers<v1::UnitEvent>;

    async fn send_message(
        &self,
        request: Request<v1::SendMessageRequest>,
    ) -> Result<Response<v1::SendMessageResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        Ok(Response::new(self.send(caller, request.into_inner()).await?))
    }

    async fn send_messages(
        &self,
        request: Request<Streaming<v1::SendMessageRequest>>,
    ) -> Result<Response<Self::SendMessagesStream>, Status> {
        let caller = Caller::of(request.extensions())?;
        let permit = self.open_stream()?;
        let (answers, answered) = mpsc::channel(STREAM_BUFFER);
        let work = self.clone().send_all(caller, request.into_inner(), answers, permit);
        self.shared.tasks.spawn("api-stream", TaskKind::Session, work);
        Ok(Response::new(Box::pin(ReceiverStream::new(answered))))
    }

    async fn get_message(
        &self,
        request: Request<v1::GetMessageRequest>,
    ) -> Result<Response<v1::Message>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let record = self.seen(&caller, &request.name)?;
        let view = match request.view() {
            v1::MessageView::Full => v1::MessageView::Full,
            v1::MessageView::Unspecified | v1::MessageView::Basic => v1::MessageView::Basic,
        };
        if view == v1::MessageView::Full {
            let purpose = caller.purpose(&request.purpose)?;
            self.note_reading(&caller, "GetMessage", &record, purpose).await?;
        }
        Ok(Response::new(self.message(&record, view)?))
    }

    async fn list_messages(
        &self,
        request: Request<v1::ListMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let page = self.blocking(move |service| service.page(&caller, &request));
        Ok(Response::new(page.await?))
    }

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let caller = Caller::of(request.extensions())?;
        let permit = self.open_stream()?;
        let cursor = self.cursor(&request.into_inner().cursor)?;
        let (events, received) = mpsc::channel(STREAM_BUFFER);
        let work = self.clone().watch(caller, cursor, events, permit);
        self.shared.tasks.spawn("api-watch", TaskKind::Session, work);
        Ok(Response::new(Box::pin(ReceiverStream::new(received))))
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let cursor = self.cursor(&request.cursor)?;
        let size = args::page_size(request.page_size)?;
        let page = self.blocking(move |service| service.events(&caller, cursor, size));
        let (events, next) = page.await?;
        Ok(Response::new(v1::ListEventsResponse { events, next_cursor: next.to_string() }))
    }

    async fn acknowledge_message(
        &self,
        request: Request<v1::AcknowledgeMessageRequest>,
    ) -> Result<Response<v1::AcknowledgeMessageResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        Ok(Response::new(self.acknowledge(caller.principal, request.into_inner()).await?))
    }

    async fn retry_message(
        &self,
        request: Request<v1::RetryMessageRequest>,
    ) -> Result<Response<v1::RetryMessageResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        args::request_id(&request.request_id)?;
        let record = match caller.has(Role::Administer) {
            true => args::message(self.relay().store(), &request.name)?,
            false => self.seen(&caller, &request.name)?,
        };
        let entries = self.relay().store().entries(&record.digest()).map_err(Problem::from)?;
        let (mut tried, mut held) = (false, None);
        for entry in entries.iter().filter(|entry| entry.is_open()) {
            let unit = entry.next_hop.parse::<UnitId>().map_err(Problem::internal)?;
            if let Some(reason) = self.held_back(entry) {
                held = Some(not_trusted(&unit, reason));
                continue;
            }
            self.relay().retry_now(&unit);
            tried = true;
        }
        if !tried {
            let text = "nothing of this message waits: every delivery has ended";
            let ended = || Problem::text(Reason::FailedPrecondition, text);
            return Err(held.unwrap_or_else(ended).into());
        }
        let message = self.message(&record, v1::MessageView::Basic)?;
        Ok(Response::new(v1::RetryMessageResponse { message: Some(message) }))
    }

    async fn list_receipts(
        &self,
        request: Request<v1::ListReceiptsRequest>,
    ) -> Result<Response<v1::ListReceiptsResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let store = self.relay().store();
        let record = self.seen(&caller, &request.into_inner().name)?;
        let receipts = store.receipts(&record.digest()).map_err(Problem::from)?;
        let receipts = self.receipts(&receipts);
        Ok(Response::new(v1::ListReceiptsResponse { receipts }))
    }

    async fn export_evidence(
        &self,
        request: Request<v1::ExportEvidenceRequest>,
    ) -> Result<Response<v1::ExportEvidenceResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let record = self.seen(&caller, &request.name)?;
        let purpose = match request.include_payload {
            true => caller.purpose(&request.purpose)?,
            false => String::new(),
        };
        self.note_reading(&caller, "ExportEvidence", &record, purpose).await?;
        let id = record.message_id().ok_or_else(|| Problem::internal("a message without id"))?;
        let bundle = self.relay().evidence(&record.digest(), request.include_payload).await;
        Ok(Response::new(v1::ExportEvidenceResponse {
            bundle: Some(bundle.map_err(Problem::from)?),
            message_id: id.to_string(),
            short_id: id.short().to_string(),
        }))
    }
}

impl Service {
    fn open_stream(&self) -> Result<OwnedSemaphorePermit, Problem> {
        if self.shared.stop.is_cancelled() {
            return Err(Problem::new(Reason::Stopping));
        }
        let permit = std::sync::Arc::clone(&self.shared.streams).try_acquire_owned();
        permit.map_err(|_| Problem::text(Reason::Busy, "too many streams are open"))
    }

    async fn acknowledge(
        &self,
        principal: Principal,
        request: v1::AcknowledgeMessageRequest,
    ) -> Result<v1::AcknowledgeMessageResponse, Problem> {
        let request_id = args::request_id(&request.request_id)?;
        let capacity = match request.capacity() {
            v1::AckCapacity::Handover => Capacity::Handover,
            v1::AckCapacity::Desk => Capacity::Desk,
            v1::AckCapacity::Unspecified => {
                let wanted = "expected HANDOVER (a case system) or DESK (a named officer)";
                return Err(Problem::field(Reason::InvalidContent, "capacity", wanted));
            }
        };
        let by = match capacity {
            Capacity::Handover if request.by.trim().is_empty() => String::new(),
            _ => args::person("by", &request.by)?,
        };
        let store = self.relay().store();
        let record = args::message(store, &request.name)?;
        if record.is_out() {
            let text = "this unit sent the message: only its recipients acknowledge it";
            return Err(Problem::text(Reason::FailedPrecondition, text));
        }
        let digest = record.digest();
        let ack = Acknowledge { principal, request_id, digest, capacity, by };
        let already = match self.relay().acknowledge(ack.clone()).await? {
            AckAnswer::First => false,
            AckAnswer::Later => true,
            // The same answer as the first time: whether it was this caller who took it.
            AckAnswer::Repeated => !store.acknowledgements(&digest)?.iter().any(|made| {
                made.capacity == capacity.number()
                    && made.principal == ack.principal.account
                    && made.by == ack.by
            }),
            AckAnswer::Conflict => return Err(Problem::new(Reason::RequestIdConflict)),
        };
        let event = match capacity {
            Capacity::Handover => v1::Event::ContentHandover,
            Capacity::Desk => v1::Event::ConsignmentAcceptance,
        };
        let receipts = self.receipts(&store.receipts(&digest)?);
        let receipt = receipts.into_iter().find(|receipt| receipt.event() == event);
        let message = Some(self.message(&record, v1::MessageView::Basic)?);
        Ok(v1::AcknowledgeMessageResponse { message, receipt, already_acknowledged: already })
    }
}

/// What waits for a caller that reads slowly; more waits in the store.
const STREAM_BUFFER: usize = 128;
