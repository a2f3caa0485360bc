//! The only place that spawns: named tasks and threads, the stop token, and what a panic means.
//!
//! Enter through [`Tasks`]; a clone is the same set. May not use any other room. Invariant: a task
//! of kind [`TaskKind::Process`] that panics, or ends before the stop token was cancelled, stops
//! the whole node and is kept as [`Tasks::failure`], so that the process exits with status 1; a
//! [`TaskKind::Session`] task ends alone.

use std::{
    any::Any,
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

/// All tasks and threads of one node.
#[derive(Clone, Default)]
pub struct Tasks {
    inner: Arc<Inner>,
}

impl Tasks {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task. It has to end by itself soon after the stop token, or be dropped when the
    /// grace is over.
    pub fn spawn<F>(&self, name: &'static str, kind: TaskKind, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let inner = self.inner.clone();
        let span = tracing::info_span!("task", task = name);
        let task = async move {
            let end = tokio::select! {
                biased;
                end = Guarded(Box::pin(future)) => end,
                () = inner.force.cancelled() => return,
            };
            inner.ended(name, kind, end);
        };
        self.inner.tracker.spawn(task.instrument(span));
    }

    /// Starts an OS thread for work that blocks, as a task of kind `Process`.
    pub fn thread<F>(&self, name: &'static str, run: F) -> io::Result<()>
    where
        F: FnOnce() + Send + 'static,
    {
        let inner = self.inner.clone();
        let running = self.inner.tracker.token();
        let run = move || {
            let _span = tracing::info_span!("thread", thread = name).entered();
            let end = catch_unwind(AssertUnwindSafe(run)).map_err(|panic| text_of(&*panic));
            inner.ended(name, TaskKind::Process, end);
            drop(running);
        };
        // The handle is not joined: the tracker's token says when the thread is done.
        std::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
    }

    /// Cancelled once, when the node is to stop; whoever waits for anything waits for this as well.
    pub fn stop_token(&self) -> CancellationToken {
        self.inner.stop.clone()
    }

    /// Cancelled when the node takes nothing new any more; before the stop token, or with it.
    pub fn drain_token(&self) -> CancellationToken {
        self.inner.drain.clone()
    }

    /// A token of its own that ends with the stop token or alone.
    pub fn child(&self) -> CancellationToken {
        self.inner.stop.child_token()
    }

    /// What stopped the node, when it was not asked to stop.
    pub fn failure(&self) -> Option<&Failure> {
        self.inner.failure.get()
    }

    /// How many session tasks ended by a panic; a metric and an alarm when it grows.
    pub fn session_panics(&self) -> u64 {
        self.inner.session_panics.load(Ordering::Relaxed)
    }

    /// How many tasks and threads run.
    pub fn running(&self) -> usize {
        self.inner.tracker.len()
    }

    /// Cancels the stop token and waits; after `grace` the tasks that are left are dropped. A
    /// thread cannot be dropped and is only counted.
    pub async fn shutdown(&self, grace: Duration) -> Stopped {
        self.inner.stop.cancel();
        self.inner.tracker.close();
        if tokio::time::timeout(grace, self.inner.tracker.wait()).await.is_ok() {
            return Stopped::Clean;
        }
        let left = self.inner.tracker.len();
        tracing::warn!(left, "grace period over, tasks dropped");
        self.inner.force.cancel();
        // Dropping needs each task to be polled once more.
        let _ = tokio::time::timeout(FORCE_WAIT, self.inner.tracker.wait()).await;
        Stopped::Forced { left }
    }
}

/// What the end of a task means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    /// The node cannot do without it: it runs until the stop token.
    Process,
    /// Belongs to one peer or caller and ends alone, also by a panic.
    Session,
}

/// Which process task failed, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task {task} {how}")]
pub struct Failure {
    /// The task's name.
    pub task: &'static str,
    /// A sentence's end: `panicked: …` or `ended unexpectedly`.
    pub how: String,
}

/// How the stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// All tasks ended by themselves.
    Clean,
    /// Some had to be dropped.
    Forced {
        /// How many.
        left: usize,
    },
}

struct Inner {
    tracker: TaskTracker,
    stop: CancellationToken,
    /// A child of `stop`.
    drain: CancellationToken,
    /// Cancelled when the grace is over.
    force: CancellationToken,
    /// The first failure; later ones are only logged.
    failure: OnceLock<Failure>,
    session_panics: AtomicU64,
}

impl Default for Inner {
    fn default() -> Self {
        let stop = CancellationToken::new();
        Self {
            tracker: TaskTracker::new(),
            drain: stop.child_token(),
            stop,
            force: CancellationToken::new(),
            failure: OnceLock::new(),
            session_panics: AtomicU64::new(0),
        }
    }
}

