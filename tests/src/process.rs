//! Nodes as processes: the real binaries, made and introduced as an operator would.
//!
//! The harness builds `relay-node` and `relay-cli` once per test run. Every process is ended by its
//! id when its value goes.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use relay_proto::v1;

use crate::{
    client::{Client, PURPOSE},
    cluster::{copy, free_udp_port},
};

/// The built binaries.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The daemon.
    pub node: PathBuf,
    /// The command line.
    pub cli: PathBuf,
}

impl Binaries {
    /// Builds both in the profile of this program, once.
    pub fn built() -> &'static Self {
        static BUILT: OnceLock<Binaries> = OnceLock::new();
        BUILT.get_or_init(|| {
            match is_release() {
                // As a server runs them.
                true => run(&mut Command::new(root().join("deploy/build.sh"))),
                false => run(cargo_build().args(["--bin", "relay-node", "--bin", "relay-cli"])),
            }
            let target = target_dir();
            Self { node: target.join("relay-node"), cli: target.join("relay-cli") }
        })
    }
}

/// The node with the faults of `node/src/faults.rs`: built once, in the profile of this program,
/// and alone, for with this feature no other program may be built.
pub fn faulty_node() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut build = cargo_build();
        build.args(["--bin", "faulty-node", "--features", "relay-tests/faults"]);
        if is_release() {
            build.arg("--release");
        }
        run(&mut build);
        target_dir().join("faulty-node")
    })
}

/// All members are selected, so that features are those of every other build and nothing is
/// compiled twice.
fn cargo_build() -> Command {
    let mut build = Command::new(std::env::var("CARGO").unwrap_or("cargo".to_owned()));
    build.args(["build", "--workspace"]);
    build
}

