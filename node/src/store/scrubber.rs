//! The scrub in the background: all of the journal is read again, slowly, round after round, and
//! what is not as it was written is told and kept.
//!
//! Enter through [`Store::keep_scrubbing`]. A round goes from the first segment to the newest one;
//! a stop in order notes how far it came, and the next start goes on there. Invariants: it never
//! reads faster than it may, holds one batch at a time, changes no record, and a record that it
//! finds damaged is not hidden by it: whoever asks for it is refused by its checksums.

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message as _;
use relay_core::quota::Meter;
use relay_proto::{envelope::Priority, reason::Reason, timestamp::Timestamp};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    store::{
        BlobError, NewAlarm, Store, StoreError,
        event::{Event, Fact},
        index::Tree,
        journal::{BodyState, Found, JournalError, Seen},
        records::{DamageRecord, MessageRecord, ScrubRecord, digest_of, key},
    },
    tasks::Tasks,
};

/// How fast and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubSettings {
    /// What is read in a second at most; 0: nothing is scrubbed.
    pub bytes_per_second: u64,
    /// From the beginning of a round to that of the next.
    pub interval: Duration,
}

/// What is known of the scrub.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScrubStatus {
    /// The last round that was read to its end, whenever that was.
    pub last: Option<ScrubRecord>,
    /// The round under way.
    pub running: Option<ScrubRecord>,
    /// What is to be read in all.
    pub bytes_total: u64,
}

impl Store {
    /// Starts the scrub on a thread of its own, if it has anything to do. Call within a runtime.
    pub fn keep_scrubbing(
        &self,
        settings: ScrubSettings,
        now: impl Fn() -> Timestamp + Send + 'static,
        tasks: &Tasks,
    ) -> io::Result<()> {
        if settings.bytes_per_second == 0 || self.dir.is_none() {
            return Ok(());
        }
        let (store, runtime, stop) = (self.clone(), Handle::current(), tasks.stop_token());
        let pauses = Pauses { runtime, stop, owed: Duration::ZERO };
        let mut scrubber = Scrubber { store, settings, now: Box::new(now), pauses };
        tasks.thread("scrub", move || scrubber.run())
    }

    /// The scrub's last result and the round under way.
    pub fn scrub_status(&self) -> Result<ScrubStatus, StoreError> {
        let reader = &self.shared.reader;
        Ok(ScrubStatus {
            last: self.read(|view| view.record(Tree::Meta, key::SCRUB_LAST))?,
            running: self.scrubbing.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            bytes_total: (1..=reader.last_segment()).map(|n| reader.segment_bytes(n)).sum(),
        })
    }
}

/// How long until the next round. One that began under a clock that was ahead says nothing: else
/// nothing would be scrubbed until then.
fn left_until_due(last: Option<&ScrubRecord>, interval: Duration, now: Timestamp) -> Duration {
    let Some(last) = last else { return Duration::ZERO };
    let since = now.as_millis().checked_sub(last.started_at_ms).map(Duration::from_millis);
    since.map_or(Duration::ZERO, |since| interval.saturating_sub(since))
}

/// The round under way, for whoever asks.
pub type Scrubbing = Mutex<Option<ScrubRecord>>;

struct Scrubber {
    store: Store,
    settings: ScrubSettings,
    now: Box<dyn Fn() -> Timestamp + Send>,
    pauses: Pauses,
}

impl Scrubber {
    fn run(&mut self) {
        while self.wait() {
            let round = match self.round() {
                Ok(round) => round,
                Err(error) => {
                    warn!(%error, "scrub round not ended, begun anew later");
                    if !self.pauses.sleep(TRY_AGAIN) {
                        break;
                    }
                    continue;
                }
            };
            let kept = self.pauses.runtime.block_on(self.store.note_scrub(round, (self.now)()));
            if let Err(error) = kept {
                warn!(%error, "result of the scrub not kept");
                if !self.pauses.sleep(TRY_AGAIN) {
                    break;
                }
            }
        }
        *self.shown() = None;
    }

    /// Waits until a round is due; `false` when the node stops.
    fn wait(&self) -> bool {
        loop {
            let now = (self.now)();
            let left = match self.store.scrub_status() {
                Ok(status) => left_until_due(status.last.as_ref(), self.settings.interval, now),
                Err(error) => {
                    warn!(%error, "scrub waits");
                    TRY_AGAIN
                }
            };
            if left.is_zero() {
                return !self.pauses.stop.is_cancelled();
            }
            // The clock may be set: looked at again, and never longer than a whole interval.
            if !self.pauses.sleep(left.min(LOOK_EVERY)) {
                return false;
            }
        }
    }

