//! A clock that is put wrong on purpose: how far is told by a file, which may change at any time.
//!
//! For campaigns and drills with real processes; the configuration takes it of demo units only. The
//! file holds one line: a signed duration (`+3h`, `-10y`, `+1500ms`), and after it `unsynced` when
//! nobody shall vouch for that clock. No file, or an empty one: the clock is right. Invariant: a
//! file that cannot be read as that changes nothing, and is told once.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use relay_proto::timestamp::Timestamp;
use tracing::error;

/// The file, and what it said last.
#[derive(Debug)]
pub(super) struct ShiftFile {
    path: PathBuf,
    seen: Mutex<Seen>,
}

/// How wrong the clock is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shift {
    back: bool,
    by: Duration,
    /// Nobody vouches for it.
    pub unsynced: bool,
}

#[derive(Debug, Default)]
struct Seen {
    looked: Option<Instant>,
    /// Which file it was, and when it was written.
    stamp: Option<(u64, SystemTime, u64)>,
    shift: Shift,
}

impl ShiftFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, seen: Mutex::default() }
    }

    /// What the file says; it is looked at ten times a second at most.
    pub(super) fn read(&self) -> Shift {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            seen.looked = Some(Instant::now());
            self.look(&mut seen);
        }
        seen.shift
    }

    fn look(&self, seen: &mut Seen) {
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *seen = Seen { looked: seen.looked, ..Seen::default() };
                return;
            }
            Err(_) => return,
        };
        let stamp = metadata.modified().ok().map(|at| (metadata.ino(), at, metadata.len()));
        if stamp == seen.stamp {
            return;
        }
        seen.stamp = stamp;
        match fs::read_to_string(&self.path).ok().and_then(|text| Shift::parse(text.trim())) {
            Some(shift) => seen.shift = shift,
            None => error!(file = %self.path.display(), "the shift of the clock cannot be read"),
        }
    }
}

impl Shift {
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let (text, unsynced) = match text.strip_suffix("unsynced") {
            Some(rest) => (rest.trim_end(), true),
            None => (text, false),
        };
        let (back, rest) = match text.split_at_checked(1)? {
            ("-", rest) => (true, rest),
            ("+", rest) => (false, rest),
            _ => return None,
        };
        let (number, unit) = rest.split_at_checked(rest.find(|c: char| !c.is_ascii_digit())?)?;
        let millis = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        let by = Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(millis)?);
        Some(Self { back, by, unsynced })
    }

    /// The wrong time.
    pub(super) fn of(self, right: Timestamp) -> Timestamp {
        if self.back { right.before(self.by) } else { right.after(self.by) }
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A year has 365 days here.
const UNITS: [(&str, u64); 6] = [
    ("y", 31_536_000_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A sign, a number, a unit, and who vouches; nothing else is a shift.
    #[test]
    fn a_shift_is_signed_and_has_a_unit() {
        let shift = |text: &str| {
            let shift = Shift::parse(text)?;
            let at = Timestamp::from_millis(1_000_000_000_000);
            Some((i128::from(shift.of(at).as_millis()) - 1_000_000_000_000, shift.unsynced))
        };
        assert_eq!(shift(""), Some((0, false)));
        assert_eq!(shift("+3h"), Some((10_800_000, false)));
        assert_eq!(shift("-10y"), Some((-315_360_000_000, false)));
        assert_eq!(shift("-1500ms unsynced"), Some((-1500, true)));
        for bad in ["3h", "+3", "+h", "3h+", "+3w", "+3h synced", "unsynced", "+-3h"] {
            assert_eq!(shift(bad), None, "{bad} was taken");
        }
    }

    /// The file is followed; nonsense in it changes nothing, and without it the clock is right.
    #[test]
    fn the_file_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let file = ShiftFile::new(dir.path().join("shift"));
        let look = || {
            file.look(&mut file.seen.lock().unwrap());
            file.seen.lock().unwrap().shift
        };
        assert_eq!(look(), Shift::default());
        fs::write(&file.path, "+3h unsynced\n").unwrap();
        let ahead = look();
        assert_eq!(ahead, Shift::parse("+3h unsynced").unwrap());
        assert_eq!(file.read(), ahead);
        fs::write(&file.path, "tomorrow").unwrap();
        assert_eq!(look(), ahead);
        fs::remove_file(&file.path).unwrap();
        assert_eq!(look(), Shift::default());
    }
}
