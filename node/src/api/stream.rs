//! Taking messages in bulk: SendMessages. What is ready at once becomes one commit; many commits
//! may wait.
//!
//! Invariant: each request gets one answer; a faulty one disturbs no other and does not end the
//! stream.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use bytes::Bytes;
use relay_core::share::PerPriority;
use relay_proto::{envelope::Priority, reason::Reason, v1};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::Stream;
use tonic::Status;

use super::{Service, access::Caller, send::sent, status::Problem};
use crate::{
    relay::submit::{Submission, priority_of},
    tasks::TaskKind,
};

type Answer = Result<v1::SendMessagesResponse, Status>;

impl Service {
    /// Reads requests until the caller ends, then answers what is left.
    pub(super) async fn send_all<S>(
        self,
        caller: Caller,
        requests: S,
        answers: mpsc::Sender<Answer>,
        _stream: OwnedSemaphorePermit,
    ) where
        S: Stream<Item = Result<v1::SendMessageRequest, Status>>,
    {
        let mut requests = pin!(requests);
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        loop {
            let (batch, end) = tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => {
                    (Vec::new(), Some(Some(Problem::new(Reason::Stopping).into())))
                }
                () = answers.closed() => return,
                read = ready(requests.as_mut()) => read,
            };
            for (priority, batch) in by_priority(batch) {
                let count = u32::try_from(batch.len()).unwrap_or(u32::MAX);
                // Both waits hold the reader back, and by HTTP/2's flow control the caller.
                let own = Arc::clone(&in_flight).acquire_many_owned(count).await;
                let all = self.shared.submissions.enter(priority, count).await;
                let (service, caller) = (self.clone(), caller.clone());
                let answers = answers.clone();
                self.shared.tasks.spawn("api-send", TaskKind::Session, async move {
                    let _own = own;
                    service.send_batch(&caller, batch, &answers, all).await;
                });
            }
            let Some(error) = end else { continue };
            // All answers first, then the end.
            let all = u32::try_from(IN_FLIGHT_MAX).unwrap_or(u32::MAX);
            let _all = in_flight.acquire_many(all).await;
            if let Some(status) = error {
                let _ = answers.send(Err(status)).await;
            }
            return;
        }
    }

    async fn send_batch(
        &self,
        caller: &Caller,
        batch: Vec<v1::SendMessageRequest>,
        answers: &mpsc::Sender<Answer>,
        places: OwnedSemaphorePermit,
    ) {
        let mut ids: Vec<String> = Vec::with_capacity(batch.len());
        let mut submissions: Vec<Submission> = Vec::with_capacity(batch.len());
        let mut faulty = Vec::new();
        for request in batch {
            let id = request.request_id.clone();
            match self.submission(caller, request).await {
                Ok(submission) => {
                    ids.push(id);
                    submissions.push(submission);
                }
                Err(problem) => faulty.push((id, problem)),
            }
        }
        let results = self.relay().submit(submissions).await;
        // A caller that does not read its answers waits for itself alone.
        drop(places);
        for (id, problem) in faulty {
            answer(answers, id, Err(problem)).await;
        }
        for (id, result) in ids.into_iter().zip(results) {
            let result = result.map(|submitted| sent(&submitted)).map_err(Problem::from);
            answer(answers, id, result).await;
        }
    }
}

async fn answer(answers: &mpsc::Sender<Answer>, id: String, result: Result<v1::Sent, Problem>) {
    use v1::send_messages_response::Outcome;
    let outcome = match result {
        Ok(sent) => Outcome::Sent(sent),
        // The details of a status are an encoded google.rpc.Status.
        Err(problem) => Outcome::Status(Bytes::copy_from_slice(Status::from(problem).details())),
    };
    // A caller that is gone asks again by request id.
    let _ =
        answers.send(Ok(v1::SendMessagesResponse { request_id: id, outcome: Some(outcome) })).await;
}

/// A batch by priority, the most urgent first: each is a commit of its own, so EMERGENCY waits for
/// no place of ROUTINE's.
fn by_priority(
    batch: Vec<v1::SendMessageRequest>,
) -> impl Iterator<Item = (Priority, Vec<v1::SendMessageRequest>)> {
    let mut all = PerPriority::<Vec<_>>::default();
    for request in batch {
        let priority = request.draft.as_ref().map_or(Priority::Routine, priority_of);
        all.of_mut(priority).push(request);
    }
    all.into_iter().filter(|(_, batch)| !batch.is_empty())
}

/// What ended a stream of requests: its end, or a fault of the transport.
type End = Option<Option<Status>>;

/// Waits for one request and takes all that are there with it.
async fn ready<S>(mut requests: Pin<&mut S>) -> (Vec<v1::SendMessageRequest>, End)
where
    S: Stream<Item = Result<v1::SendMessageRequest, Status>>,
{
    let mut batch = Vec::new();
    poll_fn(|context| {
        while batch.len() < BATCH_MAX {
            match requests.as_mut().poll_next(context) {
                Poll::Ready(Some(Ok(request))) => batch.push(request),
                Poll::Ready(Some(Err(status))) => {
                    return Poll::Ready((std::mem::take(&mut batch), Some(Some(status))));
                }
                Poll::Ready(None) => return Poll::Ready((std::mem::take(&mut batch), Some(None))),
                Poll::Pending if batch.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready((std::mem::take(&mut batch), None))
    })
    .await
}

/// Messages of one commit.
const BATCH_MAX: usize = 128;

/// Messages of one stream without answer.
const IN_FLIGHT_MAX: usize = 1024;
