//! Disks that fail by halves: one without room, one with a record that rotted. The node stays up
//! and goes on with the rest.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use relay_node::{
    daemon::Node,
    store::{
        StoreError,
        records::{BackoffRecord, EntryRecord, EntryState},
    },
    telemetry::Counter,
};
use relay_proto::ids::Digest;
use relay_tests::cluster::{Cluster, copy, draft, entries_until, submit};

/// A small file system in the place of a node's data.
struct Small(PathBuf);

impl Small {
    /// Moves the data onto it; `None` where this process may not mount one.
    fn under(data: &Path, size: &str) -> Option<Self> {
        let aside = data.with_extension("aside");
        fs::rename(data, &aside).unwrap();
        fs::create_dir(data).unwrap();
        let options = format!("size={size},mode=0700");
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", &options, "relay-test"]).arg(data).output();
        if !mount.as_ref().is_ok_and(|done| done.status.success()) {
            let required = std::env::var("RELAY_TEST_MOUNTS").is_ok_and(|said| said == "required");
            assert!(!required, "RELAY_TEST_MOUNTS=required, and mount failed: {mount:?}");
            return None;
        }
        copy(&aside, data);
        Some(Self(data.to_owned()))
    }

    /// Takes all the room that is left. Returns what gives it back when it is removed.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = fs::File::create(&path).unwrap();
        for piece in [1 << 20, 4096, 1] {
            while file.write_all(&vec![1; piece]).is_ok() {}
        }
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// Uses up the segments that are there; from then on every commit finds the disk full. One value
/// that changes all the time takes room of the journal alone.
async fn use_up(node: &Node) {
    let now = node.relay().clock().now();
    let save = async |bytes: usize| {
        // Another one each time: what is kept already is not written again.
        let attempts = rand::random();
        let reason = "x".repeat(bytes);
        let backoff = BackoffRecord { attempts, reason, ..Default::default() };
        match node.store().save_backoff("xz.ncu".parse().unwrap(), Some(backoff), now).await {
            Err(StoreError::Full) => false,
            done => done.map(|()| true).unwrap(),
        }
    };
    while save(60_000).await || save(2_000).await || save(1).await {}
}

async fn send(node: &Node, to: &str, mark: &str, n: u128) -> Digest {
    let mut draft = draft("alert.json", &[to], node.relay().clock().now());
    let payload = draft.payload.as_mut().unwrap();
    payload.from.clear();
    payload.sender_ref = mark.to_owned();
    submit(node, draft, n).await.unwrap().digest
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect(what);
}

/// Not one byte is left on the disk. Dials fail and sessions come up, and nothing of that can be
/// kept; the node stays up, and with room again its message is delivered and settles.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_outlives_a_disk_without_room() {
    let sections = "[store]\nsegment_bytes = \"4MiB\"";
    let mut cluster = Cluster::start_with(&["xa.cyber-poc", "xb.ncu"], sections).await;
    for member in &mut cluster.members {
        member.stop().await;
    }
    let Some(disk) = Small::under(&cluster.members[1].dir.join("data"), "160m") else {
        eprintln!("SKIPPED: no tmpfs can be mounted here, a disk without room was not tried");
        return;
    };
    cluster.members[1].reserve_bytes_min = 16 << 20;
    cluster.members[1].start().await;
    let sent = send(cluster.node(1), "xa.cyber-poc", "it waits", 1).await;
    let filler = disk.fill();
    use_up(cluster.node(1)).await;

    let (node, peer) = (cluster.node(1), cluster.members[0].unit.clone());
    let failed = |node: &Node| node.relay().counters().read(Counter::SessionFailure);
    let before = failed(node);
    node.relay().retry_now(&peer);
    until("a dial that failed", || failed(node) > before).await;
    cluster.members[0].start().await;
    let taken = |node: &Node| node.store().message(&sent).unwrap().is_some();
    cluster.node(1).relay().retry_now(&peer);
    until("the message there", || taken(cluster.node(0))).await;
    use_up(cluster.node(1)).await;
    let open = |entry: &EntryRecord| entry.is_open();
    assert!(cluster.node(1).store().entries(&sent).unwrap().iter().all(open));

    fs::remove_file(filler).unwrap();
    let entries = entries_until(cluster.node(1), &sent, |entry| !entry.is_open()).await;
    assert!(entries.iter().all(|entry| entry.state() == EntryState::Delivered), "{entries:?}");
    cluster.members[1].stop().await;
}

/// A payload that waits rots on the disk. Its lane goes on with the next message, and the operator
/// is told which one cannot be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotted_message_stops_no_other() {
    let mut cluster = Cluster::start(&["xa.cyber-poc", "xb.ncu"]).await;
    cluster.members[1].stop().await;
    let rotted = send(cluster.node(0), "xb.ncu", "this one will rot", 1).await;
    let sound = send(cluster.node(0), "xb.ncu", "this one stays", 2).await;
    // What was written just now is not read back from the disk; after a start it is.
    cluster.members[0].stop().await;
    cluster.members[0].start().await;
    rot(&cluster.members[0].dir.join("data/journal"), b"this one will rot");

    cluster.members[1].start().await;
    let entries = entries_until(cluster.node(0), &sound, |entry| !entry.is_open()).await;
    assert!(entries.iter().all(|entry| entry.state() == EntryState::Delivered), "{entries:?}");
    let store = cluster.node(0).store();
    assert!(store.entries(&rotted).unwrap().iter().all(EntryRecord::is_open));
    let alarms = store.alarms(9).unwrap();
    let told: Vec<_> = alarms.iter().filter(|alarm| alarm.reason == "STORE_DAMAGED").collect();
    let id = store.message(&rotted).unwrap().unwrap().message_id().unwrap().to_string();
    assert_eq!(told.len(), 1, "{alarms:?}");
    assert!(told[0].detail.contains(&id) && told[0].peer == "xa.cyber-poc", "{told:?}");
}

/// Changes one byte of what stands in some segment.
fn rot(journal: &Path, what: &[u8]) {
    for entry in fs::read_dir(journal).unwrap() {
        let path = entry.unwrap().path();
        let content = fs::read(&path).unwrap();
        if let Some(place) = content.windows(what.len()).position(|window| window == what) {
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.write_all_at(b"T", place as u64).unwrap();
            return;
        }
    }
    panic!("nothing of it in {}", journal.display());
}
