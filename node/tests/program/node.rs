//! A node's directory, made by the real program, and the program itself.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output},
};

pub fn relay_node(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_relay-node")).args(arguments).output().unwrap()
}

pub fn out(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

pub struct Node {
    pub parent: tempfile::TempDir,
    pub dir: PathBuf,
}

impl Node {
    pub fn made(more: &[&str]) -> Self {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("node");
        let node = Self { parent, dir };
        let (code, stdout, stderr) = node.init(more);
        assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
        node
    }

    pub fn init(&self, more: &[&str]) -> (i32, String, String) {
        let dir = self.dir.to_str().unwrap();
        let phone = ["--phone", "+999 1 234"];
        let base = [&["init", "--unit", "xa.cyber-poc", "--dir", dir][..], &phone].concat();
        out(&relay_node(&[&base[..], more].concat()))
    }

    pub fn config(&self) -> PathBuf {
        self.dir.join("relay.toml")
    }

    pub fn check(&self) -> (i32, String, String) {
        out(&relay_node(&["config", "check", self.config().to_str().unwrap()]))
    }

    pub fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(self.config(), text.replacen(from, to, 1)).unwrap();
    }

    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

pub fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
