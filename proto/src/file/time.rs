//! Times in message files: RFC 3339, or relative to now (`@now`, `@+28d`, `@-90m`), so that an
//! example never ages.

use std::time::Duration;

use crate::timestamp::Timestamp;

/// Reads a time of a file.
pub fn parse(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let Some(offset) = text.strip_prefix('@') else {
        return text.parse().map_err(|_| HINT.to_owned());
    };
    if offset == "now" {
        return Ok(now);
    }
    let (sign, number) = offset.split_at_checked(1).ok_or(HINT)?;
    let unit = number.chars().last().ok_or(HINT)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return Err(HINT.to_owned()),
    };
    let digits = number.strip_suffix(unit).unwrap_or_default();
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(HINT.to_owned());
    }
    let count: u64 = digits.parse().map_err(|_| HINT.to_owned())?;
    let by = Duration::from_secs(count.saturating_mul(seconds));
    match sign {
        "+" => Ok(now.after(by)),
        "-" => Ok(now.before(by)),
        _ => Err(HINT.to_owned()),
    }
}

const HINT: &str = "not a time: write `2026-03-02T08:15:00Z`, `@now`, `@+28d`, `@-12h` or `@+90m`";

/// 99,999 days are 273 years.
const DIGITS_MAX: usize = 5;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn offsets_count_from_now() {
        let now: Timestamp = "2026-03-02T08:15:00Z".parse().unwrap();
        for (text, expected) in [
            ("@now", "2026-03-02T08:15:00Z"),
            ("@+28d", "2026-03-30T08:15:00Z"),
            ("@-6d", "2026-02-24T08:15:00Z"),
            ("@+90m", "2026-03-02T09:45:00Z"),
            ("@-12h", "2026-03-01T20:15:00Z"),
            ("@+30s", "2026-03-02T08:15:30Z"),
            ("2026-03-02T10:15:00+02:00", "2026-03-02T08:15:00Z"),
        ] {
            assert_eq!(parse(text, now).unwrap().to_string(), expected, "{text}");
        }
        for bad in ["", "@", "@+", "@28d", "@+d", "@+1w", "@+-1d", "@+123456d", "@+1é", "28d", "@é"]
        {
            assert!(parse(bad, now).unwrap_err().contains("@+28d"), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "@?[+-]?\\PC{0,8}") {
            let _ = parse(&text, Timestamp::from_millis(1_772_438_400_000));
        }
    }
}
