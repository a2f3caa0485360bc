//! The Unix socket: nobody reaches it before it has its mode, and a socket that is in use is left
//! alone.

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use super::ApiError;

/// A bound socket; its file goes when this is dropped, unless another took its place.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    inode: u64,
}

impl Socket {
    /// Binds in a private directory beside the path, sets the mode, and only then moves the socket
    /// there. A socket on which nobody answers is replaced.
    pub fn bind(path: &Path, mode: u32) -> Result<(Self, UnixListener), ApiError> {
        let parent = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Err(ApiError::NotASocket(path.to_owned())),
        };
        if !parent.is_dir() {
            return Err(ApiError::NoDirectory(path.to_owned()));
        }
        check_free(path)?;
        // A short name: the path of a socket has room for 107 bytes.
        let private = parent.join(format!(".{}", std::process::id()));
        let bound = bind_in(&private, path, mode);
        let _ = fs::remove_file(private.join(NAME));
        let _ = fs::remove_dir(&private);
        let (inode, listener) =
            bound.map_err(|source| ApiError::Socket { path: path.to_owned(), source })?;
        Ok((Self { path: path.to_owned(), inode }, listener))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn bind_in(private: &Path, path: &Path, mode: u32) -> io::Result<(u64, UnixListener)> {
    let made = fs::DirBuilder::new().mode(0o700).create(private);
    if let Err(error) = made {
        // Left by an earlier process of this number.
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
        let _ = fs::remove_file(private.join(NAME));
        fs::remove_dir(private)?;
        fs::DirBuilder::new().mode(0o700).create(private)?;
    }
    let hidden = private.join(NAME);
    let listener = UnixListener::bind(&hidden)?;
    fs::set_permissions(&hidden, fs::Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    let inode = fs::symlink_metadata(&hidden)?.ino();
    fs::rename(&hidden, path)?;
    Ok((inode, listener))
}

fn check_free(path: &Path) -> Result<(), ApiError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(ApiError::Socket { path: path.to_owned(), source }),
    };
    if !found.file_type().is_socket() {
        return Err(ApiError::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) => Err(ApiError::InUse(path.to_owned())),
        // Whoever does not let us in is somebody.
        Err(_) => Err(ApiError::InUse(path.to_owned())),
    }
}

const NAME: &str = "s";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The socket has its mode, is refused to a second one, replaced when nobody answers, and gone
    /// at the end.
    #[test]
    fn sockets_are_taken_with_care() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        let (socket, listener) = Socket::bind(&path, 0o660).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        UnixStream::connect(&path).unwrap();
        assert!(matches!(Socket::bind(&path, 0o660), Err(ApiError::InUse(_))));
        drop(listener);
        let (second, _listener) = Socket::bind(&path, 0o600).unwrap();
        // The first one's file is another's now.
        drop(socket);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }

    /// A file is not overwritten, and a directory is not made.
    #[test]
    fn other_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "x").unwrap();
        assert!(matches!(Socket::bind(&path, 0o660), Err(ApiError::NotASocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"x");
        let path = dir.path().join("none/api.sock");
        assert!(matches!(Socket::bind(&path, 0o660), Err(ApiError::NoDirectory(_))));
    }
}
