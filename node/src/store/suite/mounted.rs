//! Small file systems for tests of what happens when one fills up.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

use crate::store::journal::RealIo;

/// A file system of its own, unmounted when the value goes.
pub struct Mounted(pub TempDir);

impl Mounted {
    /// `None` where this process may not mount one, and nobody said that it can.
    pub fn tmpfs(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "relay-test"])
            .arg(dir.path())
            .output();
        let is_mounted = mounted.as_ref().is_ok_and(|done| done.status.success());
        let required = std::env::var("RELAY_TEST_MOUNTS").is_ok_and(|said| said == "required");
        assert!(
            is_mounted || !required,
            "RELAY_TEST_MOUNTS=required, and mount failed: {mounted:?}"
        );
        if !is_mounted {
            eprintln!("SKIPPED: no tmpfs can be mounted here, a real full disk was not tried");
        }
        is_mounted.then(|| Self(dir))
    }

    /// Gives it other options.
    pub fn change(&self, options: &str) {
        let mut mount = Command::new("mount");
        let mount = mount.args(["-o", &format!("remount,{options}")]).arg(self.0.path());
        assert!(mount.output().unwrap().status.success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

/// Bytes that are free.
pub fn free(dir: &Path) -> u64 {
    crate::store::journal::Io::space(&RealIo, dir).unwrap().free
}

/// Writes until nothing fits any more.
pub fn fill_up(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for piece in [1 << 20, 4096, 1] {
        while std::io::Write::write_all(&mut file, &vec![1; piece]).is_ok() {}
    }
}
