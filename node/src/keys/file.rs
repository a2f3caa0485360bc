//! Files that hold secrets: how they come to be and how they are read.
//!
//! Enter through [`create`] and [`read`]. Invariant: what is checked is the opened file itself, not
//! a name that could lead elsewhere a moment later; links are not followed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use nix::{fcntl::OFlag, unistd::geteuid};
use zeroize::Zeroizing;

use super::KeyStoreError;

/// Makes a directory that only its owner may enter; one that exists is refused.
pub(super) fn create_dir(dir: &Path) -> Result<(), KeyStoreError> {
    match fs::DirBuilder::new().mode(DIR_MODE).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(KeyStoreError::Exists(dir.into()))
        }
        result => result.map_err(failed("create", dir)),
    }
}

/// Makes a durable file that only its owner may read; one that exists is refused.
pub(super) fn create(path: &Path, bytes: &[u8]) -> Result<(), KeyStoreError> {
    // The mode is given with the creation: there is no moment in which others could open the file.
    let opened = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path);
    let mut file = match opened {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(KeyStoreError::Exists(path.into()));
        }
        result => result.map_err(failed("create", path))?,
    };
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("write", path))
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), KeyStoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync", dir))
}

/// Reads a secret file after [`check_file`]'s checks on the opened file.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
    let file = open_checked(path)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX));
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(KeyStoreError::Malformed {
            path: path.into(),
            wanted: "a key file (too long)",
        });
    }
    Ok(bytes)
}

/// Whether a secret file is there, ours, and nobody else's to read. Its content is not read.
pub fn check_file(path: &Path) -> Result<(), KeyStoreError> {
    open_checked(path).map(drop)
}

/// Whether a directory is there, ours, and nobody else's to enter.
pub fn check_dir(dir: &Path) -> Result<(), KeyStoreError> {
    let metadata = fs::metadata(dir).map_err(missing_or("read", dir))?;
    if !metadata.is_dir() {
        return Err(KeyStoreError::Malformed { path: dir.into(), wanted: "a directory" });
    }
    check(dir, metadata.mode(), metadata.uid(), DIR_MODE)
}

fn open_checked(path: &Path) -> Result<File, KeyStoreError> {
    // Without O_NONBLOCK a pipe in place of the file would hold the node up.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    let file = match opened {
        Err(error) if error.raw_os_error() == Some(nix::libc::ELOOP) => {
            return Err(not_a_file(path));
        }
        result => result.map_err(missing_or("open", path))?,
    };
    let metadata = file.metadata().map_err(failed("read", path))?;
    if !metadata.is_file() {
        return Err(not_a_file(path));
    }
    check(path, metadata.mode(), metadata.uid(), FILE_MODE)?;
    Ok(file)
}

fn check(path: &Path, mode: u32, owner: u32, wanted: u32) -> Result<(), KeyStoreError> {
    let (mode, us) = (mode & 0o7777, geteuid().as_raw());
    if owner != us {
        return Err(KeyStoreError::Owner { path: path.into(), owner, us });
    }
    // Stricter than wanted is fine: 0400 for a file on a medium that is mounted read-only.
    if mode & !wanted != 0 {
        return Err(KeyStoreError::Permissions { path: path.into(), mode, wanted });
    }
    Ok(())
}

fn not_a_file(path: &Path) -> KeyStoreError {
    KeyStoreError::Malformed { path: path.into(), wanted: "a file of its own (no link, no device)" }
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyStoreError {
    move |source| KeyStoreError::Io { verb, path: path.into(), source }
}

fn missing_or(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyStoreError {
    move |source| match source.kind() {
        io::ErrorKind::NotFound => KeyStoreError::Missing(path.into()),
        _ => KeyStoreError::Io { verb, path: path.into(), source },
    }
}

const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

/// A PKCS#8 file of an Ed25519 key has 119 bytes; a comment may stand before it.
const FILE_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A file of anybody else is refused, whatever its mode, with the command that helps.
    #[test]
    fn files_of_others_are_refused() {
        let us = geteuid().as_raw();
        let path = Path::new("keys/log-1.key");
        check(path, 0o100_600, us, FILE_MODE).unwrap();
        let error = check(path, 0o100_600, us.wrapping_add(1), FILE_MODE).unwrap_err();
        assert!(matches!(error, KeyStoreError::Owner { .. }));
        assert!(error.to_string().contains(&format!("chown {us} keys/log-1.key")), "{error}");
        let error = check(path, 0o104_600, us, FILE_MODE).unwrap_err();
        assert!(error.to_string().contains("mode 4600"), "{error}");
    }
}
