//! What this account was last shown of a case: an answer rests on what was read, not on what came
//! meanwhile.
//!
//! Kept as the etag, a small file a case below the state folder, gone when the case has ended. It
//! is an aid: what cannot be written or read is left, and the answer rests on the case as it is
//! found.

use std::{fs, os::unix::fs::DirBuilderExt as _, path::PathBuf};

use relay_proto::{
    ids::{CaseId, UnitId},
    v1,
};

use crate::context::Context;

/// Notes that a case was shown.
pub fn note(context: &Context, case: &v1::Case) {
    let Some(path) = path(context, case) else { return };
    // Nothing can be answered any more.
    if case.legal.is_empty() && case.turn.is_empty() {
        let _ = fs::remove_file(path);
        return;
    }
    let Some(folder) = path.parent() else { return };
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let next = path.with_extension(std::process::id().to_string());
    let _ =
        made.and_then(|()| fs::write(&next, &case.etag)).and_then(|()| fs::rename(&next, &path));
}

/// The etag that was last shown; none: the case never was.
pub fn etag(context: &Context, case: &v1::Case) -> Option<String> {
    let text = fs::read_to_string(path(context, case)?).ok()?;
    let text = text.trim();
    (!text.is_empty() && text.len() <= ETAG_MAX).then(|| text.to_owned())
}

/// Only names that are what they should be make a path.
fn path(context: &Context, case: &v1::Case) -> Option<PathBuf> {
    let id: CaseId = case.case_id.parse().ok()?;
    let peer: UnitId = case.peer.parse().ok()?;
    let folder = context.state_folder()?.join("seen");
    Some(folder.join(format!("{id}-{}", peer.to_string().replace('.', "_"))))
}

const ETAG_MAX: usize = 128;
