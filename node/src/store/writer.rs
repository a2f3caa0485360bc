//! What drives the engine: a thread for the embedded store, a task for the simulated one.
//!
//! Beside the writer a second thread brings durable changes into the index, proves it durable now
//! and then, and prepares the journal's next segments. Invariant: a failure of either ends the
//! store; nothing is retried.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use relay_proto::timestamp::Timestamp;
use tokio::sync::watch;

use crate::store::{
    Ended, StoreError,
    engine::Engine,
    event::{Fact, IndexMark},
    files::{self, Lock},
    queue::{Job, Queue},
};

/// Runs the embedded store until its queue is closed or a write fails.
pub fn run(
    mut engine: Engine,
    queue: &Queue,
    dir: PathBuf,
    lock: Lock,
    end: watch::Sender<Option<Ended>>,
) {
    // Also when this thread panics: nobody is left waiting for an answer.
    let _abandon = Abandon(queue);
    // Dropped in reverse: whoever is told of the end finds the lock free.
    let (end, lock) = (end, lock);
    let result = serve(&mut engine, queue, &dir);
    queue.close();
    let ended = match result.and_then(|()| finish(engine, &dir)) {
        Ok(()) => Ended::Clean,
        Err(error) => Ended::Failed(chain(&error)),
    };
    drop(lock);
    end.send_replace(Some(ended));
}

fn serve(engine: &mut Engine, queue: &Queue, dir: &std::path::Path) -> Result<(), StoreError> {
    let shared = Arc::clone(engine.shared());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let applier = scope.spawn(|| {
            let result = apply_loop(&shared, &stop, dir);
            queue.close();
            result
        });
        // Set also when the writer panics: the scope waits for the index's thread.
        let stopping = SetOnDrop(&stop);
        let result = write_loop(engine, queue, || applier.is_finished());
        drop(stopping);
        // A panic in the index: it is only a projection, but this process cannot trust its state.
        let applied = applier.join().unwrap_or(Err(StoreError::IndexDamaged("panicked")));
        result.and(applied)
    })
}

fn write_loop(
    engine: &mut Engine,
    queue: &Queue,
    is_index_gone: impl Fn() -> bool,
) -> Result<(), StoreError> {
    let mut marked = Instant::now();
    let (prepared_in, prepared_out) = std::sync::mpsc::channel();
    let mut busy = 0u32;
    while let Some(jobs) = queue.pop_batch(MARK_EVERY, busy > 0) {
        let before = engine.durable_seq();
        if !jobs.is_empty() {
            engine.commit(jobs)?;
        }
        busy = match engine.durable_seq() - before {
            BUSY_EVENTS.. => BUSY_BATCHES,
            _ => busy.saturating_sub(1),
        };
        if is_index_gone() {
            return Ok(());
        }
        while engine.shared().is_behind() && !is_index_gone() {
            thread::park_timeout(Duration::from_millis(1));
        }
        if marked.elapsed() >= MARK_EVERY {
            engine.mark()?;
            marked = Instant::now();
        }
        while let Ok(prepared) = prepared_out.try_recv() {
            engine.journal().add_prepared(prepared);
        }
        if let Some(preparation) = engine.journal().take_preparation() {
            let done = prepared_in.clone();
            // When it fails for want of room, the commit that needs the segment says so.
            thread::spawn(move || preparation.run().map(|prepared| done.send(prepared)));
        }
    }
    Ok(())
}

fn apply_loop(
    shared: &crate::store::engine::Shared,
    stop: &AtomicBool,
    dir: &std::path::Path,
) -> Result<(), StoreError> {
    let (mut proven, mut due) = (Instant::now(), Instant::now());
    loop {
        let stopping = stop.load(Ordering::Acquire);
        // Changes gather: what comes and goes within the pause never reaches the index's pages,
        // and what changes often reaches them once.
        let gathered = stopping || due.elapsed() >= APPLY_EVERY || shared.is_worth_applying();
        let worked = gathered && shared.apply()?;
        if gathered {
            due = Instant::now();
        }
        if proven.elapsed() >= PROVE_EVERY {
            files::write_index_mark(dir, shared.prove()?)?;
            proven = Instant::now();
        }
        if !worked && stopping {
            return Ok(());
        }
        if !stopping {
            thread::park_timeout(APPLY_PAUSE);
        }
    }
}

fn finish(mut engine: Engine, dir: &std::path::Path) -> Result<(), StoreError> {
    let shared = Arc::clone(engine.shared());
    let proven = shared.prove()?;
    let mark: Job = Box::new(move |txn| {
        let fact = Fact::IndexMark(IndexMark { seq: proven });
        txn.push(Timestamp::default(), fact, bytes::Bytes::new());
        Box::new(|| {})
    });
    engine.commit(vec![mark])?;
    files::write_index_mark(dir, proven)?;
    engine.close()?;
    Ok(())
}

/// Runs the simulated store as a task: same engine, virtual time, no threads.
pub async fn run_simulated(
    mut engine: Engine,
    queue: Arc<Queue>,
    sync_time: Duration,
    end: watch::Sender<Option<Ended>>,
) {
    let _abandon = Abandon(&queue);
    let mut result = Ok(());
    while let Some(jobs) = queue.next_batch().await {
        tokio::time::sleep(sync_time).await;
        result = engine.commit(jobs).and_then(|()| engine.shared().apply().map(drop));
        if result.is_err() {
            break;
        }
    }
    queue.close();
    let ended = match result.and_then(|()| Ok(engine.close()?)) {
        Ok(()) => Ended::Clean,
        Err(error) => Ended::Failed(chain(&error)),
    };
    end.send_replace(Some(ended));
}

/// Sets a flag when it goes.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Lets go of whoever waits, when the writer ends.
struct Abandon<'a>(&'a Queue);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// An error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A batch of so many events means that more are on their way: one message at a time makes three
/// at most.
const BUSY_EVENTS: u64 = 4;
/// For so many batches.
const BUSY_BATCHES: u32 = 32;
/// How often the journal's lazy mark is written.
const MARK_EVERY: Duration = Duration::from_secs(1);
/// How long changes gather before they go into the index, when they are few.
const APPLY_EVERY: Duration = Duration::from_secs(1);
/// How often that is looked at.
const APPLY_PAUSE: Duration = Duration::from_millis(50);
/// How often the index is proven durable: bounds the replay after an unclean stop.
const PROVE_EVERY: Duration = Duration::from_secs(30);
