//! 64 file descriptors: a thousand clients connect and say nothing, strangers dial; when they are
//! gone, the node serves as before.

use std::time::{Duration, Instant};

use relay_proto::v1;
use tokio::{net::UnixStream, task::JoinSet};

use super::{
    super::{Campaign, federation::Federation, load::Load},
    initials::{dial, link_address},
};
use crate::process::Process;

/// One crowd at a node of few descriptors.
pub(super) async fn one(campaign: &mut Campaign, federation: &mut Federation) -> &'static str {
    let node = federation.node(0);
    node.kill();
    node.wrapper = vec!["prlimit".to_owned(), format!("--nofile={DESCRIPTORS}:{DESCRIPTORS}")];
    let took = federation.restart(0, campaign.orders("")).await;
    campaign.row.recovered(took);
    let load = Load::start(federation);
    let crowd = crowd(federation, 0).await;
    let most = descriptors(federation.node(0));
    if most < DESCRIPTORS - SPARE {
        campaign.row.fail(format!("{most} of {DESCRIPTORS} descriptors were used"));
    }
    if crowd.len() < DESCRIPTORS {
        campaign.row.fail(format!("only {} clients could connect", crowd.len()));
    }
    let strangers = Strangers::start(federation);
    tokio::time::sleep(HELD).await;
    drop(crowd);
    strangers.stop().await;
    let begun = Instant::now();
    let node = federation.node(0);
    let served = async {
        while node.client().node.get_card(v1::GetCardRequest {}).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(RECOVERED_WITHIN, served).await.is_err() {
        campaign
            .row
            .fail(format!("no answer {RECOVERED_WITHIN:?} after the crowd: {}", node.log()));
    }
    campaign.row.recovered(begun.elapsed());
    load.stop().await;
    if !federation.node(0).is_running() {
        campaign.row.fail("the node ended for want of descriptors");
    }
    "crowds at 64 descriptors"
}

/// As many connections as the socket takes.
async fn crowd(federation: &mut Federation, place: usize) -> Vec<UnixStream> {
    let socket = federation.node(place).socket();
    let mut connecting = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let socket = socket.clone();
        connecting.spawn(async move {
            // A socket whose queue is full refuses at once; it is tried again for a while.
            for _ in 0..CONNECT_TRIES {
                if let Ok(stream) = UnixStream::connect(&socket).await {
                    return Some(stream);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            None
        });
    }
    connecting.join_all().await.into_iter().flatten().collect()
}

fn descriptors(node: &Process) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", node.pid())).map_or(0, Iterator::count)
}

/// Links that dial the node under keys that it does not know.
struct Strangers(JoinSet<()>);

impl Strangers {
    fn start(federation: &mut Federation) -> Self {
        let keys = federation.node(0).dir.join("keys");
        let address = link_address(federation.node(0));
        let mut dials = JoinSet::new();
        for _ in 0..STRANGERS {
            let (keys, address) = (keys.clone(), address.clone());
            dials.spawn(async move { dial(&keys, &address, HELD).await });
        }
        Self(dials)
    }

    async fn stop(self) {
        self.0.join_all().await;
    }
}

const DESCRIPTORS: usize = 64;
/// One is opened and closed all the time.
const SPARE: usize = 4;
const CONNECTIONS: usize = 1000;
const CONNECT_TRIES: u32 = 25;
const STRANGERS: usize = 20;
/// How long the crowd stays: until the index wanted descriptors to prove itself durable.
const HELD: Duration = Duration::from_secs(35);
const RECOVERED_WITHIN: Duration = Duration::from_secs(5);
