//! Instants: milliseconds since the Unix epoch, UTC, printed as RFC 3339.
//!
//! There is no clock here: whoever knows the time passes it in. Invariant: a `Timestamp` can always
//! be printed (it lies before the year 10000), so arithmetic saturates there.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// An instant in UTC with millisecond precision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(u64);

/// A text is not an instant of RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an instant: expected RFC 3339, as in `2026-03-02T08:15:00Z`")]
pub struct TimestampError;

impl Timestamp {
    /// The latest instant: 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// From milliseconds since the Unix epoch; later than [`Timestamp::MAX`] becomes that.
    pub const fn from_millis(millis: u64) -> Self {
        if millis > Self::MAX.0 { Self::MAX } else { Self(millis) }
    }

    /// From the wire, where 0 means "not stated" and an instant that cannot be printed is refused.
    pub fn from_wire(millis: u64) -> Option<Self> {
        (millis != 0 && millis <= Self::MAX.0).then_some(Self(millis))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Later by `by`.
    pub fn after(self, by: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(millis(by)))
    }

    /// Earlier by `by`, not before the epoch.
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis(by)))
    }

    /// How long ago `earlier` was; zero when it lies in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimestampError)?;
        let nanos = parsed.unix_timestamp_nanos();
        let millis = u64::try_from(nanos / 1_000_000).map_err(|_| TimestampError)?;
        Ok(Self::from_millis(millis))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0 / 1000).unwrap_or(i64::MAX);
        let date = OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| fmt::Error)?;
        let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
        let (hour, minute, second) = (date.hour(), date.minute(), date.second());
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match self.0 % 1000 {
            0 => f.write_str("Z"),
            millis => write!(f, ".{millis:03}Z"),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimestampError;

    fn try_from(text: String) -> Result<Self, TimestampError> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(value: Timestamp) -> Self {
        value.to_string()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn offsets_become_utc() {
        let text = "2026-03-02T10:15:00.250+02:00";
        assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), "2026-03-02T08:15:00.250Z");
        for bad in ["2026-03-02", "2026-03-02T08:15:00", "1969-12-31T23:59:59Z", "yesterday", ""] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad} was accepted");
        }
    }

    proptest! {
        #[test]
        fn instants_round_trip(millis in 0..=Timestamp::MAX.0) {
            let at = Timestamp::from_millis(millis);
            prop_assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
        }

        /// Arithmetic ends at the bounds instead of wrapping.
        #[test]
        fn arithmetic_saturates(millis in any::<u64>(), by in any::<u64>()) {
            let at = Timestamp::from_millis(millis);
            let by = Duration::from_millis(by);
            prop_assert!(at.after(by) >= at && at.after(by) <= Timestamp::MAX);
            prop_assert!(at.before(by) <= at);
        }
    }
}