fn run(build: &mut Command) {
    let status = build.arg("--quiet").current_dir(root()).status().expect("cargo runs");
    assert!(status.success(), "{build:?} failed");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn is_release() -> bool {
    target_dir().file_name().is_some_and(|name| name == "release")
}

/// A node's directory and its process, while it runs.
pub struct Process {
    /// Its unit.
    pub unit: String,
    /// Its directory.
    pub dir: PathBuf,
    /// What overrides the level of its logs.
    pub log_filter: Option<&'static str>,
    /// The faults that are ordered of it (`node/src/faults.rs`); with any, it runs the program that
    /// has them.
    pub faults: String,
    /// What runs the program: `nsenter --net=FILE`, `taskset -c 0`; each becomes it.
    pub wrapper: Vec<String>,
    child: Option<Child>,
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; nothing when a signal ended it.
    pub code: Option<i32>,
    /// Results.
    pub out: String,
    /// All else.
    pub err: String,
}

impl Ended {
    /// The document that `--json` printed.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| unreachable!("{error}: {self:?}"))
    }

    fn of(output: std::process::Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("programs write UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Process {
    /// Makes a node with `relay-node init` below `base`; `extra` goes to the end of its
    /// configuration, which is in `[store]`.
    pub fn init(base: &Path, unit: &str, extra: &str) -> Self {
        let address = format!("127.0.0.1:{}", free_udp_port());
        Self::init_at(&base.join(unit), unit, &address, (unit, "+1-202-555-0100"), extra)
    }

    /// The same with further flags of `relay-node init`.
    pub fn init_with(base: &Path, unit: &str, flags: &[&str]) -> Self {
        let address = format!("127.0.0.1:{}", free_udp_port());
        let flags = [&["--name", unit, "--phone", "+1-202-555-0100"], flags].concat();
        Self::make(&base.join(unit), unit, &address, &flags, "")
    }

    /// Makes a node in `dir` at an address; its card shows this name and telephone.
    pub fn init_at(
        dir: &Path,
        unit: &str,
        address: &str,
        (name, phone): (&str, &str),
        extra: &str,
    ) -> Self {
        Self::make(dir, unit, address, &["--name", name, "--phone", phone], extra)
    }

    fn make(dir: &Path, unit: &str, address: &str, flags: &[&str], extra: &str) -> Self {
        let made = Command::new(&Binaries::built().node)
            .args(["init", "--unit", unit, "--clock", "assumed"])
            .args(flags)
            .args(["--listen", address, "--advertise", address, "--dir"])
            .arg(dir)
            .output()
            .expect("relay-node runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let config = dir.join("relay.toml");
        let text = std::fs::read_to_string(&config).expect("a configuration");
        // Nothing is kept for a full disk: these nodes live for a test, and there are many of them.
        let reserve = if extra.starts_with("reserve_") { "" } else { NO_RESERVE };
        std::fs::write(&config, format!("{text}\n[store]\n{reserve}{extra}"))
            .expect("a configuration that can be written");
        Self {
            unit: unit.to_owned(),
            dir: dir.to_owned(),
            log_filter: None,
            faults: String::new(),
            wrapper: Vec::new(),
            child: None,
        }
    }

    /// A copy of all that it has, in another directory; only its UDP port is another one.
    pub fn copied_to(&self, dir: &Path) -> Self {
        copy(&self.dir, dir);
        let config = dir.join("relay.toml");
        let text = std::fs::read_to_string(&config).expect("a configuration");
        let listen = text.lines().find(|line| line.starts_with("listen = \"127.0.0.1:"));
        let other = format!("listen = \"127.0.0.1:{}\"", free_udp_port());
        let text = text.replace(listen.expect("an address"), &other);
        std::fs::write(&config, text).expect("a configuration that can be written");
        Self {
            unit: self.unit.clone(),
            dir: dir.to_owned(),
            log_filter: self.log_filter,
            faults: String::new(),
            wrapper: Vec::new(),
            child: None,
        }
    }

    /// Runs `relay-cli` with this node.
    pub fn cli(&self, arguments: &[&str]) -> Ended {
        self.cli_for(PURPOSE, arguments)
    }

    /// The same for another purpose; empty: none.
    pub fn cli_for(&self, purpose: &str, arguments: &[&str]) -> Ended {
        let mut command = Command::new(&Binaries::built().cli);
        // What it notes of what was shown stays beside the node.
        let command = command.env("XDG_STATE_HOME", &self.dir).env("RELAY_PURPOSE", purpose);
        let command = command.arg("--node").arg(self.socket()).args(arguments);
        Ended::of(command.stdin(Stdio::null()).output().expect("relay-cli runs"))
    }

    /// Runs the daemon that is expected to refuse: how it ended.
    pub fn run_refused(&self) -> Ended {
        let mut child = Command::new(&Binaries::built().node)
            .args(["run", "--config"])
            .arg(self.dir.join("relay.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("relay-node runs");
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while child.try_wait().expect("a child").is_none() {
            if std::time::Instant::now() > deadline {
                // What it says then shows why it should have refused.
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ended::of(child.wait_with_output().expect("a child"))
    }

    /// Starts the process; it logs to `node.log` of its directory.
    pub fn spawn(&mut self) {
        let log =
            std::fs::File::options().append(true).create(true).open(self.dir.join("node.log"));
        let program = match self.faults.is_empty() {
            true => Binaries::built().node.as_path(),
            false => faulty_node(),
        };
        let mut words = self.wrapper.iter().map(OsStr::new).chain([program.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        if let Some(filter) = self.log_filter {
            command.env("RELAY_LOG", filter);
        }
        if !self.faults.is_empty() {
            command.env("RELAY_FAULTS", &self.faults);
        }
        let child = command
            .args(["run", "--config"])
            .arg(self.dir.join("relay.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log file"))
            .spawn()
            .expect("relay-node runs");
        self.child = Some(child);
    }

    /// Starts the process and waits until its API answers.
    pub async fn start(&mut self) {
        let answers = self.start_or_end().await;
        let how = self.child.as_mut().map(|child| child.try_wait());
        assert!(answers, "{} ended, {how:?}: {}", self.unit, self.log());
    }

    /// The same for one that may end by what is ordered of it; false when it did.
    pub async fn start_or_end(&mut self) -> bool {
        self.spawn();
        self.answers_or_ends().await
    }

    /// Waits until its API answers; false when it ended.
    pub async fn answers_or_ends(&mut self) -> bool {
        let client = self.client();
        let answer = async {
            while client.node.clone().get_card(v1::GetCardRequest {}).await.is_err() {
                if !self.is_running() {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            true
        };
        let in_time = tokio::time::timeout(Duration::from_secs(30), answer).await;
        assert!(in_time.is_ok(), "{} does not answer: {}", self.unit, self.log());
        in_time.is_ok_and(|answers| answers)
    }

    /// Whether it runs; one that ended by itself is not waited for yet.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map(Child::id).expect("a running process")
    }

    /// Pauses it, or lets it go on; one that died just now is a child that nobody waited for yet.
    pub fn pause(&mut self, is_paused: bool) {
        if self.is_running() {
            let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a process id"));
            let signal = if is_paused { Signal::SIGSTOP } else { Signal::SIGCONT };
            let _ = kill(pid, signal);
        }
    }

    /// Ends it without warning.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to stop; gives its exit status.
    pub fn terminate(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        kill(Pid::from_raw(i32::try_from(child.id()).ok()?), Signal::SIGTERM).ok()?;
        child.wait().ok()?.code()
    }

    /// Ends it if it still runs; gives its exit status, nothing when a signal ended it.
    pub fn wait_or_kill(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        let ended = child.try_wait().ok()?;
        if ended.is_none() {
            let _ = child.kill();
        }
        child.wait().ok()?.code()
    }

    /// Waits until it ends by itself; gives its exit status.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.take()?.wait().ok()?.code()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("node.log")).unwrap_or_default()
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("api.sock")
    }

    /// Its card's file.
    pub fn card(&self) -> PathBuf {
        self.dir.join(format!("{}.relaycard", self.unit))
    }

    /// A client of its API.
    pub fn client(&self) -> Client {
        Client::over(&self.socket())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until this program is asked to stop. Whoever holds nodes then drops them: a process that
/// is ended by a signal leaves its children behind.
pub async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
        .map(|kind| signal(kind).expect("a signal that can be heard"));
    let [one, two, three] = &mut signals;
    tokio::select! {
        _ = one.recv() => {}
        _ = two.recv() => {}
        _ = three.recv() => {}
    }
}

/// Adds every other node's card to each node and compares the digits, over the API.
pub async fn introduce(nodes: &[Process]) {
    for node in nodes {
        for other in nodes.iter().filter(|other| other.unit != node.unit) {
            add(node, other).await;
            verify(node, other).await;
        }
    }
}

/// Runs `relay-cli` without any node.
pub fn offline_cli(dir: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new(&Binaries::built().cli);
    let command = command.current_dir(dir).args(arguments);
    Ended::of(command.stdin(Stdio::null()).output().expect("relay-cli runs"))
}

/// Imports a card.
pub async fn add(node: &Process, other: &Process) {
    let card = std::fs::read(other.card()).expect("a card").into();
    let request = v1::AddPeerRequest { request_id: request_id(), card };
    node.client().peers.add_peer(request).await.expect("a valid card");
}

/// Compares the digits that the node itself computes: there is nobody on the line here.
pub async fn verify(node: &Process, other: &Process) {
    let mut peers = node.client().peers;
    let peer = peers.get_peer(v1::GetPeerRequest { unit: other.unit.clone() }).await;
    let fingerprint = peer.expect("an added peer").into_inner().fingerprint;
    let request = v1::VerifyPeerRequest {
        request_id: request_id(),
        unit: other.unit.clone(),
        fingerprint,
        heard: Vec::new(),
        by: "test".to_owned(),
    };
    peers.verify_peer(request).await.expect("equal digits");
}

const NO_RESERVE: &str = "reserve_percent = 0\nreserve_bytes_min = \"0B\"\n";

/// A new request id.
pub fn request_id() -> String {
    relay_proto::ids::Uuid::random(rand::random()).to_string()
}

/// Where this profile's binaries are: beside this one, above `deps` in tests.
fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("a path of this program");
    let dir = exe.parent().expect("a directory of this program");
    match dir.file_name().is_some_and(|name| name == "deps") {
        true => dir.parent().expect("a directory above deps").to_owned(),
        false => dir.to_owned(),
    }
}
