//! How much one peer may cause here in an hour: the disk of a node does not grow by what a peer
//! repeats, contradicts or gets wrong, and no peer makes all of its mail EMERGENCY.
//!
//! Enter through [`Meter`], one a peer; the relay and the store's commits count with it. Time is an
//! argument, and a monotonic one: no step of a clock gives anybody a new hour. Invariants: within
//! an hour no more is granted than its quota; what is over it is counted, and told once.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use relay_proto::envelope::Priority;

/// The quotas of each peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Messages an hour that are carried as EMERGENCY; more go as URGENT.
    pub emergency_per_hour: u32,
    /// Messages an hour that are carried as URGENT; more go as ROUTINE.
    pub urgent_per_hour: u32,
    /// RelayRejections an hour; more are deferrals.
    pub refusals_per_hour: u32,
    /// Alarms an hour; more are counted, and one says so. Beside them as many contradicting
    /// receipts, and as many forks of a log with their proofs.
    pub alarms_per_hour: u32,
    /// Notes an hour in the journal that bring no message: receipts owed once more, deferrals,
    /// back-offs, checkpoints without a new receipt. Beside them as many groups of receipts that
    /// were confirmed before or go again on one session.
    pub notes_per_hour: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            emergency_per_hour: 60,
            urgent_per_hour: 600,
            refusals_per_hour: 600,
            alarms_per_hour: 60,
            notes_per_hour: 10_000,
        }
    }
}

impl Settings {
    /// No bound at all: for what no peer causes, and for tests of other things.
    pub const UNLIMITED: Self = Self {
        emergency_per_hour: u32::MAX,
        urgent_per_hour: u32::MAX,
        refusals_per_hour: u32::MAX,
        alarms_per_hour: u32::MAX,
        notes_per_hour: u32::MAX,
    };
}

/// What a peer used of its quotas. Kept in memory, so that counting costs no write: a restart
/// forgets it, and a peer cannot restart this node.
#[derive(Debug, Clone)]
pub struct Budgets(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    emergency: Budget,
    urgent: Budget,
    refusals: Budget,
    alarms: Budget,
    contradictions: Budget,
    forks: Budget,
    /// Logs of which a fork was kept.
    forked: BTreeSet<Vec<u8>>,
    notes: Budget,
    again: Budget,
    lines: Budget,
    deferrals: Budget,
    emergency_told: Budget,
    urgent_told: Budget,
    told_there: Budget,
}

impl Budgets {
    /// A peer's, all unused.
    pub fn new(settings: &Settings) -> Self {
        let hour = |max| Budget::new(max, HOUR);
        Self(Arc::new(Mutex::new(Inner {
            emergency: hour(settings.emergency_per_hour),
            urgent: hour(settings.urgent_per_hour),
            refusals: hour(settings.refusals_per_hour),
            alarms: hour(settings.alarms_per_hour),
            contradictions: hour(settings.alarms_per_hour),
            forks: hour(settings.alarms_per_hour),
            forked: BTreeSet::new(),
            notes: hour(settings.notes_per_hour),
            again: hour(settings.notes_per_hour),
            lines: Budget::new(LINES_PER_MINUTE, MINUTE),
            deferrals: Budget::new(DEFERRALS_PER_MINUTE, MINUTE),
            emergency_told: hour(1),
            urgent_told: hour(1),
            told_there: hour(1),
        })))
    }

    /// The meter of this instant, by a clock that only goes forward.
    pub fn at(&self, now: Duration) -> Meter {
        Meter { budgets: self.clone(), now }
    }
}

/// Counts what one peer causes at one instant. Clones count together.
#[derive(Debug, Clone)]
pub struct Meter {
    budgets: Budgets,
    now: Duration,
}

/// What becomes of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// It is kept. So many of an earlier hour were not, and nobody was told that number yet.
    Keep {
        /// Alarms that were left out.
        left_out: u64,
    },
    /// The quota is used up: one alarm says so in the place of all that follow in this hour.
    Last,
    /// It is counted only.
    LeaveOut,
}

impl Meter {
    /// Without any bound: for what no peer causes, and for tests of other things.
    pub fn unlimited() -> Self {
        Budgets::new(&Settings::UNLIMITED).at(Duration::ZERO)
    }

    /// In which lane a message of this priority is carried now; it counts in that lane.
    pub fn carry(&self, priority: Priority) -> Priority {
        let mut inner = self.lock();
        if priority == Priority::Emergency && inner.emergency.take(self.now).is_granted() {
            return Priority::Emergency;
        }
        if priority >= Priority::Urgent && inner.urgent.take(self.now).is_granted() {
            return Priority::Urgent;
        }
        Priority::Routine
    }

