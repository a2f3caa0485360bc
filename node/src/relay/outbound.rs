//! One peer's outbox at work: performs what `relay_core::outbox` decides.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use relay_core::outbox::{Action, Entry, Input, Outbox};
use relay_proto::{envelope::Priority, ids::UnitId, timestamp::Timestamp};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::Instant,
};
use tracing::warn;

use super::{Context, alarms::alarm, if_room, peers::Live, sending::Sending};
use crate::{
    store::{StoreError, records::BackoffRecord},
    telemetry::Counter,
    tlog::Hold,
};

/// Serves one peer's outbox until the node stops.
pub(super) async fn run(
    ctx: Arc<Context>,
    unit: UnitId,
    mut inputs: mpsc::UnboundedReceiver<Input>,
    advice: Arc<Semaphore>,
    session: watch::Receiver<Option<Live>>,
) {
    let stop = ctx.parts.tasks.stop_token();
    let bells = ctx.parts.store.bells(&unit);
    let outbox = Outbox::new(ctx.parts.limits.outbox);
    let steady = Steady { start: ctx.now(), since: Instant::now() };
    let sending = Sending::start(&ctx, &unit, session.clone());
    let recovered = BTreeSet::new();
    let mut worker = Worker { outbox, ctx, unit, session, sending, wake: None, steady, recovered };
    if worker.start().await.is_err() {
        return;
    }
    loop {
        let wake = worker.wake.map(|at| at.since(worker.steady.now()));
        let input = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            input = inputs.recv() => input,
            () = bells.outbox.notified() => Some(Input::Woken),
            () = sleep(wake) => Some(Input::Timer),
        };
        let Some(input) = input else { return };
        // Inputs that are there already are taken together: one look at the store serves all that
        // settle something.
        let mut batch = vec![input];
        while batch.len() < INPUTS_MAX
            && let Ok(more) = inputs.try_recv()
        {
            match (batch.last_mut(), more) {
                (Some(Input::Settled(numbers)), Input::Settled(more)) => numbers.extend(more),
                (_, more) => batch.push(more),
            }
        }
        for input in batch {
            if matches!(input, Input::Fault { .. } | Input::Deferred { .. }) {
                advice.add_permits(1);
            }
            if let Input::Settled(numbers) = &input {
                worker.recovered.retain(|number| !numbers.contains(number));
            }
            if let Err(error) = worker.handle(input).await {
                // The store stopped: the daemon ends the process.
                warn!(%error, "outbox stopped");
                return;
            }
        }
    }
}

struct Worker {
    ctx: Arc<Context>,
    unit: UnitId,
    outbox: Outbox,
    session: watch::Receiver<Option<Live>>,
    sending: Sending,
    wake: Option<Timestamp>,
    steady: Steady,
    /// Numbers of entries that are sent again because the peer's log lost their receipts.
    recovered: BTreeSet<u64>,
}

/// The outbox's own time. A step of the clock, ahead or back, neither hurries nor stops what waits;
/// only instants that are kept or shown are the clock's.
struct Steady {
    start: Timestamp,
    since: Instant,
}

impl Steady {
    fn now(&self) -> Timestamp {
        self.start.after(self.since.elapsed())
    }

    /// An instant of the clock. No wait is longer than a deferral may be: the clock was stepped
    /// then.
    fn of(&self, clock: Timestamp, at: Timestamp) -> Timestamp {
        self.now().after(at.since(clock).min(WAIT_MAX))
    }

    /// On the clock.
    fn shown(&self, clock: Timestamp, at: Timestamp) -> Timestamp {
        clock.after(at.since(self.now()))
    }
}

impl Worker {
    async fn start(&mut self) -> Result<(), StoreError> {
        let kept = self.ctx.parts.store.backoff(&self.unit)?.unwrap_or_default();
        // What was a wait of a minute when it was kept is none of a year by a clock that went back.
        let wait = Duration::from_millis(kept.next_try_ms.saturating_sub(kept.at_ms));
        let next_try = Timestamp::from_wire(kept.next_try_ms).map(|at| {
            let now = self.ctx.now();
            self.steady.now().after(at.since(now).min(wait))
        });
        self.handle(Input::Started { attempts: kept.attempts, next_try }).await
    }

