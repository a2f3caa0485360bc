//! What drives the engine: a thread for the embedded store, a task for the simulated one.
//!
//! Beside the writer a second thread brings durable changes into the index, proves it durable now
//! and then, and prepares the journal's next segments. Invariant: a failure of either ends the
//! store; nothing is retried.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use relay_proto::timestamp::Timestamp;
use tokio::sync::watch;
use tracing::warn;

use crate::store::{
    Ended, StoreError,
    engine::{Engine, Shared},
    event::{Fact, IndexMark},
    files::{self, Lock},
    index::{IndexError, Tree},
    journal::is_full,
    queue::{Job, Kept, Queue},
    snapshot::Keeper,
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
    let result = result.and_then(|()| finish(engine, &dir));
    if let Err(error) = &result
        && error.is_index_damage()
        && let Err(error) = files::note_unsound(&dir, &error.to_string())
    {
        warn!(%error, "the next start has to find for itself that the index is damaged");
    }
    let ended = end_of(result);
    drop(lock);
    end.send_replace(Some(ended));
}

fn serve(engine: &mut Engine, queue: &Queue, dir: &Path) -> Result<(), StoreError> {
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
        let result = write_loop(engine, queue, dir, || applier.is_finished());
        drop(stopping);
        // A panic in the index: it is only a projection, but this process cannot trust its state.
        let applied = applier.join().unwrap_or(Err(StoreError::IndexDamaged("panicked")));
        result.and(applied)
    })
}

fn write_loop(
    engine: &mut Engine,
    queue: &Queue,
    dir: &Path,
    is_index_gone: impl Fn() -> bool,
) -> Result<(), StoreError> {
    let mut marked = Instant::now();
    let mut keeper = Keeper::open(dir)?;
    let mut noted = 0;
    let (prepared_in, prepared_out) = std::sync::mpsc::channel();
    let mut busy = 0u32;
    while let Some(jobs) = queue.pop_batch(MARK_EVERY, busy > 0) {
        let before = engine.durable_seq();
        match jobs.is_empty() {
            true => drop(engine.shared().space.look()),
            false => engine.commit(jobs)?,
        }
        busy = match engine.durable_seq() - before {
            BUSY_EVENTS.. => BUSY_BATCHES,
            _ => busy.saturating_sub(1),
        };
        if is_index_gone() {
            return Ok(());
        }
        let shared = Arc::clone(engine.shared());
        while shared.is_behind() && shared.may_index() && !is_index_gone() {
            thread::park_timeout(Duration::from_millis(1));
        }
        if marked.elapsed() >= MARK_EVERY {
            engine.mark()?;
            marked = Instant::now();
            note_proven(engine, &mut noted)?;
            keep_snapshots(engine, &mut keeper)?;
        }
        while let Ok(prepared) = prepared_out.try_recv() {
            match prepared {
                Ok(prepared) => {
                    engine.journal().add_prepared(prepared);
                    shared.space.note_prepared();
                }
                Err(error) if is_full(&error) => drop(shared.space.note_full()),
                // The commit that needs the segment says so.
                Err(_) => {}
            }
        }
        if let Some(preparation) = engine.journal().take_preparation()
            && shared.space.may_prepare(preparation.bytes())
        {
            let done = prepared_in.clone();
            thread::spawn(move || done.send(preparation.run()));
        }
        if let Some(work) = shared.space.take_work() {
            thread::spawn(move || {
                if let Err(error) = work.run(RESERVE_PAUSE) {
                    warn!(%error, "reserve not made");
                }
            });
        }
    }
    Ok(())
}

/// Notes in the journal how far the index was proven durable. `noted` is the last such note: what
/// lies between is worth another one, the note itself is not.
fn note_proven(engine: &mut Engine, noted: &mut u64) -> Result<(), StoreError> {
    let seq = engine.shared().proven();
    if seq > *noted {
        engine.commit(vec![index_mark(seq)])?;
        *noted = engine.shared().reader.durable_seq();
    }
    Ok(())
}

fn index_mark(seq: u64) -> Job {
    Box::new(move |txn| {
        txn.push(Timestamp::default(), Fact::IndexMark(IndexMark { seq }), bytes::Bytes::new());
        Box::new(|_| {})
    })
}