impl Inner {
    fn ended(&self, task: &'static str, kind: TaskKind, end: Result<(), String>) {
        let how = match end {
            Err(text) if kind == TaskKind::Session => {
                self.session_panics.fetch_add(1, Ordering::Relaxed);
                tracing::error!(task, text, "session task panicked");
                return;
            }
            Err(text) => format!("panicked: {text}"),
            Ok(()) if kind == TaskKind::Session || self.drain.is_cancelled() => return,
            Ok(()) => "ended unexpectedly".to_owned(),
        };
        tracing::error!(task, how, "process task failed");
        let _ = self.failure.set(Failure { task, how });
        self.stop.cancel();
    }
}

/// A future whose panic is an `Err` with the panic's text.
struct Guarded<F>(Pin<Box<F>>);

impl<F: Future<Output = ()>> Future for Guarded<F> {
    type Output = Result<(), String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // The future is not polled again after a panic, so no broken state is seen.
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(text_of(&*panic))),
        }
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no text").chars().take(PANIC_CHARS_MAX).collect()
}

/// How long dropped tasks may take to be gone.
const FORCE_WAIT: Duration = Duration::from_secs(1);

/// A panic's text may quote outside data: only its beginning is logged.
const PANIC_CHARS_MAX: usize = 200;

/// Runs work that reads or computes long away from the tasks that serve; nothing when it panicked.
/// It ends with its caller's interest: nobody waits for it at a stop.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// Starts the writer of a simulated store: it belongs to the simulation's runtime and dies with it.
pub fn spawn_simulated<F>(future: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(future);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::{future::pending, sync::mpsc};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// A session's panic is counted and ends nothing else.
    #[tokio::test]
    async fn a_session_panics_alone() {
        let tasks = Tasks::new();
        tasks.spawn("bad", TaskKind::Session, async { panic!("planted {}", 1) });
        while tasks.running() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(tasks.session_panics(), 1);
        assert!(!tasks.stop_token().is_cancelled());
        assert_eq!(tasks.failure(), None);
        assert_eq!(tasks.shutdown(LONG).await, Stopped::Clean);
    }

    /// A process task that panics, or only ends, stops the node; the first one is named.
    #[tokio::test]
    async fn a_process_task_stops_the_node() {
        let tasks = Tasks::new();
        tasks.spawn("writer", TaskKind::Process, async { panic!("planted") });
        tokio::time::timeout(LONG, tasks.stop_token().cancelled()).await.unwrap();
        let failure = tasks.failure().unwrap();
        assert_eq!(failure.to_string(), "task writer panicked: planted");

        let tasks = Tasks::new();
        let child = tasks.child();
        tasks.spawn("accept", TaskKind::Process, async {});
        tokio::time::timeout(LONG, child.cancelled()).await.unwrap();
        assert_eq!(tasks.failure().unwrap().how, "ended unexpectedly");
    }

    /// After the stop token a process task may end, and a session token ends with it but not the
    /// reverse.
    #[tokio::test]
    async fn stopping_is_no_failure() {
        let tasks = Tasks::new();
        let stop = tasks.stop_token();
        tasks.spawn("accept", TaskKind::Process, async move { stop.cancelled().await });
        let child = tasks.child();
        child.cancel();
        assert!(!tasks.stop_token().is_cancelled());
        assert_eq!(tasks.shutdown(LONG).await, Stopped::Clean);
        assert_eq!(tasks.failure(), None);
        assert!(tasks.child().is_cancelled());
    }

    /// What does not end within the grace is dropped, and said.
    #[tokio::test(start_paused = true)]
    async fn stuck_tasks_are_dropped() {
        let tasks = Tasks::new();
        let (alive, dropped) = mpsc::channel::<()>();
        tasks.spawn("stuck", TaskKind::Session, async move {
            let _alive = alive;
            pending::<()>().await;
        });
        assert_eq!(tasks.shutdown(LONG).await, Stopped::Forced { left: 1 });
        assert_eq!(dropped.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        assert_eq!(tasks.failure(), None);
    }

    /// A thread's panic is a process failure; a thread is waited for.
    #[tokio::test]
    async fn threads_are_process_tasks() {
        let tasks = Tasks::new();
        let stop = tasks.stop_token();
        let (go, wait) = mpsc::channel::<()>();
        tasks.thread("store-writer", move || wait.recv().unwrap()).unwrap();
        assert_eq!(tasks.running(), 1);
        drop(go);
        tokio::time::timeout(LONG, stop.cancelled()).await.unwrap();
        assert_eq!(tasks.failure().unwrap().task, "store-writer");
        assert_eq!(tasks.shutdown(LONG).await, Stopped::Clean);
    }
}
