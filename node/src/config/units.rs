//! Durations and sizes as people write them: `30s`, `5m`, `4h`, `5d`, `32MiB`.
//!
//! One spelling each: a whole number and a unit, nothing between. Invariant: what
//! [`print_duration`] and
//! [`print_size`] give is read back as the same value.

use std::time::Duration;

/// Reads `250ms`, `30s`, `5m`, `4h` or `5d`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let millis = DURATIONS.iter().find(|(name, _)| *name == unit)?.1;
    Some(Duration::from_millis(number.checked_mul(millis)?))
}

/// In the largest unit that needs no fraction.
pub(super) fn print_duration(duration: Duration) -> String {
    print(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATIONS)
}

/// Reads `512B`, `32KiB`, `32MiB` or `2GiB`.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    number.checked_mul(SIZES.iter().find(|(name, _)| *name == unit)?.1)
}

/// In the largest unit that needs no fraction.
pub(super) fn print_size(bytes: u64) -> String {
    print(bytes, &SIZES)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit))
}

fn print(value: u64, units: &[(&str, u64)]) -> String {
    let mut fitting = units.iter().filter(|(_, factor)| value.is_multiple_of(*factor));
    match fitting.next() {
        Some((unit, factor)) if value != 0 => format!("{}{unit}", value / factor),
        _ => format!("0{}", units.last().map_or("", |(unit, _)| unit)),
    }
}

/// Largest first.
const DURATIONS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Largest first.
const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_number_and_unit() {
        assert_eq!(duration("5d"), Some(Duration::from_secs(432_000)));
        assert_eq!(size("32MiB"), Some(32 << 20));
        for bad in ["", "5", "s", "5 s", "5S", "-5s", "+5s", "1.5h", "5min", "99999999999999999d"] {
            assert_eq!(duration(bad), None, "{bad} was taken");
        }
        for bad in ["", "5", "MiB", "5MB", "5M", "5 MiB", "5mib", "99999999999GiB"] {
            assert_eq!(size(bad), None, "{bad} was taken");
        }
    }

    proptest! {
        #[test]
        fn durations_round_trip(millis in 0..=u64::MAX / 2) {
            let value = Duration::from_millis(millis);
            prop_assert_eq!(duration(&print_duration(value)), Some(value));
        }

        #[test]
        fn sizes_round_trip(bytes in any::<u64>()) {
            prop_assert_eq!(size(&print_size(bytes)), Some(bytes));
        }
    }
}
