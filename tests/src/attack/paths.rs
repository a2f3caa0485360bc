//! What can be done to packets on the way: a whole first flight sent again, a session that moves to
//! another address.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use relay_proto::v1::frame::Kind;
use tokio::{net::UdpSocket, time::Instant};

use super::{
    envelopes::{Made, envelope, session_number, transfer},
    peer::{How, connect},
    report::Outcome,
    stage::Stage,
};

/// All packets of a session that brought a message, captured and sent again from other addresses.
pub async fn replayed_flights(stage: &Stage, until: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    let path = Path::to(stage.address).await;
    let before = stage.messages_of_hacked().await;
    match session_over(stage, &path, &mut outcome).await {
        Ok(session) => session.close(),
        Err(fault) => outcome.demand(false, fault),
    }
    let captured = path.captured();
    outcome.demand(captured.len() > 4, "nothing was captured");
    let sessions = stage.status().await.verify_failures;
    while Instant::now() < until {
        let socket = UdpSocket::bind("127.0.3.1:0").await.expect("a socket");
        for packet in &captured {
            outcome.sent.add("captured packet");
            // A full buffer of the system loses a packet, as a network would.
            let _ = socket.send_to(packet, stage.address).await;
            let mut answer = [0; 2048];
            while let Ok(length) = socket.try_recv(&mut answer) {
                outcome.answered.add("packet");
                let (to, back) = outcome.pre_auth.unwrap_or((0, 0));
                outcome.pre_auth = Some((to, back + u64::try_from(length).unwrap_or(0)));
            }
            let (to, back) = outcome.pre_auth.unwrap_or((0, 0));
            let length = u64::try_from(packet.len()).unwrap_or(0);
            outcome.pre_auth = Some((to + length, back));
        }
        tokio::time::sleep(PAUSE).await;
    }
    let after = stage.messages_of_hacked().await;
    outcome.demand(after == before + 1, format!("{} messages of one", after - before));
    let failures = stage.status().await.verify_failures;
    outcome.demand(failures == sessions, "something of a replayed flight was read");
    outcome
}

/// A session's packets come from another address: they are not followed, and the session goes on
/// where it was.
pub async fn migration(stage: &Stage, until: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    while Instant::now() < until {
        let path = Path::to(stage.address).await;
        let mut session = match session_over(stage, &path, &mut outcome).await {
            Ok(session) => session,
            Err(fault) => {
                outcome.demand(false, fault);
                continue;
            }
        };
        path.moved.store(true, Ordering::Relaxed);
        let before = stage.messages_of_hacked().await;
        for _ in 0..8 {
            outcome.sent.add("message from another address");
            let envelope = envelope(stage, Made::by(stage)).await;
            let _ = session.send(1, transfer(session_number(), envelope)).await;
            tokio::time::sleep(PAUSE).await;
        }
        let moved = path.back_on_the_new.load(Ordering::Relaxed);
        outcome.demand(moved == 0, "the node answered the new address");
        let after = stage.messages_of_hacked().await;
        outcome.demand(after == before, "a message from the new address was taken");
        path.moved.store(false, Ordering::Relaxed);
        let back = session.next(|kind| matches!(kind, Kind::Receipts(_)).then_some(())).await;
        match back {
            Ok(()) => outcome.answered.add("goes on at the old address"),
            Err(fault) => outcome.demand(false, format!("the session did not go on: {fault}")),
        }
    }
    outcome
}

/// A session over a path, on which one message has been taken.
async fn session_over(
    stage: &Stage,
    path: &Path,
    outcome: &mut Outcome,
) -> Result<super::peer::Session, String> {
    let peer = connect(&How::like_a_node(&stage.hacked.identity), path.near).await?;
    let mut session = peer.greet(stage.hacked.hello()).await?;
    let before = stage.messages_of_hacked().await;
    let envelope = envelope(stage, Made::by(stage)).await;
    outcome.sent.add("message");
    session.send(1, transfer(session_number(), envelope)).await?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while stage.messages_of_hacked().await == before {
        if Instant::now() > deadline {
            return Err("the message is not taken".to_owned());
        }
        tokio::time::sleep(PAUSE).await;
    }
    outcome.answered.add("message taken");
    Ok(session)
}

/// Forwards between one client and the node, and can send from another address.
struct Path {
    near: SocketAddr,
    captured: Arc<Mutex<Vec<Vec<u8>>>>,
    moved: Arc<AtomicBool>,
    back_on_the_new: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Path {
    async fn to(node: SocketAddr) -> Self {
        let bind = async |address: &str| UdpSocket::bind(address).await.expect("a socket");
        let (near, old, new) =
            (bind("127.0.0.1:0").await, bind("127.0.3.2:0").await, bind("127.0.3.3:0").await);
        let captured = Arc::<Mutex<Vec<_>>>::default();
        let (moved, back) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let address = near.local_addr().expect("a bound socket");
        let (list, switch, counter) = (captured.clone(), moved.clone(), back.clone());
        let task = tokio::spawn(async move {
            let (mut a, mut b, mut c) = ([0; 2048], [0; 2048], [0; 2048]);
            let mut client = None;
            loop {
                tokio::select! {
                    Ok((length, from)) = near.recv_from(&mut a) => {
                        client = Some(from);
                        let packet = a.get(..length).unwrap_or_default();
                        keep(&list, packet);
                        let far = if switch.load(Ordering::Relaxed) { &new } else { &old };
                        let _ = far.send_to(packet, node).await;
                    }
                    Ok(length) = old.recv(&mut b) => {
                        if let Some(client) = client {
                            let packet = b.get(..length).unwrap_or_default();
                            let _ = near.send_to(packet, client).await;
                        }
                    }
                    Ok(_) = new.recv(&mut c) => {
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        Self { near: address, captured, moved, back_on_the_new: back, task }
    }

    fn captured(&self) -> Vec<Vec<u8>> {
        self.captured.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn keep(list: &Mutex<Vec<Vec<u8>>>, packet: &[u8]) {
    list.lock().unwrap_or_else(PoisonError::into_inner).push(packet.to_vec());
}

impl Drop for Path {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const PAUSE: Duration = Duration::from_millis(20);
