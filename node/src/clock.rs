//! The node's clock: what time it is, and whose word it is that the time is right.
//!
//! Enter through [`Clock::new`]. Every receipt states source, state and bound of the clock that
//! dated it, so a reader of evidence can judge the times. No other room may ask the system for the
//! time of day. Invariant: the state is SYNCED only on the fresh word of a time service or on the
//! operator's own; in doubt it is UNSYNCED, and nothing expires by an unsynced clock.
//!
//! With `kernel` the kernel is asked, and its answer stands. Where it may not be asked, the word
//! comes from the files that the settings name: systemd-timesyncd touches
//! `/run/systemd/timesync/synchronized` at every adjustment, chrony rewrites its drift file while
//! it tracks a source.
//!
//! A demo unit's clock may be put wrong on purpose, by a file ([`shift`]).

mod kernel;
mod shift;

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use relay_proto::{timestamp::Timestamp, v1};

use self::{kernel::Word, shift::ShiftFile};
use crate::config::{ClockSettings, ClockSource};

/// A clock; clones tell the same time.
#[derive(Debug, Clone)]
pub struct Clock {
    source: Source,
    shift: Option<Arc<ShiftFile>>,
}

impl Clock {
    /// The clock that the settings ask for.
    pub fn new(settings: &ClockSettings) -> Self {
        Self::asking(settings, kernel::ask)
    }

    /// The same with another kernel.
    fn asking(settings: &ClockSettings, ask: fn() -> Word) -> Self {
        let source = match settings.source {
            ClockSource::Kernel => Source::Kernel(Arc::new(TimeService {
                ask,
                files: settings.state_files.clone(),
                age_max: settings.state_age_max,
                uncertainty: settings.state_uncertainty,
            })),
            ClockSource::Assumed => Source::Assumed { uncertainty: settings.assumed_uncertainty },
        };
        let shift = settings.shift_file.clone().map(|file| Arc::new(ShiftFile::new(file)));
        Self { source, shift }
    }

    /// A clock that stands still until it is set, for tests and simulation.
    pub fn manual(start: Timestamp) -> (Self, ManualClock) {
        let state = v1::Clock {
            state: v1::ClockState::Synced.into(),
            source: v1::ClockSource::Assumed.into(),
            uncertainty_ms: 1,
        };
        let manual = ManualClock(Arc::new(Mutex::new((start, state))));
        (Self { source: Source::Manual(manual.clone()), shift: None }, manual)
    }

    /// A clock that follows the runtime's own time, for simulations: it tells `start` now, and its
    /// hand puts it wrong.
    pub fn following(start: Timestamp) -> (Self, FollowingClock) {
        let state = stated(v1::ClockSource::Assumed, Duration::from_millis(1));
        let hand = Hand { state, offset_ms: 0 };
        let following = FollowingClock {
            start,
            since: tokio::time::Instant::now(),
            hand: Arc::new(Mutex::new(hand)),
        };
        (Self { source: Source::Following(following.clone()), shift: None }, following)
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        let now = match &self.source {
            Source::Kernel(_) | Source::Assumed { .. } => system_now(),
            Source::Manual(manual) => manual.read().0,
            Source::Following(following) => following.now(),
        };
        self.shift.as_ref().map_or(now, |file| file.read().of(now))
    }

    /// What may be said of [`Clock::now`], as receipts carry it.
    pub fn state(&self) -> v1::Clock {
        let state = match &self.source {
            Source::Kernel(service) => match service.bound(SystemTime::now()) {
                Some(bound) => stated(v1::ClockSource::Kernel, bound),
                None => untrusted(v1::ClockState::Unsynced, v1::ClockSource::Kernel),
            },
            Source::Assumed { uncertainty } => stated(v1::ClockSource::Assumed, *uncertainty),
            Source::Manual(manual) => manual.read().1,
            Source::Following(following) => following.read().state,
        };
        let unsynced = self.shift.as_ref().is_some_and(|file| file.read().unsynced);
        if unsynced { untrusted(v1::ClockState::Unsynced, state.source()) } else { state }
    }

    /// Whether expiry and other decisions may rest on [`Clock::now`].
    pub fn is_synced(&self) -> bool {
        self.state().state() == v1::ClockState::Synced
    }
}

/// The hand on a clock of [`Clock::manual`].
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<(Timestamp, v1::Clock)>>);

impl ManualClock {
    /// Sets the time, also backwards.
    pub fn set(&self, now: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = now;
    }

    /// Lets time pass.
    pub fn step(&self, by: Duration) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0 = inner.0.after(by);
    }

    /// Sets what the clock says of itself.
    pub fn set_state(&self, state: v1::Clock) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = state;
    }

    fn read(&self) -> (Timestamp, v1::Clock) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hand on a clock of [`Clock::following`].
#[derive(Debug, Clone)]
pub struct FollowingClock {
    start: Timestamp,
    since: tokio::time::Instant,
    hand: Arc<Mutex<Hand>>,
}

impl FollowingClock {
    /// Puts the clock wrong by so much, ahead or behind.
    pub fn set_offset_ms(&self, offset_ms: i64) {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner).offset_ms = offset_ms;
    }

    /// Sets what the clock says of itself: an unsynced one has no bound.
    pub fn set_synced(&self, synced: bool) {
        let mut state = stated(v1::ClockSource::Assumed, Duration::from_millis(1));
        if !synced {
            state.state = v1::ClockState::Unsynced.into();
            state.uncertainty_ms = 0;
        }
        self.hand.lock().unwrap_or_else(PoisonError::into_inner).state = state;
    }

    fn now(&self) -> Timestamp {
        let offset = Duration::from_millis(self.read().offset_ms.unsigned_abs());
        let right = self.start.after(self.since.elapsed());
        if self.read().offset_ms < 0 { right.before(offset) } else { right.after(offset) }
    }

    fn read(&self) -> Hand {
        *self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Clone, Copy)]
