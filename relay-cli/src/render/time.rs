//! Times for people: `2 h 05 min ago`, `in 3 d 04 h`. UTC always; the caller passes the present.

use std::time::Duration;

use relay_proto::timestamp::Timestamp;

/// Two units at most: `12 s`, `42 min`, `2 h 05 min`, `4 d 20 h`, `412 d`.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if seconds < 60 {
        format!("{seconds} s")
    } else if minutes < 60 {
        format!("{minutes} min")
    } else if hours < 24 {
        format!("{hours} h {:02} min", minutes % 60)
    } else if days < 30 {
        format!("{days} d {:02} h", hours % 24)
    } else {
        format!("{days} d")
    }
}

/// How far `at` is from `now`: `2 h 05 min ago`, `in 42 min`, `now`.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let (ago, ahead) = (now.since(at), at.since(now));
    if ago.as_secs() == 0 && ahead.as_secs() == 0 {
        "now".to_owned()
    } else if ahead.is_zero() {
        format!("{} ago", span(ago))
    } else {
        format!("in {}", span(ahead))
    }
}

/// How far apart, without saying which comes first; for columns that say so themselves.
pub fn distance(at: Timestamp, now: Timestamp) -> String {
    span(now.since(at).max(at.since(now)))
}

/// Both, or the instant alone; `-` when there is none.
pub fn absolute_and_relative(at: Option<Timestamp>, now: Timestamp, utc: bool) -> String {
    match at {
        None => "-".to_owned(),
        Some(at) if utc => at.to_string(),
        Some(at) => format!("{at} ({})", relative(at, now)),
    }
}

/// The time of day when it is of today, else with the date, to the second or minute: `03:20:11Z`,
/// `2026-11-23 03:20Z`.
pub fn short(at: Timestamp, now: Timestamp) -> String {
    let (text, today) = (at.to_string(), now.to_string());
    let (Some((date, clock)), Some((day, _))) = (text.split_once('T'), today.split_once('T'))
    else {
        return text;
    };
    if date == day {
        let seconds: String = clock.chars().take(8).collect();
        return format!("{seconds}Z");
    }
    let minutes: String = clock.chars().take(5).collect();
    format!("{date} {minutes}Z")
}

/// A round trip: `412 ms`, `0.8 ms`.
pub fn micros(us: u64) -> String {
    if us >= 10_000 {
        format!("{} ms", us / 1000)
    } else {
        format!("{}.{} ms", us / 1000, us % 1000 / 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    /// Each unit at its bounds, past and future.
    #[test]
    fn spans_have_two_units_at_most() {
        let cases = [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h 00 min"),
            (7500, "2 h 05 min"),
            (86_399, "23 h 59 min"),
            (86_400, "1 d 00 h"),
            (417_600, "4 d 20 h"),
            (30 * 86_400, "30 d"),
            (412 * 86_400, "412 d"),
        ];
        for (seconds, text) in cases {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn past_and_future_are_told_apart() {
        let now = at(1_000_000);
        assert_eq!(relative(at(1_000_000 - 7500), now), "2 h 05 min ago");
        assert_eq!(relative(at(1_000_000 + 2520), now), "in 42 min");
        assert_eq!(relative(now, now), "now");
        assert_eq!(absolute_and_relative(None, now, false), "-");
        assert_eq!(
            absolute_and_relative(Some(at(1_000_000 - 5)), now, true),
            "1970-01-12T13:46:35Z"
        );
    }

    #[test]
    fn today_needs_no_date() {
        let now = at(1_000_000);
        assert_eq!(short(at(999_999), now), "13:46:39Z");
        assert_eq!(short(at(900_000), now), "1970-01-11 10:00Z");
        assert_eq!(micros(412_345), "412 ms");
        assert_eq!(micros(830), "0.8 ms");
    }
}
