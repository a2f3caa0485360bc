//! The writer's queue: commits wait here for their group, EMERGENCY first.
//!
//! Bounded: whoever wants to commit waits for room. Every class has room of its own, so that no
//! flood of one keeps another waiting at the door, and a reserved share of a batch, so that none
//! starves.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use relay_core::share::PerPriority;
use relay_proto::envelope::Priority;
use tokio::sync::{Notify, Semaphore};

use crate::store::txn::Txn;

/// What a commit does once its batch is durable, or is not because the disk is full: it wakes
/// whoever waits for the answer.
pub type Done = Box<dyn FnOnce(Kept) + Send>;

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is durable.
    Durable,
    /// There was no room for it; nothing of it was kept.
    NoRoom,
}

/// One commit: decides and appends events; runs on the writer.
pub type Job = Box<dyn FnOnce(&mut Txn<'_>) -> Done + Send>;

/// The queue.
pub struct Queue {
    lanes: Mutex<Lanes>,
    filled: Condvar,
    notify: Notify,
    /// Room of each class.
    room: PerPriority<Semaphore>,
}

#[derive(Default)]
struct Lanes {
    jobs: PerPriority<VecDeque<Job>>,
    closed: bool,
    writer: Waits,
}

/// What the writer's thread is to be woken for. Waking nobody costs a system call all the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Waits {
    /// It is at work.
    #[default]
    Nothing,
    /// It gathers more of a group; only what is most urgent ends that.
    Emergencies,
    /// It has nothing to do.
    Anything,
}

impl Queue {
    /// An empty queue.
    pub fn new() -> Self {
        Self {
            lanes: Mutex::default(),
            filled: Condvar::new(),
            notify: Notify::new(),
            room: PerPriority {
                emergency: Semaphore::new(JOBS_MAX / 4),
                urgent: Semaphore::new(JOBS_MAX / 4),
                routine: Semaphore::new(JOBS_MAX / 2),
            },
        }
    }

    /// Waits for room and queues a job; gives it back when the writer stopped.
    pub async fn push(&self, priority: Priority, job: Job) -> Result<(), Closed> {
        let permit = self.room.of(priority).acquire().await.map_err(|_| Closed)?;
        permit.forget();
        let mut lanes = self.lock();
        if lanes.closed {
            return Err(Closed);
        }
        lanes.jobs.of_mut(priority).push_back(job);
        let wake = match lanes.writer {
            Waits::Nothing => false,
            Waits::Emergencies => priority == Priority::Emergency,
            Waits::Anything => true,
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
            lanes.writer = Waits::Emergencies;
            let gathering = |lanes: &mut Lanes| lanes.jobs.emergency.is_empty() && !lanes.closed;
            lanes = self.wait(lanes, GATHER, gathering);
        }
        lanes.writer = Waits::Anything;
        let idle = |lanes: &mut Lanes| lanes.is_empty() && !lanes.closed;
        lanes = self.wait(lanes, wait, idle);
        lanes.writer = Waits::Nothing;
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
        self.room.iter().for_each(|(_, room)| room.close());
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
        let before = PerPriority::new(|priority| lanes.jobs.of(priority).len());
        let jobs = lanes.take();
        for (priority, before) in before {
            let taken = before.saturating_sub(lanes.jobs.of(priority).len());
            self.room.of(priority).add_permits(taken);
        }
        Some(jobs)
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    fn is_empty(&self) -> bool {
        self.jobs.iter().all(|(_, jobs)| jobs.is_empty())
    }

    fn take(&mut self) -> Vec<Job> {
        let PerPriority { emergency, urgent, routine } = &mut self.jobs;
        let kept = routine.len().min(BATCH_JOBS_MAX / 16);
        let less = urgent.len().min(BATCH_JOBS_MAX / 4);
        let most = emergency.len().min(BATCH_JOBS_MAX - kept - less);
        let mut jobs: Vec<Job> = emergency.drain(..most).collect();
        let more = urgent.len().min(BATCH_JOBS_MAX - jobs.len() - kept);
        jobs.extend(urgent.drain(..more));
        let more = routine.len().min(BATCH_JOBS_MAX - jobs.len());
        jobs.extend(routine.drain(..more));
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
        Box::new(|_| Box::new(|_| {}))
    }

    /// Under a flood of one class the others still get their share of every batch.
    #[tokio::test]
    async fn no_class_starves() {
        let queue = Queue::new();
        for _ in 0..1024 {
            queue.push(Priority::Emergency, job()).await.unwrap();
        }
        for _ in 0..100 {
            queue.push(Priority::Routine, job()).await.unwrap();
            queue.push(Priority::Urgent, job()).await.unwrap();
        }
        let batch = queue.pop_batch(Duration::ZERO, false).unwrap();
        assert_eq!(batch.len(), BATCH_JOBS_MAX);
        let lanes = queue.lock();
        assert_eq!(lanes.jobs.routine.len(), 100 - 64);
        assert_eq!(lanes.jobs.urgent.len(), 0);
    }

    /// A class that filled its room waits, the others do not; a batch makes room again.
    #[tokio::test]
    async fn a_flood_keeps_nobody_else_at_the_door() {
        let queue = Queue::new();
        for _ in 0..JOBS_MAX / 2 {
            queue.push(Priority::Routine, job()).await.unwrap();
        }
        let mut waits = Box::pin(queue.push(Priority::Routine, job()));
        assert!(futures_pending(waits.as_mut()).await);
        queue.push(Priority::Emergency, job()).await.unwrap();
        queue.push(Priority::Urgent, job()).await.unwrap();
        assert_eq!(queue.pop_batch(Duration::ZERO, false).unwrap().len(), BATCH_JOBS_MAX);
        waits.await.unwrap();
    }

    async fn futures_pending(future: std::pin::Pin<&mut impl Future>) -> bool {
        let mut future = Some(future);
        std::future::poll_fn(move |context| {
            let polled = future.take().map(|future| future.poll(context).is_pending());
            std::task::Poll::Ready(polled.unwrap_or(false))
        })
        .await
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
            queue.lock().jobs.of_mut(priority).push_back(job());
        };
        push(Priority::Routine);
        push(Priority::Emergency);
        assert_eq!(queue.pop_batch(Duration::MAX, true).unwrap().len(), 2);
        push(Priority::Routine);
        assert_eq!(queue.pop_batch(Duration::MAX, true).unwrap().len(), 1);
    }
}
