//! A journal whose end is torn where no mark of the store reaches: it is cut, and what lies outside
//! of the store tells whether anything was signed there.

use std::{fs, path::PathBuf};

use relay_node::tlog::{Hold, Witness};
use relay_proto::{ids::Digest, reason::Reason};
use relay_tests::cluster::{Cluster, Member};

use super::rollback::{delivered, send, taken};

/// The files that say how far the store was durable.
const MARKS: [&str; 2] = ["data/journal/mark", "data/index.mark"];

fn segment(member: &Member) -> PathBuf {
    let files = fs::read_dir(member.dir.join("data/journal")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    files.filter(|path| path.to_str().unwrap().contains("/segment-")).max().unwrap()
}

/// How many bytes of the newest segment are written.
fn written(member: &Member) -> usize {
    let bytes = fs::read(segment(member)).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

/// The second member takes and receipts a message, then its journal ends before that in a torn
/// batch, and its marks do not know better.
async fn cut(cluster: &mut Cluster) -> Digest {
    let kept = send(cluster, 0, 1).await;
    delivered(cluster, 0, &kept).await;
    cluster.members[1].stop().await;
    let whole = written(&cluster.members[1]);
    let marks = MARKS.map(|name| fs::read(cluster.members[1].dir.join(name)).unwrap());
    cluster.members[1].start().await;
    let lost = send(cluster, 0, 2).await;
    delivered(cluster, 0, &lost).await;
    cluster.members[1].stop().await;

    let member = &cluster.members[1];
    for (name, bytes) in MARKS.iter().zip(marks) {
        fs::write(member.dir.join(name), bytes).unwrap();
    }
    let path = segment(member);
    let mut bytes = fs::read(&path).unwrap();
    bytes[whole + 16..].fill(0);
    fs::write(path, bytes).unwrap();
    lost
}

/// The anchor file holds more than is left: nothing is signed, and no word about the lost message
/// contradicts what was said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_that_was_signed_is_missed_by_the_anchor() {
    let mut cluster = Cluster::start(&["xa.cyber-poc", "xb.ncu"]).await;
    let lost = cut(&mut cluster).await;
    cluster.members[1].start().await;
    let node = cluster.node(1);
    assert!(node.store().message(&lost).unwrap().is_none());
    let hold = node.relay().tlog().hold();
    assert!(
        matches!(&hold, Some(Hold::Behind { witness: Witness::Anchor(_), signed, here })
            if signed > here),
        "{hold:?}"
    );
    let alarms = node.store().alarms(99).unwrap();
    assert!(alarms.iter().any(|alarm| alarm.reason == Reason::LogHeld.label()), "{alarms:?}");
    let error = node.relay().tlog().checkpoint().await.unwrap_err();
    assert_eq!(error.reason(), Reason::LogHeld);
    let sent = send(&cluster, 0, 3).await;
    taken(cluster.node(1), &sent).await;
    assert!(cluster.node(0).store().entries(&sent).unwrap().iter().all(|entry| entry.is_open()));
}

/// Without the anchor file the first peer that comes tells it, before anything is signed for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_that_was_signed_is_missed_by_the_peer() {
    let mut cluster = Cluster::start(&["xa.cyber-poc", "xb.ncu"]).await;
    cut(&mut cluster).await;
    let member = &cluster.members[1];
    fs::remove_file(member.dir.join(format!("anchor/{}/log/1", member.unit))).unwrap();
    cluster.members[1].start().await;
    let sent = send(&cluster, 0, 3).await;
    taken(cluster.node(1), &sent).await;
    let hold = cluster.node(1).relay().tlog().hold();
    let by_peer = Witness::Peer("xa.cyber-poc".to_owned());
    assert!(
        matches!(&hold, Some(Hold::Behind { witness, signed, here })
            if *witness == by_peer && signed > here),
        "{hold:?}"
    );
    assert!(cluster.node(0).store().entries(&sent).unwrap().iter().all(|entry| entry.is_open()));
}
