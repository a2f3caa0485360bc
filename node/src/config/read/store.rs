//! The section `[store]`. Enter through [`store`].

use std::time::Duration;

use super::{super::document::Section, MIB, StoreSettings};

pub(super) fn store(mut section: Section<'_, '_>) -> StoreSettings {
    let default = StoreSettings::default();
    let store = StoreSettings {
        segment_bytes: section.size("segment_bytes", default.segment_bytes, 4 * MIB..=1024 * MIB),
        index_cache_bytes: section.size(
            "index_cache_bytes",
            default.index_cache_bytes,
            8 * MIB..=8192 * MIB,
        ),
        reserve_percent: section.number("reserve_percent", default.reserve_percent, 0..=50),
        reserve_bytes_min: section.size(
            "reserve_bytes_min",
            default.reserve_bytes_min,
            0..=1_048_576 * MIB,
        ),
        scrub_bytes_per_second: section.size(
            "scrub_bytes_per_second",
            default.scrub_bytes_per_second,
            0..=1024 * MIB,
        ),
        scrub_interval: section.duration(
            "scrub_interval",
            default.scrub_interval,
            Duration::from_secs(1)..=Duration::from_secs(30 * 86_400),
        ),
    };
    if (1..SCRUB_BYTES_MIN).contains(&store.scrub_bytes_per_second) {
        let problem = "is so slow that a round would hardly end";
        let mend = "choose at least \"64KiB\", or \"0B\" for no scrub";
        section.refuse("scrub_bytes_per_second", problem.into(), mend.into());
    }
    let off = store.reserve_percent == 0 && store.reserve_bytes_min == 0;
    if !off && store.reserve_bytes_min / 4 < store.segment_bytes {
        let problem = "is less than four journal files: the disk could be full before a refusal";
        let mend = "choose at least four times `store.segment_bytes`, or \"0B\" with \
                    `store.reserve_percent = 0` for no reserve";
        section.refuse("reserve_bytes_min", problem.into(), mend.into());
    }
    section.finish();
    store
}

/// A whole journal file of the usual length in a quarter of an hour.
const SCRUB_BYTES_MIN: u64 = 64 << 10;
