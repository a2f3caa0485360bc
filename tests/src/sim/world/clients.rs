//! The clients of a run: they send, repeat what was not answered, take what arrived, and remember
//! what they were told.

use std::sync::{Arc, Mutex, PoisonError};

use relay_node::{
    relay::{
        Relay,
        acknowledge::{Acknowledge, Capacity},
        submit::{Principal, Submission, SubmitError},
    },
    store::{AckAnswer, StoreError},
};
use relay_proto::{
    ids::{Digest, Uuid},
    reason::Reason,
    v1,
};

use super::{Machine, World};
use crate::sim::{check::Violation, fixture::START, plan::Send};

/// What a client wants sent.
pub(super) struct Request {
    pub(super) send: Send,
    pub(super) draft: v1::Draft,
    pub(super) asked: bool,
    /// The answer, once there is one that stands.
    pub(super) end: Option<Result<Digest, String>>,
}

/// Answers come on tasks of their own and wait here for the next look.
pub(super) type Answers = Arc<Mutex<Vec<Answer>>>;

pub(super) enum Answer {
    Submitted(usize, Result<Digest, SubmitError>),
    Acknowledged { node: usize, digest: Digest, desk: bool, answer: Result<AckAnswer, StoreError> },
}

impl World<'_> {
    pub(super) fn draft(&self, send: &Send) -> v1::Draft {
        let draft = if send.request { &self.fixture.request } else { &self.fixture.alert };
        let mut draft = draft.clone();
        let units = send.to.iter().filter_map(|place| self.fixture.units.get(*place));
        draft.to = units.map(|unit| unit.id.to_string()).collect();
        draft.priority = send.priority;
        let now = START.as_millis() + self.trace.elapsed_ms();
        draft.expire_time = send.lifetime_s.map(|seconds| prost_types::Timestamp {
            // The node's clock may be behind by a moment: one second more keeps the minimum.
            seconds: i64::try_from(now / 1_000 + seconds + 1).unwrap_or(i64::MAX),
            nanos: 0,
        });
        if let Some(payload) = &mut draft.payload {
            "proceedings wait for it".clone_into(&mut payload.urgency_reason);
        }
        draft
    }

    /// A client sends its request, or repeats it.
    pub(super) fn ask(&mut self, number: usize) {
        let Some(request) = self.requests.get_mut(number) else { return };
        request.asked = false;
        let Some(relay) = relay_of(&self.machines, request.send.node) else { return };
        request.asked = true;
        let submission = Submission {
            principal: Principal::new("test", "uid:1000"),
            request_id: Uuid::random((number as u128 + 1).to_be_bytes()),
            draft: request.draft.clone(),
            validate_only: false,
            etag: String::new(),
            granted: None,
        };
        let answers = Arc::clone(&self.answers);
        tokio::spawn(async move {
            let answer = relay.submit(vec![submission]).await.pop();
            let answer = answer.unwrap_or(Err(SubmitError::Store(StoreError::Stopped)));
            let answer = Answer::Submitted(number, answer.map(|submitted| submitted.digest));
            answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
        });
    }

    pub(super) fn acknowledge(&mut self, node: usize, request: u64, digest: Digest, desk: bool) {
        let Some(relay) = relay_of(&self.machines, node) else { return };
        let ack = Acknowledge {
            principal: Principal::new("test", "uid:1000"),
            request_id: Uuid::random((u128::from(request) + 1_000_000).to_be_bytes()),
            digest,
            capacity: if desk { Capacity::Desk } else { Capacity::Handover },
            by: if desk { "Insp. Valtonen".to_owned() } else { String::new() },
        };
        let answers = Arc::clone(&self.answers);
        tokio::spawn(async move {
            let answer = relay.acknowledge(ack).await;
            let answer = Answer::Acknowledged { node, digest, desk, answer };
            answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
        });
    }

    pub(super) fn take_answers(&mut self) -> Result<(), Violation> {
        let answers =
            std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner));
        for answer in answers {
            match answer {
                Answer::Submitted(number, answer) => self.submitted(number, answer)?,
                Answer::Acknowledged { node, digest, desk, answer } => {
                    let text = format!("{node} acknowledged {digest} {desk}: {answer:?}");
                    self.trace.text(text);
                    if matches!(answer, Ok(AckAnswer::First)) {
                        self.checker.promised_ack(node, digest, desk)?;
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn submitted(
        &mut self,
        number: usize,
        answer: Result<Digest, SubmitError>,
    ) -> Result<(), Violation> {
        let Some(request) = self.requests.get_mut(number) else { return Ok(()) };
        let text = match &answer {
            Ok(digest) => format!("request {number} is {digest}"),
            Err(SubmitError::Content(faults)) => format!("request {number}: {faults:?}"),
            Err(error) => format!("request {number}: {error}"),
        };
        self.trace.text(text);
        let node = request.send.node;
        match answer {
            Ok(digest) => {
                if let Some(Ok(before)) = &request.end
                    && *before != digest
                {
                    let text = format!("request {number} was {before} and is {digest}");
                    return Err(Violation::new("I2", node, text));
                }
                request.end = Some(Ok(digest));
                let to = request.draft.to.clone();
                self.checker.promised(node, digest, to);
            }
            Err(error) if again(&error) => request.asked = false,
            Err(error) => {
                if let Some(Ok(before)) = &request.end {
                    let text = format!("request {number} was {before} and is refused: {error}");
                    return Err(Violation::new("I1", node, text));
                }
                // A request that never stood: its client gives up.
                request.end = Some(Err(error.to_string()));
            }
        }
        Ok(())
    }

    /// Somebody takes all that waits, so that what an inbox keeps out may come in.
    pub(super) fn take_all(&mut self) {
        for place in 0..self.machines.len() {
            for (nth, digest) in self.checker.untaken(place).into_iter().enumerate() {
                let request = 1_000 * (self.trace.elapsed_ms() + 1) + nth as u64;
                self.acknowledge(place, request, digest, true);
            }
        }
    }
}

/// Whether a client repeats after this answer.
fn again(error: &SubmitError) -> bool {
    matches!(error.reason(), Reason::StoreStopped | Reason::QueueFull | Reason::StorageFull)
}

fn relay_of(machines: &[Machine], place: usize) -> Option<Relay> {
    let life = machines.get(place)?.life.as_ref()?;
    Some(life.node.relay().clone())
}