    /// Takes an input, performs all that follows from it before the next.
    async fn handle(&mut self, input: Input) -> Result<(), StoreError> {
        let mut inputs = VecDeque::from([match input {
            Input::Deferred { reason, wait, .. } => {
                let shown = Some((reason, self.ctx.now().after(wait)));
                self.ctx.peers.update(&self.unit, |status| status.deferred = shown);
                input
            }
            Input::RetryNow => {
                self.ctx.peers.update(&self.unit, |status| status.deferred = None);
                input
            }
            input => input,
        }]);
        self.wake = None;
        while let Some(input) = inputs.pop_front() {
            let open = self.open()?;
            let random = u32::from_be_bytes(self.ctx.random());
            for action in self.outbox.handle(self.steady.now(), input, open, random) {
                if let Some(next) = self.perform(action).await? {
                    inputs.push_back(next);
                }
            }
        }
        let in_flight = self.outbox.in_flight() as u64;
        self.ctx.peers.update(&self.unit, |status| status.in_flight = in_flight);
        Ok(())
    }

    /// The most urgent priority that waits; nothing waits for a peer that may not be spoken to.
    fn open(&self) -> Result<Option<Priority>, StoreError> {
        if self.ctx.parts.directory.snapshot().verified(&self.unit).is_none() {
            return Ok(None);
        }
        if self.session.borrow().is_some() {
            // Only dialling depends on it.
            return Ok(None);
        }
        if let Some(Hold::Restored { heard, .. }) = self.ctx.parts.tlog.hold()
            && !heard.contains(&self.unit)
        {
            // A restored store signs nothing before it has heard this peer.
            return Ok(Some(Priority::Urgent));
        }
        let waiting = self.ctx.parts.store.most_urgent(&self.unit)?;
        let owed = self.ctx.parts.store.waiting_receipts(&self.unit, 1)?;
        Ok(waiting.or_else(|| owed.first().map(|_| Priority::Routine)))
    }

    async fn perform(&mut self, action: Action) -> Result<Option<Input>, StoreError> {
        let store = &self.ctx.parts.store;
        match action {
            Action::Claim { lane, after, max } => {
                let claimed = store.claim_due(&self.unit, lane, after, max)?;
                let now = self.ctx.now();
                let recovered = claimed.iter().filter(|(_, record)| record.recovered);
                self.recovered.extend(recovered.map(|(entry, _)| entry.number));
                // As with the back-off: no wait is longer than when it was kept.
                let entries = claimed.into_iter().map(|(entry, record)| {
                    let not_before = self.steady.of(now, entry.not_before);
                    let longest = self.steady.now().after(record.wait());
                    Entry { not_before: not_before.min(longest), ..entry }
                });
                let entries = entries.collect();
                return Ok(Some(Input::Claimed { lane, entries, asked: max }));
            }
            Action::Send { lane, number, digest } => {
                self.sending.order(lane, number, digest, self.recovered.contains(&number));
            }
            Action::Dial => {
                if let Some(link) = self.ctx.peers.link() {
                    link.dial(&self.unit);
                }
            }
            Action::SaveBackoff { attempts, next_try, reason } => {
                let now = self.ctx.now();
                let next_try = next_try.map(|at| self.steady.shown(now, at));
                let backoff = (attempts > 0 || next_try.is_some()).then(|| BackoffRecord {
                    attempts,
                    next_try_ms: next_try.map_or(0, Timestamp::as_millis),
                    reason: reason.map(|reason| reason.label().to_owned()).unwrap_or_default(),
                    at_ms: now.as_millis(),
                });
                // Over its quota, or on a full disk, a peer's back-off is kept in memory alone; a
                // restart forgets it.
                if backoff.is_none() || self.ctx.quotas.meter(&self.unit).note() {
                    if_room(store.save_backoff(self.unit.clone(), backoff, now).await)?;
                }
            }
            Action::SaveDeferral { digest, reason, not_before, attempts, .. } => {
                self.ctx.parts.counters.add(Counter::Deferred);
                let (to, now) = (self.unit.to_string(), self.ctx.now());
                let not_before = self.steady.shown(now, not_before);
                // As with the back-off: a peer that defers all day writes no book here.
                if self.ctx.quotas.meter(&self.unit).note() {
                    if_room(store.defer(digest, to, reason, not_before, attempts, now).await)?;
                }
            }
            Action::Wake(at) => {
                self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
            }
            Action::AlarmFaults { digest, reason } => {
                let detail = format!("copies of {digest} are called faulty");
                alarm(&self.ctx, reason, &self.unit, detail).await;
            }
        }
        Ok(None)
    }
}

/// Waits, or for ever when there is nothing to wait for.
pub(super) async fn sleep(wait: Option<Duration>) {
    match wait {
        // A clock in milliseconds may round a wait down to nothing.
        Some(wait) => tokio::time::sleep(wait + Duration::from_millis(1)).await,
        None => std::future::pending().await,
    }
}

/// The longest wait that an instant of the clock can mean.
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// Inputs that are taken together.
const INPUTS_MAX: usize = 512;
