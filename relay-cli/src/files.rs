//! Files that the user names: read up to a limit, written without overwriting.
//!
//! Enter through [`read`], [`read_text`] and [`write_new`]. Every failure names the file and what
//! to do.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use crate::{exit::Exit, failure::Failure};

/// The bytes of a file of at most `max` bytes.
pub fn read(path: &Path, max: u64) -> Result<Vec<u8>, Failure> {
    let name = path.display();
    let failed = |error: std::io::Error| {
        let exit = match error.kind() {
            ErrorKind::NotFound => Exit::NotFound,
            ErrorKind::PermissionDenied => Exit::Permission,
            _ => Exit::Usage,
        };
        Failure::new(exit, format!("Cannot read {name}: {error}.")).safe("nothing was done")
    };
    let mut bytes = Vec::new();
    // A byte more than allowed tells "too long" from "just fits" also where a length is not known
    // beforehand.
    File::open(path)
        .and_then(|file| file.take(max.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > max {
        let what = format!("{name} is longer than {max} bytes, so it is not what is expected.");
        return Err(Failure::new(Exit::Faults, what).safe("nothing was done"));
    }
    Ok(bytes)
}

/// The text of a file of at most `max` bytes.
pub fn read_text(path: &Path, max: u64) -> Result<String, Failure> {
    String::from_utf8(read(path, max)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let what = format!("{} is not UTF-8 text: see byte {at}.", path.display());
        Failure::new(Exit::Faults, what).safe("nothing was done")
    })
}

/// Writes a file that must not be there yet, and makes it durable.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| cannot_write(path, &error))
}

/// Makes a folder and those above it.
pub fn make_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| cannot_write(path, &error))
}

/// Says that a file that is there is left alone.
pub fn exists(path: &Path) -> Failure {
    let what = format!("{} exists and is not overwritten.", path.display());
    Failure::new(Exit::Conflict, what)
        .safe("no file was changed")
        .with_remedy("choose another folder with --to")
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::AlreadyExists => exists(path),
        ErrorKind::PermissionDenied => {
            Failure::new(Exit::Permission, format!("Cannot write {}: {error}.", path.display()))
        }
        _ => Failure::new(Exit::Attention, format!("Cannot write {}: {error}.", path.display())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A limit is a limit, a missing file is not found, an existing one stays as it is.
    #[test]
    fn files_are_bounded_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        assert_eq!(read(&path, 3).unwrap_err().exit, Exit::NotFound);
        write_new(&path, b"abc").unwrap();
        assert_eq!(read(&path, 3).unwrap(), b"abc");
        assert_eq!(read(&path, 2).unwrap_err().exit, Exit::Faults);
        assert_eq!(write_new(&path, b"xyz").unwrap_err().exit, Exit::Conflict);
        assert_eq!(read(&path, 3).unwrap(), b"abc");
        let bad = dir.path().join("b");
        write_new(&bad, b"ok\xff").unwrap();
        assert!(read_text(&bad, 9).unwrap_err().what.contains("byte 2"));
    }
}
