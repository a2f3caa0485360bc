//! The writer's queue: commits wait here for their group, EMERGENCY first.
//!
//! Bounded: whoever wants to commit waits for room. Every class has a reserved share of a batch, so
//! none starves.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use relay_proto::envelope::Priority;
use tokio::sync::{Notify, Semaphore};

use crate::store::txn::Txn;

/// What a commit does once its batch is durable: it wakes whoever waits for the answer.
pub type Done = Box<dyn FnOnce() + Send>;

/// One commit: decides and appends events; runs on the writer.
pub type Job = Box<dyn FnOnce(&mut Txn<'_>) -> Done + Send>;

/// The queue.
pub struct Queue {
    lanes: Mutex<Lanes>,
    filled: Condvar,
    notify: Notify,
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Lanes {
    emergency: VecDeque<Job>,
    urgent: VecDeque<Job>,
    routine: VecDeque<Job>,
    closed: bool,
    writer: Waits,
}

/// What the writer's thread is to be woken for. Waking nobody costs a system call all the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Waits {
    /// It is at work.
    #[default]
    ForNothing,
    /// It gathers more of a group; only what is most urgent ends that.
    ForEmergency,
    /// It has nothing to do.
    ForAnything,
}

impl Queue {
    /// An empty queue.
    pub fn new() -> Self {
        Self {
            lanes: Mutex::default(),
            filled: Condvar::new(),
            notify: Notify::new(),
            room: Arc::new(Semaphore::new(JOBS_MAX)),
        }
    }

    /// Waits for room and queues a job; gives it back when the writer stopped.
    pub async fn push(&self, priority: Priority, job: Job) -> Result<(), Closed> {
        let permit = self.room.acquire().await.map_err(|_| Closed)?;
        permit.forget();
        let mut lanes = self.lock();
        if lanes.closed {
            return Err(Closed);
        }
        match priority {
            Priority::Emergency => lanes.emergency.push_back(job),
            Priority::Urgent => lanes.urgent.push_back(job),
            Priority::Routine => lanes.routine.push_back(job),
        }
        let wake = match lanes.writer {
            Waits::ForNothing => false,
            Waits::ForEmergency => priority == Priority::Emergency,
            Waits::ForAnything => true,
        };
        drop(lanes);
        if wake {
            self.filled.notify_one();
        }
        self.notify.notify_one();
        Ok(())
    }

    /// The next batch, for a writer on a thread. Empty after `wait` without work; `None` once
    /// closed and empty. Under load it lets more of a group gather for a moment: every batch costs
    /// a sync here, and a signature, proofs and packets on the way.
    pub fn pop_batch(&self, wait: Duration, is_busy: bool) -> Option<Vec<Job>> {
        let mut lanes = self.lock();
        if is_busy {
            lanes.writer = Waits::ForEmergency;
            let gathering = |lanes: &mut Lanes| lanes.emergency.is_empty() && !lanes.closed;
            lanes = self.wait(lanes, GATHER, gathering);
        }
        lanes.writer = Waits::ForAnything;
        let idle = |lanes: &mut Lanes| lanes.is_empty() && !lanes.closed;
        lanes = self.wait(lanes, wait, idle);
        lanes.writer = Waits::ForNothing;
        self.take(&mut lanes)
    }

    fn wait<'a>(
        &self,
        lanes: MutexGuard<'a, Lanes>,
        time: Duration,
        condition: impl FnMut(&mut Lanes) -> bool,
    ) -> MutexGuard<'a, Lanes> {
        let waited = self.filled.wait_timeout_while(lanes, time, condition);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// The next batch, for a writer that is a task.
    pub async fn next_batch(&self) -> Option<Vec<Job>> {
        loop {
            let notified = self.notify.notified();
            match self.take(&mut self.lock()) {
                Some(jobs) if jobs.is_empty() => {}
                batch => return batch,
            }
            notified.await;
        }
    }

    /// No more jobs; what is queued is still taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.filled.notify_all();
        self.notify.notify_one();
    }

    /// Takes nothing more and drops what waits, so that whoever waits for an answer is told. Called
    /// when the writer ended, for whatever reason.
    pub fn abandon(&self) {
        self.close();
        let closed = Lanes { closed: true, ..Lanes::default() };
        let waiting = std::mem::replace(&mut *self.lock(), closed);
        // Without the lock: whoever is told may come back at once.
        drop(waiting);
    }

    fn take(&self, lanes: &mut Lanes) -> Option<Vec<Job>> {
        if lanes.is_empty() && lanes.closed {
            return None;
        }
        let jobs = lanes.take();
        self.room.add_permits(jobs.len());
        Some(jobs)
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    fn is_empty(&self) -> bool {
        self.emergency.is_empty() && self.urgent.is_empty() && self.routine.is_empty()
    }

    fn take(&mut self) -> Vec<Job> {
        let routine = self.routine.len().min(BATCH_JOBS_MAX / 16);
        let urgent = self.urgent.len().min(BATCH_JOBS_MAX / 4);
        let emergency = self.emergency.len().min(BATCH_JOBS_MAX - routine - urgent);
        let mut jobs: Vec<Job> = self.emergency.drain(..emergency).collect();
        let more = self.urgent.len().min(BATCH_JOBS_MAX - jobs.len() - routine);
        jobs.extend(self.urgent.drain(..more));
        let more = self.routine.len().min(BATCH_JOBS_MAX - jobs.len());
        jobs.extend(self.routine.drain(..more));
        jobs
    }
}

