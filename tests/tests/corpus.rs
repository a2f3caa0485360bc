//! The committed corpus of the fuzz targets, given to the same targets as under the fuzzer.
//!
//! `RELAY_WRITE_CORPUS=1` writes the seeds anew; the rest comes from `tests/fuzz/run.sh minimise`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::{collections::BTreeMap, fs, path::PathBuf};

#[path = "corpus/seeds.rs"]
mod seeds;
#[path = "../fuzz/targets/mod.rs"]
mod targets;

/// No input that was ever found makes a parser panic or break its promise, and of each target some
/// are taken: the corpus reaches behind the first refusal.
#[test]
fn the_corpus_is_parsed() {
    let mut short = Vec::new();
    for target in targets::ALL {
        let files: Vec<_> = fs::read_dir(folder(target.name)).unwrap().collect();
        let inputs = files.iter().map(|file| fs::read(file.as_ref().unwrap().path()).unwrap());
        let taken = inputs.filter(|input| (target.run)(input)).count();
        println!("{}: {} inputs, {taken} taken", target.name, files.len());
        if taken == 0 {
            short.push(target.name);
        }
    }
    assert!(short.is_empty(), "nothing is taken of {short:?}");
}

/// The seeds are those of the vectors, the samples and the shipped files as they are now.
#[test]
fn seeds_are_fresh() {
    let mut seeds: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    for (target, name, bytes) in seeds::all() {
        assert!(targets::by_name(target).is_some_and(|one| bytes.len() <= one.bytes_max), "{name}");
        seeds.insert(folder(target).join(format!("seed-{name}")), bytes);
    }
    for (path, bytes) in &seeds {
        if std::env::var_os("RELAY_WRITE_CORPUS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        assert!(fs::read(path).is_ok_and(|found| found == *bytes), "{} is old", path.display());
    }
    for target in targets::ALL {
        for file in fs::read_dir(folder(target.name)).unwrap() {
            let path = file.unwrap().path();
            let is_seed = path.file_name().unwrap().to_string_lossy().starts_with("seed-");
            assert!(!is_seed || seeds.contains_key(&path), "{} is no seed now", path.display());
        }
    }
}

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}
