//! What the kernel says of its own clock: `adjtimex(2)`, read only.
//!
//! Enter through [`ask`]. The call needs a crate, for this one has no unsafe code: `rtime-clock`
//! wraps it in thirty lines. Of what else that crate can do to a clock nothing is used, and the
//! kernel allows none of it to a process without CAP_SYS_TIME.

use std::time::Duration;

use rtime_clock::adjtime::{Timex, adjtimex};

/// The kernel's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// A time service sets the clock; the largest error that is possible by now.
    Synced(Duration),
    /// Nobody does, or not for hours.
    Unsynced,
    /// This process may not ask: a hardened service is denied the call (systemd's `@clock`).
    Refused,
}

/// Asks the kernel.
pub(super) fn ask() -> Word {
    // All zero: nothing is to be changed.
    let mut asked = Timex::new();
    match adjtimex(&mut asked) {
        Ok(_) => word(asked.0.maxerror),
        Err(_) => Word::Refused,
    }
}

/// By the largest error, as systemd judges it, not by STA_UNSYNC: a time service that leaves the
/// hardware clock alone leaves that flag set. The kernel lets the error grow by 0.5 ms a second; it
/// reaches the bound nine hours after the last adjustment, and at once when somebody sets the clock
/// by hand.
fn word(max_error_us: i64) -> Word {
    match u64::try_from(max_error_us) {
        Ok(error) if error < MAX_ERROR_US => Word::Synced(Duration::from_micros(error)),
        _ => Word::Unsynced,
    }
}

/// The kernel's NTP_PHASE_LIMIT: 16 s.
const MAX_ERROR_US: u64 = 16_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// At the bound, beyond it, and where the number makes no sense, nobody vouches for the clock.
    #[test]
    fn the_largest_error_decides() {
        assert_eq!(word(0), Word::Synced(Duration::ZERO));
        assert_eq!(word(2_500), Word::Synced(Duration::from_micros(2_500)));
        assert_eq!(word(15_999_999), Word::Synced(Duration::from_micros(15_999_999)));
        for error in [16_000_000, i64::MAX, -1] {
            assert_eq!(word(error), Word::Unsynced, "{error}");
        }
    }

    /// What the kernel says here is what is told of it: a call that it denies, as a hardened
    /// service finds it, is a refusal, and any other answer is none.
    #[test]
    fn the_kernel_is_believed() {
        let mut asked = Timex::new();
        match (adjtimex(&mut asked), ask()) {
            (Err(_), told) => assert_eq!(told, Word::Refused),
            (Ok(_), Word::Synced(error)) => assert!(error < Duration::from_micros(MAX_ERROR_US)),
            // The error grows by itself from below the bound, never back.
            (Ok(_), told) => {
                assert_eq!(told, Word::Unsynced);
                assert_eq!(word(asked.0.maxerror), Word::Unsynced);
            }
        }
    }
}
