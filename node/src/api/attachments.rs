//! AttachmentService: files come before the message that lists them, and are given to whoever reads
//! it.
//!
//! Invariants: nothing is answered as whole that is not durable and compared with its digest; what
//! is given was compared before its first byte; a file is asked for by the message that lists it,
//! never by its digest alone.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use relay_proto::{
    attachment::Item,
    envelope::Priority,
    ids::Digest,
    limits,
    reason::Reason,
    v1::{self, attachment_service_server::AttachmentService},
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::{Service, access::Caller, status::Problem};
use crate::{
    store::{Begun, Owner, Part, records::MessageRecord},
    tasks::TaskKind,
};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AttachmentService for Service {
    type UploadAttachmentStream = Answers<v1::Upload>;
    type DownloadAttachmentStream = Answers<v1::DownloadAttachmentResponse>;

    async fn get_upload(
        &self,
        request: Request<v1::GetUploadRequest>,
    ) -> Result<Response<v1::Upload>, Status> {
        let v1::GetUploadRequest { sha256, size } = request.into_inner();
        let item = self.item(&sha256, size)?;
        let durable = self.relay().store().blobs().durable(Owner::local(), item).await;
        let durable = durable.map_err(Problem::from)?;
        // A part that has all bytes and was not compared yet is not whole.
        let whole = durable == size
            && self
                .relay()
                .store()
                .blobs()
                .missing(vec![item])
                .await
                .map_err(Problem::from)?
                .is_none();
        Ok(Response::new(answer(&item, durable, whole)))
    }

    async fn upload_attachment(
        &self,
        request: Request<Streaming<v1::UploadAttachmentRequest>>,
    ) -> Result<Response<Self::UploadAttachmentStream>, Status> {
        let place = self.transfer()?;
        let requests = request.into_inner();
        let (answers, answered) = mpsc::channel(ANSWERS);
        let service = self.clone();
        self.shared.tasks.spawn("api-upload", TaskKind::Session, async move {
            let stop = service.shared.stop.clone();
            let ended = tokio::select! {
                biased;
                () = stop.cancelled() => Err(Problem::new(Reason::Stopping)),
                () = answers.closed() => return,
                ended = service.take(requests, &answers) => ended,
            };
            drop(place);
            let _ = answers.send(ended.map_err(Status::from)).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answered))))
    }

    async fn download_attachment(
        &self,
        request: Request<v1::DownloadAttachmentRequest>,
    ) -> Result<Response<Self::DownloadAttachmentStream>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let place = self.transfer()?;
        let (record, item) = self.listed(&caller, &request)?;
        let purpose = caller.purpose(&request.purpose)?;
        self.note_reading(&caller, "DownloadAttachment", &record, purpose).await?;
        let whole = self.relay().store().blobs().open(item).await.map_err(Problem::from)?;
        let (answers, answered) = mpsc::channel(ANSWERS);
        self.shared.tasks.spawn("api-download", TaskKind::Session, async move {
            let _place = place;
            let mut offset = request.offset;
            while offset < item.size {
                let chunk = match whole.piece(offset).await {
                    Ok(chunk) => chunk,
                    Err(error) => {
                        let _ = answers.send(Err(Problem::from(error).into())).await;
                        return;
                    }
                };
                offset += chunk.len() as u64;
                let sent = answers.send(Ok(v1::DownloadAttachmentResponse { chunk }));
                // A caller that reads nothing does not keep its place.
                if !matches!(tokio::time::timeout(IDLE_MAX, sent).await, Ok(Ok(()))) {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answered))))
    }
}

impl Service {
    fn transfer(&self) -> Result<OwnedSemaphorePermit, Problem> {
        if self.shared.stop.is_cancelled() {
            return Err(Problem::new(Reason::Stopping));
        }
        let place = Arc::clone(&self.shared.transfers).try_acquire_owned();
        place.map_err(|_| Problem::text(Reason::Busy, "too many attachments come and go at once"))
    }

    /// Which file, within what any profile of ours allows.
    fn item(&self, sha256: &[u8], size: u64) -> Result<Item, Problem> {
        let sha256 = Digest::from_bytes(sha256)
            .map_err(|_| Problem::field(Reason::Malformed, "sha256", "expected 32 bytes"))?;
        let max = self.relay().attachment_bytes_max();
        if size == 0 {
            return Err(Problem::field(Reason::InvalidContent, "size", "is missing"));
        }
        if size > max {
            let text = format!("is over the {max} bytes that the profiles here allow");
            return Err(Problem::field(Reason::TooLarge, "size", text));
        }
        Ok(Item { sha256, size })
    }

