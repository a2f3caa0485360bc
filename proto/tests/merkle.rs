//! The 196 published cases of Merkle proofs, each answered as its `wantErr` says.
//!
//! The cases lie in `tests/vectors/merkle`, copied from transparency-dev/merkle; their README has
//! the licence.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use serde::Deserialize;

use relay_proto::{
    ids::Digest,
    tlog::{verify_consistency, verify_inclusion},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Inclusion {
    leaf_idx: u64,
    tree_size: u64,
    root: Option<String>,
    leaf_hash: Option<String>,
    proof: Option<Vec<String>>,
    desc: String,
    want_err: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Consistency {
    size1: u64,
    size2: u64,
    root1: Option<String>,
    root2: Option<String>,
    proof: Option<Vec<String>>,
    desc: String,
    want_err: bool,
}

/// Every inclusion case; what is not 32 bytes is refused before the proof is looked at.
#[test]
fn published_inclusion_cases() {
    let files = files("inclusion");
    for file in &files {
        let case: Inclusion = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let answer = (|| {
            let path = digests(case.proof.as_deref())?;
            let (leaf, root) = (digest(case.leaf_hash.as_ref())?, digest(case.root.as_ref())?);
            verify_inclusion(case.leaf_idx, case.tree_size, &leaf, &path, &root).ok()
        })();
        assert_eq!(answer.is_none(), case.want_err, "{}: {}", file.display(), case.desc);
    }
    assert_eq!(files.len(), 98);
}

/// Every consistency case.
#[test]
fn published_consistency_cases() {
    let files = files("consistency");
    for file in &files {
        let case: Consistency = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let answer = (|| {
            let path = digests(case.proof.as_deref())?;
            let (root1, root2) = (root(case.root1.as_ref())?, root(case.root2.as_ref())?);
            verify_consistency(case.size1, case.size2, &path, &root1, &root2).ok()
        })();
        assert_eq!(answer.is_none(), case.want_err, "{}: {}", file.display(), case.desc);
    }
    assert_eq!(files.len(), 98);
}

/// 32 bytes or nothing: our verifier cannot be given anything else.
fn digest(base64: Option<&String>) -> Option<Digest> {
    Digest::from_bytes(&BASE64.decode(base64?.as_bytes()).ok()?).ok()
}

/// Some cases of consistency have a text in place of both roots ("dont care 2") and one of them is
/// right. The digest of the text stands for it: what was equal stays equal, what differed differs.
fn root(base64: Option<&String>) -> Option<Digest> {
    let text = || Some(Digest::of(&BASE64.decode(base64?.as_bytes()).ok()?));
    digest(base64).or_else(text)
}

fn digests(proof: Option<&[String]>) -> Option<Vec<Digest>> {
    proof.unwrap_or_default().iter().map(|hash| digest(Some(hash))).collect()
}

/// All JSON files below a folder of the cases.
fn files(kind: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/merkle").join(kind);
    let (mut folders, mut found) = (vec![root], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "json") {
                found.push(path);
            }
        }
    }
    found
}
