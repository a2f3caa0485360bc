//! When to try again: exponential back-off, the second half of each step by chance, from the
//! count of attempts alone.
//!
//! The schedule is a pure function, so what is kept across restarts is a number and an instant.
//! Contact from the peer clears it; urgent mail probes more often.

use std::time::Duration;

use relay_proto::{envelope::Priority, timestamp::Timestamp};

/// Bounds of the back-off. The cap is minutes, not days: a partner who returns is found soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Upper bound of the first wait.
    pub first: Duration,
    /// Upper bound of every wait while EMERGENCY mail waits.
    pub max_emergency: Duration,
    /// The same while URGENT mail waits.
    pub max_urgent: Duration,
    /// The same while only ROUTINE mail waits.
    pub max_routine: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            max_emergency: Duration::from_secs(15),
            max_urgent: Duration::from_secs(30),
            max_routine: Duration::from_secs(5 * 60),
        }
    }
}

impl Schedule {
    /// The longest wait after `attempts` failures (1 is the first) while mail of this priority
    /// waits.
    pub fn bound(&self, attempts: u32, priority: Priority) -> Duration {
        let cap = match priority {
            Priority::Routine => self.max_routine,
            Priority::Urgent => self.max_urgent,
            Priority::Emergency => self.max_emergency,
        };
        let factor = 1u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(cap)
    }

    /// The next try: a random point of the second half of the bound, so that peers that failed
    /// together do not return together, and none hammers. `random` is uniform over its range.
    pub fn next(
        &self,
        now: Timestamp,
        attempts: u32,
        priority: Priority,
        random: u32,
    ) -> Timestamp {
        let half = self.bound(attempts, priority) / 2;
        now.after(half + half.mul_f64(f64::from(random) / f64::from(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits grow up to their cap, stay there for ever and never leave their half.
    #[test]
    fn waits_grow_to_their_cap() {
        let schedule = Schedule::default();
        let mut last = Duration::ZERO;
        for attempts in 1..200 {
            let bound = schedule.bound(attempts, Priority::Routine);
            assert!(bound >= last && bound <= schedule.max_routine);
            last = bound;
            let now = Timestamp::from_millis(1_772_438_400_000);
            let early = schedule.next(now, attempts, Priority::Routine, 0).since(now);
            let late = schedule.next(now, attempts, Priority::Routine, u32::MAX).since(now);
            assert!(early >= bound / 2 - Duration::from_millis(1) && late <= bound, "{attempts}");
        }
        assert_eq!(last, schedule.max_routine);
        assert_eq!(schedule.bound(40, Priority::Emergency), schedule.max_emergency);
    }
}
