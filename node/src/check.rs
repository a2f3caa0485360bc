//! The verb `config check`: what can be said of a configuration without running by it.
//!
//! Enter through [`check`]; stands beside `config` because it also looks at what belongs to other
//! rooms. Files are looked at, not used: no key is read, no address is bound, no store is opened,
//! no name is looked up.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, access};
use relay_proto::{card::Card, v1};

use crate::{
    config::{self, ClockSource, Inspection, Report, Settings, Severity},
    keys::{self, KeyStoreError},
};

/// Reads a configuration and all that it names, and tells every fault.
pub fn check(path: &Path) -> Report {
    let mut inspection = config::inspect(path);
    if let Some(settings) = inspection.settings.take() {
        let mut machine = Machine { inspection };
        for (key, look) in LOOKS {
            // A value at fault was replaced by its default: what that lacks is nobody's fault.
            if !machine.inspection.is_faulty(key) {
                look(&mut machine, &settings);
            }
        }
        inspection = machine.inspection;
    }
    inspection.report()
}

/// The faults that a configuration has on this machine.
struct Machine {
    inspection: Inspection,
}

impl Machine {
    fn keys(&mut self, settings: &Settings) {
        let dir = &settings.keys.dir;
        if let Err(error) = keys::check_dir(dir) {
            // Without the directory each of its files would be told missing as well.
            return self.key_fault("keys.dir", error);
        }
        let log = keys::log_file(generation(&settings.keys.card));
        for name in keys::REQUIRED_FILES.into_iter().chain([log.as_str()]) {
            if let Err(error) = keys::check_file(&dir.join(name)) {
                self.key_fault("keys.dir", error);
            }
        }
        let identity = dir.join(keys::IDENTITY_FILE);
        if identity.exists() {
            let problem = format!("`{}` is still on this machine", identity.display());
            let mend = "copy it to two media that are kept apart, then remove it here";
            self.warn("keys.dir", problem, mend.into());
        }
    }

    fn store(&mut self, settings: &Settings) {
        let dir = &settings.node.dir;
        match fs::metadata(dir) {
            Ok(metadata) if metadata.is_dir() => {
                if metadata.mode() & 0o077 != 0 {
                    let mode = metadata.mode() & 0o7777;
                    let problem =
                        format!("`{}` has mode {mode:04o}: others can look in", dir.display());
                    self.error("node.dir", problem, format!("run `chmod 700 {}`", dir.display()));
                }
                self.writable("node.dir", dir);
            }
            Ok(_) => {
                let problem = format!("`{}` is not a directory", dir.display());
                self.error("node.dir", problem, "name the directory that `init` made".into());
            }
            Err(error) => {
                let problem = format!("`{}`: {error}", dir.display());
                let mend =
                    "a store is made by `relay-node init` only: correct the path, or make one";
                self.error("node.dir", problem, mend.into());
            }
        }
    }

    fn anchor(&mut self, settings: &Settings) {
        let dir = &settings.node.anchor_dir;
        match fs::metadata(dir) {
            Ok(metadata) if metadata.is_dir() => self.writable("node.anchor_dir", dir),
            _ => {
                let problem = format!("`{}` is not a directory", dir.display());
                let mend = format!(
                    "run `install -d -m 700 -o NODE-USER {}` or choose another path",
                    dir.display()
                );
                self.error("node.anchor_dir", problem, mend);
            }
        }
    }

    fn socket(&mut self, settings: &Settings) {
        let socket = &settings.api.socket;
        let Some(dir) = socket.parent().map(or_here) else { return };
        match fs::metadata(&dir) {
            Ok(metadata) if metadata.is_dir() => self.writable("api.socket", &dir),
            _ => {
                let problem = format!("`{}` is not a directory", dir.display());
                let mend = format!("run `mkdir -m 750 {}` or choose another path", dir.display());
                self.error("api.socket", problem, mend);
            }
        }
        if fs::symlink_metadata(socket).is_ok_and(|found| !is_socket(&found)) {
            let problem = format!("`{}` is there and is no socket", socket.display());
            self.error("api.socket", problem, "choose another path".into());
        }
    }

