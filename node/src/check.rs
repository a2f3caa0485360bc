//! The verb `config check`: what can be said of a configuration without running by it.
//!
//! Enter through [`check`]; stands beside `config` because it also looks at what belongs to other
//! rooms. Nothing is opened for use: keys are read to be compared with the card, addresses are
//! bound and let go at once, the store's name is read and its lock not taken, no name is looked
//! up. Invariant: a running node is not disturbed, and its own addresses are not called taken.

mod bind;

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, access};

use crate::{
    clock::Clock,
    config::{self, ClockSource, Inspection, Report, Settings, Severity},
    keys::{self, CardFault, KeyStore, KeyStoreError},
    store::files::{FilesError, Lock, StoreId},
};

/// Reads a configuration and all that it names, and tells every fault.
pub fn check(path: &Path) -> Report {
    let mut inspection = config::inspect(path);
    if let Some(settings) = inspection.settings.take() {
        let mut machine = Machine { inspection, keys: None, runs: false };
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
    /// The working keys, once they are found sound.
    keys: Option<KeyStore>,
    /// A node has this store open: the addresses of this configuration are its own.
    runs: bool,
}

impl Machine {
    fn keys(&mut self, settings: &Settings) {
        let dir = &settings.keys.dir;
        if let Err(error) = keys::check_dir(dir) {
            // Without the directory each of its files would be told missing as well.
            return self.key_fault("keys.dir", error);
        }
        let mut sound = true;
        let generation = generation(&settings.keys.card);
        let log = keys::log_file(generation);
        for name in keys::REQUIRED_FILES.into_iter().chain([log.as_str()]) {
            if let Err(error) = keys::check_file(&dir.join(name)) {
                self.key_fault("keys.dir", error);
                sound = false;
            }
        }
        if sound {
            match KeyStore::open(dir, generation) {
                Ok(keys) => self.keys = Some(keys),
                Err(error) => self.key_fault("keys.dir", error),
            }
        }
        let identity = dir.join(keys::IDENTITY_FILE);
        if identity.exists() {
            let problem = format!("`{}` is still on this machine", identity.display());
            let mend = "copy it to two media that are kept apart, then remove it here";
            self.warn("IDENTITY_ONLINE", "keys.dir", problem, mend.into());
        }
    }

    /// The card is read also when the keys are at fault: each has its own mend.
    fn card(&mut self, settings: &Settings) {
        let node = &settings.node.id;
        let fault = match (keys::read_card(&settings.keys.card), &self.keys) {
            (Err(fault), _) => Some(fault),
            (Ok(card), Some(keys)) => keys::log_of(&card, keys, node).err(),
            (Ok(card), None) => keys::check_unit(&card, node).err(),
        };
        if let Some(fault) = fault {
            let mut problem = fault.to_string();
            if let CardFault::Unreadable { source, .. } = &fault {
                problem = format!("{problem}: {source}");
            } else if let CardFault::Invalid { source, .. } = &fault {
                problem = format!("{problem}: {source}");
            }
            self.error(fault.label(), "keys.card", problem, fault.mend().into());
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
                    let mend = format!("run `chmod 700 {}`", dir.display());
                    self.error("OPEN_TO_OTHERS", "node.dir", problem, mend);
                }
                self.writable("node.dir", dir);
                if let Err(error) = StoreId::open(dir, settings.node.id.unit()) {
                    self.store_fault(error);
                }
                self.runs = Lock::is_held(dir);
            }
            Ok(_) => {
                let problem = format!("`{}` is not a directory", dir.display());
                let mend = "name the directory that `init` made".into();
                self.error("STORE_MISSING", "node.dir", problem, mend);
            }
            Err(error) => {
                let problem = format!("`{}`: {error}", dir.display());
                let mend =
                    "a store is made by `relay-node init` only: correct the path, or make one";
                self.error("STORE_MISSING", "node.dir", problem, mend.into());
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
                self.error("NO_DIRECTORY", "node.anchor_dir", problem, mend);
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
                self.error("NO_DIRECTORY", "api.socket", problem, mend);
            }
        }
        if fs::symlink_metadata(socket).is_ok_and(|found| !is_socket(&found)) {
            let problem = format!("`{}` is there and is no socket", socket.display());
            self.error("CANNOT_BIND", "api.socket", problem, "choose another path".into());
        } else if !self.runs && !self.inspection.is_faulty("api.socket") {
            self.bound("api.socket", bind::socket(socket, &dir));
        }
    }

    fn tcp(&mut self, settings: &Settings) {
        let Some(tcp) = &settings.api.tcp else { return };
        if !self.runs {
            self.bound("api.tcp.listen", bind::tcp(tcp.listen));
        }
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
                    self.error("FILE_MISSING", key, problem, "name a PEM file".into());
                }
                Err(error) => {
                    let problem = format!("`{}`: {error}", file.display());
                    let mend = "correct the path or put the PEM file there".into();
                    self.error("FILE_MISSING", key, problem, mend);
                }
            }
        }
    }

    fn clock(&mut self, settings: &Settings) {
        let clock = &settings.clock;
        if clock.shift_file.is_some() {
            let problem = "this node's clock is put wrong on purpose whenever that file says so";
            let mend = "remove the line after the campaign or drill";
            self.warn("CLOCK_SHIFTED", "clock.shift_file", problem.into(), mend.into());
        }
        if clock.source == ClockSource::Assumed {
            let problem = "every receipt will say that its time rests on the operator's word alone";
            let mend = "run a time service and write `source = \"kernel\"`";
            if !settings.node.id.unit().is_demo() {
                self.warn("CLOCK_ASSUMED", "clock.source", problem.into(), mend.into());
            }
        } else if !Clock::new(clock).is_synced() {
            let problem = "neither the kernel nor a file of `clock.state_files` says that a time \
                           service sets the clock: times will be UNSYNCED, and nothing expires";
            let mend = "run systemd-timesyncd, chrony or ntpd-rs; see `timedatectl`";
            self.warn("CLOCK_UNTRUSTED", "clock.source", problem.into(), mend.into());
        }
    }

    fn addresses(&mut self, settings: &Settings) {
        let link = &settings.link;
        if link.listen.port() == 0 && !link.advertise.is_empty() {
            let problem =
                "port 0 is another one at each start, so `link.advertise` cannot be right";
            let mend = "choose a port, as in `\"[::]:7443\"`".into();
            self.warn("PORT_UNSTABLE", "link.listen", problem.into(), mend);
        }
        match self.runs {
            false => self.bound("link.listen", bind::udp(link.listen)),
            true => {
                let problem = "a node runs by this store: its addresses and socket were not tried";
                let mend = "stop it before a check that is to try them as well";
                self.warn("NODE_RUNS", "node.dir", problem.into(), mend.into());
            }
        }
    }

    fn bound(&mut self, key: &str, fault: Option<bind::Taken>) {
        if let Some(bind::Taken { problem, mend }) = fault {
            self.error("CANNOT_BIND", key, problem, mend);
        }
    }

    fn writable(&mut self, key: &str, dir: &Path) {
        if access(dir, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
            let problem = format!("`{}` cannot be written by this user", dir.display());
            let mend = "run this as the node's user, or `chown` the directory to it";
            self.error("NOT_WRITABLE", key, problem, mend.into());
        }
    }

    fn key_fault(&mut self, key: &str, error: KeyStoreError) {
        let text = error.to_string();
        let source = match error {
            KeyStoreError::Io { source, .. } => Some(source),
            _ => None,
        };
        self.told("KEYS", key, &text, source);
    }

    fn store_fault(&mut self, error: FilesError) {
        let (label, text) = (error.label(), error.to_string());
        let source = match error {
            FilesError::Io { source, .. } => Some(source),
            _ => None,
        };
        self.told(label, "node.dir", &text, source);
    }

    /// An error that says both, `what is wrong: what mends it`, or what the system said.
    fn told(&mut self, label: &'static str, key: &str, text: &str, source: Option<std::io::Error>) {
        let (problem, mend) = match source {
            Some(source) => (format!("{text}: {source}"), "run this as the node's user".to_owned()),
            None => {
                let (problem, mend) = text.rsplit_once(": ").unwrap_or((text, "look at it"));
                (problem.to_owned(), mend.to_owned())
            }
        };
        self.error(label, key, problem, mend);
    }

    fn error(&mut self, label: &'static str, key: &str, problem: String, mend: String) {
        self.inspection.add((Severity::Error, label), key, problem, mend);
    }

    fn warn(&mut self, label: &'static str, key: &str, problem: String, mend: String) {
        self.inspection.add((Severity::Warning, label), key, problem, mend);
    }
}

/// The generation of the log that a card says is open; the first if the card cannot be read.
fn generation(card: &Path) -> u32 {
    let card = keys::read_card(card).ok();
    card.as_ref().and_then(keys::open_log_of).map_or(1, |log| log.origin.generation)
}

type Look = fn(&mut Machine, &Settings);

const LOOKS: [(&str, Look); 8] = [
    ("keys.dir", Machine::keys),
    ("keys.card", Machine::card),
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
