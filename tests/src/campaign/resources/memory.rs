//! A small memory limit under load: the node lives within it, or is killed by the kernel; either
//! way nothing that it acknowledged is lost.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rand::RngExt as _;

use super::super::{Campaign, federation::Federation, load::Load};
use crate::bench::Usage;

/// One spell of little memory.
pub(super) async fn one(campaign: &mut Campaign, federation: &mut Federation) -> &'static str {
    let Some(group) = Group::new(federation.node(0).pid()) else {
        return limited_address_space(campaign, federation).await;
    };
    let node = federation.node(0);
    node.kill();
    node.wrapper = group.wrapper();
    let took = federation.restart(0, campaign.orders("")).await;
    campaign.row.recovered(took);
    let room = campaign.rng.random_range(ROOM_BYTES / 4..ROOM_BYTES);
    group.limit(Usage::of(federation.node(0).pid()).rss_bytes + room);
    let load = Load::start(federation);
    tokio::time::sleep(HELD).await;
    let (denied, killed) = (group.denied(), !federation.node(0).is_running());
    if !denied && !killed {
        campaign.row.fail("the memory limit was never reached");
    }
    let node = federation.node(0);
    node.kill();
    node.wrapper.clear();
    drop(group);
    let took = federation.restart(0, campaign.orders("")).await;
    campaign.row.recovered(took);
    load.stop().await;
    if killed { "little memory (killed for it)" } else { "little memory (lived in it)" }
}

/// Where there is no memory controller: a limit of the address space, in which the node cannot
/// allocate what it wants.
async fn limited_address_space(
    campaign: &mut Campaign,
    federation: &mut Federation,
) -> &'static str {
    let node = federation.node(0);
    let status = fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap_or_default();
    let used = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap_or_default();
    let used = used.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0);
    let limit = format!("--as={}", used * 1024 + ROOM_BYTES);
    let pid = node.pid().to_string();
    let set = std::process::Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(set.is_ok_and(|status| status.success()), "prlimit sets a limit of a process of ours");
    let load = Load::start(federation);
    tokio::time::sleep(HELD).await;
    let ended = !federation.node(0).is_running();
    federation.node(0).kill();
    let took = federation.restart(0, campaign.orders("")).await;
    campaign.row.recovered(took);
    load.stop().await;
    if ended { "little address space (ended by it)" } else { "little address space (lived in it)" }
}

/// A group of the memory controller with one node in it.
struct Group(PathBuf);

impl Group {
    fn new(pid: u32) -> Option<Self> {
        let group = Self(Path::new(CONTROLLER).join(format!("relay-campaign-{pid}")));
        fs::create_dir(&group.0).ok().map(|()| group)
    }

    /// What starts a program in the group.
    fn wrapper(&self) -> Vec<String> {
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", self.0.display());
        vec!["sh".to_owned(), "-c".to_owned(), enter]
    }

    fn limit(&self, bytes: u64) {
        let limited = fs::write(self.0.join("memory.limit_in_bytes"), bytes.to_string());
        limited.expect("a group of our own");
    }

    /// Whether the node was denied memory, or had to give some back first.
    fn denied(&self) -> bool {
        let count = fs::read_to_string(self.0.join("memory.failcnt")).unwrap_or_default();
        count.trim().parse::<u64>().is_ok_and(|count| count > 0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Empty as soon as the kernel has buried the node.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

const CONTROLLER: &str = "/sys/fs/cgroup/memory";
/// So much more than at rest at the most; load takes up to a hundred.
const ROOM_BYTES: u64 = 16 << 20;
const HELD: Duration = Duration::from_secs(3);