struct Hand {
    state: v1::Clock,
    offset_ms: i64,
}

#[derive(Debug, Clone)]
enum Source {
    Kernel(Arc<TimeService>),
    Assumed { uncertainty: Duration },
    Manual(ManualClock),
    Following(FollowingClock),
}

#[derive(Debug)]
struct TimeService {
    ask: fn() -> Word,
    files: Vec<PathBuf>,
    age_max: Duration,
    uncertainty: Duration,
}

impl TimeService {
    /// How wrong the clock may be; none: nobody vouches for it.
    fn bound(&self, now: SystemTime) -> Option<Duration> {
        match (self.ask)() {
            Word::Synced(bound) => Some(bound),
            Word::Unsynced => None,
            Word::Refused => self.is_touched(now).then_some(self.uncertainty),
        }
    }

    /// Whether a file was touched lately. One from the future says that the clock was put back
    /// since.
    fn is_touched(&self, now: SystemTime) -> bool {
        self.files.iter().any(|file| {
            let touched = fs::metadata(file).and_then(|metadata| metadata.modified());
            touched
                .ok()
                .and_then(|touched| now.duration_since(touched).ok())
                .is_some_and(|age| age <= self.age_max)
        })
    }
}

/// What is said of a clock that is not trusted: it has no bound.
pub(crate) fn untrusted(state: v1::ClockState, source: v1::ClockSource) -> v1::Clock {
    v1::Clock { state: state.into(), source: source.into(), uncertainty_ms: 0 }
}

fn stated(source: v1::ClockSource, uncertainty: Duration) -> v1::Clock {
    v1::Clock {
        state: v1::ClockState::Synced.into(),
        source: source.into(),
        // A bound is rounded up.
        uncertainty_ms: u32::try_from(uncertainty.as_micros().div_ceil(1000)).unwrap_or(u32::MAX),
    }
}

fn system_now() -> Timestamp {
    // Before 1970 the clock is as wrong as it can be; the epoch says so plainly.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn kernel(file: PathBuf) -> Clock {
        let settings = ClockSettings { state_files: vec![file], ..ClockSettings::default() };
        Clock::asking(&settings, || Word::Refused)
    }

    /// The kernel's answer stands, with its bound rounded up, whatever the files say; the files
    /// count only where it may not be asked.
    #[test]
    fn the_kernel_comes_first() {
        let fresh = tempfile::NamedTempFile::new().unwrap();
        let settings =
            |files: Vec<PathBuf>| ClockSettings { state_files: files, ..Default::default() };
        let state = |files: Vec<PathBuf>, ask| Clock::asking(&settings(files), ask).state();
        let synced = || Word::Synced(Duration::from_micros(2_001));
        let told = state(Vec::new(), synced);
        assert_eq!((told.state(), told.uncertainty_ms), (v1::ClockState::Synced, 3));
        assert_eq!(told.source(), v1::ClockSource::Kernel);
        let files = vec![fresh.path().to_owned()];
        let told = state(files.clone(), || Word::Unsynced);
        assert_eq!((told.state(), told.uncertainty_ms), (v1::ClockState::Unsynced, 0));
        let told = state(files, || Word::Refused);
        assert_eq!((told.state(), told.uncertainty_ms), (v1::ClockState::Synced, 1000));
    }

    /// A fresh file of a time service is its word; a missing, old or future one is none.
    #[test]
    fn only_a_fresh_file_says_synced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("synchronized");
        assert_eq!(kernel(path.clone()).state().state(), v1::ClockState::Unsynced);

        let file = fs::File::create(&path).unwrap();
        let state = kernel(path.clone()).state();
        assert_eq!((state.state(), state.uncertainty_ms), (v1::ClockState::Synced, 1000));
        assert_eq!(state.source(), v1::ClockSource::Kernel);

        file.set_modified(SystemTime::now() - Duration::from_secs(3700)).unwrap();
        let state = kernel(path.clone()).state();
        assert_eq!((state.state(), state.uncertainty_ms), (v1::ClockState::Unsynced, 0));

        file.set_modified(SystemTime::now() + Duration::from_secs(3700)).unwrap();
        assert!(!kernel(path).is_synced());
    }

    /// The operator's word is told as such, with the bound that he gave.
    #[test]
    fn assumed_is_told() {
        let settings = ClockSettings {
            source: ClockSource::Assumed,
            assumed_uncertainty: Duration::from_millis(250),
            ..ClockSettings::default()
        };
        let clock = Clock::new(&settings);
        let state = clock.state();
        assert_eq!(state.source(), v1::ClockSource::Assumed);
        assert_eq!((state.state(), state.uncertainty_ms), (v1::ClockState::Synced, 250));
        assert!(clock.now() > "2024-01-01T00:00:00Z".parse().unwrap());
    }

    /// All clones of a manual clock move with its hand, also backwards.
    #[test]
    fn manual_clocks_obey() {
        let start: Timestamp = "2026-03-02T08:15:00Z".parse().unwrap();
        let (clock, hand) = Clock::manual(start);
        let other = clock.clone();
        hand.step(Duration::from_secs(60));
        assert_eq!(other.now(), start.after(Duration::from_secs(60)));
        hand.set(start.before(Duration::from_secs(60)));
        assert_eq!(clock.now(), start.before(Duration::from_secs(60)));
        hand.set_state(v1::Clock { state: v1::ClockState::Unsynced.into(), ..Default::default() });
        assert!(!other.is_synced());
    }
}