    /// Reads all segments, or goes on with the round that a stop cut off.
    fn round(&mut self) -> Result<ScrubRecord, StoreError> {
        let store = self.store.clone();
        let begun: Option<ScrubRecord> =
            store.read(|view| view.record(Tree::Meta, key::SCRUB_PART))?;
        let started_at_ms = (self.now)().as_millis();
        let mut done = begun.unwrap_or(ScrubRecord { started_at_ms, ..ScrubRecord::default() });
        let reader = &store.shared.reader;
        while done.segments < reader.last_segment() {
            let number = done.segments + 1;
            let mut pass = Pass { store: &store, record: done.clone(), error: None };
            let bytes = reader.segment_bytes(number);
            let mut pace = |bytes| {
                let mut shown = store.scrubbing.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(shown) = shown.as_mut() {
                    shown.bytes += bytes;
                }
                drop(shown);
                self.pauses.pay(bytes, self.settings.bytes_per_second)
            };
            *store.scrubbing.lock().unwrap_or_else(PoisonError::into_inner) = Some(done.clone());
            let checked = reader
                .forget_cached(number)
                .and_then(|()| reader.check_segment(number, &mut pace, &mut |seen| pass.see(seen)));
            match checked {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(done),
                // The file, or the disk: of this segment, and the others are read all the same.
                Err(error) if error.is_unread() => pass.unread(number, &error),
                Err(error) => return Err(error.into()),
            }
            // What was read makes room again; a fault shows in the next round.
            let _ = reader.forget_cached(number);
            let Pass { record, error, .. } = pass;
            error.map_or(Ok(()), Err)?;
            let known = done.damages.len();
            done = ScrubRecord { segments: number, bytes: done.bytes + bytes, ..record };
            self.tell(done.damages.get(known..).unwrap_or_default())?;
        }
        if !self.attachments(&mut done)? {
            return Ok(done);
        }
        (done.complete, done.ended_at_ms) = (true, (self.now)().as_millis());
        *self.shown() = None;
        info!(
            segments = done.segments,
            records = done.records,
            bytes = done.bytes,
            damages = done.damages.len() as u64 + done.left_out,
            "scrub round ended"
        );
        Ok(done)
    }

    /// Reads all attachments that stored messages list; `false` when the node stops.
    fn attachments(&mut self, done: &mut ScrubRecord) -> Result<bool, StoreError> {
        let blobs = self.store.blobs();
        let mut pace = |bytes| self.pauses.pay(bytes, self.settings.bytes_per_second);
        let checked = match blobs.check(&mut pace) {
            Ok(Some(checked)) => checked,
            Ok(None) => return Ok(false),
            Err(BlobError::Store(error)) => return Err(error),
            Err(error) => {
                warn!(%error, "attachments not all read");
                return Ok(true);
            }
        };
        done.bytes += checked.bytes;
        for sha256 in checked.damaged {
            error!(%sha256, "attachment damaged");
            let detail = format!(
                "attachment {sha256} is not what was written, or gone: put attachments/whole/\
                 {sha256} back from a backup"
            );
            self.alarm(detail)?;
            done.left_out += 1;
        }
        Ok(true)
    }

    /// Each damage is an alarm, until an operator clears it; a later round that finds it still
    /// there raises it again.
    fn tell(&self, damages: &[DamageRecord]) -> Result<(), StoreError> {
        for damage in damages {
            error!(%damage, "journal damaged");
            let detail = format!("{damage}: {REPAIR}");
            self.alarm(detail)?;
        }
        Ok(())
    }

    fn alarm(&self, detail: String) -> Result<(), StoreError> {
        let new = NewAlarm {
            reason: Reason::StoreDamaged,
            peer: self.store.unit().to_string(),
            detail,
            evidence: Bytes::new(),
            now: (self.now)(),
        };
        self.pauses.runtime.block_on(self.store.alarm_once(new, Meter::unlimited()))
    }

    fn shown(&self) -> std::sync::MutexGuard<'_, Option<ScrubRecord>> {
        self.store.scrubbing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    async fn note_scrub(&self, round: ScrubRecord, now: Timestamp) -> Result<(), StoreError> {
        self.commit(Priority::Routine, move |txn| {
            txn.push(now, Fact::Scrubbed(round), Bytes::new());
            Ok(())
        })
        .await
    }
}

/// One segment of a round.
struct Pass<'a> {
    store: &'a Store,
    record: ScrubRecord,
    error: Option<StoreError>,
}

