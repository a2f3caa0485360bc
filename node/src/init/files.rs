//! Making files and directories so that they survive a power cut.
//!
//! Enter through [`Staging`]. Invariant: nothing that exists is overwritten.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::InitError;

/// A directory that is filled before it gets its name; removed again when it does not get there.
pub(super) struct Staging {
    path: PathBuf,
    published: bool,
}

impl Staging {
    /// Makes `.NAME.init` beside the wanted directory, and what leads there.
    pub(super) fn beside(dir: &Path) -> Result<Self, InitError> {
        let name = dir.file_name().ok_or_else(|| InitError::NoName(dir.into()))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".init");
        let parent = parent(dir);
        make_parents(&parent)?;
        let path = parent.join(hidden);
        match make_dir(&path, 0o755) {
            Err(InitError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                Err(InitError::CutOff(path))
            }
            result => result.map(|()| Self { path, published: false }),
        }
    }

    /// Where to make things.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the directory its name, durably. An empty directory of that name is replaced.
    pub(super) fn publish(mut self, dir: &Path) -> Result<(), InitError> {
        fs::rename(&self.path, dir).map_err(failed("make", dir))?;
        self.published = true;
        sync_dir(&parent(dir))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed is told by the next `init`.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Makes a directory and what leads there, each name durable.
fn make_parents(dir: &Path) -> Result<(), InitError> {
    let missing: Vec<_> = dir
        .ancestors()
        .take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists())
        .take(DEPTH_MAX)
        .collect();
    for dir in missing.into_iter().rev() {
        make_dir(dir, 0o755)?;
        sync_dir(&parent(dir))?;
    }
    Ok(())
}

/// Makes a directory.
pub(super) fn make_dir(dir: &Path, mode: u32) -> Result<(), InitError> {
    DirBuilder::new().mode(mode).create(dir).map_err(failed("create", dir))
}

/// Makes a file that everybody may read.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), InitError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    let mut file = opened.map_err(failed("create", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("write", path))
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), InitError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync", dir))
}

fn parent(dir: &Path) -> PathBuf {
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.into(),
        _ => PathBuf::from("."),
    }
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InitError {
    move |source| InitError::Io { verb, path: path.into(), source }
}

/// More missing levels than this are a mistake.
const DEPTH_MAX: usize = 32;