/// Begins a snapshot when one is due, and names one that is done.
fn keep_snapshots(engine: &mut Engine, keeper: &mut Keeper) -> Result<(), StoreError> {
    if let Some(work) = keeper.due(engine.shared()) {
        keeper.started(thread::spawn(move || work.run()));
    }
    let Some(taken) = keeper.finished() else { return Ok(()) };
    let seq = taken.seq;
    let (told, kept) = std::sync::mpsc::channel();
    let name: Job = Box::new(move |txn| {
        txn.push(Timestamp::default(), Fact::Snapshotted(taken), bytes::Bytes::new());
        Box::new(move |kept| {
            let _ = told.send(kept);
        })
    });
    engine.commit(vec![name])?;
    if kept.try_recv() == Ok(Kept::Durable) {
        keeper.named(seq);
    }
    Ok(())
}

fn apply_loop(shared: &Shared, stop: &AtomicBool, dir: &Path) -> Result<(), StoreError> {
    let (mut proven, mut due) = (Instant::now(), Instant::now());
    loop {
        let stopping = stop.load(Ordering::Acquire);
        if let Some(detail) = shared.index.unsound() {
            // Whoever read it had an error; from here on nobody is served half of what there is.
            return Err(IndexError::Damaged { detail: detail.to_owned() }.into());
        }
        // Changes gather: what comes and goes within the pause never reaches the index's pages,
        // and what changes often reaches them once.
        let gathered = stopping || due.elapsed() >= APPLY_EVERY || shared.is_worth_applying();
        // An index whose disk fails cannot go on; what waits is in the journal.
        let worked = gathered && shared.may_index() && shared.apply()?;
        if gathered {
            due = Instant::now();
        }
        if gathered && !worked {
            // An index that failed in a thread of its own says so here, also while it has to wait.
            shared.index.get(Tree::Meta, b"anchor")?;
        }
        if proven.elapsed() >= PROVE_EVERY && shared.may_index() {
            prove(shared, dir)?;
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

fn finish(mut engine: Engine, dir: &Path) -> Result<(), StoreError> {
    let shared = Arc::clone(engine.shared());
    if !shared.may_index() {
        // Not a clean end: the next start replays what the index lacks, or all of it.
        return engine.mark();
    }
    let proven = shared.prove()?;
    engine.commit(vec![index_mark(proven)])?;
    write_mark(dir, proven)?;
    engine.close()?;
    Ok(())
}

/// Proves the index durable and moves its mark on. Where there are no descriptors for that, the
/// next time serves.
fn prove(shared: &Shared, dir: &Path) -> Result<(), StoreError> {
    match shared.prove() {
        Err(StoreError::Index(error)) if error.lacks_descriptors() => {
            warn!(%error, "the mark of the index stays");
            Ok(())
        }
        proven => write_mark(dir, proven?),
    }
}

/// Moves the index's mark on. Where there is no room for the new file, or no descriptor, the old
/// one stays: more is replayed at the next start.
fn write_mark(dir: &Path, proven: u64) -> Result<(), StoreError> {
    match files::write_index_mark(dir, proven) {
        Err(error) if error.passes() => warn!(%error, "the mark of the index stays"),
        written => written?,
    }
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
        engine.tend();
        if result.is_err() {
            break;
        }
    }
    queue.close();
    let ended = end_of(result.and_then(|()| Ok(engine.close()?)));
    end.send_replace(Some(ended));
}

fn end_of(result: Result<(), StoreError>) -> Ended {
    match result {
        Ok(()) => Ended::Clean,
        // Files beside the journal are the index's: its mark, its snapshots.
        Err(
            error @ (StoreError::Index(_) | StoreError::IndexDamaged(_) | StoreError::Files(_)),
        ) => Ended::IndexFailed(chain(&error)),
        Err(error) => Ended::Failed(chain(&error)),
    }
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
/// Between two pieces of the reserve that is made: some 100 MB a second at most.
const RESERVE_PAUSE: Duration = Duration::from_millis(10);
/// How long changes gather before they go into the index, when they are few.
const APPLY_EVERY: Duration = Duration::from_secs(1);
/// How often that is looked at.
const APPLY_PAUSE: Duration = Duration::from_millis(50);
/// How often the index is proven durable: bounds the replay after an unclean stop.
const PROVE_EVERY: Duration = Duration::from_secs(30);