    /// The message was not taken after all: it does not count.
    pub fn not_carried(&self, lane: Priority) {
        let mut inner = self.lock();
        match lane {
            Priority::Emergency => inner.emergency.give_back(),
            Priority::Urgent => inner.urgent.give_back(),
            Priority::Routine => {}
        }
    }

    /// Whether one more refusal for good may be issued.
    pub fn refusal(&self) -> bool {
        self.lock().refusals.take(self.now).is_granted()
    }

    /// What becomes of one more alarm.
    pub fn alarm(&self) -> Alarm {
        match self.lock().alarms.take(self.now) {
            Taken::Granted { left_out } => Alarm::Keep { left_out },
            Taken::Over { first: true } => Alarm::Last,
            Taken::Over { first: false } => Alarm::LeaveOut,
        }
    }

    /// Whether one more receipt that contradicts another is kept.
    pub fn contradiction(&self) -> bool {
        self.lock().contradictions.take(self.now).is_granted()
    }

    /// Whether one more fork of this log is kept with its proof: apart from alarms and
    /// contradictions, so that nobody hides a fork behind noise, and the first of each log always,
    /// for one proves all that there is to prove.
    pub fn fork(&self, log: &[u8]) -> bool {
        let mut inner = self.lock();
        let granted = inner.forks.take(self.now).is_granted();
        let room = inner.forked.len() < FORKED_LOGS_MAX;
        (room && inner.forked.insert(log.to_vec())) || granted
    }

    /// Whether one more note without a message may be written down.
    pub fn note(&self) -> bool {
        self.lock().notes.take(self.now).is_granted()
    }

    /// Whether one more group of receipts is sent to it that it confirmed before, or that went to
    /// it on this session.
    pub fn again(&self) -> bool {
        self.lock().again.take(self.now).is_granted()
    }

    /// Whether one more line about this peer may be logged, and how many of earlier minutes were
    /// not.
    pub fn line(&self) -> Option<u64> {
        match self.lock().lines.take(self.now) {
            Taken::Granted { left_out } => Some(left_out),
            Taken::Over { .. } => None,
        }
    }

    /// Whether one more deferral is signed for this peer. What gets none is sent again later all
    /// the same.
    pub fn deferral(&self) -> bool {
        self.lock().deferrals.take(self.now).is_granted()
    }

    /// Whether it is due to tell our operator that this peer is over its quota of a priority.
    pub fn tells_lowered(&self, stated: Priority) -> bool {
        let mut inner = self.lock();
        let told = match stated {
            Priority::Emergency => &mut inner.emergency_told,
            Priority::Urgent | Priority::Routine => &mut inner.urgent_told,
        };
        told.take(self.now).is_granted()
    }