    /// The file, if the message lists it.
    fn listed(
        &self,
        caller: &Caller,
        request: &v1::DownloadAttachmentRequest,
    ) -> Result<(MessageRecord, Item), Problem> {
        let record = self.seen(caller, &request.name)?;
        let mut listed = record.attachments.iter();
        let found = listed.find(|one| one.sha256 == request.sha256).map(|one| one.item());
        let text = "the message lists no attachment of this digest";
        let item = found.ok_or_else(|| Problem::text(Reason::NotFound, text))?;
        if request.offset > item.size {
            return Err(Problem::field(Reason::Malformed, "offset", "is behind its end"));
        }
        Ok((record, item))
    }

    async fn take(
        &self,
        mut requests: Streaming<v1::UploadAttachmentRequest>,
        answers: &mpsc::Sender<Result<v1::Upload, Status>>,
    ) -> Result<v1::Upload, Problem> {
        use v1::upload_attachment_request::Step;
        let begin = match next(&mut requests).await? {
            Some(Step::Begin(begin)) => begin,
            _ => return Err(Problem::text(Reason::Malformed, "expected `begin` first")),
        };
        let item = self.item(&begin.sha256, begin.size)?;
        let blobs = self.relay().store().blobs();
        // The message may be more urgent than others: so long as these are taken, files are.
        let mut part = match blobs.begin(Owner::local(), item, Priority::Urgent).await? {
            Begun::Whole => return Ok(answer(&item, item.size, true)),
            Begun::Part(part) => *part,
        };
        if begin.offset != part.offset() {
            let text = format!("is {}, durable are {} bytes", begin.offset, part.offset());
            let problem = Problem::field(Reason::FailedPrecondition, "offset", text);
            return Err(problem.with("durable_bytes", part.offset().to_string()));
        }
        let _ = answers.send(Ok(answer(&item, part.offset(), false))).await;
        while part.left() > 0 {
            part = match next(&mut requests).await? {
                Some(Step::Chunk(chunk)) => write(part, chunk).await?,
                Some(Step::Begin(_)) => {
                    return Err(Problem::text(Reason::Malformed, "`begin` came twice"));
                }
                None => {
                    let text = "the stream ended before the file did: go on where it was cut off";
                    return Err(Problem::text(Reason::FailedPrecondition, text));
                }
            };
        }
        part.finish().await?;
        Ok(answer(&item, item.size, true))
    }
}

async fn write(part: Part, chunk: Bytes) -> Result<Part, Problem> {
    if chunk.len() > limits::CHUNK_BYTES_MAX {
        let text = format!("is over {} bytes", limits::CHUNK_BYTES_MAX);
        return Err(Problem::field(Reason::TooLarge, "chunk", text));
    }
    Ok(part.write(chunk).await?)
}

/// The next step of an upload; whoever sends nothing does not keep his place.
async fn next(
    requests: &mut Streaming<v1::UploadAttachmentRequest>,
) -> Result<Option<v1::upload_attachment_request::Step>, Problem> {
    let next = tokio::time::timeout(IDLE_MAX, requests.message()).await;
    let next = next.map_err(|_| Problem::text(Reason::Busy, "nothing came for a minute"))?;
    let lost = |_| Problem::text(Reason::FailedPrecondition, "the upload was cut off");
    match next.map_err(lost)? {
        None => Ok(None),
        Some(v1::UploadAttachmentRequest { step: Some(step) }) => Ok(Some(step)),
        Some(_) => Err(Problem::text(Reason::Malformed, "a step of an upload is empty")),
    }
}

fn answer(item: &Item, durable_bytes: u64, whole: bool) -> v1::Upload {
    let sha256 = Bytes::copy_from_slice(item.sha256.as_bytes());
    v1::Upload { sha256, size: item.size, durable_bytes, whole }
}

/// Attachments that come and go at once, all callers together: each holds a piece in memory.
pub(super) const TRANSFERS_MAX: usize = 16;

/// Pieces that wait for a caller.
const ANSWERS: usize = 2;

/// How long a caller may neither send nor read.
const IDLE_MAX: Duration = Duration::from_secs(60);