    fn tcp(&mut self, settings: &Settings) {
        let Some(tcp) = &settings.api.tcp else { return };
        if let Err(error) = keys::check_file(&tcp.key) {
            self.key_fault("api.tcp.key", error);
        }
        for (key, file) in
            [("api.tcp.certificate", &tcp.certificate), ("api.tcp.client_ca", &tcp.client_ca)]
        {
            match fs::metadata(file) {
                Ok(metadata) if metadata.is_file() && metadata.len() > 0 => {}
                Ok(_) => {
                    let problem = format!("`{}` is empty or no file", file.display());
                    self.error(key, problem, "name a PEM file".into());
                }
                Err(error) => {
                    let problem = format!("`{}`: {error}", file.display());
                    self.error(key, problem, "correct the path or put the PEM file there".into());
                }
            }
        }
    }

    fn clock(&mut self, settings: &Settings) {
        let clock = &settings.clock;
        if clock.source == ClockSource::Assumed {
            let problem = "every receipt will say that its time rests on the operator's word alone";
            let mend = "run a time service and write `source = \"kernel\"`";
            if !settings.node.id.unit().is_demo() {
                self.warn("clock.source", problem.into(), mend.into());
            }
        } else if !clock.state_files.iter().any(|file| file.exists()) {
            let problem = "no file that says the clock is set is there: times will be UNSYNCED, \
                           and nothing expires";
            let mend = "run systemd-timesyncd or chrony and name its file in `clock.state_files`";
            self.warn("clock.state_files", problem.into(), mend.into());
        }
    }

    fn addresses(&mut self, settings: &Settings) {
        let link = &settings.link;
        if link.listen.port() == 0 && !link.advertise.is_empty() {
            let problem =
                "port 0 is another one at each start, so `link.advertise` cannot be right";
            self.warn("link.listen", problem.into(), "choose a port, as in `\"[::]:7443\"`".into());
        }
    }

    fn writable(&mut self, key: &str, dir: &Path) {
        if access(dir, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
            let problem = format!("`{}` cannot be written by this user", dir.display());
            let mend = "run this as the node's user, or `chown` the directory to it";
            self.error(key, problem, mend.into());
        }
    }

    fn key_fault(&mut self, key: &str, error: KeyStoreError) {
        // The error of a key says both: `what is wrong: what mends it`.
        let (problem, mend) = match &error {
            KeyStoreError::Io { source, .. } => {
                (format!("{error}: {source}"), "run this as the node's user".to_owned())
            }
            _ => {
                let text = error.to_string();
                let (problem, mend) = text.rsplit_once(": ").unwrap_or((&text, "look at it"));
                (problem.to_owned(), mend.to_owned())
            }
        };
        self.error(key, problem, mend);
    }

    fn error(&mut self, key: &str, problem: String, mend: String) {
        self.inspection.add(Severity::Error, key, problem, mend);
    }

    fn warn(&mut self, key: &str, problem: String, mend: String) {
        self.inspection.add(Severity::Warning, key, problem, mend);
    }
}

/// The generation of the log that a card says is open; the first if the card cannot be read.
fn generation(card: &Path) -> u32 {
    let card = fs::read(card).ok().and_then(|bytes| Card::from_file(&bytes).ok());
    let open = card
        .as_ref()
        .and_then(|card| card.logs().iter().find(|log| log.state == v1::LogState::Open));
    open.map_or(1, |log| log.origin.generation)
}

type Look = fn(&mut Machine, &Settings);

const LOOKS: [(&str, Look); 7] = [
    ("keys.dir", Machine::keys),
    ("node.dir", Machine::store),
    ("node.anchor_dir", Machine::anchor),
    ("api.socket", Machine::socket),
    ("api.tcp", Machine::tcp),
    ("clock", Machine::clock),
    ("link", Machine::addresses),
];

fn is_socket(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    metadata.file_type().is_socket()
}

fn or_here(dir: &Path) -> PathBuf {
    if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir.into() }
}
