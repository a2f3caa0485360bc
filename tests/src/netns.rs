//! Network namespaces: nodes in them have wires of their own, which `nft` cuts or makes lossy.
//!
//! Enter through [`Namespace::new`], as root, with `ip` (iproute2) and `nft` (nftables); what is
//! missing is said. Invariant: a namespace goes with its value; those of processes that ended
//! without that go with [`sweep`].

use std::{
    fmt::Write as _,
    fs::File,
    io::Write as _,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use nix::sched::{CloneFlags, setns};

/// A network namespace of this process.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one; `role` ends its name.
    pub fn new(role: &str) -> Result<Self, String> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}-{role}", std::process::id());
        run("ip", &["netns", "add", &name], "")?;
        let made = Self { name };
        made.ip(&["link", "set", "lo", "up"])?;
        Ok(made)
    }

    /// What runs a program in it. Unlike `ip netns exec` it leaves the mounts as they are: a copy
    /// of them would hold a file system that is taken away.
    pub fn wrapper(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/run/netns/{}", self.name)]
    }

    /// Gives its loopback interface one more address.
    pub fn add_address(&self, address: Ipv4Addr) -> Result<(), String> {
        self.ip(&["address", "add", &format!("{address}/32"), "dev", "lo"])
    }

    /// A wire to the namespace through which everything else is reached; both ends have an address
    /// and a name there.
    pub fn connect(
        &self,
        (own, own_name): (Ipv4Addr, &str),
        through: &Self,
        (other, other_name): (Ipv4Addr, &str),
    ) -> Result<(), String> {
        let (near, far) = (self.name.as_str(), through.name.as_str());
        let wire = ["link", "add", own_name, "netns", near, "type", "veth"];
        let end = ["peer", "name", other_name, "netns", far];
        run("ip", &[wire.as_slice(), end.as_slice()].concat(), "")?;
        for (place, address, name) in [(self, own, own_name), (through, other, other_name)] {
            place.ip(&["address", "add", &format!("{address}/24"), "dev", name])?;
            place.ip(&["link", "set", name, "up"])?;
        }
        self.ip(&["route", "add", "default", "via", &other.to_string()])
    }

    /// Drops, from now on, so many of a thousand packets that arrive from each of these sources,
    /// and nothing else.
    pub fn drop_from(&self, sources: impl Iterator<Item = (Ipv4Addr, u32)>) -> Result<(), String> {
        // The table is made before it is deleted, for it may be the first.
        let mut rules = format!("table ip {TABLE}\ndelete table ip {TABLE}\ntable ip {TABLE} {{\n");
        rules.push_str("chain arrivals {\ntype filter hook input priority 0;\n");
        for (source, thousandths) in sources {
            let chance = match thousandths {
                ALL.. => String::new(),
                some => format!("numgen random mod {ALL} < {some} "),
            };
            let _ = writeln!(rules, "ip saddr {source} {chance}drop");
        }
        rules.push_str("}\n}\n");
        run("ip", &["netns", "exec", &self.name, "nft", "-f", "-"], &rules).map(drop)
    }

    /// A socket in it, for this process, which stays outside.
    pub fn bind(&self, address: SocketAddrV4) -> Result<UdpSocket, String> {
        let file = File::open(Path::new("/run/netns").join(&self.name));
        let file = file.map_err(|error| format!("{}: {error}", self.name))?;
        // A thread moves alone, and this one ends then.
        let bound = std::thread::spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET)?;
            UdpSocket::bind(address)
        });
        let bound = bound.join().map_err(|_| "a thread ended early".to_owned())?;
        bound.map_err(|error| format!("{address} in {}: {error}", self.name))
    }

    fn ip(&self, arguments: &[&str]) -> Result<(), String> {
        run("ip", &[&["-n", &self.name], arguments].concat(), "").map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What cannot be removed now is left to the next campaign.
        let _ = run("ip", &["netns", "del", &self.name], "");
    }
}

/// Whether namespaces can be made and filled here: else what is missing.
pub fn available() -> Result<(), String> {
    run("nft", &["--version"], "")?;
    let trial = Namespace::new("trial")?;
    let nowhere = std::iter::once((Ipv4Addr::LOCALHOST, 1));
    trial.drop_from(nowhere)
}

/// Removes what dead processes left.
pub fn sweep() {
    for line in run("ip", &["netns", "list"], "").unwrap_or_default().lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if let Some(pid) = owner.and_then(|pid| pid.parse::<u32>().ok())
            && !Path::new(&format!("/proc/{pid}")).exists()
        {
            let _ = run("ip", &["netns", "del", name], "");
        }
    }
}

/// Runs a program with this on its standard input; what it printed, or why it failed.
fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read says why by its status.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", arguments.join(" "), said.trim()))
}

/// Every packet, in thousandths.
pub const ALL: u32 = 1000;

const PREFIX: &str = "relay-net-";
const TABLE: &str = "relay_campaign";