/// The writer stopped.
#[derive(Debug, Clone, Copy)]
pub struct Closed;

/// Commits that wait: some 4,000 of 1 KiB are 4 MiB.
const JOBS_MAX: usize = 4096;

/// How long a busy writer lets a group gather. A message passes three commits on its way; with
/// some hundred in flight this costs no throughput and saves most of the batches.
const GATHER: Duration = Duration::from_millis(2);

/// Commits of one batch: one write, one sync.
const BATCH_JOBS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn job() -> Job {
        Box::new(|_| Box::new(|| {}))
    }

    /// Under a flood of one class the others still get their share of every batch.
    #[tokio::test]
    async fn no_class_starves() {
        let queue = Queue::new();
        for _ in 0..2000 {
            queue.push(Priority::Emergency, job()).await.unwrap();
        }
        for _ in 0..100 {
            queue.push(Priority::Routine, job()).await.unwrap();
            queue.push(Priority::Urgent, job()).await.unwrap();
        }
        let batch = queue.pop_batch(Duration::ZERO, false).unwrap();
        assert_eq!(batch.len(), BATCH_JOBS_MAX);
        let lanes = queue.lock();
        assert_eq!(lanes.routine.len(), 100 - 64);
        assert_eq!(lanes.urgent.len(), 0);
    }

    /// After closing, what is queued is still written, and nothing new is taken.
    #[tokio::test]
    async fn closing_keeps_what_is_queued() {
        let queue = Queue::new();
        queue.push(Priority::Routine, job()).await.unwrap();
        queue.close();
        assert!(queue.push(Priority::Routine, job()).await.is_err());
        assert_eq!(queue.next_batch().await.unwrap().len(), 1);
        assert!(queue.next_batch().await.is_none());
        assert!(queue.pop_batch(Duration::ZERO, false).is_none());
    }

    /// A busy writer gathers; what is most urgent does not wait for that.
    #[test]
    fn emergency_ends_the_gathering() {
        let queue = Queue::new();
        let push = |priority| {
            let mut lanes = queue.lock();
            match priority {
                Priority::Emergency => lanes.emergency.push_back(job()),
                _ => lanes.routine.push_back(job()),
            }
        };
        push(Priority::Routine);
        push(Priority::Emergency);
        assert_eq!(queue.pop_batch(Duration::MAX, true).unwrap().len(), 2);
        push(Priority::Routine);
        assert_eq!(queue.pop_batch(Duration::MAX, true).unwrap().len(), 1);
    }
}