impl Pass<'_> {
    fn see(&mut self, seen: Seen<'_>) {
        match seen {
            Seen::Damage(found) => self.found(&found),
            Seen::Event { segment, seq, offset, meta, body } => {
                self.record.records += 1;
                let damage = |what: &str| DamageRecord {
                    what: what.to_owned(),
                    segment,
                    offset,
                    seq,
                    last_seq: seq,
                    ..DamageRecord::default()
                };
                let Ok(event) = Event::decode(meta) else {
                    return self.keep(damage("event unreadable"), None);
                };
                let message = message_of(&event);
                let is_ordered = message.is_some_and(|message| self.is_ordered_gone(message));
                if body != BodyState::Sound && !is_ordered {
                    self.keep(damage(BODY), message);
                }
            }
        }
    }

    fn found(&mut self, found: &Found) {
        // Which message it was, the index may still say.
        let record = |seq: u64| {
            self.store.read(|view| {
                let digest = view.get(Tree::Timeline, &seq.to_be_bytes())?;
                digest.map_or(Ok(None), |digest| view.message(&digest_of(&digest)))
            })
        };
        let mut told = false;
        for seq in (found.seq..=found.last_seq).take(NAMED_MAX) {
            match record(seq) {
                Ok(Some(message)) => {
                    let one = Found { seq, last_seq: seq, ..*found };
                    self.keep(DamageRecord::of(&one), Some(&message));
                    told = true;
                }
                Ok(None) => {}
                Err(error) => self.error = Some(error),
            }
        }
        if !told {
            self.keep(DamageRecord::of(found), None);
        }
    }

    /// The file cannot be opened, or the disk gives nothing of it.
    fn unread(&mut self, segment: u64, error: &JournalError) {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        let what = format!("cannot be read ({})", cause.unwrap_or_default());
        let seq = self.store.shared.reader.seq_before(segment) + 1;
        self.keep(DamageRecord { what, segment, seq, ..DamageRecord::default() }, None);
    }

    fn keep(&mut self, mut damage: DamageRecord, message: Option<&MessageRecord>) {
        if let Some(message) = message {
            damage.name(message);
        }
        match self.record.damages.len() < DAMAGES_MAX {
            true => self.record.damages.push(damage),
            false => self.record.left_out += 1,
        }
    }

    fn is_ordered_gone(&mut self, message: &MessageRecord) -> bool {
        match self.store.erased(&message.digest()) {
            Ok(order) => order.is_some(),
            Err(error) => {
                self.error = Some(error);
                true
            }
        }
    }
}

/// A body that is neither what was written nor ordered to be erased.
pub const BODY: &str = "body is not what was written";

/// The message that an event stored.
pub fn message_of(event: &Event) -> Option<&MessageRecord> {
    match event.fact.as_ref()? {
        Fact::Submitted(fact) => fact.record.as_ref(),
        Fact::Arrived(fact) => fact.record.as_ref(),
        _ => None,
    }
}

/// Sleeps that the node's stop ends.
struct Pauses {
    runtime: Handle,
    stop: CancellationToken,
    /// How long was not slept yet.
    owed: Duration,
}

impl Pauses {
    /// Waits as long as reading so much takes at most; `false` when the node stops.
    fn pay(&mut self, bytes: u64, per_second: u64) -> bool {
        let nanos = bytes.saturating_mul(1_000_000_000) / per_second.max(1);
        self.owed += Duration::from_nanos(nanos);
        if self.owed < PAUSE_MIN {
            return !self.stop.is_cancelled();
        }
        let begun = Instant::now();
        let goes_on = self.sleep(self.owed);
        // A sleep that took longer is taken off the next one.
        self.owed = self.owed.saturating_sub(begun.elapsed());
        goes_on
    }

    fn sleep(&self, wait: Duration) -> bool {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => false,
                () = tokio::time::sleep(wait) => true,
            }
        })
    }
}

/// What helps where a record cannot be read.
pub const REPAIR: &str =
    "copy node.dir, then stop the node and run relay-node repair --config FILE";

/// Shorter sleeps are not worth waking up for.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// How often a wait for the next round looks at the clock.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// After a round that the store or the disk cut short.
const TRY_AGAIN: Duration = Duration::from_secs(60);
/// Damages of one round that are kept; more are counted.
const DAMAGES_MAX: usize = 100;
/// Messages of one damaged batch that are named.
const NAMED_MAX: usize = 256;

#[cfg(test)]
impl Store {
    /// One round at once, on a thread that is none of the runtime's.
    pub(super) fn scrub_round(
        &self,
        now: Timestamp,
        runtime: Handle,
    ) -> Result<ScrubRecord, StoreError> {
        let settings = ScrubSettings { bytes_per_second: u64::MAX, interval: Duration::ZERO };
        let stop = CancellationToken::new();
        let pauses = Pauses { runtime, stop, owed: Duration::ZERO };
        Scrubber { store: self.clone(), settings, now: Box::new(move || now), pauses }.round()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that was years ahead and is right again does not keep the scrub waiting.
    #[test]
    fn a_round_is_due_after_its_interval_and_under_a_clock_set_back() {
        let interval = Duration::from_secs(3600);
        let now = Timestamp::from_millis(1_800_000_000_000);
        let left = |started_at_ms: u64| {
            let last = ScrubRecord { started_at_ms, ..ScrubRecord::default() };
            left_until_due(Some(&last), interval, now)
        };
        assert_eq!(left_until_due(None, interval, now), Duration::ZERO);
        assert_eq!(left(now.as_millis()), interval);
        assert_eq!(left(now.as_millis() - 1000), interval - Duration::from_secs(1));
        assert_eq!(left(now.as_millis() - 3_600_000), Duration::ZERO);
        assert_eq!(left(now.as_millis() - 36_000_000), Duration::ZERO);
        for ahead_ms in [1, 60_000, 5 * 365 * 86_400_000] {
            assert_eq!(left(now.as_millis() + ahead_ms), Duration::ZERO, "{ahead_ms} ms ahead");
        }
    }
}