    /// Whether it is due to tell our operator that we are over the quota that this peer sets.
    pub fn tells_lowered_there(&self) -> bool {
        self.lock().told_there.take(self.now).is_granted()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.budgets.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So much in each period, which begins with the first use after the last one ended.
#[derive(Debug)]
struct Budget {
    max: u32,
    period: Duration,
    since: Option<Duration>,
    used: u32,
    /// Over the quota in this period, and in earlier ones without a word about it.
    over: u64,
    untold: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Granted { left_out: u64 },
    Over { first: bool },
}

impl Taken {
    fn is_granted(self) -> bool {
        matches!(self, Self::Granted { .. })
    }
}

impl Budget {
    fn new(max: u32, period: Duration) -> Self {
        Self { max, period, since: None, used: 0, over: 0, untold: 0 }
    }

    fn take(&mut self, now: Duration) -> Taken {
        let running = self.since.is_some_and(|since| now.saturating_sub(since) < self.period);
        if !running {
            self.since = Some(now);
            self.used = 0;
            self.untold = self.untold.saturating_add(std::mem::take(&mut self.over));
        }
        if self.used < self.max {
            self.used += 1;
            return Taken::Granted { left_out: std::mem::take(&mut self.untold) };
        }
        self.over = self.over.saturating_add(1);
        Taken::Over { first: self.over == 1 }
    }

    fn give_back(&mut self) {
        self.used = self.used.saturating_sub(1);
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

/// Logs of one peer whose first fork is kept whatever else there is: generations over ten years.
const FORKED_LOGS_MAX: usize = 64;

/// Lines of the log about one peer: ten sessions that come and go, and some faults.
const LINES_PER_MINUTE: u32 = 30;

/// Signed deferrals to one peer: a window of each lane, once a minute. A signature costs time.
const DEFERRALS_PER_MINUTE: u32 = 768;

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            emergency_per_hour: 2,
            urgent_per_hour: 3,
            refusals_per_hour: 2,
            alarms_per_hour: 2,
            notes_per_hour: 2,
        }
    }

    fn lanes(meter: &Meter, priority: Priority, count: usize) -> Vec<Priority> {
        (0..count).map(|_| meter.carry(priority)).collect()
    }

    /// Over its quota a message goes one lane lower, there it counts as any other of that lane, and
    /// nothing is ever without a lane. The next hour begins anew.
    #[test]
    fn over_quota_goes_one_lane_lower() {
        use Priority::{Emergency, Routine, Urgent};
        let budgets = Budgets::new(&settings());
        let meter = budgets.at(Duration::ZERO);
        assert_eq!(lanes(&meter, Urgent, 1), [Urgent]);
        let emergency = [Emergency, Emergency, Urgent, Urgent, Routine, Routine];
        assert_eq!(lanes(&meter, Emergency, 6), emergency);
        assert_eq!(lanes(&meter, Urgent, 1), [Routine]);
        assert_eq!(lanes(&meter, Routine, 99), [Routine; 99]);
        let almost = budgets.at(HOUR - Duration::from_millis(1));
        assert_eq!(lanes(&almost, Emergency, 1), [Routine]);
        assert_eq!(lanes(&budgets.at(HOUR), Emergency, 1), [Emergency]);
    }

    /// What was not taken does not count against its sender.
    #[test]
    fn what_is_not_carried_does_not_count() {
        let meter = Budgets::new(&settings()).at(Duration::ZERO);
        for _ in 0..9 {
            let carried = meter.carry(Priority::Emergency);
            assert_eq!(carried, Priority::Emergency);
            meter.not_carried(carried);
        }
        assert_eq!(meter.carry(Priority::Emergency), Priority::Emergency);
    }

    /// Of a thousand alarms in an hour two are kept and one says that there are more; the next hour
    /// begins with their number.
    #[test]
    fn alarms_are_summed_up() {
        let budgets = Budgets::new(&settings());
        let meter = budgets.at(Duration::from_secs(5));
        let all: Vec<Alarm> = (0..1000).map(|_| meter.alarm()).collect();
        let keep = Alarm::Keep { left_out: 0 };
        assert_eq!(all.get(..3), Some(&[keep, keep, Alarm::Last][..]));
        assert!(all.iter().skip(3).all(|alarm| *alarm == Alarm::LeaveOut));
        let later = budgets.at(HOUR + Duration::from_secs(5));
        assert_eq!(later.alarm(), Alarm::Keep { left_out: 998 });
        assert_eq!(later.alarm(), keep);
    }

    /// Of each log one fork is kept, also when others used up the quota; a peer that could name
    /// logs without end would still find an end.
    #[test]
    fn the_first_fork_of_each_log_is_kept() {
        let meter = Budgets::new(&settings()).at(Duration::ZERO);
        let log = |n: usize| n.to_string().into_bytes();
        assert!((0..9).map(|_| meter.fork(&log(0))).filter(|kept| *kept).count() == 2);
        assert!(meter.fork(&log(1)) && !meter.fork(&log(1)));
        let kept = (0..9_999).filter(|n| meter.fork(&log(*n))).count();
        assert_eq!(kept, FORKED_LOGS_MAX - 2);
    }

    /// A clock that stands, or comes a little back, opens no new hour; quotas are apart.
    #[test]
    fn only_time_opens_a_new_hour() {
        let budgets = Budgets::new(&settings());
        let meter = budgets.at(HOUR);
        assert!(meter.refusal() && meter.refusal() && !meter.refusal());
        assert!(!budgets.at(Duration::ZERO).refusal());
        assert!(meter.note() && meter.note() && !meter.note());
        assert!(meter.again() && meter.again() && !meter.again());
        assert!(meter.tells_lowered_there() && !meter.tells_lowered_there());
        let urgent = Priority::Urgent;
        assert!(meter.tells_lowered(urgent) && !meter.tells_lowered(urgent));
        assert!(meter.tells_lowered(Priority::Emergency));
        assert!(meter.contradiction() && meter.contradiction() && !meter.contradiction());
        assert!(meter.fork(b"log 1") && meter.fork(b"log 1") && !meter.fork(b"log 1"));
        assert_eq!((0..99).filter(|_| meter.line().is_some()).count(), 30);
        assert_eq!(budgets.at(HOUR + MINUTE).line(), Some(69));
        assert!(!budgets.at(HOUR + MINUTE).refusal());
    }
}
