//! One process a store: a lock of the open file, which names its holder for people.
//!
//! Invariant: what another machine may have open is refused, for its locks do not bind this one.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    process,
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::statfs::statfs,
};

use super::{FilesError, StoreId, hex};
use crate::store::journal::is_full;

/// A held lock; let go with the value.
#[derive(Debug)]
pub struct Lock {
    file: File,
    same_boot: bool,
}

impl Lock {
    /// Whether a process holds the lock of a store, also this one. Nothing is taken or made.
    pub fn is_held(dir: &Path) -> bool {
        let Ok(file) = File::open(dir.join(LOCK_FILE)) else { return false };
        let mut asked = whole_file();
        let told = fcntl(&file, FcntlArg::F_OFD_GETLK(&mut asked));
        told.is_ok() && asked.l_type != nix::libc::F_UNLCK as i16
    }

    /// Takes the lock of a store, or says that another process has it. A network file system is
    /// refused: its locks do not bind the machines that share it.
    pub fn take(dir: &Path) -> Result<Self, FilesError> {
        check_local(dir)?;
        let path = dir.join(LOCK_FILE);
        let io_error = |source| FilesError::Io { path: path.clone(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => FilesError::NotThere(dir.to_owned()),
                _ => io_error(error),
            })?;
        // An open-file-description lock: it ends with this process, and closing another handle does
        // not end it.
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
            Ok(_) => {
                let before = read_holder(&file);
                let same_boot = boot_id().is_some_and(|boot| before.contains(&boot));
                Ok(Self { file, same_boot })
            }
            Err(nix::Error::EAGAIN | nix::Error::EACCES) => {
                let holder = process_of(&read_holder(&file));
                Err(FilesError::InUse { dir: dir.to_owned(), holder })
            }
            Err(error) => Err(io_error(error.into())),
        }
    }
}

fn whole_file() -> nix::libc::flock {
    nix::libc::flock {
        l_type: nix::libc::F_WRLCK as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

impl Lock {
    /// The same lock once more: it is let go with the last of them.
    pub fn share(&self) -> Result<Self, FilesError> {
        let file = self.file.try_clone();
        let file = file.map_err(|source| FilesError::Io { path: LOCK_FILE.into(), source })?;
        Ok(Self { file, same_boot: self.same_boot })
    }

    /// Whether whoever held it last did so since this machine was started: then all that he wrote
    /// is there, synced or not.
    pub fn is_same_boot(&self) -> bool {
        self.same_boot
    }

    /// Writes into the file who holds it: the store's instance, this process, this run of the
    /// machine.
    pub fn name(&self, id: &StoreId) -> Result<(), FilesError> {
        // Always of one length, so that writing it anew needs no room.
        let boot = boot_id().unwrap_or_else(|| "unknown".to_owned());
        let (instance, process) = (hex(&id.instance), process::id());
        let text = format!("instance {instance}\nprocess {process:010}\nboot {boot:36}\n");
        match self.file.write_all_at(text.as_bytes(), 0) {
            // It is for people, the lock itself holds.
            Err(error) if is_full(&error) => Ok(()),
            done => done.map_err(|source| FilesError::Io { path: LOCK_FILE.into(), source }),
        }
    }
}

/// Whatever can be read of it, on one line.
fn read_holder(file: &File) -> String {
    let mut bytes = [0; HOLDER_BYTES];
    let read = file.read_at(&mut bytes, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(bytes.get(..read).unwrap_or_default()).into_owned();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The process that a lock's text names. Of this machine: a network file system is refused.
fn process_of(holder: &str) -> Option<u32> {
    let mut words = holder.split(' ');
    words.find(|word| *word == "process")?;
    words.next()?.parse().ok()
}

/// Random, made by the kernel when the machine starts.
fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| id.len() == 36)
}

/// Refuses a directory that other machines may have as well.
fn check_local(dir: &Path) -> Result<(), FilesError> {
    let path = dir.to_owned();
    let kind = match statfs(dir) {
        Ok(stat) => stat.filesystem_type().0,
        Err(nix::Error::ENOENT) => return Err(FilesError::NotThere(path)),
        Err(error) => return Err(FilesError::Io { path, source: error.into() }),
    };
    match network_name(kind as u32) {
        Some(kind) => Err(FilesError::Network { dir: path, kind }),
        None => Ok(()),
    }
}

/// The name of a network file system by its magic number (statfs(2)).
fn network_name(magic: u32) -> Option<&'static str> {
    let known = NETWORK.iter().find(|(number, _)| *number == magic);
    known.map(|(_, name)| *name)
}

const LOCK_FILE: &str = "lock";
const HOLDER_BYTES: usize = 128;

const NETWORK: [(u32, &str); 13] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x564c, "NCP"),
    (0x0102_1997, "9P"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0x0bd0_0bd0, "Lustre"),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn id(unit: &str) -> StoreId {
        StoreId { unit: unit.parse().unwrap(), instance: [7; 16] }
    }

    #[test]
    fn the_lock_is_exclusive() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!Lock::is_held(dir.path()));
        let held = Lock::take(dir.path()).unwrap();
        held.name(&id("xa.ncu")).unwrap();
        held.name(&id("xa.ncu")).unwrap();
        let text = std::fs::read_to_string(dir.path().join(LOCK_FILE)).unwrap();
        assert!(text.starts_with(&format!("instance {}\nprocess ", hex(&[7; 16]))), "{text}");
        assert_eq!(text.len(), 103);
        assert!(!held.is_same_boot());
        assert!(text.contains(&process::id().to_string()), "{text}");
        let refused = Lock::take(dir.path()).unwrap_err();
        let told = format!("is open in process {}, probably", process::id());
        assert!(refused.to_string().contains(&told), "{refused}");
        assert!(Lock::is_held(dir.path()));
        drop(held);
        assert!(!Lock::is_held(dir.path()));
        assert!(Lock::take(dir.path()).unwrap().is_same_boot());
        let other = text.replace(&boot_id().unwrap(), "00000000-0000-4000-8000-000000000000");
        std::fs::write(dir.path().join(LOCK_FILE), other).unwrap();
        assert!(!Lock::take(dir.path()).unwrap().is_same_boot());
    }

    /// The numbers of statfs(2); what this machine's disks are is let in.
    #[test]
    fn network_file_systems_are_refused() {
        for (magic, name) in [(0x6969, "NFS"), (0xff53_4d42, "CIFS"), (0x0102_1997, "9P")] {
            assert_eq!(network_name(magic), Some(name));
        }
        // ext4, XFS, Btrfs, ZFS, tmpfs, overlay, FUSE.
        for local in
            [0xef53, 0x5846_5342, 0x9123_683e, 0x2fc1_2fc1, 0x0102_1994, 0x794c_7630, 0x6573_5546]
        {
            assert_eq!(network_name(local), None);
        }
        check_local(tempfile::tempdir().unwrap().path()).unwrap();
        let gone = check_local(Path::new("/does/not/exist"));
        assert!(matches!(gone, Err(FilesError::NotThere(_))));
    }
}
