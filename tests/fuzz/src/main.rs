//! All targets in one program for libFuzzer; `RELAY_FUZZ_TARGET` says which one runs.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&targets::Target> = LazyLock::new(|| {
    let name = std::env::var("RELAY_FUZZ_TARGET").unwrap_or_default();
    targets::by_name(&name).unwrap_or_else(|| {
        let names: Vec<_> = targets::ALL.iter().map(|target| target.name).collect();
        eprintln!("RELAY_FUZZ_TARGET is one of: {}", names.join(" "));
        std::process::exit(2)
    })
});

fuzz_target!(|data: &[u8]| {
    if data.len() <= TARGET.bytes_max {
        (TARGET.run)(data);
    }
});
